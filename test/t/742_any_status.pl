# Rows that somebody inserts with a status of his own: nothing that was not
# imported can be taken back by them, nothing is sent twice, nothing is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImKinds;
use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1000, account_rate_limit => 1000 });
my @kinds = kinds($node);

sub sql { return $node->safe_psql('postgres', join '', @_) }
# One valid row of a kind, with a status of its own in it.
sub insert
{
	my ($kind, $status) = @_;
	my %own = $kind eq 'group' ? (group_id => "'g-$status'") : ();

	return insert_kind($kind, word => $status, room => 'room', extra => { status => "'$status'", %own });
}


sub statuses
{
	my ($kind, $where) = @_;
	return value_of($node, "SELECT string_agg(status, ' ' ORDER BY id) FROM im_${kind}_outbox WHERE " . ($where // "source_id IS DISTINCT FROM 'room'"));
}

sub settled { wait_kinds($node) }

sub counts_are_right
{
	poll_until { status_of($node)->{state} eq 'idle' } 'the counts';
	counts_of_kinds($node, undef, $_[0]);
}

sql("INSERT INTO im_group_outbox (source_id, group_id, type, name, create_time) VALUES ('room', 'room', 'Public', 'room', '2023-01-01 00:00Z')");
wait_settled($node);

# Nobody's group can be taken back by a row that never imported it.
sql("SELECT im_import_group(r) FROM (SELECT 'stranger' AS group_id, 'Public' AS type, 'x' AS name, timestamptz '2023-01-01 00:00Z' AS create_time) r");
like(error_of($node, "INSERT INTO im_group_outbox (group_id, type, name, create_time, status) VALUES ('stranger', 'Public', 'x', '2023-01-01 00:00Z', 'undo')"),
	qr/cannot insert rows with status "undo".*HINT:  Insert the row as pending/s, 'a row is not inserted as undo');
like(error_of($node, "COPY im_group_outbox (group_id, type, name, status) FROM PROGRAM 'printf \"stranger\\tPublic\\tx\\tundo\\n\"'"), qr/cannot insert rows with status "undo"/, '... nor copied');
like(error_of($node, insert('group', 'undo') =~ s/;$/ ON CONFLICT DO NOTHING/r), qr/cannot insert rows with status "undo"/, '... however it is written');
foreach my $kind (grep { $_ ne 'group' } @kinds)
{
	like(error_of($node, insert($kind, 'undo')), qr/violates check constraint/, "$kind: cannot be undone by itself");
}
# One that says it came from elsewhere waits for a person, as in a restored dump.
sql("INSERT INTO im_group_outbox (group_id, type, name, create_time, status, origin) VALUES ('stranger', 'Public', 'x', '2023-01-01 00:00Z', 'undo', 1)");
is(value_of($node, "SELECT ok FROM im_import_doctor() WHERE item = 'origin'"), 'f', 'another database\'s is for a person to adopt');

foreach my $kind (@kinds)
{
	sql(map { insert($kind, $_) } qw(pending sending imported failed invalid in_doubt undone));
}
settled('the rows that were to be sent');
foreach my $kind (@kinds)
{
	is(statuses($kind, $kind eq 'group' ? "source_id <> 'room'" : 'true'), 'imported imported imported failed invalid in_doubt undone', "$kind: what was pending or sending is imported, the rest waits for a person");
}
ok(defined $service->group('stranger'), 'and the stranger\'s group is there');
sql("DELETE FROM im_group_outbox WHERE group_id = 'stranger'");
counts_are_right('all of them are counted');

# What is said to be imported is compared, and sent if it is not there.
my ($out, $err);
$node->psql('postgres', 'CALL im_import_verify()', stdout => \$out, stderr => \$err);
like($err, qr/5 missing, 1 unreadable.*dialog: 2 matched, 1 unreadable/s, 'what was only said to be imported is missing; of a one-to-one message that is older than the app may keep nobody can tell')
  or diag($err);
sql("SELECT im_import_retry(status => 'missing')");
sql('SELECT im_import_retry()', ";SELECT im_import_retry(status => 'undone')", ";SELECT im_import_retry(status => 'in_doubt')");
sql("SELECT im_import_resolve(id, kind => 'group') FROM im_group_outbox WHERE status = 'in_doubt'", ";SELECT im_import_resolve(id, kind => 'message') FROM im_message_outbox WHERE status = 'in_doubt'");
settled('all rows');
foreach my $kind (@kinds)
{
	is(statuses($kind, $kind eq 'group' ? "source_id <> 'room'" : 'true'), join(' ', ('imported') x 7), "$kind: all of them can be sent");
}
is_deeply([ $service->doubles ], [], 'nothing is there twice');
is(scalar(map { $_->{body}[0]{MsgContent}{Text} } $service->messages('room')), 7, 'and all messages are there');
counts_are_right('and counted');

done_testing();
