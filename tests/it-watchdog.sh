#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G11 P18
#
# A broker that is alive but does not turn its loop is replaced within a bound, by one that goes on where
# it was; a request that makes two brokers hang is refused to the third. The keeper tells systemd that it
# lives.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}
new_binder() {
	harness_pids && [ "$BINDER" != "$1" ]
}
asks() { # NAME: by a slot that nobody has looked up yet
	[ -e "$CAPFS/caps/$1" ] || say "as=$1" "$CAPFS/caps/echo/replicate"
	[ "$(timeout 10 "$PROBE" ask "$CAPFS/caps/$1/socket" x)" = x ]
}
wakeups() { # PID: how often it has slept
	sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$1/status"
}

# What systemd would be told.
cat >"$TMP/systemd.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode().replace('\n', ' '), flush=True)
END
notified=
if have python3; then
	notified=1
	job python3 "$TMP/systemd.py" "$TMP/notify" >"$TMP/notified"
	wait_for 5 test -S "$TMP/notify"
	export NOTIFY_SOCKET=$TMP/notify
fi

# Twice a second instead of every ten.
export WATCHDOG_USEC=1000000
harness_start --quota=caps=4096,sockets=512
unset WATCHDOG_USEC NOTIFY_SOCKET

if [ -n "$notified" ]; then
	t_ok "G11_the_keeper_beats" wait_for 5 grep -q '^WATCHDOG=1' "$TMP/notified"
else
	t_skip "G11_the_keeper_beats" "no python3"
fi
t_ok "a_service" serve echo --inetd -- /bin/cat

# It answers while nothing happens, and is left alone.
broker=$BROKER
sleep 3
harness_pids
t_is "G11_a_broker_that_turns_is_left_alone" "$broker" "$BROKER"
before=$(wakeups "$BROKER")
sleep 3
after=$(wakeups "$BROKER")
t_ok "P18_it_is_asked_and_not_driven" test $((after - before)) -le 30
echo "# wakeups in 3 s, asked twice a second: $((after - before))"

kill -STOP "$BROKER"
start=$SECONDS
t_is "G11_a_call_goes_on_after_SIGSTOP" init "$(timeout 20 cat "$CAPFS/label")"
t_ok "G11_within_a_bound" test $((SECONDS - start)) -le 8
t_ok "another_broker" new_broker "$broker"
t_like "it_is_said" 'does not turn its loop' cat "$TMP/log"
t_like "what_is_open_goes_on" '^x$' timeout 10 "$PROBE" ask "$CAPFS/caps/echo/socket" x

# A stopped holder cannot end it; once it goes on, it does.
broker=$BROKER
kill -STOP "$HOLDER" "$BROKER"
sleep 2
kill -CONT "$HOLDER"
t_ok "after_its_holder_was_stopped_too" wait_for 10 new_broker "$broker"
t_ok "the_next_is_not_taken_for_it" sleep 2
broker=$BROKER
harness_pids
t_is "one_signal_ends_one_broker" "$broker" "$BROKER"

# The binder is watched likewise, by the keeper.
binder=$BINDER
kill -STOP "$binder"
t_ok "P28_a_binder_that_hangs_is_replaced" wait_for 30 new_binder "$binder"
t_like "P28_which_is_said" 'the binder does not turn its loop' cat "$TMP/log"
t_ok "P28_and_the_next_one_makes_sockets" wait_for 20 asks sees
binder=$BINDER
sleep 3
harness_pids
t_is "P28_a_binder_that_turns_is_left_alone" "$binder" "$BINDER"

# A request that never ends.
hang=
if is_root; then
	job timeout 60 "$(program tests/hang)" "$HOLDER" 2 >"$TMP/hang" 2>&1
	hang=$!
	wait_for 5 grep -qs . "$TMP/hang"
fi
if [ -n "$hang" ] && grep -q ready "$TMP/hang"; then
	t_fails "Input/output error" "G11_a_request_that_hangs_twice_is_refused" \
		timeout 40 mkdir "$CAPFS/sessions/hangs"
	wait "$hang"
	t_is "two_brokers_hung" 2 "$(grep -c hangs "$TMP/hang")"
	t_like "the_request_is_named" 'two brokers in a row ended in request' cat "$TMP/log"
	t_ok "the_next_one_is_served" mkdir "$CAPFS/sessions/serves"
	t_ok "it_was_not_done" not test -e "$CAPFS/sessions/hangs"
else
	t_skip "G11_a_request_that_hangs_twice_is_refused" "this kernel or user may not trace"
fi
harness_stop
t_done
