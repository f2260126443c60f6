# Groups in doubt are asked for together: after a crash 128 lookups are 3 calls,
# and each row is decided by what the answer says of its own group.  A call that
# fails as a whole decides nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my $ROWS = 128;
my ($node, $service) = set_up(options => { max_in_flight => $ROWS, rate_limit => 2000, max_attempts => 3, request_timeout => '60s' });

sub sql { return $node->safe_psql('postgres', $_[0]) }

# How many rows of a name have a status.
sub count_of
{
	my ($status, $like) = @_;

	return value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = '$status' AND name LIKE '$like'");
}

# The GroupIds of each lookup, in the order of the calls.
sub lookups { return map { json($_->{body})->{GroupIdList} } $service->journal('get_group_info') }

# Rows of as many groups, named by what they meet.
sub load
{
	my ($what, $from, $to) = @_;

	return "INSERT INTO im_group_outbox (source_id, type, group_id, name) "
	  . "SELECT '$what' || i, 'Public', 'g' || i, '$what' || i FROM generate_series($from, $to) i";
}

# ---------------------------------------------------------------------------
# A crash with 128 rows on their way: 100 groups are made, 20 are another's, and of
# 8 the service says "taken", although it has none

sql("SELECT count(im_import_group(q)) FROM (SELECT 'Public' AS type, 'g' || i AS group_id, 'somebody''s' AS name FROM generate_series(101, 120) i) q");
$service->fault(map { { do => 'hold', match => { command => 'import_group', name => "$_*" } } } qw(made foreign));
$service->fault({ do => 'hold', apply => \0, match => { command => 'import_group', name => 'ghost*' } });
sql("SELECT im_import_pause('until all rows are there')");
# It is answered, so that the others go at once: else one call goes alone.
insert_groups($node, 1, 'first');
sql(load('made', 1, 100));
sql(load('foreign', 101, 120));
sql(load('ghost', 121, $ROWS));
sql('SELECT im_import_resume()');
$service->wait_for(held => $ROWS);
is(scalar(lookups()), 0, 'nothing was asked for');
$node->stop('immediate');
$service->clear;
$service->fault(map { { do => 'code', code => 10021, info => 'taken', times => 1, match => { name => "ghost$_", command => 'import_group' } } } 121 .. $ROWS);
$node->start;
wait_settled($node);

my @asked = lookups();
is_deeply([ sort { $a <=> $b } map { scalar @$_ } @asked ], [ 28, 50, 50 ], '128 lookups are 3 calls');
is_deeply([ sort map { @$_ } @asked ], [ sort map { "g$_" } 1 .. $ROWS ], 'each group was asked for once');
is(count_of('imported', 'made%'), 100, 'a group that is there and ours: imported');
is(count_of('in_doubt', 'foreign%'), 20, "another's: in doubt");
like(value_of($node, "SELECT error_info FROM im_group_outbox WHERE name = 'foreign101'"), qr/exists with other content/, 'which it says');
is(count_of('imported', 'ghost%'), 8, 'a group that is not there: sent again, and imported');
my %sent;
$sent{ json($_->{body})->{Name} }++ foreach $service->journal('import_group');
is_deeply([ map { $sent{"ghost$_"} } 121 .. $ROWS ], [ (3) x 8 ], 'after the crash and after the lookup');
is($sent{made1}, 2, 'the others once after the crash');
is(value_of($node, 'SELECT sum(lookups) FROM pg_stat_im_import') + 0, 3, 'and the counters know of 3 lookups');

# ---------------------------------------------------------------------------
# One group makes every call fail in which it is asked for: the rows beside it are
# decided as if it were not there

$service->clear;
$service->fault({ do => 'hold', match => { command => 'import_group', name => 'beside*' } });
sql("SELECT im_import_pause('until all rows are there')");
insert_groups($node, 1, 'second');
sql(load('beside', 201, 240));
sql('SELECT im_import_resume()');
$service->wait_for(held => 40);
$node->stop('immediate');
$service->clear;
$service->fault({ do => 'code', code => 10002, match => { group_id => 'g207', command => 'get_group_info' } });
$node->start;
wait_settled($node);
is(count_of('imported', 'beside%'), 39, 'all but that one are imported');
is(value_of($node, "SELECT status || ' ' || (error_info LIKE '%could not be looked up%') FROM im_group_outbox WHERE name = 'beside207'"),
	'in_doubt true', 'that one is in doubt');
is(value_of($node, "SELECT max(attempts) FROM im_group_outbox WHERE name LIKE 'beside%' AND status = 'imported'"), 2,
	'nothing is held against the others');

done_testing();
