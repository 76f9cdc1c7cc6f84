#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What a broker finds of its predecessors: pollers are woken, open files stay their openers' own, and
# what nobody will ask for any more is not kept.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=512

kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}
store_bytes() {
	stat -c %s "$(find "$RUN" -name state.mdb)"
}

t_ok "a_service" serve echo --inetd -- /bin/cat
mkdir "$CAPFS/sessions/app"
say 'to=app caps=200 ram=1M' "$CAPFS/transfer_quota"

# A result is read by who wrote the command, also after the holder and its brokers are gone.
for i in $(seq 60); do
	cat "$CAPFS/label" >/dev/null
done
exec 7<>"$CAPFS/caps/echo/grant"
echo 'to=app as=mine000' >&7
kill -9 "$HOLDER"
wait_for 10 new_broker "$BROKER"
end_job "$SERVER"
serve echo --inetd -- /bin/cat
theirs=()
for i in $(seq 100); do
	exec {fd}<>"$CAPFS/caps/echo/grant"
	theirs+=("$fd")
	echo "to=app as=them$((i + 100))" >&"$fd"
done
cat <&7 >"$TMP/mine"
t_unlike "two_openers_never_mix" them cat "$TMP/mine"
exec 7>&-
for fd in "${theirs[@]}"; do
	exec {fd}>&-
done
# polled NAME DIR CMD…: who polls DIR/events is woken by CMD.
polled() {
	local name=$1 dir=$2 pid
	shift 2
	"$PROBE" poll "$dir/events" 10 >"$TMP/$name" &
	pid=$!
	HARNESS_JOBS+=("$pid")
	wait_for 5 grep -q waits "$TMP/$name"
	"$@"
	wait "$pid"
}
event_after_kill() {
	kill_broker
	sleep 0.3
	say 'to=app' "$CAPFS/caps/echo/grant"
}
t_ok "a_poller_is_woken" polled now "$CAPFS" say 'to=app as=p' "$CAPFS/caps/echo/grant"
t_ok "a_poller_is_woken_by_the_next_broker" polled later "$CAPFS" event_after_kill
mkdir "$CAPFS/sessions/short"
t_ok "a_poller_is_woken_when_the_session_ends" polled end "$CAPFS/sessions/short" \
	rmdir "$CAPFS/sessions/short"

harness_stop

# Nothing is kept that nobody is charged for: answers that were sent, results of files that are closed.
harness_start --quota=caps=4096,sockets=512
end_job "$SERVER"
t_ok "a_service_again" serve echo --inetd -- /bin/cat
many() { # N: revokes that end nothing, and results that a kill or the end of a session leave unread
	local i
	for ((i = 0; i < $1; i++)); do
		echo 1 >"$CAPFS/caps/echo/revoke" || return 1
	done
	mkdir "$CAPFS/sessions/gone"
	for ((i = 0; i < $1 / 4; i++)); do
		{
			echo 'to=gone caps=1' >&8
			echo 'from=gone caps=1' >&8
			[ $((i % 8)) -ne 0 ] || rmdir "$CAPFS/sessions/gone"
			[ -d "$CAPFS/sessions/gone" ] || mkdir "$CAPFS/sessions/gone"
		} 8<>"$CAPFS/sessions/gone/transfer_quota" 2>/dev/null
	done
	rmdir "$CAPFS/sessions/gone"
}
# What is kept on purpose is there before it is measured: the root's log, full (1000 lines, half of them
# of sessions below).
log_is_full() {
	local i
	for ((i = 0; i < 100; i++)); do
		mkdir "$CAPFS/sessions/gone" || return 1
		say 'from=gone caps=1' "$CAPFS/sessions/gone/transfer_quota"
		rmdir "$CAPFS/sessions/gone" || return 1
	done
	[ "$(wc -l <"$CAPFS/events")" -ge 1000 ]
}
many 3000
t_ok "the_log_is_full" wait_for 60 log_is_full
before=$(store_bytes)
t_ok "many_commands" many 8000
kill_broker
# One page more may be met by one more reserve (32 pages) and that page: a step, and not one for each so many.
t_ok "the_store_has_not_grown" test "$(store_bytes)" -le $((before + 2 * 32 * $(getconf PAGESIZE)))
echo "# store: $before bytes before, $(store_bytes) after"
harness_stop
t_done
