# A claim is on disk before its first byte leaves, whatever the database's
# settings say: after a crash the row is known to have been sent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;

# Commits that do not wait would stay in memory for ten seconds.
my ($node, $service) = set_up(
	conf => "wal_writer_delay = 10s\nautovacuum = off\nfsync = on",
	options => { group_ids => 'assigned' });

$node->safe_psql('postgres', 'ALTER DATABASE postgres SET synchronous_commit = off');
my $pid = worker_pid($node);
if ($pid)
{
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	poll_until { is_gone($pid) } 'the worker to end';
}

# The first call after a start goes alone.
insert_groups($node, 1, 'first');
wait_settled($node);
$service->fault({ do => 'hold', times => 3, match => { name => 'held*' } });
$node->safe_psql('postgres', <<SQL);
SET synchronous_commit = on;
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'held' || i FROM generate_series(1, 3) i;
SQL
$service->wait_for(held => 3);
$node->stop('immediate');
$node->start;

wait_settled($node);
is(value_of($node, "SELECT string_agg(status, ' ') FROM im_group_outbox WHERE name LIKE 'held%'"), 'in_doubt in_doubt in_doubt',
	'rows that were sent just before the crash are known to have been');
is(scalar($service->calls_for("held$_")), 1, "row $_ was sent once") foreach 1 .. 3;
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt' AND error_info IS NULL"), 0, 'and the doubt has its reason');

done_testing();
