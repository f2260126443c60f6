-- The table of error codes.
\pset format unaligned
\pset tuples_only on

SELECT class, count(*) FROM im_error_codes() GROUP BY class ORDER BY class COLLATE "C";
SELECT class, string_agg(code::text, ' ' ORDER BY code) FROM im_error_codes() GROUP BY class ORDER BY class COLLATE "C";

-- in order, each code once, and nothing left unexplained
SELECT count(*) = count(DISTINCT code), array_agg(code) = array_agg(code ORDER BY code),
	bool_and(meaning <> '' AND advice <> ''),
	bool_and(class IN ('done', 'exists', 'row', 'slow', 'quota', 'resign', 'stop', 'retry')),
	bool_and(meaning !~ '\.$' AND advice ~ '[.]$'), bool_and(octet_length(meaning || advice) = length(meaning || advice))
FROM im_error_codes();

-- the import page's own codes, and ours
SELECT code, class FROM im_error_codes() WHERE code IN (0, 10002, 10003, 10004, 10007, 10021) ORDER BY code;
SELECT count(*) FROM im_error_codes() WHERE code BETWEEN -11 AND -1;

-- What is said of each code to each kind: its own words, or those of groups where
-- they fit.  What is for groups alone is said of groups alone.
SELECT count(*) FROM im_import_progress k, im_error_codes() c
WHERE k.kind <> 'group' AND _im_advice(k.kind, c.code) ~ 'owner_account|im_import_resolve|Importing groups|another group_id|im_group_json';
CREATE FUNCTION pg_temp.plain(advice text) RETURNS text LANGUAGE sql
RETURN regexp_replace(advice, 'im_import_retry\([^)]*\)( with th(is|e) code)?', 'im_import_retry(...)', 'g');
SELECT count(*) FROM im_error_codes() c WHERE pg_temp.plain(_im_advice('group', code)) <> pg_temp.plain(advice);
SELECT kinds, string_agg(code::text, ' ' ORDER BY code), advice
FROM (SELECT c.code, string_agg(k.kind, ' ' ORDER BY k.kind COLLATE "C") AS kinds, pg_temp.plain(_im_advice(k.kind, c.code)) AS advice
	  FROM im_import_progress k, (SELECT code FROM im_error_codes() UNION SELECT 39999) c
	  WHERE k.kind <> 'group' GROUP BY c.code, pg_temp.plain(_im_advice(k.kind, c.code))) a
WHERE advice NOT IN (SELECT pg_temp.plain(advice) FROM im_error_codes())
GROUP BY kinds, advice ORDER BY min(code), kinds COLLATE "C";
SELECT _im_advice('topic', 10004) IS NULL;
-- A call in it can be typed as it stands, and takes the rows of that kind only.
SELECT _im_advice(k, c) FROM (VALUES ('friend', 30003), ('dialog', 90048), ('member', 10014), ('group', 10004), ('unread', 39999)) v (k, c);
SELECT c.code, k.kind, m.call[1] FROM im_import_progress k, im_error_codes() c, regexp_matches(_im_advice(k.kind, c.code), 'im_import_retry\([^)]*\)', 'g') m (call)
WHERE m.call[1] !~ format('^im_import_retry\(%s(, ''failed'')?, kind => ''%s''\)$', c.code, k.kind) ORDER BY 1, 2;
SELECT code, advice FROM im_error_codes() WHERE code IN (30003, 90048);
