# pg_dump and pg_restore, in every way: no row, count or sequence value is
# lost, and what is restored is not sent until somebody says so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImFence;

my ($node, $service) = set_up(options => { max_in_flight => 8, rate_limit => 1000 });
my $dir = PostgreSQL::Test::Utils::tempdir();
my @counts = qw(pending sending imported failed invalid in_doubt total);

sub counts_of
{
	my ($db) = @_;
	my $status = status_of($node, $db);

	return join ' ', map { "$_=$status->{$_}" } @counts;
}

# ---------------------------------------------------------------------------
# The original: rows of every status, some on their way at this moment

my %settled = fill_every_status($node, $service);
hold_in_flight($node, $service, 201, 'open');
poll_until { status_of($node)->{imported} == 16 } 'the answer to the first';
my $content = content($node);
my $original = counts_of('postgres');
like($original, qr/imported=16 failed=3 invalid=2 in_doubt=2 total=223/, "the original: $original");
my $last = value_of($node, 'SELECT max(id) FROM im_group_outbox');

# The dumps
my $socket = $node->connstr('postgres');
sub dump_to
{
	my ($file, @options) = @_;

	my (undef, $warnings) = run_command([ 'pg_dump', '-d', $socket, '-f', "$dir/$file", @options ]);

	is($warnings, '', "pg_dump @options says nothing");
	ok(-s "$dir/$file", '... and writes its file');
	return "$dir/$file";
}
my $plain = dump_to('plain.sql');
my $inserts = dump_to('inserts.sql', '--column-inserts', '--rows-per-insert=20');
my $custom = dump_to('custom.dump', '-Fc');
is(content($node), $content, 'nothing moved meanwhile');

# The original goes on: every group that the copies know exists when they come.
$service->clear;
$service->release;
wait_settled($node);
accounted($node, $service, others => strangers($node, $service), name => 'original: every row is accounted for');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'open%' AND status = 'imported'"),
	201, 'original: all were imported');
my $groups = $service->stats->{groups};

# ---------------------------------------------------------------------------
# The copies

sub restore
{
	my ($db, @options) = @_;

	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr($db), @options, $custom ], "pg_restore @options");
}

my %copy = (
	plain => sub { $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($_[0]), '-f', $plain ], 'psql -f') },
	inserts => sub { $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($_[0]), '-f', $inserts ], 'psql -f, of INSERTs') },
	custom => sub { restore($_[0]) },
	parallel => sub { restore($_[0], '-j2') },
	sections => sub { restore($_[0], "--section=$_") foreach qw(pre-data data post-data) },
	single => sub { restore($_[0], '-1') },
	untriggered => sub {
		connect_app($node, $service, db => $_[0], options => { max_in_flight => 8, rate_limit => 1000 });
		restore($_[0], '--data-only', '--disable-triggers');
	},
	data => sub {
		connect_app($node, $service, db => $_[0], options => { max_in_flight => 8, rate_limit => 1000 });
		restore($_[0], '--data-only');
	});

# Whose server came with the dump sends nothing at all before it is adopted;
# whose was made there sends what is new.
my $why = qr/made in another database.*im_import_adopt/;
foreach my $db (sort keys %copy)
{
	my $own = $db =~ /data|untriggered/;
	my $calls = $service->stats->{journaled};

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$copy{$db}->($db);
	is(content($node, $db), $content, "$db: every row came as it was");
	stays_fenced($node, $service, db => $db, open => 200, $own ? () : (reason => $why));
	is(counts_of($db), $original, "$db: the counts are exact");

	$node->safe_psql($db, "INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'new in $db')");
	is(value_of($node, "SELECT id FROM im_group_outbox WHERE name = 'new in $db'", $db),
		$last + 1, "$db: the sequence goes on where it was");
	if ($own)
	{
		poll_until {
			value_of($node, "SELECT status FROM im_group_outbox WHERE name = 'new in $db'", $db) eq 'imported'
		} 'the new row';
	}
	else
	{
		visit_worker($node, $db);
	}
	is($service->stats->{journaled}, $calls + ($own ? 1 : 0), "$db: " . ($own ? 'its own row is sent, and no other' : 'the new row is not sent'));
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')", $db),
		$own ? 200 : 201, "$db: the others wait");
}

# ---------------------------------------------------------------------------
# Adopted, in two of them: each finds its groups made already

foreach my $db (qw(custom untriggered))
{
	adopted_and_imported($node, $service, db => $db, adopted => 200, created => $db eq 'custom' ? 1 : 0, doubt => 2);
	is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name LIKE 'open%' AND status = 'imported'", $db),
		201, "$db: adopted and imported");
}

# Where the service assigns the ids nobody can know.
$node->safe_psql('data', "ALTER SERVER im OPTIONS (ADD group_ids 'assigned')");
my $calls = $service->stats->{journaled};
$groups = $service->stats->{groups};
my $open_without_id = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'pending' AND group_id IS NULL", 'data');
cmp_ok($open_without_id, '>', 0, "assigned ids: $open_without_id rows have none yet");
is(value_of($node, 'SELECT im_import_adopt()', 'data'), 200, 'assigned ids: adopted');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'in_doubt' AND name LIKE 'open%'", 'data'),
	$open_without_id, 'assigned ids: those are in doubt');
wait_settled($node, 'data');
is($service->stats->{groups}, $groups, 'assigned ids: no group was made twice');
accounted($node, $service, db => 'data', others => strangers($node, $service, 'data'), name => 'assigned ids: every row is accounted for');

# A row that was on its way without an id has surely none of ours, whatever
# the copy's server says about new ones.
$node->safe_psql('postgres', 'CREATE DATABASE chosen');
connect_app($node, $service, db => 'chosen', options => { max_in_flight => 8, rate_limit => 1000, group_ids => 'assigned' });
hold_in_flight($node, $service, 40, 'chosen', 'chosen');
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('chosen'), '-f', "$dir/chosen.dump" ], 'pg_dump of rows on their way');
$service->clear;
$service->release;
wait_settled($node, 'chosen');
$node->safe_psql('postgres', 'CREATE DATABASE chosen_copy');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('chosen_copy'), "$dir/chosen.dump" ], 'pg_restore');
$node->safe_psql('chosen_copy', 'ALTER SERVER im OPTIONS (DROP group_ids)');
my $sending = value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'sending'", 'chosen_copy');
cmp_ok($sending, '>', 0, "on their way without an id: $sending rows");
adopted_and_imported($node, $service, db => 'chosen_copy', adopted => 39, doubt => $sending, created => 39 - $sending);

done_testing();
