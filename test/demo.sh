#!/bin/sh
# A whole migration in a minute: a real chat, 1,190 people in 28 rooms with
# 10,080 messages, and what they said to each other by name as one-to-one
# messages, into a stand-in for the IM service, and a comparison of what arrived
# with what was there.  As root, on Debian 12 or 13:
#
#   sh test/demo.sh          installs packages that are missing, builds, runs
#   sh test/demo.sh stop     ends what it left running and removes its folder
#
# Nothing is installed into your PostgreSQL, no cluster of yours is touched,
# and nothing leaves the machine but apt-get.  DEMO_DIR moves its folder.
# PG_MAJOR=17 asks for a version; without it the newest that is installed is
# taken, or the one that the system offers.  DEMO_KILLS=100 kills the worker or
# stops the server at once, so many times, while rows are on their way.

set -u
HERE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$HERE/test/lib.sh"

FOLDER=${DEMO_DIR:-/tmp/im_import_demo}	# absolute
MARK=$FOLDER/this_is_the_im_import_demo

heading()
{
	printf '\n== %s\n\n' "$*"
}

fail()
{
	echo
	echo "DEMO FAILED: $*" >&2
	echo "Its logs are $FOLDER/build.log, postgres.log and service.log; sh $HERE/test/demo.sh stop ends what still runs." >&2
	exit 1
}

# stop_demo: ends a former demo's server and stand-in and removes its folder.
stop_demo()
{
	[ -e "$FOLDER" ] || [ -L "$FOLDER" ] || return 1
	[ -d "$FOLDER" ] && [ ! -L "$FOLDER" ] && [ -e "$MARK" ] && [ "$(stat -c %U "$MARK")" = root ] ||
		die "$FOLDER is not a demo's folder: move it away, or set DEMO_DIR"
	for file in data/postmaster.pid service.pid; do
		[ ! -s "$FOLDER/$file" ] || end_process INT "$(head -n 1 "$FOLDER/$file")" "$FOLDER/"
	done
	rm -rf -- "$FOLDER"
}

# sql: runs the statements on standard input, and shows them.
sql()
{
	as_postgres psql -X -e -v ON_ERROR_STOP=1 -P pager=off -P footer=off -h "$DIR/socket" -d demo "$@" ||
		fail "a statement did not work"
}

# value STATEMENT: its one value.
value()
{
	as_postgres psql -X -A -t -q -v ON_ERROR_STOP=1 -h "$DIR/socket" -d demo -c "$1" ||
		fail "a statement did not work"
}

# expect WHAT WANTED STATEMENT
expect()
{
	found=$(value "$3")
	[ "$found" = "$2" ] || fail "$1: $2 expected, found $found"
}

# The statement that counts what is open, and the one that says how far each kind is.
OPEN_ROWS=
COUNTS=
for kind in account friend dialog group member message unread; do
	OPEN_ROWS="${OPEN_ROWS:+$OPEN_ROWS + }(SELECT count(*) FROM im_${kind}_outbox WHERE status IN ('pending', 'sending'))"
	COUNTS="${COUNTS:+$COUNTS UNION ALL }SELECT '$kind', count(*) FILTER (WHERE status = 'imported'), count(*) FROM im_${kind}_outbox"
done
COUNTS="SELECT string_agg(format('%s %s of %s', kind, imported, total), ', ' ORDER BY kind) FROM ($COUNTS) AS c (kind, imported, total)"

open_rows()
{
	value "SELECT $OPEN_ROWS"
}

# progress: a line that says how far each kind of row is.
progress()
{
	printf '%s  %s\n' "$(date +%T)" "$(value "$COUNTS")"
}

# copy_ledger: what happened in the app so far, in the table ledger.
copy_ledger()
{
	sql <<END
TRUNCATE ledger;
\\copy ledger FROM '$DIR/service/ledger.jsonl' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
ANALYZE ledger;
END
}

# is_up: the server answers.
is_up()
{
	as_postgres psql -X -h "$DIR/socket" -d demo -c 'SELECT 1' >/dev/null 2>&1
}

# strike: while rows are on their way their worker dies, or the server with it.
strike()
{
	pid=$(value "SELECT worker_pid FROM im_import_status WHERE sending > 0")
	[ -n "$pid" ] || return
	kills=$((kills + 1))
	if [ $((kills % 4)) = 0 ]; then
		as_postgres pg_ctl -D "$DIR/data" -m immediate -w stop >/dev/null
		start_postgres
	else
		kill -s KILL "$pid"
	fi
	# the server notices, ends its sessions, and comes back
	sleep 0.5
	tries=0
	until is_up; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || fail "PostgreSQL did not come back: $(tail -n 5 "$DIR/postgres.log")"
		sleep 0.2
	done
}

start_postgres()
{
	(detached "$DIR/start.log" "$DIR/start.err" as_postgres pg_ctl -D "$DIR/data" -w -l "$DIR/postgres.log" start) ||
		fail "PostgreSQL did not start: $(tail -n 5 "$DIR/postgres.log")"
}

need_root
case ${1-} in
	'') ;;
	stop)
		stop_demo && echo "stopped, $FOLDER removed" || echo "no demo is there"
		exit 0
		;;
	*) die "usage: sh $0 [stop]" ;;
esac

choose_major

heading "1. Build im_import, beside a private copy of PostgreSQL $PG_MAJOR"

# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES
stop_demo && echo "the former demo was stopped"
# refuses what somebody else may have put there
mkdir -m 700 "$FOLDER" || die "cannot make the folder $FOLDER"
claim_folder "$FOLDER"
: >"$MARK"
copy_tree "$HERE"
copy_server pg
# with_llvm=no: without bitcode for the JIT compiler, which has no use for it here
{ make_extension with_llvm=no all && make_extension with_llvm=no DESTDIR="$ROOT" install; } \
	>"$DIR/build.log" 2>&1 || {
	tail -n 30 "$DIR/build.log" >&2
	fail "the build failed"
}
echo "built and installed in $ROOT"

heading "2. Start the stand-in for the IM service, and PostgreSQL"

KEY=$(openssl rand -hex 32)
as_postgres sh -c 'umask 077 && cat >"$0"' "$DIR/im.key" <<END
$KEY
END
start_service service --sdkappid 1400000000 --secret "$KEY" --admin administrator \
	--accounts listed --set 'rates="published"'
echo "$SERVICE_PID" >"$DIR/service.pid"
echo "the stand-in listens on https://127.0.0.1:$HTTPS_PORT"

as_postgres mkdir -m 700 "$DIR/socket"
as_postgres initdb -D "$DIR/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 >"$DIR/initdb.log" 2>&1 ||
	fail "initdb: $(tail -n 5 "$DIR/initdb.log")"
as_postgres sh -c 'cat >>"$0"' "$DIR/data/postgresql.conf" <<END
shared_preload_libraries = 'im_import'
listen_addresses = ''
unix_socket_directories = '$DIR/socket'
END
start_postgres
as_postgres createdb -h "$DIR/socket" demo || fail "createdb"
echo "PostgreSQL runs with shared_preload_libraries = 'im_import'"

heading "3. The old chat, as it is, in tables of yours: 28 rooms of #ubuntu with people and history"

sql <<END
CREATE SCHEMA legacy;
CREATE TABLE legacy.rooms (key text PRIMARY KEY, name text, created timestamptz, owner text);
CREATE TABLE legacy.members (room text, nick text, joined timestamptz);
CREATE TABLE legacy.messages (room text, n integer, sent timestamptz, nick text, text text, PRIMARY KEY (room, n));
\\copy legacy.rooms FROM '$DIR/src/test/data/ubuntu-irc/rooms.csv' WITH (FORMAT csv, HEADER)
\\copy legacy.members FROM '$DIR/src/test/data/ubuntu-irc/members.csv' WITH (FORMAT csv, HEADER)
\\copy legacy.messages FROM '$DIR/src/test/data/ubuntu-irc/messages.csv' WITH (FORMAT csv, HEADER)
CREATE VIEW legacy.users AS SELECT DISTINCT nick FROM legacy.members;
-- who wrote something has read up to there
CREATE VIEW legacy.unread AS
SELECT m.room, m.nick, count(*) AS unread
FROM (SELECT room, nick, max(n) AS last FROM legacy.messages GROUP BY room, nick) m
     JOIN legacy.messages later ON later.room = m.room AND later.n > m.last
GROUP BY m.room, m.nick;
-- a channel's log has no private messages, and no lists of friends: what people said to each other
-- by name stands in for the one, and those who did so in both directions for the other
CREATE TABLE legacy.dialogs AS
SELECT m.room, m.n, m.sent, m.nick, u.nick AS to_nick, m.text
FROM legacy.messages m
     JOIN legacy.users u ON u.nick = substring(m.text FROM '^([^[:space:]:,]+)[:,][[:space:]]+[^[:space:]]') AND u.nick <> m.nick;
CREATE TABLE legacy.friends AS
SELECT nick, to_nick, min(sent) AS since FROM legacy.dialogs d
WHERE EXISTS (SELECT FROM legacy.dialogs back WHERE back.nick = d.to_nick AND back.to_nick = d.nick) GROUP BY nick, to_nick;
ANALYZE legacy.members, legacy.messages;

SELECT n, sent, nick, left(text, 60) AS text FROM legacy.messages WHERE room = 'ubuntu-20041115' ORDER BY n LIMIT 5;
END
expect "people, rooms, memberships and messages of the log" "1190 28 1298 10080" \
	"SELECT concat_ws(' ', (SELECT count(*) FROM legacy.users), (SELECT count(*) FROM legacy.rooms),
	                       (SELECT count(*) FROM legacy.members), (SELECT count(*) FROM legacy.messages))"
UNREAD=$(value "SELECT count(*) FROM legacy.unread")
FRIENDS=$(value "SELECT count(*) FROM legacy.friends")
DIALOGS=$(value "SELECT count(*) FROM legacy.dialogs")

heading "4. Connect the database to its IM app (the stand-in; with a region instead of endpoint and ca_file it is the real one)"

# who wants to see many crashes needs a move that lasts
SLOWER=${DEMO_KILLS:+", rate_limit '60'"}
sql <<END
CREATE EXTENSION im_import;
CREATE SERVER im FOREIGN DATA WRAPPER im_import
  OPTIONS (sdkappid '1400000000', endpoint 'https://127.0.0.1:$HTTPS_PORT', ca_file '$DIR/service/ca.pem'$SLOWER);
CREATE USER MAPPING FOR CURRENT_USER SERVER im
  OPTIONS (identifier 'administrator', secret_key_file '$DIR/im.key');
END

heading "5. Look first: what would be sent, and what would go wrong. Nothing is called"

sql <<'END'
SELECT im_row_json('message', t) FROM (SELECT nick AS from_account, sent AS send_time, text, room AS group_source_id
                                       FROM legacy.messages WHERE room = 'ubuntu-20041115' AND n = 1) t;

-- the nicks become UserIDs: at most 32 bytes, and some characters are not safe in every client
SELECT problem, count(*) AS people, min(nick) AS one_of_them
FROM legacy.users u, LATERAL (SELECT u.nick AS user_id) t, unnest(im_row_problems('account', t, true)) p, im_problem_kind(p) problem
GROUP BY problem;
SELECT im_row_problems('account', t) FROM (SELECT 'somebody_whose_nick_is_far_too_long' AS user_id) t;
END
expect "nicks that cannot be a UserID" 0 \
	"SELECT count(*) FROM legacy.users u, LATERAL (SELECT u.nick AS user_id) t WHERE im_row_problems('account', t) <> '{}'"
expect "nicks with a character that some client may not like, each with a warning" \
	"$(value "SELECT count(*) FROM legacy.users WHERE nick !~ '^[A-Za-z0-9_-]+\$'")" \
	"SELECT count(*) FROM legacy.users u, LATERAL (SELECT u.nick AS user_id) t WHERE im_row_problems('account', t, true)::text LIKE '%warning: user_id%'"
expect "the words for a nick of 35 bytes" t \
	"SELECT im_row_problems('account', t)::text ~ '35 bytes.*limit is 32' FROM (SELECT 'somebody_whose_nick_is_far_too_long' AS user_id) t"

heading "6. Load everything. The order of the statements does not matter: the extension finds the order of the move"

as_postgres sh -c 'cat >"$0"' "$DIR/load.sql" <<'END'
INSERT INTO im_account_outbox (user_id, nick)
SELECT nick, nick FROM legacy.users ON CONFLICT DO NOTHING;

INSERT INTO im_friend_outbox (user_id, friend_id, add_time)
SELECT nick, to_nick, since FROM legacy.friends ON CONFLICT DO NOTHING;

INSERT INTO im_dialog_outbox (source_id, from_account, to_account, send_time, text)
SELECT room || '/' || n, nick, to_nick, sent, text FROM legacy.dialogs ORDER BY sent, room, n ON CONFLICT DO NOTHING;

INSERT INTO im_group_outbox (source_id, type, name, owner_account, create_time)
SELECT key, 'Public', im_fit(name, 30), owner, created FROM legacy.rooms ON CONFLICT DO NOTHING;

INSERT INTO im_member_outbox (group_source_id, member_account, join_time)
SELECT room, nick, joined FROM legacy.members ON CONFLICT DO NOTHING;

INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text)
SELECT room || '/' || n, room, nick, sent, text FROM legacy.messages ORDER BY room, n ON CONFLICT DO NOTHING;

INSERT INTO im_unread_outbox (group_source_id, member_account, unread_msg_num)
SELECT room, nick, unread FROM legacy.unread ON CONFLICT DO NOTHING;
END
began=$(date +%s)
sql -1 -f "$DIR/load.sql"

heading "7. A background worker sends the rows. Meanwhile: imported rows of each kind, of all"

kills=0
limit=$((300 + 15 * ${DEMO_KILLS:-0}))
until [ "$(open_rows)" = 0 ]; do
	progress
	[ $(($(date +%s) - began)) -lt $limit ] || fail "rows are still open after $limit seconds"
	if [ "$kills" -lt "${DEMO_KILLS:-0}" ]; then strike; else sleep 1; fi
done
progress
if [ "$kills" != 0 ]; then
	echo "The worker or the server died $kills times."
	# a row whose attempts were used up by deaths is in doubt, and goes again as its advice says
	sql -c "SELECT im_import_retry(status => 'in_doubt')"
	sql -c "CALL im_import_wait(timeout => '5 minutes')"
fi
printf '\nThe move took %d seconds.\n\n' $(($(date +%s) - began))
sql <<'END'
CALL im_import_wait(timeout => '1 minute');
END
ALL="account 1190 of 1190, dialog $DIALOGS of $DIALOGS, friend $FRIENDS of $FRIENDS, group 28 of 28, member 1298 of 1298, message 10080 of 10080, unread $UNREAD of $UNREAD"
expect "imported rows of each kind" "$ALL" "$COUNTS"

heading "8. The same script once more, as every night until the switch: it adds only what is new, here nothing"

sql -1 -f "$DIR/load.sql"
expect "open rows after the second load" 0 "SELECT $OPEN_ROWS"
expect "imported rows of each kind after the second load" "$ALL" "$COUNTS"

heading "9. Compare what the app has, by the stand-in's own ledger, with the log: message by message"

sql -c "CREATE TABLE ledger (line json)"
copy_ledger
sql <<'END'
CREATE TABLE app_room AS		-- which group is which room: by name, as a person would tell
SELECT r.key AS room, l.line ->> 'group_id' AS group_id
FROM ledger l JOIN legacy.rooms r ON r.name = l.line ->> 'name' WHERE l.line ->> 'kind' = 'group';

CREATE TABLE compared AS
SELECT log.room IS NULL AS not_in_the_log, app.room IS NULL AS not_in_the_app,
       log.text = app.body -> 0 -> 'MsgContent' ->> 'Text' AND json_array_length(app.body) = 1 AS same_text, log.nick = app.sender AS same_sender,
       app.time - extract(epoch FROM log.sent)::bigint AS seconds_later, app.time > app.time_before AS in_order
FROM (SELECT room, nick, sent, text, row_number() OVER (PARTITION BY room ORDER BY n) AS place FROM legacy.messages) log
     FULL JOIN
     (SELECT r.room, l.line -> 'body' AS body, l.line ->> 'from' AS sender, (l.line ->> 'time')::bigint AS time,
             row_number() OVER w AS place, lag((l.line ->> 'time')::bigint, 1, 0::bigint) OVER w AS time_before
      FROM ledger l LEFT JOIN app_room r ON r.group_id = l.line ->> 'group_id' WHERE l.line ->> 'kind' = 'message'
      WINDOW w AS (PARTITION BY r.room ORDER BY (l.line ->> 'seq')::bigint)) app
     USING (room, place);

SELECT count(*) FILTER (WHERE NOT not_in_the_log AND NOT not_in_the_app) AS messages, count(*) FILTER (WHERE not_in_the_app) AS lost,
       count(*) FILTER (WHERE not_in_the_log) AS too_many, count(*) FILTER (WHERE same_text) AS same_text,
       count(*) FILTER (WHERE same_sender) AS same_sender, count(*) FILTER (WHERE in_order) AS in_order,
       count(*) FILTER (WHERE seconds_later = 0) AS same_second, max(seconds_later) AS most_seconds_later
FROM compared;
END
expect "messages in the app at their place, with their text and sender, not before their time" 10080 \
	"SELECT count(*) FROM compared WHERE same_text AND same_sender AND in_order AND seconds_later >= 0"
expect "messages that one side has and the other has not" 0 \
	"SELECT count(*) FROM compared WHERE not_in_the_log OR not_in_the_app"
expect "messages that were moved by more than max_time_shift, an hour" 0 "SELECT count(*) FROM compared WHERE seconds_later > 3600"
expect "people, each created once" "1190 1190" \
	"SELECT concat_ws(' ', count(*), count(DISTINCT u.nick)) FROM ledger l LEFT JOIN legacy.users u ON u.nick = l.line ->> 'user_id'
	 WHERE l.line ->> 'kind' = 'account'"
expect "rooms, each created once, with its owner and time" "28 28" \
	"SELECT concat_ws(' ', count(*), count(DISTINCT r.key)) FROM ledger l LEFT JOIN legacy.rooms r ON r.name = l.line ->> 'name'
	 AND r.owner = l.line ->> 'owner' AND extract(epoch FROM r.created) = (l.line ->> 'create_time')::bigint
	 WHERE l.line ->> 'kind' = 'group'"
expect "memberships, each made once; an owner is a member without an entry" "1298 1298" \
	"SELECT concat_ws(' ', count(*), count(DISTINCT (m.room, m.nick)) FILTER (WHERE m.room IS NOT NULL))
	 FROM (SELECT a.room, l.line ->> 'member' AS nick, (l.line ->> 'join_time')::bigint AS joined
	       FROM ledger l LEFT JOIN app_room a ON a.group_id = l.line ->> 'group_id' WHERE l.line ->> 'kind' = 'member'
	       UNION ALL
	       SELECT r.key, r.owner, extract(epoch FROM m.joined)::bigint FROM legacy.rooms r JOIN legacy.members m ON m.room = r.key AND m.nick = r.owner) app
	 LEFT JOIN legacy.members m ON m.room = app.room AND m.nick = app.nick AND extract(epoch FROM m.joined)::bigint = app.joined"
# To set one a second time changes nothing; without a crash nobody does.
SETTINGS="count(*)"
[ "$kills" = 0 ] || SETTINGS="count(DISTINCT (a.room, l.line ->> 'member'))"
expect "unread counts, each set once, and last" "$UNREAD $UNREAD" \
	"SELECT concat_ws(' ', $SETTINGS, count(DISTINCT (u.room, u.nick)) FILTER (WHERE u.room IS NOT NULL AND l.n > last.n))
	 FROM (SELECT line, (line ->> 'n')::bigint AS n FROM ledger WHERE line ->> 'kind' = 'unread') l
	 LEFT JOIN app_room a ON a.group_id = l.line ->> 'group_id'
	 LEFT JOIN legacy.unread u ON u.room = a.room AND u.nick = l.line ->> 'member' AND u.unread = (l.line ->> 'unread')::bigint
	 LEFT JOIN (SELECT line ->> 'group_id' AS group_id, max((line ->> 'n')::bigint) AS n FROM ledger
	            WHERE line ->> 'kind' = 'message' GROUP BY 1) last ON last.group_id = a.group_id"
expect "friendships, each made once, in its direction" "$FRIENDS $FRIENDS" \
	"SELECT concat_ws(' ', count(*), count(DISTINCT (f.nick, f.to_nick)) FILTER (WHERE f.nick IS NOT NULL))
	 FROM ledger l LEFT JOIN legacy.friends f ON f.nick = l.line ->> 'from' AND f.to_nick = l.line ->> 'to' WHERE l.line ->> 'kind' = 'friend'"
expect "one-to-one messages, each once, with sender, receiver, text and time" "$DIALOGS 0" \
	"WITH app AS (SELECT l.line ->> 'from' AS nick, l.line ->> 'to' AS to_nick, (l.line ->> 'time')::bigint AS sent,
	                     l.line -> 'body' -> 0 -> 'MsgContent' ->> 'Text' AS text FROM ledger l WHERE l.line ->> 'kind' = 'dialog'),
	      log AS (SELECT nick, to_nick, extract(epoch FROM sent)::bigint AS sent, text FROM legacy.dialogs)
	 SELECT concat_ws(' ', (SELECT count(*) FROM app), (SELECT count(*) FROM (TABLE app EXCEPT ALL TABLE log) other)
	                                                   + (SELECT count(*) FROM (TABLE log EXCEPT ALL TABLE app) other))"
echo "1,190 people, $FRIENDS friendships, $DIALOGS one-to-one messages, 28 rooms, 1,298 memberships, 10,080 messages, $UNREAD unread counts: each is there once, with what the log says."

heading "10. When rows are wrong: 280 rooms of other communities, ten of them with a name that is too long"

sql <<END
CREATE TABLE legacy.communities (key text PRIMARY KEY, name text, section text, about text, homepage text, language text);
\\copy legacy.communities FROM '$DIR/src/test/data/communities.csv' WITH (FORMAT csv, HEADER)
END
expect "communities" 280 "SELECT count(*) FROM legacy.communities"
sql <<'END'
INSERT INTO im_group_outbox (source_id, type, name, introduction)
SELECT key, 'Public', name, im_fit(about, 240) FROM legacy.communities;
CALL im_import_wait(timeout => '5 minutes', raise_on_failure => false);

SELECT source_id, status, error_info FROM im_import_failures ORDER BY id;
END
COMMUNITIES="FROM im_group_outbox o JOIN legacy.communities c ON c.key = o.source_id"
expect "imported rows" 270 "SELECT count(*) $COMMUNITIES WHERE status = 'imported'"
expect "invalid rows" 10 "SELECT count(*) $COMMUNITIES WHERE status = 'invalid'"
expect "rows in all" 280 "SELECT count(*) $COMMUNITIES"
expect "invalid rows whose error_info names the limit and the length" 10 \
	"SELECT count(*) $COMMUNITIES WHERE status = 'invalid'
	 AND error_info LIKE '%name%' AND error_info ~ '\\m30\\M' AND error_info ~ ('\\m' || octet_length(o.name) || '\\M')"

echo "Repair: cut the ten names to 30 bytes, between characters, and set the rows to pending."
echo
sql <<'END'
UPDATE im_group_outbox SET name = im_fit(name, 30), status = 'pending' WHERE status = 'invalid';
CALL im_import_wait(timeout => '5 minutes');
END
expect "imported rows" 280 "SELECT count(*) $COMMUNITIES WHERE status = 'imported'"
expect "rows in all" 280 "SELECT count(*) $COMMUNITIES"
copy_ledger
expect "groups created" 280 "SELECT count(*) FROM ledger WHERE line ->> 'kind' = 'group' AND line ->> 'group_id' NOT IN (SELECT group_id FROM app_room)"
expect "rows created exactly once, with their content" 280 \
	"SELECT count(*) FROM (SELECT o.id $COMMUNITIES JOIN ledger l ON l.line ->> 'group_id' = o.group_id AND l.line ->> 'kind' = 'group'
	 WHERE l.line -> 'body' ->> 'Name' = o.name
	 AND l.line -> 'body' ->> 'Introduction' IS NOT DISTINCT FROM o.introduction
	 GROUP BY o.id HAVING count(*) = 1) AS once"
echo "280 rows, 280 groups, each created exactly once."

heading "The demo worked. Both are still running; look around:"

cat <<END
  sudo $BIN/psql -h $DIR/socket -U postgres demo

  TABLE im_import_status;      TABLE im_message_outbox;      TABLE pg_stat_im_import;

The stand-in's journal of every call is $DIR/service/journal.jsonl, the server's log $DIR/postgres.log.
When done:

  sudo sh $HERE/test/demo.sh stop
END
