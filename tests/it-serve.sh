#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G14 P25
#
# capctl serve above its helpers: whoever kills them costs callers a pause. How that ends: by a word to
# serve, with the entrypoint, and when serve itself is killed.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=512

ask() { # NAME TEXT
	timeout 60 "$PROBE" ask "$CAPFS/caps/$1/socket" "$2"
}
helper() {
	pgrep -P "$SERVER" | head -n 1
}
has_helper() {
	[ -n "$(helper)" ]
}
# What a process that is on its way out has in its hands goes with it.
is_dead() { # PID
	! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null
}
# kills NAME N: each time the helper is killed and somebody calls at once. Prints how many were answered.
kills() {
	local i answered=0 pid
	for ((i = 0; i < $2; i++)); do
		wait_for 20 has_helper || break
		pid=$(helper)
		kill -9 "$pid"
		until is_dead "$pid"; do :; done
		[ "$(ask "$1" "$i")" = "$i" ] && answered=$((answered + 1))
	done
	echo "$answered"
}

job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
for kind in relay inetd; do
	case $kind in
	relay) serve $kind --proxy="$TMP/echo.sock" ;;
	inetd) serve $kind --inetd -- /bin/cat ;;
	esac
	first=$SERVER
	t_like "${kind}_answers" '^x$' ask $kind x
	t_is "P25_G14_callers_of_a_killed_${kind}_wait" 12 "$(kills $kind 12)"
	t_ok "the_same_serve_of_the_$kind" kill -0 "$first"
	wait_for 20 has_helper
	last=$(helper)
	end_job "$SERVER"
	t_ok "${kind}_ends_with_serve" wait_for 10 not kill -0 "$last"
	t_ok "${kind}_is_detached_then" wait_for 10 detached $kind
	t_fails ECONNREFUSED "and_callers_of_the_${kind}_are_refused" ask $kind x
	t_unlike "nobody_may_wait_for_the_$kind" 'hold=' cat "$CAPFS/entrypoints/$kind/info"
done

# What is told to the service manager goes through a socket that others can find.
if have python3 && "$CAPFSD" --check | grep -q '^passrights  *yes'; then
	serve told --inetd -- /bin/cat
	wait_for 20 has_helper
	t_fails EPERM "P20_it_takes_no_descriptors" python3 -c '
import array, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
s.sendmsg([b"x"], fds, 0, sys.argv[1].replace("@", "\0", 1))' \
		"$(tr '\0' '\n' <"/proc/$(helper)/environ" | sed -n 's/^NOTIFY_SOCKET=//p')"
	end_job "$SERVER"
else
	t_skip "P20_it_takes_no_descriptors" "no python3, or Linux before 6.16"
fi

# Several at a time, while it is killed again and again.
serve busy --inetd -- /bin/cat
callers() {
	local i
	for i in 1 2 3 4 5 6; do
		(
			for j in $(seq 30); do
				[ "$(ask busy "$i.$j")" = "$i.$j" ] || echo "failed $i.$j"
			done
		) >>"$TMP/failed" &
		HARNESS_JOBS+=("$!")
		pids+=("$!")
	done
}
pids=()
: >"$TMP/failed"
callers
killed=0
while kill -0 "${pids[@]}" 2>/dev/null && [ $killed -lt 8 ]; do
	pid=$(helper)
	[ -n "$pid" ] && kill -9 "$pid" && killed=$((killed + 1))
	sleep 0.5
done
wait "${pids[@]}"
echo "# killed $killed, calls that were under way and ended: $(wc -l <"$TMP/failed")"
t_ok "P25_killed_a_few_times" test "$killed" -ge 1
t_ok "only_calls_that_a_helper_had_end_with_it" test "$(wc -l <"$TMP/failed")" -le $((6 * killed))

# The entrypoint ends: so does serve, and it does not make it again.
rmdir "$CAPFS/entrypoints/busy"
t_ok "serve_ends_with_its_entrypoint" wait_for 10 not kill -0 "$SERVER"
wait "$SERVER"
t_is "by_saying_so" 1 $?
t_ok "which_does_not_come_back" test ! -e "$CAPFS/entrypoints/busy"

# Killed itself it leaves no helper that nobody watches.
serve last --inetd -- /bin/cat
last=$(helper)
kill -9 "$SERVER"
wait "$SERVER" 2>/dev/null
t_ok "a_helper_ends_with_a_killed_serve" wait_for 10 not kill -0 "$last"

# A service manager is told by the process that it knows.
cat >"$TMP/manager.py" <<'EOT'
import os, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 16, 1)  # SO_PASSCRED
s.bind("\0capfs-test-%d" % os.getpid())
p = subprocess.Popen(sys.argv[1:], env=dict(os.environ, NOTIFY_SOCKET="@capfs-test-%d" % os.getpid()))
s.settimeout(20)
data, control, _, _ = s.recvmsg(1000, 100)
print(data.decode(), int.from_bytes(control[0][2][:4], "little") == p.pid)
p.terminate()
p.wait()
EOT
if have python3; then
	t_is "the_manager_hears_it_from_serve" "READY=1 True" \
		"$(timeout 40 python3 "$TMP/manager.py" "$CAP" serve told --inetd -- /bin/cat)"
else
	t_skip "the_manager_hears_it_from_serve" "no python3"
fi
harness_stop
t_done
