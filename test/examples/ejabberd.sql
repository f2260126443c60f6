-- Tables as ejabberd's SQL schema for several virtual hosts has them (the part
-- ejabberd of test/run.sh has that for one), with rows that hurt.  opts is an
-- Erlang term as Erlang prints it: a text with a byte that Latin-1 cannot show
-- is printed as a list of bytes.
CREATE TABLE muc_room (
    name text NOT NULL,
    server_host text NOT NULL,
    host text NOT NULL,
    opts text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX i_muc_room_name_host ON muc_room USING btree (name, host);

INSERT INTO muc_room (name, server_host, host, opts, created_at) VALUES
-- as it should be
('lobby', 'example.com', 'rooms.example.com', $$[{title,<<"The lobby">>},{description,<<"Everybody is welcome">>},{allow_change_subj,true},{public,true},{persistent,true},{members_only,false},{password_protected,false},{max_users,200},{affiliations,[{{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}},{{<<"bob">>,<<"example.com">>,<<>>},{member,<<>>}}]},{subject,[]}]$$, '2019-03-01 10:00:00'),
-- by invitation; the owner comes second, and as a bare atom
('board', 'example.com', 'rooms.example.com', $$[{title,<<"Board">>},{description,<<>>},{public,false},{persistent,true},{members_only,true},{password_protected,false},{max_users,20},{affiliations,[{{<<"bob">>,<<"example.com">>,<<>>},{admin,<<>>}},{{<<"carol">>,<<"example.com">>,<<>>},owner}]}]$$, '2020-06-15 08:30:00'),
-- no title: its name must do
('kitchen', 'example.com', 'rooms.example.com', $$[{title,<<>>},{description,<<>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{max_users,none},{affiliations,[]}]$$, '1970-01-02 00:00:00'),
-- a title in Chinese, printed as bytes (twelve characters)
('cn', 'example.com', 'rooms.example.com', $$[{title,<<228,184,173,230,150,135,232,129,138,229,164,169,229,174,164,230,172,162,232,191,142,229,164,167,229,174,182,232,191,155,230,157,165>>},{description,<<230,172,162,232,191,142>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{max_users,500},{affiliations,[{{<<"li.wei">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2021-01-01 00:00:00'),
-- an emoji, printed as bytes, with the line broken by older versions
('party', 'example.com', 'rooms.example.com', $$[{title,<<80,97,114,116,121,32,240,159,142,137>>},
 {description,<<"cake, and {title,<<\"no title\">>}">>},
 {public,true},{persistent,true},{members_only,false},
 {password_protected,true},{password,<<"s3cret">>},{max_users,200},
 {affiliations,[{{<<"alice">>,<<"example.com">>,<<>>},
                 {owner,<<>>}}]}]$$, '2021-12-31 23:00:00'),
-- quotes and backslashes
('quotes', 'example.com', 'rooms.example.com', $$[{title,<<"C:\\new \"dir\"">>},{description,<<"one\ntwo">>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2022-02-02 02:02:02'),
-- a long title
('long', 'example.com', 'rooms.example.com', $$[{title,<<"A room for everything that does not fit into any other room">>},{description,<<"x">>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"dave">>,<<"example.com">>,<<>>},{owner,<<"founder">>}},{{<<"bob">>,<<"example.com">>,<<>>},{outcast,<<"spam">>}},{{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2018-05-05 05:05:05'),
-- its address is over 48 bytes
('a-room-whose-address-is-too-long-for-a-group-id', 'example.com', 'rooms.example.com', $$[{title,<<"Long address">>},{description,<<>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"dave">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2018-05-06 05:05:05'),
-- its address is not ASCII
('café', 'example.com', 'rooms.example.com', $$[{title,<<"Café">>},{description,<<>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2018-05-07 05:05:05'),
-- owned by somebody of another domain
('guests', 'example.com', 'rooms.example.com', $$[{title,<<"Guests">>},{description,<<>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"mallory">>,<<"elsewhere.org">>,<<>>},{owner,<<>>}}]}]$$, '2018-05-08 05:05:05'),
-- its owner's name is over 32 bytes
('service', 'example.com', 'rooms.example.com', $$[{title,<<"Service desk">>},{description,<<>>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"customer-service-department-account">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2018-05-09 05:05:05'),
-- not persistent: ends with its last visitor
('tmp-4711', 'example.com', 'rooms.example.com', $$[{title,<<"just a minute">>},{description,<<>>},{public,true},{persistent,false},{members_only,false},{password_protected,false},{affiliations,[{{<<"alice">>,<<"example.com">>,<<>>},{owner,<<>>}}]}]$$, '2023-01-01 00:00:00');

CREATE TABLE users (
    username text NOT NULL,
    server_host text NOT NULL,
    "password" text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    PRIMARY KEY (server_host, username)
);
CREATE TABLE vcard (
    username text NOT NULL,
    server_host text NOT NULL,
    vcard text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    PRIMARY KEY (server_host, username)
);
CREATE TABLE rosterusers (
    username text NOT NULL,
    server_host text NOT NULL,
    jid text NOT NULL,
    nick text NOT NULL,
    subscription character(1) NOT NULL,
    ask character(1) NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE rostergroups (
    username text NOT NULL,
    server_host text NOT NULL,
    jid text NOT NULL,
    grp text NOT NULL
);
CREATE TABLE muc_room_subscribers (
    room text NOT NULL,
    host text NOT NULL,
    jid text NOT NULL,
    nick text NOT NULL,
    nodes text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE archive (
    username text NOT NULL,
    server_host text NOT NULL,
    timestamp bigint NOT NULL,
    peer text NOT NULL,
    bare_peer text NOT NULL,
    xml text NOT NULL,
    txt text,
    id serial,
    kind text,
    nick text,
    created_at timestamp NOT NULL DEFAULT now()
);

INSERT INTO users (username, server_host, password)
SELECT u, 'example.com', '' FROM unnest(ARRAY['alice', 'bob', 'carol', 'dave', 'li.wei', 'customer-service-department-account']) u
UNION ALL
-- the same name on another domain is somebody else
SELECT u, 'example.net', '' FROM unnest(ARRAY['alice', 'zoe']) u;

INSERT INTO vcard (username, server_host, vcard) VALUES
('alice', 'example.com', $$<vCard xmlns='vcard-temp'><FN>Alice &amp; Co &lt;x&gt;</FN><NICKNAME>Al 🎉</NICKNAME><PHOTO><EXTVAL>https://img.example.com/a.png?b=1&amp;c=2</EXTVAL></PHOTO></vCard>$$),
('alice', 'example.net', $$<vCard xmlns='vcard-temp'><FN>Another Alice</FN></vCard>$$),
-- no nickname, and a picture inside
('bob', 'example.com', $$<vCard xmlns='vcard-temp' version='2.0'><NICKNAME/><FN>Bob &quot;the&quot; Builder</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw0KGgo=</BINVAL></PHOTO></vCard>$$),
-- two nicknames; the photo is not an address
('dave', 'example.com', $$<vCard xmlns='vcard-temp'><NICKNAME>Dee</NICKNAME><NICKNAME>D</NICKNAME><PHOTO><EXTVAL>my picture</EXTVAL></PHOTO></vCard>$$),
-- not well-formed
('carol', 'example.com', $$<vCard xmlns='vcard-temp'><FN>Carol</vCard>$$);

INSERT INTO rosterusers (username, server_host, jid, nick, subscription, ask, created_at) VALUES
('alice', 'example.com', 'bob@example.com', 'Bobby', 'B', 'N', '2019-05-05 10:00:00'),
('bob', 'example.com', 'alice@example.com', '', 'B', 'N', '2019-05-05 10:00:00'),
-- one way only: dave sees carol
('dave', 'example.com', 'carol@example.com', repeat('长', 40), 'T', 'N', '2019-05-06 10:00:00'),
('carol', 'example.com', 'dave@example.com', '', 'F', 'N', '2019-05-06 10:00:00'),
-- asked, not answered
('alice', 'example.com', 'dave@example.com', '', 'N', 'O', '2019-05-07 10:00:00'),
-- of another domain, and nobody
('alice', 'example.com', 'alice@example.net', '', 'B', 'N', '2019-05-08 10:00:00'),
('alice', 'example.com', 'nobody@example.com', '', 'B', 'N', '2019-05-08 10:00:00'),
('alice', 'example.com', 'icq.example.com', 'a transport', 'B', 'N', '2019-05-08 10:00:00'),
('alice', 'example.net', 'bob@example.com', '', 'B', 'N', '2019-05-08 10:00:00');
INSERT INTO rostergroups (username, server_host, jid, grp) VALUES
('alice', 'example.com', 'bob@example.com', 'Work'),
('alice', 'example.com', 'bob@example.com', 'Friends of the local football club'),
('alice', 'example.com', 'bob@example.com', ''),
('alice', 'example.net', 'bob@example.com', 'Foreign');

INSERT INTO muc_room_subscribers (room, host, jid, nick, nodes) VALUES
('lobby', 'rooms.example.com', 'li.wei@example.com', 'wei', ''),
('lobby', 'rooms.example.com', 'zoe@example.net', 'zoe', '');

-- In rooms: the room's address is the user, the writer is the peer.
INSERT INTO archive (username, server_host, timestamp, peer, bare_peer, xml, txt, kind, nick)
SELECT room || '@rooms.example.com', 'example.com', at, who || '/phone', who,
	format($x$<message to='%s' from='%s/phone' type='groupchat' id='r%s' xmlns='jabber:client'>%s</message>$x$,
		room || '@rooms.example.com', who, n, coalesce(inside, '<body>' || replace(replace(txt, '&', '&amp;'), '<', '&lt;') || '</body>')), txt, 'groupchat', 'nick'
FROM (VALUES
	(1, 'lobby', 'alice@example.com', 1551434400250000, 'Welcome & <enjoy>', NULL),
	-- later in the table, earlier in time, and of the same second
	(2, 'lobby', 'bob@example.com', 1551434400100000, E'first\nline two', NULL),
	(3, 'lobby', 'carol@example.com', 1551434500000000, 'an emoji 🎉', NULL),
	-- its account was deleted
	(4, 'lobby', 'gone@example.com', 1551434600000000, 'before I left', NULL),
	-- banned in the room
	(5, 'long', 'bob@example.com', 1525521905000000, 'of one who was banned', NULL),
	-- left out
	(6, 'lobby', 'alice@example.com', 1551434700000000, '', '<subject>new subject</subject>'),
	(7, 'lobby', 'zoe@example.net', 1551434800000000, 'from another domain', NULL),
	(8, 'lobby', 'bob@example.com', 1551434900000000, 'I sent you an OMEMO encrypted message', '<encrypted xmlns=''eu.siacs.conversations.axolotl''/><body>I sent you an OMEMO encrypted message</body>'),
	(9, 'tmp-4711', 'alice@example.com', 1672531200000000, 'of a passing room', NULL),
	-- a room without a time of creation
	(10, 'kitchen', 'carol@example.com', 1262304000999999, repeat('长', 6000), NULL)) AS m(n, room, who, at, txt, inside)
ORDER BY n;

-- Of two people: a copy for each, whose times differ.
INSERT INTO archive (username, server_host, timestamp, peer, bare_peer, xml, txt, kind)
SELECT owner, 'example.com', at, peer, split_part(peer, '/', 1),
	format($x$<message xml:lang='en' to='%s' from='%s' type='chat'%s xmlns='jabber:client'>%s</message>$x$, receiver, sender, ' id=''' || id || '''',
		coalesce(inside, '<body>' || txt || '</body>')), txt, 'chat'
FROM (VALUES
	(1, 'alice', 1577836800000100, 'bob@example.com', 'alice@example.com/phone', 'bob@example.com', 'a1', 'hi Bob', NULL),
	(2, 'bob', 1577836800050000, 'alice@example.com/phone', 'alice@example.com/phone', 'bob@example.com', 'a1', 'hi Bob', NULL),
	(3, 'bob', 1577836800900000, 'alice@example.com/phone', 'bob@example.com/pc', 'alice@example.com/phone', 'b1', 'hi Alice', NULL),
	(4, 'alice', 1577836801001000, 'bob@example.com/pc', 'bob@example.com/pc', 'alice@example.com/phone', 'b1', 'hi Alice', NULL),
	-- the same words again, without an id, both are meant
	(5, 'alice', 1577836810000000, 'bob@example.com', 'alice@example.com/phone', 'bob@example.com', NULL, 'ok', NULL),
	(6, 'bob', 1577836810003000, 'alice@example.com/phone', 'alice@example.com/phone', 'bob@example.com', NULL, 'ok', NULL),
	(7, 'alice', 1577836811000000, 'bob@example.com', 'alice@example.com/phone', 'bob@example.com', NULL, 'ok', NULL),
	(8, 'bob', 1577836811003000, 'alice@example.com/phone', 'alice@example.com/phone', 'bob@example.com', NULL, 'ok', NULL),
	-- the sender keeps no archive; another sender's account is gone
	(9, 'alice', 1577836820000000, 'dave@example.com/pc', 'dave@example.com/pc', 'alice@example.com', 'd1', 'no archive here', NULL),
	(10, 'alice', 1577836830000000, 'late@example.com/pc', 'late@example.com/pc', 'alice@example.com', 'l1', 'farewell', NULL),
	-- to himself, twice
	(11, 'alice', 1577836840000000, 'alice@example.com', 'alice@example.com/phone', 'alice@example.com', 's1', 'milk', NULL),
	(12, 'alice', 1577836840001000, 'alice@example.com/phone', 'alice@example.com/phone', 'alice@example.com', 's1', 'milk', NULL),
	-- left out
	(13, 'alice', 1577836850000000, 'lobby@rooms.example.com/Bo', 'alice@example.com/phone', 'lobby@rooms.example.com/Bo', 'p1', 'psst', NULL),
	(14, 'alice', 1577836860000000, 'zoe@example.net', 'alice@example.com/phone', 'zoe@example.net', 'z1', 'hello over there', NULL),
	(15, 'alice', 1577836870000000, 'nobody@example.com', 'alice@example.com/phone', 'nobody@example.com', 'n1', 'is anybody there', NULL),
	(16, 'alice', 1577836880000000, 'bob@example.com', 'alice@example.com/phone', 'bob@example.com', 'm1', '', '<received xmlns=''urn:xmpp:chat-markers:0''/>'))
	AS m(n, owner, at, peer, sender, receiver, id, txt, inside)
ORDER BY n;
-- the other domain's archive
INSERT INTO archive (username, server_host, timestamp, peer, bare_peer, xml, txt, kind) VALUES
('zoe', 'example.net', 1577836860000000, 'alice@example.net', 'alice@example.net', $$<message to='alice@example.net' from='zoe@example.net/pc' id='q' xmlns='jabber:client'><body>among us</body></message>$$, 'among us', 'chat');
