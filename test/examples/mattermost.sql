-- channels as Mattermost 6 to 10 have it on PostgreSQL, with channels that hurt.
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
