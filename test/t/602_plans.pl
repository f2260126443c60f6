# No statement of the worker reads the whole outbox: each plan that it ran, as
# auto_explain logs them, on a table never analysed, on one that is, and on one
# that was planned for with hardly any rows and grew; with rows waiting, done,
# failed, due again and in flight at a worker's death.

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

	# Back-offs of a minute and more are not waited for.
	poll_until {
		$node->safe_psql('postgres', "UPDATE im_group_outbox SET due_at = now() WHERE status = 'pending' AND due_at > now(); SELECT im_import_resume()");
		my $status = status_of($node);
		$status->{pending} + $status->{sending} == 0;
	} 'all rows to be settled';
	return;
}

# The worker's plans of statements that name the outbox, by the statement's text.
sub plans
{
	my ($outbox) = @_;
	my %plans;
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);

	foreach my $entry (split /^(?=[a-z_ ]+\|)/m, $log)
	{
		next unless $entry =~ /^im_import[^|]*\|.*?plan:\n\s*Query Text: ([^\n]*)\n(.*)/s;
		my ($text, $plan) = ($1, $2);

		push @{ $plans{$text} }, $plan if $text =~ ($outbox // qr/im_group_outbox/);
	}
	return \%plans;
}

# True for a plan that would read all of the outbox, or all that waits in it: it
# must find single rows by the primary key or by source_id, or go along a partial
# index of open rows from where it begins.  Few rows are ever "sending".  Of new rows
# so many are read, by their ids, whatever they are: those may be sorted.
sub reads_all
{
	my ($plan) = @_;

	$plan =~ s/->  (?:Unique|HashAggregate) (?:(?!->  Limit ).)*->  Limit [^\n]*\n\s*->  Index Scan using im_(?:member|message|unread)_outbox_pkey [^\n]*\n\s*Index Cond: \(id > \$2\)\n/->  Rooms\n/s;
	return 1 if $plan =~ /Hash|Merge Join|Materialize|Sort|(?:Seq|Bitmap Heap) Scan on im_group_outbox/;
	while ($plan =~ /Scan(?: Backward)? using (\w+) on im_group_outbox\b[^\n]*((?:\n\s*(?!->)[^\n]*)*)/g)
	{
		my ($index, $below) = ($1, $2);

		next if $index eq 'im_group_outbox_sending';
		# The highest id stands at the end of the index.
		next if $below =~ /Index Cond: \(id IS NOT NULL\)/ && $plan =~ /Limit/;
		next if $plan =~ /^\s*->  Limit [^\n]*\n\s*->  Index Only Scan Backward using im_group_outbox_pkey [^\n]*\n?\z/m;
		my $single = { im_group_outbox_pkey => 'id', im_group_outbox_key => 'source_id', im_group_outbox_undone => 'group_id', im_group_outbox_coming => '"left"\(group_id, 64\)' }->{$index};
		my $column = $single // 'origin';
		return 1 unless $below =~ /Index Cond: \(+$column = /;
	}
	return 0;
}

# Such plans.  A recount must be one, and is no part of the drain.
sub scans
{
	my ($plans) = @_;
	my @found;

	foreach my $text (sort keys %$plans)
	{
		next if $text =~ /_im_tally.*GROUP BY origin/;
		my @bad = grep { reads_all($_) } @{ $plans->{$text} };

		push @found, "$text\n$bad[0]" if @bad;
	}
	return @found;
}

live('new');
$node->safe_psql('postgres', 'ANALYZE im_group_outbox');
live('known');
my $plans = plans();

cmp_ok(scalar(keys %$plans), '>=', 8, scalar(keys %$plans) . ' statements of the worker were planned');
ok((grep { /status = 'pending' AND due_at IS NULL.* ORDER BY id LIMIT/ } keys %$plans), 'the claim is among them');
is(join("\n", scans($plans)), '', 'none of them reads the whole outbox');
accounted($node, $service, name => 'every row is accounted for');

# To the planner, reading all of hardly any rows costs next to nothing.  A worker
# that has planned then must plan anew when the table grows.
$service->clear;
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '120s')");
$node->safe_psql('postgres', 'TRUNCATE im_group_outbox');
insert_groups($node, 1, 'single');
wait_settled($node);
$node->safe_psql('postgres', 'VACUUM ANALYZE im_group_outbox');
worker_gone($node);
insert_groups($node, 1, 'planned');
wait_settled($node);
$service->fault({ do => 'hold', match => { name => 'stays*' } });
insert_groups($node, 1, 'stays');
$service->wait_for(held => 1);
my $worker = status_of($node)->{worker_pid};
truncate $node->logfile, 0;
insert_groups($node, 3000, 'grown');
poll_until { status_of($node)->{imported} == 3002 } 'all but the one';
is(status_of($node)->{worker_pid}, $worker, 'grown: by the worker that planned with hardly any rows');
$plans = plans();
ok((grep { /SET status = 'sending'/ } keys %$plans) && (grep { /SET status = v\.status/ } keys %$plans), 'grown: what it marks and what it settles is among its plans');
is(join("\n", scans($plans)), '', 'grown: none of them reads the whole outbox');
$service->clear;
$service->release;
wait_settled($node);
accounted($node, $service, others => strangers($node, $service), name => 'grown: every row is accounted for');

# Members and messages that were analysed when none was open: the indexes of open
# rows seem to be empty, and reading all of one for each row to cost nothing.
my $rooms = 12;
$node->safe_psql('postgres', <<SQL);
SELECT im_import_pause();
INSERT INTO im_group_outbox (source_id, type, name, create_time) SELECT 'room ' || g, 'Public', 'room', '2020-01-01' FROM generate_series(1, $rooms) g;
SQL
sub load_rooms
{
	my ($load) = @_;

	$node->safe_psql('postgres', <<SQL);
INSERT INTO im_member_outbox (group_source_id, member_account)
SELECT 'room ' || g, 'u-$load-' || m FROM generate_series(1, $rooms) g, generate_series(1, 100) m;
INSERT INTO im_message_outbox (group_source_id, from_account, send_time, text)
SELECT 'room ' || g, 'u', timestamptz '2020-01-01' + interval '1 hour' * $load + interval '1 minute' * m, 'text' FROM generate_series(1, $rooms) g, generate_series(1, 30) m;
SELECT im_import_resume();
SQL
	poll_until { my $status = status_of($node); $status->{pending} + $status->{sending} == 0 } "rooms, load $load";
	return;
}
load_rooms(1);
$node->safe_psql('postgres', 'VACUUM ANALYZE im_member_outbox, im_message_outbox');
truncate $node->logfile, 0;
load_rooms(2);
$plans = plans(qr/AS r \(room, after, n\),.*im_(?:member|message)_outbox o ON/);
is(scalar(keys %$plans), 2, 'rooms: both claims are among the plans');
is(join("\n", grep { / using (?!\w+_pkey )\w+ on im_\w+_outbox o\b/ } map { @$_ } values %$plans), '',
	'rooms: a row to be claimed is found by its id');

done_testing();
