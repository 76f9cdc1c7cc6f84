#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P39
#
# A grant is changed while it is used, as in session 14 of the administrator's: connections stay, calls on them
# meet the new limits at once, and so it is with the next broker.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start
CALLER=$(program tests/caller)

line() { # METHOD N
	local answer=''
	echo "$1 $2" >&"${LINE[1]}"
	read -t 20 -r answer <&"${LINE[0]}"
	echo "$answer"
}

app=$CAPFS/sessions/app
mkdir "$app" "$app/sessions/db"
t_ok "a_plain_service" serve kv --inetd -- /bin/cat
say 'to=app conns=4' "$CAPFS/caps/kv/grant"
job "$PROBE" flood "$app/caps/kv/socket" 4 60 >"$TMP/flood"
t_ok "four_connections" wait_for 10 grep -q '^conns limit=4 used=4 left=0$' "$app/caps/kv/info"
id=$(field id "$app/caps/kv/info")
t_is "P39_they_are_kept" "kv app: conns 4 -> 64, 4 connections kept" "$("$CAP" adjust kv app conns=64)"
t_is "P39_id_and_slot_stay" "$id" "$(field id "$app/caps/kv/info")"
t_like "P39_there_is_more" '^conns limit=64 used=4 left=60$' cat "$app/caps/kv/info"
t_like "P39_one_more_is_let_in" '^z$' "$PROBE" ask "$app/caps/kv/socket" z
say 'to=app conns=32' "$CAPFS/caps/kv/adjust"
t_like "P39_by_the_file" '^conns limit=32 used=4 ' cat "$app/caps/kv/info"
t_fails EBUSY "P39_not_below_what_is_in_use" say 'to=app conns=3' "$CAPFS/caps/kv/adjust"
t_is "P39_by_id" "kv id=$id: rate none -> 9/s, expires never -> 2099-01-01T00:00:00Z, 4 connections kept" \
	"$("$CAP" adjust kv --id="$id" expires=2099-01-01T00:00:00Z rate=9/s)"
t_is "P39_twice_is_as_once" "kv app: as it was, 4 connections kept" "$("$CAP" adjust kv app conns=32)"
t_fails EPERM "P39_never_above_the_source" "$CAP" adjust app:kv db conns=64
t_like "P39_the_event" ' adjust session=init/app slot=kv id=[0-9]* uid=[0-9]* from=init/caps/kv conns=4->64$' \
	cat "$app/events"

# Calls on one connection.
job "$CALLER" serve "$CAPFS" rpc
wait_for 10 served rpc
say 'to=app methods=1-4 calls=3' "$CAPFS/caps/rpc/grant"
coproc LINE { exec "$CALLER" call "$app" rpc 2>&1; }
HARNESS_JOBS+=("$LINE_PID")
t_is "its_calls_are_used_up" "ok=3 EDQUOT=1" "$(line 1 4)"
say 'to=app calls=5' "$CAPFS/caps/rpc/adjust"
t_is "P39_a_live_connection_has_more" "ok=2 EDQUOT=1" "$(line 1 3)"
say 'to=app calls=none methods=2' "$CAPFS/caps/rpc/adjust"
t_is "P39_and_other_methods" "ok=0 EPERM=1" "$(line 1 1)"
t_is "P39_without_any_end" "ok=9" "$(line 2 9)"
harness_pids
kill -9 "$BROKER"
wait_for 10 timeout 5 cat "$CAPFS/version"
t_is "P39_so_it_is_for_another_broker" "ok=0 EPERM=1" "$(line 1 1)"
say 'to=app methods=all calls=7' "$CAPFS/caps/rpc/adjust"
t_is "P39_what_was_used_stays_used" "ok=2 EDQUOT=1" "$(line 1 3)"
say 'to=app rights=grant' "$CAPFS/caps/rpc/adjust"
t_like "P39_without_the_right" '^ok=0 E' line 1 1
exec {LINE[1]}>&-

harness_stop
t_done
