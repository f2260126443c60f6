#!/bin/sh
# All tests.  As root, on Debian 12 or 13:
#
#   sh test/run.sh             everything but ejabberd and package, and majors in short, after installing packages that are missing
#   sh test/run.sh PART...     of: build tidy unit fuzz service regress tap mutants demo ejabberd package
#                              majors
#
# PG_MAJOR=17 asks for a version of PostgreSQL; without it the newest that is
# installed is taken, or the one that the system offers.  The part majors runs
# this script in other systems, see test/majors.sh; the part ejabberd moves a chat
# that clients made on a real ejabberd, see test/ejabberd.sh; the part package makes
# and tries what the extension is handed on as, see test/package.sh.
# TESTS='test/t/00*.pl' chooses TAP tests, FUZZ_SECONDS=60 is the time of each
# fuzzer, SEEDS=1000000 the number of simulated lives of a row (0: none).
# What is counted is a build, clang-tidy over all files, a test program, a
# regression script, a TAP file.  A test is skipped only if it says why; one that
# died has failed.  The last line is "N passed, N failed", and the exit status
# tells the same.  After a failure the logs stay, and their folder is named.

set -u
HERE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$HERE/test/lib.sh"
. "$HERE/test/majors.sh"
. "$HERE/test/ejabberd.sh"
. "$HERE/test/package.sh"

ALL_PARTS="build tidy unit fuzz service regress tap mutants demo ejabberd package majors"
USUAL_PARTS="build tidy unit fuzz service regress tap mutants demo majors"
CHOSEN=${TESTS:-test/t/*.pl}
unset TESTS			# a Makefile has a variable of that name
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
SEEDS=${SEEDS:-1000000}
TAP_LIMIT=${TAP_LIMIT:-2600}		# seconds

passed=0
failed=0
skipped=0

# count STEP PASSED FAILED SKIPPED LOG: one line, and the log's end if something failed.
count()
{
	passed=$((passed + $2))
	failed=$((failed + $3))
	skipped=$((skipped + $4))
	if [ "$3" = 0 ]; then
		word=ok
	else
		word=FAIL
	fi
	now=$(date +%s)
	printf '%-4s  %-28s %3d passed, %d failed, %d skipped  (%d s)\n' "$word" "$1" "$2" "$3" "$4" $((now - began))
	began=$now
	[ "$3" = 0 ] || {
		echo "      --- the end of $5"
		tail -n 60 "$5" | sed 's/^/      /'
		echo "      ---"
	}
}

# skip NAME REASON: one that cannot be run here.
skip()
{
	skipped=$((skipped + 1))
	printf 'skip  %-28s %s\n' "$1" "$2"
}

# step NAME COMMAND...: one that is passed or failed as a whole.
step()
{
	name=$1
	shift
	log=$LOGS/$(echo "$name" | tr -c 'a-zA-Z0-9\n' _).log
	if "$@" >"$log" 2>&1 </dev/null; then
		count "$name" 1 0 0 "$log"
	else
		count "$name" 0 1 0 "$log"
		return 1
	fi
}

# lines PATTERN FILE: how many there are.
lines()
{
	grep -cE -- "$1" "$2" || true
}

in_tree()
{
	(cd "$DIR/src" && as_postgres "$@") </dev/null
}

# make_value NAME: a variable of the Makefile.
make_value()
{
	printf 'include Makefile\nprint_value:\n\t@echo $(%s)\n' "$1" >"$DIR/src/print_value.mk"
	make_extension -s -f print_value.mk print_value
	rm -f "$DIR/src/print_value.mk"
}

# ---- the parts

# make_elsewhere ARGUMENT...: make in a folder beside the tree.
make_elsewhere()
{
	(cd "$DIR/elsewhere" && as_postgres make -j "$(jobs_of_machine)" -f "$DIR/src/Makefile" \
		PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" "$@") </dev/null
}

# clang knows some of the options that the server was built with by other names.
clang_build()
{
	as_postgres mkdir "$DIR/elsewhere" "$DIR/elsewhere.installed"
	make_elsewhere CC=clang with_llvm=no \
		COPT='-Werror -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes' all
}

# nothing_left WHAT FOLDER: no file, and no folder but empty ones that make made.
nothing_left()
{
	left=$(find "$2" ! -type d)
	[ -z "$left" ] || { echo "$1 leaves:"; echo "$left"; return 1; }
}

# What the build elsewhere made: installed under DESTDIR, taken away again, cleaned.
install_and_clean()
{
	target=$DIR/elsewhere.installed
	make_elsewhere CC=clang with_llvm=no DESTDIR="$target" install || return
	for file in im_import.so im_import.control im_import--1.0.sql README.md operations.md; do
		[ -n "$(find "$target" -name "$file" -size +0)" ] || { echo "$file is not installed"; return 1; }
	done
	make_elsewhere with_llvm=no DESTDIR="$target" uninstall && nothing_left "make uninstall" "$target" &&
		make_elsewhere with_llvm=no clean && nothing_left "make clean" "$DIR/elsewhere"
}

files_of_tree()
{
	(cd "$DIR/src" && find . ! -type d | sort)
}

# clean_tree: make clean leaves what was in the checkout, whatever ran before.
clean_tree()
{
	make_extension clean && files_of_tree | diff "$DIR/files_of_tree" - ||
		{ echo "make clean left or removed these files"; return 1; }
}

# install_into NAME MAKE_ARGUMENT...: a private server with the extension.
install_into()
{
	copy_server "$1"
	shift
	clean_tree || return
	make_extension COPT=-Werror "$@" all && make_extension COPT=-Werror "$@" DESTDIR="$ROOT" install
}

# The server of the regression and TAP tests; built once.
need_server()
{
	[ -z "${server_built-}" ] || return "$server_built"
	server_built=0
	step "build by gcc" install_into pg || server_built=1
	return $server_built
}

part_build()
{
	step "build by clang, elsewhere" clang_build && step "install, uninstall, clean" install_and_clean
	step "META.json" in_tree python3 -B test/check_meta.py
	need_server
}

# The checks of .clang-tidy; any finding fails.  A file at a time for each processor.
tidy_sources()
{
	headers=$("/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" --includedir-server)
	in_tree sh -c "ls src/*.c | xargs -P $(jobs_of_machine) -I {} clang-tidy --quiet {} -- -isystem '$headers'"
}

part_tidy()
{
	need_packages clang-tidy
	step "clang-tidy" tidy_sources
}

part_unit()
{
	log=$LOGS/unit.log
	in_tree make -C test/unit check >"$log" 2>&1
	status=$?
	good=$(lines '^test_[a-z0-9_]+: ' "$log")
	bad=$(lines '^test_[a-z0-9_]+: FAILED' "$log")
	[ $status = 0 ] || [ "$bad" != 0 ] || bad=1 good=$((good + 1))
	count "unit tests" $((good - bad)) "$bad" 0 "$log"
	if [ "$SEEDS" != 0 ]; then
		step "simulated lives: $SEEDS" in_tree make -C test/unit sim "SEEDS=$SEEDS"
		step "seeded bugs, simulator" in_tree make -C test/unit mutants
	fi
}

# Seeded bugs, each caught by the test that it names; see test/mutants/run.sh.
part_mutants()
{
	step "seeded bugs, server" sh "$HERE/test/mutants/run.sh"
}

part_fuzz()
{
	log=$LOGS/fuzz.log
	in_tree make -k -j "$(jobs_of_machine)" -C test/unit fuzz "SECONDS=$FUZZ_SECONDS" >"$log" 2>&1
	all=$(lines '^\$\(eval \$\(call fuzz_test,' "$DIR/src/test/unit/Makefile")
	good=$(lines 'number_of_executed_units' "$log")
	count "fuzzers, $FUZZ_SECONDS s each" "$good" $((all - good)) 0 "$log"
}

part_service()
{
	all=0 bad=0
	for file in test_im_service test_move; do
		log=$LOGS/$file.log
		in_tree python3 -B test/service/$file.py >"$log" 2>&1
		status=$?
		ran=$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} in.*/\1/p' "$log")
		wrong=$(lines '^(FAIL|ERROR): ' "$log")
		[ $status = 0 ] && [ -n "$ran" ] || [ "$wrong" != 0 ] || wrong=1
		all=$((all + ${ran:-$wrong})) bad=$((bad + wrong))
		[ "$wrong" = 0 ] || shown=$log
	done
	count "the stand-in's own tests" $((all - bad)) "$bad" 0 "${shown:-$log}"
}

# regress_server: a running one with the library preloaded, as installcheck expects.
regress_server()
{
	as_postgres mkdir -m 700 -p "$DIR/regress/socket" &&
		as_postgres initdb -D "$DIR/regress/server" -A trust -U postgres >/dev/null || return
	as_postgres sh -c 'cat >>"$0"' "$DIR/regress/server/postgresql.conf" <<END
shared_preload_libraries = 'im_import'
listen_addresses = ''
unix_socket_directories = '$DIR/regress/socket'
END
	(detached "$LOGS/regress_server.log" "$LOGS/regress_server.err" \
		as_postgres pg_ctl -D "$DIR/regress/server" -w -l "$DIR/regress/postgres.log" start)
}

# installcheck NAME MAKE_ARGUMENT...: the Makefile's own, against that server.
installcheck()
{
	name=$1
	shift
	log=$LOGS/$(echo "$name" | tr -c 'a-zA-Z0-9\n' _).log
	PGHOST=$DIR/regress/socket make_extension PG_CONFIG="$BIN/pg_config" "$@" installcheck >"$log" 2>&1
	[ ! -s "$DIR/src/regression.diffs" ] || cat "$DIR/src/regression.diffs" >>"$log"
	all=$(make_value REGRESS | wc -w)
	# the wording of 15, and that of 16 and later
	good=$(lines '^(test .* \.\.\. ok|ok [0-9]+ )' "$log")
	if grep -q 'tap install-check' "$log"; then
		all=$((all + 1))
		good=$((good + $(lines "^test/t/.*\.pl \.+ ok" "$log")))
	fi
	count "$name" "$good" $((all - good)) 0 "$log"
}

part_regress()
{
	need_server || return
	step "server for installcheck" regress_server || return
	installcheck "make installcheck" PROVE_TESTS=test/t/001_import.pl
	IM_SCHEMA='My im'
	export IM_SCHEMA
	installcheck "installcheck, schema \"My im\"" TAP_TESTS=
	unset IM_SCHEMA
	as_postgres pg_ctl -D "$DIR/regress/server" -m fast -w stop >/dev/null
}

# The exporter of the monitoring test, unpacked only: installed, the package
# would start a service.  Without it the test is skipped.  promtool is a package
# of its own from Debian 13 on.
get_exporter()
{
	POSTGRES_EXPORTER=/usr/bin/prometheus-postgres-exporter
	[ ! -x "$POSTGRES_EXPORTER" ] || return 0
	mkdir -p "$DIR/exporter"
	(cd "$DIR/exporter" && update_lists &&
		apt-get -qq -o APT::Sandbox::User=root download prometheus-postgres-exporter prometheus \
			"$(apt-cache --names-only search '^promtool$' | sed -n 's/ - .*//p' | grep . || echo prometheus)" &&
		for package in *.deb; do dpkg-deb -x "$package" .; done) >"$LOGS/exporter.log" 2>&1
	POSTGRES_EXPORTER=$DIR/exporter$POSTGRES_EXPORTER
}

# get_browser: the test of the report shows the page in it.  Where it cannot be
# had, that check is skipped with a word.
get_browser()
{
	[ ! -x /usr/bin/chromium ] || return 0
	echo "installing: chromium"
	(update_lists && DEBIAN_FRONTEND=noninteractive \
		apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends chromium) >"$LOGS/browser.log" 2>&1 ||
		echo "      chromium cannot be installed, see $LOGS/browser.log"
}

# prove_files NAME JOBS FILE...: TAP files against the server in BIN.
prove_files()
{
	folder=$DIR/tap_$1
	jobs=$2
	shift 2
	in_tree timeout --kill-after=60 "$TAP_LIMIT" env TESTDIR="$folder" TESTDATADIR="$folder/tmp_check" \
		TESTLOGDIR="$folder/tmp_check/log" PGPORT=65432 POSTGRES_EXPORTER="${POSTGRES_EXPORTER-}" \
		PG_REGRESS="$BIN/../lib/pgxs/src/test/regress/pg_regress" \
		prove --nocolor --timer "-j$jobs" -I "$BIN/../lib/pgxs/src/test/perl" -I test/perl "$@"
}

# What prove says of a test that was skipped.  One that died before its first
# check may be "skipped" to it, too, but "(no reason given)".
SKIPPED='skipped: [^( ]'

# run_again NAME LOG FILE...: tests of crashes and outages depend on what else
# the machine does.  A few that failed are run once more, one at a time; what
# they said the first time stays in LOG, and the line below tells of them.
run_again()
{
	again=
	name_again=$1
	log_again=$2
	shift 2
	for file in "$@"; do
		grep -qE "^(\[[0-9:]*\] )?$file \.+ ($PROVE_OK|$SKIPPED)" "$log_again" || again="$again $file"
	done
	[ -n "$again" ] && [ "$(echo "$again" | wc -w)" -le 4 ] || return 0
	echo "      failed, run once more alone:$again"
	[ ! -d "$DIR/tap_$name_again/tmp_check" ] || mv "$DIR/tap_$name_again/tmp_check" "$DIR/tap_$name_again/first_check"
	# shellcheck disable=SC2086
	prove_files "$name_again" 1 $again >>"$log_again" 2>&1
}

# tap NAME FILE...: TAP files against the server in BIN.
tap()
{
	name=$1
	shift
	log=$LOGS/tap_$name.log
	mkdir -p "$DIR/tap_$name"
	chown postgres: "$DIR/tap_$name"
	prove_files "$name" 2 "$@" >"$log" 2>&1
	run_again "$name" "$log" "$@"
	good=$(lines "\.pl \.+ $PROVE_OK" "$log")
	none=$(lines "\.pl \.+ $SKIPPED" "$log")
	count "TAP tests, $name build" "$good" $(($# - good - none)) "$none" "$log"
	sed -n "s/^\(\[[0-9:]*\] \)\{0,1\}\(test[^ ]*\.pl\) \.* skipped: \([^( ]\)/      skipped: \2: \3/p" "$log"
	[ $(($# - good - none)) = 0 ] ||
		echo "      the servers' and the tests' logs: $DIR/tap_$name/tmp_check/log"
}

# Crash tests need a build that stops where it is told to.
# build_with_field: a server whose extension has one more field, which is one
# more line of C and one of SQL.
build_with_field()
{
	as_postgres cp -a "$DIR/src" "$DIR/field" && cd "$DIR/field" || return
	as_postgres sed -i '/\.column = "face_url"/a \	{.column = "hobby",.sent = "Hobby",.kind = IM_VALUE_TEXT,.limit = {10, 10}},' src/cmd_account.c
	as_postgres sed -i '/CREATE TABLE .*im_account_outbox/,/^)/s/^\tface_url text,$/&\n\thobby text,/' sql/im_import--1.0.sql
	added=$(diff -r "$DIR/src/src" src; diff -r "$DIR/src/sql" sql)
	[ "$(echo "$added" | grep -c '^[<>]')" = 2 ] || { echo "these are not two lines: $added"; return 1; }
	copy_server pg_field
	for target in all install; do
		as_postgres make -j "$(jobs_of_machine)" PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" \
			COPT=-Werror with_llvm=no DESTDIR="$ROOT" "$target" </dev/null || return
	done
}

part_tap()
{
	need_server || return
	plain=
	crash=
	field=
	cd "$DIR/src" || return
	for file in $CHOSEN; do
		if [ ! -e "$file" ]; then
			continue
		elif grep -q need_failpoints "$file"; then
			crash="$crash $file"
		elif grep -q need_field "$file"; then
			field="$field $file"
		else
			plain="$plain $file"
		fi
	done
	cd "$DIR" || return
	case $plain in *monitoring*) get_exporter ;; esac
	case $plain in *report*) get_browser ;; esac
	# shellcheck disable=SC2086
	[ -z "$plain" ] || tap usual $plain
	usual_bin=$BIN
	# shellcheck disable=SC2086
	[ -z "$field" ] || { step "build with a field more" build_with_field && tap field $field; }
	# shellcheck disable=SC2086
	[ -z "$crash" ] || { step "build with failpoints" install_into pg_failpoints FAILPOINTS=1 with_llvm=no && tap failpoints $crash; }
	BIN=$usual_bin
}

# The SQL of README.md, in its order, in a database beside the demo's, whose
# service stands in for the real one.  Ends with every row imported.
readme_statements()
{
	demo=$DIR/demo
	bin=$demo/pg/usr/lib/postgresql/$PG_MAJOR/bin
	port=$(sed -n 's/.*"https_port": *\([0-9]*\).*/\1/p' "$demo/service.out")
	runuser -u postgres -- "$bin/createdb" -h "$demo/socket" readme || return
	{
		cat <<'END'
CREATE SCHEMA legacy;
CREATE TABLE legacy.users (login text, display_name text, avatar text);
INSERT INTO legacy.users SELECT 'user' || i, CASE WHEN i = 9 THEN repeat('Nina ', 101) ELSE 'User ' || i END, NULL FROM generate_series(1, 300) i;
CREATE TABLE legacy.rooms (id integer, title text, topic text, owner text, created timestamptz);
INSERT INTO legacy.rooms
SELECT i, CASE WHEN i = 7 THEN repeat('room ', 7) ELSE 'room ' || i END, repeat('topic ', i), 'user' || i,
	timestamptz '2020-01-01 00:00Z' + make_interval(days => i)
FROM generate_series(1, 300) i;
CREATE TABLE legacy.members (room_id integer, login text, moderator boolean, joined timestamptz, unread integer);
INSERT INTO legacy.members
SELECT r, 'user' || u, u = 20, timestamptz '2021-01-01 00:00Z', CASE WHEN u = 21 THEN 2 ELSE 0 END
FROM generate_series(1, 20) r, generate_series(20, 30) u;
CREATE TABLE legacy.posts (id integer, room_id integer, author text, written timestamptz, body text);
INSERT INTO legacy.posts
SELECT 100 * r + m, r, 'user' || 20 + m, timestamptz '2021-02-01 00:00Z' + make_interval(secs => m / 5), 'post ' || m
FROM generate_series(1, 20) r, generate_series(1, 10) m;
CREATE TABLE legacy.friends (one text, other text);
INSERT INTO legacy.friends SELECT 'user' || i, 'user' || i + 1 FROM generate_series(20, 29) i;
CREATE TABLE legacy.direct (id integer, sender text, receiver text, written timestamptz, body text);
INSERT INTO legacy.direct SELECT i, 'user' || 20 + i % 10, 'user' || 20 + (i + 1) % 10, timestamptz '2021-02-01 00:00Z' + make_interval(secs => i), 'direct ' || i
FROM generate_series(1, 30) i;
END
		sed -n '/^```sql$/,/^```$/p' "$DIR/src/README.md" | sed -e '/^```/d' \
			-e "s|region 'singapore'|endpoint 'https://127.0.0.1:$port', ca_file '$demo/service/ca.pem'|" \
			-e "s|/etc/postgresql/im.key|$demo/im.key|"
		cat <<'END'
SET ROLE chat_backend;
INSERT INTO im_group_outbox (source_id, type, name) VALUES ('late', 'Public', im_fit('a room from the back end, with a long name', 40)) RETURNING id;
INSERT INTO im_message_outbox (source_id, group_source_id, from_account, send_time, text) VALUES ('late', '1', 'user25', '2021-03-01', 'late') ON CONFLICT DO NOTHING;
SET ROLE chat_operator;
SELECT state FROM im_import_status;
SELECT im_import_pause('as an operator'), im_import_set_rate(150), im_import_resume();
CALL im_import_wait(timeout => '2 minutes', raise_on_failure => false);
UPDATE im_group_outbox SET name = im_fit(name, 30), status = 'pending' WHERE id IN (SELECT id FROM im_import_failures);
CALL im_import_wait(timeout => '1 minute');
SET ROLE chat_watcher;
SELECT 1 / (failed + invalid + in_doubt + pending + sending = 0)::integer AS seen FROM im_import_status;
RESET ROLE;
SELECT 1 / (count(*) = 300)::integer AS every_room_is_imported
FROM im_import_mapping m JOIN legacy.rooms r ON m.source_id = r.id::text;
SELECT 1 / (count(*) = 300)::integer AS every_account FROM im_account_outbox WHERE status = 'imported';
SELECT 1 / (count(*) = 220)::integer AS every_member FROM im_member_outbox WHERE status = 'imported';
SELECT 1 / (count(*) = 201 AND count(msg_seq) = 201)::integer AS every_message FROM im_message_outbox WHERE status = 'imported';
SELECT 1 / (count(*) = 220)::integer AS every_unread_count FROM im_unread_outbox WHERE status = 'imported';
SELECT 1 / (count(*) = 20)::integer AS every_friendship FROM im_friend_outbox WHERE status = 'imported';
SELECT 1 / (count(*) = 30)::integer AS every_one_to_one_message FROM im_dialog_outbox WHERE status = 'imported';
SELECT 1 / bool_and(later)::integer AS each_later_than_the_one_before
FROM (SELECT sent_time > lag(sent_time, 1, 0::bigint) OVER (PARTITION BY group_source_id ORDER BY send_time, id) AND sent_time >= extract(epoch FROM send_time) AS later
	FROM im_message_outbox) m;
END
	} | runuser -u postgres -- "$bin/psql" -X -e -v ON_ERROR_STOP=1 -h "$demo/socket" -d readme
}

# The demo, with its own copy of the server.  Its output goes through a pipe: one
# that what it leaves running would hold open ends only with the limit.
demo_through_pipe()
{
	DEMO_DIR=$DIR/demo timeout 900 sh -c 'sh "$0" | tee "$1"' "$DIR/src/test/demo.sh" "$LOGS/demo_through_pipe.log" &&
		grep -q '^== The demo worked' "$LOGS/demo_through_pipe.log" &&
		! grep -q 'too fast' "$LOGS/demo_through_pipe.log"
}

# stop says one thing, and nothing of processes that are gone.
demo_stop()
{
	said=$(DEMO_DIR=$DIR/demo sh "$DIR/src/test/demo.sh" stop 2>&1)
	echo "$said"
	[ "$said" = "stopped, $DIR/demo removed" ] && [ ! -e "$DIR/demo" ]
}

part_demo()
{
	step "the demo, through a pipe" demo_through_pipe &&
		step "the SQL of README.md" readme_statements
	step "the demo's stop" demo_stop
}

# ---- the run

finish()
{
	trap - EXIT INT TERM
	cd /
	end_majors
	end_leftovers "$DIR/"
	if [ "$failed" = 0 ] && [ "$1" = 0 ]; then
		rm -rf "$DIR"
	else
		rm -rf "$DIR/pg" "$DIR/pg_failpoints" "$DIR/regress/server" "$DIR"/root_* "$DIR"/elsewhere* "$DIR"/tap_*/tmp_check/*/pgdata "$DIR"/tap_*/tmp_check/*/backup
		echo "The logs are in $LOGS"
	fi
}

need_root
for part in "$@"; do
	case " $ALL_PARTS " in
		*" $part "*) ;;
		*) die "there is no part \"$part\"; parts are: $ALL_PARTS" ;;
	esac
done

choose_major
# shellcheck disable=SC1091
echo "PostgreSQL $PG_MAJOR on $(. /etc/os-release && echo "$PRETTY_NAME"), $(jobs_of_machine) processors"
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES perl libipc-run-perl clang libclang-rt-dev

claim_folder "$(mktemp -d /tmp/im_import_test.XXXXXX)"
LOGS=$DIR/log
mkdir "$LOGS"
trap 'finish 1' EXIT
trap 'exit 130' INT TERM
copy_tree "$HERE"
files_of_tree >"$DIR/files_of_tree"

start=$(date +%s)
began=$start
[ $# != 0 ] || majors_in_short
for part in ${*:-$USUAL_PARTS}; do
	"part_$part"
done

finish 0
echo "all of it took $(($(date +%s) - start)) s"
summary="$passed passed, $failed failed"
[ "$skipped" = 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
