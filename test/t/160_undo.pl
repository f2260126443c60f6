# Undo: groups that were imported are disbanded, with what belongs to them, and
# can be imported again.  A group that is not ours any more stays.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HTTP::Tiny;
use JSON::PP ();
use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up(
	conf => "restart_after_crash = on",
	options => { rate_limit => 2000, request_timeout => '2s' });

sub sql { return $node->safe_psql('postgres', join '', 'BEGIN;', @_, ';COMMIT;') }

# Rooms with three members, nine messages and an unread count each.
sub rooms_sql
{
	my ($prefix, $n, $columns, $values) = @_;

	return <<SQL;
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time @{[ $columns // '' ]})
SELECT '$prefix' || r, CASE r % 3 WHEN 0 THEN 'Public' WHEN 1 THEN 'Private' ELSE 'ChatRoom' END, '$prefix' || r, 'owner',
	timestamptz '2020-01-01 00:00Z' @{[ $values // '' ]} FROM generate_series(1, $n) r;
INSERT INTO im_member_outbox (group_source_id, member_account, join_time)
SELECT '$prefix' || r, 'u' || u, timestamptz '2020-01-01 12:00Z' FROM generate_series(1, $n) r, generate_series(1, 3) u;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT '$prefix' || r || '/' || m, '$prefix' || r, 'u1', timestamptz '2020-01-02 00:00Z' + make_interval(mins => m), 'm' || m
FROM generate_series(1, $n) r, generate_series(1, 9) m;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT '$prefix' || r, 'u2', 4 FROM generate_series(1, $n) r;
SQL
}

# How the rows of some rooms are: "group imported 3, member ...".
sub statuses
{
	my ($like) = @_;

	return value_of($node, 'SELECT string_agg(kind || \' \' || status || \' \' || n, \', \' ORDER BY kind, status) FROM (' .
		join(' UNION ALL ', map { my $key = $_ eq 'group' ? 'source_id' : 'group_source_id';
			"SELECT '$_' AS kind, status, count(*) AS n FROM im_${_}_outbox WHERE $key LIKE '$like' GROUP BY 2" }
			qw(group member message unread)) . ') s');
}

sub all_of { my ($status, $n) = @_; return "group $status $n, member $status @{[ 3 * $n ]}, message $status @{[ 9 * $n ]}, unread $status $n" }

sub open_rows
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status IN ('pending', 'sending', 'undo'))" } qw(group member message unread));
}

sub settled
{
	my ($what) = @_;
	eval { poll_until { open_rows() == 0 } $what };
	return unless $@;
	diag(explain(status_of($node)), explain(rows($node, "SELECT * FROM im_group_outbox WHERE status IN ('undo', 'pending', 'sending') LIMIT 3")));
	die $@;
}

sub group_id { return value_of($node, "SELECT group_id FROM im_group_outbox WHERE source_id = '$_[0]'") }

# Every room of the outbox that is imported has all that belongs to it, in order.
sub whole
{
	my ($like) = @_;
	my $want = join ' ', map { "m$_" } 1 .. 9;

	foreach my $row (rows($node, "SELECT source_id, group_id, type FROM im_group_outbox WHERE source_id LIKE '$like'"))
	{
		my $room = $service->room($row->{group_id});
		my $said = join ' ', map { $_->{body}[0]{MsgContent}{Text} } @{ $room->{messages} };
		my $unread = $room->{members}{u2}{unread} // 0;

		return "$row->{source_id}: $said" if $said ne $want;
		return "$row->{source_id}: unread $unread" if $unread != ($row->{type} eq 'ChatRoom' ? 0 : 4);
		return "$row->{source_id}: members" if keys %{ $room->{members} } != 4;
	}
	return 'whole';
}

# im_import_status as it is, and as it should be.
sub counts_are_right
{
	my @statuses = qw(pending imported undo undone);
	my $rows = join ' UNION ALL ', map { "SELECT status FROM im_${_}_outbox" } qw(group member message unread);

	# What no trigger saw is counted by the worker, when it finds a moment without writers.
	poll_until { status_of($node)->{state} ne 'counting' } 'the counts';
	my ($said, $are) = split /\|/, value_of($node, 'SELECT ' . join(" || ' ' || ", @statuses) . ', ' .
		join(" || ' ' || ", map { "(SELECT count(*) FROM ($rows) s WHERE status = '$_')" } @statuses) . ' FROM im_import_status');

	is($said, $are, 'im_import_status counts right');
}

# A command of the service, as an administrator's tool would call it.
sub call_service
{
	my ($command, $body) = @_;
	my $sig = value_of($node, 'SELECT im_usersig()');
	my $answer = HTTP::Tiny->new->post($service->endpoint . "/v4/group_open_http_svc/$command?sdkappid=$service->{sdkappid}"
		  . "&identifier=$service->{admin}&usersig=" . ImService::escaped($sig) . '&random=1&contenttype=json',
		{ content => JSON::PP->new->utf8->encode($body) });

	$answer = JSON::PP->new->utf8->decode($answer->{content});
	die "$command: $answer->{ErrorInfo}" if $answer->{ErrorCode} != 0;
}

# ---------------------------------------------------------------------------
# A rehearsal: some rooms while the rest waits; looked at; taken back; and again

$service->set(private_first_seq => 2);
sql("SELECT im_import_pause('rehearsal')");
sql(rooms_sql('r', 12));
$node->safe_psql('postgres', 'CALL im_import_drain(6)');
is(statuses('r_'), 'group imported 6, group pending 3, member imported 18, member pending 9, message imported 54, message pending 27, unread imported 6, unread pending 3',
	'six rooms are there');
my %first = map { $_ => group_id("r$_") } 1 .. 6;
$service->live($first{2}, from => 'u1', text => 'hello');
call_service('modify_group_base_info', { GroupId => $first{3}, Name => 'renamed' });
call_service('destroy_group', { GroupId => $first{4} });

sql("UPDATE im_group_outbox SET status = 'undo' WHERE status = 'imported'");
is(value_of($node, "SELECT undo || ' ' || undone FROM im_import_status"), '6 0', 'six are to be undone');
is(value_of($node, "SELECT DISTINCT stage FROM im_import_rooms WHERE status = 'undo'"), 'the group is being disbanded, its rows wait', '... says the view of rooms');
is(value_of($node, 'SELECT string_agg(DISTINCT state, \' \') || count(*) FROM im_import_undo'), 'open6', '... and im_import_undo');
is(status_of($node)->{state}, 'paused', 'a pause holds them');
is(scalar(grep { 1 } $service->journal('destroy_group')), 1, '... and nothing is disbanded but by hand');
like(error_of($node, "UPDATE im_group_outbox SET name = 'x' WHERE source_id = 'r1'"), qr/cannot change column "name"/, 'their record stays what it is');
sql("UPDATE im_group_outbox SET status = 'imported' WHERE source_id = 'r6'");
pass('what was not begun can be taken back');
$node->safe_psql('postgres', 'CALL im_import_drain(5)');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY source_id) FROM im_group_outbox WHERE status = 'undone'"), 'r1 r4 r5',
	'those that are ours are undone, and one that is gone already');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY source_id) FROM im_group_outbox WHERE status = 'imported'"), 'r2 r3 r6', 'the others stay');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'pending'"), 6, 'an order is spent on them first');
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'r2'"), qr/^not undone: .*messages that no row has imported/, 'a foreign message keeps a group');
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'r3'"), qr/^not undone: .*somebody has changed/, 'a change keeps a group');
is(value_of($node, "SELECT string_agg(source_id || ' ' || state, ', ' ORDER BY source_id) FROM im_import_undo"), 'r2 refused, r3 refused', 'im_import_undo lists them');
is(value_of($node, "SELECT string_agg(concat_ws(' ', ok, detail), ', ') FROM im_import_doctor() WHERE item = 'undo'"), '2 groups were to be taken back, and stay', '... and the doctor counts them');
is_deeply([ map { defined $service->group($first{$_}) ? 1 : 0 } 1 .. 6 ], [ 0, 1, 1, 0, 0, 1 ], 'so says the service');
is(statuses('r1'), 'group undone 1, member undone 3, message undone 9, unread undone 1', 'what belongs to a group goes with it')
  or diag(explain(rows($node, "SELECT * FROM im_message_outbox WHERE group_source_id = 'r1' LIMIT 2")));
counts_are_right();
is(value_of($node, "SELECT undone FROM im_import_progress WHERE kind = 'message'"), 27, 'im_import_progress, too');
is(value_of($node, "SELECT count(*) FROM im_import_mapping WHERE source_id = 'r1'"), 0, 'the mapping does not name it');

# New rows of a group that is undone wait, and say so.
sql("INSERT INTO im_member_outbox (group_source_id, group_id, member_account) VALUES ('r1', NULL, 'late'), (NULL, '$first{1}', 'late')");
sql('SELECT im_import_resume()');
my ($status, $out, $err) = $node->psql('postgres', "CALL im_import_wait(timeout => '60 s')");
like($err, qr/2 rows wait for groups.*undone/s, 'new rows of an undone group wait, and im_import_wait() tells why');
is(value_of($node, "SELECT string_agg(DISTINCT status, ' ') FROM im_member_outbox WHERE member_account = 'late'"), 'pending', '... and nothing is burnt');
like(value_of($node, "SELECT warning FROM im_import_plan() WHERE item = 'members of rooms that are undone'"), qr/the first is 'r1'/, '... and so does the plan');
sql("DELETE FROM im_member_outbox WHERE member_account = 'late'");

# Again, under another id.
my $n = value_of($node, "SELECT im_import_retry(status => 'undone')");
is($n, 3 * 14, 'all that was undone can be sent again');
settled('the second import');
is(whole('r%'), 'r2: m1 m2 m3 m4 m5 m6 m7 m8 m9 hello', 'only the room in which people write differs');
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE status <> 'imported' OR sent_time <> extract(epoch FROM send_time)"), 0, 'no message was moved');
isnt(group_id('r1'), $first{1}, 'a generated id is a new one');
is_deeply([ $service->doubles ], [], 'nothing is there twice');

# ---------------------------------------------------------------------------
# Ids of one's own, lost answers, refusals, deaths

sql(rooms_sql('own', 5, ', group_id', ", 'own-' || r"));
settled('rooms with ids of their own');
$service->fault(
	{ do => 'close_after', match => { command => 'destroy_group', group_id => 'own-1' }, times => 1 },
	{ do => 'close_before', match => { command => 'destroy_group', group_id => 'own-2' }, times => 1 },
	{ do => 'code', code => 10007, info => 'not yours', match => { command => 'destroy_group', group_id => 'own-3' }, times => 1 },
	{ do => 'hold', match => { command => 'destroy_group', group_id => 'own-4' }, times => 1 },
	{ do => 'code', code => 60007, match => { command => 'get_group_info', group_id => 'own-5' }, times => 1 });
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id LIKE 'own%'");
$service->wait_for(held => 1);
ok(die_of($node, 'kill -9 of the worker'), 'the worker dies in the middle');
$service->release;
settled('the undo after that');
is(value_of($node, "SELECT string_agg(status, ' ' ORDER BY source_id) FROM im_group_outbox WHERE source_id LIKE 'own%'"),
	'undone undone imported undone undone', 'a lost answer and a death leave nothing in doubt, a refusal is told');
like(value_of($node, "SELECT error_code || ' ' || error_info FROM im_group_outbox WHERE source_id = 'own3'"), qr/^10007 not yours; not undone: .*refused/, '... with its words');
is_deeply([ map { defined $service->group("own-$_") ? 1 : 0 } 1 .. 5 ], [ 0, 0, 1, 0, 0 ], 'so says the service');

# A request that disbands may still be under way: only then its id must wait.
sql("UPDATE im_group_outbox SET status = 'pending' WHERE source_id = 'own1'");
is(value_of($node, "SELECT due_at > now() AND due_at <= now() + interval '1 min' AND group_id = 'own-1' FROM im_group_outbox WHERE source_id = 'own1'"), 't',
	'an id of its own waits until the last request is dead');
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'own1'"), qr/may still be under way: not before due_at/, '... and the words say so');
$service->set(id_reuse => 'taken');
sql("UPDATE im_group_outbox SET status = 'pending', name = 'other' WHERE source_id = 'own5'");
poll_until { value_of($node, "SELECT error_code FROM im_group_outbox WHERE source_id = 'own5'") eq '10021' } 'the service to refuse the id';
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'own5'"), qr/disbanded group may stay taken for a time/, 'an id may stay taken, and the words say so');
$service->set(id_reuse => 'free');
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'own5'") eq 'imported' } 'the id to be free';
is($service->group('own-5')->{name}, 'other', 'an undone row can be changed before it is sent again');
sql("DELETE FROM im_group_outbox WHERE source_id = 'own1'");

# Rows on their way when the undo comes; and a chunk at a time.
sql("ALTER SERVER im OPTIONS (SET request_timeout '60s')");
$service->fault({ do => 'hold', match => { command => 'import_group_msg', group_id => '*', nth => 2 }, times => 1 });
sql(rooms_sql('busy', 1), <<SQL);
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT 'busy/more' || m, 'busy1', 'u1', timestamptz '2020-02-01 00:00Z' + make_interval(mins => m), 'more' FROM generate_series(1, 40) m
SQL
$service->wait_for(held => 1);
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'busy1'");
poll_until { value_of($node, "SELECT due_at IS NOT NULL FROM im_group_outbox WHERE source_id = 'busy1'") eq 't' } 'the undo to wait';
$service->clear;
$service->release;
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'busy1'") eq 'undone' } 'a busy room';
sql("ALTER SERVER im OPTIONS (SET request_timeout '2s')");
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'busy1' AND status IN ('imported', 'sending')"), 0,
	'an undo waits for what is under way, and nothing more is sent');
cmp_ok(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'busy1' AND status = 'pending'"), '>', 0, '... what was not sent waits');
counts_are_right();

# More rows than go into one transaction, one of which a person locks for a while.
sql(rooms_sql('large', 1, ', group_id', ", 'large-' || r"));
poll_until { statuses('large1') eq all_of('imported', 1) } 'a room that becomes large';
my $large = group_id('large1');
sql("SET LOCAL session_replication_role = replica", ";INSERT INTO im_member_outbox (group_source_id, member_account, status) SELECT 'large1', 'm' || m, 'imported' FROM generate_series(1, 5200) m");
my $locker = $node->background_psql('postgres');
$locker->query_safe("BEGIN; SELECT id FROM im_message_outbox WHERE source_id = 'large1/3' FOR UPDATE");
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'large1'");
poll_until { statuses('large1') eq 'group undo 1, member undone 5203, message imported 1, message undone 8, unread undone 1' } 'all but the locked one';
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'large1'"), qr/^the group is disbanded, its rows are being marked/, 'a locked row holds its group open, and the words say so');
is(value_of($node, "SELECT error_code FROM im_group_outbox WHERE source_id = 'large1'"), -13, '... with a code');
is(value_of($node, "SELECT detail FROM im_import_doctor() WHERE item = 'undo' AND ok"), '0 groups are still to be disbanded; 1 are, and their rows are being marked', '... and the doctor knows it');
like(error_of($node, "UPDATE im_group_outbox SET error_code = NULL WHERE source_id = 'large1'"), qr/cannot change column "error_code"/, '... that nobody may change');
$locker->query_safe('COMMIT');
$locker->quit;
poll_until { statuses('large1') eq 'group undone 1, member undone 5203, message undone 9, unread undone 1' } 'a large room';
pass('a group is undone when all its rows are');
is_deeply([ map { my $command = $_; scalar grep { $_->{body} =~ /\Q$large\E/ } $service->journal($command) } qw(get_group_info destroy_group) ], [ 1, 1 ],
	'... and the service was asked once, however long that took');
is(value_of($node, "SELECT error_code IS NULL AND error_info IS NULL FROM im_group_outbox WHERE source_id = 'large1'"), 't', '... and nothing is left of the words');
is(value_of($node, "BEGIN; UPDATE im_group_outbox SET status = 'pending' WHERE source_id = 'large1'; SELECT due_at IS NULL FROM im_group_outbox WHERE source_id = 'large1'; ROLLBACK"), 't',
	'... and it can go again at once, under its own id: no answer was lost');
counts_are_right();

# Messages whose answer was lost, which are still open when their group is disbanded.
$service->fault({ do => 'close_before', match => { command => 'import_group_msg', group_id => 'doubt-1', nth => 2 }, times => 1 });
sql(rooms_sql('doubt', 1, ', group_id', ", 'doubt-' || r"));
poll_until { value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'doubt1' AND status = 'pending' AND maybe_sent_at IS NOT NULL") eq '2' }
	'two messages that may be there';
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'doubt1'");
poll_until { !defined $service->group('doubt-1') && statuses('doubt1') =~ /member undone 3, message pending 2, message undone 7/ } 'the group to be disbanded';
is(value_of($node, "SELECT status || ' ' || error_code FROM im_group_outbox WHERE source_id = 'doubt1'"), 'undo -13',
	'a request that may still be under way holds the undo');
sql("SET LOCAL session_replication_role = replica", ";UPDATE im_message_outbox SET maybe_sent_at = now() + interval '1 hour' WHERE status = 'pending' AND group_source_id = 'doubt1'");
poll_until { value_of($node, "SELECT max(maybe_sent_at) <= now() FROM im_message_outbox WHERE group_source_id = 'doubt1'") eq 't' }
	'a clock that was set back not to hold the undo for an hour';
sql("SET LOCAL session_replication_role = replica", ";UPDATE im_message_outbox SET maybe_sent_at = maybe_sent_at - interval '2 min' WHERE status = 'pending' AND group_source_id = 'doubt1'");
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'doubt1'") eq 'undone' } 'the undo, once no request can be';
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE group_source_id = 'doubt1' AND status = 'pending'"
	  . " AND maybe_sent_at IS NULL AND sent_time IS NULL AND due_at IS NULL AND error_info IS NULL AND attempts = 0"), 2, '... and they are as if they had never been sent');
sql(join ';', "UPDATE im_group_outbox SET status = 'pending' WHERE source_id = 'doubt1'",
	map { "UPDATE im_${_}_outbox SET status = 'pending' WHERE status = 'undone' AND group_source_id = 'doubt1'" } qw(member message unread));
poll_until { statuses('doubt1') !~ /pending|sending/ } 'the group of these messages, anew';
is(statuses('doubt1'), all_of('imported', 1), 'all of it is there');
is(whole('doubt1'), 'whole', '... in its order');
counts_are_right();

# ---------------------------------------------------------------------------
# Fewer messages than rows say: the group was made anew, and what is in it is not ours

sql(rooms_sql('anew', 1));
poll_until { statuses('anew1') eq all_of('imported', 1) } 'a room that has fewer messages than it should';
my $anew = group_id('anew1');
$service->live($anew, from => 'u1', text => 'hello');
sql("UPDATE _im_room_state SET messages = 100 WHERE room = '+anew1'");
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'anew1'");
poll_until { value_of($node, "SELECT attempts >= 2 FROM im_group_outbox WHERE source_id = 'anew1'") eq 't' } 'two looks at it';
ok(defined $service->group($anew), 'it is not disbanded');
sql("UPDATE _im_room_state SET messages = 9 WHERE room = '+anew1'");
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'anew1'") eq 'imported' } 'the numbers to agree';
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE source_id = 'anew1'"), qr/^not undone: .*messages that no row has imported/, 'it stays, and the words say why');

# ---------------------------------------------------------------------------
# What cannot be undone

like(error_of($node, "UPDATE im_member_outbox SET status = 'undo' WHERE status = 'imported'"), qr/goes with its group.*HINT:  Undo the group/s, 'not a member');
like(error_of($node, "UPDATE im_group_outbox SET status = 'undo' WHERE status = 'undone'"), qr/only imported groups can be undone.*HINT/s, 'not what is undone');
like(error_of($node, "UPDATE im_group_outbox SET status = 'undone' WHERE source_id = 'r1'"), qr/cannot change the status/, 'undone is for the worker to say');
sql("SET LOCAL session_replication_role = replica; UPDATE im_group_outbox SET origin = 1 WHERE source_id = 'r7'");
like(error_of($node, "UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'r7'"), qr/Another database has imported it/, 'not another database\'s');
sql("SET LOCAL session_replication_role = replica; UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'r7'");
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'r8'");
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'r8'") eq 'undone' } 'one that is ours';
is(value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'r7'"), 'undo', 'another database\'s undo is not carried out');


# ... before somebody adopts it.
is(value_of($node, 'SELECT im_import_adopt()'), 1, 'an undo is adopted as what it is');
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'r7'") eq 'undone' } 'the adopted one';
counts_are_right();

is_deeply([ $service->doubles ], [], 'nothing is there twice');
done_testing();
