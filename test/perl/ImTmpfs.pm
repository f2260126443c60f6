# ImTmpfs.pm
#	  A small disk for a test: a tmpfs of 32 MB at $ENV{IM_TMPFS}.
#
# To be used before anything else: it runs the test once more, in a user and
# mount namespace where it may mount one.  Where the kernel does not allow
# that, the test is skipped.
package ImTmpfs;

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use POSIX ();
use Test::More;

our @EXPORT = qw(fill_disk make_room);

if (!$ENV{IM_TMPFS})
{
	my $dir = File::Temp::tempdir('im_tmpfs_XXXXXX', TMPDIR => 1, CLEANUP => 0);
	my $ids = "--map-user=$> --map-group=" . (split / /, $))[0];
	my $try = "mount -t tmpfs -o size=32m,mode=0700 im_import '$dir' && exec unshare --user $ids";

	if (system("unshare --user --map-root-user --mount sh -c \"$try true\" >/dev/null 2>&1") == 0)
	{
		$ENV{IM_TMPFS} = $dir;
		my $status = system('unshare', '--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child',
			'sh', '-c', "$try \"\$@\"", 'sh', $^X, (map { "-I$_" } @INC), $0);

		rmdir $dir;
		POSIX::_exit($status & 127 ? 255 : $status >> 8);
	}
	rmdir $dir;
	plan skip_all => 'cannot mount a tmpfs here';
}

my $ballast = "$ENV{IM_TMPFS}/ballast";

# Takes what room is left.
sub fill_disk
{
	open(my $out, '>>', $ballast) or die "open $ballast: $!";
	my $block = 'x' x 8192;
	while (defined(syswrite($out, $block))) { }
	close $out;
	return;
}

# Gives it back.
sub make_room { return unlink($ballast) || die "unlink $ballast: $!" }

1;
