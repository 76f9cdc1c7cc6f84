#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G43 S11
#
# Sockets are made on demand, at the first use, and there are more than 255 of everything.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
is_root || harness_skip "only root sees the broker's descriptors"
harness_start --quota=caps=4096,sockets=2048,inflight=1024

cap=$CAPFS/caps
fds() {
	find "/proc/$BROKER/fd" -mindepth 1 2>/dev/null | wc -l
}
fds_are() { # TEST N, as of test(1)
	test "$(fds)" "$1" "$2"
}
ask() { # SLOT_DIR TEXT
	timeout 30 "$PROBE" ask "$1/socket" "$2"
}

job "$PROBE" serve "$TMP/plain"
wait_for 10 test -S "$TMP/plain"
t_ok "a_service" serve echo --proxy="$TMP/plain"
mkdir "$CAPFS/sessions/app"
say 'to=app caps=600 ram=1M sockets=900 inflight=600' "$CAPFS/transfer_quota"
t_like "it_answers" '^x$' ask "$cap/echo" x
harness_pids
sleep 0.5

before=$(fds)
t_ok "G43_300_slots_of_one_object" timeout 60 "$(program tests/mass)" grant "$CAPFS" echo app 1 300
# Who has asked goes a moment later.
t_ok "S11_300_capabilities_cost_no_descriptor" wait_for 10 fds_are -eq "$before"
slots=("$CAPFS"/sessions/app/caps/*)
t_is "G43_all_are_there" "300 300" \
	"${#slots[@]} $(field children "$cap/echo/info")"
cat "$CAPFS"/sessions/app/caps/*/info >"$TMP/output"
ls "$CAPFS"/sessions/app/caps/* >>"$TMP/output"
t_is "S11_nor_do_names_and_texts" "$before" "$(fds)"
stat "${slots[0]}/socket" "${slots[1]}/socket" "${slots[2]}/socket" >"$TMP/output"
t_is "S11_a_socket_is_made_when_it_is_looked_up" $((before + 3)) "$(fds)"
stat "${slots[1]}/socket" >"$TMP/output"
t_is "S11_and_only_once" $((before + 3)) "$(fds)"
t_like "S11_and_it_works" '^y$' ask "${slots[3]}" y
t_ok "S11_the_fourth_is_there" wait_for 5 fds_are -eq $((before + 4))

# 300 connections through one slot, and one through each of 300.
say 'to=app as=crowded conns=280' "$cap/echo/grant"
crowded=$CAPFS/sessions/app/caps/crowded
job timeout 100 "$PROBE" flood "$crowded/socket" 280 90 >"$TMP/flood"
flood=$!
t_ok "G43_280_connections_are_counted" wait_for 20 grep -q '^conns limit=280 used=280 left=0$' "$crowded/info"
t_is "G43_the_281st_is_one_too_many" "" "$(ask "$crowded" x)"
connections() {
	field connections "$CAPFS/entrypoints/echo/info"
}
t_ok "G43_so_says_the_entrypoint" test "$(connections)" -eq 280
pids=()
for slot in "${slots[@]}"; do
	timeout 100 "$PROBE" flood "$slot/socket" 1 90 >/dev/null &
	pids+=($!)
done
HARNESS_JOBS+=("${pids[@]}")
are() {
	[ "$(connections)" -eq "$1" ]
}
t_ok "G43_one_through_each_of_300" wait_for 30 are 580
t_is "G43_references_and_connections" "301 580" "$(field children "$cap/echo/info") $(connections)"
t_like "G43_and_it_still_answers" '^z$' ask "$cap/echo" z
# Ended one by one, down to nothing, they are counted as rightly.
kill "${pids[0]}" "${pids[1]}"
t_ok "G43_two_fewer" wait_for 10 are 578
end_job "$flood"
t_ok "G43_280_fewer" wait_for 10 are 298
t_like "G43_given_back" '^conns limit=280 used=0 left=280$' cat "$crowded/info"
t_ok "G43_revoked_all_at_once" say 1 "$cap/echo/revoke"
t_ok "G43_nothing_is_left" wait_for 10 are 0
t_is "G43_of_the_slots_either" "0" "$(field children "$cap/echo/info")"
sleep 1.5
t_ok "S11_their_descriptors_are_given_back" wait_for 10 fds_are -le $((before + 1))

harness_stop
t_done
