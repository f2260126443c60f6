# A row belongs to the call that claimed it, for as long as that takes; and an
# answer that comes after the row was taken away from its call changes nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { request_timeout => '60s', group_ids => 'assigned' });

# A row by its name (insert_groups() adds the 1).
sub row_of
{
	my ($name) = @_;

	return row($node, "SELECT * FROM im_group_outbox WHERE name = '${name}1'");
}

# Lets the worker do whatever it does with rows that are not its own.
my $n = 0;
sub pass_some
{
	$n++;
	insert_groups($node, 5, "pass$n-");
	poll_until {
		value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'pass$n-%' AND status = 'imported'") == 5;
	} 'other rows to pass';
}

# ---------------------------------------------------------------------------
# Long in flight is not dead

pass_some();    # the first call after a start goes alone
$service->fault({ do => 'hold', times => 2, match => { name => 'long*', command => 'import_group' } });
insert_groups($node, 1, 'long-given', undef, group_id => "'long-given'");
$service->wait_for(held => 1);
insert_groups($node, 1, 'long-assigned');
$service->wait_for(held => 2);
my $claims = value_of($node, "SELECT string_agg(claim::text, ',' ORDER BY id) FROM im_group_outbox WHERE status = 'sending'");

# Longer than any sweep by age would wait.
poll_until {
	pass_some();
	value_of($node, "SELECT min(clock_timestamp() - sent_at) > interval '12 s' FROM im_group_outbox WHERE status = 'sending'") ne 'f';
} 'the calls to grow old';
is(value_of($node, "SELECT string_agg(claim::text, ',' ORDER BY id) FROM im_group_outbox WHERE status = 'sending'"),
	$claims, 'a call that takes long keeps its row');
$service->release;
poll_until { row_of($_)->{status} eq 'imported' } "$_ to be imported" foreach qw(long-given long-assigned);
is(scalar($service->calls_for("${_}1")), 1, "$_ was sent once") foreach qw(long-given long-assigned);

# ---------------------------------------------------------------------------
# Taken away and claimed anew: only the new claim's answer counts

$service->fault(
	{ do => 'hold', code => 10019, info => 'too late', times => 1, match => { name => 'stolen1', command => 'import_group' } },
	{ do => 'hold', times => 1, match => { name => 'stolen1', command => 'import_group' } });
insert_groups($node, 1, 'stolen', undef, group_id => "'stolen'");
$service->wait_for(held => 1);
my $first = row_of('stolen')->{claim};
$node->safe_psql('postgres', <<SQL);
SET session_replication_role = replica;
UPDATE im_group_outbox SET status = 'pending', claim = NULL WHERE name = 'stolen1';
SQL
poll_until {
	pass_some();
	$service->stats->{held} == 2;
} 'the row to be claimed anew';
my $second = row_of('stolen')->{claim};
isnt($second, $first, 'the row has a new claim');
my $refused = value_of($node, 'SELECT sum(replies_row) FROM pg_stat_im_import');
$service->control('release', { count => 1 });
poll_until { value_of($node, 'SELECT sum(replies_row) FROM pg_stat_im_import') > $refused } 'the answer to the first claim';
pass_some() foreach 1 .. 3;
is(row_of('stolen')->{status} . ' ' . (row_of('stolen')->{claim} // '-'), "sending $second",
	'the answer to a claim that is no more changes nothing');
$service->release;
poll_until { row_of('stolen')->{status} ne 'sending' } 'the answer to the second claim';
is(row_of('stolen')->{status}, 'imported', 'the answer to the claim that holds is written');
is(scalar(grep { $_->{name} eq 'stolen1' } $service->ledger), 1, 'and there is one group');

done_testing();
