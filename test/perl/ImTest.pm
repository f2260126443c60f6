# ImTest.pm
#	  What the TAP tests share: a cluster, an app, polling, and the account.
#
# The rule for waiting: nothing sleeps for a while and hopes.  poll_until()
# asks again and again, up to a generous limit, and dies with the import's
# status if that is reached.  What it asks a database it asks in one session,
# which lasts as long as the wait: see look().
package ImTest;

use strict;
use warnings;

use Exporter 'import';
use FindBin ();
use IPC::Open3 ();
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use ImService;

our @EXPORT = qw(
  start_cluster connect_app add_mapping set_up
  rows row value_of error_of as_role status_of reply_of json
  poll_until wait_settled wait_state
  insert_groups accounted
  notices_of cancel_while_held
  most_granted
  in_child
);

my $LIMIT = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 120;    # seconds

# What a background session returns ends with a line end in some versions (16.2
# is one), and does not in the others.  Its timer is for one query, not for as long
# as the session lasts.
{
	no warnings 'redefine';
	my $query = \&PostgreSQL::Test::BackgroundPsql::query;

	*PostgreSQL::Test::BackgroundPsql::query = sub {
		$_[0]->{query_timer_restart} = 1;
		my ($output, $failed) = $query->(@_);

		$output =~ s/\r?\n\z// if defined $output;
		return wantarray ? ($output, $failed) : $output;
	};
}

# Runs a function in a child, which ends with it; returns the child's pid.  To be
# ended by SIGTERM: the handler that the library sets would speak in the child as
# if it were the test.
sub in_child
{
	my ($run) = @_;

	local $SIG{TERM} = 'DEFAULT';
	my $pid = fork // die "fork: $!";
	return $pid if $pid != 0;
	eval { $run->() };
	POSIX::_exit($@ eq '' ? 0 : 1);
}

# A running cluster.  Options: name, conf (lines), preload (default 1), and
# install_path, the folder of another PostgreSQL, with bin in it.
sub start_cluster
{
	my (%given) = @_;
	my @other = defined $given{install_path} ? (install_path => $given{install_path}) : ();
	my $node = PostgreSQL::Test::Cluster->new($given{name} // 'main', @other);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'im_import'")
	  if $given{preload} // 1;
	$node->append_conf('postgresql.conf', <<CONF);
max_worker_processes = 12
autovacuum_naptime = 1
CONF
	$node->append_conf('postgresql.conf', $given{conf}) if defined $given{conf};
	$node->start;
	return $node;
}

# Options as the OPTIONS clause wants them.
sub option_list
{
	my (%options) = @_;

	return join ', ', map { "$_ '$options{$_}'" } sort keys %options;
}

# The user mapping of the server's owner.
sub add_mapping
{
	my ($node, $service, %given) = @_;
	my $list = option_list(
		identifier => $service->{admin},
		secret_key_file => $given{key_file} // $service->{key_file});

	$node->safe_psql($given{db} // 'postgres',
		"CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS ($list)");
}

# Extension, server and mapping in a database.  Options: db, and options, a
# hash of server options beside those that every test needs.
sub connect_app
{
	my ($node, $service, %given) = @_;
	my $list = option_list(
		sdkappid => $service->{sdkappid},
		endpoint => $service->endpoint,
		%{ $given{options} // {} });

	$node->safe_psql($given{db} // 'postgres', <<SQL);
CREATE EXTENSION im_import;
CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS ($list);
SQL
	add_mapping($node, $service, %given);
}

# All of it: returns a cluster and a service whose app it knows.
sub set_up
{
	my (%given) = @_;
	my $service = ImService->new;
	my $node = start_cluster(conf => $given{conf});

	connect_app($node, $service, options => $given{options});
	return ($node, $service);
}

# ----------------------------------------------------------------------------
# Looking at a database again and again

# In poll_until(), and where there is much to look at: the session of each database.
our $looks;

# A psql that reads statements from a pipe.
sub start_session
{
	my ($node, $db) = @_;
	my ($in, $out);
	local %ENV = $node->_get_env;

	open(my $nowhere, '>', '/dev/null') or die "/dev/null: $!";
	my $pid = IPC::Open3::open3($in, $out, '>&' . fileno($nowhere), $node->installed_command('psql'), '-XAtq',
		'-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db));
	return bless { pid => $pid, in => $in, out => $out }, 'ImTest::Session';
}

# When it is forgotten, it ends.
sub ImTest::Session::DESTROY
{
	my ($session) = @_;
	local ($@, $!, $?);

	close $session->{in};
	close $session->{out};
	waitpid $session->{pid}, 0;
}

# What the session answers to a statement; undef if it failed, or the connection.
sub answer_of
{
	my ($session, $sql) = @_;
	my $answer = '';
	my $end = time() + $LIMIT;
	local $SIG{PIPE} = 'IGNORE';

	syswrite $session->{in}, "$sql\n;\n\\echo end_of_the_look\n" or return undef;
	until ($answer =~ s/^end_of_the_look\n\z//m)
	{
		my $ready = '';

		vec($ready, fileno($session->{out}), 1) = 1;
		return undef if time() > $end;
		next unless select($ready, undef, undef, 1) > 0;
		sysread($session->{out}, $answer, 65536, length $answer) or return undef;
	}
	chomp $answer;
	return $answer;
}

# safe_psql() of a statement that reads.  In a wait the session is asked, so that a
# look costs no process; between two looks there is no transaction.  What the
# session does not answer is asked by safe_psql(), whose errors are the test's.
sub look
{
	my ($node, $db, $sql) = @_;

	$db //= 'postgres';
	if ($looks)
	{
		my $name = $node->name . " $db";
		my $answer = answer_of($looks->{$name} //= start_session($node, $db), $sql);

		return $answer if defined $answer;
		delete $looks->{$name};
	}
	return $node->safe_psql($db, $sql);
}

# ----------------------------------------------------------------------------
# Asking the database

# JSON text, in UTF-8, as a structure.
sub json { return JSON::PP->new->utf8->allow_nonref->decode($_[0]) }

# The rows of a query as a list of hashes.
sub rows
{
	my ($node, $query, $db) = @_;

	return @{ json(look($node, $db, "SELECT coalesce(json_agg(q), '[]') FROM ($query) q")) };
}

# The one row of a query.
sub row
{
	my @rows = rows(@_);

	die "$_[1]: " . scalar(@rows) . " rows" unless @rows == 1;
	return $rows[0];
}

# The one value of a query, as text.
sub value_of
{
	my ($node, $query, $db) = @_;

	return look($node, $db, $query);
}

# What psql says to a statement that must fail; '' if it does not.
sub error_of
{
	my ($node, $sql, $db) = @_;
	my ($status, $out, $err) = $node->psql($db // 'postgres', $sql, on_error_stop => 1);

	return $status == 0 ? '' : $err;
}

# What a role gets for its statements: their output, or what psql said, which
# then begins with "psql:" or "ERROR:".
sub as_role
{
	my ($node, $role, $sql, $db) = @_;
	my ($status, $out, $err) =
	  $node->psql($db // 'postgres', $sql, extra_params => [ '-U', $role ], on_error_stop => 1);

	return $status == 0 ? $out : $err || "ERROR: psql ended with $status";
}

# The row of im_import_status.
sub status_of
{
	my ($node, $db) = @_;

	return row($node, 'SELECT * FROM im_import_status', $db);
}

# What psql says as NOTICEs to a statement.
sub notices_of
{
	my ($node, $sql) = @_;
	my ($out, $err);

	$node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	return $err;
}

# The answer of im_import_group() to the rows of a query, the first one's.
sub reply_of
{
	my ($node, $query, $db) = @_;

	return json($node->safe_psql($db // 'postgres', "SELECT im_import_group(q) FROM ($query) q"));
}

# ----------------------------------------------------------------------------
# Waiting

# Calls a block until it gives something true, and returns that.
sub poll_until(&$;$)
{
	my ($block, $what, $limit) = @_;
	my $end = time() + ($limit // $LIMIT);
	my $nap = 0.05;
	local $looks = {};

	while (1)
	{
		my $answer = $block->();

		return $answer if $answer;
		die "gave up waiting for $what" if time() > $end;
		select(undef, undef, undef, $nap);
		$nap *= 1.15 if $nap < 0.2;
	}
}

# Waits until no row is open.
sub wait_settled
{
	my ($node, $db) = @_;
	my $open = "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')";

	eval {
		poll_until { value_of($node, $open, $db) == 0 } 'the outbox to be settled';
	};
	tell_and_die($node, $db, $@) if $@;
}

# Waits for a state of im_import_status; returns its row.
sub wait_state
{
	my ($node, $state, $db) = @_;
	my $status;

	eval {
		poll_until { ($status = status_of($node, $db))->{state} =~ /^(?:$state)$/ } "state $state";
	};
	tell_and_die($node, $db, $@) if $@;
	return $status;
}

# A test that waited in vain shows how things stand.
sub tell_and_die
{
	my ($node, $db, $message) = @_;

	diag(explain(status_of($node, $db)));
	diag(explain(rows($node, "SELECT * FROM im_group_outbox WHERE status <> 'imported' LIMIT 3", $db)));
	die $message;
}

# Cancels a CALL while the service holds one of its questions; until then it has no
# snapshot.  A fault must hold it.
sub cancel_while_held
{
	my ($node, $service, $call) = @_;
	my ($in, $out, $err, $timer) = ("$call;\n", '', '', IPC::Run::timeout(180));
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err, $timer);

	$psql->pump_nb;
	$service->wait_for(held => 1);
	my $backend = row($node, "SELECT pid, backend_xmin FROM pg_stat_activity WHERE query LIKE '" . ($call =~ s/\(.*//sr) . "%'");
	is($backend->{backend_xmin}, undef, 'no snapshot while the service is asked');
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($backend->{pid})");
	poll_until { $psql->pump_nb; $err =~ /canceling statement/ } 'the cancel';
	$in .= "\\q\n";
	$psql->finish;
	$service->clear;
	$service->release;
}

# ----------------------------------------------------------------------------
# Groups

# Inserts n rows named prefix1, prefix2, ...; extra is a list of further
# columns and their values, as SQL.
sub insert_groups
{
	my ($node, $n, $prefix, $db, %extra) = @_;
	my $columns = join '', map { ", $_" } sort keys %extra;
	my $values = join '', map { ", $extra{$_}" } sort keys %extra;

	$node->safe_psql($db // 'postgres', <<SQL);
INSERT INTO im_group_outbox (source_id, type, name$columns)
SELECT '$prefix' || i, 'Public', '$prefix' || i$values FROM generate_series(1, $n) i
SQL
}

# What is wrong between one row and the ledger; nothing if it is as it should.
sub row_problems
{
	my ($row, $ledger, $others) = @_;
	my $group = defined $row->{group_id} ? $ledger->{ $row->{group_id} } : undef;
	my @problems;

	push @problems, 'is still being sent' if $row->{status} eq 'sending';
	if ($row->{status} eq 'imported')
	{
		push @problems, 'is imported, but there is no such group' unless $group;
		push @problems, "is imported, but the group's name is $group->{name}"
		  if $group && $group->{name} ne $row->{name};
	}
	push @problems, "is $row->{status}, but created a group"
	  if $row->{status} =~ /^(?:failed|invalid)$/ && $group && !$others->{ $row->{group_id} };
	return map { "row $row->{id} ($row->{name}) $_" } @problems;
}

# Holds the table against the service's ledger: every imported row has its
# group, once; every group has its row; the status view counts right; nothing
# is in flight.  Options: db, others (ids of groups that were not made by the
# outbox), name.  The rows of the other kinds are only counted.
sub accounted
{
	my ($node, $service, %given) = @_;
	local $looks = $looks // {};
	my @rows = rows($node, 'SELECT id, status, group_id, name FROM im_group_outbox', $given{db});
	my %ledger = map { ($_->{group_id} => $_) } $service->ledger;
	my %others = map { ($_ => 'test') } @{ $given{others} // [] };
	my %owner = %others;
	my $status = status_of($node, $given{db});
	my $total = 0;
	my @problems;
	my %others_of = (map({ $_ => 0 } qw(pending sending imported failed invalid in_doubt undo undone)),
		map { $_->{status} => $_->{n} } rows($node, 'SELECT status, count(*) AS n FROM ('
			  . join(' UNION ALL ', map { "SELECT status FROM im_${_}_outbox" } qw(account friend dialog member message unread))
			  . ') o GROUP BY status', $given{db}));

	foreach my $row (@rows)
	{
		push @problems, row_problems($row, \%ledger, \%others);
		next unless $row->{status} eq 'imported';
		push @problems, "group $row->{group_id} has more than one row" if $owner{ $row->{group_id} };
		$owner{ $row->{group_id} } = "row $row->{id}";
	}
	foreach my $row (grep { $_->{status} ne 'imported' && defined $_->{group_id} } @rows)
	{
		$owner{ $row->{group_id} } //= "row $row->{id}";
	}
	push @problems, "group $_ ($ledger{$_}{name}) belongs to no row"
	  foreach grep { !$owner{$_} } sort keys %ledger;
	foreach my $name (qw(pending sending imported failed invalid in_doubt undo undone))
	{
		my $n = (grep { $_->{status} eq $name } @rows) + $others_of{$name};

		push @problems, "im_import_status counts $status->{$name} $name rows, there are $n"
		  if $status->{$name} != $n;
		$total += $status->{$name};
	}
	push @problems, "im_import_status: total is $status->{total}, its counts give $total"
	  if $status->{total} != $total;
	splice @problems, 20 if @problems > 20;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply(\@problems, [], $given{name} // 'every row is accounted for');
}

# The most calls that a limiter let go in any sliding second (each command has
# one), as the worker and the sessions of a cluster with log_min_messages =
# debug1 tell.  What the service counts depends on how busy the machine is: what
# was granted evenly need not arrive so.
sub most_granted
{
	my ($node) = @_;
	my $log = slurp_file($node->logfile);
	my $most = 0;
	my %at;

	push @{ $at{$2} }, $1 while $log =~ /im_import: call granted at (\d+) us by limiter (\d+)/g;
	die 'the log tells of no call' unless %at;
	foreach my $limiter (keys %at)
	{
		my @at = sort { $a <=> $b } @{ $at{$limiter} };
		my $first = 0;

		foreach my $last (0 .. $#at)
		{
			$first++ while $at[$last] - $at[$first] >= 1_000_000;
			$most = $last - $first + 1 if $last - $first >= $most;
		}
	}
	return $most;
}

1;
