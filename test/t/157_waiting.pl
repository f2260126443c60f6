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

$node->stop;
done_testing();
