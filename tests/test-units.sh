#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The units as systemd reads them: no line that it does not know or would pass over, and no more exposed
# than the manual says. Nothing is started.

: "${top_srcdir:=.}" "${top_builddir:=.}"
if ! command -v systemd-analyze >/dev/null; then
	echo "1..0 # SKIP no systemd-analyze"
	exit 77
fi
TMP=$(mktemp -d "${TMPDIR:-/tmp}/capfs-units.XXXXXX") || exit 99
trap 'rm -rf "$TMP"' EXIT
count=0 failed=0
result() { # STATUS NAME
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		failed=$((failed + 1))
		echo "not ok $count - $2"
		sed 's/^/# /' "$TMP/output"
	fi
}

# As they would be installed, but with the programs of the build tree.
builddir=$(cd "$top_builddir" && pwd)
gather() { # system|user
	mkdir "$TMP/$1"
	cp "$top_srcdir"/systemd/*.socket "$top_builddir/systemd/$1"/* "$TMP/$1/"
	[ "$1" = user ] || cp "$top_srcdir"/systemd/*.*mount "$TMP/$1/"
	sed -i -e "s,^ExecStart=[^ ]*/capfs-spawner,ExecStart=$builddir/tests/played-spawner," \
		-e "s,^ExecStart=[^ ]*/capfsd\( \|$\),ExecStart=$builddir/capfsd/capfsd\1," \
		-e "s,^ExecStart=[^ ]*/capctl\( \|$\),ExecStart=$builddir/capctl/capctl\1," "$TMP/$1"/*.service
}

verified() { # system|user UNIT
	local manager=()
	[ "$1" = system ] || manager=(--user)
	XDG_RUNTIME_DIR=$TMP timeout 60 systemd-analyze ${manager[@]+"${manager[@]}"} verify --man=no \
		"$TMP/$1/$2" >"$TMP/output" 2>&1 || return 1
	# It knows the units of the machine as well, and has its say about them.
	! grep -F -e "$TMP/$1/" -e 'cap' "$TMP/output"
}
for kind in system user; do
	gather $kind
	for unit in "$TMP/$kind"/*; do
		name=$(basename "$unit")
		instance=${name/@./@x.}
		[ "$instance" = "$name" ] || ln -s "$name" "$TMP/$kind/$instance"
		verified $kind "$instance"
		result $? "systemd_reads_${kind}_$name"
	done
done

exposed() { # UNIT LIMIT
	local level
	timeout 60 systemd-analyze security --no-pager --offline=true "$TMP/system/$1" >"$TMP/output" 2>&1
	level=$(sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\) .*/\1/p' "$TMP/output")
	echo "# $1: $level"
	[ -n "$level" ] && awk "BEGIN { exit !($level <= $2) }"
}
if systemd-analyze --help | grep -q -- --offline; then
	for unit in capfsd.service@4.9 capfsd@x.service@4.9 capfs-serve@x.service@2.9; do
		exposed "${unit%@*}" "${unit##*@}"
		result $? "exposure_of_${unit%@*}_is_at_most_${unit##*@}"
	done
fi

# The system's user and the mount point, made in a root of their own.
if [ "$(id -u)" -eq 0 ] && command -v systemd-sysusers systemd-tmpfiles >/dev/null; then
	mkdir -p "$TMP/root/etc"
	systemd-sysusers --root="$TMP/root" "$(cd "$top_srcdir" && pwd)/systemd/capfsd.sysusers.conf" \
		>"$TMP/output" 2>&1
	[ "$(grep -Ec '^(capfs|capfs-serve):.*nologin$' "$TMP/root/etc/passwd")" = 2 ]
	result $? "the_users_are_made"
	echo 'root:x:0:0:root:/root:/bin/sh' >>"$TMP/root/etc/passwd"
	echo 'root:x:0:' >>"$TMP/root/etc/group"
	systemd-tmpfiles --create --root="$TMP/root" \
		"$(cd "$top_srcdir" && pwd)/systemd/capfsd.tmpfiles.conf" >"$TMP/output" 2>&1
	[ "$(stat -c '%a %u' "$TMP/root/cap" 2>&1)" = "755 0" ]
	result $? "the_mount_point_is_made"
fi
echo "1..$count"
[ $failed -eq 0 ]
