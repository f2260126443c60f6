# Point-in-time recovery to before the claims, from an archive: the restored
# server takes nothing for unsent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;
use ImKinds;

my $service = ImService->new;
my $node = start_cluster(name => 'original', conf => "wal_level = replica\nmax_wal_senders = 10\nmax_worker_processes = 20");
$node->enable_archiving;
$node->restart;

my %database = (hold => {}, assigned => { group_ids => 'assigned' });
my @databases = sort keys %database;

foreach my $db (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	connect_app($node, $service, db => $db, options => { rate_limit => 1000, %{ $database{$db} } });
	insert_groups($node, 5, "$db done", $db);
	wait_settled($node, $db);
}
# Of every kind: some done, some open.
$node->safe_psql('postgres', 'CREATE DATABASE kinds');
connect_app($node, $service, db => 'kinds', options => { rate_limit => 1000, account_rate_limit => 1000 });
$node->safe_psql('kinds', insert_kinds($node, 'kinds', word => 'done'));
wait_kinds($node, 'kinds');
$node->backup('base');

insert_groups($node, 10, "$_ after backup", $_) foreach @databases;
wait_settled($node, $_) foreach @databases;
$node->safe_psql($_, 'SELECT im_import_pause()') foreach @databases;
insert_groups($node, 40, "$_ open", $_) foreach @databases;
$node->safe_psql('kinds', 'SELECT im_import_pause()');
$node->safe_psql('kinds', insert_kinds($node, 'kinds', word => 'open', n => 2));
$node->safe_psql('postgres', "SELECT pg_create_restore_point('before the claims')");
$node->safe_psql($_, 'SELECT im_import_resume()') foreach @databases;
wait_settled($node, $_) foreach @databases;
$node->safe_psql('kinds', 'SELECT im_import_resume()');
wait_kinds($node, 'kinds');
insert_groups($node, 10, "$_ lost", $_) foreach @databases;
wait_settled($node, $_) foreach @databases;
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
$node->stop('fast');
is($service->stats->{groups}, 133, 'the original has imported everything');

# The same backup restored twice: to the point, and to the backup's end.
sub restore
{
	my ($name, @conf) = @_;
	my $restored = PostgreSQL::Test::Cluster->new($name);

	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', join "\n", "archive_mode = off", "recovery_target_action = 'promote'", @conf);
	$restored->start;
	$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	return $restored;
}

my $point = restore('point', "recovery_target_name = 'before the claims'");
foreach my $db (@databases)
{
	is(value_of($point, 'SELECT max(name) FROM im_group_outbox', $db), "$db open9", "$db: is at the point in time");
	$point->safe_psql($db, 'SELECT im_import_resume()');
	stays_fenced($point, $service, db => $db, open => 40, reason => qr/timeline.*im_import_adopt/);
}
adopted_and_imported($point, $service, db => 'hold', adopted => 40, created => 0);
adopted_and_imported($point, $service, db => 'assigned', adopted => 40, created => 0, doubt => 40);

my $calls = $service->stats->{journaled};
$point->safe_psql('kinds', 'SELECT im_import_resume()');
wait_state($point, 'fenced', 'kinds');
is($service->stats->{journaled}, $calls, 'every kind: nothing is sent');
is(value_of($point, 'SELECT im_import_adopt()', 'kinds'), 2 * kinds($point, 'kinds'), '... before it is adopted');
wait_kinds($point, 'kinds');
is_deeply(statuses_of_kinds($point, 'kinds'), each_kind($point, 'imported 3', 'kinds'), '... and all is imported then');
is_deeply(things_of($point, $service, 'open', 'kinds'), each_kind($point, 2, 'kinds'), '... each is in the app');
is_deeply([ $service->doubles ], [], '... and none twice');

# The doubts are settled by a person: found, and not found.
my ($group) = grep { $_->{name} eq 'assigned open1' } $service->ledger;
my $found = value_of($point, "SELECT id FROM im_group_outbox WHERE name = 'assigned open1'", 'assigned');
$point->safe_psql('assigned', "SELECT im_import_resolve($found, '$group->{group_id}')");
my $status = row($point, "SELECT status, group_id FROM im_group_outbox WHERE id = $found", 'assigned');
is_deeply($status, { status => 'imported', group_id => $group->{group_id} }, 'a doubt is settled with the id found in the app');
$point->safe_psql('assigned', "DELETE FROM im_group_outbox WHERE status = 'in_doubt'");
accounted($point, $service, db => 'assigned', others => strangers($point, $service, 'assigned'));

# New rows, with ids that the original has used for others.
insert_groups($point, 10, "$_ new", $_) foreach @databases;
wait_settled($point, $_) foreach @databases;
accounted($point, $service, db => $_, others => strangers($point, $service, $_), name => "$_: goes on") foreach @databases;
$point->stop;

# Restored as far as the archive goes: nothing was open, and still a person
# must say so once.
my $end = restore('end');
is(status_of($end, 'hold')->{imported}, 65, 'restored to the end: all rows are there, as imported');
$end->safe_psql('hold', "ALTER SERVER im OPTIONS (ADD after_promotion 'continue')");
insert_groups($end, 5, 'end', 'hold');
wait_settled($end, 'hold');
is(status_of($end, 'hold')->{imported}, 70, "after_promotion 'continue', set later, goes on");
accounted($end, $service, db => 'hold', others => strangers($end, $service, 'hold'), name => 'restored to the end: every row is accounted for');

done_testing();
