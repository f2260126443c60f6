#!/bin/sh
# All tests.  As root, on Debian 12:
#
#   sh test/run.sh             everything, after installing packages that are missing
#   sh test/run.sh PART...     of: build tidy unit fuzz service regress tap mutants demo
#
# TESTS='test/t/00*.pl' chooses TAP tests, FUZZ_SECONDS=60 is the time of each
# fuzzer, SEEDS=1000000 the number of simulated lives of a row.  What is counted
# is a build, clang-tidy over all files, a test program, a regression script, a
# TAP file.  The last line is "N passed, N failed", and the exit status tells the
# same.  After a failure the logs stay, and their folder is named.

set -u
HERE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$HERE/test/lib.sh"

ALL_PARTS="build tidy unit fuzz service regress tap mutants demo"
CHOSEN=${TESTS:-test/t/*.pl}
unset TESTS			# a Makefile has a variable of that name
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
SEEDS=${SEEDS:-1000000}
TAP_LIMIT=${TAP_LIMIT:-2400}		# seconds

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

# clang knows some of the options that the server was built with by other names.
clang_build()
{
	make_extension clean
	make_extension CC=clang with_llvm=no \
		COPT='-Werror -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes' all
}

# install_into NAME MAKE_ARGUMENT...: a private server with the extension.
install_into()
{
	copy_server "$1"
	shift
	make_extension clean
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
	step "build by clang" clang_build
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
	if grep -qE '^sim *:' "$DIR/src/test/unit/Makefile"; then
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

part_regress()
{
	need_server || return
	log=$LOGS/regress.log
	scripts=$(make_value REGRESS)
	as_postgres sh -c "echo \"shared_preload_libraries = 'im_import'\" >'$DIR/regress.conf'"
	# shellcheck disable=SC2086
	in_tree "$BIN/../lib/pgxs/src/test/regress/pg_regress" --bindir="$BIN" \
		--temp-instance="$DIR/regress/server" --temp-config="$DIR/regress.conf" \
		--inputdir=test --outputdir="$DIR/regress" --encoding=UTF8 --no-locale \
		--dbname=contrib_regression --load-extension=im_import $scripts >"$log" 2>&1
	[ ! -s "$DIR/regress/regression.diffs" ] || cat "$DIR/regress/regression.diffs" >>"$log"
	all=$(echo "$scripts" | wc -w)
	# the wording of 15, and that of 16 and later
	good=$(lines '^(test .* \.\.\. ok|ok [0-9]+ )' "$log")
	count "regression tests" "$good" $((all - good)) 0 "$log"
}

# The exporter of the monitoring test, unpacked only: installed, the package
# would start a service.  Without it the test is skipped.
get_exporter()
{
	POSTGRES_EXPORTER=/usr/bin/prometheus-postgres-exporter
	[ ! -x "$POSTGRES_EXPORTER" ] || return 0
	mkdir -p "$DIR/exporter"
	(cd "$DIR/exporter" && apt-get -qq -o APT::Sandbox::User=root download prometheus-postgres-exporter prometheus &&
		for package in *.deb; do dpkg-deb -x "$package" .; done) >"$LOGS/exporter.log" 2>&1
	POSTGRES_EXPORTER=$DIR/exporter$POSTGRES_EXPORTER
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
		grep -qE "^(\[[0-9:]*\] )?$file \.+ ($PROVE_OK|skipped)" "$log_again" || again="$again $file"
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
	none=$(lines '\.pl \.+ skipped' "$log")
	count "TAP tests, $name build" "$good" $(($# - good - none)) "$none" "$log"
	[ $(($# - good - none)) = 0 ] ||
		echo "      the servers' and the tests' logs: $DIR/tap_$name/tmp_check/log"
}

# Crash tests need a build that stops where it is told to.
part_tap()
{
	need_server || return
	plain=
	crash=
	cd "$DIR/src" || return
	for file in $CHOSEN; do
		if [ ! -e "$file" ]; then
			continue
		elif grep -q need_failpoints "$file"; then
			crash="$crash $file"
		else
			plain="$plain $file"
		fi
	done
	cd "$DIR" || return
	case $plain in *monitoring*) get_exporter ;; esac
	# shellcheck disable=SC2086
	[ -z "$plain" ] || tap usual $plain
	[ -n "$crash" ] || return
	usual_bin=$BIN
	# shellcheck disable=SC2086
	step "build with failpoints" install_into pg_failpoints FAILPOINTS=1 with_llvm=no && tap failpoints $crash
	BIN=$usual_bin
}

# The SQL of README.md, in its order, in a database beside the demo's, whose
# service stands in for the real one.  Ends with every room imported.
readme_statements()
{
	demo=$DIR/demo
	bin=$demo/pg/usr/lib/postgresql/$PG_MAJOR/bin
	port=$(sed -n 's/.*"https_port": *\([0-9]*\).*/\1/p' "$demo/service.out")
	runuser -u postgres -- "$bin/createdb" -h "$demo/socket" readme || return
	{
		cat <<'END'
CREATE SCHEMA legacy;
CREATE TABLE legacy.rooms (id integer, title text, topic text, owner text, created timestamptz);
INSERT INTO legacy.rooms
SELECT i, CASE WHEN i = 7 THEN repeat('room ', 7) ELSE 'room ' || i END, repeat('topic ', i), 'user' || i,
	timestamptz '2020-01-01 00:00Z' + make_interval(days => i)
FROM generate_series(1, 300) i;
END
		sed -n '/^```sql$/,/^```$/p' "$DIR/src/README.md" | sed -e '/^```/d' \
			-e "s|region 'singapore'|endpoint 'https://127.0.0.1:$port', ca_file '$demo/service/ca.pem'|" \
			-e "s|/etc/postgresql/im.key|$demo/im.key|"
		cat <<'END'
SET ROLE chat_backend;
INSERT INTO im_group_outbox (source_id, type, name) VALUES ('late', 'Public', im_fit('a room from the back end, with a long name', 40));
SET ROLE chat_operator;
SELECT state FROM im_import_status;
SELECT im_import_pause('as an operator'), im_import_set_rate(150), im_import_resume();
CALL im_import_wait(timeout => '1 minute', raise_on_failure => false);
UPDATE im_group_outbox SET name = im_fit(name, 30), status = 'pending' WHERE id IN (SELECT id FROM im_import_failures);
CALL im_import_wait(timeout => '1 minute');
SET ROLE chat_watcher;
SELECT 1 / (imported = 301)::integer AS seen FROM im_import_status;
RESET ROLE;
SELECT 1 / (count(*) = 300)::integer AS every_room_is_imported
FROM im_import_mapping WHERE group_id = 'room-' || source_id;
END
	} | runuser -u postgres -- "$bin/psql" -X -e -v ON_ERROR_STOP=1 -h "$demo/socket" -d readme
}

# The demo, with its own copy of the server.
part_demo()
{
	step "the demo" env DEMO_DIR="$DIR/demo" sh "$DIR/src/test/demo.sh" &&
		step "the SQL of README.md" readme_statements
	DEMO_DIR=$DIR/demo sh "$DIR/src/test/demo.sh" stop >/dev/null
}

# ---- the run

finish()
{
	trap - EXIT INT TERM
	cd /
	end_leftovers "$DIR/"
	if [ "$failed" = 0 ] && [ "$1" = 0 ]; then
		rm -rf "$DIR"
	else
		rm -rf "$DIR/pg" "$DIR/pg_failpoints" "$DIR/regress/server" "$DIR"/tap_*/tmp_check/*/pgdata "$DIR"/tap_*/tmp_check/*/backup
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

# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES perl libipc-run-perl clang libclang-rt-dev

claim_folder "$(mktemp -d /tmp/im_import_test.XXXXXX)"
LOGS=$DIR/log
mkdir "$LOGS"
trap 'finish 1' EXIT
trap 'exit 130' INT TERM
copy_tree "$HERE"

start=$(date +%s)
began=$start
for part in ${*:-$ALL_PARTS}; do
	"part_$part"
done

finish 0
echo "all of it took $(($(date +%s) - start)) s"
summary="$passed passed, $failed failed"
[ "$skipped" = 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
