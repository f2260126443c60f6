-- ejabberd's rooms (mod_muc with SQL storage) into IM groups.  See README.md.
--
-- muc_room            record               why
-- ------------------  -------------------  -----------------------------------------------------------
-- name@host           source_id, group_id  the room's address, as clients know it; as group_id if it
--                                          is at most 48 bytes of printable ASCII
-- opts: members_only  type                 true, or public false: Private (by invitation); else Public
-- opts: password_...  apply_join_option    groups have no password: NeedPermission; else FreeAccess
-- opts: title         name                 or the room's name; cut to 30 bytes
-- opts: description   introduction         cut to 240 bytes
-- opts: affiliations  owner_account        the first owner of this domain, without the domain
-- created_at          create_time          in UTC.  1970-01-02 stands for "unknown"; newer versions note
--                                          here when the room was last put to sleep: if old messages
--                                          are to follow, take their oldest time instead
-- opts: max_users     -                    limits visitors at one time, not members
--
-- Not moved: rooms that are not persistent.

BEGIN;
CREATE SCHEMA migration;

-- A text of the term: <<"abc">>, with Erlang's escapes, or <<97,98,99>>, bytes of UTF-8.
CREATE FUNCTION migration.erlang_text(term text, key text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	quoted text := substring(term FROM '\{' || key || ',\s*<<"((?:[^"\\]|\\.)*)">>');
	listed text := substring(term FROM '\{' || key || ',\s*<<([0-9,\s]+)>>');
	bytes bytea;
BEGIN
	IF quoted IS NOT NULL THEN
		quoted := replace(quoted, '\\', chr(1));
		quoted := replace(replace(replace(quoted, '\"', '"'), '\n', chr(10)), '\t', chr(9));
		RETURN replace(quoted, chr(1), '\');
	ELSIF listed IS NULL THEN
		RETURN NULL;
	END IF;
	SELECT decode(string_agg(lpad(to_hex(byte::integer), 2, '0'), '' ORDER BY place), 'hex') INTO bytes
	FROM regexp_split_to_table(listed, '\s*,\s*') WITH ORDINALITY AS list(byte, place);
	RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire THEN
	RETURN convert_from(bytes, 'LATIN1');
END $$;

-- A flag of the term; NULL if it is not there.
CREATE FUNCTION migration.erlang_flag(term text, key text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
	SELECT substring(term FROM '\{' || key || ',\s*(true|false)\}')::boolean;
$$;

-- The first owner that has an account on the domain: {{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}
CREATE FUNCTION migration.erlang_owner(term text, domain text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT found[1]
	FROM regexp_matches(term,
		'\{\{<<"([^"\\]+)">>,\s*<<"([^"\\]+)">>,\s*<<>>\},\s*\{?owner\M', 'g') WITH ORDINALITY AS owners(found, place)
	WHERE found[2] = domain
	ORDER BY place LIMIT 1;
$$;

-- With the schema for one virtual host there is no server_host: write its name instead.
CREATE VIEW migration.groups AS
SELECT name || '@' || host AS source_id,
	CASE WHEN name || '@' || host ~ '^[ -~]{1,48}$' AND name NOT LIKE '@TGS#%' THEN name || '@' || host END AS group_id,
	CASE WHEN closed THEN 'Private' ELSE 'Public' END AS type,
	CASE WHEN closed THEN NULL
		 WHEN migration.erlang_flag(opts, 'password_protected') THEN 'NeedPermission'
		 ELSE 'FreeAccess' END AS apply_join_option,
	rtrim(im_fit(coalesce(nullif(migration.erlang_text(opts, 'title'), ''), name), 30)) AS name,
	nullif(im_fit(migration.erlang_text(opts, 'description'), 240), '') AS introduction,
	migration.erlang_owner(opts, server_host) AS owner_account,
	nullif(created_at, '1970-01-02') AT TIME ZONE 'UTC' AS create_time
FROM muc_room,
	LATERAL (SELECT coalesce(migration.erlang_flag(opts, 'members_only'), false)
					OR NOT coalesce(migration.erlang_flag(opts, 'public'), true) AS closed) AS access
WHERE migration.erlang_flag(opts, 'persistent');
COMMIT;

-- What is left out.
SELECT count(*) AS rooms, 'not persistent' AS left_out_because
FROM muc_room WHERE migration.erlang_flag(opts, 'persistent') IS NOT TRUE;

-- What would be refused, counted by problem; and groups that will have no owner.
SELECT im_problem_kind(problem) AS problem, count(*) AS rooms, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS without_owner, min(source_id) AS example FROM migration.groups WHERE owner_account IS NULL;

-- All of them.  What cannot be sent becomes invalid and stops nobody.
INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time
FROM migration.groups;

CALL im_import_wait(raise_on_failure => false);

SELECT source_id, status, error_info FROM im_import_failures ORDER BY id;

-- The repair: accounts with long names were imported under their first 32 bytes.
UPDATE im_group_outbox SET owner_account = im_fit(owner_account, 32), status = 'pending'
WHERE status = 'invalid' AND octet_length(owner_account) > 32;

CALL im_import_wait();

-- Compare the app's groups with the rows.
CALL im_import_verify(raise_on_difference => true);

-- Old address and new GroupId, for clients and for what comes next.
CREATE TABLE migration.group_of_room AS
SELECT room.name, room.host, m.group_id
FROM im_import_mapping m JOIN muc_room room ON m.source_id = room.name || '@' || room.host;
