-- Problems counted: what differs from row to row is left out, whatever it is.
SET client_encoding = 'UTF8';
\pset format unaligned
\pset tuples_only on

-- each text, and its kind
SELECT p || E'\n\t' || im_problem_kind(p)
FROM unnest(ARRAY[
	'name is 33 bytes of UTF-8, the limit is 30 (3 over): "x"',
	'name is 33 bytes of UTF-8, the limit is 30 (3 over): "a \"b\": \"c\" \\"',
	'name is 70000 bytes, the limit is 30 (69970 over)',
	'app_defined_data as text is over the limit of 1048576 bytes',
	'the request is 1048638 bytes, the limit is 1048576 (62 over)',
	'max_member_count is 6001, the limit is 6000 (1 over)',
	'max_member_count is 100001, the limit is 100000 for a Community (1 over)',
	'max_member_count is -1, the least is 1',
	'create_time is 3600 seconds in the future: "2030-01-01"',
	'send_time would have to be moved by 3601 seconds to be later, the limit is 3600 (option max_time_shift): undo',
	'type is "a\", allowed are b", allowed are Public and others',
	'type is "AVChatRoom", which is not supported',
	'group_id must not begin with "@TGS#", which is reserved: "@TGS#1"',
	'warning: data has a key of 17 bytes, the limit is 16 (1 over): "kkkkkkkkkkkkkkkkk"',
	'warning: data has a value of 513 bytes, the limit is 512 (1 over), for key "k"',
	'data has a nested value for key "a", only strings can be sent: "{\"a\": [1]}"',
	'warning: column "owner" is not sent; did you mean owner_account?',
	'x is "1", allowed are 2; y is "3", allowed are 4',
	'name is empty', 'is 1, the limit is 2', ' 1, the limit is 2 (3 over', ' is ', '": "', ': "open', ': ""', '"', '', 'é: "é"']) AS p;

-- What stands in error_info, one by one.
SELECT im_problem_list(t)
FROM unnest(ARRAY['a', 'a; b', 'a: "x; y"; b: "\"; c"', 'a; ', '', 'a: "x', 'a;b']) AS t;
-- what im_group_problems() says of one record comes apart again
SELECT im_problem_list(array_to_string(p, '; ')) = p, cardinality(p)
FROM (SELECT im_group_problems(r) AS p
	FROM (SELECT '"; type is "x", allowed ' AS type, repeat('"; name is empty: "\', 5) AS name, '' AS group_id,
		'{"a; b": {"\"": 1}}'::json AS app_defined_data) AS r) AS s;
