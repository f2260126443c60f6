# The key and the signature are nowhere: not in the log at its loudest, not in
# a message, a view, a statistic or a dump, while every error path is driven.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use POSIX qw(mkfifo);
use Test::More;

use ImTest;

my $service = ImService->new;
my $secret = $service->{secret};
my $have_statements = -e slurp_share('pg_stat_statements.control');
my $node = start_cluster(
	preload => 0,
	conf => "shared_preload_libraries = '" . ($have_statements ? 'im_import, pg_stat_statements' : 'im_import') . "'\n"
	  . ($have_statements ? "pg_stat_statements.track = 'all'\npg_stat_statements.track_utility = on\n" : '') . <<'CONF');
log_min_messages = debug5
log_min_error_statement = debug5
client_min_messages = debug5
log_statement = all
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
log_min_duration_statement = 0
debug_print_plan = on
debug_print_parse = on
debug_print_rewritten = on
track_activity_query_size = 16384
CONF

sub slurp_share
{
	my ($name) = @_;
	my ($dir) = run_command([ 'pg_config', '--sharedir' ]);

	return "$dir/extension/$name";
}

$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements') if $have_statements;
connect_app($node, $service, options => { request_timeout => '1s' });

# All that anybody was told, and all that could be seen.
my $told = '';

sub told
{
	my ($sql, $role) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role // $ENV{USER} // 'postgres' ]);

	$told .= "$out\n$err\n";
	return "$out\n$err";
}

# What all views of the server say now.
sub look_around
{
	my $all = join '', map { "SELECT * FROM $_;\n" } qw(pg_stat_activity pg_settings pg_foreign_server pg_user_mappings im_import_status
		im_import_errors im_import_failures pg_stat_im_import pg_file_settings pg_prepared_statements pg_backend_memory_contexts
		pg_shmem_allocations im_group_outbox), ($have_statements ? 'pg_stat_statements' : ());

	told($all);
}

# ---------------------------------------------------------------------------
# The key file: every way in which it can be wrong

my $dir = $service->{dir};
my $group = q{SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'x' AS name) q};
my $mapping = q{ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET secret_key_file '%s')};

sub write_file
{
	my ($name, $content, $mode) = @_;

	unlink "$dir/$name";
	append_to_file("$dir/$name", $content);
	chmod $mode // 0600, "$dir/$name" or die $!;
	return "$dir/$name";
}

mkdir "$dir/folder";
mkfifo("$dir/fifo", 0600) or die $!;
symlink $service->{key_file}, "$dir/link" or die $!;
symlink "$dir/nowhere", "$dir/dangling" or die $!;
symlink "$dir/loop", "$dir/loop" or die $!;
my %file = (
	"$dir/missing" => qr/could not read secret key file.*No such file/,
	"$dir/folder" => qr/is not a regular file/,
	"$dir/fifo" => qr/is not a regular file/,
	'/dev/zero' => qr/is not a regular file/,
	"$dir/dangling" => qr/could not read secret key file.*No such file/,
	"$dir/loop" => qr/could not read secret key file.*symbolic links/,
	"$dir/app.key/x" => qr/could not read secret key file.*Not a directory/,
	write_file('empty', '') => qr/is empty, or holds more than one key/,
	write_file('blank', " \n\t\n") => qr/is empty, or holds more than one key/,
	write_file('long', 'a' x 257) => qr/is empty, or holds more than one key/,
	write_file('huge', "$secret\n" x 10_000) => qr/is empty, or holds more than one key/,
	write_file('two', "$secret\n$secret\n") => qr/is empty, or holds more than one key/,
	write_file('nul', "$secret\0x") => qr/is empty, or holds more than one key/,
	write_file('escape', "$secret\e[2J") => qr/is empty, or holds more than one key/,
	write_file('world', $secret, 0604) => qr/is open to others, its mode is 0604/,
	write_file('group', $secret, 0640) => qr/is open to others, its mode is 0640/,
	write_file('writable', $secret, 0602) => qr/is open to others, its mode is 0602/,
	write_file('unreadable', $secret, 0000) => ($> == 0 ? qr/./ : qr/could not read secret key file.*Permission denied/));
foreach my $path (sort keys %file)
{
	(my $name = $path) =~ s/^\Q$dir\E\///;

	told(sprintf $mapping, $path);
	like(told($group), $file{$path}, "key file $name: a clear error");
	like(told('SELECT im_usersig()'), $file{$path}, "... from im_usersig() too");
	like(status_of($node)->{reason} // '', $file{$path}, '... and in the status') if $path =~ /missing|world|two/ && insert_one();
}

# A row that waits, so that the worker looks; true.
sub insert_one
{
	$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'waits')");
	return wait_state($node, 'not configured');
}

like(told(sprintf $mapping, 'relative/path'), qr/invalid value for option "secret_key_file"\n/, 'a relative path is refused, and not shown');
like(told(sprintf $mapping, $secret), qr/invalid value for option "secret_key_file"\n/, 'the key in the place of its file is not shown');

# The statement that spells the key is PostgreSQL's to log: from here on this one only.
foreach my $path ($service->{key_file}, "$dir/link", write_file('spaces', "  \t$secret \r\n\n"))
{
	told(sprintf $mapping, $path);
	like(told($group), qr/"ErrorCode": 0/, 'a good file: ' . $path =~ s/.*\///r);
}
wait_settled($node);

# It is read again when it changes, though no option did.
my $rotated = write_file('rotated', "$secret\n");
told(sprintf $mapping, $rotated);
like(told($group), qr/"ErrorCode": 0/, 'before the key is changed');
my $other = 'b' x 64;
$service->change_app(secret => $other);
write_file('new', "$other\n");
rename "$dir/new", $rotated or die $!;
like(told($group), qr/"ErrorCode": 0/, 'the key file was replaced: the next call has the new key');
insert_groups($node, 1, 'rotated');
wait_settled($node);
is(value_of($node, q{SELECT status FROM im_group_outbox WHERE name = 'rotated1'}), 'imported', 'and so has the worker');
$service->change_app();
told(sprintf $mapping, $service->{key_file});

# ---------------------------------------------------------------------------
# Every other error path

look_around();
$service->fault({ do => $_, times => 2, match => { name => "fault $_" } })
  foreach qw(close_before close_after reset_before rst_after http redirect truncate huge endless_headers no_error_info bad_utf8 nul_info);
$service->fault({ do => 'delay', ms => 1500, times => 2, match => { name => 'fault delay' } });
$service->fault({ do => 'code', code => $_, times => 2, match => { name => "fault $_" } }) foreach (10002, 10019, 60002, 70001, 70009, 60010);
foreach my $fault (qw(close_before close_after reset_before rst_after http redirect truncate huge endless_headers no_error_info bad_utf8 nul_info delay
	10002 10019 60002 70001 70009 60010))
{
	told(qq{SELECT im_import_group(q) FROM (SELECT 'Public' AS type, 'fault $fault' AS name) q});
	$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'fault $fault'); SELECT im_import_resume()");
}
look_around();
told("$group /* while it waits */");

# What answers with the request itself must not bring it into a message.
my $echo = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die $!;
my $port = $echo->sockport;
my $test_pid = $$;
my $echoing = in_child(
	sub {
		my @manners = (
			sub { "HTTP/1.1 200 OK\r\nContent-Length: " . length($_[0]) . "\r\n\r\n$_[0]" },
			sub { "HTTP/1.1 500 $_[1]\r\nContent-Length: 0\r\n\r\n" },
			sub { "HTTP/1.1 302 Found\r\nLocation: $_[1]\r\nContent-Length: 0\r\n\r\n" },
			sub { "HTTP/9 $_[1]\r\n\r\n" },
			sub { "$_[1]\r\n\r\n" },
			sub { my $body = qq({"ErrorCode":10019,"ErrorInfo":"refused $_[1]"}); "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body" });
		for (my $n = 0;; $n++)
		{
			my $client = $echo->accept or last;
			my $request = '';

			sysread($client, $request, 65536);
			my ($target) = $request =~ /^POST (\S+)/;
			syswrite($client, $manners[ $n % @manners ]->($request, $target // ''));
			close $client;
		}
	});
END { kill 'TERM', $echoing if $echoing && $$ == $test_pid }
close $echo;
told("ALTER SERVER im OPTIONS (SET endpoint 'http://127.0.0.1:$port')");
told($group) foreach 1 .. 12;
insert_groups($node, 6, 'echo');
told('SELECT im_import_resume()');
poll_until { value_of($node, q{SELECT count(*) FROM im_group_outbox WHERE name LIKE 'echo%' AND attempts = 0}) == 0 } 'the worker to be echoed at';
look_around();

# Refused, not resolvable, no route, no TLS.
foreach my $endpoint ('http://127.0.0.1:1', 'https://nowhere.invalid', 'https://127.0.0.1:' . $service->{ports}{http_port}, $service->https_endpoint)
{
	told("ALTER SERVER im OPTIONS (SET endpoint '$endpoint')");
	told($group);
	told('SELECT im_import_resume()');
	wait_state($node, 'unreachable|running|stopped');
}
told(q{ALTER SERVER im OPTIONS (SET endpoint 'http://nowhere.invalid')});
told(q{ALTER SERVER im OPTIONS (ADD ca_file '/etc/passwd')});
told($group);
told(q{ALTER SERVER im OPTIONS (SET ca_file '/nowhere/at/all')});
told($group);
told(q{ALTER SERVER im OPTIONS (DROP ca_file)});
told(q{ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (SET identifer 'x')});
told(q{ALTER USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (ADD secret_key_fil '/x')});
told(q{ALTER SERVER im OPTIONS (ADD secret_key_file '/x')});
told(q{SELECT im_usersig('administrator', '51 years')});
told(q{SELECT im_usersig(repeat('x', 300))});
told(q{DO $$ BEGIN PERFORM im_usersig('x', '-1 second'); END $$});
told(q{CREATE ROLE nobody LOGIN});
told($_, 'nobody') foreach ($group, 'SELECT im_usersig()', 'SELECT * FROM pg_user_mappings', 'SELECT * FROM im_import_status', 'SELECT * FROM pg_stat_activity');
look_around();
$told .= slurp_dump($_) foreach ([], ['--schema-only'], ['--data-only', '--inserts']);

sub slurp_dump
{
	my ($options) = @_;
	my ($out) = run_command([ 'pg_dump', '--port', $node->port, '--host', $node->host, @$options, 'postgres' ]);

	return $out;
}

# ---------------------------------------------------------------------------
# And now look for it

# A signature that the server made for nobody but us, to know what to look for.
my $log_end = -s $node->logfile;
my $own = value_of($node, "ALTER SERVER im OPTIONS (SET endpoint '" . $service->endpoint . "'); SELECT im_usersig()");
my $pattern = qr/\beJ[A-Za-z0-9*_-]{100,}/;
like($own, $pattern, 'a UserSig looks like that');
$node->stop;
my $log = substr slurp_file($node->logfile), 0, $log_end;
cmp_ok(length $log, '>', 500_000, 'the log is a loud one');
like($told, qr/CREATE USER MAPPING FOR .* SERVER im/, 'the dump has the mapping');

foreach my $where ([ 'the log', $log ], [ 'what was told and shown', $told ])
{
	my ($name, $text) = @$where;

	# One statement spelled the key in the place of its file: PostgreSQL logs statements, and shows their text.
	$text =~ s/secret_key_file '\Q$secret\E'//g;
	is(scalar(() = $text =~ /\Q$secret\E/g), 0, "$name: no key");
	is(scalar(() = $text =~ /$other/g), 0, "$name: nor the second one");
	is(scalar(() = $text =~ /$pattern/g), 0, "$name: no signature");
	is(scalar(() = $text =~ /usersig=(?!\()/g), 0, "$name: no query string with one");
}

done_testing();
