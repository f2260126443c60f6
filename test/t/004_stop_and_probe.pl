# A refusal that every row would meet stops the whole drain, says why, and
# burns no row; the cure makes it go on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up();
my $wrong_key = $service->write_key('wrong.key', 'f' x 64);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# All open rows were imported, at their first attempt.
sub all_imported
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported' OR attempts <> 1"),
		0, "$what: every row is imported, none has lost an attempt");
	accounted($node, $service, name => "$what: every row is accounted for");
}

# ---------------------------------------------------------------------------
# A wrong key

sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$wrong_key')");
insert_groups($node, 100, 'key');
wait_state($node, 'stopped');
poll_until { status_of($node)->{sending} == 0 } 'calls in flight';
my $status = status_of($node);
like($status->{reason}, qr/70009/, 'wrong key: stopped, with the code in the reason');
like($status->{last_error}, qr/70009/, 'and in last_error');
is("$status->{pending} $status->{sending} $status->{failed}", '100 0 0', 'no row failed');
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: stopped.*70009/s, 'im_import_wait() says so at once');
is(scalar($service->journal), 1, 'one call was refused, and no other was made');
is(value_of($node, 'SELECT max(attempts) FROM im_group_outbox'), 0, 'it counts for no row');

sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$service->{key_file}')");
all_imported('right key');

# The same once everything has gone well: to a worker that is there, and to
# one that has left.
foreach my $worker ('connected', 'gone')
{
	my $calls = $service->stats->{journaled};

	poll_until { !defined status_of($node)->{worker_pid} } 'the idle worker to leave' if $worker eq 'gone';
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$wrong_key')");
	insert_groups($node, 50, $worker);
	wait_state($node, 'stopped');
	poll_until { status_of($node)->{sending} == 0 } 'calls in flight';
	is($service->stats->{journaled}, $calls + 1, "wrong key, worker $worker: one call was refused");
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$service->{key_file}')");
	all_imported("right key, worker $worker");
}

# A new key in the same file needs no ALTER, only im_import_resume().
$service->change_app(secret => 'e' x 64);
insert_groups($node, 20, 'rotate');
wait_state($node, 'stopped');
unlink $service->{key_file};
$service->write_key('app.key', 'e' x 64);
sql('SELECT im_import_resume()');
all_imported('rotated key');

# A key file that others can read is no secret.
chmod 0644, $service->{key_file};
sql("ALTER SERVER im OPTIONS (ADD max_in_flight '8')");
insert_groups($node, 20, 'mode');
$status = wait_state($node, 'not configured');
like($status->{reason}, qr/app\.key.*open to others.*0600/s, 'a key file open to others: not configured, and why');
chmod 0600, $service->{key_file};
sql('SELECT im_import_resume()');
all_imported('closed key file');

# ---------------------------------------------------------------------------
# The plan has expired, in the middle

insert_groups($node, 400, 'plan');
$service->wait_for(created => 200);
$service->change_app(disabled => 60020);
$status = wait_state($node, 'stopped');
like($status->{reason}, qr/60020/, 'plan expired: stopped');
is($status->{failed} + $status->{invalid} + $status->{in_doubt}, 0, 'plan expired: no row ended badly');
cmp_ok($status->{pending}, '>', 0, 'plan expired: the rest waits');
my $calls = $service->stats->{journaled};
$service->change_app();
is(status_of($node)->{state}, 'stopped', 'it stays stopped');
is($service->stats->{journaled}, $calls, 'and calls nobody');
sql('SELECT im_import_resume()');
all_imported('plan renewed');

# ---------------------------------------------------------------------------
# A signature that the service calls expired is made anew once, not for ever

sql("ALTER SERVER im OPTIONS (SET max_in_flight '4')");
insert_groups($node, 1, 'four at a time');
all_imported('four at a time');
$service->set(clock_offset => 3 * 86400);
$calls = $service->stats->{journaled};
insert_groups($node, 20, 'clock');
$status = wait_state($node, 'stopped');
like($status->{reason}, qr/70001/, 'expired signature: stopped');
cmp_ok($service->stats->{journaled}, '<=', $calls + 10, 'after a few calls: those under way, and one signed anew');
$service->set(clock_offset => 0);
sql('SELECT im_import_resume()');
all_imported('clock set right');

# ---------------------------------------------------------------------------
# A budget of groups a day

my $today = value_of($node, 'SELECT groups FROM _im_days');
sql("ALTER SERVER im OPTIONS (ADD groups_per_day '@{[ $today + 30 ]}')");
insert_groups($node, 50, 'budget');
$status = wait_state($node, 'quota');
poll_until { status_of($node)->{sending} == 0 } 'calls in flight';
like($status->{reason}, qr/budget of @{[ $today + 30 ]}/, 'budget used up: state quota');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'budget%' AND status = 'imported'"),
	30, 'exactly so many were sent');
sql("ALTER SERVER im OPTIONS (DROP groups_per_day)");
all_imported('no budget');

# ---------------------------------------------------------------------------
# Nobody there

$service->stop;
insert_groups($node, 50, 'down');
$status = wait_state($node, 'unreachable');
like($status->{reason}, qr/does not answer/, 'service down: unreachable');
$service->start;
all_imported('service up again');

# Nobody answers, although the calls arrive: an attempt counts only until
# that is known.
$service->fault({ do => 'close_before' });
insert_groups($node, 100, 'mute');
wait_state($node, 'unreachable');
$service->clear;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0,
	'service answers again: every row is imported');
accounted($node, $service, name => 'service answers again: every row is accounted for');

# ---------------------------------------------------------------------------
# Nearly every row is refused for the same reason

$service->set(owners => 'listed');
insert_groups($node, 600, 'owner', undef, owner_account => "'nobody'");
$status = wait_state($node, 'paused');
poll_until { ($status = status_of($node))->{sending} == 0 } 'calls in flight';
like($status->{reason}, qr/10019/, 'the same refusal again and again: paused, with its code');
cmp_ok($status->{failed}, '>=', 180, 'not before 90 % of 200');
cmp_ok($status->{failed}, '<', 500, "before all rows had failed ($status->{failed})");
cmp_ok($status->{pending}, '>', 0, 'the rest waits');
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: paused/, 'im_import_wait() says so');
$service->set(owners => 'any');
sql('SELECT im_import_retry(10019)');
is(status_of($node)->{state}, 'paused', 'a repair alone does not end the pause');
sql('SELECT im_import_resume()');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0,
	'mended and resumed: every row is imported');
accounted($node, $service, name => 'mended and resumed: every row is accounted for');

done_testing();
