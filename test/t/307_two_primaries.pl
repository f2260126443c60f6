# The accident: a base backup is promoted while the original still sends, and
# both go on with the same rows.  No group is made twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $original = start_cluster(name => 'original', conf => "wal_level = replica\nmax_wal_senders = 10\nmax_worker_processes = 20");
my $ROWS = 400;

my %database = (
	generated => { after_promotion => 'continue' },
	assigned => { after_promotion => 'continue', group_ids => 'assigned' });
my @databases = sort keys %database;

foreach my $db (@databases)
{
	$original->safe_psql('postgres', "CREATE DATABASE $db");
	connect_app($original, $service, db => $db, options => { max_in_flight => 8, rate_limit => 100, %{ $database{$db} } });
	$original->safe_psql($db, 'SELECT im_import_pause()');
	insert_groups($original, $ROWS, $db, $db);
}
insert_groups($original, 40, 'own', 'generated', group_id => "'own-' || i");
$original->safe_psql($_, 'SELECT im_import_resume()') foreach @databases;
$service->wait_for(created => 100);

# In the middle of it, however long the backup takes.
$original->safe_psql($_, 'SELECT im_import_set_rate(5)') foreach @databases;
$original->backup('base');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($original, 'base');
$copy->append_conf('postgresql.conf', 'recovery_target_timeline = latest');
$copy->set_standby_mode;
$copy->start;
$copy->promote;
$copy->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$copy->safe_psql($_, 'SELECT im_import_resume()') foreach @databases;
$original->safe_psql($_, 'SELECT im_import_set_rate(100)') foreach @databases;
my $left = value_of($original, "SELECT count(*) FROM im_group_outbox WHERE status = 'pending'", 'generated');
note("the original has $left rows left when the copy begins");

foreach my $node ($original, $copy)
{
	wait_settled($node, $_) foreach @databases;
}
foreach my $node ($original, $copy)
{
	my $name = $node->name;

	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'", 'generated'),
		0, "$name: all rows with an id of their own are imported");
	accounted($node, $service, db => $_, others => strangers($node, $service, $_), name => "$name, $_: every row is accounted for")
	  foreach @databases;
}
my $doubt = value_of($copy, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt'", 'assigned');
cmp_ok($doubt, '>', 0, "copy: $doubt rows whose id the service assigns are in doubt");
is(value_of($original, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'", 'assigned'),
	$ROWS, 'original: all of them are imported');
is($service->stats->{groups}, 2 * $ROWS + 40, 'every group was made exactly once');

my %posted = %{ posted($service, '') };
is(scalar(grep { /^assigned/ && $posted{$_} > 1 } keys %posted), 0, 'no row with an assigned id was sent twice');
cmp_ok(scalar(grep { $posted{$_} > 1 } keys %posted), '>', 0, 'others were, and the service refused the second');

done_testing();
