# Shell functions that test/demo.sh, test/run.sh and the scripts beside them
# share.  POSIX sh; sourced.
#
# Each runs a PostgreSQL of its own, mostly a copy of the installed one, in a
# folder that belongs to postgres, with the extension built and installed there:
# neither the checkout nor the installed server nor its clusters are touched.

# The caller's PATH may lead to programs that postgres cannot read.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset CDPATH PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGDATA PYTHONPATH PERL5LIB MAKEFLAGS
unset http_proxy HTTP_PROXY no_proxy NO_PROXY TMPDIR

# Empty: choose_major() finds one.
PG_MAJOR=${PG_MAJOR:-}

# What prove says of a file that passed.  Of one that bailed out it may say "ok(".
PROVE_OK='ok +[0-9]+ ms'

die()
{
	echo "$0: $*" >&2
	exit 1
}

need_root()
{
	[ "$(id -u)" = 0 ] || die "must run as root: sudo sh $0"
}

# update_lists: once in a run, however many packages are asked for.
update_lists()
{
	[ -z "${lists_updated-}" ] || return 0
	apt-get -qq -o DPkg::Lock::Timeout=300 update || die "apt-get update failed"
	lists_updated=1
}

# major_offered: the version that the system's package "postgresql" stands for.
major_offered()
{
	apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

# choose_major: sets PG_MAJOR, BIN and BUILD_PACKAGES.  What the caller named in
# PG_MAJOR, or the newest version that is installed, or the one that the system offers.
choose_major()
{
	if [ -z "$PG_MAJOR" ]; then
		for postgres in /usr/lib/postgresql/*/bin/postgres; do
			found=${postgres#/usr/lib/postgresql/}
			found=${found%/bin/postgres}
			[ -x "$postgres" ] && [ "$found" -gt "${PG_MAJOR:-0}" ] && PG_MAJOR=$found
		done
	fi
	if [ -z "$PG_MAJOR" ]; then
		update_lists
		PG_MAJOR=$(major_offered)
		[ -n "$PG_MAJOR" ] || die "this system offers no package \"postgresql\": install one, or set PG_MAJOR"
	fi
	BIN=/usr/lib/postgresql/$PG_MAJOR/bin
	BUILD_PACKAGES="gcc make libc6-dev postgresql-$PG_MAJOR postgresql-server-dev-$PG_MAJOR
		libcurl4-openssl-dev libssl-dev zlib1g-dev python3 openssl ca-certificates"
}

# need_packages NAME...: installs what is missing of them, and says so.
need_packages()
{
	missing=
	for package in "$@"; do
		case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
			*' installed') ;;
			*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	echo "installing:$missing"
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	update_lists
	# shellcheck disable=SC2086
	apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing >/dev/null ||
		die "apt-get could not install:$missing"
}

# as_postgres COMMAND...: in the current folder, with the private copy first in PATH.
as_postgres()
{
	runuser -u postgres -- env HOME="$DIR" LC_ALL=C.UTF-8 PATH="$BIN:$PATH" "$@"
}

# claim_folder PATH: an existing folder that is ours alone becomes DIR and the
# current one; the caller's may be closed to postgres.
claim_folder()
{
	DIR=$1
	chmod 755 "$DIR" && chown postgres: "$DIR" && cd "$DIR" || die "cannot use the folder $DIR"
}

# detached OUT ERR COMMAND...: runs it with these files and nothing to read; to be
# called in a subshell, or with "&".  What it leaves running holds no pipe of our
# caller: where a function's output is redirected, sh keeps the former descriptors
# as 10 to 12, and a child inherits them; exec keeps nothing.
detached()
{
	out=$1
	err=$2
	shift 2
	exec >"$out" 2>"$err" </dev/null
	"$@"
}

# copy_tree SOURCE: the checkout's files, without what a build left there.
copy_tree()
{
	mkdir "$DIR/src"
	tar -C "$1" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		--exclude=./test/unit/build --exclude=__pycache__ --exclude=./tmp_check --exclude=./results \
		--exclude='./regression.*' -cf - . |
		tar -C "$DIR/src" --no-same-owner -xf -
	chown -R postgres: "$DIR/src"
}

# copy_server NAME: the installed PostgreSQL into $DIR/NAME; sets ROOT and BIN.
# PostgreSQL finds its files relative to its own programs.
copy_server()
{
	installed=/usr/lib/postgresql/$PG_MAJOR
	shared=/usr/share/postgresql/$PG_MAJOR
	[ -x "$installed/bin/postgres" ] && [ -x "$installed/bin/pg_config" ] ||
		die "there is no PostgreSQL $PG_MAJOR in $installed"
	ROOT=$DIR/$1
	BIN=$ROOT$installed/bin
	mkdir -p "$ROOT/usr/lib/postgresql" "$ROOT/usr/share/postgresql"
	cp -a "$installed" "$ROOT/usr/lib/postgresql/"
	cp -aL "$shared" "$ROOT/usr/share/postgresql/"
	rm -rf "$ROOT$installed"/lib/im_import.so "$ROOT$installed"/lib/bitcode/im_import* \
		"$ROOT$shared"/extension/im_import*
	chown -R postgres: "$ROOT"
}

# make_extension ARGUMENT...: make in the copied tree, against the installed server.
make_extension()
{
	(cd "$DIR/src" && as_postgres make -j "$(jobs_of_machine)" \
		PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" "$@") </dev/null
}

# The jobs that make may run at once.
jobs_of_machine()
{
	nproc 2>/dev/null || echo 2
}

# is_ours PID WORD: PID is a process of postgres with WORD in its command line.
# It may end at any moment, which is no error.
is_ours()
{
	[ "$(stat -c %U "/proc/$1" 2>/dev/null)" = postgres ] &&
		cat "/proc/$1/cmdline" 2>/dev/null | tr '\0' ' ' | grep -qF -- "$2"
}

# end_process SIGNAL PID WORD: ends it if it is ours, and waits until it is gone.
end_process()
{
	is_ours "$2" "$3" || return 0
	kill -s "$1" "$2" 2>/dev/null
	shift
	tries=0
	while is_ours "$1" "$2"; do
		tries=$((tries + 1))
		[ $tries -le 100 ] || { kill -KILL "$1" 2>/dev/null; break; }
		sleep 0.1
	done
}

# end_leftovers WORD: ends what is left of our processes with WORD in their
# command line.
end_leftovers()
{
	for process in /proc/[0-9]*; do
		end_process QUIT "${process#/proc/}" "$1" 2>/dev/null
	done
}

# timed_step NAME COMMAND...: one that is passed or failed as a whole, and is
# counted in passed or failed, which the caller begins with 0.  What it prints
# is kept in $LOGS; the end of that is shown if it failed.
timed_step()
{
	name=$1
	shift
	log=$LOGS/$(echo "$name" | tr ' ' _).log
	began=$(date +%s)
	if "$@" >"$log" 2>&1; then
		echo "ok    $name ($(($(date +%s) - began)) s)"
		passed=$((passed + 1))
	else
		echo "FAIL  $name; the end of $log:"
		tail -n 40 "$log" | sed 's/^/      /'
		failed=$((failed + 1))
		return 1
	fi
}

# start_service NAME OPTION...: the stand-in for the IM service, in $DIR/NAME;
# sets SERVICE_PID, HTTP_PORT and HTTPS_PORT from the line that it prints.
start_service()
{
	service=$DIR/$1
	shift
	as_postgres mkdir -p "$service"
	detached "$service.out" "$service.log" \
		as_postgres python3 -B "$DIR/src/test/service/im_service.py" --dir "$service" "$@" &
	tries=0
	until [ -s "$service.out" ]; do
		tries=$((tries + 1))
		[ $tries -le 200 ] || { cat "$service.log" >&2; die "the stand-in did not start"; }
		sleep 0.1
	done
	SERVICE_PID=$(service_says pid)
	HTTP_PORT=$(service_says http_port)
	HTTPS_PORT=$(service_says https_port)
	[ -n "$SERVICE_PID" ] && [ -n "$HTTPS_PORT" ] || die "the stand-in printed: $(cat "$service.out")"
}

service_says()
{
	sed -n "s/.*\"$1\": *\\([0-9]*\\).*/\\1/p" "$service.out"
}
