#!/bin/sh
# The tests against a PostgreSQL with assertions and sanitizers.  As root, on Debian 12:
#
#   sh test/sanitize.sh              build it (about ten minutes on two cores), then all tests
#   sh test/sanitize.sh FILE...      only these TAP files
#
# Files that need failpoints run last, with a build that has them.
# SANITIZERS=address,undefined is the default; empty: assertions only.
# SANITIZE_DIR=/var/tmp/sanitize keeps what was built there for the next time; the
# default is a new folder that is removed if all is well.  FRESH=1: a new build in it.
#
# The server is built from the pristine tarball of Debian's source package (the
# patched tree has paths of its own), for which this script asks the archive itself,
# without a change to the system's list of sources.  If the archive no longer has the
# version that is installed, the newest that it has of the same major version is taken.
# The last line is "N passed, N failed"; every report of a sanitizer counts as a failure
# and is shown, and so does every failed assertion in a server log.

set -u
HERE=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$HERE/test/lib.sh"

SANITIZERS=${SANITIZERS-address,undefined}
LIMIT=7200		# seconds for all tests
RATE_OF_SLOW=300	# PG_TEST_TIMEOUT_DEFAULT, seconds

need_root
choose_major
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES libipc-run-perl perl bzip2 dpkg-dev

keep=1
if [ -n "${SANITIZE_DIR-}" ]; then
	DIR=$SANITIZE_DIR
	[ -z "${FRESH-}" ] || rm -rf "$DIR"
	[ -d "$DIR" ] || { mkdir "$DIR" && claim_folder "$DIR"; } || exit 1
else
	DIR=$(mktemp -d /tmp/im_sanitize.XXXXXX) || exit 1
	chmod 755 "$DIR"
	chown postgres: "$DIR"
	keep=0
fi
SERVER=$DIR/server
REPORTS=$DIR/reports
LOGS=$DIR/log

CFLAGS="-Og -g -fno-omit-frame-pointer"
if [ -n "$SANITIZERS" ]; then
	CFLAGS="$CFLAGS -fsanitize=$SANITIZERS -fno-sanitize-recover=all"
fi

# The options of PostgreSQL's own tests with sanitizers.  What a server process has not
# freed at its end is no leak.
ASAN_OPTIONS="print_stacktrace=1:abort_on_error=1:detect_leaks=0:detect_stack_use_after_return=0:log_path=$REPORTS/address"
UBSAN_OPTIONS="print_stacktrace=1:abort_on_error=1:log_path=$REPORTS/undefined"

as_sanitized()
{
	as_postgres env ASAN_OPTIONS="$ASAN_OPTIONS" UBSAN_OPTIONS="$UBSAN_OPTIONS" \
		PG_TEST_TIMEOUT_DEFAULT="$RATE_OF_SLOW" IM_TEST_SANITIZED=1 "$@"
}

# ---- the server

# apt with lists of its own, so that the system's stay as they are.
apt_private()
{
	program=$1
	shift
	"$program" -o Dir::Etc::sourcelist="$DIR/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$DIR/apt/lists" -o Dir::Cache="$DIR/apt/cache" "$@"
}

# The pristine tarball into $DIR/tarball.
get_source()
{
	mkdir -p "$DIR/apt/lists/partial" "$DIR/apt/cache/archives/partial"
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	# The sources of what this machine's own lists of packages come from.
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' | sort -u |
		while read -r uri suite; do
			echo "deb-src [signed-by=$key] $uri $suite main"
		done >"$DIR/apt/sources.list"
	apt_private apt-get -qq update || return
	installed=$(dpkg-query -W -f='${Version}' "postgresql-$PG_MAJOR")
	for version in $installed $(apt_private apt-cache showsrc "postgresql-$PG_MAJOR" | sed -n 's/^Version: //p' | sort -rV); do
		(cd "$DIR/apt" && apt_private apt-get -qq source --download-only "postgresql-$PG_MAJOR=$version") && break
		echo "the archive has no $version"
	done
	tarball=$(ls "$DIR"/apt/*.orig.tar.bz2) || return
	mkdir -p "$DIR/postgresql"
	tar -C "$DIR/postgresql" --strip-components=1 --no-same-owner -xjf "$tarball" || return
	chown -R postgres: "$DIR/postgresql"
}

build_server()
{
	(
		cd "$DIR/postgresql" &&
			as_sanitized ./configure -q --prefix="$SERVER" --enable-cassert --enable-debug --enable-tap-tests \
				--with-openssl --without-readline CFLAGS="$CFLAGS" &&
			as_sanitized make -s -j "$(jobs_of_machine)" &&
			as_sanitized make -s install &&
			as_sanitized make -s -C src/test/regress install &&
			as_sanitized make -s -C src/test/isolation install &&
			as_sanitized make -s -C contrib/pg_stat_statements install &&
			as_sanitized make -s -C contrib/auto_explain install
	) </dev/null
}

# ---- the extension

# build_extension ARGUMENT...: of make, beside the usual ones.
build_extension()
{
	rm -rf "$DIR/src"
	copy_tree "$HERE"
	(
		cd "$DIR/src" &&
			as_sanitized make -s -j "$(jobs_of_machine)" PG_CONFIG="$SERVER/bin/pg_config" with_llvm=no "$@" install
	) </dev/null
}

# A path below the folder where the server has its own tests' programs.
of_tests()
{
	pgxs=$(as_sanitized "$SERVER/bin/pg_config" --pgxs)
	echo "${pgxs%/makefiles/*}/test/$1"
}

run_regress()
{
	cd "$DIR/src" || return
	scripts=$(sed -n 's/^REGRESS *= *//p' Makefile)
	echo "shared_preload_libraries = 'im_import'" >"$DIR/regress.conf"
	# shellcheck disable=SC2086
	as_sanitized "$(of_tests regress/pg_regress)" --bindir="$SERVER/bin" --temp-instance="$DIR/regress/server" \
		--temp-config="$DIR/regress.conf" --inputdir=test --outputdir="$DIR/regress" --encoding=UTF8 --no-locale \
		--dbname=contrib_regression $scripts </dev/null
}

run_tap()
{
	cd "$DIR/src" || return
	as_sanitized timeout --kill-after=60 "$LIMIT" env PATH="$SERVER/bin:$PATH" PG_REGRESS="$(of_tests regress/pg_regress)" PGPORT=65432 \
		TESTDIR="$DIR/tap" TESTDATADIR="$DIR/tap/tmp_check" TESTLOGDIR="$DIR/tap/tmp_check/log" \
		prove --nocolor --timer -j2 -I "$(of_tests perl)" -I test/perl "$@" </dev/null
}

# choose_files FILE...: into PLAIN and CRASH, which need a build that stops where it is told to.
choose_files()
{
	PLAIN=
	CRASH=
	cd "$DIR/src" || return
	for file in "$@"; do
		if grep -q need_failpoints "$file"; then
			CRASH="$CRASH $file"
		else
			PLAIN="$PLAIN $file"
		fi
	done
}

# ---- the run

passed=0
failed=0

# Reports of sanitizers, and assertions that failed in any server.
count_reports()
{
	for report in "$REPORTS"/*; do
		[ -s "$report" ] || continue
		echo "FAIL  $report:"
		head -n 40 "$report" | sed 's/^/      /'
		failed=$((failed + 1))
	done
	traps=$(grep -rlE '^TRAP: ' "$DIR/tap" "$DIR/regress" 2>/dev/null)
	for file in $traps; do
		echo "FAIL  an assertion, in $file:"
		grep -hE '^TRAP: ' "$file" | sort | uniq -c | sed 's/^/      /'
		failed=$((failed + 1))
	done
}

finish()
{
	trap - EXIT INT TERM
	cd /
	end_leftovers "$SERVER/bin/postgres"
	if [ "$1" = 0 ] && [ "$failed" = 0 ] && [ $keep = 0 ]; then
		rm -rf "$DIR"
	else
		echo "The logs are in $LOGS and $DIR/tap"
	fi
}

trap 'finish 1' EXIT
trap 'exit 130' INT TERM
rm -rf "$REPORTS" "$LOGS" "$DIR/tap" "$DIR/regress"
for folder in "$REPORTS" "$LOGS" "$DIR/tap" "$DIR/regress"; do
	mkdir -p "$folder"
	chown postgres: "$folder"
done

if [ ! -x "$SERVER/bin/postgres" ]; then
	timed_step "get the source" get_source && timed_step "build the server" build_server || exit 1
fi
timed_step "build the extension" build_extension || exit 1
if [ -z "${BUILD_ONLY-}" ]; then
	if [ $# = 0 ]; then
		timed_step "regression tests" run_regress
		for file in "$HERE"/test/t/*.pl; do
			set -- "$@" "test/t/$(basename "$file")"
		done
	fi
	choose_files "$@" || exit 1
	# shellcheck disable=SC2086
	[ -z "$PLAIN" ] || timed_step "TAP tests" run_tap $PLAIN
	# shellcheck disable=SC2086
	[ -z "$CRASH" ] || { timed_step "build with failpoints" build_extension FAILPOINTS=1 &&
		timed_step "TAP tests with failpoints" run_tap $CRASH; }
	cat "$LOGS"/TAP_tests*.log | grep -E "\.pl \.+ ($PROVE_OK|skipped)|^Files="
	count_reports
fi
finish 0
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
