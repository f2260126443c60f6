#!/bin/sh
# Runs a command in another system's tree, as if that machine had been started.
# As root:
#
#   sh test/enter_root.sh ROOT COMMAND...
#
# The command sees its own processes, mounts and /dev, and the network of this
# machine; what it leaves running is ended with it.  The root is changed with
# pivot_root, since in a chroot no user namespace can be made, which some tests
# need.  Nothing stays mounted.

set -u

if [ "${1-}" != --inside ]; then
	[ $# -ge 2 ] && [ -d "$1" ] || { echo "usage: sh $0 ROOT COMMAND..." >&2; exit 2; }
	exec unshare --mount --pid --ipc --uts --fork --kill-child sh "$0" --inside "$@"
fi

ROOT=$2
shift 2

# device NAME...: the same as outside, by a bind mount, which needs no right to make one.
device()
{
	for name in "$@"; do
		: >"dev/$name" && mount --bind "/dev/$name" "dev/$name" || exit 2
	done
}

mount --make-rprivate / && mount --bind "$ROOT" "$ROOT" && cd "$ROOT" || exit 2
mount -t proc proc proc && mount -t tmpfs -o mode=755 dev dev || exit 2
device null zero full random urandom tty
mkdir dev/shm dev/pts && mount -t tmpfs -o mode=1777 shm dev/shm || exit 2
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts && ln -s pts/ptmx dev/ptmx || exit 2
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

mkdir -p mnt && pivot_root . mnt && cd / && umount -l /mnt || exit 2
# Not exec: this shell is process 1, which takes over orphans and buries them.
env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
