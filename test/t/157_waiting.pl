# Rooms that wait for their group cost nothing as long as nothing changes: a
# worker that comes back does not look them over again. What changes is seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1000 });

# How often open rows of members were looked for by their rooms, once the worker
# has left and has told what it did.
sub looks
{
	poll_until { !defined status_of($node)->{worker_pid} } 'the worker to leave';
	poll_until { value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'im_import worker'") == 0 } 'its end';
	return value_of($node, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'im_member_outbox_open'");
}

sub starts { return value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import') }

sub waiting { return value_of($node, "SELECT waiting FROM im_import_progress WHERE kind = 'member'") }

# A message that is due later brings the worker back, and nobody rings for it.
# Later, if the worker has not left by then.
sub come_back
{
	my $open = "SELECT count(*) FROM im_dialog_outbox WHERE status = 'pending'";

	for (my $after = 6; $after <= 64; $after *= 2)
	{
		$node->safe_psql('postgres', "INSERT INTO im_dialog_outbox (from_account, to_account, send_time, text, due_at) VALUES ('a', 'b', '2020-01-01', 'text', now() + '$after s')");
		my ($looks, $starts, $waits) = (looks(), starts(), value_of($node, $open));
		poll_until { value_of($node, $open) == 0 } 'the message';
		my $again = looks();

		return ($looks, $again) if $waits && starts() > $starts;
	}
	die "the worker did not leave before a row was due\n";
}

$node->safe_psql('postgres', "INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'nowhere ' || i, 'm' FROM generate_series(1, 500) i");
poll_until { waiting() eq '500' } 'the rows that wait to be told';

my ($looks, $again) = come_back();
cmp_ok($looks, '>=', 500, "all rooms were looked at, by $looks scans");
is($again, $looks, 'another worker does not look at rooms that it need not look at');
is(waiting(), 500, 'and knows what waits all the same');

# A room whose row is due later is not known to the next worker: it looks.
$node->safe_psql('postgres', "INSERT INTO im_member_outbox (group_source_id, member_account, due_at) VALUES ('room1', 'm', now() + '6 s')");
insert_groups($node, 1, 'room');
poll_until { value_of($node, "SELECT status FROM im_member_outbox WHERE group_source_id = 'room1'") eq 'imported' } 'a row that is due later';
is(waiting(), 500, 'the others wait on');

# The last one's group comes.
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name) VALUES ('nowhere 7', 'Public', 'late')");
poll_until { value_of($node, "SELECT status FROM im_member_outbox WHERE group_source_id = 'nowhere 7'") eq 'imported' } 'a row whose group comes';
poll_until { waiting() == 499 } 'one row less to wait';
$node->safe_psql('postgres', "DELETE FROM im_member_outbox WHERE group_source_id = 'nowhere 8'");
poll_until { waiting() == 498 } 'a row that was deleted';
pass('changes are noticed');

# After a crash nobody knows it before the worker has looked, which it does not while paused.
$node->safe_psql('postgres', 'SELECT im_import_pause()');
$node->stop('immediate');
$node->start;
is(waiting(), '', 'after a crash it is not known');
is(value_of($node, "SELECT string_agg(kind, ' ') FROM im_import_progress WHERE waiting = 0"), 'account friend dialog group message unread', '... and 0 where no row is pending');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
poll_until { waiting() eq '498' } 'a look after the crash';
pass('... until the worker has looked');

# Among many rooms that wait, one whose group is there need not wait for a look at all
# of them: that it is over shows in the number of rows that wait.
insert_groups($node, 1, 'zoo');
$node->safe_psql('postgres', "INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'nowhere ' || i, 'm' FROM generate_series(1001, 101000) i");
poll_until { waiting() eq '100498' } 'the many rows to be told';
foreach my $kind ('member_account) VALUES (%s, %s)', 'member_account, unread_msg_num) VALUES (%s, %s, 0)')
{
	my $outbox = $kind =~ /unread/ ? 'im_unread_outbox' : 'im_member_outbox';
	my $before = waiting();
	my $seen = '';

	$node->safe_psql('postgres', 'BEGIN; INSERT INTO im_member_outbox (group_source_id, member_account) VALUES ' .
		"('nowhere $outbox', 'm'); INSERT INTO $outbox (group_source_id, " . sprintf($kind, "'zoo1'", "'$outbox'") . '; COMMIT');
	poll_until {
		$seen = value_of($node, "SELECT o.status || ' ' || p.waiting FROM $outbox o, im_import_progress p"
			. " WHERE o.group_source_id = 'zoo1' AND o.member_account = '$outbox' AND p.kind = 'member'");
		$seen =~ /imported/
	} "the row of $outbox";
	is($seen, "imported $before", "a new row of $outbox goes before the look at all rooms is over");
	poll_until { waiting() == $before + 1 } 'the end of that look';
}

$node->stop;
done_testing();
