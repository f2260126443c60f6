# Death after death at random moments, while rows of every kind keep coming and
# the network misbehaves.  In the end each committed row is accounted for.
#
# IM_KILLS is the number of deaths, 100 by default; IM_SEED the seed of what is
# chosen at random (the moments themselves differ from run to run).  A long run:
#
#   IM_KILLS=3000 TAP_LIMIT=14400 TESTS=test/t/110_kill_loop.pl sh test/run.sh tap

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;
use ImCrash;

my $kills = $ENV{IM_KILLS} || 100;
my $seed = $ENV{IM_SEED} || time();
srand($seed);
note("IM_KILLS=$kills IM_SEED=$seed");

my ($node, $service) = set_up(
	conf => "restart_after_crash = on\nlog_statement = none",
	options => { rate_limit => 400, max_in_flight => 32, request_timeout => '2s', group_ids => 'generated' });
my $books = new_books($service);

# What the network and the service do to some of the calls.
my @faults = (
	{ do => 'close_after', match => { command => 'import_group', every => 37 } },
	{ do => 'close_before', match => { command => 'import_group', every => 41 } },
	{ do => 'http', status => 502, match => { command => 'import_group', every => 43 } },
	{ do => 'http', status => 500, apply => \1, match => { command => 'import_group', every => 47 } },
	{ do => 'delay_apply', ms => 400, match => { command => 'import_group', every => 53 } },
	{ do => 'rst_after', match => { every => 61 } },
	{ do => 'delay', ms => 3000, match => { command => 'import_group', every => 211 } },
	{ do => 'code', code => 60007, match => { every => 307 } },
	{ do => 'delay', ms => 60, match => { every => 2 } });
$service->fault(@faults);

# A row with another key is refused, now and always.
$service->set(custom_keys => ['k']);

# ---------------------------------------------------------------------------
# Somebody inserts all the time, and writes down which commits were confirmed

my $stop_file = "$service->{dir}/stop";
my $ack_file = "$service->{dir}/acknowledged";

# A batch of rows under one number.
sub batch_sql
{
	my ($batch, $refused) = @_;
	$refused ||= '';
	my $rows = 5 + $batch % 11;
	my $last = $refused ? "CASE WHEN i = $rows THEN n || '-refused' ELSE n END" : 'n';

	return <<SQL;
INSERT INTO im_group_outbox (source_id, group_id, type, name, introduction, app_defined_data)
SELECT n, CASE WHEN i % 3 = 0 THEN 'u-' || n END, CASE WHEN i % 7 = 0 THEN 'Community' ELSE 'Public' END,
	CASE WHEN i % 13 = 0 THEN repeat(n, 10) ELSE $last END, 'of batch $batch',
	json_build_object(CASE WHEN '$refused' <> '' AND i = $rows THEN 'not k' ELSE 'k' END, i)
FROM (SELECT i, 'b$batch-' || i AS n FROM generate_series(1, $rows) i) r
SQL
}

# The life of the process that inserts.
sub keep_inserting
{
	my $dsn = $node->connstr('postgres');

	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	for (my $batch = 1; !-e $stop_file; $batch++)
	{
		# Refused rows that were maybe sent wait for a minute: none near the end.
		my $ok = system('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $dsn, '-c', batch_sql($batch, $batch < 60)) == 0;

		append_to_file($ack_file, "$batch\n") if $ok;
		select(undef, undef, undef, $ok ? 0.15 : 0.05);
	}
	POSIX::_exit(0);
}

sub start_inserting
{
	my $pid = fork() // die "fork: $!";

	keep_inserting() if $pid == 0;
	return $pid;
}

# ---------------------------------------------------------------------------
# The deaths

my %died;
my @ways = (('kill -9 of the worker') x 5, ('pg_terminate_backend') x 2,
	'immediate stop', 'fast stop', 'kill -9 of the postmaster');
my $main = $$;
my $inserter = start_inserting();

# It holds our output open: nobody would ever learn that we have died.
END { kill 'KILL', $inserter if defined $inserter && $$ == $main }

for (my $n = 0; $n < $kills;)
{
	my $how = $ways[ rand @ways ];

	# Now and then the option changes that says who chooses ids.
	eval {
		$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET group_ids '"
			  . (rand() < 0.5 ? 'assigned' : 'generated') . "')");
	} if rand() < 0.3;
	select(undef, undef, undef, rand() ** 2);
	next unless die_of($node, $how);
	$died{$how}++;
	$n++;
}
append_to_file($stop_file, '');
waitpid $inserter, 0;

# ---------------------------------------------------------------------------
# The account

$service->clear;
wait_settled($node);
read_zombies($books);

# A row whose id the service chose went out once, but for plain refusals.
my @twice = grep { 1 < grep { ($_->{code} // 0) != 60007 } @{ $books->{posts}{$_} // [] } }
  map { $_->{name} } rows($node, <<SQL);
SELECT name FROM im_group_outbox
WHERE status = 'in_doubt' OR (group_id LIKE '\@TGS#%' AND group_id NOT LIKE '\@TGS#\\_im-%')
SQL
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (SET group_ids 'assigned')");
my $doubts = resolve_doubts($node, $books, 'true');
wait_settled($node);
read_books($books);

my @rows = rows($node, 'SELECT id, source_id, name, status, group_id, error_code, error_info, im_group_json(o) AS sent FROM im_group_outbox o');
my @problems = count_faults($node);
my %batch;
foreach my $row (@rows)
{
	my $assigned = ($row->{group_id} // '') =~ /^\@TGS#(?!_im-)/;

	$batch{$1}++ if $row->{source_id} =~ /^b(\d+)-/;
	push @problems, row_faults($row, $books, $assigned);
	push @problems, "row $row->{id} ($row->{name}) is $row->{status}"
	  if $row->{status} ne ($row->{name} =~ /refused/ ? 'failed' : length($row->{name}) > 30 ? 'invalid' : 'imported');
}
my @acknowledged = split /\n/, slurp_file($ack_file);
my @lost = grep { !$batch{$_} } @acknowledged;
my @partial = grep { $batch{$_} != 5 + $_ % 11 } keys %batch;
my @doubled = grep { @{ $books->{groups}{$_} } > 1 } sort keys %{ $books->{groups} };
my $open = grep { $_->{status} =~ /pending|sending|in_doubt/ } @rows;

splice @problems, 20 if @problems > 20;
is_deeply(\@problems, [], 'every status is true');
cmp_ok(scalar(@acknowledged), '>', 0, 'batches were confirmed');
is_deeply(\@lost, [], scalar(@acknowledged) . ' confirmed batches are there');
is_deeply(\@partial, [], 'and each is whole');
is_deeply(\@doubled, [], 'no group was made twice');
is_deeply(\@twice, [], 'no row with an assigned id was sent twice');
accounted($node, $service);
note("kills $kills, rows ", scalar(@rows), ', lost ', @lost + $open, ', doubled ', scalar(@doubled),
	", resolved out of doubt $doubts (", join(', ', map { "$died{$_} $_" } sort keys %died), ')');

done_testing();
