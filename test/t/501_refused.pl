# Refusals that every row would meet: one call each, no row's attempt, the
# reason and the cure in the status, and at once on after the cure.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

# Below the first probe's 60 seconds: what goes on sooner was told to.
my $SOON = 50;

my ($node, $service) = set_up(options => { rate_limit => 1000, max_in_flight => 16 });
my $wrong_key = $service->write_key('wrong.key', 'f' x 64);
my $batch = 0;

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub mapping { sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET $_[0])") }
sub open_rows { return value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')") }

insert_groups($node, 5, 'first');
wait_settled($node);

# Each: the code, what breaks, what mends (the cure ends the stop by itself
# where it is an ALTER; elsewhere a person says im_import_resume()).
my @trouble = (
	{
		code => 70009,
		what => 'wrong key',
		break => sub { mapping("secret_key_file '$wrong_key'") },
		mend => sub { mapping("secret_key_file '$service->{key_file}'") }
	},
	{
		code => 70020,
		what => 'unknown here: wrong region',
		break => sub { sql("ALTER SERVER im OPTIONS (SET sdkappid '1400000999')") },
		mend => sub { sql("ALTER SERVER im OPTIONS (SET sdkappid '$service->{sdkappid}')") }
	},
	{
		code => 60010,
		what => 'not an admin',
		break => sub { mapping("identifier 'somebody'") },
		mend => sub { mapping("identifier '$service->{admin}'") }
	},
	map {
		my ($code, $what) = @$_;
		{
			code => $code,
			what => $what,
			break => sub { $service->change_app(disabled => $code); sql('SELECT im_import_resume()') },
			mend => sub { $service->change_app(); sql('SELECT im_import_resume()') }
		}
	} ([ 60020, 'plan expired' ], [ 60021, 'address not allowed' ], [ 60016, 'app disabled' ]));

# A refusal after a rest meets a drain that widens again: ALTER or resume makes
# it start with a single call, and so does a new worker after a stop.
sub stopped_with_one_call
{
	my ($trouble) = @_;
	my $name = sprintf('b%02d-', ++$batch);
	my $what = $trouble->{what};

	worker_gone($node);
	$trouble->{break}->();
	my $calls = $service->stats->{journaled};
	insert_groups($node, 100, $name);
	my $status = wait_state($node, 'stopped');
	poll_until { open_rows() == 100 && value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 }
	'what was claimed to be given back';
	$status = status_of($node);
	like($status->{reason}, qr/$trouble->{code}/, "$what: the reason has the code");
	my $advice = value_of($node, "SELECT advice FROM im_error_codes() WHERE code = $trouble->{code}");
	like($status->{reason}, qr/\Q$advice\E/, "$what: and the cure");
	like($status->{last_error}, qr/$trouble->{code}/, "$what: last_error too");
	is($status->{pending}, 100, "$what: every row waits");
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'pending' AND (attempts > 0 OR maybe_sent_at IS NOT NULL)"),
		0, "$what: no attempt counts");
	insert_groups($node, 5, "${name}more");
	worker_gone($node);
	is($service->stats->{journaled}, $calls + 1, "$what: one call was refused, and none followed, new rows or not");
	$trouble->{mend}->();
	poll_until { open_rows() == 0 } "$what: to go on at once", $SOON;
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$name%' AND status = 'imported' AND attempts = 1"), 105,
		"$what: mended, it goes on at once, and all are imported at their first attempt");
	is(status_of($node)->{state} =~ /^(?:idle|running)$/ ? 'well' : status_of($node)->{reason}, 'well', "$what: forgotten");
}

stopped_with_one_call($_) foreach @trouble;
accounted($node, $service);

# ---------------------------------------------------------------------------
# The lockout: after a bad UserSig the service refuses good ones too

$service->set(lockout => { failures => 1, within => 60, seconds => 600 });
stopped_with_one_call({
	code => 70009,
	what => 'wrong key, lockout follows',
	break => sub { mapping("secret_key_file '$wrong_key'") },
	mend => sub {
		my $calls = $service->stats->{journaled};

		mapping("secret_key_file '$service->{key_file}'");
		my $status;
		poll_until { ($status = status_of($node))->{reason} =~ /70050/ } 'the lockout';
		is($service->stats->{journaled}, $calls + 1, 'lockout: one more call finds it out');
		is($status->{state}, 'stopped', 'lockout: stopped');
		is(value_of($node, "SELECT max(attempts) FROM im_group_outbox WHERE status = 'pending'"), 0, 'lockout: no attempt counts');
		$service->set(lockout => undef);
		$service->change_app();
		sql('SELECT im_import_resume()');
	}
});
accounted($node, $service, name => 'after the lockout every row is accounted for');

# ---------------------------------------------------------------------------
# In full flight: what is under way is refused too, and nothing else

foreach my $trouble (
	[ 60020, sub { $service->change_app(disabled => 60020) }, sub { $service->change_app() } ],
	[ 10058, sub { $service->set(plan_cap => $service->stats->{groups} + 30) }, sub { $service->set(plan_cap => undef) } ])
{
	my ($code, $break, $mend) = @$trouble;
	my $name = "flight$code-";
	my $created = $service->stats->{created};

	$break->() if $code == 10058;
	insert_groups($node, 400, $name);
	$service->wait_for(created => $created + 25);
	$break->() if $code != 10058;
	wait_state($node, 'stopped');
	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 } 'calls in flight';
	my $refused = grep { ($_->{code} // 0) == $code && json($_->{body})->{Name} =~ /^$name/ } $service->journal('import_group');
	my $status = status_of($node);

	cmp_ok($refused, '<=', 16, "$code in full flight: $refused calls refused, no more than were under way");
	is("$status->{failed} $status->{invalid} $status->{in_doubt}", '0 0 0', "$code in full flight: no row ended badly");
	like($status->{reason}, qr/$code/, "$code in full flight: the reason");
	$mend->();
	sql('SELECT im_import_resume()');
	poll_until { open_rows() == 0 } "$code: to go on at once", $SOON;
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$name%' AND status = 'imported' AND attempts = 1"), 400,
		"$code in full flight: mended, all are imported at their first attempt");
	accounted($node, $service, name => "$code in full flight: every row is accounted for");
}

# A stop survives neither a restart nor is it hammered by one: one call again.
$service->change_app(disabled => 60020);
insert_groups($node, 50, 'restart');
wait_state($node, 'stopped');
poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 } 'calls in flight';
worker_gone($node);
my $calls = $service->stats->{journaled};
$node->restart;
wait_state($node, 'stopped');
worker_gone($node);
is($service->stats->{journaled}, $calls + 1, 'a restart tries once');
$service->change_app();
sql('SELECT im_import_resume()');
wait_settled($node);
accounted($node, $service, name => 'after the restart every row is accounted for');

done_testing();
