-- Which changes of status the guard lets a person make, with undo.  No server is
-- configured: the worker changes nothing.
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

TRUNCATE im_group_outbox, im_member_outbox, im_message_outbox RESTART IDENTITY;
SET session_replication_role = replica;
INSERT INTO im_group_outbox (source_id, type, name, status, group_id, attempts, sent_at, settled_at, maybe_sent_at) VALUES
	('generated', 'Public', 'g', 'imported', NULL, 1, now(), now(), NULL),
	('own', 'Public', 'o', 'imported', 'own', 1, now(), now(), NULL),
	('doubted', 'Public', 'd', 'imported', 'doubted', 3, now(), now(), now()),
	('assigned', 'Public', 'a', 'imported', '@TGS#2ABC', 1, now(), now(), NULL),
	('failed', 'Public', 'f', 'failed', 'f', 1, now(), now(), NULL),
	('pending', 'Public', 'p', 'pending', NULL, 0, NULL, NULL, NULL),
	('foreign', 'Public', 'x', 'imported', 'x', 1, now(), now(), NULL);
UPDATE im_group_outbox SET group_id = im_generated_group_id(row_key, false) WHERE source_id = 'generated';
UPDATE im_group_outbox SET origin = 1 WHERE source_id = 'foreign';
INSERT INTO im_member_outbox (group_source_id, member_account, status) VALUES ('own', 'u', 'imported');
INSERT INTO im_message_outbox (group_source_id, from_account, send_time, text, status, sent_time, msg_seq, maybe_sent_at) VALUES
	('own', 'u', '2020-01-01 00:00Z', 't', 'undone', 1577836800, 7, NULL);
RESET session_replication_role;
CREATE VIEW undo_rows AS
SELECT source_id, status, attempts, error_info, settled_at IS NULL AS open, maybe_sent_at IS NULL AS certain, due_at - now() BETWEEN '55 s' AND '1 min' AS waits FROM im_group_outbox;

-- what can be undone, and what cannot
UPDATE im_group_outbox SET status = 'undo' WHERE source_id IN ('generated', 'own', 'doubted', 'assigned');
SELECT * FROM undo_rows WHERE status = 'undo' ORDER BY source_id;
UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'failed';
UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'pending';
UPDATE im_group_outbox SET status = 'undo' WHERE source_id = 'foreign';
UPDATE im_member_outbox SET status = 'undo';
UPDATE im_message_outbox SET status = 'undo';
\set VERBOSITY terse
INSERT INTO im_member_outbox (group_source_id, member_account, status) VALUES ('own', 'v', 'undo');
\set VERBOSITY default

-- until the worker has begun it can be called off
UPDATE im_group_outbox SET name = 'other' WHERE source_id = 'own';
UPDATE im_group_outbox SET status = 'pending' WHERE source_id = 'own';
UPDATE im_group_outbox SET status = 'undone' WHERE source_id = 'own';
UPDATE im_group_outbox SET status = 'imported' WHERE source_id = 'own';
SELECT * FROM undo_rows WHERE source_id = 'own';
SET session_replication_role = replica;
UPDATE im_group_outbox SET status = 'undo', claim = 1 WHERE source_id = 'own';
RESET session_replication_role;
UPDATE im_group_outbox SET status = 'imported' WHERE source_id = 'own';
SET session_replication_role = replica;
UPDATE im_group_outbox SET claim = NULL, maybe_sent_at = now() WHERE source_id = 'own';
RESET session_replication_role;
UPDATE im_group_outbox SET status = 'imported' WHERE source_id = 'own';

-- again: a new id, but for one of its own, which waits for a request that may be under way
SET session_replication_role = replica;
UPDATE im_group_outbox SET status = 'undone', settled_at = now() WHERE status = 'undo';
RESET session_replication_role;
UPDATE im_group_outbox SET status = 'imported' WHERE source_id = 'own';
CREATE TABLE undo_keys AS SELECT id, row_key FROM im_group_outbox WHERE status = 'undone';
SELECT im_import_retry(1, 'undone');
SELECT im_import_retry(status => 'undone');
SELECT * FROM undo_rows WHERE source_id IN ('generated', 'own', 'doubted', 'assigned') ORDER BY source_id;
SELECT source_id, group_id FROM im_group_outbox WHERE source_id IN ('generated', 'own', 'doubted', 'assigned') ORDER BY source_id;
SELECT count(*) FROM im_group_outbox JOIN undo_keys USING (id, row_key);
SELECT status, sent_time, msg_seq FROM im_message_outbox;

DROP VIEW undo_rows;
DROP TABLE undo_keys;
TRUNCATE im_group_outbox, im_member_outbox, im_message_outbox RESTART IDENTITY;
