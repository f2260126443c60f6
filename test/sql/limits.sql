-- Every limit at its edge and one beyond, for both sets of text limits.
SET client_encoding = 'UTF8';
\pset format unaligned
\pset tuples_only on

CREATE TYPE im_test_group AS (owner_account text, type text, group_id text, name text,
	introduction text, notification text, face_url text, max_member_count bigint,
	apply_join_option text, app_defined_data json);
-- a good group of a type with one field replaced
CREATE FUNCTION im_test_with(field text, value text, kind text DEFAULT 'Public') RETURNS im_test_group
LANGUAGE sql STABLE AS $$
	SELECT pg_catalog.jsonb_populate_record(NULL::im_test_group,
		pg_catalog.jsonb_build_object('type', kind, 'name', 'n')
		|| pg_catalog.jsonb_build_object(field, value));
$$;
CREATE VIEW im_test_edges AS
SELECT field, n, im_group_problems(im_test_with(field, repeat('x', n))) AS problems
FROM (VALUES ('owner_account', 32), ('group_id', 48),
	('name', 30), ('name', 100), ('introduction', 240), ('introduction', 400),
	('notification', 300), ('notification', 400), ('face_url', 100), ('face_url', 500)) AS v(field, edge),
	LATERAL (VALUES (edge), (edge + 1)) AS e(n);

-- no server: the import page's limits
SELECT * FROM im_test_edges;
CREATE SERVER im_test FOREIGN DATA WRAPPER im_import
	OPTIONS (sdkappid '1400000000', region 'china', text_limits 'sdk');
SELECT * FROM im_test_edges;
ALTER SERVER im_test OPTIONS (SET text_limits 'page');
SELECT * FROM im_test_edges WHERE field = 'name';
-- seen by the next call also inside of one transaction
BEGIN;
DO $$
BEGIN
	FOR i IN 1..2 LOOP
		RAISE NOTICE '%', im_group_problems(im_test_with('name', repeat('x', 101)));
		ALTER SERVER im_test OPTIONS (SET text_limits 'sdk');
	END LOOP;
END $$;
ROLLBACK;
DROP SERVER im_test;

-- Bytes of UTF-8, not characters.
SELECT im_group_problems(im_test_with('name', repeat(c, n)))
FROM (VALUES (U&'\00e9', 15), (U&'\00e9', 16), (U&'\4e2d', 10), (U&'\4e2d', 11),
	(U&'\+01f600', 7), (U&'\+01f600', 8)) AS v(c, n);
-- a quoted value is cut between characters, control characters are escaped
SELECT im_group_problems(im_test_with('name', repeat(U&'\4e2d', 41)));
SELECT im_group_problems(im_test_with('name', E'a\tb\nc\x01d\x7f"\\' || repeat('x', 40)));
-- empty
SELECT field, im_group_problems(im_test_with(field, ''))
FROM unnest('{owner_account,group_id,name,introduction,notification,face_url}'::text[]) AS field;

-- A longer text is left out of the best effort, without copying it about.
SELECT field, n, octet_length(im_group_json(g)::text), im_group_problems(g) <> '{}',
	left(array_to_string(im_group_problems(g), ';'), 80)
FROM (VALUES ('name', 65536), ('name', 65537), ('group_id', 128), ('group_id', 129), ('introduction', 10000000),
	('type', 70000), ('apply_join_option', 70000)) AS v(field, n),
	LATERAL im_test_with(field, repeat('x', n)) AS g;

-- group_id: which characters, and which prefixes.
SELECT kind, id, im_group_problems(im_test_with('group_id', id, kind), true)
FROM (VALUES ('Public', ' ~!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~'), ('Public', E'a\x1f'), ('Public', E'a\x7f'),
	('Public', U&'\00e9'), ('Public', '@TGS#x'), ('Public', '@TGS#_x'), ('Public', '@TGSx'), ('Public', '@tgs#x'),
	('Public', 'x@TGS#'), ('Public', ' x'), ('Public', 'x '), ('Public', 'x y'),
	('Community', '@TGS#_x'), ('Community', '@TGS#x'), ('Community', 'x'), ('Wrong', '@TGS#_x')) AS v(kind, id);
-- owner_account: anything of 32 bytes goes, but not without a word
SELECT im_group_problems(im_test_with('owner_account', o), true)
FROM unnest(ARRAY['Az09_-', 'a b', 'a@b.c', U&'\00e9']) AS o;

-- max_member_count
SELECT kind, n, im_group_problems(im_test_with('max_member_count', n::text, kind))
FROM (VALUES ('Public', -1), ('Public', 0), ('Public', 1), ('Public', 6000), ('Public', 6001),
	('Community', 6001), ('Community', 100000), ('Community', 100001),
	('ChatRoom', 6001), ('Wrong', 6001)) AS v(kind, n);

-- apply_join_option is not for a Community
SELECT im_group_problems(im_test_with('apply_join_option', 'FreeAccess', 'Community'));

-- app_defined_data: warnings only, counted after unescaping
SELECT n, im_group_problems(g), im_group_problems(g, true)
FROM (VALUES
	(1, json_build_object(repeat('k', 16), repeat('v', 512))),
	(2, json_build_object(repeat('k', 17), repeat('v', 513))),
	(3, json_build_object('k', repeat(U&'\4e2d', 171))),
	(4, ('{"k":"' || repeat('\u0000', 512) || '"}')::json),
	(5, ('{"k":"' || repeat('\u4e2d', 171) || '"}')::json),
	(6, ('{"k":"' || repeat('\ud83d\ude00', 129) || '"}')::json),
	(7, ('{"k":"' || repeat('\n', 513) || '"}')::json),
	(8, ('{"\u006b":"v"}')::json),
	(9, '{"_k9":"v"}'), (10, '{"9k":"v"}'), (11, '{"k k":1}'), (12, json_build_object(U&'\00e9', true)),
	(13, '{"":"v"}'), (14, '[{"Key":" GroupTestData2","Value":"v"}]'),
	(15, json_build_object(repeat(U&'\4e2d', 30), 1))) AS v(n, d),
	LATERAL (SELECT 'Public' AS type, 'n' AS name, d AS app_defined_data) AS g
ORDER BY n;

-- One MiB for the value, and for the whole body.
SELECT n, im_group_problems(g), octet_length(im_group_json(g)::text)
FROM unnest('{1048000,1048568,1048569}'::int[]) AS n,
	LATERAL (SELECT 'Public' AS type, 'n' AS name,
		('{"k":"' || repeat('v', n) || '"}')::json AS app_defined_data) AS g;

-- A jsonb whose text would be over a gigabyte: its numbers have 131072 digits each.
-- Refused before it is text, which would be an error; and so many as fit are sent.
SELECT n, im_group_problems(g), octet_length(im_group_json(g)::text)
FROM unnest('{7,8,1000,10000}'::int[]) AS n,
	LATERAL (SELECT 'Public' AS type, 'n' AS name,
		(SELECT ('{' || string_agg(format('"%s":1e131071', i), ',') || '}')::jsonb
			FROM generate_series(1, n) AS i) AS app_defined_data) AS g;
SELECT im_group_problems(g)
FROM (SELECT 'Public' AS type, 'n' AS name, '$ + 1e131071'::jsonpath AS app_defined_data) AS g;

-- Everything that is wrong, all at once.
SELECT unnest(im_group_problems(r))
FROM (SELECT repeat('o', 33) AS owner_account, 'AVChatRoom' AS type, '@TGS#x' AS group_id, '' AS name,
	repeat('i', 241) AS introduction, repeat('n', 301) AS notification, repeat('f', 101) AS face_url,
	6001 AS max_member_count, 'x' AS apply_join_option, 1448357837000 AS create_time,
	'[]'::json AS app_defined_data, true AS support_topic) AS r;

-- im_fit
SELECT n, im_fit(U&'a\00e9\4e2d\+01f600', n) FROM generate_series(0, 11) AS n;
SELECT octet_length(im_fit(repeat(U&'\4e2d', 100000), 30)), im_fit('', 0) = '', im_fit(NULL, 1) IS NULL;
SELECT im_fit('x', -1);
SELECT im_group_problems(im_test_with('name', im_fit(repeat(U&'\4e2d', 11), 30)));
-- cut between characters as people see them
SELECT what, n, octet_length(im_fit(t, n)), im_fit(t, n) = left(t, keeps) AS good
FROM (VALUES
	('a combining mark', U&'ae\0301x', 2, 1), ('a combining mark', U&'ae\0301x', 4, 3),
	('several', U&'ae\0301\0323x', 5, 1), ('several', U&'ae\0301\0323x', 6, 4),
	('a mark that takes room', U&'a\0915\093fx', 4, 1), ('a mark that takes room', U&'a\0915\093fx', 7, 3),
	('a Korean syllable in parts', U&'a\1112\1161\11abx', 9, 1), ('a Korean syllable in parts', U&'a\1112\1161\11abx', 10, 4),
	('a variation selector', U&'a\2764\fe0fx', 4, 1), ('a variation selector', U&'a\2764\fe0fx', 7, 3),
	('a keycap', U&'a1\fe0f\20e3x', 7, 1), ('a keycap', U&'a1\fe0f\20e3x', 8, 4),
	('a skin tone', U&'a\+01f44d\+01f3fdx', 8, 1), ('a skin tone', U&'a\+01f44d\+01f3fdx', 9, 3),
	('a family', U&'a\+01f468\200d\+01f469\200d\+01f467x', 8, 1), ('a family', U&'a\+01f468\200d\+01f469\200d\+01f467x', 18, 1),
	('a family', U&'a\+01f468\200d\+01f469\200d\+01f467x', 19, 6),
	('a flag', U&'a\+01f1e9\+01f1ea\+01f1eb\+01f1f7x', 8, 1), ('a flag', U&'a\+01f1e9\+01f1ea\+01f1eb\+01f1f7x', 9, 3),
	('two flags', U&'a\+01f1e9\+01f1ea\+01f1eb\+01f1f7x', 16, 3), ('two flags', U&'a\+01f1e9\+01f1ea\+01f1eb\+01f1f7x', 17, 5),
	('the flag of Scotland', U&'a\+01f3f4\+0e0067\+0e0062\+0e0073\+0e0063\+0e0074\+0e007fx', 28, 1),
	('a space without width joins nothing', U&'a\200bx', 1, 1), ('a space without width joins nothing', U&'a\200bx', 4, 2),
	('a soft hyphen joins nothing', U&'a\00adxx', 3, 2), ('a mark of direction joins nothing', U&'a\200exx', 4, 2),
	('a first one that is too long', U&'\+01f468\200d\+01f469x', 8, 1), ('a first one that is too long', U&'\+01f468\200d\+01f469x', 3, 0),
	('blanks before the cut', 'one two', 4, 3), ('blanks before the cut', U&'one\00a0\3000 two', 9, 3),
	('blanks elsewhere', '  one  two  ', 7, 5), ('no cut', 'one  ', 5, 5), ('nothing but blanks', '    x', 4, 0)) AS v(what, t, n, keeps);

-- What people would not see is warned of, and sent.
SELECT field, quote_literal(t), im_group_problems(im_test_with(field, t)), im_group_problems(im_test_with(field, t), true)
FROM (VALUES ('name', ' '), ('name', U&'\00a0\3000'), ('name', U&'\200b\200d'), ('name', U&'\3164'), ('name', E'\x07'), ('name', E'a\tb'),
	('name', U&'a\202eb'), ('name', U&'\2067a\2069'), ('name', U&'\05d0\200f'), ('name', U&'a\0085'), ('name', U&'\200b a'),
	('name', U&'\+01f468\200d\+01f469'), ('name', repeat(' ', 31)),
	('introduction', E'a\tb\r\nc'), ('introduction', E'a\x0bb'), ('introduction', ' '), ('introduction', ''),
	('notification', E'a\n'), ('notification', U&'\202da'), ('face_url', E'http://a\n')) AS v(field, t);

DROP VIEW im_test_edges;
DROP FUNCTION im_test_with(text, text, text);
DROP TYPE im_test_group;
