# ImKinds.pm
#	  One valid row of each kind, with what it depends on, for the tests of what
#	  must hold of every kind.
#
# Which kinds there are is told by the database, see kinds(): a kind that has no
# row here fails every test that uses it.
package ImKinds;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

our @EXPORT = qw(
  kinds of_kinds insert_kind insert_kinds statuses_of_kinds each_kind
  open_of_kinds wait_kinds things_of counts_of_kinds hold_kinds %COMMAND
);

# What a row of each kind is, the word $w in its keys and $i its number; $room is
# the source_id of its group.  The member of an unread count is the row of kind
# member of the same word and number.
my %columns = (
	account => { user_id => q{'$w-a' || $i}, nick => q{'$w ' || $i} },
	friend => { user_id => q{'$w-f' || $i}, friend_id => q{'friend'} },
	dialog => { source_id => q{'$w-' || $i}, from_account => q{'$w-d'}, to_account => q{'other'},
		send_time => q{timestamptz '2024-01-01 00:00Z' + make_interval(secs => $i)}, text => q{'$w ' || $i} },
	group => { source_id => q{'$w-' || $i}, type => q{'Public'}, name => q{'$w ' || $i}, create_time => q{timestamptz '2023-01-01 00:00Z'} },
	member => { group_source_id => q{'$room'}, member_account => q{'$w-m' || $i} },
	message => { source_id => q{'$w-' || $i}, group_source_id => q{'$room'}, from_account => q{'$w-m1'},
		send_time => q{timestamptz '2024-01-01 00:00Z' + make_interval(secs => $i)}, text => q{'$w ' || $i} },
	unread => { group_source_id => q{'$room'}, member_account => q{'$w-m' || $i}, unread_msg_num => q{1} });

# The command that imports it.
our %COMMAND = (
	account => 'multiaccount_import', friend => 'friend_import', dialog => 'importmsg', group => 'import_group',
	member => 'import_group_member', message => 'import_group_msg', unread => 'set_unread_msg_num');

# What names a thing of each kind in the ledger, as far as it has the word in it.
my %named = (
	account => sub { $_[0]{user_id} },
	friend => sub { $_[0]{from} },
	dialog => sub { $_[0]{body}[0]{MsgContent}{Text} },
	group => sub { $_[0]{name} },
	member => sub { $_[0]{member} },
	message => sub { $_[0]{body}[0]{MsgContent}{Text} },
	unread => sub { $_[0]{member} });

# The kinds in the order of a move, as the database tells them.
my %known;

sub kinds
{
	my ($node, $db) = @_;
	my $known = $known{ $node->name . '/' . ($db // 'postgres') };

	return @$known if $known;
	my @kinds = split /\n/, value_of($node, 'SELECT kind FROM im_import_progress', $db);
	my @strange = grep { !$columns{$_} || !$named{$_} } @kinds;

	die "ImKinds.pm has no row of kind @strange" if @strange || @kinds != keys %columns;
	$known{ $node->name . '/' . ($db // 'postgres') } = \@kinds;
	return @kinds;
}

# An expression over the outbox of each kind, put together: {kind} stands for its name.
sub of_kinds
{
	my ($node, $db, $with, $each) = @_;

	return join $with, map { $each =~ s/\{kind\}/$_/gr } kinds($node, $db);
}

# SQL that inserts n rows of a kind.  Options: word (with which the keys begin), n
# (1), room (the first group of the same word), and extra, further columns and
# their values, as SQL.
sub insert_kind
{
	my ($kind, %given) = @_;
	my %row = (%{ $columns{$kind} // die "no such kind: $kind" }, %{ $given{extra} // {} });
	my @names = sort keys %row;
	my $room = $given{room} // "$given{word}-1";
	my $values = join ', ', map { $row{$_} } @names;

	$values =~ s/\$w/$given{word}/g;
	$values =~ s/\$room/$room/g;
	$values =~ s/\$i/i/g;
	return "INSERT INTO im_${kind}_outbox (" . join(', ', @names) . ") SELECT $values FROM generate_series(1, " . ($given{n} // 1) . ") i;\n";
}

# SQL that inserts n rows of every kind, the dependents first.  Options as above.
sub insert_kinds
{
	my ($node, $db, %given) = @_;

	return join '', 'BEGIN;', (map { insert_kind($_, %given) } reverse kinds($node, $db)), 'COMMIT;';
}

# One row of every kind, each in a call that the service holds: carried out, and not
# answered.  The rooms are imported already: they are of three source_ids, for what
# in one room would wait for each other.  A hash behind them adds to the rules.
sub hold_kinds
{
	my ($node, $service, $word, @rooms) = @_;
	my %rule = ref $rooms[-1] ? %{ pop @rooms } : ();
	my @kinds = kinds($node);
	my %room = (member => $rooms[0], message => $rooms[1], unread => $rooms[2]);

	# Only a member has an unread count.
	$node->safe_psql('postgres', "SELECT im_import_member(r) FROM (SELECT group_id, '$word-m1' AS member_account FROM im_group_outbox WHERE source_id = '$rooms[2]') r");
	# A new worker makes one call, and no other one before that is answered.
	$node->safe_psql('postgres', insert_kind('group', word => "before-$word"));
	poll_until { value_of($node, "SELECT status FROM im_group_outbox WHERE source_id LIKE 'before-$word-%'") eq 'imported' } 'a worker to be connected';
	$node->safe_psql('postgres', "DELETE FROM im_group_outbox WHERE source_id LIKE 'before-$word-%'");
	$service->fault(map { { do => 'hold', %rule, match => { command => $COMMAND{$_} } } } @kinds);
	$node->safe_psql('postgres', join '', map { insert_kind($_, word => $word, room => $room{$_}) } grep { $_ ne 'account' } @kinds);
	$service->wait_for(held => @kinds - 1);
	# For an account the others would wait.
	$node->safe_psql('postgres', insert_kind('account', word => $word));
	$service->wait_for(held => scalar @kinds);
}

# The rows of each kind by status, as a hash of texts like "failed 1, imported 3".
sub statuses_of_kinds
{
	my ($node, $db) = @_;
	my $query = of_kinds($node, $db, ' UNION ALL ', "SELECT '{kind}' AS kind, status, count(*) AS n FROM im_{kind}_outbox GROUP BY 2");

	return { map { $_->{kind} => $_->{s} }
		  rows($node, "SELECT kind, string_agg(status || ' ' || n, ', ' ORDER BY status) AS s FROM ($query) o GROUP BY 1", $db) };
}

# The same of each kind, to compare with that.
sub each_kind { my ($node, $what, $db) = @_; return { map { $_ => $what } kinds($node, $db) } }

sub open_of_kinds
{
	my ($node, $db) = @_;

	return value_of($node, 'SELECT ' . of_kinds($node, $db, ' + ', "(SELECT count(*) FROM im_{kind}_outbox WHERE status IN ('pending', 'sending'))"), $db);
}

# Waits until no row of any kind is to be imported.
sub wait_kinds
{
	my ($node, $db) = @_;

	eval { poll_until { open_of_kinds($node, $db) == 0 } 'rows of every kind to be settled' };
	return if $@ eq '';
	diag(explain(status_of($node, $db)), explain(statuses_of_kinds($node, $db)));
	die $@;
}

# How many different things of each kind with a word in it the service has been
# given, by its ledger.  That none was given twice: ImService::doubles().
sub things_of
{
	my ($node, $service, $word, $db) = @_;
	my %things = map { $_ => {} } kinds($node, $db);

	foreach my $entry ($service->entries)
	{
		my $named = $named{ $entry->{kind} } or next;
		my $name = $named->($entry) // '';

		$things{ $entry->{kind} }{$name}++ if $name =~ /^\Q$word\E\b/;
	}
	return { map { $_ => scalar keys %{ $things{$_} } } keys %things };
}

# That im_import_progress counts each kind as it is.
sub counts_of_kinds
{
	my ($node, $db, $name) = @_;
	my @statuses = qw(pending sending imported failed invalid in_doubt undone);
	my $counted = of_kinds($node, $db, ' UNION ALL ', "SELECT '{kind}' AS kind, count(*) AS total, "
		  . join(', ', map { "count(*) FILTER (WHERE status = '$_') AS $_" } @statuses) . ' FROM im_{kind}_outbox');
	my $columns = join ', ', 'kind', 'total', @statuses;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value_of($node, "SELECT json_agg(p ORDER BY kind) FROM (SELECT $columns FROM im_import_progress) p", $db),
		value_of($node, "SELECT json_agg(o ORDER BY kind) FROM (SELECT $columns FROM ($counted) c) o", $db), $name);
}

1;
