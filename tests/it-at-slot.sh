#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S25 Z34 G20
#
# Sessions that are named by a slot: `to=@SLOT`, `target=`, and programs that are started there; over deaths of brokers.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=100

job "$PROBE" serve "$TMP/plain"
wait_for 10 test -S "$TMP/plain"
t_ok "a_service" serve echo --proxy="$TMP/plain"
"$CAP" session create web caps=32 sockets=64 inflight=64 ram=256K threads=8 >/dev/null
"$CAP" session create db caps=32 sockets=64 inflight=64 ram=256K threads=8 >/dev/null
if is_root; then chown 12345:12345 "$CAPFS/sessions/db"; fi
web=$CAPFS/sessions/web db=$CAPFS/sessions/db
of_web() {
	timeout 60 "$CAP" --cap="$web" "$@" 2>&1
}
ask() { # SLOT_DIR TEXT
	timeout 30 "$PROBE" ask "$1/socket" "$2"
}
kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version" >/dev/null
}
field_of() { # KEY FILE
	sed -n "s/^$1=\([^ ]*\).*/\1/p" "$2"
}

"$CAP" grant echo web rights=call,grant,replicate >/dev/null
"$CAP" grant echo db as=table rights=call,grant,replicate >/dev/null
say 'type=session as=db of=db' "$CAPFS/originate"
say 'to=web rights=accept,account,call,spawn,grant,replicate' "$CAPFS/caps/db/grant"

# --- given there

t_fails ENOENT "nobody_else_is_named" of_web grant echo db
t_like "it_is_granted_by_a_slot" '^slot=from-web id=' of_web grant echo @db as=from-web conns=2
t_is "it_works_there" hello "$(ask "$db/caps/from-web" hello)"
t_ok "and_by_a_file" say 'to=@db as=again' "$web/caps/echo/grant"
t_is "whose_it_is" init/web/caps/echo "$(field_of parent "$db/caps/again/info")"
kill_broker
t_ok "it_is_taken_back" of_web revoke echo --from=@db
t_ok "all_of_it" test ! -e "$db/caps/from-web" -a ! -e "$db/caps/again"
say 'to=web caps=8' "$CAPFS/transfer_quota"
t_ok "G20_quota_goes_there" of_web transfer-quota --to=@db caps=8
t_is "G20_and_is_there" 40 "$(sed -n 's/^caps limit=\([0-9]*\).*/\1/p' "$db/quota")"
t_ok "G20_and_comes_back" of_web transfer-quota --from=@db caps=8

# --- reached there

t_like "the_usage_says_so" '\[target=NAME' cat "$web/caps/db/replicate"
t_ok "a_slot_is_reached" say 'target=table as=table' "$web/caps/db/replicate"
t_is "it_is_answered" hello "$(ask "$web/caps/table" hello)"
t_is "through_the_other" init/web/caps/db "$(field_of through "$web/caps/table/info")"
say 'to=db as=plain rights=call' "$CAPFS/caps/echo/grant"
t_fails EPERM "Z34_but_not_what_may_not_be_passed_on" say 'target=plain as=plain' "$web/caps/db/replicate"
kill_broker
t_is "a_later_broker_knows_of_it" hello "$(ask "$web/caps/table" hello)"
connections() {
	[ "$(sed -n 's/^conns .*used=\([0-9]*\).*/\1/p' "$db/caps/table/info")" = "$1" ] ||
		grep -q "connections=$1 " "$CAPFS/entrypoints/echo/info"
}
job timeout 60 "$PROBE" flood "$web/caps/table/socket" 3 50 >"$TMP/flood"
flood=$!
t_ok "connections_through_it" wait_for 10 connections 3
t_ok "it_loses_what_it_is_for" say 'to=web rights=accept,spawn' "$CAPFS/caps/db/adjust"
t_ok "and_they_end" wait_for 10 connections 0
wait "$flood" 2>/dev/null
t_is "and_it_is_good_for_nothing" "-" "$(field_of rights "$web/caps/table/info")"
t_ok "it_has_it_again" say 'to=web rights=accept,account,call,spawn' "$CAPFS/caps/db/adjust"
t_is "and_is_answered" hello "$(ask "$web/caps/table" hello)"
t_is "and_so_has_what_it_reached" call "$(field_of rights "$web/caps/table/info" | cut -d, -f1)"

# --- started there

if is_root; then
	mkdir "$TMP/bin"
	run() {
		of_web run --session=@db --cap=echo -- "$@"
	}
	t_like "S25_a_program_is_started_there" '^12345 ' run /bin/sh -c 'echo "$(id -u) $LISTEN_FDNAMES"'
	t_like "S25_that_session_reads_of_it" ' spawn session=init/db thread=.* from=init/web/caps/db' cat "$db/events"
	t_is "its_status_is_ours" 7 "$(run /bin/sh -c 'exit 7' >/dev/null; echo $?)"
	job "$CAP" --cap="$web" run --session=@db -- /bin/sleep 300
	sleeper=${HARNESS_JOBS[-1]}
	there() {
		[ -n "$(ls "$db/threads")" ]
	}
	none() {
		! there
	}
	t_ok "one_that_stays" wait_for 10 there
	kill_broker
	t_ok "stays" there
	kill -9 "$sleeper"
	t_ok "until_who_has_started_it_goes" wait_for 10 none
	job timeout 60 "$CAP" --cap="$web" run --session=@db -- /bin/sh -c 'trap "exit 9" TERM; echo ready >&2; while :; do sleep 1; done' 2>ready
	sleeper=${HARNESS_JOBS[-1]}
	t_ok "one_that_is_ready" wait_for 10 grep -q ready ready
	kill_broker
	kill -TERM "$sleeper"
	wait "$sleeper"
	t_is "S25_what_is_meant_for_it_reaches_it" 9 $?
	say 'to=web rights=accept,call' "$CAPFS/caps/db/adjust"
	t_like "S25_not_without_spawn" "does not hold right 'spawn' on db" run /bin/true
fi

# --- ended

t_ok "the_slot_ends" say 'to=web' "$CAPFS/caps/db/revoke"
t_ok "and_what_it_reached" test ! -e "$web/caps/table" -a ! -e "$web/caps/db"
t_fails ENOENT "and_names_nobody" say 'to=@db' "$web/caps/echo/grant"
t_is "what_was_reached_is_there" hello "$(ask "$db/caps/table" hello)"
harness_stop
t_done
