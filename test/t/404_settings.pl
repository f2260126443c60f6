# Settings of the role and of the database that a worker inherits, as hostile
# as ALTER ROLE and ALTER DATABASE can make them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

# Without a flush at commit, what was committed stays in memory for a while.
my ($node, $service) = set_up(
	conf => "wal_writer_delay = 10s\nwal_writer_flush_after = 0",
	options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });
my $WORKER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'";

my %hostile = (
	search_path => 'evil, pg_catalog, public',
	role => 'nobody',
	lock_timeout => 1,
	statement_timeout => 1,
	idle_in_transaction_session_timeout => 1,
	idle_session_timeout => 1,
	default_transaction_read_only => 'on',
	default_transaction_isolation => 'serializable',
	default_transaction_deferrable => 'on',
	synchronous_commit => 'off',
	session_replication_role => 'origin',
	row_security => 'on',
	plan_cache_mode => 'force_custom_plan',
	enable_indexscan => 'off',
	enable_indexonlyscan => 'off',
	enable_nestloop => 'off',
	enable_sort => 'off',
	enable_hashagg => 'off',
	work_mem => '64kB',
	temp_file_limit => 0,
	datestyle => 'German',
	intervalstyle => 'iso_8601',
	timezone => 'Pacific/Kiritimati',
	extra_float_digits => -15,
	bytea_output => 'escape',
	array_nulls => 'off',
	quote_all_identifiers => 'on',
	standard_conforming_strings => 'off',
	backslash_quote => 'off',
	transform_null_equals => 'on',
	xmloption => 'document',
	log_statement => 'all',
	log_min_duration_statement => 0,
	client_min_messages => 'debug5',
	max_stack_depth => '100kB',
	deadlock_timeout => 1,
	force_parallel_mode => 'on',
	max_parallel_workers_per_gather => 8,
	jit => 'on',
	jit_above_cost => 0,
	default_statistics_target => 1,
	cursor_tuple_fraction => 0,
	random_page_cost => 1e10,
	vacuum_cost_delay => 100,
	default_toast_compression => 'pglz');

# What it is called, or no longer to be had, in this version.
my $version = value_of($node, "SELECT current_setting('server_version_num')::integer");
my $parallel = $version >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
$hostile{$parallel} = delete $hostile{force_parallel_mode};
delete $hostile{standard_conforming_strings} if $version >= 190000;

# Things by the same names, first in the hostile search_path.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE nobody;
CREATE ROLE writer SUPERUSER LOGIN;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.im_group_outbox (id bigint, status text);
CREATE TABLE evil._im_tally (id bigint);
CREATE TABLE evil._im_control (id bigint);
CREATE TABLE evil.pg_trigger (id bigint);
CREATE FUNCTION evil.trap(text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'fallen into the trap: %', $1; END $$;
CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('operator'); RETURN false; END $$;
CREATE FUNCTION evil.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('operator'); RETURN false; END $$;
CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('operator'); RETURN 0; END $$;
CREATE OPERATOR evil.= (leftarg = bigint, rightarg = bigint, function = evil.equal);
CREATE OPERATOR evil.= (leftarg = text, rightarg = text, function = evil.equal);
CREATE OPERATOR evil.<> (leftarg = bigint, rightarg = bigint, function = evil.equal);
CREATE OPERATOR evil.> (leftarg = bigint, rightarg = bigint, function = evil.equal);
CREATE OPERATOR evil.+ (leftarg = bigint, rightarg = bigint, function = evil.plus);
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('function'); RETURN NULL; END $$;
CREATE FUNCTION evil.sum(bigint) RETURNS bigint LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('function'); RETURN 0; END $$;
CREATE FUNCTION evil.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS
	$$ BEGIN PERFORM evil.trap('function'); END $$;
SQL

# The worker is the bootstrap superuser; the test is somebody else from here on.
my $owner = value_of($node, 'SELECT current_user');
$ENV{PGUSER} = 'writer';

# A worker that has the settings does its work, and dies as it should.
sub works_as_ever
{
	my ($what) = @_;

	worker_gone($node);
	hold_in_flight($node, $service, 60, "$what ");
	my $user = value_of($node, "SELECT usename FROM pg_stat_activity WHERE backend_type = 'im_import worker'");
	note("$what: the worker is $user");
	$service->clear;
	$service->release;
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$what %' AND status = 'imported' AND attempts = 1"),
		60, "$what: all rows are imported, at their first attempt");
	accounted($node, $service, others => strangers($node, $service), name => "$what: every row is accounted for");

	# A refusal and a retry.
	$service->fault(
		{ do => 'code', code => 60008, times => 10, match => { name => "$what retry*" } },
		{ do => 'code', code => 10007, match => { name => "$what bad*" } });
	insert_groups($node, 20, "$what retry");
	insert_groups($node, 5, "$what bad");
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$what bad%' AND status = 'failed'"), 5, "$what: refusals are recorded");
	$service->clear;
	$node->safe_psql('postgres', 'SELECT im_import_retry()');
	wait_settled($node);
	accounted($node, $service, others => strangers($node, $service), name => "$what: after retries every row is accounted for");

	# A claim is on disk before its call: who holds a request when the server
	# dies is known afterwards.
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
	hold_in_flight($node, $service, 60, "$what crash ");
	$node->stop('immediate');
	$service->clear;
	$service->release;
	$node->start;
	wait_settled($node);
	is(scalar(grep { $_ > 1 } values %{ posted($service, "$what crash") }), 0, "$what: every claim was durable before its call");
	my $doubt = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$what crash%' AND status = 'in_doubt'");
	cmp_ok($doubt, '>=', 8, "$what: those in flight are in doubt");
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (DROP group_ids)");
	$node->safe_psql('postgres', "DELETE FROM im_group_outbox WHERE status = 'in_doubt'");
}

# Strings that hold lists of names must not be quoted as one.
sub setting
{
	my ($name) = @_;

	return $name eq 'search_path' ? $hostile{$name} : "'$hostile{$name}'";
}

$node->safe_psql('postgres', "ALTER ROLE $owner SET $_ = @{[ setting($_) ]}") foreach sort keys %hostile;
works_as_ever('role');
$node->safe_psql('postgres', "ALTER ROLE $owner RESET ALL");

# The same for the whole database.  The test's own sessions undo what would
# keep them from their work.
$ENV{PGOPTIONS} = join ' ', map { "-c $_" } (
	'role=none', 'search_path=public', 'lock_timeout=0', 'statement_timeout=0',
	'idle_in_transaction_session_timeout=0', 'idle_session_timeout=0', 'default_transaction_read_only=off',
	'default_transaction_deferrable=off', 'default_transaction_isolation=read\ committed',
	'client_min_messages=notice', 'max_stack_depth=2MB', "$parallel=off", 'temp_file_limit=-1',
	'standard_conforming_strings=on', 'enable_nestloop=on', 'enable_indexscan=on');
$node->safe_psql('postgres', "ALTER DATABASE postgres SET $_ = @{[ setting($_) ]}") foreach sort keys %hostile;
works_as_ever('database');

# Sessions that write with these settings are the users' own affair, but the
# counts and the wake-up must survive them.
{
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } (
		'role=none', 'search_path=public', 'statement_timeout=0', 'lock_timeout=0', 'default_transaction_read_only=off',
		'idle_session_timeout=0', 'idle_in_transaction_session_timeout=0', 'client_min_messages=notice',
		'default_transaction_deferrable=off', 'temp_file_limit=-1', 'standard_conforming_strings=on');

	is(value_of($node, 'SHOW default_transaction_isolation'), 'serializable', 'a session with the hostile settings');
	insert_groups($node, 30, 'session');
	# A serializable session may have to try again.
	poll_until { ($node->psql('postgres', "UPDATE im_group_outbox SET source_id = source_id || '.' WHERE name LIKE 'session%'"))[0] == 0 }
	'an update that can be serialized';
	wait_settled($node);
}
accounted($node, $service, others => strangers($node, $service), name => 'rows of hostile sessions: every row is accounted for');

# As a replica: no trigger fires that counts.
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET session_replication_role = replica');
insert_groups($node, 30, 'replica');
wait_settled($node);
poll_until { status_of($node)->{state} ne 'counting' } 'the count';
accounted($node, $service, others => strangers($node, $service), name => 'session_replication_role: every row is accounted for');

is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /ERROR:  fallen into the trap/g), 0, 'nothing ran what the search_path offered');

done_testing();
