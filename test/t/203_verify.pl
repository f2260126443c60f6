# im_import_verify(): what the app has is compared with the rows; and
# im_import_forget() deletes what is done with, and nothing else.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Test::More;

use ImTest;

my ($node, $service) = set_up(options => { rate_limit => 1000 });

sub result_of
{
	my ($source_id) = @_;

	return value_of($node, <<"SQL");
SELECT concat_ws(' ', v.result, v.fields) FROM im_import_verified v JOIN im_group_outbox o USING (id)
WHERE o.source_id = '$source_id'
SQL
}

# The summary as "result field rows" lines.
sub summary
{
	return [ map { join ' ', $_->{result}, $_->{field} // '-', $_->{rows} }
		  rows($node, 'SELECT * FROM im_import_verify_summary ORDER BY result, field') ];
}

# ---------------------------------------------------------------------------
# Rows of every kind that match

$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, type, name, owner_account, introduction, notification,
	face_url, max_member_count, apply_join_option, create_time) VALUES
	('bare', NULL, 'Public', 'bare', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('full', 'full', 'Public', E'n"\\/\u00e9\u4e2d', 'anna', E'i\ni', 'n', 'http://f', 17, 'DisableApply', '2020-01-01'),
	('work', 'work id with spaces', 'Work', 'work', 'anna', '', '', '', NULL, NULL, '2020-01-01'),
	('meeting', 'meeting', 'Meeting', 'meeting', NULL, NULL, NULL, NULL, 5, NULL, NULL),
	('community', '@TGS#_c', 'Community', 'c', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SQL
wait_settled($node);
like(notices_of($node, 'CALL im_import_verify()'), qr/5 rows checked: 5 matched/, 'all five match');
is_deeply(summary(), ['matched - 5'], 'the summary');
is(value_of($node, 'SELECT count(*) FROM im_import_verified WHERE fields IS NULL AND checked_at <= now()'), 5,
	'no fields of a match');
like(notices_of($node, 'CALL im_import_verify()'), qr/0 rows checked/, 'what was checked is not asked again');
$service->set(type_names => 'new');
like(notices_of($node, "CALL im_import_verify(again => '0')"), qr/5 rows checked: 5 matched/, 'the newer names of types match');
$service->set(type_names => 'old');
foreach my $call ($service->journal('get_group_info'))
{
	my $body = json($call->{body});

	die "a call asks too much: $call->{body}"
	  if @{ $body->{GroupIdList} } > 50 || exists $body->{ResponseFilter}{MemberInfoFilter};
}

# ---------------------------------------------------------------------------
# What differs, what is missing: rows that were never sent stand for groups
# that somebody changed

$node->safe_psql('postgres', <<'SQL');
SET session_replication_role = replica;
INSERT INTO im_group_outbox (source_id, group_id, status, type, name, owner_account, introduction, max_member_count, apply_join_option, create_time)
SELECT d.source_id, 'full', 'imported', coalesce(d.type, 'Public'), coalesce(d.name, o.name), d.owner, d.introduction, d.members, d.option, d.created
FROM im_group_outbox o, (VALUES
	('type', 'Private', NULL, NULL, NULL, NULL::integer, NULL, NULL::timestamptz),
	('name', NULL, 'other', NULL, NULL, NULL, NULL, NULL),
	('owner', NULL, NULL, 'bob', NULL, NULL, NULL, NULL),
	('two', NULL, NULL, NULL, 'other', 18, NULL, NULL),
	('option', NULL, NULL, NULL, NULL, NULL, 'FreeAccess', NULL),
	('time', NULL, NULL, NULL, NULL, NULL, NULL, '2020-01-02'))
	AS d (source_id, type, name, owner, introduction, members, option, created)
WHERE o.source_id = 'full';
INSERT INTO im_group_outbox (source_id, group_id, status, type, name) VALUES ('gone', 'gone', 'imported', 'Public', 'x');
SQL
like(notices_of($node, 'CALL im_import_verify()'), qr/rows checked: .* differ/, 'differences are found');
is(result_of('type'), 'differs {type}', 'type');
is(result_of('name'), 'differs {name}', 'name');
is(result_of('owner'), 'differs {owner_account}', 'owner');
is(result_of('two'), 'differs {introduction,max_member_count}', 'two fields');
is(result_of('option'), 'differs {apply_join_option}', 'join option');
is(result_of('time'), 'differs {create_time}', 'time');
is(result_of('gone'), 'missing', 'a group that is not there');
$service->set(absent_code => 10015);
notices_of($node, "CALL im_import_verify(again => '0')");
is(result_of('gone'), 'missing', 'or answered with the other code');
like(error_of($node, "CALL im_import_verify(again => '0', raise_on_difference => true)"), qr/ERROR:.*differ/,
	'an error for scripts, if they want it');
$node->safe_psql('postgres', <<'SQL');
SET session_replication_role = replica;
DELETE FROM im_group_outbox WHERE sent_at IS NULL;
SQL
is_deeply(summary(), ['matched - 5'], 'results of deleted rows do not count');

# ---------------------------------------------------------------------------
# AppDefinedData and SupportTopic, which are asked for by name, and only then

my @plain = grep { /SupportTopic|AppDefined/ } map { $_->{body} } $service->journal('get_group_info');
is_deeply(\@plain, [], 'rows without them ask for neither');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, type, name, app_defined_data, support_topic) VALUES
	('array', 'array', 'Public', 'x', '[{"Key":"b","Value":"2"},{"Value":"caf\u00e9 \u0000\u0001","Key":"a"},{"Key":"c","Value":""}]', NULL),
	('object', 'object', 'Public', 'x', '{"n":5,"quo\"te,":"q","gone":null}', NULL),
	('topic', '@TGS#_t', 'Community', 'x', '{"a":"1"}', true),
	('no topic', '@TGS#_u', 'Community', 'x', NULL, false);
SQL
wait_settled($node);
like(notices_of($node, 'CALL im_import_verify()'), qr/4 rows checked: 4 matched/, 'what was sent is there');
my ($asked) = grep { /SupportTopic/ } map { $_->{body} } $service->journal('get_group_info');
is_deeply(json($asked)->{ResponseFilter}{AppDefinedDataFilter_Group}, [ 'b', 'a', 'c', 'n', 'quo"te,' ], 'each key is asked for once');
$node->safe_psql('postgres', <<'SQL');
SET session_replication_role = replica;
INSERT INTO im_group_outbox (source_id, group_id, status, type, name, app_defined_data, support_topic)
SELECT d.source_id, o.group_id, 'imported', o.type, o.name, coalesce(d.data, o.app_defined_data), coalesce(d.topic, o.support_topic)
FROM (VALUES
	('order', 'array', '{"c":"","a":"caf\u00e9 \u0000\u0001","b":"2"}'::json, NULL::boolean),
	('value', 'array', '{"a":"caf\u00e9 \u0000\u0002","b":"2"}', NULL),
	('missing', 'array', '{"a":"caf\u00e9 \u0000\u0001","b":"2","more":"1"}', NULL),
	('quoted', 'object', '{"n":"6","quo\"te,":"r"}', NULL),
	('flag', 'topic', NULL, false),
	('flag and key', 'topic', '{"a":"2"}', false))
	AS d (source_id, base, data, topic) JOIN im_group_outbox o ON o.source_id = d.base;
SQL
notices_of($node, 'CALL im_import_verify()');
is(result_of('order'), 'matched', 'the order of keys is none of it');
is(result_of('value'), 'differs {app_defined_data.a}', 'the key that differs');
is(result_of('missing'), 'differs {app_defined_data.more}', 'a key that is not there');
is(result_of('quoted'), 'differs {app_defined_data.n,"app_defined_data.quo\\\\\\"te,"}', 'any key, as JSON spells it');
is(result_of('flag'), 'differs {support_topic}', 'topic');
is(result_of('flag and key'), 'differs {support_topic,app_defined_data.a}', 'and both');

# A service that does not know what is asked for by name
$service->fault({ do => 'code', code => 10004, times => 1, match => { command => 'get_group_info' } });
like(notices_of($node, "CALL im_import_verify(again => '0')"),
	qr/NOTICE:.*not tell support_topic and app_defined_data.*15 rows checked: 15 matched/s, 'asked less, it compares the rest');
$service->clear;
$node->safe_psql('postgres', <<'SQL');
SET session_replication_role = replica;
DELETE FROM im_group_outbox WHERE sent_at IS NULL OR name = 'x';
SQL

# ---------------------------------------------------------------------------
# Many rows: fifty a call, resumable, cancellable, no snapshot during the network

insert_groups($node, 1000, 'many');
wait_settled($node);
my $before = $service->stats->{calls}{get_group_info};
like(notices_of($node, 'CALL im_import_verify(120)'), qr/120 rows checked: 120 matched/, 'so many and no more');
like(notices_of($node, 'CALL im_import_verify()'), qr/880 rows checked: 880 matched/, 'goes on where it was');
cmp_ok($service->stats->{calls}{get_group_info} - $before, '<=', 24, 'about fifty a call');

$service->fault({ do => 'hold', match => { command => 'get_group_info', nth => 3 } });
my ($in, $out, $err, $timer) = ('', '', '', IPC::Run::timeout(180));
my $psql = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
	'<', \$in, '>', \$out, '2>', \$err, $timer);
$in .= "CALL im_import_verify(again => '0');\n";
$psql->pump_nb;
$service->wait_for(held => 1);
my $backend = row($node, "SELECT pid, backend_xmin, backend_xid FROM pg_stat_activity WHERE query LIKE 'CALL im_import_verify%'");
is($backend->{backend_xmin}, undef, 'no snapshot while the service is asked');
is($backend->{backend_xid}, undef, 'and nothing written');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($backend->{pid})");
poll_until { $psql->pump_nb; $err =~ /canceling statement/ } 'the cancel';
$in .= "CALL im_import_verify(10, again => '0');\n\\q\n";
$psql->finish;
like($err, qr/10 rows checked: 10 matched/, 'the session can go on after a cancel');
$service->clear;
$service->release;

# ---------------------------------------------------------------------------
# Trouble

$service->fault({ do => 'code', code => 60007, times => 1, match => { command => 'get_group_info' } });
like(notices_of($node, "CALL im_import_verify(60, again => '0')"), qr/60 rows checked: 60 matched/, 'too fast: again, slower');
$service->clear;
$service->fault({ do => 'nested', times => 1, match => { command => 'get_group_info' } });
like(notices_of($node, "CALL im_import_verify(60, again => '0')"), qr/60 rows checked: 60 matched/, 'an unreadable answer: again');
$service->clear;
$service->fault({ do => 'code', code => 70001, times => 1, match => { command => 'get_group_info' } });
like(notices_of($node, "CALL im_import_verify(600, again => '0')"), qr/600 rows checked: 600 matched/, 'an expired signature: a new one');
$service->clear;
$service->fault({ do => 'code', code => 60020, match => { command => 'get_group_info' } });
like(error_of($node, "CALL im_import_verify(again => '0')"), qr/ERROR:.*60020.*HINT:.*kept/s, 'the plan is over');
$service->clear;
like(error_of($node, 'BEGIN; CALL im_import_verify();'), qr/inside a transaction block/, 'not in a transaction');
like(error_of($node, 'CALL im_import_verify(0)'), qr/max_rows must be at least 1/, 'no rows');
like(notices_of($node, 'CALL im_import_verify()'), qr/0 rows checked/, 'nothing is left');

# ---------------------------------------------------------------------------
# im_import_forget()

$node->safe_psql('postgres', <<'SQL');
SELECT im_import_pause();
INSERT INTO im_group_outbox (source_id, type, name) VALUES ('open', 'Public', 'open'), ('bad', 'Public', '');
SET session_replication_role = replica;
UPDATE im_group_outbox SET status = 'invalid', settled_at = now() - interval '1 year' WHERE source_id = 'bad';
SQL
is(value_of($node, "CALL im_import_forget(now() - interval '1 hour')"), 0, 'nothing is that old');
is(value_of($node, "BEGIN; CALL im_import_forget(now()); SELECT count(*) FROM im_group_outbox; ROLLBACK"), "1005\n2",
	'in a transaction block it is part of that');
is(value_of($node, 'SELECT imported FROM im_import_status'), 1005, 'and a rollback brings all of them back');
is(value_of($node, 'CALL im_import_forget(now())'), 1005, 'all imported rows');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY source_id) FROM im_group_outbox"), 'bad open',
	'rows of other states stay');
is(value_of($node, 'SELECT count(*) FROM im_import_verified WHERE id IN (SELECT id FROM im_group_outbox)'), 0, 'no results');
is(value_of($node, 'SELECT imported FROM im_import_status'), 0, 'the status counts right');
like(error_of($node, 'CALL im_import_forget(NULL)'), qr/must not be NULL.*HINT:.*30 days/s, 'no time is an error');

# 100,000 rows: ten transactions, which a trigger of ours counts; and what ends
# it half-way leaves what is done.
sub many_imported
{
	$node->safe_psql('postgres', <<'SQL');
INSERT INTO im_group_outbox (source_id, group_id, status, type, name, settled_at)
SELECT 'm' || i, 'm' || i, 'imported', 'Public', 'm', now() - interval '1 day' FROM generate_series(1, 100000) i;
SQL
}

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE batches (xid xid8 DEFAULT pg_current_xact_id(), rows bigint);
CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN INSERT INTO public.batches (rows) SELECT count(*) FROM gone; RETURN NULL; END $$;
CREATE TRIGGER zz_note AFTER DELETE ON im_group_outbox
	REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_batch();
SQL
many_imported();
is(value_of($node, "CALL im_import_forget(now() - interval '1 hour')"), 100000, 'a hundred thousand rows');
my $batches = row($node, 'SELECT count(DISTINCT xid) AS n, max(rows) AS most, sum(rows) AS sum FROM batches');
is_deeply($batches, { n => 11, most => 10000, sum => 100000 }, 'ten thousand a transaction, and one that finds no more');
is(value_of($node, "SELECT string_agg(source_id, ' ' ORDER BY source_id) FROM im_group_outbox"), 'bad open', 'all of them');

many_imported();
$node->safe_psql('postgres', <<'SQL');
CREATE OR REPLACE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN IF (SELECT count(*) FROM public.im_group_outbox WHERE status = 'imported') < 70000 THEN RAISE 'stopped'; END IF; RETURN NULL; END $$;
SQL
like(error_of($node, 'CALL im_import_forget(now())'), qr/stopped/, 'something ends it half-way');
is(value_of($node, "SELECT count(*) FROM im_group_outbox WHERE status = 'imported'"), 70000, 'what was forgotten before stays so');
$node->safe_psql('postgres', 'DROP TRIGGER zz_note ON im_group_outbox');
is(value_of($node, 'CALL im_import_forget(now())'), 70000, 'and the next call goes on');

done_testing();
