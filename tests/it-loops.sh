#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P36 P37
#
# The clients of examples/loops: their loop hears of every reply, whatever becomes of the server and of the daemon,
# and is never held up. And a client that has all that a service keeps is heard when it gives some of it up.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

serve_echo() {
	job "$(program examples/echo-server)" 7>&- # whose end is the end of the input
	SERVER=$!
	wait_for 10 served echo
}
# Waits in its loop: what it waits for in the kernel is the loop's.
waits_in_loop() {
	grep -qE 'ep_poll|do_sys_poll|do_poll|poll_schedule' "/proc/$LOOP/wchan" 2>/dev/null ||
		grep -qE '^(232|281|7|271) ' "/proc/$LOOP/syscall" 2>/dev/null
}
has_line() { # FILE TEXT
	grep -qx "$2" "$1"
}

is_over() {
	! [ -e "/proc/$LOOP" ] || grep -q '^State:.*Z' "/proc/$LOOP/status"
}

loop() { # NAME
	local name=$1 out=$TMP/$1.out err=$TMP/$1.err input=$TMP/$1.in

	serve_echo
	mkfifo "$input"
	"$(program "examples/loops/loop-$name")" echo <"$input" >"$out" 2>"$err" &
	LOOP=$!
	HARNESS_JOBS+=("$LOOP")
	exec 7>"$input"
	echo one >&7
	t_ok "P37_$name.has_a_reply" wait_for 10 has_line "$out" "init: one"
	t_ok "P37_$name.hears_of_its_connection" wait_for 10 has_line "$err" "connection 1 is there"
	# Another server, who is asked over another connection.
	kill -KILL "$SERVER"
	t_ok "P37_$name.hears_of_its_end" wait_for 10 has_line "$err" "connection 1 has ended"
	wait_for 10 detached echo
	serve_echo
	echo two >&7
	t_ok "P37_$name.has_a_reply_of_another_server" wait_for 10 has_line "$out" "init: two"
	t_ok "P37_$name.hears_that_it_is_another" wait_for 10 has_line "$err" "connection 2 is there"
	# The daemon stands still, and the connection that it would have to make is wanted.
	kill -KILL "$SERVER"
	t_ok "P37_$name.hears_of_the_second_end" wait_for 10 has_line "$err" "connection 2 has ended"
	wait_for 10 detached echo
	serve_echo
	harness_pids
	kill -STOP "$HOLDER" "$BROKER"
	printf 'three\nfour\n' >&7
	wait_for 10 waits_in_loop
	t_ok "P37_$name.goes_on_without_the_daemon" waits_in_loop
	t_is "P37_$name.has_no_reply_then" 2 "$(wc -l <"$out")"
	kill -CONT "$BROKER" "$HOLDER"
	t_ok "P37_$name.goes_on_with_it" wait_for 10 has_line "$out" "init: four"
	exec 7>&-
	t_ok "P37_$name.ends" wait_for 10 is_over
	t_is "P37_$name.has_all" $'init: one\ninit: two\ninit: three\ninit: four' "$(cat "$out")"
	end_job "$SERVER"
	wait_for 10 detached echo
}

for name in epoll sd-event glib; do
	if [ -x "$top_builddir/examples/loops/loop-$name" ]; then
		loop "$name"
	else
		t_skip "P37_$name" "it was not built"
	fi
done

# --- what is kept

keeper() { # CALLS
	job "$(program tests/keeping)" serve kept "$1"
	SERVER=$!
	wait_for 10 served kept
}
# N calls that are kept; then one that is answered; then one of the N is given up, and another one is answered.
keeper 64
t_is "P36_less_than_it_keeps" $'asked: 0\ngiven up: 0\nasked: 0' "$("$(program tests/keeping)" ask kept 16)"
t_is "P36_as_many_as_it_keeps" $'asked: ETIMEDOUT\ngiven up: 0\nasked: 0' "$("$(program tests/keeping)" ask kept 64)"
end_job "$SERVER"
wait_for 10 detached kept
keeper 3000
t_is "P36_very_many" $'asked: 0\ngiven up: 0\nasked: 0' "$("$(program tests/keeping)" ask kept 2500)"
end_job "$SERVER"

t_done
