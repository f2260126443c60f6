#!/bin/sh
# All benchmarks, side by side in one run.  As root, on Debian 12:
#
#   sh test/bench/run.sh                  the quick form, about twelve minutes
#   sh test/bench/run.sh full             the figures of doc/benchmarks.md: 1,000,000 rows, 10,000,000 behind
#   sh test/bench/run.sh [full] PART...   of: drain latency alternatives insert growth status rate arrival service
#                                         kinds history waiting pipeline progress
#
# OUTPUT=FILE also writes the report to a file.  Installs packages that are
# missing; builds in a folder of its own, beside a private copy of PostgreSQL;
# everything listens on 127.0.0.1 or a socket in that folder, and is gone at
# the end.  Other work on the machine spoils the figures: ratios stand longest.
# No package: pg_net, which the part alternatives measures if the PostgreSQL
# that is copied has it.

set -u
HERE=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
. "$HERE/test/lib.sh"

need_root
choose_major
# shellcheck disable=SC2086
need_packages $BUILD_PACKAGES postgresql-contrib nginx-light libnginx-mod-http-echo python3-asyncpg \
	python3-aiohttp python3-requests curl "postgresql-plpython3-$PG_MAJOR"
claim_folder "$(mktemp -d /tmp/im_import_bench.XXXXXX)"
trap 'cd / && rm -rf "$DIR"' EXIT
trap 'exit 1' HUP INT TERM

copy_tree "$HERE"
copy_server root
{
	make_extension with_llvm=no all &&
		make_extension with_llvm=no DESTDIR="$ROOT" install &&
		as_postgres gcc -O2 -Wall -Wextra -o bare_multi src/test/bench/bare_multi.c -lcurl
} >"$DIR/build.log" 2>&1 || {
	tail -n 30 "$DIR/build.log" >&2
	die "the build failed"
}

# pg_net trusts whom the system's libcurl trusts, and has no setting for that.  Its
# server sees a copy of that file instead, to which stage.py adds its authority: in a
# mount namespace, so nobody else does.  Where none can be made, plain HTTP must do.
pg_net=none
trusted=$(curl-config --ca)
if [ -f "$("$BIN/pg_config" --pkglibdir)/pg_net.so" ] &&
	[ -f "$("$BIN/pg_config" --sharedir)/extension/pg_net.control" ]; then
	pg_net=http
	[ -f "$trusted" ] && as_postgres cp "$trusted" authorities.pem &&
		unshare --mount mount --bind authorities.pem "$trusted" 2>/dev/null &&
		pg_net=https
fi
set -- python3 -B src/test/bench/bench.py --folder "$DIR" --bin "$BIN" --pg-net "$pg_net" "$@"
if [ $pg_net = https ]; then
	export DIR BIN
	# shellcheck disable=SC2016
	unshare --mount sh -c '. "$1" && mount --bind authorities.pem "$2" && shift 2 && as_postgres "$@"' \
		"$0" "$HERE/test/lib.sh" "$trusted" "$@" >"$DIR/report.md"
else
	as_postgres "$@" >"$DIR/report.md"
fi
result=$?
[ $result = 0 ] || {
	echo "--- the server's log" >&2
	tail -n 20 "$DIR/postgres.log" >&2
}
cat "$DIR/report.md"
[ -z "${OUTPUT-}" ] || cp "$DIR/report.md" "$(cd "$HERE" && realpath -m "$OUTPUT")"
exit $result
