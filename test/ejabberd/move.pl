# A chat of ejabberd's, whole: Debian's ejabberd on the test's own PostgreSQL,
# used by real clients; moved by doc/examples/ejabberd.sql as it stands, while it
# is in use; compared at the service message by message.  The environment says
# where ejabberd was unpacked; see test/ejabberd.sh.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

use ImTest;

my $tree = "$FindBin::RealBin/../..";
my $unpacked = $ENV{EJABBERD_ROOT} or die 'EJABBERD_ROOT is not set';
my ($libraries) = glob "$unpacked/usr/lib/*-linux-gnu*";
my $folder = PostgreSQL::Test::Utils::tempdir();
my $service = ImService->new;
my $node = start_cluster(conf => "listen_addresses = '127.0.0.1'");
my $port = PostgreSQL::Test::Cluster::get_free_port();

# ---------------------------------------------------------------------------
# ejabberd: a process of ours, without distribution, on one port of 127.0.0.1

sub configure
{
	my $user = value_of($node, 'SELECT current_user');

	append_to_file("$folder/ejabberd.yml", <<YML);
hosts: [example.com]
loglevel: info
listen:
  - {port: $port, ip: "127.0.0.1", module: ejabberd_c2s, access: all, shaper: none, max_stanza_size: 262144}
auth_method: sql
auth_password_format: plain
default_db: sql
new_sql_schema: false
sql_type: pgsql
sql_server: "127.0.0.1"
sql_port: ${\$node->port}
sql_database: ejabberd
sql_username: "$user"
sql_password: ""
sql_pool_size: 3
registration_timeout: infinity
access_rules:
  everybody: {allow: all}
modules:
  mod_disco: {}
  mod_roster: {}
  mod_vcard: {}
  mod_offline: {}
  mod_register: {}
  mod_mam: {default: always, assume_mam_usage: true, request_activates_archiving: false}
  mod_muc:
    access_create: everybody
    default_room_options: {mam: true, persistent: true, members_by_default: true}
YML
}

sub start_ejabberd
{
	my ($runtime) = glob "$unpacked/usr/lib/erlang/erts-*/bin";
	my $pid = fork // die "fork: $!";

	return $pid if $pid != 0;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>', "$folder/ejabberd.out";
	open STDERR, '>&', \*STDOUT;
	chdir $folder;
	@ENV{qw(ROOTDIR BINDIR EMU PROGNAME HOME)} = ("$unpacked/usr/lib/erlang", $runtime, 'beam', 'erl', $folder);
	@ENV{qw(ERL_LIBS LD_LIBRARY_PATH)} = ($libraries, $libraries);
	@ENV{qw(EJABBERD_CONFIG_PATH EJABBERD_LOG_PATH)} = ("$folder/ejabberd.yml", "$folder/ejabberd.log");
	exec "$runtime/erlexec", '-noinput', '-mnesia', 'dir', "\"$folder/mnesia\"", '-s', 'ejabberd' or POSIX::_exit(1);
}

sub stop_ejabberd
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	for (my $tries = 0; waitpid($pid, POSIX::WNOHANG()) == 0; $tries++)
	{
		kill 'KILL', $pid if $tries == 600;
		Time::HiRes::sleep(0.1);
	}
}

my $said = {};    # by all of them, by room and by pair

# Lets people use the chat, and adds what they said.
sub people
{
	my ($act) = @_;
	my ($out, $err);

	local $ENV{PYTHONPATH} = "$unpacked/usr/lib/python3/dist-packages";
	my $worked = IPC::Run::run([ '/usr/bin/python3', '-B', "$FindBin::RealBin/people.py", $port, $act ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($worked, "people used ejabberd: $act") or diag($err, slurp_file("$folder/ejabberd.out"));
	my $more = $worked ? json($out) : {};
	foreach my $where (qw(rooms talks))
	{
		push @{ $said->{$where}{$_} }, @{ $more->{$where}{$_} } foreach keys %{ $more->{$where} // {} };
	}
}

# Runs the example, or a text, against the database; what it prints.
sub script
{
	my ($name, $text) = @_;
	my ($out, $err);
	my $worked = IPC::Run::run([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-v', 'domain=example.com', '-d', $node->connstr('ejabberd'),
			defined $text ? () : ('-f', "$tree/doc/examples/ejabberd.sql") ],
		'<', \($text // ''), '>', \$out, '2>', \$err);

	ok($worked, $name);
	unlike($err, qr/WARNING|ERROR/, "$name: without a warning");
	return $out;
}

# Every message that a person wrote is there, once, by its author, in order; and no other.
sub compare
{
	my ($when) = @_;
	my %group = map { ($_->{source_id} => $_->{group_id}) } rows($node, 'SELECT source_id, group_id FROM im_import_mapping', 'ejabberd');
	my $text = sub { return [ map { [ $_->{from}, $_->{body}[0]{MsgContent}{Text} ] } @_ ] };
	my $messages = 0;

	foreach my $room (sort keys %{ $said->{rooms} })
	{
		my @there = $service->messages($group{"$room\@conference.example.com"});
		my $wanted = $said->{rooms}{$room};

		is_deeply($text->(@there), $wanted, "$when: room $room, " . @$wanted . ' messages');
		is_deeply([ grep { $there[$_]{time} <= $there[ $_ - 1 ]{time} } 1 .. $#there ], [], "$when: each later than the one before");
		$messages += @$wanted;
	}
	foreach my $pair (sort keys %{ $said->{talks} })
	{
		my @there = sort { $a->{time} <=> $b->{time} || $a->{seq} <=> $b->{seq} } $service->dialog(split / /, $pair);

		is_deeply($text->(@there), $said->{talks}{$pair}, "$when: $pair, " . @there . ' messages');
		$messages += @there;
	}
	is(value_of($node, 'SELECT (SELECT count(*) FROM im_message_outbox) + (SELECT count(*) FROM im_dialog_outbox)', 'ejabberd'),
		$messages, "$when: $messages messages, and no other");
}

# ---------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE ejabberd');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$unpacked/usr/share/ejabberd/sql/pg.sql", '-d', $node->connstr('ejabberd') ],
	'ejabberd\'s own tables');
$node->safe_psql('ejabberd', q{INSERT INTO users (username, password) SELECT u, 'secret' FROM unnest('{alice,bob,carol,dave,eve,gone}'::text[]) u});
connect_app($node, $service, db => 'ejabberd', options => { rate_limit => 1000 });
configure();
my $ejabberd = start_ejabberd();
END { stop_ejabberd($ejabberd) if $ejabberd }
poll_until { -e "$folder/ejabberd.out" && slurp_file("$folder/ejabberd.out") =~ /Start accepting TCP/ } 'ejabberd accepts connections';

people('first');
# What the server writes after it has answered.
poll_until { value_of($node, q{SELECT count(*) FROM users WHERE username = 'gone'}, 'ejabberd') == 0 } 'the account is gone';
my $out = script('the example runs to its end, with ejabberd in use');
compare('first load');

like($out, qr/^\s*\Q$_->[0]\E\s+\|\s+$_->[1]$/m, "left out: $_->[0]")
  foreach [ 'without a text', 1 ], [ 'to oneself', 2 ], [ 'with another domain, or in a room', 2 ];
my %lobby = %{ $service->members('lobby@conference.example.com') };
is_deeply({ map { $_ => $lobby{$_}{role} } keys %lobby },
	{ alice => 'Owner', bob => 'Admin', carol => 'Member', eve => 'Member', gone => 'Member' }, 'members: by role, by writing, not who is banned');
my %groups = map { ($_->{group_id} => $_->{body}) } $service->ledger;
is_deeply([ map { $groups{"$_\@conference.example.com"}{Name} } qw(board lobby loebby party) ],
	[ 'Board', 'The lobby', 'Die Löbby', "Party \x{1F389}" ], 'titles as Erlang writes them');
is($groups{'loebby@conference.example.com'}{Introduction}, qq{with "quotes" \\ and\nlines}, 'and a description');
is_deeply([ map { $groups{"$_\@conference.example.com"}{ApplyJoinOption} } qw(lobby party) ], [ 'FreeAccess', 'NeedPermission' ], 'a password');
is($groups{'board@conference.example.com'}{Type}, 'Private', 'a room for invited people');
is_deeply([ @{ $service->account('alice')->{account} }{qw(Nick FaceUrl)} ], [ "Al \x{1F389}", 'https://img.example.com/a.png?b=1&c=2' ], 'a card');
my %friends = map { $_ => join ' ', sort keys %{ $service->account($_)->{friends} } } qw(alice bob carol dave eve);
is_deeply(\%friends, { alice => 'bob carol', bob => 'alice', carol => 'alice', dave => 'eve', eve => '' }, 'friends, each direction');
is_deeply($service->account('alice')->{friends}{bob}{GroupName}, [ 'Club', 'Work' ], 'with their groups');

# The chat goes on; what is new follows.
people('later');
poll_until { value_of($node, q{SELECT count(*) FROM archive WHERE txt = 'when you are back'}, 'ejabberd') == 2 } 'who is away has it in the archive';
my ($again) = slurp_file("$tree/doc/examples/ejabberd.sql") =~ /^(-- All of them\..*?^CALL im_import_wait\()/ms;
script('the same statements again', "$again);");
compare('second load');
stop_ejabberd($ejabberd);
undef $ejabberd;
script('and once more, ejabberd stopped: nothing is new', "$again);");
compare('after the end');

done_testing();
