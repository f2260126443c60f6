# Copies of a database send nothing by themselves: neither a copy made from a
# template, nor a server that was promoted, until a person says so.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my $service = ImService->new;
my $node = start_cluster(conf => "wal_level = replica\nmax_wal_senders = 4\nmax_replication_slots = 4\nhot_standby = on");
connect_app($node, $service);
$node->append_conf('pg_hba.conf', 'local replication all trust');
$node->reload;

# The import_group calls so far.
sub calls { return scalar($service->journal('import_group')) }

# ---------------------------------------------------------------------------
# CREATE DATABASE ... TEMPLATE

$node->safe_psql('postgres', "SELECT im_import_pause('to be copied')");
insert_groups($node, 5, 'open');
insert_groups($node, 1, 'given', undef, group_id => "'given'");
poll_until { ($node->psql('template1', 'CREATE DATABASE copy TEMPLATE postgres'))[0] == 0 } 'the copy';
$node->safe_psql('copy', 'SELECT im_import_resume()');
insert_groups($node, 3, 'new', 'copy');
poll_until { value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'", 'copy') == 3 } "the copy's own rows";
is(calls(), 3, 'a copy sends its own rows, not those that it was born with');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE name !~ '^new' AND status = 'pending'", 'copy'), 6,
	'these wait');

is(value_of($node, 'SELECT im_import_adopt()', 'copy'), 6, 'im_import_adopt() takes them over');
wait_settled($node, 'copy');
is(calls(), 9, 'now they are sent');
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
is(
	value_of($node, "SELECT string_agg(group_id, ',' ORDER BY name) FROM im_group_outbox WHERE status = 'imported'"),
	value_of($node, "SELECT string_agg(group_id, ',' ORDER BY name) FROM im_group_outbox WHERE status = 'imported' AND name !~ '^new'", 'copy'),
	'sent from both databases, with the same ids');
is(scalar($service->ledger), 9, 'no group was made twice');

# ---------------------------------------------------------------------------
# Promotion

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', "SELECT im_import_pause('until the promotion')");
insert_groups($node, 5, 'late');
$node->wait_for_catchup($standby, 'replay');
my $calls = calls();
$standby->promote;
$standby->safe_psql('postgres', 'SELECT im_import_resume()');
my $status = wait_state($standby, 'fenced');
like($status->{reason}, qr/timeline.*im_import_adopt/, 'a promoted server says why it waits, and what to do');
insert_groups($standby, 1, 'after');
is($standby->safe_psql('postgres', "SELECT count(*) FROM im_group_outbox WHERE status IN ('pending', 'sending')"), 6, 'it holds every row');
is(calls(), $calls, 'and sends nothing');

# Two primaries, one after the other: the same ids, so no second group.
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
is($standby->safe_psql('postgres', 'SELECT im_import_adopt()'), 6, 'im_import_adopt() lets it go on');
wait_settled($standby);
is($standby->safe_psql('postgres', "SELECT count(*) FROM im_group_outbox WHERE status <> 'imported'"), 0, 'all its rows are imported');
my %count;
$count{ $_->{name} }++ foreach $service->ledger;
is_deeply([ grep { $count{$_} > 1 } sort keys %count ], [], 'no group was made twice by the two of them');

done_testing();
