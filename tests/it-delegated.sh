#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S14 S25 Z20
# Time: 120
#
# Capabilities to sessions and to threads: whoever holds one speaks the control protocol at its socket, as far as its
# rights go, and for as long as it is there.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=1024,sockets=1024,threads=64
SPEAK=$(program tests/speak)
app=$CAPFS/sessions/app
holder=$CAPFS/sessions/holder

# A client that is told what to ask, and whose replies are read one by one.
begin() { # NAME SOCKET [UID]
	mkfifo "$TMP/$1.in" "$TMP/$1.out"
	# shellcheck disable=SC2086 # two words, or none
	"$SPEAKER" ${3:+-u $3} "$2" <"$TMP/$1.in" >"$TMP/$1.out" 2>&1 &
	HARNESS_JOBS+=("$!")
	eval "$1_PID=$!; exec {$1_IN}>'$TMP/$1.in' {$1_OUT}<'$TMP/$1.out'"
}
asks() { # NAME LINE: prints the reply
	local in=$1_IN out=$1_OUT reply
	echo "$2" >&"${!in}"
	IFS= read -t 60 -r reply <&"${!out}" && echo "$reply"
}
ends() { # NAME
	eval "exec {$1_IN}>&-"
}
once() { # SOCKET LINE
	timeout 60 "$SPEAKER" "$1" <<<"$2" 2>&1
}
SPEAKER=$SPEAK
used() { # SLOT_DIR
	sed -n 's/^conns .*used=\([0-9]*\) .*/\1/p' "$1/info"
}

"$CAP" session create app caps=64 sockets=32 threads=16 ram=1M >/dev/null
"$CAP" session create holder caps=16 sockets=8 ram=256K >/dev/null
mkdir "$app/sessions/inner"
if is_root; then chown 12345:12345 "$app"; fi

# --- a session

t_like "a_session_is_originated" '^slot=app id=[0-9]+$' "$CAP" originate session app of=app
t_like "it_says_which" '^session=init/app$' cat "$CAPFS/caps/app/info"
"$CAP" grant app holder as=it rights=control,reduce conns=2 >/dev/null
it=$holder/caps/it
t_like "a_holder_may_speak_there" '^rights=control,reduce$' cat "$it/info"
begin client "$it/socket"
t_is "S25_as_at_its_own_control" "ok init/app" "$(asks client "read label")"
t_is "with_all_that_is_below" "ok inner" "$(asks client "list sessions")"
t_is "and_no_way_up" "ENOENT there is no '../holder'" "$(asks client "list ../holder")"
t_is "it_counts" 1 "$(used "$it")"
before=$(quota sockets used "$app/quota")
t_is "who_holds_it_pays" 2 "$(quota sockets used "$holder/quota")"
t_is "commands_are_done" "ok " "$(asks client "create sessions/made caps=1" | sed 's/ .*/ /')"
t_ok "there" test -d "$app/sessions/made"
t_is "and_undone" "ok " "$(asks client "remove sessions/made" | sed 's/ .*/ /')"
t_is "nobody_there_pays_for_the_connection" "$before" "$(quota sockets used "$app/quota")"

# --- limits

begin other "$it/socket"
t_is "as_many_as_may" "ok init/app" "$(asks other "read label")"
t_like "and_no_more" "^EDQUOT its conns are in use$" once "$it/socket" "read label"
t_like "which_is_an_event" "refused connect session=init/holder slot=it uid=[0-9]+ EDQUOT: its conns are in use" \
	cat "$CAPFS/events"
ends other
t_ok "one_that_leaves_makes_room" wait_for 10 eval 'test "$(used "$it")" = 1'
"$CAP" grant app holder as=few rights=control calls=2 >/dev/null
t_is "calls_are_connections" "ok init/app" "$(once "$holder/caps/few/socket" "read label")"
t_is "two_of_them" "ok init/app" "$(once "$holder/caps/few/socket" "read label")"
t_like "not_three" "^EDQUOT its calls are used up$" once "$holder/caps/few/socket" "read label"
"$CAP" grant app holder as=brief rights=control expires=2 >/dev/null
begin brief "$holder/caps/brief/socket"
t_is "it_is_there_for_a_while" "ok init/app" "$(asks brief "read label")"
t_ok "it_expires" wait_for 30 not test -e "$holder/caps/brief"
t_like "and_ends_who_is_there" "^(ECONNRESET|ENOTCONN)" asks brief "read label"
"$CAP" grant app holder as=deaf rights=accept >/dev/null
t_like "without_control_nobody_connects" "ECONNREFUSED" once "$holder/caps/deaf/socket" "read label"

# --- over crashes

for i in 1 2 3; do
	old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 another_broker "$old"
	t_is "P14_the_client_goes_on_$i" "ok init/app" "$(asks client "read label")"
done
t_is "and_counts_once" 1 "$(used "$it")"
upgraded() {
	answers && [ "$BROKER" != "$old" ]
}
old=$BROKER
kill -HUP "$KEEPER"
t_ok "a_reload" wait_for 60 upgraded
t_is "ends_it_as_little" "ok init/app" "$(asks client "read label")"

# --- hostile bytes

for bad in 00 01 ffffffff "0101$(printf '%0100d' 0)" "$(printf '%04000d' 7)"; do
	t_like "what_is_no_request_ends_it_${#bad}" "^(ok|ECONNRESET)" once "$it/socket" "bytes $bad"
done
t_is "and_nobody_else" "ok init/app" "$(asks client "read label")"
t_ok "the_broker_lives" test "$(harness_pids && echo "$BROKER")" = "$BROKER"

# --- its end

t_is "reduced_to_nothing_of_it" "ok" "$("$CAP" reduce holder:it rights=reduce >/dev/null && echo ok)"
t_like "it_ends_at_once" "^(ECONNRESET|ENOTCONN)" asks client "read label"
"$CAP" grant app holder as=again rights=control >/dev/null
begin again "$holder/caps/again/socket"
t_is "another" "ok init/app" "$(asks again "read label")"
"$CAP" revoke app >/dev/null
t_like "revocation_ends_it" "^(ECONNRESET|ENOTCONN)" asks again "read label"
t_ok "and_the_slot" not test -e "$holder/caps/again"
"$CAP" --session=app originate session self >/dev/null
"$CAP" --session=app grant self inner as=up rights=control,call >/dev/null
begin self "$app/sessions/inner/caps/up/socket"
t_is "who_ends_itself" "ok init/app" "$(asks self "read label")"
t_like "is_told_so" "^ok revoked=1" asks self "write caps/self/revoke 1"
t_like "and_has_ended" "^(ECONNRESET|ENOTCONN)" asks self "read label"
"$CAP" grant app holder as=last rights=control >/dev/null
begin last "$holder/caps/last/socket"
t_is "one_more" "ok init/app" "$(asks last "read label")"

# --- another user

if is_root; then
	SPEAKER=$(program_for_others tests/speak)
	chmod 755 "$TMP" "$TMP/for-others"
	chown 23456:23456 "$holder"
	begin stranger "$holder/caps/last/socket" 23456
	t_is "another_user_speaks_there" "ok init/app" "$(asks stranger "read label")"
	t_is "whose_own_way_is_closed" "speak: EACCES" "$("$SPEAKER" -u 23456 "$app/control" </dev/null 2>&1)"
	"$CAP" revoke app >/dev/null
	t_like "until_it_is_taken_back" "^(ECONNRESET|ENOTCONN)" asks stranger "read label"
	SPEAKER=$SPEAK
else
	"$CAP" revoke app >/dev/null
fi

# --- by capctl

"$CAP" grant app holder as=it2 >/dev/null
t_like "capctl_goes_through_it" "sessions/inner" "$CAP" --via=holder:it2 tree
t_like "and_prints_labels_of_there" "^init/app" "$CAP" --via=holder:it2 tree
t_ok "it_is_done_there" "$CAP" --via=holder:it2 session create made caps=1
t_ok "and_nowhere_else" test -d "$app/sessions/made"
t_ok "also_the_end_of_it" "$CAP" --via=holder:it2 session close made
t_is "sessions_are_those_of_there" "sessions/inner" "$("$CAP" --via=holder:it2 --session=inner tree | head -n 1)"
t_fails ENOENT "no_such_slot" "$CAP" --via=holder:none tree
t_like "paths_of_here_are_none_of_there" "not the name of a node below holder:it2" \
	"$CAP" --via=holder:it2 drop "$CAPFS/caps/app"
t_like "what_takes_files_does_not_go_there" "run does not go through a slot" "$CAP" --via=holder:it2 run -- /bin/true

# What a slot refers to is made anew nowhere, and its absence keeps nothing else back.
"$CAP" checkpoint app "$TMP/checkpoint" >/dev/null
t_like "a_restored_session_is_told_what_it_lacks" "^left path=. what=slot name=self why=what it refers to is not part" \
	"$CAP" restore "$TMP/checkpoint" copy
t_ok "and_has_the_rest" test -d "$CAPFS/sessions/copy/sessions/inner"
"$CAP" session close --all copy

# --- a thread

# With the spawner that its minder starts programs are run.
# What it has asked for is kept until it goes, so that nobody comes too late to wait for it.
begin keeper "$app/control"
id=$(asks keeper "start /bin/sleep 600")
id=${id#ok }
state() {
	sed -n 's/^state=//p' "$app/threads/$id/info"
}
t_ok "a_program_runs" wait_for 30 eval 'test "$(state)" = running'
t_fails ENOENT "S14_its_id_is_none_from_beside" "$CAP" --session=holder originate thread t thread="$id"
"$CAP" revoke app >/dev/null
"$CAP" grant app holder as=speak rights=control >/dev/null
"$CAP" grant app holder as=start rights=control,spawn >/dev/null
t_like "S25_no_program_without_spawn" "^EPERM init/holder does not hold right 'spawn'" \
	once "$holder/caps/speak/socket" "run . /bin/true"
t_is "S25_and_with_it_one_is_started" "ok code=1" "$(once "$holder/caps/start/socket" "run . /bin/false")"
t_like "S14_from_above_it_has_a_slot" '^slot=t id=[0-9]+$' "$CAP" originate thread t thread="$id"
t_like "which_says_whose_it_is" "^thread=$id session=init/app$" cat "$CAPFS/caps/t/info"
"$CAP" grant t holder as=look rights=wait >/dev/null
"$CAP" grant t holder as=hold rights=pause >/dev/null
"$CAP" grant t holder as=end rights=kill,wait >/dev/null
"$CAP" grant t holder as=sig rights=signal >/dev/null
begin look "$holder/caps/look/socket"
t_like "its_info" "^ok state=running" asks look "read info"
t_like "is_all_that_is_there" "^ENOENT" asks look "read fds"
t_like "and_no_list" "^ENOENT" asks look "list "
t_like "nor_anything_above" "^ENOENT" asks look "read ../../quota"
t_like "who_may_look_may_not_kill" "^EPERM" asks look "write ctl kill"
t_fails EPERM "who_may_pause_may_not_kill" "$CAP" thread ctl holder:hold kill
t_fails EPERM "nor_wait" "$CAP" thread wait holder:hold 0
t_fails EPERM "nobody_is_well_in_its_place" "$CAP" thread ctl holder:end ok
t_ok "it_is_paused" "$CAP" thread ctl holder:hold pause
t_ok "seen" wait_for 10 grep -q paused "$app/threads/$id/info"
t_ok "and_resumed" "$CAP" thread ctl holder:hold resume
t_fails EPERM "a_signal_is_no_way_round_kill" "$CAP" thread ctl holder:sig signal=9
t_fails EPERM "nor_round_pause" "$CAP" thread ctl holder:sig signal=19
t_ok "but_others_go" "$CAP" thread ctl holder:sig signal=28
t_fails ETIMEDOUT "it_goes_on" "$CAP" thread wait holder:end 0
old=$BROKER
kill -9 "$BROKER"
wait_for 10 another_broker "$old"
t_like "P14_who_looks_goes_on" "^ok state=running" asks look "read info"
"$CAP" thread wait holder:end >"$TMP/end" 2>&1 &
waiter=$!
HARNESS_JOBS+=("$waiter")
t_ok "it_is_killed" "$CAP" thread ctl holder:end kill
t_ok "who_waits_is_told" wait "$waiter"
t_is "how_it_ended" "thread=$id signal=9" "$(cat "$TMP/end")"
# shellcheck disable=SC2154 # begin() has set it
end_job "$keeper_PID"
t_ok "and_all_slots_are_gone" wait_for 10 not test -e "$holder/caps/look"
t_like "with_who_was_there" "^(ECONNRESET|ENOTCONN)" asks look "read info"
t_ok "also_the_first" wait_for 10 not test -e "$CAPFS/caps/t"

harness_stop
t_done
