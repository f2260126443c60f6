-- Mattermost into IM: users, channels with members, posts and unread counts, direct messages.  See README.md.
--
-- users          account   id as UserID, 26 letters and digits; nickname, or names, or username.
--                          Also those who are deactivated: they are senders
-- channels       group     below
-- channelmembers member    schemeadmin: Admin, but Private groups have none.  Who is in a channel reads all of it, so all have
--                          joined right after it was made
--                unread    the channel's totalmsgcount less the member's msgcount
-- posts          message   of channels; dialog: of direct messages.  A text of at most 11,000
--                          bytes; files are named and stay behind
--
-- channels     record               why
-- -----------  -------------------  ------------------------------------------------------------------
-- id           source_id, group_id  26 letters and digits: always fits
-- type         type                 O(pen): Public, FreeAccess; P(rivate) and G(roup message): Private;
--                                   D(irect): a conversation of two is no group in IM
-- displayname  name                 up to 64 characters, so up to 256 bytes: cut to 30.  If blank: name
-- purpose      introduction         cut to 240 bytes
-- header       notification         cut to 300 bytes; its Markdown is shown as it is
-- creatorid    owner_account        the old user id, 26 letters and digits, as UserID; '': made by the
--                                   system, no owner
-- createat     create_time          milliseconds
--
-- Not moved: archived channels (deleteat > 0), deleted posts, and what the system wrote (somebody
-- joined).  Threads, reactions and files: a reply is a message like any other.

BEGIN;
CREATE SCHEMA migration;

CREATE VIEW migration.groups AS
SELECT id AS source_id,
	id AS group_id,
	CASE type WHEN 'O' THEN 'Public' ELSE 'Private' END AS type,
	CASE type WHEN 'O' THEN 'FreeAccess' END AS apply_join_option,
	rtrim(im_fit(coalesce(nullif(btrim(displayname), ''), name), 30), ' ,') AS name,
	nullif(im_fit(purpose, 240), '') AS introduction,
	nullif(im_fit(header, 300), '') AS notification,
	nullif(creatorid, '') AS owner_account,
	to_timestamp(createat / 1000) AS create_time
FROM channels
WHERE type IN ('O', 'P', 'G') AND deleteat = 0;

CREATE VIEW migration.accounts AS
SELECT id AS user_id,
	im_fit(coalesce(nullif(btrim(nickname), ''), nullif(btrim(concat_ws(' ', firstname, lastname)), ''), username), 500) AS nick
FROM users;

CREATE VIEW migration.members AS
SELECT m.channelid AS group_source_id, m.userid AS member_account,
	CASE WHEN m.schemeadmin AND g.type <> 'Private' AND m.userid IS DISTINCT FROM g.owner_account THEN 'Admin' END AS role,
	g.create_time + interval '1 second' AS join_time,
	greatest(c.totalmsgcount - m.msgcount, 0) AS unread
FROM channelmembers m JOIN migration.groups g ON g.source_id = m.channelid JOIN channels c ON c.id = m.channelid;

-- What people wrote.  One who writes "[file]" only has sent a file.
CREATE VIEW migration.posts AS
SELECT p.id AS source_id, p.channelid, p.userid AS from_account, to_timestamp(p.createat / 1000.0) AS send_time,
	im_fit(concat_ws(' ', nullif(p.message, ''), CASE WHEN p.fileids NOT IN ('', '[]') THEN '[file]' END), 11000) AS text
FROM posts p
WHERE p.deleteat = 0 AND p.type = '' AND (p.message <> '' OR p.fileids NOT IN ('', '[]'));

-- Of direct messages: the channel's name has both users.
CREATE VIEW migration.dialogs AS
SELECT p.source_id, p.from_account,
	CASE p.from_account WHEN split_part(c.name, '__', 1) THEN split_part(c.name, '__', 2) ELSE split_part(c.name, '__', 1) END AS to_account,
	p.send_time, p.text
FROM migration.posts p JOIN channels c ON c.id = p.channelid
WHERE c.type = 'D' AND split_part(c.name, '__', 1) <> split_part(c.name, '__', 2);
COMMIT;

-- What is left out.
SELECT count(*) AS channels, CASE WHEN type = 'D' THEN 'direct message' ELSE 'archived' END AS no_group_because
FROM channels WHERE id NOT IN (SELECT source_id FROM migration.groups)
GROUP BY 2 ORDER BY 1 DESC;

SELECT count(*) AS posts, CASE WHEN p.deleteat > 0 THEN 'deleted' WHEN p.type <> '' THEN 'by the system' ELSE 'of an archived channel, or empty' END AS left_out_because
FROM posts p WHERE p.id NOT IN (SELECT source_id FROM migration.posts WHERE channelid IN (SELECT source_id FROM migration.groups) UNION ALL SELECT source_id FROM migration.dialogs)
GROUP BY 2 ORDER BY 1 DESC;

-- What would be refused, counted by problem; and how many names are cut.
SELECT im_problem_kind(problem) AS problem, count(*) AS channels, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS names_cut, max(octet_length(btrim(c.displayname))) AS longest
FROM migration.groups g JOIN channels c ON c.id = g.source_id
WHERE octet_length(btrim(c.displayname)) > 30;

SELECT im_problem_kind(problem) AS problem, count(*) AS posts, min(source_id) AS example
FROM (SELECT source_id, channelid AS group_source_id, from_account, send_time, text FROM migration.posts) m, unnest(im_row_problems('message', m)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

-- All of them.  Run these again at any time: they add what is new.
INSERT INTO im_account_outbox (user_id, nick)
SELECT user_id, nick FROM migration.accounts ON CONFLICT DO NOTHING;

INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, notification, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, notification, owner_account, create_time
FROM migration.groups ON CONFLICT DO NOTHING;

INSERT INTO im_member_outbox (group_source_id, member_account, role, join_time)
SELECT group_source_id, member_account, role, join_time FROM migration.members ON CONFLICT DO NOTHING;

INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT source_id, channelid, from_account, send_time, text FROM migration.posts
WHERE channelid IN (SELECT source_id FROM migration.groups) ORDER BY send_time ON CONFLICT DO NOTHING;

INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT source_id, from_account, to_account, send_time, text FROM migration.dialogs ORDER BY send_time ON CONFLICT DO NOTHING;

INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT group_source_id, member_account, unread FROM migration.members WHERE unread > 0 ON CONFLICT DO NOTHING;

CALL im_import_wait(raise_on_failure => false);

SELECT error_code, rows, failed, invalid, meaning FROM im_import_errors;
SELECT kind, source_id, status, error_info FROM im_import_failures ORDER BY kind, id;
SELECT kind, waiting FROM im_import_progress WHERE waiting > 0;

-- The repair: creators who were not moved (10019) leave channels without an owner.
UPDATE im_group_outbox SET owner_account = NULL, status = 'pending'
WHERE status = 'failed' AND error_code = 10019;

CALL im_import_wait();

-- Compare the app's groups with the rows.
CALL im_import_verify(raise_on_difference => true);

-- Old channel and new GroupId, with the team that the group no longer shows.
CREATE TABLE migration.group_of_channel AS
SELECT c.id AS channel, nullif(c.teamid, '') AS team, c.name, m.group_id
FROM im_import_mapping m JOIN channels c ON c.id = m.source_id;
