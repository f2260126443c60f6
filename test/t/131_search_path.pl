# Whatever the search_path, no function or operator of anybody else runs with
# the rights of the extension's owner: not in the worker, and not in the
# session of a role that may call the import's functions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up();

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Objects that come before the system's own when their schema does, and write
# down who runs them.
my @operators = (
	[ '=', 'text', 'text' ], [ '<>', 'text', 'text' ], [ '=', 'bigint', 'bigint' ], [ '<>', 'bigint', 'bigint' ],
	[ '>', 'bigint', 'bigint' ], [ '=', 'uuid', 'uuid' ], [ '=', 'integer', 'integer' ], [ '=', 'date', 'date' ],
	[ '<=', 'timestamptz', 'timestamptz' ], [ '>', 'timestamptz', 'timestamptz' ]);
my @results = (
	[ '+', 'timestamptz', 'interval', 'timestamptz' ], [ '+', 'bigint', 'bigint', 'bigint' ],
	[ '+', 'integer', 'integer', 'integer' ], [ '-', 'bigint', 'bigint', 'bigint' ]);

# Lays the traps into a schema, as its owner.
sub traps
{
	my ($schema) = @_;
	my $sql = <<SQL;
CREATE TABLE $schema.caught (who name, what text);
GRANT ALL ON $schema.caught TO PUBLIC;
CREATE FUNCTION $schema.note(what text) RETURNS void LANGUAGE sql
	AS \$\$ INSERT INTO $schema.caught VALUES (current_user, what) \$\$;
SQL
	my $n = 0;

	foreach (map({ [ @$_, 'boolean' ] } @operators), @results)
	{
		my ($op, $left, $right, $result) = @$_;

		$n++;
		$sql .= <<SQL;
CREATE FUNCTION $schema.f$n(a $left, b $right) RETURNS $result LANGUAGE plpgsql STRICT AS \$\$
BEGIN PERFORM $schema.note('$left $op $right'); RETURN a OPERATOR(pg_catalog.$op) b; END \$\$;
CREATE OPERATOR $schema.$op (LEFTARG = $left, RIGHTARG = $right, FUNCTION = $schema.f$n);
SQL
	}
	$sql .= <<SQL;
CREATE FUNCTION $schema.now() RETURNS timestamptz LANGUAGE plpgsql AS \$\$
BEGIN PERFORM $schema.note('now'); RETURN pg_catalog.now(); END \$\$;
CREATE FUNCTION $schema.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS \$\$
BEGIN PERFORM $schema.note('unnest'); RETURN QUERY SELECT pg_catalog.unnest(\$1); END \$\$;
SQL
	return $sql;
}

# Who else than the role itself ran into a trap.
sub caught
{
	my ($schema, $except) = @_;

	return [ map { "$_->{who} ran $_->{what}" }
		  rows($node, "SELECT DISTINCT who, what FROM $schema.caught WHERE who OPERATOR(pg_catalog.<>) '$except' ORDER BY 2") ];
}

# ---------------------------------------------------------------------------
# The worker, in a database whose search_path is hostile

sql("CREATE SCHEMA trap;\n" . traps('trap'));
sql("ALTER DATABASE postgres SET search_path = trap, pg_catalog, public");
$ENV{PGOPTIONS} = '-c search_path=pg_catalog,public';    # ours stays as it was
my $pid = worker_pid($node);
if ($pid)
{
	sql("SELECT pg_terminate_backend($pid)");
	poll_until { is_gone($pid) } 'the worker to end';
}
$service->fault(
	{ do => 'close_after', times => 1, match => { name => 'a1' } },
	{ do => 'code', code => 10019, match => { name => 'a2' } });
insert_groups($node, 10, 'a');
insert_groups($node, 1, 'x' x 31);
wait_settled($node);
sql('SELECT im_import_retry()');
wait_settled($node);
is_deeply(caught('trap', 'nobody'), [], 'the worker runs nothing of a schema in the search_path');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 9, 'and does its work');
sql('ALTER DATABASE postgres RESET search_path');

# ---------------------------------------------------------------------------
# A role that may use the import, and sets its own search_path

sql(<<SQL);
CREATE ROLE clerk LOGIN;
CREATE SCHEMA clerk AUTHORIZATION clerk;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON im_group_outbox TO clerk;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO clerk;
GRANT pg_monitor TO clerk;
SET ROLE clerk;
@{[ traps('clerk') ]}
SQL

$service->fault(
	{ do => 'close_before', times => 1, match => { name => 'doubt' } });
my %tries = (
	INSERT => "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'clerk')",
	UPDATE => "UPDATE im_group_outbox SET source_id = pg_catalog.concat('clerk', id)",
	DELETE => "DELETE FROM im_group_outbox WHERE name OPERATOR(pg_catalog.=) 'clerk2'",
	'im_import_pause()' => "SELECT im_import_pause('because')",
	'im_import_resume()' => 'SELECT im_import_resume()',
	'im_import_retry()' => "SELECT im_import_retry(10019, 'failed')",
	'im_import_adopt()' => 'SELECT im_import_adopt()',
	'im_import_resolve()' => 'SELECT im_import_resolve(0)',
	'im_import_set_rate()' => 'SELECT im_import_set_rate(150)',
	'im_import_status' => 'SELECT * FROM im_import_status',
	'im_import_errors' => 'SELECT * FROM im_import_errors',
	'im_import_failures' => 'SELECT * FROM im_import_failures',
	'pg_stat_im_import' => 'SELECT * FROM pg_stat_im_import',
	'im_import_wait()' => "CALL im_import_wait('5 s', false)",
	'im_import_drain()' => 'CALL im_import_drain(1)',
	'im_import_doctor()' => 'SELECT * FROM im_import_doctor()',
	'im_import_plan()' => 'SELECT * FROM im_import_plan()',
	'im_import_verify()' => 'CALL im_import_verify()',
	'im_import_group()' => "SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'one' AS name) q",
	'im_import_group() of a row' =>
	  "SELECT im_import_group(o) FROM im_group_outbox o WHERE status OPERATOR(pg_catalog.=) 'failed'",
	TRUNCATE => 'TRUNCATE im_group_outbox');
foreach my $what (sort { ($a eq 'TRUNCATE') <=> ($b eq 'TRUNCATE') || $a cmp $b } keys %tries)
{
	$node->psql('postgres', "SET search_path = clerk, pg_catalog, public;\n$tries{$what};",
		extra_params => [ '-U', 'clerk' ]);
	is_deeply(caught('clerk', 'clerk'), [], "$what runs nothing of the caller's with the owner's rights");
	sql('DELETE FROM clerk.caught');
}

done_testing();
