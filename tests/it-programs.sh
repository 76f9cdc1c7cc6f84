#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Programs, with all of the daemon's processes: what they are given, how they end, who sees it, what they are
# confined to, and what goes on when the daemon's processes are killed.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300

OWNER=$(id -u) GROUP=$(id -g)
if is_root; then OWNER=12345 GROUP=12345; fi
app=$CAPFS/sessions/app

session() { # NAME [QUOTA]
	mkdir "$CAPFS/sessions/$1"
	say "to=$1 ${2:-threads=20 ram=64K}" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$GROUP" "$CAPFS/sessions/$1"; fi
}
run() { # OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run --session=app "$@"
}
run_badly() {
	! run -- "$@" 2>&1
}
field() { # NAME KEY: of the program's info
	sed -n "s/^$2=//p" "$app/threads/$1/info" 2>/dev/null
}
threads() {
	sed -n 's/^threads limit=[0-9]* used=\([0-9]*\) .*/\1/p' "$app/quota"
}
no_programs() {
	[ -z "$(ls "$app/threads")" ]
}
no_threads() {
	[ "$(threads)" = 0 ] && no_programs
}
runs() { # THREAD
	[ "$(field "$1" state)" = running ]
}
has_event() { # TEXT
	grep -q "$1" "$CAPFS/events"
}
parent() { # PID
	awk '/^PPid:/ { print $2 }' "/proc/$1/status"
}
kill_broker() {
	harness_pids
	kill -9 "$BROKER"
	wait_for 10 another_broker "$BROKER"
}
is_gone() { # PID: or only waits for its parent to look
	[ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

session app
t_is "S17_a_program_has_what_it_was_given" "0 1 2" \
	"$(run -- /bin/sh -c 'for i in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && echo $i; done' </dev/null | xargs)"
t_is "and_what_is_named" "3 log:more" \
	"$(run --fd=log=5 --fd=more=6 -- /bin/sh -c 'read -r x <&4; echo $x $LISTEN_FDNAMES' 5</dev/null 6<<<3 </dev/null)"
t_is "S27_from_outside_one_sees_what_is_what" "0 stdin,1 stdout,2 stderr,3 log," \
	"$(id=$("$CAP" --cap="$CAPFS" run --session=app --detach --fd=log=5 -- /bin/sleep 1000 5</dev/null)
	tr '\n' , <"$app/threads/$id/fds"
	say kill "$app/threads/$id/ctl")"
t_is "it_runs_as_the_sessions_owner" "$OWNER" "$(run -- /usr/bin/id -u)"
run -- /bin/sh -c 'exit 7'
t_is "its_status_is_told" 7 $?
run -- /bin/sh -c 'kill -SEGV $$'
t_is "and_its_signal" 139 $?
t_ok "G10_its_end_is_an_event" grep -q ' fault session=init/app thread=[0-9.]* pid=[0-9]* .*signal=SEGV' "$CAPFS/events"
t_ok "of_all_sessions_above" grep -q 'signal=SEGV' "$app/events"
t_fails ENOENT "C04_what_is_not_there" run -- /no/such
t_like "is_told_with_its_step" 'step exec: ENOENT' run_badly /no/such
printf 'no program' >"$TMP/text"
chmod 755 "$TMP" "$TMP/text"
t_fails ENOEXEC "C04_what_is_none" run -- "$TMP/text"
chmod 644 "$TMP/text"
t_fails EACCES "C04_what_may_not_be_executed" run -- "$TMP/text"
t_fails EISDIR "P08_a_directory_is_not_given" run --fd=dir=5 -- /bin/true 5</
t_ok "nothing_is_left_of_any" wait_for 10 no_programs
t_ok "G63_nor_of_the_sessions_own_process_later" wait_for 15 no_threads

for n in 0 1 2 3 253 506; do
	t_is "C04_a_program_by_its_descriptor_behind_$n" "true:$n" \
		"$("$(program tests/exec-fd)" "$CAPFS" app $n /bin/true /bin/false)"
done

# --- while the daemon's processes die ---

id=$(run --detach -- /bin/sleep 1000)
pid=$(field "$id" pid)
t_ok "a_detached_program_runs" runs "$id"
kill_broker
t_ok "G10_kill_9_of_the_broker_leaves_it_running" runs "$id"
t_is "as_the_same_process" "$pid" "$(field "$id" pid)"
mkfifo "$TMP/word"
run -- /bin/sh -c 'read -r x; exit $x' <"$TMP/word" &
waiter=$!
exec 7>"$TMP/word"
there_are() { [ "$(ls "$app/threads" | wc -l)" = "$1" ]; }
t_ok "another_one_is_waited_for" wait_for 10 there_are 2
kill_broker
echo 5 >&7
exec 7>&-
wait $waiter
t_is "who_waits_is_told_by_the_next_broker" 5 $?
harness_pids
# One that ends while no broker is there.
kill -STOP "$HOLDER"
kill -9 "$BROKER" "$pid"
kill -CONT "$HOLDER"
t_ok "G65_an_end_that_nobody_saw_is_told" wait_for 10 has_event "fault session=init/app thread=$id pid=$pid .*signal=KILL"

id=$(run --detach -- /bin/sleep 1000)
pid=$(field "$id" pid)
init=$(parent "$pid")
spawner=$(parent "$init")
t_is "the_session_has_an_init" "capfs-init sessions/app" "$(tr '\0' ' ' <"/proc/$init/cmdline" | sed 's/ *$//')"
kill -9 "$spawner"
t_ok "kill_9_of_the_spawner_leaves_it_running" runs "$id"
run -- /bin/true
t_is "and_its_session_starts_more" 0 $?
session other
t_is "others_too_by_the_next_one" 3 "$(
	"$CAP" --cap="$CAPFS" run --session=other -- /bin/sh -c 'exit 3'
	echo $?
)"
kill -9 "$init"
t_ok "kill_9_of_the_init_ends_its_programs" wait_for 10 is_gone "$pid"
t_ok "and_is_told" wait_for 10 has_event "thread=$id .*ECONNRESET"
run -- /bin/true
t_is "another_init_comes" 0 $?

id=$(run --detach -- /bin/sleep 1000)
pid=$(field "$id" pid)
harness_pids
kill -HUP "$KEEPER"
t_ok "an_upgrade" wait_for 20 another_broker "$BROKER"
t_ok "leaves_it_running" runs "$id"
run -- /bin/true
t_is "and_more_can_be_started" 0 $?
harness_pids
kill -9 "$HOLDER"
t_ok "kill_9_of_the_holder_ends_all" wait_for 20 is_gone "$pid"
t_ok "and_another_one_comes" wait_for 20 another_broker "$BROKER"
t_ok "which_knows_of_none" wait_for 10 no_programs
run -- /bin/true
t_is "and_starts_more" 0 $?

# --- control ---

id=$(run --detach -- /bin/sleep 1000)
pid=$(field "$id" pid)
ctl=$app/threads/$id/ctl
stopped() { grep -q '^State:.T' "/proc/$pid/status"; }
moves() { ! stopped; }
say pause "$ctl"
t_ok "G64_pause" wait_for 5 stopped
t_is "is_shown" paused "$(field "$id" state)"
say resume "$ctl"
t_ok "G64_resume" wait_for 5 moves
say affinity=0 "$ctl"
t_ok "G64_affinity" wait_for 5 grep -q '^Cpus_allowed_list:.0$' "/proc/$pid/status"
t_fails EINVAL "G64_nonsense" say run "$ctl"
say signal=15 "$ctl"
t_ok "G64_a_signal" wait_for 10 has_event "fault .*thread=$id .*signal=TERM"
t_fails ENOENT "it_is_gone" cat "$app/threads/$id/info"

# --- the end of a session ---

session leaves
app=$CAPFS/sessions/leaves
leaving() { "$CAP" --cap="$CAPFS" run --session=leaves "$@"; }
# One that puts another one into a session of its own, as daemons do.
leaving -- /bin/sh -c 'setsid sh -c "echo \$\$; exec sleep 1000" & sleep 0' >"$TMP/double"
wait_for 10 test -s "$TMP/double"
double=$(cat "$TMP/double")
id=$(leaving --detach -- /bin/sleep 1000)
pid=$(field "$id" pid)
t_ok "a_double_forked_process_is_there" test -e "/proc/$double"
t_ok "G62_a_session_with_programs_is_closed" rmdir "$app"
t_ok "G62_they_have_ended" is_gone "$pid"
t_ok "G62_and_what_they_left" is_gone "$double"
t_fails ENOENT "and_it_is_gone" ls "$app"
app=$CAPFS/sessions/app

# --- what is paid for ---

session small threads=2
limit=$(sed -n 's/^threads limit=\([0-9]*\) .*/\1/p' "$CAPFS/sessions/small/quota")
for ((i = 1; i < limit; i++)); do
	"$CAP" --cap="$CAPFS" run --session=small --detach -- /bin/sleep 1000 >/dev/null
done
t_fails EDQUOT "Z80_G63_no_more_than_its_quota" "$CAP" --cap="$CAPFS" run --session=small -- /bin/true
t_ok "and_they_end_with_it" rmdir "$CAPFS/sessions/small"

# --- confinement ---

session box
if say "ro=/usr,/bin,/lib,/lib64 rlimits=nofile:64,core:0" "$CAPFS/sessions/box/confine"; then
	box() { "$CAP" --cap="$CAPFS" run --session=box --clear-env -- /bin/sh -c "$1"; }
	t_is "it_sees_a_root_of_its_own" "bin cap dev lib lib64 proc sbin tmp usr" \
		"$(box 'ls /' | grep -vx lib32 | xargs)"
	t_is "its_session_is_cap" "init/box" "$(box 'cat /cap/label')"
	t_is "and_nothing_above_it" "" "$(box 'ls /cap/sessions /cap/../sessions 2>/dev/null | grep app')"
	t_is "no_process_but_its_own" "1" "$(box 'cat /proc/1/comm' | grep -c capfs-init)"
	t_is "no_network" "lo:" "$(box 'tail -n +3 /proc/net/dev' | awk '{ print $1 }' | xargs)"
	t_is "no_capability" "0000000000000000" "$(box 'sed -n "s/^CapBnd:.//p" /proc/self/status')"
	t_is "a_limit" 64 "$(box 'ulimit -n')"
	t_is "it_writes_nowhere_but_in_tmp" "yes" "$(box 'echo x >/tmp/x && ! echo x >/usr/x && ! echo x >/x && echo yes' 2>/dev/null)"
	t_is "it_cannot_unmount_cap" "no" "$(box 'umount /cap 2>/dev/null && echo yes || echo no')"
	# A session below it, for which a program has put a link where it may write.
	mkdir -p "$TMP/work" "$TMP/secret"
	if is_root; then chown "$OWNER:$GROUP" "$TMP/work"; fi
	ln -s "$TMP/secret" "$TMP/work/link"
	if is_root; then chown -h "$OWNER:$GROUP" "$TMP/work/link"; fi
	session trap
	say "ro=/usr,/bin,/lib,/lib64 rw=$TMP/work/link" "$CAPFS/sessions/trap/confine"
	t_fails ELOOP "nobody_binds_what_another_ones_link_leads_to" "$CAP" --cap="$CAPFS" run --session=trap -- /bin/true
	# Also where he may write no more, in a directory that is his.
	mkdir "$TMP/work/x"
	ln -s "$TMP/secret" "$TMP/work/x/keep"
	session his
	say "ro=/usr,/bin,/lib,/lib64 rw=$TMP/work/x/keep" "$CAPFS/sessions/his/confine"
	if is_root; then
		chown "$OWNER:0" "$TMP/work/x"
		chown -h "$OWNER:0" "$TMP/work/x/keep"
	fi
	chmod 555 "$TMP/work/x"
	t_fails ELOOP "nor_what_the_owner_of_a_directory_has_put_there" "$CAP" --cap="$CAPFS" run --session=his -- /bin/true
	chmod 755 "$TMP/work/x"
	id=$("$CAP" --cap="$CAPFS" run --session=box --detach -- /bin/sleep 1000)
	t_fails EBUSY "Z81_a_confinement_stays_while_programs_run" say net=none "$CAPFS/sessions/box/confine"
	if is_root; then
		t_fails EBUSY "Z81_and_so_does_its_owner" chown 54321 "$CAPFS/sessions/box"
		t_fails EPERM "nobody_but_root_names_another_user" as "$OWNER" bash -c \
			"echo uid=33 >$CAPFS/sessions/other/confine"
	fi
	say kill "$CAPFS/sessions/box/threads/$id/ctl"
	app=$CAPFS/sessions/box
	t_ok "and_some_seconds_longer" wait_for 15 no_threads
	t_fails EPERM "it_is_never_looser" say rw=/usr "$CAPFS/sessions/box/confine"
	t_ok "it_may_be_tighter" say ro=/usr "$CAPFS/sessions/box/confine"
fi

harness_stop
t_done
