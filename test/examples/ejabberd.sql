-- muc_room as ejabberd's SQL schema for several virtual hosts has it, with
-- rooms that hurt.  opts is an Erlang term as Erlang prints it: a text with a
-- byte that Latin-1 cannot show is printed as a list of bytes.
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
('long', 'example.com', 'rooms.example.com', $$[{title,<<"A room for everything that does not fit into any other room">>},{description,<<"x">>},{public,true},{persistent,true},{members_only,false},{password_protected,false},{affiliations,[{{<<"dave">>,<<"example.com">>,<<>>},{owner,<<"founder">>}}]}]$$, '2018-05-05 05:05:05'),
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
