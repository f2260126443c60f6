# im_import_status counts without counting: exact in every snapshot, whatever
# is done to the outbox meanwhile.
#
# A storm of sessions that insert, copy, merge, repair and delete rows, roll
# back, prepare and truncate, while the worker drains, is ended and dies.  One
# session compares all the time: in one snapshot, the counts of the view and
# those of count(*).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IPC::Run ();
use Test::More;

use ImTest;
use ImFence;

my $SESSIONS = 4;
my $WORKER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'";
my @statuses = qw(pending sending imported failed invalid in_doubt);

my ($node, $service) = set_up(
	conf => "max_prepared_transactions = 20\nrestart_after_crash = on",
	options => { rate_limit => 400, max_in_flight => 16 });

my $seed = $ENV{IM_SEED} // time();
srand($seed);
note("IM_SEED=$seed");

$service->fault(
	{ do => 'code', code => 10007, match => { command => 'import_group', name => '*r' } },
	{ do => 'close_after', match => { command => 'import_group', name => '*7', every => 4 } });

# ---------------------------------------------------------------------------
# What a session does

my $serial = 0;
sub name { return join '', 'g', ++$serial, ('', '', '', 'r', '7')[ int(rand 5) ] }
sub values_of { return join ', ', map { sprintf "('%s', '%s')", rand() < 0.2 ? 'Nonsense' : 'Public', name() } 1 .. $_[0] }
sub some { return sprintf 'id %% %d = %d', 7, int(rand 7) }

my @do = (
	sub { "INSERT INTO im_group_outbox (type, name) VALUES " . values_of(1) . ';' },
	sub { "INSERT INTO im_group_outbox (type, name) VALUES " . values_of(1 + int(rand 20)) . ';' },
	sub { "COPY im_group_outbox (type, name) FROM stdin;\n" . join('', map { "Public\t" . name() . "\n" } 1 .. 1 + int(rand 20)) . "\\.\n" },
	sub {
		# Some of these ids are there already.
		"INSERT INTO im_group_outbox (id, type, name) OVERRIDING SYSTEM VALUE SELECT coalesce((SELECT min(id) FROM im_group_outbox), 1) + i * 3, 'Public', 'c' || i "
		  . "FROM generate_series(1, 5) i ON CONFLICT (id) DO UPDATE SET source_id = 'again' || EXCLUDED.id;"
	},
	sub { "INSERT INTO im_group_outbox (id, type, name) OVERRIDING SYSTEM VALUE SELECT id, type, name FROM im_group_outbox LIMIT 3 ON CONFLICT DO NOTHING;" },
	sub { "UPDATE im_group_outbox SET source_id = 'u' || id WHERE @{[ some() ]};" },
	sub { "UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE status = 'invalid' AND @{[ some() ]};" },
	sub { "SELECT im_import_retry() WHERE random() < 0.3;" },
	sub { "DELETE FROM im_group_outbox WHERE @{[ some() ]} AND id % 5 = 0;" },
	sub { "DELETE FROM im_group_outbox WHERE status = 'sending' AND @{[ some() ]};" },
	sub { "SELECT im_import_resolve(id) FROM im_group_outbox WHERE status = 'in_doubt' LIMIT 2;" },
	sub { "DO \$\$ BEGIN FOR i IN 1..5 LOOP BEGIN INSERT INTO im_group_outbox (type, name) VALUES ('Public', 's' || i); "
		  . "IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END \$\$;" });

# MERGE is of version 15.
push @do, sub {
	"MERGE INTO im_group_outbox o USING (SELECT generate_series(1, 6) * 5 AS id) n ON o.id = n.id AND o.status IN ('failed', 'invalid') "
	  . "WHEN MATCHED AND o.id % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET source_id = 'm' || o.id "
	  . "WHEN NOT MATCHED THEN INSERT (type, name) VALUES ('Public', 'm' || n.id);"
} if $node->pg_version >= 15;

# One transaction, of any kind and end.
sub transaction
{
	my ($session, $n) = @_;
	my @parts = map { $do[ int(rand @do) ]->() } 1 .. 1 + int(rand 3);
	my $dice = rand();
	my $name = "p${session}_$n";

	return join "\n", @parts if $dice < 0.4;
	return join "\n", 'BEGIN;', @parts, 'COMMIT;' if $dice < 0.55;
	return join "\n", 'BEGIN;', @parts, 'ROLLBACK;' if $dice < 0.7;
	return join "\n", 'BEGIN;', $parts[0], 'SAVEPOINT s;', @parts, 'ROLLBACK TO s;', 'RELEASE s;', $parts[0] =~ /^COPY/ ? '' : $parts[0], 'COMMIT;'
	  if $dice < 0.85;
	return join "\n", 'BEGIN;', @parts, "PREPARE TRANSACTION '$name';", (rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name';"
	  if $dice < 0.97;
	return join "\n", 'BEGIN;', 'TRUNCATE im_group_outbox;', @parts, rand() < 0.5 ? 'COMMIT;' : 'ROLLBACK;';
}

# ---------------------------------------------------------------------------
# Comparing

my $compare = <<"SQL";
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT @{[ join " || ' ' || ", (map { "count(*) FILTER (WHERE status = '$_')" } @statuses), 'count(*)' ]} FROM im_group_outbox;
SELECT @{[ join " || ' ' || ", @statuses, 'total' ]} || ' ' || state FROM im_import_status;
COMMIT;
SQL
my %samples = (exact => 0, counting => 0);
my @wrong;

sub compare
{
	my ($status, $out, $err) = $node->psql('postgres', $compare);
	my ($true, $view) = split /\n/, $out // '';

	return unless $status == 0 && defined $view;
	my ($counts, $state) = $view =~ /^((?:\d+ ){7})(.*)$/ or do { push @wrong, $out; return };
	$counts =~ s/ $//;
	my @counts = split / /, $counts;
	my $sum = 0;

	$sum += $_ foreach @counts[ 0 .. 5 ];
	push @wrong, "the sum is $sum: $view" if $sum != $counts[6];
	if ($state eq 'counting') { $samples{counting}++; return }
	$samples{exact}++;
	push @wrong, "view: $counts, rows: $true ($state)" if $counts ne $true;
}

# ---------------------------------------------------------------------------
# The storm

# Errors are part of it: a duplicate key, a row in flight that must not change,
# a deadlock.
sub start_session
{
	my ($session, $transactions) = @_;
	my $script = join "\n", map { transaction($session, $_) } 1 .. $transactions;
	my $file = PostgreSQL::Test::Utils::tempdir() . "/session$session.sql";
	my ($out, $err) = ('', '');

	PostgreSQL::Test::Utils::append_to_file($file, "$script\n");
	return {
		run => IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ], '<', \'', '>', \$out, '2>', \$err)
	};
}

sub storm
{
	my ($round, %given) = @_;
	my @sessions = map { start_session("$round$_", $given{transactions}) } 1 .. $SESSIONS;
	my $n = 0;

	while (grep { $_->{run}->pumpable } @sessions)
	{
		$_->{run}->pump_nb foreach grep { $_->{run}->pumpable } @sessions;
		compare();
		$given{trouble}->(++$n);
	}
	foreach my $session (@sessions)
	{
		$session->{run}->finish;
	}
}

# Prepared transactions that were left over are ended; then all must be quiet.
sub quiet
{
	my ($what) = @_;

	poll_until { ($node->psql('postgres', 'SELECT 1'))[0] == 0 } 'the server';
	foreach my $prepared (split /\n/, value_of($node, 'SELECT gid FROM pg_prepared_xacts'))
	{
		$node->safe_psql('postgres', (rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$prepared'");
	}
	$node->safe_psql('postgres', 'SELECT im_import_resume()');
	$service->clear;
	wait_settled($node);
	poll_until { status_of($node)->{state} ne 'counting' } 'the count';
	compare();
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply([ @wrong > 10 ? @wrong[ 0 .. 9 ] : @wrong ], [], "$what: the counts were exact in every snapshot");
	@wrong = ();
	accounted($node, $service, others => strangers($node, $service), name => "$what: every row is accounted for");
}

sub faults
{
	$service->fault(
		{ do => 'code', code => 10007, match => { command => 'import_group', name => '*r' } },
		{ do => 'close_after', match => { command => 'import_group', name => '*7', every => 4 } });
}

storm('a', transactions => 100, trouble => sub { });
quiet('storm');

# The worker is ended again and again.
faults();
storm('b', transactions => 100, trouble => sub {
		$node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker' OFFSET 0) w")
		  if $_[0] % 4 == 0;
	});
quiet('storm with the worker ended');

# And killed, which takes the whole server down for a moment; ids that the
# service assigns make doubts.
faults();
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
foreach my $round (1 .. 3)
{
	my $killed = 0;

	storm("c$round", transactions => 40, trouble => sub {
			return if $killed || $_[0] < 5;
			my ($status, $pid) = $node->psql('postgres', $WORKER);
			return unless $status == 0 && $pid =~ /^(\d+)$/;
			$killed = kill 'KILL', $1;
		});
}
quiet('storm with the worker killed');

# Many small statements make many differences, which are folded.
$node->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1..3000 LOOP
	INSERT INTO im_group_outbox (type, name) VALUES ('Nonsense', 'fold' || i);
END LOOP; END $$
SQL
my $before = $samples{exact};
poll_until { compare(); value_of($node, 'SELECT count(*) < 1000 FROM _im_tally') eq 't' } 'the differences to be folded';
quiet('folded');
note("$samples{exact} exact samples, $samples{counting} while counting");
cmp_ok($samples{exact}, '>', 20, 'enough was compared');

# TRUNCATE heeds no snapshot.  One that is older than it sees an empty table;
# one that is in a transaction with an older snapshot empties all the same.
sub meanwhile { my ($sql) = @_; return "\\! psql -Xqd \"" . $node->connstr('postgres') . "\" -c \"$sql\"\n" }
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'old' || i FROM generate_series(1, 7) i");
my $old = $node->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n"
	. meanwhile('TRUNCATE im_group_outbox')
	. "SELECT (SELECT count(*) FROM im_group_outbox) = 0 AND (SELECT total = 0 OR state = 'counting' FROM im_import_status);\nCOMMIT;");
is($old, "1\nt", 'a snapshot from before a TRUNCATE is not called exact');
is(value_of($node, "SELECT total FROM im_import_status"), 0, '... and a new one is empty');
$node->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n"
	. meanwhile("INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'new' || i FROM generate_series(1, 9) i")
	. 'TRUNCATE im_group_outbox; COMMIT;');
is(value_of($node, 'SELECT count(*) FROM im_group_outbox'), 0, 'a TRUNCATE empties what came after its snapshot');
is(value_of($node, "SELECT total FROM im_import_status"), 0, '... and so are the counts');

done_testing();
