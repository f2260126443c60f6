# A synchronous standby that is gone: a claim waits for it, so nothing is
# sent; and the wait keeps nobody from ending the worker or the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $node = start_cluster(conf => "wal_level = replica\nmax_wal_senders = 10\nmax_worker_processes = 20");
my $WAITING = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker' AND wait_event = 'SyncRep'";

# The test's own sessions do not wait.
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
connect_app($node, $service, options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });
insert_groups($node, 5, 'before');
wait_settled($node);

sub standby_gone
{
	my ($gone) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '@{[ $gone ? 'gone' : '' ]}'");
	$node->reload;
	poll_until { value_of($node, 'SHOW synchronous_standby_names') eq ($gone ? 'gone' : '') } 'the setting';
}

foreach my $kind ('generated', 'assigned')
{
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids '$kind')") if $kind eq 'assigned';
	standby_gone(1);
	my $calls = $service->stats->{journaled};

	insert_groups($node, 30, "$kind ");
	my $pid = poll_until { value_of($node, $WAITING) } 'a claim that waits';
	is($service->stats->{journaled}, $calls, "$kind: nothing is sent before the claim's commit has returned");

	is(value_of($node, "SELECT pg_cancel_backend($pid)"), 't', "$kind: cancelled");
	is(value_of($node, $WAITING), $pid, "$kind: a cancel request changes nothing");
	foreach my $time (1 .. 3)
	{
		value_of($node, "SELECT pg_terminate_backend($pid)");
		poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0 } 'the worker to end';
		is($service->stats->{journaled}, $calls, "$kind: ended in its wait ($time), it sends nothing");
		$pid = poll_until { value_of($node, $WAITING) } 'the next to wait';
	}
	$node->stop('fast');
	is($service->stats->{journaled}, $calls, "$kind: nor does it at a fast shutdown");
	$node->start;
	poll_until { value_of($node, $WAITING) } 'the next to wait';
	$node->stop('immediate');
	is($service->stats->{journaled}, $calls, "$kind: nor at an immediate one");
	$node->start;
	poll_until { value_of($node, $WAITING) } 'the next to wait';
	standby_gone(0);
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('imported', 'in_doubt') AND name LIKE '$kind %'"), 30,
		"$kind: once it may go on it does");
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt'"), 0, 'generated: none is in doubt')
	  if $kind eq 'generated';
	accounted($node, $service, name => "$kind: every row is accounted for");
}

# The standby goes while requests are held: answers wait to be written, and are.
$node->safe_psql('postgres', 'ALTER SERVER im OPTIONS (DROP group_ids)');
hold_in_flight($node, $service, 60, 'held');
standby_gone(1);
$service->clear;
$service->release;
poll_until { value_of($node, $WAITING) } 'a commit that waits';
standby_gone(0);
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND name LIKE 'held%'"), 60, 'held: all are imported');
accounted($node, $service, name => 'held: every row is accounted for');

hold_in_flight($node, $service, 60, 'last');
standby_gone(1);
$service->clear;
$service->release;
poll_until { value_of($node, $WAITING) } 'a commit that waits';
$node->stop('fast');
ok(1, 'a fast shutdown while answers wait to be written');
$node->append_conf('postgresql.auto.conf', "synchronous_standby_names = ''");
$node->start;
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND name LIKE 'last%'"), 60, 'last: all are imported');
accounted($node, $service, name => 'last: every row is accounted for');

done_testing();
