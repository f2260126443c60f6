# The part majors of test/run.sh, which sources this: the same tests with the
# PostgreSQL, compilers and libraries of other Debian suites, each in a root that
# debootstrap makes and that is gone afterwards.
#
#   sh test/run.sh majors                        the chosen tests, as in a run of everything
#   MAJORS_PARTS=all sh test/run.sh majors       the whole suite (but tidy) in each
#   MAJORS_SUITES=trixie ...                     only there
#
# The packages come from the archive that this system's own come from.  Without
# it, without debootstrap, or where no namespace can be made, a suite is skipped.

MAJORS_PARTS=${MAJORS_PARTS:-build unit regress tap}
MAJORS_TESTS=${MAJORS_TESTS:-"test/t/001_*.pl test/t/002_*.pl test/t/003_*.pl test/t/008_*.pl test/t/011_*.pl
	test/t/503_*.pl test/t/100_*.pl test/t/301_*.pl test/t/305_*.pl test/t/700_*.pl test/t/710_*.pl test/t/730_*.pl"}

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
# dpkg need not wait for the disk; no cluster is made, no service started.
make_root()
{
	root=$DIR/root_$1
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	http_proxy=${proxy-} debootstrap --variant=minbase "$1" "$root" "$(archive)" || return
	apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90host"
	echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/90test"
	mkdir -p "$root/etc/postgresql-common"
	echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	cp -a "$DIR/src" "$root/src"
}

# run_in_root SUITE: test/run.sh there; its output to $LOGS/majors_SUITE.log.
run_in_root()
{
	set -- "$1" "$MAJORS_PARTS" "$MAJORS_TESTS" 0
	[ "$2" != all ] || set -- "$1" "build unit fuzz service regress tap mutants demo" '' "$SEEDS"
	# shellcheck disable=SC2086
	sh "$HERE/test/enter_root.sh" "$DIR/root_$1" env TESTS="$3" SEEDS="$4" FUZZ_SECONDS="$FUZZ_SECONDS" \
		TAP_LIMIT="$TAP_LIMIT" sh /src/test/run.sh $2 >"$LOGS/majors_$1.log" 2>&1 </dev/null
}

# number WORD LINE: the number before a word of a line like "3 passed, 1 failed".
number()
{
	echo "$2" | sed -n "s/.*\\b\\([0-9][0-9]*\\) $1.*/\\1/p"
}

# major SUITE: one of them, counted as the sum of what was counted there.
major()
{
	has_suite "$1" || { skip "majors, $1" "the archive cannot be reached, or has no $1"; return; }
	step "a root of $1" make_root "$1" || return
	run_in_root "$1"
	status=$?
	log=$LOGS/majors_$1.log
	sed -n -e 's/^PostgreSQL /  &/p' -e '/^\(ok\|FAIL\|skip\) \|^      /s/^/  /p' "$log"
	last=$(tail -n 1 "$log")
	bad=$(number failed "$last")
	[ $status = 0 ] && [ -n "$bad" ] || [ "${bad:-0}" != 0 ] || bad=1
	good=$(number passed "$last")
	none=$(number skipped "$last")
	[ "$bad" = 0 ] || cp -a "$DIR/root_$1"/tmp/im_import_test.*/log "$LOGS/majors_$1" 2>/dev/null
	count "majors, $1" "${good:-0}" "$bad" "${none:-0}" "$log"
	rm -rf "$DIR/root_$1"
}

part_majors()
{
	why=$(why_no_majors)
	for suite in ${MAJORS_SUITES:-$(suites_beside)}; do
		if [ -n "$why" ]; then
			skip "majors, $suite" "$why"
		else
			major "$suite"
		fi
	done
}
