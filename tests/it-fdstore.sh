#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G14
#
# With the store of a real systemd: kill -9 of any process of the daemon and `systemctl restart` keep the
# mount, open files, listeners and connections; `systemctl stop` keeps nothing. What would not fit into
# the store is refused beforehand. The manager is one of its own, in a mount namespace of its own.

if [ -z "${CAPFS_NAMESPACE:-}" ]; then
	. "$(dirname "$0")/harness.sh"
	harness_check
	is_root || harness_skip "only root may make a mount namespace here"
	[ -x /lib/systemd/systemd ] || harness_skip "no systemd"
	unshare -m --propagation private true 2>/dev/null || harness_skip "no mount namespaces"
	T_DONE=1
	trap - EXIT
	rm -rf "$TMP"
	CAPFS_NAMESPACE=1 exec unshare -m --propagation private bash "$0" "$@"
fi

. "$(dirname "$0")/harness.sh" || exit 99
: "${STORE_MAX:=64}" "${RESTARTS:=5}"
mount -t tmpfs none /run || harness_skip "no tmpfs"
mkdir -p /run/systemd/system /run/user/0/systemd/user
chmod 755 /run/user/0
unset DBUS_SESSION_BUS_ADDRESS
export XDG_RUNTIME_DIR=/run/user/0
/lib/systemd/systemd --user --unit=basic.target >"$TMP/systemd" 2>&1 &
SYSTEMD=$!
# Control groups are not in the namespace: another manager here may have a capfsd.service.
UNIT=capfs-fdstore-$$
manager() {
	systemctl --user "$@"
}
wait_for 10 test -S /run/user/0/systemd/private || {
	kill "$SYSTEMD"
	harness_skip "no user manager runs here"
}
# The system's own is open to all; this one is the user's, who is not the broker here.
chmod 777 /run/user/0/systemd/notify

unit() { # STORE_MAX
	cat >/run/user/0/systemd/user/$UNIT.service <<END
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
NotifyAccess=all
ExecStart=$CAPFSD --run-dir=$RUN --quota=caps=4096 $CAPFS
ExecReload=kill -HUP \$MAINPID
Restart=on-failure
KillMode=mixed
RestartKillSignal=SIGUSR2
FileDescriptorStoreMax=$1
Environment=FDSTORE=$1 BROKEN_MODE=$BROKEN_MODE LD_LIBRARY_PATH=$LD_LIBRARY_PATH
LimitNOFILE=20000
StandardError=append:$TMP/log
END
	manager daemon-reload
}
end_systemd() {
	manager stop "$UNIT" >/dev/null 2>&1
	manager exit >/dev/null 2>&1
	wait_for 10 not kill -0 "$SYSTEMD" || kill "$SYSTEMD"
}
trap 'end_systemd; harness_exit' EXIT

find_daemon() {
	KEEPER=$(manager show -P MainPID "$UNIT")
	[ "$KEEPER" -gt 0 ] && answers
}
n_stored() {
	manager show -P NFileDescriptorStore "$UNIT"
}
stored_is() {
	[ "$(n_stored)" -eq "$1" ]
}
mount_id() {
	awk -v at="$CAPFS" '$5 == at { print $1, $3 }' /proc/self/mountinfo
}
another() { # KEEPER BROKER: not these any more
	find_daemon && { [ "$KEEPER" != "$1" ] || [ "$BROKER" != "$2" ]; }
}
connects() {
	[ "$(timeout 10 "$PROBE" ask "$CAPFS/caps/echo/socket" x)" = x ]
}

CALLER=$(program tests/caller)
mkdir "$TMP/sbin"
cp "$CAPFSD" "$TMP/sbin/capfsd"
CAPFSD=$TMP/sbin/capfsd
BROKEN_MODE=$TMP/mode
unit "$STORE_MAX"
t_ok "the_unit_starts" manager start "$UNIT"
wait_for 10 find_daemon
job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
t_ok "a_service" serve echo --proxy="$TMP/echo.sock"
mkdir "$CAPFS/sessions/app"
mount=$(mount_id)

exec 7<>"$CAPFS/caps/echo/grant"
mkfifo "$TMP/line"
"$PROBE" inherit "$CAPFS/caps/echo/socket" bash -c \
	'while read -r line; do echo "$line" >&3; read -r -u 3 -t 5 line; echo "$line"; done' \
	<"$TMP/line" >"$TMP/lines" &
HARNESS_JOBS+=("$!")
trap '' PIPE
exec 8>"$TMP/line"
echo begin >&8
wait_for 5 grep -q begin "$TMP/lines"
t_ok "sockets_are_kept" wait_for 5 eval 'test "$(n_stored)" -ge 5'
echo "# kept: $(n_stored)"

# A server whose calls are counted: it shares memory with the daemon.
job "$CALLER" serve "$CAPFS" rpc
RPC=$!
wait_for 10 served rpc
say 'to=app as=counted rights=call calls=100' "$CAPFS/caps/rpc/grant"
coproc LINE { exec "$CALLER" call "$CAPFS/sessions/app" counted 2>&1; }
HARNESS_JOBS+=("$LINE_PID")
line_in=${LINE[1]} line_out=${LINE[0]}
line() { # calls over one connection
	local answer=''
	echo "1 $1" >&"$line_in"
	read -t 20 -r answer <&"$line_out"
	echo "$answer"
}
calls=0
check_calls() { # NAME
	calls=$((calls + 3))
	t_is "G14_calls_over_the_old_connection_after_$1" "ok=3" "$(line 3)"
	t_like "they_are_counted_after_$1" "calls limit=100 used=$calls " \
		cat "$CAPFS/sessions/app/caps/counted/info"
}

check_all() { # NAME
	check_calls "$1"
	echo "$1" >&8
	t_ok "G14_a_connection_survives_$1" wait_for 5 grep -q "$1" "$TMP/lines"
	t_ok "G14_an_open_file_survives_$1" say "to=app as=$1" /dev/fd/7
	t_is "G14_the_mount_survives_$1" "$mount" "$(mount_id)"
	t_ok "G14_a_connection_is_made_after_$1" connects
	t_ok "G14_the_service_survives_$1" served echo
}
for victim in BROKER HOLDER KEEPER; do
	old="$KEEPER $BROKER"
	kill -9 "${!victim}"
	# shellcheck disable=SC2086 # two words
	t_ok "another_after_kill_9_of_the_$victim" wait_for 20 another $old
	check_all "kill_$victim"
done
# What was posted systemd is not given: closed there, it could keep all of it for ever.
mkfifo "$TMP/post.end"
"$CAP" originate fd conf >/dev/null
"$(program tests/posted)" hold "$CAPFS/caps/conf/socket" /etc/passwd <"$TMP/post.end" >/dev/null &
HARNESS_JOBS+=("$!")
exec 9>"$TMP/post.end"
t_ok "something_is_posted" wait_for 10 grep -q '^served=yes' "$CAPFS/caps/conf/info"
# What comes later is not sent before it.
stored=$(n_stored)
more_are_stored() {
	[ "$(n_stored)" -gt "$stored" ]
}
job "$PROBE" inherit "$CAPFS/caps/echo/socket" sleep 1000
held=$!
t_ok "what_came_later_is_kept" wait_for 10 more_are_stored
old="$KEEPER $BROKER"
kill -9 "$KEEPER"
# shellcheck disable=SC2086
wait_for 20 another $old
t_like "it_is_not_kept" '^served=no' cat "$CAPFS/caps/conf/info"
exec 9>&-
end_job "$held"
t_ok "it_can_be_posted_again" "$CAP" post conf </etc/passwd
t_like "and_is_there" '^served=yes' cat "$CAPFS/caps/conf/info"
rmdir "$CAPFS/caps/conf"
# Who connects meanwhile waits in the listener's backlog.
old="$KEEPER $BROKER"
kill -9 "$KEEPER"
t_ok "G14_a_connection_is_made_meanwhile" connects
# shellcheck disable=SC2086
wait_for 20 another $old

old="$KEEPER $BROKER"
t_ok "restart" manager restart "$UNIT"
# shellcheck disable=SC2086
t_ok "another_after_restart" wait_for 20 another $old
check_all "restart"
keeper=$KEEPER
t_ok "reload" manager reload "$UNIT"
t_ok "reload_is_an_upgrade" wait_for 20 grep -q 'upgraded: ' "$TMP/log"
wait_for 10 find_daemon
t_is "another_after_reload" "$keeper" "$KEEPER"
check_all "reload"

# A binary whose holder ends at once: systemd would start just that one.
keeper=$KEEPER
broken=$(program tests/broken-daemon)
cp "$CAPFSD" "$TMP/good"
cp "$broken" "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
echo holder >"$BROKEN_MODE"
manager reload "$UNIT"
t_ok "a_broken_holder_is_refused" wait_for 20 grep -q 'no upgrade: the holder' "$TMP/log"
t_ok "the_old_binary_goes_on" wait_for 10 find_daemon
t_is "in_the_same_keeper" "$keeper" "$KEEPER"
cp "$TMP/good" "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
wait_for 10 served echo || serve echo --proxy="$TMP/echo.sock"
t_ok "and_serves" wait_for 10 connects

# A connection that ends is not kept.
exec 8>&-
sleep 1
before=$(n_stored)
for _ in 1 2 3 4 5 6 7 8; do
	connects
done
sleep 1
t_ok "what_ends_is_not_kept" test "$(n_stored)" -le "$before"

# Nor what a server had that has ended.
eval "exec $line_in>&-"
end_job "$RPC"
wait_for 10 detached rpc
before=$(n_stored)
t_ok "pages_are_not_kept" test "$before" -le 12
echo "# kept: $before"

# The store is full before it overflows: refused, with a word about it.
sockets=$(quota sockets limit "$CAPFS/quota")
t_is "the_quota_fits_the_store" $((STORE_MAX - STORE_MAX / 8)) "$sockets"
# A few at a time, which the service takes: of those that wait a slot may not have everything.
none_waits() {
	grep -q ' waiting=0 ' "$CAPFS/entrypoints/echo/info"
}
floods=()
for ((i = 0; i < STORE_MAX / 4; i++)); do
	timeout 60 "$PROBE" flood "$CAPFS/caps/echo/socket" 4 30 >>"$TMP/flood" 2>&1 &
	floods+=("$!")
	HARNESS_JOBS+=("$!")
	wait_for 20 none_waits
done
t_ok "more_are_refused" wait_for 20 grep -q 'EDQUOT.*sockets' "$CAPFS/events"
t_like "when_none_is_free" "^sockets .*free=0( |$)" cat "$CAPFS/quota"
kill "${floods[@]}" 2>/dev/null
wait "${floods[@]}" 2>/dev/null
t_unlike "systemd_is_not_asked_for_more" 'more fds than' cat "$TMP/systemd"
wait_for 10 connects

exec 7>&-
end_job "$SERVER"
pids="$KEEPER $HOLDER $BROKER $BINDER"
t_ok "stop" manager stop "$UNIT"
t_ok "stop_leaves_no_process_and_no_mount" wait_for 5 nothing_left
t_ok "stop_leaves_nothing_with_systemd" wait_for 5 stored_is 0
t_ok "it_starts_anew" manager start "$UNIT"
wait_for 10 find_daemon
t_ok "with_its_state" test -d "$CAPFS/sessions/app"
manager stop "$UNIT"
wait_for 5 nothing_left

# One restart after the other, under load.
unit 4096
manager start "$UNIT"
wait_for 10 find_daemon
t_ok "a_service_for_many" serve echo --proxy="$TMP/echo.sock"
work() { # SECONDS
	HOLDER=$HOLDER timeout 240 "$(program tests/it-recovery)" 0 "$1"
}
many_restarts() {
	local i old
	for ((i = 0; i < RESTARTS; i++)); do
		old="$KEEPER $BROKER"
		manager restart "$UNIT" || return
		# shellcheck disable=SC2086
		wait_for 20 another $old || return
	done
}
: >"$TMP/stop"
(
	status=0
	while [ -e "$TMP/stop" ]; do
		work 3 >"$TMP/work" 2>&1 || { status=1 && break; }
	done
	exit $status
) &
worker=$!
sleep 0.5
t_ok "G14_S21_${RESTARTS}_restarts_under_load" many_restarts
rm "$TMP/stop"
wait "$worker"
t_result $? "no_call_of_eight_clients_fails"
sed 's/^/# /' "$TMP/work"
end_job "$SERVER"
manager stop "$UNIT"
wait_for 5 nothing_left
KEEPER=''
t_done
