# The worker and every session that calls the service itself share one limit,
# also right after a start and a restart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time);

use ImTest;

my $RATE = 50;
my ($node, $service) = set_up(conf => 'log_min_messages = debug1', options => { rate_limit => $RATE });

# Three sessions in loops, and the worker with more than enough to do.
my $since = time();
insert_groups($node, 150, 'outbox');
poll_until { $service->stats->{created} > 0 } 'the worker to begin';
my @sessions = map { $node->background_psql('postgres') } 1 .. 3;
foreach my $i (1 .. 3)
{
	$sessions[ $i - 1 ]->{stdin} .= <<SQL;
SELECT count(*) FROM (SELECT im_import_group(q) AS reply
	FROM (SELECT 'Public' AS type, 'sync$i-' || n AS name FROM generate_series(1, 50) n) q) r
WHERE reply->>'ActionStatus' = 'OK';
SQL
}
$sessions[$_]->{run}->pump_nb foreach 0 .. 2;
my @done = map { $_->query_until(qr/^\d+\n/m, "\n") } @sessions;
is(join(' ', map { /(\d+)/ } @done), '50 50 50', 'every call of the sessions succeeded');
wait_settled($node);
my $seconds = time() - $since;

my $stats = $service->stats;
is($stats->{created}, 300, 'all groups exist');
my $widest = $stats->{widest}{import_group};
cmp_ok($widest, '<=', $RATE + 2, "no second had more calls than the limit ($widest)");
cmp_ok(most_granted($node), '<=', $RATE, 'as granted, exactly');
cmp_ok($widest, '>=', $RATE * 0.7, 'and the limit was made use of');
cmp_ok($seconds, '>=', 300 / $RATE - 1, "300 calls took $seconds s");
is($stats->{codes}{60007}, undef, 'the service never said too fast');
my %by = (outbox => [], sync => []);
push @{ $by{ json($_->{body})->{Name} =~ /^(outbox|sync)/ ? $1 : '' } }, $_->{t} foreach $service->journal('import_group');
cmp_ok($by{outbox}[10], '<', $by{sync}[-1], 'the sessions did not starve the worker');
cmp_ok($by{sync}[10], '<', $by{outbox}[-1], 'nor the worker the sessions');
cmp_ok(value_of($node, 'SELECT sum(throttled_time) FROM pg_stat_im_import'), '>', 1000, 'throttled_time counts the waiting');
$_->quit foreach @sessions;

# A restart does not hand out the limit once more.  (Lookups have a limit of their own.)
insert_groups($node, 150, 'restart');
$service->wait_for(created => 330);
$node->stop('immediate');
$node->start;
wait_settled($node);
cmp_ok($service->stats->{widest}{import_group}, '<=', $RATE + 2, 'nor around a restart');
cmp_ok(most_granted($node), '<=', $RATE, 'as granted, exactly');
accounted($node, $service, others => [ map { $_->{group_id} } grep { $_->{name} =~ /^sync/ } $service->ledger ]);

# The service says too fast: slower for a while, and nothing is lost.
$service->set(rate => 20);
insert_groups($node, 60, 'slowed');
wait_state($node, 'running');
my $slowed = poll_until {
	my $status = status_of($node);
	$status->{state} ne 'running' || ($status->{reason} // '') =~ /too fast/ ? $status : undef;
} 'the limiter to give way';
like($slowed->{reason} // '', qr/slowed to [\d.]+ calls/, 'im_import_status says that it is slowed down');
$service->set(rate => 0);
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported' OR attempts <> 1 AND name LIKE 'slowed%'"),
	0, 'refusals as too fast count for no row');
cmp_ok(value_of($node, 'SELECT sum(replies_slow) FROM pg_stat_im_import'), '>', 0, 'pg_stat_im_import counts them');

done_testing();
