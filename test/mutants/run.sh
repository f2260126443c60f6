#!/bin/sh
# Tests the tests: applies one seeded bug at a time to a copy of the tree, and
# expects the one test that its patch names to fail.  As root, on Debian 12:
#
#   sh test/mutants/run.sh           all of them
#   sh test/mutants/run.sh NAME...   those of these names, without .patch
#
# With CLEAN=1 the tests are run without any bug first, and must pass; without
# it, test/run.sh is relied on for that.  A patch that no longer applies, a bug
# that does not compile and a test that is skipped are failures.  The last line
# is "N of N caught".

set -u
HERE=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
. "$HERE/test/lib.sh"

LIMIT=120			# seconds for one test
WAIT=20				# seconds after which a test gives up waiting

# says NAME WORD: what a patch says after a word at its top.
says()
{
	sed -n "s/^$2: //p" "$HERE/test/mutants/$1.patch" | head -n 1
}

# build: builds what has changed and installs it into the private server.
build()
{
	make_extension with_llvm=no all && make_extension with_llvm=no DESTDIR="$ROOT" install
}

# run_test FILE: with the server in BIN.
run_test()
{
	rm -rf "$DIR/tap"
	as_postgres mkdir "$DIR/tap"
	(cd "$DIR/src" && as_postgres timeout --kill-after=30 "$LIMIT" env \
		TESTDIR="$DIR/tap" TESTDATADIR="$DIR/tap/tmp_check" TESTLOGDIR="$DIR/tap/tmp_check/log" \
		PGPORT=65432 PG_TEST_TIMEOUT_DEFAULT="$WAIT" PYTHONDONTWRITEBYTECODE=1 \
		PG_REGRESS="$BIN/../lib/pgxs/src/test/regress/pg_regress" \
		prove --nocolor -v -I "$BIN/../lib/pgxs/src/test/perl" -I test/perl "$1") </dev/null
}

# reason LOG: what the test said when it failed; nothing if it never got there.
reason()
{
	sed -n -e 's/^not ok [0-9]* - //p' -e '/^gave up waiting for/p' -e '/^the service never saw/p' "$1" |
		sed 's/ at .* line [0-9]*\.$//' | head -n 1
}

# seed NAME: 0 if the bug is caught.
seed()
{
	patch=$HERE/test/mutants/$1.patch
	test=$(says "$1" Test)
	log=$LOGS/$1.log
	[ -n "$test" ] && [ -f "$DIR/src/$test" ] || { echo "there is no test \"$test\""; return 1; }
	as_postgres patch -s -p1 --no-backup-if-mismatch -d "$DIR/src" <"$patch" >"$log" 2>&1 ||
		{ echo "the patch no longer applies"; return 1; }
	build >>"$log" 2>&1 || { echo "it does not compile"; return 1; }
	run_test "$test" >>"$log" 2>&1
	status=$?
	# What a test says while it dies goes to its own log.
	cat "$DIR"/tap/tmp_check/log/regress_log_* >>"$log" 2>/dev/null
	[ $status != 0 ] || { echo "not caught by $test"; return 1; }
	why=$(reason "$log")
	[ -n "$why" ] || { echo "$test failed for another reason"; return 1; }
	echo "caught by $test: $why"
}

finish()
{
	trap - EXIT INT TERM
	cd /
	end_leftovers "$DIR/"
	if [ "$1" = 0 ]; then
		rm -rf "$DIR"
	else
		rm -rf "$DIR"/lane* "$DIR/pg" "$DIR/tap"
		echo "The logs are in $LOGS"
	fi
}

# lane N NAME...: some of the bugs, one after the other, with a tree and a server
# of its own; writes a line for each.
lane()
{
	DIR=$DIR/lane$1
	shift
	mkdir "$DIR" && chown postgres: "$DIR" || exit 1
	cp -a "$CLEAN_TREE" "$DIR/src"
	copy_server pg
	for name in "$@"; do
		began=$(date +%s)
		if words=$(seed "$name"); then
			word=ok
		else
			word=FAIL
		fi
		printf '%-4s  %-28s %s  (%d s)\n' "$word" "$name" "$words" $(($(date +%s) - began))
		end_leftovers "$DIR/"
		# The next one starts from the same built tree: one file is compiled anew.
		rm -rf "$DIR/src"
		cp -a "$CLEAN_TREE" "$DIR/src"
	done
}

# Without a bug, each test must pass.
check_clean()
{
	copy_server pg
	build >"$LOGS/clean.log" 2>&1 || return 1
	for test in $(for name in $names; do says "$name" Test; done | sort -u); do
		if run_test "$test" >"$LOGS/clean.log" 2>&1; then
			echo "ok    without a bug: $test"
		else
			echo "FAIL  without a bug: $test"
			return 1
		fi
	done
}

need_root
choose_major
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES perl libipc-run-perl patch

DIR=$(mktemp -d /tmp/im_import_mutants.XXXXXX) || exit 1
chmod 755 "$DIR"
chown postgres: "$DIR"
LOGS=$DIR/log
mkdir "$LOGS"
trap 'finish 1' EXIT
trap 'exit 130' INT TERM
cd "$DIR" || exit 1
copy_tree "$HERE"
make_extension with_llvm=no all >"$LOGS/build.log" 2>&1 || die "the tree does not compile: see $LOGS/build.log"
CLEAN_TREE=$DIR/src

names=$*
[ -n "$names" ] || names=$(cd "$HERE/test/mutants" && ls -- *.patch | sed 's/\.patch$//')
for name in $names; do
	[ -f "$HERE/test/mutants/$name.patch" ] || die "there is no $name.patch"
done
if [ "${CLEAN:-0}" = 1 ]; then
	check_clean || exit 1
fi

# Dealt out to the lanes in turn.
lanes=$(jobs_of_machine)
n=0
while [ $n -lt "$lanes" ]; do
	mine=$(echo "$names" | tr -s ' \n' '\n' | awk -v n=$n -v lanes="$lanes" 'NR % lanes == n')
	# shellcheck disable=SC2086
	[ -z "$mine" ] || lane $n $mine >"$LOGS/lane$n.out" &
	n=$((n + 1))
done
wait
cat "$LOGS"/lane*.out
all=$(echo "$names" | wc -w)
caught=$(cat "$LOGS"/lane*.out | grep -c '^ok ')
[ "$caught" = "$all" ] && finish 0 || finish 1
echo "$caught of $all caught"
[ "$caught" = "$all" ]
