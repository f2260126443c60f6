# A machine is suspended for longer than request_timeout while answers lie in the
# sockets, or are still on their way: they are read first, then time is judged.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time);

use ImTest;

my ($node, $service) = set_up(options => { request_timeout => '4s', rate_limit => 1000, max_in_flight => 20 });

# Stops a process for longer than the request may take; what happens meanwhile
# is the block's.
sub suspended
{
	my ($pid, $block) = @_;

	kill 'STOP', $pid;
	my $end = time() + 6;
	my $done = eval { $block->(); 1 };
	my $error = $@;
	poll_until { time() > $end } 'the time to pass';
	kill 'CONT', $pid;
	die $error unless $done;
}

foreach my $when ('in the sockets', 'still on their way')
{
	my $late = $when eq 'still on their way';
	my $before;

	# A worker that has just begun sends one call, to find out.
	insert_groups($node, 5, "before $when ");
	wait_settled($node);
	$before = $service->stats->{journaled};
	$service->fault({ do => 'hold', match => { name => "$when *" } });
	insert_groups($node, 20, "$when ");
	$service->wait_for(held => 20);
	suspended(status_of($node)->{worker_pid}, sub { $service->release unless $late });
	$service->release if $late;
	$service->clear;
	wait_settled($node);
	is(value_of($node, "SELECT string_agg(DISTINCT status || ' ' || attempts, ', ') FROM im_group_outbox WHERE name LIKE '$when %'"),
		'imported 1', "answers $when: every row is imported by its first call");
	is($service->stats->{journaled} - $before, 20, '... and there was no other');
}
accounted($node, $service);

# The time is judged all the same.
$service->fault({ do => 'hold', times => 1, match => { name => 'held' } });
is(reply_of($node, "SELECT 'Public' AS type, 'held' AS name")->{ErrorCode}, -2, 'silence ends a call');
$service->fault({ do => 'hold', times => 1, match => { name => 'held for long' } });
my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->{stdin} .= "SELECT 'code ' || (im_import_group(q) ->> 'ErrorCode') FROM (SELECT 'Public' AS type, 'held for long' AS name) q;\n";
$session->{run}->pump_nb;
$service->wait_for(held => 1);
suspended($pid, sub { });
like($session->query_until(qr/code/, "\n"), qr/code -2/, 'also after a while in which the session was stopped');
$service->release;
$session->quit;

done_testing();
