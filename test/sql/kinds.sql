-- Requests and problems of every kind but groups, which encode.sql and limits.sql have.
\pset format unaligned
\pset tuples_only on

SELECT im_row_json('account', r) FROM (SELECT 'leckie' AS user_id, 'Leckie "L"' AS nick, 'http://example.com/l.png' AS face_url) r;
SELECT im_row_json('account', r) FROM (SELECT 'leckie' AS user_id) r;
SELECT im_row_problems('account', r) FROM (SELECT '' AS user_id, repeat('n', 501) AS nick) r;
SELECT im_row_problems('account', r, true) FROM (SELECT 'a b' AS user_id) r;
SELECT im_row_problems('account', r) FROM (SELECT repeat('u', 33) AS user_id) r;
SELECT im_row_json('account', r) FROM (SELECT 'leckie' AS name) r;

SELECT im_row_json('friend', r) FROM (SELECT 'u1' AS user_id, 'u2' AS friend_id, 'my friend' AS remark, 'Web' AS add_source,
	ARRAY['school', 'work'] AS group_names, timestamptz '2020-01-01 00:00Z' AS add_time) r;
SELECT im_row_json('friend', r) FROM (SELECT 'u1' AS user_id, 'u2' AS friend_id) r;
SELECT im_row_problems('friend', r) FROM (SELECT 'u1' AS user_id, NULL AS friend_id, repeat('r', 97) AS remark,
	array_fill(repeat('g', 31), ARRAY[33]) AS group_names) r;
SELECT im_row_problems('friend', r) FROM (SELECT 'u' AS user_id, 'f' AS friend_id, ARRAY['a', NULL, ''] AS group_names) r;

SELECT im_row_json('dialog', r) FROM (SELECT 'u1' AS from_account, 'u2' AS to_account, timestamptz '2020-01-01 00:00Z' AS send_time, 'hi' AS text) r;
SELECT im_row_json('dialog', r) FROM (SELECT 4294967297 AS id, uuid '00000000-0000-0000-0000-000000000001' AS row_key, 'u1' AS from_account,
	'u2' AS to_account, timestamptz '2020-01-01 00:00Z' AS send_time,
	'[{"MsgType":"TIMSoundElem","MsgContent":{"Url":"x"}}]'::json AS body) r;

SELECT im_row_json('member', r) FROM (SELECT 'g' AS group_id, 'leckie' AS member_account, 'admin' AS role, 1448357837 AS join_time) r;
SELECT im_row_json('member', r) FROM (SELECT 'room 7' AS group_source_id, 'leckie' AS member_account, 'Member' AS role) r;
SELECT im_row_problems('member', r) FROM (SELECT 'g' AS group_id, 's' AS group_source_id, 'leckie' AS member_account, 'Owner' AS role) r;
SELECT im_row_problems('member', r) FROM (SELECT NULL AS member_account) r;

SELECT im_row_json('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, timestamptz '2020-01-01 00:00:00.9Z' AS send_time, 'line
two' AS text) r;
SELECT im_row_json('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time,
	'[{"MsgType":"TIMCustomElem","MsgContent":{"Data":"\u0000"}}, {"MsgType":"TIMFaceElem","MsgContent":{"Index":1}}]'::json AS body) r;
SELECT im_row_problems('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, now() + interval '1 hour' AS send_time) r
WHERE im_row_problems('message', r)::text NOT LIKE '%seconds in the future%text or body is required%';
SELECT im_row_problems('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time,
	'x' AS text, '[]'::json AS body) r;
SELECT body, im_row_problems('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time,
	body FROM (VALUES ('[]'::json), ('{}'), ('[1]'), ('[{"MsgType":"TIMTextElem"}]'), ('[{"MsgContent":{}}]'),
	('[{"MsgType":"TIMImageElem","MsgContent":{}}]'), ('[{"MsgType":"TIMÄElem","MsgContent":{}}]')) b (body)) r;
-- a text needs something in it, and is measured as it is sent
SELECT im_row_problems('message', r), im_row_problems('dialog', r)
FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, 'u' AS to_account, timestamptz '2020-01-01 00:00Z' AS send_time, t AS text
	FROM unnest(ARRAY['', repeat('x', 12288), repeat('"', 6200)]) t) r;
SELECT im_row_problems('message', r) FROM (SELECT 'g' AS group_id, 'leckie' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time,
	json_build_array(json_build_object('MsgType', 'TIMCustomElem', 'MsgContent', json_build_object('Data', repeat('x', 12300)))) AS body) r;
-- a row that has the id of an earlier one has another Random, or all but
SELECT count(DISTINCT random) > 200 AS by_row_key FROM (SELECT im_row_json('message', r) -> 'MsgList' -> 0 ->> 'Random' AS random
FROM (SELECT 1::bigint AS id, gen_random_uuid() AS row_key, 'g' AS group_id, 'u' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time, 't' AS text
FROM generate_series(1, 5000) i) r) n;
-- no two neighbours share a Random
SELECT count(DISTINCT random), count(*) FROM (SELECT im_row_json('message', r) -> 'MsgList' -> 0 ->> 'Random' AS random
FROM (SELECT i AS id, gen_random_uuid() AS row_key, 'g' AS group_id, 'u' AS from_account, timestamptz '2020-01-01 00:00Z' AS send_time, 't' AS text
FROM generate_series(1::bigint, 2000) i) r) n;

SELECT im_row_json('unread', r) FROM (SELECT 'g' AS group_id, 'leckie' AS member_account, 7 AS unread_msg_num) r;
SELECT im_row_problems('unread', r) FROM (SELECT 'g' AS group_id, 'leckie' AS member_account, -1 AS unread_msg_num) r;
SELECT im_row_problems('unread', r) FROM (SELECT 'g' AS group_id, 'leckie' AS member_account, 'many' AS unread_msg_num) r;

SELECT im_row_json('room', r) FROM (SELECT 1 AS x) r;
-- a group is what im_group_json() says
SELECT im_row_json('group', r)::text = im_group_json(r)::text FROM (SELECT 'Public' AS type, 'x' AS name) r;
-- a kind that one of the lists by hand has forgotten: outboxes, plan (twice), page
SELECT p.kind FROM im_import_progress p
WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass('im_' || p.kind || '_outbox') AND t.tgname = 'im_outbox_guard')
	OR p.kind <> 'group' AND (SELECT count(*) FROM regexp_matches(_im_plan_query(), quote_literal(p.kind), 'g')) < 2
	OR position(format('WHEN %L THEN', p.kind) IN _im_report_query()) = 0;
-- hardly ahead of this clock is no problem for any kind
SELECT im_row_problems('message', r), im_row_problems('dialog', r), im_row_problems('member', r), im_row_problems('friend', r)
FROM (SELECT 'g' AS group_id, 'a' AS from_account, 'b' AS to_account, 'm' AS member_account, 'u' AS user_id, 'f' AS friend_id, 't' AS text,
	now() + interval '2 s' AS send_time, now() + interval '2 s' AS join_time, now() + interval '2 s' AS add_time) r;
