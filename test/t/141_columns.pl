# Columns of the outbox that get another type while a worker and a session know
# the old one: nothing crashes, nothing wrong is sent, and it is said what is
# the matter.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1000 });
my $started_at = value_of($node, 'SELECT pg_postmaster_start_time()');

# A session that compares rows, and lives on; the worker stays for three seconds
# after its last row.
my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SET client_min_messages = error; SELECT pg_backend_pid()');

# The body of the one call for a group's name.
sub body_of
{
	my ($name) = @_;
	my ($call) = $service->calls_for($name);

	return defined $call ? json($call->{body}) : {};
}

# Alters the table with the worker there, inserts a row with that column, and
# has it settled.
sub altered
{
	my ($alter, $name, $column, $value) = @_;

	insert_groups($node, 1, "before $name ");
	wait_settled($node);
	$session->query_safe('CALL im_import_verify()');
	$node->safe_psql('postgres', "ALTER TABLE im_group_outbox $alter");
	$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name, $column) VALUES ('Public', '$name', $value)");
	wait_settled($node);
	$session->query_safe('CALL im_import_verify()');
	is(value_of($node, "SELECT status || coalesce(' ' || error_info, '') FROM im_group_outbox WHERE name = '$name'"),
		'imported', "$alter: a row is imported");
	return body_of($name);
}

is(altered("ALTER owner_account TYPE bigint USING NULL", 'owner', 'owner_account', '123')->{Owner_Account}, '123',
	'a number as owner is sent as its text');
is(altered("ALTER create_time TYPE bigint USING extract(epoch FROM create_time)", 'time', 'create_time', '1600000000')->{CreateTime},
	1600000000, 'a time in seconds is sent as such');
is_deeply(altered("ALTER app_defined_data TYPE jsonb", 'data', 'app_defined_data', q('{"k": "v"}'))->{AppDefinedData},
	[ { Key => 'k', Value => 'v' } ], 'jsonb is sent as json is');
is(altered("ALTER introduction TYPE varchar(50)", 'intro', 'introduction', q('text'))->{Introduction}, 'text', 'varchar is text');

# What C reads by its type, and no view has: else PostgreSQL itself refuses it.
foreach my $case ([ 'maybe_sent_at', 'text', 'timestamp with time zone' ], [ 'claim', 'text', 'bigint' ])
{
	my ($column, $other, $own) = @$case;

	$node->safe_psql('postgres', "ALTER TABLE im_group_outbox ALTER $column TYPE $other USING $column\::$other");
	like(error_of($node, 'UPDATE im_group_outbox SET source_id = source_id'),
		qr/column "$column".* is of type $other, .*HINT:.*ALTER COLUMN $column TYPE $own/s, "$column: an ERROR with a HINT");
	$node->safe_psql('postgres', 'SELECT im_import_resume()');
	poll_until { (value_of($node, 'SELECT last_error FROM im_import_status') // '') =~ /column "$column"/ } "$column in last_error";
	$node->safe_psql('postgres', "ALTER TABLE im_group_outbox ALTER $column TYPE $own USING $column\::$own");
}
insert_groups($node, 5, 'again');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'again%' AND status = 'imported'"), 5, 'undone: rows are imported');

foreach my $column (qw(sent_time msg_seq))
{
	$node->safe_psql('postgres', "ALTER TABLE im_message_outbox ALTER $column TYPE numeric");
	like(error_of($node, "INSERT INTO im_message_outbox (group_id, from_account, send_time, text) VALUES ('g', 'u', '2020-01-01', 't')")
		. error_of($node, 'UPDATE im_group_outbox SET source_id = source_id'),
		qr/column "$column".* is of type numeric, .*HINT:/s, "$column of messages: an ERROR with a HINT");
	$node->safe_psql('postgres', "TRUNCATE im_message_outbox; ALTER TABLE im_message_outbox ALTER $column TYPE bigint");
}

# The counts' own table.
$node->safe_psql('postgres', 'ALTER TABLE _im_tally ALTER pending DROP DEFAULT, ALTER pending TYPE text USING pending::text');
like(error_of($node, "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'y')"), qr/_im_tally.*not as the extension made it/, 'the tally');
$node->safe_psql('postgres', 'ALTER TABLE _im_tally ALTER pending TYPE bigint USING pending::bigint, ALTER pending SET DEFAULT 0');
insert_groups($node, 1, 'last');
wait_settled($node);

is($session->query_safe('SELECT pg_backend_pid()'), $pid, 'the session is the same');
$session->quit;
is(value_of($node, 'SELECT pg_postmaster_start_time()'), $started_at, 'the server never went down');
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /PANIC|was terminated by signal/g), 0, 'nothing crashed');

done_testing();
