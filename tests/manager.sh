# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Sourced by tests in a namespace (namespace.sh): a systemd of their own, which runs the system's units as
# they were installed. It is a user's manager, since only process 1 can be the system's; it takes
# /run for its runtime directory, so that %t and RuntimeDirectory= mean what they do in the system; and
# /var/lib for that of states, which before systemd 254 was that of configurations.
#
#	manager_start		starts it; what services say goes to /run/logs/UNIT.log
#	manager_stop		ends it with all that it runs
#	unit CMD…		systemctl
#	property NAME UNIT	one value

MANAGER=

manager_check() {
	[ -x /lib/systemd/systemd ] || harness_skip "no systemd"
	have systemctl || harness_skip "no systemctl"
	[ -f /lib/systemd/system/capfsd.service ] || harness_skip "the units were configured to be elsewhere"
}

unit() {
	XDG_RUNTIME_DIR=/run timeout 60 systemctl --user --no-pager "$@"
}

property() { # NAME UNIT
	unit show --value -p "$1" "$2"
}

manager_answers() {
	[ "$(unit is-active basic.target)" = active ]
}

manager_start() {
	mkdir -p /run/systemd/system /run/systemd/user/service.d /run/logs
	cp /lib/systemd/system/cap*.* /run/systemd/user/
	printf '[Service]\nStandardError=append:/run/logs/%%n.log\n' >/run/systemd/user/service.d/log.conf
	# An automount point knows the manager by its process group, which must be of this namespace.
	env -u DBUS_SESSION_BUS_ADDRESS -u STATE_DIRECTORY XDG_RUNTIME_DIR=/run \
		XDG_STATE_HOME=/var/lib XDG_CONFIG_HOME=/var/lib \
		setsid /lib/systemd/systemd --user --unit=basic.target >/run/logs/manager.log 2>&1 &
	MANAGER=$!
	wait_for 20 manager_answers || return
	# The system's own takes messages of every user.
	chmod 777 /run/systemd/notify
}

manager_stop() {
	[ -n "$MANAGER" ] || return 0
	unit exit >/dev/null 2>&1
	wait_for 20 not kill -0 "$MANAGER"
	wait "$MANAGER" 2>/dev/null
	MANAGER=
}

# drop_in UNIT TEXT: what `systemctl edit` would make.
drop_in() {
	mkdir -p "/run/systemd/user/$1.d"
	printf '%b' "$2" >"/run/systemd/user/$1.d/test.conf"
	unit daemon-reload
}
drop_out() {
	rm -rf "/run/systemd/user/$1.d"
	unit daemon-reload
}

# A control group for a manager that is not root's, as a login would have made it. Sets DELEGATED.
DELEGATED=()
delegate() { # USER
	local hierarchy
	for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
		[ -f $hierarchy/cgroup.procs ] || continue
		mkdir "$hierarchy/capfs-test-$$" && DELEGATED+=("$hierarchy/capfs-test-$$") &&
			chown -R "$1" "$hierarchy/capfs-test-$$" || return
	done
	[ ${#DELEGATED[@]} -gt 0 ]
}
delegate_end() {
	local group
	for group in ${DELEGATED[@]+"${DELEGATED[@]}"}; do
		find "$group" -depth -type d -exec rmdir {} +
	done
	DELEGATED=()
}
# in_delegated CMD…: becomes CMD there.
in_delegated() {
	local group
	for group in "${DELEGATED[@]}"; do
		echo "$BASHPID" >"$group/cgroup.procs"
	done
	exec "$@"
}
