# Over https, only with whom the certificate proves to be the one, never
# through anybody else, and nothing is taken from the environment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

use ImTest;

my $service = ImService->new;
my $dir = $service->{dir};
my $test_pid = $$;
my @children;

END
{
	my $status = $?;

	if ($$ == $test_pid)
	{
		kill 'TERM', $_ foreach @children;
		waitpid $_, 0 foreach @children;
	}
	$? = $status;
}

# A port that nobody has.
sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp') or die $!;

	return $socket->sockport;
}

# A server of TLS that the test's openssl makes; returns its port.
sub tls_server
{
	my (@options) = @_;
	my $port = free_port();

	push @children, in_child(
		sub {
			open STDIN, '<', '/dev/null';
			open STDOUT, '>>', "$dir/s_server.log";
			open STDERR, '>&', \*STDOUT;
			exec 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-www', @options;
			die "openssl: $!";
		});
	poll_until { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp') } 'openssl s_server';
	return $port;
}

# A proxy that nobody shall use: it notes that somebody came.
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die $!;
my $proxy = 'http://127.0.0.1:' . $listener->sockport;
push @children, in_child(
	sub {
		while (my $client = $listener->accept)
		{
			append_to_file("$dir/visited", "x\n");
			close $client;
		}
	});
close $listener;

# The postmaster's environment is full of advice.
my $home = "$dir/home";
mkdir $home;
append_to_file("$home/.netrc", "default login netrc password netrc\nmachine localhost login netrc password netrc\n");
append_to_file("$home/.curlrc", "proxy = $proxy\ninsecure\n");
chmod 0600, "$home/.netrc";
# OpenSSL itself would accept what is old and weak.
append_to_file("$home/openssl.cnf", <<'CNF');
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = weak
[weak]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
CNF
my %environment = (
	(map { ($_ => $proxy, uc $_ => $proxy) } qw(http_proxy https_proxy all_proxy)),
	HOME => $home,
	CURL_HOME => $home,
	OPENSSL_CONF => "$home/openssl.cnf",
	SSLKEYLOGFILE => "$dir/keylog",
	SSL_CERT_FILE => "$dir/ca.pem",
	SSL_CERT_DIR => $dir,
	CURL_CA_BUNDLE => "$dir/ca.pem");
delete $ENV{no_proxy};
delete $ENV{NO_PROXY};
my $node;
{
	local %ENV = (%ENV, %environment);
	$node = start_cluster();
}
{
	local $ENV{TERM} = 'dumb';
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	like(slurp_file("/proc/$postmaster/environ"), qr/SSLKEYLOGFILE=/, 'the postmaster has the hostile environment');
}
connect_app($node, $service, options => { request_timeout => '2s' });

sub endpoint
{
	my ($endpoint, $ca_file) = @_;

	$node->safe_psql('postgres', 'ALTER SERVER im OPTIONS (DROP ca_file)')
	  if value_of($node, "SELECT count(*) FROM pg_foreign_server WHERE array_to_string(srvoptions, ',') LIKE '%ca_file%'") > 0;
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET endpoint '$endpoint'" . ($ca_file ? ", ADD ca_file '$ca_file'" : '') . ')');
}

my $n = 0;

# A session's call must end with a code and a text, and a row must stay.
sub refused
{
	my ($name, $code, $text) = @_;
	my $before = $service->stats->{journaled};
	my $reply = reply_of($node, "SELECT 'Public' AS type, 'refused " . ++$n . "' AS name");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($reply->{ErrorCode}, $code, "$name: the code");
	like($reply->{ErrorInfo}, $text, "$name: the reason");
	like($reply->{ErrorInfo}, qr/not created/, "$name: nothing was made");
	$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'row $n'); SELECT im_import_resume()");
	poll_until { (status_of($node)->{last_error} // '') =~ $text } "$name in the status";
	is(value_of($node, "SELECT status || ' ' || (maybe_sent_at IS NULL) FROM im_group_outbox WHERE name = 'row $n'") =~ /^(?:pending|sending)/ ? 1 : 0, 1, "$name: the row is kept");
	is($service->stats->{journaled}, $before, "$name: not a byte of it arrived");
	$node->safe_psql('postgres', 'SELECT im_import_pause()');
	poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'") == 0 } 'rows to settle';
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE maybe_sent_at IS NOT NULL"), 0, "$name: and the row has surely not been sent");
	$node->safe_psql('postgres', 'DELETE FROM im_group_outbox; SELECT im_import_resume()');
}

# ---------------------------------------------------------------------------
# The certificate

my $https = $service->https_endpoint;
my $tls_port = $service->{ports}{https_port};
my $certificate = qr/certificate|SSL|TLS/i;

endpoint($https, "$dir/ca.pem");
my $reply = reply_of($node, "SELECT 'Public' AS type, 'over TLS' AS name");
is($reply->{ErrorCode}, 0, 'the right authority: it works');
is((($service->calls_for('over TLS'))[0] // {})->{tls} ? 1 : 0, 1, '... over TLS');
endpoint("https://127.0.0.1:$tls_port", "$dir/ca.pem");
is(reply_of($node, "SELECT 'Public' AS type, 'by address' AS name")->{ErrorCode}, 0, 'an address that the certificate names');
endpoint($https, "$dir/other-ca.pem");
refused('another authority', -8, $certificate);
endpoint($https);
refused("the system's authorities, whatever SSL_CERT_FILE says", -8, $certificate);
endpoint('https://localhost:' . tls_server('-cert', "$dir/wrong-name.pem", '-key', "$dir/wrong-name.key"), "$dir/ca.pem");
refused('a certificate for another name', -8, qr/no alternative certificate subject name|match/);
endpoint('https://localhost:' . tls_server('-cert', "$dir/expired.pem", '-key', "$dir/expired.key"), "$dir/ca.pem");
refused('a certificate that ran out', -8, qr/expired/);
endpoint($https, "$dir/nowhere.pem");
refused('a ca_file that is not there', -8, qr/\S/);
endpoint($https, '/etc/passwd');
refused('a ca_file with no certificate', -8, qr/\S/);

# ---------------------------------------------------------------------------
# TLS itself

my @weak = ('-cert', "$dir/server.pem", '-key', "$dir/server.key", '-cipher', 'ALL:@SECLEVEL=0');
endpoint('https://localhost:' . tls_server(@weak, '-tls1_1'), "$dir/ca.pem");
refused('TLS 1.1', -8, qr/protocol|version|alert|handshake|SSL/i);
endpoint('https://localhost:' . tls_server('-cert', "$dir/server.pem", '-key', "$dir/server.key", '-tls1_2'), "$dir/ca.pem");
isnt(reply_of($node, "SELECT 'Public' AS type, 'TLS 1.2' AS name")->{ErrorCode}, -8, 'TLS 1.2 is spoken');
endpoint('https://localhost:' . tls_server('-nocert', '-cipher', 'aNULL:@SECLEVEL=0', '-tls1_2'), "$dir/ca.pem");
refused('TLS without a certificate', -8, qr/SSL|handshake|cipher/i);
endpoint('https://localhost:' . $service->{ports}{http_port}, "$dir/ca.pem");
# It waits for the end of a line that never comes.
refused('no TLS on the other side', -1, qr/timed out/);

# ---------------------------------------------------------------------------
# No redirect, no proxy, no netrc, no key log

endpoint($https, "$dir/ca.pem");
my $plain = $service->endpoint;
$service->fault({ do => 'redirect', location => "$plain/elsewhere", match => { name => 'redirected' } });
$reply = reply_of($node, "SELECT 'Public' AS type, 'redirected' AS name");
is($reply->{ErrorCode}, -4, 'a redirect is not followed');
is(scalar(grep { ($_->{path} // '') =~ /elsewhere/ } $service->journal), 0, '... nobody came to the other place');
foreach my $status (301, 307, 308)
{
	$service->fault({ do => 'http', status => $status, headers => { Location => "$plain/elsewhere" }, match => { name => "status $status" } });
	is(reply_of($node, "SELECT 'Public' AS type, 'status $status' AS name")->{ErrorCode}, -4, "nor is status $status");
}
is(scalar(grep { ($_->{path} // '') =~ /elsewhere/ } $service->journal), 0, 'nobody came to the other place at all');
endpoint($plain);
is(reply_of($node, "SELECT 'Public' AS type, 'plain' AS name")->{ErrorCode}, 0, 'plain http to this machine');
insert_groups($node, 3, 'no proxy');
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 3, 'the worker too');
ok(!-e "$dir/visited", 'nobody called the proxy of the environment');
ok(!-e "$dir/keylog", 'nobody wrote TLS keys down');
my @headers = map { lc join ' ', %{ ref $_->{headers} eq 'HASH' ? $_->{headers} : { map { @$_ } @{ $_->{headers} } } } } $service->journal;
is(scalar(grep { /authorization|cookie|netrc|referer|proxy/ } @headers), 0, 'no header tells of a login');

# ---------------------------------------------------------------------------
# Endpoints

foreach my $bad ('http://example.com', 'http://10.0.0.1', 'http://[::ffff:127.0.0.1]', 'http://127.1', 'http://0177.0.0.1', 'http://0x7f.0.0.1', 'http://localhost.',
	'http://localhost.example.com', 'http://127.0.0.1@example.com', 'http://127.0.0.1:80@example.com', 'http://example.com#127.0.0.1', 'http://127.0.0.1\\@example.com',
	'https://user:password@example.com', 'https://example.com/path', 'https://example.com?x=y', 'https://example.com#x', 'https://', 'https:///', 'https://example.com//',
	'https://exa mple.com', "https://exa\tmple.com", 'https://example.com:0', 'https://example.com:65536', 'https://example.com:', 'https://example.com:+1', 'https://[::1', 'https://[x]',
	'https://::1', 'ftp://localhost', 'file:///etc/passwd', 'HTTP:/localhost', 'localhost', '//localhost', '', ' https://example.com', "https://example.com\n", 'https://-example.com', 'https://' . 'a' x 254)
{
	like(error_of($node, "ALTER SERVER im OPTIONS (SET endpoint E'" . $bad =~ s/\\/\\\\/gr . "')"), qr/invalid value for option "endpoint"/, 'refused: ' . substr($bad =~ s/[\t\n]/?/gr, 0, 60));
}
foreach my $good ('http://127.0.0.1:1', 'http://127.9.9.9', 'http://[::1]:1', 'http://LOCALHOST/', 'HTTPS://example.com/', 'https://example.com:443', 'https://[2001:db8::1]')
{
	is(error_of($node, "ALTER SERVER im OPTIONS (SET endpoint '$good')"), '', "accepted: $good");
}

done_testing();
