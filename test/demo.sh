#!/bin/sh
# A whole migration in a minute: 280 real rooms of an old chat into a stand-in
# for the IM service.  As root, on Debian 12 or 13:
#
#   sh test/demo.sh          installs packages that are missing, builds, runs
#   sh test/demo.sh stop     ends what it left running and removes its folder
#
# Nothing is installed into your PostgreSQL, no cluster of yours is touched,
# and nothing leaves the machine but apt-get.  DEMO_DIR moves its folder.
# PG_MAJOR=17 asks for a version; without it the newest that is installed is
# taken, or the one that the system offers.

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
start_service service --sdkappid 1400000000 --secret "$KEY" --admin administrator --rate 200
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
(detached "$DIR/start.log" "$DIR/start.err" as_postgres pg_ctl -D "$DIR/data" -w -l "$DIR/postgres.log" start) ||
	fail "PostgreSQL did not start: $(tail -n 5 "$DIR/postgres.log")"
as_postgres createdb -h "$DIR/socket" demo || fail "createdb"
echo "PostgreSQL runs with shared_preload_libraries = 'im_import'"

heading "3. The old chat: its rooms as they are, in a table of yours"

sql <<END
CREATE SCHEMA legacy;
CREATE TABLE legacy.rooms (key text PRIMARY KEY, name text, section text, about text, homepage text, language text);
\\copy legacy.rooms FROM '$DIR/src/test/data/communities.csv' WITH (FORMAT csv, HEADER)
SELECT key, name, left(about, 40) AS about FROM legacy.rooms ORDER BY random() LIMIT 3;
END
expect "rooms" 280 "SELECT count(*) FROM legacy.rooms"

heading "4. Connect the database to its IM app (the stand-in; without endpoint and ca_file it is the real one)"

sql <<END
CREATE EXTENSION im_import;
CREATE SERVER im FOREIGN DATA WRAPPER im_import
  OPTIONS (sdkappid '1400000000', endpoint 'https://127.0.0.1:$HTTPS_PORT', ca_file '$DIR/service/ca.pem');
CREATE USER MAPPING FOR CURRENT_USER SERVER im
  OPTIONS (identifier 'administrator', secret_key_file '$DIR/im.key');
END

heading "5. Look before you leap: what would be sent, and what would go wrong"

sql <<'END'
SELECT im_group_json(t) FROM (SELECT 'Public' AS type, name, im_fit(about, 240) AS introduction
                              FROM legacy.rooms WHERE key = 'discord/devcord') t;

SELECT count(*) AS rooms, count(*) FILTER (WHERE problems <> '{}') AS with_problems
FROM (SELECT im_group_problems(t) AS problems
      FROM (SELECT 'Public' AS type, name, im_fit(about, 240) AS introduction FROM legacy.rooms) t) p;
END

heading "6. Import: one INSERT. A background worker sends the rows; CALL im_import_wait() only waits"

sql <<'END'
INSERT INTO im_group_outbox (source_id, type, name, introduction)
SELECT key, 'Public', name, im_fit(about, 240) FROM legacy.rooms;

CALL im_import_wait(timeout => '5 minutes', raise_on_failure => false);
END

heading "7. How did it go? Every row is accounted for, and what failed says why"

sql <<'END'
SELECT state, pending, sending, imported, failed, invalid, in_doubt, total, percent_done FROM im_import_status;
SELECT error_code, meaning, rows, failed, invalid, sample_id FROM im_import_errors;
SELECT source_id, status, error_info FROM im_import_failures ORDER BY id;
END
expect "imported rows" 270 "SELECT imported FROM im_import_status"
expect "invalid rows" 10 "SELECT invalid FROM im_import_status"
expect "rows in all" 280 "SELECT total FROM im_import_status"
expect "invalid rows whose error_info names the limit and the length" 10 \
	"SELECT count(*) FROM im_import_failures WHERE status = 'invalid'
	 AND error_info LIKE '%name%' AND error_info ~ '\\m30\\M' AND error_info ~ ('\\m' || octet_length(name) || '\\M')"

heading "8. Repair: cut the ten names to 30 bytes, between characters, and set them to pending"

sql <<'END'
UPDATE im_group_outbox SET name = im_fit(name, 30), status = 'pending' WHERE status = 'invalid';

CALL im_import_wait(timeout => '5 minutes');

SELECT state, pending, sending, imported, failed, invalid, in_doubt, total, percent_done FROM im_import_status;
SELECT source_id, group_id FROM im_import_mapping ORDER BY id LIMIT 3;
END
expect "imported rows" 280 "SELECT imported FROM im_import_status"
expect "rows in all" 280 "SELECT total FROM im_import_status"

heading "9. Compare with the stand-in's own ledger of the groups that were created"

sql <<END
CREATE TABLE ledger (line json);
\\copy ledger FROM '$DIR/service/ledger.jsonl' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')
END
sql <<'END'
SELECT count(*) AS rows_imported,
       (SELECT count(*) FROM ledger) AS groups_created,
       count(*) FILTER (WHERE created = 1) AS created_once,
       count(*) FILTER (WHERE created <> 1) AS not_once,
       count(*) FILTER (WHERE same) AS same_content
FROM (SELECT o.id, count(l.line) AS created,
             bool_and(l.line -> 'body' ->> 'Name' = o.name
                      AND l.line -> 'body' ->> 'Introduction' IS NOT DISTINCT FROM o.introduction) AS same
      FROM im_group_outbox o LEFT JOIN ledger l ON l.line ->> 'group_id' = o.group_id
      WHERE o.status = 'imported' GROUP BY o.id) AS compared;
END
expect "groups created" 280 "SELECT count(*) FROM ledger"
expect "rows created exactly once, with their content" 280 \
	"SELECT count(*) FROM (SELECT o.id FROM im_group_outbox o JOIN ledger l ON l.line ->> 'group_id' = o.group_id
	 WHERE l.line -> 'body' ->> 'Name' = o.name
	 AND l.line -> 'body' ->> 'Introduction' IS NOT DISTINCT FROM o.introduction
	 GROUP BY o.id HAVING count(*) = 1) AS once"
echo "280 rows, 280 groups, each created exactly once."

heading "The demo worked. Both are still running; look around:"

cat <<END
  sudo $BIN/psql -h $DIR/socket -U postgres demo

  TABLE im_import_status;      TABLE im_import_errors;      TABLE pg_stat_im_import;

The stand-in's journal of every call is $DIR/service/journal.jsonl, the server's log $DIR/postgres.log.
When done:

  sudo sh $HERE/test/demo.sh stop
END
