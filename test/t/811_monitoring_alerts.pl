# doc/monitoring/alerts.yml, by Prometheus itself: the rules can be read, and
# they speak up when test/data/alerts_test.yml says so, and not before.  That
# the metrics exist is what 810_monitoring.pl sees to.  Skipped without
# promtool, which is in Debian's package prometheus; it may also stand beside
# the exporter that POSTGRES_EXPORTER names.

use strict;
use warnings;

use File::Basename;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my @places = ($ENV{PROMTOOL}, defined $ENV{POSTGRES_EXPORTER} ? dirname($ENV{POSTGRES_EXPORTER}) . '/promtool' : undef, '/usr/bin/promtool');
my ($promtool) = grep { defined && -x } @places;
plan skip_all => 'promtool is not installed' unless defined $promtool;

# What promtool says, and whether it is content.
sub promtool
{
	my (@arguments) = @_;

	open(my $pipe, '-|', 'sh', '-c', 'exec "$0" "$@" 2>&1', $promtool, @arguments) or die $!;
	my $said = do { local $/; <$pipe> };
	close($pipe);
	return ($? == 0, $said);
}

my ($good, $said) = promtool('check', 'rules', "$root/doc/monitoring/alerts.yml");
ok($good, 'the rules can be read') or diag($said);
my ($rules) = $said =~ /(\d+) rules found/;
is($rules, 6, 'all of them');
($good, $said) = promtool('test', 'rules', "$root/test/data/alerts_test.yml");
ok($good, 'they speak up when they should, and not before') or diag($said);

my %tested = map { $_ => 1 } slurp_file("$root/test/data/alerts_test.yml") =~ /alertname: (\w+)/g;
is(scalar keys %tested, $rules, 'each of them is tested');

done_testing();
