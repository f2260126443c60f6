# What a drain must not keep other people from: DROP DATABASE and CREATE
# DATABASE ... TEMPLATE, while requests are held by the service.  Nothing here
# asks how long it took; the requests are still held when it is done.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $other_service = ImService->new(name => 'other', sdkappid => 20000001);
my $node = start_cluster();
my %held = (max_in_flight => 8, rate_limit => 1000, request_timeout => '120s');

# Databases: at work, idle with the extension, without it.
foreach my $db (qw(busy idle))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	connect_app($node, $db eq 'busy' ? $service : $other_service, db => $db, options => \%held);
}
$node->safe_psql('postgres', 'CREATE DATABASE bare');
insert_groups($node, 5, 'idle', 'idle');
wait_settled($node, 'idle');
hold_in_flight($node, $service, 50, 'busy', 'busy');

# Asserts that a command works while the requests are held.
sub works_meanwhile
{
	my ($sql) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(error_of($node, $sql), '', $sql);
	is($service->stats->{held}, 8, 'and the requests are still held');
}

works_meanwhile('DROP DATABASE bare');
worker_gone($node, 'idle');
works_meanwhile('CREATE DATABASE copy TEMPLATE idle');
works_meanwhile('DROP DATABASE copy');
works_meanwhile('ALTER DATABASE idle RENAME TO lazy');
works_meanwhile('DROP DATABASE lazy');
works_meanwhile("CREATE TABLESPACE ts LOCATION '@{[ PostgreSQL::Test::Utils::tempdir() ]}'");
works_meanwhile('CREATE DATABASE elsewhere TABLESPACE ts');
works_meanwhile('DROP DATABASE elsewhere');
works_meanwhile('DROP TABLESPACE ts');
works_meanwhile('CREATE DATABASE bare2; DROP DATABASE bare2');

# A transaction is not open while they are held: nothing keeps old rows alive.
is(
	value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'im_import%' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"),
	0, 'the worker holds no snapshot meanwhile');

# The database at work itself: by force, in the middle.
like(error_of($node, 'DROP DATABASE busy'), qr/being accessed/, 'the database at work is not dropped by accident');
is($service->stats->{held}, 8, 'and goes on');
$service->clear;
$service->release;
wait_settled($node, 'busy');
accounted($node, $service, db => 'busy');
hold_in_flight($node, $service, 50, 'again', 'busy');
is(error_of($node, 'DROP DATABASE busy WITH (FORCE)'), '', 'DROP DATABASE ... WITH (FORCE) of the database at work');
$service->clear;
$service->release;

# What has happened is no reason to stop working elsewhere, nor to try again.
my $third = ImService->new(name => 'third');
$node->safe_psql('postgres', 'CREATE DATABASE busy');
connect_app($node, $third, db => 'busy');
insert_groups($node, 20, 'third', 'busy');
wait_settled($node, 'busy');
accounted($node, $third, db => 'busy', name => 'a new database of that name: every row is accounted for');
worker_gone($node, 'busy');
is(error_of($node, 'DROP DATABASE busy'), '', 'which can be dropped');
is(value_of($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'im_import launcher'"), 1, 'the launcher is there');

done_testing();
