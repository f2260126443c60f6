# groups_per_day counts every call that may have made a group: also those whose
# answer was lost, and those that were under way when the server died.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImCrash;

my ($node, $service) = set_up(options => { rate_limit => 40, groups_per_day => 100 });

# Half of the answers are lost, after the group was made.
$service->fault({ do => 'close_after', match => { command => 'import_group', every => 2 } });
insert_groups($node, 400, 'lossy');
wait_state($node, 'quota');
cmp_ok($service->stats->{groups}, '<=', 100, 'half of the answers lost: no more groups than the budget');
cmp_ok($service->stats->{groups}, '>=', 50, 'and not half as many: a lost answer to a second attempt counts again');
poll_until { value_of($node, 'SELECT sum(groups) FROM _im_days') >= $service->stats->{groups} } 'the count of each group';
wait_state($node, 'quota');
cmp_ok($service->stats->{groups}, '<=', 100, 'every group is counted, and no other was made');

# The same budget survives deaths: at most what one second may lose, each.
$service->clear;
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET groups_per_day '200')");
foreach my $death (1 .. 2)
{
	my $groups = $service->stats->{groups};

	poll_until { $service->stats->{groups} >= $groups + 20 } 'some more groups';
	die_of($node, 'immediate stop');
}
wait_state($node, 'quota');
cmp_ok($service->stats->{groups}, '<=', 200 + 2 * 40, 'after two deaths: the budget and what two seconds may lose');
is(join('; ', count_faults($node)), '', 'the counts are exact');

done_testing();
