# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Sourced before harness.sh by tests that install, mount on /cap and write to /etc: what they see as the
# machine is a copy in memory (an overlay) that nobody else sees, with processes of its own. All of it is
# gone when the test ends, however that comes.
#
#	namespace_enter		goes there, or skips the script
#	namespace_install	`make install` there

namespace_skip() {
	echo "1..0 # SKIP $*"
	exit 77
}

# A directory on another file system than the root's comes along as it is.
namespace_bring() { # DIR ROOT
	local mount
	mount=$(findmnt -n -o TARGET --target "$1") || return
	case $mount in
	/ | /dev* | /proc* | /sys* | /run*) ;;
	*) mkdir -p "$2$mount" && mount --rbind "$mount" "$2$mount" ;;
	esac
}

# The first process of the namespace makes the copy its root.
namespace_pivot() {
	local root=/mnt/root
	mount --make-rprivate / &&
		mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work $root || return
	mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work $root || return
	mount -t proc proc $root/proc && mount --bind /dev $root/dev && mount --rbind /sys $root/sys &&
		mount --bind /dev/pts $root/dev/pts && mount -t tmpfs none $root/dev/shm &&
		mount -t tmpfs none $root/run || return
	namespace_bring "$top_builddir" $root && namespace_bring "$top_srcdir" $root || return
	cd $root && mkdir -p old && pivot_root . old && cd / && umount -l /old || return
	rmdir /old
	mkdir -p /cap
	# As systemd leaves it: what is mounted later is seen by services that have been started.
	mount --make-rshared /
}

namespace_enter() {
	local here
	here=$(cd "$(dirname "$0")/.." && pwd)
	: "${top_srcdir:=$here}"
	: "${top_builddir:=$here}"
	top_srcdir=$(cd "$top_srcdir" && pwd)
	top_builddir=$(cd "$top_builddir" && pwd)
	export top_srcdir top_builddir
	local enter=(unshare --mount --pid --fork --kill-child)
	case ${NAMESPACE:-} in
	'')
		[ "$(id -u)" -eq 0 ] || namespace_skip "needs root, for namespaces"
		"${enter[@]}" true 2>/dev/null || namespace_skip "no namespaces can be made"
		NAMESPACE=new exec "${enter[@]}" bash "$top_srcdir/tests/${0##*/}"
		;;
	new)
		namespace_pivot >/dev/null || namespace_skip "no copy of the machine can be made"
		NAMESPACE=inside exec bash "$top_srcdir/tests/${0##*/}"
		;;
	esac
}

namespace_install() {
	env -u MAKEFLAGS -u MAKELEVEL "${MAKE:-make}" -s -C "$top_builddir" install >/run/install.log 2>&1
}
