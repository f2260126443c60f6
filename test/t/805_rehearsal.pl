# doc/rehearsal.md as it stands: a copy of the prepared database goes through
# the whole import against a stand-in with quotas; the original sends nothing,
# and nothing changes in it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImDocs;
use ImFence;

my $real = ImService->new(name => 'real');
my $stand_in = ImService->new(name => 'rehearsal',
	secret => '2' x 64,
	options => [ '--rate', 200, '--daily-quota', 250 ]);
my $node = start_cluster(conf => 'log_min_messages = debug1');
my @replace = (
	'https://localhost:8443' => $stand_in->https_endpoint,
	'/var/lib/postgresql/rehearsal/ca.pem' => $stand_in->ca_file,
	'/var/lib/postgresql/rehearsal.key' => $stand_in->{key_file},
	'ADD endpoint' => 'SET endpoint');    # the test's original has one

my @blocks = sql_blocks('doc/rehearsal.md');

# Runs the next block, which must be of this title.
sub next_block
{
	my ($title) = @_;
	my $block = shift @blocks // {};

	is($block->{title}, $title, "next is: $title") or BAIL_OUT('the document and the test differ');
	return run_block($node, $block, @replace);
}

$node->safe_psql('postgres', 'CREATE DATABASE chat');
connect_app($node, $real, db => 'chat');
$node->safe_psql('chat', <<'SQL');
CREATE SCHEMA legacy;
CREATE TABLE legacy.rooms (id integer, title text, topic text, owner text, created timestamptz);
INSERT INTO legacy.rooms
SELECT i, CASE WHEN i % 50 = 0 THEN repeat('room ', 7) ELSE 'room ' || i END, repeat('topic ', i), 'user' || i,
	timestamptz '2020-01-01 00:00Z' + make_interval(days => i)
FROM generate_series(1, 400) i;
CREATE TABLE legacy.users (login text, display_name text, avatar text);
INSERT INTO legacy.users SELECT 'user' || i, 'User ' || i, NULL FROM generate_series(1, 400) i;
CREATE TABLE legacy.members (room_id integer, login text, moderator boolean, joined timestamptz, unread integer);
INSERT INTO legacy.members SELECT i, 'user' || 401 - i, false, timestamptz '2022-01-01 00:00Z', i % 2 FROM generate_series(1, 400) i;
CREATE TABLE legacy.posts (id integer, room_id integer, author text, written timestamptz, body text);
INSERT INTO legacy.posts SELECT i, i, 'user' || 401 - i, timestamptz '2022-01-02 00:00Z', 'post ' || i FROM generate_series(1, 400) i;
SQL

my $out = next_block('in chat');
like($out, qr/paused\s+\| paused by .*prepared.*\|\s+1800$/m, 'the original is paused');
my $before = content($node, 'chat');

worker_gone($node, 'chat');
next_block('in postgres');
$out = next_block('in rehearsal');
like($out, qr/fenced/, 'the copy is fenced');
is($stand_in->stats->{journaled}, 0, 'and has called nobody');

$out = next_block('in rehearsal');
like($out, qr/rows_taken_over\s+-+\s+1800\s/, 'adopted');

my $status = wait_state($node, 'quota', 'rehearsal');
$out = next_block('in rehearsal');
like($out, qr/quota/, 'the day\'s groups are used up, and the status says so');
is($stand_in->stats->{created}, 250, 'as many groups as the quota allows');
cmp_ok(most_granted($node), '<=', 200, "never more than 200 calls in a second (the service saw @{[ $stand_in->stats->{widest_second} ]})");

$stand_in->set(daily_quota => 1000000);
next_block('in rehearsal, once the quota is lifted');
$status = status_of($node, 'rehearsal');
is_deeply([ @$status{qw(pending imported invalid total)} ], [ 16, 1776, 8, 1800 ], 'all were sent, 8 are invalid, and their members and messages wait');

is_deeply([ rows($node, "SELECT id, group_id, attempts, error_code, maybe_sent_at FROM im_group_outbox WHERE status = 'invalid' AND error_info IS NULL", 'rehearsal') ],
	[], 'every invalid row says why');
$out = next_block('in rehearsal, at the end');
like($out, qr/name is 35 bytes/, 'the errors show what is wrong');
like($out, qr/matched\s+\|[^|]*\|\s+392 /, 'all groups match');
next_block('in rehearsal, the repair');
is($stand_in->stats->{groups}, 400, 'the stand-in has every group');
accounted($node, $stand_in, db => 'rehearsal');
cmp_ok(most_granted($node), '<=', 200, "never more than 200 calls in a second (the service saw @{[ $stand_in->stats->{widest_second} ]})");

is(content($node, 'chat'), $before, 'nothing has changed in the original');
is($real->stats->{journaled}, 0, 'which has called nobody');

worker_gone($node, 'rehearsal');
next_block('in postgres, at the end');
$out = next_block('in chat, at the end');
like($out, qr/paused\s+\|.*\|\s+1800 \|\s+0 \|\s+0$/m, 'the original is still paused, and nothing was sent');

# A hundred rooms in the real app, taken back; then the real import.
$out = next_block('in chat, a hundred rooms');
like($out, qr/room-1$/m, 'a hundred rooms are looked at');
is(scalar($real->ledger), 100, 'and no more');
$out = next_block('in chat, taken back');
like($out, qr/\(0 rows\).*to_be_sent_again\s+-+\s+350\s/s, 'all of them are taken back');
is(scalar($real->ledger), 0, 'the app is as empty as before');
next_block('in chat, go');
is(scalar @blocks, 0, 'that is all of the document');
is(status_of($node, 'chat')->{imported}, 1800, 'then the original imports all of it');
accounted($node, $real, db => 'chat');

done_testing();
