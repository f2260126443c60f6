# Generated rows: whatever the columns hold and however they are called, the
# request is JSON that parses back to the values, and the problems are those
# that an oracle in SQL finds.
#
# IM_RANDOM_ROWS is how many in each encoding (10,000), IM_RANDOM_SEED repeats a
# run: it is printed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use ImTest;

my $rows = $ENV{IM_RANDOM_ROWS} // 10_000;
my $seed = $ENV{IM_RANDOM_SEED} // int(rand(1_000_000_000));
my $node = start_cluster(conf => 'fsync = off');
my %encoding = (u8 => 'UTF8', l1 => 'LATIN1');

$ENV{PGCLIENTENCODING} = 'UTF8';
srand($seed);
diag("IM_RANDOM_SEED=$seed IM_RANDOM_ROWS=$rows");

# Characters by their numbers: control characters, quotes and escapes, the edges
# of each length in UTF-8, noncharacters, joiners, marks of direction.
my @characters = (
	1 .. 10, 13, 27, 31 .. 48, 57 .. 65, 90 .. 97, 122 .. 127, 0x80, 0x85, 0x9f, 0xa0, 0xe9, 0xff,
	0x100, 0x301, 0x7ff, 0x800, 0x200d, 0x202e, 0x2028, 0x2029, 0x7fa4, 0xd7ff, 0xe000, 0xfdd0, 0xfeff, 0xfffe, 0xffff,
	0x10000, 0x1f600, 0x10ffff);
my @words = (
	'Public', 'private', 'WORK', 'ChatRoom', 'meeting', 'Community', 'AVChatRoom', 'FreeAccess', 'needpermission', 'DisableApply',
	'@TGS#', '@TGS#_x', '@TGS#_', '@TGSx', '\u0000', '\ud83d', '\\', '"', '","GroupId":"x', '{}', ' ', 'null', '%s%n', '');

# ---------------------------------------------------------------------------
# The rows, and what should become of each

sub sql_of_generator
{
	my ($largest) = @_;
	my $alphabet = join ', ', map { "chr($_)" } grep { $_ <= $largest } @characters;
	my $words = join ', ', map { "'$_'" } @words;

	return <<"SQL";
CREATE FUNCTION bytes(value text) RETURNS integer IMMUTABLE LANGUAGE sql AS
	\$\$ SELECT octet_length(convert_to(value, 'UTF8')) \$\$;

CREATE FUNCTION one_of(list text[]) RETURNS text LANGUAGE sql AS
	\$\$ SELECT list[1 + floor(random() * cardinality(list))::int] \$\$;

-- Of nothing, of a word, of one character up to about a limit, of plain
-- letters, of all characters.
CREATE FUNCTION some_text(max_bytes integer) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
	alphabet CONSTANT text[] := ARRAY[$alphabet];
	words CONSTANT text[] := ARRAY[$words];
	kind CONSTANT float8 := random();
	letter CONSTANT text := one_of(alphabet);
BEGIN
	IF kind < 0.1 THEN
		RETURN NULL;
	ELSIF kind < 0.2 THEN
		RETURN one_of(words);
	ELSIF kind < 0.3 THEN
		RETURN repeat(letter, max_bytes / bytes(letter) + floor(random() * 3)::int - 1);
	ELSIF kind < 0.6 THEN
		RETURN left(md5(random()::text), 1 + floor(random() * 20)::int);
	END IF;
	RETURN (SELECT string_agg(one_of(alphabet), '') FROM generate_series(1, 1 + floor(random() * 14)::int));
END \$\$;

CREATE FUNCTION some_data() RETURNS jsonb LANGUAGE plpgsql AS \$\$
DECLARE
	kind CONSTANT float8 := random();
	data jsonb := '{}';
	value jsonb;
BEGIN
	IF kind < 0.2 THEN
		RETURN NULL;
	ELSIF kind < 0.25 THEN
		RETURN one_of(ARRAY['[]', '{}', 'null', '1', '"x"', '[1]', '[{"Key":"a"}]', '[{"Key":"a","Value":1}]', '{"a":null}', '{"a":[]}', '{"a":{}}']);
	ELSIF kind < 0.5 THEN
		RETURN (SELECT jsonb_agg(jsonb_build_object('Key', coalesce(some_text(16), ''), 'Value', coalesce(some_text(512), '')))
			FROM generate_series(1, 1 + floor(random() * 4)::int));
	END IF;
	FOR i IN 1 .. 1 + floor(random() * 4)::int LOOP
		value := CASE floor(random() * 6)::int
			WHEN 0 THEN to_jsonb(random() < 0.5)
			WHEN 1 THEN to_jsonb(round(((random() - 0.5) * 1e6)::numeric, floor(random() * 5)::int))
			WHEN 2 THEN to_jsonb(1e30 * random()::numeric)
			ELSE to_jsonb(some_text(512)) END;
		data := data || jsonb_build_object(coalesce(some_text(16), ''), coalesce(value, 'null'));
	END LOOP;
	RETURN data;
END \$\$;

SELECT setseed(@{[ rand(2) - 1 ]});
CREATE TABLE made AS
SELECT n, CASE WHEN random() < 0.8 THEN one_of(ARRAY['Public', 'private', 'WORK', 'ChatRoom', 'meeting', 'Community']) ELSE some_text(30) END AS type,
	some_text(30) AS name, some_text(32) AS owner_account, some_text(240) AS introduction, some_text(300) AS notification,
	some_text(100) AS face_url,
	CASE WHEN random() < 0.2 THEN one_of(ARRAY['FreeAccess', 'needpermission', 'DISABLEAPPLY', '', 'x']) END AS apply_join_option,
	CASE WHEN random() < 0.5 THEN some_text(48) END AS group_id,
	(ARRAY[NULL, 0, -1, 1, 6000, 6001, 100000, 100001, 9223372036854775807, -9223372036854775808])[1 + floor(random() * 14)::int] AS max_member_count,
	CASE WHEN random() < 0.1 THEN 'infinity' WHEN random() < 0.5 THEN to_timestamp(random() * 2e9 - 1e7) END AS create_time,
	CASE WHEN random() < 0.1 THEN random() < 0.5 END AS support_topic,
	some_data() AS app_defined_data
FROM generate_series(1, $rows) n;
SQL
}

my $sql_of_oracle = <<'SQL';
-- How the service spells a type; NULL for one that it does not know.
CREATE FUNCTION type_of(type text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE lower(type COLLATE "C") WHEN 'public' THEN 'Public' WHEN 'private' THEN 'Private' WHEN 'work' THEN 'Private'
		WHEN 'chatroom' THEN 'ChatRoom' WHEN 'meeting' THEN 'ChatRoom' WHEN 'community' THEN 'Community' WHEN 'avchatroom' THEN 'AVChatRoom' END $$;

CREATE FUNCTION option_of(option text) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE lower(option COLLATE "C") WHEN 'freeaccess' THEN 'FreeAccess' WHEN 'needpermission' THEN 'NeedPermission' WHEN 'disableapply' THEN 'DisableApply' END $$;

-- The service's array of a value's members, NULL if there is nothing to send or the shape is wrong.
CREATE FUNCTION pairs_of(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE WHEN NOT data_is_good(data) OR data = '[]' THEN NULL WHEN jsonb_typeof(data) = 'array' THEN data
		WHEN jsonb_typeof(data) = 'object' THEN
			(SELECT jsonb_agg(jsonb_build_object('Key', key, 'Value', value) ORDER BY ordinality) FROM jsonb_each_text(data) WITH ORDINALITY WHERE value IS NOT NULL)
		END $$;

CREATE FUNCTION what_is_sent(r made) RETURNS jsonb STABLE LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('Owner_Account', r.owner_account, 'Type', coalesce(type_of(r.type), r.type), 'GroupId', r.group_id,
		'Name', r.name, 'Introduction', r.introduction, 'Notification', r.notification, 'FaceUrl', r.face_url,
		'MaxMemberCount', r.max_member_count, 'ApplyJoinOption', coalesce(option_of(r.apply_join_option), r.apply_join_option),
		'CreateTime', CASE WHEN isfinite(r.create_time) THEN floor(extract(epoch FROM r.create_time))::bigint END,
		'AppDefinedData', pairs_of(r.app_defined_data), 'SupportTopic', r.support_topic::integer)) $$;

CREATE FUNCTION is_good(r made) RETURNS boolean STABLE LANGUAGE sql AS $$
	SELECT coalesce(type_of(r.type) <> 'AVChatRoom', false) AND coalesce(bytes(r.name) BETWEEN 1 AND 30, false)
		AND coalesce(bytes(r.owner_account) BETWEEN 1 AND 32, true) AND coalesce(bytes(r.introduction) <= 240, true)
		AND coalesce(bytes(r.notification) <= 300, true) AND coalesce(bytes(r.face_url) <= 100, true)
		AND coalesce(bytes(r.group_id) BETWEEN 1 AND 48 AND r.group_id !~ '[^\x20-\x7e]'
			AND CASE type_of(r.type) WHEN 'Community' THEN starts_with(r.group_id, '@TGS#_') ELSE NOT starts_with(r.group_id, '@TGS#') END, true)
		AND coalesce(r.max_member_count BETWEEN 1 AND CASE type_of(r.type) WHEN 'Community' THEN 100000 ELSE 6000 END, true)
		AND (r.apply_join_option IS NULL OR option_of(r.apply_join_option) IS NOT NULL AND type_of(r.type) <> 'Community')
		AND (r.create_time IS NULL OR isfinite(r.create_time) AND floor(extract(epoch FROM r.create_time)) > 0 AND date_trunc('second', r.create_time) <= now())
		AND (r.support_topic IS NULL OR type_of(r.type) = 'Community')
		AND data_is_good(r.app_defined_data) $$;
SQL

# Before the others: they call it.
my $sql_of_data = <<'SQL';
CREATE FUNCTION data_is_good(data jsonb) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE jsonb_typeof(data)
		WHEN 'object' THEN NOT EXISTS (SELECT FROM jsonb_each(data) WHERE jsonb_typeof(value) IN ('object', 'array'))
		WHEN 'array' THEN NOT EXISTS (SELECT FROM jsonb_array_elements(data) e
			WHERE jsonb_typeof(e) <> 'object' OR jsonb_typeof(e->'Key') IS DISTINCT FROM 'string' OR jsonb_typeof(e->'Value') IS DISTINCT FROM 'string'
				OR e - '{Key,Value}'::text[] <> '{}')
		WHEN 'null' THEN true
		ELSE data IS NULL END $$;
SQL

# ---------------------------------------------------------------------------
# Each part of the rows as a record whose columns have another order and
# spelling, with other columns between.

my @fields = qw(type name owner_account introduction notification face_url apply_join_option group_id
  max_member_count create_time support_topic app_defined_data);

sub spelled
{
	my ($name) = @_;
	my $spelling = int rand 4;

	return $name if $spelling == 0;
	return uc $name if $spelling == 1;
	return join '', map { ucfirst } split /_/, $name if $spelling == 2;
	return "_${name}_";
}

# The columns of one record, shuffled.
sub record
{
	my @columns = map {
		my $value = $_ eq 'app_defined_data' ? $_ . ('', '::json', '::text')[ int rand 3 ] : $_;

		"$value AS \"@{[ spelled($_) ]}\""
	} @fields;
	my @shuffled = ("n AS other", "ARRAY[n] AS \"Names\"");

	splice @shuffled, int rand(@shuffled + 1), 0, $_ foreach @columns;
	return join ', ', @shuffled;
}

my $PARTS = 8;

# The query finds no row; some that it does find are shown.
sub finds_none
{
	my ($db, $query, $name) = @_;
	my @found = rows($node, "$query LIMIT 3", $db);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!@found, "$db: $name") or diag(explain(\@found));
}

foreach my $db (sort keys %encoding)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding{$db}' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($db, 'CREATE EXTENSION im_import');
	$node->safe_psql($db, sql_of_generator($db eq 'u8' ? 0x10ffff : 0xff) . $sql_of_data . $sql_of_oracle);
	foreach my $part (0 .. $PARTS - 1)
	{
		my $record = record();

		$node->safe_psql($db, ($part == 0 ? 'CREATE TABLE got AS' : 'INSERT INTO got') . <<"SQL");
 SELECT m.n, im_group_json(r)::jsonb AS sent, im_group_problems(r) AS problems, im_group_problems(r, true) AS warned
FROM made m, LATERAL (SELECT $record) r WHERE m.n % $PARTS = $part
SQL
	}
	is(value_of($node, 'SELECT count(*) FROM got', $db), $rows, "$db: every row has an answer, none raises");
	finds_none($db, 'SELECT m.n, sent, what_is_sent(m) AS expected FROM made m JOIN got USING (n) WHERE sent IS DISTINCT FROM what_is_sent(m)',
		'the request parses back to the row\'s values');
	finds_none($db, q{SELECT m AS made, problems FROM made m JOIN got USING (n) WHERE is_good(m) IS DISTINCT FROM (problems = '{}')},
		'the problems are those that there are');
	is(value_of($node, q{SELECT count(*) FROM got WHERE NOT problems <@ warned OR EXISTS (SELECT FROM unnest(warned) w WHERE w IS NULL OR w = '' OR length(w) > 1000 OR w ~ '[\x01-\x1f\x7f]')}, $db),
		0, "$db: problems are short, and without control characters");
	my ($good, $bad) = split /\|/, value_of($node, q{SELECT count(*) FILTER (WHERE problems = '{}'), count(*) FILTER (WHERE problems <> '{}') FROM got}, $db);
	cmp_ok($good, '>', $rows / 50, "$db: $good rows are good");
	cmp_ok($bad, '>', $rows / 50, "$db: $bad rows are not");
}

done_testing();
