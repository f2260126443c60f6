# What is not known is not claimed: a row whose id the service chooses goes out
# once; a row that was maybe sent fails only if the service has no such group,
# after late requests have died; and a migration that is run a second time
# finds everything imported.
#
# Needs a build with failpoints, which waits 2 seconds for late requests.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up(options => { request_timeout => '1s', max_attempts => 3, group_ids => 'assigned' });
need_failpoints($node);
my $books = new_books($service);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Rows by name.
sub rows_like
{
	my ($pattern) = @_;

	return map { ($_->{name} => $_) } rows($node, "SELECT * FROM im_group_outbox WHERE name LIKE '$pattern'");
}

# How often a name was sent.
sub sent { return scalar @{ read_books($books)->{posts}{ $_[0] } // [] } }

# One row for each of several names, in one drain, between good ones.
sub drain_rows
{
	my ($columns, @names) = @_;

	sql("SELECT im_import_pause('until all rows are there')");
	foreach my $name (@names)
	{
		sql("INSERT INTO im_group_outbox (name, $columns->[0]) VALUES ('$name', " . ($columns->[1] =~ s/NAME/$name/gr) . ')');
		sql("INSERT INTO im_group_outbox (name, group_id, type) VALUES ('good-$name', 'good-$name', 'Public')");
	}
	sql('SELECT im_import_resume()');
	wait_settled($node);
}

# ---------------------------------------------------------------------------
# An id that the service assigns: every unknown outcome is a doubt, with its
# reason, and none is sent again

my %unknown = (
	'timeout' => { do => 'delay', ms => 2500 },
	'late' => { do => 'delay_apply', ms => 300 },
	'lost' => { do => 'close_after' },
	'closed' => { do => 'close_before' },
	'reset' => { do => 'reset_before' },
	'gateway' => { do => 'http', status => 502 },
	'applied' => { do => 'http', status => 500, apply => \1 },
	'cut' => { do => 'truncate' },
	'garbage' => { do => 'bytes', body => 'OK', apply => \1 },
	'big' => { do => 'huge', apply => \1 },
	'internal' => { do => 'code', code => 10002, info => '' },
	'busy' => { do => 'code', code => 60008, info => 'busy', apply => \1 },
	'new code' => { do => 'code', code => 10999, info => '' },
	'nameless' => { do => 'no_group_id' },
	'taken' => { do => 'code', code => 10021, info => 'taken' },
	'mine' => { do => 'code', code => 10025, info => 'yours' });
$service->fault(map { { %{ $unknown{$_} }, times => 1, match => { name => $_, command => 'import_group' } } } sort keys %unknown);
drain_rows([ 'type', "'Public'" ], sort keys %unknown);
my %row = rows_like('%');
foreach my $name (sort keys %unknown)
{
	is($row{$name}{status}, 'in_doubt', "$name: in doubt");
	like($row{$name}{error_info} // '', qr/\w\w/, "$name: with a reason");
	is(sent($name), 1, "$name: sent once");
	is($row{"good-$name"}{status}, 'imported', "$name: its neighbour is imported");
}

# Nothing brings them back but a person.
$node->stop('immediate');
$node->start;
insert_groups($node, 3, 'after');
wait_settled($node);
is(sent($_), 1, "$_: still sent once after a restart") foreach sort keys %unknown;
is(value_of($node, "SELECT count(*) FROM im_import_failures WHERE status = 'in_doubt' AND advice LIKE '%im_import_resolve%'"),
	scalar(keys %unknown), 'im_import_failures says what to do with each');
like(error_of($node, "SELECT im_import_retry(status => 'in_doubt')"),
	qr/cannot be retried.*im_import_resolve/s, 'rows in doubt of a kind that is not harmless are not retried');
read_books($books);
resolve_doubts($node, $books, 'true');
wait_settled($node);
read_books($books);
foreach my $name (sort keys %unknown)
{
	is(scalar(@{ $books->{groups}{$name} // [] }), 1, "$name: resolved, and there is one group");
}
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'every row is imported');

# ---------------------------------------------------------------------------
# A taken id: whose group is it?

sql("ALTER SERVER im OPTIONS (SET group_ids 'generated')");
foreach my $code (10021, 10025)
{
	my $owner = $code == 10025 ? 'administrator' : 'owner';

	reply_of($node, "SELECT 'Public' AS type, 'same-$code' AS group_id, 'same-$code' AS name, '$owner' AS owner_account, 1500000000 AS create_time");
	reply_of($node, "SELECT 'Public' AS type, '$_-$code' AS group_id, 'not $_' AS name, '$owner' AS owner_account, 1500000000 AS create_time")
	  foreach 'name';
	reply_of($node, "SELECT 'Public' AS type, '$_-$code' AS group_id, '$_-$code' AS name, 'them' AS owner_account, 1500000000 AS create_time")
	  foreach 'owner';
	reply_of($node, "SELECT 'Public' AS type, '$_-$code' AS group_id, '$_-$code' AS name, '$owner' AS owner_account, 1500000001 AS create_time")
	  foreach 'time';
	reply_of($node, "SELECT 'ChatRoom' AS type, '$_-$code' AS group_id, '$_-$code' AS name, '$owner' AS owner_account, 1500000000 AS create_time")
	  foreach 'type';
	drain_rows([ 'type, group_id, owner_account, create_time', "'Public', 'NAME', '$owner', to_timestamp(1500000000)" ],
		map { "$_-$code" } qw(same name owner time type));
	%row = rows_like("%-$code");
	is($row{"same-$code"}{status}, 'imported', "$code, the same group: imported");
	is($row{"$_-$code"}{status}, 'failed', "$code, another $_: failed") foreach qw(name owner time type);
	is($row{"$_-$code"}{error_code}, -11, "$code, another $_: and says so") foreach qw(name owner time type);
}

# ---------------------------------------------------------------------------
# Maybe sent, then refused: the service's word on the group decides, not before
# a late request has died

my @first = (
	absent => { do => 'close_before' },
	there => { do => 'close_after' },
	zombie => { do => 'delay_apply', ms => 1200 },
	unreadable => { do => 'close_after' });
my %first = @first;
$service->clear;
$service->fault(
	map({ { %{ $first{$_} }, times => 1, match => { name => "maybe-$_", command => 'import_group' } } } sort keys %first),
	map({ { do => 'code', code => 10019, info => 'no owner', match => { name => "maybe-$_", command => 'import_group' } } } sort keys %first),
	{ do => 'code', code => 10002, match => { group_id => 'maybe-unreadable', command => 'get_group_info' } });
sql("SELECT im_import_pause()");
sql("INSERT INTO im_group_outbox (type, group_id, name) VALUES ('Public', 'maybe-$_', 'maybe-$_')") foreach sort keys %first;
sql('SELECT im_import_resume()');

# Meanwhile nobody changes what was sent.
poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'maybe-%' AND maybe_sent_at IS NOT NULL AND status = 'pending'") > 0 }
'a row that was maybe sent';
sql("SELECT im_import_pause('it stays so')");
my $doubted = "name LIKE 'maybe-%' AND maybe_sent_at IS NOT NULL AND status = 'pending'";
my @frozen = qw(group_id type name owner_account introduction notification face_url apply_join_option);
foreach my $column (@frozen)
{
	like(error_of($node, "UPDATE im_group_outbox SET $column = 'x' WHERE $doubted"),
		qr/cannot change column "$column".*may already have created a group/s, "$column is frozen");
}
like(error_of($node, "UPDATE im_group_outbox SET $_ WHERE $doubted"), qr/ERROR: .*column "\w+".* be changed|cannot change column/, "$_ is refused")
  foreach 'max_member_count = 5', 'create_time = now()', "app_defined_data = '[]'", 'support_topic = true',
  'maybe_sent_at = NULL', 'row_key = gen_random_uuid()', 'origin = 0', 'claim = 1';
sql('SELECT im_import_resume()');
wait_settled($node);
%row = rows_like('maybe-%');
is($row{'maybe-absent'}{status}, 'failed', 'absent: failed');
is($row{'maybe-absent'}{error_code}, 10019, 'absent: for what it was refused for');
is($row{'maybe-there'}{status}, 'imported', 'found: imported');
is($row{'maybe-zombie'}{status}, 'imported', 'created late: found, because nobody asked too early');
is($row{'maybe-unreadable'}{status}, 'in_doubt', 'nobody can tell: in doubt, not failed');
like($row{'maybe-unreadable'}{error_info}, qr/could not be looked up/, 'nobody can tell: and says so');

# What may be repeated is sent again, and refused: here, too, "it is not there" is
# believed only once a late request must have died.
$service->clear;
my %refusal = (importmsg => 90012, friend_import => 30010);
foreach my $command (sort keys %refusal)
{
	$service->fault(
		{ do => 'close_before', times => 1, match => { command => $command, account => 'absent' } },
		{ do => 'delay_apply', ms => 1200, times => 1, match => { command => $command, account => 'late' } },
		map { { do => 'code', code => $refusal{$command}, info => 'not now', match => { command => $command, account => $_ } } } qw(absent late));
}
# Friends of a user who is not there: nobody can have been made his friend.
$service->fault(
	{ do => 'close_before', times => 1, match => { command => 'friend_import', account => 'gone' } },
	map { { do => 'code', code => 30003, info => 'no such user', match => { command => $_, account => 'gone' } } } qw(friend_import friend_check));
sql("INSERT INTO im_friend_outbox (user_id, friend_id) VALUES ('me-gone', 'gone')");
sql("INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text) SELECT who, 'me', who, now() - interval '1 hour', 'hello' FROM unnest('{absent,late}'::text[]) who");
sql("INSERT INTO im_friend_outbox (user_id, friend_id) SELECT 'me-' || who, who FROM unnest('{absent,late}'::text[]) who");
foreach my $kind (qw(dialog friend))
{
	my $who = $kind eq 'dialog' ? 'to_account' : 'friend_id';

	poll_until { value_of($node, "SELECT count(*) FROM im_${kind}_outbox WHERE status IN ('pending', 'sending')") == 0 } "rows of $kind";
	is(value_of($node, "SELECT string_agg(concat_ws(' ', $who, status, error_code, error_info), '; ' ORDER BY $who) FROM im_${kind}_outbox"),
		'absent failed ' . ($kind eq 'dialog' ? '90012 not now' : '30010 not now; gone failed 30003 no such user') . '; late imported',
		"$kind: absent has failed, for what it was refused for; what came late is imported");
}
is(scalar($service->dialog('me', 'late')), 1, 'and is in the app');
sql("DELETE FROM im_${_}_outbox") foreach qw(dialog friend);

# A row that was maybe sent and then became invalid.
$service->clear;
$service->fault({ do => 'close_after', times => 1, match => { name => 'narrow*' } });
sql("ALTER SERVER im OPTIONS (ADD text_limits 'sdk')");
sql("SELECT im_import_pause()");
my $long = 'narrow' . 'w' x 40;
$service->set(text_limits => 'sdk');
sql("INSERT INTO im_group_outbox (type, group_id, name) VALUES ('Public', 'narrow', '$long')");
sql('SELECT im_import_resume()');
poll_until { sent($long) >= 1 } 'the first call';
sql("ALTER SERVER im OPTIONS (SET text_limits 'page')");
wait_settled($node);
%row = rows_like('narrow%');
is($row{$long}{status}, 'imported', 'sent, and invalid by now: found, so imported');

# ---------------------------------------------------------------------------
# A whole migration, run twice

$service->clear;
$service->set(text_limits => 'page');
my $migration = <<SQL;
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, create_time, introduction)
SELECT i, 'room-' || i, (ARRAY['Public', 'ChatRoom', 'Work', 'Meeting'])[1 + i % 4], im_fit('room ' || i, 30), 'owner' || i % 7,
	timestamptz '2019-05-05Z' + i * interval '1 day', 'from the old system'
FROM generate_series(1, 200) i
SQL
$service->fault(
	{ do => 'close_after', match => { command => 'import_group', every => 17 } },
	{ do => 'http', status => 502, match => { command => 'import_group', every => 19 } });
sql($migration);
$service->wait_for(created => $service->stats->{created} + 50);
$node->stop('immediate');
$node->start;
like(error_of($node, $migration), qr/duplicate key.*im_group_outbox_key/s, 'the same load again is refused');
sql("$migration ON CONFLICT DO NOTHING");
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE group_id LIKE 'room-%'"), 200, 'or adds nothing');
# The rooms once more, from another system: the ids of their groups are the same.
sql($migration =~ s/SELECT i,/SELECT 'again ' || i,/r);
wait_settled($node);
is(value_of($node, "SELECT string_agg(DISTINCT status, ' ') FROM im_group_outbox WHERE group_id LIKE 'room-%'"), 'imported',
	'a migration that is run twice is imported twice');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE group_id LIKE 'room-%'"), 400, 'row by row');
my $groups = 0;
$groups += $_->{group_id} =~ /^room-/ ? 1 : 0 foreach $service->ledger;
is($groups, 200, 'and made each group once');
is_deeply([ count_faults($node) ], [], 'the counts are right');

done_testing();
