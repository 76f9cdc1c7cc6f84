#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S01 S02 S05 S26
#
# The programs of examples/, as their comments say that they are used.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

example() { # PROGRAM ARGUMENT…
	local program=$1
	shift
	timeout 20 "$(program "examples/$program")" "$@"
}
start_example() { # NAME PROGRAM ARGUMENT…: NAME is served by it then
	local name=$1 program=$2
	shift 2
	job "$(program "examples/$program")" "$@"
	SERVER=$!
	wait_for 10 served "$name"
}
ask() {
	timeout 20 "$PROBE" ask "$1" "$2"
}

mkdir "$CAPFS/sessions/web" "$CAPFS/sessions/db"
web=$CAPFS/sessions/web db=$CAPFS/sessions/db

# --- echo

start_example echo echo-server
t_is "echo" "init: hello" "$(example echo-client hello)"

# --- the log

cd "$TMP" || exit 2
t_ok "log_service" start_example log log-service 60 web db
log=$SERVER
say 'to=web as=log' "$CAPFS/caps/log-web/grant"
say 'to=db as=log' "$CAPFS/caps/log-db/grant"
t_ok "log_line" env CAPFS="$web" "$(program examples/echo-client)" -s log "GET /"
t_ok "log_line_of_another" env CAPFS="$db" "$(program examples/echo-client)" -s log "checkpoint"
t_is "S19_each_has_its_own" "init/web: GET /" "$(cat web.log)"
t_is "and_the_other" "init/db: checkpoint" "$(cat db.log)"
t_fails EDQUOT "log_has_an_end" env CAPFS="$web" "$(program examples/echo-client)" -s log \
	"$(printf '%080d' 0)"
t_ok "that_is_its_clients_alone" env CAPFS="$db" "$(program examples/echo-client)" -s log "again"
t_is "a_refused_line_is_not_there" 1 "$(wc -l <web.log)"
end_job "$log"
wait_for 10 detached log
t_ok "log_service_again" start_example log log-service 60 web db
t_ok "the_same_capability_after_a_restart" env CAPFS="$web" "$(program examples/echo-client)" -s log "POST /"
t_is "leads_to_the_same_log" "init/web: POST /" "$(tail -1 web.log)"

# --- a program turned into a service

printf 'one two\nthree\n' >"$TMP/text"
t_is "count_as_before" "2 3 14" "$(example count "$TMP/text")"
t_ok "count_serves" start_example count count --serve count
t_is "S05_count_of_a_passed_descriptor" "2 3 14" "$(example pass count "$TMP/text")"
t_fails EINVAL "count_of_nothing" example echo-client -s count x

# --- workers

t_ok "pool_serves" start_example pool pool pool 2
t_is "pool_answers" "HELLO" "$(ask "$CAPFS/caps/pool/socket" hello | cut -d' ' -f2)"
for i in 1 2; do
	(sleep 1; echo "held $i"; sleep 1) | timeout 10 socat -t 5 - "UNIX-CONNECT:$CAPFS/caps/pool/socket" >"$TMP/pool$i" &
	HARNESS_JOBS+=("$!")
done
sleep 0.5
start=$(date +%s%N)
t_is "pool_waits_for_a_worker" "LATER" "$(ask "$CAPFS/caps/pool/socket" later | cut -d' ' -f2)"
t_ok "until_one_is_free" test $((($(date +%s%N) - start) / 1000000)) -gt 700
wait_for 5 grep -q HELD "$TMP/pool1"
wait_for 5 grep -q HELD "$TMP/pool2"
t_is "both_worked_at_once" 2 "$(cat "$TMP/pool1" "$TMP/pool2" | cut -d: -f1 | sort -u | wc -l)"

# Two calls work at the same time; what is given up is left off, before it would be over.
start_example workers workers workers 2 >workers.log
"$(program examples/echo-client)" -s workers 1000 >given-up 2>&1 &
given_up=$!
t_is "workers_answer_while_one_works" "worked" "$(example echo-client -s workers 0)"
kill "$given_up"
t_ok "workers_leave_off_what_nobody_waits_for" wait_for 10 grep -q "left off" workers.log

# --- nobody but the daemon makes sockets

"$PROBE" inherit "$CAPFS/control" "$(program examples/sealed)" - serve quiet >/dev/null 2>&1 &
HARNESS_JOBS+=("$!")
t_ok "S26_a_server_without_sockets" wait_for 10 served quiet
t_is "S26_S01_a_client_without_sockets" hello \
	"$("$PROBE" inherit "$CAPFS/control" "$(program examples/sealed)" - call quiet hello)"
t_is "S26_that_opens_its_own" hello "$(example sealed "$CAPFS" call quiet hello)"
say 'to=web' "$CAPFS/caps/quiet/grant"
t_is "S26_in_a_session" hello \
	"$("$PROBE" inherit "$web/control" "$(program examples/sealed)" - call quiet hello)"
t_fails ENOENT "S26_with_nothing_else" \
	"$PROBE" inherit "$db/control" "$(program examples/sealed)" - call quiet hello

# --- answers that come later

t_ok "gate_serves" start_example gate gate gate
for i in 1 2; do
	timeout 30 "$(program examples/echo-client)" -s gate wait >"$TMP/gate$i" 2>&1 &
	HARNESS_JOBS+=("$!")
done
opened=0
open_gate() { # N: until N in all were waiting
	opened=$((opened + $(example echo-client -s gate "open now")))
	[ "$opened" -eq "$1" ]
}
t_ok "gate_answers_all_that_wait" wait_for 10 open_gate 2
t_ok "with_what_it_was_opened_with" wait_for 10 sh -c "cat '$TMP/gate1' '$TMP/gate2' | grep -cx now | grep -qx 2"
t_fails EINVAL "gate_knows_nothing_else" example echo-client -s gate close

# --- a loop of one's own

mkfifo "$TMP/input"
timeout 60 "$(program examples/loop)" loop <"$TMP/input" >"$TMP/loop" 2>&1 &
LOOP=$!
HARNESS_JOBS+=("$LOOP")
exec 7>"$TMP/input"
t_ok "loop_serves" wait_for 10 served loop
loop_says() { # LINE
	[ "$(example echo-client -s loop x)" = "$1" ]
}
echo first >&7
t_ok "loop_answers" wait_for 10 loop_says first
echo second >&7
t_ok "loop_reads_meanwhile" wait_for 10 loop_says second
exec 7>&-
wait "$LOOP"
t_is "loop_ends_well" "0 " "$? $(cat "$TMP/loop")"

# --- a capability that is passed on

t_ok "import_serves" start_example taker import take taker
say 'to=db rights=call,fds' "$CAPFS/caps/taker/grant"
CAPFS=$db job "$(program examples/echo-server)" own
t_ok "a_service_of_another_session" wait_for 10 served own "$db"
t_is "import_takes_it" "own of init/db, from init/db" "$(CAPFS=$db example import give taker own)"
t_is "import_knows_it_again" "own of init/db, from init/db, as before" "$(CAPFS=$db example import give taker own)"
t_is "which_can_be_used_then" "init: hello" "$(example echo-client -s own hello)"
say 'as=kept rights=call' "$db/caps/own/replicate"
t_fails EPERM "import_takes_nothing_without_grant" env CAPFS="$db" "$(program examples/import)" give taker kept

# --- a service that comes back

reattach() { # FILE
	"$(program examples/reattach)" back >"$1" &
	SERVER=$!
	HARNESS_JOBS+=("$SERVER")
	wait_for 10 grep -q badge "$1"
}
t_ok "reattach_serves" reattach "$TMP/back1"
t_is "reattach_counts" "1 2" "$(example echo-client -s back x) $(example echo-client -s back x)"
kill -9 "$SERVER"
t_ok "reattach_after_its_own_end" reattach "$TMP/back2"
t_is "with_the_same_badge" "$(cat "$TMP/back1")" "$(cat "$TMP/back2")"
t_is "for_the_same_slot" 1 "$(example echo-client -s back x)"
harness_end_daemon
harness_start
twice() {
	[ "$(grep -c badge "$TMP/back2")" -ge 2 ] && served back
}
t_ok "reattach_after_the_daemon_s_end" wait_for 30 twice
t_is "with_the_same_badge_again" 1 "$(sort -u "$TMP/back2" | wc -l)"
t_is "and_goes_on" 2 "$(example echo-client -s back x)"

# --- all of them

run=$(cat "$top_srcdir"/tests/*.sh "$top_srcdir/tools/quickstart")
t_is "each_example_is_run_by_a_test" "" "$(for source in "$top_srcdir"/examples/*.c; do
	name=${source##*/}
	grep -qE "examples/${name%.c}\>|(start_)?example ([a-z]+ )?${name%.c}\>" <<<"$run" || echo "$name"
done)"
harness_stop
t_done
