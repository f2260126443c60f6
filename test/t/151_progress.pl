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

# A room that is repaired lets its rows go.
$node->safe_psql('postgres', "UPDATE im_group_outbox SET name = 'room 4', status = 'pending' WHERE source_id = 'r4'");
poll_until { progress($columns) =~ /group 4 0 0 0 4 0 0 0 0 100; member 40 0 0 0 36 4 0/ } 'what waited for it is not waiting any more';

done_testing();
