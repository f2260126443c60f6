# DROP EXTENSION in the middle of a drain, and a version that the library does
# not know.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { max_in_flight => 8, rate_limit => 1000, request_timeout => '120s' });
my $started_at = value_of($node, 'SELECT pg_postmaster_start_time()');

hold_in_flight($node, $service, 60, 'held');
# The requests would end after 120 s; the worker leaves as soon as it sees the drop.
is(error_of($node, "SET statement_timeout = '60 s'; DROP EXTENSION im_import CASCADE"), '', 'DROP EXTENSION does not wait for requests that are held');
worker_gone($node);

# Made anew at once, with rows that have the same ids.
connect_app($node, $service, options => { max_in_flight => 8, rate_limit => 1000 });
insert_groups($node, 30, 'new');
wait_settled($node);
is(status_of($node)->{imported}, 30, 'made anew: its rows are imported');
$service->clear;
$service->release;
insert_groups($node, 10, 'later');
wait_settled($node);
accounted($node, $service, others => strangers($node, $service), name => 'made anew: every row is accounted for');

# Dropped and made anew in one transaction, while the worker holds calls.
hold_in_flight($node, $service, 60, 'second');
my $mapping = "identifier '$service->{admin}', secret_key_file '$service->{key_file}'";
$node->safe_psql('postgres', <<SQL);
BEGIN;
DROP EXTENSION im_import CASCADE;
CREATE SCHEMA other;
CREATE EXTENSION im_import SCHEMA other;
CREATE SERVER im FOREIGN DATA WRAPPER im_import
	OPTIONS (sdkappid '$service->{sdkappid}', endpoint '@{[ $service->endpoint ]}', max_in_flight '8', rate_limit '1000');
CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS ($mapping);
COMMIT;
ALTER DATABASE postgres SET search_path = other, public;
SQL
$service->clear;
$service->release;
insert_groups($node, 70, 'third');
wait_settled($node);
is(status_of($node)->{imported}, 70, 'in another schema, at once: its rows are imported');
accounted($node, $service, others => strangers($node, $service), name => 'in another schema: every row is accounted for');

# A rolled back DROP EXTENSION drops nothing.
hold_in_flight($node, $service, 60, 'stays');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION im_import CASCADE; ROLLBACK');
$service->clear;
$service->release;
wait_settled($node);
accounted($node, $service, others => strangers($node, $service), name => 'rolled back: every row is accounted for');

# ALTER EXTENSION UPDATE in the middle, to a version that the library does not
# know: answers are kept until they can be written.  The scripts are the
# test's, in the server's own folder, which is a copy made for the tests.
my $scripts = $node->config_data(q(--sharedir)) . q(/extension);
foreach my $path ('1.0--9.9', '9.9--1.0')
{
	open(my $script, '>', "$scripts/im_import--$path.sql") or die "open $scripts/im_import--$path.sql: $!";
	print $script "COMMENT ON VIEW \@extschema\@.im_import_status IS 'of $path';\n";
	close $script or die "close: $!";
}
END { unlink "$scripts/im_import--1.0--9.9.sql", "$scripts/im_import--9.9--1.0.sql" if defined $scripts }
sub set_version { $node->safe_psql('postgres', "ALTER EXTENSION im_import UPDATE TO '$_[0]'") }

hold_in_flight($node, $service, 60, 'version');
set_version('9.9');
poll_until { PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /is now "not configured": the extension's version/ } 'the worker to see it';
my $groups = $service->stats->{groups};
$service->clear;
$service->release;
poll_until { $service->stats->{held} == 0 } 'the answers';
like(error_of($node, 'SELECT * FROM im_import_status'), qr/not of the library's version.*ALTER EXTENSION im_import UPDATE/s,
	'an unknown version: a clear error');
like(error_of($node, 'SELECT im_import_group(o) FROM im_group_outbox o LIMIT 1'), qr/not of the library's version/,
	'also to who hands over a row');
is($service->stats->{groups}, $groups, 'nor is anything sent that had been claimed before');
set_version('1.0');
wait_settled($node);
my $posted = posted($service, 'version');
is(scalar(keys %$posted) . ' ' . scalar(grep { $_ > 1 } values %$posted), '60 0', 'the version is back: all are imported, with one call each');
accounted($node, $service, others => strangers($node, $service), name => 'the version is back: every row is accounted for');

# While idle: a worker that comes sends nothing, and goes.
worker_gone($node);
set_version('9.9');
my $calls = $service->stats->{journaled};
my $starts = value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import');
insert_groups($node, 10, 'waits');
poll_until { value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import') > $starts } 'a worker';
worker_gone($node);
is($service->stats->{journaled}, $calls, 'an unknown version: nothing is sent');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'waits%' AND status = 'pending'"), 10, 'the rows wait');
set_version('1.0');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'updated: all are imported');
accounted($node, $service, others => strangers($node, $service), name => 'updated: every row is accounted for');

is(value_of($node, 'SELECT pg_postmaster_start_time()'), $started_at, 'the server never went down');
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /PANIC|was terminated by signal/g), 0, 'nothing crashed');

done_testing();
