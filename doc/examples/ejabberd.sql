-- ejabberd into IM: users, rosters, rooms with members and messages, one-to-one messages.  See README.md.
--
--   psql -X -v ON_ERROR_STOP=1 -v domain=example.com -d ejabberd -f doc/examples/ejabberd.sql
--
-- For both of its SQL schemas: that for one domain, and that for several, whose tables have a
-- server_host.  One run moves one domain.
--
-- users, vcard        account   the name before the @ as UserID (see user_id() below); nickname, or full
--                               name, or that name; the photo, if it is an address
-- rosterusers, -groups friend   a row is one direction in both systems.  Subscription B(oth) and T(o):
--                               it is in the list of the row's user.  F(rom) and N(one): it is not
-- muc_room            group     below
--  opts: affiliations member    owners but the first, and admins: Admin, where the group is not
--                               Private: these have none; members.  Not outcasts
-- muc_room_subscribers          members, too
-- archive             message   of kind groupchat; who has written in a room is a member of it
--                     dialog    of kind chat
--
-- muc_room            record               why
-- ------------------  -------------------  -----------------------------------------------------------
-- name@host           source_id, group_id  the room's address, as clients know it; as group_id if it
--                                          is at most 48 bytes of printable ASCII
-- opts: members_only  type                 true, or public false: Private (by invitation); else Public
-- opts: password_...  apply_join_option    groups have no password: NeedPermission; else FreeAccess
-- opts: title         name                 or the room's name; cut to 30 bytes
-- opts: description   introduction         cut to 240 bytes
-- opts: affiliations  owner_account        the first owner of this domain
-- created_at          create_time          in UTC.  1970-01-02 stands for "unknown", and some versions
--                                          note here when the room was last put to sleep: so it is the
--                                          second before the oldest message, if that is earlier
-- opts: max_users     -                    limits visitors at one time, not members
--
-- What hurts in the archive (mod_mam):
-- * A one-to-one message is there twice, once for each of the two, under two ids and two times that
--   differ by milliseconds.  What they share is sender, receiver, the stanza's id and the text.  The
--   sender's copy is moved; the receiver's only where the sender has none: his archive was off, or
--   went with his account.  ejabberd writes the sender's copy first: one statement sees both or none
--   of the receiver's alone.
-- * Who wrote is not in a column but in the stanza.  Its first tag is read by a regular expression,
--   which takes no offence at a stanza that is not well-formed; a vcard is read as XML.
-- * timestamp has microseconds.  IM has whole seconds: those of one second keep their order.
-- * txt is the text, its entities already resolved.  It is empty for changed subjects, markers,
--   and "is typing".  Corrections follow what they correct, as messages of their own.
-- * With mod_mam's compress_xml the stanza is not XML: switch it off, and copy what there is in Erlang.
--
-- Not moved, and counted below: rooms that are not persistent; messages without a text, or encrypted
-- between devices; by, or to, other domains; between visitors of a room; to oneself.
-- Unread counts: ejabberd has none.  spool (to people who were away) repeats what the archive has.

\if :{?domain}
\else
\set domain example.com
\endif

SELECT CASE WHEN count(*) = 1 THEN format('server_host = %L', :'domain') ELSE 'true' END AS of_domain
FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'server_host' \gset

BEGIN;
CREATE SCHEMA migration;

-- How a user is called in the app: at most 32 bytes, and no two alike.
CREATE FUNCTION migration.user_id(username text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN octet_length(username) <= 32 THEN username
		ELSE im_fit(username, 23) || '-' || left(md5(username), 8) END;
$$;

-- The name before the @, if the address is one of this domain.
CREATE FUNCTION migration.local_part(jid text, domain text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN split_part(split_part(jid, '/', 1), '@', 2) = domain THEN split_part(jid, '@', 1) END;
$$;

-- What is between << and >>: "abc", with Erlang's escapes, or 97,98,99, bytes of UTF-8.
CREATE FUNCTION migration.erlang_binary(inside text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	bytes bytea;
BEGIN
	IF inside LIKE '"%' THEN
		inside := replace(substr(inside, 2, length(inside) - 2), '\\', chr(1));
		inside := replace(replace(replace(inside, '\"', '"'), '\n', chr(10)), '\t', chr(9));
		RETURN replace(inside, chr(1), '\');
	END IF;
	SELECT decode(string_agg(lpad(to_hex(byte::integer), 2, '0'), '' ORDER BY place), 'hex') INTO bytes
	FROM regexp_split_to_table(inside, '\s*,\s*') WITH ORDINALITY AS list(byte, place) WHERE byte <> '';
	RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire THEN
	RETURN convert_from(bytes, 'LATIN1');
END $$;

CREATE FUNCTION migration.erlang_text(term text, key text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT migration.erlang_binary(substring(term FROM '\{' || key || ',\s*<<("(?:[^"\\]|\\.)*"|[0-9,\s]+)>>'));
$$;

-- A flag of the term; NULL if it is not there.
CREATE FUNCTION migration.erlang_flag(term text, key text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
	SELECT substring(term FROM '\{' || key || ',\s*(true|false)\}')::boolean;
$$;

-- Who is what in a room, in order: {{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}, also {...,owner}
CREATE FUNCTION migration.affiliations(term text, domain text) RETURNS TABLE (username text, affiliation text, place bigint)
LANGUAGE sql IMMUTABLE AS $$
	SELECT migration.erlang_binary(found[1]), found[3], f.place
	FROM regexp_matches(term,
		'\{\{<<("[^"\\]+"|[0-9,\s]+)>>,\s*<<"([^"\\]+)">>,\s*<<>>\},\s*\{?(owner|admin|member|outcast)\M', 'g')
		WITH ORDINALITY AS f(found, place)
	WHERE found[2] = domain;
$$;

-- NULL for a card that is not well-formed.  Its namespace is no address, which would be warned of each time.
CREATE FUNCTION migration.as_xml(card text) RETURNS xml
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RETURN xmlparse(DOCUMENT regexp_replace(card, '\sxmlns=([''"])vcard-temp\1', ''));
EXCEPTION WHEN invalid_xml_document OR invalid_xml_content THEN
	RETURN NULL;
END $$;

-- An attribute of a stanza's first tag, whose text has no entities that an address could have.
CREATE FUNCTION migration.attribute(stanza text, name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT (regexp_match(stanza, '^<message\s(?:[^>]*\s)?' || name || '=[''"]([^''">]*)'))[1];
$$;

CREATE VIEW migration.rooms AS
SELECT name, host, name || '@' || host AS room, opts,
	nullif(created_at, '1970-01-02') AT TIME ZONE 'UTC' AS created,
	coalesce(migration.erlang_flag(opts, 'members_only'), false)
		OR NOT coalesce(migration.erlang_flag(opts, 'public'), true) AS closed,
	coalesce(migration.erlang_flag(opts, 'persistent'), false) AS persistent
FROM muc_room WHERE :of_domain;

-- The archive of rooms.
CREATE VIEW migration.posts AS
SELECT p.id::text AS source_id, p.username AS room, migration.local_part(p.bare_peer, :'domain') AS author, p.timestamp,
	to_timestamp(p.timestamp / 1000000.0) AS send_time, im_fit(p.txt, 11000) AS text,
	CASE WHEN r.persistent IS NOT TRUE THEN 'of a room that is not moved'
		 WHEN migration.local_part(p.bare_peer, :'domain') IS NULL THEN 'by another domain'
		 WHEN p.xml LIKE '%<encrypted xmlns=%' THEN 'encrypted'
		 WHEN coalesce(p.txt, '') = '' THEN 'without a text' END AS left_out_because
FROM archive p LEFT JOIN migration.rooms r ON r.room = p.username
WHERE p.kind = 'groupchat' AND :of_domain;

-- The archive of conversations: what a user sent, and what a user received.
CREATE VIEW migration.copies AS
SELECT c.*, sender = username AND peer_name = receiver AS own,
	CASE WHEN stanza NOT LIKE '<message%' THEN 'compressed'
		 WHEN peer_name IS NULL THEN 'with another domain, or in a room'
		 WHEN sender = receiver THEN 'to oneself'
		 WHEN sender IS NULL OR receiver IS NULL THEN 'without an address'
		 WHEN stanza LIKE '%<encrypted xmlns=%' THEN 'encrypted'
		 WHEN coalesce(text, '') = '' THEN 'without a text' END AS left_out_because
FROM (SELECT id::text AS source_id, username, timestamp, xml AS stanza, im_fit(txt, 11000) AS text,
		migration.local_part(bare_peer, :'domain') AS peer_name,
		migration.local_part(migration.attribute(xml, 'from'), :'domain') AS sender,
		migration.local_part(migration.attribute(xml, 'to'), :'domain') AS receiver,
		coalesce(migration.attribute(xml, 'id'), '') AS stanza_id
	FROM archive WHERE coalesce(kind, 'chat') = 'chat' AND :of_domain) c;

-- Each message once.
CREATE VIEW migration.talks AS
SELECT source_id, sender, receiver, timestamp, to_timestamp(timestamp / 1000000.0) AS send_time, text
FROM migration.copies
WHERE own AND left_out_because IS NULL
UNION ALL
SELECT source_id, sender, receiver, timestamp, to_timestamp(timestamp / 1000000.0), text
FROM migration.copies received
WHERE NOT own AND left_out_because IS NULL
	AND NOT EXISTS (SELECT FROM migration.copies sent
		WHERE sent.own AND sent.left_out_because IS NULL
			AND sent.sender = received.sender AND sent.receiver = received.receiver
			AND sent.stanza_id = received.stanza_id AND sent.text = received.text
			AND abs(sent.timestamp - received.timestamp) < 60000000);

-- All users, and who has written but has no account any more: senders must exist.
CREATE VIEW migration.people AS
SELECT username FROM users WHERE :of_domain
UNION
SELECT author FROM migration.posts WHERE left_out_because IS NULL
UNION
SELECT sender FROM migration.talks;

CREATE VIEW migration.accounts AS
SELECT migration.user_id(p.username) AS user_id,
	im_fit(coalesce(nullif(btrim(card.nickname), ''), nullif(btrim(card.fn), ''), p.username), 500) AS nick,
	CASE WHEN card.photo ~ '^https?://\S+$' AND octet_length(card.photo) <= 500 THEN card.photo END AS face_url,
	card.picture IS NOT NULL AS picture_to_upload
FROM migration.people p
	LEFT JOIN (SELECT username, vcard FROM vcard WHERE :of_domain) v USING (username)
	LEFT JOIN LATERAL XMLTABLE('/vCard' PASSING migration.as_xml(v.vcard)
		COLUMNS nickname text PATH 'NICKNAME[1]', fn text PATH 'FN[1]',
			photo text PATH 'PHOTO[1]/EXTVAL[1]', picture text PATH 'PHOTO[1]/BINVAL[1]') AS card ON true;

CREATE VIEW migration.friends AS
SELECT migration.user_id(r.username) AS user_id, migration.user_id(f.username) AS friend_id,
	nullif(im_fit(r.nick, 96), '') AS remark,
	(SELECT (array_agg(DISTINCT im_fit(g.grp, 30)))[1:32] FROM rostergroups g
	 WHERE g.username = r.username AND g.jid = r.jid AND g.grp <> '' AND :of_domain) AS group_names,
	r.created_at::timestamptz AS add_time
FROM (SELECT * FROM rosterusers WHERE :of_domain) r
	JOIN migration.people p ON p.username = r.username
	JOIN migration.people f ON f.username = migration.local_part(r.jid, :'domain')
WHERE r.subscription IN ('B', 'T') AND f.username <> r.username;

CREATE VIEW migration.groups AS
SELECT r.room AS source_id,
	CASE WHEN r.room ~ '^[ -~]{1,48}$' AND r.name NOT LIKE '@TGS#%' THEN r.room END AS group_id,
	CASE WHEN closed THEN 'Private' ELSE 'Public' END AS type,
	CASE WHEN closed THEN NULL
		 WHEN migration.erlang_flag(opts, 'password_protected') THEN 'NeedPermission'
		 ELSE 'FreeAccess' END AS apply_join_option,
	rtrim(im_fit(coalesce(nullif(btrim(migration.erlang_text(opts, 'title')), ''), r.name), 30)) AS name,
	nullif(im_fit(migration.erlang_text(opts, 'description'), 240), '') AS introduction,
	(SELECT migration.user_id(a.username) FROM migration.affiliations(opts, :'domain') a
		JOIN migration.people p ON p.username = a.username
	 WHERE a.affiliation = 'owner' ORDER BY a.place LIMIT 1) AS owner_account,
	least(r.created, date_trunc('second', oldest.send_time) - interval '1 second') AS create_time
FROM migration.rooms r
	LEFT JOIN (SELECT room, min(send_time) AS send_time FROM migration.posts
		WHERE left_out_because IS NULL GROUP BY room) oldest USING (room)
WHERE r.persistent;

-- Members see what was said before they came only if join_time says that they were there.
CREATE VIEW migration.members AS
SELECT g.source_id AS group_source_id, migration.user_id(m.username) AS member_account,
	CASE WHEN g.type <> 'Private' AND bool_or(m.affiliation IN ('owner', 'admin')) THEN 'Admin' END AS role,
	g.create_time + interval '1 second' AS join_time
FROM migration.groups g
	JOIN (SELECT room, a.username, a.affiliation FROM migration.rooms, migration.affiliations(opts, :'domain') a
		  UNION ALL
		  SELECT room || '@' || host, migration.local_part(jid, :'domain'), 'member' FROM muc_room_subscribers
		  UNION ALL
		  SELECT DISTINCT room, author, 'member' FROM migration.posts WHERE left_out_because IS NULL) m ON m.room = g.source_id
	JOIN migration.people p USING (username)
WHERE migration.user_id(m.username) IS DISTINCT FROM g.owner_account
GROUP BY 1, 2, g.type, g.create_time
HAVING NOT bool_or(m.affiliation = 'outcast');

-- Whoever was banned has written before: without a membership his messages stay.
CREATE VIEW migration.messages AS
SELECT source_id, room AS group_source_id, migration.user_id(author) AS from_account, send_time, text, timestamp
FROM migration.posts WHERE left_out_because IS NULL;

CREATE VIEW migration.dialogs AS
SELECT source_id, migration.user_id(sender) AS from_account, migration.user_id(receiver) AS to_account, send_time, text, timestamp
FROM migration.talks WHERE receiver IN (SELECT username FROM migration.people);
COMMIT;

-- What is left out.
SELECT count(*) AS rooms, 'not persistent' AS left_out_because FROM migration.rooms WHERE NOT persistent;

SELECT left_out_because, count(*) AS room_messages FROM migration.posts WHERE left_out_because IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1;

SELECT coalesce(left_out_because, CASE WHEN source_id IN (SELECT source_id FROM migration.talks)
		THEN 'to somebody without an account' ELSE 'the receiver''s copy' END) AS left_out_because, count(*) AS copies
FROM migration.copies WHERE source_id NOT IN (SELECT source_id FROM migration.dialogs) GROUP BY 1 ORDER BY 2 DESC, 1;

SELECT count(*) - (SELECT count(*) FROM migration.friends) AS roster_entries_left_out
FROM rosterusers WHERE :of_domain;

SELECT count(*) AS photos_to_upload FROM migration.accounts WHERE picture_to_upload;

-- What would be refused, counted by problem; and groups that will have no owner.
SELECT im_problem_kind(problem) AS problem, count(*) AS rooms, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT im_problem_kind(problem) AS problem, count(*) AS messages, min(source_id) AS example
FROM (SELECT source_id, group_source_id, from_account, send_time, text FROM migration.messages) m,
	unnest(im_row_problems('message', m)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS without_owner, min(source_id) AS example FROM migration.groups WHERE owner_account IS NULL;

-- All of them.  Run these again at any time, also while ejabberd is still in use: they add what is new.
INSERT INTO im_account_outbox (user_id, nick, face_url)
SELECT user_id, nick, face_url FROM migration.accounts ON CONFLICT DO NOTHING;

INSERT INTO im_friend_outbox (user_id, friend_id, remark, group_names, add_time)
SELECT user_id, friend_id, remark, group_names, add_time FROM migration.friends ON CONFLICT DO NOTHING;

INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, owner_account, create_time
FROM migration.groups ON CONFLICT DO NOTHING;

INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time)
SELECT group_source_id, member_account, role, join_time FROM migration.members ON CONFLICT DO NOTHING;

INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT source_id, group_source_id, from_account, send_time, text FROM migration.messages ORDER BY timestamp ON CONFLICT DO NOTHING;

INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT source_id, from_account, to_account, send_time, text FROM migration.dialogs ORDER BY timestamp ON CONFLICT DO NOTHING;

CALL im_import_wait(raise_on_failure => false);

SELECT error_code, rows, failed, invalid, meaning FROM im_import_errors;
SELECT kind, source_id, status, error_info FROM im_import_failures ORDER BY kind, id;
SELECT kind, waiting FROM im_import_progress WHERE waiting > 0;

-- The repair: a title that the service's word filter refuses (80001) gives way to the room's name.
UPDATE im_group_outbox SET name = im_fit(split_part(source_id, '@', 1), 30), introduction = NULL, status = 'pending'
WHERE status = 'failed' AND error_code = 80001;

CALL im_import_wait();

-- Compare the app with the rows.
CALL im_import_verify(raise_on_difference => true);

-- Old address and new GroupId, for clients and for what comes next.
CREATE TABLE migration.group_of_room AS
SELECT room.name, room.host, m.group_id
FROM im_import_mapping m JOIN migration.rooms room ON m.source_id = room.room;
