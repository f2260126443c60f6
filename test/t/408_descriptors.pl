# No more file descriptors, or no more watched sockets: rows stay, the trouble
# is told, and all goes on by itself once there are some again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

plan skip_all => 'needs prlimit' unless -x '/usr/bin/prlimit';

my $TOO_MANY = qr/too many open files|out of file descriptors/i;
# Below what every process of the server has open: nothing more can be opened.
my $NOTHING = 4;

# What no limit makes fail, or nothing but that: a library fails epoll_ctl() and
# epoll_create1(), or socket(), in the process whose id is in a file with "watch"
# or "socket".
my $watch_off = PostgreSQL::Test::Utils::tempdir() . '/watch_off';
my $library = build_library();

sub build_library
{
	my $base = PostgreSQL::Test::Utils::tempdir() . '/no_epoll';

	append_to_file("$base.c", <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int
is_off(const char *what)
{
	FILE	   *file = fopen(getenv("IM_WATCH_OFF"), "r");
	char		word[16] = "";
	int			pid = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%d %15s", &pid, word) != 2)
		pid = 0;
	fclose(file);
	return pid == getpid() && strcmp(word, what) == 0;
}

int
socket(int domain, int type, int protocol)
{
	static int	(*real) (int, int, int);

	if (real == NULL)
		real = (int (*) (int, int, int)) dlsym(RTLD_NEXT, "socket");
	if ((domain == AF_INET || domain == AF_INET6) && is_off("socket"))
	{
		errno = EMFILE;
		return -1;
	}
	return real(domain, type, protocol);
}

int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	static int	(*real) (int, int, int, struct epoll_event *);

	if (real == NULL)
		real = (int (*) (int, int, int, struct epoll_event *)) dlsym(RTLD_NEXT, "epoll_ctl");
	if (op == EPOLL_CTL_ADD && is_off("watch"))
	{
		errno = ENOSPC;
		return -1;
	}
	return real(epfd, op, fd, event);
}

int
epoll_create1(int flags)
{
	static int	(*real) (int);

	if (real == NULL)
		real = (int (*) (int)) dlsym(RTLD_NEXT, "epoll_create1");
	if (is_off("watch"))
	{
		errno = EMFILE;
		return -1;
	}
	return real(flags);
}
C
	return undef if $ENV{IM_TEST_SANITIZED} || system_log('gcc', '-shared', '-fPIC', '-o', "$base.so", "$base.c", '-ldl') != 0;
	return "$base.so";
}

# A cluster whose server has the library.
my $service = ImService->new;
$ENV{IM_WATCH_OFF} = $watch_off;
$ENV{LD_PRELOAD} = $library if $library;
my $node = start_cluster();
delete $ENV{LD_PRELOAD};
connect_app($node, $service, options => { rate_limit => 1000, max_in_flight => 16, request_timeout => '60s' });

sub worker { value_of($node, "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE backend_type = 'im_import worker'") }
sub limit { my ($pid, $n) = @_; system_or_bail('/usr/bin/prlimit', '--pid', $pid, "--nofile=$n:") }

# A worker with a call under way, which it cannot leave.
sub busy_worker
{
	my ($name) = @_;
	my $held = $service->stats->{held};

	insert_groups($node, 1, "first $name ");
	wait_settled($node);
	$service->fault({ do => 'hold', match => { name => "held $name*" } });
	insert_groups($node, 1, "held $name ");
	$service->wait_for(held => $held + 1);
	return worker();
}

sub let_go
{
	$service->clear;
	$service->release;
}

# While nothing can be done: each row is where it was, and something says why.
sub told
{
	my ($name, $prefix) = @_;
	my $status = poll_until {
		my $now = status_of($node);

		(($now->{reason} // '') . ($now->{last_error} // '')) =~ $TOO_MANY && $now;
	} "$name to be told";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($status, "$name: status says " . ($status->{reason} // $status->{last_error}));
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$prefix%' AND status NOT IN ('pending', 'sending')"),
		0, "$name: every row stays");
}

# With descriptors again: every row goes, and none was counted as tried in vain.
sub goes_on
{
	my ($name, $prefix, $attempts, $others) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_settled($node);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE '$prefix%' AND status = 'imported' AND attempts <= $attempts"),
		20, "$name: all rows are imported, at attempt $attempts at the latest");
	accounted($node, $service, others => $others, name => "$name: every row is accounted for");
}

# ---------------------------------------------------------------------------
# No socket, and no file of the table either

my $pid = busy_worker('socket');
limit($pid, $NOTHING);
insert_groups($node, 20, 'socket ');
told('no socket', 'socket ');
is(worker(), $pid, 'no socket: the worker lives');
limit($pid, 1024);
let_go();
goes_on('no socket', 'socket ', 2);

# ---------------------------------------------------------------------------
# New options want a new set of connections, with a descriptor to watch them

$pid = busy_worker('set');
limit($pid, $NOTHING);
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '50s')");
let_go();
insert_groups($node, 20, 'set ');
told('no new connections', 'set ');
like(status_of($node)->{reason},
	qr/^could not read secret key file ".*": Too many open files\. The file may be right: .* It is tried again; if it lasts, see the limits/, 'no new connections: and the reason says what cannot be done');
is(worker(), $pid, 'no new connections: the worker lives');
limit($pid, 1024);
goes_on('no new connections', 'set ', 2);

# ---------------------------------------------------------------------------
# A session of its own

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $call = "SELECT 'answer: ' || im_import_group(q)::text FROM (SELECT 'Public' AS type, 'session ' || %d AS name, 'session-%d' AS group_id) q;\n";

sub asks
{
	my ($n) = @_;

	$session->{stdin} .= sprintf($call, $n, $n) . "\\echo done $n\n";
	return $session->query_until(qr/done $n/, '');
}

like(asks(1), qr/answer: .*"OK"/, 'a session calls');
my $own = value_of($node, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%session-1%' AND pid <> pg_backend_pid() AND backend_type = 'client backend'");
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '40s')");
limit($own, $NOTHING);
unlike(asks(2), qr/"OK"/, 'without descriptors it gets no group');
limit($own, 1024);
like(asks(3), qr/answer: .*"OK"/, 'and goes on with them');
$session->quit;
is($service->group('session-2'), undef, 'nothing was sent without them');

# ---------------------------------------------------------------------------
# A descriptor for the set of connections, a socket that cannot be watched, no
# socket at all

SKIP:
{
	skip 'needs gcc, and no sanitizer', 13 unless $library;
	my $others = [ 'session-1', 'session-3' ];

	$pid = busy_worker('epoll');
	append_to_file($watch_off, "$pid watch");
	$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET request_timeout '10s')");
	let_go();
	insert_groups($node, 20, 'epoll ');
	told('no epoll', 'epoll ');
	is(worker(), $pid, 'no epoll: the worker lives');
	unlink $watch_off;
	goes_on('no epoll', 'epoll ', 2, $others);

	$pid = busy_worker('watch');
	append_to_file($watch_off, "$pid watch");
	insert_groups($node, 20, 'watch ');
	poll_until { ((status_of($node)->{last_error} // '') . (status_of($node)->{reason} // '')) =~ /no socket on this machine: not enough resources/ }
	'the socket to be missed';
	is(worker(), $pid, 'no watch: the worker lives');
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'watch %' AND status IN ('failed', 'invalid', 'in_doubt')"), 0, 'no watch: no row ends badly');
	unlink $watch_off;
	let_go();
	goes_on('no watch', 'watch ', 2, $others);

	# The table can be read and written, only the socket is missing.
	$pid = busy_worker('open');
	append_to_file($watch_off, "$pid socket");
	insert_groups($node, 20, 'open ');
	poll_until { ((status_of($node)->{last_error} // '') . (status_of($node)->{reason} // '')) =~ /no socket on this machine: too many open files/ }
	'the socket to be missed';
	is(worker(), $pid, 'only no socket: the worker lives');
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'open %' AND status IN ('failed', 'invalid', 'in_doubt')"), 0, 'only no socket: no row ends badly');
	unlink $watch_off;
	let_go();
	goes_on('only no socket', 'open ', 2, $others);
}

done_testing();
