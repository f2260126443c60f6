# im_import_audit(): the list of the app's groups is held against the rows, page
# by page, and goes on where it was left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1000, audit_rate_limit => 1000 });

$service->set(rates => { get_appid_group_list => 1000 });

sub sql { return $node->safe_psql('postgres', join '', @_) }

sub ghosts
{
	return value_of($node, "SELECT string_agg(concat_ws(' ', what, group_id, source_id), ', ' ORDER BY what, group_id) FROM im_import_ghosts");
}

sub calls { return $service->stats->{calls}{get_appid_group_list} // 0 }

like(notices_of($node, 'CALL im_import_audit()'), qr/0 groups listed: 0 that no row knows, 0 rows/, 'an app without groups');

# ---------------------------------------------------------------------------
# Groups without a row, rows without a group

sql("SELECT im_import_group(r) FROM (SELECT 'stranger' || i AS group_id, 'Public' AS type, 'x' AS name FROM generate_series(1, 2) i) r");
sql("SELECT im_import_group(r) FROM (SELECT 'known' AS group_id, 'Public' AS type, 'x' AS name) r");
sql("INSERT INTO im_member_outbox (group_id, member_account) VALUES ('known', 'anna')");
insert_groups($node, 240, 'g', undef, group_id => "'g' || i");
insert_groups($node, 10, 'made');
sql("INSERT INTO im_group_outbox (source_id, type, name) VALUES ('bad', 'Public', '')");
sql("CALL im_import_wait(interval '60 s', raise_on_failure => false)");
$service->change('group', group_id => $_) foreach qw(g17 g240);
$service->set(batch_limits => { get_appid_group_list => 50 });
my $before = calls();
like(notices_of($node, 'CALL im_import_audit()'), qr/251 groups listed: 2 that no row knows, 2 rows whose group is not there\nHINT:.*im_import_ghosts/s, 'both are found');
is(ghosts(), 'no row stranger1, no row stranger2, not listed g17 g17, not listed g240 g240', '... by name');
is(calls() - $before, 6, '... page by page');
is_deeply([ map { json($_->{body})->{Limit} } $service->journal('get_appid_group_list') ], [ (undef) x 7 ], '... as large as the service likes');

# ---------------------------------------------------------------------------
# Left in the middle, it goes on there; what came meanwhile is no ghost

$service->fault({ do => 'hold', match => { command => 'get_appid_group_list', nth => 4 } });
cancel_while_held($node, $service, "CALL im_import_audit()");
is(value_of($node, 'SELECT listed FROM _im_audit WHERE finished_at IS NULL'), 150, 'what was listed stays');
insert_groups($node, 3, 'late');
wait_settled($node);
$service->change('group', group_id => 'g200');
$before = calls();
like(notices_of($node, 'CALL im_import_audit()'), qr/25\d groups listed: 2 that no row knows, 3 rows/, 'it goes on');
is(calls() - $before, 3, '... with the pages that were left');
is(ghosts(), 'no row stranger1, no row stranger2, not listed g17 g17, not listed g200 g200, not listed g240 g240', '... and the whole list is held against the rows');

# ---------------------------------------------------------------------------
# Another app: its list is not mixed with this one's

$service->fault({ do => 'hold', match => { command => 'get_appid_group_list', nth => 3 } });
my $changed = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL im_import_audit()' ], '<', \undef, '>', \my $nothing, '2>', \my $complaint, IPC::Run::timeout(180));
$service->wait_for(held => 1);
sql("ALTER SERVER im OPTIONS (SET sdkappid '1400000999')");
$service->clear;
$service->release;
$changed->finish;
like($complaint, qr/ERROR:.*app has changed while.*DETAIL:.*1400000999.*HINT:/s, 'another app in the middle ends it');
sql("ALTER SERVER im OPTIONS (SET sdkappid '$service->{sdkappid}')");
is(value_of($node, 'SELECT listed FROM _im_audit WHERE finished_at IS NULL'), 100, '... and what was listed of the first one stays');
sql("UPDATE _im_audit SET sdkappid = 1, next = 77; INSERT INTO _im_listed VALUES ('of another app')");
like(notices_of($node, 'CALL im_import_audit()'), qr/253 groups listed: 2 that no row knows, 3 rows/, 'the list of another app is not gone on with');

# ---------------------------------------------------------------------------
# Trouble

$service->set(batch_limits => { get_appid_group_list => 10000 });
$service->fault({ do => 'code', code => 10018, times => 1, match => { command => 'get_appid_group_list' } });
like(notices_of($node, 'CALL im_import_audit()'), qr/253 groups listed/, 'a page that is too large is asked for smaller');
is(json(($service->journal('get_appid_group_list'))[-1]{body})->{Limit}, 5000, '... half as large');
$service->clear;
$service->fault({ do => 'code', code => 10006, times => 1, match => { command => 'get_appid_group_list' } });
like(notices_of($node, 'CALL im_import_audit()'), qr/253 groups listed/, 'too fast: again');
$service->clear;
sql('UPDATE _im_audit SET finished_at = NULL, next = 77');
$service->fault({ do => 'code', code => 10004, times => 1, match => { command => 'get_appid_group_list' } });
like(notices_of($node, 'CALL im_import_audit()'), qr/read anew.*253 groups listed: 2 that no row knows, 3 rows/s, 'a place that the service does not know any more');
$service->clear;
$service->fault({ do => 'code', code => 60020, match => { command => 'get_appid_group_list' } });
like(error_of($node, 'CALL im_import_audit()'), qr/ERROR:.*60020.*HINT:.*kept/s, 'the plan is over');
is(ghosts(), 'no row stranger1, no row stranger2, not listed g17 g17, not listed g200 g200, not listed g240 g240', '... and the last results stay');
$service->clear;
sql('UPDATE _im_audit SET listed = 5, next = 0, finished_at = NULL');
like(notices_of($node, 'CALL im_import_audit(anew => true)'), qr/253 groups listed/, 'anew from the beginning');
like(error_of($node, 'BEGIN; CALL im_import_audit();'), qr/inside a transaction block/, 'not in a transaction');

done_testing();
