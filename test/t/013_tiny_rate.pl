# The least rate that is allowed, one call in 1,000 seconds: whoever waits for
# its turn still hears a pause, a cancel, a shutdown and, above all, that the
# rate is another now.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

# Whatever is waited for below gives up long before 1,000 seconds.
my ($node, $service) = set_up(options => { rate_limit => 0.001, max_in_flight => 8 });

sub set_rate { $node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET rate_limit '$_[0]')") }

sub worker_waits
{
	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") > 0 } 'the worker to have claimed rows';
}

sub nothing_claimed
{
	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 } 'claimed rows to be given back';
}

# A new limit does not begin with a call.
insert_groups($node, 30, 'slow ');
worker_waits();
my $status = status_of($node);
like($status->{state}, qr/^(?:running|idle)$/, "a state ($status->{state})");
is($status->{total}, 30, 'all rows are counted');
is(value_of($node, 'SELECT count(*) > 0 FROM im_import_plan()'), 't', 'there is a plan at such a rate');

# Sessions wait for their turn too, and can be called off.
like(error_of($node, "SET statement_timeout = '1s'; SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q"),
	qr/canceling statement due to statement timeout/, 'a session that waits for its turn can be cancelled');

$node->safe_psql('postgres', "SELECT im_import_pause('a test')");
nothing_claimed();
is(status_of($node)->{state}, 'paused', 'and the state says so');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
worker_waits();

# What waits for its turn was never sent: a shutdown gives it back, too.
$node->stop('fast');
$node->start;
insert_groups($node, 1, 'after the start ');
worker_waits();
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')"), 31, 'no row is lost, and none is sent');
is($service->stats->{journaled}, 0, 'the service has seen nothing');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/recovered \d+ rows/, 'nor did the shutdown leave a row that may have been sent');

# From the least rate to the usual one, and back in the middle of it.
set_rate(200);
wait_settled($node);
set_rate(20);
insert_groups($node, 200, 'between ');
$service->wait_for(created => 40);
set_rate(0.001);
poll_until {
	my $before = $service->stats->{journaled};
	select(undef, undef, undef, 1);
	$service->stats->{journaled} == $before;
} 'the calls to cease';
set_rate(200);
wait_settled($node);

# The operator's function, with the greatest rate after the least.
$node->safe_psql('postgres', 'SELECT im_import_set_rate(0.001)');
insert_groups($node, 20, 'greatest ');
worker_waits();
$node->safe_psql('postgres', 'SELECT im_import_set_rate(1000000)');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'every row is imported');
accounted($node, $service);

done_testing();
