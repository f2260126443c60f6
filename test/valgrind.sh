#!/bin/sh
# The tests under valgrind.  As root, on Debian 12:
#
#   sh test/valgrind.sh              the regression scripts, and an import
#   sh test/valgrind.sh FILE...      only these TAP files
#
# Every process of the server runs under valgrind's memcheck.  The packaged
# server gives it no hints about memory contexts, and it knows nothing of the
# server's own harmless findings: so only an error or a leak whose stack has a
# function of src/ or of libcurl counts, and it is shown.  The last line is
# "N passed, N failed".  About three minutes on two idle cores.  Most TAP files
# take a quarter of an hour each, and some are impatient.  Leaks are seen only of
# what malloc() gave and nothing of the server's memory still points to.

set -u
HERE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$HERE/test/lib.sh"

LIMIT=3600		# seconds for all tests
SLOWNESS=600	# PG_TEST_TIMEOUT_DEFAULT, seconds

need_root
choose_major
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES libipc-run-perl perl valgrind libc6-dbg

claim_folder "$(mktemp -d /tmp/im_valgrind.XXXXXX)"
LOGS=$DIR/log
FOUND=$DIR/found
mkdir "$LOGS" "$FOUND" "$DIR/tap"
chown postgres: "$FOUND" "$DIR/tap"

# Puts valgrind before the server's program.  Bootstrap and version are not
# ours to test, and would take most of the time.
wrap_server()
{
	mv "$BIN/postgres" "$BIN/postgres.real" || return
	cat >"$BIN/postgres" <<END
#!/bin/sh
real=$BIN/postgres.real
case " \$* " in
	*" --boot "*|*" --single "*|*" --check "*|*" -V "*|*" --version "*|*" -C "*) exec "\$real" "\$@" ;;
esac
exec valgrind --quiet --trace-children=yes --log-file=$FOUND/%p.log --fullpath-after=$DIR/src/ \\
	--error-markers=IM_BEGIN,IM_END --num-callers=40 --error-limit=no \\
	--leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite "\$real" "\$@"
END
	chmod 755 "$BIN/postgres"
}

build()
{
	copy_server pg
	make_extension COPT='-O1 -g' with_llvm=no all && make_extension with_llvm=no DESTDIR="$ROOT" install
}

# Regression and TAP tests find the server by its folder.
of_tests()
{
	echo "$BIN/../lib/pgxs/src/test/$1"
}

in_tree()
{
	(cd "$DIR/src" && as_postgres timeout --kill-after=60 "$LIMIT" env PGCTLTIMEOUT="$SLOWNESS" PG_TEST_TIMEOUT_DEFAULT="$SLOWNESS" \
		IM_TEST_SANITIZED=1 TESTDIR="$DIR/tap" TESTDATADIR="$DIR/tap/tmp_check" TESTLOGDIR="$DIR/tap/tmp_check/log" \
		PGPORT=65432 PG_REGRESS="$(of_tests regress/pg_regress)" "$@") </dev/null
}

run_regress()
{
	echo "shared_preload_libraries = 'im_import'" >"$DIR/regress.conf"
	scripts=$(sed -n 's/^REGRESS *= *//p' "$DIR/src/Makefile")
	# shellcheck disable=SC2086
	in_tree "$(of_tests regress/pg_regress)" --bindir="$BIN" --temp-instance="$DIR/tap/regress/server" --temp-config="$DIR/regress.conf" \
		--inputdir=test --outputdir="$DIR/tap/regress" --encoding=UTF8 --no-locale --dbname=contrib_regression $scripts
}

run_tap()
{
	in_tree prove --nocolor --timer "-j$(jobs_of_machine)" -I "$(of_tests perl)" -I test/perl "$@"
}

# A worker and a session against the stand-in: good rows, bad ones, lost and
# late answers, new options, a shutdown with calls under way.
run_import()
{
	start_service service --sdkappid 1400000000 --secret tell-tale --admin administrator || return
	as_postgres sh -c "umask 077 && printf tell-tale >'$DIR/im.key'"
	in_tree initdb -D "$DIR/tap/import" -E UTF8 --locale=C --no-sync &&
		printf '%s\n' "shared_preload_libraries = 'im_import'" "listen_addresses = ''" "unix_socket_directories = '$DIR/tap'" \
			>>"$DIR/tap/import/postgresql.conf" &&
		in_tree pg_ctl -w -D "$DIR/tap/import" -l "$DIR/tap/import.log" start || return
	python3 - "http://127.0.0.1:$HTTP_PORT/control/fault" <<'END' || return
import json, sys, urllib.request
rules = [{"do": action, "match": {"name": "room %d" % i}, "times": 1} for i, action in enumerate(
    ["close_before", "close_after", "reset_before", "rst_after", "truncate", "huge", "nested", "bad_utf8", "dup_keys", "no_group_id"], 1)]
urllib.request.urlopen(urllib.request.Request(sys.argv[1], json.dumps(rules).encode()))
END
	as_postgres psql -X -e -v ON_ERROR_STOP=1 -h "$DIR/tap" -p 65432 -d postgres <<END
CREATE EXTENSION im_import;
CREATE SERVER im FOREIGN DATA WRAPPER im_import OPTIONS (sdkappid '1400000000', endpoint 'https://127.0.0.1:$HTTPS_PORT', ca_file '$DIR/service/ca.pem', request_timeout '60s');
CREATE USER MAPPING FOR CURRENT_USER SERVER im OPTIONS (identifier 'administrator', secret_key_file '$DIR/im.key');
SELECT * FROM im_import_doctor();
INSERT INTO im_group_outbox (source_id, type, name, app_defined_data) SELECT i, 'Public', 'room ' || i, json_build_object('k', i) FROM generate_series(1, 60) i;
INSERT INTO im_group_outbox (type, name) VALUES ('Public', repeat('x', 31)), ('Nothing', 'x');
CALL im_import_wait(raise_on_failure => false);
ALTER SERVER im OPTIONS (SET request_timeout '50s', ADD rate_limit '100');
SELECT im_import_group(t) FROM (SELECT 'Public' AS type, 'session ' || i AS name, 'session-' || i AS group_id FROM generate_series(1, 5) i) t;
CALL im_import_verify();
SELECT state, imported, invalid, in_doubt FROM im_import_status;
SELECT 1 / (imported = 60 AND invalid = 2)::integer AS all_is_imported FROM im_import_status;
SELECT command, calls, retries FROM pg_stat_im_import;
INSERT INTO im_group_outbox (type, name) SELECT 'Public', 'late ' || i FROM generate_series(1, 200) i;
END
	status=$?
	in_tree pg_ctl -w -t "$SLOWNESS" -m fast -D "$DIR/tap/import" stop && return $status
}

passed=0
failed=0

# Findings that have our code or libcurl in their stack, each kind once.  But the
# server writes padding to its log and its cache files, also for our transactions.
ours()
{
	awk '
		/IM_BEGIN/ { text = ""; mine = 0; curl = 0; inside = 1; next }
		/IM_END/ { if ((mine && text !~ /^Syscall param p?write/ || curl) && !seen[text]++) print text; inside = 0; next }
		inside { sub(/^==[0-9]+== ?/, ""); sub(/0x[0-9A-F]+: /, ""); text = text $0 "\n"; mine += /\(src\/[a-z_]+\.[ch]:/; curl += /libcurl\.so/ }
	' "$FOUND"/*.log
}

no_findings()
{
	processes=$(find "$FOUND" -name '*.log' | wc -l)
	echo "$processes processes, $(cat "$FOUND"/*.log | grep -c IM_BEGIN) findings anywhere; of ours:"
	ours | tee "$DIR/ours"
	[ "$processes" -gt 0 ] && [ ! -s "$DIR/ours" ]
}

finish()
{
	trap - EXIT INT TERM
	cd /
	end_leftovers "$DIR/"
	if [ "$1" = 0 ] && [ "$failed" = 0 ]; then
		rm -rf "$DIR"
	else
		echo "The logs are in $LOGS, $FOUND and $DIR/tap"
	fi
}

trap 'finish 1' EXIT
trap 'exit 130' INT TERM
copy_tree "$HERE"
timed_step "build" build && timed_step "valgrind before the server" wrap_server || exit 1
if [ $# = 0 ]; then
	timed_step "regression tests" run_regress
	timed_step "an import" run_import
else
	timed_step "TAP tests" run_tap "$@"
fi
timed_step "no finding in our code" no_findings && head -n 1 "$LOGS/no_finding_in_our_code.log"
finish 0
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
