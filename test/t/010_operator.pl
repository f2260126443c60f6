# What an operator does while an import runs: change options, pause, rehearse,
# wait, watch.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use Time::HiRes qw(time);

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 50 });

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ---------------------------------------------------------------------------
# Changed options act on a drain under way

insert_groups($node, 600, 'fast');
$service->wait_for(created => 20);
sql("ALTER SERVER im OPTIONS (SET rate_limit '1000')");
wait_settled($node);
cmp_ok($service->stats->{widest_second}, '>', 52, 'rate_limit raised: more calls in a second than the old rate allows');
is(status_of($node)->{rate_limit}, 1000, 'and the status shows it');

sql(<<'SQL');
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'slow' || i FROM generate_series(1, 300) i;
SELECT im_import_set_rate(20);
SQL
is(status_of($node)->{rate_limit}, 20, 'im_import_set_rate(20)');
my $before = $service->stats->{created};
my $mark = time();
$service->wait_for(created => $before + 25);
cmp_ok(time() - $mark, '>', 0.7, 'acts while rows are on their way');
like(error_of($node, 'SELECT im_import_set_rate(0)'), qr/ERROR.*rate_limit/s, 'a rate of 0 is refused');
sql('SELECT im_import_set_rate(500)');

$service->fault({ do => 'delay', ms => 200 });
sql("ALTER SERVER im OPTIONS (ADD max_in_flight '2')");
wait_settled($node);
insert_groups($node, 30, 'narrow');
wait_settled($node);
my $widest = 0;
my @narrow = sort { $a->{t} <=> $b->{t} } grep { json($_->{body})->{Name} =~ /^narrow/ } $service->journal('import_group');
foreach my $call (@narrow)
{
	my $beside = grep { $_->{t} >= $call->{t} && $_->{t} < $call->{t} + 0.19 } @narrow;
	$widest = $beside if $beside > $widest;
}
is($widest, 2, 'max_in_flight 2: never more than two calls at once');
$service->clear;
sql("ALTER SERVER im OPTIONS (DROP max_in_flight)");

$service->fault({ do => 'delay', ms => 4000, times => 1 });
sql("ALTER SERVER im OPTIONS (ADD request_timeout '1s')");
insert_groups($node, 1, 'timeout');
wait_settled($node);
is(value_of($node, "SELECT attempts FROM im_group_outbox WHERE name = 'timeout1'"), 2,
	'request_timeout: a call over it is given up');
sql("ALTER SERVER im OPTIONS (DROP request_timeout)");
$service->clear;
accounted($node, $service, name => 'every row is accounted for, whatever was altered');

# To another service, while calls are held by the first.  After a change a
# single call goes ahead of all others; let that be answered.
my $other = ImService->new(name => 'other');
insert_groups($node, 1, 'ahead');
wait_settled($node);
$service->fault({ do => 'hold', times => 5 });
insert_groups($node, 60, 'move');
$service->wait_for(held => 5);
sql("ALTER SERVER im OPTIONS (SET endpoint '@{[ $other->endpoint ]}')");
poll_until { $service->release; value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')") == 0 }
'the rest to move on';
my @here = grep { $_->{name} =~ /^move/ } $service->ledger;
my @there = grep { $_->{name} =~ /^move/ } $other->ledger;
is(@here + @there, 60, 'endpoint changed: every row arrived once, here or there');
cmp_ok(scalar(@here), '>=', 5, 'what was in flight had its answer');
insert_groups($node, 20, 'there');
wait_settled($node);
is(scalar(grep { $_->{name} =~ /^there/ } $other->ledger), 20, 'and new rows go there');
sql("ALTER SERVER im OPTIONS (SET endpoint '@{[ $service->endpoint ]}')");

# ---------------------------------------------------------------------------
# Pause, rehearse, go on

sql("ALTER SERVER im OPTIONS (ADD max_in_flight '3')");
$service->fault({ do => 'hold' });
insert_groups($node, 50, 'pause');
$service->wait_for(held => 1);
sql("SELECT im_import_pause('lunch')");
my $status = wait_state($node, 'paused');
like($status->{reason}, qr/lunch/, 'paused, with the reason given');
$service->clear;
poll_until { $service->release; status_of($node)->{sending} == 0 } 'what is in flight to settle';
my $left = status_of($node)->{pending};
cmp_ok($left, '>', 0, 'rows wait');
sql("ALTER SERVER im OPTIONS (DROP max_in_flight)");
my $created = $service->stats->{created};
$node->restart;
is(status_of($node)->{state}, 'paused', 'a pause survives a restart');
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: paused.*lunch.*HINT:.*im_import_resume\(\)/s, 'who waits is told what to do');
is($service->stats->{created}, $created, 'and nothing is sent');

my (undef, undef, $told) = $node->psql('postgres', 'CALL im_import_drain(5)');
like($told, qr/^[^\n]*NOTICE:  im_import: 5 rows imported, 0 failed, 0 invalid, 0 in doubt$/m, 'a rehearsal with five rows says how they ended');
unlike($told, qr/ERROR|HINT/, 'and nothing else');
is(status_of($node)->{pending}, $left - 5, 'five rows went');
is($service->stats->{created}, $created + 5, 'to the service');
is(status_of($node)->{state}, 'paused', 'and it is paused again');
sql('CALL im_import_drain(1)');
is($service->stats->{created}, $created + 6, 'one more');
like(error_of($node, 'CALL im_import_drain(0)'), qr/at least 1/, 'no rows make no drain');
like(error_of($node, 'BEGIN; CALL im_import_drain(1)'), qr/cannot run inside a transaction block/,
	'im_import_drain() in a transaction block');
sql('CALL im_import_drain()');
is(status_of($node)->{pending}, 0, 'a drain without a number sends all');
sql('SELECT im_import_resume()');

# ---------------------------------------------------------------------------
# Waiting for the end

insert_groups($node, 20, 'wait');
is(error_of($node, 'CALL im_import_wait()'), '', 'im_import_wait() returns');
is(status_of($node)->{pending} + status_of($node)->{sending}, 0, 'when nothing is open');
like(error_of($node, 'BEGIN; CALL im_import_wait()'), qr/cannot run inside a transaction block/,
	'im_import_wait() in a transaction block');

$service->fault({ do => 'hold' });
insert_groups($node, 1, 'held');
$service->wait_for(held => 1);
my $waiting = $node->background_psql('postgres', on_error_stop => 0);
$waiting->{stdin} .= "CALL im_import_wait();\n\\echo returned\n";
$waiting->{run}->pump_nb;
my $xmin = poll_until {
	value_of($node, "SELECT coalesce(backend_xmin::text, 'none') FROM pg_stat_activity
		WHERE query = 'CALL im_import_wait();' AND wait_event_type = 'Extension'");
} 'im_import_wait() to wait';
is($xmin, 'none', 'im_import_wait() holds no snapshot while it waits');
my $since = time();
like(error_of($node, "CALL im_import_wait('1 s')"), qr/timeout while 1 rows? (?:is|are) still open/, 'the timeout');
cmp_ok(time() - $since, '<', 10, 'in about that time');
$service->clear;
$service->release;
like($waiting->query_until(qr/returned/, "\n"), qr/returned/, 'the other one goes on waiting, and returns');
$waiting->quit;

$service->fault({ do => 'code', code => 10019, info => 'no owner', times => 1, match => { name => 'fail1' } });
sql("SELECT im_import_pause()");
insert_groups($node, 2, 'fail');
sql("INSERT INTO im_group_outbox (source_id, type, name) VALUES ('bad', 'Publik', 'bad')");
(undef, undef, $told) = $node->psql('postgres', 'CALL im_import_drain()');
like($told, qr/1 rows imported, 1 failed, 1 invalid, 0 in doubt\n.*HINT:.*im_import_failures/, 'a drain tells of rows that were not imported');
sql("SELECT im_import_resume()");
like(error_of($node, 'CALL im_import_wait()'), qr/not all rows were imported: 1 failed, 1 invalid, 0 in doubt/,
	'im_import_wait() raises when rows failed');
is(error_of($node, 'CALL im_import_wait(raise_on_failure => false)'), '', 'unless that is no matter');

# ---------------------------------------------------------------------------
# Views

is_deeply(
	[ rows($node, 'SELECT error_code, rows, failed, invalid, in_doubt, sample_text FROM im_import_errors ORDER BY 1') ],
	[
		{ error_code => 10004, rows => 1, failed => 0, invalid => 1, in_doubt => 0,
			sample_text => value_of($node, "SELECT error_info FROM im_group_outbox WHERE name = 'bad'") },
		{ error_code => 10019, rows => 1, failed => 1, invalid => 0, in_doubt => 0, sample_text => 'no owner' }
	],
	'im_import_errors');
is(value_of($node, "SELECT string_agg(status, ',' ORDER BY id) FROM im_import_failures WHERE advice <> ''"),
	'failed,invalid', 'im_import_failures');

# One code, two meanings: what was never sent, and what the service refused.
$service->fault({ do => 'code', code => 10004, info => 'all defined key is invalid', match => { name => 'custom1' } });
insert_groups($node, 1, 'custom');
wait_settled($node);
is_deeply(
	[ map { "$_->{rows} $_->{failed} $_->{invalid} " . ($_->{problem} // '') }
		  rows($node, 'SELECT * FROM im_import_errors WHERE error_code = 10004 ORDER BY failed DESC') ],
	[ '1 1 0 ', '1 0 1 type is none of those that are allowed; allowed are Public, Private (or Work), ChatRoom (or Meeting) and Community' ],
	'im_import_errors tells refused from unsent rows');
like(value_of($node, "SELECT advice FROM im_import_errors WHERE error_code = 10004 AND failed > 0"),
	qr/im_import_retry\(10004, 'failed', kind => 'group'\)/, 'with advice for refused rows that leaves the others alone');
like(value_of($node, "SELECT advice FROM im_import_errors WHERE error_code = 10004 AND invalid > 0"),
	qr/^Of the invalid ones nothing was sent/, 'and for the others');
$service->clear;
is(value_of($node, "SELECT im_import_retry(10004, 'failed')"), 1, 'which it does');
wait_settled($node);
unlike(value_of($node, "SELECT advice FROM im_import_errors WHERE error_code = 10004"), qr/im_import_retry/, 'for invalid ones alone there is no retry');
is(value_of($node, 'SELECT count(*) FROM im_import_mapping'),
	value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 'im_import_mapping');
my $stats = row($node, "SELECT * FROM pg_stat_im_import WHERE command = 'import_group'");
cmp_ok($stats->{calls}, '>=', 40, 'pg_stat_im_import: calls');
cmp_ok($stats->{connections}, '>', 0, 'pg_stat_im_import: connections');
cmp_ok($stats->{latency_p50}, '<=', $stats->{latency_p99}, 'pg_stat_im_import: latencies');
cmp_ok($stats->{bytes_sent}, '>', 1000, 'pg_stat_im_import: bytes');
is($stats->{replies_row}, 2, 'pg_stat_im_import: refusals');
sql('SELECT im_import_stats_reset()');
is(value_of($node, 'SELECT sum(calls) FROM pg_stat_im_import'), 0, 'im_import_stats_reset()');
isnt(value_of($node, 'SELECT min(stats_reset) FROM pg_stat_im_import'), '', 'and its time');

sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE nobody LOGIN');
foreach my $view (qw(im_import_status im_import_progress im_import_rooms im_import_errors im_import_problems im_import_failures im_import_mapping pg_stat_im_import))
{
	is(error_of($node, "SET ROLE watcher; SELECT * FROM $view"), '', "pg_monitor may read $view");
	like(error_of($node, "SET ROLE nobody; SELECT * FROM $view"), qr/permission denied/, "PUBLIC may not");
}
is(
	value_of($node, <<'SQL'), '', 'nothing of the extension is granted to PUBLIC');
SELECT string_agg(d.objid::regprocedure::text, ', ') FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'im_import')
	AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
SQL
is(status_of($node)->{total}, value_of($node, 'SELECT count(*) FROM im_group_outbox'), 'the total is the number of rows');

# ---------------------------------------------------------------------------
# Each order is answered

sub said
{
	my ($status, $out, $err) = $node->psql('postgres', $_[0], on_error_stop => 1);

	return $err;
}

$node->safe_psql('postgres', 'DELETE FROM im_group_outbox');
insert_groups($node, 5, 'answered');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', repeat('x', 40))");
like(said("CALL im_import_wait(timeout => '1 minute', raise_on_failure => false)"),
	qr/NOTICE:  im_import: no row is open: 5 imported, 0 failed, 1 invalid, 0 in doubt\n.*HINT:  See im_import_errors/s, 'im_import_wait() sums up');
like(said('SELECT im_import_pause()'), qr/NOTICE:  the import is paused/, 'im_import_pause() answers');
like(said("SELECT im_import_retry(status => 'invalid')"), qr/NOTICE:  1 rows are pending again/, 'im_import_retry() answers');
insert_groups($node, 200, 'progress');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET rate_limit '20')");
like(said('SELECT im_import_resume()'), qr/NOTICE:  the import goes on/, 'im_import_resume() answers');
my $progress = said("CALL im_import_wait(timeout => '1 minute', raise_on_failure => false)");
# Some rows may have gone between the two statements; five were settled before.
my ($open) = $progress =~ /NOTICE:  im_import: 0 of (\d+) rows done \(0\.0 %\)/;
cmp_ok($open // 206, '<=', 201, 'its first notice counts the rows that were open, and none of those that were settled') or diag($progress);
like($progress, qr/im_import: [1-9]\d* of $open rows done \(\d+\.\d %\), [\d.]+ calls per second, about 0:00:\d\d left/,
	'its next one tells how many of them are done, and the time left');

done_testing();
