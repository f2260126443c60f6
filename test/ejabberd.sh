# The part ejabberd of test/run.sh, which sources this: a chat that real clients
# made on Debian's own ejabberd is moved by doc/examples/ejabberd.sql.
#
# ejabberd, its Erlang and the client library are unpacked, not installed: no
# package's script runs, no service is started, and nothing of them outlives
# the test.  Without the archive the part is skipped.

# get_ejabberd: into $DIR/ejabberd/root.  Packages that are installed here are
# fetched, too: apt is shown a list without them.
get_ejabberd()
{
	folder=$DIR/ejabberd
	mkdir -p "$folder/root" "$folder/packages/partial" || return
	(update_lists) || return
	awk 'BEGIN { RS = ""; ORS = "\n\n" } !/^Package: (ejabberd|erlang-|python3-(slixmpp|aiodns|pycares))/' \
		/var/lib/dpkg/status >"$folder/status"
	apt-get -qq -y -o Dir::State::status="$folder/status" -o Dir::Cache::archives="$folder/packages" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
		--no-install-recommends --download-only install ejabberd erlang-p1-pgsql python3-slixmpp || return
	for package in "$folder"/packages/*.deb; do
		dpkg-deb -x "$package" "$folder/root" || return
	done
	chmod 755 "$folder" "$folder/root"
	rm -rf "$folder/packages"
	[ -n "$(find "$folder/root" -name ejabberd.app)" ]
}

part_ejabberd()
{
	need_server || return
	if get_ejabberd >"$LOGS/ejabberd_packages.log" 2>&1; then
		EJABBERD_ROOT=$DIR/ejabberd/root
		export EJABBERD_ROOT
		as_postgres mkdir "$DIR/tap_ejabberd"
		step "a chat of ejabberd, moved" prove_files ejabberd 1 test/ejabberd/move.pl
	else
		skip "ejabberd" "its packages cannot be fetched"
	fi
}
