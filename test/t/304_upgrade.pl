# pg_upgrade gives the cluster another system identifier: the upgraded one
# waits for a person, because the old one may still be there and send.
#
# Old and new are of the same major here.  IM_OLD_SERVER=/usr/lib/postgresql/15
# names the folder of an older one, with the extension installed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Cwd ();
use Test::More;

use ImTest;
use ImFence;

my $service = ImService->new;
my $old = start_cluster(name => 'old', install_path => $ENV{IM_OLD_SERVER});

connect_app($old, $service, options => { max_in_flight => 8, rate_limit => 1000 });
my %settled = fill_every_status($old, $service);
hold_in_flight($old, $service, 100, 'open');
$old->safe_psql('postgres', "SELECT im_import_pause('before the upgrade')");
my $unchecked = value_of($old, 'SHOW data_checksums') eq 'off';
$old->stop('fast');
$service->clear;
$service->release;

# pg_upgrade wants both with or without checksums; from 18 on initdb turns them on.
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ '--encoding=UTF8', '--locale=C' ], no_data_checksums => $unchecked);
$new->append_conf('postgresql.conf',
	"shared_preload_libraries = 'im_import'\nmax_worker_processes = 12");
my ($old_bin, $new_bin) = map { $_->config_data('--bindir') } $old, $new;
my $back = Cwd::cwd();
chdir PostgreSQL::Test::Utils::tempdir();
my $upgraded = PostgreSQL::Test::Utils::run_log(
	[
		'pg_upgrade', '--no-sync', '-b', $old_bin, '-B', $new_bin, '-d', $old->data_dir, '-D', $new->data_dir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port
	]);
chdir $back;
ok($upgraded, 'pg_upgrade');

my $calls = $service->stats->{journaled};
$new->start;
my $open = value_of($new, "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')");
cmp_ok($open, '>', 8, "$open rows are open");
is(value_of($new, 'SELECT count(*) FROM im_group_outbox'), 122, 'no row is missing');
stays_fenced($new, $service, open => $open, reason => qr/made in another database.*upgraded cluster.*im_import_adopt/, name => 'upgraded');
my $status = status_of($new);
is($status->{$_}, $settled{$_}, "upgraded: $status->{$_} $_") foreach qw(failed invalid in_doubt);
is($service->stats->{journaled}, $calls, 'nothing was sent so far');
is(value_of($new, 'SELECT coalesce(sum(calls), 0) FROM im_import_history'), 0, 'the history begins anew');
is(value_of($new, 'SELECT sum(calls) FROM pg_stat_im_import'), 0, 'and so do the counters');

# The old one goes on, as after a rehearsal: both send the same rows.
$old->start;
is(status_of($old)->{state}, 'paused', 'the pause is the old one\'s');
$old->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($old);
accounted($old, $service, others => strangers($old, $service), name => 'old: every row is accounted for');
adopted_and_imported($new, $service, adopted => $open, created => 0, doubt => 2, name => 'upgraded');
insert_groups($new, 5, 'later');
wait_settled($new);
is(status_of($new)->{imported}, 15 + 100 + 5, 'upgraded: goes on');

# A repair does not fence again: adopted once is enough.
is(value_of($new, 'SELECT im_import_retry()'), $settled{failed} + $settled{invalid}, 'upgraded: rows of the old cluster can be repaired');
wait_settled($new);
isnt(status_of($new)->{state}, 'fenced', 'upgraded: a repair does not fence again');
is(status_of($new)->{imported}, 120 + $settled{failed}, 'upgraded: what was repaired is imported');
accounted($new, $service, others => strangers($new, $service), name => 'upgraded: every row is accounted for');

# A repair needs no second adoption.
$new->safe_psql('postgres', "UPDATE im_group_outbox SET name = 'repaired', type = 'Public', status = 'pending' WHERE id = (SELECT min(id) FROM im_group_outbox WHERE status = 'invalid')");
wait_settled($new);
is(value_of($new, "SELECT status FROM im_group_outbox WHERE name = 'repaired'"), 'imported', 'a repaired row is sent');
unlike(status_of($new)->{state}, qr/fenced/, 'and fences nothing');

done_testing();
