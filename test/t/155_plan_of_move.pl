# im_import_plan() of a whole move: a line for each kind of rows, and what would
# be refused, wait or not be seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 2, members_per_call => 10, unread_rate_limit => 1 });
$node->safe_psql('postgres', 'SELECT im_import_pause()');

sub plan_lines
{
	return { map { $_->{item} => $_ } rows($node, 'SELECT * FROM im_import_plan()') };
}

$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time) VALUES ('r1', 'Public', 'a', 'u1', '2020-01-01')");
is_deeply([ grep { /move|members|messages|unread|accounts|users/ } keys %{ plan_lines() } ], [], 'with groups alone there is no word of the rest');

$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_account_outbox (user_id) SELECT 'u' || u FROM generate_series(1, 250) u;
INSERT INTO im_group_outbox (source_id, type, name, owner_account) VALUES ('r2', 'ChatRoom', 'b', 'u1');
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'r' || r, 'u' || u FROM generate_series(1, 3) r, generate_series(1, 21) u;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT m, 'r' || (1 + m % 3), 'x' || m % 2, now() - make_interval(days => m, hours => 1), 'm' FROM generate_series(1, 100) m;
INSERT INTO im_account_outbox (user_id, nick) VALUES ('U7', 'n'), ('long', repeat('n', 501));
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time) VALUES ('r4', 'Private', 'c', 'x2', '2020-01-01');
INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time) VALUES ('r4', 'u1', 'Admin', '2021-01-01'), ('r4', 'u2', NULL, '2021-01-01');
INSERT INTO im_member_outbox (group_source_id, member_account, join_time) VALUES ('r4', 'u3', '2019-01-01'), ('r2', 'u30', '2021-01-01');
INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('u1', 'x3');
INSERT INTO im_dialog_outbox (from_account, to_account, send_time, text) VALUES ('u1', 'x4', '2021-01-01', 't');
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('r1', 'u2', 3), ('r2', 'u2', 1);
SQL
my $plan = plan_lines();
my %expected = (
	'accounts' => [ '252', qr/^3 calls at 2 a second: 00:00:02$/ ],
	'members' => [ '67', qr/^10 calls at 2 a second: 00:00:05$/ ],
	'friendships' => [ '1', qr/^1 call at 2 a second: 00:00:01$/ ],
	'one-to-one messages' => [ '1', qr/^1 call at 2 a second/ ],
	'one-to-one messages older than 7, 30, 90 days' => [ '1 / 1 / 1', qr/plan/ ],
	'messages' => [ '100', qr/^15 calls at 2 a second: 00:00:08$/ ],
	'unread counts' => [ '2', qr/^2 calls at 1 a second: 00:00:02$/ ],
	'time of the whole move' => [ '00:00:10', qr/slowest command/ ],
	'members of rooms that are not in the outbox' => [ '21', qr/'r3'$/ ],
	'calls of the largest room' => [ '5', qr/^one after the other, 7 messages a call: at least 00:00:01 for 'r2', at 100\.0 ms a call, which is assumed$/ ],
	'messages from before their group' => [ '34', qr/create_time.*'r2'$/ ],
	'messages of rooms that are not in the outbox' => [ '33', qr/'r3'$/ ],
	'messages older than 7, 30, 90 days' => [ '94 / 71 / 11', qr/plan/ ],
	'groups without create_time that have messages' => [ '1', qr/'r2'$/ ],
	'members without join_time' => [ '21', qr/Public/ ],
	'members who joined before their group' => [ '2', qr/'u3' of 'r2'$/ ],
	'users without account row' => [ '5', qr/'x0'$/ ],
	'accounts that cannot go' => [ '1', qr/'long'$/ ],
	'UserIDs that differ only by case' => [ '1', qr/'U7' and 'u7'$/ ],
	'Admins in Private groups' => [ '1', qr/role NULL/ ],
	'unread counts in ChatRooms' => [ '1', qr/no effect/ ]);
foreach my $item (sort keys %expected)
{
	is($plan->{$item}{value}, $expected{$item}[0], $item);
	like($plan->{$item}{warning}, $expected{$item}[1], "$item: why");
}

# When all is done is said of all kinds, not of the groups alone.
is(value_of($node, "SELECT value = to_char(now() + interval '10 s', 'YYYY-MM-DD HH24:MI:SS TZ') FROM im_import_plan() WHERE item = 'finished at'"), 't', 'finished at: after the slowest kind');

# The option of the command counts, not that of all.
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD group_rate_limit '0.5')");
like(plan_lines()->{'rate'}{value}, qr/^0\.5 calls/, 'group_rate_limit');
is(plan_lines()->{'time of the whole move'}{value}, '00:00:10', 'three groups at one in two seconds are not the slowest');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET group_rate_limit '0.1')");
is(plan_lines()->{'time of the whole move'}{value}, '00:00:32', 'at one in ten seconds they are');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (DROP group_rate_limit)");

# Messages of one second, elements that cannot go.
is($plan->{'members of the largest group'}{value}, '22', 'the largest group');
ok(!exists $plan->{"largest shift of a message's time"} && !exists $plan->{'messages that cannot go'}, 'nothing is said of what is not there');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT 's' || s, 'r1', 'u1', timestamptz '2021-01-01 00:00Z' + make_interval(secs => s / 4), 'm' FROM generate_series(1, 11) s;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, body) VALUES ('body', 'r1', 'u1', '2022-01-01', '[{"MsgType": "TIMSoundElem", "MsgContent": {}}]');
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES ('empty', 'u1', 'u2', '2022-01-01', '');
SQL
$plan = plan_lines();
# Seconds 0 0 0 1 1 1 1 2 2 2 2 become 0 to 10.
is($plan->{"largest shift of a message's time"}{value}, '00:00:08', 'the last of eleven moves by eight seconds');
unlike($plan->{"largest shift of a message's time"}{warning}, qr/invalid/, 'which is allowed');
is($plan->{'messages that cannot go'}{value}, '1', 'an element that a group does not take');
is($plan->{'one-to-one messages that cannot go'}{value}, '1', 'and an empty text');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD max_time_shift '7s')");
like(plan_lines()->{"largest shift of a message's time"}{warning}, qr/1 would move by more than max_time_shift and become invalid/, 'one of them moves too far');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD equal_seconds 'keep')");
ok(!exists plan_lines()->{"largest shift of a message's time"}, 'where equal seconds are kept nothing moves');

# Rows that cannot go are those of which im_row_problems() says something, and
# nobody's time makes the plan fail.
$node->safe_psql('postgres', <<'SQL');
DELETE FROM im_message_outbox;
DELETE FROM im_dialog_outbox;
INSERT INTO im_message_outbox (source_id, group_source_id, group_id, from_account, send_time, text) VALUES
	('good', 'r1', NULL, 'u1', '2022-01-01', 'm'), ('both', 'r1', 'g', 'u1', '2022-01-01', 'm'), ('none', NULL, NULL, 'u1', '2022-01-01', 'm'),
	('long', 'r1', NULL, repeat('u', 33), '2022-01-01', 'm'), ('nobody', 'r1', NULL, NULL, '2022-01-01', 'm'), ('never', 'r1', NULL, 'u1', NULL, 'm'),
	('forever', 'r1', NULL, 'u1', 'infinity', 'm'), ('future', 'r1', NULL, 'u1', '3000-01-01', 'm'), ('big', 'r1', NULL, 'u1', '2022-01-01', repeat('m', 13000)),
	('early', 'r1', NULL, 'u1', '2019-01-01', 'm'), ('nearly', 'r1', NULL, 'u1', timestamptz '2020-01-01' - interval '6 s', 'm');
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES
	('good', 'u1', 'u2', '2022-01-01', 't'), ('nobody', 'u1', '', '2022-01-01', 't'), ('never', 'u1', 'u2', NULL, 't');
INSERT INTO im_friend_outbox (user_id, friend_id, remark) VALUES ('u1', 'u2', NULL), ('u1', '', NULL), ('u1', 'u3', repeat('r', 97)), (repeat('u', 33), 'u1', NULL);
INSERT INTO im_member_outbox (group_source_id, group_id, member_account, role) VALUES ('r1', NULL, 'u50', 'King'), ('r1', 'g', 'u51', NULL), ('r1', NULL, repeat('u', 33), NULL);
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('r1', 'u9', -1), ('r1', NULL, 1);
SQL
$plan = plan_lines();
my %cannot = ('messages' => 'message', 'one-to-one messages' => 'dialog', 'friendships' => 'friend', 'members' => 'member', 'unread counts' => 'unread');
foreach my $noun (sort keys %cannot)
{
	my $n = value_of($node, "SELECT count(*) FROM im_$cannot{$noun}_outbox o WHERE cardinality(im_row_problems('$cannot{$noun}', o)) > 0");
	cmp_ok($n, '>', 1, "$noun: some cannot go");
	is($plan->{"$noun that cannot go"}{value}, $n, "$noun: the plan counts each of them");
}
is($plan->{'messages from before their group'}{value}, '1', 'a message that would move too far, to after its group');
is(plan_lines()->{'calls of the largest room'}{value}, '2', 'ten messages of one room');

# One large room may take longer than all calls at their rate.
is(value_of($node, "SELECT count(*) FROM pg_stat_im_import WHERE command = 'import_group_msg'"), 1, 'the latency of the messages is known by this name');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD message_rate_limit '200')");
$node->safe_psql('postgres', "INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) SELECT 'large' || m, 'r1', 'u1', timestamptz '2023-01-01' + m * interval '1 min', 'm' FROM generate_series(1, 1400) m");
$plan = plan_lines();
like($plan->{'calls of the largest room'}{warning}, qr/at least 00:00:21 for 'r1'/, 'a call after the other');
is($plan->{'time of the whole move'}{value}, '00:00:23', '... which is longer than all commands at their rates');

done_testing();
