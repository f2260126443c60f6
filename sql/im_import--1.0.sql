/* im_import--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION im_import" to load this file. \quit

-- What begins with _im_ is internal, so that \df im_* and \d im_* show what people use.

------------------------------------------------------------------------------
-- Functions that call no service; they work without shared_preload_libraries

CREATE FUNCTION @extschema@._im_validator(pg_catalog.text[], pg_catalog.oid) RETURNS void
AS 'MODULE_PATHNAME', 'im_import_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION @extschema@._im_validator(pg_catalog.text[], pg_catalog.oid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_validator(pg_catalog.text[], pg_catalog.oid) IS
'internal: validator of the foreign-data wrapper im_import: checks the options of its SERVER and USER MAPPING, and wakes the worker when they change';

CREATE FUNCTION @extschema@.im_group_json(record) RETURNS pg_catalog.json
AS 'MODULE_PATHNAME', 'im_group_json' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_json(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_json(record) IS
'The exact import_group request that would be sent for a record. Columns are matched by name, without regard to case and underscores. NULL is left out. A record with problems gives the best that can be made of it, see im_group_problems(). It calls nothing. ERROR if there is no column type or name. Source: document 1047/34967';

CREATE FUNCTION @extschema@.im_group_problems(record, warnings boolean DEFAULT false) RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'im_group_problems' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_group_problems(record, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_group_problems(record, boolean) IS
'Everything that would keep a record from being sent: each problem with field, value and limit. {} if there is none. Limits are in bytes of UTF-8, by the server''s option text_limits. With warnings there are also lines that begin with "warning: ". They tell what is unusual but would be sent, such as characters that cannot be seen. They also name columns that are not sent, each with the one that may be meant; id and source_id are not warned of. ERROR if there is no column type or name. Source: documents 1047/34967 and 1047/33529';

-- What im_group_problems() and error_info say, to be counted.
CREATE FUNCTION @extschema@.im_problem_kind(problem pg_catalog.text) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_sql_problem_kind' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_problem_kind(pg_catalog.text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_problem_kind(pg_catalog.text) IS
'A line of im_group_problems() without what differs from row to row. Equal problems can then be counted: SELECT im_problem_kind(p), count(*) FROM (SELECT ... AS type, ... AS name FROM legacy) t, unnest(im_group_problems(t, true)) p GROUP BY 1 ORDER BY 2 DESC';

CREATE FUNCTION @extschema@.im_problem_list(error_info pg_catalog.text) RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'im_sql_problem_list' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_problem_list(pg_catalog.text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_problem_list(pg_catalog.text) IS
'the problems that the error_info of an invalid row names, one by one';

CREATE FUNCTION @extschema@.im_row_json(kind pg_catalog.text, record) RETURNS pg_catalog.json
AS 'MODULE_PATHNAME', 'im_row_json' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_row_json(pg_catalog.text, record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_row_json(pg_catalog.text, record) IS
'The request that would be sent for a record of any kind, alone in its call. The kinds are those of im_import_progress. Columns are matched as in im_group_json(). A group that is named by group_source_id is filled in when the row is sent. It calls nothing. ERROR for an unknown kind, or if a column is missing that the kind requires';

CREATE FUNCTION @extschema@.im_row_problems(kind pg_catalog.text, record, warnings boolean DEFAULT false) RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'im_row_problems' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50;
REVOKE ALL ON FUNCTION @extschema@.im_row_problems(pg_catalog.text, record, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_row_problems(pg_catalog.text, record, boolean) IS
'Everything that would keep a record of any kind from being sent, as im_group_problems() for groups; {} if nothing does. ERROR for an unknown kind, or if a column is missing that the kind requires';

CREATE FUNCTION @extschema@.im_fit(pg_catalog.text, bytes integer) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_fit' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_fit(pg_catalog.text, integer) IS
'The longest beginning of a text that takes at most so many bytes in UTF-8, whatever the database encoding. It ends between characters as people see them: not before a combining mark or a skin tone, not in a joined emoji, not in a flag. Blanks at its end are left out. A first character that alone is longer is cut within. ERROR if bytes is negative';

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

CREATE FUNCTION @extschema@._im_advice(kind pg_catalog.text, code integer) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_sql_advice' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@._im_advice(pg_catalog.text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_advice(pg_catalog.text, integer) IS
'internal: what to do with a row of this kind that has this error code';

-- Defaults of outbox columns.  Whoever may INSERT must be able to execute them.
CREATE FUNCTION @extschema@._im_row_key() RETURNS pg_catalog.uuid
AS 'MODULE_PATHNAME', 'im_row_key' LANGUAGE C VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@._im_row_key() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_row_key() IS
'internal: 128 random bits, the default of the outbox''s column row_key, from which the GroupId of a row without one is made';

CREATE FUNCTION @extschema@.im_generated_group_id(row_key pg_catalog.uuid, community boolean) RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'im_generated_group_id' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_generated_group_id(pg_catalog.uuid, boolean) IS
'The GroupId that an outbox row without one gets: im- (Community: @TGS#_im-) and its row_key in base32. A function of the row alone, so that the row never makes a second group';

------------------------------------------------------------------------------
-- Connecting a database to its IM app

CREATE FOREIGN DATA WRAPPER im_import VALIDATOR @extschema@._im_validator;
COMMENT ON FOREIGN DATA WRAPPER im_import IS
'Tencent Cloud IM app that im_import sends groups to: one server per database; options in the README';

------------------------------------------------------------------------------
-- Which database this is.  System identifier and oid do not tell a database
-- from its own backup that was restored into it, so there are random bits, too:
-- made here, and not dumped.

CREATE TABLE @extschema@._im_identity (
	identity uuid NOT NULL DEFAULT @extschema@._im_row_key(),
	one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
REVOKE ALL ON TABLE @extschema@._im_identity FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_identity IS
'internal: random bits that tell this database from every other, also from one that a dump of it was restored into; one row, not dumped';
COMMENT ON COLUMN @extschema@._im_identity.identity IS
'internal: 128 random bits, made by CREATE EXTENSION; after a change of them nothing is sent until im_import_adopt()';
COMMENT ON COLUMN @extschema@._im_identity.one IS
'internal: always true, so that there is one row';
INSERT INTO @extschema@._im_identity DEFAULT VALUES;

CREATE FUNCTION @extschema@._im_origin() RETURNS bigint
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'im_sql_origin';
REVOKE ALL ON FUNCTION @extschema@._im_origin() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_origin() IS
'internal: which database this is: system identifier, database oid and the random bits of _im_identity, folded into 64 bits; rows of the outbox and the server of the wrapper carry it, so that a copy of the database sends nothing by itself';

CREATE FUNCTION @extschema@._im_server_made() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_server_made';
REVOKE ALL ON FUNCTION @extschema@._im_server_made() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_server_made() IS
'trigger: notes in a new server of the wrapper, as its option origin, in which database it was made, so that a restored copy sends nothing by itself';
CREATE EVENT TRIGGER im_import_server_made ON ddl_command_end
	WHEN TAG IN ('CREATE SERVER') EXECUTE FUNCTION @extschema@._im_server_made();
ALTER EVENT TRIGGER im_import_server_made ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER im_import_server_made IS
'notes in a new server of the wrapper im_import in which database it was made';

------------------------------------------------------------------------------
-- The outboxes: each has its own columns, then what the extension writes

-- Templates for the outboxes below; they are dropped again.  What never changes
-- comes last: then the log of a claim and of an outcome has only what does.
CREATE TABLE @extschema@.im_outbox_columns (
	status text NOT NULL DEFAULT 'pending',
	attempts integer NOT NULL DEFAULT 0,
	error_code integer,
	error_info text,
	due_at timestamptz,
	sent_at timestamptz,
	settled_at timestamptz,
	-- internal
	claim bigint,
	maybe_sent_at timestamptz
);
CREATE TABLE @extschema@.im_outbox_constants (
	origin bigint NOT NULL DEFAULT @extschema@._im_origin(),
	enqueued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	row_key uuid NOT NULL DEFAULT @extschema@._im_row_key()
);
COMMENT ON COLUMN @extschema@.im_outbox_columns.status IS
'pending, sending, imported, failed (refused by the service), invalid (not sent), in_doubt (may have been applied, see im_import_failures), undone (taken back with its group, and can be set to pending)';
COMMENT ON COLUMN @extschema@.im_outbox_columns.attempts IS
'requests made for this row whose result counts against max_attempts';
COMMENT ON COLUMN @extschema@.im_outbox_columns.error_code IS
'the service''s ErrorCode, or a negative code of im_import, see im_error_codes(); NULL: none';
COMMENT ON COLUMN @extschema@.im_outbox_columns.error_info IS
'what the service or im_import says to error_code; of an invalid row all its problems, and what the service had said of it before';
COMMENT ON COLUMN @extschema@.im_outbox_constants.enqueued_at IS
'start of the transaction that inserted the row';
COMMENT ON COLUMN @extschema@.im_outbox_columns.due_at IS
'not to be sent again before this time';
COMMENT ON COLUMN @extschema@.im_outbox_columns.sent_at IS
'when the row was last claimed to be sent';
COMMENT ON COLUMN @extschema@.im_outbox_columns.settled_at IS
'when its last outcome was written; NULL while it is open';
COMMENT ON COLUMN @extschema@.im_outbox_constants.row_key IS
'internal: 128 random bits that tell the row from every other; a generated GroupId is made of them';
COMMENT ON COLUMN @extschema@.im_outbox_constants.origin IS
'internal: the database in which the row was inserted, or set to pending by a person, see _im_origin(); open rows of another origin wait for im_import_adopt()';
COMMENT ON COLUMN @extschema@.im_outbox_columns.claim IS
'internal: token of the worker''s claim, while status is sending';
COMMENT ON COLUMN @extschema@.im_outbox_columns.maybe_sent_at IS
'internal: last time at which a request of unknown outcome was made; NULL: this row has surely been applied by no request';

-- By which a row names its group.
CREATE TABLE @extschema@.im_room_columns (
	group_source_id text,
	group_id text
);
COMMENT ON COLUMN @extschema@.im_room_columns.group_source_id IS
'the group, by the source_id of its row in im_group_outbox; one of group_source_id and group_id';
COMMENT ON COLUMN @extschema@.im_room_columns.group_id IS
'the group, by its GroupId, if the app has it already; one of group_source_id and group_id';

-- Of what belongs to a group.  Its indexes go by the phase and not by the status,
-- because a claim does not change it.
CREATE TABLE @extschema@.im_room_outbox_columns (
	LIKE @extschema@.im_outbox_columns INCLUDING DEFAULTS INCLUDING COMMENTS,
	phase "char" GENERATED ALWAYS AS (
		CASE status WHEN 'sending' THEN 'o' WHEN 'pending' THEN CASE WHEN maybe_sent_at IS NULL THEN 'o' ELSE 'u' END
			 WHEN 'imported' THEN 'i' WHEN 'in_doubt' THEN 'd' WHEN 'undone' THEN 'n' ELSE 'f' END) STORED
);
COMMENT ON COLUMN @extschema@.im_room_outbox_columns.phase IS
'internal: made of the status: o open, u pending and may have been applied, i imported, d in doubt, f failed or invalid, n undone';

CREATE TABLE @extschema@.im_account_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id text,
	nick text,
	face_url text,
	LIKE @extschema@.im_outbox_columns INCLUDING DEFAULTS INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_account_outbox IS
'users to be imported into the IM app: insert rows, the worker sends them. A user_id can stand here once';
COMMENT ON COLUMN @extschema@.im_account_outbox.user_id IS 'UserID, required; at most 32 bytes of UTF-8';
COMMENT ON COLUMN @extschema@.im_account_outbox.nick IS 'nickname, at most 500 bytes of UTF-8';
COMMENT ON COLUMN @extschema@.im_account_outbox.face_url IS 'address of the profile picture, at most 500 bytes';

CREATE TABLE @extschema@.im_friend_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	user_id text,
	friend_id text,
	remark text,
	add_source text,
	group_names text[],
	add_time timestamptz,
	LIKE @extschema@.im_outbox_columns INCLUDING DEFAULTS INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_friend_outbox IS
'friendships to be imported into the IM app, one direction a row: a mutual one is two rows';
COMMENT ON COLUMN @extschema@.im_friend_outbox.user_id IS 'UserID whose friend list it is, required; at most 32 bytes';
COMMENT ON COLUMN @extschema@.im_friend_outbox.friend_id IS 'UserID of the friend, required; at most 32 bytes';
COMMENT ON COLUMN @extschema@.im_friend_outbox.remark IS 'what user_id calls the friend, at most 96 bytes of UTF-8';
COMMENT ON COLUMN @extschema@.im_friend_outbox.add_source IS
'how they became friends; a word, with or without the prefix AddSource_Type_; NULL: Import';
COMMENT ON COLUMN @extschema@.im_friend_outbox.group_names IS 'names of friend groups, at most 32 of 30 bytes';
COMMENT ON COLUMN @extschema@.im_friend_outbox.add_time IS 'since when they are friends';

CREATE TABLE @extschema@.im_dialog_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
	from_account text,
	to_account text,
	send_time timestamptz,
	text text,
	body json,
	LIKE @extschema@.im_outbox_columns INCLUDING DEFAULTS INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_dialog_outbox IS
'one-to-one messages to be imported into the IM app, as history: nobody is told, nothing becomes unread';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.source_id IS 'your own key of the message; can stand here once';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.from_account IS 'UserID of the sender, required; at most 32 bytes';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.to_account IS 'UserID of the receiver, required; at most 32 bytes';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.send_time IS 'when it was written, required; sent in whole seconds';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.text IS 'the message as one text element; one of text and body';
COMMENT ON COLUMN @extschema@.im_dialog_outbox.body IS
'the message as the API''s MsgBody, an array of elements; at most message_bytes (12,288) of JSON';

CREATE TABLE @extschema@.im_group_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
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
	LIKE @extschema@.im_outbox_columns INCLUDING DEFAULTS INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_group_outbox IS
'groups to be imported into the IM app: insert rows, the worker sends them and writes status, group_id or the error back';
COMMENT ON COLUMN @extschema@.im_group_outbox.source_id IS
'your own key of the group: members, messages and unread counts name it as group_source_id; can stand here once';
COMMENT ON COLUMN @extschema@.im_group_outbox.group_id IS
'GroupId, at most 48 bytes of printable ASCII; NULL: generated from row_key, or assigned by the service (option group_ids)';
COMMENT ON COLUMN @extschema@.im_group_outbox.type IS
'Public, Private (Work), ChatRoom (Meeting) or Community; required';
COMMENT ON COLUMN @extschema@.im_group_outbox.name IS
'group name, required; at most 30 bytes of UTF-8 (option text_limits)';
COMMENT ON COLUMN @extschema@.im_group_outbox.owner_account IS
'UserID of the owner, at most 32 bytes; it must exist in the app';
COMMENT ON COLUMN @extschema@.im_group_outbox.introduction IS 'at most 240 bytes of UTF-8 (option text_limits)';
COMMENT ON COLUMN @extschema@.im_group_outbox.notification IS 'at most 300 bytes of UTF-8 (option text_limits)';
COMMENT ON COLUMN @extschema@.im_group_outbox.face_url IS
'address of the group''s picture, at most 100 bytes (option text_limits)';
COMMENT ON COLUMN @extschema@.im_group_outbox.max_member_count IS '1 to 6,000, of a Community to 100,000; NULL: 2,000';
COMMENT ON COLUMN @extschema@.im_group_outbox.apply_join_option IS
'FreeAccess, NeedPermission or DisableApply; not for a Community';
COMMENT ON COLUMN @extschema@.im_group_outbox.app_defined_data IS
'the API''s array of Key and Value, or a plain object; keys must be defined in the app''s console';
COMMENT ON COLUMN @extschema@.im_group_outbox.create_time IS
'when the group was made, not in the future; NULL: the time of the import. Messages before it are refused';
COMMENT ON COLUMN @extschema@.im_group_outbox.support_topic IS 'topics, of a Community only';

CREATE TABLE @extschema@.im_member_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
	LIKE @extschema@.im_room_columns INCLUDING COMMENTS,
	member_account text,
	role text,
	join_time timestamptz,
	LIKE @extschema@.im_room_outbox_columns INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_member_outbox IS
'members to be imported into groups of the IM app; each waits for its group. A member can stand here once for each group';
COMMENT ON COLUMN @extschema@.im_member_outbox.source_id IS 'your own key of the row, if you like';
COMMENT ON COLUMN @extschema@.im_member_outbox.member_account IS
'UserID of the member, required; at most 32 bytes; it must exist in the app';
COMMENT ON COLUMN @extschema@.im_member_outbox.role IS 'Admin, Member or NULL for a plain member';
COMMENT ON COLUMN @extschema@.im_member_outbox.join_time IS
'when the member joined: later than the group''s create_time, before now. One of the same second is sent a second later, and one of now is left out. NULL: the time of the import';

CREATE TABLE @extschema@.im_message_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
	LIKE @extschema@.im_room_columns INCLUDING COMMENTS,
	from_account text,
	send_time timestamptz,
	text text,
	body json,
	sent_time bigint,
	msg_seq bigint,
	LIKE @extschema@.im_room_outbox_columns INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_message_outbox IS
'group messages to be imported into the IM app; a group''s go in the order of send_time and id, after its members';
COMMENT ON COLUMN @extschema@.im_message_outbox.source_id IS 'your own key of the message; can stand here once';
COMMENT ON COLUMN @extschema@.im_message_outbox.from_account IS
'UserID of the sender, required; at most 32 bytes; it must exist in the app';
COMMENT ON COLUMN @extschema@.im_message_outbox.send_time IS
'when it was written, required: after the group''s create_time, before now';
COMMENT ON COLUMN @extschema@.im_message_outbox.text IS 'the message as one text element; one of text and body';
COMMENT ON COLUMN @extschema@.im_message_outbox.body IS
'the message as the API''s MsgBody, an array of text, face, location or custom elements; at most message_bytes (12,288) of JSON';
COMMENT ON COLUMN @extschema@.im_message_outbox.sent_time IS
'the time that was sent, UNIX seconds: send_time, moved forward by as little as makes it later than the message before (options equal_seconds, max_time_shift); written by the worker';
COMMENT ON COLUMN @extschema@.im_message_outbox.msg_seq IS
'the message''s number in its group; written by the worker; NULL: the service did not say';

CREATE TABLE @extschema@.im_unread_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	source_id text,
	LIKE @extschema@.im_room_columns INCLUDING COMMENTS,
	member_account text,
	unread_msg_num bigint,
	LIKE @extschema@.im_room_outbox_columns INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING COMMENTS,
	LIKE @extschema@.im_outbox_constants INCLUDING DEFAULTS INCLUDING COMMENTS
);
COMMENT ON TABLE @extschema@.im_unread_outbox IS
'unread counts of members; each is set after the last message of its group. A member can stand here once for each group';
COMMENT ON COLUMN @extschema@.im_unread_outbox.source_id IS 'your own key of the row, if you like';
COMMENT ON COLUMN @extschema@.im_unread_outbox.member_account IS 'UserID of the member, required; at most 32 bytes';
COMMENT ON COLUMN @extschema@.im_unread_outbox.unread_msg_num IS
'messages that the member has not read, required, at most 2147483647; the service cuts it to the number of the group''s messages. Has no effect in a ChatRoom';

DROP TABLE @extschema@.im_outbox_columns, @extschema@.im_room_outbox_columns, @extschema@.im_outbox_constants, @extschema@.im_room_columns;

-- What a load must not repeat: with ON CONFLICT DO NOTHING the same script
-- adds only what is new.  NULLs are not compared.
CREATE UNIQUE INDEX im_account_outbox_key ON @extschema@.im_account_outbox (user_id);
CREATE UNIQUE INDEX im_friend_outbox_key ON @extschema@.im_friend_outbox (user_id, friend_id);
CREATE UNIQUE INDEX im_dialog_outbox_key ON @extschema@.im_dialog_outbox (source_id);
CREATE UNIQUE INDEX im_group_outbox_key ON @extschema@.im_group_outbox (source_id);
CREATE UNIQUE INDEX im_member_outbox_key ON @extschema@.im_member_outbox (group_source_id, member_account);
CREATE UNIQUE INDEX im_member_outbox_id_key ON @extschema@.im_member_outbox (group_id, member_account);
CREATE UNIQUE INDEX im_message_outbox_key ON @extschema@.im_message_outbox (source_id);
CREATE UNIQUE INDEX im_unread_outbox_key ON @extschema@.im_unread_outbox (group_source_id, member_account);
CREATE UNIQUE INDEX im_unread_outbox_id_key ON @extschema@.im_unread_outbox (group_id, member_account);

-- The outboxes, as the catalog knows them: by name, and only the extension's own.
CREATE FUNCTION @extschema@._im_outboxes() RETURNS SETOF pg_catalog.oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT c.oid
	FROM pg_class c
		 JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		 JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
	WHERE e.extname = 'im_import' AND c.relkind = 'r' AND c.relname ~ '^im_[a-z]+_outbox$';
END;
REVOKE ALL ON FUNCTION @extschema@._im_outboxes() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outboxes() IS 'internal: the outboxes of all kinds';

-- Rows by origin and status, as differences that the writers of the outbox
-- add in their own transactions; the sum over all is exact in every snapshot,
-- and no row is hot.  The worker folds them together.  dirty: rows came by a
-- way that no trigger sees, so count again.  Not dumped: the triggers count
-- what a restore brings.
CREATE TABLE @extschema@._im_tally (
	kind text NOT NULL,
	origin bigint NOT NULL,
	pending bigint NOT NULL DEFAULT 0,
	sending bigint NOT NULL DEFAULT 0,
	imported bigint NOT NULL DEFAULT 0,
	failed bigint NOT NULL DEFAULT 0,
	invalid bigint NOT NULL DEFAULT 0,
	in_doubt bigint NOT NULL DEFAULT 0,
	undo bigint NOT NULL DEFAULT 0,
	undone bigint NOT NULL DEFAULT 0,
	dirty boolean NOT NULL DEFAULT false
);
-- No key, which each INSERT into the outbox would pay for; where all tables are
-- replicated, a DELETE must name its row somehow.
ALTER TABLE @extschema@._im_tally REPLICA IDENTITY FULL;
REVOKE ALL ON TABLE @extschema@._im_tally FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_tally IS
'internal: numbers of outbox rows by status, as sums of differences';

CREATE FUNCTION @extschema@._im_outbox_tally() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_tally';
REVOKE ALL ON FUNCTION @extschema@._im_outbox_tally() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outbox_tally() IS
'trigger: counts rows by status, and wakes the worker when the transaction commits';

CREATE FUNCTION @extschema@._im_local() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_internal_local';
REVOKE ALL ON FUNCTION @extschema@._im_local() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_local() IS
'trigger: keeps another server''s rows out of an internal table when all tables are replicated';

CREATE FUNCTION @extschema@._im_outbox_unseen() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_unseen';
REVOKE ALL ON FUNCTION @extschema@._im_outbox_unseen() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outbox_unseen() IS
'trigger: notes that replication changed rows, which the counting triggers do not see';

CREATE FUNCTION @extschema@._im_outbox_guard() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_outbox_guard';
REVOKE ALL ON FUNCTION @extschema@._im_outbox_guard() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outbox_guard() IS
'trigger: lets a person repair what created no group, and nothing else';

-- What all outboxes have in common.  The one list of them in this file, in the
-- order of the move: of each kind the order of a group's rows, if they belong to
-- one, what the views of failures call a row, o, and whether im_import_verify()
-- compares it with the app.
DO $make$
DECLARE
	o record;
	plain text;
	attention text;
	imported text;
	room CONSTANT text := $sql$(CASE WHEN group_source_id IS NOT NULL AND group_id IS NULL THEN '+' || group_source_id
		 WHEN group_id IS NOT NULL AND group_source_id IS NULL THEN '=' || group_id
		 ELSE '' END) COLLATE "C"$sql$;
BEGIN
	FOR o IN
		SELECT 'im_' OPERATOR(pg_catalog.||) v.kind OPERATOR(pg_catalog.||) '_outbox' AS name, v.*
		FROM (VALUES ('account', NULL, 'o.user_id', true),
					 ('friend', NULL, $sql$o.user_id OPERATOR(pg_catalog.||) ' > ' OPERATOR(pg_catalog.||) o.friend_id$sql$, true),
					 ('dialog', NULL, $sql$o.from_account OPERATOR(pg_catalog.||) ' > ' OPERATOR(pg_catalog.||) o.to_account$sql$, true),
					 ('group', NULL, 'o.name', true),
					 ('member', 'id', 'o.member_account', true),
					 ('message', 'send_time, id', 'o.from_account', true),
					 ('unread', 'id', 'o.member_account', false)) AS v (kind, room_order, label, compared)
	LOOP
		plain := '@extschema@.' OPERATOR(pg_catalog.||) o.name;
		-- Rows are looked for above an id, and so one must lie below them all.
		EXECUTE pg_catalog.format($sql$
			ALTER TABLE %1$s
				ADD CONSTRAINT %2$s_status
					CHECK (status IN ('pending', 'sending', 'imported', 'failed', 'invalid', 'in_doubt', %3$s'undone')),
				ADD CONSTRAINT %2$s_id CHECK (id > (-9223372036854775808)::bigint);
			COMMENT ON COLUMN %1$s.id IS 'number of the row; rows of one kind are sent in its order';
			REVOKE ALL ON TABLE %1$s FROM PUBLIC;
			REVOKE ALL ON SEQUENCE %1$s_id_seq FROM PUBLIC;
			SELECT pg_catalog.pg_extension_config_dump('%1$s', '');
			SELECT pg_catalog.pg_extension_config_dump('%1$s_id_seq', '')
			$sql$, plain, o.name, CASE o.kind WHEN 'group' THEN '''undo'', ' ELSE '' END);
		-- New rows in order, or a group's open rows in order; retries by due
		-- time; rows in flight, for recovery; rows that need a person; of a
		-- group's rows in their order those of unknown outcome, which come
		-- before all others.  The worker's statements are made for exactly these.
		IF o.room_order IS NULL THEN
			EXECUTE pg_catalog.format($sql$
				CREATE INDEX %2$s_new ON %1$s (origin, id) WHERE status = 'pending' AND due_at IS NULL;
				CREATE INDEX %2$s_due ON %1$s (origin, due_at) WHERE status = 'pending' AND due_at IS NOT NULL;
				CREATE INDEX %2$s_sending ON %1$s (id) WHERE status = 'sending';
				CREATE INDEX %2$s_attention ON %1$s (error_code, id) WHERE status IN ('failed', 'invalid', 'in_doubt')
				$sql$, plain, o.name);
		ELSE
			-- No index names a column that a first claim changes, status among
			-- them: then it changes none of them, and stays in the row's page.
			EXECUTE pg_catalog.format($sql$
				ALTER TABLE %1$s SET (fillfactor = 45);
				CREATE INDEX %2$s_open ON %1$s (origin, %4$s, %3$s)
					WHERE phase IN ('o', 'u');
				-- What goes with its group when that is taken back.
				CREATE INDEX %2$s_done ON %1$s (%4$s)
					WHERE phase IN ('i', 'd');
				CREATE INDEX %2$s_due ON %1$s (origin, due_at) WHERE phase IN ('o', 'u') AND due_at IS NOT NULL;
				CREATE INDEX %2$s_attention ON %1$s (error_code, id) WHERE phase IN ('f', 'd')
				$sql$, plain, o.name, o.room_order, '(' OPERATOR(pg_catalog.||) room OPERATOR(pg_catalog.||) ')');
		END IF;
		IF o.room_order OPERATOR(pg_catalog.<>) 'id' THEN
			EXECUTE pg_catalog.format($sql$
				CREATE INDEX %2$s_unknown ON %1$s (origin, %4$s, %3$s)
					WHERE phase IN ('u', 'd')
				$sql$, plain, o.name, o.room_order, '(' OPERATOR(pg_catalog.||) room OPERATOR(pg_catalog.||) ')');
		END IF;
		EXECUTE pg_catalog.format($sql$
			CREATE TRIGGER im_outbox_insert AFTER INSERT ON %1$s REFERENCING NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._im_outbox_tally();
			CREATE TRIGGER im_outbox_update AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
				FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._im_outbox_tally();
			CREATE TRIGGER im_outbox_delete AFTER DELETE ON %1$s REFERENCING OLD TABLE AS old_rows
				FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._im_outbox_tally();
			CREATE TRIGGER im_outbox_truncate AFTER TRUNCATE ON %1$s
				FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._im_outbox_tally();
			-- Also where session_replication_role says replica; replication
			-- itself it lets pass.
			CREATE TRIGGER im_outbox_guard BEFORE UPDATE ON %1$s
				FOR EACH ROW EXECUTE FUNCTION @extschema@._im_outbox_guard();
			ALTER TABLE %1$s ENABLE ALWAYS TRIGGER im_outbox_guard;
			-- These fire only where the others do not: in a logical replication
			-- worker.
			CREATE TRIGGER im_outbox_unseen BEFORE INSERT OR UPDATE OR DELETE ON %1$s
				FOR EACH ROW EXECUTE FUNCTION @extschema@._im_outbox_unseen();
			CREATE TRIGGER im_outbox_unseen_truncate BEFORE TRUNCATE ON %1$s
				FOR EACH STATEMENT EXECUTE FUNCTION @extschema@._im_outbox_unseen();
			ALTER TABLE %1$s ENABLE REPLICA TRIGGER im_outbox_unseen;
			ALTER TABLE %1$s ENABLE REPLICA TRIGGER im_outbox_unseen_truncate
			$sql$, plain, o.name);
		-- Rows that need a person; a column that an outbox does not have is NULL.
		attention := pg_catalog.concat_ws(' UNION ALL ', attention, pg_catalog.format($sql$
			SELECT %2$L::text AS kind, o.id, %4$s, %3$s AS name, o.status, o.attempts, o.error_code, o.error_info, o.settled_at
			FROM %1$s o WHERE %5$s$sql$,
			plain, o.kind, o.label,
			(SELECT pg_catalog.string_agg(CASE WHEN a.attname IS NULL THEN 'NULL::text AS ' ELSE 'o.' END OPERATOR(pg_catalog.||) c.name, ', ' ORDER BY c.n)
			 FROM pg_catalog.unnest(ARRAY['source_id', 'group_source_id', 'group_id', 'type']) WITH ORDINALITY AS c (name, n)
				  LEFT JOIN pg_catalog.pg_attribute a
				  ON a.attrelid OPERATOR(pg_catalog.=) plain::pg_catalog.regclass AND a.attname OPERATOR(pg_catalog.=) c.name::pg_catalog.name),
			CASE WHEN o.room_order IS NULL THEN $sql$o.status IN ('failed', 'invalid', 'in_doubt')$sql$ ELSE $sql$o.phase IN ('f', 'd')$sql$ END));
		IF o.compared THEN
			imported := pg_catalog.concat_ws(' UNION ALL ', imported, pg_catalog.format(
				'SELECT %L::text AS kind, o.id, o.row_key, o.settled_at FROM %s o WHERE o.status OPERATOR(pg_catalog.=) ''imported''', o.kind, plain));
		END IF;
	END LOOP;
	EXECUTE 'CREATE VIEW @extschema@._im_attention AS ' OPERATOR(pg_catalog.||) attention;
	EXECUTE 'CREATE VIEW @extschema@._im_imported AS ' OPERATOR(pg_catalog.||) imported;
END
$make$;

-- Groups that are to be taken back: in order, later ones by due time.
CREATE INDEX im_group_outbox_undo ON @extschema@.im_group_outbox (origin, id) WHERE status = 'undo' AND due_at IS NULL;
CREATE INDEX im_group_outbox_undo_due ON @extschema@.im_group_outbox (origin, due_at) WHERE status = 'undo' AND due_at IS NOT NULL;
-- Groups that were to be taken back and stay: only then an imported row has words.
CREATE INDEX im_group_outbox_kept ON @extschema@.im_group_outbox (id) WHERE status = 'imported' AND error_info IS NOT NULL;
-- Groups whose GroupId means nothing any more.
CREATE INDEX im_group_outbox_undone ON @extschema@.im_group_outbox (group_id) WHERE status IN ('undo', 'undone') AND group_id IS NOT NULL;
-- Groups whose GroupId means nothing yet, apart from those that are being sent: a
-- generated id, which is random, comes with the claim.  Its beginning: any text can be stored.
CREATE INDEX im_group_outbox_coming ON @extschema@.im_group_outbox (pg_catalog.left(group_id, 64))
	WHERE status = 'pending' AND group_id IS NOT NULL;

-- How far each room is: a group's members, messages and unread counts.  The
-- time of the newest message decides with what time the next one can be sent.
CREATE TABLE @extschema@._im_room_state (
	room text COLLATE "C" PRIMARY KEY,
	members bigint NOT NULL DEFAULT 0,
	messages bigint NOT NULL DEFAULT 0,
	unread bigint NOT NULL DEFAULT 0,
	newest_time bigint,
	settled_time bigint,
	newest_seq bigint,
	held text
) WITH (fillfactor = 70);
REVOKE ALL ON TABLE @extschema@._im_room_state FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_room_state IS
'internal: what was imported of each group''s members, messages and unread counts';
COMMENT ON COLUMN @extschema@._im_room_state.room IS 'internal: + and the group''s source_id, or = and its GroupId';
COMMENT ON COLUMN @extschema@._im_room_state.members IS 'internal: members imported by outbox rows';
COMMENT ON COLUMN @extschema@._im_room_state.messages IS 'internal: messages imported by outbox rows';
COMMENT ON COLUMN @extschema@._im_room_state.unread IS 'internal: unread counts set by outbox rows';
COMMENT ON COLUMN @extschema@._im_room_state.newest_time IS
'internal: the latest time with which a message was sent, UNIX seconds';
COMMENT ON COLUMN @extschema@._im_room_state.settled_time IS
'internal: the latest time of a message that is imported, UNIX seconds';
COMMENT ON COLUMN @extschema@._im_room_state.newest_seq IS 'internal: the highest number of a message';
COMMENT ON COLUMN @extschema@._im_room_state.held IS
'internal: why nothing more is sent for this group, until im_import_resume(); NULL: it goes on';
SELECT pg_catalog.pg_extension_config_dump('@extschema@._im_room_state', '');

-- People only add to it.  The worker reads it, and takes out the groups that it
-- makes: it waits for nobody.
CREATE TABLE @extschema@._im_left_over (
	room text COLLATE "C" PRIMARY KEY
);
REVOKE ALL ON TABLE @extschema@._im_left_over FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_left_over IS
'internal: groups of which rows of unread counts were deleted, whose numbers may stand in the app: counts of 0 are sent, too';
COMMENT ON COLUMN @extschema@._im_left_over.room IS 'internal: + and the group''s source_id; *: any group';
SELECT pg_catalog.pg_extension_config_dump('@extschema@._im_left_over', '');

-- What this database knows of itself; another origin's rows mean nothing, so
-- it is not dumped.
CREATE TABLE @extschema@._im_control (
	origin bigint PRIMARY KEY,
	timeline bigint NOT NULL,
	paused_at timestamptz,
	paused_by text,
	pause_reason text,
	triggers text				-- state of the outbox's triggers when last counted
);
REVOKE ALL ON TABLE @extschema@._im_control FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_control IS
'internal: pause and timeline of this database';

-- The tally is right from the start, and so is the timeline.
INSERT INTO @extschema@._im_control (origin, timeline, triggers)
SELECT @extschema@._im_origin(),
	   ('x' OPERATOR(pg_catalog.||) pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::pg_catalog.bit(32)::pg_catalog.int8,
	   pg_catalog.string_agg(pg_catalog.concat_ws(' ', tgname, tgenabled, xmin), ',' ORDER BY tgrelid, tgname)
FROM pg_catalog.pg_trigger
WHERE tgrelid IN (SELECT @extschema@._im_outboxes());

CREATE TABLE @extschema@._im_days (
	origin bigint,
	day date,
	groups bigint NOT NULL,
	PRIMARY KEY (origin, day)
);
REVOKE ALL ON TABLE @extschema@._im_days FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_days IS
'internal: groups created by outbox rows per day (UTC), for option groups_per_day';

------------------------------------------------------------------------------
-- One group now

CREATE FUNCTION @extschema@.im_import_group(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_group';
REVOKE ALL ON FUNCTION @extschema@.im_import_group(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_group(record) IS
'Imports one group now. Columns are those of im_group_outbox. Returns ActionStatus, ErrorInfo, ErrorCode and GroupId for this record. It waits for the rate limit, then up to request_timeout. A refusal is a reply, not an error. ROLLBACK does not undo it. A row of im_group_outbox is handed to the worker, which sends it ahead of the others';

CREATE FUNCTION @extschema@.im_import_account(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_account';
REVOKE ALL ON FUNCTION @extschema@.im_import_account(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_account(record) IS
'Imports one account now, by account_import. Columns: user_id, nick, face_url. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. A row of im_account_outbox is handed to the worker, which sends it ahead of the others';

CREATE FUNCTION @extschema@.im_import_friend(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_friend';
REVOKE ALL ON FUNCTION @extschema@.im_import_friend(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_friend(record) IS
'Imports one direction of a friendship now. Columns: user_id, friend_id, remark, add_source, group_names, add_time. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. A row of im_friend_outbox is handed to the worker, which sends it ahead of the others';

CREATE FUNCTION @extschema@.im_import_dialog(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_dialog';
REVOKE ALL ON FUNCTION @extschema@.im_import_dialog(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_dialog(record) IS
'Imports one one-to-one message now, as history. Columns: from_account, to_account, send_time, text or body. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. A row of im_dialog_outbox is handed to the worker, which sends it ahead of the others. A plain record has no number of its own: sent again after a lost answer, the message may stand twice';

CREATE FUNCTION @extschema@.im_import_member(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_member';
REVOKE ALL ON FUNCTION @extschema@.im_import_member(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_member(record) IS
'Imports one member into a group of the app now. Columns: group_id, or group_source_id of a group that is imported; member_account, role, join_time. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. A row of im_member_outbox is handed to the worker, which sends it ahead of the others';

CREATE FUNCTION @extschema@.im_import_message(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_import_message';
REVOKE ALL ON FUNCTION @extschema@.im_import_message(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_message(record) IS
'Imports one message into a group of the app now. Columns: group_id, or group_source_id of a group that is imported; from_account, send_time, text or body. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. A plain record is sent once and never repeated: after a lost answer nobody can tell whether the message is there. ERROR for a pending row of im_message_outbox: it waits for its turn';

CREATE FUNCTION @extschema@.im_set_unread(record) RETURNS jsonb
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'im_sql_set_unread';
REVOKE ALL ON FUNCTION @extschema@.im_set_unread(record) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_set_unread(record) IS
'Sets the unread count of one member now. Columns: group_id, or group_source_id of a group that is imported; member_account, unread_msg_num. Returns ActionStatus, ErrorInfo and ErrorCode for this record. A refusal is a reply, not an error. ROLLBACK does not undo it. ERROR for a pending row of im_unread_outbox: it waits for its turn';

------------------------------------------------------------------------------
-- Steering

CREATE FUNCTION @extschema@.im_import_pause(reason text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_pause';
REVOKE ALL ON FUNCTION @extschema@.im_import_pause(text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_pause(text) IS
'Stops the sending of outbox rows when the transaction commits, until im_import_resume(). What is in flight is settled. A pause survives restarts';

CREATE FUNCTION @extschema@.im_import_resume() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_resume';
REVOKE ALL ON FUNCTION @extschema@.im_import_resume() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_resume() IS
'Ends a pause. If the service had said stop, it is also tried again at once. Groups that are held go on';

CREATE FUNCTION @extschema@.im_import_adopt() RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_adopt';
REVOKE ALL ON FUNCTION @extschema@.im_import_adopt() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_adopt() IS
'Takes over open rows that came from another database or timeline, and returns how many. They go to the app that the server names now. This database may send then, although its server was made in another. First make sure that the other one sends nothing more';

CREATE FUNCTION @extschema@.im_import_retry(error_code integer DEFAULT NULL, status text DEFAULT NULL, kind text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_retry';
REVOKE ALL ON FUNCTION @extschema@.im_import_retry(integer, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_retry(integer, text, text) IS
'Sets failed and invalid rows to pending, and returns how many; a NOTICE tells how many of which kind. With error_code only rows with that code, with status only rows with that status, with kind only rows of that kind. Status ''undone'' means rows that were taken back. Status ''in_doubt'' means rows in doubt that can be sent again without harm: of all kinds but groups and messages. Status ''missing'' means imported rows that the app does not have, as im_import_verify() says; of messages only the newest of a group, because the service takes none that is older than what is there';

CREATE FUNCTION @extschema@.im_import_resolve(id bigint, group_id text DEFAULT NULL, kind text DEFAULT 'group', msg_seq bigint DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_resolve';
REVOKE ALL ON FUNCTION @extschema@.im_import_resolve(bigint, text, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_resolve(bigint, text, text, bigint) IS
'Settles a row in doubt. A group that is in the app: give its GroupId. A message that is in its group: give kind => ''message'' and its MsgSeq. Such a row is imported then. With neither the row is sent again; for other kinds that does no harm. ERROR if there is no such row in doubt';

CREATE FUNCTION @extschema@.im_import_set_rate(rate numeric) RETURNS void
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'im_sql_set_rate';
REVOKE ALL ON FUNCTION @extschema@.im_import_set_rate(numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_set_rate(numeric) IS
'Changes the server''s option rate_limit (calls per second). For those who may not ALTER SERVER';

CREATE PROCEDURE @extschema@.im_import_drain(max_rows bigint DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_drain';
REVOKE ALL ON PROCEDURE @extschema@.im_import_drain(bigint) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_drain(bigint) IS
'CALL im_import_drain(100) lets the worker send so many groups with all that belongs to them, even in a pause, and waits for them. Accounts go before, friendships and one-to-one messages along. Groups that turn out to be invalid count, too. Groups whose status is undo count until they are at an end, and go first. Messages tell the progress, and at the end a NOTICE says how the rows ended';

CREATE PROCEDURE @extschema@.im_import_wait(timeout interval DEFAULT NULL, raise_on_failure boolean DEFAULT true)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_wait';
REVOKE ALL ON PROCEDURE @extschema@.im_import_wait(interval, boolean) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_wait(interval, boolean) IS
'CALL im_import_wait() waits until no row is open. Messages tell the progress. ERROR if nothing can move, at the timeout, and, unless raise_on_failure is false, if rows failed';

------------------------------------------------------------------------------
-- Watching

CREATE FUNCTION @extschema@._im_status(
	OUT state text, OUT reason text,
	OUT pending bigint, OUT sending bigint, OUT imported bigint,
	OUT failed bigint, OUT invalid bigint, OUT in_doubt bigint,
	OUT undo bigint, OUT undone bigint,
	OUT total bigint, OUT percent_done numeric, OUT calls_per_second numeric,
	OUT rate_limit numeric, OUT eta interval, OUT finish_at timestamptz,
	OUT oldest_pending timestamptz, OUT last_error text,
	OUT last_error_at timestamptz, OUT worker_pid integer)
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_status';
REVOKE ALL ON FUNCTION @extschema@._im_status() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_status() IS 'internal: the row of im_import_status';

CREATE VIEW @extschema@.im_import_status AS
	SELECT * FROM @extschema@._im_status();
COMMENT ON VIEW @extschema@.im_import_status IS
'one row: what the import is doing, why it waits, how far it is';

CREATE FUNCTION @extschema@._im_progress(
	OUT kind text, OUT total bigint, OUT pending bigint, OUT waiting bigint,
	OUT sending bigint, OUT imported bigint, OUT failed bigint, OUT invalid bigint,
	OUT in_doubt bigint, OUT undone bigint, OUT percent_done numeric,
	OUT rows_per_second numeric, OUT calls_per_second numeric,
	OUT rate_limit numeric, OUT rows_per_call integer, OUT eta interval)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 7 AS 'MODULE_PATHNAME', 'im_sql_progress';
REVOKE ALL ON FUNCTION @extschema@._im_progress() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_progress() IS 'internal: the rows of im_import_progress';

CREATE VIEW @extschema@.im_import_progress AS
	SELECT * FROM @extschema@._im_progress();
COMMENT ON VIEW @extschema@.im_import_progress IS
'how far the move is: one row a kind of rows, in the order of the move; exact, and as quick with millions of rows as with few';
COMMENT ON COLUMN @extschema@.im_import_progress.kind IS
'account, friend, dialog, group, member, message or unread';
COMMENT ON COLUMN @extschema@.im_import_progress.total IS
'rows of this kind, of every status';
COMMENT ON COLUMN @extschema@.im_import_progress.pending IS
'rows that are still to be sent, those that wait included, and groups that are to be taken back';
COMMENT ON COLUMN @extschema@.im_import_progress.waiting IS
'pending rows whose group is not imported (yet), as the worker''s last look over all groups found them; NULL: it has not looked since the server''s start, as while the import is paused; 0 for kinds that belong to no group';
COMMENT ON COLUMN @extschema@.im_import_progress.sending IS
'rows that are being sent';
COMMENT ON COLUMN @extschema@.im_import_progress.imported IS
'rows that are in the app';
COMMENT ON COLUMN @extschema@.im_import_progress.failed IS
'rows that the service refused';
COMMENT ON COLUMN @extschema@.im_import_progress.invalid IS
'rows that were not sent, because something is wrong with the record';
COMMENT ON COLUMN @extschema@.im_import_progress.in_doubt IS
'rows that may have been applied, see im_import_failures';
COMMENT ON COLUMN @extschema@.im_import_progress.undone IS
'rows that were taken back, see status undo';
COMMENT ON COLUMN @extschema@.im_import_progress.percent_done IS
'rows that are neither pending nor sending, in per cent of all, rounded down; NULL: there are none';
COMMENT ON COLUMN @extschema@.im_import_progress.rows_per_second IS
'rows that got an outcome, a second: the mean of about the last half minute in which the import ran; 0 while it does not run';
COMMENT ON COLUMN @extschema@.im_import_progress.calls_per_second IS
'calls of the kind''s command in the last ten seconds, divided by ten';
COMMENT ON COLUMN @extschema@.im_import_progress.rate_limit IS
'calls of that command a second, as the server''s options say; NULL: not configured';
COMMENT ON COLUMN @extschema@.im_import_progress.rows_per_call IS
'rows in one call, as the server''s options say, or fewer where the service took no more; NULL: not configured';
COMMENT ON COLUMN @extschema@.im_import_progress.eta IS
'time until the open rows of this kind have their outcome, by rows_per_second; NULL while that is not known. The messages of one room go one call after the other: while one is much larger than the others it may take longer, see im_import_plan(). Rows that wait for a group count as long as groups are open';

-- Not one query over all rooms: whoever asks for one room reads only its rows.
CREATE VIEW @extschema@.im_import_rooms AS
	SELECT g.source_id, g.group_id, g.name, g.status,
		   CASE WHEN g.status IN ('failed', 'invalid', 'in_doubt') THEN 'the group needs a person, see im_import_failures'
				WHEN g.status OPERATOR(pg_catalog.=) 'pending' THEN 'the group waits to be sent'
				WHEN g.status OPERATOR(pg_catalog.=) 'sending' THEN 'the group is being sent'
				WHEN g.status OPERATOR(pg_catalog.=) 'undo' THEN 'the group is being disbanded, its rows wait'
				WHEN g.status OPERATOR(pg_catalog.=) 'undone' THEN 'the group is undone, its rows wait: set it to pending to import it again'
				WHEN s.held IS NOT NULL THEN 'held: ' OPERATOR(pg_catalog.||) s.held
				WHEN m.n OPERATOR(pg_catalog.>) 0 THEN 'members'
				WHEN t.n OPERATOR(pg_catalog.>) 0 THEN 'messages'
				WHEN u.n OPERATOR(pg_catalog.>) 0 THEN 'unread counts'
				ELSE 'done' END AS stage,
		   COALESCE(s.members, 0::bigint) AS members_imported, m.n AS members_open,
		   COALESCE(s.messages, 0::bigint) AS messages_imported, t.n AS messages_open,
		   v.n AS unread_imported, u.n AS unread_open,
		   pg_catalog.to_timestamp(s.newest_time::double precision) AS newest_message, g.id
	FROM @extschema@.im_group_outbox g
		 LEFT JOIN @extschema@._im_room_state s ON s.room OPERATOR(pg_catalog.=) ('+' OPERATOR(pg_catalog.||) g.source_id) COLLATE "C"
		 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n
							 FROM @extschema@.im_member_outbox i
							 WHERE i.phase IN ('o', 'u')
								   AND i.origin OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT DISTINCT y.origin FROM @extschema@._im_tally y))
								   AND (CASE WHEN i.group_source_id IS NOT NULL AND i.group_id IS NULL THEN '+' OPERATOR(pg_catalog.||) i.group_source_id
								WHEN i.group_id IS NOT NULL AND i.group_source_id IS NULL THEN '=' OPERATOR(pg_catalog.||) i.group_id
								ELSE '' END) COLLATE "C" OPERATOR(pg_catalog.=) ('+' OPERATOR(pg_catalog.||) g.source_id)) m
		 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n
							 FROM @extschema@.im_message_outbox i
							 WHERE i.phase IN ('o', 'u')
								   AND i.origin OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT DISTINCT y.origin FROM @extschema@._im_tally y))
								   AND (CASE WHEN i.group_source_id IS NOT NULL AND i.group_id IS NULL THEN '+' OPERATOR(pg_catalog.||) i.group_source_id
								WHEN i.group_id IS NOT NULL AND i.group_source_id IS NULL THEN '=' OPERATOR(pg_catalog.||) i.group_id
								ELSE '' END) COLLATE "C" OPERATOR(pg_catalog.=) ('+' OPERATOR(pg_catalog.||) g.source_id)) t
		 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n
							 FROM @extschema@.im_unread_outbox i
							 WHERE i.phase IN ('o', 'u')
								   AND i.origin OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT DISTINCT y.origin FROM @extschema@._im_tally y))
								   AND (CASE WHEN i.group_source_id IS NOT NULL AND i.group_id IS NULL THEN '+' OPERATOR(pg_catalog.||) i.group_source_id
								WHEN i.group_id IS NOT NULL AND i.group_source_id IS NULL THEN '=' OPERATOR(pg_catalog.||) i.group_id
								ELSE '' END) COLLATE "C" OPERATOR(pg_catalog.=) ('+' OPERATOR(pg_catalog.||) g.source_id)) u
		 -- counted, since such rows are deleted and inserted anew for another number
		 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n
							 FROM @extschema@.im_unread_outbox i
							 WHERE i.phase IN ('i', 'd') AND i.status OPERATOR(pg_catalog.=) 'imported'
								   AND (CASE WHEN i.group_source_id IS NOT NULL AND i.group_id IS NULL THEN '+' OPERATOR(pg_catalog.||) i.group_source_id
								WHEN i.group_id IS NOT NULL AND i.group_source_id IS NULL THEN '=' OPERATOR(pg_catalog.||) i.group_id
								ELSE '' END) COLLATE "C" OPERATOR(pg_catalog.=) ('+' OPERATOR(pg_catalog.||) g.source_id)) v;
COMMENT ON VIEW @extschema@.im_import_rooms IS
'How far each group is with its members, messages and unread counts. Rows count that name the group by its source_id. It is quick with WHERE source_id = ..., and with ORDER BY id LIMIT .... A look at all groups takes the longer the more there are';
COMMENT ON COLUMN @extschema@.im_import_rooms.source_id IS
'your own key of the group';
COMMENT ON COLUMN @extschema@.im_import_rooms.group_id IS
'GroupId in the app; NULL: none yet';
COMMENT ON COLUMN @extschema@.im_import_rooms.name IS
'name of the group';
COMMENT ON COLUMN @extschema@.im_import_rooms.status IS
'status of the row of the group';
COMMENT ON COLUMN @extschema@.im_import_rooms.stage IS
'what is done next: the group itself, members, messages, unread counts; done: no row of it is open, though some may need a person, see im_import_failures; undone: the group was taken back; held: and why, until im_import_resume()';
COMMENT ON COLUMN @extschema@.im_import_rooms.members_imported IS
'members that are imported';
COMMENT ON COLUMN @extschema@.im_import_rooms.members_open IS
'member rows that are pending or sending';
COMMENT ON COLUMN @extschema@.im_import_rooms.messages_imported IS
'messages that are imported';
COMMENT ON COLUMN @extschema@.im_import_rooms.messages_open IS
'message rows that are pending or sending';
COMMENT ON COLUMN @extschema@.im_import_rooms.unread_imported IS
'rows of unread counts that are imported; those that were deleted do not count, though their numbers stay in the app';
COMMENT ON COLUMN @extschema@.im_import_rooms.unread_open IS
'rows of unread counts that are pending or sending';
COMMENT ON COLUMN @extschema@.im_import_rooms.newest_message IS
'time of the newest message that was imported; NULL: none';
COMMENT ON COLUMN @extschema@.im_import_rooms.id IS
'id of the row of the group';

-- Rows of all kinds that need a person: made with the outboxes, above.
REVOKE ALL ON @extschema@._im_attention FROM PUBLIC;
COMMENT ON VIEW @extschema@._im_attention IS
'internal: rows of all kinds that need a person';
COMMENT ON COLUMN @extschema@._im_attention.kind IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.id IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.source_id IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.group_source_id IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.group_id IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.type IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.name IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.status IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.attempts IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.error_code IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.error_info IS
'internal: as in im_import_failures';
COMMENT ON COLUMN @extschema@._im_attention.settled_at IS
'internal: as in im_import_failures';

CREATE VIEW @extschema@.im_import_errors AS
	SELECT k.kind, k.error_code, c.class, c.meaning, k.problem,
		   pg_catalog.concat_ws(' ',
			   CASE WHEN k.failed OPERATOR(pg_catalog.>) 0 THEN @extschema@._im_advice(k.kind, k.error_code) END,
			   CASE WHEN k.invalid OPERATOR(pg_catalog.>) 0 THEN
				   'Of the invalid ones nothing was sent: correct the columns that error_info names with an UPDATE that also sets status = ''pending''. Where it says that the group must be taken back, do that first.' END,
			   CASE WHEN k.in_doubt OPERATOR(pg_catalog.>) 0 THEN
				   CASE k.kind
					   WHEN 'group' THEN 'Look for the groups of those in doubt in the app, and settle each row with im_import_resolve(): im_import_failures has the statements.'
					   WHEN 'message' THEN 'Look for the messages of those in doubt in their groups: im_import_failures says what to do with each.'
					   ELSE 'Those in doubt can be sent again without harm: SELECT im_import_retry(status => ''in_doubt'').' END END) AS advice,
		   k.rows, k.failed, k.invalid, k.in_doubt, k.sample_id, s.error_info AS sample_text
	FROM (SELECT r.kind, r.error_code, r.problem,
				 pg_catalog.count(*) AS rows,
				 pg_catalog.count(*) FILTER (WHERE r.status OPERATOR(pg_catalog.=) 'failed') AS failed,
				 pg_catalog.count(*) FILTER (WHERE r.status OPERATOR(pg_catalog.=) 'invalid') AS invalid,
				 pg_catalog.count(*) FILTER (WHERE r.status OPERATOR(pg_catalog.=) 'in_doubt') AS in_doubt,
				 pg_catalog.min(r.id) AS sample_id
		  FROM (SELECT o.kind, o.id, o.status, o.error_code,
					   CASE o.status WHEN 'invalid' THEN
						   @extschema@.im_problem_kind((@extschema@.im_problem_list(o.error_info))[1]) END AS problem
				FROM @extschema@._im_attention o) r
		  GROUP BY r.kind, r.error_code, r.problem) k
		 JOIN @extschema@._im_attention s ON s.kind OPERATOR(pg_catalog.=) k.kind AND s.id OPERATOR(pg_catalog.=) k.sample_id
		 LEFT JOIN @extschema@.im_error_codes() c ON c.code OPERATOR(pg_catalog.=) k.error_code;
COMMENT ON VIEW @extschema@.im_import_errors IS
'Rows of all kinds that need a person, counted, with meaning and advice. One line for each kind and error code; of rows that were not sent, one for each kind of problem. Each row counts in one line, an invalid one by its first problem. im_import_problems counts all problems';
COMMENT ON COLUMN @extschema@.im_import_errors.problem IS
'kind of the first problem of invalid rows; NULL for rows that were sent';

CREATE VIEW @extschema@.im_import_problems AS
	SELECT k.kind, k.problem, k.rows, k.sample_id, s.source_id AS sample_source_id,
		   (SELECT p FROM pg_catalog.unnest(@extschema@.im_problem_list(s.error_info)) p
			WHERE @extschema@.im_problem_kind(p) OPERATOR(pg_catalog.=) k.problem LIMIT 1) AS sample_text
	FROM (SELECT o.kind, @extschema@.im_problem_kind(p) AS problem, pg_catalog.count(DISTINCT o.id) AS rows, pg_catalog.min(o.id) AS sample_id
		  FROM @extschema@._im_attention o, pg_catalog.unnest(@extschema@.im_problem_list(o.error_info)) p
		  WHERE o.status OPERATOR(pg_catalog.=) 'invalid'
		  GROUP BY 1, 2) k
		 JOIN @extschema@._im_attention s ON s.kind OPERATOR(pg_catalog.=) k.kind AND s.id OPERATOR(pg_catalog.=) k.sample_id;
COMMENT ON VIEW @extschema@.im_import_problems IS
'what is wrong with invalid rows of all kinds, counted by kind of row and of problem; a row that has several problems counts in several lines';
COMMENT ON COLUMN @extschema@.im_import_problems.problem IS
'the problem without what differs from row to row, see im_problem_kind()';
COMMENT ON COLUMN @extschema@.im_import_problems.rows IS
'how many rows have it';
COMMENT ON COLUMN @extschema@.im_import_problems.sample_id IS
'id of the first of them';
COMMENT ON COLUMN @extschema@.im_import_problems.sample_source_id IS
'source_id of the first of them';
COMMENT ON COLUMN @extschema@.im_import_problems.sample_text IS
'the problem as the first of them has it, with its value';

CREATE VIEW @extschema@.im_import_failures AS
	SELECT o.kind, o.id, o.source_id, o.group_source_id, o.group_id, o.type, o.name, o.status, o.attempts,
		   o.error_code, o.error_info, c.meaning,
		   CASE CASE WHEN o.status OPERATOR(pg_catalog.=) 'in_doubt' THEN 'in_doubt ' OPERATOR(pg_catalog.||) o.kind ELSE o.status END
			   WHEN 'in_doubt message' THEN
				   'Look in the group for a message of this sender and of the row''s sent_time: SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ', kind => ''message'', msg_seq => its MsgSeq) if it is there, SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ', kind => ''message'') to send it again if it is not; after newer messages of the group it can only go with a later time.'
			   WHEN 'in_doubt group' THEN
				   'Look for the group in the app: SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ', ''its GroupId'') if it is there, SELECT im_import_resolve(' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   ') to send the row again if it is not.'
			   WHEN 'invalid' THEN
				   'Correct the columns that error_info names with an UPDATE that also sets status = ''pending''. Where it says that the group must be taken back, do that first.'
			   WHEN 'failed' THEN @extschema@._im_advice(o.kind, o.error_code) OPERATOR(pg_catalog.||) CASE WHEN o.error_code OPERATOR(pg_catalog.=) -11 THEN
				   ' For this row: group_id = ' OPERATOR(pg_catalog.||) pg_catalog.quote_nullable(o.group_id) OPERATOR(pg_catalog.||) '.' ELSE '' END
			   ELSE 'To send it again does no harm: UPDATE im_' OPERATOR(pg_catalog.||) o.kind OPERATOR(pg_catalog.||)
				   '_outbox SET status = ''pending'' WHERE id = ' OPERATOR(pg_catalog.||) o.id OPERATOR(pg_catalog.||)
				   '; all such rows: SELECT im_import_retry(status => ''in_doubt'', kind => ''' OPERATOR(pg_catalog.||) o.kind OPERATOR(pg_catalog.||) ''').'
		   END AS advice,
		   o.settled_at
	FROM @extschema@._im_attention o
		 LEFT JOIN @extschema@.im_error_codes() c ON c.code OPERATOR(pg_catalog.=) o.error_code;
COMMENT ON VIEW @extschema@.im_import_failures IS
'every row of every kind that needs a person, with what to do';

CREATE VIEW @extschema@.im_import_mapping AS
	SELECT o.source_id, o.group_id, o.id, o.settled_at, o.status
	FROM @extschema@.im_group_outbox o
	WHERE o.status IN ('imported', 'undo')
		  OR (o.status IN ('pending', 'sending') AND o.group_id IS NOT NULL);
COMMENT ON VIEW @extschema@.im_import_mapping IS
'your key of each imported group and its GroupId in the app, and of groups that are still to be imported under an id of their own: WHERE status = ''imported'' leaves these out';

COMMENT ON COLUMN @extschema@.im_import_errors.kind IS
'kind of the rows, as in im_import_progress';
COMMENT ON COLUMN @extschema@.im_import_problems.kind IS
'kind of the rows, as in im_import_progress';
COMMENT ON COLUMN @extschema@.im_import_failures.kind IS
'kind of the row, as in im_import_progress';
COMMENT ON COLUMN @extschema@.im_import_failures.group_source_id IS
'the row''s group, by your own key; NULL: it names none';
COMMENT ON COLUMN @extschema@.im_import_mapping.status IS
'imported: the group is in the app; undo: it is, and is to be disbanded; pending or sending: it is still to be imported';

-- Each part reads an index that has only its own rows.
CREATE VIEW @extschema@.im_import_undo AS
	SELECT o.id, o.source_id, o.group_id, o.name,
		   CASE WHEN o.error_code OPERATOR(pg_catalog.=) -13 THEN 'disbanded' ELSE 'open' END AS state,
		   o.error_code, o.error_info, NULL::timestamptz AS settled_at
	FROM @extschema@.im_group_outbox o
	WHERE o.status OPERATOR(pg_catalog.=) 'undo' AND o.due_at IS NULL
	UNION ALL
	SELECT o.id, o.source_id, o.group_id, o.name,
		   CASE WHEN o.error_code OPERATOR(pg_catalog.=) -13 THEN 'disbanded' ELSE 'open' END,
		   o.error_code, o.error_info, NULL
	FROM @extschema@.im_group_outbox o
	WHERE o.status OPERATOR(pg_catalog.=) 'undo' AND o.due_at IS NOT NULL
	UNION ALL
	SELECT o.id, o.source_id, o.group_id, o.name, 'refused', o.error_code, o.error_info, o.settled_at
	FROM @extschema@.im_group_outbox o
	WHERE o.status OPERATOR(pg_catalog.=) 'imported' AND o.error_info IS NOT NULL;
COMMENT ON VIEW @extschema@.im_import_undo IS
'groups that are being taken back (status undo), and those that were to be and stay, each with the reason; empty if no undo is under way and none was refused';
COMMENT ON COLUMN @extschema@.im_import_undo.id IS 'id of the row of the group';
COMMENT ON COLUMN @extschema@.im_import_undo.source_id IS 'your own key of the group';
COMMENT ON COLUMN @extschema@.im_import_undo.group_id IS 'GroupId in the app';
COMMENT ON COLUMN @extschema@.im_import_undo.name IS 'name of the group';
COMMENT ON COLUMN @extschema@.im_import_undo.state IS
'open: the group is still to be disbanded; disbanded: it is, and the rows that belonged to it are being marked as undone; refused: it stays, and its row is imported as before, see error_info';
COMMENT ON COLUMN @extschema@.im_import_undo.error_code IS 'as in the outbox; -13: disbanded';
COMMENT ON COLUMN @extschema@.im_import_undo.error_info IS 'why the group stays, or what the undo waits for; NULL: nothing is known yet';
COMMENT ON COLUMN @extschema@.im_import_undo.settled_at IS 'when it was refused; NULL: it is not settled';

CREATE FUNCTION @extschema@._im_stats(
	OUT command pg_catalog.text, OUT stats_reset timestamptz, OUT calls bigint, OUT lookups bigint,
	OUT replies_done bigint, OUT replies_exists bigint, OUT replies_row bigint,
	OUT replies_slow bigint, OUT replies_quota bigint, OUT replies_resign bigint,
	OUT replies_stop bigint, OUT replies_retry bigint, OUT no_reply bigint,
	OUT retries bigint, OUT throttled_time double precision,
	OUT bytes_sent bigint, OUT bytes_received bigint, OUT connections bigint,
	OUT tls_handshakes bigint, OUT latency_mean double precision, OUT latency_p50 double precision,
	OUT latency_p95 double precision, OUT latency_p99 double precision,
	OUT worker_starts bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 16 AS 'MODULE_PATHNAME', 'im_sql_stats';
REVOKE ALL ON FUNCTION @extschema@._im_stats() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_stats() IS 'internal: the rows of pg_stat_im_import';

CREATE VIEW @extschema@.pg_stat_im_import AS
	SELECT * FROM @extschema@._im_stats();
COMMENT ON VIEW @extschema@.pg_stat_im_import IS
'counters of this database''s calls since stats_reset, one row a command of the service; times in milliseconds. Sum the rows for all commands; stats_reset and worker_starts are the database''s, and the same in each row';

CREATE FUNCTION @extschema@.im_import_stats_reset() RETURNS void
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_stats_reset';
REVOKE ALL ON FUNCTION @extschema@.im_import_stats_reset() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_stats_reset() IS
'sets the counters of pg_stat_im_import to zero';

REVOKE ALL ON @extschema@.im_import_status, @extschema@.im_import_progress, @extschema@.im_import_rooms, @extschema@.im_import_errors,
	@extschema@.im_import_problems, @extschema@.im_import_failures, @extschema@.im_import_mapping, @extschema@.im_import_undo,
	@extschema@.pg_stat_im_import FROM PUBLIC;
GRANT SELECT ON @extschema@.im_import_status, @extschema@.im_import_progress, @extschema@.im_import_rooms, @extschema@.im_import_errors,
	@extschema@.im_import_problems, @extschema@.im_import_failures, @extschema@.im_import_mapping, @extschema@.im_import_undo,
	@extschema@.pg_stat_im_import TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@._im_status(), @extschema@._im_progress(),
	@extschema@._im_stats(), @extschema@._im_advice(pg_catalog.text, integer), @extschema@.im_error_codes(),
	@extschema@.im_problem_kind(pg_catalog.text), @extschema@.im_problem_list(pg_catalog.text) TO pg_monitor;

------------------------------------------------------------------------------
-- Before: will it fit, and will it work?

CREATE FUNCTION @extschema@._im_same_app() RETURNS pg_catalog.text[]
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'im_sql_same_app';
REVOKE ALL ON FUNCTION @extschema@._im_same_app() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_same_app() IS
'internal: other databases of this cluster that have used the same sdkappid at the same address since the server''s start';

-- Text, in which @im@ stands for the extension's schema: that may be renamed,
-- and a function in SQL that follows would forbid to alter the outbox.
CREATE FUNCTION @extschema@._im_plan_query() RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE
AS $query$ SELECT $$
	WITH app AS MATERIALIZED (
		SELECT count(*) = 1 AS configured,
			   coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'rate_limit'), '200')::numeric AS rate,
			   coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'group_rate_limit'),
						max(o.option_value) FILTER (WHERE o.option_name = 'rate_limit'), '200')::numeric AS group_rate,
			   (max(o.option_value) FILTER (WHERE o.option_name = 'groups_per_day'))::numeric AS budget
		FROM pg_foreign_data_wrapper w
			 JOIN pg_foreign_server s ON s.srvfdw = w.oid
			 LEFT JOIN LATERAL pg_options_to_table(s.srvoptions) o
				  ON o.option_name IN ('rate_limit', 'group_rate_limit', 'groups_per_day')
		WHERE w.fdwname = 'im_import'
	), there AS MATERIALIZED (
		-- what is imported; the content only if there is something to compare with it
		SELECT b.source_id, b.group_id,
			   CASE WHEN EXISTS (SELECT FROM @im@.im_group_outbox o WHERE o.status IN ('pending', 'sending'))
					THEN hashtextextended(ROW(lower(b.type), b.name, b.owner_account, b.introduction, b.notification, b.face_url,
						b.max_member_count, lower(b.apply_join_option), b.create_time)::text, 0) END AS content
		FROM @im@.im_group_outbox b
		WHERE b.status = 'imported'
	), waiting AS MATERIALIZED (
		SELECT b.id, b.source_id, b.group_id, lower(b.type) AS type, b.owner_account, b.create_time IS NULL AS timeless,
			   b.app_defined_data IS NOT NULL AS custom,
			   CASE WHEN b.group_id IS NULL THEN hashtextextended(ROW(lower(b.type), b.name, b.owner_account, b.introduction, b.notification, b.face_url,
						b.max_member_count, lower(b.apply_join_option), b.create_time)::text, 0) END AS content,
			   @im@.im_group_problems(b, true) AS problems
		FROM @im@.im_group_outbox b
		WHERE b.status IN ('pending', 'sending') AND b.origin = @im@._im_origin()
	), flagged AS MATERIALIZED (
		SELECT w.*, EXISTS (SELECT FROM unnest(w.problems) p WHERE p NOT LIKE 'warning: %') AS refused,
			   i.group_id IS NOT NULL AS known,
			   i.group_id IS NULL AND (s.source_id IS NOT NULL OR c.content IS NOT NULL) AS again
		FROM waiting w
			 LEFT JOIN (SELECT DISTINCT t.group_id FROM there t) i ON i.group_id = w.group_id
			 LEFT JOIN (SELECT DISTINCT t.source_id FROM there t) s ON s.source_id = w.source_id
			 -- two rows that have keys are told apart by them
			 LEFT JOIN (SELECT t.content, bool_or(t.source_id IS NULL) AS keyless FROM there t GROUP BY t.content) c
				  ON c.content = w.content AND (w.source_id IS NULL OR c.keyless)
	), n AS MATERIALIZED (
		SELECT count(*) AS rows,
			   count(*) FILTER (WHERE refused) AS refused,
			   count(*) FILTER (WHERE NOT refused) + count(*) FILTER (WHERE NOT refused AND known) AS calls,
			   count(*) FILTER (WHERE NOT refused AND known) AS known,
			   count(*) FILTER (WHERE NOT refused AND again) AS again,
			   min(id) FILTER (WHERE NOT refused AND again) AS first_again,
			   count(DISTINCT group_id) FILTER (WHERE NOT refused AND NOT known AND NOT again) +
			   count(*) FILTER (WHERE NOT refused AND NOT again AND group_id IS NULL) AS news,
			   count(*) FILTER (WHERE NOT refused AND type IN ('private', 'work')) AS private,
			   count(*) FILTER (WHERE NOT refused AND type = 'community') AS community,
			   count(*) FILTER (WHERE NOT refused AND owner_account IS NULL) AS ownerless,
			   count(DISTINCT owner_account) FILTER (WHERE NOT refused) AS owners,
			   count(*) FILTER (WHERE NOT refused AND custom) AS custom,
			   count(*) FILTER (WHERE NOT refused AND timeless) AS timeless
		FROM flagged
	), elsewhere AS MATERIALIZED (
		SELECT (SELECT count(DISTINCT t.group_id) FROM there t) AS imported,
			   (SELECT count(*) FROM @im@.im_group_outbox b
				WHERE b.status IN ('pending', 'sending') AND b.origin <> @im@._im_origin()) AS foreign_open
	), pace AS MATERIALIZED (
		SELECT ceil(n.calls / app.group_rate) * interval '1 second' AS sending,
			   CASE WHEN app.budget IS NOT NULL AND n.news + n.again > app.budget
					THEN (ceil((n.news + n.again) / app.budget) - 1) * interval '1 day' ELSE interval '0' END AS waiting
		FROM n, app
	), twice AS MATERIALIZED (
		SELECT b.group_id, count(*) AS rows
		FROM @im@.im_group_outbox b
		WHERE b.group_id IS NOT NULL AND b.status NOT IN ('invalid', 'undone')
		GROUP BY b.group_id
		HAVING count(*) FILTER (WHERE b.status IN ('pending', 'sending')) > 1
	), alike AS MATERIALIZED (
		SELECT min(b.group_id COLLATE "C") AS one, max(b.group_id COLLATE "C") AS other
		FROM @im@.im_group_outbox b
		WHERE b.group_id IS NOT NULL AND b.status NOT IN ('invalid', 'undone')
		GROUP BY lower(b.group_id)
		HAVING count(DISTINCT b.group_id) > 1 AND bool_or(b.status IN ('pending', 'sending'))
	), options AS MATERIALIZED (
		SELECT o.option_name AS name, o.option_value AS value
		FROM pg_foreign_data_wrapper w
			 JOIN pg_foreign_server s ON s.srvfdw = w.oid, pg_options_to_table(s.srvoptions) o
		WHERE w.fdwname = 'im_import'
	), accounts AS MATERIALIZED (
		SELECT a.user_id FROM @im@.im_account_outbox a
	), members AS MATERIALIZED (
		SELECT m.group_source_id, coalesce('+' || m.group_source_id, '=' || m.group_id) AS room, m.member_account AS account, m.join_time IS NULL AS timeless, m.join_time AS joined, lower(m.role) = 'admin' AS admin
		FROM @im@.im_member_outbox m
		WHERE m.phase IN ('o', 'u') AND m.origin = @im@._im_origin()
	), messages AS MATERIALIZED (
		SELECT m.group_source_id, coalesce('+' || m.group_source_id, '=' || m.group_id) AS room, m.from_account AS account, m.send_time, m.id
		FROM @im@.im_message_outbox m
		WHERE m.phase IN ('o', 'u') AND m.origin = @im@._im_origin()
	), unread AS MATERIALIZED (
		SELECT u.group_source_id, u.member_account AS account
		FROM @im@.im_unread_outbox u
		WHERE u.phase IN ('o', 'u') AND u.origin = @im@._im_origin()
	), kinds (place, kind, item, most, batch) AS MATERIALIZED (
		VALUES (31, 'account', 'accounts', 100::numeric, 100), (32, 'friend', 'friendships', NULL, 1000), (33, 'dialog', 'one-to-one messages', NULL, 1),
			   (34, 'member', 'members', NULL, 20), (35, 'message', 'messages', NULL, 7), (36, 'unread', 'unread counts', NULL, 1)
	), configured AS MATERIALIZED (
		SELECT k.place, k.kind, k.item,
			   coalesce((SELECT o.value::numeric FROM options o WHERE o.name = k.kind || '_rate_limit'), least(app.rate, k.most)) AS rate,
			   coalesce((SELECT o.value::numeric FROM options o WHERE o.name = k.kind || 's_per_call'), k.batch) AS batch
		FROM kinds k, app
	), bunches AS MATERIALIZED (
		-- rows of one call have the same key
		SELECT 'account' AS kind, count(*) AS rows, NULL::text AS room FROM @im@.im_account_outbox a
		WHERE a.status IN ('pending', 'sending') AND a.origin = @im@._im_origin()
		UNION ALL
		SELECT 'friend', count(*), NULL FROM @im@.im_friend_outbox f
		WHERE f.status IN ('pending', 'sending') AND f.origin = @im@._im_origin() GROUP BY f.user_id
		UNION ALL
		SELECT 'dialog', count(*), NULL FROM @im@.im_dialog_outbox d
		WHERE d.status IN ('pending', 'sending') AND d.origin = @im@._im_origin()
		UNION ALL
		SELECT 'member', count(*), m.room FROM members m GROUP BY m.room
		UNION ALL
		SELECT 'message', count(*), m.room FROM messages m GROUP BY m.room
		UNION ALL
		SELECT 'unread', count(*), NULL FROM unread u
	), work AS MATERIALIZED (
		SELECT c.place, c.kind, c.item, c.rate, sum(b.rows) AS rows, sum(ceil(b.rows / c.batch)) AS calls,
			   ceil(sum(ceil(b.rows / c.batch)) / c.rate) * interval '1 second' AS lasts
		FROM configured c JOIN bunches b ON b.kind = c.kind
		GROUP BY c.place, c.kind, c.item, c.rate HAVING sum(b.rows) > 0
	), latency AS MATERIALIZED (
		SELECT coalesce(max(s.latency_mean) FILTER (WHERE s.calls > 0 AND s.latency_mean > 0)::numeric, 100) AS ms,
			   count(*) FILTER (WHERE s.calls > 0 AND s.latency_mean > 0) > 0 AS observed
		FROM @im@.pg_stat_im_import s WHERE s.command = 'import_group_msg'
	), longest AS MATERIALIZED (
		-- messages of one group go one call after the other
		SELECT b.room, b.rows, c.batch, ceil(b.rows / c.batch) AS calls, l.ms, l.observed,
			   ceil(ceil(b.rows / c.batch) * l.ms / 1000) * interval '1 second' AS lasts
		FROM bunches b JOIN configured c ON c.kind = b.kind, latency l
		WHERE b.kind = 'message' AND b.rows > c.batch ORDER BY b.rows DESC, b.room COLLATE "C" LIMIT 1
	), shift AS MATERIALIZED (
		SELECT extract(epoch FROM coalesce((SELECT o.value::interval FROM options o WHERE o.name = 'max_time_shift'), interval '1 hour'))::bigint AS most
	), timed AS MATERIALIZED (
		-- the group's own time comes before that of all messages
		SELECT m.room, m.id, m.group_source_id, m.send_time, floor(extract(epoch FROM m.send_time))::bigint AS second, g.created,
			   coalesce(g.created + 1 - floor(extract(epoch FROM m.send_time))::bigint > s.most, false) AS before
		FROM messages m
			 LEFT JOIN (SELECT b.source_id, floor(extract(epoch FROM coalesce(b.create_time, CASE b.status WHEN 'imported' THEN coalesce(b.settled_at, b.sent_at) ELSE now() END)))::bigint AS created
						FROM @im@.im_group_outbox b WHERE b.create_time IS NULL OR isfinite(b.create_time)) g ON g.source_id = m.group_source_id, shift s
		WHERE isfinite(m.send_time)
	), dependents AS MATERIALIZED (
		SELECT 41 AS place, 'members' AS item, m.group_source_id FROM members m WHERE m.group_source_id IS NOT NULL
		UNION ALL
		SELECT 42, 'messages', m.group_source_id FROM messages m WHERE m.group_source_id IS NOT NULL
		UNION ALL
		SELECT 43, 'unread counts', u.group_source_id FROM unread u WHERE u.group_source_id IS NOT NULL
	), whole AS MATERIALIZED (
		SELECT coalesce((SELECT w.lasts FROM work w WHERE w.kind = 'account'), interval '0')
			   + greatest(p.sending + p.waiting, (SELECT max(w.lasts) FROM work w WHERE w.kind <> 'account'), (SELECT l.lasts FROM longest l)) AS lasts
		FROM pace p
	), refused_accounts AS MATERIALIZED (
		-- a user whose row is not sent: all that names him is refused
		SELECT a.user_id FROM @im@.im_account_outbox a
		WHERE a.status IN ('failed', 'invalid')
			  OR (a.status = 'pending' AND a.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('account', a)) > 0)
	), lines (place, item, value, warning) AS (
		SELECT w.place, w.item, to_char(w.rows, 'FM999,999,999,999,990'),
			   format('%s %s at %s a second: %s', to_char(w.calls, 'FM999,999,999,999,990'), CASE w.calls WHEN 1 THEN 'call' ELSE 'calls' END, w.rate, w.lasts)
		FROM work w
		UNION ALL
		SELECT 37, 'calls of the largest room', to_char(l.calls, 'FM999,999,999,999,990'),
			   format('one after the other, %s messages a call: at least %s for ''%s'', at %s ms a call, which is %s', l.batch, l.lasts, left(substr(l.room, 2), 64), round(l.ms, 1),
					  CASE WHEN l.observed THEN 'the mean so far' ELSE 'assumed' END)
		FROM longest l
		UNION ALL
		SELECT 40, 'time of the whole move', t.lasts::text,
			   'at best: accounts first, then as long as the slowest command or the largest room; the other commands go on beside it'
		FROM whole t WHERE EXISTS (SELECT FROM work)
		UNION ALL
		SELECT d.place, d.item || ' of rooms that are not in the outbox', to_char(count(*), 'FM999,999,999,999,990'),
			   format('they wait until a row of im_group_outbox has the source_id; the first is ''%s''', min(d.group_source_id COLLATE "C"))
		FROM dependents d
		WHERE NOT EXISTS (SELECT FROM @im@.im_group_outbox b WHERE b.source_id = d.group_source_id)
		GROUP BY d.place, d.item
		UNION ALL
		SELECT d.place, d.item || ' of rooms that are undone', to_char(count(*), 'FM999,999,999,999,990'),
			   format('they wait until their group is set to pending and imported again; the first is ''%s''', min(d.group_source_id COLLATE "C"))
		FROM dependents d
		WHERE EXISTS (SELECT FROM @im@.im_group_outbox b WHERE b.source_id = d.group_source_id AND b.status IN ('undo', 'undone'))
		GROUP BY d.place, d.item
		UNION ALL
		SELECT 44, 'messages older than 7, 30, 90 days', concat_ws(' / ',
				to_char(count(*), 'FM999,999,999,999,990'),
				to_char(count(*) FILTER (WHERE m.send_time < now() - interval '30 days'), 'FM999,999,999,999,990'),
				to_char(count(*) FILTER (WHERE m.send_time < now() - interval '90 days'), 'FM999,999,999,999,990')),
			   'the app keeps messages as long as its plan says, 7 days or, if you booked that, 30, 90 or more: what is older is imported, and people may not see it'
		FROM messages m WHERE m.send_time < now() - interval '7 days' HAVING count(*) > 0
		UNION ALL
		SELECT 44, 'one-to-one messages older than 7, 30, 90 days', concat_ws(' / ',
				to_char(count(*), 'FM999,999,999,999,990'),
				to_char(count(*) FILTER (WHERE d.send_time < now() - interval '30 days'), 'FM999,999,999,999,990'),
				to_char(count(*) FILTER (WHERE d.send_time < now() - interval '90 days'), 'FM999,999,999,999,990')),
			   'what is older than the app''s plan keeps is imported, and people may not see it; after a lost answer such a row may become in_doubt, and can be sent again'
		FROM @im@.im_dialog_outbox d
		WHERE d.status IN ('pending', 'sending') AND d.origin = @im@._im_origin() AND d.send_time < now() - interval '7 days' HAVING count(*) > 0
		UNION ALL
		SELECT 45, 'groups without create_time that have messages', to_char(count(*), 'FM999,999,999,999,990'),
			   format('they are made now, and messages from before are refused: give create_time; the first is ''%s''', min(b.source_id COLLATE "C"))
		FROM @im@.im_group_outbox b
		WHERE b.status IN ('pending', 'sending') AND b.create_time IS NULL
			  AND b.source_id IN (SELECT m.group_source_id FROM messages m)
		HAVING count(*) > 0
		UNION ALL
		SELECT 45, 'messages from before their group', to_char(count(*), 'FM999,999,999,999,990'),
			   format('the service takes only what is later than the group''s create_time, and these would move by more than max_time_shift: they become invalid. Give the group an earlier create_time; the first is ''%s''', left(min(m.group_source_id COLLATE "C"), 64))
		FROM timed m WHERE m.before
		HAVING count(*) > 0
		UNION ALL
		SELECT 46, 'members without join_time', to_char(count(*), 'FM999,999,999,999,990'),
			   'of Public and Private groups: they join now, and do not see what was said before'
		FROM members m JOIN @im@.im_group_outbox b ON b.source_id = m.group_source_id
		WHERE m.timeless AND lower(b.type) IN ('public', 'private', 'work')
		HAVING count(*) > 0
		UNION ALL
		SELECT 46, 'members who joined before their group', to_char(count(*), 'FM999,999,999,999,990'),
			   format('the service refuses a join_time before the group''s creation: give the group an earlier create_time, or leave join_time out; the first is ''%s'' of ''%s''', left(min(m.account COLLATE "C"), 64), left(min(b.source_id COLLATE "C"), 64))
		FROM members m JOIN @im@.im_group_outbox b ON b.source_id = m.group_source_id
		WHERE m.joined < date_trunc('second', coalesce(b.create_time, CASE b.status WHEN 'imported' THEN coalesce(b.settled_at, b.sent_at) ELSE now() END))
		HAVING count(*) > 0
		UNION ALL
		SELECT 47, 'users without account row', to_char(count(*), 'FM999,999,999,999,990'),
			   format('they are named as members, senders, friends or owners and are not in im_account_outbox: such rows are refused unless the app has them; the first is ''%s''', min(p.account COLLATE "C"))
		FROM (SELECT m.account FROM members m UNION SELECT m.account FROM messages m UNION SELECT b.owner_account FROM @im@.im_group_outbox b WHERE b.status = 'pending'
			  UNION SELECT u.account FROM @im@.im_friend_outbox f, LATERAL (VALUES (f.user_id), (f.friend_id)) u (account) WHERE f.status = 'pending'
			  UNION SELECT u.account FROM @im@.im_dialog_outbox d, LATERAL (VALUES (d.from_account), (d.to_account)) u (account) WHERE d.status = 'pending') p
		WHERE p.account IS NOT NULL AND EXISTS (SELECT FROM accounts)
			  AND NOT EXISTS (SELECT FROM accounts a WHERE a.user_id = p.account)
		HAVING count(*) > 0
		UNION ALL
		SELECT 48, 'unread counts in ChatRooms', to_char(count(*), 'FM999,999,999,999,990'), 'the service counts nothing as unread there: they have no effect'
		FROM unread u JOIN @im@.im_group_outbox b ON b.source_id = u.group_source_id
		WHERE lower(b.type) IN ('chatroom', 'meeting')
		HAVING count(*) > 0
		UNION ALL
		SELECT 49, 'accounts that cannot go', to_char(count(*), 'FM999,999,999,999,990'),
			   format('repair these rows first: all that names the users is refused, and a message that goes after later ones of its group can only be put in its place by taking the group back; the first is ''%s''', left(min(r.user_id COLLATE "C"), 64))
		FROM refused_accounts r HAVING count(*) > 0
		UNION ALL
		SELECT 50, 'UserIDs that differ only by case', to_char(count(*), 'FM999,999,999,999,990'),
			   format('whether the service tells them apart is not documented: ''%s'' and ''%s''', left(min(a.one), 64), left(min(a.other), 64))
		FROM (SELECT min(c.user_id COLLATE "C") AS one, max(c.user_id COLLATE "C") AS other
			  FROM accounts c GROUP BY lower(c.user_id) HAVING count(DISTINCT c.user_id) > 1) a HAVING count(*) > 0
		UNION ALL
		SELECT 51, 'Admins in Private groups', to_char(count(*), 'FM999,999,999,999,990'),
			   'a Private group has none, and the service refuses such members: import them with role NULL'
		FROM members m JOIN @im@.im_group_outbox b ON b.source_id = m.group_source_id
		WHERE m.admin AND lower(b.type) IN ('private', 'work')
		HAVING count(*) > 0
		UNION ALL
		SELECT 52, c.item, to_char(c.rows, 'FM999,999,999,999,990'),
			   format('they become invalid: a column is empty, too long or not allowed, an element does not go that way, or text and body are both given or none; im_row_problems(''%s'', ...) says why of each; the first is row %s', c.kind, c.first)
		FROM (SELECT 'friendships that cannot go' AS item, 'friend' AS kind, count(*) AS rows, min(f.id) AS first FROM @im@.im_friend_outbox f
			  WHERE f.status = 'pending' AND f.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('friend', f)) > 0
			  UNION ALL
			  SELECT 'one-to-one messages that cannot go', 'dialog', count(*), min(d.id) FROM @im@.im_dialog_outbox d
			  WHERE d.status = 'pending' AND d.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('dialog', d)) > 0
			  UNION ALL
			  SELECT 'members that cannot go', 'member', count(*), min(m.id) FROM @im@.im_member_outbox m
			  WHERE m.phase IN ('o', 'u') AND m.status = 'pending' AND m.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('member', m)) > 0
			  UNION ALL
			  SELECT 'messages that cannot go', 'message', count(*), min(m.id) FROM @im@.im_message_outbox m
			  WHERE m.phase IN ('o', 'u') AND m.status = 'pending' AND m.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('message', m)) > 0
			  UNION ALL
			  SELECT 'unread counts that cannot go', 'unread', count(*), min(u.id) FROM @im@.im_unread_outbox u
			  WHERE u.phase IN ('o', 'u') AND u.status = 'pending' AND u.origin = @im@._im_origin() AND cardinality(@im@.im_row_problems('unread', u)) > 0) c
		WHERE c.rows > 0
		UNION ALL
		SELECT 53, 'largest shift of a message''s time', (max(s.shift) * interval '1 second')::text,
			   'messages of one second follow each other by a second' ||
			   CASE WHEN count(*) FILTER (WHERE s.late) > 0
					THEN format('; %s would move by more than max_time_shift and become invalid', to_char(count(*) FILTER (WHERE s.late), 'FM999,999,999,999,990')) ELSE '' END
		FROM (SELECT l.shift, l.shift > h.most AS late
			  FROM (SELECT greatest(max(p.second - p.place) OVER (PARTITION BY p.room ORDER BY p.place), p.created) + p.place - p.second AS shift
					-- each goes in its own second, or in the one after the message before it
					FROM (SELECT m.room, m.second, m.created, row_number() OVER (PARTITION BY m.room ORDER BY m.send_time, m.id) AS place
						  FROM timed m WHERE NOT m.before) p) l, shift h) s
		WHERE NOT EXISTS (SELECT FROM options o WHERE o.name = 'equal_seconds' AND o.value = 'keep')
		HAVING max(s.shift) > 0
		UNION ALL
		SELECT 54, 'members of the largest group', to_char(max(g.members), 'FM999,999,999,999,990'),
			   'the app''s plan limits the members of a group: 20 in a trial, then 200, 2,000 or 6,000; of a Community 100,000'
		FROM (SELECT count(*) AS members FROM members m GROUP BY m.room) g HAVING max(g.members) > 20
		UNION ALL
		SELECT 1, 'pending groups', to_char(n.rows, 'FM999,999,999,999,990'),
			   CASE WHEN e.foreign_open > 0 THEN format('%s more came from another database and wait for im_import_adopt()', e.foreign_open) END
		FROM n, elsewhere e
		UNION ALL
		SELECT 2, 'refused groups', to_char(n.refused, 'FM999,999,999,999,990'),
			   'nothing is sent for them, they become invalid; the lines below that begin with "problem" say why'
		FROM n WHERE n.refused > 0
		UNION ALL
		SELECT 3, 'calls for groups', to_char(n.calls, 'FM999,999,999,999,990'),
			   CASE WHEN NOT app.configured THEN 'no server of this extension is configured' END
		FROM n, app
		UNION ALL
		SELECT 4, 'rate', app.group_rate || ' calls a second',
			   CASE WHEN app.group_rate > 200 THEN 'the documented limit is 200' END
		FROM app
		UNION ALL
		SELECT 5, 'time for groups', (p.sending + p.waiting)::text,
			   CASE WHEN p.waiting > interval '0' THEN 'option groups_per_day spreads the groups over days' END
		FROM pace p
		UNION ALL
		SELECT 6, 'finished at', to_char(now() + coalesce(t.lasts, p.sending + p.waiting), 'YYYY-MM-DD HH24:MI:SS TZ'), 'all kinds of rows, at best: if it started now, and neither the service nor this server slowed it down'
		FROM pace p, whole t
		UNION ALL
		SELECT 7, 'new groups', to_char(n.news, 'FM999,999,999,999,990'),
			   CASE WHEN n.news + n.again > 10000
					THEN format('plans allow 10,000 net new groups a day, the largest 50,000: %s or %s days unless that is lifted for you, after which the service answers 10006; a trial allows 100 in all',
								ceil((n.news + n.again) / 10000.0), ceil((n.news + n.again) / 50000.0))
					WHEN n.news + n.again > 100 THEN 'a trial plan allows 100 groups in all' END
		FROM n
		UNION ALL
		SELECT 8, 'imported already', to_char(n.known, 'FM999,999,999,999,990'),
			   'their group_id is that of an imported row: no new group is made; they count as imported, too, if type, name, owner and time are the same, else they fail with -11. Each takes a second call, to compare'
		FROM n WHERE n.known > 0
		UNION ALL
		SELECT 9, 'repeated rows', to_char(n.again, 'FM999,999,999,999,990'),
			   format('the same source_id, or without one the same content, is imported already, but not under their group_id: each makes a second group, and none of them is counted as new. If you do not want that, delete them before they are sent; the first is row %s', n.first_again)
		FROM n WHERE n.again > 0
		UNION ALL
		SELECT 10, 'groups in the app then', 'at least ' || to_char(n.news + n.again + e.imported, 'FM999,999,999,999,990'),
			   CASE WHEN n.news + n.again + e.imported > 100000 THEN 'more than 100,000 groups at a month''s peak are billed' END
		FROM n, elsewhere e
		UNION ALL
		SELECT 11, 'owners', to_char(n.owners, 'FM999,999,999,999,990'),
			   'each must be a user of the app or a row of im_account_outbox, else its groups are refused with 10019'
		FROM n WHERE n.owners > 0
		UNION ALL
		SELECT 12, 'groups without owner', to_char(n.ownerless, 'FM999,999,999,999,990'), 'owner_account is NULL'
		FROM n WHERE n.ownerless > 0
		UNION ALL
		SELECT 13, 'Private groups', to_char(n.private, 'FM999,999,999,999,990'),
			   'nobody but the owner sees them until a message has been sent in them'
		FROM n WHERE n.private > 0
		UNION ALL
		SELECT 14, 'Community groups', to_char(n.community, 'FM999,999,999,999,990'),
			   'the plan must include Communities, and they must be enabled in the console, else 11000 or 10059'
		FROM n WHERE n.community > 0
		UNION ALL
		SELECT 15, 'groups with app_defined_data', to_char(n.custom, 'FM999,999,999,999,990'),
			   'each key must be defined in the console before, else 10004'
		FROM n WHERE n.custom > 0
		UNION ALL
		SELECT 16, 'groups without create_time', to_char(n.timeless, 'FM999,999,999,999,990'),
			   'the time of the import becomes their time of creation'
		FROM n WHERE n.timeless > 0
		UNION ALL
		SELECT 17, 'GroupIds of several rows', to_char(count(*), 'FM999,999,999,999,990'),
			   format('the first row gets the group; the others fail, or count as imported if type, name, owner and time are the same: %s', min(t.group_id))
		FROM twice t HAVING count(*) > 0
		UNION ALL
		SELECT 18, 'GroupIds that differ only by case', to_char(count(*), 'FM999,999,999,999,990'),
			   format('whether the service tells them apart is not documented: %s and %s', min(a.one), min(a.other))
		FROM alike a HAVING count(*) > 0
		UNION ALL
		SELECT 19, 'databases with the same sdkappid', array_to_string(d.names, ', '),
			   'each has a rate limit of its own, and the app has one for all'
		FROM (SELECT @im@._im_same_app() AS names) d WHERE cardinality(d.names) > 0
		UNION ALL
		SELECT CASE WHEN k.kind LIKE 'warning: %' THEN 21 ELSE 20 END,
			   CASE WHEN k.kind LIKE 'warning: %' THEN 'unusual' ELSE 'problem' END,
			   to_char(k.rows, 'FM999,999,999,999,990'),
			   format('%s; first in row %s%s', regexp_replace(k.kind, '^warning: ', ''), k.first, ' (source_id ' || b.source_id || ')')
		FROM (SELECT @im@.im_problem_kind(p) AS kind, count(*) AS rows, min(f.id) AS first
			  FROM flagged f, unnest(f.problems) p GROUP BY 1) k
			 LEFT JOIN @im@.im_group_outbox b ON b.id = k.first
	)
	SELECT l.item, l.value, l.warning FROM lines l ORDER BY l.place, l.value DESC, l.warning
$$::pg_catalog.text $query$;
REVOKE ALL ON FUNCTION @extschema@._im_plan_query() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_plan_query() IS
'internal: the query that im_import_plan() runs, in which @im@ stands for the extension''s schema';

CREATE FUNCTION @extschema@.im_import_plan(OUT item pg_catalog.text, OUT value pg_catalog.text, OUT warning pg_catalog.text)
RETURNS SETOF record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'im_sql_plan';
REVOKE ALL ON FUNCTION @extschema@.im_import_plan() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_plan() IS
'What importing the pending rows means: calls, time, how many groups are new, a line for each other kind of row, the time of the whole move, the room that takes longest, and what the service''s published limits make of it. Rows that cannot go are those of which im_row_problems() says something; messages from before their group are counted apart. It does not count what only the service knows, nor messages that come too late for a group whose messages are imported already. A row is known as imported by its group_id or source_id, and without these by its content. It reads all outboxes, and calls nothing';

CREATE FUNCTION @extschema@.im_import_doctor(OUT item pg_catalog.text, OUT ok boolean, OUT detail pg_catalog.text, OUT cure pg_catalog.text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 30 AS 'MODULE_PATHNAME', 'im_sql_doctor';
REVOKE ALL ON FUNCTION @extschema@.im_import_doctor() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.im_import_doctor() IS
'Looks at everything that an import needs: a line for each, with its cure. ok is NULL for a warning and for what cannot be known. It asks the service once or twice for a group that does not exist, which changes nothing';

------------------------------------------------------------------------------
-- During: the last day, minute by minute

CREATE FUNCTION @extschema@._im_history(
	OUT minute timestamptz, OUT kind pg_catalog.text, OUT calls bigint, OUT imported bigint, OUT failed bigint,
	OUT throttled double precision, OUT p50 double precision, OUT p99 double precision)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 4000 AS 'MODULE_PATHNAME', 'im_sql_history';
REVOKE ALL ON FUNCTION @extschema@._im_history() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_history() IS 'internal: the rows of im_import_history';

CREATE VIEW @extschema@.im_import_history AS
	SELECT * FROM @extschema@._im_history();
COMMENT ON VIEW @extschema@.im_import_history IS
'the last day by minute and kind of rows: those in which something happened; times in milliseconds; survives a restart of the server and an immediate shutdown, but not a crash';
COMMENT ON COLUMN @extschema@.im_import_history.kind IS 'account, friend, dialog, group, member, message or unread; what only asks belongs to the kind that it asks about';
COMMENT ON COLUMN @extschema@.im_import_history.calls IS 'exchanges with the service, lookups and those of sessions included';
COMMENT ON COLUMN @extschema@.im_import_history.imported IS 'outbox rows that became imported';
COMMENT ON COLUMN @extschema@.im_import_history.failed IS 'outbox rows that became failed, invalid or in_doubt';
COMMENT ON COLUMN @extschema@.im_import_history.throttled IS 'milliseconds for which calls of this kind were ready and their command''s rate limit held them; several kinds may wait at once';
COMMENT ON COLUMN @extschema@.im_import_history.p50 IS 'latency that half of the minute''s calls of this kind did not exceed, in milliseconds';
COMMENT ON COLUMN @extschema@.im_import_history.p99 IS 'latency that 99 % of the minute''s calls of this kind did not exceed, in milliseconds';
REVOKE ALL ON @extschema@.im_import_history FROM PUBLIC;
GRANT SELECT ON @extschema@.im_import_history TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@._im_history() TO pg_monitor;

------------------------------------------------------------------------------
-- After: is it all there?  Then: away with it

CREATE TABLE @extschema@.im_import_verified (
	kind text NOT NULL,
	row_key uuid PRIMARY KEY,
	id bigint NOT NULL,
	checked_at timestamptz NOT NULL,
	result text NOT NULL,
	fields text[],
	deep boolean NOT NULL DEFAULT true,
	deep_at timestamptz,
	sdkappid bigint NOT NULL DEFAULT 0,
	CONSTRAINT im_import_verified_result
		CHECK (result IN ('matched', 'differs', 'missing', 'unreadable'))
);
REVOKE ALL ON TABLE @extschema@.im_import_verified FROM PUBLIC;
COMMENT ON TABLE @extschema@.im_import_verified IS
'what im_import_verify() found for each imported row of the outbox; it can be found again, so it is not dumped';
COMMENT ON COLUMN @extschema@.im_import_verified.kind IS
'account, friend, dialog, group, member or message: the outbox to which the row belongs';
COMMENT ON COLUMN @extschema@.im_import_verified.row_key IS
'internal: row_key of the outbox row; ids can come again, after TRUNCATE ... RESTART IDENTITY';
COMMENT ON COLUMN @extschema@.im_import_verified.id IS
'id of the outbox row when it was checked';
COMMENT ON COLUMN @extschema@.im_import_verified.checked_at IS
'when the app was asked last, about the row or its group''s numbers; a row that was imported again after that counts as unchecked';
COMMENT ON COLUMN @extschema@.im_import_verified.result IS
'matched; differs (see fields); missing (the app does not have it; most rows can be sent again, see im_import_retry()); unreadable (the app did not say, and will be asked again)';
COMMENT ON COLUMN @extschema@.im_import_verified.fields IS
'the outbox''s columns in which the app differs from the row; of app_defined_data each key: app_defined_data.KEY; of a message also text or body if the app keeps only an empty place for it';
COMMENT ON COLUMN @extschema@.im_import_verified.deep IS
'false: only the number of the group''s messages and the time of its newest one were compared, see im_import_verify(); true: the row itself was asked for, or its group is missing. What was found so stays when a later check only counts, or is not told of the row';
COMMENT ON COLUMN @extschema@.im_import_verified.deep_at IS
'when the row itself was asked for; NULL: never. result and fields are of that time, even if checked_at is later';
COMMENT ON COLUMN @extschema@.im_import_verified.sdkappid IS
'the app that was asked; im_import_verify() forgets what it found in another one';

CREATE PROCEDURE @extschema@.im_import_verify(max_rows bigint DEFAULT NULL, again interval DEFAULT NULL, raise_on_difference boolean DEFAULT false, deep boolean DEFAULT false, kind text DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_verify';
REVOKE ALL ON PROCEDURE @extschema@.im_import_verify(bigint, interval, boolean, boolean, text) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_verify(bigint, interval, boolean, boolean, text) IS
'CALL im_import_verify() compares imported rows with the app, within the rate limits. It changes neither. It checks rows that were not checked yet, and rows that the app said nothing of. With again it also checks those that were checked longer ago than that. With kind it checks rows of one kind only. Rows a call: accounts 100, friends 1,000, one-to-one messages 1, groups 50, members 500. Of messages it compares the number of each group and its newest one, 50 groups a call. Where these do not agree it compares every message, 20 a call; with deep it always does. What it found of a message by comparing it stays when a later check only counts. The members and messages of a group that is missing are missing, too, and are not asked for; they count as checked. With again and deep it checks those that were compared themselves longer ago than that. Of members it compares presence and role, not the join_time. Unread counts are not compared, because they change as people read. It takes 8 bytes of memory a row. Results stay in im_import_verified. After a cancel call it again to go on';

REVOKE ALL ON @extschema@._im_imported FROM PUBLIC;
COMMENT ON VIEW @extschema@._im_imported IS
'internal: imported rows of the kinds that im_import_verify() compares';
COMMENT ON COLUMN @extschema@._im_imported.kind IS 'internal: as in im_import_verified';
COMMENT ON COLUMN @extschema@._im_imported.id IS 'internal: as in the outbox';
COMMENT ON COLUMN @extschema@._im_imported.row_key IS 'internal: as in the outbox';
COMMENT ON COLUMN @extschema@._im_imported.settled_at IS 'internal: as in the outbox';

CREATE VIEW @extschema@.im_import_verify_summary AS
	SELECT o.kind, COALESCE(v.result, 'unchecked') AS result, f.field, pg_catalog.count(*) AS rows, pg_catalog.min(o.id) AS sample_id,
		   pg_catalog.min(v.checked_at) AS first_checked, pg_catalog.max(v.checked_at) AS last_checked,
		   pg_catalog.count(*) FILTER (WHERE v.deep) AS deep
	FROM @extschema@._im_imported o
		 LEFT JOIN @extschema@.im_import_verified v ON v.row_key OPERATOR(pg_catalog.=) o.row_key
			  AND (v.checked_at OPERATOR(pg_catalog.<) o.settled_at) IS NOT TRUE
		 LEFT JOIN LATERAL pg_catalog.unnest(v.fields) AS f (field) ON true
	GROUP BY o.kind, v.result, f.field;
COMMENT ON VIEW @extschema@.im_import_verify_summary IS
'results of im_import_verify() by kind of rows, with the field that differs; a row that differs in two fields counts in two lines; unchecked: imported rows that were not compared yet. Unread counts are not among them, and of members only presence and role are compared, not the join_time';
REVOKE ALL ON @extschema@.im_import_verify_summary FROM PUBLIC;
GRANT SELECT ON @extschema@.im_import_verify_summary TO pg_monitor;

-- The list of the app's groups, as far as im_import_audit() has read it, and what
-- came of it.  It can be read again, so it is not dumped.
CREATE TABLE @extschema@._im_audit (
	origin bigint PRIMARY KEY,
	sdkappid bigint NOT NULL,
	started_at timestamptz NOT NULL,
	finished_at timestamptz,
	next bigint NOT NULL DEFAULT 0,
	listed bigint NOT NULL DEFAULT 0
);
REVOKE ALL ON TABLE @extschema@._im_audit FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_audit IS 'internal: how far im_import_audit() is';
COMMENT ON COLUMN @extschema@._im_audit.origin IS 'internal: which database asked';
COMMENT ON COLUMN @extschema@._im_audit.sdkappid IS 'internal: for which app';
COMMENT ON COLUMN @extschema@._im_audit.started_at IS 'internal: when the list was begun';
COMMENT ON COLUMN @extschema@._im_audit.finished_at IS 'internal: when it was complete; NULL: it is not';
COMMENT ON COLUMN @extschema@._im_audit.next IS 'internal: where the next page begins';
COMMENT ON COLUMN @extschema@._im_audit.listed IS 'internal: groups listed so far';
CREATE TABLE @extschema@._im_listed (
	group_id text COLLATE "C" PRIMARY KEY
);
REVOKE ALL ON TABLE @extschema@._im_listed FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_listed IS 'internal: the app''s groups, as im_import_audit() lists them';
COMMENT ON COLUMN @extschema@._im_listed.group_id IS 'internal: GroupId';

CREATE TABLE @extschema@.im_import_ghosts (
	what text,
	group_id text COLLATE "C",
	id bigint,
	source_id text,
	found_at timestamptz NOT NULL,
	PRIMARY KEY (what, group_id),
	CONSTRAINT im_import_ghosts_what CHECK (what IN ('no row', 'not listed'))
);
REVOKE ALL ON TABLE @extschema@.im_import_ghosts FROM PUBLIC;
COMMENT ON TABLE @extschema@.im_import_ghosts IS
'what im_import_audit() found: groups of the app that no row knows, and imported rows whose group the app does not list; not dumped';
COMMENT ON COLUMN @extschema@.im_import_ghosts.what IS
'no row: the app has the group, and no row of im_group_outbox nor of its members and messages names it; not listed: a row is imported, and the app''s list does not have its group';
COMMENT ON COLUMN @extschema@.im_import_ghosts.group_id IS 'GroupId of the group';
COMMENT ON COLUMN @extschema@.im_import_ghosts.id IS 'id of the row of im_group_outbox; NULL: there is none';
COMMENT ON COLUMN @extschema@.im_import_ghosts.source_id IS 'source_id of that row';
COMMENT ON COLUMN @extschema@.im_import_ghosts.found_at IS 'when the audit ended that found it';

CREATE PROCEDURE @extschema@.im_import_audit(anew boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_audit';
REVOKE ALL ON PROCEDURE @extschema@.im_import_audit(boolean) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_audit(boolean) IS
'CALL im_import_audit() reads the list of all groups of the app: 10,000 a call, one call a second (option audit_rate_limit). Fills im_import_ghosts with groups that no row knows, and with imported rows whose group is not listed. It changes neither the app nor a row. What is listed stays after a cancel: call it again within a day to go on. With anew it begins again';

CREATE PROCEDURE @extschema@.im_import_forget(before timestamptz, INOUT forgotten bigint DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'im_sql_forget';
REVOKE ALL ON PROCEDURE @extschema@.im_import_forget(timestamptz, bigint) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.im_import_forget(timestamptz, bigint) IS
'CALL im_import_forget(now() - interval ''30 days'') deletes rows of im_group_outbox that were imported before a time, and says how many. What im_import_verify() found of them goes, too. A group stays as long as one of its members, messages or unread counts is open. Rows of another status stay. Their mapping from source_id to group_id is gone then: copy im_import_mapping first. It commits every 10,000 rows; inside a transaction block it is part of that';

------------------------------------------------------------------------------
-- The whole move as a page, to be shown

-- What comparisons found, without a look at all outbox rows: only where a row
-- was not as expected, it is looked whether it is still the row that was compared.
CREATE VIEW @extschema@._im_compared AS
	SELECT v.kind, v.result, v.fields, pg_catalog.count(*) AS rows, pg_catalog.min(v.id) AS sample_id,
		   pg_catalog.min(v.checked_at) AS first_checked, pg_catalog.max(v.checked_at) AS last_checked,
		   pg_catalog.count(*) FILTER (WHERE v.deep) AS deep
	FROM @extschema@.im_import_verified v
	WHERE v.result OPERATOR(pg_catalog.=) 'matched'
	GROUP BY v.kind, v.result, v.fields
	UNION ALL
	SELECT v.kind, v.result, v.fields, pg_catalog.count(*), pg_catalog.min(v.id), pg_catalog.min(v.checked_at), pg_catalog.max(v.checked_at),
		   pg_catalog.count(*) FILTER (WHERE v.deep)
	FROM @extschema@.im_import_verified v
	-- OFFSET 0: row by row through its id, and not as a join with all outboxes.
	WHERE v.result OPERATOR(pg_catalog.<>) 'matched'
		  AND EXISTS (SELECT FROM @extschema@._im_imported o WHERE o.kind OPERATOR(pg_catalog.=) v.kind AND o.id OPERATOR(pg_catalog.=) v.id
					  AND o.row_key OPERATOR(pg_catalog.=) v.row_key AND (v.checked_at OPERATOR(pg_catalog.<) o.settled_at) IS NOT TRUE OFFSET 0)
	GROUP BY v.kind, v.result, v.fields;
REVOKE ALL ON @extschema@._im_compared FROM PUBLIC;
GRANT SELECT ON @extschema@._im_compared TO pg_monitor;
COMMENT ON VIEW @extschema@._im_compared IS
'internal: results of im_import_verify() for im_import_report(), counted; each row counts once';
COMMENT ON COLUMN @extschema@._im_compared.kind IS 'internal: kind of rows';
COMMENT ON COLUMN @extschema@._im_compared.result IS 'internal: as in im_import_verified';
COMMENT ON COLUMN @extschema@._im_compared.fields IS 'internal: as in im_import_verified';
COMMENT ON COLUMN @extschema@._im_compared.rows IS 'internal: rows with this result and these fields';
COMMENT ON COLUMN @extschema@._im_compared.sample_id IS 'internal: id of the first of them';
COMMENT ON COLUMN @extschema@._im_compared.first_checked IS 'internal: time of the oldest of these results';
COMMENT ON COLUMN @extschema@._im_compared.last_checked IS 'internal: time of the newest of these results';
COMMENT ON COLUMN @extschema@._im_compared.deep IS 'internal: as in im_import_verify_summary';

-- Parts of the page, in their order: markup, in which each $ is the next text
-- and each ^ the next number with the query that gives it; src/report.c escapes
-- them.  Markup is ASCII and closes what it opens.
CREATE FUNCTION @extschema@._im_report_query() RETURNS pg_catalog.text
LANGUAGE sql IMMUTABLE
AS $query$ SELECT $$
	WITH p AS MATERIALIZED (
		SELECT k.*, k.total - k.imported - k.failed - k.invalid - k.in_doubt - k.undone AS open, row_number() OVER () AS place,
			   CASE k.kind WHEN 'account' THEN 'Accounts' WHEN 'friend' THEN 'Friendships' WHEN 'dialog' THEN 'One-to-one messages'
					WHEN 'group' THEN 'Groups' WHEN 'member' THEN 'Members' WHEN 'message' THEN 'Group messages'
					WHEN 'unread' THEN 'Unread counts' ELSE initcap(k.kind) END AS name
		FROM @im@.im_import_progress k
	), t AS MATERIALIZED (
		SELECT sum(p.total) AS total, sum(p.imported) AS imported, sum(p.open) AS open, sum(p.waiting) AS waiting,
			   sum(p.failed) AS failed, sum(p.invalid) AS invalid, sum(p.in_doubt) AS in_doubt,
			   sum(p.failed + p.invalid + p.in_doubt) AS person, sum(p.undone) AS undone
		FROM p
	), status AS MATERIALIZED (
		SELECT * FROM @im@.im_import_status
	), counters AS MATERIALIZED (
		SELECT * FROM @im@.pg_stat_im_import
	), history AS MATERIALIZED (
		SELECT * FROM @im@.im_import_history
	), errors AS MATERIALIZED (
		SELECT e.*, row_number() OVER (ORDER BY e.rows DESC, e.kind, e.error_code, e.problem) AS place
		FROM @im@.im_import_errors e
	), verified AS MATERIALIZED (
		SELECT v.*, p.name, row_number() OVER (ORDER BY p.place, v.result <> 'matched', v.result, v.fields) AS place
		FROM @im@._im_compared v JOIN p ON p.kind = v.kind
	), compared AS MATERIALIZED (
		SELECT coalesce(sum(v.rows), 0) AS rows,
			   coalesce(sum(v.rows) FILTER (WHERE v.result = 'matched'), 0) AS matched,
			   coalesce(sum(v.rows) FILTER (WHERE v.result = 'differs'), 0) AS differs,
			   coalesce(sum(v.rows) FILTER (WHERE v.result = 'missing'), 0) AS missing,
			   coalesce(sum(v.rows) FILTER (WHERE v.result = 'unreadable'), 0) AS unreadable,
			   -- of the kinds that were compared
			   greatest((SELECT sum(p.imported) FROM p WHERE p.kind IN (SELECT w.kind FROM verified w)) - sum(v.rows), 0) AS unchecked
		FROM verified v
	), app AS MATERIALIZED (
		SELECT max(o.option_value) AS id
		FROM pg_foreign_data_wrapper w
			 JOIN pg_foreign_server s ON s.srvfdw = w.oid, pg_options_to_table(s.srvoptions) o
		WHERE w.fdwname = 'im_import' AND o.option_name = 'sdkappid'
	), frame AS MATERIALIZED (
		-- so many bars of so many minutes; not fewer than what makes a picture
		SELECT s.last, s.width, greatest(24, ceil(s.minutes / s.width))::integer AS bars
		FROM (SELECT max(h.minute) AS last, extract(epoch FROM max(h.minute) - min(h.minute)) / 60 + 1 AS minutes,
					 ceil((extract(epoch FROM max(h.minute) - min(h.minute)) / 60 + 1) / 96) AS width
			  FROM history h HAVING count(*) > 0) s
	), bars AS MATERIALIZED (
		SELECT i.place, b.begins, b.ends,
			   format('FROM im_import_history WHERE minute BETWEEN %L AND %L',
					  to_char(b.begins AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI"Z"'), to_char(b.ends AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI"Z"')) AS source,
			   to_char(b.begins, 'YYYY-MM-DD HH24:MI') || CASE WHEN b.ends > b.begins THEN to_char(b.ends, '" to "HH24:MI') ELSE '' END AS label,
			   coalesce(sum(h.imported), 0) AS imported, coalesce(sum(h.failed), 0) AS failed, coalesce(sum(h.calls), 0) AS calls,
			   round(max(h.p50)::numeric, 1) AS p50, round(max(h.p99)::numeric, 1) AS p99
		FROM frame f, generate_series(0, f.bars - 1) AS i (place),
			 LATERAL (SELECT f.last - make_interval(mins => ((f.bars - i.place) * f.width - 1)::integer) AS begins,
							 f.last - make_interval(mins => ((f.bars - i.place - 1) * f.width)::integer) AS ends) b
			 LEFT JOIN history h ON h.minute BETWEEN b.begins AND b.ends
		GROUP BY i.place, b.begins, b.ends
	), charts (chart, name, line, peak, place, query, value, one, other, label) AS MATERIALIZED (
		SELECT 1, 'Rows', 'Rows that became <i class="a">imported</i>, and <i class="b">refused, invalid or in doubt</i>', 'sum(imported + failed)', b.place,
			   'SELECT concat(sum(imported), '' imported, '', sum(failed), '' not'') ' || b.source,
			   b.imported || ' imported, ' || b.failed || ' not', b.imported, b.failed, b.label
		FROM bars b
		UNION ALL
		SELECT 2, 'Calls', '<i class="c">Calls</i>', 'sum(calls)', b.place, 'SELECT concat(sum(calls), '' calls'') ' || b.source, b.calls || ' calls', b.calls, 0, b.label
		FROM bars b
		UNION ALL
		SELECT 3, 'Latency', 'Milliseconds that <i class="c">half</i> and <i class="d">99 %</i> of the calls took at most, in the slowest minute', 'max(round(p99::numeric, 1))', b.place,
			   'SELECT concat(round(max(p50)::numeric, 1), '' ms half, '', round(max(p99)::numeric, 1), '' ms 99 %'') ' || b.source,
			   b.p50 || ' ms half, ' || b.p99 || ' ms 99 %', coalesce(b.p50, 0), coalesce(b.p99 - b.p50, 0), b.label
		FROM bars b
	), parts (place, sub, markup, texts) AS (
		SELECT 0, 0, '<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>
<title>$: move into Tencent Cloud IM</title>
<style>
:root { color-scheme: light dark; --bg: rgb(255,255,255); --fg: rgb(27,31,36); --soft: rgb(89,97,107); --line: rgb(217,221,227); --card: rgb(245,247,249);
 --good: rgb(18,120,84); --bad: rgb(186,36,36); --warn: rgb(150,92,0); --blue: rgb(52,104,186); --pale: rgb(158,188,232); }
@media (prefers-color-scheme: dark) { :root { --bg: rgb(19,22,26); --fg: rgb(229,232,236); --soft: rgb(158,166,176); --line: rgb(58,64,72); --card: rgb(29,33,39);
 --good: rgb(82,190,146); --bad: rgb(240,118,110); --warn: rgb(224,172,84); --blue: rgb(110,160,235); --pale: rgb(58,84,124); } }
@media print { :root { color-scheme: light; --bg: rgb(255,255,255); --fg: rgb(0,0,0); --soft: rgb(70,70,70); --line: rgb(190,190,190); --card: rgb(255,255,255);
 --good: rgb(18,120,84); --bad: rgb(186,36,36); --warn: rgb(150,92,0); --blue: rgb(52,104,186); --pale: rgb(158,188,232); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: .25rem 0 .5rem; }
h1.good { color: var(--good); } h1.bad { color: var(--bad); } h1.warn { color: var(--warn); }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: .35rem 0; } a { color: var(--blue); } .soft, footer { color: var(--soft); font-size: .875rem; }
b { font-weight: 600; font-variant-numeric: tabular-nums; }
code { font: .875em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: var(--card); border: 1px solid var(--line); border-radius: .25rem; padding: 0 .25em; }
p, li, td.l, h1, h3, code { overflow-wrap: anywhere; } b { white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.tiles li, article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .625rem .75rem; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.3; }
article { margin: .75rem 0; } article p { font-size: .9375rem; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; margin-top: .5rem; }
th, td { text-align: right; padding: .375rem .5rem; border-bottom: 1px solid var(--line); font-weight: 400; vertical-align: top; }
th:first-child, td.l, th.l { text-align: left; } thead th { color: var(--soft); font-size: .8125rem; vertical-align: bottom; } tbody th { font-weight: 600; }
td b { font-weight: 500; } .good b { color: var(--good); } .bad b { color: var(--bad); } .warn b { color: var(--warn); } .zero b, tr.zero th { font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; background: var(--card); border-bottom: 1px solid var(--line); }
svg.chart { height: 7.5rem; margin-top: .375rem; } svg.share { height: .5rem; margin-top: .5rem; border: 0; border-radius: .25rem; background: var(--line); }
td.s { width: 20%; }
.a { fill: var(--good); } .b { fill: var(--bad); } .c { fill: var(--blue); } .d { fill: var(--pale); }
i { font-style: normal; } i.a::before, i.b::before, i.c::before, i.d::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .3em; border-radius: .15em; }
i.a::before { background: var(--good); } i.b::before { background: var(--bad); } i.c::before { background: var(--blue); } i.d::before { background: var(--pale); }
.axis { display: flex; justify-content: space-between; gap: 1rem; color: var(--soft); font-size: .8125rem; }
figure { margin: 1rem 0 1.25rem; } figcaption { font-size: .9375rem; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .75rem; }
@media (max-width: 44rem) {
 table, tbody { display: block; } thead { display: none; }
 tr { display: grid; grid-template-columns: repeat(4, 1fr); gap: .125rem .75rem; padding: .625rem 0; border-bottom: 1px solid var(--line); }
 th, td { display: block; border: 0; padding: 0; text-align: left; } tbody th, td.s, td.w { grid-column: 1 / -1; width: auto; }
 td[data-l]::before { content: attr(data-l); display: block; color: var(--soft); font-size: .75rem; }
}
@media print { body { font-size: 10pt; } table { font-size: 9pt; } td.s { width: 14%; } main { max-width: none; padding: 0; } article, figure, tr, .tiles li { break-inside: avoid; } h2 { break-after: avoid; }
 i::before, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
</style>
</head>
<body>
<main>
<header>
<p class="soft">Database <bdi>$</bdi>, moved into Tencent Cloud IM, app $. As of $.</p>
',
			   ARRAY[current_database()::text, current_database()::text, coalesce(a.id, 'not configured'), to_char(now(), 'YYYY-MM-DD HH24:MI TZ')]
		FROM app a
		UNION ALL
		SELECT 1, 0,
			   CASE WHEN t.total = 0 THEN '<h1>Nothing was loaded yet</h1>'
					WHEN t.open > 0 THEN '<h1 class="warn">Not finished: ^ of ^ rows are open</h1>'
					WHEN t.person > 0 THEN '<h1 class="bad">^ of ^ rows need a person</h1>'
					WHEN c.differs + c.missing > 0 THEN '<h1 class="warn">All ^ rows are imported, but the app has not all of them as they were sent</h1>'
					WHEN t.undone > 0 THEN '<h1>^ rows are imported, ^ were taken back</h1>'
					ELSE '<h1 class="good">All ^ rows are imported</h1>' END,
			   CASE WHEN t.total = 0 THEN NULL
					WHEN t.open > 0 THEN ARRAY['SELECT sum(total - imported - failed - invalid - in_doubt - undone) FROM im_import_progress', t.open::text,
											   'SELECT sum(total) FROM im_import_progress', t.total::text]
					WHEN t.person > 0 THEN ARRAY['SELECT sum(failed + invalid + in_doubt) FROM im_import_progress', t.person::text,
												 'SELECT sum(total) FROM im_import_progress', t.total::text]
					ELSE ARRAY['SELECT sum(imported) FROM im_import_progress', t.imported::text] ||
						 CASE WHEN t.undone > 0 AND c.differs + c.missing = 0 THEN ARRAY['SELECT sum(undone) FROM im_import_progress', t.undone::text] END END
		FROM t, compared c
		UNION ALL
		SELECT 2, 0, CASE WHEN c.rows = 0
						  THEN '<p>Nothing was compared with the app yet. What is called imported here is what the service confirmed.</p>'
						  ELSE '<p>Compared with the app afterwards: ^ rows match, ^ differ, ^ are missing there.</p>' END ||
					 '<p><a href="#remains">What remains, and what to do</a></p></header>',
			   CASE WHEN c.rows > 0 THEN
					ARRAY['SELECT coalesce(sum(rows), 0) FROM _im_compared WHERE result = ''matched''', c.matched::text,
						  'SELECT coalesce(sum(rows), 0) FROM _im_compared WHERE result = ''differs''', c.differs::text,
						  'SELECT coalesce(sum(rows), 0) FROM _im_compared WHERE result = ''missing''', c.missing::text] END
		FROM compared c
		UNION ALL
		SELECT 3, 0, '<ul class="tiles"><li>rows in all ^</li><li>imported ^</li><li>open ^</li><li>for a person ^</li></ul>',
			   ARRAY['SELECT sum(total) FROM im_import_progress', t.total::text,
					 'SELECT sum(imported) FROM im_import_progress', t.imported::text,
					 'SELECT sum(total - imported - failed - invalid - in_doubt - undone) FROM im_import_progress', t.open::text,
					 'SELECT sum(failed + invalid + in_doubt) FROM im_import_progress', t.person::text]
		FROM t
		UNION ALL
		SELECT 10, 0, '<section><h2>By kind</h2><table><thead><tr><th scope="col">kind</th><th scope="col">rows</th><th scope="col">imported</th><th scope="col">open</th>' ||
			   '<th scope="col">refused</th><th scope="col">invalid</th><th scope="col">in doubt</th><th scope="col">taken back</th><th scope="col" class="l">share</th></tr></thead><tbody>', NULL::text[]
		UNION ALL
		SELECT 11, p.place * 10, '<tr class="' || CASE WHEN p.total = 0 THEN 'zero' ELSE 'some' END || '"><th scope="row">$</th>', ARRAY[p.name]
		FROM p
		UNION ALL
		SELECT 11, p.place * 10 + c.place, '<td class="' || CASE WHEN c.value = 0 THEN 'zero' ELSE c.class END || '" data-l="' || c.label || '">^</td>',
			   ARRAY[format('SELECT %s FROM im_import_progress WHERE kind = %L', c.expression, p.kind), c.value::text]
		FROM p, LATERAL (VALUES (1, 'rows', 'total', p.total, 'n'), (2, 'imported', 'imported', p.imported, 'good'),
								(3, 'open', 'total - imported - failed - invalid - in_doubt - undone', p.open, 'warn'), (4, 'refused', 'failed', p.failed, 'bad'),
								(5, 'invalid', 'invalid', p.invalid, 'bad'), (6, 'in doubt', 'in_doubt', p.in_doubt, 'bad'),
								(7, 'taken back', 'undone', p.undone, 'n')) AS c (place, label, expression, value, class)
		UNION ALL
		SELECT 11, p.place * 10 + 8, '<td class="s"><svg class="share" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label="$ % imported">' ||
			   '<rect class="a" x="0" y="0" width="$" height="1"/><rect class="b" x="$" y="0" width="$" height="1"/></svg></td></tr>',
			   ARRAY[s.imported, s.imported, s.imported, s.person]
		FROM p, LATERAL (SELECT round(coalesce(100.0 * p.imported / nullif(p.total, 0), 0), 2)::text AS imported,
								round(coalesce(100.0 * (p.failed + p.invalid + p.in_doubt) / nullif(p.total, 0), 0), 2)::text AS person) s
		UNION ALL
		SELECT 12, 0, '</tbody></table></section>', NULL
		UNION ALL
		SELECT 20, 0, '<section><h2>The last day at work</h2>' ||
			   CASE WHEN count(h.minute) = 0 THEN '<p>Nothing was sent in the last day.</p>'
					ELSE '<p>^ minutes in which something happened: ^ calls, ^ rows imported, ^ not. Calls were ready, and the rate limit held them, for ^ seconds, each kind counted by itself.</p>' END,
			   CASE WHEN count(h.minute) > 0
					THEN ARRAY['SELECT count(DISTINCT minute) FROM im_import_history', count(DISTINCT h.minute)::text, 'SELECT sum(calls) FROM im_import_history', sum(h.calls)::text,
							   'SELECT sum(imported) FROM im_import_history', sum(h.imported)::text, 'SELECT sum(failed) FROM im_import_history', sum(h.failed)::text,
							   'SELECT round(sum(throttled)::numeric / 1000, 1) FROM im_import_history', round(sum(h.throttled)::numeric / 1000, 1)::text] END
		FROM history h
		UNION ALL
		SELECT 21 + c.chart, -1, '<figure><figcaption>' || c.line || '; at most ^' || CASE WHEN f.width = 1 OR c.peak ~ '^max' THEN '' ELSE ' in $ minutes' END ||
			   '</figcaption><svg class="chart" viewBox="0 0 $ 100" preserveAspectRatio="none" role="img" aria-label="' || c.name || '">',
			   ARRAY[format('SELECT max(n) FROM (SELECT %s AS n FROM im_import_history GROUP BY date_bin(''%s min'', minute, %L)) bars', c.peak, f.width,
							to_char(min(b.begins) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI"Z"')), max(c.one + c.other)::text] ||
			   CASE WHEN f.width = 1 OR c.peak ~ '^max' THEN NULL ELSE ARRAY[f.width::text] END || ARRAY[f.bars::text]
		FROM charts c JOIN bars b ON b.place = c.place, frame f GROUP BY c.chart, c.name, c.line, c.peak, f.width, f.bars
		UNION ALL
		SELECT 21 + c.chart, c.place,
			   '<g data-q="$" data-v="$"><title>$: $</title><rect class="' || CASE c.chart WHEN 1 THEN 'a' ELSE 'c' END || '" x="$" y="$" width=".84" height="$"/>' ||
			   '<rect class="' || CASE c.chart WHEN 1 THEN 'b' ELSE 'd' END || '" x="$" y="$" width=".84" height="$"/></g>',
			   ARRAY[c.query, c.value, c.label, c.value,
					 (c.place + .08)::text, round(100 - h.one, 2)::text, round(h.one, 2)::text,
					 (c.place + .08)::text, round(100 - h.one - h.other, 2)::text, round(h.other, 2)::text]
		FROM (SELECT c.*, max(c.one + c.other) OVER (PARTITION BY c.chart) AS top FROM charts c) c,
			 -- what is there shows, however little it is
			 LATERAL (SELECT CASE WHEN c.one > 0 THEN 1 + 97.0 * c.one / c.top ELSE 0 END AS one,
							 CASE WHEN c.other > 0 THEN 1 + 97.0 * c.other / c.top ELSE 0 END AS other) h
		WHERE c.one + c.other > 0
		UNION ALL
		SELECT 21 + c.chart, 1000, '</svg><div class="axis"><span>$</span><span>$</span></div></figure>',
			   ARRAY[to_char(min(b.begins), 'YYYY-MM-DD HH24:MI'), to_char(max(b.ends), 'YYYY-MM-DD HH24:MI')]
		FROM (SELECT DISTINCT c.chart FROM charts c) c, bars b GROUP BY c.chart
		UNION ALL
		SELECT 30, 0, '</section><section><h2>The service''s answers</h2><p>Since $: ^ calls, of which ^ only asked. ^ had no answer that could be read, ^ were repeated.</p>' ||
			   CASE WHEN sum(c.calls) > 0 THEN '<p>Latency in milliseconds:</p>' ELSE '' END,
			   ARRAY[coalesce(to_char(min(c.stats_reset), 'YYYY-MM-DD HH24:MI'), 'the start of the server'),
					 'SELECT sum(calls) FROM pg_stat_im_import', sum(c.calls)::text, 'SELECT sum(lookups) FROM pg_stat_im_import', sum(c.lookups)::text,
					 'SELECT sum(no_reply) FROM pg_stat_im_import', sum(c.no_reply)::text, 'SELECT sum(retries) FROM pg_stat_im_import', sum(c.retries)::text]
		FROM counters c
		UNION ALL
		SELECT 31, row_number() OVER (), '<p>$: ^ calls, mean ^, half of them at most ^, 95 % at most ^, 99 % at most ^.</p>',
			   ARRAY[c.command, 'SELECT calls ' || q.source, c.calls::text,
					 'SELECT round(latency_mean::numeric, 1) ' || q.source, round(c.latency_mean::numeric, 1)::text,
					 'SELECT round(latency_p50::numeric, 1) ' || q.source, round(c.latency_p50::numeric, 1)::text,
					 'SELECT round(latency_p95::numeric, 1) ' || q.source, round(c.latency_p95::numeric, 1)::text,
					 'SELECT round(latency_p99::numeric, 1) ' || q.source, round(c.latency_p99::numeric, 1)::text]
		FROM counters c, LATERAL (SELECT format('FROM pg_stat_im_import WHERE command = %L', c.command) AS source) q
		WHERE c.calls > 0
		UNION ALL
		SELECT 40, 0, '</section><section><h2>What failed, by reason</h2>' ||
			   CASE WHEN count(*) = 0 THEN '<p>Nothing.</p>'
					WHEN count(*) > 50 THEN '<p class="soft">The 50 most frequent of ^ reasons; all are in im_import_errors.</p>' ELSE '' END,
			   CASE WHEN count(*) > 50 THEN ARRAY['SELECT count(*) FROM im_import_errors', count(*)::text] END
		FROM errors
		UNION ALL
		SELECT 41, e.place, '<article><h3>$: ^ ' || CASE e.rows WHEN 1 THEN 'row' ELSE 'rows' END || '</h3><p><bdi>$</bdi></p><p class="soft">Refused ^, invalid ^, in doubt ^. The first is row $: <bdi>$</bdi></p><p>What to do: $</p></article>',
			   ARRAY[p.name, 'SELECT rows ' || q.source, e.rows::text,
					 concat_ws(': ', e.error_code, coalesce(e.problem, e.meaning)),
					 'SELECT failed ' || q.source, e.failed::text, 'SELECT invalid ' || q.source, e.invalid::text, 'SELECT in_doubt ' || q.source, e.in_doubt::text,
					 e.sample_id::text, CASE WHEN length(e.sample_text) > 500 THEN left(e.sample_text, 500) || ' ...' ELSE e.sample_text END, e.advice]
		FROM errors e JOIN p ON p.kind = e.kind,
			 LATERAL (SELECT format('FROM im_import_errors WHERE (kind, error_code, problem) IS NOT DISTINCT FROM (%L, %s, %L)',
									e.kind, coalesce(e.error_code::text, 'NULL'), e.problem) AS source) q
		WHERE e.place <= 50
		UNION ALL
		SELECT 50, 0, '</section><section><h2>Compared with the app</h2>' ||
			   CASE WHEN count(*) = 0 THEN '<p>Nothing yet. <code>CALL im_import_verify()</code> compares what is imported with what the app has.</p>'
					ELSE '<table><thead><tr><th scope="col">kind</th><th scope="col" class="l">result</th><th scope="col" class="l">columns that differ</th><th scope="col">rows</th>' ||
						 '<th scope="col">one by one</th><th scope="col">first row</th><th scope="col" class="l">compared at</th></tr></thead><tbody>' END, NULL
		FROM verified
		UNION ALL
		SELECT 51, v.place, '<tr><th scope="row">$</th><td class="l ' || CASE v.result WHEN 'matched' THEN 'good' ELSE 'bad' END || '" data-l="result"><b>$</b></td>' ||
			   '<td class="l w" data-l="columns that differ"><bdi>$</bdi></td><td data-l="rows">^</td><td data-l="one by one">^</td><td data-l="first row">$</td><td class="l w" data-l="compared at">$</td></tr>',
			   ARRAY[v.name, v.result, array_to_string(v.fields, ', '),
					 format('SELECT rows FROM _im_compared WHERE (kind, result, fields) IS NOT DISTINCT FROM (%L, %L, %L)', v.kind, v.result, v.fields), v.rows::text,
					 format('SELECT deep FROM _im_compared WHERE (kind, result, fields) IS NOT DISTINCT FROM (%L, %L, %L)', v.kind, v.result, v.fields), v.deep::text,
					 v.sample_id::text, CASE WHEN v.last_checked = v.first_checked THEN '' ELSE to_char(v.first_checked, 'YYYY-MM-DD HH24:MI" to "') END ||
										to_char(v.last_checked, 'YYYY-MM-DD HH24:MI')]
		FROM verified v
		UNION ALL
		SELECT 52, 0, CASE WHEN count(*) > 0 THEN '</tbody></table>' ELSE '' END || '</section><section id="remains"><h2>What remains, and what to do</h2><ul>', NULL
		FROM verified
		UNION ALL
		SELECT 60, 1, '<li>State of the import: $. $</li>', ARRAY[s.state, s.reason] FROM status s WHERE s.reason <> '' OR s.state NOT IN ('idle', 'running')
		UNION ALL
		SELECT 60, 2, '<li>Open rows: ^. ' || CASE WHEN s.eta IS NULL THEN '' ELSE 'About $ hours are left. ' END || 'Wait for them with <code>CALL im_import_wait()</code>.</li>',
			   ARRAY['SELECT sum(total - imported - failed - invalid - in_doubt - undone) FROM im_import_progress', t.open::text] ||
			   CASE WHEN s.eta IS NULL THEN NULL ELSE ARRAY[round(extract(epoch FROM s.eta) / 3600, 1)::text] END
		FROM t, status s WHERE t.open > 0
		UNION ALL
		SELECT 60, 3, '<li>Open rows that wait for a group which is not imported: ^. Repair that group, or add its row to <code>im_group_outbox</code>.</li>',
			   ARRAY['SELECT sum(waiting) FROM im_import_progress', t.waiting::text] FROM t WHERE t.waiting > 0
		UNION ALL
		SELECT 60, 4, '<li>Rows that the service refused: ^. The reasons are above. When the cause is gone: <code>SELECT im_import_retry(the code, ''failed'')</code>.</li>',
			   ARRAY['SELECT sum(failed) FROM im_import_progress', t.failed::text] FROM t WHERE t.failed > 0
		UNION ALL
		SELECT 60, 5, '<li>Rows that could not be sent: ^. Correct what <code>im_import_failures</code> names, and set <code>status = ''pending''</code>.</li>',
			   ARRAY['SELECT sum(invalid) FROM im_import_progress', t.invalid::text] FROM t WHERE t.invalid > 0
		UNION ALL
		SELECT 60, 6, '<li>Rows that may be in the app: ^. Look there; <code>im_import_failures</code> says for each what to do then.</li>',
			   ARRAY['SELECT sum(in_doubt) FROM im_import_progress', t.in_doubt::text] FROM t WHERE t.in_doubt > 0
		UNION ALL
		SELECT 60, 11, '<li>Rows that were taken back, with their groups: ^. <code>SELECT im_import_retry(status =&gt; ''undone'')</code> imports them again.</li>',
			   ARRAY['SELECT sum(undone) FROM im_import_progress', t.undone::text] FROM t WHERE t.undone > 0
		UNION ALL
		SELECT 60, 7, CASE WHEN c.rows = 0 THEN '<li>Compare what is imported with the app: <code>CALL im_import_verify()</code>.</li>'
						   ELSE '<li>Rows that were imported since: ^ were not compared yet. <code>CALL im_import_verify()</code> goes on.</li>' END,
			   CASE WHEN c.rows > 0 THEN ARRAY['SELECT sum(imported) - (SELECT sum(rows) FROM _im_compared) FROM im_import_progress WHERE kind IN (SELECT kind FROM _im_compared)',
											   c.unchecked::text] END
		FROM compared c, t WHERE c.unchecked > 0 OR (c.rows = 0 AND t.imported > 0)
		UNION ALL
		SELECT 60, 8, '<li>Imported rows that the app does not have any more: ^. Send them again: <code>SELECT im_import_retry(status =&gt; ''missing'')</code>.</li>',
			   ARRAY['SELECT sum(rows) FROM _im_compared WHERE result = ''missing''', c.missing::text] FROM compared c WHERE c.missing > 0
		UNION ALL
		SELECT 60, 9, '<li>Rows that differ from the app: ^. Somebody changed them, here or there. <code>im_import_verified</code> has each with its columns.</li>',
			   ARRAY['SELECT sum(rows) FROM _im_compared WHERE result = ''differs''', c.differs::text] FROM compared c WHERE c.differs > 0
		UNION ALL
		SELECT 60, 10, '<li>Rows that the app could not tell of: ^. <code>CALL im_import_verify()</code> asks again.</li>',
			   ARRAY['SELECT sum(rows) FROM _im_compared WHERE result = ''unreadable''', c.unreadable::text] FROM compared c WHERE c.unreadable > 0
		UNION ALL
		SELECT 61, 0, CASE WHEN t.total > 0 AND c.rows > 0 AND t.open + t.person + c.differs + c.missing + c.unreadable + c.unchecked = 0
						   THEN '<li>Nothing. Before rows are forgotten, keep a copy of <code>im_import_mapping</code>: your key of each group, and its GroupId.</li>'
						   WHEN t.total = 0 THEN '<li>Insert rows into the outboxes, and ask <code>im_import_plan()</code>.</li>' ELSE '' END || '</ul></section>
<footer><p>Made by im_import_report() of im_import $. Times are in the time zone $. Each number carries the query that gives it, in its attribute data-q.</p></footer>
</main>
</body>
</html>', ARRAY[(SELECT e.extversion FROM pg_extension e WHERE e.extname = 'im_import'), current_setting('TimeZone')]
		FROM t, compared c
	)
	SELECT r.markup, r.texts FROM parts r ORDER BY r.place, r.sub
$$::pg_catalog.text $query$;
REVOKE ALL ON FUNCTION @extschema@._im_report_query() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_report_query() IS
'internal: the query that im_import_report() runs, in which @im@ stands for the extension''s schema';

CREATE FUNCTION @extschema@.im_import_report() RETURNS pg_catalog.text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'im_sql_report';
REVOKE ALL ON FUNCTION @extschema@.im_import_report() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.im_import_report() TO pg_monitor;
COMMENT ON FUNCTION @extschema@.im_import_report() IS
'The whole move as one page of HTML, for paper, screen and phone. It has rows by kind, the last day minute by minute, latency, what failed and why, what was compared with the app, and what remains. There are no scripts in it, and nothing from elsewhere. Each number carries its query in the attribute data-q. Write it with psql -Atc ''SELECT im_import_report()'' -o report.html. It reads the views with the rights of its caller, and calls nothing';

------------------------------------------------------------------------------
-- Columns

COMMENT ON COLUMN @extschema@.im_group_outbox.id IS
'number of the row, in the order of INSERT';
COMMENT ON COLUMN @extschema@.im_group_outbox.introduction IS
'at most 240 bytes of UTF-8 (option text_limits); NULL: not sent';
COMMENT ON COLUMN @extschema@.im_group_outbox.notification IS
'at most 300 bytes of UTF-8 (option text_limits); NULL: not sent';
COMMENT ON COLUMN @extschema@.im_group_outbox.face_url IS
'URL of the group''s picture, at most 100 bytes (option text_limits); NULL: not sent';
COMMENT ON COLUMN @extschema@.im_group_outbox.max_member_count IS
'1 to 6000; of a Community to 100000; NULL: the service''s default for the type';
COMMENT ON COLUMN @extschema@.im_group_outbox.apply_join_option IS
'FreeAccess, NeedPermission or DisableApply; not for a Community; NULL: the service''s default';
COMMENT ON COLUMN @extschema@.im_group_outbox.app_defined_data IS
'the API''s array of Key and Value, or a plain object; json and not jsonb, because a value may be binary. The keys must be defined in the app''s console';
COMMENT ON COLUMN @extschema@.im_group_outbox.create_time IS
'when the group was made, in whole seconds, not in the future; up to 5 seconds ahead of this server''s clock is sent as now; NULL: the time of the import';
COMMENT ON COLUMN @extschema@.im_group_outbox.support_topic IS
'whether a Community has topics; for no other type';
COMMENT ON COLUMN @extschema@.im_group_outbox.status IS
'pending; sending; imported; failed: the service refused it; invalid: it was not sent; in_doubt: it may have been applied, see im_import_failures; undo: you have set it on an imported group, which is to be disbanded; undone: it is disbanded, and can be set to pending';
COMMENT ON COLUMN @extschema@.im_group_outbox.error_info IS
'what is wrong, in the service''s words or in those of the extension';
COMMENT ON COLUMN @extschema@.im_group_outbox.enqueued_at IS
'time of the transaction that inserted the row';
COMMENT ON COLUMN @extschema@.im_group_outbox.sent_at IS
'time of the last request for this row; NULL: none was made';
COMMENT ON COLUMN @extschema@.im_group_outbox.settled_at IS
'time at which the row got its final status; NULL: it is still open';
COMMENT ON COLUMN @extschema@._im_tally.kind IS
'internal: kind of the rows; empty: a line that only says dirty';
COMMENT ON COLUMN @extschema@._im_tally.origin IS
'internal: the database that the rows belong to, see _im_origin()';
COMMENT ON COLUMN @extschema@._im_tally.pending IS
'internal: difference of the number of rows whose status is pending';
COMMENT ON COLUMN @extschema@._im_tally.sending IS
'internal: difference of the number of rows whose status is sending';
COMMENT ON COLUMN @extschema@._im_tally.imported IS
'internal: difference of the number of rows whose status is imported';
COMMENT ON COLUMN @extschema@._im_tally.failed IS
'internal: difference of the number of rows whose status is failed';
COMMENT ON COLUMN @extschema@._im_tally.invalid IS
'internal: difference of the number of rows whose status is invalid';
COMMENT ON COLUMN @extschema@._im_tally.in_doubt IS
'internal: difference of the number of rows whose status is in_doubt';
COMMENT ON COLUMN @extschema@._im_tally.undo IS
'internal: difference of the number of rows whose status is undo';
COMMENT ON COLUMN @extschema@._im_tally.undone IS
'internal: difference of the number of rows whose status is undone';
COMMENT ON COLUMN @extschema@._im_tally.dirty IS
'internal: true: rows came by a way that no trigger sees, so the worker counts again';
COMMENT ON COLUMN @extschema@._im_control.origin IS
'internal: the database that this row is about, see _im_origin()';
COMMENT ON COLUMN @extschema@._im_control.timeline IS
'internal: the timeline on which this database may send; after a promotion another one, and nothing is sent until im_import_adopt()';
COMMENT ON COLUMN @extschema@._im_control.paused_at IS
'internal: time of im_import_pause(); NULL: not paused';
COMMENT ON COLUMN @extschema@._im_control.paused_by IS
'internal: role that called im_import_pause()';
COMMENT ON COLUMN @extschema@._im_control.pause_reason IS
'internal: the reason that was given to im_import_pause()';
COMMENT ON COLUMN @extschema@._im_control.triggers IS
'internal: the outbox''s triggers and their state when the rows were last counted; if they differ, rows are counted again';
COMMENT ON COLUMN @extschema@._im_days.origin IS
'internal: the database that created the groups, see _im_origin()';
COMMENT ON COLUMN @extschema@._im_days.day IS
'internal: day in UTC';
COMMENT ON COLUMN @extschema@._im_days.groups IS
'internal: groups created on that day';
COMMENT ON COLUMN @extschema@.im_import_status.state IS
'what the import does: idle, running, paused, stopped, quota, unreachable, fenced, counting, no worker, not configured or not preloaded';
COMMENT ON COLUMN @extschema@.im_import_status.reason IS
'why the state is as it is, and what to do; empty if there is nothing to do';
COMMENT ON COLUMN @extschema@.im_import_status.pending IS
'rows whose status is pending, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.sending IS
'rows whose status is sending, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.imported IS
'rows whose status is imported, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.failed IS
'rows whose status is failed, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.invalid IS
'rows whose status is invalid, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.in_doubt IS
'rows whose status is in_doubt, whatever database inserted them';
COMMENT ON COLUMN @extschema@.im_import_status.undo IS
'groups that are to be taken back, whatever database inserted them; they count as open';
COMMENT ON COLUMN @extschema@.im_import_status.undone IS
'rows that were taken back, whatever database inserted them; they can be set to pending';
COMMENT ON COLUMN @extschema@.im_import_status.total IS
'sum of the eight counts, exact in every snapshot';
COMMENT ON COLUMN @extschema@.im_import_status.percent_done IS
'rows that are neither pending nor sending nor undo, in per cent of all';
COMMENT ON COLUMN @extschema@.im_import_status.calls_per_second IS
'calls in the last ten seconds, divided by ten';
COMMENT ON COLUMN @extschema@.im_import_status.rate_limit IS
'calls a second of one command, as the server''s option says; commands go side by side, so calls_per_second can be more';
COMMENT ON COLUMN @extschema@.im_import_status.eta IS
'time until no row is open, by the mean rate of the last half minute in which the import ran; NULL while that is not known yet or nothing is sent';
COMMENT ON COLUMN @extschema@.im_import_status.finish_at IS
'now and eta';
COMMENT ON COLUMN @extschema@.im_import_status.oldest_pending IS
'enqueued_at of the oldest pending row';
COMMENT ON COLUMN @extschema@.im_import_status.last_error IS
'the last refusal of the service or failure of a call';
COMMENT ON COLUMN @extschema@.im_import_status.last_error_at IS
'time of last_error';
COMMENT ON COLUMN @extschema@.im_import_status.worker_pid IS
'process id of the worker; NULL: none is connected';
COMMENT ON COLUMN @extschema@.im_import_errors.error_code IS
'the service''s ErrorCode, or a negative one of the extension, see im_error_codes()';
COMMENT ON COLUMN @extschema@.im_import_errors.class IS
'class of the code, see im_error_codes()';
COMMENT ON COLUMN @extschema@.im_import_errors.meaning IS
'what the code means';
COMMENT ON COLUMN @extschema@.im_import_errors.advice IS
'what to do with rows of this code';
COMMENT ON COLUMN @extschema@.im_import_errors.rows IS
'rows with this code that need a person';
COMMENT ON COLUMN @extschema@.im_import_errors.failed IS
'those of them that the service refused';
COMMENT ON COLUMN @extschema@.im_import_errors.invalid IS
'those of them that were not sent, because something is wrong with the record';
COMMENT ON COLUMN @extschema@.im_import_errors.in_doubt IS
'those of them that may have been applied';
COMMENT ON COLUMN @extschema@.im_import_errors.sample_id IS
'id of the first of them';
COMMENT ON COLUMN @extschema@.im_import_errors.sample_text IS
'error_info of the first of them';
COMMENT ON COLUMN @extschema@.im_import_failures.id IS
'id of the row in its outbox';
COMMENT ON COLUMN @extschema@.im_import_failures.source_id IS
'your own key of the row; NULL: it has none';
COMMENT ON COLUMN @extschema@.im_import_failures.group_id IS
'GroupId of a group, or by which the row names its group';
COMMENT ON COLUMN @extschema@.im_import_failures.type IS
'type of a group; NULL for other kinds';
COMMENT ON COLUMN @extschema@.im_import_failures.name IS
'name of a group; of an account its user_id; else the users that the row is about';
COMMENT ON COLUMN @extschema@.im_import_failures.status IS
'failed, invalid or in_doubt';
COMMENT ON COLUMN @extschema@.im_import_failures.attempts IS
'as in the outbox';
COMMENT ON COLUMN @extschema@.im_import_failures.error_code IS
'as in the outbox';
COMMENT ON COLUMN @extschema@.im_import_failures.error_info IS
'as in the outbox';
COMMENT ON COLUMN @extschema@.im_import_failures.meaning IS
'what the code means, see im_error_codes()';
COMMENT ON COLUMN @extschema@.im_import_failures.advice IS
'what to do with this row';
COMMENT ON COLUMN @extschema@.im_import_failures.settled_at IS
'as in the outbox';
COMMENT ON COLUMN @extschema@.im_import_mapping.source_id IS
'your own key of the group';
COMMENT ON COLUMN @extschema@.im_import_mapping.group_id IS
'GroupId of the group in the app';
COMMENT ON COLUMN @extschema@.im_import_mapping.id IS
'id of the outbox row';
COMMENT ON COLUMN @extschema@.im_import_mapping.settled_at IS
'when it was imported; NULL: it is not yet';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.command IS
'the service''s name of the command, such as import_group';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.stats_reset IS
'counted since then; NULL: since the server''s start';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.calls IS
'calls that were answered or given up';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.lookups IS
'those of them that only ask: for a group whose id is taken, and of im_import_verify() and im_import_doctor()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_done IS
'answers whose code is of class done, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_exists IS
'answers whose code is of class exists, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_row IS
'answers whose code is of class row, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_slow IS
'answers whose code is of class slow, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_quota IS
'answers whose code is of class quota, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_resign IS
'answers whose code is of class resign, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_stop IS
'answers whose code is of class stop, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.replies_retry IS
'answers whose code is of class retry, see im_error_codes()';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.no_reply IS
'calls without an answer that could be read';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.retries IS
'calls that send a row again, after its first attempt; what only asks does not count';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.throttled_time IS
'milliseconds for which calls of this kind were ready and their command''s rate limit held them; several kinds may wait at once';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.bytes_sent IS
'bytes of HTTP, without those of TLS';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.bytes_received IS
'bytes of HTTP, without those of TLS';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.connections IS
'connections that were opened';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.tls_handshakes IS
'TLS handshakes that were made';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.latency_mean IS
'mean time of a call, in milliseconds';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.latency_p50 IS
'time that half of the calls did not exceed, in milliseconds';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.latency_p95 IS
'time that 95 % of the calls did not exceed, in milliseconds';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.latency_p99 IS
'time that 99 % of the calls did not exceed, in milliseconds';
COMMENT ON COLUMN @extschema@.pg_stat_im_import.worker_starts IS
'how often a worker connected to this database';
COMMENT ON COLUMN @extschema@.im_import_history.minute IS
'beginning of the minute';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.kind IS
'as in im_import_verified';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.result IS
'as in im_import_verified, or unchecked';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.field IS
'the column that differs, or app_defined_data and its key; NULL: none';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.rows IS
'rows with this result and field';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.sample_id IS
'id of the first of them';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.first_checked IS
'time of the oldest of these results';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.last_checked IS
'time of the newest of these results';
COMMENT ON COLUMN @extschema@.im_import_verify_summary.deep IS
'how many of these rows were compared one by one; of the others only the number of their group''s messages, and the time of its newest one';

------------------------------------------------------------------------------
-- What the outbox was when it was made, so that im_import_doctor() can tell
-- what was altered.  Must stay the last section: nothing above may change the
-- outbox after it, and an upgrade script that does fills it anew.

CREATE FUNCTION @extschema@._im_outbox_shape(OUT outbox pg_catalog.text, OUT kind pg_catalog.text, OUT name pg_catalog.text, OUT definition pg_catalog.text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH t AS (
		SELECT c.*, quote_ident(n.nspname) || '.' AS here
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid IN (SELECT @extschema@._im_outboxes())
	)
	-- without the extension's schema, which may be renamed
	SELECT d.outbox, d.kind, replace(d.name, (SELECT here FROM t LIMIT 1), ''), replace(d.definition, (SELECT here FROM t LIMIT 1), '')
	FROM (
	SELECT t.relname::text, 'column', a.attname::text,
		   concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
					 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
					 CASE WHEN a.attidentity <> '' THEN 'IDENTITY' END, CASE WHEN a.attgenerated <> '' THEN 'GENERATED' END)
	FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
		 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	UNION ALL
	SELECT t.relname::text, 'constraint', c.conname::text, pg_get_constraintdef(c.oid)
	FROM t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype <> 'n'
	UNION ALL
	SELECT t.relname::text, 'index', i.indexrelid::regclass::text,
		   concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END)
	FROM t JOIN pg_index i ON i.indrelid = t.oid
	UNION ALL
	SELECT t.relname::text, 'trigger', g.tgname::text,
		   concat_ws(' ', pg_get_triggerdef(g.oid), CASE g.tgenabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'ENABLED REPLICA' WHEN 'A' THEN 'ENABLED ALWAYS' END)
	FROM t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
	UNION ALL
	SELECT t.relname::text, 'rule', r.rulename::text, pg_get_ruledef(r.oid) FROM t JOIN pg_rewrite r ON r.ev_class = t.oid
	UNION ALL
	SELECT t.relname::text, 'policy', p.polname::text, 'FOR ' || p.polcmd::text FROM t JOIN pg_policy p ON p.polrelid = t.oid
	UNION ALL
	SELECT t.relname::text, 'row security', t.relname::text, CASE WHEN t.relforcerowsecurity THEN 'FORCED' ELSE 'ENABLED' END
	FROM t WHERE t.relrowsecurity OR t.relforcerowsecurity
	UNION ALL
	SELECT t.relname::text, 'inheritance', h.inhrelid::regclass::text, 'INHERITS ' || h.inhparent::regclass::text
	FROM t JOIN pg_inherits h ON t.oid IN (h.inhrelid, h.inhparent)
	UNION ALL
	SELECT t.relname::text, 'persistence', t.relname::text, 'UNLOGGED: a crash of the server empties it' FROM t WHERE t.relpersistence = 'u'
	UNION ALL
	SELECT t.relname::text, 'option', o.option_name, o.option_value FROM t, pg_options_to_table(t.reloptions) o
	) AS d (outbox, kind, name, definition);
END;
REVOKE ALL ON FUNCTION @extschema@._im_outbox_shape() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outbox_shape() IS 'internal: what the outboxes are made of now';

CREATE TABLE @extschema@._im_outbox_made (
	outbox text,
	kind text,
	name text,
	definition text NOT NULL,
	PRIMARY KEY (outbox, kind, name)
);
REVOKE ALL ON TABLE @extschema@._im_outbox_made FROM PUBLIC;
COMMENT ON TABLE @extschema@._im_outbox_made IS 'internal: what the outboxes were made of when the extension made them';
COMMENT ON COLUMN @extschema@._im_outbox_made.outbox IS
'internal: which outbox';
COMMENT ON COLUMN @extschema@._im_outbox_made.kind IS
'internal: column, constraint, index, trigger and so on';
COMMENT ON COLUMN @extschema@._im_outbox_made.name IS
'internal: its name';
COMMENT ON COLUMN @extschema@._im_outbox_made.definition IS
'internal: its definition, without the extension''s schema';

CREATE FUNCTION @extschema@._im_outbox_changes(OUT outbox pg_catalog.text, OUT kind pg_catalog.text, OUT name pg_catalog.text, OUT change pg_catalog.text, OUT harmless boolean)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(n.outbox, m.outbox), coalesce(n.kind, m.kind), coalesce(n.name, m.name),
		   CASE WHEN m.kind IS NULL THEN 'added: ' || n.definition
				WHEN n.kind IS NULL THEN 'dropped, it was: ' || m.definition
				ELSE 'altered, it is: ' || n.definition END,
		   m.kind IS NULL AND (n.kind = 'option' OR (n.kind = 'index' AND n.definition LIKE 'CREATE INDEX %'))
	FROM @extschema@._im_outbox_shape() n
		 FULL JOIN @extschema@._im_outbox_made m ON m.outbox = n.outbox AND m.kind = n.kind AND m.name = n.name
	WHERE m.definition IS DISTINCT FROM n.definition;
END;
REVOKE ALL ON FUNCTION @extschema@._im_outbox_changes() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@._im_outbox_changes() IS
'internal: what was altered in the outboxes since the extension made them; pg_dump keeps none of it';

INSERT INTO @extschema@._im_outbox_made SELECT * FROM @extschema@._im_outbox_shape();

-- Where all tables are replicated, what is about another server stays out.
DO $local$
DECLARE
	internal text;
BEGIN
	FOREACH internal IN ARRAY ARRAY['_im_tally', '_im_control', '_im_days', '_im_audit', '_im_listed', 'im_import_ghosts',
		'im_import_verified', '_im_outbox_made', '_im_identity']
	LOOP
		EXECUTE pg_catalog.format($sql$
			CREATE TRIGGER im_internal_local BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.%1$I
				FOR EACH ROW EXECUTE FUNCTION @extschema@._im_local();
			ALTER TABLE @extschema@.%1$I ENABLE REPLICA TRIGGER im_internal_local
			$sql$, internal);
	END LOOP;
END
$local$;
