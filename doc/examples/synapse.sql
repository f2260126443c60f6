-- Matrix on a Synapse server into IM: users, rooms with members, messages and unread counts, direct messages.
-- See README.md.
--
--   psql -X -v ON_ERROR_STOP=1 -v domain=example.org -d synapse -f doc/examples/synapse.sql
--
-- users, profiles         account   the name between @ and : as UserID (see user_id() below); display name.
--                                   Also those who are deactivated: they are senders
-- current_state_events    member    who has joined, of this server; power level 50 or more: Admin, where the
--                                   group is not Private: these have none
-- events, event_json      message   of rooms; dialog: of direct rooms.  A text of at most 11,000 bytes
-- event_push_summary,     unread    what notified; muted rooms have none
--  event_push_actions
-- account_data: m.direct  -         names the direct rooms, and whom each is with
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
-- events, m.room.create        create_time          milliseconds; the second before the oldest message,
--                                                   if that is earlier, or the event was purged
-- .avatar                      -                    mxc: addresses are not of the Web; upload them first
-- .encryption                  -                    groups are not encrypted end to end.  Tell people
--
-- What hurts in events:
-- * origin_server_ts is the sender's server's word, and may be of the future: the time at which
--   this server got the event is the limit.
-- * An edit is an event of its own, related to the first one by m.replace: the last one's text is moved,
--   in the place of the first.  A redaction takes an event away: it is not moved.
-- * Events that were rejected, or are outliers, are in the table, and were never shown.
-- * JSON may have \u0000, which no text of PostgreSQL can have: it is left out.
--
-- Not moved, and counted below: spaces, and rooms that all have left; direct rooms with other servers; what is
-- encrypted; what people of other servers wrote; threads, reactions and files: a file is named.
-- Friends: Matrix has none.

\if :{?domain}
\else
\set domain example.org
\endif

BEGIN;
CREATE SCHEMA migration;

-- How a Matrix user of this server is called in the app: at most 32 bytes, and no two alike.
CREATE FUNCTION migration.user_id(mxid text, domain text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN octet_length(name) <= 32 THEN name ELSE im_fit(name, 23) || '-' || left(md5(name), 8) END
	FROM (SELECT substring(mxid FROM '^@([^:]*):') AS name) n
	WHERE substr(mxid, strpos(mxid, ':') + 1) = domain;
$$;

-- An event, or account data, as jsonb.
CREATE FUNCTION migration.content(said text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN said::jsonb;
EXCEPTION WHEN untranslatable_character THEN
	RETURN regexp_replace(said, '(^|[^\\])((\\\\)*)\\u0000', '\1\2', 'g')::jsonb;
END $$;

-- Direct rooms, each with its two people: by somebody's m.direct, or without a name and with two people.
CREATE VIEW migration.direct AS
SELECT DISTINCT ON (room_id) room_id, one, other
FROM (SELECT 1 AS rank, room_id, a.user_id AS one, friend.key AS other
	  FROM account_data a, jsonb_each(migration.content(a.content)) friend, jsonb_array_elements_text(friend.value) room_id
	  WHERE a.account_data_type = 'm.direct' AND jsonb_typeof(friend.value) = 'array'
	  UNION ALL
	  SELECT 2, m.room_id, min(m.state_key), max(m.state_key)
	  FROM current_state_events m LEFT JOIN room_stats_state s USING (room_id)
	  WHERE m.type = 'm.room.member' AND s.name IS NULL AND s.canonical_alias IS NULL
	  GROUP BY m.room_id HAVING count(*) = 2) AS found
WHERE one <> other
ORDER BY room_id, rank, one;

CREATE VIEW migration.rooms AS
SELECT r.room_id, r.creator, s.name, s.canonical_alias, s.join_rules, s.topic,
	CASE WHEN c.joined_members <= 2 THEN migration.user_id(d.one, :'domain') END AS one,
	CASE WHEN c.joined_members <= 2 THEN migration.user_id(d.other, :'domain') END AS other,
	CASE WHEN s.room_type = 'm.space' THEN 'space'
		 WHEN c.joined_members <= 2 AND d.room_id IS NOT NULL THEN
			CASE WHEN migration.user_id(d.one, :'domain') IS NULL OR migration.user_id(d.other, :'domain') IS NULL
				THEN 'direct, with another server' ELSE 'direct' END
		 WHEN coalesce(c.joined_members, 0) = 0 THEN 'nobody in it'
	END AS no_group_because
FROM rooms r
	LEFT JOIN room_stats_state s USING (room_id)
	LEFT JOIN room_stats_current c USING (room_id)
	LEFT JOIN migration.direct d USING (room_id);

-- The last edit of each message, by its author.
CREATE VIEW migration.edits AS
SELECT DISTINCT ON (rel.relates_to_id, e.sender) rel.relates_to_id AS event_id, e.sender,
	migration.content(j.json) #>> '{content,m.new_content,body}' AS body
FROM event_relations rel JOIN events e USING (event_id) JOIN event_json j USING (event_id)
WHERE rel.relation_type = 'm.replace' AND NOT e.outlier
	AND e.event_id NOT IN (SELECT redacts FROM redactions WHERE redacts IS NOT NULL)
	AND e.event_id NOT IN (SELECT event_id FROM rejections)
ORDER BY rel.relates_to_id, e.sender, e.stream_ordering DESC;

-- What people wrote.
CREATE VIEW migration.posts AS
SELECT p.event_id AS source_id, p.room_id, author, p.stream_ordering, p.at,
	to_timestamp(p.at / 1000.0) AS send_time, im_fit(body, 11000) AS text, r.one, r.other,
	CASE WHEN r.no_group_because <> 'direct' THEN 'of a room that is not moved'
		 WHEN hidden THEN 'rejected, or an outlier'
		 WHEN redacted THEN 'deleted'
		 WHEN replaces THEN 'an edit'
		 WHEN author IS NULL THEN 'by another server'
		 WHEN p.type = 'm.room.encrypted' THEN 'encrypted'
		 WHEN r.one IS NOT NULL AND author NOT IN (r.one, r.other) THEN 'by a third in a direct room'
		 WHEN coalesce(body, '') = '' THEN 'without a text'
	END AS left_out_because
FROM (SELECT e.event_id, e.room_id, e.type, e.stream_ordering, least(e.origin_server_ts, e.received_ts) AS at,
		migration.user_id(e.sender, :'domain') AS author,
		e.outlier OR rejected.event_id IS NOT NULL AS hidden,
		gone.redacts IS NOT NULL AS redacted,
		rel.event_id IS NOT NULL AS replaces,
		CASE c ->> 'msgtype'
			WHEN 'm.emote' THEN '* ' || coalesce(edit.body, c ->> 'body')
			WHEN 'm.image' THEN '[file] ' || (c ->> 'body')
			WHEN 'm.file' THEN '[file] ' || (c ->> 'body')
			WHEN 'm.audio' THEN '[file] ' || (c ->> 'body')
			WHEN 'm.video' THEN '[file] ' || (c ->> 'body')
			ELSE coalesce(edit.body, c ->> 'body') END AS body
	FROM events e
		LEFT JOIN event_json j USING (event_id)
		LEFT JOIN LATERAL (SELECT migration.content(j.json) -> 'content' AS c) AS parsed ON true
		LEFT JOIN rejections rejected USING (event_id)
		LEFT JOIN (SELECT DISTINCT redacts FROM redactions) gone ON gone.redacts = e.event_id
		LEFT JOIN event_relations rel ON rel.event_id = e.event_id AND rel.relation_type = 'm.replace'
		LEFT JOIN migration.edits edit ON edit.event_id = e.event_id AND edit.sender = e.sender
	WHERE e.type IN ('m.room.message', 'm.room.encrypted') AND e.state_key IS NULL) p
	JOIN migration.rooms r USING (room_id);

CREATE VIEW migration.groups AS
SELECT room_id AS source_id,
	CASE WHEN room_id ~ '^[ -~]{1,48}$' THEN room_id END AS group_id,
	CASE WHEN join_rules IN ('public', 'knock') THEN 'Public' ELSE 'Private' END AS type,
	CASE join_rules WHEN 'public' THEN 'FreeAccess' WHEN 'knock' THEN 'NeedPermission' END AS apply_join_option,
	rtrim(im_fit(coalesce(nullif(btrim(name), ''), substring(canonical_alias FROM '^#([^:]*)'), 'Room'), 30)) AS name,
	nullif(im_fit(topic, 240), '') AS introduction,
	(SELECT migration.user_id(u.name, :'domain') FROM users u WHERE u.name = r.creator) AS owner_account,
	least((SELECT to_timestamp(e.origin_server_ts / 1000) FROM events e
		   WHERE e.room_id = r.room_id AND e.type = 'm.room.create' AND e.state_key = ''),
		  date_trunc('second', oldest.send_time) - interval '1 second') AS create_time
FROM migration.rooms r
	LEFT JOIN (SELECT room_id, min(send_time) AS send_time FROM migration.posts
		WHERE left_out_because IS NULL GROUP BY room_id) oldest USING (room_id)
WHERE no_group_because IS NULL;

-- The users' table has bridges' puppets, too.  Who has written and is not in it was purged, or came by an older version.
CREATE VIEW migration.accounts AS
SELECT migration.user_id(u.name, :'domain') AS user_id,
	im_fit(coalesce(nullif(btrim(p.displayname), ''), substring(u.name FROM '^@([^:]*):')), 500) AS nick,
	p.avatar_url IS NOT NULL AS picture_to_upload
FROM users u LEFT JOIN profiles p ON p.user_id = substring(u.name FROM '^@([^:]*):')
WHERE migration.user_id(u.name, :'domain') IS NOT NULL
UNION
SELECT author, author, false
FROM (SELECT author FROM migration.posts WHERE left_out_because IS NULL
	  EXCEPT SELECT migration.user_id(name, :'domain') FROM users) AS others;

-- Members see what was said before they came only if join_time says that they were there.
CREATE VIEW migration.members AS
SELECT g.source_id AS group_source_id, migration.user_id(m.state_key, :'domain') AS member_account,
	CASE WHEN g.type <> 'Private' AND (power.users ->> m.state_key)::numeric >= 50 THEN 'Admin' END AS role,
	g.create_time + interval '1 second' AS join_time,
	coalesce(summed.n, 0) + coalesce(latest.n, 0) AS unread
FROM migration.groups g
	JOIN current_state_events m ON m.room_id = g.source_id AND m.type = 'm.room.member' AND m.membership = 'join'
	JOIN users u ON u.name = m.state_key
	LEFT JOIN LATERAL (SELECT migration.content(j.json) #> '{content,users}' AS users
		FROM current_state_events c JOIN event_json j USING (event_id)
		WHERE c.room_id = g.source_id AND c.type = 'm.room.power_levels' AND c.state_key = '') power ON true
	LEFT JOIN (SELECT room_id, user_id, sum(notif_count) AS n FROM event_push_summary GROUP BY 1, 2) summed
		ON summed.room_id = g.source_id AND summed.user_id = m.state_key
	LEFT JOIN (SELECT room_id, user_id, count(*) AS n FROM event_push_actions
			   WHERE notif = 1 AND stream_ordering > (SELECT stream_ordering FROM event_push_summary_stream_ordering)
			   GROUP BY 1, 2) latest
		ON latest.room_id = g.source_id AND latest.user_id = m.state_key
WHERE migration.user_id(m.state_key, :'domain') IS NOT NULL;

CREATE VIEW migration.dialogs AS
SELECT source_id, author AS from_account, CASE author WHEN one THEN other ELSE one END AS to_account,
	send_time, text, at, stream_ordering
FROM migration.posts WHERE left_out_because IS NULL AND one IS NOT NULL;
COMMIT;

-- What is left out.
SELECT no_group_because, count(*) AS rooms FROM migration.rooms
WHERE no_group_because IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1;

SELECT left_out_because, count(*) AS events FROM migration.posts
WHERE left_out_because IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1;

SELECT count(*) AS pictures_to_upload FROM migration.accounts WHERE picture_to_upload;

-- What would be refused, counted by problem; and groups that will have no owner.
SELECT im_problem_kind(problem) AS problem, count(*) AS rooms, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT im_problem_kind(problem) AS problem, count(*) AS messages, min(source_id) AS example
FROM (SELECT source_id, room_id AS group_source_id, author AS from_account, send_time, text
	FROM migration.posts WHERE left_out_because IS NULL AND one IS NULL) m, unnest(im_row_problems('message', m)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS without_owner, min(source_id) AS example FROM migration.groups WHERE owner_account IS NULL;

-- All of them.  Run these again at any time, also while Synapse is still in use: they add what is new.  Edits and
-- redactions of what was moved are not followed: load for the last time when nobody writes any more.
INSERT INTO im_account_outbox (user_id, nick)
SELECT user_id, nick FROM migration.accounts ON CONFLICT DO NOTHING;

INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time
FROM migration.groups ON CONFLICT DO NOTHING;

INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time)
SELECT m.group_source_id, m.member_account, m.role, m.join_time
FROM migration.members m JOIN migration.groups g ON g.source_id = m.group_source_id
WHERE m.member_account IS DISTINCT FROM g.owner_account ON CONFLICT DO NOTHING;

INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT source_id, room_id, author, send_time, text FROM migration.posts
WHERE left_out_because IS NULL AND one IS NULL ORDER BY at, stream_ordering ON CONFLICT DO NOTHING;

INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT source_id, from_account, to_account, send_time, text FROM migration.dialogs
ORDER BY at, stream_ordering ON CONFLICT DO NOTHING;

INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT group_source_id, member_account, unread FROM migration.members WHERE unread > 0 ON CONFLICT DO NOTHING;

CALL im_import_wait(raise_on_failure => false);

SELECT error_code, rows, failed, invalid, meaning FROM im_import_errors;
SELECT kind, source_id, status, error_info FROM im_import_failures ORDER BY kind, id;
SELECT kind, waiting FROM im_import_progress WHERE waiting > 0;

-- The repair: a topic that the service's word filter refuses (80001) is left out.
UPDATE im_group_outbox SET introduction = NULL, status = 'pending'
WHERE status = 'failed' AND error_code = 80001;

CALL im_import_wait();

-- Compare the app with the rows.
CALL im_import_verify(raise_on_difference => true);

-- Old room and new GroupId; nothing may be missing.
CREATE TABLE migration.group_of_room AS
SELECT source_id AS room_id, group_id FROM im_import_mapping;

SELECT count(*) AS not_imported
FROM migration.groups WHERE source_id NOT IN (SELECT room_id FROM migration.group_of_room);
