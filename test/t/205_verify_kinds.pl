# im_import_verify() of every kind of rows: what somebody changed or took away
# in the app is found, told by row and column, and can be sent again where that
# does no harm.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 2000, account_rate_limit => 2000 });

sub sql { return $node->safe_psql('postgres', join '', @_) }

# All rows of all kinds are settled.
sub settled
{
	sql(q(CALL im_import_wait(interval '30 s')));
}

# The summary, without what matched.
sub found
{
	return [ map { join ' ', $_->{kind}, $_->{result}, $_->{field} // '-', $_->{rows} }
		  rows($node, "SELECT * FROM im_import_verify_summary WHERE result <> 'matched' ORDER BY kind, result, field") ];
}

# How often the service was asked.
sub calls { return $service->stats->{calls}{ $_[0] } // 0 }

# ---------------------------------------------------------------------------
# A chat: one room of 50 messages, thirty of 2, some that are named by GroupId

$service->set(accounts => 'listed');
sql(<<'SQL');
INSERT INTO im_account_outbox (user_id) SELECT 'u' || i FROM generate_series(1, 120) i;
INSERT INTO im_friend_outbox (user_id, friend_id) SELECT 'u' || i, 'u' || j FROM generate_series(1, 3) i, generate_series(1, 20) j WHERE i <> j;
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT i, 'u' || i % 2 + 1, 'u' || (i + 1) % 2 + 1, timestamptz '2024-01-01 00:00Z' + i * interval '1 min', 'd' || i FROM generate_series(1, 10) i;
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, create_time)
SELECT 'r' || i, 'g' || i, 'Public', 'room', 'u1', timestamptz '2023-01-01 00:00Z' FROM generate_series(1, 31) i;
INSERT INTO im_member_outbox (group_source_id, member_account, role)
SELECT 'r' || g, 'u' || i, CASE i WHEN 2 THEN 'Admin' WHEN 3 THEN 'Member' END FROM generate_series(1, 31) g, generate_series(1, 5) i;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text, body)
SELECT 'r1/' || i, 'r1', 'u' || i % 5 + 1, timestamptz '2024-01-01 00:00Z' + i * interval '1 min', CASE WHEN i <> 40 THEN 'm' || i END,
	CASE i WHEN 40 THEN '[{"MsgType": "TIMFaceElem", "MsgContent": {"Index": 6, "Data": "ab\u0063"}}, {"MsgType": "TIMLocationElem", "MsgContent": {"Desc": "x", "Latitude": 29.50, "Longitude": 1e2}}]'::json END
FROM generate_series(1, 50) i;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT 'r' || g || '/' || i, 'r' || g, 'u1', timestamptz '2024-01-01 00:00Z' + i * interval '1 min', 'm' FROM generate_series(2, 31) g, generate_series(1, 2) i;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('r1', 'u2', 3), ('r6', 'u2', 2);
SQL
settled();
like(notices_of($node, 'CALL im_import_verify()'),
	qr/483 rows checked: 483 matched.*DETAIL:  account: 120 matched; friend: 57 matched; dialog: 10 matched; group: 31 matched; member: 155 matched; message: 110 matched\./s,
	'rows of every kind match');
is_deeply(found(), [], 'and nothing is unchecked');
is(value_of($node, "SELECT string_agg(DISTINCT kind || ' ' || deep, ', ' ORDER BY kind || ' ' || deep) FROM im_import_verified"),
	'account true, dialog true, friend true, group true, member true, message false', 'messages were counted, the others looked at');
is(calls('group_msg_get_simple'), 0, '... none was read');
cmp_ok(calls('account_check'), '<=', 3, 'accounts a hundred a call');
is(calls('get_role_in_group'), 31, 'members a group a call');
is(calls('friend_check'), 3, 'friends a user a call');
like(notices_of($node, 'CALL im_import_verify()'), qr/0 rows checked/, 'what was checked is not asked again');

my $before = calls('group_msg_get_simple');
like(notices_of($node, 'CALL im_import_verify(deep => true)'), qr/110 rows checked: 110 matched/, 'with deep every message is looked at');
cmp_ok(calls('group_msg_get_simple') - $before, '<=', 34, '... twenty a call');
like(notices_of($node, 'CALL im_import_verify(deep => true)'), qr/0 rows checked/, '... once');

# ---------------------------------------------------------------------------
# Something is planted in each kind

$service->change('account', user_id => 'u120');
$service->change('friend', from => 'u2', friend => 'u7');
$service->change('dialog', from => 'u1', other => 'u2', at => 4);
$service->change('dialog', from => 'u1', other => 'u2', at => 5, to => { body => [ { MsgType => 'TIMTextElem', MsgContent => { Text => 'other' } } ] });
$service->change('group', group_id => 'g31', to => { Name => 'other' });
$service->change('member', group_id => 'g2', member => 'u4');
$service->change('member', group_id => 'g3', member => 'u2', to => { role => 'Member' });
$service->change('member', group_id => 'g4', member => 'u5', to => { role => 'Admin' });
$service->change('message', group_id => 'g1', seq => 17);
$service->change('message', group_id => 'g1', seq => 18, to => { body => [ { MsgType => 'TIMTextElem', MsgContent => { Text => 'other' } } ] });
$service->change('message', group_id => 'g1', seq => 19, to => { time => 1704068345 });
$service->change('message', group_id => 'g1', seq => 20, to => { from => 'u9' });
$service->change('message', group_id => 'g1', seq => 21, to => { random => 1 });
$service->change('message', group_id => 'g1', seq => 40, to => { body => [ { MsgType => 'TIMFaceElem', MsgContent => { Index => 7, Data => 'abc' } } ] });
like(notices_of($node, "CALL im_import_verify(again => '0')"), qr/483 rows checked: 475 matched, 4 differ, 4 missing, 0 unreadable\nDETAIL.*HINT/s, 'all but what a count cannot tell is found');
is_deeply(found(), [ 'account missing - 1', 'dialog differs text 1', 'dialog missing - 1', 'friend missing - 1', 'group differs name 1', 'member differs role 2',
		'member missing - 1' ], '... with the columns that differ');
is(value_of($node, "SELECT string_agg(o.group_source_id || ' ' || o.member_account || ' ' || v.result, ', ' ORDER BY o.group_source_id) FROM im_import_verified v JOIN im_member_outbox o USING (row_key) WHERE v.result <> 'matched'"),
	'r2 u4 missing, r3 u2 differs, r4 u5 differs', '... and the rows');
like(notices_of($node, "CALL im_import_verify(again => '0', deep => true, kind => 'message')"), qr/110 rows checked: 105 matched, 4 differ, 1 missing/, 'deep finds the messages');
is(value_of($node, "SELECT string_agg(o.source_id || ' ' || v.result || coalesce(' ' || v.fields::text, ''), ', ' ORDER BY o.id) FROM im_import_verified v JOIN im_message_outbox o USING (row_key) WHERE v.result <> 'matched'"),
	'r1/17 missing, r1/18 differs {text}, r1/19 differs {send_time}, r1/20 differs {from_account}, r1/40 differs {body}', '... each by what differs');
like(error_of($node, "CALL im_import_verify(again => '0', kind => 'member', raise_on_difference => true)"), qr/ERROR:.*2 differ, 1 missing/, 'an error for scripts');
like(error_of($node, "CALL im_import_verify(kind => 'unread')"), qr/kind "unread" cannot be compared.*HINT/s, 'unread counts are not told');

# A group whose newest message is not there, or that has fewer: every message of
# it is looked at, also without deep.  One in which people write is as it should.
$service->live('g5', from => 'u1', count => 3);
$service->change('group', group_id => 'g6');
$service->set(read_back_bytes => 100);
sql("UPDATE _im_room_state SET messages = messages + 1 WHERE room = '+r7'; UPDATE _im_room_state SET settled_time = settled_time + 1 WHERE room = '+r8'");
$before = calls('group_msg_get_simple');
like(notices_of($node, "CALL im_import_verify(again => '0', kind => 'message')"), qr/110 rows checked: 103 matched, 4 differ, 3 missing/, 'a group that is gone misses its messages, and what a closer look has found stays');
cmp_ok(calls('group_msg_get_simple') - $before, '>=', 4, 'where numbers do not agree the messages are read, from answers that are cut, too');
is(value_of($node, "SELECT string_agg(DISTINCT o.group_source_id, ' ') FROM im_import_verified v JOIN im_message_outbox o USING (row_key) WHERE v.deep_at = v.checked_at"), 'r6 r7 r8', '... and only there');
is(value_of($node, "SELECT string_agg(o.source_id || ' ' || v.result || coalesce(' ' || v.fields::text, ''), ', ' ORDER BY o.id) FROM im_import_verified v JOIN im_message_outbox o USING (row_key) WHERE v.result <> 'matched' AND o.group_source_id = 'r1' AND v.deep AND v.deep_at < v.checked_at"),
	'r1/17 missing, r1/18 differs {text}, r1/19 differs {send_time}, r1/20 differs {from_account}, r1/40 differs {body}', 'a count takes back nothing of it');
like(error_of($node, "CALL im_import_verify(again => '0', kind => 'message', raise_on_difference => true)"), qr/ERROR:.*4 differ, 3 missing/, '... and scripts get their error');
is(value_of($node, "SELECT string_agg(result || ' ' || rows || ' ' || deep, ', ' ORDER BY result, field) FROM im_import_verify_summary WHERE kind = 'message'"), 'differs 1 1, differs 1 1, differs 1 1, differs 1 1, matched 103 103, missing 3 3', 'the summary says how many were looked at');
sql("UPDATE im_import_verified SET deep = false, deep_at = NULL WHERE kind = 'message' AND result = 'matched'");
is(value_of($node, "SELECT deep FROM im_import_verify_summary WHERE kind = 'message' AND result = 'matched'"), 0, '... and how many were counted');

# The rows of a group that is gone are gone, whatever was found of them before.
sql("UPDATE im_import_verified SET result = 'matched', fields = NULL WHERE kind IN ('member', 'message') AND row_key IN (SELECT row_key FROM im_member_outbox WHERE group_source_id = 'r6' UNION SELECT row_key FROM im_message_outbox WHERE group_source_id = 'r6')");
sql("DELETE FROM im_import_verified WHERE row_key IN (SELECT row_key FROM im_member_outbox WHERE group_source_id = 'r6' AND member_account = 'u1')");
$before = calls('get_role_in_group');
like(notices_of($node, "CALL im_import_verify(again => '0', kind => 'group')"), qr/38 rows checked.*group: 29 matched, 1 differs, 1 missing; member: 5 missing; message: 2 missing/s, 'a group that is gone has no rows');
is(calls('get_role_in_group'), $before, '... and nobody is asked for');
is(value_of($node, "SELECT string_agg(result || ' ' || n, ', ') FROM (SELECT result, count(*) AS n FROM im_import_verified WHERE row_key IN (SELECT row_key FROM im_member_outbox WHERE group_source_id = 'r6' UNION SELECT row_key FROM im_message_outbox WHERE group_source_id = 'r6') GROUP BY result) r"), 'missing 7', '... which each of them is told');
sql("UPDATE _im_room_state SET messages = messages - 1 WHERE room = '+r7'; UPDATE _im_room_state SET settled_time = settled_time - 1 WHERE room = '+r8'");
$service->set(read_back_bytes => undef);

# Messages whose number nobody knows are looked for from the newest on; one of
# which only a place is left differs.
sql("SET session_replication_role = replica; UPDATE im_message_outbox SET msg_seq = NULL WHERE source_id IN ('r1/2', 'r1/3', 'r1/49'); UPDATE im_message_outbox SET msg_seq = NULL, sent_time = sent_time + 1 WHERE source_id = 'r1/30'");
like(notices_of($node, "CALL im_import_verify(again => '0', deep => true, kind => 'message')"), qr/110 rows checked: 102 matched, 4 differ, 4 missing/, 'also those without a number');
sql("SET session_replication_role = replica; UPDATE im_message_outbox SET sent_time = sent_time - 1 WHERE source_id = 'r1/30'");
$service->set(retention_days => 1, place_keeps => 'nothing');
like(notices_of($node, "CALL im_import_verify(again => '0', deep => true, kind => 'message')"), qr/110 rows checked: 0 matched, 10\d differ/, 'what the app has let go');
$service->set(retention_days => undef, place_keeps => 'all');

# ---------------------------------------------------------------------------
# Cancelled, it goes on where it was; refusals of one are no refusals of others

my $role = { command => 'get_role_in_group', group_id => 'g20' };
$service->fault({ do => 'hold', match => $role });
cancel_while_held($node, $service, "CALL im_import_verify(again => '0')");
my $done = value_of($node, "SELECT count(*) FROM im_import_verified WHERE kind IN ('account', 'friend', 'dialog', 'group') AND checked_at > (SELECT max(checked_at) FROM im_import_verified WHERE kind = 'message' AND result <> 'missing')");
is($done, 218, 'what was checked before the cancel stays');

sql('TRUNCATE im_import_verified');
$service->set(batch_limits => { account_check => 30, get_role_in_group => 2 });
$service->fault({ do => 'code', code => 10007, match => $role }, { do => 'code', code => 60007, times => 1, match => { command => 'friend_check' } },
	{ do => 'code', code => 10018, times => 1, match => { command => 'group_msg_get_simple' } });
like(notices_of($node, 'CALL im_import_verify(100)'), qr/100 rows checked: 100 matched/, 'so many and no more');
like(notices_of($node, 'CALL im_import_verify(deep => true)'), qr/383 rows checked.*member: 142 matched, 2 differs, 6 missing, 5 unreadable/s, 'and on: smaller calls, and what the service does not tell');
$service->clear;
like(notices_of($node, 'CALL im_import_verify()'), qr/5 rows checked: 5 matched/, 'what it did not tell is asked again');
like(notices_of($node, 'CALL im_import_verify()'), qr/0 rows checked/, 'nothing is left');

# ---------------------------------------------------------------------------
# What is missing is sent again, but for what has newer messages behind it

$service->set(deleted_accounts => 'free');
$service->change('message', group_id => 'g1', seq => $_) foreach 49, 50;
like(notices_of($node, "CALL im_import_verify(again => '0')"), qr/message: 10\d matched, 4 differs, 5 missing/, 'the newest messages of a group are gone, too');
like(error_of($node, "UPDATE im_message_outbox SET status = 'pending' WHERE source_id = 'r1/50'"), qr/HINT:.*im_import_retry/s, 'a message is not sent again by hand');
like(notices_of($node, "SELECT im_import_retry(status => 'missing', kind => 'account')"), qr/1 rows are pending again\nDETAIL:  account: 1\.$/, 'those of one kind are');
like(error_of($node, "SELECT im_import_retry(status => 'missing', kind => 'room')"), qr/no rows of kind "room".*HINT/s, '... of one that there is');
my $said = notices_of($node, "SELECT im_import_retry(status => 'missing')");
like($said, qr/13 rows are pending again\nDETAIL:  friend: 1, dialog: 1, group: 1, member: 6, message: 4\. 1 missing messages stay.*HINT/s, 'the rest is');
settled();
is($service->account('u120')->{account} ? 1 : 0, 1, 'the account is there');
is(scalar(keys %{ $service->members('g6') }), 5, 'the group with its members');
is_deeply([ map { $_->{time} } $service->messages('g6') ], [ 1704067260, 1704067320 ], '... and its messages, at their times');
is_deeply($service->unread('g6'), { u2 => 2 }, '... and its unread counts');
is($service->members('g2')->{u4}{role}, 'Member', 'the member');
is_deeply([ map { "$_->{seq} $_->{time}" } ($service->messages('g1'))[ -2, -1 ] ], [ '51 1704070140', '52 1704070200' ], 'the newest messages, at their times');
like(notices_of($node, "CALL im_import_verify(again => '0', deep => true)"), qr/8 differ, 1 missing.*message: 105 matched, 4 differs, 1 missing/s, 'now it is there');
is(value_of($node, "SELECT messages || ' ' || newest_seq || ' ' || settled_time FROM _im_room_state WHERE room = '+r1'"), '50 52 1704070200', 'what is known of the room is right');

# A copy that the service answers from may lag behind: what it does not know yet is
# sent again, and refused, because newer messages are there.
# What somebody has changed is another message: such rows are left out.
sql("DELETE FROM im_message_outbox WHERE source_id IN ('r1/17', 'r1/18', 'r1/19', 'r1/20', 'r1/21', 'r1/40')");
my $all = join ' ', map { "g$_ " . scalar($service->messages("g$_")) } 1 .. 8;
sql("SELECT im_import_pause('the service lags')");
$service->set(query_lag_ms => 3600 * 1000);
like(notices_of($node, "CALL im_import_verify(again => '0', deep => true, kind => 'message')"), qr/104 rows checked: 0 matched, 0 differ, 104 missing/, 'a service that lags knows no message');
like(notices_of($node, "SELECT im_import_retry(status => 'missing', kind => 'message')"), qr/104 rows are pending again/, 'they are to be sent again');
$service->set(query_lag_ms => 0);
sql('SELECT im_import_resume()');
settled();
is(join(' ', map { "g$_ " . scalar($service->messages("g$_")) } 1 .. 8), $all, '... but none twice');
is(value_of($node, "SELECT count(*) || ' ' || count(msg_seq) || ' ' || count(DISTINCT (group_source_id, msg_seq)) FROM im_message_outbox WHERE status = 'imported'"), '104 104 104', '... and each row has its number');
like(notices_of($node, 'CALL im_import_verify(deep => true)'), qr/104 rows checked: 104 matched/, '... and is there');

# ---------------------------------------------------------------------------
# A message in doubt is settled by a person

sub in_doubt { sql("SET session_replication_role = replica; UPDATE im_message_outbox SET status = 'in_doubt', msg_seq = NULL, maybe_sent_at = now(), error_code = -2 WHERE source_id = '$_[0]'; SELECT id FROM im_message_outbox WHERE source_id = '$_[0]'") }
my $id = in_doubt('r9/2');
like(value_of($node, "SELECT advice FROM im_import_failures WHERE kind = 'message'"), qr/im_import_resolve\($id, kind => 'message', msg_seq => its MsgSeq\)/, 'the advice has the statement');
like(error_of($node, "SELECT im_import_resolve($id, 'g', 'message')"), qr/cannot be settled with that.*HINT.*msg_seq/s, 'a message has no GroupId of its own');
like(error_of($node, "SELECT im_import_resolve($id, kind => 'member', msg_seq => 2)"), qr/cannot be settled with that.*no harm/s, 'a member has no number');
like(error_of($node, "SELECT im_import_resolve($id, kind => 'massage')"), qr/no rows of kind "massage"/, 'no such kind');
like(error_of($node, "SELECT im_import_resolve($id, kind => 'account')"), qr/no outbox row $id in doubt.*im_account_outbox/s, 'not another kind\'s row');
sql("SELECT im_import_resolve($id, kind => 'message', msg_seq => 2)");
is(value_of($node, "SELECT status || ' ' || msg_seq || ' ' || (maybe_sent_at IS NULL) FROM im_message_outbox WHERE id = $id"), 'imported 2 true', 'found, it is imported');
$id = in_doubt('r10/2');
$service->change('message', group_id => 'g10', seq => 2);
sql("SELECT im_import_resolve($id, kind => 'message')");
poll_until { value_of($node, "SELECT status FROM im_message_outbox WHERE id = $id") eq 'imported' } 'the message to be sent again';
is(scalar($service->messages('g10')), 2, 'not found, it is sent again');
like(notices_of($node, "CALL im_import_verify(deep => true)"), qr/2 rows checked: 2 matched/, 'both are there');

# ---------------------------------------------------------------------------
# Rows that somebody inserted as imported, without what names them

# What was found of rows that are gone is forgotten.
my $known = "SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (SELECT kind, count(*) AS n FROM im_import_verified GROUP BY kind) k";
is(value_of($node, $known), 'account 120, dialog 10, friend 57, group 31, member 155, message 104', 'results of all kinds');
sql("DELETE FROM im_dialog_outbox WHERE id % 2 = 0; DELETE FROM im_message_outbox WHERE group_source_id = 'r1'");
is(value_of($node, $known), 'account 120, dialog 5, friend 57, group 31, member 155, message 60', 'those of deleted rows are gone');
sql("BEGIN; TRUNCATE im_account_outbox; DELETE FROM im_group_outbox; ROLLBACK");
is(value_of($node, $known), 'account 120, dialog 5, friend 57, group 31, member 155, message 60', '... but not if the rows are still there');
sql("TRUNCATE im_account_outbox, im_friend_outbox, im_member_outbox");
is(value_of($node, $known), 'dialog 5, group 31, message 60', 'those of emptied tables are gone');

# Results say of which app they are.
sql('UPDATE im_import_verified SET sdkappid = 1 WHERE kind = \'group\'');
like(notices_of($node, 'CALL im_import_verify()'), qr/31 results were of another app.*31 rows checked: 30 matched, 1 differ/s, 'what was found in another app is found anew');

# What is deleted, or taken back, while it is compared leaves no result.
$service->fault({ do => 'hold', match => { command => 'get_group_info' } });
my $slow = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL im_import_verify(kind => 'group', again => '0')" ], '<', \undef, '>', \my $silence, '2>', \my $counts, IPC::Run::timeout(180));
$service->wait_for(held => 1);
sql("DELETE FROM im_group_outbox WHERE source_id = 'r20'");
$service->clear;
$service->release;
$slow->finish;
is(value_of($node, "SELECT count(*) FROM im_import_verified v LEFT JOIN im_group_outbox o USING (row_key) WHERE v.kind = 'group' AND o.id IS NULL"), 0, 'a row that went meanwhile leaves no result');

sql('TRUNCATE im_import_verified');
$service->fault({ do => 'hold', match => { command => 'get_group_info' } });
my $changed = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL im_import_verify()' ], '<', \undef, '>', \my $nothing, '2>', \my $complaint, IPC::Run::timeout(180));
$service->wait_for(held => 1);
sql('ALTER SERVER im OPTIONS (SET sdkappid \'1400000999\')');
$service->clear;
$service->release;
$changed->finish;
like($complaint, qr/ERROR:.*app has changed while.*DETAIL:.*1400000999.*HINT:/s, 'another app in the middle ends it');
sql("ALTER SERVER im OPTIONS (SET sdkappid '$service->{sdkappid}')");
is(value_of($node, "SELECT count(*) FROM im_import_verified WHERE sdkappid <> $service->{sdkappid}"), 0, '... and no result is of that one');
like(notices_of($node, 'CALL im_import_verify()'), qr/rows checked.*group: \d+ matched\b/s, '... and with the first one it goes on');
sql("SET session_replication_role = replica; INSERT INTO im_account_outbox (status) VALUES ('imported'); INSERT INTO im_friend_outbox (status) VALUES ('imported');
INSERT INTO im_member_outbox (group_id, status) VALUES ('g10', 'imported')");
foreach my $kind (qw(account friend member))
{
	like(notices_of($node, "CALL im_import_verify(kind => '$kind')"), qr/1 rows checked: 0 matched, 0 differ, (?:1 missing, 0 unreadable|0 missing, 1 unreadable)/, "$kind: a row without a name is told, and harms nobody");
}

done_testing();
