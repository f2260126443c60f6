# im_import_plan(): what is pending, and what the published limits make of it;
# and problems of a whole legacy table, counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up();

# The lines of the plan by item; of several for one item a list.
sub plan_now
{
	my %lines;

	push @{ $lines{ $_->{item} } }, $_ foreach rows($node, 'SELECT * FROM im_import_plan()');
	return \%lines;
}

$node->safe_psql('postgres', 'SELECT im_import_pause()');

# ---------------------------------------------------------------------------
# Nothing pending

my $plan = plan_now();
is($plan->{'pending groups'}[0]{value}, '0', 'nothing is pending');
is($plan->{'time for groups'}[0]{value}, '00:00:00', 'it takes no time');
is($plan->{'new groups'}[0]{warning}, undef, 'no limit is met');

# ---------------------------------------------------------------------------
# Many rows

insert_groups($node, 30_000, 'room');
$plan = plan_now();
is($plan->{'calls for groups'}[0]{value}, '30,000', 'a call for each row');
is($plan->{'time for groups'}[0]{value}, '00:02:30', 'at 200 a second');
like($plan->{'new groups'}[0]{warning}, qr/10,000.*50,000: 3 or 1 days/, 'days by plan');
like($plan->{'finished at'}[0]{value}, qr/^\d{4}-\d\d-\d\d /, 'when it would be finished');
is($plan->{'groups without owner'}[0]{value}, '30,000', 'groups without owner');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (ADD groups_per_day '10000', ADD rate_limit '100')");
is(plan_now()->{'time for groups'}[0]{value}, '2 days 00:05:00', 'with a budget, over days');
insert_groups($node, 80_000, 'more');
like(plan_now()->{'groups in the app then'}[0]{warning}, qr/billed/, 'more than 100,000 are billed');
$node->safe_psql('postgres', "DELETE FROM im_group_outbox");

# ---------------------------------------------------------------------------
# Rows of every kind

$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (group_id, type, name, owner_account, app_defined_data, create_time) VALUES
	('a', 'Private', 'x', 'anna', NULL, '2020-01-01'),
	('A', 'Work', 'x', 'anna', NULL, '2020-01-01'),
	('b', 'Public', 'x', 'bob smith', '{"k": "v"}', NULL),
	('b', 'Public', 'x', 'carl', NULL, NULL),
	(NULL, 'Community', 'x', 'carl', NULL, NULL),
	(NULL, 'Public', repeat('x', 31), NULL, NULL, NULL),
	(NULL, 'Public', repeat('x', 40), NULL, NULL, NULL),
	(NULL, 'Public', 'x', repeat('o', 33), NULL, NULL),
	('@TGS#x', 'Public', 'x', NULL, NULL, NULL);
SQL
$plan = plan_now();
is($plan->{'pending groups'}[0]{value}, '9', 'all rows');
is($plan->{'refused groups'}[0]{value}, '4', 'rows that will be refused');
is($plan->{'calls for groups'}[0]{value}, '5', 'no call for those');
is($plan->{owners}[0]{value}, '3', 'distinct owners');
is($plan->{'Private groups'}[0]{value}, '2', 'Private groups, in either spelling');
like($plan->{'Private groups'}[0]{warning}, qr/until a message/, 'stay invisible');
like($plan->{'Community groups'}[0]{warning}, qr/enabled/, 'Communities must be enabled');
is($plan->{'groups with app_defined_data'}[0]{value}, '1', 'custom data');
is($plan->{'groups without create_time'}[0]{value}, '3', 'no time of creation');
like($plan->{'GroupIds of several rows'}[0]{warning}, qr/: b$/, 'ids that collide');
like($plan->{'GroupIds that differ only by case'}[0]{warning}, qr/: A and a$/, 'ids that differ by case');
is_deeply(
	[ map { "$_->{value}: $_->{warning}" } @{ $plan->{problem} } ],
	[
		'2: name is over 30 bytes of UTF-8; first in row 110006',
		'1: group_id must not begin with "@TGS#", which is reserved for the service; first in row 110009',
		'1: owner_account is over 32 bytes of UTF-8; first in row 110008'
	],
	'problems by kind');
is_deeply(
	[ map { "$_->{value}: $_->{warning}" } @{ $plan->{unusual} } ],
	['1: owner_account has characters other than A-Z, a-z, 0-9, _ and -; first in row 110003'],
	'what is unusual');
is($service->stats->{created}, 0, 'a plan creates nothing');
$node->safe_psql('postgres', "UPDATE im_group_outbox SET source_id = 'room 6' WHERE id = 110006");
like(plan_now()->{problem}[0]{warning}, qr/first in row 110006 \(source_id room 6\)$/, 'a row is named by its source, too');
like(plan_now()->{'finished at'}[0]{warning}, qr/at best/, 'the time is the best that can be');

# ---------------------------------------------------------------------------
# im_problem_kind() strips values, whatever they are

sub kinds
{
	my ($columns) = @_;

	return value_of($node, <<"SQL");
SELECT string_agg(DISTINCT im_problem_kind(p), '|') FROM (SELECT $columns) t, unnest(im_group_problems(t, true)) p
SQL
}

is(kinds(q{'Pub"lic", allowed' AS type, 'x' AS name}),
	'type is none of those that are allowed; allowed are Public, Private (or Work), ChatRoom (or Meeting) and Community',
	'an unknown type');
like(kinds(q{'AVChatRoom' AS type, 'x' AS name}), qr/^type is "AVChatRoom", which/, 'AVChatRoom keeps its name');
is(kinds(q{'Public' AS type, repeat('": "', 20) AS name}), 'name is over 30 bytes of UTF-8', 'quotes in a name');
is(kinds(q{'Public' AS type, 'x' AS name, 6001 AS max_member_count}), 'max_member_count is over 6000', 'too many members');
is(kinds(q{'Community' AS type, 'x' AS name, 100001 AS max_member_count}),
	'max_member_count is over 100000 for a Community', 'too many members of a Community');
is(kinds(q{'Public' AS type, 'x' AS name, 0 AS max_member_count}), 'max_member_count is under 1', 'too few members');
is(kinds(q{'Public' AS type, 'x' AS name, now() + interval '1 day' AS create_time}), 'create_time is in the future', 'the future');
is(kinds(q{'Public' AS type, 'x' AS name, json_build_object(repeat('k', 20), repeat('v', 600)) AS app_defined_data}),
	'warning: app_defined_data has a key of over 16 bytes|warning: app_defined_data has a value of over 512 bytes, for key "..."',
	'custom data');

# ---------------------------------------------------------------------------
# The same by kind, of rows that were refused

$node->safe_psql('postgres', 'DELETE FROM im_group_outbox');
$node->safe_psql('postgres', "ALTER SERVER im OPTIONS (DROP groups_per_day, SET rate_limit '100000')");
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, type, name)
SELECT 'k' || i, CASE WHEN i % 3 = 0 THEN 'Publik' || i ELSE 'Public' END, CASE WHEN i % 2 = 0 THEN repeat('"; ', 10) || i ELSE '' END
FROM generate_series(1, 60) AS i
SQL
$node->safe_psql('postgres', 'SELECT im_import_resume()');
wait_settled($node);
my $types = 'type is none of those that are allowed; allowed are Public, Private (or Work), ChatRoom (or Meeting) and Community';
is_deeply(
	[ map { "$_->{rows} $_->{sample_source_id} $_->{problem}: $_->{sample_text}" } rows($node, 'SELECT * FROM im_import_problems ORDER BY problem') ],
	[
		'30 k1 name is empty: name is empty',
		'30 k2 name is over 30 bytes of UTF-8: name is 31 bytes of UTF-8, the limit is 30 (1 over): "' . ('\"; ' x 10) . '2"',
		"20 k3 $types: type is \"Publik3\", allowed are Public, Private (or Work), ChatRoom (or Meeting) and Community"
	],
	'im_import_problems counts every problem of a row');
is_deeply(
	[ map { "$_->{rows} $_->{invalid} $_->{problem}" } rows($node, 'SELECT * FROM im_import_errors ORDER BY problem') ],
	[ '20 20 name is empty', '20 20 name is over 30 bytes of UTF-8', "20 20 $types" ],
	'im_import_errors counts a row once, by its first problem');

# ---------------------------------------------------------------------------
# A second load: what is imported already is told apart

$node->safe_psql('postgres', 'DELETE FROM im_group_outbox');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, group_id, type, name) SELECT i, 'room-' || i, 'Public', 'x' FROM generate_series(1, 300) i");
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name) SELECT 'g' || i, 'Public', 'g' || i FROM generate_series(1, 40) i");
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'n' || i FROM generate_series(1, 30) i");
wait_settled($node);
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 370, 'a first load');
$node->safe_psql('postgres', 'SELECT im_import_pause()');
$plan = plan_now();
is($plan->{'new groups'}[0]{value}, '0', 'nothing is new');
is($plan->{'groups in the app then'}[0]{value}, 'at least 370', 'and no group more');
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, group_id, type, name) SELECT 'again ' || i, 'room-' || i, 'Public', 'x' FROM generate_series(1, 350) i");
$plan = plan_now();
is($plan->{'pending groups'}[0]{value}, '350', 'a second load');
is($plan->{'new groups'}[0]{value}, '50', 'of which 50 are new');
is($plan->{'imported already'}[0]{value}, '300', 'the others are told apart by their ids');
is($plan->{'calls for groups'}[0]{value}, '650', 'each of which takes a second call');
is($plan->{'groups in the app then'}[0]{value}, 'at least 420', 'only the new ones are added');
is($plan->{'repeated rows'}, undef, 'none makes a second group');
is($plan->{'GroupIds of several rows'}, undef, 'an imported row is no collision');
my $same = "INSERT INTO im_group_outbox (source_id, type, name) SELECT 'g' || i, 'Public', 'new name' FROM generate_series(1, 45) i";
like(error_of($node, $same), qr/duplicate key.*im_group_outbox_key/s, 'a source_id stands there once');
$node->safe_psql('postgres', "$same ON CONFLICT DO NOTHING");
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'n' || i FROM generate_series(1, 33) i");
$node->safe_psql('postgres', "INSERT INTO im_group_outbox (source_id, type, name) SELECT 'other' || i, 'Public', 'g' || i FROM generate_series(1, 7) i");
$plan = plan_now();
is($plan->{'new groups'}[0]{value}, 50 + 5 + 3 + 7, 'without ids and without source_id by content');
is($plan->{'repeated rows'}[0]{value}, 30, 'what would be there twice');
like($plan->{'repeated rows'}[0]{warning}, qr/second group.*the first is row \d+$/, 'is warned of');
is($plan->{'groups in the app then'}[0]{value}, 'at least ' . (370 + 65 + 30), 'and counted as what it would become');

done_testing();
