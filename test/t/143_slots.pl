# A slot of shared memory belongs to one database as long as anything of it
# lives: while it is a template for a while, and when the launcher is another
# one than that which started the worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;
use ImFence;

my $service = ImService->new;
my $node = start_cluster(conf => "im_import.max_databases = 3\nlog_min_messages = debug1");
my %slow = (options => { rate_limit => 5, max_in_flight => 4 });

# Calls that a database's slot has counted.
sub calls_of { return value_of($node, 'SELECT sum(calls) FROM pg_stat_im_import', $_[0]) }

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(one gone two);
connect_app($node, $service, db => 'one', %slow);
connect_app($node, $service, db => 'gone');
connect_app($node, $service, db => 'postgres');
insert_groups($node, 2, 'gone ', 'gone');
insert_groups($node, 2, 'here ', 'postgres');
wait_settled($node, $_) foreach qw(gone postgres);
my $session = $node->background_psql('one');
my $plain = q{SELECT im_import_group(t) ->> 'ErrorCode' FROM (SELECT 'Public' AS type, 'plain' AS name) t};
is($session->query_safe($plain), 0, 'a pooled session has called the service');
insert_groups($node, 400, 'slow ', 'one');
wait_state($node, 'running', 'one');
poll_until { status_of($node, 'one')->{imported} > 0 } 'the first row';
my $worker = status_of($node, 'one')->{worker_pid};

# ---------------------------------------------------------------------------
# A template for a while: until the launcher has looked which databases there
# are, and has given the dropped one's slot to another.

$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
worker_gone($node, 'gone');
$node->safe_psql('postgres', 'DROP DATABASE gone');
connect_app($node, $service, db => 'two');
my $full = q{SELECT count(*) FROM im_import_doctor() WHERE item = 'library' AND NOT ok};
poll_until { value_of($node, $full, 'two') == 0 } 'a place for the other database';
is($node->safe_psql('two', 'SELECT sum(calls) FROM pg_stat_im_import') < 10, 1, 'the other database has a slot of its own');
insert_groups($node, 20, 'two ', 'two');
wait_settled($node, 'two');
cmp_ok(calls_of('two'), '<=', 30, 'which counts its own calls');
is(status_of($node, 'one')->{worker_pid}, $worker, 'the template keeps its worker');
my $calls = calls_of('one');
is($session->query_safe($plain), 0, 'the pooled session calls again');
cmp_ok(calls_of('one'), '>', $calls, 'and is counted where it belongs');
$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE false');
my $imported = status_of($node, 'one')->{imported};
poll_until { status_of($node, 'one')->{imported} > $imported } 'the import to go on';
$session->quit;

# Nobody may connect for a while: the worker that is there goes on, and is not
# started again and again.
$node->safe_psql('postgres', 'ALTER DATABASE one ALLOW_CONNECTIONS false');
my $seen = $service->stats->{groups};
poll_until { $service->stats->{groups} > $seen + 5 } 'the worker to go on';
kill 'TERM', $worker;
poll_until { is_gone($worker) } 'the worker to end';
insert_groups($node, 3, 'meanwhile ', 'two');
wait_settled($node, 'two');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
is(scalar(() = $log =~ /FATAL:.*not currently accepting connections/g), 0, 'no worker tries in vain');
$node->safe_psql('postgres', "ALTER DATABASE one ALLOW_CONNECTIONS true");
$node->safe_psql('one', "ALTER SERVER im OPTIONS (SET rate_limit '1000')");
wait_settled($node, 'one');
is(status_of($node, 'one')->{imported}, 400, 'all rows are imported in the end');

# ---------------------------------------------------------------------------
# Another launcher

my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import launcher'";
$service->fault({ do => 'delay', ms => 0, times => 1, match => { command => 'import_group', name => 'held*' } },
	{ do => 'hold', match => { command => 'import_group', name => 'held*' } });
insert_groups($node, 20, 'held', 'one');
$service->wait_for(held => 4);
$worker = status_of($node, 'one')->{worker_pid};
my $first = value_of($node, $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first)");
poll_until { (value_of($node, $launcher) || $first) ne $first } 'another launcher';
worker_gone($node, 'two');
insert_groups($node, 1, 'round ', 'two');
wait_settled($node, 'two');
my $status = status_of($node, 'one');
is($status->{worker_pid}, $worker, 'the living worker is known to the new launcher');
is($status->{state}, 'running', 'and is at work');
unlike($status->{reason} // '', qr/being started/, 'and no other is said to be started');
my $starts = value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import', 'one');

# It dies, and that launcher is not its parent's.
terminate($worker);
$service->clear;
$service->release;
wait_settled($node, 'one');
cmp_ok(value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import', 'one'), '>', $starts, 'the dead one is replaced');
is(status_of($node, 'one')->{imported}, 420, 'all rows are imported');

sub terminate
{
	my ($pid) = @_;

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	poll_until { is_gone($pid) } 'the worker to end';
}

# The extension is dropped and made anew under a living session: it finds the
# new one, and no other database gets the slot meanwhile.
$session = $node->background_psql('one');
is($session->query_safe($plain), 0, 'a session calls');
worker_gone($node, 'one');
$node->safe_psql('one', 'DROP EXTENSION im_import CASCADE');
$node->safe_psql('two', 'SELECT im_import_resume()');
connect_app($node, $service, db => 'one');
insert_groups($node, 5, 'anew ', 'one');
wait_settled($node, 'one');
is($session->query_safe($plain), 0, 'it calls again after the extension was made anew');
is(status_of($node, 'one')->{imported}, 5, 'the new one imports');
$session->quit;
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /PANIC|was terminated by signal/g), 0, 'nothing crashed');

done_testing();
