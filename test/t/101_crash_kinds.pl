# Every place at which the worker can die, times every kind of row.  The rows of
# the kinds that go together are at that place when it dies, which is looked at;
# in the end each of them is in the app, once.
#
# The same for groups alone, with every kind of id and every death: 100.
# Needs a build with failpoints.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;
use ImKinds;

my ($node, $service) = set_up(
	conf => 'restart_after_crash = on',
	options => { rate_limit => 1000, account_rate_limit => 1000 });
need_failpoints($node);
my @kinds = kinds($node);
my $rooms = 0;
my @deaths;
my @tried;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# The next death in turn.
sub next_death
{
	@deaths = @DEATHS unless @deaths;
	return shift @deaths;
}

# The source_ids of so many rooms that are imported and empty.
sub new_rooms
{
	my ($n) = @_;

	return map { 'room-' . ++$rooms } 1 .. $n;
}

# How the one row of a kind with a word stands when the worker is held: "locked"
# if its transaction has not ended.
sub stand_of
{
	my ($kind, $word) = @_;
	my $row = "FROM im_${kind}_outbox o WHERE to_jsonb(o)::text LIKE '%\"$word-%'";
	my $status = value_of($node, "SELECT status $row");

	return value_of($node, "SELECT count(*) FROM (SELECT $row FOR UPDATE SKIP LOCKED) free") ? $status : "$status, locked";
}

# What the service was given of the kinds.  Beside an unread count there is its
# member, whose account is that of the row of kind member, in another room.
sub given_of
{
	my ($word, @of) = @_;
	my $things = things_of($node, $service, $word);

	$things->{member} = grep { $_->{member} eq "$word-m1" } $service->entries('member');
	$things->{member}-- if grep { $_ eq 'unread' } @of;
	return { map { $_ => $things->{$_} } @of };
}

# The worker dies where its rows are as they are said to be; all of them are
# imported then.
sub dies_and_recovers
{
	my ($word, $name, $stand, $given, @of) = @_;
	my $death = next_death();

	is_deeply({ map { $_ => stand_of($_, $word) } @of }, { map { $_ => $stand } @of }, "$name: the rows are $stand");
	is_deeply(given_of($word, @of), { map { $_ => $given } @of }, '... and the service ' . ($given ? 'has them' : 'has nothing of them'));
	die_of($node, $death) or die 'the worker was gone';
	$service->clear;
	$service->release;
	wait_kinds($node);
	is_deeply({ map { $_ => stand_of($_, $word) } @of }, { map { $_ => 'imported' } @of }, "$name, $death: they are imported");
	push @tried, [ $word, $name, @of ];
}

sql(insert_kind('group', word => 'room', n => 30));
wait_kinds($node);

# ---------------------------------------------------------------------------
# The claim, and before anything has left

my %claimed = (
	claim_before_commit => 'pending, locked',
	claim_after_commit => 'sending',
	before_first_byte => 'sending');
my @together = ([ 'account' ], [ qw(friend dialog group) ], map { [$_] } qw(member message unread));

foreach my $place (sort keys %claimed)
{
	arm($node, $place);
	foreach my $of (@together)
	{
		my $word = 'w' . @tried;
		my ($room) = new_rooms(1);

		sql("SELECT im_import_member(r) FROM (SELECT group_id, '$word-m1' AS member_account FROM im_group_outbox WHERE source_id = '$room') r")
		  if $of->[0] eq 'unread';
		let_hit($node);
		sql('BEGIN;' . join('', map { insert_kind($_, word => $word, room => $room) } @$of) . 'COMMIT;');
		hold_place($node);
		dies_and_recovers($word, "@$of at $place", $claimed{$place}, 0, @$of);
	}
}

# ---------------------------------------------------------------------------
# With the service: it has done what it was told, or not yet

foreach my $apply (1, 0)
{
	my $word = 'w' . @tried;

	hold_kinds($node, $service, $word, new_rooms(3), { apply => $apply ? \1 : \0 });
	dies_and_recovers($word, 'every kind, ' . ($apply ? 'done and not answered' : 'not done yet'), 'sending', $apply, @kinds);
}

# ---------------------------------------------------------------------------
# Answered, and written

my %answered = (
	reply_read => 'sending',
	settle_before_commit => 'sending, locked',
	settle_after_commit => 'imported');

foreach my $place (sort keys %answered)
{
	my $word = 'w' . @tried;

	arm($node, $place);
	hold_kinds($node, $service, $word, new_rooms(3));
	# The answers of all kinds come in the same turn.
	my $pid = worker_pid($node);
	kill 'STOP', $pid;
	let_hit($node);
	$service->release;
	poll_until { $service->stats->{held} == 0 } 'the calls to be answered';
	kill 'CONT', $pid;
	hold_place($node);
	dies_and_recovers($word, "every kind at $place", $answered{$place}, 1, @kinds);
}

# ---------------------------------------------------------------------------
# The account

is_deeply([ $service->doubles ], [], 'nothing is in the app twice');
foreach (@tried)
{
	my ($word, $name, @of) = @$_;

	is_deeply(given_of($word, @of), { map { $_ => 1 } @of }, "$name: in the app, once");
}
is_deeply([ sort map { "@$_[ 2 .. $#$_ ]" } grep { $_->[1] =~ /commit|byte/ && @$_ < 9 } @tried ], [ sort map { ("@$_") x 3 } @together ], 'every place was tried');
is(join(' ', sort map { @$_ } @together), join(' ', sort @kinds), '... with every kind');
counts_of_kinds($node, undef, 'the counts are right');

done_testing();
