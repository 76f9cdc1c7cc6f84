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

harness_stop
t_done
