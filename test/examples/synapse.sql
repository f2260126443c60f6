-- Tables of Synapse's, as its schema 72 and later has them (of wide ones the
-- columns that matter and those that must not be null), with rows that hurt.
CREATE TABLE rooms (
    room_id text PRIMARY KEY,
    is_public boolean,
    creator text,
    room_version text,
    has_auth_chain_index boolean
);
CREATE TABLE room_stats_state (
    room_id text NOT NULL UNIQUE,
    name text,
    canonical_alias text,
    join_rules text,
    history_visibility text,
    encryption text,
    avatar text,
    guest_access text,
    is_federatable boolean,
    topic text,
    room_type text
);
CREATE TABLE room_stats_current (
    room_id text PRIMARY KEY,
    current_state_events integer NOT NULL,
    joined_members integer NOT NULL,
    invited_members integer NOT NULL,
    left_members integer NOT NULL,
    banned_members integer NOT NULL,
    local_users_in_room integer NOT NULL,
    completed_delta_stream_id bigint NOT NULL,
    knocked_members integer
);
CREATE TABLE events (
    topological_ordering bigint NOT NULL,
    event_id text NOT NULL UNIQUE,
    type text NOT NULL,
    room_id text NOT NULL,
    content text,
    processed boolean NOT NULL,
    outlier boolean NOT NULL,
    depth bigint DEFAULT 0 NOT NULL,
    origin_server_ts bigint,
    received_ts bigint,
    sender text,
    stream_ordering bigint,
    state_key text
);

INSERT INTO rooms (room_id, is_public, creator, room_version) VALUES
('!lobbyAbCdEfGhIjKl:example.org', true, '@alice:example.org', '10'),
('!staffAbCdEfGhIjKl:example.org', false, '@bob:example.org', '10'),
('!knockAbCdEfGhIjKl:example.org', false, '@alice:example.org', '9'),
('!aliasAbCdEfGhIjKl:example.org', true, '@alice:example.org', '6'),
('!nonamAbCdEfGhIjKl:example.org', false, '@bob:example.org', '6'),
('!emojiAbCdEfGhIjKl:example.org', true, '@alice:example.org', '10'),
('!remotAbCdEfGhIjKl:elsewhere.net', true, '@mallory:elsewhere.net', '10'),
('!lAbCdEfGhIjKlMnOp:a-home-server-with-a-rather-long-name.example.org', true, '@alice:example.org', '5'),
('!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM', true, '@alice:example.org', '12'),
('!oldieAbCdEfGhIjKl:example.org', true, NULL, '1'),
('!longuAbCdEfGhIjKl:example.org', true, '@a-bridge-puppet-with-a-very-long-localpart:example.org', '10'),
('!spaceAbCdEfGhIjKl:example.org', true, '@alice:example.org', '10'),
('!directAbCdEfGhIjK:example.org', false, '@alice:example.org', '10'),
('!emptyAbCdEfGhIjKl:example.org', true, '@alice:example.org', '10');

INSERT INTO room_stats_state (room_id, name, canonical_alias, join_rules, encryption, avatar, topic, room_type) VALUES
('!lobbyAbCdEfGhIjKl:example.org', 'Lobby', '#lobby:example.org', 'public', NULL, 'mxc://example.org/aBcD', 'Say hello', NULL),
('!staffAbCdEfGhIjKl:example.org', 'Staff', NULL, 'invite', 'm.megolm.v1.aes-sha2', NULL, NULL, NULL),
('!knockAbCdEfGhIjKl:example.org', 'Knock first', NULL, 'knock', NULL, NULL, NULL, NULL),
('!aliasAbCdEfGhIjKl:example.org', NULL, '#only-an-alias:example.org', 'public', NULL, NULL, NULL, NULL),
('!nonamAbCdEfGhIjKl:example.org', NULL, NULL, 'invite', NULL, NULL, NULL, NULL),
('!emojiAbCdEfGhIjKl:example.org', E'👩‍👩‍👧‍👦 families & friends \u200d🏡 neighbours', NULL, 'public', NULL, NULL, repeat('🏡 ', 90), NULL),
('!remotAbCdEfGhIjKl:elsewhere.net', 'From elsewhere', '#a:elsewhere.net', 'public', NULL, NULL, NULL, NULL),
('!lAbCdEfGhIjKlMnOp:a-home-server-with-a-rather-long-name.example.org', 'Long address', NULL, 'public', NULL, NULL, NULL, NULL),
('!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM', 'Version twelve', NULL, 'restricted', NULL, NULL, NULL, NULL),
('!oldieAbCdEfGhIjKl:example.org', '老房间：一个很久以前创建的聊天室', NULL, 'public', NULL, NULL, NULL, NULL),
('!longuAbCdEfGhIjKl:example.org', 'Bridged', NULL, 'public', NULL, NULL, NULL, NULL),
('!spaceAbCdEfGhIjKl:example.org', 'Our space', NULL, 'public', NULL, NULL, NULL, 'm.space'),
('!directAbCdEfGhIjK:example.org', NULL, NULL, 'invite', 'm.megolm.v1.aes-sha2', NULL, NULL, NULL),
('!emptyAbCdEfGhIjKl:example.org', 'All have left', NULL, 'public', NULL, NULL, NULL, NULL);

INSERT INTO room_stats_current
SELECT room_id, 10, CASE WHEN room_id LIKE '!empty%' THEN 0 WHEN room_id LIKE '!direct%' THEN 2 ELSE 7 END, 0, 0, 0, 2, 1, 0
FROM rooms;

-- the room in version 1 was purged of its first events
INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, origin_server_ts, sender, state_key)
SELECT 1, '$create' || room_id, 'm.room.create', room_id, true, false, 1,
	1600000000123 + 86400000 * row_number() OVER (ORDER BY room_id), coalesce(creator, '@nobody:example.org'), ''
FROM rooms WHERE room_id NOT LIKE '!oldie%';

CREATE TABLE users (
    name text UNIQUE,
    password_hash text,
    creation_ts bigint,
    admin smallint DEFAULT 0 NOT NULL,
    is_guest smallint DEFAULT 0 NOT NULL,
    appservice_id text,
    deactivated smallint DEFAULT 0 NOT NULL
);
CREATE TABLE profiles (
    user_id text NOT NULL UNIQUE,
    displayname text,
    avatar_url text
);
CREATE TABLE current_state_events (
    event_id text NOT NULL,
    room_id text NOT NULL,
    type text NOT NULL,
    state_key text NOT NULL,
    membership text,
    UNIQUE (room_id, type, state_key)
);
CREATE TABLE event_json (
    event_id text NOT NULL UNIQUE,
    room_id text NOT NULL,
    internal_metadata text NOT NULL,
    json text NOT NULL,
    format_version integer
);
CREATE TABLE event_relations (
    event_id text NOT NULL,
    relates_to_id text NOT NULL,
    relation_type text NOT NULL,
    aggregation_key text
);
CREATE TABLE redactions (
    event_id text NOT NULL UNIQUE,
    redacts text NOT NULL,
    have_censored boolean DEFAULT false NOT NULL,
    received_ts bigint
);
CREATE TABLE rejections (
    event_id text NOT NULL UNIQUE,
    reason text NOT NULL,
    last_check text NOT NULL
);
CREATE TABLE account_data (
    user_id text NOT NULL,
    account_data_type text NOT NULL,
    stream_id bigint NOT NULL,
    content text NOT NULL,
    instance_name text,
    UNIQUE (user_id, account_data_type)
);
CREATE TABLE event_push_summary (
    user_id text NOT NULL,
    room_id text NOT NULL,
    notif_count bigint NOT NULL,
    stream_ordering bigint NOT NULL,
    unread_count bigint,
    last_receipt_stream_ordering bigint,
    thread_id text
);
CREATE TABLE event_push_summary_stream_ordering (
    lock character(1) DEFAULT 'X'::bpchar NOT NULL UNIQUE,
    stream_ordering bigint NOT NULL
);
CREATE TABLE event_push_actions (
    room_id text NOT NULL,
    event_id text NOT NULL,
    user_id text NOT NULL,
    actions text NOT NULL,
    topological_ordering bigint,
    stream_ordering bigint,
    notif smallint,
    highlight smallint,
    unread smallint,
    thread_id text
);

INSERT INTO users (name, creation_ts, deactivated) VALUES
('@alice:example.org', 1500000000, 0), ('@bob:example.org', 1500000000, 0), ('@carol:example.org', 1500000000, 1),
('@a-bridge-puppet-with-a-very-long-localpart:example.org', 1500000000, 0);
INSERT INTO profiles (user_id, displayname, avatar_url) VALUES
('alice', 'Alice 🏡', 'mxc://example.org/aBcD'), ('bob', '  ', NULL);

INSERT INTO rooms (room_id, is_public, creator, room_version) VALUES
('!named2AbCdEfGhIjK:example.org', false, '@alice:example.org', '10'),
('!abroadAbCdEfGhIjK:example.org', false, '@alice:example.org', '10');
INSERT INTO room_stats_state (room_id, name, join_rules) VALUES
-- direct, though it has a name; direct, with somebody of another server
('!named2AbCdEfGhIjK:example.org', 'About the cake', 'invite'),
('!abroadAbCdEfGhIjK:example.org', NULL, 'invite');
INSERT INTO room_stats_current
SELECT r, 10, CASE WHEN r LIKE '!named%' THEN 1 ELSE 2 END, 0, 0, 0, 2, 1, 0
FROM unnest(ARRAY['!named2AbCdEfGhIjK:example.org', '!abroadAbCdEfGhIjK:example.org']) r;
INSERT INTO account_data (user_id, account_data_type, stream_id, content) VALUES
('@alice:example.org', 'm.direct', 1, '{"@carol:example.org": ["!named2AbCdEfGhIjK:example.org"], "@zoe:elsewhere.net": ["!abroadAbCdEfGhIjK:example.org"], "@broken:example.org": null}'),
('@alice:example.org', 'm.push_rules', 2, '{}'),
-- a room with seven people stays a group, whatever somebody says
('@bob:example.org', 'm.direct', 3, '{"@alice:example.org": ["!staffAbCdEfGhIjKl:example.org"], "note": ["a\u0000"]}');

INSERT INTO current_state_events (event_id, room_id, type, state_key, membership)
SELECT '$member' || room_id || who, room_id, 'm.room.member', who, membership
FROM (VALUES
	('!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 'join'),
	('!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 'join'),
	('!lobbyAbCdEfGhIjKl:example.org', '@carol:example.org', 'leave'),
	('!lobbyAbCdEfGhIjKl:example.org', '@zoe:elsewhere.net', 'join'),
	('!staffAbCdEfGhIjKl:example.org', '@alice:example.org', 'join'),
	('!staffAbCdEfGhIjKl:example.org', '@bob:example.org', 'join'),
	('!directAbCdEfGhIjK:example.org', '@alice:example.org', 'join'),
	('!directAbCdEfGhIjK:example.org', '@bob:example.org', 'leave'),
	('!named2AbCdEfGhIjK:example.org', '@alice:example.org', 'join')) AS m(room_id, who, membership);
INSERT INTO current_state_events (event_id, room_id, type, state_key)
SELECT '$power' || room_id, room_id, 'm.room.power_levels', '' FROM rooms WHERE room_id LIKE ANY (ARRAY['!lobby%', '!staff%']);
INSERT INTO event_json (event_id, room_id, internal_metadata, json)
SELECT event_id, room_id, '{}', '{"type": "m.room.power_levels", "content": {"users": {"@alice:example.org": 100, "@bob:example.org": 50}}}'
FROM current_state_events WHERE type = 'm.room.power_levels';

-- m.room.message unless it is encrypted; the columns are those in which they differ.
INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, origin_server_ts, received_ts, sender, stream_ordering)
SELECT 10 + n, '$' || id, coalesce(type, 'm.room.message'), room_id, true, id = 'outlier', 10 + n, at, coalesce(received, at + 100), who, 100 + n
FROM (VALUES
	(1, 'hello', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000000900, NULL::bigint, NULL),
	-- of the same second, earlier by its sender's clock
	(2, 'early', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000000100, NULL, NULL),
	(3, 'edited', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000010000, NULL, NULL),
	(4, 'edit1', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000011000, NULL, NULL),
	(5, 'edit2', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000012000, NULL, NULL),
	-- nobody edits what somebody else wrote
	(6, 'forged', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000013000, NULL, NULL),
	(7, 'mistake', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000020000, NULL, NULL),
	(8, 'picture', '!lobbyAbCdEfGhIjKl:example.org', '@bob:example.org', 1700000030000, NULL, NULL),
	(9, 'emote', '!lobbyAbCdEfGhIjKl:example.org', '@carol:example.org', 1700000040000, NULL, NULL),
	-- of the future, if its sender were right
	(10, 'clock', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 4000000000000, 1700000050000, NULL),
	(11, 'null', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000060000, NULL, NULL),
	(12, 'foreign', '!lobbyAbCdEfGhIjKl:example.org', '@zoe:elsewhere.net', 1700000070000, NULL, NULL),
	(13, 'outlier', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000080000, NULL, NULL),
	(14, 'rejected', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000090000, NULL, NULL),
	(15, 'secret', '!staffAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000100000, NULL, 'm.room.encrypted'),
	(16, 'blank', '!lobbyAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000110000, NULL, NULL),
	-- whose room's first events were purged; by somebody who is no user any more
	(17, 'old', '!oldieAbCdEfGhIjKl:example.org', '@purged:example.org', 1500000000500, NULL, NULL),
	(18, 'long', '!oldieAbCdEfGhIjKl:example.org', '@alice:example.org', 1500000001000, NULL, NULL),
	(19, 'inspace', '!spaceAbCdEfGhIjKl:example.org', '@alice:example.org', 1700000120000, NULL, NULL),
	(20, 'direct1', '!directAbCdEfGhIjK:example.org', '@alice:example.org', 1700000130000, NULL, NULL),
	(21, 'direct2', '!directAbCdEfGhIjK:example.org', '@bob:example.org', 1700000130500, NULL, NULL),
	(22, 'direct3', '!named2AbCdEfGhIjK:example.org', '@carol:example.org', 1700000140000, NULL, NULL),
	(23, 'third', '!named2AbCdEfGhIjK:example.org', '@bob:example.org', 1700000150000, NULL, NULL),
	(24, 'abroad', '!abroadAbCdEfGhIjK:example.org', '@alice:example.org', 1700000160000, NULL, NULL)) AS m(n, id, room_id, who, at, received, type);
INSERT INTO event_json (event_id, room_id, internal_metadata, json)
SELECT event_id, room_id, '{}', json_build_object('type', type, 'sender', sender, 'origin_server_ts', origin_server_ts, 'content', CASE event_id
	WHEN '$hello' THEN '{"msgtype": "m.text", "body": "a \"quoted\" & <b>bold</b>\nhello 🏡", "format": "org.matrix.custom.html", "formatted_body": "<b>x</b>"}'::json
	WHEN '$edited' THEN '{"msgtype": "m.text", "body": "a tpyo"}'
	WHEN '$edit1' THEN '{"msgtype": "m.text", "body": "* a tpo", "m.new_content": {"msgtype": "m.text", "body": "a tpo"}}'
	WHEN '$edit2' THEN '{"msgtype": "m.text", "body": "* a typo", "m.new_content": {"msgtype": "m.text", "body": "a typo"}}'
	WHEN '$forged' THEN '{"msgtype": "m.text", "body": "* no", "m.new_content": {"msgtype": "m.text", "body": "forged"}}'
	WHEN '$picture' THEN '{"msgtype": "m.image", "body": "cake.jpg", "url": "mxc://example.org/x"}'
	WHEN '$emote' THEN '{"msgtype": "m.emote", "body": "waves"}'
	WHEN '$secret' THEN '{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA"}'
	WHEN '$blank' THEN '{}'
	WHEN '$long' THEN json_build_object('msgtype', 'm.text', 'body', repeat('长', 6000))
	WHEN '$null' THEN '{"msgtype": "m.text", "body": "nothing\u0000 here, but \\u0000"}'
	ELSE json_build_object('msgtype', 'm.text', 'body', substr(event_id, 2)) END)::text
FROM events WHERE type LIKE 'm.room.%e%' AND event_id NOT LIKE '$create%';
INSERT INTO event_relations (event_id, relates_to_id, relation_type)
SELECT '$' || e, '$edited', 'm.replace' FROM unnest(ARRAY['edit1', 'edit2', 'forged']) e
UNION ALL SELECT '$early', '$hello', 'm.thread';
INSERT INTO redactions (event_id, redacts) VALUES ('$redaction', '$mistake');
INSERT INTO rejections (event_id, reason, last_check) VALUES ('$rejected', 'auth_error', '0');

INSERT INTO event_push_summary_stream_ordering (stream_ordering) VALUES (108);
INSERT INTO event_push_summary (user_id, room_id, notif_count, stream_ordering, thread_id) VALUES
('@bob:example.org', '!lobbyAbCdEfGhIjKl:example.org', 1, 108, 'main'),
('@bob:example.org', '!lobbyAbCdEfGhIjKl:example.org', 1, 108, '$hello'),
('@alice:example.org', '!lobbyAbCdEfGhIjKl:example.org', 0, 108, 'main'),
-- of rooms that are no groups, and of no member
('@alice:example.org', '!directAbCdEfGhIjK:example.org', 2, 108, 'main'),
('@carol:example.org', '!lobbyAbCdEfGhIjKl:example.org', 3, 108, 'main');
INSERT INTO event_push_actions (room_id, event_id, user_id, actions, stream_ordering, notif, highlight, unread) VALUES
-- in the summary already; after it; not notified of
('!lobbyAbCdEfGhIjKl:example.org', '$picture', '@bob:example.org', '', 108, 1, 1, 0),
('!lobbyAbCdEfGhIjKl:example.org', '$emote', '@bob:example.org', '', 109, 1, 0, 0),
('!lobbyAbCdEfGhIjKl:example.org', '$clock', '@bob:example.org', '', 110, 0, 0, 1);
