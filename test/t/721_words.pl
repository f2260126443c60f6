# What went wrong is told in our own words: what happened, and whether the row
# may have been applied.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use MIME::Base64 qw(encode_base64);
use POSIX qw(strftime);
use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { request_timeout => '1s', rate_limit => 1000 });

my $n = 0;

# The answer to a session's call that meets a fault.
sub answer_to
{
	my (%fault) = @_;
	my $name = 'call ' . ++$n;

	$service->fault({ %fault, times => 1, match => { name => $name } });
	return reply_of($node, "SELECT 'Public' AS type, '$name' AS name");
}

# ---------------------------------------------------------------------------
# Retry-After: of two statuses, as a number or as a date by the service's clock

sub http_date { return strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime($_[0])) }

my $offset = -5000;
$service->set(clock_offset => $offset);
my %retry_after = (
	'a number' => [ 429, '7', qr/HTTP status 429, which asks to wait 7 s/ ],
	'of 503' => [ 503, ' 120 ', qr/HTTP status 503, which asks to wait 120 s/ ],
	'a date' => [ 503, http_date(time() + $offset + 3600), qr/HTTP status 503, which asks to wait 3(?:5\d\d|60\d) s/ ],
	'a date that is over' => [ 503, http_date(time() + $offset - 60), qr/HTTP status 503(?!, which)/ ],
	'more than a day' => [ 429, '99999999999999999999', qr/which asks to wait 86400 s/ ],
	'zero' => [ 429, '0', qr/HTTP status 429(?!, which)/ ],
	'a negative number' => [ 429, '-5', qr/HTTP status 429(?!, which)/ ],
	'no number' => [ 429, '7 bananas', qr/HTTP status 429(?!, which)/ ],
	'another status' => [ 502, '7', qr/HTTP status 502(?!, which)/ ]);
foreach my $what (sort keys %retry_after)
{
	my ($status, $value, $text) = @{ $retry_after{$what} };
	my $reply = answer_to(do => 'http', status => $status, headers => { 'Retry-After' => $value });

	is($reply->{ErrorCode}, -4, "Retry-After, $what: the code");
	like($reply->{ErrorInfo}, $text, "Retry-After, $what: the words");
}
$service->set(clock_offset => 0);

# It is said to all who call: who was told by a session's call is the worker, too.
sub resume { $node->safe_psql('postgres', 'SELECT im_import_resume()') }
resume();
# What it ends is what came before it: the worker has to see it first.
insert_groups($node, 1, 'before');
wait_settled($node);
is(answer_to(do => 'http', status => 429, headers => { 'Retry-After' => '90' })->{ErrorCode}, -4, 'a session is asked to wait');
insert_groups($node, 3, 'told');
like(wait_state($node, 'unreachable')->{reason}, qr/the service asks to wait 90 s/, '... the worker waits, and says why');
is(scalar(map { $service->calls_for("told$_") } 1 .. 3), 0, '... and calls nobody');
resume();
wait_settled($node);
is(value_of($node, "SELECT string_agg(status || ' ' || attempts, ', ') FROM im_group_outbox WHERE name LIKE 'told%'"), join(', ', ('imported 1') x 3), 'im_import_resume() ends that');

# And to the worker itself: one call hears it, and none follows before the time.
$service->fault({ do => 'http', status => 503, headers => { 'Retry-After' => '3' }, times => 1, match => { command => 'import_group' } });
resume();
insert_groups($node, 20, 'worker');
wait_settled($node);
my ($first, @others) = map { $_->{t} } grep { $_->{body} =~ /"worker/ } $service->journal;
cmp_ok($others[0] - $first, '>=', 2.9, 'after one answer with Retry-After nothing is called before the time');
is(value_of($node, "SELECT count(*) || ' ' || max(attempts) FROM im_group_outbox WHERE name LIKE 'worker%' AND status = 'imported'"), '20 1', '... and every row goes then, with no attempt held against any');

# ---------------------------------------------------------------------------
# Whatever libcurl calls it

my $may = 'the call may have been applied';
my $gzip = encode_base64("\x1f\x8b\x08\0\0\0\0\0\0\3\x03\0\0\0\0\0\0\0\0\0", '');
my %words = (
	'no answer' => [ -3, qr/(?:the connection was closed without an answer|the connection was lost before the answer was complete); $may/, do => 'close_after' ],
	'a reset' => [ -3, qr/the connection was lost before the answer was complete; $may/, do => 'rst_after' ],
	'half an answer' => [ -3, qr/the connection was lost in the middle of the answer; $may/, do => 'truncate' ],
	'an answer without end' => [ -6, qr/the answer is larger than expected; $may/, do => 'huge' ],
	'silence' => [ -2, qr/no answer came in time; $may/, do => 'delay', ms => 3000 ],
	'a slow answer' => [ -2, qr/no answer came in time; $may/, do => 'slow', ms => 100 ],
	'no HTTP' => [ -3, qr/what came back is not HTTP[^;]*; $may/, do => 'bytes', raw => \1, body => "SSH-2.0-OpenSSH_9\r\n" ],
	'a gateway' => [ -4, qr/HTTP status 502; $may/, do => 'http' ],
	'gzip' => [ -5, qr/the answer is compressed by gzip, which was not asked for/, do => 'bytes', body_b64 => $gzip, headers => { 'Content-Encoding' => 'gzip' } ],
	'a byte-order mark' => [ 0, qr/^$/, do => 'bytes', body_b64 => encode_base64(qq(\xef\xbb\xbf{"ErrorCode":0,"GroupId":"\@TGS#2BOM"}), '') ]);
foreach my $what (sort keys %words)
{
	my ($code, $text, %fault) = @{ $words{$what} };
	my $reply = answer_to(%fault);

	is($reply->{ErrorCode}, $code, "$what: the code");
	like($reply->{ErrorInfo} // '', $text, "$what: the words");
	unlike($reply->{ErrorInfo} // '', qr/seek|rewind|callback|tried \d|curl/i, "$what: nothing that looks like a fault of ours");
}

# On a connection that was used before and dies, where libcurl would send again.
my $session = $node->background_psql('postgres');
foreach my $do (qw(close_after rst_after close_before reset_before))
{
	my @info;

	foreach my $i (1 .. 2)
	{
		$service->fault({ do => $do, times => 1, match => { name => "$do 2" } });
		push @info, json($session->query_safe("SELECT im_import_group(q) FROM (SELECT 'Public' AS type, '$do $i' AS name) q"))->{ErrorInfo};
	}
	like($info[1], qr/the connection was (?:lost before the answer was complete|closed without an answer); $may; the group may exist$/,
		"$do on a used connection: the words");
}
$session->quit;

# Nothing was sent.
$service->stop;
my $reply = reply_of($node, "SELECT 'Public' AS type, 'down' AS name");
like($reply->{ErrorInfo}, qr/no connection could be made \(Failed to connect to .*\); nothing was sent; the group was not created$/i, 'nobody listens: the words');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint 'https://im.invalid')");
$reply = reply_of($node, "SELECT 'Public' AS type, 'no name' AS name");
like($reply->{ErrorInfo}, qr/the host name could not be resolved \(.*im\.invalid.*\); nothing was sent/, 'no such name: the words');

done_testing();
