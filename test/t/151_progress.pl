# What is shown of a whole move while it goes on: every kind, every room, and
# what each kind of row needs a person to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1500, account_rate_limit => 700, members_per_call => 15 });

sub progress
{
	my ($columns) = @_;
	return join '; ', map { join ' ', map { $_ // '-' } @$_{ split /, /, $columns } }
	  rows($node, "SELECT $columns FROM im_import_progress");
}

is(progress('kind'), 'account; friend; dialog; group; member; message; unread', 'a row for each kind, in the order of the move');
is(progress('kind, total, percent_done'), join('; ', map { "$_ 0 -" } qw(account friend dialog group member message unread)),
	'an empty outbox is not done by some per cent');
is(progress('rate_limit, rows_per_call'), '700 100; 1500 1000; 1500 1; 1500 1; 1500 15; 1500 7; 1500 1',
	'rate and rows a call are those of the options');

$node->safe_psql('postgres', 'SELECT im_import_pause()');
$service->set(accounts => 'listed', fail => { account => { u9 => 70399 } });
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_account_outbox (user_id) SELECT 'u' || u FROM generate_series(1, 40) u;
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time)
SELECT 'r' || r, 'Public', CASE r WHEN 4 THEN repeat('x', 31) ELSE 'room ' || r END, 'u1', '2020-01-01 00:00Z' FROM generate_series(1, 4) r;
INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'r' || r, 'u' || u FROM generate_series(1, 4) r, generate_series(1, 10) u;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT r || '/' || m, 'r' || r, 'u1', timestamptz '2020-01-02 00:00Z' + make_interval(secs => m), 'm' FROM generate_series(1, 2) r, generate_series(1, 20) m;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time) VALUES ('empty', 'r3', 'u1', '2020-01-02 00:00Z');
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('r1', 'u2', 3), ('nowhere', 'u2', 1);
SQL
is(progress('kind, total, pending, imported, percent_done'),
	'account 40 40 0 0; friend 0 0 0 -; dialog 0 0 0 -; group 4 4 0 0; member 40 40 0 0; message 41 41 0 0; unread 2 2 0 0',
	'what is loaded is counted at once');
$node->safe_psql('postgres', "SELECT im_import_resume(); CALL im_import_wait(raise_on_failure => false)");

my $end = 'account 40 0 0 0 39 1 0 0 0 100; friend 0 0 0 0 0 0 0 0 0 -; dialog 0 0 0 0 0 0 0 0 0 -; '
  . 'group 4 0 0 0 3 0 1 0 0 100; member 40 10 10 0 27 3 0 0 0 75; message 41 0 0 0 40 0 1 0 0 100; unread 2 1 1 0 1 0 0 0 0 50';
my $columns = 'kind, total, pending, waiting, sending, imported, failed, invalid, in_doubt, undone, percent_done';
is(progress($columns), $end, 'every status of every kind, and who waits for a group');
is(progress('eta'), join('; ', ('-') x 7), 'nothing moves any more, and so there is no end to be told');
poll_until { progress('rows_per_second') eq join '; ', ('0') x 7 } 'no rate while nothing moves';

# Each room for itself.
sub room
{
	my ($room) = @_;
	return value_of($node, "SELECT concat_ws(' ', status, stage, members_imported, members_open, messages_imported, messages_open, unread_imported, unread_open, "
		  . "to_char(newest_message AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) FROM im_import_rooms WHERE source_id = '$room'");
}
is(room('r1'), 'imported done 9 0 20 0 1 0 2020-01-02 00:00:20', 'a room that is done');
is(room('r3'), 'imported done 9 0 0 0 0 0', 'one without messages');
is(room('r4'), 'invalid the group needs a person, see im_import_failures 0 10 0 0 0 0', 'one whose group needs a person');
is(value_of($node, 'SELECT string_agg(source_id, $$ $$) FROM (SELECT source_id FROM im_import_rooms ORDER BY id LIMIT 3) f'), 'r1 r2 r3', 'rooms in order');
$node->safe_psql('postgres', "DELETE FROM im_unread_outbox WHERE group_source_id = 'r1'; INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('r1', 'u2', 4), ('r1', 'u3', 1)");
poll_until { value_of($node, "SELECT count(*) FROM im_unread_outbox WHERE group_source_id = 'r1' AND status = 'imported'") == 2 } 'new numbers';
is(room('r1'), 'imported done 9 0 20 0 2 0 2020-01-02 00:00:20', 'unread counts that were deleted and inserted anew count once');
$node->safe_psql('postgres', "DELETE FROM im_unread_outbox WHERE member_account = 'u3'");
is(room('r1'), 'imported done 9 0 20 0 1 0 2020-01-02 00:00:20', 'and one that was deleted does not');
foreach my $query ("WHERE source_id = 'r1'", 'ORDER BY id LIMIT 3')
{
	my $plan = value_of($node, "SET enable_seqscan = off; SET enable_bitmapscan = off; EXPLAIN (COSTS OFF) SELECT * FROM im_import_rooms $query");
	like($plan, qr/Index (?:Only )?Scan using im_${_}_outbox_open .*\n\s+Index Cond: .*group_source_id IS NOT NULL/, "$query: open rows ($_) are found by their room")
	  foreach qw(member message unread);
	like($plan, qr/Index Scan using im_unread_outbox_done .*\n\s+Index Cond: .*group_source_id IS NOT NULL/, "$query: unread counts that are set, too");
}

# What needs a person, of every kind.
is(value_of($node, "SELECT string_agg(concat_ws(' ', kind, error_code, rows, failed, invalid, in_doubt), '; ' ORDER BY kind) FROM im_import_errors"),
	'account 70399 1 1 0 0; group 10004 1 0 1 0; member -12 3 3 0 0; message 10004 1 0 1 0', 'im_import_errors: each kind for itself');
is(value_of($node, "SELECT string_agg(concat_ws(' ', kind, rows, sample_source_id), '; ' ORDER BY kind) FROM im_import_problems"),
	'group 1 r4; message 1 empty', 'im_import_problems: each kind for itself');
is(value_of($node, "SELECT string_agg(concat_ws(' ', kind, source_id, group_source_id, name), '; ' ORDER BY kind, id) FROM im_import_failures WHERE kind <> 'group'"),
	'account u9; member r1 u9; member r2 u9; member r3 u9; message empty r3 u1', 'im_import_failures names rows of every kind');
is(value_of($node, "SELECT count(*) FROM im_import_failures WHERE advice IS NULL OR advice ~ 'im_import_resolve|owner_account'"), 0, 'each with an advice of its kind');

# A group's row stays as long as rows need it.
$node->safe_psql('postgres', "SELECT im_import_pause(); INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('r2', 'u11')");
$node->safe_psql('postgres', "CALL im_import_forget(now() + '1 day')");
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY id) FROM im_group_outbox"), 'r2 r4', 'im_import_forget() leaves groups whose rows are open');
$node->safe_psql('postgres', "DELETE FROM im_member_outbox WHERE member_account = 'u11'; SELECT im_import_resume()");
$node->safe_psql('postgres', "CALL im_import_forget(now() + '1 day')");
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY id) FROM im_group_outbox"), 'r4', '... and no longer');

# A room that is repaired lets its rows go.
$node->safe_psql('postgres', "UPDATE im_group_outbox SET name = 'room 4', status = 'pending' WHERE source_id = 'r4'");
poll_until { progress($columns) =~ /group 1 0 0 0 1 0 0 0 0 100; member 40 0 0 0 36 4 0/ } 'what waited for it is not waiting any more';

# Ids of one's own are known before the import.
$node->safe_psql('postgres', 'SELECT im_import_pause()');
poll_until { status_of($node)->{state} eq 'paused' } 'the worker to know of the pause';
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('m1', 'own-m1', 'Public', 'x'), ('m2', NULL, 'Public', 'x')");
is(value_of($node, "SELECT string_agg(concat_ws(' ', source_id, group_id, status), ', ') FROM im_import_mapping WHERE source_id IN ('m1', 'm2')"),
	'm1 own-m1 pending', 'the mapping before the import');

done_testing();
