#!/bin/sh
# Renews the parts of reference.md and codes.md that stand between
# "<!-- from the catalog: NAME -->" and "<!-- end -->", from a database that
# has the extension and whose superuser you are:
#
#   sh doc/make_reference.sh [--check] PSQL_ARGUMENT...
#
# --check changes nothing, shows what differs, and fails if anything does.
# test/t/820_reference.pl runs that; with REWRITE=1 it renews the files instead.

set -u
doc=$(cd "$(dirname "$0")" && pwd) || exit 2
check=
[ "${1-}" != --check ] || { check=1; shift; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

psql -X -v ON_ERROR_STOP=1 -f "$doc/reference.sql" "$@" >"$work/parts" || exit 2
status=0
for file in reference.md codes.md; do
	awk -v parts="$work/parts" '
		BEGIN {
			while ((getline line <parts) > 0)
				if (line ~ /^@@ /)
					name = substr(line, 4)
				else
					part[name] = part[name] line "\n"
		}
		/^<!-- end -->$/ { inside = 0 }
		!inside { print }
		/^<!-- from the catalog: [a-z]+ -->$/ {
			inside = 1
			if (!($5 in part)) { print "there is no part " $5 >"/dev/stderr"; exit 2 }
			sub(/\n+$/, "\n", part[$5])
			printf "\n%s\n", part[$5]
		}
	' "$doc/$file" >"$work/$file" || exit 2
	if [ -z "$check" ]; then
		cat "$work/$file" >"$doc/$file" || exit 2
	else
		diff -u "$doc/$file" "$work/$file" || status=1
	fi
	if grep -n '???' "$work/$file"; then
		echo "$file: the words above are missing in doc/reference.sql" >&2
		status=1
	fi
done
sed -n '/^@@ stale$/,$p' "$work/parts" | sed -e 1d -e '/^$/d' >"$work/stale"
if [ -s "$work/stale" ]; then
	cat "$work/stale" >&2
	status=1
fi
exit $status
