#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P23
#
# No session can push another's lines out of a log, nor forge one; each line names session and slot.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

LINE='^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z e=[0-9]+ (refused )?[a-z_]+ session=init[^ =]*( [a-z]+=[^ ]*)* ?'
events=$CAPFS/events

harness_start
serve echo --inetd -- /bin/cat
mkdir "$CAPFS/sessions/bad" "$CAPFS/sessions/good"
say to=bad "$CAPFS/caps/echo/grant"
say to=good "$CAPFS/caps/echo/grant"
bad=$CAPFS/sessions/bad good=$CAPFS/sessions/good

# --- what a line says ---------------------------------------------------------------------------

t_like "P23_a_create_names_its_session" "$LINE.*" grep ' create session=init/bad id=' "$events"
t_like "P23_a_grant_names_session_and_slot" \
	" grant session=init/bad slot=echo id=[0-9]+ uid=$(id -u) from=init/caps/echo\$" cat "$events"
say 'to=good as=brief expires=1' "$CAPFS/caps/echo/grant"
t_ok "P23_an_expiry_names_session_and_slot" wait_for 20 \
	grep -Eq ' expire session=init/good slot=brief id=[0-9]+$' "$events"
say self "$CAPFS/caps/none/revoke" 2>/dev/null
t_fails EPERM "a_refusal" mkdir "$good/caps/x"
t_like "P23_a_refusal_names_session_and_slot" \
	" refused create session=init/good slot=x uid=$(id -u) EPERM: directories" tail -n 1 "$events"

# --- again and again ----------------------------------------------------------------------------

repeat() { # N TEXT FILE
	local i
	for ((i = 0; i < $1; i++)); do
		echo "$2" >"$3"
	done 2>/dev/null
}
repeat 40 x "$bad/transfer_quota"
t_like "P23_repeated_refusals_are_one_line" \
	" refused transfer_quota session=init/bad uid=$(id -u) EINVAL: .* ×40\$" tail -n 1 "$events"
t_is "P23_and_no_more" 1 "$(grep -c ' refused transfer_quota ' "$events")"
t_is "tail_finds_the_last_lines" "$(tail -n 2 <(cat "$events"))" "$(tail -n 2 "$events")"
job tail -n 0 -f "$events" >"$TMP/followed"
job "$CAP" events -f >"$TMP/asked"
wait_for 20 grep -q ' ×40$' "$TMP/asked"
repeat 2 x "$bad/transfer_quota"
t_ok "who_follows_sees_the_count_rise" wait_for 20 grep -q ' ×42$' "$TMP/followed"
t_ok "and_so_does_capctl" wait_for 20 grep -q ' ×42$' "$TMP/asked"
polled() {
	"$PROBE" poll "$events" 20 >"$TMP/polled" &
	HARNESS_JOBS+=("$!")
	wait_for 20 grep -q waits "$TMP/polled"
	repeat 1 x "$bad/transfer_quota"
	wait "${HARNESS_JOBS[-1]}"
}
t_ok "who_polls_is_woken_by_it" polled

# --- floods -------------------------------------------------------------------------------------

flood() { # FILE: refusals that are all different
	local i
	for ((i = 0; i < 1500; i++)); do
		echo "x$i" >"$1"
	done 2>/dev/null
}
for target in transfer_quota caps/echo/grant; do
	flood "$bad/$target"
done
flood "$bad/sessions/x" # as a stranger's name it is not even a file
t_ok "P23_the_flood_is_told" grep -q 'refused .*session=init/bad .*x1499' "$events"
for what in 'create session=init/bad ' 'create session=init/good ' 'grant session=init/bad slot=echo ' \
	'grant session=init/good slot=echo ' 'expire session=init/good ' \
	'refused create session=init/good slot=x '; do
	t_ok "P23_the_others_lines_are_there: $what" grep -q "$what" "$events"
done
t_ok "P23_also_in_its_own_file" grep -q 'grant session=init/bad slot=echo ' "$bad/events"
t_ok "the_log_has_its_size" test "$(wc -l <"$events")" -le 1000
t_is "each_line_once" "$(wc -l <"$events")" "$(cut -d' ' -f2 "$events" | sort -u | wc -l)"

# --- names --------------------------------------------------------------------------------------

for name in $'a\nb' 'a session=init/good slot=echo' $'×9' $'\033[31m' 'a=b' 'a"b' 'a\x0ab' 'e=1 uid=0'; do
	mkdir "$bad/sessions/$name" "$bad/caps/$name"
	mv "$bad/caps/echo" "$bad/caps/$name"
	echo "$name to=$name as=$name" >"$bad/caps/echo/grant"
	echo "to=bad as=echo $name" >"$bad/transfer_quota"
	timeout 20 "$PROBE" ask "$bad/$name" x
done >/dev/null 2>&1
t_is "P23_every_line_is_ours" '' "$(grep -Ev "$LINE" "$events")"
t_is "P23_nobody_speaks_for_another" '' \
	"$(grep -v ' session=init/bad' "$bad/events" | grep -v '/caps/echo$')"
t_is "P23_a_field_stands_once" '' "$(grep -E ' session=.* session=| slot=.* slot=| uid=.* uid=' "$events")"
t_is "P23_a_count_stands_at_the_end" '' "$(grep -a '×' "$events" | grep -Ev ' ×[0-9]+$')"
t_is "P23_nothing_else_is_not_ascii" '' "$(sed 's/ ×[0-9]*$//' "$events" | grep '[^ -~]')"

# --- a broker's death ---------------------------------------------------------------------------

repeat 2 y "$bad/transfer_quota"
cp "$events" "$TMP/before"
kill -9 "$BROKER"
wait_for 20 grep -q '^capfs_broker_restarts_total 1$' "$CAPFS/metrics"
t_ok "P23_a_death_of_the_broker_takes_none" cmp "$TMP/before" "$events"
repeat 1 y "$bad/transfer_quota"
t_like "P23_and_the_count_goes_on" ' refused transfer_quota session=init/bad .* ×3$' tail -n 1 "$events"

harness_stop

# --- --audit ------------------------------------------------------------------------------------

rm -rf "$RUN"
harness_start --audit --log-level=err
mkdir "$CAPFS/sessions/bad"
t_ok "audit_tells_what_was_done" wait_for 20 grep -Eq 'create session=init/bad id=[0-9]+ uid=' "$TMP/log"
repeat 40 x "$CAPFS/sessions/bad/transfer_quota"
t_ok "and_what_was_refused" wait_for 20 grep -q 'refused transfer_quota session=init/bad' "$TMP/log"
# The first, and each doubling: 1, 2, 4, 8, 16, 32.
t_is "P23_repeated_refusals_are_few_entries" 6 "$(grep -c 'refused transfer_quota session=init/bad' "$TMP/log")"
flood "$CAPFS/sessions/bad/transfer_quota"
mkdir "$CAPFS/sessions/good"
t_ok "P23_a_flood_keeps_nobody_else_out" wait_for 20 grep -q 'create session=init/good' "$TMP/log"
t_ok "P23_and_has_an_end" test "$(grep -c 'refused transfer_quota session=init/bad' "$TMP/log")" -le 1500
harness_stop
t_done
