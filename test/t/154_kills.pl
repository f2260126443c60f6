# Death after death while rows of every kind are in flight and the network
# misbehaves.  In the end nothing is lost, nothing doubled, and every room has
# its messages in order.
#
# IM_KILLS is the number of deaths, 15 by default; IM_SEED the seed of what is
# chosen at random (the moments themselves differ from run to run).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;

my $kills = $ENV{IM_KILLS} || 15;
my $seed = $ENV{IM_SEED} || time();
srand($seed);
note("IM_KILLS=$kills IM_SEED=$seed");

my ($node, $service) = set_up(
	conf => "restart_after_crash = on\nlog_statement = none",
	options => { rate_limit => 60, account_rate_limit => 20, accounts_per_call => 10, max_in_flight => 16, request_timeout => '2s' });

$service->set(accounts => 'listed');
foreach my $command (qw(multiaccount_import friend_import importmsg import_group import_group_member import_group_msg set_unread_msg_num))
{
	$service->fault(
		{ do => 'close_after', match => { command => $command, every => 23 }, ($command =~ /multi|member|group_msg$/ ? (partial => 3) : $command =~ /friend/ ? (partial => 1) : ()) },
		{ do => 'close_after', match => { command => $command, every => 31 } },
		{ do => 'close_before', match => { command => $command, every => 37 } },
		{ do => 'http', status => 502, match => { command => $command, every => 41 } },
		{ do => 'delay_apply', ms => 400, match => { command => $command, every => 43 } },
		{ do => 'code', code => 60007, match => { command => $command, every => 47 } });
}
$service->fault({ do => 'delay', ms => 60, match => { every => 2 } });

my $rooms = 0;

# Five more rooms with all that belongs to them, the dependents first.
sub load_more
{
	my $from = $rooms + 1;
	my $to = $rooms + 5;
	my $loaded = eval {
		$node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT 'r' || r, 'u' || r || '-' || u, u FROM generate_series($from, $to) r, generate_series(1, 3) u ON CONFLICT DO NOTHING;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT r || '/' || m, 'r' || r, 'u' || r || '-' || (1 + m % 5), timestamptz '2020-01-02 00:00Z' + make_interval(hours => m), 'm ' || m
FROM generate_series($from, $to) r, generate_series(1, 20) m ON CONFLICT DO NOTHING;
INSERT INTO im_member_outbox (group_source_id, member_account, join_time)
SELECT 'r' || r, 'u' || r || '-' || u, timestamptz '2020-01-01 12:00Z' FROM generate_series($from, $to) r, generate_series(1, 7) u ON CONFLICT DO NOTHING;
INSERT INTO im_group_outbox (source_id, type, name, create_time)
SELECT 'r' || r, 'Public', 'r' || r, timestamptz '2020-01-01 00:00Z' FROM generate_series($from, $to) r ON CONFLICT DO NOTHING;
INSERT INTO im_friend_outbox (user_id, friend_id)
SELECT 'u' || r || '-' || u, 'u' || r || '-' || f FROM generate_series($from, $to) r, generate_series(1, 3) u, generate_series(1, 3) f WHERE u <> f ON CONFLICT DO NOTHING;
INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT r || '/' || m, 'u' || r || '-' || (1 + m % 2), 'u' || r || '-' || (2 - m % 2), timestamptz '2020-01-02 00:00Z' + make_interval(hours => m / 2), 'd ' || r || '/' || m
FROM generate_series($from, $to) r, generate_series(1, 8) m ON CONFLICT DO NOTHING;
INSERT INTO im_account_outbox (user_id) SELECT 'u' || r || '-' || u FROM generate_series($from, $to) r, generate_series(1, 7) u ON CONFLICT DO NOTHING;
COMMIT;
SQL
		1;
	};
	$rooms = $to if $loaded;
}

my @outboxes = qw(account friend dialog group member message unread);

sub open_rows
{
	return value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox WHERE status IN ('pending', 'sending'))" } @outboxes);
}

my %died;
my @ways = (('kill -9 of the worker') x 4, ('pg_terminate_backend') x 3,
	'immediate stop', 'fast stop', 'kill -9 of the postmaster');

for (my $n = 0; $n < $kills;)
{
	my $how = $ways[ rand @ways ];

	load_more() if open_rows() < 250;
	select(undef, undef, undef, 2 * rand());
	next unless die_of($node, $how);
	$died{$how}++;
	$n++;
}
note("$rooms rooms; ", join(', ', map { "$died{$_} $_" } sort keys %died));

$service->clear;
eval { poll_until { open_rows() == 0 } 'all rows to be settled', 300 };
if ($@)
{
	diag(explain(status_of($node)));
	diag(explain(rows($node, "SELECT * FROM im_${_}_outbox WHERE status IN ('pending', 'sending') LIMIT 2"))) foreach @outboxes;
	die $@;
}

# ---------------------------------------------------------------------------
# The account

foreach my $kind (@outboxes)
{
	is(value_of($node, "SELECT count(*) FROM im_${kind}_outbox WHERE status <> 'imported'"), 0, "every row of kind $kind is imported")
	  or diag(explain(rows($node, "SELECT * FROM im_${kind}_outbox WHERE status <> 'imported' LIMIT 3")));
}
is_deeply([ $service->doubles ], [], 'nothing was done twice');

my @problems;
my $want = join ' ', map { "m$_" } 1 .. 20;
foreach my $row (rows($node, "SELECT source_id, group_id FROM im_group_outbox ORDER BY id"))
{
	my $room = $service->room($row->{group_id});
	my $said = join ' ', map { (my $text = $_->{body}[0]{MsgContent}{Text}) =~ s/ //; $text } @{ $room->{messages} };
	(my $r = $row->{source_id}) =~ s/^r//;
	my %unread = map { $_ => $room->{members}{$_}{unread} } grep { $room->{members}{$_}{unread} } keys %{ $room->{members} };

	push @problems, "$row->{source_id} has the messages $said" if $said ne $want;
	push @problems, "$row->{source_id} has " . keys(%{ $room->{members} }) . ' members' if keys %{ $room->{members} } != 7;
	push @problems, "$row->{source_id} has the unread counts " . join(' ', map { "$_ $unread{$_}" } sort keys %unread)
	  if join(' ', map { "$_ $unread{$_}" } sort keys %unread) ne join(' ', map { "u$r-$_ $_" } 1 .. 3);
}
my %said;
foreach my $entry ($service->entries)
{
	$said{ $entry->{body}[0]{MsgContent}{Text} }++ if $entry->{kind} eq 'dialog';
}
is(join(' ', map { "$_: $said{$_}" } grep { $said{$_} != 1 } sort keys %said), '', 'no one-to-one message is there twice');
is(scalar keys %said, 8 * $rooms, 'and all are there');
my @lonely = grep { my $r = $_; join(' ', map { sort keys %{ $service->account("u$r-$_")->{friends} } } 1 .. 3) ne "u$r-2 u$r-3 u$r-1 u$r-3 u$r-1 u$r-2" } 1 .. $rooms;
is_deeply(\@lonely, [], 'everybody has their friends');
is_deeply(\@problems, [], 'every room has its members, its messages in order, and its unread counts');
is(value_of($node, 'SELECT count(*) FROM im_group_outbox'), scalar($service->ledger), 'there are no other groups');
is(value_of($node, 'SELECT imported FROM im_import_status'), value_of($node, 'SELECT ' . join ' + ',
		map { "(SELECT count(*) FROM im_${_}_outbox)" } @outboxes), 'the counts are right');
is(value_of($node, "SELECT count(*) FROM im_message_outbox WHERE sent_time IS DISTINCT FROM extract(epoch FROM send_time)"), 0,
	'no message was moved');

done_testing();
