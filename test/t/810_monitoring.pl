# doc/monitoring, against Debian's prometheus-postgres-exporter: a role that
# is pg_monitor and nothing else gets every metric, with the view's value, and
# the dashboard and the rules ask for no other.  Skipped without the exporter;
# POSTGRES_EXPORTER is the program's path.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my ($program) = grep { defined && -x } $ENV{POSTGRES_EXPORTER}, '/usr/bin/prometheus-postgres-exporter';
plan skip_all => 'prometheus-postgres-exporter is not installed' unless defined $program;

my $folder = "$FindBin::RealBin/../../doc/monitoring";
my ($node, $service) = set_up();

# Rows of every kind, so that every metric has a value.
$service->fault({ do => 'code', code => 10019, match => { command => 'import_group', name => 'refused*' } });
insert_groups($node, 30, 'good');
insert_groups($node, 3, 'refused');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Public', repeat('x', 40) FROM generate_series(1, 2)");
wait_settled($node);
$node->safe_psql('postgres', "SELECT im_import_pause('for a while')");
insert_groups($node, 5, 'late');
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher');

# The queries file, as far as we use YAML: name => { query, LABEL, GAUGE, COUNTER }.
sub queries
{
	my %queries;

	foreach my $part (split /^(?=\w+:$)/m, slurp_file("$folder/queries.yaml"))
	{
		my ($name, $query) = $part =~ /^(\w+):\n  query: \|\n((?:    .*\n)+)/ or next;

		$queries{$name}{query} = $query;
		push @{ $queries{$name}{$2} }, $1 while $part =~ /^    - (\w+):\n        usage: "(\w+)"\n        description: "/mg;
	}
	return %queries;
}

# Starts the exporter, returns its metrics as name{labels} => value.
sub scrape
{
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $http = HTTP::Tiny->new(timeout => 10);
	my $log = "$PostgreSQL::Test::Utils::log_path/810_monitoring_exporter.log";
	local $ENV{DATA_SOURCE_NAME} = sprintf 'user=watcher host=%s port=%d dbname=postgres sslmode=disable', $node->host, $node->port;
	my $exporter = IPC::Run::start(
		[ $program, "--web.listen-address=127.0.0.1:$port", "--extend.query-path=$folder/queries.yaml",
			'--disable-default-metrics', '--disable-settings-metrics' ],
		'<', \undef, '>&', $log);
	my $answer;

	eval {
		poll_until { ($answer = $http->get("http://127.0.0.1:$port/metrics"))->{success} } 'the exporter', 30;
	};
	my $died = $@;
	$exporter->signal('TERM');
	eval { $exporter->finish };
	die $died if $died;
	return map { /^(\w+)\{(.*)\} (\S+)$/ ? (labelled($1, $2) => $3) : /^(\w+) (\S+)$/ ? ($1 => $2) : () }
	  split /\n/, $answer->{content};
}

# A metric's name with its labels in order, without those of the exporter.
sub labelled
{
	my ($name, $labels) = @_;
	my @labels = sort grep { !/^server=/ } $labels =~ /(\w+="(?:[^"\\]|\\.)*")/g;

	return @labels ? $name . '{' . join(',', @labels) . '}' : $name;
}

my %queries = queries();
cmp_ok(scalar keys %queries, '>=', 6, 'the queries are found');

my %metrics;
my @differ;
my %before = expected();
%metrics = scrape();
my %after = expected();
foreach my $metric (sort keys %before)
{
	next if defined $metrics{$metric} && between($metrics{$metric}, $before{$metric}, $after{$metric});
	push @differ, "$metric is " . ($metrics{$metric} // 'absent') . ", and $before{$metric} in SQL";
}
is_deeply(\@differ, [], 'every metric of queries.yaml is exported with the value that its query has');
is($metrics{pg_exporter_last_scrape_error} // 0, 0, 'the exporter met no error');

# What the queries give, as the exporter names it.
sub expected
{
	my %expected;

	foreach my $name (sort keys %queries)
	{
		foreach my $row (rows($node, $queries{$name}{query}))
		{
			my @labels = map { "$_=\"$row->{$_}\"" } @{ $queries{$name}{LABEL} // [] };

			foreach my $column (map { @{ $queries{$name}{$_} // [] } } qw(GAUGE COUNTER))
			{
				die "$name: its query has no column $column" unless exists $row->{$column};
				$expected{ labelled("${name}_$column", join(',', @labels)) } = $row->{$column} // 'NaN';
			}
		}
	}
	return %expected;
}

# Is a metric what its query gave before the scrape, or after it, or between?
sub between
{
	my ($found, @seen) = @_;
	my @numbers = sort { $a <=> $b } grep { defined && $_ ne 'NaN' } @seen;

	return grep { defined && $_ eq 'NaN' } @seen if $found eq 'NaN';
	return 0 unless @numbers;
	return $found >= $numbers[0] - 1e-6 * abs($numbers[0]) && $found <= $numbers[-1] + 1e-6 * abs($numbers[-1]);
}

# And straight from the views.
my $status = status_of($node);
my $of = '{datname="postgres"}';
is($metrics{"im_import_$_$of"}, $status->{$_}, "im_import_$_ is the view's")
  foreach qw(pending sending imported failed invalid in_doubt total rate_limit);
is($metrics{'im_import_state_active{datname="postgres",state="paused"}'}, 1, 'the state is paused');
my @states = slurp_file("$FindBin::RealBin/../../src/state.c") =~ /\[IM_STATE_\w+\] = \{"([^"]+)"/g;
cmp_ok(scalar @states, '>=', 11, 'the table of states is found');
is_deeply([ sort map { /^im_import_state_active\{.*state="([^"]*)"/ ? $1 : () } keys %metrics ],
	[ sort @states ], 'every state has its metric');
my %calls = map { /^pg_stat_im_import_calls_total\{.*command="([^"]*)"/ ? ($1 => $metrics{$_}) : () } keys %metrics;
is_deeply(\%calls, { map { $_->{command} => $_->{calls} } rows($node, 'SELECT command, calls FROM pg_stat_im_import') }, 'calls of each command are the view\'s');
cmp_ok($calls{import_group}, '>', 0, 'those of import_group among them');
my ($refused) = grep { /^im_import_errors_rows\{.*error_code="10019"/ } keys %metrics;
is($metrics{ $refused // '' }, 3, 'rows that failed are told by their code');

# Nobody asks for a metric that is not there.
my %names = map { /^(\w+)/ ? ($1 => 1) : () } keys %metrics;
my $dashboard = json(slurp_file("$folder/grafana.json"));
my @asked = map { map { $_->{expr} } @{ $_->{targets} } } @{ $dashboard->{panels} };
push @asked, map { ref $_->{query} ? $_->{query}{query} : () } @{ $dashboard->{templating}{list} };
cmp_ok(scalar @asked, '>', 15, 'the dashboard asks');
push @asked, slurp_file("$folder/alerts.yml") =~ /^        expr: (.*)$/mg;
my %missing = map { $_ => 1 } grep { !$names{$_} } map { /\b((?:im_import|pg_stat_im_import)_\w+)/g } @asked;
is_deeply([ sort keys %missing ], [], 'the dashboard and the rules ask for metrics that exist');
my @unreadable = grep { (my $rest = $_) =~ s/"[^"]*"//g; ($rest =~ tr/(//) != ($rest =~ tr/)//) || ($rest =~ tr/{//) != ($rest =~ tr/}//) } @asked;
is_deeply(\@unreadable, [], 'with their brackets closed');

done_testing();
