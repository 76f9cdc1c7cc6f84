#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S15 Z01 Z82
#
# A slot that appears in hundreds of sessions: by files and by capctl, used there, over the death of the broker in
# the middle of it, and gone from all of them.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=100000,ram=1G,sockets=100000,inflight=100000
: "${SESSIONS:=400}"

having() { # SLOT
	local has=("$CAPFS"/sessions/s*/caps/"$1")
	[ -e "${has[0]}" ] && echo ${#has[@]} || echo 0
}

t_ok "a_service" serve kv --inetd -- /bin/cat
t_ok "Z82_sessions" mkdir $(printf "$CAPFS/sessions/s%d\n" $(seq 1 "$SESSIONS"))
t_is "Z82_all_are_there" "$SESSIONS" "$(ls "$CAPFS/sessions" | wc -l)"
say with=children "$CAPFS/caps/kv/share"
t_is "S15_all_have_it_when_the_command_returns" "$SESSIONS" "$(having kv)"
t_like "S15_and_can_use_it" '^z$' "$PROBE" ask "$CAPFS/sessions/s7/caps/kv/socket" z
t_is "Z01_one_line_for_each" "$SESSIONS" "$(grep -c ' rights=call' "$CAPFS/caps/kv/holders")"
t_is "Z01_what_one_inherited_is_listed" kv "$(ls "$CAPFS/sessions/s7/caps")"
t_like "Z01_with_whose_it_is" '^parent=init/caps/kv id=' cat "$CAPFS/sessions/s7/caps/kv/info"
mkdir "$CAPFS/sessions/later"
t_like "S15_later" '^z$' "$PROBE" ask "$CAPFS/sessions/later/caps/kv/socket" z
"$CAP" replicate kv mail >/dev/null
harness_pids
say with=subtree "$CAPFS/caps/mail/share" &
sharer=$!
kill -9 "$BROKER"
wait "$sharer"
t_result $? "S15_a_broker_that_dies_is_no_matter"
t_is "S15_nor_is_it_for_who_gets_it" "$SESSIONS" "$(having mail)"
kill -9 "$(harness_pids; echo "$BROKER")"
wait_for 10 timeout 5 cat "$CAPFS/version"
"$CAP" share kv s7 conns=1 >/dev/null
t_is "S15_narrowed_it_is_gone_elsewhere" 1 "$(having kv)"
t_like "S15_with_less" '^conns limit=1 ' cat "$CAPFS/sessions/s7/caps/kv/info"
"$CAP" share kv none >/dev/null
t_is "S15_and_withdrawn" 0 "$(having kv)"
t_fails ENOENT "S15_connections_too" "$PROBE" ask "$CAPFS/sessions/later/caps/kv/socket" z
t_is "S15_of_the_other_nothing_is_lost" "$SESSIONS" "$(having mail)"
say with=none "$CAPFS/share"
t_is "Z01_nothing_is_left" 0 "$(grep -c . "$CAPFS/caps/mail/holders")"
harness_stop
t_done
