# Whatever the network and the service do for a while, a row with an id of
# its own ends as imported, with exactly one group.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { request_timeout => '1s' });

# Each fault meets one row's first call.  Those that break only the wire's
# manners, not the answer, cost no second attempt.
my %fault = (
	'http 502' => { do => 'http', status => 502 },
	'http 500 applied' => { do => 'http', status => 500, apply => \1 },
	'http 429' => { do => 'http', status => 429 },
	redirect => { do => 'redirect' },
	close_before => { do => 'close_before' },
	close_after => { do => 'close_after' },
	reset_before => { do => 'reset_before' },
	rst_after => { do => 'rst_after' },
	truncate => { do => 'truncate' },
	'truncate to none' => { do => 'truncate', keep => 0 },
	'delay too long' => { do => 'delay', ms => 2500 },
	'zombie' => { do => 'delay_apply', ms => 300 },
	'slow for ever' => { do => 'slow', ms => 100 },
	huge => { do => 'huge' },
	'huge applied' => { do => 'huge', chunked => \0, apply => \1 },
	endless_headers => { do => 'endless_headers' },
	'no JSON' => { do => 'bytes', body => '<html>OK</html>' },
	'no JSON applied' => { do => 'bytes', body => 'OK', apply => \1 },
	empty => { do => 'bytes', body => '' },
	'not HTTP' => { do => 'bytes', body => "SSH-2.0\r\n", raw => \1 },
	wrong_group_id => { do => 'wrong_group_id' },
	'code 10002' => { do => 'code', code => 10002 },
	'code 60008 applied' => { do => 'code', code => 60008, apply => \1 });
my %harmless = (
	delay => { do => 'delay', ms => 300 },
	content_type => { do => 'content_type' },
	no_error_info => { do => 'no_error_info' },
	no_group_id => { do => 'no_group_id' },
	nul_info => { do => 'nul_info' },
	bad_utf8 => { do => 'bad_utf8' },
	extra_fields => { do => 'extra_fields' },
	continue_100 => { do => 'continue_100' },
	close_idle => { do => 'close_idle' });
# How these are read is a matter of taste; that nothing is lost is not.
my %either = (
	string_code => { do => 'string_code' },
	dup_keys => { do => 'dup_keys' },
	nested => { do => 'nested', depth => 5000 });

my %all = (%fault, %harmless, %either);
my @names = sort keys %all;
$service->fault(map { { %{ $all{$_} }, times => 1, match => { name => $_, command => 'import_group' } } } @names);

# Enough good rows between them that nobody thinks the service away.
$node->safe_psql('postgres', "SELECT im_import_pause('until all rows are there')");
my $values = join ",\n", map { "('Public', '$_'), ('Public', 'good, after $_')" } @names;
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES $values" =~ s/good, after/good/gr);
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);

my %row = map { ($_->{name} => $_) } rows($node, 'SELECT * FROM im_group_outbox');
my %calls;
$calls{ json($_->{body})->{Name} }++ foreach $service->journal('import_group');
foreach my $name (@names)
{
	is($row{$name}{status}, 'imported', "$name: imported");
	is($row{$name}{error_info}, undef, "$name: nothing is left to complain of");
	cmp_ok($calls{$name}, '>', 1, "$name: it took a second call") if $fault{$name};
	is($calls{$name}, 1, "$name: one call was enough") if $harmless{$name};
	is($row{$name}{attempts}, $calls{$name}, "$name: every call counts as an attempt");
}
# One of these may have been put on a connection that just then died.
is(scalar(grep { $_->{status} ne 'imported' && $_->{name} =~ /^good/ } values %row), 0, 'the rows between them went too');
accounted($node, $service);

# A session's own call has its outcome as an answer, and is never repeated.
$service->clear;
my %answer = (
	close_after => [ -3, qr/may exist/ ],
	http => [ -4, qr/may exist/ ],
	huge => [ -6, qr/may exist/ ],
	truncate => [ -3, qr/may exist/ ]);
foreach my $do (sort keys %answer)
{
	my ($code, $info) = @{ $answer{$do} };

	$service->fault({ do => $do, times => 1, match => { name => "session $do" } });
	my $reply = reply_of($node, "SELECT 'Public' AS type, 'session $do' AS name");
	is("$reply->{ActionStatus} $reply->{ErrorCode}", "FAIL $code", "a session's call with $do");
	like($reply->{ErrorInfo}, $info, "and it says that the group may exist");
	is(scalar($service->calls_for("session $do")), 1, 'it was sent once');
}
$service->fault({ do => 'delay', ms => 3000, times => 1, match => { name => 'session delay' } });
my $reply = reply_of($node, "SELECT 'Public' AS type, 'session delay' AS name");
is("$reply->{ActionStatus} $reply->{ErrorCode}", 'FAIL -2', "a session's call that times out");
$service->stop;
$reply = reply_of($node, "SELECT 'Public' AS type, 'session down' AS name");
is("$reply->{ActionStatus} $reply->{ErrorCode}", 'FAIL -1', "a session's call without a service");
like($reply->{ErrorInfo}, qr/not created/, 'and it says that nothing was created');

done_testing();
