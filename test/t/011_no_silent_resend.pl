# libcurl repeats a POST by itself when a kept-alive connection dies under it.
# Ours must not: every call in the journal is an attempt that we know of.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

# One slot, so that every call but the first is on a connection used before.
my ($node, $service) = set_up(options => { max_in_flight => 1 });

foreach my $do (qw(close_after rst_after close_before))
{
	$service->fault({ do => $do, times => 3, match => { name => "$do*", command => 'import_group', every => 4 } });
	insert_groups($node, 12, $do);
	wait_settled($node);
	$service->clear;

	my @calls = grep { json($_->{body})->{Name} =~ /^$do/ } $service->journal('import_group');
	my %used;
	my $reused = 0;
	foreach my $call ($service->journal)
	{
		$reused++ if ($call->{fault} // '') eq $do && $used{ $call->{conn} };
		$used{ $call->{conn} }++;
	}
	is($reused, 3, "$do: the connections that died had been used before");
	is(
		value_of($node, "SELECT sum(attempts) FROM im_group_outbox WHERE name LIKE '$do%'"),
		scalar(@calls), "$do: as many attempts as calls");
	is(scalar(@calls), 15, "$do: twelve rows, three of them twice");
}
my $stats = row($node, 'SELECT sum(calls) AS calls, sum(lookups) AS lookups, sum(connections) AS connections, sum(no_reply) AS no_reply FROM pg_stat_im_import');
is($stats->{calls}, scalar($service->journal), 'as many calls counted as made');
cmp_ok($stats->{connections}, '>=', $service->stats->{connections}, 'and no connection left out');
accounted($node, $service);

# A lost connection costs its own call, and nothing after it: not one call
# fails before it is sent, which many of them would make "unreachable".
is($stats->{no_reply}, 9, 'no call failed but those whose connections died');
my $log = slurp_file($node->logfile);
unlike($log, qr{is now "unreachable"}, 'and the worker stayed running');

# A session, whose ids the service assigns: a repeated call is a second group.
my $session = $node->background_psql('postgres');
$service->fault({ do => 'close_after', match => { name => 'session3' } });
foreach my $i (1 .. 13)
{
	my $reply = json($session->query_safe("SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'session$i' AS name) q"));

	is($reply->{ErrorCode}, $i == 3 ? -3 : 0, "session's call $i");
}
$session->quit;
my ($third) = $service->calls_for('session3');
cmp_ok(scalar(grep { $_->{conn} == $third->{conn} } $service->journal), '>', 1, 'the connection that died had been used before');
is(scalar($service->calls_for('session3')), 1, 'the call was made once');
is(scalar(grep { $_->{name} eq 'session3' } $service->ledger), 1, 'and made one group');

done_testing();
