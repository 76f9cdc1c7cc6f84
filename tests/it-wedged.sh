#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P20
#
# A broker that sleeps in the kernel, over a file that somebody else serves, and that SIGKILL does not end.
# None can be brought there from outside; here it is by a hostile program in its place. Nobody waits for it:
# neither who uses the tree nor the end of the daemon, nor the next daemon.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

HOSTILE_DONE=$TMP/hostile/done
mkdir "$TMP/hostile"
chmod 777 "$TMP/hostile"
export HOSTILE_DONE
original=$CAPFSD

# The broker WEDGED sleeps from here on.
wedge() { # [VARIABLE=VALUE…]
	rm -f "$HOSTILE_DONE" "$HOSTILE_DONE.socket"
	: >"$TMP/log"
	: >"$TMP/sent"
	CAPFSD=$(program tests/hostile-broker)
	export HOSTILE=wedge "$@"
	harness_start
	unset HOSTILE WATCHDOG_USEC
	CAPFSD=$original
	serve echo --inetd -- /bin/cat
	mkdir "$CAPFS/sessions/app" 2>/dev/null
	say 'to=app' "$CAPFS/caps/echo/grant"
	harness_pids
	WEDGED=$BROKER
	mkdir -p "$TMP/fs"
	mkfifo "$TMP/end"
	"$(program tests/hostile-file)" "$TMP/fs" "$HOSTILE_DONE.socket" seqpacket <"$TMP/end" >"$TMP/sent" &
	HOLDS=$!
	HARNESS_JOBS+=("$HOLDS")
	exec 7>"$TMP/end"
	wait_for 30 sleeps
}
sleeps() {
	grep -q '^State:.D' "/proc/$WEDGED/status"
}
is_deaf() {
	sleeps && kill -9 "$WEDGED" && sleep 1 && sleeps
}
release() {
	exec 7>&-
	wait "$HOLDS"
	umount -l "$TMP/fs" 2>/dev/null || fusermount3 -uz "$TMP/fs" 2>/dev/null
	rm -rf "$TMP/fs" "$TMP/end"
}

# --- the daemon goes on ---------------------------------------------------------------------------

t_ok "a_broker_sleeps" wedge WATCHDOG_USEC=2000000
harness_pids
holder=$HOLDER keeper=$KEEPER
t_ok "which_SIGKILL_does_not_end" is_deaf
t_is "P20_the_tree_answers_again" init "$(timeout 60 cat "$CAPFS/label")"
t_ok "it_still_sleeps" sleeps
t_like "P20_it_is_said" 'was killed and does not end' cat "$TMP/log"
harness_pids
t_is "P20_the_same_keeper" "$keeper" "$KEEPER"
t_ok "P20_another_holder" not test "$holder" = "$HOLDER"
t_like "P20_nothing_that_was_stored_is_lost" echo ls "$CAPFS/sessions/app/caps"
t_ok "P20_services_are_told" wait_for 30 not kill -0 "$SERVER"
t_ok "P20_and_served_again" serve echo --inetd -- /bin/cat
t_is "P20_connections_are_made" x "$(timeout 30 "$PROBE" ask "$CAPFS/sessions/app/caps/echo/socket" x)"
t_ok "it_sleeps_all_the_time" sleeps
end_job "$SERVER"
kill -TERM "$KEEPER"
wait "$KEEPER"
t_is "P20_the_daemon_stops" 0 $?
t_ok "P20_with_its_mount" not mounted "$CAPFS"
KEEPER=
t_ok "P20_another_one_starts_meanwhile" harness_start
t_is "P20_and_serves" init "$(timeout 30 cat "$CAPFS/label")"
t_ok "and_it_sleeps" sleeps
release
t_ok "until_it_is_let_go" wait_for 30 not kill -0 "$WEDGED"
harness_stop

# --- it is just being stopped ---------------------------------------------------------------------

t_ok "a_broker_sleeps_again" wedge
timeout 60 ls "$CAPFS" >/dev/null 2>&1 &
waits=$!
kill -TERM "$KEEPER"
wait "$KEEPER"
t_is "P20_it_stops_without_it" 0 $?
t_ok "it_sleeps_at_the_end" sleeps
t_ok "P20_who_waits_is_let_go" wait_for 10 not kill -0 "$waits"
t_ok "P20_without_a_mount" not mounted "$CAPFS"
KEEPER=
t_ok "P20_and_another_one_starts" harness_start
t_is "P20_and_serves_what_was_stored" init/app "$(timeout 30 cat "$CAPFS/sessions/app/label")"
t_ok "it_sleeps_still" sleeps
release
t_ok "and_ends" wait_for 30 not kill -0 "$WEDGED"
harness_stop
t_done
