# Stopping the server while requests are held, reloading it, ending its
# workers, and leaving no room for them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });
my $WORKER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'";

sub names_imported
{
	my ($prefix, $n) = @_;

	wait_settled($node);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$prefix%' AND status = 'imported'"), $n, "$prefix: all are imported");
	accounted($node, $service, others => strangers($node, $service), name => "$prefix: every row is accounted for");
}

# The requests are held until the server is down: it does not wait for them.
foreach my $mode (qw(fast immediate))
{
	foreach my $signals (1, 2)
	{
		my $name = "$mode$signals ";

		hold_in_flight($node, $service, 60, $name);
		$node->stop($mode);
		ok(1, "$name stop with requests held");
		$service->clear;
		$service->release;
		$node->start;
		names_imported($name, 60);
	}
}

# Ids that the service assigns: what was held is in doubt, nothing is sent twice.
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
foreach my $mode (qw(fast immediate))
{
	hold_in_flight($node, $service, 60, "assigned $mode");
	$node->stop($mode);
	$service->clear;
	$service->release;
	$node->start;
	wait_settled($node);
	my $doubt = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'assigned $mode%' AND status = 'in_doubt'");
	my $imported = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'assigned $mode%' AND status = 'imported'");

	cmp_ok($doubt, '>=', 8, "assigned ids, $mode: $doubt are in doubt");
	is($doubt, 8, "assigned ids, $mode: those whose request was held, and no other") if $mode eq 'fast';
	is($doubt + $imported, 60, "assigned ids, $mode: all others are imported");
}

# Told to end again and again while it puts its affairs in order: what it had
# claimed and not sent is still given back, and not in doubt.
hold_in_flight($node, $service, 60, 'assigned again');
my $told = status_of($node)->{worker_pid};
poll_until { !kill 'TERM', $told } 'the worker to end';
$service->clear;
$service->release;
wait_settled($node);
is(value_of($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM im_group_outbox WHERE name LIKE 'assigned again%' GROUP BY status) s"),
	'imported 52, in_doubt 8', 'more than one SIGTERM: only those whose request was held are in doubt');
is(scalar(grep { $_ > 1 } values %{ posted($service, 'assigned') }), 0, 'assigned ids: no row was sent twice');
accounted($node, $service, others => strangers($node, $service), name => 'assigned ids: every row is accounted for');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (DROP group_ids)");

# SIGHUP in the middle.
hold_in_flight($node, $service, 60, 'hup');
my $pid = value_of($node, $WORKER);
$node->safe_psql('postgres', 'ALTER SYSTEM SET log_min_messages = debug1');
$node->reload;
is(value_of($node, $WORKER), $pid, 'SIGHUP: the worker stays');
$service->clear;
$service->release;
names_imported('hup', 60);
poll_until { PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /parameter "log_min_messages" changed/ } 'the reload';

# The worker ended 20 times over.
$service->fault({ do => 'delay', ms => 60, match => { command => 'import_group' } });
insert_groups($node, 3000, 'ended');	# enough for 20 lives
my $ended = 0;
my %seen;
while ($ended < 20)
{
	# Sent something, so that it dies at work.
	my $called = $service->stats->{journaled};

	poll_until { $service->stats->{journaled} > $called } 'the drain to go on';
	my $ended_pid = poll_until { value_of($node, $WORKER) } 'a worker';
	next if value_of($node, "SELECT pg_terminate_backend($ended_pid)") ne 't';
	$ended++;
	$seen{$ended_pid} = 1;
	poll_until { my $now = value_of($node, $WORKER); $now eq '' || $now != $ended_pid } 'the worker to end';
}
is($ended, 20, 'the worker was ended 20 times');
$service->clear;
names_imported('ended', 3000);
cmp_ok(scalar(keys %seen), '>=', 19, 'and came back as another each time');
note(scalar(grep { $_ > 1 } values %{ posted($service, 'ended') }) . ' of its 3000 rows were sent more than once');
cmp_ok(value_of($node, "SELECT max(attempts) FROM im_group_outbox WHERE name LIKE 'ended%'"), '<=', 12, 'no row ran out of attempts');

# ---------------------------------------------------------------------------
# No room for a worker.  One place is the launcher's of logical replication,
# one is ours, and one is left for all databases.

$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
my $second = ImService->new(name => 'second');
$node->safe_psql('postgres', 'CREATE DATABASE second');
connect_app($node, $second, db => 'second');
hold_in_flight($node, $service, 60, 'room');
insert_groups($node, 10, 'second', 'second');
my $status = wait_state($node, 'no worker', 'second');
like($status->{reason}, qr/max_worker_processes/, 'no room for a worker: the reason names the cure');
like(error_of($node, 'CALL im_import_wait()', 'second'), qr/cannot go on: no worker/, 'and im_import_wait() says so');
is(scalar($second->journal), 0, 'nothing was sent meanwhile');
$service->clear;
$service->release;
wait_settled($node, 'second');
accounted($node, $second, db => 'second', name => 'room again: every row is accounted for');
names_imported('room', 60);

# None at all, not even for the launcher.
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->restart;
insert_groups($node, 10, 'none');
$status = wait_state($node, 'no worker');
like($status->{reason}, qr/max_worker_processes/, 'no room for the launcher: the reason names the cure');
$node->append_conf('postgresql.conf', 'max_worker_processes = 12');
$node->restart;
names_imported('none', 10);

done_testing();
