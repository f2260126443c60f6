# Nine of ten rows refused for one reason: the drain pauses before all of them
# are; a person mends, retries and resumes.  Fewer, or for different reasons,
# is not that case.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;
use PostgreSQL::Test::Utils qw(slurp_file);

use ImTest;
use ImFence;
use ImKinds;

my ($node, $service) = set_up(options => { rate_limit => 1000, max_in_flight => 16 });

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Different reasons, 50 % each; and one reason for 80 %.
$service->fault(
	{ do => 'code', code => 10019, match => { name => 'mixed*', command => 'import_group', every => 2 } },
	{ do => 'code', code => 10007, match => { name => 'mixed*', command => 'import_group' } });
insert_groups($node, 500, 'mixed');
wait_settled($node);
my $status = status_of($node);
is("$status->{state} $status->{failed}", 'idle 500', 'two reasons, half and half: no pause');
$service->clear;
$service->fault(
	{ do => 'delay', ms => 0, match => { name => 'most*', command => 'import_group', every => 5 } },
	{ do => 'code', code => 10019, match => { name => 'most*', command => 'import_group' } });
insert_groups($node, 500, 'most');
wait_settled($node);
$status = status_of($node);
is("$status->{state} $status->{failed}", 'idle 900', 'four of five refused: no pause');
$service->clear;

# Nineteen of twenty.
$service->fault(
	{ do => 'delay', ms => 0, match => { name => 'nearly*', command => 'import_group', every => 20 } },
	{ do => 'code', code => 10019, match => { name => 'nearly*', command => 'import_group' } });
insert_groups($node, 1000, 'nearly');
$status = wait_state($node, 'paused');
poll_until { ($status = status_of($node))->{sending} == 0 } 'calls in flight';
like($status->{reason}, qr/paused by im_import: .*10019.*im_import_resume/, 'nineteen of twenty: paused, with reason and cure');
cmp_ok($status->{pending}, '>', 300, "nineteen of twenty: $status->{pending} rows were spared");
like(error_of($node, 'CALL im_import_wait()'), qr/cannot go on: paused.*10019/s, 'im_import_wait() says so');
worker_gone($node);
my $calls = $service->stats->{journaled};
$node->restart;
is(status_of($node)->{state}, 'paused', 'the pause survives a restart');
visit();
is($service->stats->{journaled}, $calls, 'nothing is sent while paused');

# A worker that comes because options changed; for a new row none comes.
sub visit
{
	worker_gone($node);			# or the one that is there would do
	my $starts = value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import');

	insert_groups($node, 1, "bell $starts ");
	sql('SELECT im_import_set_rate(1000)');
	poll_until { value_of($node, 'SELECT max(worker_starts) FROM pg_stat_im_import') > $starts } 'a worker';
	worker_gone($node);
}

# Resumed without a cure: it pauses again, and not at the first row.  The first
# transactions that would pause it fail: it is not forgotten.
my $failed = status_of($node)->{failed};
sql(q{CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
	CREATE TRIGGER not_now BEFORE UPDATE ON _im_control FOR EACH ROW WHEN (NEW.paused_at IS NOT NULL) EXECUTE FUNCTION not_now();
	ALTER TABLE _im_control ENABLE ALWAYS TRIGGER not_now});
my $log_before = -s $node->logfile;
sql('SELECT im_import_resume()');
poll_until { substr(slurp_file($node->logfile), $log_before) =~ /not now/ } 'a pause that cannot be written';
sql('DROP TRIGGER not_now ON _im_control');
poll_until { $status = status_of($node); $status->{failed} > $failed && $status->{state} eq 'paused' } 'the next pause';
poll_until { ($status = status_of($node))->{sending} == 0 } 'calls in flight';
cmp_ok($status->{failed} - $failed, '>=', 180, 'resumed without a cure: another 200 rows, then paused again');
cmp_ok($status->{failed} - $failed, '<', 330, 'though the first transaction that would pause it failed');

$service->clear;
my $failures = status_of($node)->{failed};
is(sql('SELECT im_import_retry(10019)') + sql('SELECT im_import_retry()'), $failures, 'im_import_retry() takes them all');
sql('SELECT im_import_resume()');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'mended: every row is imported');
accounted($node, $service);

# Refused within their calls: members of whom none has an account.  Twenty a call, so
# that 180 calls are 3,600 rows; and rows of a room that is gone are one refusal a call.
$service->set(accounts => 'listed');
sql(q{INSERT INTO im_group_outbox (source_id, group_id, type, name) SELECT 'big' || i, 'big' || i, 'Public', 'big' FROM generate_series(0, 4) i;
	INSERT INTO im_group_outbox (source_id, group_id, type, name) VALUES ('gone', 'gone', 'Public', 'gone')});
wait_settled($node);
$service->change('group', group_id => 'gone');
my $before = $service->stats->{journaled};
sql(q{INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'gone', 'm' || i FROM generate_series(1, 100) i});
wait_kinds($node);
is(value_of($node, "SELECT string_agg(DISTINCT status || ' ' || error_code, ',') FROM im_member_outbox"), 'failed 10010', 'a room that is gone: its rows say so');
is($service->stats->{journaled} - $before, 5, 'and its calls are not split');
sql(q{INSERT INTO im_member_outbox (group_source_id, member_account) SELECT 'big' || i % 5, 'm' || i FROM generate_series(1, 8000) i});
$status = wait_state($node, 'paused');
poll_until { value_of($node, "SELECT count(*) FROM im_member_outbox WHERE status = 'sending'") == 0 } 'calls in flight';
like($status->{reason}, qr/paused by im_import: .*refused their rows with error code -12;/, 'refused within their calls: paused');
my $spared = value_of($node, "SELECT count(*) FROM im_member_outbox WHERE status = 'pending'");
cmp_ok($spared, '>', 2000, "and $spared rows were spared");
$service->set(accounts => 'any');
sql('SELECT im_import_retry(); SELECT im_import_resume()');
wait_kinds($node);
is(value_of($node, "SELECT string_agg(DISTINCT concat_ws(' ', status, error_code), ',') FROM im_member_outbox WHERE group_source_id LIKE 'big%'"), 'imported', 'mended: all are imported');

done_testing();
