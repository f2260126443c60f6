# Every SQL statement of doc/runbook.md, in its order, on a migration with bad
# names and missing owners, to its end: everything imported and verified.  Run
# by the operator of doc/privileges.md, but for what the page says is not his.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use PostgreSQL::Test::Utils;

use ImTest;
use ImDocs;

my $service = ImService->new;
my $node = start_cluster();
my @replace = ('/etc/postgresql/im.key' => $service->{key_file});

$node->safe_psql('postgres', 'CREATE DATABASE chat');
connect_app($node, $service, db => 'chat');
$node->safe_psql('chat', <<'SQL');
CREATE SCHEMA legacy;
CREATE TABLE legacy.rooms (id integer, title text, topic text, owner text, created timestamptz);
INSERT INTO legacy.rooms
SELECT i, CASE WHEN i % 50 = 0 THEN repeat('room ', 7) ELSE 'room ' || i END, repeat('topic ', i),
	CASE WHEN i % 40 = 0 THEN 'ghost' ELSE 'user' || i END, timestamptz '2020-01-01 00:00Z' + make_interval(days => i)
FROM generate_series(1, 300) i;
CREATE TABLE legacy.users (login text, display_name text, avatar text);
INSERT INTO legacy.users SELECT 'user' || i, CASE WHEN i % 150 = 0 THEN repeat('name ', 101) ELSE 'User ' || i END, NULL FROM generate_series(1, 300) i;
CREATE TABLE legacy.members (room_id integer, login text, moderator boolean, joined timestamptz, unread integer);
INSERT INTO legacy.members SELECT r, 'user' || 1 + (r + u) % 300, u = 1, timestamptz '2021-01-01 00:00Z', u - 1 FROM generate_series(1, 300) r, generate_series(1, 2) u;
CREATE TABLE legacy.posts (id integer, room_id integer, author text, written timestamptz, body text);
INSERT INTO legacy.posts SELECT 10 * r + m, r, 'user' || 1 + (r + 1) % 300, timestamptz '2021-02-01 00:00Z' + make_interval(secs => m), 'post ' || m
FROM generate_series(1, 300) r, generate_series(1, 3) m;
CREATE TABLE legacy.friends (one text, other text);
INSERT INTO legacy.friends SELECT 'user' || i, 'user' || i + 1 FROM generate_series(1, 20) i;
CREATE TABLE legacy.direct (id integer, sender text, receiver text, written timestamptz, body text);
INSERT INTO legacy.direct SELECT i, 'user' || i, 'user' || i + 1, timestamptz '2021-02-01 00:00Z', 'direct ' || i FROM generate_series(1, 50) i;
SQL
my $privileges = slurp_file("$FindBin::RealBin/../../doc/privileges.md");
$node->safe_psql('chat', $_) foreach grep { /CREATE ROLE chat_(?:backend|operator);/ } $privileges =~ /^```sql\n(.*?)^```/msg;
$node->safe_psql('chat', <<'SQL');
GRANT chat_backend TO chat_operator;
GRANT USAGE, CREATE ON SCHEMA legacy TO chat_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA legacy TO chat_operator;
SQL
my %not_the_operators = map { ($_ => 1) } ('in chat, options', 'in chat, a budget', 'in chat, adopt');
$service->fault({ do => 'code', code => 10019, match => { command => 'import_group', owner => 'ghost' } });

# What is done before a block, and what its output must be.
my %before = (
	'in chat, what failed' => sub {
		# all but what waits for the twelve groups that did not come
		poll_until { value_of($node, 'SELECT sum(pending + sending) = 72 AND sum(waiting) = 72 FROM im_import_progress', 'chat') eq 't' } 'what can go'
	},
	'in chat, the repair' => sub { $service->clear },
	'in chat, rows of one id' => sub {
		insert_groups($node, 1, 'again', 'chat', group_id => "'room-17'");
		wait_settled($node, 'chat');
		$node->safe_psql('chat', "UPDATE im_group_outbox SET source_id = 'again' WHERE name = 'again1'");
	},
	'in chat, rows in doubt' => sub { $node->safe_psql('chat', "DELETE FROM im_group_outbox WHERE source_id = 'again'") },
	'in chat, adopt' => sub { wait_state($node, 'idle', 'chat') });
my %output = (
	'in chat, problems of all rows' => qr/account \| nick is over 500 bytes.*group\s+\| name is over 30 bytes/s,
	'in chat, the outboxes are filled while paused' => qr/^\s*refused groups\s+\| 6 /m,
	'in chat, the first hundred' => qr/^\s*imported\s+\|\s+96 .*done\s+\|\s+2 \|\s+3 \|\s+1$/ms,
	'in chat, the hundred taken back' => qr/\(0 rows\).*to_be_sent_again\s+-+\s+672\s/s,
	'in chat, steering' => qr/paused by .* the app is busy/,
	'in chat, what failed' => qr/^\s*group\s+\|\s+10019 \|\s+6 \|\s+6 \|/m,
	'in chat, kinds of problems' => qr/group\s+\| name is over 30 bytes of UTF-8\s+\|\s+6 \|.*member\s+\|\s+24\n.*message\s+\|\s+36$/ms,
	'in chat, rows of one id' => qr/\| again\s+\|\s+17 \| 17\s+\| imported\s+\| room-17$/m,
	'in chat, the repair' => qr/sent_again\s+-+\s+\d+\s/,
	'in chat, compare' => qr/matched\s+\|[^|]*\|\s+300 .*rooms_without_group\s+-+\s+0\s.*members_left_out\s+-+\s+0\s.*posts_left_out\s+-+\s+0\s.*direct_left_out\s+-+\s+0\s/s,
	'in chat, groups that no row knows' => qr/\(0 rows\)/,
	'in chat, hand over' => qr/^\s*300 \|\s+300$/m,
	'in chat, clear up' => qr/forgotten\s+-+\s+300\s.*total\s+-+\s+0\s/s,
	'in chat, workers' => qr/im_import launcher/,
	'in chat, stop' => qr/paused/);
my $blocks = 0;

foreach my $block (sql_blocks('doc/runbook.md'))
{
	my $title = $block->{title};

	(delete $before{$title} // sub { })->();
	$block->{role} = 'chat_operator' unless delete $not_the_operators{$title};
	my $out = run_block($node, $block, @replace);
	my $wanted = delete $output{$title};
	like($out, $wanted, "$title: prints what it should") if $wanted;
	$blocks++;
	next unless $title eq 'in chat, compare';
	is(value_of($node, "SELECT string_agg(kind || ' ' || imported, ', ') FROM im_import_progress WHERE total > 0", 'chat'),
		'account 300, friend 40, dialog 50, group 300, member 600, message 900, unread 300', 'everything is imported');
	accounted($node, $service, db => 'chat');
	foreach my $fact (sql_blocks('doc/history.md'))
	{
		(my $titled = $fact->{title}) =~ s/^in chat/history.md/;

		like(run_block($node, $fact), qr/900 \||moved \||^ALTER SERVER/m, "$titled: prints what it should");
	}
}
cmp_ok($blocks, '>=', 15, 'the blocks are found');
is_deeply([ sort(keys %before, keys %output, keys %not_the_operators) ], [], 'every block that is expected was there');

done_testing();
