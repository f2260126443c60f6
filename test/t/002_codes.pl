# What each class of answer does to a row, and what a person can do about a
# row that ended badly.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { max_attempts => 3 });

# Inserts one row; columns as SQL.
sub insert_row
{
	my ($name, %columns) = @_;

	insert_groups($node, 1, $name, undef, %columns);
}

# A row by its name (insert_groups() adds the 1).
sub row_of
{
	my ($name) = @_;

	return row($node, "SELECT * FROM im_group_outbox WHERE name = '${name}1'");
}

# Lets every call for this name be answered with a code.
sub answer_with
{
	my ($name, $code, %more) = @_;

	return { do => 'code', code => $code, info => "said $code", match => { name => "${name}1", command => 'import_group' }, %more };
}

# Checks status, code, text and attempts of a row.
sub row_is
{
	my ($name, $status, $code, $info, $attempts, $what) = @_;
	my $row = row_of($name);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$row->{status} " . ($row->{error_code} // '-'), "$status " . ($code // '-'), $what);
	like($row->{error_info} // '', $info, "$what: error_info");
	is($row->{attempts}, $attempts, "$what: attempts");
}

# ---------------------------------------------------------------------------
# One row of each class, all in one drain

foreach my $name (qw(same other))
{
	reply_of($node, "SELECT 'Public' AS type, '$name-id' AS group_id, '${name}1' AS name");
}
$service->fault(
	answer_with('row', 10019), answer_with('param', 10004),
	answer_with('slow', 60007, times => 2), answer_with('quota', 10006, times => 2),
	answer_with('retry', 10002, times => 1), answer_with('unknown', 10999, times => 1),
	answer_with('handled', 10024, times => 1, apply => \1),
	answer_with('resign', 70001, times => 1),
	answer_with('resting', 10021, times => 1), answer_with('ghost', 10021));
$node->safe_psql('postgres', "SELECT im_import_pause('until all rows are there')");
insert_row($_) foreach qw(done row param slow quota retry unknown handled resign resting ghost);
insert_row('same', group_id => "'same-id'");
insert_row('other', group_id => "'other-id'", owner_account => "'somebody'");
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);

row_is('done', 'imported', undef, qr/^$/, 1, 'done');
row_is('row', 'failed', 10019, qr/said 10019/, 1, 'row: refused');
row_is('param', 'failed', 10004, qr/said 10004/, 1, 'row: refused for a parameter');
row_is('slow', 'imported', undef, qr/^$/, 1, 'slow: two refusals, not counted');
row_is('quota', 'imported', undef, qr/^$/, 1, 'quota: two refusals, not counted');
row_is('retry', 'imported', undef, qr/^$/, 2, 'retry: the second attempt');
row_is('unknown', 'imported', undef, qr/^$/, 2, 'a code that is in no table: tried again');
row_is('handled', 'imported', undef, qr/^$/, 2, 'an error although applied: found to be ours');
row_is('resign', 'imported', undef, qr/^$/, 1, 'resign: signed anew, not counted');
row_is('same', 'imported', undef, qr/^$/, 1, 'exists, and is the same group');
row_is('other', 'failed', -11, qr/other content/, 1, 'exists with other content');
row_is('resting', 'imported', undef, qr/^$/, 2, 'exists, yet cannot be found: tried again');
row_is('ghost', 'failed', 10021, qr/said 10021.*knows no such group/, 3, 'the same, until out of attempts');
is(scalar($service->calls_for('slow1')), 3, 'every call is in the journal');
accounted($node, $service, others => ['other-id']);

is_deeply(
	[ rows($node, 'SELECT error_code, class, rows, failed, sample_text FROM im_import_errors ORDER BY error_code') ],
	[
		{ error_code => -11, class => 'row', rows => 1, failed => 1,
			sample_text => row_of('other')->{error_info} },
		{ error_code => 10004, class => 'row', rows => 1, failed => 1, sample_text => 'said 10004' },
		{ error_code => 10019, class => 'row', rows => 1, failed => 1, sample_text => 'said 10019' },
		{ error_code => 10021, class => 'exists', rows => 1, failed => 1,
			sample_text => row_of('ghost')->{error_info} }
	],
	'im_import_errors has each code with a sample');
is(value_of($node, 'SELECT count(*) FROM im_import_failures WHERE meaning IS NOT NULL AND advice IS NOT NULL'),
	4, 'im_import_failures has each row with what to do');
like(value_of($node, 'SELECT advice FROM im_import_failures WHERE error_code = -11'),
	qr/SELECT id, source_id, status FROM im_group_outbox WHERE group_id = .*group_id = 'other-id'\./,
	'and how to find another row of the same id');

# ---------------------------------------------------------------------------
# Repair: by UPDATE, and in bulk

$service->clear;
$node->safe_psql('postgres',
	"UPDATE im_group_outbox SET group_id = 'free-id', status = 'pending' WHERE name = 'other1'");
wait_settled($node);
row_is('other', 'imported', undef, qr/^$/, 1, 'repaired by UPDATE');
is(row_of('other')->{group_id}, 'free-id', 'with another id');

is(value_of($node, 'SELECT im_import_retry(10019)'), 1, 'im_import_retry() of one code');
is(value_of($node, "SELECT im_import_retry(status => 'invalid')"), 0, 'and of one status');
is(value_of($node, 'SELECT im_import_retry()'), 2, 'and of all');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'all were repaired');
is(value_of($node, "SELECT im_import_retry(status => 'in_doubt')"), 0, 'no row is in doubt');
accounted($node, $service, others => ['other-id'], name => 'every row is accounted for after the repairs');

# ---------------------------------------------------------------------------
# A row that may have created a group

# Lets a suspicion of a minute ago be one of long ago, so that no test waits.
sub age
{
	my ($name) = @_;

	$node->safe_psql('postgres', <<SQL);
SET session_replication_role = replica;
UPDATE im_group_outbox SET maybe_sent_at = maybe_sent_at - interval '10 min', due_at = now()
	WHERE name = '${name}1' AND status = 'pending';
RESET session_replication_role;
SELECT im_import_resume();
SQL
}

# Waits until a row is suspected and put off until late requests have died.
sub wait_put_off
{
	my ($name) = @_;

	return poll_until {
		value_of($node, <<SQL) eq 't';
SELECT status = 'pending' AND due_at > maybe_sent_at + interval '58 s' FROM im_group_outbox
WHERE name = '${name}1'
SQL
	} "$name to be put off";
}

# Refused, but sent before: only a lookup in a minute may call that failed.
$service->fault(
	{ do => 'close_before', times => 1, match => { name => 'suspect1' } },
	{ do => 'code', code => 10019, info => 'no owner', match => { name => 'suspect1' } },
	{ do => 'close_after', times => 1, match => { name => 'applied1' } },
	{ do => 'code', code => 10019, info => 'no owner', match => { name => 'applied1', command => 'import_group' } },
	{ do => 'close_before', match => { name => 'exhausted1' } });
insert_row($_) foreach qw(suspect applied exhausted);
wait_put_off($_) foreach qw(suspect applied exhausted);
is(scalar(grep { $_->{body} =~ /GroupIdList/ && $_->{body} =~ row_of('suspect')->{group_id} } $service->journal),
	0, 'no lookup before late requests have surely died');
age($_) foreach qw(suspect applied exhausted);
wait_settled($node);
row_is('suspect', 'failed', 10019, qr/no owner/, 3, 'maybe sent, refused, absent: failed');
row_is('applied', 'imported', undef, qr/^$/, 3, 'maybe sent, refused, found: imported');
row_is('exhausted', 'failed', -3, qr/out of attempts; the service has no such group/, 3,
	'out of attempts, absent: failed');
$service->clear;
is(value_of($node, 'SELECT im_import_retry()'), 2, 'both can be sent again');
wait_settled($node);
accounted($node, $service, others => ['other-id'], name => 'every suspect is accounted for');

# Maybe sent, and then somebody else has the id.
$service->fault({ do => 'delay', ms => 1500, apply => \0, code => 10002, times => 1, match => { name => 'doubtful1' } });
my $calls = $service->stats->{journaled};
insert_row('doubtful', group_id => "'doubtful-id'");
$service->wait_for(calls => $calls + 1);
$node->safe_psql('postgres', 'SELECT im_import_pause()');
poll_until { row_of('doubtful')->{status} eq 'pending' } 'the row in flight to settle';
reply_of($node, "SELECT 'Public' AS type, 'doubtful-id' AS group_id, 'not the same' AS name");
my $id = row_of('doubtful')->{id};

like(
	error_of($node, "UPDATE im_group_outbox SET name = 'another' WHERE id = $id"),
	qr/cannot change column "name".*may already have created a group.*HINT/s,
	'a row that may have been sent cannot be edited');
like(error_of($node, "UPDATE im_group_outbox SET row_key = gen_random_uuid() WHERE id = $id"),
	qr/cannot change column "row_key" of outbox row $id.*HINT/s, 'nor can its row_key');
my $done = value_of($node, "SELECT min(id) FROM im_group_outbox WHERE status = 'imported'");
like(error_of($node, "UPDATE im_group_outbox SET name = 'another' WHERE id = $done"),
	qr/cannot change column "name" of outbox row $done.*DETAIL:.*its group exists.*HINT:.*change it in the app/s, 'one that is imported can be changed in the app');
like(error_of($node, "UPDATE im_group_outbox SET status = 'pending' WHERE id = $done"),
	qr/from imported to pending.*HINT:.*change it in the app/s, 'and cannot be sent again');
like(error_of($node, "UPDATE im_group_outbox SET status = 'failed' WHERE id = $id"),
	qr/cannot change the status of outbox row $id from pending to failed/, 'nor its status');
is(error_of($node, "UPDATE im_group_outbox SET source_id = 'mine' WHERE id = $id"), '',
	'what was not sent can be edited');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
row_is('doubtful', 'in_doubt', -11, qr/other content/, 2, 'an id that belongs to somebody else by now: in doubt');
like(error_of($node, "UPDATE im_group_outbox SET status = 'pending' WHERE id = $id"),
	qr/from in_doubt to pending.*im_import_resolve/s, 'a row in doubt is not repaired by UPDATE');
like(
	value_of($node, "SELECT advice FROM im_import_failures WHERE id = $id"),
	qr/im_import_resolve\($id/, 'im_import_failures says how to resolve it');
like(error_of($node, "SELECT im_import_resolve($id, E'caf\\u00e9')"), qr/is no GroupId/, 'not with nonsense');
$node->safe_psql('postgres', "DELETE FROM im_group_outbox WHERE id = $id");

# A row that was never sent may be edited, an imported one may not.
$node->safe_psql('postgres', 'SELECT im_import_pause()');
insert_row('editable');
is(error_of($node, "UPDATE im_group_outbox SET name = 'edited1' WHERE name = 'editable1'"), '',
	'a row that was never sent can be edited');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
row_is('edited', 'imported', undef, qr/^$/, 1, 'the edited row');
like(error_of($node, "UPDATE im_group_outbox SET name = 'more' WHERE name = 'edited1'"),
	qr/cannot change column "name"/, 'an imported row cannot');
like(error_of($node, "UPDATE im_group_outbox SET status = 'pending' WHERE name = 'edited1'"),
	qr/from imported to pending/, 'nor be sent again');
like(error_of($node, "UPDATE im_group_outbox SET status = 'done' WHERE name = 'edited1'"),
	qr/ERROR/, 'nor have a status that there is not');

# ---------------------------------------------------------------------------
# Ids that the service assigns: at most once

$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
$service->fault(
	{ do => 'close_after', times => 1, match => { name => 'made1' } },
	{ do => 'close_before', times => 1, match => { name => 'unmade1' } },
	answer_with('internal', 10002, times => 1), answer_with('refused', 10019, times => 1),
	answer_with('too fast', 60007, times => 1),
	{ do => 'no_group_id', times => 1, match => { name => 'nameless1' } });
insert_row($_) foreach qw(made unmade internal refused nameless), 'too fast';
wait_settled($node);
row_is('made', 'in_doubt', -3, qr//, 1, 'assigned id, lost after it was applied');
row_is('unmade', 'in_doubt', -3, qr//, 1, 'assigned id, lost before it was applied');
row_is('internal', 'in_doubt', 10002, qr/said 10002/, 1, 'assigned id, internal error');
row_is('nameless', 'in_doubt', -5, qr//, 1, 'assigned id, an answer without GroupId');
row_is('refused', 'failed', 10019, qr/said 10019/, 1, 'assigned id, refused for good');
row_is('too fast', 'imported', undef, qr/^$/, 1, 'assigned id, refused as too fast: sent again');
is(scalar($service->calls_for("${_}1")), 1, "$_ was sent once") foreach qw(made unmade internal nameless);
is(status_of($node)->{in_doubt}, 4, 'im_import_status counts them');

foreach my $name (qw(made nameless))
{
	my ($group) = grep { $_->{name} eq "${name}1" } $service->ledger;

	$node->safe_psql('postgres', "SELECT im_import_resolve(@{[ row_of($name)->{id} ]}, '$group->{group_id}')");
	row_is($name, 'imported', undef, qr/^$/, 0, "$name, resolved with its id");
	is(row_of($name)->{group_id}, $group->{group_id}, 'which is written into the row');
}
$node->safe_psql('postgres', "SELECT im_import_resolve(@{[ row_of($_)->{id} ]})") foreach qw(unmade internal);
$node->safe_psql('postgres', 'SELECT im_import_retry()');
wait_settled($node);
row_is($_, 'imported', undef, qr/^$/, 1, "$_, resolved as absent: sent again") foreach qw(unmade internal);
like(error_of($node, "SELECT im_import_resolve(@{[ row_of('made')->{id} ]})"),
	qr/no outbox row \d+ in doubt/, 'only rows in doubt are resolved');
accounted($node, $service, others => [ 'other-id', 'doubtful-id' ], name => 'every assigned id is accounted for');

done_testing();
