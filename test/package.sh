# The part package of test/run.sh, which sources this: the ways to hand the
# extension on.  make dist's zip is unpacked, and from it are built the packages
# of debian/, and what packaging/Dockerfile builds.  What comes out is put into
# copies of the server, each of which is started and has the extension.

# make_zip: from a repository that has the tree as its only commit.
make_zip()
{
	as_postgres mkdir "$DIR/package" || return
	tar -C "$HERE" --exclude=./.git -cf - . | as_postgres tar -C "$DIR/package" --no-same-owner --one-top-level=tree -xf - &&
		cd "$DIR/package/tree" || return
	as_postgres git init -q . && as_postgres git add -A &&
		as_postgres git -c user.name=test -c user.email=test@invalid commit -q -m test &&
		as_postgres make dist PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" || return
	as_postgres git ls-files | sort >"$DIR/package/files"
	as_postgres mv im_import-*.zip "$DIR/package/"
}

# unpack_zip: what PGXN asks of it: a folder with the distribution's name and
# version, a valid META.json at its top; and nothing missing.
unpack_zip()
{
	cd "$DIR/package" || return
	as_postgres python3 -m zipfile -e im_import-*.zip . || return
	UNPACKED=$DIR/package/$(basename im_import-*.zip .zip)
	wanted=$(python3 -c 'import json, sys; meta = json.load(open(sys.argv[1])); print(meta["name"] + "-" + meta["version"])' "$UNPACKED/META.json")
	[ "$(basename "$UNPACKED")" = "$wanted" ] || { echo "the zip's folder is not $wanted"; return 1; }
	(cd "$UNPACKED" && find . ! -type d | sed 's/^..//' | sort) | diff files - || return
	(cd "$UNPACKED" && as_postgres python3 -B test/check_meta.py)
}

# build_packages: for each PostgreSQL that is installed.  Quick ones: no bitcode.
build_packages()
{
	(cd "$UNPACKED" && chmod +x debian/rules &&
		as_postgres env DEB_BUILD_OPTIONS="nocheck noautodbgsym" MAKEFLAGS="-j$(jobs_of_machine) -- with_llvm=no" \
			dpkg-buildpackage -us -uc -b) </dev/null || return
	for postgres in /usr/lib/postgresql/*/bin/pg_config; do
		version=${postgres#/usr/lib/postgresql/}
		version=${version%/bin/pg_config}
		[ "$version" -lt 15 ] || [ ! -d "$("$postgres" --includedir-server)" ] ||
			[ -s "$(echo "$DIR/package/postgresql-$version-im-import"_*.deb)" ] || { echo "no package for $version"; return 1; }
	done
}

# try_server NAME OPTION...: a server of $DIR/NAME, started with these options,
# makes the extension and answers through it.
try_server()
{
	data=$DIR/$1.data
	shift
	as_postgres initdb -D "$data" -A trust -U postgres >/dev/null &&
		(detached "$data.log" "$data.log" as_postgres pg_ctl -D "$data" -w \
			-o "-c listen_addresses='' -c unix_socket_directories='$DIR/package' $*" start) || { cat "$data.log"; return 1; }
	said=$(as_postgres psql -XAt -h "$DIR/package" -U postgres -d postgres \
		-c 'CREATE EXTENSION im_import' -c "SELECT state IS NOT NULL FROM im_import_status" -c "SELECT im_fit('extension', 3)")
	as_postgres pg_ctl -D "$data" -m fast -w stop >/dev/null
	echo "$said"
	[ "$said" = "$(printf 'CREATE EXTENSION\nt\next')" ]
}

# dpkg_there ARGUMENT...: dpkg in the server's copy, with a list of packages of its own.
dpkg_there()
{
	dpkg --admindir="$DIR/package/dpkg" --instdir="$ROOT" --log=/dev/null --force-depends "$@"
}

# install_package: installed, used, and taken away again without a trace.
install_package()
{
	copy_server pg_package
	mkdir -p "$DIR/package/dpkg/updates" "$DIR/package/dpkg/info" && : >"$DIR/package/dpkg/status" || return
	(cd "$ROOT" && find . ! -type d | sort) >"$DIR/package/before"
	dpkg_there --install "$DIR/package/postgresql-$PG_MAJOR-im-import"_*.deb || return
	[ -s "$ROOT/usr/share/doc/postgresql-$PG_MAJOR-im-import/copyright" ] || return
	try_server pg_package -c shared_preload_libraries=im_import &&
		dpkg_there --purge "postgresql-$PG_MAJOR-im-import" || return
	(cd "$ROOT" && find . ! -type d | sort) | diff "$DIR/package/before" -
}

# run_dockerfile: its RUN steps, one after the other, where COPY would have put
# the tree; what it installs goes to $DIR/package/image.
run_dockerfile()
{
	sed -e ':join' -e '/\\$/N' -e 's/\\\n//' -e 't join' "$UNPACKED/packaging/Dockerfile" | sed -n 's/^RUN //p' >"$DIR/package/steps"
	[ "$(wc -l <"$DIR/package/steps")" = 3 ] || { echo "these are not its three steps:"; cat "$DIR/package/steps"; return 1; }
	DEBIAN_FRONTEND=noninteractive PG_MAJOR=$PG_MAJOR unshare --mount sh -e -c '
		mount --make-rprivate /
		mount -t tmpfs tmpfs /usr/src
		mount -t tmpfs tmpfs /var/lib/apt/lists
		cp -a "$1" /usr/src/im_import
		while read -r step; do sh -e -c "$step" </dev/null; done <"$2/steps"
		cp -a /usr/src/installed "$2/image"' sh "$UNPACKED" "$DIR/package"
}

try_image()
{
	copy_server pg_image
	cp -a "$DIR/package/image/." "$ROOT/"
	options=$(sed -n 's/^CMD \["postgres", \(.*\)\]$/\1/p' "$UNPACKED/packaging/Dockerfile" | tr -d '",')
	# shellcheck disable=SC2086
	try_server pg_image $options
}

part_package()
{
	need_packages build-essential debhelper git postgresql-server-dev-all
	usual_bin=$BIN
	step "make dist" make_zip && step "the zip, as PGXN wants it" unpack_zip || return
	step "Debian packages" build_packages && step "a package, installed and removed" install_package
	if unshare --mount true 2>/dev/null; then
		step "Dockerfile, its steps" run_dockerfile && step "Dockerfile, what it installs" try_image
	else
		skip "Dockerfile" "no namespace can be made here"
	fi
	BIN=$usual_bin
}
