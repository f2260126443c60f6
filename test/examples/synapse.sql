-- The tables that tell Synapse's rooms, as its schema 72 and later has them
-- (of events the columns that matter and those that must not be null), with
-- rooms that hurt.
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
INSERT INTO events (topological_ordering, event_id, type, room_id, processed, outlier, depth, origin_server_ts, sender)
SELECT 2, '$hello' || room_id, 'm.room.message', room_id, true, false, 2, 1700000000000, '@alice:example.org'
FROM rooms;
