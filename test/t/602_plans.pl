# No statement of the worker reads the whole outbox: each plan that it ran, as
# auto_explain logs them, on a table never analysed and on one that is; with rows
# waiting, done, failed, due again and in flight at a worker's death.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my $library = (split /\n/, `pg_config --pkglibdir`)[0] . '/auto_explain.so';
plan skip_all => "there is no $library" unless -e $library;

my $service = ImService->new;
my $node = start_cluster(conf => <<CONF);
shared_preload_libraries = 'im_import, auto_explain'
auto_explain.log_min_duration = 0
log_line_prefix = '%b|'
autovacuum = off
restart_after_crash = on
log_autovacuum_min_duration = -1
CONF

connect_app($node, $service, options => { rate_limit => 2000, max_in_flight => 32, request_timeout => '2s', max_attempts => 3 });
$service->fault(
	{ do => 'close_before', match => { command => 'import_group', every => 13 } },
	{ do => 'code', code => 10002, match => { command => 'import_group', every => 17 } },
	{ do => 'code', code => 10015, match => { command => 'import_group', every => 31 } });

# Everything that a worker does with rows: first sendings, retries, refusals,
# rows that are not sent, recovery after its death.
sub live
{
	my ($name) = @_;

	insert_groups($node, 2000, $name);
	$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Public', repeat('x', 31) FROM generate_series(1, 20)");
	poll_until { status_of($node)->{sending} > 0 } 'rows in flight';
	$node->safe_psql('postgres', 'SELECT pg_terminate_backend(worker_pid) FROM im_import_status WHERE worker_pid IS NOT NULL');
	hold_in_flight($node, $service, 20, "held $name");
	kill 'KILL', status_of($node)->{worker_pid};
	$service->clear;
	$service->release;
	poll_until { eval { $node->safe_psql('postgres', 'SELECT 1') } } 'the server';
	$service->fault({ do => 'code', code => 10002, match => { command => 'import_group', every => 17 } });
	wait_settled($node);
	return;
}

# The worker's plans of statements that name the outbox, by the statement's text.
sub plans
{
	my %plans;
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);

	foreach my $entry (split /^(?=[a-z_ ]+\|)/m, $log)
	{
		next unless $entry =~ /^im_import[^|]*\|.*?plan:\n\s*Query Text: ([^\n]*)\n(.*)/s;
		my ($text, $plan) = ($1, $2);

		push @{ $plans{$text} }, $plan if $text =~ /im_group_outbox/;
	}
	return \%plans;
}

# Plans that would read all of it.  A recount must, and is no part of the drain.
sub scans
{
	my ($plans) = @_;
	my @found;

	foreach my $text (sort keys %$plans)
	{
		next if $text =~ /im_import_tally.*GROUP BY origin/;
		my @bad = grep { /(?:Seq|Bitmap Heap) Scan on im_group_outbox|Hash|Index Scan using im_group_outbox_pkey on im_group_outbox[^\n]*\n\s*Filter/ } @{ $plans->{$text} };

		push @found, "$text\n$bad[0]" if @bad;
	}
	return @found;
}

live('new');
$node->safe_psql('postgres', 'ANALYZE im_group_outbox');
live('known');
my $plans = plans();

cmp_ok(scalar(keys %$plans), '>=', 8, scalar(keys %$plans) . ' statements of the worker were planned');
ok((grep { /status = 'pending' AND due_at IS NULL ORDER BY id LIMIT/ } keys %$plans), 'the claim is among them');
is(join("\n", scans($plans)), '', 'none of them reads the whole outbox');
accounted($node, $service, name => 'every row is accounted for');

done_testing();
