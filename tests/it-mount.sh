#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A capfs as a mount: mount(8), fstab, umount(8), what is wrong and how that is said. All of it installed.

. "$(dirname "$0")/namespace.sh" || exit 99
namespace_enter
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
t_ok "installs" namespace_install
cp /run/install.log "$TMP/output"
[ -x /sbin/mount.fuse.capfs ] || harness_skip "mount.fuse.capfs was configured to be elsewhere"
export -n CAPFS CAPFS_LIBEXEC
CAPFS=/cap
PATH=/usr/local/sbin:/usr/local/bin:$PATH

t_ok "check_finds_all_that_is_needed" capfsd --check
t_like "and_what_was_installed" '^mount.fuse +yes .*: .mount -t fuse.capfs. and fstab work' capfsd --check
t_is "each_line_says_what_it_means" "" "$(capfsd --check | grep -Ev '^[a-z_.]+ +(yes|no|MISSING) +[^ ].*: [^ ].*')"

daemons() { # those that are alive: with a first process that reaps there are no others
	ps -e -o stat= -o pid= -o comm= |
		awk '$1 !~ /Z/ && $3 ~ /^(capfsd|capfs-holder|capfs-broker|capfs-binder|capfs-log)$/ { print $2 }'
}
none_left() {
	[ -z "$(daemons)" ] && ! mounted "$1"
}
first_line() {
	head -n 1 "$TMP/output"
}
# refused STATUS NAME WORDS CMD…: its status is that, and what it says has these words.
refused() {
	local wanted=$1 name=$2 words=$3 status
	shift 3
	timeout 20 "$@" >"$TMP/output" 2>&1
	status=$?
	echo "status $status" >>"$TMP/output"
	[ $status -eq "$wanted" ] && grep -qF -- "$words" "$TMP/output"
	t_result $? "$name"
}

# The mount answers when the command returns.
answers_at_once() {
	mount -t fuse.capfs none /cap -o "$1" && [ "$(cat /cap/label)" = init ]
}
t_ok "mount_returns_when_the_tree_answers" answers_at_once defaults,noauto,x-systemd.idle-timeout=9,comment=x
t_like "its_type_is_capfs" ' /cap .* - fuse.capfs ' cat /proc/self/mountinfo
t_ok "the_run_directory_is_named_after_the_place" test -f /run/capfsd/cap/lock
t_ok "a_service_is_published" serve date --inetd -- /bin/date
t_like "and_reached" '20[0-9][0-9]' socat -t5 - UNIX-CONNECT:/cap/caps/date/socket
refused 32 "a_second_mount_says_what_is_wrong" "/cap is already a capfs" mount -t fuse.capfs none /cap
t_is "and_changes_nothing" init "$(cat /cap/label)"
mkdir /run/other
refused 32 "one_run_directory_is_for_one_daemon" "/run/capfsd/cap is in use by another capfsd" \
	mount -t fuse.capfs none /run/other -o run-dir=/run/capfsd/cap
t_ok "another_place_has_another_daemon" mount -t fuse.capfs none /run/other
t_is "with_a_tree_of_its_own" "" "$(ls /run/other/caps)"
t_ok "it_is_unmounted" umount /run/other
t_is "the_first_one_goes_on" date "$(ls /cap/caps)"

# Its own sockets do not keep it busy, also while somebody is connected; who serves or stands in it does.
serve cat --inetd -- /bin/cat
job socat -u UNIX-CONNECT:/cap/caps/cat/socket STDOUT
CLIENT=$!
wait_for 5 grep -q 'connections=1' /cap/entrypoints/cat/info
stand() { (cd /cap/caps && exec sleep 60); }
job stand
STANDS=$!
stands() { [ "$(readlink "/proc/$STANDS/cwd")" = /cap/caps ]; }
wait_for 5 stands
t_like "who_stands_in_it_keeps_it_busy" 'target is busy' umount /cap
end_job "$STANDS"
t_like "so_does_who_serves" 'target is busy' umount /cap
t_ok "umount_-l_ends_it_all_the_same" umount -l /cap
wait_for 10 none_left /cap
t_is "and_leaves_no_process" "" "$(daemons)"
t_ok "who_was_connected_is_told" wait_for 5 not kill -0 "$CLIENT"
mount -t fuse.capfs none /cap
t_ok "the_state_is_there_at_the_next_mount" test -d /cap/caps/date
ls -lR /cap >/dev/null
t_ok "umount_ends_it" umount /cap
wait_for 10 none_left /cap

# Options that capfsd knows.
t_ok "options_reach_the_daemon" mount -t fuse.capfs none /cap \
	-o 'run-dir=/run/mine,quota=caps=100:sockets=50,log-level=debug,state-dir=/run/state'
t_like "no_symbolic_link_is_followed" ' /cap .*nosymfollow' grep ' /cap ' /proc/self/mountinfo
t_like "quota_has_its_parts" '^caps limit=100 .*' cat /cap/quota
t_like "all_of_them" '^sockets limit=50 .*' cat /cap/quota
t_ok "the_run_directory_is_the_one_given" test -f /run/mine/lock
t_ok "and_the_state_too" test -f /run/state/state.mdb
umount /cap
wait_for 10 none_left /cap

# What is refused, each in one line.
refused 1 "ro_is_refused" "a capfs cannot be read-only" mount -t fuse.capfs none /cap -o ro
refused 1 "an_unknown_option_is_named" "unknown option 'run-dri'" \
	mount -t fuse.capfs none /cap -o run-dri=/run/x
refused 1 "an_option_without_its_value" "quota needs a value" mount -t fuse.capfs none /cap -o quota
refused 32 "a_wrong_quota_in_the_daemon's_words" "--quota: 'cups=1' is not KIND=N" \
	mount -t fuse.capfs none /cap -o quota=cups=1
refused 32 "a_place_that_is_not_there" "mkdir it first" mount -t fuse.capfs none /run/none
refused 32 "a_place_that_is_no_directory" "Not a directory" mount -t fuse.capfs none /etc/fstab
chmod 755 /run/state
refused 32 "a_state_that_others_can_enter" "others can enter the state directory" \
	mount -t fuse.capfs none /cap -o state-dir=/run/state
mkdir -m 0777 /run/open && mkdir -m 0755 /run/foreign && chown 65534 /run/foreign
refused 32 "P27_a_run_directory_that_others_can_write_to" "others can write to the run directory" \
	mount -t fuse.capfs none /cap -o run-dir=/run/open
refused 32 "P27_a_run_directory_of_somebody_else" "belongs to uid 65534" \
	mount -t fuse.capfs none /cap -o run-dir=/run/foreign
ln -s /run/mine /run/link
refused 32 "P27_a_link_in_its_place" "cannot open the directory" \
	mount -t fuse.capfs none /cap -o run-dir=/run/link
t_is "nothing_is_left_of_these" "" "$(daemons; grep -F ' /cap ' /proc/self/mountinfo)"
t_ok "sloppy_passes_over_what_is_unknown" mount -s -t fuse.capfs none /cap -o run-dri=/run/x
t_fails EBUSY "a_remount_is_refused" bash -c 'mount -o remount,ro /cap || echo EBUSY >&2; false'
umount /cap
wait_for 10 none_left /cap

# fstab, as an administrator has it.
echo 'none /cap fuse.capfs noauto,nofail,quota=caps=200,x-systemd.automount 0 0' >/etc/fstab
t_ok "a_line_of_fstab_is_enough" mount /cap
t_like "with_its_options" '^caps limit=200 ' cat /cap/quota
t_ok "umount_by_the_line" umount /cap
wait_for 10 none_left /cap
echo 'none /cap fuse.capfs nofail 0 0' >/etc/fstab
t_ok "mount_-a_mounts_it" mount -a
t_ok "mount_-a_again_changes_nothing" mount -a
t_is "it_is_mounted_once" 1 "$(grep -c ' /cap ' /proc/self/mountinfo)"

# A daemon that was killed leaves a mount that nobody serves: the next one takes it away.
kill -9 "$(pgrep -x capfsd)"
wait_for 10 not daemons
t_ok "what_a_dead_daemon_left_is_replaced" mount -t fuse.capfs none /cap
t_is "and_serves" init "$(cat /cap/label)"
umount /cap
wait_for 10 none_left /cap
t_is "at_the_end_nothing_is_left" "" "$(daemons; grep fuse.capfs /proc/self/mountinfo)"
t_done
