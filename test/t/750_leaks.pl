# Many rows through one worker, and many calls of one session: memory and
# descriptors stay as they are.
#
# IM_LEAK_ROWS and IM_LEAK_CALLS are how many (20,000 each; 1,000,000 and
# 100,000 for a long look).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

plan skip_all => 'needs /proc' unless -r '/proc/self/status' && slurp_file('/proc/self/status') =~ /^RssAnon:/m;
plan skip_all => 'memory under a sanitizer tells nothing' if $ENV{IM_TEST_SANITIZED};

my $rows = $ENV{IM_LEAK_ROWS} // 20_000;
my $calls = $ENV{IM_LEAK_CALLS} // 20_000;
my $service = ImService->new;
my $node = start_cluster(conf => "fsync = off\nshared_buffers = 16MB");
connect_app($node, $service, options => { rate_limit => 100_000, max_in_flight => 32, request_timeout => '10min' });

# Memory in kB and open descriptors of a process.  Only its own pages: those of
# shared memory and of programs are private to the one who happens to be the
# last to have them mapped, and would hide as much as they add.
sub usage
{
	my ($pid) = @_;
	my $private = 0;

	$private += $_ foreach slurp_file("/proc/$pid/status") =~ /^(?:RssAnon|VmSwap):\s+(\d+) kB/mg;
	opendir(my $fds, "/proc/$pid/fd") or die "/proc/$pid/fd: $!";
	return ($private, scalar(grep { /^\d/ } readdir $fds));
}

# Growth allowed: what is cached at first, but nothing per row or call.
sub flat
{
	my ($name, $before, $after, $n) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	note("$name: $before->[0] kB and $before->[1] descriptors, after $n more $after->[0] kB and $after->[1] descriptors");
	cmp_ok($after->[0] - $before->[0], '<', 5 * 1024 + $n / 50, "$name: memory does not grow with $n more, but for what is cached");
	cmp_ok($after->[1] - $before->[1], '<=', 16, "$name: nor do descriptors, but for a few connections and files");
}

# ---------------------------------------------------------------------------
# One worker.  A call that is held keeps it from leaving; each tenth row fails, is refused or invalid.

my $prefix = 0;

sub drain
{
	my ($n) = @_;

	$prefix++;
	$node->safe_psql('postgres', <<"SQL");
INSERT INTO im_group_outbox (type, name, introduction, app_defined_data)
SELECT CASE WHEN i % 10 = 3 THEN 'Publik' ELSE 'Public' END, CASE WHEN i % 10 = 7 THEN 'refused' ELSE 'row $prefix ' || i END, repeat('x', i % 200),
	json_build_object('a', repeat('y', i % 300))
FROM generate_series(1, $n) i
SQL
	poll_until { value_of($node, "SELECT pending + sending FROM im_import_status") == 1 } 'all but the held call', 36_000;
}

sub worker_pid { return value_of($node, 'SELECT worker_pid FROM im_import_status') }

# A drain begins with one call: it must be answered before another is held.
insert_groups($node, 1, 'first');
wait_settled($node);
$service->fault(
	{ do => 'hold', match => { name => 'held' } },
	{ do => 'code', code => 10019, info => 'refused ' x 50, match => { name => 'refused' } },
	{ do => 'close_after', match => { every => 997, command => 'import_group' } },
	{ do => 'nul_info', match => { every => 101 } },
	{ do => 'http', match => { every => 1009 } });
$node->safe_psql('postgres', q{INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'held')});
$service->wait_for(held => 1);
my $pid = worker_pid();
drain(int($rows / 5) + 500);
my $before = [ usage($pid) ];
drain($rows);
my $after = [ usage($pid) ];
is(worker_pid(), $pid, 'one and the same worker');
flat('the worker', $before, $after, $rows);
$service->clear;
$service->release;
wait_settled($node);

# ---------------------------------------------------------------------------
# One session: calls that succeed, are refused, time out, are invalid, are cancelled

$service->fault(
	{ do => 'code', code => 10019, info => 'refused ' x 50, match => { name => '*3' } },
	{ do => 'close_after', match => { name => '*17' } },
	{ do => 'huge', bytes => 200_000, match => { name => '*99' } });
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('SET client_min_messages = error; SET jit = off');
my $backend = $session->query_safe('SELECT pg_backend_pid()');
my $call = q{SELECT count(im_import_group(q)) FROM (SELECT CASE WHEN i %% 50 = 9 THEN 'Publik' ELSE 'Public' END AS type, 'call ' || i AS name, repeat('z', i %% 200) AS introduction
	FROM generate_series(1, %d) i) q};
$session->query_safe(sprintf($call, $calls / 5 + 100));
$before = [ usage($backend) ];
$session->query_safe(sprintf($call, 1)) foreach 1 .. 50;
is($session->query_safe(sprintf($call, $calls)), $calls, 'so many calls, so many answers');
$after = [ usage($backend) ];
flat('the session', $before, $after, $calls);

# Options that change make new connections; the old ones go.
$before = [ usage($backend) ];
foreach my $n (1 .. 20)
{
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET max_in_flight '" . (32 + $n) . "')");
	$session->query_safe(sprintf($call, 2));
}
flat('the session, options changed 20 times', $before, [ usage($backend) ], 20);

# Errors and cancelled calls.
$service->fault({ do => 'hold', match => { name => 'cancel' } });
$before = [ usage($backend) ];
my $cancel = q{SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'cancel' AS name) q};
foreach my $n (1 .. 20)
{
	$session->query("BEGIN; SET LOCAL statement_timeout = '150ms'; $cancel; ROLLBACK;");
	$session->query(q{SELECT im_import_group(q) FROM (SELECT 'Public' AS type) q});
	$session->query('ROLLBACK');
	$session->{stderr} = '';
}
flat('the session, 20 calls cancelled', $before, [ usage($backend) ], 20);
$session->quit;

done_testing();
