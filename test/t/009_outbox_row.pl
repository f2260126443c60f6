# An outbox row given to im_import_group() is that row, however it came there:
# the worker sends it ahead of the others, and the session gets its outcome.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up();

$node->safe_psql('postgres', "SELECT im_import_pause('only one by one')");
insert_groups($node, 20, 'row');

# The answer to the row of a name, taken as SQL says.
sub answer
{
	my ($sql) = @_;

	return json($node->safe_psql('postgres', $sql));
}

# The row answers with its own GroupId, and was sent once.
sub answers_ok
{
	my ($reply, $name, $what) = @_;
	my $row = row($node, "SELECT * FROM im_group_outbox WHERE name = '$name'");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply($reply, { ActionStatus => 'OK', ErrorCode => 0, ErrorInfo => '', GroupId => $row->{group_id} },
		"$what: the answer");
	is("$row->{status} $row->{attempts}", 'imported 1', "$what: the row");
	is(scalar($service->calls_for($name)), 1, "$what: one call");
}

answers_ok(answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row1'"), 'row1', 'the table');
answers_ok(answer("SELECT im_import_group(s) FROM (SELECT * FROM im_group_outbox WHERE name = 'row2') s"),
	'row2', 'a subquery');
answers_ok(answer("WITH c AS MATERIALIZED (SELECT * FROM im_group_outbox WHERE name = 'row3') SELECT im_import_group(c) FROM c"),
	'row3', 'a CTE');
answers_ok(answer("SELECT im_import_group(s) FROM (SELECT name, type, row_key, id FROM im_group_outbox WHERE name = 'row4') s"),
	'row4', 'some columns, id and row_key among them');
my ($status, $out, $err) = $node->psql('postgres', <<'SQL');
DO $$
DECLARE r record; v im_group_outbox;
BEGIN
	SELECT * INTO r FROM im_group_outbox WHERE name = 'row5';
	RAISE NOTICE 'record %', im_import_group(r);
	SELECT * INTO v FROM im_group_outbox WHERE name = 'row6';
	RAISE NOTICE 'variable %', im_import_group(v);
END $$
SQL
answers_ok(json($err =~ /record (\{.*\})/), 'row5', 'a record variable');
answers_ok(json($err =~ /variable (\{.*\})/), 'row6', 'a row variable');
answers_ok(answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row1'"), 'row1', 'a second time');
is(status_of($node)->{state}, 'paused', 'all of it while paused');
is(status_of($node)->{pending}, 14, 'and the other rows wait');

# Many at once, in one statement.
is(
	value_of($node, q{SELECT count(*) FROM (SELECT im_import_group(o) AS reply FROM im_group_outbox o
		WHERE name IN ('row7', 'row8', 'row9')) r WHERE reply->>'ErrorCode' = '0'}),
	3, 'several rows of one statement');

# A transaction that is rolled back afterwards takes nothing back.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row10';
ROLLBACK;
SQL
is(value_of($node, "SELECT status FROM im_group_outbox WHERE name = 'row10'"), 'imported',
	'the outcome stands although the caller rolled back');

# ---------------------------------------------------------------------------
# Rows that end otherwise

$service->fault({ do => 'code', code => 10019, info => 'no such owner', times => 1, match => { name => 'row11' } },
	{ do => 'http', times => 1, match => { name => 'row12' } });
my $reply = answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row11'");
is("$reply->{ActionStatus} $reply->{ErrorCode} $reply->{ErrorInfo}", 'FAIL 10019 no such owner', 'a refused row answers so');
$reply = answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row11'");
is("$reply->{ActionStatus} $reply->{ErrorCode} $reply->{ErrorInfo}", 'FAIL 10019 no such owner',
	'and again, without another call');
is(scalar($service->calls_for('row11')), 1, 'it was sent once');
$reply = answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row12'");
is("$reply->{ActionStatus} $reply->{ErrorCode}", 'FAIL -4', 'an unknown outcome answers so');
like($reply->{ErrorInfo}, qr/stays pending/, 'and says that the row stays pending');
is(value_of($node, "SELECT status FROM im_group_outbox WHERE name = 'row12'"), 'pending', 'which it does');

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Publik', 'bad')");
$reply = answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'bad'");
is($reply->{ActionStatus}, 'FAIL', 'an invalid row answers FAIL');
like($reply->{ErrorInfo}, qr/type is "Publik"/, 'with its problem');
is(value_of($node, "SELECT status FROM im_group_outbox WHERE name = 'bad'"), 'invalid', 'and is invalid');
$reply = answer("SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'bad'");
is($reply->{ActionStatus}, 'FAIL', 'and again');
like($reply->{ErrorInfo}, qr/type is "Publik"/, 'with its problem');

# ---------------------------------------------------------------------------
# Rows that cannot be handed over

my $calls = $service->stats->{journaled};
like(
	error_of($node, <<'SQL'), qr/written by the current transaction.*HINT:.*[Cc]ommit/s, 'an uncommitted row: an error that says so');
BEGIN;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'uncommitted');
SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'uncommitted';
SQL
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT 1 FROM im_group_outbox WHERE name = 'row13' FOR UPDATE");
like(error_of($node, "SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row13'"),
	qr/outbox row \d+ could not be taken.*locked.*HINT:.*call again/s, 'a locked row: an error that says so');
$session->query_safe('ROLLBACK');
$session->quit;
like(
	error_of($node, "SELECT im_import_group(s) FROM (SELECT id, gen_random_uuid() AS row_key, type, name FROM im_group_outbox WHERE name = 'row14') s"),
	qr/no outbox row \d+ with this row_key/, 'a row_key that is not its own: an error');
is($service->stats->{journaled}, $calls, 'nothing was sent for any of them');

$service->fault({ do => 'hold', times => 1, match => { name => 'row15' } });
my $held = $node->background_psql('postgres');
$held->{stdin} .= "SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row15';\n";
$held->{run}->pump_nb;
$service->wait_for(held => 1);
like(error_of($node, "SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row15'"),
	qr/is being sent/, 'a row in flight: an error that says so');
$service->release;
like($held->query_until(qr/ErrorCode.*\n/, "\n"), qr/"ErrorCode": 0/, 'and the one who sent it gets the answer');
$held->quit;

# A caller that gives up leaves the row to the worker.
$service->fault({ do => 'hold', times => 1, match => { name => 'row16' } });
like(
	error_of($node, "SET statement_timeout = '1s'; SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row16'"),
	qr/statement timeout/, 'a caller can be cancelled');
$service->release;
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE name = 'row16'") eq 'imported' } 'row16';
pass('and the row has its outcome all the same');

# Nothing to hope for: an answer at once, not a wait.
$service->change_app(disabled => 60020);
my $first = error_of($node, "SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row17'");
my $tried = $service->stats->{journaled};
like(value_of($node, "SELECT im_import_group(o) FROM im_group_outbox o WHERE name = 'row18'"),
	qr/60020.*the row stays pending/, 'stopped: the call tries the service, and its answer says why');
is($service->stats->{journaled}, $tried + 1, 'with one call');
$service->change_app();
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
accounted($node, $service);

done_testing();
