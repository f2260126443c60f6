# A load of accounts and of what needs them may commit at any moment, also
# between two statements of one claim; and the nightly load brings new users of
# rooms that were moved long ago.  No row goes before the accounts it needs.
#
# Needs a build with failpoints.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up();
need_failpoints($node);
$service->set(accounts => 'listed', owners => 'listed');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Rows that are not imported yet.
sub left
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status <> 'imported')" } qw(account friend dialog group member message unread));
}

# Everything that needs the users PREFIX1 and PREFIX2.
sub load_of
{
	my ($prefix) = @_;

	return <<SQL;
INSERT INTO im_account_outbox (user_id) VALUES ('${prefix}1'), ('${prefix}2');
INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('${prefix}1', '${prefix}2');
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
VALUES ('$prefix', '${prefix}1', '${prefix}2', timestamptz '2020-03-01 00:00Z', 'hello');
INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time)
VALUES ('$prefix', 'Public', '$prefix', '${prefix}1', timestamptz '2020-01-01 00:00Z');
SQL
}

# New users of a room that is there: member, message and unread count of PREFIX3.
sub delta_of
{
	my ($room, $user) = @_;

	return <<SQL;
INSERT INTO im_account_outbox (user_id) VALUES ('$user');
INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('$room', '$user');
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
VALUES ('$user', '$room', '$user', timestamptz '2020-04-01 00:00Z', 'good morning');
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num) VALUES ('$room', '$user', 1);
SQL
}

# ---------------------------------------------------------------------------
# Between the claim of accounts and that of groups

arm($node, 'after_accounts');
let_hit($node);
sql("INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'wakes the worker')");
hold_place($node);
sql('BEGIN; ' . load_of('a') . 'COMMIT');
append_to_file($node->data_dir . '/im_failpoint.go', '');
poll_until { left() == 0 } 'a load that came between two statements';
is(left(), 0, 'a load that comes between two statements of a claim is imported');
is(value_of($node, 'SELECT max(attempts) FROM im_group_outbox'), 1, '... at the first attempt');

# ---------------------------------------------------------------------------
# Ids that were committed late: lower than those of accounts that went already

my $early = $node->background_psql('postgres', on_error_stop => 0);
$early->query_safe('BEGIN; ' . load_of('early'));
sql("INSERT INTO im_account_outbox (user_id) SELECT 'later' || i FROM generate_series(1, 20) i");
poll_until { left() == 0 } 'accounts with higher ids';
$early->query_safe('COMMIT');
poll_until { left() == 0 } 'a load that was committed late';
is(value_of($node, "SELECT string_agg(status || attempts, ' ') FROM im_group_outbox WHERE source_id = 'early'"), 'imported1',
	'a load whose ids are lower than those of accounts that went before');
$early->quit;

# ---------------------------------------------------------------------------
# The first of many accounts is held by somebody: it is passed over, not forgotten

my $holder = $node->background_psql('postgres', on_error_stop => 0);
sql("SELECT im_import_pause('until somebody holds an account')");
sql('BEGIN; ' . load_of('b') . "INSERT INTO im_account_outbox (user_id) SELECT 'many' || i FROM generate_series(1, 500) i; COMMIT");
$holder->query_safe("BEGIN; SELECT FROM im_account_outbox WHERE user_id = 'b1' FOR UPDATE");
sql('SELECT im_import_resume()');
poll_until { value_of($node, "SELECT count(*) FROM im_account_outbox WHERE status = 'pending'") == 1 } 'the accounts that nobody holds';
# What looks for a moment when nothing seems to be open comes by several times meanwhile.
sql("INSERT INTO im_account_outbox (user_id) VALUES ('ring$_')") foreach 1 .. 3;
poll_until { value_of($node, "SELECT count(*) FROM im_account_outbox WHERE status = 'pending'") == 1 } 'those that come meanwhile';
is(value_of($node, "SELECT string_agg(status || attempts, ' ') FROM im_group_outbox WHERE source_id = 'b'"), 'pending0',
	'a group waits for an account that somebody holds');
$holder->query_safe('COMMIT');
poll_until { left() == 0 } 'the group, when the account is free';
is(value_of($node, 'SELECT max(attempts) FROM im_group_outbox'), 1, '... and then goes, at its first attempt');

# ---------------------------------------------------------------------------
# New users of a room that is there already, one of them held by somebody

sql('BEGIN; ' . delta_of('a', 'slow') . delta_of('a', 'quick') . 'COMMIT; ');
poll_until { left() == 0 } 'new users of an old room';
is(left(), 0, 'new users of an old room');

sql("SELECT im_import_pause('until somebody holds an account')");
sql('BEGIN; ' . delta_of('a', 'held') . delta_of('early', 'free') . 'COMMIT');
$holder->query_safe("BEGIN; SELECT FROM im_account_outbox WHERE user_id = 'held' FOR UPDATE");
sql('SELECT im_import_resume()');
poll_until { value_of($node, "SELECT status FROM im_unread_outbox WHERE member_account = 'free'") eq 'imported' } 'those whose account is not held';
is(value_of($node, "SELECT string_agg(status || attempts, ' ') FROM im_member_outbox WHERE member_account = 'held'"), 'pending0',
	'a member waits for its own account, others do not');
$holder->query_safe('COMMIT');
poll_until { left() == 0 } 'the one whose account was held';
is(value_of($node, "SELECT max(attempts) FROM im_member_outbox"), 1, '... and then goes, at its first attempt');
$holder->quit;

# ---------------------------------------------------------------------------
# The other way round, in transactions of their own: refused first, and sent again
# when a row brings the account

sub failed { return value_of($node, "SELECT string_agg(status || ' ' || coalesce(error_code, 0), ',') FROM im_$_[0]_outbox WHERE $_[1]") }

sql("INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time) VALUES
	('late', 'Public', 'late', 'late1', timestamptz '2020-01-01 00:00Z'), ('none', 'Public', 'none', NULL, timestamptz '2020-01-01 00:00Z'),
	('never', 'Public', 'never', 'nobody', timestamptz '2020-01-01 00:00Z')");
sql("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('late1', 'late2'), ('a1', 'late2')");
sql("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) VALUES ('late', 'late2', 'a1', timestamptz '2020-03-01 00:00Z', 'hello')");
sql("INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ('none', 'late1'), ('late', 'late2')");
poll_until { value_of($node, "SELECT count(*) FROM im_import_failures WHERE status = 'failed'") == 6 } 'rows without their accounts';
is(failed('group', "source_id = 'late'"), 'failed 10019', 'a group whose owner has no row yet is refused');
is(failed('member', "group_source_id = 'late'"), 'pending 0', '... and its member waits for it');
sql("INSERT INTO im_account_outbox (user_id) VALUES ('late1')");
poll_until { failed('group', "source_id = 'late'") eq 'imported 0' } 'the group whose owner came';
poll_until { failed('member', "group_source_id = 'none'") eq 'imported 0' } 'the member who came';
sql("INSERT INTO im_account_outbox (user_id) VALUES ('late2')");
poll_until { left() == 1 } 'all that needed the two';
is(failed('group', "source_id = 'never'"), 'failed 10019', 'each row goes again when its account came, and no other');
is(value_of($node, "SELECT attempts FROM im_group_outbox WHERE source_id = 'never'"), 1, '... nor is another tried again');
is(value_of($node, "SELECT failed FROM im_import_progress WHERE kind = 'friend'"), 0, 'they are counted where they are');
accounted($node, $service, name => 'every row is accounted for');
# ---------------------------------------------------------------------------
# Options and rows of one transaction, while the worker has read the options and not yet the rows

my $go = $node->data_dir . '/im_failpoint.go';
unlink $go;
arm($node, 'after_accounts');
let_hit($node);
sql("INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'wakes the worker')");
hold_place($node);
sql("BEGIN; ALTER SERVER im OPTIONS (ADD text_limits 'sdk'); INSERT INTO im_group_outbox (source_id, type, name) VALUES ('long', 'Public', repeat('n', 90)); COMMIT");
append_to_file($go, '');
poll_until { value_of($node, "SELECT status NOT IN ('pending', 'sending') FROM im_group_outbox WHERE source_id = 'long'") eq 't' } 'the group with a long name';
# The stand-in takes no such name, whatever the option says: that it was asked is enough.
is(value_of($node, "SELECT status || ' ' || attempts FROM im_group_outbox WHERE source_id = 'long'"), 'failed 1', 'a row is judged by the options that were committed with it');
sql("DELETE FROM im_group_outbox WHERE source_id = 'long'");

is_deeply([ $service->doubles ], [], 'nothing was done twice');

done_testing();
