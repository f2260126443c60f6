# Every place at which the worker can die, times every kind of death, times
# every kind of row.  Each time some rows are done, some are with the service,
# some are claimed, some wait.  Afterwards each row's status is true: held
# against what the service has seen.
#
# Needs a build with failpoints ("make FAILPOINTS=1").  IM_PLACES, IM_DEATHS
# and IM_KINDS, patterns, choose some of the combinations.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;

$ENV{$_} //= '' foreach qw(IM_KINDS IM_PLACES IM_DEATHS);
my @places = qw(claim_before_commit claim_after_commit before_first_byte after_last_byte
  reply_read settle_before_commit settle_after_commit);
my %kinds = (
	generated => { group_ids => 'generated', group_id => 'NULL' },
	'given by the user' => { group_ids => 'generated', group_id => "'u-' || i.name" },
	'assigned by the service' => { group_ids => 'assigned', group_id => 'NULL', assigned => 1 });

my ($node, $service) = set_up(
	conf => "restart_after_crash = on",
	options => { rate_limit => 100, max_in_flight => 32, group_ids => 'generated' });
need_failpoints($node);
my $books = new_books($service);
my $combinations = 0;

# A row with another key is refused, now and always.
$service->set(custom_keys => ['k']);

# Inserts rows of one kind, with every column that could be lost on the way.
sub insert_rows
{
	my ($kind, @names) = @_;
	my $values = join ', ', map { "($_, '$names[$_]')" } 0 .. $#names;

	$node->safe_psql('postgres', <<SQL);
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, introduction,
	max_member_count, apply_join_option, app_defined_data, create_time)
SELECT i.name, $kind->{group_id}, 'Public', i.name, 'owner' || i.n, 'what "' || i.name || '" is about',
	100 + i.n, 'FreeAccess', json_build_object(CASE WHEN i.name ~ 'refused' THEN 'not k' ELSE 'k' END, i.name), timestamptz '2020-01-01Z' + i.n * interval '1 min'
FROM (VALUES $values) i (n, name) ORDER BY i.n
SQL
}

# The rows of one combination, with what was or would be sent for them.
sub rows_of
{
	my ($prefix) = @_;

	return rows($node, <<SQL);
SELECT id, name, status, group_id, error_code, error_info, attempts, im_group_json(o) AS sent
FROM im_group_outbox o WHERE name LIKE '$prefix%' ORDER BY id
SQL
}

# Waits until no row of a combination is open.  A refused row that was maybe
# sent takes its time, and is looked at in the end.
sub wait_done
{
	my ($prefix) = @_;
	my $open = "name LIKE '$prefix%' AND name NOT LIKE '%refused' AND status IN ('pending', 'sending')";

	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE $open") == 0 } "$prefix to be settled";
}

# Brings some rows of every state together, with the worker held at a place.
sub set_the_stage
{
	my ($prefix, $kind, $place) = @_;
	my @held = map { "$prefix-held$_" } 1, 2;

	$service->fault(
		{ do => 'hold', times => 1, match => { name => $held[0] } },
		{ do => 'hold', apply => \0, times => 1, match => { name => $held[1] } });
	insert_rows($kind, map { "$prefix-done$_" } 1 .. 3);
	wait_done("$prefix-done");

	# A call that hangs would itself be at this place.
	if ($place ne 'after_last_byte')
	{
		insert_rows($kind, @held);
		$service->wait_for(held => 2);
		@held = ();
	}
	let_hit($node);
	insert_rows($kind, @held, "$prefix-1", "$prefix-" . 'invalid' x 5, "$prefix-2", "$prefix-refused",
		map { "$prefix-$_" } 3 .. 12);
	hold_place($node);
	$service->clear;
}

# What is wrong after one death; before: the rows by name when it struck.
sub faults_of
{
	my ($prefix, $kind, $before) = @_;
	my @faults = count_faults($node);

	read_books($books);
	foreach my $row (rows_of($prefix))
	{
		my $was = $before->{ $row->{name} };
		my $posts = scalar @{ $books->{posts}{ $row->{name} } // [] };

		next if $row->{name} =~ /refused$/ && $row->{status} =~ /pending|sending/;
		push @faults, row_faults($row, $books, $kind->{assigned});
		push @faults, "$row->{name} was sent $posts times" if $kind->{assigned} && $posts > 1;
		push @faults, "$row->{name} waited, and is in doubt"
		  if $was->{status} eq 'pending' && $row->{status} eq 'in_doubt';
		push @faults, "$row->{name} waited, and was sent $posts times"
		  if $was->{status} eq 'pending' && $row->{name} =~ /-\d+$/ && $posts > 1;
		push @faults, "$row->{name} was imported, and was sent $posts times"
		  if $was->{status} eq 'imported' && $posts != 1;
		push @faults, "$row->{name} is $row->{status}"
		  if $row->{name} =~ /invalid/ ? $row->{status} ne 'invalid'
			: $row->{name} =~ /refused/ ? $row->{status} !~ /failed|in_doubt/
			: $row->{status} !~ /imported|in_doubt/;
	}
	return @faults;
}

# One combination.
sub try
{
	my ($name, $place, $death) = @_;
	my $kind = $kinds{$name};
	my $prefix = sprintf 'c%02d', ++$combinations;

	set_the_stage($prefix, $kind, $place);
	my %before = map { ($_->{name} => $_) } rows_of($prefix);
	die_of($node, $death) or die 'the worker was gone';
	$service->release;
	wait_done($prefix);
	my @faults = faults_of($prefix, $kind, \%before);

	is(scalar(rows_of($prefix)), scalar(keys %before), "$prefix: no row is lost");
	my $doubts = resolve_doubts($node, $books, "name LIKE '$prefix%' AND name NOT LIKE '%refused'");
	wait_done($prefix);
	read_books($books);
	foreach my $row (grep { $_->{name} !~ /refused|invalid/ } rows_of($prefix))
	{
		push @faults, row_faults($row, $books, $kind->{assigned});
		push @faults, "$row->{name} is $row->{status} in the end" if $row->{status} ne 'imported';
	}
	is_deeply(\@faults, [], "$prefix: $death at $place, id $name ($doubts were in doubt)");
}

foreach my $name (sort grep { /$ENV{IM_KINDS}/ } keys %kinds)
{
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET group_ids '$kinds{$name}{group_ids}')");
	foreach my $place (grep { /$ENV{IM_PLACES}/ } @places)
	{
		foreach my $death (grep { /$ENV{IM_DEATHS}/ } @DEATHS)
		{
			arm($node, $place);
			try($name, $place, $death);
		}
	}

	# The refused rows, before the service's kind of ids changes.
	wait_settled($node);
	resolve_doubts($node, read_books($books), 'true');
	wait_settled($node);
}

# All of them once more: nothing came later.
read_books($books);
my @faults = count_faults($node);
my @rows = rows_of('c');
foreach my $row (@rows)
{
	my $assigned = $row->{group_id} && $row->{group_id} =~ /^\@TGS#/;

	push @faults, row_faults($row, $books, $assigned);
	push @faults, "$row->{name} is $row->{status}" if $row->{name} =~ /refused$/ && $row->{status} ne 'failed';
}
is_deeply(\@faults, [], 'after all of that every row is true');
accounted($node, $service);
note("combinations $combinations, rows ", scalar(@rows), ', lost ',
	scalar(grep { $_->{status} =~ /pending|sending|in_doubt/ } @rows), ', doubled ',
	scalar(grep { @$_ > 1 } values %{ $books->{groups} }));

done_testing();
