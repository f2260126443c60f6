# The disk is full: claims fail and nothing is sent, answers are kept until
# they can be written, and it goes on when there is room again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ImTmpfs;
use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $node = start_cluster();

mkdir "$ENV{IM_TMPFS}/space" or die "mkdir $ENV{IM_TMPFS}/space: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$ENV{IM_TMPFS}/space'");
$node->safe_psql('postgres', 'CREATE DATABASE small TABLESPACE small');
connect_app($node, $service, db => 'small', options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });

# Rows so wide that a new version needs a new page.
my %wide = (introduction => "repeat('x', 200)", notification => "repeat('y', 250)");
sub imported { return value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'", 'small') }

# In some versions (19) reading notes what every transaction can see, in a file
# beside the table's: it must be there before the disk is full, since the test
# asks meanwhile.
sub files_for_readers
{
	$node->safe_psql('small', 'VACUUM');
	return;
}

sub out_of_space
{
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);

	return scalar(() = $log =~ /ERROR:.*No space left on device/g);
}

insert_groups($node, 10, 'before', 'small');
wait_settled($node, 'small');
files_for_readers();

# While rows wait: claims fail, so nothing is sent.
$node->safe_psql('small', 'SELECT im_import_pause()');
insert_groups($node, 600, 'claim', 'small', %wide);
$node->safe_psql('small', 'CHECKPOINT');
worker_gone($node, 'small');
fill_disk();
my $calls = $service->stats->{journaled};
$node->psql('small', 'SELECT im_import_resume()');
poll_until { out_of_space() > 0 } 'the disk to be full';
poll_until { value_of($node, 'SELECT 1', 'small') == 1 } 'the database to answer';
my $sent = $service->stats->{journaled};
my $doomed = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('sending', 'imported')", 'small');
cmp_ok($sent - $calls, '<=', $doomed, 'disk full: nothing was sent without a claim');
make_room();
wait_settled($node, 'small');
is(imported(), 610, 'room again: all are imported');
accounted($node, $service, db => 'small', name => 'room again: every row is accounted for');

# While requests are held: the answers are kept.
$node->safe_psql('small', 'VACUUM FULL im_group_outbox');
files_for_readers();
hold_in_flight($node, $service, 300, 'answer', 'small', %wide);
my $errors = out_of_space();
fill_disk();
$service->clear;
$service->release;
poll_until { out_of_space() > $errors } 'an answer that cannot be written';
make_room();
wait_settled($node, 'small');
is(imported(), 910, 'answers kept: all are imported');
is(scalar(grep { $_ > 1 } values %{ posted($service, 'answer') }), 0, 'answers kept: none was sent twice');
accounted($node, $service, db => 'small', name => 'answers kept: every row is accounted for');

# And a crash with a full disk.
hold_in_flight($node, $service, 300, 'crash', 'small', %wide);
fill_disk();
$service->clear;
$service->release;
$errors = out_of_space();
poll_until { out_of_space() > $errors || imported() == 1210 } 'an answer that cannot be written';
$node->stop('immediate');
make_room();
$node->start;
wait_settled($node, 'small');
is(imported(), 1210, 'after a crash: all are imported');
accounted($node, $service, db => 'small', name => 'after a crash: every row is accounted for');
$node->stop;

done_testing();
