# The last day minute by minute, the rate of the first seconds, the worker's
# line in pg_stat_activity, and the advice for who calls im_import_group() a
# thousand times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImKinds;

my ($node, $service) = set_up(options => { rate_limit => 500 });

sub history
{
	return row($node, <<'SQL');
SELECT count(*) AS minutes, coalesce(sum(calls), 0) AS calls, coalesce(sum(imported), 0) AS imported,
	coalesce(sum(failed), 0) AS failed, coalesce(sum(throttled), 0) AS throttled, min(p50) AS p50, max(p99) AS p99,
	bool_and(minute = date_trunc('minute', minute) AND minute BETWEEN now() - interval '5 minutes' AND now()) AS now
FROM im_import_history
SQL
}

is(history()->{calls}, 0, 'nothing has happened');

# ---------------------------------------------------------------------------
# While it runs

insert_groups($node, 3000, 'room');
poll_until {
	my $status = status_of($node);

	$status->{imported} > 200 && $status->{calls_per_second} > 100
} 'a rate within the first seconds';
pass('calls_per_second does not wait for ten seconds');
my $line;
poll_until {
	$line = value_of($node, "SELECT query FROM pg_stat_activity WHERE application_name = 'im_import' AND backend_type = 'im_import worker'");
	$line =~ /^im_import: [1-9]/
} 'a telling line in pg_stat_activity';
like($line, qr/^im_import: \d+ of 3000 rows, running/, 'how far it is');
wait_settled($node);

# ---------------------------------------------------------------------------
# After it

insert_groups($node, 20, '');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', ''), ('None', 'x')");
$service->fault({ do => 'code', code => 10004, match => { name => 'refused' } });
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'refused')");
wait_settled($node);
my $history;
poll_until { ($history = history())->{imported} == 3020 && $history->{failed} == 3 } 'the history';
is($history->{calls}, value_of($node, 'SELECT sum(calls) FROM pg_stat_im_import'), 'every call');
is(value_of($node, "SELECT string_agg(DISTINCT kind, ' ') FROM im_import_history"), 'group', 'of the kind that they are of');
ok($history->{now}, 'minutes are whole, and of now');
cmp_ok($history->{throttled}, '>', 1000, 'the rate limit held calls, in milliseconds');
cmp_ok($history->{p50}, '>', 0, 'half of the calls');
cmp_ok($history->{p99}, '>=', $history->{p50}, '99 % of the calls');

my $worker = value_of($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)") if $worker ne '';
is(history()->{calls}, $history->{calls}, 'the history outlives the worker');
$node->safe_psql('postgres', 'SELECT im_import_stats_reset()');
is(history()->{calls}, $history->{calls}, 'and a reset of the counters');
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM im_import_history', extra_params => [ '-U', 'watcher' ]),
	't', 'pg_monitor may look');

# ---------------------------------------------------------------------------
# A restart

$history = history();
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->restart;
poll_until { history()->{calls} } 'the history after a restart';
is_deeply(history(), $history, 'a restart keeps all of it');
ok(!-e $node->data_dir . '/pg_stat/im_import.stat', 'its file is gone while the server runs');
$node->safe_psql('other', 'CREATE EXTENSION im_import');
is(value_of($node, 'SELECT count(*) FROM im_import_history', 'other'), 0, 'and another database has none of it');
$node->stop;
$node->start;
$node->restart;
poll_until { history()->{calls} } 'the history after three restarts';
is_deeply(history(), $history, 'two more keep it too');
insert_groups($node, 7, 'later');
wait_settled($node);
poll_until { history()->{imported} == $history->{imported} + 7 } 'what comes after it';
pass('and it goes on');
$node->stop;
append_to_file($node->data_dir . '/pg_stat/im_import.stat', 'x');
$node->start;
poll_until { history()->{imported} == $history->{imported} + 7 } 'the history from a file with too much in it';
$node->stop;
truncate($node->data_dir . '/pg_stat/im_import.stat', 1000) or die $!;
$node->start;
is(history()->{calls}, 0, 'a damaged file is not read');
insert_groups($node, 1, 'last');
wait_settled($node);
poll_until { history()->{imported} == 1 } 'a new history';
$node->stop('immediate');
$node->start;
poll_until { history()->{imported} == 1 } 'the history after an immediate shutdown';
pass('an immediate shutdown keeps it');
my @pids = split /\n/, value_of($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
push @pids, slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
$node->kill9;
poll_until { !grep { kill(0, $_) } @pids } 'the killed server and its children to be gone';
$node->start;
is(history()->{calls}, 0, 'a crash empties it');
insert_groups($node, 1, 'after a crash');
wait_settled($node);
poll_until { history()->{imported} == 1 } 'the history goes on';

# ---------------------------------------------------------------------------
# A thousand calls in one transaction

$service->clear;
my $many = "SELECT count(im_import_group(t)) FROM (SELECT 'Public' AS type, 'g' || i AS name FROM generate_series(1, 600) i) t";
my ($out, $err);
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET rate_limit '5000')");
$node->psql('postgres', "BEGIN; $many; $many; $many; $many; COMMIT", stdout => \$out, stderr => \$err);
is(() = $err =~ /NOTICE:  im_import_group\(\) was called 1000 times/g, 1, 'said once') or diag($err);
like($err, qr/HINT:.*im_group_outbox/, 'with what is made for it');
$node->psql('postgres', "$many; $many", stdout => \$out, stderr => \$err);
is($err, '', 'not for several transactions');

# ---------------------------------------------------------------------------
# Every kind has its own: what is imported of one, and its calls, move no other

my @kinds = kinds($node);
sub of_kind { return { map { $_->{kind} => "$_->{imported} in $_->{calls}" } rows($node, 'SELECT kind, sum(imported) AS imported, sum(calls) AS calls FROM im_import_history GROUP BY 1') } }

my $expected = of_kind();
foreach my $kind (@kinds)
{
	my ($rows, $calls) = ($expected->{$kind} // '0 in 0') =~ /(\d+) in (\d+)/;

	# In the order of the move: each has what it depends on.
	$node->safe_psql('postgres', insert_kind($kind, word => 'history'));
	wait_kinds($node);
	$expected->{$kind} = ($rows + 1) . ' in ' . ($calls + 1);
	poll_until { ((of_kind()->{$kind} // '') =~ /^(\d+)/ ? $1 : 0) == $rows + 1 } "the history of kind $kind";
	is_deeply(of_kind(), $expected, "the history of kind $kind moves, and no other");
}

done_testing();
