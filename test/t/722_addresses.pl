# A name with two addresses of which the first takes no connection: the second
# one is found within seconds, by the worker and by a session.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Socket qw(inet_aton pack_sockaddr_in SOCK_STREAM AF_INET MSG_DONTWAIT);
use Test::More;
use Time::HiRes qw(time);

use ImTest;

plan skip_all => 'no compiler' if system('gcc --version >/dev/null 2>&1') != 0;

# Certificates, one of them for the name that is used here.
my $certs = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', "$FindBin::RealBin/../service/make_certs.sh", $certs);
my $service = ImService->new(options => [ '--cert', "$certs/wrong-name.pem", '--key', "$certs/wrong-name.key" ]);
my $port = $service->{ports}{https_port};

# The resolver of this test: one name with two addresses, in this order.
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/names.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int (*Resolve) (const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	Resolve		real = (Resolve) dlsym(RTLD_NEXT, "getaddrinfo");
	struct addrinfo *second;
	int			result;

	if (node == NULL || strcmp(node, "example.invalid") != 0)
		return real(node, service, hints, found);
	result = real("127.0.0.1", service, hints, &second);
	if (result != 0)
		return result;
	result = real("127.0.0.2", service, hints, found);
	if (result == 0)
		(*found)->ai_next = second;
	return result;
}
C
system_or_bail('gcc', '-shared', '-fPIC', '-o', "$dir/names.so", "$dir/names.c", '-ldl');

# The first address: a listener that accepts nobody, whose queue is full.
my $deaf = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.2', LocalPort => $port, Proto => 'tcp') or die $!;
listen($deaf, 0) or die $!;
my @waiting;
sub swallows
{
	socket(my $socket, AF_INET, SOCK_STREAM, 0) or die $!;
	$socket->blocking(0);
	connect($socket, pack_sockaddr_in($port, inet_aton('127.0.0.2')));
	push @waiting, $socket;
	my $bits = '';
	vec($bits, fileno($socket), 1) = 1;
	return select(undef, $bits, undef, 1) == 0;
}
poll_until { swallows() } 'an address that takes no connection';

my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/names.so";
	$node = start_cluster();
}
connect_app($node, $service, options => { rate_limit => 1000, request_timeout => '10s', ca_file => "$certs/ca.pem", endpoint => "https://example.invalid:$port" });

my $since = time();
is(reply_of($node, "SELECT 'Public' AS type, 'a session' AS name")->{ErrorCode}, 0, 'a session finds the second address');
note sprintf 'after %.1f s', time() - $since;
$since = time();
insert_groups($node, 50, 'row');
wait_settled($node);
note sprintf 'settled after %.1f s', time() - $since;
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported' AND attempts = 1"), 50, 'so does the worker, each row at its first attempt, within request_timeout');
ok(swallows(), 'all the time the first address took no connection');
accounted($node, $service, others => [ map { $_->{group_id} } grep { $_->{name} eq 'a session' } $service->ledger ]);

done_testing();
