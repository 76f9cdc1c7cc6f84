#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G60 P04 S08 P14
#
# Programs that run again when they have ended: when and when not, ever more rarely, with what they were given the
# first time; what goes on when the daemon's processes are killed, and who is told.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=1200,ram=4M

OWNER=$(id -u)
if is_root; then OWNER=12345; fi
chmod 755 "$TMP"
work=$TMP/work # where programs write
mkdir "$work"
if is_root; then chown "$OWNER:$OWNER" "$work"; fi

session() { # NAME [CONFINEMENT]
	mkdir "$CAPFS/sessions/$1"
	say "to=$1 threads=20 ram=64K" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/$1"; fi
	[ $# -lt 2 ] || say "$2" "$CAPFS/sessions/$1/confine"
	rm -rf "${TMP:?}"/work/*
	app=$CAPFS/sessions/$1 name=$1
}
run() { # OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run --session="$name" "$@"
}
start() { # POLICY WORDS-FOR-SH
	id=$(run --detach --restart="$1" -- /bin/sh -c "$2")
}
info() { # KEY
	sed -n "s/^$1=//p" "$app/threads/$id/info" 2>/dev/null
}
is() { # KEY VALUE
	[ "$(info "$1")" = "$2" ]
}
at_least() { # KEY N
	local n
	n=$(info "$1")
	[ -n "$n" ] && [ "$n" -ge "$2" ]
}
has_event() { # TEXT [FILE]
	grep -q "$1" "${2:-$CAPFS/events}"
}
is_over() {
	[ ! -e "$app/threads/$id" ]
}
no_threads() {
	grep -q '^threads limit=[0-9]* used=0 ' "$app/quota"
}
kill_it() {
	kill -"${1:-9}" "$(host_pid)"
}
# Where its namespaces are its own its number there is of no use here.
host_pid() {
	pgrep -f "^/bin/sh $work/loop"
}
# The process that keeps what the one that runs was started with.
starter() {
	pgrep -P "$(awk '/^PPid:/ { print $2 }' "/proc/$(host_pid)/status")" -x capfs-starter
}

cat >"$TMP/loop" <<-'EOF'
	#!/bin/sh
	# Says that it runs, with its number and what it reads from descriptor 3, and waits to be ended.
	read -r line <&3
	echo "$$ $line $LISTEN_PID" >>"$1/runs"
	while [ ! -e "$1/enough" ]; do sleep 0.1; done
	exit 0
EOF
chmod 755 "$TMP/loop"
runs_are() { # N
	[ "$(wc -l <"$work/runs" 2>/dev/null)" = "$1" ]
}

check() { # bare|confined CONFINEMENT…
	local kind=$1 pid
	shift

	session "$kind" "$@"
	cp "$TMP/loop" "$work/loop"
	seq 100 >"$work/lines"
	id=$(run --detach --restart=on-failure --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	t_ok "${kind}_runs" wait_for 10 runs_are 1
	t_is "with_its_policy" "on-failure 0" "$(info restart) $(info restarts)"
	kill_it
	t_ok "G60_killed_it_runs_again" wait_for 10 runs_are 2
	t_ok "and_that_is_shown" wait_for 5 is restarts 1
	kill_it TERM
	t_ok "any_signal_does" wait_for 10 runs_are 3
	t_is "it_reads_on_where_it_was" "3 LISTEN_PID" \
		"$(awk '{ n++; if ($1 != $3) bad = 1 } END { print n, bad ? "wrong" : "LISTEN_PID" }' "$work/runs")"
	t_ok "with_the_same_file" test "$(awk 'END { print $2 }' "$work/runs")" -gt 1
	t_ok "S08_the_session_is_told" has_event "fault session=init/$kind thread=$id .*signal=KILL core=no restart_msec=100" "$app/events"
	t_ok "S08_and_all_above" has_event "fault session=init/$kind thread=$id .*signal=TERM core=no restart_msec=200"

	harness_pids
	pid=$BROKER
	kill -9 "$BROKER"
	t_ok "P14_kill_9_of_the_broker" wait_for 10 another_broker "$pid"
	t_ok "leaves_it_running" is state running
	kill_it
	t_ok "P14_and_the_next_one_starts_it_again" wait_for 10 runs_are 4
	# It ends, and its time comes, while no broker is there.
	harness_pids
	pid=$BROKER
	kill -STOP "$HOLDER"
	kill -9 "$BROKER"
	kill_it
	kill -CONT "$HOLDER"
	wait_for 10 another_broker "$pid"
	t_ok "P14_also_one_that_ended_when_none_was_there" wait_for 10 runs_are 5
	# What keeps it is killed: the program is not.
	kill -9 "$(starter)"
	t_ok "kill_9_of_what_keeps_it_leaves_it" is state running
	kill_it
	t_ok "but_then_it_is_over" wait_for 10 is_over
	t_ok "as_is_said" has_event "fault session=init/$kind thread=$id .*signal=KILL core=no\$" "$app/events"

	# The same in a pause.
	rm -f "$work/runs"
	id=$(run --detach --restart=on-failure --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 runs_are 1
	pid=$(starter)
	for i in 1 2 3 4; do
		wait_for 10 runs_are $i
		kill_it
	done
	kill -9 "$pid"
	t_ok "kill_9_of_it_in_a_pause_is_noticed" wait_for 10 is_over
	t_ok "as_is_said_too" has_event "thread=$id .*\(errno=ECHILD\|signal=KILL core=no\)\$" "$app/events"

	rm -f "$work/runs"
	id=$(run --detach --restart=on-failure --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 runs_are 1
	: >"$work/enough"
	t_ok "exit_0_is_no_failure" wait_for 10 is_over
	rm -f "$work/runs"
	id=$(run --detach --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	t_ok "but_always_is_always" wait_for 10 at_least restarts 2
	say restart=no "$app/threads/$id/ctl"
	t_ok "until_it_is_told_not_to" wait_for 10 is_over
	rm -f "$work/runs" "$work/enough"
	id=$(run --detach --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 runs_are 1
	say kill "$app/threads/$id/ctl"
	t_ok "killed_by_ctl_it_is_over" wait_for 10 is_over
	t_fails ENOENT "for_good" cat "$app/threads/$id/info"
	t_is "it_ran_once" 1 "$(wc -l <"$work/runs")"
	t_ok "G63_and_nothing_is_left" wait_for 15 no_threads
	t_is "no_process" "" "$(host_pid)"

	id=$(run --detach --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 is state running
	t_ok "a_session_with_one_ends" rmdir "$app"
	t_is "with_all_of_it" "" "$(host_pid)"
}
check bare
session try
if say "ro=/usr,/bin,/lib,/lib64" "$app/confine" && run -- /bin/true; then
	check confined "ro=/usr,/bin,/lib,/lib64 rw=$work"
fi

# --- ever more rarely ---

session crash
start on-failure 'exit 3'
t_ok "P04_one_that_fails_at_once_is_tried_again" wait_for 20 at_least restarts 4
pauses() {
	sed -n "s/.*fault session=init\\/crash thread=$id .*code=3 restart_msec=\\([0-9]*\\)\$/\\1/p" "$app/events" | head -4 | xargs
}
t_is "P04_ever_more_slowly" "100 200 400 800" "$(pauses)"
t_is "and_says_so" "status=768" "$(grep '^status=' "$app/threads/$id/info")"
t_is "as_waiting" waiting "$(info state)"
t_fails "Resource temporarily unavailable" "between_two_runs_it_has_no_signals" say signal=15 "$app/threads/$id/ctl"
harness_pids
broker=$BROKER
kill -9 "$BROKER"
wait_for 10 another_broker "$broker"
restarts=$(info restarts)
t_ok "P14_a_broker_later_it_still_waits" test "${restarts:-0}" -ge 4
t_ok "and_goes_on" wait_for 20 at_least restarts $((restarts + 1))
say kill "$app/threads/$id/ctl"
t_ok "killed_while_it_waits_it_is_over" wait_for 20 is_over
t_ok "nothing_is_left_of_it" wait_for 15 no_threads

t_fails ENOENT "what_cannot_begin_is_not_tried_again" run --detach --restart=always -- /no/such
t_ok "nor_kept" wait_for 15 no_threads
# The program goes, and comes back.
cp "$TMP/loop" "$work/loop"
seq 9 >"$work/lines"
id=$(run --detach --restart=on-failure --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
wait_for 10 runs_are 1
mv "$work/loop" "$work/away"
kill_it
t_ok "one_whose_program_is_missing_is_tried_again" wait_for 10 has_event "fault .*thread=$id .*step=exec errno=ENOENT restart_msec=" "$app/events"
t_is "for_which_reason_is_shown" "step=exec errno=ENOENT" "$(grep -E '^(step|errno)=' "$app/threads/$id/info" | xargs)"
mv "$work/away" "$work/loop"
t_ok "and_runs_when_it_is_back" wait_for 20 runs_are 2
say kill "$app/threads/$id/ctl"
wait_for 20 is_over

# --- given up just when it is to run again ---

given_up() { # WORD
	rm -f "$work/runs" "$work/enough"
	id=$(run --detach --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 runs_are 1
	pid=$(starter)
	kill -STOP "$pid"
	kill_it
	wait_for 10 is state waiting
	sleep 0.5 # it is asked for, and its starter does nothing
	say "$1" "$app/threads/$id/ctl"
	t_ok "with_$1_it_is_over" wait_for 10 is_over
	t_ok "and_what_keeps_it_is_gone" wait_for 10 test ! -e "/proc/$pid"
	t_ok "without_another_run" runs_are 1
	t_ok "P14_nothing_of_it_is_left" wait_for 15 no_threads
}
cp "$TMP/loop" "$work/loop"
given_up kill
given_up restart=no

# --- no room for a process ---

as_owner() { # COMMAND…
	if is_root; then as "$OWNER" "$@"; else "$@"; fi
}
if have prlimit; then
	rm -f "$work/runs"
	id=$(run --detach --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines")
	wait_for 10 runs_are 1
	pid=$(starter)
	room=$(as_owner prlimit --pid "$pid" --nproc --output=SOFT --noheadings | xargs)
	as_owner prlimit --pid "$pid" --nproc=0:
	kill_it
	t_ok "P04_where_there_is_room_for_no_process_that_is_said" \
		wait_for 60 has_event "fault session=init/$name thread=$id .*step=fork errno=EAGAIN restart_msec="
	t_is "and_what_is_kept_stays" "waiting $pid" "$(info state) $(pgrep -f '^capfs-starter .*loop')"
	as_owner prlimit --pid "$pid" --nproc="$room:"
	t_ok "P04_for_when_there_is" wait_for 60 runs_are 2
	say kill "$app/threads/$id/ctl"
	wait_for 10 is_over
fi

# --- many of them ---

say "to=$name threads=600 ram=512K" "$CAPFS/transfer_quota"
many=0
for ((i = 0; i < 260; i++)); do
	run --detach --restart=always -- /bin/sleep 1000 >/dev/null && many=$((many + 1))
done
t_is "Z80_as_many_are_kept_as_is_paid_for" 260 "$many"
t_ok "beside_which_others_start" run -- /bin/true
for ctl in "$app"/threads/*/ctl; do say kill "$ctl"; done
t_ok "and_all_of_them_go" wait_for 30 no_threads

# --- who waits for it ---

cp "$TMP/loop" "$work/loop"
rm -f "$work/runs" "$work/enough"
run --restart=on-failure --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines" &
waiter=$!
wait_for 10 runs_are 1
kill_it
t_ok "one_that_is_waited_for_runs_again_too" wait_for 10 runs_are 2
: >"$work/enough"
wait $waiter
t_is "and_its_last_end_is_told" 0 $?
rm -f "$work/runs" "$work/enough"
setsid -w "$CAP" --cap="$CAPFS" run --session="$name" --restart=always --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines" &
waiter=$!
wait_for 10 runs_are 1
pkill -TERM -f "^$CAP.*run --session=$name --restart=always"
wait $waiter
t_is "who_ends_the_command_ends_it_for_good" 143 $?
t_is "with_one_run" 1 "$(wc -l <"$work/runs")"
rm -f "$work/runs"
setsid -w "$CAP" --cap="$CAPFS" run --session="$name" --restart=always --die-with --fd=lines=5 -- "$work/loop" "$work" 5<"$work/lines" &
waiter=$!
wait_for 10 runs_are 1
pkill -KILL -f "^$CAP.*run --session=$name --restart=always --die-with"
wait $waiter 2>/dev/null
t_ok "one_that_is_to_die_with_it_does_for_good" wait_for 10 no_threads
t_is "and_was_not_started_again" 1 "$(wc -l <"$work/runs")"

run --restart=sometimes -- /bin/true 2>/dev/null
t_is "other_words_are_refused" 2 $?
id=$(run --detach -- /bin/sleep 1000)
t_fails EOPNOTSUPP "what_was_not_kept_does_not_run_again" say restart=always "$app/threads/$id/ctl"
say kill "$app/threads/$id/ctl"

harness_stop
t_done
