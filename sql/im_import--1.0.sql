/* im_import--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION im_import" to load this file. \quit

------------------------------------------------------------------------------
-- Functions that call no service; they work without shared_preload_libraries

CREATE FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) RETURNS void
AS 'MODULE_PATHNAME', 'im_import_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_validator(pg_catalog.text[], pg_catalog.oid) IS
'Validator of the foreign-data wrapper im_import: checks the options of its SERVER and USER MAPPING, and wakes the worker when they change';

CREATE FUNCTION @extschema@.im_group_json(record) RETURNS pg_catalog.json
AS 'MODULE_PATHNAME', 'im_group_json' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_json(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_json(record) IS
'The exact import_group request that would be sent for a record, whose columns are matched by name without regard to case and underscores; NULL is left out. Calls nothing. A record with problems gives the best that can be made of it, see im_group_problems(). ERROR if there is no column type or name. Source: document 1047/34967';

CREATE FUNCTION @extschema@.im_group_problems(record, warnings boolean DEFAULT false) RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'im_group_problems' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_problems(record, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_problems(record, boolean) IS
'Everything that would keep a record from being sent, each with field, value and limit (in bytes of UTF-8, by the server''s option text_limits); {} if nothing does. With warnings also what is unusual but would be sent, beginning with "warning: ". ERROR if there is no column type or name. Source: documents 1047/34967 and 1047/33529';

CREATE FUNCTION @extschema@.im_fit(pg_catalog.text, bytes integer) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_fit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) IS
'The longest prefix of a text that takes at most so many bytes in UTF-8, whatever the database encoding, cut between characters. ERROR if bytes is negative';

CREATE FUNCTION @extschema@.im_usersig(identifier pg_catalog.text DEFAULT NULL, lifetime interval DEFAULT NULL) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_usersig_configured' LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig(pg_catalog.text, interval) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig(pg_catalog.text, interval) IS
'A UserSig made with the configured key: by default of the configured admin, valid for a day from now (at most 50 years; a year counts 365 days, a month 30). It is as good as a password. ERROR if there is no server, mapping or readable key. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_usersig(sdkappid bigint, secret_key pg_catalog.text, identifier pg_catalog.text, lifetime interval, issued_at timestamptz) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_usersig_pure' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig(bigint, pg_catalog.text, pg_catalog.text, interval, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig(bigint, pg_catalog.text, pg_catalog.text, interval, timestamptz) IS
'A UserSig from nothing but its arguments, in the scheme TLSSigAPIv2; reads no options. The lifetime is 1 second to 50 years (a year counts 365 days, a month 30). A key spelled in a statement may be logged by PostgreSQL. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_usersig_claims(usersig pg_catalog.text) RETURNS pg_catalog.jsonb
AS 'MODULE_PATHNAME', 'im_usersig_claims' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_usersig_claims(pg_catalog.text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_usersig_claims(pg_catalog.text) IS
'What a UserSig says (TLS.time in UNIX seconds, TLS.expire in seconds after it), whoever signed it: the signature is shown, not checked. ERROR if it cannot be decoded. Source: document 1047/34385';

CREATE FUNCTION @extschema@.im_error_codes(OUT code integer, OUT class pg_catalog.text, OUT meaning pg_catalog.text, OUT advice pg_catalog.text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'im_error_codes' LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 150;
REVOKE ALL ON FUNCTION @extschema@.im_error_codes() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_error_codes() IS
'Every error code that is known, the service''s and (negative) our own, with its class as the import judges it, its meaning and what to do. Source: document 1047/34348 and the pages of the group commands';

-- Defaults of outbox columns.  Whoever may INSERT must be able to execute them.
CREATE FUNCTION @extschema@.im_row_key() RETURNS pg_catalog.uuid
AS 'MODULE_PATHNAME', 'im_row_key' LANGUAGE C VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_row_key() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_row_key() IS
'128 random bits: the default of the outbox''s column row_key, from which the GroupId of a row without one is made';

CREATE FUNCTION @extschema@.im_generated_group_id(row_key pg_catalog.uuid, community boolean) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_generated_group_id' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) IS
'The GroupId that an outbox row without one gets: im- (Community: @TGS#_im-) and its row_key in base32. A function of the row alone, so that the row never makes a second group';

------------------------------------------------------------------------------
-- Connecting a database to its IM app

CREATE FOREIGN DATA WRAPPER im_import VALIDATOR @extschema@.im_import_validator;
COMMENT ON FOREIGN DATA WRAPPER im_import IS
'Tencent Cloud IM app that im_import sends groups to: one server per database; options in the README';

------------------------------------------------------------------------------
-- The outbox

CREATE FUNCTION @extschema@.im_origin() RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'im_sql_origin';
REVOKE ALL ON FUNCTION @extschema@.im_origin() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_origin() IS
'which database this is: system identifier and database oid, folded into 64 bits; rows of the outbox carry it, so that a copy of the database does not send them';

CREATE TABLE @extschema@.im_group_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
	-- the record, see im_import_group()
	group_id text,
	type text,
	name text,
	owner_account text,
	introduction text,
	notification text,
	face_url text,
	max_member_count bigint,
	apply_join_option text,
	app_defined_data json,
	create_time timestamptz,
	support_topic boolean,
	-- what the extension writes
	status text NOT NULL DEFAULT 'pending',
	attempts integer NOT NULL DEFAULT 0,
	error_code integer,
	error_info text,
	enqueued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	due_at timestamptz,
	sent_at timestamptz,
	settled_at timestamptz,
	-- internal
	row_key uuid NOT NULL DEFAULT @extschema@.im_row_key(),
	origin bigint NOT NULL DEFAULT @extschema@.im_origin(),
	claim bigint,
	maybe_sent_at timestamptz,
	CONSTRAINT im_group_outbox_status
		CHECK (status IN ('pending', 'sending', 'imported', 'failed', 'invalid', 'in_doubt'))
);

-- New rows in order; retries by due time; rows in flight, for recovery; rows
-- that need a person.  The worker's statements are made for exactly these.
CREATE INDEX im_group_outbox_new ON @extschema@.im_group_outbox (origin, id)
	WHERE status = 'pending' AND due_at IS NULL;
CREATE INDEX im_group_outbox_due ON @extschema@.im_group_outbox (origin, due_at)
	WHERE status = 'pending' AND due_at IS NOT NULL;
CREATE INDEX im_group_outbox_sending ON @extschema@.im_group_outbox (id)
	WHERE status = 'sending';
CREATE INDEX im_group_outbox_attention ON @extschema@.im_group_outbox (error_code, id)
	WHERE status IN ('failed', 'invalid', 'in_doubt');

REVOKE ALL ON TABLE @extschema@.im_group_outbox FROM PUBLIC;
REVOKE ALL ON SEQUENCE @extschema@.im_group_outbox_id_seq FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.im_group_outbox FROM PUBLIC;

COMMENT ON TABLE @extschema@.im_group_outbox IS
'groups to be imported into the IM app: insert rows, the worker sends them and writes status, group_id or the error back';
COMMENT ON COLUMN @extschema@.im_group_outbox.source_id IS
'your own key of the group, kept for mapping old to new';
COMMENT ON COLUMN @extschema@.im_group_outbox.group_id IS
'GroupId, at most 48 bytes of printable ASCII; NULL: generated from row_key, or assigned by the service (option group_ids)';
COMMENT ON COLUMN @extschema@.im_group_outbox.type IS
'Public, Private (Work), ChatRoom (Meeting) or Community; required';
COMMENT ON COLUMN @extschema@.im_group_outbox.name IS
'group name, required; at most 30 bytes of UTF-8 (option text_limits)';
COMMENT ON COLUMN @extschema@.im_group_outbox.owner_account IS
'UserID of the owner, at most 32 bytes; it must exist in the app';
COMMENT ON COLUMN @extschema@.im_group_outbox.status IS
'pending, sending, imported, failed (refused by the service), invalid (not sent), in_doubt (may exist, see im_import_resolve)';
COMMENT ON COLUMN @extschema@.im_group_outbox.attempts IS
'requests made for this row whose result counts against max_attempts';
COMMENT ON COLUMN @extschema@.im_group_outbox.error_code IS
'the service''s ErrorCode, or a negative code of im_import, see im_error_codes()';
COMMENT ON COLUMN @extschema@.im_group_outbox.due_at IS
'not to be sent again before this time';
COMMENT ON COLUMN @extschema@.im_group_outbox.row_key IS
'internal: 128 random bits that a generated GroupId is made of';
COMMENT ON COLUMN @extschema@.im_group_outbox.origin IS
'internal: the database in which the row was inserted; rows of another origin wait for im_import_adopt()';
COMMENT ON COLUMN @extschema@.im_group_outbox.claim IS
'internal: token of the worker''s claim, while status is sending';
COMMENT ON COLUMN @extschema@.im_group_outbox.maybe_sent_at IS
'internal: last time at which a request of unknown outcome was made; NULL: this row has surely created no group';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.im_group_outbox', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.im_group_outbox_id_seq', '');

-- Rows by origin and status, as differences that the writers of the outbox
-- add in their own transactions; the sum over all is exact in every snapshot,
-- and no row is hot.  The worker folds them together.  dirty: rows came by a
-- way that no trigger sees, so count again.  Not dumped: the triggers count
-- what a restore brings.
CREATE TABLE @extschema@.im_import_tally (
	id uuid PRIMARY KEY DEFAULT @extschema@.im_row_key(),	-- must not collide where all tables are replicated
	origin bigint NOT NULL,
	pending bigint NOT NULL DEFAULT 0,
	sending bigint NOT NULL DEFAULT 0,
	imported bigint NOT NULL DEFAULT 0,
	failed bigint NOT NULL DEFAULT 0,
	invalid bigint NOT NULL DEFAULT 0,
	in_doubt bigint NOT NULL DEFAULT 0,
	dirty boolean NOT NULL DEFAULT false
);
REVOKE ALL ON TABLE @extschema@.im_import_tally FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.im_import_tally FROM PUBLIC;
COMMENT ON TABLE @extschema@.im_import_tally IS
'internal: numbers of outbox rows by status, as sums of differences';

CREATE FUNCTION @extschema@.im_outbox_tally() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_tally';
REVOKE ALL ON FUNCTION @extschema@.im_outbox_tally() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_outbox_tally() IS
'trigger: counts rows by status, and wakes the worker when the transaction commits';

CREATE FUNCTION @extschema@.im_tally_foreign() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_tally_foreign';
REVOKE ALL ON FUNCTION @extschema@.im_tally_foreign() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_tally_foreign() IS
'trigger: keeps another server''s differences out of the tally when all tables are replicated';

CREATE TRIGGER im_tally_foreign
	BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.im_import_tally
	FOR EACH ROW EXECUTE FUNCTION @extschema@.im_tally_foreign();
ALTER TABLE @extschema@.im_import_tally ENABLE REPLICA TRIGGER im_tally_foreign;

CREATE FUNCTION @extschema@.im_outbox_unseen() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_unseen';
REVOKE ALL ON FUNCTION @extschema@.im_outbox_unseen() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_outbox_unseen() IS
'trigger: notes that replication changed rows, which the counting triggers do not see';

CREATE FUNCTION @extschema@.im_outbox_guard() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_guard';
REVOKE ALL ON FUNCTION @extschema@.im_outbox_guard() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_outbox_guard() IS
'trigger: lets a person repair what created no group, and nothing else';

CREATE TRIGGER im_outbox_insert
	AFTER INSERT ON @extschema@.im_group_outbox
	REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.im_outbox_tally();
CREATE TRIGGER im_outbox_update
	AFTER UPDATE ON @extschema@.im_group_outbox
	REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.im_outbox_tally();
CREATE TRIGGER im_outbox_delete
	AFTER DELETE ON @extschema@.im_group_outbox
	REFERENCING OLD TABLE AS old_rows
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.im_outbox_tally();
CREATE TRIGGER im_outbox_truncate
	AFTER TRUNCATE ON @extschema@.im_group_outbox
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.im_outbox_tally();
CREATE TRIGGER im_outbox_guard
	BEFORE UPDATE ON @extschema@.im_group_outbox
	FOR EACH ROW EXECUTE FUNCTION @extschema@.im_outbox_guard();

-- Fires only where the others do not: in a logical replication worker.
CREATE TRIGGER im_outbox_unseen
	BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.im_group_outbox
	FOR EACH ROW EXECUTE FUNCTION @extschema@.im_outbox_unseen();
CREATE TRIGGER im_outbox_unseen_truncate
	BEFORE TRUNCATE ON @extschema@.im_group_outbox
	FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.im_outbox_unseen();
ALTER TABLE @extschema@.im_group_outbox ENABLE REPLICA TRIGGER im_outbox_unseen;
ALTER TABLE @extschema@.im_group_outbox ENABLE REPLICA TRIGGER im_outbox_unseen_truncate;

-- What this database knows of itself; another origin's rows mean nothing, so
-- it is not dumped.
CREATE TABLE @extschema@.im_import_control (
	origin bigint PRIMARY KEY,
	timeline bigint NOT NULL,
	paused_at timestamptz,
	paused_by text,
	pause_reason text,
	triggers text				-- state of the outbox's triggers when last counted
);
REVOKE ALL ON TABLE @extschema@.im_import_control FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.im_import_control FROM PUBLIC;
COMMENT ON TABLE @extschema@.im_import_control IS
'internal: pause and timeline of this database';

-- The tally is right from the start, and so is the timeline.
INSERT INTO @extschema@.im_import_control (origin, timeline, triggers)
SELECT @extschema@.im_origin(),
	   ('x' OPERATOR(pg_catalog.||) pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int8,
	   pg_catalog.string_agg(pg_catalog.concat_ws(' ', tgname, tgenabled, xmin), ',' ORDER BY tgname)
FROM pg_catalog.pg_trigger
WHERE tgrelid OPERATOR(pg_catalog.=) '@extschema@.im_group_outbox'::pg_catalog.regclass;

CREATE TABLE @extschema@.im_import_days (
	origin bigint,
	day date,
	groups bigint NOT NULL,
	PRIMARY KEY (origin, day)
);
REVOKE ALL ON TABLE @extschema@.im_import_days FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.im_import_days FROM PUBLIC;
COMMENT ON TABLE @extschema@.im_import_days IS
'internal: groups created by outbox rows per day (UTC), for option groups_per_day';

------------------------------------------------------------------------------
-- One group now

CREATE FUNCTION @extschema@.im_import_group(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 1000000
AS 'MODULE_PATHNAME', 'im_sql_import_group';
REVOKE ALL ON FUNCTION @extschema@.im_import_group(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_group(record) IS
'imports one group now and returns the service''s reply; an outbox row is handed to the worker, ahead of the others; waits for the rate limit and up to request_timeout; a refusal is a reply, not an error';

------------------------------------------------------------------------------
-- Steering

CREATE FUNCTION @extschema@.im_import_pause(reason text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_pause';
REVOKE ALL ON FUNCTION @extschema@.im_import_pause(text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_pause(text) IS
'stops sending outbox rows when the transaction commits, until im_import_resume(); what is in flight settles; survives restarts';

CREATE FUNCTION @extschema@.im_import_resume() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_resume';
REVOKE ALL ON FUNCTION @extschema@.im_import_resume() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_resume() IS
'ends a pause; also tries the service again at once if it had said stop';

CREATE FUNCTION @extschema@.im_import_adopt() RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_adopt';
REVOKE ALL ON FUNCTION @extschema@.im_import_adopt() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_adopt() IS
'takes over open rows that came from another database or timeline, for the app that the server names now; returns how many';

CREATE FUNCTION @extschema@.im_import_retry(error_code integer DEFAULT NULL, status text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_retry';
REVOKE ALL ON FUNCTION @extschema@.im_import_retry(integer, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_retry(integer, text) IS
'sets failed and invalid rows (of one error code, of one status) to pending; returns how many';

CREATE FUNCTION @extschema@.im_import_resolve(id bigint, group_id text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_resolve';
REVOKE ALL ON FUNCTION @extschema@.im_import_resolve(bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_resolve(bigint, text) IS
'settles a row in doubt: with the GroupId found in the app it is imported, with NULL it is sent again';

CREATE FUNCTION @extschema@.im_import_set_rate(rate numeric) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'im_sql_set_rate';
REVOKE ALL ON FUNCTION @extschema@.im_import_set_rate(numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_set_rate(numeric) IS
'changes the server''s option rate_limit (calls per second) for those who may not ALTER SERVER';

CREATE PROCEDURE @extschema@.im_import_drain(max_rows bigint DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_drain';
REVOKE ALL ON PROCEDURE @extschema@.im_import_drain(bigint) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_drain(bigint) IS
'lets the worker send so many rows, even while paused, and waits for them with progress messages';

CREATE PROCEDURE @extschema@.im_import_wait(timeout interval DEFAULT NULL, raise_on_failure boolean DEFAULT true)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_wait';
REVOKE ALL ON PROCEDURE @extschema@.im_import_wait(interval, boolean) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_wait(interval, boolean) IS
'waits until no row is open, with progress messages; an error if nothing can move, at the timeout, and if rows failed';

------------------------------------------------------------------------------
-- Watching

CREATE FUNCTION @extschema@.im_import_status_row(
	OUT state text, OUT reason text,
	OUT pending bigint, OUT sending bigint, OUT imported bigint,
	OUT failed bigint, OUT invalid bigint, OUT in_doubt bigint,
	OUT total bigint, OUT percent_done numeric, OUT calls_per_second numeric,
	OUT rate_limit numeric, OUT eta interval, OUT finish_at timestamptz,
	OUT oldest_pending timestamptz, OUT last_error text, OUT worker_pid integer)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_status';
REVOKE ALL ON FUNCTION @extschema@.im_import_status_row() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_status_row() IS 'internal: the row of im_import_status';

CREATE VIEW @extschema@.im_import_status AS
	SELECT * FROM @extschema@.im_import_status_row();
COMMENT ON VIEW @extschema@.im_import_status IS
'one row: what the import is doing, why it waits, how far it is';

CREATE VIEW @extschema@.im_import_errors AS
	SELECT o.error_code,
		   c.class, c.meaning, c.advice,
		   pg_catalog.count(*) AS rows,
		   pg_catalog.count(*) FILTER (WHERE o.status = 'failed') AS failed,
		   pg_catalog.count(*) FILTER (WHERE o.status = 'invalid') AS invalid,
		   pg_catalog.count(*) FILTER (WHERE o.status = 'in_doubt') AS in_doubt,
		   pg_catalog.min(o.id) AS sample_id,
		   (pg_catalog.array_agg(o.error_info ORDER BY o.id))[1] AS sample_text
	FROM @extschema@.im_group_outbox o
		 LEFT JOIN @extschema@.im_error_codes() c ON c.code OPERATOR(pg_catalog.=) o.error_code
	WHERE o.status IN ('failed', 'invalid', 'in_doubt')
	GROUP BY o.error_code, c.class, c.meaning, c.advice;
COMMENT ON VIEW @extschema@.im_import_errors IS
'rows that need a person, counted by error code, with meaning and advice';

CREATE VIEW @extschema@.im_import_failures AS
	SELECT o.id, o.source_id, o.group_id, o.type, o.name, o.status, o.attempts,
		   o.error_code, o.error_info, c.meaning,
		   CASE o.status
			   WHEN 'in_doubt' THEN
				   'Look for the group in the app: SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ', ''its GroupId'') if it is there, SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ') to send the row again if it is not.'
			   WHEN 'invalid' THEN
				   'Mend the columns that error_info names with an UPDATE that also sets status = ''pending''.'
			   ELSE c.advice
		   END AS advice,
		   o.settled_at
	FROM @extschema@.im_group_outbox o
		 LEFT JOIN @extschema@.im_error_codes() c ON c.code OPERATOR(pg_catalog.=) o.error_code
	WHERE o.status IN ('failed', 'invalid', 'in_doubt');
COMMENT ON VIEW @extschema@.im_import_failures IS
'every row that needs a person, with what to do';

CREATE VIEW @extschema@.im_import_mapping AS
	SELECT o.source_id, o.group_id, o.id, o.settled_at
	FROM @extschema@.im_group_outbox o
	WHERE o.status OPERATOR(pg_catalog.=) 'imported';
COMMENT ON VIEW @extschema@.im_import_mapping IS
'your key of each imported group and its GroupId in the app';

CREATE FUNCTION @extschema@.im_import_stats(
	OUT stats_reset timestamptz, OUT calls bigint, OUT lookups bigint,
	OUT replies_done bigint, OUT replies_exists bigint, OUT replies_row bigint,
	OUT replies_slow bigint, OUT replies_quota bigint, OUT replies_resign bigint,
	OUT replies_stop bigint, OUT replies_retry bigint, OUT no_reply bigint,
	OUT retries bigint, OUT throttled_time double precision,
	OUT bytes_sent bigint, OUT bytes_received bigint, OUT connections bigint,
	OUT tls_handshakes bigint, OUT latency_mean double precision, OUT latency_p50 double precision,
	OUT latency_p95 double precision, OUT latency_p99 double precision,
	OUT worker_starts bigint)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_stats';
REVOKE ALL ON FUNCTION @extschema@.im_import_stats() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_stats() IS 'internal: the row of pg_stat_im_import';

CREATE VIEW @extschema@.pg_stat_im_import AS
	SELECT * FROM @extschema@.im_import_stats();
COMMENT ON VIEW @extschema@.pg_stat_im_import IS
'counters of this database''s calls since stats_reset; times in milliseconds';

CREATE FUNCTION @extschema@.im_import_stats_reset() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_stats_reset';
REVOKE ALL ON FUNCTION @extschema@.im_import_stats_reset() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_stats_reset() IS
'sets the counters of pg_stat_im_import to zero';

REVOKE ALL ON @extschema@.im_import_status, @extschema@.im_import_errors,
	@extschema@.im_import_failures, @extschema@.im_import_mapping,
	@extschema@.pg_stat_im_import FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.im_import_status, @extschema@.im_import_errors,
	@extschema@.im_import_failures, @extschema@.im_import_mapping,
	@extschema@.pg_stat_im_import FROM PUBLIC;
GRANT SELECT ON @extschema@.im_import_status, @extschema@.im_import_errors,
	@extschema@.im_import_failures, @extschema@.im_import_mapping,
	@extschema@.pg_stat_im_import TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.im_import_status_row(),
	@extschema@.im_import_stats(), @extschema@.im_error_codes() TO pg_monitor;
