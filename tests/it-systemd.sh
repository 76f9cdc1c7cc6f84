#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The units, run by a systemd: started by the first client, restarted with all there was, stopped with
# nothing left; throttled without giving up; quiet when nothing happens.

. "$(dirname "$0")/namespace.sh" || exit 99
namespace_enter
. "$(dirname "$0")/harness.sh" || exit 99
. "$(dirname "$0")/manager.sh" || exit 99
harness_check
t_ok "installs" namespace_install
cp /run/install.log "$TMP/output"
manager_check
export -n CAPFS CAPFS_LIBEXEC
CAPFS=/cap
PATH=/usr/local/sbin:/usr/local/bin:$PATH
ldconfig
capctl() {
	timeout 30 env -u LD_LIBRARY_PATH /usr/local/bin/capctl "$@"
}
is() { # UNIT STATE
	[ "$(unit is-active "$1")" = "$2" ]
}
processes() {
	ps -e -o stat= -o pid= -o comm= | awk '$1 !~ /Z/ && $3 ~ /^(capfsd|capfs-)/ { print $3 }'
}
no_processes() {
	[ -z "$(processes)" ]
}
served_here() {
	grep -q '^state=served' "/cap/entrypoints/$1/info"
}
t_ok "manager_starts" manager_start

# --- the socket -------------------------------------------------------------------------------

t_ok "the_socket_starts" unit start capfsd.socket
t_is "and_no_daemon" inactive "$(unit is-active capfsd.service)"
t_is "only_its_owner_can_connect" "600 0" "$(stat -c '%a %u' /run/capfsd/control)"
refused_to_others() {
	env -u LD_LIBRARY_PATH setpriv --reuid=65534 --regid=65534 --clear-groups \
		python3 -c '
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("/run/capfsd/control")' 2>&1 || :
}
t_like "others_are_refused" 'Permission denied' refused_to_others
t_is "the_first_client_starts_the_daemon" init "$(capctl show label)"
t_is "which_is_the_service" active "$(unit is-active capfsd.service)"
t_is "and_is_mounted" init "$(cat /cap/label)"
device=$(stat -c %d /cap)
t_is "the_watchdog_is_set" 30s "$(property WatchdogUSec capfsd.service)"
t_is "the_fd_store_is_open" 8192 "$(property FileDescriptorStoreMax capfsd.service)"

# Where the tree is not in sight, the socket is the root session's control, under every broker.
by_the_socket() {
	unshare -m bash -c 'umount -l /cap; exec timeout 20 capctl show label'
}
t_is "the_socket_is_the_roots_control" init "$(by_the_socket)"
broker() {
	pgrep -x capfs-broker
}
old=$(broker)
kill -9 "$old"
new_broker() {
	[ -n "$(broker)" ] && [ "$(broker)" != "$old" ]
}
wait_for 10 new_broker
t_is "also_of_the_next_broker" init "$(by_the_socket)"
old=$(broker)
kill -9 "$(pgrep -x capfs-holder)"
wait_for 10 new_broker
t_is "and_of_the_next_holder" init "$(by_the_socket)"
t_is "with_which_systemd_started_the_daemon" 1 "$(property NRestarts capfsd.service)"
t_is "the_mount_was_kept_for_it" "$device" "$(stat -c %d /cap)"

# --- watchdog and reload ------------------------------------------------------------------------

# A reload is no restart: a connection goes on through it. The watchdog is fed, and a broker that hangs is
# replaced before systemd loses patience.
unit stop capfsd.service
drop_in capfsd.service '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n'
unit start capfsd.service
mkdir -p /etc/capfs
echo 'SERVE="--inetd -- /bin/cat"' >/etc/capfs/echo.env
unit start capfs-serve@echo.service
first=$(property MainPID capfsd.service)
mkfifo "$TMP/in"
socat -t5 STDIO UNIX-CONNECT:/cap/caps/echo/socket <"$TMP/in" >"$TMP/out" &
CLIENT=$!
exec 7>"$TMP/in"
echo before >&7
wait_for 5 grep -q before "$TMP/out"
old=$(broker)
t_ok "reload" unit reload capfsd.service
t_ok "is_another_broker" wait_for 10 new_broker
sleep 5
t_is "G11_the_watchdog_is_fed_meanwhile" "$first" "$(property MainPID capfsd.service)"
echo after >&7
exec 7>&-
wait "$CLIENT"
t_is "the_connection_went_through_the_reload" "before after" "$(echo $(cat "$TMP/out"))"
old=$(broker)
kill -STOP "$old"
t_ok "G11_a_broker_that_hangs_is_replaced" wait_for 15 new_broker
t_is "G11_in_the_same_run_of_the_service" "$first" "$(property MainPID capfsd.service)"
device=$(stat -c %d /cap)
kill -STOP "$first"
another_run() {
	local pid
	pid=$(property MainPID capfsd.service)
	[ "$pid" != 0 ] && [ "$pid" != "$first" ]
}
t_ok "G11_a_first_process_that_hangs_is_replaced" wait_for 20 another_run
t_is "G11_with_the_same_mount" "$device" "$(stat -c %d /cap)"
unit stop capfs-serve@echo.service capfsd.service
drop_out capfsd.service
unit start capfsd.service

# --- restart and stop -------------------------------------------------------------------------

capctl session create app
mkdir -p /etc/capfs
echo 'SERVE="--inetd -- /bin/cat"' >/etc/capfs/echo.env
t_ok "a_service_is_published_by_its_unit" unit start capfs-serve@echo.service
t_ok "when_it_has_started_it_is_served" served_here echo
t_is "and_answers" hello "$(echo hello | socat -t5 - UNIX-CONNECT:/cap/caps/echo/socket)"
capctl grant echo app conns=3 >/dev/null
t_ok "restart" unit restart capfsd.service
t_ok "what_was_granted_is_there_after_it" test -d /cap/sessions/app/caps/echo
t_like "with_its_limits" '^conns limit=3' cat /cap/sessions/app/caps/echo/info
t_ok "G14_the_published_service_comes_back" wait_for 20 served_here echo
t_is "G14_and_answers" again "$(echo again | socat -t5 - UNIX-CONNECT:/cap/sessions/app/caps/echo/socket)"

# A socket of systemd is another way to the same slot, with its limits, and starts its server.
unit stop capfs-serve@echo.service
printf '[Socket]\nListenStream=/run/echo.sock\nService=capfs-serve@echo.service\n' \
	>/run/systemd/user/echo.socket
unit daemon-reload
unit start echo.socket
t_is "a_socket_unit_starts_its_server" hello "$(echo hello | socat -t20 - UNIX-CONNECT:/run/echo.sock)"
t_ok "which_serves" served_here echo
job socat -u UNIX-CONNECT:/run/echo.sock STDOUT
CLIENT=$!
t_ok "who_comes_that_way_is_seen_by_the_daemon" \
	wait_for 5 grep -q 'connections=1' /cap/entrypoints/echo/info
capctl reduce echo conns=1 2>/dev/null || say conns=1 /cap/caps/echo/reduce
t_is "P05_and_counted" "" "$(echo hello | socat -t5 - UNIX-CONNECT:/run/echo.sock)"
capctl revoke echo --self >/dev/null
t_ok "P07_and_revoked" wait_for 5 not kill -0 "$CLIENT"
unit stop echo.socket capfs-serve@echo.service
unit start capfs-serve@echo.service
wait_for 10 served_here echo
capctl grant echo app conns=3 >/dev/null

first=$(property MainPID capfsd.service)
kill -9 "$first"
another() {
	local pid
	pid=$(property MainPID capfsd.service)
	[ "$pid" != 0 ] && [ "$pid" != "$first" ] && is capfsd.service active
}
t_ok "a_killed_daemon_is_started_again" wait_for 20 another
t_ok "with_what_there_was" test -d /cap/sessions/app/caps/echo
t_ok "in_one_mount" test "$(grep -c ' /cap ' /proc/self/mountinfo)" -eq 1

unit stop capfs-serve@echo.service
t_ok "stop" unit stop capfsd.service
t_is "leaves_no_process" "" "$(processes)"
t_is "no_mount" "" "$(grep ' /cap ' /proc/self/mountinfo)"
t_is "nothing_in_run_but_the_sockets" "control spawner" "$(echo $(ls /run/capfsd))"
t_is "of_which_one_starts_it_again" init "$(capctl show label)"
t_is "with_the_tree_of_before" app "$(ls /cap/sessions)"
t_like "its_grants_and_their_limits" '^conns limit=3' cat /cap/sessions/app/caps/echo/info
t_ok "the_state_is_where_the_unit_says" test -f /var/lib/capfsd/cap/state/state.mdb

# --- P25: kills of the first process, as soon as it is there --------------------------------------

for ((killed = 0; killed < 8; )); do
	first=$(property MainPID capfsd.service)
	if [ "$first" != 0 ] && kill -9 "$first" 2>/dev/null; then
		killed=$((killed + 1))
	fi
	sleep 0.1
done
t_ok "P25_however_often_it_is_killed_it_is_started_again" wait_for 40 is capfsd.service active
t_is "P25_with_the_tree_of_before" app "$(ls /cap/sessions)"
unit stop capfsd.service
rm -rf /var/lib/capfsd

# --- P04: a cause that goes away --------------------------------------------------------------

rmdir /cap
capctl show label >"$TMP/waits" 2>&1 &
CLIENT=$!
tried_often() {
	[ "$(property NRestarts capfsd.service)" -ge 7 ]
}
t_ok "P04_it_tries_again_and_again" wait_for 40 tried_often
t_is "P04_the_socket_is_not_given_up" active "$(unit is-active capfsd.socket)"
t_like "P04_and_says_why_it_cannot" 'mount point /cap: No such file or directory' \
	cat /run/logs/capfsd.service.log
mkdir /cap
t_ok "P04_once_it_can_it_starts" wait_for 10 is capfsd.service active
wait "$CLIENT"
t_is "P04_and_who_has_waited_is_answered" init "$(cat "$TMP/waits")"
unit stop capfsd.service

# --- P06: what expires, with the state on a disk ------------------------------------------------

unit start capfsd.service capfs-serve@echo.service
capctl session create app
capctl grant echo app as=short expires=3 >/dev/null
capctl grant echo app as=later expires=12 >/dev/null
capctl grant echo app as=long >/dev/null
due=$((SECONDS + 12))
t_is "P06_all_three_are_there" "later long short" "$(echo $(ls /cap/sessions/app/caps))"
unit stop capfs-serve@echo.service capfsd.service
sleep 3.5
started() {
	unit start "$1" || {
		cat "/run/logs/$1.log"
		return 1
	}
}
t_ok "P06_restart_after_a_time" started capfsd.service
t_is "P06_what_expired_meanwhile_is_gone" "later long" "$(echo $(ls /cap/sessions/app/caps))"
t_ok "P06_restart_at_once" unit restart capfsd.service
t_is "P06_what_did_not_is_there" "later long" "$(echo $(ls /cap/sessions/app/caps))"
while [ $SECONDS -le $due ]; do sleep 0.2; done
t_is "P06_and_expires_when_it_is_due" long "$(echo $(ls /cap/sessions/app/caps))"
unit stop capfsd.service
rm -rf /var/lib/capfsd

# --- P18: nothing happens ---------------------------------------------------------------------

ticks() { # of all the daemon's processes and its servers
	local pid
	for pid in $(pgrep -x 'capfsd|capfs-.*'); do
		cut -d' ' -f14,15 "/proc/$pid/stat"
	done | tr '\n' ' '
}
rm -f /run/logs/*.log
: >/run/logs/manager.log
unit start capfsd.service capfs-serve@echo.service
echo x | socat -t5 - UNIX-CONNECT:/cap/caps/echo/socket >/dev/null
find /cap >/dev/null
sleep 2
before=$(ticks)
sleep 6
t_is "P18_idle_it_does_nothing" "$before" "$(ticks)"
t_is "P18_and_has_logged_nothing" "" "$(cat /run/logs/cap*.log)"
unit stop capfs-serve@echo.service capfsd.service capfsd.socket capfs-spawner.socket
t_is "the_sockets_leave_no_name" "" "$(ls /run/capfsd)"

# --- the spawner's own unit ---

# By a program that stands for it, and does not notify.
install -D "$(program tests/played-spawner)" /usr/local/libexec/capfsd/capfs-spawner
drop_in capfs-spawner.service '[Service]\nType=simple\n'
ask() { # Prints the pid of who answers.
	timeout 60 /usr/local/libexec/capfsd/capfs-spawner --ask /run/capfsd/spawner
}
of_it() { # KEY
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID capfs-spawner.service)/status"
}
unit start capfsd.service
t_is "with_the_daemon_comes_its_socket" active "$(unit is-active capfs-spawner.socket)"
t_is "and_no_spawner" inactive "$(unit is-active capfs-spawner.service)"
t_is "only_its_owner_can_connect_there" "600 0" "$(stat -c '%a %u' /run/capfsd/spawner)"
spawner=$(ask)
t_is "which_the_first_connection_starts" "$spawner" "$(property MainPID capfs-spawner.service)"
t_is "programs_have_no_filter_from_it" 0 "$(of_it Seccomp)"
t_is "no_new_privs_and_the_capabilities_of_the_unit" "1 00000000002001e4" "$(of_it NoNewPrivs) $(of_it CapBnd)"
unit restart capfsd.service
t_is "a_restart_of_the_daemon_is_none_of_its" "$spawner" "$(ask)"
unit stop capfsd.service
t_is "nor_is_a_stop" "$spawner" "$(ask)"
kill -9 "$spawner"
another_spawner() {
	[ "$(ask)" != "$spawner" ] && is capfs-spawner.service active
}
t_ok "another_comes_after_kill_9" wait_for 10 another_spawner
unit stop capfs-spawner.service capfs-spawner.socket capfsd.socket
drop_out capfs-spawner.service
t_is "stopped_it_leaves_nothing" "" "$(processes; ls /run/capfsd)"
rm /usr/local/libexec/capfsd/capfs-spawner*

# The real one, to which the unit delegates its control group.
install -D "$(program spawner/capfs-spawner)" /usr/local/libexec/capfsd/capfs-spawner
parent() { # PID
	awk '/^PPid:/ { print $2 }' "/proc/$1/status"
}
group_of() { # PID
	sed -n 's/^0:://p' "/proc/$1/cgroup"
}
unit start capfsd.service
mkdir /cap/sessions/runs
say 'to=runs threads=5 ram=16K' /cap/transfer_quota
chown 12345:12345 /cap/sessions/runs
id=$(capctl run --session=runs --detach -- /bin/sleep 1000)
pid=$(sed -n 's/^pid=//p' "/cap/sessions/runs/threads/$id/info")
spawner=$(property MainPID capfs-spawner.service)
t_is "a_program_has_the_sessions_parent" "$spawner" "$(parent "$(parent "$pid")")"
# The manager keeps the pairs of the inits, so that programs are known to whoever comes.
known() {
	sed -n 's/^state=//p; s/^pid=//p' "/cap/sessions/runs/threads/$id/info" 2>/dev/null | xargs
}
is_known() {
	[ "$(known)" = "running $pid" ]
}
serves_again() { # PID of the first process before
	[ "$(property MainPID capfsd.service)" != "$1" ] && is capfsd.service active
}
t_ok "P14_a_program_outlives_restart" unit restart capfsd.service
t_ok "P14_and_is_known" wait_for 20 is_known
t_ok "P14_as_it_is_after_reload" unit reload capfsd.service
t_ok "P14_of_which_it_hears_nothing" wait_for 20 is_known
for name in capfs-broker capfs-holder capfs-minder capfs-binder; do
	kill -9 "$(pgrep -x $name)"
	wait_for 20 is_known
	t_is "P14_and_after_kill_9_of_$name" "running $pid" "$(known)"
done
first=$(property MainPID capfsd.service)
kill -9 "$first"
wait_for 40 serves_again "$first"
t_ok "P14_and_after_kill_9_of_the_first_process" wait_for 20 is_known
other=$(capctl run --session=runs --detach -- /bin/sleep 1000)
kill -9 "$(sed -n 's/^pid=//p' "/cap/sessions/runs/threads/$other/info")"
t_ok "G10_ends_are_told_then_as_ever" wait_for 10 grep -q "thread=$other .*signal=KILL" /cap/faults
place=$(group_of "$spawner")
place=${place%/supervisor}
if [[ $place == */capfs-spawner.service ]]; then
	t_is "its_session_has_a_control_group_in_the_units" "$place/session-1" "$(group_of "$pid")"
	unit restart capfs-spawner.service
	t_ok "a_restart_leaves_it" kill -0 "$pid"
	t_is "as_it_was" "$place/session-1" "$(group_of "$pid")"
	rmdir /cap/sessions/runs
	no_leaf() { ! grep -rqs . "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$place/session-1/cgroup.events"; }
	t_ok "which_the_next_one_removes" wait_for 10 no_leaf
else
	t_skip "its_session_has_a_control_group_in_the_units" "this manager has none for its units"
fi
[ -d /cap/sessions/runs ] || mkdir /cap/sessions/runs
say 'to=runs threads=5 ram=16K' /cap/transfer_quota
chown 12345:12345 /cap/sessions/runs
id=$(capctl run --session=runs --detach -- /bin/sleep 1000)
pid=$(sed -n 's/^pid=//p' "/cap/sessions/runs/threads/$id/info")
unit stop capfsd.service
t_ok "stop_ends_programs" wait_for 10 test ! -e "/proc/$pid"
unit stop capfsd.service capfsd.socket capfs-spawner.service capfs-spawner.socket
wait_for 10 no_processes
t_is "and_nothing_is_left" "" "$(processes; ls /run/capfsd)"
rm /usr/local/libexec/capfsd/capfs-spawner*
rm -rf /var/lib/capfsd

# --- other instances, mounts --------------------------------------------------------------------

mkdir -p /srv/app-data
t_ok "another_instance" unit start "$(systemd-escape -p --template=capfsd@.service /srv/app-data)"
t_is "is_mounted_where_its_name_says" init "$(cat /srv/app-data/label)"
t_is "and_has_a_run_directory_of_its_own" 'spawner srv-app\x2ddata' "$(echo $(ls /run/capfsd))"
unit stop "$(systemd-escape -p --template=capfsd@.service /srv/app-data)"
t_is "which_goes_with_it" spawner "$(ls /run/capfsd)"

t_ok "cap.mount" unit start cap.mount
t_is "answers" init "$(cat /cap/label)"
t_ok "stops" unit stop cap.mount
t_ok "and_leaves_nothing" wait_for 10 no_processes
if [ -c /dev/autofs ]; then
	t_ok "cap.automount" unit start cap.automount
	t_is "has_no_daemon_yet" "" "$(processes)"
	t_like "the_first_look_starts_it" '^caps$' timeout 20 ls /cap
	t_is "as_cap.mount" active "$(unit is-active cap.mount)"
	t_ok "stop_of_both" unit stop cap.automount cap.mount
	t_ok "leaves_nothing" wait_for 10 not pgrep -x capfs-broker
	t_is "nor_a_mount" "" "$(grep ' /cap ' /proc/self/mountinfo)"
else
	t_skip "cap.automount" "no autofs"
fi
t_ok "manager_ends" manager_stop

# --- an ordinary user's -------------------------------------------------------------------------

as_ann() {
	env -i HOME=/home/ann XDG_RUNTIME_DIR=/run/ann PATH="$PATH" CAPFS=/home/ann/cap LC_ALL=C \
		setpriv --reuid=ann --regid=ann --init-groups timeout 60 "$@"
}
ann_answers() {
	[ "$(as_ann systemctl --user is-active basic.target)" = active ]
}
if have fusermount3 && useradd --create-home ann && delegate ann 2>/dev/null; then
	# The system's, which were put where users' managers look.
	rm -rf /run/systemd/user
	install -d -o ann -g ann -m 700 /run/ann
	mkdir -p /run/systemd/system
	as_ann mkdir -p /home/ann/.config/systemd/user/service.d
	as_ann tee /home/ann/.config/systemd/user/service.d/log.conf >/dev/null <<-EOT
		[Service]
		StandardError=append:/home/ann/log
	EOT
	in_delegated env -i HOME=/home/ann XDG_RUNTIME_DIR=/run/ann PATH="$PATH" \
		setsid setpriv --reuid=ann --regid=ann --init-groups \
		/lib/systemd/systemd --user --unit=basic.target >/run/logs/ann.log 2>&1 &
	MANAGER=$!
	t_ok "a_user_has_a_manager" wait_for 20 ann_answers
	t_ok "with_the_socket" as_ann systemctl --user start capfsd.socket
	t_is "whose_first_client_starts_the_daemon" init "$(as_ann capctl show label)"
	t_is "on_~/cap" init "$(as_ann cat /home/ann/cap/label)"
	t_ok "with_its_state_below_the_home" \
		test -f /home/ann/.local/state/capfsd/home-ann-cap/state/state.mdb
	as_ann mkdir -p /home/ann/.config/capfs
	echo 'SERVE="--inetd -- /bin/cat"' | as_ann tee /home/ann/.config/capfs/echo.env >/dev/null
	t_ok "a_service_is_published" as_ann systemctl --user start capfs-serve@echo.service
	t_is "and_answers" hello "$(echo hello |
		as_ann socat -t5 - UNIX-CONNECT:/home/ann/cap/caps/echo/socket)"
	as_ann systemctl --user stop capfs-serve@echo.service
	t_ok "it_stops" as_ann systemctl --user stop capfsd.service
	t_is "and_leaves_nothing" "" "$(processes; grep /home/ann /proc/self/mountinfo)"
	as_ann systemctl --user exit
	wait_for 20 not kill -0 "$MANAGER"
	wait_for 5 delegate_end
else
	t_skip "a_user_has_a_manager" "no fusermount3, no user, or no control group"
fi
t_done
