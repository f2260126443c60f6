# Accounts and members: who is refused, who waits, and what a person can ask for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 2000, account_rate_limit => 2000 });

sub load { $node->safe_psql('postgres', join '', @_) }

sub open_rows
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status IN ('pending', 'sending'))" } @_);
}

sub settled
{
	my ($what, @kinds) = @_;
	eval { poll_until { open_rows(@kinds) == 0 } $what };
	if ($@)
	{
		diag(explain(status_of($node)));
		diag(explain(rows($node, "SELECT * FROM im_$_" . "_outbox WHERE status IN ('pending', 'sending') LIMIT 2"))) foreach @kinds;
		die $@;
	}
}

sub statuses
{
	my ($kind, $where) = @_;
	$where //= 'true';
	return value_of($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM im_${kind}_outbox WHERE $where GROUP BY 1) s");
}

sub accounts
{
	my ($prefix, $n) = @_;
	return "INSERT INTO im_account_outbox (user_id, nick) SELECT '$prefix' || i, 'nick ' || i FROM generate_series(1, $n) i;\n";
}

sub room
{
	my ($room, $type) = @_;
	$type //= 'Public';
	return "INSERT INTO im_group_outbox (source_id, group_id, type, name, create_time) VALUES ('$room', 'g-$room', '$type', '$room', timestamptz '2020-01-01 00:00Z');\n";
}

sub members
{
	my ($room, $prefix, $n, $rest) = @_;
	$rest //= ", NULL, timestamptz '2020-01-02 00:00Z'";
	return "INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time) SELECT '$room', '$prefix' || i$rest FROM generate_series(1, $n) i;\n";
}

$service->set(accounts => 'listed');

# ---------------------------------------------------------------------------
# Accounts: those that fail are asked for singly; too many a call; lost answers

$service->set(fail => { account => { a7 => 70399, a19 => 70402 } });
load(accounts('a', 40));
settled('accounts', 'account');
is(statuses('account'), 'failed 2, imported 38', 'two accounts are refused');
is(value_of($node, "SELECT string_agg(user_id || ' ' || error_code, ', ' ORDER BY id) FROM im_account_outbox WHERE status = 'failed'"),
	'a7 70399, a19 70402', '... each with the code that the single command gives');
is(scalar($service->journal('account_import')), 2, '... and only these are sent singly');

$service->set(batch_limits => { multiaccount_import => 30 });
$service->fault({ do => 'close_after', match => { command => 'multiaccount_import', account => 'b5' }, times => 1, partial => 11 });
load(accounts('b', 200));
settled('smaller batches', 'account');
is(statuses('account', "user_id LIKE 'b%'"), 'imported 200', 'nobody is blamed for the size of a batch');
my @over = grep { ($_->{code} // 0) == 70206 } $service->journal('multiaccount_import');
cmp_ok(scalar(@over), '<=', 6, 'the size is remembered');
cmp_ok(value_of($node, "SELECT rows_per_call FROM im_import_progress WHERE kind = 'account'"), '<=', 30, '... and shown');
is(scalar(grep { $_->{repeat} } $service->entries('account')), 0, 'what was sent twice changed nothing');
$service->clear;

# A call that is refused as a whole for one row's sake is halved until the row is found.
$service->fault({ do => 'code', code => 70402, match => { command => 'multiaccount_import', account => 'c13' } },
	{ do => 'code', code => 70402, match => { command => 'account_import', account => 'c13' } });
load(accounts('c', 20));
settled('a bad one among good ones', 'account');
is(statuses('account', "user_id LIKE 'c%'"), 'failed 1, imported 19', 'the neighbours of a bad account are not blamed');
is(value_of($node, "SELECT user_id FROM im_account_outbox WHERE status = 'failed' AND user_id LIKE 'c%'"), 'c13', '... and the bad one is found');
$service->clear;

# ---------------------------------------------------------------------------
# Groups wait until no account is open

$service->fault({ do => 'hold', match => { command => 'multiaccount_import' } });
load(accounts('d', 5));
$service->wait_for(held => 1);
load(room('first'), members('first', 'a', 6));
poll_until { my $s = status_of($node); $s->{pending} == 7 } 'what waits to be seen';
is(scalar($service->journal('import_group')), 0, 'no group is made while an account is open');
$service->clear;
$service->release;
settled('the group', qw(account group member));
is(statuses('member'), 'imported 6', 'then it goes on');

# ---------------------------------------------------------------------------
# Members: Result 0, 1 and 2; batches; lost answers

load(room('people'), members('people', 'a', 40),
	"INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time) VALUES
	 ('people', 'nobody', NULL, NULL), ('people', 'b1', 'Admin', timestamptz '2019-01-01 00:00Z'), ('people', 'b2', 'admin', NULL), ('people', 'b3', 'King', NULL);\n");
settled('members', qw(group member));
is(statuses('member', "group_source_id = 'people'"), 'failed 4, imported 39, invalid 1', 'members are judged one by one');
like(value_of($node, "SELECT error_info FROM im_member_outbox WHERE member_account = 'nobody'"), qr/no account "nobody"/, 'one has no account');
like(value_of($node, "SELECT error_info FROM im_member_outbox WHERE member_account = 'b1'"), qr/account exists; join_time/, 'one has it, and joined too early');
is($service->members('g-people')->{b2}{role}, 'Admin', 'roles are written in any case');

# The sender whom the service does not name, in a list and for the whole call.
foreach my $how (qw(result call))
{
	$service->set(absent_sender => $how);
	load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
	 SELECT '$how' || i, 'people', CASE i WHEN 2 THEN 'ghost $how' ELSE 'a1' END, timestamptz '" . ($how eq 'result' ? 2021 : 2022) . "-01-01' + i * interval '1 min', 'm' FROM generate_series(1, 3) i;");
	settled("messages, absent_sender $how", 'message');
	is(value_of($node, "SELECT string_agg(error_info, '; ') FROM im_message_outbox WHERE error_info ~ 'sender \"ghost $how\": ' AND source_id LIKE '$how%' AND status = 'failed'") ne '', 1, "$how: words name the sender");
	is(statuses('message', "source_id LIKE '$how%'"), 'failed 1, imported 2', '... and the others are sent');
}
load("INSERT INTO im_member_outbox (group_id, member_account) VALUES ('g-people', 'a1'), ('g-people', 'b4');");
settled('members by GroupId', 'member');
is(statuses('member', "group_id = 'g-people'"), 'imported 2', 'who is a member already is done, and a group can be named by its GroupId');

load("INSERT INTO im_member_outbox (group_id, member_account) VALUES ('g-people', 'a1') ON CONFLICT DO NOTHING");
is(statuses('member', "group_id = 'g-people'"), 'imported 2', '... and the same again adds nothing');

# A GroupId that a row of the same load brings: its rows wait for it, as by its source_id.
$service->fault({ do => 'hold', match => { command => 'import_group', group_id => 'g-own' } });
load("BEGIN;\nINSERT INTO im_member_outbox (group_id, member_account) VALUES ('g-own', 'a1'), ('g-own', 'a2');", room('own'), 'COMMIT;');
$service->wait_for(held => 1);
load("INSERT INTO im_member_outbox (group_id, member_account) VALUES ('g-people', 'b9');");
poll_until { statuses('member', "member_account = 'b9' AND group_id = 'g-people'") eq 'imported 1' } 'a member of a group that is there';
is(statuses('member', "group_id = 'g-own'"), 'pending 2', 'members wait for a group of this outbox that they name by its GroupId');
$service->clear;
$service->release;
settled('the members', qw(group member));
is(statuses('member', "group_id = 'g-own'"), 'imported 2', '... and then go');

# ... also where that row has no source_id.
load("BEGIN;\nINSERT INTO im_member_outbox (group_id, member_account) VALUES ('g-anon', 'a1');
INSERT INTO im_group_outbox (group_id, type, name, create_time) VALUES ('g-anon', 'Public', 'anon', timestamptz '2020-01-01 00:00Z');\nCOMMIT;");
load('CALL im_import_wait(raise_on_failure => false);');
is(statuses('member', "group_id = 'g-anon'"), 'imported 1', '... also if the row of the group has no source_id');

# Whoever joined in the group's first second joined after it was made; to join now needs no time.
load(room('second'), "INSERT INTO im_member_outbox (group_source_id, member_account, join_time)
SELECT 'second', 'b1', create_time + interval '0.4 s' FROM im_group_outbox WHERE source_id = 'second' UNION ALL SELECT 'second', 'b2', now();");
settled('members of the first second, and of this one', qw(group member));
is(statuses('member', "group_source_id = 'second'"), 'imported 2', 'members of the first second, and of this one');
is($service->members('g-second')->{b1}{join_time} - $service->group('g-second')->{create_time}, 1, '... the first a second later');

load("INSERT INTO im_member_outbox (group_id, group_source_id, member_account) VALUES ('g-people', 'people', 'b5'), (NULL, NULL, 'b6');");
settled('members of no group, or two', 'member');
is(statuses('member', "member_account IN ('b5', 'b6')"), 'invalid 2', 'one of group_source_id and group_id must be given');

$service->set(batch_limits => { import_group_member => 7 });
$service->fault({ do => 'close_after', match => { command => 'import_group_member', group_id => 'g-many', nth => 2 }, times => 1, partial => 2 },
	{ do => 'close_before', match => { command => 'import_group_member', group_id => 'g-many', nth => 5 }, times => 1 });
load(room('many'), members('many', 'b', 90));
settled('small batches of members', qw(group member));
is(statuses('member', "group_source_id = 'many'"), 'imported 90', 'nobody is blamed for the size of a batch');
is(scalar(keys %{ $service->members('g-many') }), 90, '... and all are there');
my $widest = 0;
my $late = 0;
foreach my $call ($service->journal('import_group_member'))
{
	my $n = () = $call->{body} =~ /Member_Account/g;
	$widest = $n if ($call->{code} // 0) == 10005 && $n > $widest;
	$late++ if ($call->{code} // 0) == 10005;
}
cmp_ok($late, '<=', 12, 'the size is remembered');

$service->clear;
$service->set(batch_limits => { import_group_member => 20 });
$service->fault({ do => 'code', code => 10004, match => { command => 'import_group_member', account => 'a5', group_id => 'g-split' } });
load(room('split'), members('split', 'a', 6));
settled('a bad member among good ones', qw(group member));
is(statuses('member', "group_source_id = 'split'"), 'failed 1, imported 5', 'a call that is refused for one row is halved until it is found');
$service->clear;

# So is a question why members were refused: without the one to blame the others have their words.
$service->fault({ do => 'code', code => 70402, match => { command => 'account_check', account => 'odd' } });
load(room('why'), "INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('why', 'stranger1'), ('why', 'odd'), ('why', 'stranger2');");
settled('refused members, of whom one cannot be asked for', qw(group member));
is(value_of($node, "SELECT string_agg(substring(error_info FROM 'no account .*|may not exist'), '; ' ORDER BY id) FROM im_member_outbox WHERE group_source_id = 'why'"),
	'no account "stranger1"; may not exist; no account "stranger2"', 'who cannot be asked for does not spoil the words of the others');
$service->clear;

# A group that is full: in words for each row, or by a code for the call, which is halved.
load("INSERT INTO im_group_outbox (source_id, group_id, type, name, max_member_count) VALUES ('full', 'g-full', 'Public', 'full', 2);", members('full', 'b', 4, ', NULL, NULL::timestamptz'));
settled('a full group', qw(group member));
like(value_of($node, "SELECT max(error_info) FROM im_member_outbox WHERE group_source_id = 'full' AND status = 'failed'"), qr/account exists; .*full/, 'who finds no place in a group is told what that may be');
$service->set(full_group => 'call');
load("INSERT INTO im_group_outbox (source_id, group_id, type, name, max_member_count) VALUES ('full2', 'g-full2', 'Public', 'full2', 2);", members('full2', 'b', 4, ', NULL, NULL::timestamptz'));
settled('a full group, by a code', qw(group member));
is(statuses('member', "group_source_id = 'full2' AND (error_code = 10014) IS NOT FALSE"), 'failed 2, imported 2', '... or has the code');
$service->set(full_group => 'result');

# ---------------------------------------------------------------------------
# Members of a group that failed wait; the repaired group frees them

load("INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('broken', 'g-broken', 'NoType', 'broken');\n",
	members('broken', 'a', 3, ', NULL, NULL::timestamptz'));
poll_until { statuses('group', "source_id = 'broken'") eq 'invalid 1' } 'the broken group';
my ($status, $out, $err) = $node->psql('postgres', "CALL im_import_wait(timeout => '60 s', raise_on_failure => false)");
like($err, qr/3 rows wait/, 'members of a group that cannot be imported wait');
load("UPDATE im_group_outbox SET type = 'Public', status = 'pending' WHERE source_id = 'broken';");
settled('the repaired group', qw(group member));
is(statuses('member', "group_source_id = 'broken'"), 'imported 3', 'a repaired group frees them');

# ---------------------------------------------------------------------------
# One row now

sub answer { return json($node->safe_psql('postgres', "SELECT $_[0]")) }
is(answer("im_import_account(r) FROM (SELECT 'one' AS user_id, 'the one' AS nick) r")->{ErrorCode}, 0, 'im_import_account()');
is($service->account('one')->{account}{Nick}, 'the one', '... makes one');
is(answer("im_import_account(r) FROM (SELECT 'a7' AS user_id) r")->{ErrorCode}, 70399, '... and says why not');
is(answer("im_import_member(r) FROM (SELECT 'g-first' AS group_id, 'one' AS member_account) r")->{ErrorCode}, 0, 'im_import_member()');
ok($service->members('g-first')->{one}, '... makes one');
isnt(answer("im_import_member(r) FROM (SELECT 'g-first' AS group_id, 'nobody' AS member_account) r")->{ErrorCode}, 0, '... and says if not');
is(answer("im_import_message(r) FROM (SELECT 'g-first' AS group_id, 'one' AS from_account, timestamptz '2020-02-01' AS send_time, 'hi' AS text) r")->{ErrorCode}, 0, 'im_import_message()');
is(scalar($service->messages('g-first')), 1, '... sends one');
is(answer("im_set_unread(r) FROM (SELECT 'g-first' AS group_id, 'one' AS member_account, 1 AS unread_msg_num) r")->{ErrorCode}, 0, 'im_set_unread()');
is_deeply($service->unread('g-first'), { one => 1 }, '... sets it');

# The same records, whose group is named by its source_id, as in an outbox.
is(answer("im_import_member(r) FROM (SELECT 'first' AS group_source_id, NULL::text AS group_id, 'one' AS member_account) r")->{ErrorCode}, 0, 'im_import_member() of a group by its source_id');
is(answer("im_import_message(r) FROM (SELECT 'first' AS group_source_id, 'one' AS from_account, timestamptz '2020-02-02' AS send_time, 'ho' AS text) r")->{ErrorCode}, 0, 'im_import_message()');
is(scalar($service->messages('g-first')), 2, '... sends one more');
is(answer("im_set_unread(r) FROM (SELECT 'first' AS group_source_id, 'one' AS member_account, 2 AS unread_msg_num) r")->{ErrorCode}, 0, 'im_set_unread()');
is_deeply($service->unread('g-first'), { one => 2 }, '... sets it');

# A message without a row of the outbox is never sent twice by us.
my $sent = scalar($service->journal('import_group_msg'));
$service->fault({ do => 'close_after', times => 1, match => { command => 'import_group_msg', group_id => 'g-first' } });
cmp_ok(answer("im_import_message(r) FROM (SELECT 'g-first' AS group_id, 'one' AS from_account, timestamptz '2020-02-03' AS send_time, 'lost' AS text) r")->{ErrorCode}, '<', 0, 'a lost answer is told');
is(scalar($service->journal('import_group_msg')) - $sent, 1, '... and the message is not sent again');
$service->clear;
is(answer("im_set_unread(r) FROM (SELECT 'g-first' AS group_id, 'one' AS member_account, 2 AS unread_msg_num) r")->{ErrorCode}, 0, 'the count anew');

# A count that has become 0 meanwhile: its row is deleted, and inserted anew.
load("INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('first', 'a1', 1), ('first', 'a2', 0)");
settled('a count, and a 0', 'unread');
is(join(' ', map { "$_ " . $service->unread('g-first')->{$_} } sort keys %{ $service->unread('g-first') }), 'a1 1 one 2', 'a 0 is what a group has: it is not sent');
load("DELETE FROM im_unread_outbox WHERE status = 'imported'; INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('first', 'a1', 0)");
settled('a count that became 0', 'unread');
is($service->unread('g-first')->{a1} // 0, 0, 'a count that has become 0 is sent');
my $said = answer("im_import_member(r) FROM (SELECT 'nowhere' AS group_source_id, 'one' AS member_account) r");
is("$said->{ErrorCode} $said->{ErrorInfo}", '10010 no group with the source_id "nowhere" is imported', '... and nothing is sent without a group');

# Rows of an outbox, while the import is paused.
load('SELECT im_import_pause();');
load("INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('first', 'b8');
INSERT INTO im_account_outbox (user_id) VALUES ('asked');
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('m', 'first', 'one', timestamptz '2020-03-01', 'two');
INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('nowhere', 'b8');");
is(answer("im_import_account(o) FROM im_account_outbox o WHERE user_id = 'asked'")->{ErrorCode}, 0, 'a row of an outbox');
is(statuses('account', "user_id = 'asked'"), 'imported 1', '... is imported');
is(answer("im_import_member(o) FROM im_member_outbox o WHERE member_account = 'b8' AND group_source_id = 'first'")->{ErrorCode}, 0, 'a member of a group that is named by its source_id');
ok($service->members('g-first')->{b8}, '... is in that group');
like(error_of($node, "SELECT im_import_member(o) FROM im_member_outbox o WHERE group_source_id = 'nowhere'"), qr/could not be taken/, 'without its group it is not sent');
like(error_of($node, "SELECT im_import_message(o) FROM im_message_outbox o WHERE source_id = 'm'"), qr/out of its turn/, 'a message waits for its turn');

# ---------------------------------------------------------------------------
# im_import_drain(n): the first n rooms whole, while paused

load("DELETE FROM im_message_outbox WHERE source_id = 'm'");	# or its room might be one of them
load(map { (room("drain$_"), members("drain$_", 'a', 3),
	"INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT 'drain$_/' || i, 'drain$_', 'a1', timestamptz '2020-02-01 00:00Z' + make_interval(mins => i), 'm' || i FROM generate_series(1, 10) i;\n",
	"INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('drain$_', 'a2', 3);\n") } 1 .. 4);
($status, $out, $err) = $node->psql('postgres', 'CALL im_import_drain(2)');
is($status, 0, 'a drain of two rooms') or diag($err);
is(statuses('group', "source_id LIKE 'drain%'"), 'imported 2, pending 2', 'two rooms are made');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY id) FROM im_group_outbox WHERE source_id LIKE 'drain%' AND status = 'imported'"), 'drain1 drain2', '... the first ones');
is(statuses('member', "group_source_id LIKE 'drain%'"), 'imported 6, pending 6', '... with their members');
is(statuses('message', "group_source_id LIKE 'drain%'"), 'imported 20, pending 20', '... messages');
is(statuses('unread', "group_source_id LIKE 'drain%'"), 'imported 2, pending 2', '... and unread counts');
$service->fault({ do => 'close_after', match => { command => 'import_group_msg', group_id => 'g-drain3' }, times => 1 });
($status, $out, $err) = $node->psql('postgres', 'CALL im_import_drain(1)', timeout => 120);
is($status, 0, 'a drain waits for a room that is looked at later');
is(statuses('message', "group_source_id = 'drain3'"), 'imported 10', '... and moves it whole');

# A room that was at work before the pause needs an order, and gets one.
load('SELECT im_import_resume();');
poll_until { open_rows('message', 'unread') == 0 } 'the fourth of them';
$service->fault({ do => 'hold', match => { command => 'import_group_msg', group_id => 'g-drain1' } });
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT 'more/' || i, 'drain1', 'a1', timestamptz '2020-02-02 00:00Z' + make_interval(mins => i), 'm' || i FROM generate_series(1, 20) i;");
$service->wait_for(held => 1);
load('SELECT im_import_pause();');
$service->clear;
$service->release;
($status, $out, $err) = $node->psql('postgres', 'CALL im_import_drain(1)', timeout => 120);
is($status, 0, 'a drain of a room that was at work before the pause') or diag($err);
is(statuses('message', "source_id LIKE 'more/%'"), 'imported 20', '... moves it whole');
load(room('drain5'));

# A room that is there already, with new users, more than go at once; another group goes first.
load("BEGIN;\n", accounts('new', 1900), members('first', 'new', 1900, ', NULL, NULL'), 'COMMIT;');
($status, $out, $err) = $node->psql('postgres', 'CALL im_import_drain(2)', timeout => 120);
is($status, 0, 'a drain of a room that is there, with new users') or diag($err);
is(open_rows('account'), 0, 'a drain takes all accounts');
is(statuses('member', "member_account LIKE 'new%'"), 'imported 1900', '... and then the members of that room');
load('SELECT im_import_resume();');
poll_until { open_rows('message', 'unread') == 0 } 'all the others';

# The group of such a room is to be undone meanwhile: nothing more goes to it, and the drain does not wait for that.
load(room('left'));
settled('its group', 'group');
load('SELECT im_import_pause();');
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT 'left/' || i, 'left', 'one', timestamptz '2020-05-01' + i * interval '1 minute', 'left' FROM generate_series(1, 20) i");
my $under_way = $service->stats->{held} // 0;
$service->fault({ do => 'hold', times => 1, match => { command => 'import_group_msg', group_id => 'g-left' } });
my $session = ImTest::start_session($node, 'postgres');
syswrite $session->{in}, "CALL im_import_drain(1);\n";
$service->wait_for(held => $under_way + 1);
load("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'left'");
$service->release;
my $drains = "FROM pg_stat_activity WHERE query LIKE 'CALL im_import_drain%' AND state = 'active'";
eval { poll_until { value_of($node, "SELECT count(*) $drains") == 0 } 'the drain' };
is($@, '', 'the drain ends');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $drains");
is(statuses('message', "group_source_id = 'left'"), 'imported 7, pending 13', 'what was under way is written, and no more is sent');
load("SELECT im_import_resume();");
settled('the undo', 'group');
poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id = 'left'") eq 'undone' } 'the group that was undone';
load("DELETE FROM im_message_outbox WHERE group_source_id = 'left'");

# A group whose rows were deleted, and that is loaded anew: nothing of the old one's messages counts.
load("INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('of old', 'first', 'one', timestamptz '2020-05-01', 'of old')");
poll_until { open_rows('message') == 0 } 'a message of the old group';
load("DELETE FROM im_message_outbox WHERE group_source_id = 'first'; DELETE FROM im_unread_outbox WHERE group_source_id = 'first'; DELETE FROM im_member_outbox WHERE group_source_id = 'first'; DELETE FROM im_group_outbox WHERE source_id = 'first';
INSERT INTO im_group_outbox (source_id, group_id, type, name, create_time) VALUES ('first', 'g-anew', 'Public', 'first', timestamptz '2018-01-01');
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('anew', 'first', 'one', timestamptz '2018-03-01', 'anew');");
poll_until { open_rows('message') == 0 } 'messages of the group that was loaded anew';
is(value_of($node, "SELECT status || ' ' || (sent_time = extract(epoch FROM send_time)) FROM im_message_outbox WHERE source_id = 'anew'"), 'imported true', 'a group that is loaded anew begins anew');

# The same while a call for the old group is under way: what is new goes to the new one.
sub swapped
{
	my ($name, $what) = @_;
	my $held = $service->stats->{held} // 0;
	$service->fault({ do => 'hold', times => 1, match => { command => 'import_group_member', group_id => "g-old-$name" } });
	# At once: a member that came later would wait until fewer rooms are at work.
	load("BEGIN; INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('$name', 'g-old-$name', 'Public', 'swap');
INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('$name', 'b1'); COMMIT;");
	$service->wait_for(held => $held + 1);
	load("BEGIN; DELETE FROM im_member_outbox WHERE group_source_id = '$name'; DELETE FROM im_group_outbox WHERE source_id = '$name';
INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('$name', 'g-new-$name', 'Public', 'swap');
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT '$name', 'b' || i FROM generate_series(2, 9) i; COMMIT;");
	settled('the new group', 'group');
	$service->release;
	poll_until { value_of($node, "SELECT count(*) FROM im_member_outbox WHERE group_source_id = '$name' AND status <> 'imported'") == 0 } 'members of the new group';
	is(join(' ', sort keys %{ $service->members("g-new-$name") }), join(' ', map { "b$_" } 2 .. 9), $what);
}
swapped('swap', 'members of a group that was replaced go to the new one');

# So many rooms are at work that nobody looks for others: the claim itself must see it.
load("ALTER SERVER im OPTIONS (ADD message_rate_limit '1');
INSERT INTO im_message_outbox (source_id, group_id, from_account, send_time, text)
SELECT 'busy' || i, 'busy' || i, 'one', timestamptz '2020-05-01', 'busy' FROM generate_series(1, 2100) i");
poll_until { value_of($node, "SELECT count(*) FROM im_message_outbox WHERE source_id LIKE 'busy%' AND status <> 'pending'") >= 3 } 'many rooms at work';
swapped('swap2', '... while many rooms are at work, too');
load("DELETE FROM im_message_outbox WHERE source_id LIKE 'busy%'; ALTER SERVER im OPTIONS (SET message_rate_limit '2000')");
settled('nothing that is left', 'message');

# A GroupId that is none: its rows say so, and hold nothing up.
load("INSERT INTO im_member_outbox (group_id, member_account) VALUES (repeat('x', 129), 'b8'), (repeat('x', 40000), 'b8')");
poll_until { open_rows('member') == 1 } 'all but the one that has no group';
is(statuses('member', "length(group_id) > 128"), 'invalid 2', 'a GroupId that is too long is refused by us');

# The same of a group's row that came as imported, with an id that is none.
load("INSERT INTO im_group_outbox (source_id, group_id, type, name, status) VALUES ('endless', repeat('y', 200), 'Public', 'endless', 'imported');
INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('endless', 'b8')");
poll_until { value_of($node, "SELECT status FROM im_member_outbox WHERE group_source_id = 'endless'") eq 'invalid' } 'the member of a group whose id is none';
pass('... and so are rows of a group that has such an id');
is_deeply([ $service->doubles ], [], 'nothing was done twice');

done_testing();
