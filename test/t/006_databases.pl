# Two databases at once with an app of their own, databases that are not set
# up, and what an idle database must still allow.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode_utf8);
use Test::More;

use ImTest;

my $one = ImService->new(name => 'one');
my $two = ImService->new(name => 'two', sdkappid => 20000001, secret => 'a' x 64, admin => 'im admin+2');
my $node = start_cluster();

# ---------------------------------------------------------------------------
# Each to its own app, at the same time; the second in another encoding

$node->safe_psql('postgres', 'CREATE DATABASE first');
$node->safe_psql('postgres', "CREATE DATABASE second TEMPLATE template0 ENCODING 'EUC_CN' LC_COLLATE 'C' LC_CTYPE 'C'");
connect_app($node, $one, db => 'first', options => { rate_limit => 100 });
connect_app($node, $two, db => 'second', options => { rate_limit => 100 });
insert_groups($node, 150, 'one', 'first');
insert_groups($node, 150, 'two', 'second');
poll_until {
	value_of($node, "SELECT count(DISTINCT datname) FROM pg_stat_activity WHERE backend_type = 'im_import worker'") == 2
}
'both workers to be there';
wait_settled($node, 'first');
wait_settled($node, 'second');
accounted($node, $one, db => 'first', name => 'first database: every row is accounted for');
accounted($node, $two, db => 'second', name => 'second database: every row is accounted for');
is(scalar(grep { $_->{identifier} ne 'im admin+2' || $_->{sdkappid} != 20000001 } $two->journal),
	0, 'each with its own identifier and app');

$node->safe_psql('second', encode_utf8("SET client_encoding = 'UTF8';
	INSERT INTO im_group_outbox (type, name) VALUES ('Public', '你好群组')"));
wait_settled($node, 'second');
is(scalar(grep { $_->{name} eq '你好群组' } $two->ledger), 1, 'a name in a database of another encoding');

# A stop of one is not the other's.
$one->change_app(disabled => 60020);
insert_groups($node, 20, 'stopped', 'first');
wait_state($node, 'stopped', 'first');
insert_groups($node, 20, 'not stopped', 'second');
wait_settled($node, 'second');
is(status_of($node, 'second')->{imported}, 171, 'one database is stopped, the other goes on');
$one->change_app();
$node->safe_psql('first', 'SELECT im_import_resume()');
wait_settled($node, 'first');
is(status_of($node, 'first')->{imported}, 170, 'until it goes on too');

# ---------------------------------------------------------------------------
# DROP, RENAME and TEMPLATE, once the worker has left

sub wait_workers_gone
{
	poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE datname IN ('first', 'second', 'renamed')") == 0 }
	'idle workers to leave';
}

wait_workers_gone();
is(error_of($node, 'CREATE DATABASE copy TEMPLATE first'), '', 'an idle database can be copied');
wait_workers_gone();
is(error_of($node, 'ALTER DATABASE first RENAME TO renamed'), '', 'and renamed');
insert_groups($node, 5, 'renamed', 'renamed');
wait_settled($node, 'renamed');
is(status_of($node, 'renamed')->{imported}, 175, 'and works under its new name');
wait_workers_gone();
is(error_of($node, 'DROP DATABASE renamed'), '', 'and dropped');

# The copy has the rows, but it is not the database that was to send them.
$node->safe_psql('copy', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'of the copy')");
like(wait_state($node, 'fenced', 'copy')->{reason}, qr/copy.*im_import_adopt/, 'a copy sends nothing before somebody says so');
is(scalar($one->calls_for('of the copy')), 0, 'not even a row of its own');
$node->safe_psql('copy', 'SELECT im_import_adopt()');
wait_settled($node, 'copy');
is(scalar($one->calls_for('of the copy')), 1, 'adopted, rows inserted into a copy are its own to send');

# ---------------------------------------------------------------------------
# Not set up, or twice

$node->safe_psql('postgres', 'CREATE EXTENSION im_import');
is(status_of($node)->{state}, 'not configured', 'no server: not configured');
insert_groups($node, 3, 'waiting');
my $status = wait_state($node, 'not configured');
like($status->{reason}, qr/no server/, 'no server: the reason says so');
like(error_of($node, "SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q"),
	qr/no server.*HINT.*CREATE SERVER/s, 'and im_import_group() does, with the cure');
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: not configured/, 'and im_import_wait()');

my $endpoint = $one->endpoint;
$node->safe_psql('postgres',
	"CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', endpoint '$endpoint')");
$status = wait_state($node, 'not configured');
like($status->{reason}, qr/user mapping/, 'a server without mapping: the reason says so');
add_mapping($node, $one);
wait_settled($node);
is(status_of($node)->{imported}, 3, 'a server with a mapping: the rows are sent without another nudge');

$node->safe_psql('postgres',
	"CREATE SERVER im2 FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', endpoint '$endpoint')");
like(error_of($node, "SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q"),
	qr/more than one server.*im.*im2/s, 'two servers: a clear error');
insert_groups($node, 3, 'two servers');
$status = wait_state($node, 'not configured');
like($status->{reason}, qr/more than one server/, 'and in the status');
$node->safe_psql('postgres', 'DROP SERVER im2; SELECT im_import_resume()');
wait_settled($node);
is(status_of($node)->{imported}, 6, 'one of them dropped: it goes on');

$node->safe_psql('postgres', 'DROP EXTENSION im_import CASCADE');
is(value_of($node, "SELECT count(*) FROM pg_class WHERE relname ~ '^_?im_'"), 0, 'DROP EXTENSION leaves nothing');
$node->stop;

# ---------------------------------------------------------------------------
# Without shared_preload_libraries

my $bare = start_cluster(name => 'bare', preload => 0);
connect_app($bare, $one);
is(value_of($bare, "SELECT im_fit('abc', 2)"), 'ab', 'not preloaded: pure functions work');
is(value_of($bare, "SELECT im_group_problems(q) FROM (SELECT 'Public' AS type, 'x' AS name) q"),
	'{}', 'not preloaded: im_group_problems() too');
is(value_of($bare, "SELECT im_usersig_claims(im_usersig()) ->> 'TLS.identifier'"),
	'administrator', 'not preloaded: im_usersig() too');
insert_groups($bare, 2, 'kept');
is(status_of($bare)->{state}, 'not preloaded', 'not preloaded: the status says so');
like(status_of($bare)->{reason}, qr/shared_preload_libraries/, 'with the cure');
foreach my $call ("SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q",
	'CALL im_import_wait()', 'CALL im_import_drain()')
{
	like(error_of($bare, $call), qr/HINT:.*shared_preload_libraries/s, "not preloaded: $call has the hint");
}
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'im_import'");
$bare->restart;
wait_settled($bare);
is(status_of($bare)->{imported}, 2, 'preloaded at last: the rows that waited are sent');

done_testing();
