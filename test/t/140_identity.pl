# Which database this is, and which row: a backup that is restored into its own
# database, rows that have the id of others, sessions in the role of a replica,
# and what of that a repair must find its way through.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;
use ImFence;
use ImKinds;

my ($node, $service) = set_up(options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });
my $dir = PostgreSQL::Test::Utils::tempdir();

# Somebody disbands groups: the service starts anew without them.
sub disband
{
	my $ledger = "$service->{dir}/ledger.jsonl";
	my $gone = join '|', map { quotemeta } @_;
	my $text = PostgreSQL::Test::Utils::slurp_file($ledger);

	$service->stop;
	open(my $out, '>', $ledger) or die "open $ledger: $!";
	print $out grep { !/"(?:$gone)"/ } split /^/m, $text;
	close $out or die "close: $!";
	$service->start;
}

# The counts of im_import_status are those of the table.
sub counts_right
{
	my ($what) = @_;

	is(join('; ', count_faults($node)), '', "$what: the counts are exact");
}

# ---------------------------------------------------------------------------
# Yesterday's dump restored into the same database

insert_groups($node, 5, 'done');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Nonsense', 'repair1')");
wait_settled($node);
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned'); SELECT im_import_pause('a backup')");
insert_groups($node, 50, 'open');
like(value_of($node, 'SELECT srvoptions FROM pg_foreign_server'), qr/origin=-?\d+/, 'the server says where it was made');
is(value_of($node, q{SELECT option_value::bigint = _im_origin() FROM pg_foreign_server, pg_options_to_table(srvoptions) WHERE option_name = 'origin'}),
	't', 'that is here');
is(value_of($node, q{SELECT count(DISTINCT _im_origin()) FROM generate_series(1, 3)}), 1, '_im_origin() is one value');

my $before = value_of($node, 'SELECT _im_origin()');
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$dir/yesterday.dump" ], 'pg_dump');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
is($service->stats->{groups}, 55, 'the original imports its rows');

# A session that lives through it, and the worker, know the new identity.
my $session = $node->background_psql('postgres');
is($session->query_safe('SELECT _im_origin()'), $before, 'a pooled session');
$node->command_ok([ 'pg_restore', '--clean', '-d', $node->connstr('postgres'), "$dir/yesterday.dump" ], 'pg_restore --clean');
isnt(value_of($node, 'SELECT _im_origin()'), $before, 'the database is another one now');
is($session->query_safe('SELECT _im_origin()'), value_of($node, 'SELECT _im_origin()'), 'also to a session that was there before');
$session->quit;
insert_groups($node, 3, 'new');
stays_fenced($node, $service, open => 53, reason => qr/made in another database.*im_import_adopt/, name => 'restored into itself');
is($service->stats->{groups}, 55, 'nothing was sent, the new rows neither');
like(error_of($node, "SELECT im_import_group(t) FROM (SELECT 'Public' AS type, 'plain' AS name) t"),
	qr/nothing is sent from this database.*HINT:.*im_import_adopt/s, 'nor is a plain record');
like(value_of($node, "SELECT string_agg(detail, '; ') FROM im_import_doctor() WHERE item = 'origin' AND NOT ok"),
	qr/made in another database/, 'the doctor says so');

# A row that was never sent, and is repaired, is this database's own.
$node->safe_psql('postgres', "UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE name = 'repair1'");
is(value_of($node, "SELECT origin = _im_origin() FROM im_group_outbox WHERE name = 'repair1'"), 't', 'a repaired row is its own');
stays_fenced($node, $service, open => 54, reason => qr/made in another database/, name => 'repaired');

is(value_of($node, 'SELECT im_import_adopt()'), 50, 'adopted');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'open%' AND status = 'in_doubt'"), 50,
	'rows that may have got their id from the service are in doubt');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE (name LIKE 'new%' OR name = 'repair1') AND status = 'imported'"), 4,
	'and the new and the repaired ones are imported');
is($service->stats->{groups}, 59, 'no group was made twice');
isnt(status_of($node)->{state}, 'fenced', 'adopted once is enough');
counts_right('restored into itself');

# ---------------------------------------------------------------------------
# Rows that have the id of others

$node->safe_psql('postgres', "TRUNCATE im_group_outbox RESTART IDENTITY; ALTER SERVER im OPTIONS (DROP group_ids)");
insert_groups($node, 10, 'first');
wait_settled($node);
$node->safe_psql('postgres', 'CALL im_import_verify()');
is(value_of($node, "SELECT result || ' ' || rows FROM im_import_verify_summary"), 'matched 10', 'compared');
$node->safe_psql('postgres', 'TRUNCATE im_group_outbox RESTART IDENTITY');
insert_groups($node, 10, 'second');
wait_settled($node);
is(value_of($node, "SELECT result || ' ' || rows FROM im_import_verify_summary"), 'unchecked 10',
	'rows that have the ids of others are not compared yet');
$node->safe_psql('postgres', 'CALL im_import_verify()');
is(value_of($node, "SELECT result || ' ' || rows FROM im_import_verify_summary"), 'matched 10', 'now they are');

# While calls are under way: the log names the rows that are gone, and the
# answers do not go to others.
my $log_start = -s $node->logfile;
hold_in_flight($node, $service, 20, 'gone', undef, group_id => "'gone-' || i");
$node->safe_psql('postgres', 'TRUNCATE im_group_outbox RESTART IDENTITY');
insert_groups($node, 20, 'third');
$service->clear;
$service->release;
wait_settled($node);
my @lost = grep { $_ ne 'gone-1' && /^gone-/ } map { $_->{group_id} } $service->ledger;
cmp_ok(scalar(@lost), '>=', 8, scalar(@lost) . ' groups that were under way belong to no row any more');
poll_until {
	my %told = map { ($_ => 1) } PostgreSQL::Test::Utils::slurp_file($node->logfile, $log_start) =~ /GroupId "(gone-\d+)"/g;
	!grep { !$told{$_} } @lost;
} 'the log to name each of them';
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'third%' AND status = 'imported'"), 20,
	'the new rows have outcomes of their own');
accounted($node, $service, others => strangers($node, $service), name => 'ids of others: every row is accounted for');

# ---------------------------------------------------------------------------
# A row that verify calls missing

my $missing = row($node, "SELECT id, group_id FROM im_group_outbox WHERE name = 'third7'");
like(error_of($node, "UPDATE im_group_outbox SET status = 'pending' WHERE id = $missing->{id}"),
	qr/HINT:.*im_import_verify/s, 'an imported row cannot be sent again, and the HINT says when it can');
disband(map { $_->{group_id} } rows($node, "SELECT group_id FROM im_group_outbox WHERE name IN ('third7', 'third8')"));
$node->safe_psql('postgres', 'CALL im_import_verify()');
is(value_of($node, "SELECT string_agg(result || ' ' || rows, ', ' ORDER BY result) FROM im_import_verify_summary"),
	'matched 18, missing 2', 'two groups are gone from the app');
$node->safe_psql('postgres', "UPDATE im_group_outbox SET status = 'pending' WHERE id = $missing->{id}");
wait_settled($node);
is(value_of($node, "SELECT status || ' ' || group_id FROM im_group_outbox WHERE id = $missing->{id}"),
	"imported $missing->{group_id}", 'a missing one can be sent again by an UPDATE');
is(value_of($node, "SELECT im_import_retry(status => 'missing')"), 1, 'and by im_import_retry()');
wait_settled($node);
is(value_of($node, "SELECT im_import_retry(status => 'missing')"), 0, 'not those that were imported since');
is(value_of($node, "SELECT string_agg(result || ' ' || rows, ', ' ORDER BY result) FROM im_import_verify_summary"),
	'matched 18, unchecked 2', 'which are to be compared again');
$node->safe_psql('postgres', 'CALL im_import_verify()');
is(value_of($node, "SELECT result || ' ' || rows FROM im_import_verify_summary"), 'matched 20', 'and are there');
like(error_of($node, "SELECT im_import_retry(10007, 'missing')"), qr/of no error code/, 'missing rows are of no code');

# ---------------------------------------------------------------------------
# A session in the role of a replica

my $replica = 'SET session_replication_role = replica;';
$node->safe_psql('postgres', "$replica SELECT im_import_pause('as a replica')");
is(status_of($node)->{state}, 'paused', 'im_import_pause() works');
insert_groups($node, 5, 'held');
is(status_of($node)->{pending}, 5, 'what comes is held');
$node->safe_psql('postgres', "$replica SELECT im_import_resume()");
wait_settled($node);
is(status_of($node)->{imported}, 25, 'im_import_resume() works');
$node->safe_psql('postgres', "$replica CALL im_import_verify()");
is(value_of($node, "SELECT result || ' ' || rows FROM im_import_verify_summary"), 'matched 25', 'so does im_import_verify()');
like(error_of($node, "$replica UPDATE im_group_outbox SET name = 'other', status = 'pending' WHERE id = 1"),
	qr/cannot change column "name".*The row is imported/s, 'an imported row is guarded there, too');
is(value_of($node, 'SELECT count(*) FROM _im_control'), value_of($node, 'SELECT count(*) FROM _im_control WHERE paused_at IS NULL'),
	'no pause is left');
$node->safe_psql('postgres', "$replica INSERT INTO _im_days VALUES (1, now(), 1)");
is(value_of($node, 'SELECT count(*) FROM _im_days WHERE origin = 1'), 0, "another server's notes still stay out");

# ---------------------------------------------------------------------------
# Rows of any status, inserted by a superuser

$node->safe_psql('postgres', <<SQL);
SELECT im_import_pause();
INSERT INTO im_group_outbox (type, name, status)
SELECT 'Public', 'as ' || s, s FROM unnest('{pending,sending,imported,failed,invalid,in_doubt}'::text[]) s;
SQL
counts_right('rows of any status');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
counts_right('rows of any status, settled');

# ---------------------------------------------------------------------------
# An unlogged outbox, and a crash

$node->safe_psql('postgres', 'ALTER TABLE im_group_outbox SET UNLOGGED');
like(value_of($node, "SELECT string_agg(detail, '; ') FROM im_import_doctor() WHERE item = 'outbox' AND NOT ok"),
	qr/UNLOGGED/, 'the doctor says that the outbox is unlogged');
insert_groups($node, 3, 'unlogged');
wait_settled($node);
poll_until { status_of($node)->{state} eq 'idle' } 'the counts';
$node->stop('immediate');
$node->start;
poll_until { status_of($node)->{state} eq 'idle' } 'the counts after the crash';
is(value_of($node, 'SELECT count(*) FROM im_group_outbox') . ' ' . status_of($node)->{total}, '0 0', 'after a crash it is empty, and so says the status');

# ---------------------------------------------------------------------------
# The same with rows of every kind: yesterday's dump restored

my @kinds = kinds($node);
$node->safe_psql('postgres', 'ALTER TABLE im_group_outbox SET LOGGED');
$node->safe_psql('postgres', insert_kinds($node, undef, word => 'kinds', n => 3));
wait_kinds($node);
$node->safe_psql('postgres', "SELECT im_import_pause('a backup'); " . insert_kinds($node, undef, word => 'late', n => 2));
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$dir/kinds.dump" ], 'pg_dump of every kind');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_kinds($node);
$node->command_ok([ 'pg_restore', '--clean', '-d', $node->connstr('postgres'), "$dir/kinds.dump" ], 'pg_restore --clean');
stays_fenced($node, $service, open => 2 * @kinds, reason => qr/made in another database/, name => 'every kind, restored into itself');
is(value_of($node, 'SELECT im_import_adopt()'), 2 * @kinds, 'open rows of every kind are adopted');
wait_kinds($node);
is_deeply(statuses_of_kinds($node), each_kind($node, 'imported 5'), 'rows of every kind are imported');
is_deeply(things_of($node, $service, 'late'), each_kind($node, 2), '... and in the app');
is_deeply([ $service->doubles ], [], '... once');

# An imported row is guarded.
foreach my $kind (@kinds)
{
	like(error_of($node, "UPDATE im_${kind}_outbox SET status = 'pending'"), qr/cannot change the status of outbox row \d+ from imported to pending/, "an imported row of kind $kind is not sent again");
}

# Rows that have the ids of others whose calls are under way: each has its own outcome.
hold_kinds($node, $service, 'gone', map { "kinds-$_" } 1 .. 3);
$node->safe_psql('postgres', 'TRUNCATE ' . of_kinds($node, undef, ', ', 'im_{kind}_outbox') . ' RESTART IDENTITY');
$node->safe_psql('postgres', insert_kinds($node, undef, word => 'heir'));
$service->clear;
$service->release;
wait_kinds($node);
is_deeply(statuses_of_kinds($node), each_kind($node, 'imported 1'), 'rows of every kind with the ids of others are imported');
is_deeply(things_of($node, $service, 'heir'), each_kind($node, 1), '... themselves: an answer to the others is not theirs');
is(value_of($node, 'SELECT ' . of_kinds($node, undef, ' + ', '(SELECT max(attempts) FROM im_{kind}_outbox)')), scalar(@kinds), '... at the first attempt');
is_deeply([ $service->doubles ], [], '... once');
counts_of_kinds($node, undef, '... and counted');

done_testing();
