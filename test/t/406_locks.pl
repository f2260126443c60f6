# Sessions that lock, change, delete and rebuild what the worker is at work
# on: it waits for nobody, and nobody waits for it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(
	conf => 'max_prepared_transactions = 5',
	options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });

sub go_on
{
	$service->clear;
	$service->release;
}

# A foreign key on an outbox: who refers to a row locks it against a change of its key only.
my $refers = ImTest::start_session($node, 'postgres');
$node->safe_psql('postgres', "SELECT im_import_pause('a lock')");
insert_groups($node, 3, 'referred');
ImTest::answer_of($refers, "BEGIN; SELECT FROM im_group_outbox WHERE name LIKE 'referred%' FOR KEY SHARE");
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
is(value_of($node, "SELECT string_agg(DISTINCT status, ' ') FROM im_group_outbox WHERE name LIKE 'referred%'"), 'imported', 'a foreign key holds no row up');
ImTest::answer_of($refers, 'ROLLBACK');

# Rows that somebody locks: it is said why nothing goes on.
$node->safe_psql('postgres', "SELECT im_import_pause('a lock')");
insert_groups($node, 3, 'kept back');
ImTest::answer_of($refers, "BEGIN; SELECT FROM im_group_outbox WHERE name LIKE 'kept back%' FOR UPDATE");
$node->safe_psql('postgres', 'SELECT im_import_resume()');
poll_until { status_of($node)->{reason} =~ /^waiting for a lock: another transaction has locked rows of im_group_outbox/ } 'a reason';
pass('a lock on rows is told as the reason why nothing goes on');
ImTest::answer_of($refers, 'ROLLBACK');
wait_settled($node);
poll_until { status_of($node)->{reason} eq '' } 'no reason any more';

# So many rows of this name have this status.
sub count_of
{
	my ($prefix, $status) = @_;

	return value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$prefix%' AND status = '$status'");
}

sub wait_count
{
	my ($prefix, $status, $n) = @_;

	poll_until { count_of($prefix, $status) == $n } "$n $prefix rows $status, not " . count_of($prefix, $status);
}

# All rows of this name are imported, each with a single call.
sub imported_once
{
	my ($prefix, $n) = @_;

	wait_settled($node);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(count_of($prefix, 'imported'), $n, "$prefix: all are imported");
	my $posted = posted($service, $prefix);
	is(scalar(keys %$posted) . ' ' . scalar(grep { $_ > 1 } values %$posted), "$n 0", "$prefix: with one call each");
	accounted($node, $service, others => strangers($node, $service), name => "$prefix: every row is accounted for");
}

# ---------------------------------------------------------------------------
# Row locks: on rows in flight and on rows that wait

hold_in_flight($node, $service, 200, 'locked');
my $session = $node->background_psql('postgres');
my @held = map { json($_->{body})->{Name} } grep { $_->{fault} && $_->{fault} eq 'hold' } $service->journal('import_group');
my $in_flight = join ', ', map { "'$_'" } @held[ 0 .. 2 ];
my $waiting = join ', ', map { "'locked$_'" } 198 .. 200;
is($session->query_safe("BEGIN; SELECT count(*) FROM (SELECT FROM im_group_outbox WHERE name IN ($in_flight, $waiting) FOR UPDATE) q"),
	6, 'a session locks rows in flight and rows that wait');
go_on();
wait_count('locked', 'imported', 194);
ok(1, 'row locks: all others are imported');
is(count_of('locked', 'sending'), 3, 'row locks: those in flight keep their claim');
insert_groups($node, 10, 'beside');
wait_count('beside', 'imported', 10);
ok(1, 'row locks: new rows are imported meanwhile');
$session->query_safe('COMMIT');
# Without a new row the safety poll would find them.
insert_groups($node, 1, 'bell');
imported_once('locked', 200);

# A shared lock, as of a foreign key's check, and one by a prepared transaction.
hold_in_flight($node, $service, 50, 'keyshare');
$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT FROM im_group_outbox WHERE name LIKE 'keyshare%' AND status = 'sending' ORDER BY id LIMIT 4 FOR KEY SHARE;
SELECT FROM im_group_outbox WHERE name IN ('keyshare49', 'keyshare50') FOR SHARE;
PREPARE TRANSACTION 'locks';
SQL
go_on();
poll_until { count_of('keyshare', 'imported') >= 44 } 'the rows that nobody has locked';
$node->safe_psql('postgres', "COMMIT PREPARED 'locks'");
imported_once('keyshare', 50);

# ---------------------------------------------------------------------------
# Table locks: answers are kept until they can be written

foreach my $lock (
	[ 'access exclusive', 'LOCK TABLE im_group_outbox' ],
	[ 'share', 'LOCK TABLE im_group_outbox IN SHARE MODE' ],
	[ 'exclusive', 'LOCK TABLE im_group_outbox IN EXCLUSIVE MODE' ],
	[ 'create index', 'CREATE INDEX ON im_group_outbox (source_id)' ],
	[ 'vacuum', undef, 'VACUUM FULL im_group_outbox' ],
	[ 'reindex', undef, 'REINDEX TABLE CONCURRENTLY im_group_outbox' ],
	[ 'cluster', undef, 'CLUSTER im_group_outbox USING im_group_outbox_pkey' ],
	[ 'analyze', undef, 'VACUUM (ANALYZE, FREEZE) im_group_outbox' ],
	[ 'tally', undef, 'VACUUM FULL _im_tally' ])
{
	my ($name, $in_transaction, $alone) = @$lock;

	hold_in_flight($node, $service, 50, $name);
	if ($alone)
	{
		is(error_of($node, $alone), '', "$alone while requests are held");
		is($service->stats->{held}, 8, 'which are still held');
		go_on();
	}
	else
	{
		my $pid = $session->query_safe('SELECT pg_backend_pid()');

		$session->query_safe("BEGIN; $in_transaction");
		go_on();
		poll_until { $service->stats->{held} == 0 } 'the answers';
		poll_until { status_of($node)->{reason} =~ /^waiting for a lock: process $pid has locked table im_group_outbox\. It goes on by itself/ }
		"$in_transaction: the state to say who has locked the table";
		$session->query_safe('COMMIT');
	}
	imported_once($name, 50);
}

# ---------------------------------------------------------------------------
# Changes in flight

hold_in_flight($node, $service, 60, 'touched');
$node->safe_psql('postgres', "UPDATE im_group_outbox SET source_id = 'mine ' || name WHERE name LIKE 'touched%'");
like(error_of($node, "UPDATE im_group_outbox SET name = 'other' WHERE name LIKE 'touched%' AND status = 'sending'"),
	qr/may already have created a group/, 'the record of a row in flight cannot be changed');
like(error_of($node, "UPDATE im_group_outbox SET status = 'pending' WHERE name LIKE 'touched%' AND status = 'sending'"),
	qr/cannot change the status/, 'nor its status');
go_on();
imported_once('touched', 60);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE source_id = 'mine ' || name"), 60, 'what may be changed stays changed');

hold_in_flight($node, $service, 60, 'deleted');
my $deleted = value_of($node, "WITH d AS (DELETE FROM im_group_outbox WHERE name LIKE 'deleted%' AND status = 'sending' RETURNING 1) SELECT count(*) FROM d");
cmp_ok($deleted, '>=', 8, "$deleted rows deleted in flight");
go_on();
wait_settled($node);
is(count_of('deleted', 'imported'), 60 - $deleted, 'deleted: the others are imported');
accounted($node, $service, others => strangers($node, $service), name => 'deleted: every row is accounted for');
poll_until { PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /im_import: \d+ outbox rows were deleted or replaced while they were being sent/ }
'the word in the log';

foreach my $truncate ('TRUNCATE im_group_outbox', 'TRUNCATE im_group_outbox RESTART IDENTITY')
{
	my $name = $truncate =~ /IDENTITY/ ? 'restart' : 'truncated';

	hold_in_flight($node, $service, 60, $name);
	is(error_of($node, $truncate), '', "$truncate while requests are held");
	is($service->stats->{held}, 8, 'which are still held');
	my %before = map { ($_->{name} => 1) } $service->ledger;

	# Rows that may have the ids of those.
	insert_groups($node, 60, "new $name");
	go_on();
	imported_once("new $name", 60);
	is(status_of($node)->{total}, 60, "$name: the counts began anew");
}

# A TRUNCATE that takes its time, or is taken back.
hold_in_flight($node, $service, 60, 'slow');
$session->query_safe('BEGIN; TRUNCATE im_group_outbox');
go_on();
poll_until { $service->stats->{held} == 0 } 'the answers';
$session->query_safe("INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'slow new' || i FROM generate_series(1, 20) i");
$session->query_safe('ROLLBACK');
wait_settled($node);
is(count_of('slow', 'imported'), 60, 'a TRUNCATE rolled back: all are imported');
accounted($node, $service, others => strangers($node, $service), name => 'a TRUNCATE rolled back: every row is accounted for');
is(scalar(keys %{ posted($service, 'slow new') }), 0, 'and what was inserted behind it is not');

# ---------------------------------------------------------------------------
# Two-phase commit

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Nonsense', 'repair' || i FROM generate_series(1, 5) i");
wait_settled($node);
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'prepared' || i FROM generate_series(1, 20) i;
PREPARE TRANSACTION 'commits';
BEGIN;
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'never' || i FROM generate_series(1, 20) i;
PREPARE TRANSACTION 'aborts';
BEGIN;
UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE name LIKE 'repair%';
PREPARE TRANSACTION 'repairs';
SQL
insert_groups($node, 10, 'between');
wait_count('between', 'imported', 10);
is(count_of('prepared', 'pending'), 0, 'prepared: not there yet');
$node->restart;
my $status = status_of($node);
is($status->{invalid}, 5, 'prepared, over a restart: counts are as before');
$node->safe_psql('postgres', "COMMIT PREPARED 'commits'");
$node->safe_psql('postgres', "ROLLBACK PREPARED 'aborts'");
$node->safe_psql('postgres', "COMMIT PREPARED 'repairs'");
$node->safe_psql('postgres', 'SELECT im_import_resume()');
imported_once('prepared', 20);
is(count_of('repair', 'imported'), 5, 'a prepared repair is imported');
is(scalar(keys %{ posted($service, 'never') }), 0, 'what was rolled back was never sent');

my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
is(scalar(() = $log =~ /deadlock detected/g), 0, 'there was no deadlock');
is(scalar(grep { /ERROR/ && /lock timeout/ } split /^/m, $log), 0, 'and nobody waited in vain for a lock');

done_testing();
