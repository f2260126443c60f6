# No room for the log: the server stops itself with a PANIC, whatever the
# import was doing; with room again, nothing is lost and nothing is twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ImTmpfs;
use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $node = PostgreSQL::Test::Cluster->new('main');

$node->init(extra => [ '--encoding=UTF8', '--locale=C', '--wal-segsize=1', "--waldir=$ENV{IM_TMPFS}/wal" ]);
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'im_import'
max_worker_processes = 12
min_wal_size = 2MB
max_wal_size = 4MB
wal_recycle = off
restart_after_crash = off
CONF
$node->start;
connect_app($node, $service, options => { max_in_flight => 16, rate_limit => 1000, request_timeout => '120s' });

# Takes all room, also what a checkpoint frees, sees the server stop, and
# starts it with room.
sub panic_and_return
{
	my ($name) = @_;

	poll_until { fill_disk(); PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /PANIC:.*No space left on device/ } "$name: a PANIC";
	poll_until { !-e $node->data_dir . '/postmaster.pid' } "$name: the server to end";
	$node->{_pid} = undef;
	make_room();
	truncate $node->logfile, 0;
	$node->start;
	wait_settled($node);
	accounted($node, $service, name => "$name: every row is accounted for");
	return;
}

# While rows are claimed and written all the time.
insert_groups($node, 5000, 'drain', undef, introduction => "repeat('x', 240)");
poll_until { status_of($node)->{imported} > 100 } 'a drain';
panic_and_return('while it drains');
is(status_of($node)->{imported}, 5000, 'while it drains: all are imported');

# While the answers are on their way.
hold_in_flight($node, $service, 300, 'answer');
fill_disk();
$service->clear;
$service->release;
$node->psql('postgres', 'INSERT INTO im_group_outbox (type, name, owner_account, source_id) '
	  . "SELECT 'Public', 'lost', 'nobody', repeat('x', 490) || i FROM generate_series(1, 20000) i");
panic_and_return('answers on their way');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 5300, 'answers on their way: all are imported');
$node->stop;

done_testing();
