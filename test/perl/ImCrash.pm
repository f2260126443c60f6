# ImCrash.pm
#	  What the crash tests share: failpoints, ways to die, and the account
#	  held against the stand-in's journal and ledger.
#
# The journal and the ledger are read from their files, each line once, so
# that thousands of calls can be looked at again and again.
package ImCrash;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

our @EXPORT = qw(
  need_failpoints arm let_hit hold_place
  worker_pid is_gone die_of @DEATHS
  new_books read_books read_zombies row_faults count_faults resolve_doubts
);

our @DEATHS = ('kill -9 of the worker', 'immediate stop', 'kill -9 of the postmaster', 'pg_terminate_backend');

# ----------------------------------------------------------------------------
# Failpoints

# Ends the test as skipped unless the library was built with failpoints.
sub need_failpoints
{
	my ($node) = @_;

	plan skip_all => 'the library has no failpoints: build it with "make FAILPOINTS=1"'
	  unless value_of($node, "SELECT count(*) FROM pg_settings WHERE name = 'im_import.failpoint'") == 1;
	$node->append_conf('postgresql.conf', "im_import.failpoint = ''");
}

sub hit_file { return $_[0]->data_dir . '/im_failpoint.hit' }

# Chooses a place; nothing holds there before let_hit().
sub arm
{
	my ($node, $place) = @_;

	append_to_file(hit_file($node), '') unless -e hit_file($node);
	$node->adjust_conf('postgresql.conf', 'im_import.failpoint', "'$place'");
	$node->reload;
	# A new session that knows the place is a sign that the worker was told.
	poll_until { $node->safe_psql('postgres', "SELECT current_setting('im_import.failpoint')") eq $place } "failpoint $place";
}

# From now on the place holds whoever comes, once.
sub let_hit
{
	my ($node) = @_;

	unlink hit_file($node) or die "cannot remove " . hit_file($node) . ": $!";
}

# Waits until the worker is held.
sub hold_place
{
	my ($node) = @_;

	eval {
		poll_until { -e hit_file($node) } 'the failpoint to be hit';
	};
	ImTest::tell_and_die($node, undef, $@) if $@;
}

# ----------------------------------------------------------------------------
# Ways to die

# The pid of the worker that runs, or undef.
sub worker_pid
{
	my ($node) = @_;
	my $pid = value_of($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'im_import worker'");

	return $pid eq '' ? undef : $pid;
}

# True if a process has ended, even if nobody has yet asked how.
sub is_gone
{
	my ($pid) = @_;

	return 1 unless kill(0, $pid);
	open(my $stat, '<', "/proc/$pid/stat") or return 1;
	return (readline($stat) // '') =~ /^\d+ \(.*\) Z/s;
}

# The process that a restart after a crash replaces.
sub checkpointer_pid
{
	my ($node) = @_;
	my ($status, $out);

	# psql may be gone before it has read its statement: a broken pipe, for us.
	eval {
		($status, $out) = $node->psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
	} or return undef;
	return $status == 0 && $out ne '' ? $out : undef;
}

# One process is killed, and the server restarts all of them.
sub kill_process
{
	my ($node, $pid) = @_;
	my $before = checkpointer_pid($node) // return 0;

	kill 'KILL', $pid or return 0;
	poll_until {
		my $now = checkpointer_pid($node);
		defined $now && $now ne $before;
	} 'the server to come back';
	return 1;
}

# The postmaster is killed; its children notice, and then it starts anew.
sub kill_postmaster
{
	my ($node) = @_;
	my @pids = split /\n/, value_of($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

	push @pids, slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	$node->kill9;
	poll_until { !grep { !is_gone($_) } @pids } 'the killed server and its children to be gone';
	# A start would take the pid for alive until its parent has asked for it.
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	$node->start;
}

# The worker is asked to end; the server goes on.
sub terminate_worker
{
	my ($node, $pid) = @_;

	value_of($node, "SELECT pg_terminate_backend($pid)");
	poll_until { is_gone($pid) } 'the worker to be gone';
}

# Dies as said, and comes back.  False if there was no worker to die.
sub die_of
{
	my ($node, $how) = @_;
	my $pid;

	if ($how =~ /worker|terminate/)
	{
		$pid = worker_pid($node) or return 0;
	}
	if ($how eq 'kill -9 of the worker') { return kill_process($node, $pid) }
	elsif ($how eq 'pg_terminate_backend') { terminate_worker($node, $pid) }
	elsif ($how eq 'kill -9 of the postmaster') { kill_postmaster($node) }
	elsif ($how =~ /^(\w+) stop$/)
	{
		$node->stop($1);
		$node->start;
	}
	else { die "no such death: $how" }
	return 1;
}

# ----------------------------------------------------------------------------
# The account

# What is known of a service's journal and ledger: nothing yet.
sub new_books
{
	my ($service) = @_;

	return {
		at => {},
		dir => $service->{dir},
		groups => {},     # name => list of ledger entries
		zombies => {},    # name of what is done late => 1
		posts => {}       # name => list of body and code of import_group calls
	};
}

# Complete lines of a file that were not read before.
sub new_lines
{
	my ($books, $file) = @_;
	my $at = $books->{at}{$file} // 0;
	my @lines;

	open(my $in, '<', "$books->{dir}/$file") or return;
	seek $in, $at, 0;
	while (defined(my $line = readline $in))
	{
		last unless $line =~ /\n\z/;
		push @lines, $line;
		$at += length $line;
	}
	$books->{at}{$file} = $at;
	return @lines;
}

# Reads what was written since the last time.
sub read_books
{
	my ($books) = @_;
	my $json = JSON::PP->new->utf8;

	foreach (new_lines($books, 'ledger.jsonl'))
	{
		my $group = $json->decode($_);
		push @{ $books->{groups}{ $group->{name} } }, $group if defined $group->{name};
	}
	foreach (new_lines($books, 'journal.jsonl'))
	{
		next unless /"command": ?"import_group"/;
		my $call = $json->decode($_);
		my ($name) = $call->{body} =~ /"Name":"([^"]*)"/;
		$books->{zombies}{$name} = 1 if defined $name && ($call->{fault} // '') eq 'delay_apply';
		push @{ $books->{posts}{$name} }, { body => $call->{body}, code => $call->{code} } if defined $name;
	}
	return $books;
}

# The same, once every call that the service does late has been done: before
# that nobody can say which groups there are.  What it refuses it refuses late, too.
sub read_zombies
{
	my ($books) = @_;

	poll_until {
		read_books($books);
		!grep { !$books->{groups}{$_} && !/refused/ } keys %{ $books->{zombies} };
	} 'late calls to be done';
	return $books;
}

my $canonical = JSON::PP->new->utf8->canonical;

# What is wrong with one row, given what the service has seen.  assigned: the
# service chose the id.
sub row_faults
{
	my ($row, $books, $assigned) = @_;
	my @groups = @{ $books->{groups}{ $row->{name} } // [] };
	my @posts = @{ $books->{posts}{ $row->{name} } // [] };
	# What was plainly refused as too fast may go out anew in another way.
	my %bodies = map { ($_->{body} => 1) } grep { ($_->{code} // 0) != 60007 } @posts;
	my @faults;

	push @faults, 'made ' . scalar(@groups) . ' groups' if @groups > 1;
	push @faults, 'was sent with ' . scalar(keys %bodies) . ' different bodies' if keys %bodies > 1;
	if ($row->{status} eq 'imported')
	{
		push @faults, 'is imported without a group' unless @groups;
		push @faults, "has the id $row->{group_id}, its group $groups[0]{group_id}"
		  if @groups && $groups[0]{group_id} ne $row->{group_id};
		if (@groups && defined $row->{sent})
		{
			my %want = %{ $row->{sent} };
			my %have = %{ $groups[0]{body} };

			delete $want{GroupId} if $assigned;
			push @faults, 'has a group with other content'
			  if $canonical->encode(\%want) ne $canonical->encode(\%have);
		}
	}
	elsif ($row->{status} eq 'in_doubt')
	{
		push @faults, 'is in doubt, but could be sent again' unless $assigned;
		push @faults, 'is in doubt without a reason' unless length($row->{error_info} // '');
	}
	elsif ($row->{status} =~ /^(?:failed|invalid)$/)
	{
		push @faults, "is $row->{status}, but made a group" if @groups;
	}
	else
	{
		push @faults, "is still $row->{status}";
	}
	return map { "row $row->{id} ($row->{name}) $_" } @faults;
}

# What is wrong with the counts of im_import_status, in one snapshot.
sub count_faults
{
	my ($node) = @_;
	my $row = json($node->safe_psql('postgres', <<SQL));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT json_build_object('status', s, 'count', count, 'counts', counts) FROM im_import_status s,
	(SELECT sum(n) AS count, json_object_agg(status, n) AS counts
	 FROM (SELECT status, count(*) AS n FROM im_group_outbox GROUP BY status) c) o;
COMMIT;
SQL
	my @faults;

	foreach my $status (qw(pending sending imported failed invalid in_doubt))
	{
		my $n = $row->{counts}{$status} // 0;

		push @faults, "im_import_status counts $row->{status}{$status} $status rows, there are $n"
		  if $row->{status}{$status} != $n;
	}
	push @faults, "im_import_status counts $row->{status}{total} rows, there are $row->{count}"
	  if $row->{status}{total} != $row->{count};
	return @faults;
}

# Settles every row in doubt by what the service really has; returns how many.
sub resolve_doubts
{
	my ($node, $books, $where) = @_;
	my @rows = rows($node, "SELECT id, name FROM im_group_outbox WHERE status = 'in_doubt' AND $where");
	my $sql = '';

	foreach my $row (@rows)
	{
		my $group = $books->{groups}{ $row->{name} };

		$sql .= "SELECT im_import_resolve($row->{id}"
		  . ($group ? ", '$group->[0]{group_id}'" : '') . ");\n";
	}
	$node->safe_psql('postgres', $sql) if @rows;
	return scalar @rows;
}

1;
