#!/bin/sh
# All benchmarks, side by side in one run.  As root, on Debian 12:
#
#   sh test/bench/run.sh                  the quick form, about ten minutes
#   sh test/bench/run.sh full             the figures of doc/benchmarks.md: 1,000,000 rows, 10,000,000 behind
#   sh test/bench/run.sh [full] PART...   of: drain latency alternatives insert growth status rate arrival service
#                                         kinds history waiting pipeline progress
#
# OUTPUT=FILE also writes the report to a file.  Installs packages that are
# missing; builds in a folder of its own, beside a private copy of PostgreSQL;
# everything listens on 127.0.0.1 or a socket in that folder, and is gone at
# the end.  Other work on the machine spoils the figures: ratios stand longest.

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
as_postgres python3 -B src/test/bench/bench.py --folder "$DIR" --bin "$BIN" "$@" >"$DIR/report.md"
result=$?
[ $result = 0 ] || {
	echo "--- the server's log" >&2
	tail -n 20 "$DIR/postgres.log" >&2
}
cat "$DIR/report.md"
[ -z "${OUTPUT-}" ] || cp "$DIR/report.md" "$(cd "$HERE" && realpath -m "$OUTPUT")"
exit $result
