# Whatever dies while rows are on their way, every row is accounted for in the
# end, and none has made two groups.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

# The cluster's own restart after a crash is what kill -9 of a worker needs.
my ($node, $service) = set_up(
	conf => "restart_after_crash = on",
	options => { rate_limit => 400, max_in_flight => 32 });
my $WORKER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'";
my $batch = 0;

# Answers that take a while, so that a death always finds calls in flight.
$service->fault({ do => 'delay', ms => 150, match => { command => 'import_group' } });

# Starts another batch of rows and waits until it is well under way.
sub start_batch
{
	my ($rows) = @_;
	my $created = $service->stats->{created};

	$batch++;
	insert_groups($node, $rows, "b$batch-");
	$service->wait_for(created => $created + $rows / 10);
}

# Waits until the server answers again after a crash.
sub wait_server
{
	poll_until { ($node->psql('postgres', 'SELECT 1'))[0] == 0 } 'the server to come back';
}

# Ends the batch: all of it is imported, once.
sub all_imported
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"),
		0, "$what: every row was imported");
	accounted($node, $service, name => "$what: every row is accounted for");
}

start_batch(200);
is(value_of($node, "SELECT pg_terminate_backend(pid) FROM ($WORKER) w"), 't', 'worker terminated');
all_imported('pg_terminate_backend');

start_batch(200);
$node->stop('fast');
$node->start;
all_imported('fast restart');

start_batch(200);
$node->stop('immediate');
$node->start;
all_imported('immediate stop');

start_batch(200);
my $pid = value_of($node, $WORKER);
kill 'KILL', $pid;
poll_until { !kill(0, $pid) } 'the worker to be gone';
wait_server();
all_imported('kill -9 of the worker');

start_batch(200);
my @pids = split /\n/, value_of($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
push @pids, PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
$node->kill9;
poll_until { !grep { kill(0, $_) } @pids } 'the killed server and its children to be gone';
$node->start;
all_imported('kill -9 of the postmaster');

# Service-assigned ids: at most once, and in doubt if nobody can know.
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
start_batch(200);
$node->stop('immediate');
$node->start;
wait_settled($node);
my $doubt = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt'");
my $imported = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND name LIKE 'b$batch-%'");
cmp_ok($doubt, '>', 0, "assigned ids: $doubt rows in flight are in doubt");
is($imported + $doubt, 200, 'assigned ids: all others are imported');
my %posted;
$posted{$_}++ foreach map { json($_->{body})->{Name} } grep { $_->{body} =~ /"b$batch-/ } $service->journal('import_group');
is(scalar(grep { $_ > 1 } values %posted), 0, 'assigned ids: no row was sent twice');

done_testing();
