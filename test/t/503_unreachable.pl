# Nobody answers: refused connections, silence, a name that does not resolve.
# The rows wait, and the time does not count against them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { rate_limit => 1000, max_in_flight => 8, max_attempts => 3, request_timeout => '1s' });

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub attempts { return value_of($node, 'SELECT coalesce(sum(attempts), 0) FROM im_group_outbox WHERE status IN (\'pending\', \'sending\')') }

# How many times nobody has answered.
sub unanswered { return value_of($node, 'SELECT sum(no_reply) FROM pg_stat_im_import') }

sub goes_on
{
	my ($what) = @_;

	wait_settled($node);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, "$what: every row is imported");
	accounted($node, $service, name => "$what: every row is accounted for");
}

insert_groups($node, 5, 'first');
wait_settled($node);

# ---------------------------------------------------------------------------
# Nobody listens

$service->stop;
insert_groups($node, 100, 'down');
my $status = wait_state($node, 'unreachable');
like($status->{reason}, qr/does not answer.*next probe/, 'down: the reason says so');
# Longer than max_attempts calls of one row would last.
my $since = unanswered();
poll_until { unanswered() >= $since + 4 } 'some more probes';
is(attempts(), 0, 'down: no attempt counts');
is(status_of($node)->{pending}, 100, 'down: every row waits');
like(error_of($node, "CALL im_import_wait('1s')"), qr/timeout/, 'im_import_wait() has patience with that, until its timeout');
$node->restart;
wait_state($node, 'unreachable');
is(attempts(), 0, 'down, over a restart: no attempt counts');
$service->start;
goes_on('up again, by itself');

# ---------------------------------------------------------------------------
# Calls arrive, and nothing comes back

foreach my $silence ('close_before', 'reset_before', 'hold')
{
	my $before = $service->stats->{journaled};

	$service->fault({ do => $silence, apply => $silence eq 'hold' ? \0 : undef })
	  if $silence eq 'hold';
	$service->fault({ do => $silence }) if $silence ne 'hold';
	insert_groups($node, 100, "$silence ");
	$status = wait_state($node, 'unreachable');
	like($status->{reason}, qr/does not answer/, "$silence: unreachable");
	poll_until { $service->stats->{journaled} >= $before + 8 + 4 } 'some probes' if $silence ne 'hold';
	# What was claimed and not sent is given back a moment later.
	poll_until { status_of($node)->{sending} <= 1 } "$silence: rows to be given back";
	cmp_ok(attempts(), '<=', 16 + 8, "$silence: only the calls before that was known count as attempts (@{[ attempts() ]})");
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('failed', 'in_doubt')"), 0, "$silence: no row ended badly");
	$service->clear;
	$service->release;
	sql('SELECT im_import_resume()');
	goes_on($silence);
}

# ---------------------------------------------------------------------------
# "Done", and nothing that can be read of any row

# Each such answer is an attempt of the rows that it is about.
sql("ALTER SERVER im OPTIONS (SET max_attempts '12')");
$service->fault({ do => 'bytes', body => '{"ActionStatus":"OK","ErrorCode":0,"FailAccounts":[', match => { command => 'multiaccount_import' } });
sql("INSERT INTO im_account_outbox (user_id) SELECT 'cut' || i FROM generate_series(1, 30) i");
$status = wait_state($node, 'unreachable');
like($status->{reason}, qr/answers, but nothing that can be used/, 'a list that cannot be read: the reason says so');
$service->clear;
$service->fault({ do => 'bytes', body => '{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}', match => { command => 'import_group_member' } });
sql('SELECT im_import_resume()');
poll_until { value_of($node, "SELECT count(*) FROM im_account_outbox WHERE status <> 'imported'") == 0 } 'the accounts';
sql("INSERT INTO im_member_outbox (group_id, member_account) SELECT group_id, 'cut1' FROM im_group_outbox LIMIT 100");
$status = wait_state($node, 'unreachable');
like($status->{reason}, qr/answers, but nothing that can be used: -5 the answer begins with: \{"ActionStatus/, 'an answer without its list: the reason says so');
$service->clear;
sql('SELECT im_import_resume()');
poll_until { value_of($node, "SELECT count(*) FROM im_member_outbox WHERE status <> 'imported'") == 0 } 'the members';
pass('... and they go on');

# ---------------------------------------------------------------------------
# A name that does not resolve; mended by ALTER SERVER

sql("ALTER SERVER im OPTIONS (SET endpoint 'https://im.invalid')");
insert_groups($node, 20, 'name');
$status = wait_state($node, 'unreachable');
like($status->{reason}, qr/resolve/i, 'no such host: the reason says so');
is(attempts(), 0, 'no such host: no attempt counts');
sql("ALTER SERVER im OPTIONS (SET endpoint '@{[ $service->endpoint ]}')");
goes_on('right host');

done_testing();
