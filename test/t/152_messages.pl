# Messages: each once and in order, whatever the network and the service do.
#
# Rooms are independent, so that most cases run beside each other: each has a
# room of its own, and its faults name that room.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(
	options => { rate_limit => 2000, request_timeout => '2s' },
	conf => "log_min_messages = log");

# A room and n messages in it, gap seconds apart, the first of a day in 2020.
sub room_sql
{
	my ($room, $n, $gap, $day) = @_;
	$day //= '2020-01-02';

	return <<SQL;
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, create_time)
VALUES ('$room', 'g-$room', 'Public', '$room', 'o', timestamptz '2020-01-01 00:00Z') ON CONFLICT DO NOTHING;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT '$room/' || m, '$room', 'u' || m % 3, timestamptz '$day 00:00Z' + make_interval(secs => m * $gap), '$room ' || m
FROM generate_series(1, $n) m ON CONFLICT DO NOTHING;
SQL
}

# In one transaction: all of it is there before any of it is sent.
sub load { $node->safe_psql('postgres', join '', 'BEGIN;', @_, ';COMMIT;') }

sub open_messages
{
	my ($where) = @_;
	return value_of($node, "SELECT count(*) FROM im_message_outbox WHERE status IN ('pending', 'sending') AND $where");
}

sub settled
{
	my ($where, $what) = @_;
	eval { poll_until { open_messages($where) == 0 } $what, 180 };
	if ($@)
	{
		diag(explain(status_of($node)));
		diag(explain(rows($node, "SELECT * FROM im_message_outbox WHERE status IN ('pending', 'sending') AND $where LIMIT 3")));
		die $@;
	}
}

# What is in a room, in its order.
sub texts { return join ' | ', map { $_->{body}[0]{MsgContent}{Text} } $service->messages($_[0]) }
sub whole { my ($room, $n) = @_; return join ' | ', map { "$room $_" } 1 .. $n }

sub statuses
{
	my ($room) = @_;
	return value_of($node, <<SQL);
SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM
(SELECT status, count(*) AS n FROM im_message_outbox WHERE group_source_id = '$room' GROUP BY 1) s
SQL
}

sub rule
{
	my ($do, $room, %more) = @_;
	my $match = { command => 'import_group_msg', group_id => "g-$room", %{ delete $more{match} // {} } };
	return { do => $do, match => $match, times => 1, %more };
}

# ---------------------------------------------------------------------------
# Lost answers and partial application, both orders of the service's checks,
# every answer to a dropped duplicate; refusals that say nothing of the rows

foreach my $order (qw(time duplicate))
{
	foreach my $duplicate (qw(ok_seq ok refused))
	{
		my @rooms = map { "$order-$duplicate-$_" } qw(before after part slow refused);

		$service->set(message_order => $order, duplicate_result => $duplicate);
		$service->fault(
			rule('close_before', $rooms[0]),
			rule('close_after', $rooms[1]),
			rule('close_after', $rooms[2], partial => 3),
			rule('code', $rooms[3], code => 60007, match => { nth => 2 }),
			rule('code', $rooms[4], code => 10004, info => 'a row is bad'));
		load(map { room_sql($_, 16, 86400) } @rooms);
		settled("group_source_id LIKE '$order-$duplicate-%'", "rooms of $order, $duplicate");
		foreach my $room (@rooms)
		{
			is(statuses($room), 'imported 16', "$room: all imported");
			is(texts("g-$room"), whole($room, 16), "$room: all there, in order");
		}
		is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id LIKE '$order-$duplicate-%' AND sent_time IS DISTINCT FROM extract(epoch FROM send_time)"),
			0, "$order, $duplicate: each was sent with its own time");
	}
}
is_deeply([ $service->doubles ], [], 'nothing was done twice');
$service->clear;
$service->set(message_order => 'time', duplicate_result => 'ok_seq');

# ---------------------------------------------------------------------------
# One bad row fails alone

$service->set(fail => { message => { poison => 80002 } });
$service->fault(rule('close_after', 'unheard'));
load(room_sql('bad', 14, 60), room_sql('unheard', 7, 3600), <<SQL);
UPDATE im_message_outbox SET text = 'poison' WHERE source_id = 'unheard/2' AND status = 'pending';
UPDATE im_message_outbox SET text = 'poison' WHERE source_id = 'bad/3' AND status = 'pending';
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, body) VALUES
 ('bad/sound', 'bad', 'u1', timestamptz '2020-01-02 00:00:30Z', '[{"MsgType":"TIMSoundElem","MsgContent":{}}]'),
 ('bad/long', 'bad', 'u1', timestamptz '2020-01-02 00:00:31Z', json_build_array(json_build_object('MsgType', 'TIMTextElem',
   'MsgContent', json_build_object('Text', repeat('x', 13000)))));
SQL
settled("group_source_id = 'bad'", 'the room with bad rows');
is(statuses('bad'), 'failed 1, imported 13, invalid 2', 'bad rows fail alone');
is(value_of($node, "SELECT error_code FROM im_message_outbox WHERE source_id = 'bad/3'"), 80002, '... with the code of the row');
like(value_of($node, "SELECT error_info FROM im_message_outbox WHERE source_id = 'bad/sound'"), qr/TIMSoundElem/, '... and words for an element');
$service->set(fail => { message => {} });
is(value_of($node, "SELECT error_code FROM im_message_outbox WHERE source_id = 'bad/long'"), 10004, '... and a message that is too long is not sent');

# A repaired message is sent behind the others, a failed one as an invalid one.
load("UPDATE im_message_outbox SET text = 'bad 15', status = 'pending' WHERE source_id = 'bad/3'; UPDATE im_message_outbox SET body = NULL, text = 'bad 16', status = 'pending' WHERE source_id = 'bad/long';");
settled("group_source_id = 'bad'", 'repaired messages');
is(statuses('bad'), 'imported 15, invalid 1', 'repaired messages are imported');
is(join(' | ', sort((map { "bad $_" } 1, 2, 4 .. 14), 'bad 15', 'bad 16')), join(' | ', sort(split / \| /, texts('g-bad'))), '... each once');
like(texts('g-bad'), qr/bad 14 \| bad 1[56] \| bad 1[56]$/, '... behind those that are there');

# How large a message may be is an option, as is whether a room becomes a recent contact.
load("ALTER SERVER im OPTIONS (ADD message_bytes '200', ADD recent_contact 'on')");
load(room_sql('small', 3, 60), "UPDATE im_message_outbox SET text = repeat('x', 300) WHERE source_id = 'small/2' AND status = 'pending';");
settled("group_source_id = 'small'", 'a room with small messages');
is(statuses('small'), 'imported 2, invalid 1', 'message_bytes makes a longer message invalid');
like(value_of($node, "SELECT error_code || ' ' || error_info FROM im_message_outbox WHERE source_id = 'small/2'"), qr/^10004 .* \d+ bytes, the limit is 200/, '... which says so');
is_deeply([ map { $_->{recent} } grep { $_->{group_id} eq 'g-small' } $service->entries('message') ], [ 1, 1 ], 'recent_contact is sent');
is(scalar(grep { $_->{recent} && $_->{group_id} ne 'g-small' } $service->entries('message')), 0, '... and only where it is on');
load("ALTER SERVER im OPTIONS (SET message_bytes '1000', DROP recent_contact); UPDATE im_message_outbox SET status = 'pending' WHERE source_id = 'small/2'");
settled("group_source_id = 'small'", 'the long one');
is(statuses('small'), 'imported 3', 'with another message_bytes it goes');

# ---------------------------------------------------------------------------
# Times

# Five in one second: moved apart, or kept.
load(room_sql('second', 5, 0));
settled("group_source_id = 'second'", 'five of one second');
is(texts('g-second'), whole('second', 5), 'messages of one second keep their order');
is(value_of($node, "SELECT max(sent_time - extract(epoch FROM send_time))::int FROM im_message_outbox WHERE group_source_id = 'second'"),
	4, '... by as little as that takes');
$service->set(equal_seconds => 'allow');
load("ALTER SERVER im OPTIONS (ADD equal_seconds 'keep')");
load(room_sql('kept', 12, 0));
settled("group_source_id = 'kept'", 'equal seconds that are kept');
is(texts('g-kept'), whole('kept', 12), 'equal seconds can be kept');
is(value_of($node, "SELECT count(DISTINCT sent_time) FROM im_message_outbox WHERE group_source_id = 'kept'"), 1, '... as they are');
load("ALTER SERVER im OPTIONS (DROP equal_seconds)");
$service->set(equal_seconds => 'refuse');

# Late ones: a little is moved, much is not.
load(room_sql('late', 5, 60));
settled("group_source_id = 'late'", 'a room');
load(<<SQL);
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES
 ('late/6', 'late', 'u1', timestamptz '2020-01-02 00:02:00Z', 'late 6'),
 ('late/old', 'late', 'u1', timestamptz '2020-01-02 00:00:00Z' - interval '2 hours', 'late old'),
 ('late/older', 'late', 'u1', timestamptz '2020-01-02 00:00:00Z' - interval '3 hours', 'late older'),
 ('late/first', 'late', 'u1', timestamptz '2019-01-01 00:00:00Z', 'late first');
SQL
settled("group_source_id = 'late'", 'late messages');
is(texts('g-late'), whole('late', 6), 'a message that comes a little late is moved behind the others');
like(value_of($node, "SELECT status || ' ' || error_code || ' ' || error_info FROM im_message_outbox WHERE source_id = 'late/old'"),
	qr/^invalid 10004 .*newest message.*max_time_shift.*status undo/, '... and one that comes much too late is invalid, with words and a cure');
like(value_of($node, "SELECT error_info FROM im_message_outbox WHERE source_id = 'late/first'"),
	qr/group's creation.*create_time/, '... also one from before the group');
is(value_of($node, "SELECT string_agg(rows::text, ' ' ORDER BY rows) FROM im_import_problems WHERE problem LIKE 'send_time would%'"),
	'1 2', '... and such rows are counted together, however late they are');

# One that was refused in a call whose answer was lost: those behind it have gone.
settled("group_source_id = 'unheard'", 'the call whose answer was lost');
is(statuses('unheard'), 'imported 6, invalid 1', 'a refused message whose answer was lost is too late for its place');
my $words = value_of($node, "SELECT error_info FROM im_message_outbox WHERE source_id = 'unheard/2'");
like($words, qr/^send_time would have to be moved by .* \(before, the service said: \d+ /, '... and what the service said of it is not lost');
is(value_of($node, "SELECT cardinality(im_problem_list(error_info)) FROM im_message_outbox WHERE source_id = 'unheard/2'"), 1, '... in one problem');

# A time in the future fails alone, and does not stand in the way of what comes then.
load(room_sql('future', 3, 60), "INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('future/x', 'future', 'u1', now() + interval '10 years', 'never');");
settled("group_source_id = 'future'", 'a message of the future');
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('future/4', 'future', 'u1', timestamptz '2021-01-01 00:00Z', 'future 4');");
settled("group_source_id = 'future'", 'the next one');
is(statuses('future'), 'imported 4, invalid 1', 'a message of the future fails alone');
is(texts('g-future'), whole('future', 4), '... and the next ones are sent with their own times');

# ---------------------------------------------------------------------------
# Unread counts: after the messages, and again after later ones

load(room_sql('unread', 10, 60), <<SQL);
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'unread', 'u' || u FROM generate_series(0, 2) u;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('unread', 'u0', 4), ('unread', 'u1', 0), ('unread', 'u2', 2);
SQL
my $unread_open = "SELECT count(*) FROM im_unread_outbox WHERE status IN ('pending', 'sending')";
poll_until { value_of($node, $unread_open) == 0 } 'unread counts';
is_deeply($service->unread('g-unread'), { u0 => 4, u2 => 2 }, 'unread counts are set');
is(scalar(grep { $_->{body} =~ /"u1"/ } $service->journal('set_unread_msg_num')), 0, 'a count of 0 needs no call');
is(value_of($node, "SELECT count(*) FROM im_unread_outbox WHERE status = 'imported'"), 3, '... and is imported');
load(room_sql('unread', 12, 60));
poll_until { open_messages("group_source_id = 'unread'") == 0 && value_of($node, $unread_open) == 0
	  && value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'unread' AND status = 'imported'") == 12 } 'later messages';
is_deeply($service->unread('g-unread'), { u0 => 4, u2 => 2 }, 'after later messages they are set again');

# Somebody works on the unread counts meanwhile: nothing waits for him.
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe("BEGIN; SELECT FROM im_unread_outbox WHERE group_source_id = 'unread' AND member_account = 'u0' FOR UPDATE");
load(room_sql('unread', 14, 60));
poll_until { value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'unread' AND status = 'imported'") == 14 } 'messages while an unread count is locked';
$holder->query_safe('COMMIT');
$holder->quit;
load(room_sql('unread', 16, 60));
poll_until { value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'unread' AND status = 'imported'") == 16
	  && value_of($node, $unread_open) == 0 } 'still later messages';
is_deeply($service->unread('g-unread'), { u0 => 4, u2 => 2 }, 'an unread count that was locked is set again with the next messages');
is(status_of($node)->{total}, value_of($node, "SELECT sum(n) FROM (SELECT count(*) AS n FROM im_group_outbox UNION ALL SELECT count(*) FROM im_message_outbox UNION ALL SELECT count(*) FROM im_member_outbox UNION ALL SELECT count(*) FROM im_unread_outbox) s"),
	'the counts are right');
is(value_of($node, "SELECT imported FROM im_import_status"), value_of($node, "SELECT sum(n) FROM (SELECT count(*) AS n FROM im_group_outbox WHERE status = 'imported' UNION ALL SELECT count(*) FROM im_message_outbox WHERE status = 'imported' UNION ALL SELECT count(*) FROM im_member_outbox WHERE status = 'imported' UNION ALL SELECT count(*) FROM im_unread_outbox WHERE status = 'imported') s"),
	'... of the imported ones, too');

# A member comes while the group's messages are on their way: the rest of them wait.
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '60s')");
$service->fault({ do => 'hold', match => { command => 'import_group_msg', group_id => 'g-behind' } });
load(room_sql('behind', 21, 60));
$service->wait_for(held => 1);
$service->clear;
load("INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('behind', 'late', 5);");
load("INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('behind', 'late');");
$service->release;
settled("group_source_id = 'behind'", 'messages that wait for a member');
poll_until { value_of($node, $unread_open) == 0 } 'the unread count of a late member';
my @order = map { $_->{command} } grep { $_->{command} !~ /^get_group_info$|get_simple/ && $_->{body} =~ /g-behind/ } $service->journal;
is("@order", 'import_group import_group_msg import_group_member import_group_msg import_group_msg set_unread_msg_num',
	'what a group needs first goes first, also when it comes later');
is(texts('g-behind'), whole('behind', 21), '... and no message is lost by it');
is_deeply($service->unread('g-behind'), { late => 5 }, '... nor the unread count');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '2s')");

# A message comes that is older than those of which nobody knows whether they arrived:
# they are looked up first, and sent with the times that they have.
$service->fault({ do => 'close_before', match => { command => 'import_group_msg', group_id => 'g-older' }, times => 1 });
load(room_sql('older', 7, 60));
poll_until { value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'older' AND status = 'pending' AND maybe_sent_at IS NOT NULL") == 7 }
'messages of unknown outcome';
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('older/0', 'older', 'u0', timestamptz '2020-01-02 00:00Z', 'older 8');");
settled("group_source_id = 'older'", 'an older message');
is(statuses('older'), 'imported 8', 'an older message waits for those of unknown outcome, and is sent behind them');
is(texts('g-older'), whole('older', 8), '... and none is there twice');
is(scalar(grep { $_->{body} =~ /g-older/ } $service->journal('import_group_msg')), 3, '... with one call');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY source_id) FROM im_message_outbox WHERE group_source_id = 'older' AND sent_time <> extract(epoch FROM send_time)"),
	'older/0', '... whose time alone is another');

# ---------------------------------------------------------------------------
# Somebody writes in a group that is not imported yet

load(room_sql('live', 7, 60));
settled("group_source_id = 'live'", 'the first messages');
$service->live('g-live', text => 'hello');
load(room_sql('live', 70, 60), room_sql('other', 70, 60));
settled("group_source_id = 'other'", 'the other room');
is(statuses('other'), 'imported 70', 'other rooms go on');
poll_until { statuses('live') eq 'failed 7, imported 7, pending 56' } 'the live room to be held';
my $calls = grep { $_->{body} =~ /g-live/ } $service->journal('import_group_msg');
is($calls, 2, 'one call finds that people write in a group');
like(value_of($node, "SELECT DISTINCT error_info FROM im_message_outbox WHERE group_source_id = 'live' AND status = 'failed'"),
	qr/newest message is of .*people are already writing/, '... the rows say so');
my ($status, $out, $err) = $node->psql('postgres', "CALL im_import_wait(timeout => '60 s', raise_on_failure => false)");
is($status, 0, 'a wait ends');
like($err, qr/56 rows wait/, '... and tells what waits');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
poll_until { statuses('live') eq 'failed 14, imported 7, pending 49' } 'one more call after im_import_resume()';
pass('im_import_resume() lets a held room be tried again');

# ---------------------------------------------------------------------------
# Too many a call: halved, remembered, nobody blamed

$service->set(batch_limits => { import_group_msg => 3 }, over_batch => { import_group_msg => 10005 });
load(room_sql('batch', 30, 60));
settled("group_source_id = 'batch'", 'small batches');
is(statuses('batch'), 'imported 30', 'no row is blamed for the size of a batch');
is(texts('g-batch'), whole('batch', 30), '... and the order is kept');
my $refused = grep { ($_->{code} // 0) == 10005 } $service->journal('import_group_msg');
is($refused, 1, 'the size is remembered');

# How many messages go into a call, and how often that was too many.
sub per_call
{
	my $over = grep { ($_->{code} // 0) == 10005 } $service->journal('import_group_msg');
	return $over . ' ' . value_of($node, "SELECT rows_per_call FROM im_import_progress WHERE kind = 'message'");
}
is(per_call(), '1 3', '... and shown');
my $worker = "SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'im_import%'";
my $old = value_of($node, $worker);
value_of($node, "SELECT pg_terminate_backend(pid) FROM ($worker) w");
poll_until { value_of($node, $worker) ne $old } 'the worker to end';
load(room_sql('size-worker', 9, 60));
settled("group_source_id = 'size-worker'", 'a room of the next worker');
is(per_call(), '1 3', 'the next worker knows it, too');
load("ALTER SERVER im OPTIONS (ADD messages_per_call '6')");
is(per_call(), '1 6', 'with other options it is forgotten: the app may take more by now');
load(room_sql('size-options', 6, 60));
settled("group_source_id = 'size-options'", 'a room under other options');
is(per_call(), '2 3', '... and found out with one call');
$node->restart;
load(room_sql('size-server', 6, 60));
settled("group_source_id = 'size-server'", 'a room after a restart');
is(per_call(), '3 3', '... as after a restart of the server');
is(statuses("size-$_->[0]"), "imported $_->[1]", "no row is blamed: $_->[0]") foreach [ 'worker', 9 ], [ 'options', 6 ], [ 'server', 6 ];
$service->set(batch_limits => { import_group_msg => 7 });
load("ALTER SERVER im OPTIONS (DROP messages_per_call)");
is(per_call(), '3 7', 'the option of before');

# ---------------------------------------------------------------------------
# Messages of this very second: the service takes none before that is over

load("INSERT INTO im_group_outbox (source_id, group_id, type, name, create_time) VALUES ('fresh', 'g-fresh', 'Public', 'fresh', now());
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT 'fresh/' || m, 'fresh', 'u0', now(), 'fresh ' || m FROM generate_series(1, 3) m;");
settled("group_source_id = 'fresh'", 'messages of this second');
is(statuses('fresh'), 'imported 3', 'messages of this second wait until it is over');
is(value_of($node, "SELECT max(attempts) FROM im_message_outbox WHERE group_source_id = 'fresh'"), 1, '... and none is refused');
is(texts('g-fresh'), whole('fresh', 3), '... in their order');

# ---------------------------------------------------------------------------
# In doubt: it may be there, so that its time is taken; until a person says that it is not

sub doubt_all
{
	my ($room) = @_;
	$node->safe_psql('postgres', <<SQL);
SET session_replication_role = replica;
UPDATE im_message_outbox SET status = 'in_doubt', msg_seq = NULL, maybe_sent_at = now(), error_code = -2 WHERE group_source_id = '$room';
UPDATE _im_room_state SET settled_time = NULL WHERE room = '+$room';
SQL
}
load(room_sql('taken', 1, 0));
settled("group_source_id = 'taken'", 'a message');
doubt_all('taken');
$service->set(fail => { message => { poison => 80002 } });
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('taken/bad', 'taken', 'u1', timestamptz '2020-01-02 00:00Z', 'poison')");
settled("group_source_id = 'taken'", 'a message that fails');
$service->set(fail => { message => {} });
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('taken/2', 'taken', 'u1', timestamptz '2020-01-02 00:00Z', 'taken 2')");
settled("group_source_id = 'taken'", 'a message of the same second');
is(statuses('taken'), 'failed 1, imported 1, in_doubt 1', 'behind one in doubt a message is sent');
is(texts('g-taken'), whole('taken', 2), '... with a later time');

load(room_sql('freed', 3, 86400));
settled("group_source_id = 'freed'", 'three messages');
doubt_all('freed');
$service->change('message', group_id => 'g-freed', seq => $_) foreach 3, 2, 1;
load("SELECT im_import_resolve(id, kind => 'message') FROM im_message_outbox WHERE group_source_id = 'freed'");
settled("group_source_id = 'freed'", 'messages that a person has found missing');
is(statuses('freed'), 'imported 3', 'messages in doubt that are not there are sent again');
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'freed' AND sent_time <> extract(epoch FROM send_time)"), 0,
	'... each with its own time');

# ---------------------------------------------------------------------------
# A restore without the claims: the times with which messages went are lost.  They are
# found by their mark; and what was never sent has no right to any shift.

load(room_sql('lost', 4, 0));
settled("group_source_id = 'lost'", 'four messages of one second');
my $sent = value_of($node, "SELECT string_agg(sent_time || ' ' || msg_seq, ', ' ORDER BY id) FROM im_message_outbox WHERE group_source_id = 'lost'");
$node->safe_psql('postgres', <<SQL);
SET session_replication_role = replica;
DELETE FROM im_message_outbox WHERE source_id = 'lost/1';
UPDATE im_message_outbox SET status = 'pending', origin = origin + 1, sent_at = NULL, claim = NULL, sent_time = NULL, msg_seq = NULL, settled_at = NULL WHERE group_source_id = 'lost';
DELETE FROM _im_room_state WHERE room = '+lost';
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text, origin)
SELECT 'lost/old', 'lost', 'u0', timestamptz '2019-01-01', 'lost old', origin + 1 FROM im_message_outbox LIMIT 1;
SQL
$node->safe_psql('postgres', 'SELECT im_import_adopt()');
settled("group_source_id = 'lost'", 'messages of a restored outbox');
is(value_of($node, "SELECT string_agg(sent_time || ' ' || msg_seq, ', ' ORDER BY id) FROM im_message_outbox WHERE group_source_id = 'lost' AND source_id <> 'lost/old'"),
	$sent =~ s/^[^,]*, //r, 'messages whose times are lost are found, with their times');
is(value_of($node, "SELECT status FROM im_message_outbox WHERE source_id = 'lost/old'"), 'invalid', '... and one of a year before is not moved to now');
is(scalar($service->messages('g-lost')), 4, '... nothing is sent again');

# Those of g-freed were deleted, and sent again.
is_deeply([ grep { !/^g-freed / } $service->doubles ], [], 'nothing was done twice, at all');

done_testing();
