# Promotion of an asynchronous and of a synchronous standby: held by default,
# going on where after_promotion says so; no group twice either way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;
use ImKinds;

my $CONF = "wal_level = replica\nmax_wal_senders = 10\nhot_standby = on\nmax_worker_processes = 20";
my $TIMELINE = qr/timeline.*im_import_adopt/;
my $service = ImService->new;
my $primary = start_cluster(name => 'primary', conf => $CONF);

# Four databases: what happens after a promotion, and who makes the ids.
my %database = (
	hold => {},
	hold_assigned => { group_ids => 'assigned' },
	go => { after_promotion => 'continue' },
	go_assigned => { after_promotion => 'continue', group_ids => 'assigned' });
my @databases = sort keys %database;

foreach my $db (@databases)
{
	$primary->safe_psql('postgres', "CREATE DATABASE $db");
	connect_app($primary, $service, db => $db,
		options => { max_in_flight => 8, rate_limit => 1000, %{ $database{$db} } });
	insert_groups($primary, 5, "$db done", $db);
	wait_settled($primary, $db);
}
# And of every kind: some done, some open.
$primary->safe_psql('postgres', 'CREATE DATABASE kinds');
connect_app($primary, $service, db => 'kinds', options => { rate_limit => 1000, account_rate_limit => 1000 });
$primary->safe_psql('kinds', insert_kinds($primary, 'kinds', word => 'done'));
wait_kinds($primary, 'kinds');
$primary->backup('base');

# A standby of the primary that follows it.
sub new_standby
{
	my ($name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "primary_conninfo = '@{[ $primary->connstr ]} application_name=$name'");
	$standby->start;
	return $standby;
}

# A standby sends nothing, and says why.
my $async = new_standby('async');
my $sync = new_standby('sync');
$primary->safe_psql($_, 'SELECT im_import_pause()') foreach @databases;
insert_groups($primary, 30, "$_ open", $_) foreach @databases;
$primary->safe_psql('kinds', 'SELECT im_import_pause()');
$primary->safe_psql('kinds', insert_kinds($primary, 'kinds', word => 'open', n => 2));
$primary->wait_for_catchup($_) foreach qw(async sync);
is(status_of($async, 'hold')->{pending}, 30, 'a standby shows the rows');
like(status_of($async, 'hold')->{reason}, qr/standby|paused/, 'and that it does not send them');
is(value_of($async, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'im_import%'"), 0, 'no worker in recovery');
like(error_of($async, "SELECT $_()", 'hold'), qr/cannot execute $_\(\) during recovery/, "no $_() on a standby")
  foreach qw(im_import_adopt im_import_pause im_import_resume);
like(error_of($async, $_, 'hold'), qr/read-only|recovery/, "$_ on a standby")
  foreach 'SELECT im_import_retry()', 'SELECT im_import_resolve(1)', 'SELECT im_import_set_rate(1)',
  'CALL im_import_verify()', "CALL im_import_forget('2020-01-01')", "INSERT INTO im_group_outbox (name) VALUES ('x')",
  "SELECT im_import_group(t) FROM (SELECT 'Public' AS type, 'x' AS name, 'x' AS group_id) t";
is(error_of($async, "SELECT * FROM $_", 'hold'), '', "$_ on a standby")
  foreach qw(im_import_doctor() im_import_plan() im_import_history im_import_errors im_import_failures
  im_import_verify_summary pg_stat_im_import im_import_stats_reset());

# ---------------------------------------------------------------------------
# Asynchronous: it has seen the rows, but not that they were sent

$async->stop;
$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'sync'");
$primary->reload;
$primary->safe_psql($_, 'SELECT im_import_resume()') foreach @databases;
wait_settled($primary, $_) foreach @databases;
$primary->safe_psql('kinds', 'SELECT im_import_resume()');
wait_kinds($primary, 'kinds');
my $groups = $service->stats->{groups};
is($groups, 4 * 35 + 3, 'the primary has imported all rows');
$async->append_conf('postgresql.conf', "primary_conninfo = ''\nsynchronous_standby_names = ''");
$async->start;
# The pause came with the rows: it is this database's own.
my $calls = $service->stats->{journaled};
$async->promote;
$async->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$async->safe_psql($_, 'SELECT im_import_resume()') foreach @databases;

foreach my $db (qw(go go_assigned))
{
	wait_settled($async, $db);
	accounted($async, $service, db => $db, others => strangers($async, $service, $db), name => "asynchronous, $db: every row is accounted for");
}
foreach my $db (qw(hold hold_assigned))
{
	stays_fenced($async, $service, db => $db, open => 30, reason => $TIMELINE, name => "asynchronous, $db");
}
is(value_of($async, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'", 'go'), 35, 'continue: all are imported');
is(value_of($async, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt' AND error_info <> ''", 'go_assigned'),
	30, 'continue, assigned ids: in doubt, with a reason');
adopted_and_imported($async, $service, db => 'hold', adopted => 30, created => 0);
adopted_and_imported($async, $service, db => 'hold_assigned', adopted => 30, created => 0, doubt => 30);
is($service->stats->{groups}, $groups, 'asynchronous: no group was made twice');

$calls = $service->stats->{journaled};
$async->safe_psql('kinds', 'SELECT im_import_resume()');
wait_state($async, 'fenced', 'kinds');
is($service->stats->{journaled}, $calls, 'every kind: nothing is sent');
is(value_of($async, 'SELECT im_import_adopt()', 'kinds'), 2 * kinds($async, 'kinds'), '... before it is adopted');
wait_kinds($async, 'kinds');
is_deeply(statuses_of_kinds($async, 'kinds'), each_kind($async, 'imported 3', 'kinds'), '... and all is imported then');
is_deeply(things_of($async, $service, 'open', 'kinds'), each_kind($async, 2, 'kinds'), '... each is in the app');
is_deeply([ $service->doubles ], [], '... and none twice');

foreach my $db (@databases)
{
	insert_groups($async, 5, "$db later", $db);
	wait_settled($async, $db);
	is(value_of($async, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND name LIKE '$db later%'", $db),
		5, "$db: goes on after the promotion");
}
$async->restart;
visit_worker($async, 'hold');
is(status_of($async, 'hold')->{state}, 'idle', 'once adopted, a restart changes nothing');
$async->stop;

# ---------------------------------------------------------------------------
# Synchronous: every claim is there before its call; the primary dies in the
# middle, with calls held

$groups = $service->stats->{groups};
# The first of each is answered, or there would be one call at a time.
$service->fault(
	(map { { do => 'delay', ms => 0, times => 1, match => { command => 'import_group', name => "$_ sync*" } } } @databases),
	{ do => 'hold', match => { command => 'import_group', name => '* sync*' } });
insert_groups($primary, 31, "$_ sync", $_) foreach @databases;
$service->wait_for(held => 4 * 8);
foreach my $db (@databases)
{
	poll_until { value_of($primary, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '% sync%' AND status = 'imported'", $db) == 1 }
	'the answer to the first';
}
my %called = %{ posted($service, '') };
$primary->stop('immediate');
$service->clear;
$service->release;
$sync->append_conf('postgresql.conf', "primary_conninfo = ''\nsynchronous_standby_names = ''");
$sync->promote;
$sync->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');

foreach my $db (@databases)
{
	my $lost = grep { /^$db sync/ } keys %called;

	$lost -= value_of($sync,
		"SELECT count(*) FROM im_group_outbox WHERE name IN (" . join(', ', map { "'$_'" } grep { /^$db sync/ } keys %called)
		  . ") AND (status IN ('sending', 'imported') OR attempts > 0 OR maybe_sent_at IS NOT NULL)", $db);
	is($lost, 0, "synchronous, $db: every row that was called is known to have been");
}
stays_fenced($sync, $service, db => $_, open => 30, reason => $TIMELINE, name => "synchronous, $_")
  foreach qw(hold hold_assigned);
adopted_and_imported($sync, $service, db => 'hold', adopted => 30);
adopted_and_imported($sync, $service, db => 'hold_assigned', adopted => 30, doubt => 30, created => 0);
wait_settled($sync, $_) foreach qw(go go_assigned);
is(value_of($sync, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND name LIKE '% sync%'", $_), 31,
	"synchronous, $_: all are imported")
  foreach qw(hold go);
is(value_of($sync, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt' AND name LIKE '% sync%'", 'go_assigned'),
	30, 'synchronous, go_assigned: in doubt');
accounted($sync, $service, db => $_, others => strangers($sync, $service, $_), name => "synchronous, $_: every row is accounted for")
  foreach @databases;

my %times;
$times{ $_->{name} }++ foreach $service->ledger;
is_deeply([ grep { $times{$_} > 1 && !/later/ } keys %times ], [], 'no name has two groups');
my %posted = %{ posted($service, '') };
is_deeply([ grep { $posted{$_} > 1 && /assigned/ && !/later/ } keys %posted ], [], 'no row with an assigned id was sent twice');

done_testing();
