#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S08 G10 G60 G61
#
# Programs that end as they should not, in sessions at any depth: all sessions above read of it, follow it and are
# woken by it, whatever else happens and whoever of the daemon dies; who is to do something about it can.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300

OWNER=$(id -u) GROUP=$(id -g)
if is_root; then OWNER=12345 GROUP=12345; fi
app=$CAPFS/sessions/app
deep=$app/sessions/deep
faults=$CAPFS/faults

own() { # DIRECTORY: its programs are no root's
	if is_root; then chown "$OWNER:$GROUP" "$1"; fi
}
run() { # SESSION OPTION… -- PROGRAM ARGUMENT…
	local session=$1
	shift
	"$CAP" --cap="$CAPFS" run --session="$session" "$@"
}
has() { # REGEX [FILE]
	grep -Eq -- "$1" "${2:-$faults}"
}
no_programs() { # DIRECTORY
	[ -z "$(ls "$1/threads")" ]
}
mkdir "$app"
say 'to=app threads=40 ram=512K caps=64 sockets=64' "$CAPFS/transfer_quota"
mkdir "$deep"
say 'to=deep threads=10 ram=128K' "$app/transfer_quota"
own "$deep"
own "$app"

# --- what is one, and who sees it ---------------------------------------------------------------

t_is "there_are_none" "" "$(cat "$faults")"
run app/deep -- /bin/true
t_is "a_good_end_is_none" "" "$(cat "$faults")"
run app/deep --name=bad -- /bin/sh -c 'exit 3'
t_like "S08_the_session_sees_it" ' fault session=init/app/deep thread=[0-9.]+ pid=[0-9]+ name=bad code=3$' \
	cat "$deep/faults"
line=$(cat "$deep/faults")
t_is "S08_and_its_parent" "$line" "$(cat "$app/faults")"
t_is "S08_and_the_parent_of_that" "$line" "$(cat "$faults")"
t_is "it_is_the_event" "$line" "$(grep -F "$(cut -d' ' -f2 <<<"$line") " "$CAPFS/events")"
t_is "capctl_prints_it" "$line" "$("$CAP" --cap="$CAPFS" faults --session=app)"
mkdir "$CAPFS/sessions/other"
t_is "S08_nobody_beside_it_does" "" "$(cat "$CAPFS/sessions/other/faults")"
run app -- /bin/sh -c 'kill -SEGV $$'
t_ok "G10_a_signal" has ' fault session=init/app thread=[0-9.]+ pid=[0-9]+ signal=SEGV core=(no|yes)$'
run app -- /no/such 2>/dev/null
t_is "who_asked_for_a_start_that_failed_knows" 2 "$(wc -l <"$faults")"

id=$(run app --detach -- /bin/sleep 1000)
init=$(awk '/^PPid:/ { print $2 }' "/proc/$(sed -n 's/^pid=//p' "$app/threads/$id/info")/status")
kill -9 "$init"
t_ok "S08_of_the_dead_inits_programs_the_end_is_not_known" wait_for 10 has " thread=$id .* errno=ECONNRESET\$"
t_ok "and_they_are_gone" wait_for 10 no_programs "$app"

# --- who follows --------------------------------------------------------------------------------

t_is "tail_finds_the_last_lines" "$(tail -n 2 <(cat "$faults"))" "$(tail -n 2 "$faults")"
job tail -n 0 -f "$faults" >"$TMP/followed"
job "$CAP" --cap="$CAPFS" faults -f >"$TMP/asked"
wait_for 20 has ECONNRESET "$TMP/asked"
"$PROBE" poll "$faults" 60 >"$TMP/polled" &
poller=$!
HARNESS_JOBS+=("$poller")
wait_for 20 grep -q waits "$TMP/polled"
for ((i = 0; i < 40; i++)); do say "x$i" "$app/transfer_quota"; done 2>/dev/null
t_ok "who_polls_is_not_woken_by_other_events" kill -0 "$poller"
run app -- /bin/sh -c 'exit 4'
t_ok "who_polls_is_woken" wait "$poller"
t_ok "who_follows_sees_it" wait_for 20 has ' code=4$' "$TMP/followed"
t_is "and_nothing_else" 1 "$(wc -l <"$TMP/followed")"
t_ok "and_so_does_capctl" wait_for 20 has ' code=4$' "$TMP/asked"

# --- whatever else happens ----------------------------------------------------------------------

cp "$faults" "$TMP/before"
for ((i = 0; i < 1500; i++)); do say "y$i" "$app/transfer_quota"; done 2>/dev/null
t_ok "P23_a_flood_pushes_none_out" cmp "$TMP/before" "$app/faults"
harness_pids
kill -9 "$BROKER"
wait_for 20 another_broker "$BROKER"
t_ok "a_death_of_the_broker_takes_none" cmp "$TMP/before" "$faults"
run app -- /bin/sh -c 'exit 5'
t_ok "who_follows_goes_on" wait_for 20 has ' code=5$' "$TMP/followed"
t_is "with_that_alone" 2 "$(wc -l <"$TMP/followed")"
t_ok "capctl_too" wait_for 20 has ' code=5$' "$TMP/asked"
t_is "with_that_alone" "$(cat "$faults")" "$(cat "$TMP/asked")"
# A fault that only the next broker can tell.
id=$(run app --detach -- /bin/sleep 1000)
pid=$(sed -n 's/^pid=//p' "$app/threads/$id/info")
harness_pids
kill -STOP "$HOLDER"
kill -9 "$BROKER" "$pid"
kill -CONT "$HOLDER"
t_ok "S08_one_while_there_is_no_broker" wait_for 20 has "thread=$id pid=$pid .*signal=KILL"

# --- what is done about it ----------------------------------------------------------------------

# By what the thread has itself: who looks at the session is told, and when it will run again.
cp /bin/false "$TMP/false"
chmod 755 "$TMP" "$TMP/false"
id=$(run app --detach --restart=always -- "$TMP/false")
t_ok "G61_it_runs_again_by_itself" wait_for 20 has "thread=$id .* code=1 restart_msec=[0-9]+\$"
runs_again() { [ "$(grep -c "thread=$id .* code=1 restart_msec=" "$faults")" -ge 2 ]; }
t_ok "G61_and_again" wait_for 20 runs_again
chmod 0 "$TMP/false"
t_ok "one_that_cannot_be_restarted" wait_for 30 has "thread=$id .* step=exec errno=EACCES restart_msec=[0-9]+\$"
say kill "$app/threads/$id/ctl"
t_ok "is_given_up" wait_for 20 no_programs "$app"
# By who waits for the thread: it is told, and so are those who look at the session.
run app --name=awaited -- /bin/sh -c 'kill -ABRT $$'
t_is "G61_who_waits_for_a_thread_is_told" 134 $?
t_ok "G61_and_so_is_the_session" has ' name=awaited signal=ABRT core=(no|yes)$' "$app/faults"

# By the parent, which looks at its own file alone.
again() { # N
	local id line child=$CAPFS/sessions/child
	mkdir "$child" && say 'to=child threads=4 ram=32K' "$CAPFS/transfer_quota" && own "$child" || return 1
	run child --detach -- /bin/sleep 1000 >/dev/null || return 1
	: >"$TMP/polled" # what it said the last time is no word of this one
	"$PROBE" poll "$faults" 60 >"$TMP/polled" &
	poller=$!
	HARNESS_JOBS+=("$poller")
	wait_for 20 grep -q waits "$TMP/polled" || return 1
	id=$(run child --detach -- /bin/sh -c 'kill -SEGV $$') || return 1
	wait "$poller" || { echo "it was not woken" >&2 && return 1; }
	line=$(tail -n 1 "$faults")
	[[ $line == *" session=init/child thread=$id "*signal=SEGV* ]] ||
		{ echo "after $id: $line" >&2 && return 1; }
	# What ends with its session is no fault.
	rmdir "$child"
}
n=$(wc -l <"$faults")
for ((i = 1; i <= 6; i++)); do
	t_ok "G60_removed_and_made_again_$i" again
done
t_is "G60_six_faults" $((n + 6)) "$(wc -l <"$faults")"
t_ok "what_was_ended_with_its_session_is_an_event" has ' exit session=init/child .*signal=KILL core=no$' \
	"$CAPFS/events"

harness_stop
t_done
