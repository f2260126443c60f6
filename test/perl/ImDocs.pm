# ImDocs.pm
#	  SQL that stands in a document, run as it stands there.
package ImDocs;

use strict;
use warnings;

use Exporter 'import';
use FindBin ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(sql_blocks run_block);

# The fenced sql blocks of a document, in order: { title, db, sql }.  The first
# line is a comment, "-- in DATABASE" and what else tells it from the others.
sub sql_blocks
{
	my ($file) = @_;
	my $text = slurp_file("$FindBin::RealBin/../../$file");
	my @blocks;

	while ($text =~ /^```sql\n(.*?)^```$/msg)
	{
		my $sql = $1;
		my ($title, $db) = $sql =~ /^-- (in (\w+).*)$/m;

		die "$file: a block does not say where it runs:\n$sql" unless defined $db;
		push @blocks, { title => $title, db => $db, sql => $sql };
	}
	return @blocks;
}

# Runs one with psql, as a person would, or as the role that it has been given;
# returns what it prints.  replace is a list of texts and what stands for them
# in the test.
sub run_block
{
	my ($node, $block, @replace) = @_;
	my $sql = $block->{sql};
	my ($out, $err);

	$sql = "SET ROLE $block->{role};\n$sql" if $block->{role};

	while (my ($text, $other) = splice @replace, 0, 2)
	{
		$sql =~ s/\Q$text\E/$other/g;
	}
	my $worked = IPC::Run::run([ 'psql', '-X', '-e', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($block->{db}) ],
		'<', \$sql, '>', \$out, '2>', \$err);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($worked, $block->{title}) or diag("$out$err");
	return $out;
}

1;
