#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P38
# Time: 200
#
# Caveats only add, along every derivation, and reach the server: over files, the control protocol and capctl,
# with the broker killed in between, after a restart of everything; and no server gets a connection without.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
LIMITED=$(program tests/limited)
options=(--quota=caps=512,sockets=256 --state-dir="$TMP/state")
mkdir -m 700 "$TMP/state"
if is_root; then chown capfs: "$TMP/state" 2>/dev/null || chown "$(harness_user)" "$TMP/state"; fi
harness_start "${options[@]}"
limited() { # NAME WORD…
	job "$LIMITED" "$@"
	SERVER=$!
	wait_for 10 served "$1"
}
# What its server is told of who connects there.
told() { # SLOT
	timeout 60 "$PROBE" inherit "$1/socket" sh -c 'head -n 1 <&3' 2>&1
}
# What comes of a call.
called() { # SLOT TEXT
	(
		exec 3<>"$1/call" && printf '%s' "$2" >&3 && cat <&3
	)
}
told_is() { # SLOT TEXT
	[ "$(told "$1")" = "$2" ]
}
# Connects to SLOT, and stays: the first line goes to FILE, and its end is one more.
stay() { # SLOT FILE
	job "$PROBE" inherit "$1/socket" sh -c 'cat <&3 >"$0"; echo end >>"$0"' "$2"
	wait_for 10 grep -q . "$2"
}
limited docker caveats=yes hold=8
DOCKER=$SERVER
"$CAP" session create app caps=64 sockets=32 >/dev/null
"$CAP" session create app/inner caps=16 sockets=8 >/dev/null
app=$CAPFS/sessions/app
inner=$app/sessions/inner
slot=$CAPFS/caps/docker

# --- each derivation

t_like "the_entrypoint_says_that_it_asks" 'caveats=yes' cat "$CAPFS/entrypoints/docker/info"
t_like "the_usage_has_it" ' \[only=TEXT\]\.\.\. ' cat "$slot/grant"
t_is "nothing_at_first" "" "$(told "$slot")"
t_ok "a_grant_with_two" say 'to=app rights=call,grant,replicate,reduce,transfer only="GET /containers/**" only="GET /images/json"' "$slot/grant"
own='0:GET /containers/**,0:GET /images/json'
t_is "P38_the_server_is_told" "$own" "$(told "$app/caps/docker")"
t_is "P38_a_replica_has_them_and_its_own" "$own,1:GET **" \
	"$(say 'as=twin only="GET **"' "$app/caps/docker/replicate" && told "$app/caps/twin")"
t_is "P38_a_grant_has_them_and_its_own" "$own,1:GET /images/json" \
	"$("$CAP" grant app:docker inner as=deep rights=call,grant,transfer only='GET /images/json' >/dev/null && told "$inner/caps/deep")"
t_is "P38_what_is_moved_keeps_them" "$own,1:GET **" \
	"$("$CAP" replicate app:docker moving rights=call,transfer 'only=GET **' >/dev/null &&
		say 'to=inner as=moved' "$app/caps/moving/transfer" && told "$inner/caps/moved")"
t_is "P38_what_is_renamed_keeps_them" "$own,1:GET **" \
	"$(mv "$inner/caps/moved" "$inner/caps/renamed" && told "$inner/caps/renamed")"
t_is "P38_a_reduction_adds_one" "$own,1:GET **,2:x y" \
	"$("$CAP" reduce app:twin 'only=x y' >/dev/null && told "$app/caps/twin")"
t_is "P38_quotes_are_kept" 'say "\"' \
	"$("$CAP" replicate app:docker quoted 'only=say "\"' >/dev/null && told "$app/caps/quoted" | sed 's/.*1://')"
t_is "P38_an_adjustment_keeps_them" "$own" \
	"$(say 'to=app conns=5' "$slot/adjust" && told "$app/caps/docker")"
t_is "a_call_is_told_as_well" "GET /a" \
	"$(say 'to=app only="GET **"' "$CAPFS/caps/docker-calls/grant" && called "$app/caps/docker-calls" 'GET /a')"
t_fails EACCES "P38_and_refuses_what_is_outside" called "$app/caps/docker-calls" 'PUT /a'

# --- a program's own

user=()
if is_root; then user=(--uid=12345:12345); fi
job "$CAP" run --new=box "${user[@]}" --cap='docker=images,only="GET /a, b",conns=3,only=x' -- /bin/sleep 300
box_job=$! box=$CAPFS/sessions/box
t_ok "P38_a_program_is_given_some" wait_for 20 test -e "$box/caps/images/info"
t_is "P38_its_server_is_told" '0:GET /a, b,0:x' "$(told "$box/caps/images")"
t_like "with_its_other_limits" 'conns limit=3 ' cat "$box/caps/images/info"
end_job "$box_job"

# --- what is shown

t_is "info_has_its_own" 'only="GET /containers/**" only="GET /images/json"' "$(tail -n 1 "$app/caps/docker/info")"
t_is "and_what_it_inherits" 'inherited only="GET /containers/**" only="GET /images/json"
only="GET /images/json"' "$(tail -n 2 "$inner/caps/deep/info")"
t_like "holders_has_groups_of_each" 'caps/twin .* only="GET \*\*" & only="x y"$' cat "$slot/holders"
t_like "a_grant_is_an_event_with_them" ' grant .*slot=docker .*only="GET /containers/\*\*"' cat "$app/events"
t_like "a_reduction_is_one" ' reduce .*slot=twin .*only="x y"' cat "$app/events"

# --- what is refused

t_fails EINVAL "quotes_without_end" say 'to=app only="GET' "$slot/grant"
t_fails EINVAL "an_empty_one" say 'to=app only=""' "$slot/grant"
t_fails EINVAL "other_values_in_quotes" say 'to=app as="x"' "$slot/grant"
t_fails EINVAL "other_keys_twice" say 'to=app as=x as=y' "$slot/grant"
t_fails EINVAL "more_than_240_bytes" say "to=app only=$(printf '%241s' | tr ' ' x)" "$slot/grant"
t_fails EMLINK "more_than_16" say "to=app$(printf ' only=%s' {1..17})" "$slot/grant"
t_fails EINVAL "a_transfer_takes_none" say 'to=inner only=x' "$app/caps/docker/transfer"
limited plain
t_fails EOPNOTSUPP "P38_a_service_that_does_not_ask" say 'to=app only=x' "$CAPFS/caps/plain/grant"
t_unlike "whose_usage_has_none" 'only=' cat "$CAPFS/caps/plain/grant"
t_fails EOPNOTSUPP "nobody_could_tell_with_mode_listen" "$LIMITED" listening mode=listen caveats=yes

# --- in place, while it is used

stay "$app/caps/docker" "$TMP/above"
stay "$inner/caps/deep" "$TMP/deep"
stay "$slot" "$TMP/source"
t_ok "one_is_added_in_place" say 'only="GET /c*/**"' "$app/caps/docker/reduce"
t_ok "P38_its_connections_end" wait_for 10 grep -q end "$TMP/above"
t_ok "P38_and_those_of_what_was_derived" wait_for 10 grep -q end "$TMP/deep"
t_unlike "others_go_on" end cat "$TMP/source"
own="$own,1:GET /c*/**"
t_is "P38_the_next_is_told" "$own" "$(told "$app/caps/docker")"
t_is "P38_below_as_well" "$own,2:GET /images/json" "$(told "$inner/caps/deep")"

# --- the broker dies

n=0
for i in {1..12}; do
	harness_pids
	(
		sleep "0.00$((i % 10))"
		kill -9 "$BROKER"
	) 2>/dev/null &
	say "as=k$i only=\"try $i\"" "$app/caps/docker/replicate" || n=$((n + 100))
	wait $!
	wait_for 30 another_broker "$BROKER" || n=$((n + 1000))
	told_is "$app/caps/k$i" "$own,2:try $i" && n=$((n + 1))
done
t_is "P38_all_there_after_each_kill" 12 $n
n=0
for i in {1..12}; do
	rm -f "$TMP/kept"
	stay "$app/caps/k$i" "$TMP/kept"
	harness_pids
	(
		sleep "0.00$((i % 10))"
		kill -9 "$BROKER"
	) 2>/dev/null &
	say "only=again" "$app/caps/k$i/reduce" || n=$((n + 100))
	wait $!
	wait_for 30 another_broker "$BROKER" || n=$((n + 1000))
	told_is "$app/caps/k$i" "$own,2:try $i,3:again" && wait_for 10 grep -q end "$TMP/kept" && n=$((n + 1))
done
t_is "P38_and_none_lives_with_fewer" 12 $n

# --- other servers

end_job "$SERVER"
end_job "$DOCKER"
wait_for 10 detached docker
job sh -c 'exec 3>&-; exec "$@"' sh "$PROBE" inherit "$inner/caps/deep/socket" sh -c 'cat <&3 >"$0"; echo end >>"$0"' "$TMP/waited"
t_ok "who_calls_waits" wait_for 10 grep -q 'waiting=1' "$CAPFS/entrypoints/docker/info"
limited docker hold=8
t_ok "P38_and_is_not_given_to_who_did_not_ask" wait_for 10 grep -q '^end' "$TMP/waited"
t_is "P38_nobody_is" "" "$(told "$app/caps/docker")"
t_like "which_is_told" 'ECONNREFUSED: its server does not ask for caveats' cat "$app/events"
t_fails ECONNREFUSED "and_to_who_asks_the_daemon" called "$app/caps/docker-calls" 'GET /a'
t_is "others_can" "" "$(told "$slot")"
t_fails EOPNOTSUPP "but_there_are_no_new_ones" say 'to=app as=z only=x' "$slot/grant"
end_job "$SERVER"
wait_for 10 detached docker
limited docker caveats=yes hold=8
t_is "P38_one_that_asks_is_told_again" "$own,2:GET /images/json" "$(told "$inner/caps/deep")"

# --- everything again

end_job "$SERVER"
wait_for 10 detached docker
harness_stop
harness_start "${options[@]}"
t_like "P38_a_restart_keeps_them" '^inherited only="GET /containers' cat "$inner/caps/deep/info"
limited docker caveats=yes
t_is "P38_and_their_server_is_told" "$own,2:GET /images/json" "$(told "$inner/caps/deep")"
ram=$(quota ram used "$app/quota")
rmdir "$app/caps/k1"
# It had two, of 1024 each, and 512; its events stay.
t_ok "P38_a_slot_that_goes_takes_its_own_along" [ $((ram - $(quota ram used "$app/quota"))) -gt 2048 ]
harness_stop
t_done
