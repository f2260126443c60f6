# Undo in states that people bring about without meaning to: while the import is
# stopped, and while finished rows are cleared away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImKinds;

my ($node, $service) = set_up(options => { rate_limit => 1000, account_rate_limit => 1000 });
my $wrong_key = $service->write_key('wrong.key', 'f' x 64);

sub sql { return $node->safe_psql('postgres', join '', @_) }
sub use_key { return sql("ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '$_[0]')") }
sub open_rows { return open_of_kinds($node) + value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'undo'") }
sub group_status { return value_of($node, "SELECT string_agg(status, ' ' ORDER BY id) FROM im_group_outbox WHERE source_id LIKE '$_[0]%'") }

# Of the kinds that belong to groups, the statuses in rooms of a word.
sub room_statuses
{
	my ($word) = @_;
	return join '; ', map { "$_ " . value_of($node, "SELECT coalesce(string_agg(status || ' ' || n, ', '), 'none') FROM (SELECT status, count(*) AS n FROM im_${_}_outbox WHERE group_source_id LIKE '$word%' GROUP BY 1) s") } qw(member message unread);
}

sub id_of { return value_of($node, "SELECT group_id FROM im_group_outbox WHERE source_id = '$_[0]'") }

# ---------------------------------------------------------------------------
# While the service refuses every call

sql(insert_kinds($node, undef, word => 'stop', n => 2));
wait_kinds($node);
my $group = id_of('stop-1');
use_key($wrong_key);
sql(insert_kind('group', word => 'more'));
wait_state($node, 'stopped');
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'stop-1'");
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: stopped/, 'stopped: a wait for an undo says so');
is(group_status('stop'), 'undo imported', '... and the group waits to be undone');
ok(defined $service->group($group), '... and is there');
use_key($service->{key_file});
poll_until { open_rows() == 0 } 'an undo after the stop';
is(group_status('stop'), 'undone imported', 'after the cure it is undone');
is($service->group($group), undef, '... and gone');
is(room_statuses('stop'), 'member undone 2; message undone 2; unread undone 2', '... with all that belonged to it');
is(group_status('more'), 'imported', 'what waited with it is imported');

# ---------------------------------------------------------------------------
# While finished rows are cleared away: those of a group that is being undone stay,
# since they tell which messages in it are ours

my $undone = 'member undone 1; message undone 1; unread undone 1';
sql(insert_kinds($node, undef, word => 'clear'));
wait_kinds($node);
$group = id_of('clear-1');
$service->fault({ do => 'hold', apply => \0, times => 1, match => { command => 'destroy_group' } });
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'clear-1'");
$service->wait_for(held => 1);
sql("CALL im_import_forget(now() + '1 day')");
$service->release;
poll_until { open_rows() == 0 } 'an undo beside im_import_forget()';
is(group_status('clear') . '; ' . room_statuses('clear'), "undone; $undone", 'im_import_forget() while a group is disbanded: undone, with all that belongs to it');
is($service->group($group), undef, '... and gone');

# Before the worker has looked at it.
sql(insert_kinds($node, undef, word => 'late'));
wait_kinds($node);
$group = id_of('late-1');
sql("SELECT im_import_pause(); UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'late-1'");
sql("CALL im_import_forget(now() + '1 day')");
sql('SELECT im_import_resume()');
poll_until { open_rows() == 0 } 'an undo after im_import_forget()';
is(group_status('late') . '; ' . room_statuses('late'), "undone; $undone", 'im_import_forget() before the undo is claimed: the same');
is($service->group($group), undef, '... and gone');
counts_of_kinds($node, undef, 'the counts are right');

# ---------------------------------------------------------------------------
# Paused: an order is spent on what is to be undone, until that is at an end, however
# often it is put off; nothing new goes in its stead

sql(insert_kinds($node, undef, word => 'order', n => 12));
wait_kinds($node);
sql('SELECT im_import_pause()');
sql(insert_kind('group', word => 'new', n => 12));
sql("UPDATE im_group_outbox SET status = 'undo' WHERE source_id LIKE 'order-%'");
$service->fault({ do => 'code', code => 60011, times => 3, match => { command => 'destroy_group', every => 3 } });
$service->fault({ do => 'close_after', times => 2, match => { command => 'destroy_group', every => 4 } });
sql('CALL im_import_drain(10)');
is(group_status('order'), join(' ', ('undone') x 10, ('undo') x 2), 'an order of ten: ten are undone, though some calls came too fast and some answers were lost');
is(group_status('new'), join(' ', ('pending') x 12), '... and nothing new has gone');
$service->clear;
sql('CALL im_import_drain(3)');
is(group_status('order'), join(' ', ('undone') x 12), 'an order of more than there are: all are undone');
is(group_status('new'), join(' ', 'imported', ('pending') x 11), '... and what is left of it goes to what is new');
sql('SELECT im_import_resume()');
poll_until { open_rows() == 0 } 'the rest';

done_testing();
