# doc/reference.md and doc/codes.md say what the extension has: no more, no
# less.  REWRITE=1 renews the parts that come from the catalog.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my $root = "$FindBin::RealBin/../..";
my $node = start_cluster();

$node->safe_psql('postgres', 'CREATE EXTENSION im_import');

my @command = ('sh', "$root/doc/make_reference.sh", $ENV{REWRITE} ? () : '--check', '-d', $node->connstr('postgres'));
my ($out, $err);
ok(IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err), 'the parts from the catalog are as the catalog has them')
  or diag("REWRITE=1 prove test/t/820_reference.pl renews them\n$out$err");

# What the page on monitoring names is what it says to copy.
my $monitoring = slurp_file("$root/doc/monitoring/README.md");
my %copied = map { $_ => 1 } $monitoring =~ /`cp [\w.]+ ([^`]+)`/g;
my @named = $monitoring =~ m{(?:--extend\.query-path=|^  - )(/etc/[^\s']+)}mg;
is_deeply([ sort @named ], [ sort keys %copied ], 'doc/monitoring: files that are named are copied, and the other way round');
ok(-f "$root/doc/monitoring/$_", "doc/monitoring has $_") foreach $monitoring =~ /`cp ([\w.]+) /g;
like($monitoring, qr/^scrape_configs:\n/m, 'and it has a scrape_config');

# Whoever looks with \d+ or \df+ finds what everything is.
my $members = "SELECT classid, objid FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'im_import')";
is(value_of($node, <<"SQL"), '', 'every column has its comment');
SELECT c.relname || '.' || a.attname FROM ($members) m
	JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE coalesce(col_description(c.oid, a.attnum), '') = '' ORDER BY 1
SQL
is(value_of($node, <<"SQL"), '', 'so has every table, view, function and procedure');
SELECT pg_describe_object(m.classid, m.objid, 0) FROM ($members) m
	LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
WHERE (c.relkind IN ('r', 'p', 'v', 'm', 'f') OR m.classid = 'pg_proc'::regclass)
	AND coalesce(obj_description(m.objid, m.classid::regclass::name), '') = '' ORDER BY 1
SQL

# \df im_* and \d im_* show what people use; what is internal has another prefix.
is(value_of($node, <<"SQL"), '', 'what is internal, and nothing else, begins with _im_');
SELECT pg_describe_object(m.classid, m.objid, 0) FROM ($members) m
	LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v')
	LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE (coalesce(c.relname, p.proname) ~ '^_im_') <> (obj_description(m.objid, m.classid::regclass::name) ~ '^(internal|trigger):') ORDER BY 1
SQL

my $reference = slurp_file("$root/doc/reference.md");
my $readme = slurp_file("$root/README.md");

# The words in the first column of the table under a heading.
sub first_column
{
	my ($text, $heading) = @_;
	my ($section) = $text =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/ms;
	my @words;

	foreach my $line (split /\n/, $section // '')
	{
		my ($cell) = $line =~ /^\| ([^|]*`[^|]*) \|/ or next;
		push @words, $cell =~ /`([^`]+)`/g;
	}
	return [ sort @words ];
}


my ($check) = value_of($node, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'im_group_outbox_status'");
my $statuses = [ sort $check =~ /'([a-z_]+)'/g ];
is(scalar @$statuses, 8, 'there are eight statuses');
is_deeply(first_column($reference, 'Statuses'), $statuses, 'all of them in reference.md');
is_deeply(first_column($readme, 'What a status means'), $statuses, 'and in the README');

my $states = [ sort(slurp_file("$root/src/state.c") =~ /^\t\[IM_STATE_\w+\] = \{"([a-z ]+)",/mg) ];
cmp_ok(scalar @$states, '>', 8, 'states are found');
is_deeply(first_column($reference, 'States'), $states, 'all of them in reference.md');
is_deeply(first_column($readme, 'Why does it wait?'), $states, 'and in the README');
is_deeply(first_column(slurp_file("$root/doc/runbook.md"), 'Every state'), $states, 'and in the runbook');

my @classes = split /\n/, value_of($node, 'SELECT DISTINCT class FROM im_error_codes() ORDER BY 1');
is_deeply(first_column($reference, 'Classes of codes'), \@classes, 'all classes in reference.md');

# The README's table of options names every option of the server, with the
# same default.
my %default = map { /^\| `(\w+)` \| SERVER \| (.*?) \|/ ? ($1 => $2) : () } split /\n/, $reference;
cmp_ok(scalar keys %default, '>', 10, 'options are found');
my %readme = map { /^\| `(\w+)` \| (.*?) \|/ && exists $default{$1} ? ($1 => $2) : () }
  split /\n/, ($readme =~ /^(\| server option.*?)\n\n/ms)[0];
is_deeply(\%readme, \%default, 'the README has the same options and defaults');

# The bounds of options are those of the validator: they are taken, and what is
# just beyond is not.  Bytes are counted, not numbers.
my %beyond = (
	rate_limit => [ '0.0009', '1000001' ],
	groups_per_day => [ '0', '9223372036854775808' ],
	request_timeout => [ '999ms', '601s' ],
	max_time_shift => [ '-1s', '597h' ]);
$beyond{"${_}_rate_limit"} = $beyond{rate_limit} foreach qw(account friend dialog group member message unread);
my %else = (
	SERVER => { sdkappid => 1, region => 'tokyo' },
	'USER MAPPING' => { identifier => 'a', secret_key => 'b' });
my $bounds = 0;

# True if the validator takes an option of an object.
sub is_taken
{
	my ($of, $name, $value) = @_;
	my %options = (%{ $else{$of} }, $name => $value);
	my $list = join ', ', map { "'$_=$options{$_}'" } sort keys %options;
	my $kind = $of eq 'SERVER' ? 'pg_foreign_server' : 'pg_user_mapping';
	my $error = error_of($node, "SELECT _im_validator(ARRAY[$list], '$kind'::regclass)");

	die "of $list: $error" if $error ne '' && $error !~ /\Q$name\E/;
	return $error eq '';
}

foreach my $line (split /\n/, $reference)
{
	my ($name, $of, undef, $unit, $least, $most) = $line =~ /^\| `(\w+)` \| (SERVER|USER MAPPING) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|/ or next;
	next if $least eq '–' && $most eq '–';
	my @good = $unit =~ /^bytes/ ? ('x' x $least, 'x' x $most) : ($least, $most);
	my @bad = @{ $beyond{$name} // ($unit =~ /^bytes/ ? [ '', 'x' x ($most + 1) ] : [ $least - 1, $most + 1 ]) };

	is_deeply([ map { is_taken($of, $name, $_) ? 1 : 0 } @good, @bad ], [ 1, 1, 0, 0 ], "the bounds of $name");
	$bounds++;
}
is($bounds, 23, 'every option with bounds is looked at');

# The code of a taken id is one that the import gives; 002_codes.pl sees it given.
my ($different) = slurp_file("$root/src/call.h") =~ /IM_CODE_DIFFERENT = (-?\d+)/;
like($readme, qr/Another: `failed`, code \Q$different\E\./, 'the README names the code of an id with other content');
like($readme, qr/im_error_codes\(\) WHERE code IN \(\Q$different\E,/, 'and shows what it means');

# Defaults as the source has them, and as the import has them.
my $source = slurp_file("$root/src/app.c");
is(($source =~ /^\tapp->\Q$_\E = (\d+);/m)[0], $default{$_}, "the default of $_") foreach qw(rate_limit max_in_flight max_attempts);
is(($source =~ /^\tapp->request_timeout_ms = (\d+);/m)[0] / 1000 . 's', $default{request_timeout}, 'the default of request_timeout');
$node->safe_psql('postgres', "CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1', region 'tokyo');
	CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (identifier 'a', secret_key 'b')");
is(status_of($node)->{rate_limit}, $default{rate_limit}, 'rate_limit is what it says');

# The README's recipe for an operator is that of privileges.md, which
# 700_privileges.pl tries.
sub recipe
{
	my ($file) = @_;
	my ($grants) = slurp_file("$root/$file") =~ /^(CREATE ROLE chat_operator;.*?)^```$/ms;

	return join ' ', split ' ', $grants // '';
}

like(recipe('README.md'), qr/im_import_stats_reset\(\)/, 'an operator may reset the counters');
is(recipe('README.md'), recipe('doc/privileges.md'), 'the README and privileges.md have the same operator');

done_testing();
