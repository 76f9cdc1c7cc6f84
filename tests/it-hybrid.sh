#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G90 S11 S07 S08
#
# Programs that capfsd has not started: their threads call over capabilities, and register themselves in a session,
# where the kernel says who they are; their ends are told as all others are, whoever of the daemon dies.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

app=$CAPFS/sessions/app
OWNER=$(id -u)
if is_root; then OWNER=12345; fi
mkdir "$app"
say 'to=app threads=6 ram=256K caps=16 sockets=32' "$CAPFS/transfer_quota"
if is_root; then chown $OWNER:$OWNER "$app"; fi
program=$(program_for_others tests/hybrid)
job "$(program tests/call-service)" calls echo
wait_for 20 served echo
say 'to=app' "$CAPFS/caps/echo/grant"

as_owner() {
	if is_root; then as "$OWNER" "$@"; else "$@"; fi
}
# Starts one, whose lines are in $TMP/said; each line that it waits for is told by go_on.
hybrid() { # WORD…
	rm -f "$TMP/word" "$TMP/said"
	mkfifo "$TMP/word"
	: >"$TMP/said"
	as_owner "$program" "$app" "$@" <"$TMP/word" >"$TMP/said" 2>&1 &
	HYBRID=$!
	HARNESS_JOBS+=("$HYBRID")
	exec 8>"$TMP/word"
}
go_on() { echo >&8; }
said() { grep -q "^$1 " "$TMP/said"; }
number() { sed -n "s/^$1 //p" "$TMP/said"; }
thread() { # NAME: its info
	grep -lx "name=$1" "$app"/threads/*/info 2>/dev/null | head -n 1
}
value() { # KEY NAME
	sed -n "s/^$1=//p" "$(thread "$2")" 2>/dev/null
}
threads() { sed -n 's/^threads limit=[0-9]* used=\([0-9]*\) .*/\1/p' "$app/quota"; }
no_threads() { [ "$(threads)" = 0 ] && [ -z "$(ls "$app/threads")" ]; }
has() { # REGEX FILE
	grep -Eq -- "$1" "$2"
}

hybrid self one 7
if ! wait_for 20 said self; then
	if grep -q 'not supported' "$TMP/said"; then harness_skip "this kernel cannot say who a thread is"; fi
	cat "$TMP/said"
fi
t_ok "S11_a_process_registers_itself" said self
t_is "S07_its_pid_is_the_kernels" "$(number self)" "$(value pid one)"
t_is "its_state" running "$(value state one)"
t_is "its_kind" registered "$(value kind one)"
t_is "its_user" "$OWNER" "$(value uid one)"
t_is "its_session" init/app "$(value session one)"
t_is "it_counts" 1 "$(threads)"
t_fails EOPNOTSUPP "nobody_can_kill_it" say kill "$(dirname "$(thread one)")/ctl"
go_on
t_ok "S08_its_end_is_told" wait_for 20 has ' fault session=init/app thread=[0-9.]+ pid=[0-9]+ name=one code=7$' \
	"$CAPFS/faults"
t_ok "and_nothing_is_left" wait_for 20 no_threads

hybrid child two SEGV
t_ok "a_child_with_its_parents_connection" wait_for 20 said child
t_is "S07_is_who_it_is" "$(number child)" "$(value pid two)"
go_on
t_ok "S08_and_ends_by_itself" wait_for 20 has ' fault session=init/app .* name=two signal=SEGV core=no$' "$app/faults"
t_ok "which_its_parent_sees" wait_for 20 said ended

hybrid self three 0
wait_for 20 said self
harness_pids
for n in 1 2; do
	kill -9 "$BROKER"
	wait_for 20 another_broker "$BROKER"
	harness_pids
	t_is "kill_9_of_the_broker_leaves_it_$n" "$(number self)" "$(value pid three)"
done
# One that ends while no broker is there.
kill -STOP "$HOLDER"
kill -9 "$BROKER"
go_on
wait "$HYBRID"
kill -CONT "$HOLDER"
t_ok "S08_an_end_that_nobody_saw_is_told" wait_for 20 has ' exit session=init/app .* name=three code=0$' "$CAPFS/events"
hybrid self four 3
wait_for 20 said self
harness_pids
kill -HUP "$KEEPER"
t_ok "an_upgrade" wait_for 20 another_broker "$BROKER"
t_is "leaves_it" running "$(value state four)"
harness_pids
kill -9 "$HOLDER"
t_ok "kill_9_of_the_holder" wait_for 20 another_broker "$BROKER"
t_ok "is_the_end_of_what_is_known" wait_for 20 has ' exit session=init/app .* name=four status=unknown$' "$CAPFS/events"
t_ok "and_not_of_it" kill -0 "$HYBRID"
go_on
wait "$HYBRID"
t_is "which_ends_as_it_likes" 3 $?

end_job "${HARNESS_JOBS[0]}"
job "$(program tests/call-service)" calls echo
t_ok "a_service_again" wait_for 20 served echo
hybrid threads 4 echo
t_ok "G90_threads_of_a_plain_program_call" wait_for 20 said called
t_is "S11_and_are_shown_each" 4 "$(grep -lx 'kind=registered' "$app"/threads/*/info | wc -l)"
for n in 0 1 2 3; do t_is "S11_t$n" "$(number called)" "$(value pid t$n)"; done
t_is "each_counts" 4 "$(threads)"
go_on
t_ok "they_end" wait_for 20 said joined
t_ok "and_are_none_any_more" wait_for 20 no_threads
t_ok "while_their_process_goes_on" kill -0 "$HYBRID"
t_is "S08_which_is_told" 4 "$(grep -c ' exit session=init/app .* name=t[0-3] status=left$' "$CAPFS/events")"
go_on
wait "$HYBRID"

hybrid many 30
go_on
wait "$HYBRID"
t_is "Z80_no_more_than_its_quota" "register: Disk quota exceeded" "$(cat "$TMP/said")"
t_ok "all_of_it_comes_back" wait_for 20 no_threads

hybrid self last 0
wait_for 20 said self
t_ok "G62_a_session_is_closed_around_it" rmdir "$app"
t_ok "which_it_outlives" kill -0 "$HYBRID"
go_on
wait "$HYBRID"
t_is "to_its_own_end" 0 $?

harness_stop
t_done
