-- What a record becomes: every field, every spelling, every type of column.
SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset format unaligned
\pset tuples_only on

-- Both sample requests of the import page travel as printed.
SELECT im_group_json(r), im_group_problems(r),
	im_group_json(r)::jsonb = '{
    "Owner_Account": "leckie",
    "Type": "Public",
    "Name": "TestGroup",
    "CreateTime": 1448357837
}'::jsonb
FROM (SELECT 'leckie' AS owner_account, 'Public' AS type, 'TestGroup' AS name,
	1448357837 AS create_time) AS r;

SELECT im_group_json(r), im_group_problems(r)
FROM (SELECT 'leckie' AS "Owner_Account", 'Public' AS "Type", 'MyFirstGroup' AS "GroupId",
	'TestGroup' AS "Name", 'This is group Introduction' AS "Introduction",
	'This is group Notification' AS "Notification", 'http://this.is.face.url' AS "FaceUrl",
	500 AS "MaxMemberCount", 'FreeAccess' AS "ApplyJoinOption", 1448357837 AS "CreateTime",
	'[
        {
            "Key": "GroupTestData1",
            "Value": "xxxxx"
        },
        {
            "Key": " GroupTestData2",
            "Value": "abc\u0000\u0001"
        }
    ]'::json AS "AppDefinedData") AS r;

-- The order is the page's, not the record's; other columns are ignored.
SELECT im_group_json(r)
FROM (SELECT true AS support_topic, 42 AS ignored, '{"k":"v"}'::json AS app_defined_data,
	to_timestamp(1) AS create_time, 7 AS max_member_count, 'f' AS face_url, 'n' AS notification,
	'i' AS introduction, 'N' AS name, '@TGS#_g' AS group_id, 'Community' AS type,
	'o' AS owner_account) AS r;

-- Case and underscores of column names do not count.
SELECT im_group_json(r)
FROM (SELECT 'o' AS "OWNERACCOUNT", 'Public' AS "_Ty_pe_", 'g' AS "Group_Id", 'n' AS "NAME") AS r;

-- NULL is absent, and an empty optional text is not.
SELECT im_group_json(r), im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, NULL::text AS group_id, NULL::text AS owner_account,
	NULL::text AS introduction, '' AS notification, NULL::int AS max_member_count,
	NULL::timestamptz AS create_time, NULL::json AS app_defined_data,
	NULL::boolean AS support_topic) AS r;

-- Types in every spelling.
SELECT t, im_group_json(r)->>'Type', im_group_problems(r)
FROM unnest('{Public,public,PUBLIC,Private,work,ChatRoom,meeting,community,AVChatRoom,Groups,"",NULL}'::text[]) AS t,
	LATERAL (SELECT t AS type, 'n' AS name) AS r;
SELECT o, im_group_json(r)->>'ApplyJoinOption', im_group_problems(r)
FROM unnest('{FreeAccess,needpermission,DISABLEAPPLY,Always,""}'::text[]) AS o,
	LATERAL (SELECT 'Public' AS type, 'n' AS name, o AS apply_join_option) AS r;

-- Text is escaped, and every character of UTF-8 is itself.
SELECT im_group_json(r), im_group_json(r)::jsonb->>'Name' = r.name
FROM (SELECT 'Public' AS type, E'"\\/\b\f\n\r\t\x01\x1f' || U&'\00e9\4e2d\+01f600' AS name) AS r;

-- Columns of other types than text.
CREATE TYPE im_test_kind AS ENUM ('Public', 'Work');
CREATE DOMAIN im_test_name AS varchar(20) CHECK (VALUE <> 'bad');
CREATE DOMAIN im_test_time AS timestamptz;
SELECT im_group_json(r), im_group_problems(r)
FROM (SELECT 'Work'::im_test_kind AS type, 'n'::im_test_name AS name, 17::bigint AS group_id,
	'00000000-0000-0000-0000-00000000002a'::uuid AS introduction, 'padded'::char(20) AS notification,
	'name type'::name AS face_url, 3::smallint AS owner_account, 200::numeric AS max_member_count,
	'2015-11-24 09:37:17.999+00'::im_test_time AS create_time) AS r;
SELECT im_group_json(r), im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '{1}'::int[] AS group_id, ROW(1, 2) AS owner_account,
	'\x00'::bytea AS introduction, '{}'::jsonb AS notification, '[1,2)'::int4range AS face_url) AS r;

-- Counts.
SELECT im_group_json(r)->>'MaxMemberCount', im_group_problems(r)
FROM unnest('{1,0500,500.00,1.5,"",x,NaN,Infinity,99999999999999999999,1e3," 5"}'::text[]) AS c,
	LATERAL (SELECT 'Public' AS type, 'n' AS name, c AS max_member_count) AS r;

-- Times: 2015-11-24 09:37:17 UTC is 1448357837.
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '2015-11-24 09:37:17.999+00'::timestamptz AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '2015-11-24 09:37:17.999'::timestamp AS create_time) AS r;
SET TimeZone = 'Asia/Shanghai';
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '2015-11-24 17:37:17'::timestamp AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '2015-11-24'::date AS create_time) AS r;
SET TimeZone = 'UTC';
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, extract(epoch FROM '2015-11-24 09:37:17.999+00'::timestamptz) AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, 1448357837.5::float8 AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM unnest('{infinity,-infinity,0044-03-15 BC,1970-01-01 00:00:00+00,1970-01-01 00:00:01+00}'::timestamptz[]) AS t,
	LATERAL (SELECT 'Public' AS type, 'n' AS name, t AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM unnest('{infinity,5874897-12-31,1969-12-31}'::date[]) AS t,
	LATERAL (SELECT 'Public' AS type, 'n' AS name, t AS create_time) AS r;
SELECT im_group_json(r)->>'CreateTime', im_group_problems(r)
FROM unnest('{1448357837000,-1,0,1,2015-11-24}'::text[]) AS t,
	LATERAL (SELECT 'Public' AS type, 'n' AS name, t AS create_time) AS r;
-- the future by how much
SELECT problem ~ '^create_time is (359\d|3600) seconds in the future: "'
FROM (SELECT 'Public' AS type, 'n' AS name, now() + interval '1 hour' AS create_time) AS r,
	unnest(im_group_problems(r)) AS problem;
SELECT im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, now() AS create_time) AS r;
-- hardly ahead of this clock: sent as now
SELECT im_group_problems(r), (im_group_json(r)->>'CreateTime')::bigint BETWEEN floor(extract(epoch FROM now()))::bigint AND extract(epoch FROM clock_timestamp())::bigint
FROM (SELECT 'Public' AS type, 'n' AS name, now() + interval '3 s' AS create_time) AS r;
SELECT problem ~ '^create_time is \d+ seconds in the future: "'
FROM (SELECT 'Public' AS type, 'n' AS name, clock_timestamp() + interval '30 s' AS create_time) AS r,
	unnest(im_group_problems(r)) AS problem;

-- Columns that are not sent are warned of, with the field that may be meant.
SELECT im_group_problems(r), im_group_problems(r, true)
FROM (SELECT 'Public' AS type, 'x' AS name, 'u' AS owner) AS r;
SELECT c, im_group_problems(r, true)
FROM (SELECT 'Public' AS type, 'x' AS name, 1 AS id, 'k' AS source_id, 'u' AS "Owner_Acount", 'i' AS description, 'i' AS intro,
	now() AS created_at, 5 AS members, 'x' AS title, 'f' AS avatar, 'a' AS "we""ird; name is empty", 'i' AS "Group") AS r,
	(SELECT 'many' AS c) AS s;
-- one that is there already is not meant, and a row of an outbox has its own columns
SELECT im_group_problems(r, true)
FROM (SELECT 'Public' AS type, 'x' AS name, 'u' AS owner_account, 'u' AS owner) AS r;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', 'x');
SELECT im_group_problems(o, true) FROM im_group_outbox AS o;
DELETE FROM im_group_outbox;

-- Topics.
SELECT t, im_group_json(r)->'SupportTopic', im_group_problems(r)
FROM unnest('{true,false,1,0,2,""}'::text[]) AS t,
	LATERAL (SELECT 'Community' AS type, 'n' AS name, t AS support_topic) AS r;
SELECT im_group_json(r), im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, false AS support_topic) AS r;

-- app_defined_data: what travels, and what cannot.
SELECT n, substr(im_group_json(r)::text, 28), im_group_problems(r)
FROM (VALUES
	(1, '[{"Key":"a","Value":"b"}]'::json),
	(2, ' [ { "Value" : "b" , "Key" : "\u0061\u0000" } , {"Key":"","Value":""} ] '),
	(3, '{"a":"b\u0000","n":-1.50e3,"t":true,"f":false,"null":null,"":"\ud83d\ude00"}'),
	(4, '{}'), (5, '[]'), (6, 'null'), (7, '{"a":null}'),
	(8, '{"a":{"b":1}}'), (9, '{"a":["b"]}'), (10, '"text"'), (11, '1'), (12, 'true'),
	(13, '[1]'), (14, '[{}]'), (15, '[{"Key":"a"}]'), (16, '[{"Key":"a","Value":1}]'),
	(17, '[{"Key":"a","Value":"b","More":"c"}]'), (18, '[{"Key":"a","Key":"b","Value":"c"}]'),
	(19, '[{"key":"a","value":"b"}]'), (20, '[[]]'), (21, '{"a":"b","a":"c"}')) AS v(n, d),
	LATERAL (SELECT 'Public' AS type, 'n' AS name, d AS app_defined_data) AS r
ORDER BY n;
-- from text and jsonb, where it need not be JSON
SELECT im_group_json(r)->'AppDefinedData', im_group_problems(r)
FROM (VALUES (1, '{"a":"b"}'), (2, '{"a":"b"'), (3, ''), (4, '{a:1}'), (5, '{"a":"' || E'\n' || '"}'),
	(6, '{"a":"\x"}'), (7, '[{"Key":"a","Value":"b"}] x'), (8, repeat('[', 100000)),
	(9, repeat('[', 33) || repeat(']', 33))) AS v(n, d),
	LATERAL (SELECT 'Public' AS type, 'n' AS name, d AS app_defined_data) AS r
ORDER BY n;
SELECT im_group_json(r)->'AppDefinedData', im_group_problems(r)
FROM (SELECT 'Public' AS type, 'n' AS name, '{"a": "b"}'::jsonb AS app_defined_data) AS r;

-- A row of a table, a type changed between calls, a record of changing types.
CREATE TABLE im_test_rooms (id int, type text, name text, dropped int);
ALTER TABLE im_test_rooms DROP COLUMN dropped;
INSERT INTO im_test_rooms VALUES (1, 'Public', 'one');
SELECT im_group_json(t), im_group_problems(t) FROM im_test_rooms AS t;
SELECT im_group_json(NULL::im_test_rooms) IS NULL, im_group_problems(NULL::im_test_rooms) IS NULL;
CREATE FUNCTION im_test_twice() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	r record;
	t im_test_rooms;
BEGIN
	FOR i IN 1..2 LOOP
		SELECT * INTO t FROM im_test_rooms;
		RETURN NEXT im_group_json(t);
		IF i = 1 THEN
			SELECT 'first' AS name, 'Public' AS type INTO r;
		ELSE
			SELECT 2 AS x, 'Work' AS type, 'second' AS name INTO r;
		END IF;
		RETURN NEXT im_group_json(r);
	END LOOP;
END $$;
SELECT im_test_twice();
ALTER TABLE im_test_rooms ADD COLUMN owner_account text DEFAULT 'boss';
SELECT im_group_json(t) FROM im_test_rooms AS t;
-- A record without type or name is the statement's fault, not the row's.
SELECT im_group_json(r) FROM (SELECT 'n' AS name) AS r;
SELECT im_group_json(r) FROM (SELECT 'Public' AS type) AS r;
SELECT im_group_json(ROW('Public', 'n'));
SELECT im_group_json(r) FROM (SELECT 'Public' AS type, 'n' AS name, 1 AS group_id, 2 AS "GroupId") AS r;
SELECT im_group_problems(r) FROM (SELECT 1 AS x) AS r;

-- A record with an outbox row's id and row_key is that row: its GroupId is
-- generated, unless the service assigns it.
SELECT im_generated_group_id('00112233-4455-6677-8899-aabbccddeeff', false),
	im_generated_group_id('00112233-4455-6677-8899-aabbccddeeff', true);
SELECT im_group_json(r), im_group_problems(r)
FROM (VALUES ('Public', NULL), ('Community', NULL), ('Public', 'mine')) AS v(type, group_id),
	LATERAL (SELECT 1::bigint AS id, '00112233-4455-6677-8899-aabbccddeeff'::uuid AS row_key,
		v.type, 'n' AS name, v.group_id) AS r;
CREATE SERVER im_test FOREIGN DATA WRAPPER im_import
	OPTIONS (sdkappid '1400000000', region 'singapore', group_ids 'assigned');
SELECT im_group_json(r)
FROM (SELECT 1::bigint AS id, '00112233-4455-6677-8899-aabbccddeeff'::uuid AS row_key,
	'Public' AS type, 'n' AS name) AS r;
DROP SERVER im_test;
-- every row_key is another, and so is every id
SELECT count(DISTINCT k), count(DISTINCT im_generated_group_id(k, false)),
	min(length(im_generated_group_id(k, false))), max(length(im_generated_group_id(k, true)))
FROM (SELECT _im_row_key() AS k FROM generate_series(1, 1000)) AS keys;

DROP TABLE im_test_rooms CASCADE;
DROP FUNCTION im_test_twice();
DROP TYPE im_test_kind;
DROP DOMAIN im_test_name;
DROP DOMAIN im_test_time;
