# What went wrong is told in our own words: what happened, and whether the row
# may have been applied.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

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

done_testing();
