# ImFence.pm
#	  What the tests of the fence share: rows in every state, copies of them,
#	  and proof that a copy sends nothing until it is told to.
package ImFence;

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use ImKinds;
use ImTest;

our @EXPORT = qw(
  content strangers posted visit_worker worker_gone stays_fenced adopted_and_imported
  fill_every_status hold_in_flight
);

# Everything that the outboxes hold, as one text; equal for equal contents.
sub content
{
	my ($node, $db) = @_;

	return value_of($node,
		join(" || ' ' || ", map { "(SELECT count(*) || ' ' || coalesce(md5(string_agg(o::text, E'\\n' ORDER BY id)), '') FROM im_${_}_outbox o)" }
			  kinds($node, $db)) =~ s/^/SELECT /r,
		$db);
}

# The groups that no row of this database has made.
sub strangers
{
	my ($node, $service, $db) = @_;
	my %own = map { ($_->{group_id} => 1) }
	  rows($node, 'SELECT group_id FROM im_group_outbox WHERE group_id IS NOT NULL', $db);

	return [ grep { !$own{$_} } map { $_->{group_id} } $service->ledger ];
}

# How often each name was sent, of those that begin with a prefix.  Read from
# the journal's file: through JSON it would take longer than the rest.
sub posted
{
	my ($service, $prefix) = @_;
	my $journal = PostgreSQL::Test::Utils::slurp_file("$service->{dir}/journal.jsonl");
	my %posted;

	$posted{$1}++ while $journal =~ /\\"Name\\":\\"(\Q$prefix\E[^"\\]*)\\"/g;
	return \%posted;
}

# No worker is connected to the database.
sub worker_gone
{
	my ($node, $db) = @_;
	my $query = sprintf
	  "SELECT count(*) FROM pg_stat_activity WHERE datname = '%s' AND backend_type = 'im_import worker'",
	  $db // 'postgres';

	poll_until { value_of($node, $query) == 0 } 'the worker to leave';
}

# Makes a worker come, look and leave; whatever it wants to do is done then.
sub visit_worker
{
	my ($node, $db) = @_;
	my $query = 'SELECT max(worker_starts) FROM pg_stat_im_import';

	worker_gone($node, $db);
	my $starts = value_of($node, $query, $db);
	$node->safe_psql($db // 'postgres', 'SELECT im_import_resume()');
	poll_until { value_of($node, $query, $db) > $starts } 'a worker to come';
	worker_gone($node, $db);
}

# A database whose rows are not its own to send: the status says so, and a
# worker that comes calls nobody.  Options: db, open (how many), reason.
sub stays_fenced
{
	my ($node, $service, %given) = @_;
	my $what = $given{name} // $given{db} // 'copy';
	my $status = wait_state($node, 'fenced', $given{db});
	my $before = content($node, $given{db});
	my $calls = $service->stats->{journaled};

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($status->{pending} + $status->{sending}, $given{open}, "$what: fenced, and its $given{open} open rows are counted");
	like($status->{reason}, $given{reason} // qr/^$given{open} open rows .*im_import_adopt/, "$what: the reason says why");
	like(error_of($node, 'CALL im_import_wait()', $given{db}), qr/cannot go on: fenced/, "$what: im_import_wait() raises");
	visit_worker($node, $given{db});
	is($service->stats->{journaled}, $calls, "$what: a worker that comes sends nothing");
	is(content($node, $given{db}), $before, "$what: and changes nothing");
}

# Adoption: how many rows it takes, that all of them are imported then, except
# so many in doubt, and that no new group is made but those that were missing.
# Options: db, adopted, doubt, created (new groups).
sub adopted_and_imported
{
	my ($node, $service, %given) = @_;
	my $what = $given{name} // $given{db} // 'copy';
	my $created = $service->stats->{groups};

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value_of($node, 'SELECT im_import_adopt()', $given{db}), $given{adopted}, "$what: im_import_adopt() takes the open rows")
	  if defined $given{adopted};
	wait_settled($node, $given{db});
	is($service->stats->{groups} - $created, $given{created}, "$what: no group was made twice") if defined $given{created};
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt' AND settled_at IS NOT NULL", $given{db}),
		$given{doubt} // 0, "$what: rows in doubt");
	accounted($node, $service, db => $given{db}, others => strangers($node, $service, $given{db}),
		name => "$what: every row is accounted for");
}

# Rows of every final status, and none open.  Returns how many of each.
sub fill_every_status
{
	my ($node, $service, $db) = @_;

	$service->fault(
		{ do => 'code', code => 10007, match => { command => 'import_group', name => 'refused*' } },
		{ do => 'close_after', match => { command => 'import_group', name => 'doubt*' } });
	insert_groups($node, 10, 'done', $db);
	insert_groups($node, 5, 'own id', $db, group_id => "'own-id-' || i");
	insert_groups($node, 3, 'refused', $db);
	$node->safe_psql($db // 'postgres',
		"INSERT INTO im_group_outbox (type, name) SELECT 'Nonsense', 'bad' || i FROM generate_series(1, 2) i");
	wait_settled($node, $db);
	$node->safe_psql($db // 'postgres', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
	insert_groups($node, 2, 'doubt', $db);
	wait_settled($node, $db);
	$node->safe_psql($db // 'postgres', "ALTER SERVER im OPTIONS (DROP group_ids)");
	$service->clear;
	return (imported => 15, failed => 3, invalid => 2, in_doubt => 2);
}

# Inserts rows of which the first is imported (or the drain would stay at one
# call at a time), eight are held by the service, created but unanswered, and
# the rest waits.  Needs max_in_flight 8.
sub hold_in_flight
{
	my ($node, $service, $n, $prefix, $db, %extra) = @_;

	my %match = (match => { command => 'import_group', name => "$prefix*" });

	$service->fault({ do => 'delay', ms => 0, times => 1, %match }, { do => 'hold', %match });
	insert_groups($node, $n, $prefix, $db, %extra);
	$service->wait_for(held => 8);
}

1;
