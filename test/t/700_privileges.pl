# Who may do what, and that no role, whatever it puts in the way, makes the
# extension run its code as somebody else.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my $service = ImService->new;
my $node = start_cluster();

# ---------------------------------------------------------------------------
# Nothing is PUBLIC's, not even where the defaults of the database say so

$node->safe_psql('postgres', <<'SQL');
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO PUBLIC;
SQL
connect_app($node, $service);
my $members = <<'SQL';
SELECT classid, objid FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'im_import')
SQL
my $granted = <<"SQL";
WITH member AS ($members), acl AS (
	SELECT 'pg_class'::regclass AS class, c.oid, coalesce(relacl, acldefault('r', relowner)) AS acl, relowner AS owner
	FROM pg_class c JOIN member ON classid = 'pg_class'::regclass AND objid = c.oid
	UNION ALL SELECT 'pg_class'::regclass, attrelid, attacl, relowner
	FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN member ON classid = 'pg_class'::regclass AND objid = c.oid
	WHERE attacl IS NOT NULL
	UNION ALL SELECT 'pg_proc'::regclass, p.oid, coalesce(proacl, acldefault('f', proowner)), proowner
	FROM pg_proc p JOIN member ON classid = 'pg_proc'::regclass AND objid = p.oid
	UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, f.oid, coalesce(fdwacl, acldefault('F', fdwowner)), fdwowner
	FROM pg_foreign_data_wrapper f JOIN member ON classid = 'pg_foreign_data_wrapper'::regclass AND objid = f.oid)
SELECT grantee, class, oid, privilege_type, pg_describe_object(class, oid, 0) AS object
FROM acl, aclexplode(acl) WHERE grantee <> owner
SQL
is(value_of($node, "SELECT string_agg(DISTINCT object || ' ' || privilege_type, ', ') FROM ($granted) g WHERE grantee = 0"),
	'', 'nothing is granted to PUBLIC');
is(value_of($node, "SELECT string_agg(object || ' ' || privilege_type, ', ') FROM ($granted) g WHERE grantee <> 0 AND object !~ '^view (im_import_|_im_compared|pg_stat_im_import)' AND class = 'pg_class'::regclass"),
	'', 'and to others only views');
is(value_of($node, "SELECT string_agg(object, ', ' ORDER BY object) FROM ($granted) g WHERE grantee <> 0 AND class <> 'pg_class'::regclass"),
	"function _im_advice(text,integer), function _im_history(), function _im_progress(), function _im_stats(), function _im_status(), "
	  . "function im_error_codes(), function im_import_report(), function im_problem_kind(text), function im_problem_list(text)",
	'... and the functions that these call, and the page of them');
is(value_of($node, "SELECT count(*) FROM ($granted) g WHERE grantee NOT IN (0, 'pg_monitor'::regrole)"), 0, '... to nobody else');
is(
	value_of($node, <<"SQL"),
SELECT count(*) FROM ($members) m
WHERE classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_foreign_data_wrapper'::regclass, 'pg_event_trigger'::regclass)
	-- row types and their arrays: members from version 17 on; PUBLIC's, see doc/privileges.md
	AND NOT (classid = 'pg_type'::regclass AND objid IN (
		SELECT unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t WHERE t.typrelid <> 0))
SQL
	0,
	'there are no other kinds of objects whose grants would have to be looked at');
is(
	value_of($node, "SELECT count(*) FROM pg_proc p JOIN ($members) m ON objid = p.oid AND classid = 'pg_proc'::regclass WHERE prosecdef"),
	0, 'no function is SECURITY DEFINER');

# ---------------------------------------------------------------------------
# The recipes of doc/privileges.md

my $page = slurp_file("$FindBin::RealBin/../../doc/privileges.md");
my @recipes = $page =~ /^```sql\n(.*?)^```/msg;
is(scalar(@recipes), 5, 'doc/privileges.md has its recipes');
my $row_type = 'CREATE TEMP TABLE t (x im_group_outbox)';
my $types = pop @recipes;
$node->safe_psql('postgres', $_) foreach @recipes;
$node->safe_psql('postgres', "ALTER ROLE $_ LOGIN") foreach qw(chat_backend chat_watcher chat_dashboard chat_operator);

sub denied
{
	my ($role, $sql, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like(as_role($node, $role, $sql), qr/permission denied|must be owner|must be superuser|must be able to SET ROLE/, "$role may not $name");
}

# Row types are PUBLIC's until the page's recipe; pg_dump speaks of neither.
sub dump_warnings { return (run_command([ 'pg_dump', '-f', '/dev/null', '-d', $node->connstr('postgres') ]))[1] }
is(as_role($node, 'chat_backend', $row_type), '', 'anybody may use a row type');
is(dump_warnings(), '', 'pg_dump has nothing to say of that');
$node->safe_psql('postgres', $types);
denied('chat_backend', $row_type, 'use a row type, after the recipe');
denied('chat_backend', 'CREATE TEMP TABLE t (x im_import_status)', q{nor a view's});
is(dump_warnings(), '', 'nor of the recipe');

# All functions that a role may call, of ours.
sub callable
{
	my ($role) = @_;

	return value_of($node, <<"SQL");
SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p JOIN ($members) m ON objid = p.oid AND classid = 'pg_proc'::regclass
WHERE has_function_privilege('$role', p.oid, 'EXECUTE')
SQL
}

is(callable('chat_backend'), '_im_origin _im_row_key im_fit', 'who enqueues may call three functions');
is(callable('chat_watcher'), '_im_advice _im_history _im_progress _im_stats _im_status im_error_codes im_import_report im_problem_kind im_problem_list', 'who watches may call what the views need');
is(callable('chat_dashboard'), callable('chat_watcher'), 'and so may who watches without pg_monitor');
is(
	callable('chat_operator'),
	'_im_advice _im_history _im_origin _im_progress _im_same_app _im_stats _im_status im_error_codes im_fit im_group_json im_group_problems '
	  . 'im_import_audit im_import_doctor im_import_drain im_import_forget im_import_pause im_import_plan im_import_report im_import_resolve im_import_resume im_import_retry im_import_set_rate '
	  . 'im_import_stats_reset im_import_verify im_import_wait im_problem_kind im_problem_list im_row_json im_row_problems',
	'who operates may call what the page says');

my $insert = "INSERT INTO im_group_outbox (source_id, type, name) VALUES ('mine', 'Public', 'of the backend')";
is(as_role($node, 'chat_backend', $insert), '', 'chat_backend may insert');
wait_settled($node);
is(scalar($service->calls_for('of the backend')), 1, 'and the worker sends it');
like(as_role($node, 'chat_backend', $insert =~ s/'mine'/'mine too'/r . ' RETURNING id'), qr/^\d+$/, 'it may have the id of its row, as an ORM asks for it');
wait_settled($node);
denied('chat_backend', $_->[1], $_->[0]) foreach (
	[ 'read rows', 'SELECT name FROM im_group_outbox' ],
	[ 'read whole rows', 'SELECT o FROM im_group_outbox o' ],
	[ 'read by RETURNING', "$insert RETURNING group_id" ],
	[ 'change by ON CONFLICT', "$insert ON CONFLICT (id) DO UPDATE SET name = 'x'" ],
	[ 'update', "UPDATE im_group_outbox SET name = 'x'" ],
	[ 'delete', 'DELETE FROM im_group_outbox' ],
	[ 'truncate', 'TRUNCATE im_group_outbox' ],
	[ 'choose a status', "INSERT INTO im_group_outbox (type, name, status) VALUES ('Public', 'x', 'imported')" ],
	[ 'choose a row_key', "INSERT INTO im_group_outbox (type, name, row_key) VALUES ('Public', 'x', gen_random_uuid())" ],
	[ 'choose an id', "INSERT INTO im_group_outbox (id, type, name) OVERRIDING SYSTEM VALUE VALUES (-1, 'Public', 'x')" ],
	[ 'take numbers', "SELECT nextval('im_group_outbox_id_seq')" ],
	[ 'read the pause', 'SELECT * FROM _im_control' ],
	[ 'change the pause', 'DELETE FROM _im_control' ],
	[ 'change the tally', 'DELETE FROM _im_tally' ],
	[ 'write the tally', 'INSERT INTO _im_tally (origin) VALUES (1)' ],
	[ 'change the budget', 'DELETE FROM _im_days' ],
	[ 'add a trigger', 'CREATE TRIGGER t AFTER INSERT ON im_group_outbox EXECUTE FUNCTION suppress_redundant_updates_trigger()' ],
	[ 'add a rule', 'CREATE RULE r AS ON INSERT TO im_group_outbox DO ALSO NOTHING' ],
	[ 'add an index', 'CREATE INDEX ON im_group_outbox (name)' ],
	[ 'add a policy', 'CREATE POLICY p ON im_group_outbox' ],
	[ 'inherit', 'CREATE TEMP TABLE t () INHERITS (im_group_outbox)' ],
	[ 'lock it', 'BEGIN; LOCK im_group_outbox IN ACCESS EXCLUSIVE MODE' ],
	[ 'add a server', q{CREATE SERVER im2 FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1', region 'china')} ],
	[ 'add a mapping', q{CREATE USER MAPPING FOR chat_backend SERVER im OPTIONS (identifier 'x', secret_key 'x')} ],
	[ 'change an option', q{ALTER SERVER im OPTIONS (SET sdkappid '2')} ],
	[ 'drop the extension', 'DROP EXTENSION im_import' ],
	[ 'watch', 'SELECT * FROM im_import_status' ],
	[ 'import a group', q{SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q} ],
	[ 'have a signature', 'SELECT im_usersig()' ]);
foreach my $role (qw(chat_backend chat_watcher chat_dashboard chat_operator))
{
	is(as_role($node, $role, 'SELECT umoptions IS NULL FROM pg_user_mappings'), 't', "$role does not see the mapping's options");
	denied($role, 'SELECT * FROM pg_user_mapping', 'read the mappings');
}
foreach my $view (qw(im_import_status im_import_progress im_import_rooms im_import_errors im_import_problems im_import_failures im_import_mapping pg_stat_im_import))
{
	like(as_role($node, $_, "SELECT count(*) FROM $view"), qr/^\d+$/, "$_ may read $view") foreach qw(chat_watcher chat_dashboard chat_operator);
}
denied('chat_watcher', 'SELECT im_import_pause()', 'pause');
denied('chat_watcher', 'SELECT * FROM im_import_doctor()', 'have the doctor call the service');
denied('chat_watcher', 'SELECT * FROM im_import_plan()', 'have the plan read the table');
denied('chat_watcher', 'SELECT * FROM im_group_outbox', 'read the table');

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Publik', 'to be repaired'), ('Public', '')");
wait_settled($node);
is(as_role($node, 'chat_operator', <<'SQL'), '', 'chat_operator may repair and call off');
UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE name = 'to be repaired';
DELETE FROM im_group_outbox WHERE name = '';
SELECT im_import_pause('by the operator') IS NULL WHERE false;
SQL
wait_settled($node);
is(scalar($service->calls_for('to be repaired')), 1, 'and the row goes');
like(as_role($node, 'chat_operator', 'SELECT im_import_pause(); SELECT im_import_resume(); SELECT im_import_set_rate(150); SELECT im_import_retry();'),
	qr/^0$/m, 'chat_operator may pause, resume, set the rate and retry');
is(value_of($node, 'SELECT rate_limit FROM im_import_status'), '150.00', 'the rate has changed');
my $doctor = as_role($node, 'chat_operator', 'SELECT item, ok, detail, cure FROM im_import_doctor()');
like($doctor, qr/^service\|t\|/m, 'chat_operator may ask the doctor');
unlike($doctor, qr/could not be checked|permission denied/, '... who then may look at everything');
unlike($doctor, qr/\Q$service->{secret}\E|usersig=/, '... and shows no secret');
like(as_role($node, 'chat_operator', 'SELECT item, value FROM im_import_plan()'), qr/^pending groups\|0$/m, 'chat_operator may plan');
is(as_role($node, 'chat_operator', <<'SQL'), 't', 'chat_operator may compare with the app, and empty the outbox');
CALL im_import_verify();
SELECT count(*) = (SELECT count(*) FROM im_import_mapping) FROM im_import_verified WHERE result = 'matched';
BEGIN; CALL im_import_forget('2000-01-01') \g /dev/null
ROLLBACK;
SQL
denied('chat_operator', $_->[1], $_->[0]) foreach (
	[ 'change an internal column', 'UPDATE im_group_outbox SET attempts = 2147483647' ],
	[ 'change an option', q{ALTER SERVER im OPTIONS (SET sdkappid '2')} ],
	[ 'truncate', 'TRUNCATE im_group_outbox' ],
	[ 'adopt', 'SELECT im_import_adopt()' ],
	[ 'have a signature', 'SELECT im_usersig()' ]);

# ---------------------------------------------------------------------------
# An endpoint and files only for who has the right

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE owner LOGIN;
ALTER SERVER im OWNER TO owner;
CREATE USER MAPPING FOR owner SERVER im OPTIONS (identifier 'administrator', secret_key_file '/nowhere');
SQL
like(as_role($node, 'owner', $_), qr/permission denied to set option "endpoint"/, "a server's owner who is no superuser: $_")
  foreach (q{ALTER SERVER im OPTIONS (SET endpoint 'https://localhost:1')}, q{ALTER SERVER im OPTIONS (SET rate_limit '1')});
like(as_role($node, 'owner', $_), qr/permission denied to set option "secret_key_file"/, "nor a file of the server's")
  foreach (q{ALTER USER MAPPING FOR owner SERVER im OPTIONS (SET secret_key_file '/etc/passwd')},
	q{ALTER USER MAPPING FOR owner SERVER im OPTIONS (SET identifier 'x')});
like(as_role($node, 'owner', q{ALTER SERVER im OPTIONS (DROP endpoint, ADD region 'china', ADD ca_file '/etc/passwd')}),
	qr/permission denied to set option "ca_file"/, 'nor a ca_file');
$node->safe_psql('postgres', 'DROP USER MAPPING FOR owner SERVER im; ALTER SERVER im OWNER TO CURRENT_USER; DROP ROLE owner');

# ---------------------------------------------------------------------------
# Hostile objects in every schema of the path, and in pg_temp

# The role has everything that the page above warns of, but is no superuser.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE enemy LOGIN;
GRANT chat_operator, chat_backend TO enemy;
GRANT EXECUTE ON FUNCTION im_import_group(record), im_import_adopt() TO enemy;
GRANT CREATE ON SCHEMA public TO enemy;
GRANT CREATE ON DATABASE postgres TO enemy;
GRANT SELECT (id, row_key) ON im_group_outbox TO enemy;
SQL

# Whoever runs it: it is noted under whose name, and enemy becomes superuser if possible.
my $trap = <<'SQL';
CREATE SCHEMA evil;
GRANT ALL ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.caught (who name, what text);
GRANT INSERT ON evil.caught TO PUBLIC;
CREATE FUNCTION evil.spring(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'enemy' THEN INSERT INTO evil.caught VALUES (current_user, what); END IF;
	EXECUTE 'ALTER ROLE enemy SUPERUSER';
EXCEPTION WHEN OTHERS THEN NULL;
END $$;
DO $$
DECLARE
	place text;
	typ text;
	op text;
	fn text;
BEGIN
	FOREACH place IN ARRAY ARRAY['evil', 'public', 'pg_temp'] LOOP
		FOREACH typ IN ARRAY ARRAY['bigint', 'integer', 'text', 'name', 'oid', 'uuid', 'boolean', 'timestamptz', 'date', 'interval'] LOOP
			EXECUTE format('CREATE FUNCTION %s.compare(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L', place, typ, typ,
				format('BEGIN PERFORM evil.spring(%L); RETURN true; END', place || '.compare ' || typ));
			FOREACH op IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>='] LOOP
				EXECUTE format('CREATE OPERATOR %s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s.compare)', place, op, typ, typ, place);
			END LOOP;
		END LOOP;
		EXECUTE format('CREATE FUNCTION %s.add(integer, integer) RETURNS integer LANGUAGE plpgsql AS %L', place,
			'BEGIN PERFORM evil.spring(''add''); RETURN 1; END');
		EXECUTE format('CREATE OPERATOR %s.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = %s.add)', place, place);
		EXECUTE format('CREATE FUNCTION %s.add(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS %L', place,
			'BEGIN PERFORM evil.spring(''add''); RETURN 1; END');
		EXECUTE format('CREATE OPERATOR %s.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = %s.add)', place, place);
		EXECUTE format('CREATE FUNCTION %s.add(timestamptz, interval) RETURNS timestamptz LANGUAGE plpgsql AS %L', place,
			'BEGIN PERFORM evil.spring(''add''); RETURN pg_catalog.now(); END');
		EXECUTE format('CREATE OPERATOR %s.+ (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = %s.add)', place, place);
		FOREACH fn IN ARRAY ARRAY['now() RETURNS timestamptz', '_im_row_key() RETURNS uuid', '_im_origin() RETURNS bigint',
			'sum(bigint) RETURNS bigint', 'im_error_codes() RETURNS text', '_im_status() RETURNS text',
			'timezone(text, timestamptz) RETURNS timestamp'] LOOP
			CONTINUE WHEN place = 'public' AND fn ~ '^_?im_';
			EXECUTE format('CREATE FUNCTION %s.%s LANGUAGE plpgsql AS %L', place, fn,
				'BEGIN PERFORM evil.spring(''function''); RETURN NULL; END');
		END LOOP;
		FOREACH fn IN ARRAY ARRAY['im_group_outbox', '_im_tally', '_im_control', '_im_days', 'pg_trigger', 'pg_class',
			'pg_extension'] LOOP
			CONTINUE WHEN place = 'public' AND fn ~ '^_?im_';
			EXECUTE format('CREATE VIEW %s.%s AS SELECT evil.spring(''view'')::text AS status', place, fn);
		END LOOP;
		FOREACH fn IN ARRAY ARRAY['int8', 'text', 'bool', 'uuid'] LOOP
			EXECUTE format('CREATE DOMAIN %s.%s AS pg_catalog.text CHECK (pg_catalog.pg_notify(''x'', ''y'') IS NULL)', place, fn);
		END LOOP;
	END LOOP;
END $$;
SQL
my $deeds = <<'SQL';
INSERT INTO public.im_group_outbox (type, name) VALUES ('Public', 'enemy 1'), ('Publik', 'enemy 2');
SELECT count(*) FROM public.im_import_status;
SELECT count(*) FROM public.im_import_errors;
SELECT count(*) FROM public.im_import_failures;
SELECT count(*) FROM public.im_import_mapping;
SELECT count(*) FROM public.pg_stat_im_import;
SELECT public.im_import_pause('x');
SELECT public.im_import_resume();
SELECT public.im_import_retry();
SELECT public.im_import_retry(1, 'failed');
SELECT public.im_import_set_rate(150);
SELECT public.im_import_adopt();
SELECT public.im_import_group(q) FROM (SELECT 'Public'::pg_catalog.text AS type, 'enemy 3'::pg_catalog.text AS name) q;
SELECT public.im_import_group(q) FROM (SELECT id, row_key, 'Public'::pg_catalog.text AS type, 'x'::pg_catalog.text AS name FROM public.im_group_outbox LIMIT 1) q;
UPDATE public.im_group_outbox SET status = 'pending', type = 'Public' WHERE name OPERATOR(pg_catalog.=) 'enemy 2';
DELETE FROM public.im_group_outbox WHERE id OPERATOR(pg_catalog.=) 1;
SELECT public.im_import_resolve(1);
CALL public.im_import_drain(1);
CALL public.im_import_wait(NULL, false);
SELECT pg_catalog.count(*) FROM public.im_import_doctor();
SELECT pg_catalog.count(*) FROM public.im_import_plan();
SELECT pg_catalog.length(public.im_import_report());
SELECT public.im_problem_kind(p) FROM public.im_group_outbox o, pg_catalog.unnest(public.im_group_problems(o)) p;
CALL public.im_import_verify();
CALL public.im_import_forget('-infinity');
SQL

sub nothing_caught
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value_of($node, q{SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = 'enemy'}), 'f', "$name: no superuser was made");
	is(value_of($node, q{SELECT string_agg(DISTINCT who || ': ' || what, '; ') FROM evil.caught}), '', "$name: nothing ran as somebody else");
	$node->safe_psql('postgres', 'ALTER ROLE enemy NOSUPERUSER; TRUNCATE evil.caught');
}

is(as_role($node, 'enemy', $trap), '', 'the traps are set');
foreach my $path ('evil, pg_catalog, public', 'pg_temp, evil, public, pg_catalog', 'public, pg_temp, pg_catalog')
{
	# Each deed in a session of its own, so that no plan is left from another path; pg_temp's traps too.
	foreach my $deed (grep { /\S/ } split /^/m, $deeds)
	{
		(my $temp = $trap) =~ s/'evil', 'public', 'pg_temp'/'pg_temp'/;
		$temp =~ s/^.*?(?=DO \$\$)//s;
		$temp = '' unless $path =~ /^pg_temp/;
		as_role($node, 'enemy', "$temp\nSET search_path = $path;\n$deed");
	}
	nothing_caught("search_path $path");
}

# The worker: the database's own settings are the enemy's.
my %hostile = (
	search_path => 'evil, pg_catalog, public',
	default_transaction_read_only => 'on',
	default_transaction_isolation => 'serializable',
	statement_timeout => '1',
	lock_timeout => '1',
	synchronous_commit => 'off',
	enable_indexscan => 'off',
	row_security => 'off',
	array_nulls => 'off',
	standard_conforming_strings => 'off',
	transform_null_equals => 'on',
	quote_all_identifiers => 'on',
	datestyle => "'SQL, DMY'",
	intervalstyle => 'sql_standard',
	timezone => "'Asia/Kathmandu'",
	client_encoding => 'SJIS',
	default_tablespace => "'nowhere'",
	work_mem => '64',
	force_parallel_mode => 'on',
	plan_cache_mode => 'force_custom_plan');
my $version = value_of($node, "SELECT current_setting('server_version_num')::integer");
$hostile{debug_parallel_query} = delete $hostile{force_parallel_mode} if $version >= 160000;
delete $hostile{standard_conforming_strings} if $version >= 190000;
$node->safe_psql('template1', "ALTER DATABASE postgres SET $_ = $hostile{$_}") foreach sort keys %hostile;
$node->restart;
{
	# The test's own sessions must not fall into the trap.
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } 'search_path=pg_catalog,public', 'statement_timeout=0', 'lock_timeout=0',
	  'default_transaction_read_only=off', 'client_encoding=UTF8';

	$node->safe_psql('postgres', "INSERT INTO public.im_group_outbox (type, name) SELECT 'Public', 'set ' || i FROM generate_series(1, 20) i");
	poll_until {
		value_of($node, "SELECT count(*) FROM public.im_group_outbox WHERE status = 'imported' AND name LIKE 'set %'") == 20
	}
	'the worker of a database with hostile settings';
}
pass('the worker works whatever the database sets');
$node->safe_psql('template1', "ALTER DATABASE postgres RESET ALL");
nothing_caught('the worker');

# An inserting superuser with a careless path: the triggers are not trapped.
$node->safe_psql('postgres', q{SET search_path = evil, pg_catalog; INSERT INTO public.im_group_outbox (type, name) VALUES ('Public', 'careless')});
wait_settled($node);
nothing_caught("somebody else's INSERT");
$node->safe_psql('postgres', 'DROP OWNED BY enemy CASCADE');
is(value_of($node, q{SELECT count(*) FROM im_group_outbox WHERE name = 'careless' AND status = 'imported'}), 1, 'the extension has survived the enemy');

# ---------------------------------------------------------------------------
# A schema's owner, who renames it under open sessions

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE landlord LOGIN;
CREATE DATABASE rented OWNER landlord;
SQL
$node->safe_psql('rented', 'CREATE SCHEMA app AUTHORIZATION landlord');
$node->safe_psql('rented', 'CREATE EXTENSION im_import SCHEMA app');
my $open = $node->background_psql('rented', on_error_stop => 0);

$open->query("INSERT INTO app.im_group_outbox (type, name) VALUES ('Public', 'before')");
$open->query('SELECT count(*) FROM app.im_import_status');
like(as_role($node, 'landlord', <<'SQL', 'rented'), qr/^$/, 'the landlord moves in');
ALTER SCHEMA app RENAME TO moved;
CREATE SCHEMA app;
GRANT ALL ON SCHEMA app TO PUBLIC;
CREATE FUNCTION app.trap() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'ALTER ROLE landlord SUPERUSER'; RETURN 0; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$;
CREATE TABLE app._im_tally (origin bigint, pending bigint, sending bigint, imported bigint, failed bigint,
	invalid bigint, in_doubt bigint, dirty boolean, x bigint DEFAULT app.trap());
CREATE VIEW app._im_control AS SELECT app.trap() AS origin, 1::bigint AS timeline, now() AS paused_at, ''::text AS paused_by, ''::text AS pause_reason,
	''::text AS triggers;
CREATE VIEW app._im_days AS SELECT app.trap() AS origin, current_date AS day, 1::bigint AS groups;
CREATE VIEW app.im_group_outbox AS SELECT app.trap() AS id;
GRANT ALL ON ALL TABLES IN SCHEMA app TO PUBLIC;
SQL
$open->query("INSERT INTO moved.im_group_outbox (type, name) VALUES ('Public', 'after')");
$open->query('SELECT count(*) FROM moved.im_import_status');
is(value_of($node, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'landlord'}, 'rented'), 'f', 'a renamed schema: no plan is left that finds its traps');
is(value_of($node, 'SELECT count(*) FROM moved.im_group_outbox', 'rented'), 2, 'and INSERT goes on');
is(value_of($node, 'SELECT sum(pending) FROM moved._im_tally', 'rented'), 2, 'and is counted');
$open->quit;
$node->safe_psql('rented', 'DROP SCHEMA app CASCADE');

my $evil_name = q{'OPERATOR(e.@)1))FROM e.t--};
is(as_role($node, 'landlord', <<"SQL", 'rented'), '', 'a schema with a name like SQL');
CREATE SCHEMA e;
GRANT ALL ON SCHEMA e TO PUBLIC;
CREATE FUNCTION e.f(text, integer) RETURNS oid LANGUAGE plpgsql AS
\$\$ BEGIN EXECUTE 'ALTER ROLE landlord SUPERUSER'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 1; END \$\$;
CREATE OPERATOR e.@ (LEFTARG = text, RIGHTARG = integer, FUNCTION = e.f);
CREATE TABLE e.t (pending bigint, sending bigint, imported bigint, failed bigint, invalid bigint, in_doubt bigint, origin bigint, dirty boolean);
INSERT INTO e.t VALUES (1, 1, 1, 1, 1, 1, 1, false);
GRANT SELECT ON e.t TO PUBLIC;
ALTER SCHEMA moved RENAME TO "$evil_name";
SQL
is(value_of($node, qq{SELECT total FROM "$evil_name".im_import_status}, 'rented'), 2, 'it is a name and nothing else');
is(value_of($node, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'landlord'}, 'rented'), 'f', 'it runs nothing');
$node->safe_psql('rented', 'DROP EXTENSION im_import CASCADE');

# ---------------------------------------------------------------------------
# Schemas with odd names

foreach my $schema ('We ird', 'SELECT', 'Größe.Ü', 'a-b;c')
{
	my $quoted = '"' . $schema =~ s/"/""/gr . '"';
	my $renamed = '"' . "We\"\"ird it's $schema" . '"';

	utf8::encode($_) foreach $quoted, $renamed;
	$node->safe_psql('rented', "CREATE SCHEMA $quoted; CREATE EXTENSION im_import SCHEMA $quoted");
	my $endpoint = $service->endpoint;
	my ($sdkappid, $admin, $key_file) = @$service{qw(sdkappid admin key_file)};
	$node->safe_psql('rented', <<"SQL");
CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '$sdkappid', endpoint '$endpoint');
CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (identifier '$admin', secret_key_file '$key_file');
INSERT INTO $quoted.im_group_outbox (type, name) VALUES ('Public', 'odd schema');
SQL
	my $imported = 'SELECT count(*) FROM %s.im_group_outbox WHERE status = \'imported\'';
	poll_until { value_of($node, sprintf($imported, $quoted), 'rented') == 1 } "a row in schema $schema";
	$node->safe_psql('rented', <<"SQL");
ALTER SCHEMA $quoted RENAME TO $renamed;
INSERT INTO $renamed.im_group_outbox (type, name) VALUES ('Public', 'odder schema');
SQL
	poll_until { value_of($node, sprintf($imported, $renamed), 'rented') == 2 } "a row in the renamed schema $schema";
	is(value_of($node, "SELECT state || ' ' || total FROM $renamed.im_import_status", 'rented'), 'idle 2', 'odd schema: ' . join('', map { ord() > 126 ? '?' : $_ } split //, $schema));
	$node->safe_psql('rented', "DROP EXTENSION im_import CASCADE; DROP SCHEMA $renamed");
}

# ---------------------------------------------------------------------------
# Objects that were there before the extension

$node->safe_psql('rented', 'CREATE SCHEMA taken AUTHORIZATION landlord; GRANT ALL ON SCHEMA taken TO PUBLIC');
is(as_role($node, 'landlord', <<'SQL', 'rented'), '', 'traps before CREATE EXTENSION');
CREATE FUNCTION taken.spring() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'ALTER ROLE landlord SUPERUSER'; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN true; END $$;
CREATE FUNCTION taken.compare(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT taken.spring()';
SQL
my @taken = (
	[ 'TABLE taken.im_group_outbox (x integer)', 1 ],
	[ 'TABLE taken._im_tally (x integer)', 1 ],
	[ 'TABLE taken._im_control (x integer)', 1 ],
	[ 'TABLE taken._im_days (x integer)', 1 ],
	[ 'VIEW taken.im_import_status AS SELECT taken.spring()', 1 ],
	[ 'TYPE taken.im_import_errors AS (x integer)', 1 ],
	[ 'SEQUENCE taken.im_group_outbox_id_seq', 1 ],
	[ 'TABLE taken.im_group_outbox_new (x integer)', 1 ],
	[ 'FUNCTION taken._im_row_key() RETURNS uuid LANGUAGE sql AS $$SELECT gen_random_uuid()$$', 1 ],
	[ 'FUNCTION taken._im_origin() RETURNS bigint LANGUAGE sql AS $$SELECT 1::bigint$$', 1 ],
	[ 'FUNCTION taken.im_import_group(record) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$', 1 ],
	[ 'FUNCTION taken._im_status() RETURNS integer LANGUAGE sql AS $$SELECT 1$$', 1 ],
	[ 'FUNCTION taken._im_outbox_guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM taken.spring(); RETURN NEW; END$$', 1 ],
	[ 'FUNCTION taken._im_row_key(x integer DEFAULT 1) RETURNS uuid LANGUAGE sql AS $$SELECT taken.spring()::text::uuid$$', 0 ],
	[ 'FUNCTION taken._im_origin(VARIADIC integer[] DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$SELECT taken.spring()::integer::bigint$$', 0 ],
	[ 'FUNCTION taken.im_error_codes(x integer DEFAULT 1) RETURNS integer LANGUAGE sql AS $$SELECT taken.spring()::integer$$', 0 ],
	[ 'FUNCTION taken.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT pg_catalog.now() WHERE taken.spring()$$', 0 ],
	[ 'OPERATOR taken.= (LEFTARG = text, RIGHTARG = text, FUNCTION = taken.compare)', 0 ],
	[ 'DOMAIN taken.bigint AS text CHECK (taken.spring())', 0 ],
	[ 'DOMAIN taken.text AS pg_catalog.text CHECK (taken.spring())', 0 ],
	[ 'DOMAIN taken.timestamptz AS pg_catalog.text CHECK (taken.spring())', 0 ],
	[ 'DOMAIN taken.trigger AS pg_catalog.text', 0 ]);
foreach my $case (@taken)
{
	my ($object, $must_fail) = @$case;
	(my $name = $object) =~ s/^(\w+ \S+?)(?=\(|\s).*/$1/s;

	is(as_role($node, 'landlord', "CREATE $object", 'rented'), '', "landlord: CREATE $name");
	my $error = error_of($node, 'CREATE EXTENSION im_import SCHEMA taken', 'rented');
	if ($must_fail)
	{
		like($error, qr/ERROR/, "CREATE EXTENSION does not take $name over");
	}
	elsif ($error ne '')
	{
		like($error, qr/is not unique/, "CREATE EXTENSION does not go on beside $name");
	}
	else
	{
		pass("CREATE EXTENSION beside $name");
		$node->safe_psql('rented', <<'SQL');
INSERT INTO taken.im_group_outbox (type, name) VALUES ('Publik', 'x');
SELECT * FROM taken.im_import_status;
SELECT * FROM taken.im_import_errors;
SELECT * FROM taken.im_import_failures;
SELECT * FROM taken.im_import_mapping;
SELECT taken.im_import_retry();
DROP EXTENSION im_import CASCADE;
SQL
	}
	is(value_of($node, q{SELECT rolsuper FROM pg_roles WHERE rolname = 'landlord'}, 'rented'), 'f', '... and runs nothing of it');
	$node->safe_psql('rented', 'ALTER ROLE landlord NOSUPERUSER');
	$node->safe_psql('rented', 'DROP EXTENSION IF EXISTS im_import CASCADE; DROP SCHEMA taken CASCADE; CREATE SCHEMA taken AUTHORIZATION landlord; GRANT ALL ON SCHEMA taken TO PUBLIC');
	as_role($node, 'landlord', <<'SQL', 'rented');
CREATE FUNCTION taken.spring() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'ALTER ROLE landlord SUPERUSER'; RETURN true; EXCEPTION WHEN OTHERS THEN RETURN true; END $$;
CREATE FUNCTION taken.compare(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT taken.spring()';
SQL
}

# ---------------------------------------------------------------------------
# im_import_group() where a statement may run again, or on somebody's behalf

my $before = scalar($service->journal('import_group'));
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE titles (title text);
INSERT INTO titles SELECT 'title ' || i FROM generate_series(1, 5) i;
CREATE FUNCTION hidden(title text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN public.im_import_group(q)::text FROM (SELECT 'Public' AS type, title AS name) q; END $$;
SQL
my $restricted = qr/cannot call im_import_group\(\) within a security-restricted operation/;
like(error_of($node, 'CREATE INDEX ON titles (hidden(title))'), $restricted, 'not from an index expression');
like(error_of($node, 'CREATE MATERIALIZED VIEW m AS SELECT hidden(title) FROM titles'), $restricted, 'not from CREATE MATERIALIZED VIEW');
$node->safe_psql('postgres', 'CREATE MATERIALIZED VIEW m AS SELECT hidden(title) FROM titles WITH NO DATA');
like(error_of($node, 'REFRESH MATERIALIZED VIEW m'), $restricted, 'not from REFRESH');
is(scalar($service->journal('import_group')), $before, 'nothing was sent');

$node->safe_psql('postgres', <<'SQL');
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT im_import_group(q) FROM (SELECT 'Public' AS type, title AS name FROM titles) q;
SQL
is(scalar($service->journal('import_group')), $before + 5, 'a query that wants to be parallel calls once per row');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION of_the_owner(title text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT im_import_group(q) FROM (SELECT 'Public' AS type, title AS name) q $$;
GRANT EXECUTE ON FUNCTION of_the_owner(text) TO chat_backend;
GRANT USAGE ON SCHEMA public TO chat_backend;
SQL
like(as_role($node, 'chat_backend', q{SELECT of_the_owner('by definer') ->> 'ErrorCode'}), qr/^0$/, 'a SECURITY DEFINER function lends the right');
is(scalar($service->calls_for('by definer')), 1, 'and calls once');

done_testing();
