-- The parts of reference.md and codes.md that the catalog knows, for
-- make_reference.sh: each begins with a line "@@ name".  Words that the
-- catalog does not have stand in the lists below; a word that is missing shows
-- as "???", one that is not needed any more as a part of its own, "stale".
\set QUIET on
\pset tuples_only on
\pset format unaligned
\pset pager off
SET client_encoding = 'UTF8';
SET client_min_messages = warning;

CREATE TEMPORARY TABLE words (object text, name text, text text);
INSERT INTO words VALUES
-- defaults of options
('option', 'sdkappid', 'required'),
('option', 'region', 'required without `endpoint`'),
('option', 'endpoint', '–'),
('option', 'rate_limit', '200'),
('option', 'account_rate_limit', '`rate_limit`, at most 100'),
('option', 'friend_rate_limit', '`rate_limit`'),
('option', 'dialog_rate_limit', '`rate_limit`'),
('option', 'group_rate_limit', '`rate_limit`'),
('option', 'member_rate_limit', '`rate_limit`'),
('option', 'message_rate_limit', '`rate_limit`'),
('option', 'unread_rate_limit', '`rate_limit`'),
('option', 'undo_rate_limit', '`rate_limit`'),
('option', 'audit_rate_limit', '1, the service''s limit'),
('option', 'accounts_per_call', '100'),
('option', 'friends_per_call', '1000'),
('option', 'members_per_call', '20'),
('option', 'messages_per_call', '7'),
('option', 'equal_seconds', '`move`'),
('option', 'max_time_shift', '1h'),
('option', 'message_bytes', '12288'),
('option', 'recent_contact', '`off`'),
('option', 'groups_per_day', 'none'),
('option', 'max_in_flight', '128'),
('option', 'request_timeout', '15s'),
('option', 'max_attempts', '12'),
('option', 'group_ids', '`generated`'),
('option', 'text_limits', '`page`'),
('option', 'after_promotion', '`hold`'),
('option', 'ca_file', 'the system''s'),
('option', 'identifier', 'required'),
('option', 'secret_key_file', 'required without `secret_key`'),
('option', 'secret_key', '–'),
-- and their units, bounds, and when a change of them acts
('option unit', 'rate_limit', 'calls a second'),
('option unit', 'account_rate_limit', 'calls a second'),
('option unit', 'friend_rate_limit', 'calls a second'),
('option unit', 'dialog_rate_limit', 'calls a second'),
('option unit', 'group_rate_limit', 'calls a second'),
('option unit', 'member_rate_limit', 'calls a second'),
('option unit', 'message_rate_limit', 'calls a second'),
('option unit', 'unread_rate_limit', 'calls a second'),
('option unit', 'undo_rate_limit', 'calls a second'),
('option unit', 'audit_rate_limit', 'calls a second'),
('option unit', 'accounts_per_call', 'rows'),
('option unit', 'friends_per_call', 'rows'),
('option unit', 'members_per_call', 'rows'),
('option unit', 'messages_per_call', 'rows'),
('option unit', 'max_time_shift', 'ms, s, min, h'),
('option unit', 'message_bytes', 'JSON in bytes'),
('option unit', 'groups_per_day', 'new groups'),
('option unit', 'max_in_flight', 'calls'),
('option unit', 'request_timeout', 'ms, s, min'),
('option unit', 'max_attempts', 'calls for a row'),
('option unit', 'identifier', 'bytes of UTF-8'),
('option unit', 'secret_key', 'bytes'),
('option min', 'sdkappid', '1'),
('option min', 'rate_limit', '0.001'),
('option min', 'account_rate_limit', '0.001'),
('option min', 'friend_rate_limit', '0.001'),
('option min', 'dialog_rate_limit', '0.001'),
('option min', 'group_rate_limit', '0.001'),
('option min', 'member_rate_limit', '0.001'),
('option min', 'message_rate_limit', '0.001'),
('option min', 'unread_rate_limit', '0.001'),
('option min', 'undo_rate_limit', '0.001'),
('option min', 'audit_rate_limit', '0.001'),
('option min', 'accounts_per_call', '1'),
('option min', 'friends_per_call', '1'),
('option min', 'members_per_call', '1'),
('option min', 'messages_per_call', '1'),
('option min', 'max_time_shift', '0s'),
('option min', 'message_bytes', '1'),
('option min', 'groups_per_day', '1'),
('option min', 'max_in_flight', '1'),
('option min', 'request_timeout', '1s'),
('option min', 'max_attempts', '1'),
('option min', 'identifier', '1'),
('option min', 'secret_key', '1'),
('option max', 'sdkappid', '4294967295'),
('option max', 'rate_limit', '1000000'),
('option max', 'account_rate_limit', '1000000'),
('option max', 'friend_rate_limit', '1000000'),
('option max', 'dialog_rate_limit', '1000000'),
('option max', 'group_rate_limit', '1000000'),
('option max', 'member_rate_limit', '1000000'),
('option max', 'message_rate_limit', '1000000'),
('option max', 'unread_rate_limit', '1000000'),
('option max', 'undo_rate_limit', '1000000'),
('option max', 'audit_rate_limit', '1000000'),
('option max', 'accounts_per_call', '1000'),
('option max', 'friends_per_call', '1000'),
('option max', 'members_per_call', '500'),
('option max', 'messages_per_call', '20'),
('option max', 'max_time_shift', '596h'),
('option max', 'message_bytes', '1048576'),
('option max', 'groups_per_day', '9223372036854775807'),
('option max', 'max_in_flight', '1024'),
('option max', 'request_timeout', '10min'),
('option max', 'max_attempts', '1000'),
('option max', 'identifier', '256'),
('option max', 'secret_key', '256'),
('option acts', 'sdkappid', 'next call'),
('option acts', 'region', 'when the calls under way have ended'),
('option acts', 'endpoint', 'when the calls under way have ended'),
('option acts', 'rate_limit', 'next call'),
('option acts', 'account_rate_limit', 'next call'),
('option acts', 'friend_rate_limit', 'next call'),
('option acts', 'dialog_rate_limit', 'next call'),
('option acts', 'group_rate_limit', 'next call'),
('option acts', 'member_rate_limit', 'next call'),
('option acts', 'message_rate_limit', 'next call'),
('option acts', 'unread_rate_limit', 'next call'),
('option acts', 'undo_rate_limit', 'next call'),
('option acts', 'audit_rate_limit', 'next call'),
('option acts', 'accounts_per_call', 'next call'),
('option acts', 'friends_per_call', 'next call'),
('option acts', 'members_per_call', 'next call'),
('option acts', 'messages_per_call', 'next call'),
('option acts', 'equal_seconds', 'rows claimed from then on'),
('option acts', 'max_time_shift', 'rows claimed from then on'),
('option acts', 'message_bytes', 'rows claimed from then on'),
('option acts', 'recent_contact', 'next call'),
('option acts', 'groups_per_day', 'next claim of rows'),
('option acts', 'max_in_flight', 'when the calls under way have ended'),
('option acts', 'request_timeout', 'when the calls under way have ended'),
('option acts', 'max_attempts', 'next answer'),
('option acts', 'group_ids', 'rows claimed from then on'),
('option acts', 'text_limits', 'rows claimed from then on'),
('option acts', 'after_promotion', 'at once, also where it holds already'),
('option acts', 'ca_file', 'when the calls under way have ended'),
('option acts', 'identifier', 'next call'),
('option acts', 'secret_key_file', 'next call; a changed file too'),
('option acts', 'secret_key', 'next call');

CREATE TEMPORARY TABLE used AS SELECT object, name FROM words WHERE false;

-- What of the extension is described, and what is internal.
CREATE TEMPORARY VIEW members AS
SELECT d.classid, d.objid, obj_description(d.objid, d.classid::regclass::name) AS comment,
	coalesce(obj_description(d.objid, d.classid::regclass::name) ~ '^(internal|trigger):', false) AS internal
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'im_import');

CREATE TEMPORARY VIEW routines AS
SELECT m.comment, m.internal, p.prokind, p.proname,
	format('%s(%s)%s', p.proname,
		regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '(, )?\mOUT .*$', ''), '::[a-z ]+|\mIN ', '', 'g'),
		CASE WHEN p.prokind = 'p' THEN ''
			 WHEN pg_get_function_arguments(p.oid) ~ 'OUT ' THEN ' → ' || CASE WHEN p.proretset THEN 'setof ' ELSE '' END
				|| '(' || replace(substring(pg_get_function_arguments(p.oid) FROM 'OUT .*$'), 'OUT ', '') || ')'
			 ELSE ' → ' || pg_get_function_result(p.oid) END) AS signature
FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;

CREATE TEMPORARY VIEW relations AS
SELECT m.comment, m.internal, c.oid, c.relname, c.relkind
FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
WHERE c.relkind IN ('r', 'v');

-- A text in a cell of a table.
CREATE FUNCTION pg_temp.cell(given text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(replace(coalesce(given, '???'), '|', '\|'), '\s+', ' ', 'g');
$$;

-- What a statement says to an option that is wrong.
CREATE FUNCTION pg_temp.hint(option text, kind regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	PERFORM _im_validator(ARRAY[option], kind);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = PG_EXCEPTION_HINT;
	RETURN answer;
END $$;

\echo @@ functions
SELECT '| | |' UNION ALL SELECT '|---|---|';
SELECT format('| `%s` | %s |', CASE WHEN prokind = 'p' THEN 'CALL ' ELSE '' END || signature, pg_temp.cell(comment))
FROM routines WHERE NOT internal ORDER BY proname, signature;

\echo @@ relations
SELECT format(E'### %s\n\n%s: %s.\n\n| column | type | |\n|---|---|---|\n%s\n', r.relname,
	CASE r.relkind WHEN 'r' THEN 'Table' ELSE 'View' END, pg_temp.cell(r.comment),
	string_agg(format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
		pg_temp.cell(col_description(r.oid, a.attnum))), E'\n' ORDER BY a.attnum))
FROM relations r
	JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE NOT r.internal
GROUP BY r.relname, r.relkind, r.comment
ORDER BY r.relkind, r.relname = 'pg_stat_im_import', r.relname;

\echo @@ options
SELECT '| option | of | default | unit | min | max | a change acts | |' UNION ALL SELECT '|---|---|---|---|---|---|---|---|';
CREATE TEMPORARY TABLE options AS
SELECT kind, of, place, name
FROM (VALUES ('pg_foreign_server'::regclass, 'SERVER'), ('pg_user_mapping'::regclass, 'USER MAPPING')) AS kinds(kind, of),
	regexp_split_to_table(substring(pg_temp.hint('no_option_has_this_name=1', kind) FROM 'are: (.*)\.$'), ', ') WITH ORDINALITY AS names(name, place);
SELECT format('| `%s` | %s | %s | %s | %s | %s | %s | %s |', o.name, o.of, pg_temp.cell(w.text),
	coalesce(unit.text, '–'), coalesce(least.text, '–'), coalesce(most.text, '–'), pg_temp.cell(acts.text),
	pg_temp.cell(pg_temp.hint(o.name || E'=\x01', o.kind)))
FROM options o LEFT JOIN words w ON w.object = 'option' AND w.name = o.name
	LEFT JOIN words unit ON unit.object = 'option unit' AND unit.name = o.name
	LEFT JOIN words least ON least.object = 'option min' AND least.name = o.name
	LEFT JOIN words most ON most.object = 'option max' AND most.name = o.name
	LEFT JOIN words acts ON acts.object = 'option acts' AND acts.name = o.name
ORDER BY o.of, o.place;
INSERT INTO used SELECT object, o.name FROM options o, unnest(ARRAY['option', 'option unit', 'option min', 'option max', 'option acts']) object;

\echo @@ internal
SELECT '| | |' UNION ALL SELECT '|---|---|';
SELECT format('| `%s` | %s |', what, pg_temp.cell(comment))
FROM (SELECT signature AS what, comment FROM routines WHERE internal
	  UNION ALL
	  SELECT format('%s(%s)', r.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)), r.comment
	  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	  WHERE r.internal GROUP BY r.relname, r.comment
	  UNION ALL
	  SELECT w.fdwname || ' (foreign-data wrapper)', m.comment
	  FROM members m JOIN pg_foreign_data_wrapper w ON m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = w.oid
	  UNION ALL
	  SELECT e.evtname || ' (event trigger)', m.comment
	  FROM members m JOIN pg_event_trigger e ON m.classid = 'pg_event_trigger'::regclass AND m.objid = e.oid) AS all_of_it
ORDER BY what;

\echo @@ codes
SELECT '| code | class | meaning | what to do |' UNION ALL SELECT '|---|---|---|---|';
SELECT format('| %s | %s | %s | %s |', code, class, pg_temp.cell(meaning), pg_temp.cell(advice))
FROM im_error_codes() ORDER BY code < 0, abs(code);

-- Members that none of the parts above shows, and words that nobody asks for.
\echo @@ stale
SELECT 'not described: ' || pg_describe_object(m.classid, m.objid, 0)
FROM members m
WHERE m.classid NOT IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_foreign_data_wrapper'::regclass, 'pg_event_trigger'::regclass)
	AND NOT (m.classid = 'pg_class'::regclass AND m.objid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v', 'i', 'S', 't', 'c')))
UNION ALL
SELECT format('stale: %s.%s', object, name) FROM (SELECT object, name FROM words EXCEPT SELECT object, name FROM used) AS rest
UNION ALL
SELECT format('no comment: %s', coalesce(signature, '')) FROM routines WHERE comment IS NULL
UNION ALL
SELECT format('no comment: %s', relname) FROM relations WHERE comment IS NULL;
