# While calls are on the network the worker holds no transaction, no snapshot
# and no lock on anything of the database's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up();

$service->fault({ do => 'hold', match => { command => 'import_group' } });
insert_groups($node, 10, 'held');
$service->wait_for(held => 1);

my $worker = row($node, <<'SQL');
SELECT pid, backend_xmin, backend_xid, xact_start, state FROM pg_stat_activity
WHERE backend_type = 'im_import worker'
SQL
is($worker->{backend_xmin}, undef, 'in flight: no snapshot');
is($worker->{backend_xid}, undef, 'in flight: no transaction id');
is($worker->{xact_start}, undef, 'in flight: no transaction');

is(
	value_of($node, "SELECT string_agg(locktype, ',') FROM pg_locks WHERE pid = $worker->{pid}"),
	'advisory', 'in flight: no lock but the one that makes it the only sender');

# What would wait for a transaction, does not.
is(error_of($node, "SET lock_timeout = '5s'; CREATE INDEX CONCURRENTLY beside ON im_group_outbox (source_id)"),
	'', 'an index can be built meanwhile');
is(error_of($node, "SET lock_timeout = '5s'; VACUUM im_group_outbox"), '', 'the table can be vacuumed');
is(error_of($node, 'DROP INDEX beside; CREATE DATABASE other; DROP DATABASE other'), '', 'another database can be dropped');

$service->clear;
poll_until { $service->release; value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'") == 0 }
'the held calls';
accounted($node, $service);

done_testing();
