#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: C24 G12 G14 P01 P02 P14
#
# Activation by hand: callers that wait, where the last server said that they may, until somebody
# starts the next one. Who learns of them, how many there may be, what becomes of them.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=1024,inflight=1024

cap=$CAPFS/caps
ask() { # SLOT_DIR TEXT
	timeout 60 "$PROBE" ask "$1/socket" "$2"
}
waiting() {
	field waiting "$CAPFS/entrypoints/echo/info"
}
are_waiting() { # N
	[ "$(waiting)" -eq "$1" ]
}
# asks N: in the background, its answer goes to $TMP/answer-N.
asks() {
	ask "$cap/echo" "$1" >"$TMP/answer-$1" &
	HARNESS_JOBS+=("$!")
}
one_by_one() {
	serve echo "$@" --max=1 --inetd -- sh -c "x=\$(cat); echo \$x >>$TMP/order; echo \$x"
}

t_ok "something_else" serve other --inetd -- /bin/cat
t_ok "a_service_whose_callers_may_wait" serve echo --hold=110 --inetd -- /bin/cat
t_like "info_says_so" ' waiting=0 hold=110 fds=no$' cat "$CAPFS/entrypoints/echo/info"
t_like "served_nobody_waits" '^x$' ask "$cap/echo" x
t_fails EINVAL "more_than_may_ever_wait" "$CAP" serve many --hold=4097 --inetd -- /bin/cat
t_fails EINVAL "who_ends_has_none" "$CAP" serve many --once --hold=1 --inetd -- /bin/cat
end_job "$SERVER"
t_ok "detached" wait_for 10 detached echo

job timeout 100 "$PROBE" flood "$cap/echo/socket" 104 90 >"$TMP/flood"
flood=$!
t_ok "C24_more_than_100_wait" wait_for 20 are_waiting 104
t_like "C24_others_go_on" '^y$' ask "$cap/other" y
t_like "who_starts_servers_is_told" ' wait session=init entrypoint=echo waiting=[0-9]+ hold=110$' \
	cat "$CAPFS/events"
for i in 1 2 3 4 5 6; do
	asks $i
	wait_for 10 are_waiting $((104 + i))
done
t_is "they_wait_in_order" 110 "$(waiting)"
t_is "P02_one_too_many_is_told" "" "$(ask "$cap/echo" z)"
t_like "P02_and_so_is_who_looks" 'refused connect session=[^ ]+ slot=echo .*EDQUOT: as many as may wait' \
	cat "$CAPFS/events"

for i in 1 2 3; do
	harness_pids
	kill -9 "$BROKER"
	wait_for 10 answers
done
t_ok "P14_they_wait_over_kills" wait_for 5 are_waiting 110
end_job "$flood"
t_ok "who_leaves_is_forgotten" wait_for 10 are_waiting 6

t_ok "G14_somebody_starts_a_server" one_by_one --hold=110
t_ok "G14_they_are_answered" wait_for 20 grep -q 6 "$TMP/answer-6"
t_is "in_the_order_in_which_they_came" "1 2 3 4 5 6 " "$(tr '\n' ' ' <"$TMP/order")"
t_is "each_with_its_own" "1 2 3 4 5 6 " "$(cat "$TMP"/answer-[1-6] | tr '\n' ' ')"
end_job "$SERVER"
wait_for 10 detached echo

# A server that dies with a few while others wait: those few end, nobody is served twice.
for i in $(seq 11 40); do
	asks "$i"
	wait_for 10 are_waiting $((i - 10))
done
serve echo --hold=110 --max=1 --inetd -- sleep 100
wait_for 10 served echo
sleep 0.5
end_job "$SERVER"
t_ok "a_server_dies_while_they_wait" wait_for 10 detached echo
left=$(waiting)
t_ok "most_of_them_still_wait" test "$left" -ge 10
: >"$TMP/order"
t_ok "the_next_one_comes" one_by_one --hold=110
t_ok "and_answers_who_is_left" wait_for 30 grep -q 40 "$TMP/answer-40"
t_is "once_and_in_order" "$(seq $((41 - left)) 40 | tr '\n' ' ')" "$(tr '\n' ' ' <"$TMP/order")"
end_job "$SERVER"
wait_for 10 detached echo

# One who opens connections in a loop has what its session may have in flight, and no more of the room.
mkdir "$CAPFS/sessions/bad"
say 'to=bad as=echo' "$cap/echo/grant"
say "to=bad as=two conns=2" "$cap/echo/grant"
bad=$CAPFS/sessions/bad
per_session=$(($(quota inflight limit "$bad/quota") / 2))
job timeout 60 "$PROBE" flood "$bad/caps/two/socket" 20 50 >"$TMP/flood2"
both_wait() {
	grep -q '^conns limit=2 used=2 ' "$bad/caps/two/info"
}
wait_for 10 both_wait
job timeout 60 "$PROBE" flood "$bad/caps/echo/socket" 200 50 >"$TMP/flood1"
sleep 2
t_ok "P01_a_flooder_gets_no_more_than_its_session_has" test "$(waiting)" -le "$per_session"
t_like "P01_its_limits_count_while_it_waits" '^conns limit=2 used=2 ' cat "$bad/caps/two/info"
crowd=$(waiting)
asks 50
t_ok "P01_another_one_waits_beside_it" wait_for 5 are_waiting $((crowd + 1))
rmdir "$bad/caps/echo" "$bad/caps/two"
t_ok "P01_dropped_nobody_of_it_waits" wait_for 5 are_waiting 1
t_ok "the_last_server" one_by_one
t_ok "P01_and_is_answered" wait_for 10 grep -q 50 "$TMP/answer-50"
end_job "$SERVER"
t_ok "detached_for_good" wait_for 10 detached echo
t_fails ECONNREFUSED "a_server_that_did_not_say_so_is_not_waited_for" ask "$cap/echo" x

# The kernel has the socket's name from before, and nobody has asked for it under the one in between.
serve again --hold=10 --inetd -- /bin/cat
t_like "one_who_may_have_them_wait" '^x$' ask "$cap/again" x
end_job "$SERVER"
t_ok "detached_they_may_wait" wait_for 10 detached again
serve again --inetd -- /bin/cat
end_job "$SERVER"
t_ok "detached_they_may_not" wait_for 10 detached again
serve again --hold=10 --inetd -- /bin/cat
t_like "G14_the_third_is_reached" '^x$' ask "$cap/again" x
end_job "$SERVER"

harness_stop
t_done
