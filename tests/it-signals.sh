#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G70 G71 G72 G73
# Time: 300
#
# Signals: counts between whoever raises and whoever waits, which the daemon keeps for both.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=1024,sockets=1024
SIGNALS=$(program tests/signals)
app=$CAPFS/sessions/app
count() { # SLOT_DIR
	sed -n 's/^count=\([0-9]*\).*/\1/p' "$1/info"
}
packet() { # PATH HEX…
	timeout 60 "$SIGNALS" packet "$@"
}
word() { # N: 8 bytes of it
	local i
	for ((i = 0; i < 64; i += 8)); do printf '%02x' $((($1 >> i) & 255)); done
}

# --- made, shown, refused

t_like "the_usage" '^as=NAME type=TYPE \[faults\] \[of=SESSION\] \[thread=ID\]$' cat "$CAPFS/originate"
t_like "one_is_made" '^slot=bell id=[0-9]+$' "$CAP" originate signal bell
bell=$CAPFS/caps/bell
t_is "and_paid" 1 "$(quota caps used "$CAPFS/quota")"
t_like "it_is_an_event" ' originate session=init slot=bell id=[0-9]+ type=signal uid=[0-9]+$' cat "$CAPFS/events"
t_is "it_says_what_it_is" "type=signal socket=seqpacket count=0 served=yes" \
	"$(sed -n -e '/^type=/p; /^socket=/p; /^count=/p' -e 's/^\(served=yes\) .*/\1/p' "$bell/info" | tr '\n' ' ' | sed 's/ $//')"
t_like "and_what_may_be_done_with_it" '^rights=raise,wait,grant,replicate,reduce,transfer$' cat "$bell/info"
t_fails EEXIST "no_second_one_of_that_name" "$CAP" originate signal bell
t_fails EINVAL "no_other_type" "$CAP" originate bell bell2
t_fails EINVAL "nor_an_object" "$CAP" originate object bell2
t_fails EINVAL "nor_an_unknown_word" "$CAP" originate signal bell2 of=x
t_fails EINVAL "nor_without_a_name" say type=signal "$CAPFS/originate"
"$CAP" session create app caps=16 sockets=16 >/dev/null
for right in raise wait; do
	t_ok "it_is_granted_to_$right" "$CAP" grant bell app as=$right rights=$right
done
t_fails EPERM "nobody_calls_it" "$CAP" grant bell app rights=call
t_fails EOPNOTSUPP "it_has_no_methods" "$CAP" grant bell app methods=1
t_fails EPERM "what_may_raise_may_not_be_made_to_wait" "$CAP" replicate app:raise more rights=wait
t_is "a_holder_is_shown" 2 "$(wc -l <"$bell/holders")"

# --- raised and waited for

t_ok "it_is_raised" "$CAP" signal raise app:raise 3
wait_for 10 eval 'test "$(count "$bell")" = 3'
t_ok "and_again" "$CAP" signal raise app:raise
t_is "what_was_raised_is_summed" 4 "$("$CAP" signal wait app:wait 30)"
t_is "and_taken" 0 "$(count "$bell")"
t_fails ETIMEDOUT "now_there_is_nothing" "$CAP" signal wait bell 0
"$CAP" signal wait bell 60 >"$TMP/waited" &
waiter=$!
HARNESS_JOBS+=("$waiter")
wait_for 10 grep -q . "$bell/info"
"$CAP" signal raise bell 7
t_ok "who_waits_is_woken" wait "$waiter"
t_is "by_what_was_raised" 7 "$(cat "$TMP/waited")"
t_fails EINVAL "none_is_no_number" "$SIGNALS" raise "$CAPFS" nothing/at/all 1
t_fails ENOENT "what_is_not_there" "$CAP" signal raise nothing
t_fails EPERM "what_may_only_be_waited_for" "$CAP" signal raise app:wait
t_is "is_not_raised" 0 "$(count "$bell")"

# --- what travels

t_is "a_bare_count" 5 "$(packet "$bell/socket" "$(word 5)" "$(word 0)" -)"
t_is "one_with_a_serial" "2 9" "$(packet "$bell/socket" "$(word 1)$(word 9)" "$(word 2)$(word 0)" -)"
t_is "a_serial_is_done_once" "3 9" \
	"$(packet "$bell/socket" "$(word 1)$(word 9)" "$(word 1)$(word 9)" "$(word 3)$(word 0)" -)"
t_is "a_reply_can_be_had_again" "2 9 2 9" "$(packet "$bell/socket" "$(word 1)$(word 9)" "$(word 2)$(word 0)" - \
	"$(word 2)$(word 0)" - | tr '\n' ' ' | sed 's/ $//')"
t_is "a_sum_stops_at_the_largest" "18446744073709551615" \
	"$(packet "$bell/socket" ffffffffffffffff "$(word 5)" "$(word 0)" -)"
for bad in 00 "$(word 1)00" "$(word 0)$(word 5)" "$(word 1)$(word 1)$(word 1)"; do
	t_is "what_is_no_packet_ends_it_${#bad}" end "$(packet "$bell/socket" "$bad" -)"
done
t_like "which_is_an_event" 'refused connect session=init slot=bell uid=[0-9]+ EBADMSG: that is no count' cat "$CAPFS/events"
t_is "who_may_only_raise_does_not_wait" end "$(packet "$app/caps/raise/socket" "$(word 0)" -)"
t_is "who_may_only_wait_does_not_raise" end "$(packet "$app/caps/wait/socket" "$(word 5)" -)"
t_like "either_is_an_event" "refused connect session=init/app slot=wait uid=[0-9]+ EPERM: it lacks right 'raise'" \
	cat "$CAPFS/events"
t_is "and_nothing_was_raised" 0 "$(count "$bell")"

# --- counted, whoever is slow and whoever dies

"$SIGNALS" sum "$CAPFS" bell 20000 >"$TMP/sum" &
waiter=$!
HARNESS_JOBS+=("$waiter")
t_ok "G70_a_fast_sender" timeout 120 "$SIGNALS" raise "$CAPFS" sessions/app/caps/raise 20000
t_ok "G70_a_lazy_receiver" wait "$waiter"
t_is "G70_none_is_lost_none_twice" 20000 "$(cat "$TMP/sum")"

"$SIGNALS" sum "$CAPFS" bell 30000 >"$TMP/sum" &
waiter=$!
HARNESS_JOBS+=("$waiter")
"$SIGNALS" raise "$CAPFS" sessions/app/caps/raise 30000 &
raiser=$!
HARNESS_JOBS+=("$raiser")
for kill in 1 2 3 4 5; do
	wait_for 10 harness_pids
	old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 another_broker "$old"
done
t_ok "P14_who_raises_goes_on_over_crashes" wait "$raiser"
t_ok "P14_who_waits_does" wait "$waiter"
t_is "P14_none_is_lost_none_twice" 30000 "$(cat "$TMP/sum")"

job "$PROBE" hold "$bell/socket" 2>/dev/null
"$SIGNALS" packet "$bell/socket" "$(word 0)" - >/dev/null &
HARNESS_JOBS+=("$!")
t_ok "G71_a_receiver_that_reads_nothing_blocks_nobody" timeout 60 "$SIGNALS" raise "$CAPFS" bell 5000

# --- ended

"$CAP" originate signal short >/dev/null
used=$(quota sockets used "$CAPFS/quota")
"$CAP" signal wait short >"$TMP/waited" 2>&1 &
waiter=$!
HARNESS_JOBS+=("$waiter")
waits() { # SLOT_DIR: its connection, and the listener's
	[ "$(quota sockets used "$CAPFS/quota")" -gt "$used" ]
}
t_ok "somebody_waits" wait_for 10 waits
"$CAP" grant short app rights=wait >/dev/null
t_ok "G72_it_is_dropped_while_it_is_used" rmdir "$CAPFS/caps/short"
t_ok "G72_who_waits_is_told" not wait "$waiter"
t_like "G72_by_an_error" 'ECONNRESET|ENOENT' cat "$TMP/waited"
t_fails ENOENT "what_was_derived_is_gone" ls "$app/caps/short"
"$CAP" originate signal short >/dev/null
"$CAP" transfer short app >/dev/null
t_ok "it_can_be_moved" "$CAP" signal raise app:short 2
t_is "and_counts_on" 2 "$("$CAP" signal wait app:short 30)"
rmdir "$app/caps/short"

"$CAP" grant bell app as=brief rights=raise expires=2 >/dev/null
t_ok "it_expires" wait_for 30 not test -e "$app/caps/brief"
t_ok "a_limit_of_connections" "$CAP" grant bell app as=one rights=wait conns=1
"$SIGNALS" packet "$app/caps/one/socket" - >/dev/null 2>&1 &
one=$!
HARNESS_JOBS+=("$one")
one_is_used() {
	grep -q '^conns limit=1 used=1' "$app/caps/one/info"
}
t_ok "is_counted" wait_for 10 one_is_used
t_like "and_kept" '^end$|EPIPE' packet "$app/caps/one/socket" "$(word 0)" -
"$CAP" revoke bell
t_ok "revocation_ends_connections" wait "$one"

# --- many

for ((i = 0; i < 200; i++)); do
	say "type=signal as=s$i" "$CAPFS/originate"
done
t_is "G73_200_of_them_in_10_rounds" done "$(timeout 240 "$SIGNALS" many "$CAPFS" 200 10)"
for ((i = 0; i < 200; i++)); do
	rmdir "$CAPFS/caps/s$i"
done

# --- over a restart

"$CAP" signal raise bell 6
wait_for 10 eval 'test "$(count "$bell")" -ge 6'
before=$(count "$bell")
old=$BROKER
upgraded() {
	answers && [ "$BROKER" != "$old" ]
}
kill -HUP "$KEEPER"
t_ok "a_reload" wait_for 60 upgraded
t_is "keeps_the_count" "$before" "$(count "$bell")"

harness_stop
t_done
