# A worker that waits for a synchronous standby which is gone ends when it is
# asked to, and what it has claimed but not confirmed is not sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up(conf => "wal_level = replica\nmax_wal_senders = 2\nsynchronous_standby_names = ''");

# Sets the names of the standbys that commits wait for.
sub set_standbys
{
	my ($names) = @_;

	$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "'$names'");
	$node->reload;
	poll_until { value_of($node, 'SHOW synchronous_standby_names') eq $names } 'the standbys to be known';
}

# The worker once it waits for a standby.
sub waiting_worker
{
	return poll_until {
		value_of($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker' AND wait_event = 'SyncRep'");
	} 'a worker that waits for the standby';
}

set_standbys('nobody');
$node->safe_psql('postgres', <<SQL);
SET synchronous_commit = local;
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'sync' || i FROM generate_series(1, 5) i;
INSERT INTO im_group_outbox (group_id, type, name) SELECT 'sync-u' || i, 'Public', 'sync-u' || i FROM generate_series(1, 5) i;
SQL

my $pid = waiting_worker();
is(scalar($service->journal), 0, 'nothing is sent before the claim is confirmed');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
my $ended = eval { poll_until { is_gone($pid) } 'the worker to end', 20 };
ok($ended, 'pg_terminate_backend() ends the worker in its wait');
if (!$ended)
{
	done_testing();
	exit;
}
is(scalar($service->journal('import_group')), 0, 'a claim that was not confirmed is not sent on the way out');

# The next worker waits again; a shutdown does not wait with it.
waiting_worker();
my $fast = $node->stop('fast', fail_ok => 1, timeout => 30);
ok($fast, 'a fast shutdown ends');
if (!$fast)
{
	done_testing();
	exit;
}
is(scalar($service->journal('import_group')), 0, 'and nothing was sent');

$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "''");
$node->start;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 10, 'without the standby all rows are imported');
accounted($node, $service);

done_testing();
