-- Matrix rooms of a Synapse server into IM groups.  See README.md.
--
-- Synapse                      record               why
-- ---------------------------  -------------------  --------------------------------------------------
-- rooms.room_id                source_id, group_id  as group_id if it is at most 48 bytes of ASCII
-- room_stats_state.join_rules  type                 public: Public, FreeAccess; knock: Public,
--                                                   NeedPermission; invite, restricted: Private
-- .name, .canonical_alias      name                 the name, or the alias without # and server, or
--                                                   "Room"; cut to 30 bytes
-- .topic                       introduction         cut to 240 bytes
-- rooms.creator                owner_account        without @ and server; nobody if of another server
-- events, m.room.create        create_time          milliseconds
-- .avatar                      -                    mxc: addresses are not of the Web; upload them first
-- .encryption                  -                    groups are not encrypted end to end.  Tell people
--
-- Not moved: spaces, rooms that all have left, and nameless rooms of one or
-- two people (direct messages: a conversation of two is no group in IM).

BEGIN;
CREATE SCHEMA migration;

-- How a Matrix user is called in the app.  Must be what the accounts were imported as.
CREATE FUNCTION migration.user_id(mxid text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN mxid LIKE '@%:example.org' THEN substring(mxid FROM '^@([^:]*):') END;
$$;

CREATE VIEW migration.rooms AS
SELECT r.room_id, r.creator, s.name, s.canonical_alias, s.join_rules, s.topic,
	CASE WHEN s.room_type = 'm.space' THEN 'space'
		 WHEN coalesce(c.joined_members, 0) = 0 THEN 'nobody in it'
		 WHEN c.joined_members <= 2 AND s.name IS NULL AND s.canonical_alias IS NULL THEN 'direct message'
	END AS left_out_because
FROM rooms r
	LEFT JOIN room_stats_state s USING (room_id)
	LEFT JOIN room_stats_current c USING (room_id);

CREATE VIEW migration.groups AS
SELECT room_id AS source_id,
	CASE WHEN room_id ~ '^[ -~]{1,48}$' THEN room_id END AS group_id,
	CASE WHEN join_rules IN ('public', 'knock') THEN 'Public' ELSE 'Private' END AS type,
	CASE join_rules WHEN 'public' THEN 'FreeAccess' WHEN 'knock' THEN 'NeedPermission' END AS apply_join_option,
	rtrim(im_fit(coalesce(nullif(btrim(name), ''), substring(canonical_alias FROM '^#([^:]*)'), 'Room'), 30)) AS name,
	nullif(im_fit(topic, 240), '') AS introduction,
	migration.user_id(creator) AS owner_account,
	(SELECT to_timestamp(e.origin_server_ts / 1000) FROM events e
	 WHERE e.room_id = r.room_id AND e.type = 'm.room.create' AND e.state_key = '') AS create_time
FROM migration.rooms r
WHERE left_out_because IS NULL;
COMMIT;

-- What is left out.
SELECT left_out_because, count(*) AS rooms FROM migration.rooms
WHERE left_out_because IS NOT NULL GROUP BY 1 ORDER BY 2 DESC;

-- What would be refused, counted by problem; and groups that will have no owner.
SELECT im_problem_kind(problem) AS problem, count(*) AS rooms, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS without_owner, min(source_id) AS example FROM migration.groups WHERE owner_account IS NULL;

-- Only what can be sent; the rest is looked at by a person first.
INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time
FROM migration.groups g
WHERE im_group_problems(g) = '{}';

CALL im_import_wait();

-- The rest: a bridge's accounts stay behind, their rooms come without an owner.
INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, create_time
FROM migration.groups g
WHERE octet_length(owner_account) > 32;

CALL im_import_wait();

-- Compare the app's groups with the rows.
CALL im_import_verify(raise_on_difference => true);

-- Old room and new GroupId; nothing may be missing.
CREATE TABLE migration.group_of_room AS
SELECT source_id AS room_id, group_id FROM im_import_mapping;

SELECT count(*) AS not_imported
FROM migration.groups WHERE source_id NOT IN (SELECT room_id FROM migration.group_of_room);
