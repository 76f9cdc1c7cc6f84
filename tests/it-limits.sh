#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: C13 P03 Z42
#
# Limits of services that speak the library's protocol: each call counts, along the slot and all it came
# from, also on connections that were there before, and over the deaths of broker and server.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start
CALLER=$(program tests/caller)

serve_calls() { # NAME
	job "$CALLER" serve "$CAPFS" "$1"
	SERVER=$!
	wait_for 10 served "$1"
}

# open_line SESSION SLOT: one connection, kept; `line METHOD N` then makes calls over it.
open_line() {
	coproc LINE { exec "$CALLER" call "$1" "$2" 2>&1; }
	HARNESS_JOBS+=("$LINE_PID")
	line_in=${LINE[1]} line_out=${LINE[0]} line_pid=$LINE_PID
}

line() { # METHOD N
	local answer=''
	echo "$1 $2" >&"$line_in"
	read -t 20 -r answer <&"$line_out"
	echo "$answer"
}

close_line() {
	eval "exec $line_in>&-"
	wait "$line_pid" 2>/dev/null
}

# once SESSION SLOT METHOD N: over a connection of its own
once() {
	echo "$3 $4" | timeout 20 "$CALLER" call "$1" "$2" 2>&1
}

kill_broker() {
	harness_pids
	kill -9 "$BROKER"
	wait_for 10 timeout 5 cat "$CAPFS/version"
}

mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/app/sessions/sub"
app=$CAPFS/sessions/app sub=$CAPFS/sessions/app/sessions/sub
serve_calls rpc
t_like "the_object_says_so" 'protocol=calls' cat "$CAPFS/entrypoints/rpc/objects"

# --- methods

say 'to=app rights=call,grant,reduce methods=1-4,8' "$CAPFS/caps/rpc/grant"
t_like "Z42_methods_are_shown" '^methods=1-4,8$' cat "$app/caps/rpc/info"
t_is "a_method_that_is_granted" "ok=2" "$(once "$app" rpc 4 2)"
t_is "and_one_that_is_not" "ok=0 EPERM=2" "$(once "$app" rpc 5 2)"
t_is "nobody_else_is_limited" "ok=1" "$(once "$CAPFS" rpc 5 1)"
t_fails EINVAL "Z42_a_grant_is_a_subset" say 'to=sub methods=4-5' "$app/caps/rpc/grant"
t_fails EINVAL "Z42_a_reduction_too" say 'methods=1-8' "$app/caps/rpc/reduce"
say 'to=sub as=narrow methods=3-4' "$app/caps/rpc/grant"
t_is "Z42_of_a_subset" "ok=1" "$(once "$sub" narrow 3 1)"
t_is "Z42_less_is_left" "ok=0 EPERM=1" "$(once "$sub" narrow 8 1)"

# --- reduce, on a connection that is there

open_line "$sub" narrow
t_is "before_it_is_reduced" "ok=1" "$(line 3 1)"
made=$(sed -n 's/^capfs_connections_accepted_total //p' "$CAPFS/metrics")
say 'methods=4,8' "$app/caps/rpc/reduce"
t_is "Z42_C13_a_live_connection_obeys" "ok=0 EPERM=1" "$(line 3 1)"
t_is "and_keeps_what_is_left" "ok=1" "$(line 4 1)"
t_is "C13_over_the_same_connection" "$made" "$(sed -n 's/^capfs_connections_accepted_total //p' "$CAPFS/metrics")"
t_like "C13_what_counts_is_shown" '^methods=4$' cat "$sub/caps/narrow/info"
kill_broker
t_is "Z42_another_broker_gives_nothing_back" "ok=0 EPERM=1" "$(line 3 1)"
say 'methods=8' "$app/caps/rpc/reduce"
t_is "and_can_still_take" "ok=0 EPERM=1" "$(line 4 1)"
echo 1 >"$app/caps/rpc/revoke"
t_is "P07_a_revoked_one_is_gone" "ok=0 ENOENT=1" "$(line 8 1)"
close_line

# --- calls, along the ancestors

say 'to=app as=ten rights=call,grant,reduce calls=10' "$CAPFS/caps/rpc/grant"
say 'to=sub as=six calls=6' "$app/caps/ten/grant"
say 'to=sub as=nine calls=9' "$app/caps/ten/grant"
t_is "calls_are_counted" "ok=4" "$(once "$sub" six 0 4)"
t_like "and_shown_at_once" '^calls limit=6 used=4 left=2$' cat "$sub/caps/six/info"
t_like "at_the_parent_too" '^calls limit=10 used=4 left=6$' cat "$app/caps/ten/info"
t_like "left_counts_the_ancestors" '^calls limit=9 used=0 left=6$' cat "$sub/caps/nine/info"
t_like "holders_tell" 'calls=4/6' cat "$app/caps/ten/holders"
t_is "its_own_end" "ok=2 EDQUOT=3" "$(once "$sub" six 0 5)"
t_is "connecting_costs_no_call" "ok=4 EDQUOT=1" "$(once "$sub" nine 0 5)"
t_like "the_end_of_all" '^calls limit=10 used=10 left=0$' cat "$app/caps/ten/info"
t_is "the_parent_has_none_either" "ok=0 EDQUOT=1" "$(once "$app" ten 0 1)"
t_is "refused_calls_are_not_counted" "calls limit=9 used=4 left=0" "$(grep '^calls' "$sub/caps/nine/info")"

# --- both sides die

say 'to=app as=kept rights=call,reduce calls=20' "$CAPFS/caps/rpc/grant"
open_line "$app" kept
t_is "some_calls" "ok=5" "$(line 0 5)"
kill_broker
t_is "a_new_broker_knows_at_once" "calls limit=20 used=5 left=15" "$(grep '^calls' "$app/caps/kept/info")"
t_is "and_nothing_counts_twice" "ok=3" "$(line 0 3)"
t_is "the_same_page_goes_on" "calls limit=20 used=8 left=12" "$(grep '^calls' "$app/caps/kept/info")"
kill -9 "$SERVER"
wait_for 10 detached rpc
t_is "what_was_used_outlives_the_server" "calls limit=20 used=8 left=12" "$(grep '^calls' "$app/caps/kept/info")"
kill_broker
serve_calls rpc
t_is "and_the_next_one_goes_on" "ok=2" "$(line 0 2)"
t_is "from_there" "calls limit=20 used=10 left=10" "$(grep '^calls' "$app/caps/kept/info")"
t_fails EBUSY "not_below_what_is_used" say 'calls=9' "$app/caps/kept/reduce"
say 'calls=11' "$app/caps/kept/reduce"
t_is "a_reduction_holds_at_once" "ok=1 EDQUOT=1" "$(line 0 2)"
# Server and broker at the same time.
say 'to=app as=both rights=call calls=20' "$CAPFS/caps/rpc/grant"
t_is "some_more" "ok=7" "$(once "$app" both 0 7)"
harness_pids
kill -STOP "$BROKER"
kill -9 "$SERVER"
kill -9 "$BROKER"
wait_for 10 timeout 5 cat "$CAPFS/version"
wait_for 10 detached rpc
t_is "nothing_is_lost" "calls limit=20 used=7 left=13" "$(grep '^calls' "$app/caps/both/info")"
serve_calls rpc
close_line

# --- once a second, without anybody asking

open_line "$app" both
line 0 1 >/dev/null
sleep 1.5
t_is "stored_meanwhile" "calls limit=20 used=8 left=12" "$(grep '^calls' "$app/caps/both/info")"
close_line

# --- rate

say 'to=app as=fast rights=call,grant rate=5/s' "$CAPFS/caps/rpc/grant"
say 'to=sub as=fast' "$app/caps/fast/grant"
answer=$(once "$sub" fast 0 20)
ok=${answer#ok=} ok=${ok%% *}
t_ok "P03_a_rate_of_calls_is_kept" test "$ok" -ge 5 -a "$ok" -lt 12
t_like "P03_and_refused" 'EDQUOT=' echo "$answer"
t_like "P03_the_parent_is_used_up_too" '^ok=[01] EDQUOT=' once "$app" fast 0 3
sleep 1.2
t_is "P03_it_comes_back" "ok=3" "$(once "$app" fast 0 3)"

# --- a limit that cannot be kept

serve echo --inetd -- /bin/cat
t_fails EOPNOTSUPP "a_plain_service_has_no_methods" say 'to=app methods=1' "$CAPFS/caps/echo/grant"
say 'to=app as=echo calls=1' "$CAPFS/caps/echo/grant"
t_is "a_connection_is_its_call" "1 " "$(timeout 10 "$PROBE" ask "$app/caps/echo/socket" '1 ')"
t_like "which_is_counted" '^calls limit=1 used=1 left=0$' cat "$app/caps/echo/info"

# --- the end

open_line "$app" both
line 0 1 >/dev/null
rmdir "$CAPFS/entrypoints/rpc"
t_like "an_ended_entrypoint_ends_its_calls" '^ok=0 [A-Z]' line 0 1
close_line
t_ok "P01_connections_are_given_back" wait_for 5 grep -q '^capfs_connections 0$' "$CAPFS/metrics"
harness_stop
t_done
