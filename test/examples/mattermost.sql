-- users, channels, channelmembers and posts as Mattermost 6 to 10 have them on PostgreSQL, with rows that hurt.
CREATE TYPE channel_type AS ENUM ('P', 'G', 'O', 'D');
CREATE TABLE channels (
    id varchar(26) PRIMARY KEY,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    teamid varchar(26),
    type channel_type,
    displayname varchar(64),
    name varchar(64),
    header varchar(1024),
    purpose varchar(250),
    lastpostat bigint,
    totalmsgcount bigint,
    extraupdateat bigint,
    creatorid varchar(26),
    schemeid varchar(26),
    groupconstrained boolean,
    shared boolean,
    totalmsgcountroot bigint,
    lastrootpostat bigint DEFAULT 0,
    bannerinfo jsonb,
    defaultcategoryname varchar(64) NOT NULL DEFAULT ''
);

INSERT INTO channels (id, createat, updateat, deleteat, teamid, type, displayname, name, header, purpose, creatorid) VALUES
-- made by the system: no creator
('7pnw4bh1tpyfxkwzw3j7q5dm6c', 1546300800123, 1546300800123, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Town Square', 'town-square', '', '', ''),
('9d5zcgrpj3gz8qinx1cyr8ueea', 1546300800124, 1546300800124, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Off-Topic', 'off-topic', '', 'Everything else', ''),
-- as they should be
('k1h4u8xgktfu3y9g6rb7nzq5do', 1577836800000, 1577836800000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Developers', 'developers', 'Build: :green_circle: | [CI](https://ci.example.com)', 'Code and reviews', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
('m7qpd5hz9jy4xr8ctn6wk3efsa', 1583020800500, 1590000000000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'P', 'Salaries', 'salaries', '', '', 'b4w6q1m5s7yfjktx2h9dzrnc8o'),
-- emoji and Chinese: 64 characters are up to 256 bytes
('q9rw2ebn4tdu8yfk5hxm7jgc1a', 1609459200999, 1609459200999, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', '🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉 party planning', 'party', '', '🍰', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
('w3fx6cyj8bgz1kpn9qdr5uhe7o', 1609459300000, 1609459300000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', '产品设计与用户体验讨论组', 'design-cn', '每周三例会', '', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
-- a long header: 300 bytes are taken
('x5ht9dzm2rcu7wgq4nyk8jfb6e', 1609459400000, 1609459400000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Support - second level, escalations and on-call hand-over notes', 'support-2', repeat('see the handbook ', 40), repeat('escalation ', 22), 'u3ybk7yttfg4pm81fe1sdtaq7e'),
-- no name that one could see
('y8ju3fbp6teu9xhr5mzn2kgd4c', 1609459500000, 1609459500000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', '   ', 'blank', '', '', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
-- its creator's account was never imported: the service answers 10019
('z1kv5gcq7ufw3yjs8nan4mhe6o', 1609459600000, 1609459600000, 0, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Alumni', 'alumni', '', '', 'gone5ttf7yg4pm81fe1sdtaq7e'),
-- a message to several: no team, named after its members
('a3mx7hdr9vgy5zku1pcb6njf8e', 1640995200000, 1640995200000, 0, '', 'G', 'alice, bob, carol, dave, eve, frank', 'f1d2d2f924e986ac86fdf7b36c94bcdf32beec15', '', '', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
-- left out: a message to one, and archived channels
('c5ny9jfs2whz7amv3qed8pkg1o', 1640995300000, 1640995300000, 0, '', 'D', '', 'u3ybk7yttfg4pm81fe1sdtaq7e__b4w6q1m5s7yfjktx2h9dzrnc8o', '', '', ''),
('d6oz1kgt4xia8bnw5rfe9qlh3a', 1546300900000, 1640995300000, 1640995300000, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'O', 'Project X', 'project-x', '', '', 'u3ybk7yttfg4pm81fe1sdtaq7e'),
('e7pa3lhu6yjb9cox7sgf1rmi5e', 1546300900000, 1640995400000, 1640995400000, 'ts6yj1kqkbnx3ghkxy1wcb3oqa', 'P', 'Project Y', 'project-y', '', '', 'b4w6q1m5s7yfjktx2h9dzrnc8o');

CREATE TABLE users (
    id varchar(26) PRIMARY KEY,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    username varchar(64) UNIQUE,
    password varchar(128),
    authdata varchar(128) UNIQUE,
    authservice varchar(32),
    email varchar(128) UNIQUE,
    emailverified boolean,
    nickname varchar(64),
    firstname varchar(64),
    lastname varchar(64),
    roles varchar(256)
);
CREATE TABLE channelmembers (
    channelid varchar(26) NOT NULL,
    userid varchar(26) NOT NULL,
    roles varchar(256),
    lastviewedat bigint,
    msgcount bigint,
    mentioncount bigint,
    notifyprops jsonb,
    lastupdateat bigint,
    schemeuser boolean,
    schemeadmin boolean,
    schemeguest boolean,
    mentioncountroot bigint,
    msgcountroot bigint,
    PRIMARY KEY (channelid, userid)
);
CREATE TABLE posts (
    id varchar(26) PRIMARY KEY,
    createat bigint,
    updateat bigint,
    deleteat bigint,
    userid varchar(26),
    channelid varchar(26),
    rootid varchar(26),
    originalid varchar(26),
    message varchar(65535),
    type varchar(26),
    props jsonb,
    hashtags varchar(1000),
    filenames varchar(4000),
    fileids varchar(300),
    hasreactions boolean,
    editat bigint,
    ispinned boolean,
    remoteid varchar(26)
);

INSERT INTO users (id, createat, deleteat, username, email, nickname, firstname, lastname) VALUES
('u3ybk7yttfg4pm81fe1sdtaq7e', 1546300000000, 0, 'alice', 'alice@example.com', 'Al 🎉', 'Alice', 'Liddell'),
-- deactivated, and a sender
('b4w6q1m5s7yfjktx2h9dzrnc8o', 1546300000000, 1640995200000, 'bob', 'bob@example.com', '', 'Bob', ''),
('c0dex5ntw8rkz4hjm2bpq6uf3g', 1546300000000, 0, 'carol', 'carol@example.com', '  ', '', '');

UPDATE channels SET totalmsgcount = CASE id WHEN 'k1h4u8xgktfu3y9g6rb7nzq5do' THEN 5 ELSE 1 END;

INSERT INTO channelmembers (channelid, userid, msgcount, schemeuser, schemeadmin, schemeguest) VALUES
('k1h4u8xgktfu3y9g6rb7nzq5do', 'u3ybk7yttfg4pm81fe1sdtaq7e', 5, true, true, false),
('k1h4u8xgktfu3y9g6rb7nzq5do', 'b4w6q1m5s7yfjktx2h9dzrnc8o', 2, true, true, false),
-- a count that is ahead of the channel's
('k1h4u8xgktfu3y9g6rb7nzq5do', 'c0dex5ntw8rkz4hjm2bpq6uf3g', 9, true, false, false),
('m7qpd5hz9jy4xr8ctn6wk3efsa', 'b4w6q1m5s7yfjktx2h9dzrnc8o', 1, true, true, false),
('z1kv5gcq7ufw3yjs8nan4mhe6o', 'u3ybk7yttfg4pm81fe1sdtaq7e', 1, true, false, false),
('c5ny9jfs2whz7amv3qed8pkg1o', 'u3ybk7yttfg4pm81fe1sdtaq7e', 1, true, false, false),
-- of an archived channel
('d6oz1kgt4xia8bnw5rfe9qlh3a', 'u3ybk7yttfg4pm81fe1sdtaq7e', 1, true, false, false);

INSERT INTO posts (id, createat, deleteat, userid, channelid, message, type, fileids) VALUES
('p01', 1577836801000, 0, 'u3ybk7yttfg4pm81fe1sdtaq7e', 'k1h4u8xgktfu3y9g6rb7nzq5do', 'alice joined', 'system_join_channel', '[]'),
('p02', 1577836900100, 0, 'u3ybk7yttfg4pm81fe1sdtaq7e', 'k1h4u8xgktfu3y9g6rb7nzq5do', 'first', '', '[]'),
-- the same second
('p03', 1577836900900, 0, 'b4w6q1m5s7yfjktx2h9dzrnc8o', 'k1h4u8xgktfu3y9g6rb7nzq5do', 'second "quoted" 🎉', '', '[]'),
('p04', 1577836950000, 1577836960000, 'b4w6q1m5s7yfjktx2h9dzrnc8o', 'k1h4u8xgktfu3y9g6rb7nzq5do', 'a mistake', '', '[]'),
('p05', 1577837000000, 0, 'c0dex5ntw8rkz4hjm2bpq6uf3g', 'k1h4u8xgktfu3y9g6rb7nzq5do', '', '', '["f1d2d2f924e986ac86fdf7b36c"]'),
('p06', 1577837100000, 0, 'c0dex5ntw8rkz4hjm2bpq6uf3g', 'k1h4u8xgktfu3y9g6rb7nzq5do', repeat('长', 6000), '', '[]'),
('p07', 1609459700000, 0, 'u3ybk7yttfg4pm81fe1sdtaq7e', 'z1kv5gcq7ufw3yjs8nan4mhe6o', 'of a channel whose creator is gone', '', '[]'),
('p08', 1640995400000, 0, 'u3ybk7yttfg4pm81fe1sdtaq7e', 'c5ny9jfs2whz7amv3qed8pkg1o', 'hello Bob', '', '[]'),
('p09', 1640995400000, 0, 'b4w6q1m5s7yfjktx2h9dzrnc8o', 'c5ny9jfs2whz7amv3qed8pkg1o', 'hello Alice', '', '[]'),
('p10', 1640995400000, 0, 'u3ybk7yttfg4pm81fe1sdtaq7e', 'd6oz1kgt4xia8bnw5rfe9qlh3a', 'in an archive', '', '[]');
