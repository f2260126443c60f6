-- Mattermost's channels into IM groups.  See README.md.
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
-- Not moved: direct messages, and archived channels (deleteat > 0).

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
COMMIT;

-- What is left out.
SELECT count(*) AS channels, CASE WHEN type = 'D' THEN 'direct message' ELSE 'archived' END AS left_out_because
FROM channels WHERE id NOT IN (SELECT source_id FROM migration.groups)
GROUP BY 2 ORDER BY 1 DESC;

-- What would be refused, counted by problem; and how many names are cut.
SELECT im_problem_kind(problem) AS problem, count(*) AS channels, min(source_id) AS example
FROM migration.groups g, unnest(im_group_problems(g)) AS problem
GROUP BY 1 ORDER BY 2 DESC;

SELECT count(*) AS names_cut, max(octet_length(btrim(c.displayname))) AS longest
FROM migration.groups g JOIN channels c ON c.id = g.source_id
WHERE octet_length(btrim(c.displayname)) > 30;

-- All of them.
INSERT INTO im_group_outbox
	(source_id, group_id, type, apply_join_option, name, introduction, notification, owner_account, create_time)
SELECT source_id, group_id, type, apply_join_option, name, introduction, notification, owner_account, create_time
FROM migration.groups;

CALL im_import_wait(raise_on_failure => false);

SELECT error_code, rows, failed, invalid, meaning FROM im_import_errors;
SELECT source_id, status, error_info FROM im_import_failures ORDER BY id;

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
