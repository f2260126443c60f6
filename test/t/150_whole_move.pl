# A whole chat: accounts, rooms, members, messages, unread counts, loaded in the
# worst order and twice, end as exactly that in the app.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 2000, account_rate_limit => 2000 });

$service->set(accounts => 'listed', fail => { account => { u13 => 70399 } });

# What a person loads, the dependents first.
my $load = <<'SQL';
BEGIN;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT 'r' || r, 'u' || u, r FROM generate_series(1, 3) r, generate_series(1, 2) u ON CONFLICT DO NOTHING;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT r || '/' || m, 'r' || r, 'u' || (1 + m % 5), timestamptz '2020-01-02 00:00Z' + make_interval(secs => m / 3), 'message ' || m
FROM generate_series(1, 3) r, generate_series(1, 40) m ON CONFLICT DO NOTHING;
INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time)
SELECT 'r' || r, 'u' || u, CASE WHEN u = 2 THEN 'Admin' END, timestamptz '2020-01-01 12:00Z'
FROM generate_series(1, 10) r, generate_series(1, 45) u ON CONFLICT DO NOTHING;
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time)
SELECT 'r' || r, 'Public', 'room ' || r, 'u1', timestamptz '2020-01-01 00:00Z' FROM generate_series(1, 10) r ON CONFLICT DO NOTHING;
INSERT INTO im_account_outbox (user_id, nick)
SELECT 'u' || u, 'user ' || u FROM generate_series(1, 250) u ON CONFLICT DO NOTHING;
COMMIT;
SQL

my @outboxes = qw(account friend dialog group member message unread);

sub open_rows
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status IN ('pending', 'sending'))" } @outboxes);
}

sub statuses
{
	my ($kind) = @_;
	return value_of($node, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM im_${kind}_outbox GROUP BY 1) s");
}

foreach my $round (1, 2)
{
	$node->safe_psql('postgres', $load);
	poll_until { open_rows() == 0 } "all rows of round $round", 120;
	is(statuses('account'), 'failed 1, imported 249', "round $round: accounts");
	is(statuses('group'), 'imported 10', "round $round: groups");
	is(statuses('member'), 'failed 10, imported 440', "round $round: members");
	is(statuses('message'), 'imported 120', "round $round: messages");
	is(statuses('unread'), 'imported 6', "round $round: unread counts");
	# The one who is refused is sent singly, for the reason, and asked for, for his rooms.
	my %calls = %{ $service->stats->{calls} };
	is_deeply(\%calls,
		{ multiaccount_import => 3, account_import => 1, account_check => 1, import_group => 10,
			import_group_member => 10 * 3, import_group_msg => 3 * 6, set_unread_msg_num => 6 },
		"round $round: the least number of calls" . ($round == 1 ? '' : ', and none for what was there')) or diag(explain(\%calls));
}

like(value_of($node, "SELECT error_code || ': ' || error_info FROM im_account_outbox WHERE status = 'failed'"),
	qr/^70399: /, 'a refused account has the code of the single command');
like(value_of($node, "SELECT error_info FROM im_member_outbox WHERE status = 'failed' LIMIT 1"),
	qr/no account "u13"/, 'a refused member is explained');

my %room = map { $_->{source_id} => $_->{group_id} } rows($node, 'SELECT source_id, group_id FROM im_group_outbox');
my $members = $service->members($room{r4});
is(scalar(keys %$members), 44, 'the members are in the app');
is($members->{u2}{role}, 'Admin', 'with their role');
is($members->{u3}{join_time}, 1577880000, 'and the time at which they joined');

my @messages = $service->messages($room{r1});
is(scalar(@messages), 40, 'the messages are in the app');
is(join(' ', map { $_->{body}[0]{MsgContent}{Text} } @messages), join(' ', map { "message $_" } 1 .. 40), 'in their order');
my $rising = grep { $messages[$_]{time} <= $messages[ $_ - 1 ]{time} } 1 .. $#messages;
is($rising, 0, 'each with a later time than the one before');
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE msg_seq IS NULL OR sent_time IS NULL"), 0, 'number and time are written back');
is_deeply($service->unread($room{r3}), { u1 => 3, u2 => 3 }, 'the unread counts are set after the messages');
is_deeply([ $service->doubles ], [], 'nothing was done twice');

# What waits for nobody can be told from what is done.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'nowhere', 'u' || u FROM generate_series(1, 12) u;
SQL
my ($status, $out, $err) = $node->psql('postgres', "CALL im_import_wait(timeout => '60 s', raise_on_failure => false)");
is($status, 0, 'a wait ends although rows wait for a group');
like($err, qr/12 rows wait for groups that are not imported/, '... and says so');
my $state = status_of($node);
is($state->{state}, 'idle', 'the state is idle then');
like($state->{reason}, qr/^12 rows wait/, '... and says why rows are open');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name) VALUES ('nowhere', 'Public', 'here')");
poll_until { open_rows() == 0 } 'members whose group came';

done_testing();
