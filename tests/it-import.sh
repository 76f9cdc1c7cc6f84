#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S03 S06 S20 S24 G41
#
# Capabilities that came in messages become slots of the session that got them: derived, charged,
# recognised when they come again, ended with what they came from.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4000,sockets=2000
importing=$(program tests/importing)

job "$(program examples/echo-server)" echo
wait_for 10 served echo
job "$(program examples/echo-server)" other
wait_for 10 served other

# Sessions that are not related: neither is below the other.
for i in 0 1 2 3 4 5 6 7 8 9; do
	mkdir "$CAPFS/sessions/s$i"
done
a=$CAPFS/sessions/s0 b=$CAPFS/sessions/s1
say 'to=s0 as=kv rights=call,grant,replicate' "$CAPFS/caps/echo/grant"
say 'to=s0 as=closed rights=call' "$CAPFS/caps/other/grant"

id=$(field id "$a/caps/kv/info")
object=$(field object "$a/caps/kv/info")
caps=$(quota caps used "$b/quota")
t_is "S03_imported" "new kv" "$("$importing" node "$a" kv "$b")"
t_is "S03_derived_from_the_sender_s" "init/s0/caps/kv" "$(field parent "$b/caps/kv/info")"
t_is "S03_paid_for_by_the_receiver" "$((caps + 1))" "$(quota caps used "$b/quota")"
t_is "S03_not_stronger" "call,grant,replicate" "$(field rights "$b/caps/kv/info")"
t_is "S03_recognised_when_it_comes_again" "held kv" "$("$importing" node "$a" kv "$b" other)"
t_is "S03_also_one_s_own" "held kv" "$("$importing" node "$a" kv "$a")"
t_is "S03_and_what_it_was_derived_from" "held kv" "$("$importing" node "$b" kv "$a")"
t_is "S03_nothing_was_made" "$((caps + 1))" "$(quota caps used "$b/quota")"
t_is "S03_it_is_used" "init/s1: hello" "$("$(program tests/passing)" use "$b" kv hello)"
t_like "S03_the_sender_sees_it" 'init/s1/caps/kv rights=call' cat "$a/caps/kv/holders"
t_like "S03_an_event" ' import session=init/s1 slot=kv id=[0-9]+ uid=[0-9]+ from=init/s0/caps/kv' cat "$b/events"
t_is "S03_under_another_name" "new mine" "$("$importing" node "$a" kv "$CAPFS/sessions/s2" mine)"

t_like "EPERM_without_grant" 'EPERM: .*grant' "$importing" node "$a" closed "$b"
t_like "EPERM_is_an_event" 'refused import session=init/s1 id=[0-9]+ uid=[0-9]+ EPERM' cat "$b/events"
say 'to=s3 as=x rights=call' "$CAPFS/caps/echo/grant"
t_like "EEXIST_a_name_that_is_taken" EEXIST "$importing" node "$a" kv "$CAPFS/sessions/s3" x
t_like "EINVAL_no_name" EINVAL "$importing" node "$a" kv "$CAPFS/sessions/s3" 'a b'

# What is no slot's socket.
t_like "EINVAL_a_directory" EINVAL "$importing" path "$a/caps/kv" "$b"
t_like "EINVAL_a_file" EINVAL "$importing" path "$a/caps/kv/info" "$b"
t_like "EINVAL_a_control_socket" EINVAL "$importing" path "$a/control" "$b"
t_like "EINVAL_a_session" EINVAL "$importing" path "$a" "$b"
t_like "G41_a_node_of_that_name_elsewhere" '^EXDEV' "$importing" forged "$TMP" "$object.$id" "$b"
t_like "G41_a_connection_of_that_name_is_a_hint" "verified=0 object=$object badge=0x0 capability=$id " \
	"$importing" forged "$TMP" "$object.$id" "$b"

t_is "S20_identified" "verified=1 object=$object badge=$(field badge "$a/caps/kv/info") \
capability=$id rights=7 type=object owner=init slot=kv holder=init/s0 vouched=1" "$("$importing" identify "$a/caps/kv/socket" "$b")"

# Connected sockets: sent to an inspector.
for how in connected opened; do
	"$importing" $how "$a" kv "$b" >"$TMP/$how"
	t_is "S03_a_connection_is_identified_$how" "verified=1 object=$object badge=$(field badge "$a/caps/kv/info") \
capability=$id rights=7 type=object owner=init slot=kv holder=init/s0 vouched=1" "$(head -n 1 "$TMP/$how")"
	t_is "S03_and_recognised_$how" "held kv" "$(tail -n 1 "$TMP/$how")"
	t_like "S03_and_imported_$how" '^new kv' "$importing" $how "$a" kv "$CAPFS/sessions/s4"
	rmdir "$CAPFS/sessions/s4/caps/kv"
done
t_like "EPERM_without_grant_connected" '^EPERM' "$importing" opened "$a" closed "$b"

# A file that cannot be closed holds its inspector, and nobody else.
deep=$CAPFS/sessions/s8/sessions/x/sessions/y/sessions/z
mkdir "$CAPFS/sessions/s8/sessions/x" "$CAPFS/sessions/s8/sessions/x/sessions/y" "$deep"
sockets=$(quota sockets used "$deep/quota")
mkdir "$TMP/fs"
"$(program tests/hostile-fs)" "$TMP/fs" >"$TMP/flushes" &
fs=$!
HARNESS_JOBS+=("$fs")
wait_for 5 mounted "$TMP/fs"
job "$importing" hostile "$TMP/fs/file" "$deep/control" 5 >"$TMP/hostile"
harness_pids
broker=$BROKER binder=$BINDER
t_ok "S03_inspectors_are_held" wait_for 10 sh -c "[ \$(grep -c flush '$TMP/flushes') = 4 ]"
t_ok "S03_but_have_answered_before" wait_for 5 grep -q done "$TMP/hostile"
t_is "S03_they_are_few" "looked looked looked looked EBUSY done" "$(echo $(cat "$TMP/hostile"))"
t_is "S03_and_paid_for" "$((sockets + 6))" "$(quota sockets used "$deep/quota")"
t_ok "S03_the_daemon_serves" timeout 2 cat "$CAPFS/version"
kill -9 "$BROKER"
t_ok "S03_over_a_broker_s_death" wait_for 20 sh -c "timeout 2 cat '$CAPFS/version'"
job "$importing" hostile "$TMP/fs/file" "$deep/control" 1 >"$TMP/hostile.2"
t_ok "S03_the_next_answers" wait_for 20 grep -q done "$TMP/hostile.2"
t_is "S03_and_knows_of_them" "EBUSY done" "$(echo $(cat "$TMP/hostile.2"))"
harness_pids
broker=$BROKER
mkdir "$CAPFS/sessions/late"
t_ok "S03_the_binder_too" timeout 2 "$CAP" --cap="$CAPFS/sessions/late" tree
t_like "S03_others_have_theirs" '^held kv' timeout 5 "$importing" opened "$a" kv "$b"
kill -9 "$BINDER"
t_ok "S03_also_without_the_binder" wait_for 5 sh -c "'$importing' opened '$a' kv '$b' | grep -q '^held kv'"
harness_pids
binder=$BINDER
end_job "$fs"
t_ok "S03_let_go_they_end" wait_for 5 sh -c "! pgrep -P $BINDER,$KEEPER -x capfs-inspector"
t_ok "S03_and_cost_nothing_any_more" wait_for 5 sh -c \
	"[ \$(sed -n 's/^sockets .*used=\([0-9]*\).*/\1/p' '$deep/quota') -le $((sockets + 3)) ]"
harness_pids
t_is "S03_and_nobody_died_of_it" "$broker $binder" "$BROKER $BINDER"

# Revocation by the sender reaches it, wherever it is.
say "id=$(field id "$b/caps/kv/info")" "$a/caps/kv/revoke"
t_fails ENOENT "S03_revoked_by_the_sender" cat "$b/caps/kv/info"
t_is "S03_what_was_paid_is_back" "$caps" "$(quota caps used "$b/quota")"

# Around a ring of sessions, each of which passes on its own slot.
say 'to=s0 as=ring rights=call,grant' "$CAPFS/caps/other/grant"
used_before=$(cat "$CAPFS"/sessions/s?/quota | awk '/^caps/ {split($3, u, "="); n += u[2]} END {print n}')
t_is "S06_a_thousand_delegations_around_a_ring" "new=9 left=0" \
	"$("$importing" around 1000 ring "$CAPFS"/sessions/s?)"
used=$(cat "$CAPFS"/sessions/s?/quota | awk '/^caps/ {split($3, u, "="); n += u[2]} END {print n}')
t_is "S06_a_slot_each_and_no_more" 9 "$((used - used_before))"
grants() { # N
	local i
	for ((i = 0; i < $1; i++)); do
		echo "to=s9 as=g$i" >"$CAPFS/caps/echo/grant" || return 1
	done
}
say 'to=s9 caps=1100 ram=2M' "$CAPFS/transfer_quota"
t_ok "S06_a_thousand_grants" grants 1000
t_is "S06_all_of_them" 1000 "$(find "$CAPFS/sessions/s9/caps" -maxdepth 1 -name 'g*' | wc -l)"

# A server that never reads has what waits for it bounded, and only of its clients' session.
"$(program examples/echo-server)" lazy &
lazy=$!
HARNESS_JOBS+=("$lazy")
wait_for 10 served lazy
"$CAP" session create patient caps=8 sockets=32 inflight=2 ram=64K >/dev/null
say 'to=patient as=lazy' "$CAPFS/caps/lazy/grant"
say 'to=s3 as=lazy' "$CAPFS/caps/lazy/grant"
kill -STOP "$lazy"
job "$importing" hold "$CAPFS/sessions/patient" lazy 30 >"$TMP/hold"
t_ok "S06_what_waits_is_bounded" wait_for 20 grep -q '^held=1[0-9] EDQUOT as many as may wait' "$TMP/hold"
t_is "S06_what_is_in_flight_is_bounded" 2 "$(quota inflight used "$CAPFS/sessions/patient/quota")"
t_like "S06_others_are_served" '^new ' timeout 5 "$importing" node "$a" ring "$CAPFS/sessions/patient"
t_ok "S06_others_wait_for_themselves" sh -c "timeout 1 '$importing' hold '$CAPFS/sessions/s3' lazy 2 | grep -q '^held=2'"
t_ok "S24_transfer_quota_while_it_is_exhausted" say 'to=patient inflight=2' "$CAPFS/transfer_quota"
t_is "S24_moved" 4 "$(quota inflight limit "$CAPFS/sessions/patient/quota")"
kill -CONT "$lazy"
t_ok "S06_nothing_stays_in_flight" wait_for 5 sh -c "grep -q '^inflight .*used=0' '$CAPFS/sessions/patient/quota'"

# A broker that dies in between: asked again, it is made once.
caps=$(quota caps used "$CAPFS/sessions/s6/quota")
(
	for _ in 1 2 3 4 5 6 7 8; do
		harness_pids && kill -9 "$BROKER"
		sleep 0.2
	done
) 2>/dev/null &
killer=$!
HARNESS_JOBS+=("$killer")
t_like "P14_over_deaths_of_the_broker" '^new=0 left=0' \
	"$importing" around 2000 ring "$CAPFS"/sessions/s?
wait "$killer"
t_like "P14_new_ones_too" '^new=2 left=0' "$importing" around 9 kv "$a" "$CAPFS/sessions/s6" "$CAPFS/sessions/s7"
t_is "P14_made_once" "$((caps + 1))" "$(quota caps used "$CAPFS/sessions/s6/quota")"

harness_stop
t_done
