# The part majors of test/run.sh, which sources this: the same tests with the
# PostgreSQL, compilers and libraries of other Debian suites, each in a root that
# debootstrap makes and that is gone afterwards.
#
#   sh test/run.sh                               builds, unit, regression and three TAP tests, on the other release
#   sh test/run.sh majors                        the chosen tests, on unstable, too
#   MAJORS_PARTS=all sh test/run.sh majors       the whole suite (but tidy) in each
#   MAJORS_SUITES=trixie ...                     only there
#
# The packages come from the archive that this system's own come from.  Without
# it, without debootstrap, or where no namespace can be made, a suite is skipped.
# The suites are made and run at the same time: alone, each would mostly wait,
# for the archive, for the disk, or for a state that a test polls for.

MAJORS_PARTS=${MAJORS_PARTS:-build unit regress tap}
MAJORS_BEFORE=${MAJORS_BEFORE:-2700}		# seconds
MAJORS_UNTIL=${MAJORS_UNTIL:-3360}

# majors_in_short: what a run of everything has time for, if it was not slow.  The
# tests are those that see how a version of libcurl tells what became of a call.
majors_in_short()
{
	majors_short=yes
	MAJORS_TESTS=${MAJORS_TESTS:-test/t/003_*.pl test/t/011_*.pl test/t/503_*.pl}
	MAJORS_SUITES=${MAJORS_SUITES:-$(suites_beside | head -n 1)}
}

# suites_beside: those that this system is not.
suites_beside()
{
	# shellcheck disable=SC1091
	own=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
	for suite in trixie bookworm sid; do
		[ "$suite" = "$own" ] || echo "$suite"
	done
}

# archive: where this system's own packages come from, if that is a Debian archive.
archive()
{
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian Debian main //p' | head -n 1
}

# why_no_majors: prints why no root can be made here, or nothing.
why_no_majors()
{
	[ -z "${majors_short-}" ] || [ $(($(date +%s) - start)) -lt "$MAJORS_BEFORE" ] ||
		{ echo "no time left after $MAJORS_BEFORE s; alone: sh test/run.sh majors"; return; }
	(update_lists) >"$LOGS/majors.log" 2>&1 || { echo "apt-get update failed"; return; }
	(need_packages debootstrap) >>"$LOGS/majors.log" 2>&1 || { echo "there is no package debootstrap"; return; }
	[ -n "$(archive)" ] || { echo "this system's packages do not come from a Debian archive"; return; }
	unshare --mount --pid --ipc --uts --fork true 2>>"$LOGS/majors.log" || echo "no namespace can be made here"
}

has_suite()
{
	/usr/lib/apt/apt-helper -qq download-file "$(archive)dists/$1/Release" "$DIR/release_$1" >>"$LOGS/majors.log" 2>&1
}

# make_root SUITE: a minimal system in $DIR/root_SUITE, with this system's own
# ways to the archive, and the tree in /src.  Nothing in it outlives the test, so
# dpkg need not wait for the disk; no cluster is made, no service started, no
# documents unpacked.  In namespaces: what is mounted or runs ends with us.
make_root()
{
	root=$DIR/root_$1
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	http_proxy=${proxy-} setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
		debootstrap --variant=minbase "$1" "$root" "$(archive)" || return
	apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90host"
	printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n' >"$root/etc/dpkg/dpkg.cfg.d/90test"
	mkdir -p "$root/etc/postgresql-common"
	echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	cp -a "$DIR/src" "$root/src"
}

# The tests of a run that names this part.
CHOSEN_FOR_MAJORS="test/t/001_*.pl test/t/002_*.pl test/t/003_*.pl test/t/008_*.pl test/t/011_*.pl
	test/t/503_*.pl test/t/100_*.pl test/t/301_*.pl test/t/305_*.pl test/t/700_*.pl test/t/710_*.pl test/t/730_*.pl"

# run_in_root SUITE: test/run.sh there, in this process's place.  Tests wait
# longer than elsewhere before they give up: several suites share the machine.
run_in_root()
{
	set -- "$1" "$MAJORS_PARTS" "${MAJORS_TESTS:-$CHOSEN_FOR_MAJORS}" 0
	[ "$2" != all ] || set -- "$1" "build unit fuzz service regress tap mutants demo" '' "$SEEDS"
	# shellcheck disable=SC2086
	exec sh "$HERE/test/enter_root.sh" "$DIR/root_$1" env TESTS="$3" SEEDS="$4" FUZZ_SECONDS="$FUZZ_SECONDS" \
		TAP_LIMIT="$TAP_LIMIT" PG_TEST_TIMEOUT_DEFAULT=300 sh /src/test/run.sh $2
}

# start_major SUITE: begins with one of them.
start_major()
{
	{
		make_root "$1" >"$LOGS/root_$1.log" 2>&1 && date +%s >"$DIR/made_$1" || exit 2
		run_in_root "$1" >"$LOGS/majors_$1.log" 2>&1
	} </dev/null &
	echo $! >"$DIR/runs_$1"
}

# end_majors: ends those that still run, with all that they started.
end_majors()
{
	for runs in "$DIR"/runs_*; do
		[ ! -e "$runs" ] || kill -KILL "$(cat "$runs")" 2>/dev/null
	done
}

# number WORD LINE: the number before a word of a line like "3 passed, 1 failed".
number()
{
	echo "$2" | sed -n "s/.*\\b\\([0-9][0-9]*\\) $1.*/\\1/p"
}

# in_time PID: false if it still runs when a run of everything has to come to its end.
in_time()
{
	while kill -0 "$1" 2>/dev/null; do
		[ $(($(date +%s) - start)) -lt "$MAJORS_UNTIL" ] || return
		sleep 1
	done
}

# end_major SUITE: waits for it; counted as the sum of what was counted there.
end_major()
{
	if [ -n "${majors_short-}" ] && ! in_time "$(cat "$DIR/runs_$1")"; then
		end_majors
		rm -f "$DIR/runs_$1"
		skip "majors, $1" "no time left after $MAJORS_UNTIL s; alone: sh test/run.sh majors"
		return
	fi
	wait "$(cat "$DIR/runs_$1")"
	status=$?
	rm -f "$DIR/runs_$1"
	began=$majors_began
	if [ ! -e "$DIR/made_$1" ] && [ -n "${majors_short-}" ]; then
		skip "majors, $1" "no root could be made: $(tail -n 1 "$LOGS/root_$1.log")"
		return
	elif [ ! -e "$DIR/made_$1" ]; then
		count "a root of $1" 0 1 0 "$LOGS/root_$1.log"
		return
	fi
	count "a root of $1, after $(($(cat "$DIR/made_$1") - majors_began)) s" 1 0 0 "$LOGS/root_$1.log"
	log=$LOGS/majors_$1.log
	sed -n -e 's/^PostgreSQL /  &/p' -e '/^\(ok\|FAIL\|skip\) \|^      /s/^/  /p' "$log"
	last=$(tail -n 1 "$log")
	bad=$(number failed "$last")
	[ $status = 0 ] && [ -n "$bad" ] || [ "${bad:-0}" != 0 ] || bad=1
	good=$(number passed "$last")
	none=$(number skipped "$last")
	[ "$bad" = 0 ] || cp -a "$DIR/root_$1"/tmp/im_import_test.*/log "$LOGS/majors_$1" 2>/dev/null
	began=$majors_began
	count "majors, $1" "${good:-0}" "$bad" "${none:-0}" "$log"
	rm -rf "$DIR/root_$1"
}

part_majors()
{
	why=$(why_no_majors)
	started=
	majors_began=$(date +%s)
	for suite in ${MAJORS_SUITES:-$(suites_beside)}; do
		if [ -n "$why" ]; then
			skip "majors, $suite" "$why"
		elif ! has_suite "$suite"; then
			skip "majors, $suite" "the archive cannot be reached, or has no $suite"
		else
			start_major "$suite"
			started="$started $suite"
		fi
	done
	for suite in $started; do
		end_major "$suite"
	done
}
