# The day's quota: the service's own (10006), known after a minute of it, and
# the budget that the server's options set.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { rate_limit => 50, max_in_flight => 8 });

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub groups { return $service->stats->{groups} }

# ---------------------------------------------------------------------------
# The service's

insert_groups($node, 10, 'before');
wait_settled($node);
$service->set(daily_quota => groups() + 20);
insert_groups($node, 100, 'quota');
my $status;
poll_until { ($status = status_of($node))->{state} eq 'quota' } 'state quota', 300;
poll_until { ($status = status_of($node))->{sending} == 0 } 'calls in flight';
is(groups(), 30, '10006: what the service still took was imported');
like($status->{reason}, qr/10006/, '10006: the reason has the code');
is("$status->{pending} $status->{failed} $status->{in_doubt}", '80 0 0', '10006: the rest waits');
is(value_of($node, "SELECT coalesce(max(attempts), 0) FROM im_group_outbox WHERE status = 'pending'"), 0, '10006: no attempt counts');
my @refused = grep { ($_->{code} // 0) == 10006 } $service->journal('import_group');
cmp_ok(scalar(@refused), '<', 50 * 60 / 4, '10006: ' . @refused . ' calls were refused, for it slowed down');
worker_gone($node);
my $calls = $service->stats->{journaled};
visit_is_quiet();
is($service->stats->{journaled}, $calls, '10006: nothing is sent until the probe');

# New rows call a worker, who sees that it must wait.
sub visit_is_quiet
{
	my $starts = value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import');

	insert_groups($node, 1, "bell $starts ");
	poll_until { value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import') > $starts } 'a worker';
	worker_gone($node);
}

$service->set(daily_quota => undef);
sql("ALTER SERVER im OPTIONS (SET rate_limit '1000')");
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND attempts = 1"), 111,
	'10006: a new day, and all are imported at their first attempt');
accounted($node, $service, name => '10006: every row is accounted for');

# ---------------------------------------------------------------------------
# Our own budget, which counts over restarts and crashes

my $today = value_of($node, 'SELECT groups FROM _im_days');
is($today, 111, 'the day has been counted');
sql("ALTER SERVER im OPTIONS (ADD groups_per_day '@{[ $today + 30 ]}')");
insert_groups($node, 100, 'budget');
$status = wait_state($node, 'quota');
poll_until { status_of($node)->{sending} == 0 } 'calls in flight';
is(groups(), 141, 'budget: exactly so many');
like($status->{reason}, qr/budget of 141 groups/, 'budget: the reason');
$node->stop('immediate');
$node->start;
wait_state($node, 'quota');
worker_gone($node);
is(groups(), 141, 'budget: a restart is no new day');
sql("ALTER SERVER im OPTIONS (SET groups_per_day '155')");
poll_until { groups() == 155 } 'the new budget';
wait_state($node, 'quota');
poll_until { status_of($node)->{sending} == 0 } 'calls in flight';
is(groups(), 155, 'budget: raised, it goes on at once, and as far as that');

# The day's count is yesterday's: nobody rings, it finds out by itself.
worker_gone($node);
sql('UPDATE _im_days SET day = day - 1');
wait_settled($node);
is(groups(), 211, 'a new day has a new budget');
is(value_of($node, 'SELECT groups FROM _im_days ORDER BY day DESC LIMIT 1'), 56, 'and a count of its own');
insert_groups($node, 100, 'no budget');
wait_state($node, 'quota');
sql("ALTER SERVER im OPTIONS (DROP groups_per_day)");
wait_settled($node);
is(status_of($node)->{imported}, 311, 'no budget: all are imported');
accounted($node, $service, name => 'no budget: every row is accounted for');

done_testing();
