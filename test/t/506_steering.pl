# Pause, stop, drain and change, in the orders in which people met them: a
# paused import sends exactly what was ordered, the state says what is so, and
# a cured cause is gone from it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { rate_limit => 1000 });
my $wrong_key = $service->write_key('wrong.key', 'f' x 64);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub calls { return $service->stats->{journaled} }
sub imported { return value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'") }

# Another key file in the mapping.
sub use_key { return sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$_[0]')") }

# A drain in the background; returns the session.
sub drain_in_background
{
	my ($rows) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->{stdin} .= "CALL im_import_drain($rows);\n\\echo drained\n";
	$session->{run}->pump_nb;
	return $session;
}

insert_groups($node, 1, 'first');
wait_settled($node);
sql('SELECT im_import_pause()');

# ---------------------------------------------------------------------------
# A drain whose session dies takes what it ordered with it

my $lock = $node->background_psql('postgres');
insert_groups($node, 1, 'locked');
$lock->query_safe("BEGIN; SELECT FROM im_group_outbox WHERE name LIKE 'locked%' FOR UPDATE;");
my $session = drain_in_background(1000);
poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL im_import_drain%' AND state = 'active'") }
'a drain';
sql("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE query LIKE 'CALL im_import_drain%'");
my $killed = drain_in_background(1000);
poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL im_import_drain%' AND state = 'active'") }
'another drain';
kill 'KILL', $killed->{run}{KIDS}[0]{PID} or die "kill: $!";
poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL im_import_drain%'") == 0 }
'the session of a killed psql to end';
pass('a drain ends with its psql, even if that is killed');
$lock->query_safe('ROLLBACK;');
$lock->quit;
my $before = calls();
insert_groups($node, 20, 'after the death');
sql("ALTER SERVER im OPTIONS (ADD max_in_flight '20')");
worker_gone($node);
is(calls(), $before, 'a drain that was terminated: nothing is sent any more');
is(status_of($node)->{state}, 'paused', 'and it is paused');
eval { $_->quit } foreach $session, $killed;

# ---------------------------------------------------------------------------
# Two drains at once order the sum

insert_groups($node, 40, 'two drains');
my $had = imported();
my @sessions = (drain_in_background(30), drain_in_background(5));
$_->query_until(qr/drained/, '') for @sessions;
$_->quit for @sessions;
is(imported() - $had, 35, 'two drains, of 30 and 5: 35 rows');
is(status_of($node)->{state}, 'paused', 'and the pause is shown');

# ---------------------------------------------------------------------------
# Paused and stopped: the pause is shown, the stop is in the reason, the cure
# keeps the pause, and no worker is started for it

use_key($wrong_key);
like(error_of($node, 'CALL im_import_drain(10)'), qr/cannot go on: stopped.*DETAIL:.*70009.*HINT:.*im_import_drain\(1\).*keeps the pause/s,
	'wrong key: the drain tries it, and its error says why and what keeps the pause');
my $status = status_of($node);
is($status->{state}, 'paused', 'paused and stopped: paused');
like($status->{reason}, qr/^paused by .*stopped: .*70009/, 'with the stop in the reason');
unlike($status->{reason}, qr/im_import_resume|next probe/, 'and nothing that would end the pause, nor a probe that does not come');
like($status->{last_error_at}, qr/^20\d\d-/, 'the last error has its time');
worker_gone($node);
my $starts = value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import');
$before = calls();
poll_until { value_of($node, 'SELECT extract(epoch FROM now() - last_error_at) FROM im_import_status') > 15 } 'time for a worker';
is(value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import'), $starts, 'no worker comes while nobody asks');
is(calls(), $before, 'and nobody is called');

# The right key: the drain tries the service itself, and sends exactly so many.
use_key($service->{key_file});
$had = imported();
sql('CALL im_import_drain(10)');
is(imported() - $had, 10, 'right key: the drain sends exactly ten, that which tried the service among them');
$status = status_of($node);
is($status->{state}, 'paused', 'and it is paused still');
unlike($status->{reason}, qr/stopped/, 'a cured stop is gone from the reason');

# Stopped by the service itself, and cured there: nobody but the drain can find out.
$service->change_app(disabled => 60020);
like(error_of($node, 'CALL im_import_drain(3)'), qr/cannot go on: stopped.*60020/s, 'plan expired: the drain says so');
$service->change_app();
$had = imported();
sql('CALL im_import_drain(3)');
is(imported() - $had, 3, 'plan renewed: the next drain sends its three rows');

# ---------------------------------------------------------------------------
# A refused call that began before a change says nothing about it

sql('SELECT im_import_resume()');
wait_settled($node);
$service->change_app(secret => 'e' x 64);
my $new_key = $service->write_key('new.key', 'e' x 64);
insert_groups($node, 20, 'change');
wait_state($node, 'stopped');
$service->fault({ do => 'hold', times => 1, match => { command => 'import_group' } });
sql('SELECT im_import_resume()');
$service->wait_for(held => 1);
use_key($new_key);
$service->release;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0,
	'resume with the old key, then the new one: the new one wins');

# ---------------------------------------------------------------------------
# Nobody rings for a key file: replaced inside, and its mode

$service->change_app(secret => 'd' x 64);
insert_groups($node, 20, 'inside');
wait_state($node, 'stopped');
worker_gone($node);
open my $file, '>', $new_key or die $!;
print $file 'd' x 64;
close $file;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'a key replaced in its file: it goes on');

chmod 0644, $new_key;
sql("ALTER SERVER im OPTIONS (SET max_in_flight '8')");
insert_groups($node, 20, 'mode');
$status = wait_state($node, 'not configured');
like($status->{reason}, qr/new\.key.*open to others/, 'a key file open to others');
worker_gone($node);
chmod 0600, $new_key;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'the mode changed: it goes on');

# ---------------------------------------------------------------------------
# Answers that decide nothing

# How a row without an id of its own, and one with, come through each.
my %nothing = (
	'HTTP 502' => [ { do => 'http', status => 502 }, qr/answers, but only with HTTP 502/ ],
	'10002' => [ { do => 'code', code => 10002 }, qr/answers, but only with error code 10002/ ],
	'an unknown code' => [ { do => 'code', code => 12345 }, qr/answers, but only with error code 12345/ ]);

foreach my $ids ('generated', 'assigned')
{
	sql("ALTER SERVER im OPTIONS (ADD group_ids 'assigned')")
	  if $ids eq 'assigned';
	foreach my $name (sort keys %nothing)
	{
		my ($rule, $words) = @{ $nothing{$name} };

		sql('SELECT im_import_resume()');
		$service->fault($rule);
		insert_groups($node, 500, "$ids $name ");
		$status = wait_state($node, 'unreachable');
		like($status->{reason}, $words, "$ids ids, $name: unreachable, in words");
		poll_until { status_of($node)->{sending} <= 1 } 'rows to be given back';
		$status = status_of($node);
		cmp_ok($status->{in_doubt}, '<', 40, "$ids ids, $name: few rows are in doubt ($status->{in_doubt})");
		is($status->{failed}, 0, "$ids ids, $name: none failed");
		cmp_ok(value_of($node, "SELECT coalesce(max(attempts), 0) FROM im_group_outbox WHERE status = 'pending'"), '<', 6,
			"$ids ids, $name: no attempts are used up");
		$service->clear;
		sql('SELECT im_import_resume()');
		wait_settled($node);
		sql("SELECT im_import_resolve(id) FROM im_group_outbox WHERE status = 'in_doubt'") if $rule->{do} eq 'http';
		sql("DELETE FROM im_group_outbox WHERE status = 'in_doubt'");
		wait_settled($node);
	}
}

# Whatever happened: no second worker within five seconds.
my $most = value_of($node, 'SELECT 2 + extract(epoch FROM now() - pg_postmaster_start_time()) / 5');
cmp_ok(value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import'), '<=', $most, 'no more than one worker in five seconds was started');

done_testing();
