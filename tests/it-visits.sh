#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G01 G02 G03 G04 G05 G06 G07 G08 G09 G12 G13 G14 G31 G32 C12
#
# Visits: by files, capctl and the library, at examples/notes, which charges each of its clients.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
cd "$TMP" || exit 2
harness_start

NOTES=$(program examples/notes)
ECHO=$(program examples/echo-client)
mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/other" "$CAPFS/sessions/proxy"
app=$CAPFS/sessions/app other=$CAPFS/sessions/other proxy=$CAPFS/sessions/proxy

start_notes() { # NAME [SESSION_DIR]: its pid is in SERVER, what it prints in NAME.log
	CAPFS=${2:-$CAPFS} "$NOTES" "$1" >>"$1.log" 2>&1 &
	SERVER=$!
	HARNESS_JOBS+=("$SERVER")
	wait_for 10 served "$1" "${2:-$CAPFS}"
}
note() { # SESSION_DIR SLOT [TEXT]
	CAPFS=$1 timeout 20 "$ECHO" -s "$2" "${3-}" 2>&1
}
visit() { # SESSION_DIR WORD…: capctl's
	local dir=$1
	shift
	CAPFS=$dir timeout 20 "$CAP" visit "$@" 2>&1
}
id_of() { # SLOT SESSION_DIR
	field id "$2/caps/$1/info"
}
lent() { # SESSION_DIR
	quota ram lent "$1/quota"
}
free() { # SESSION_DIR: of what events do not use as well
	quota caps free "$1/quota"
}
told() { # REGEX [NAME]
	grep -Eq "$1" "${2:-notes}.log"
}
visits() { # SESSION_DIR
	find "$1/visits" -mindepth 1 -maxdepth 1 | wc -l
}

start_notes notes
notes=$SERVER
for s in app other proxy; do say "to=$s as=notes" "$CAPFS/caps/notes/grant"; done

# --- open, accepted, used, closed

before=$(free "$app")
t_is "nobody_visits_at_first" 0 "$(visits "$CAPFS")"
t_is "G01_a_visit" "slot=mine" "$(visit "$app" notes mine ram=8K caps=2 args=hello)"
id=$(id_of mine "$app")
t_ok "G01_its_server_was_told" wait_for 10 told "^asked $id init/app mine hello$"
t_like "G01_its_slot_shows_it" "^state=open$" cat "$app/caps/mine/visit"
t_like "G01_and_what_is_lent" "^ram lent=8192 charged=0 free=8192 asked=0$" cat "$app/caps/mine/visit"
t_like "G01_and_so_does_the_servers_session" "^label=init/app$" cat "$CAPFS/visits/$id/info"
t_like "G01_and_the_holders_of_what_it_is_for" "^id=$id init/app/caps/mine rights=call by=uid:[0-9]+ since=[^ ]+ visit=open payer=init/app$" \
	cat "$app/caps/notes/holders"
t_like "G01_and_the_picture" '"init/app/caps/mine" -> "init/app/caps/notes" \[class="call", label="visit open"' cat "$CAPFS/graph.dot"
t_like "its_args" "^args=hello$" cat "$CAPFS/visits/$id/info"
t_is "G31_lent_by_the_client" 8192 "$(lent "$app")"
t_ok "it_is_used" note "$app" mine "first line"
t_is "it_has_what_was_written" "first line" "$(note "$app" mine)"
t_like "G31_and_is_charged_for_it" "^ram lent=8192 charged=10 free=8182" cat "$app/caps/mine/visit"
t_like "G31_no_more_than_there_is" "lend more ram" note "$app" mine "$(printf '%08182d' 0)x"
t_is "what_was_refused_is_not_there" "first line" "$(note "$app" mine)"
t_is "another_one" "slot=mine" "$(visit "$other" notes mine ram=4K)"
note "$other" mine "not yours" >/dev/null
t_is "G31_each_has_its_own" "first line" "$(note "$app" mine)"
t_like "who_has_none_is_refused" "open a visit first" note "$app" notes x
t_fails EPERM "it_cannot_be_passed_on" "$CAP" grant sessions/app/caps/mine app
t_fails EEXIST "G02_a_duplicate_is_refused" visit "$app" notes mine ram=4K
t_is "G02_and_takes_nothing" 8192 "$(lent "$app")"
t_ok "G03_closed" rmdir "$app/caps/mine"
t_is "all_of_it_is_back" "$before" "$(free "$app")"
t_is "nothing_is_lent" 0 "$(lent "$app")"
t_ok "G06_the_server_is_told" wait_for 10 told "^closed $id "
t_is "one_is_left" 1 "$(visits "$CAPFS")"

# --- refused, and not answered

t_fails EACCES "G08_G13_refused" visit "$app" notes small ram=100
t_is "G08_all_is_back" "$before" "$(free "$app")"
t_fails ENOENT "G08_and_no_slot_is_left" ls "$app/caps/small"
t_fails EDQUOT "G08_more_than_there_is" visit "$app" notes mine ram=1G
t_fails EINVAL "an_unknown_word" visit "$app" notes mine rom=1
t_fails EINVAL "args_too_long" visit "$app" notes mine "args=$(printf '%0257d' 0)"
job "$(program examples/echo-server)" plain
wait_for 10 served plain
say 'to=app' "$CAPFS/caps/plain/grant"
t_fails EOPNOTSUPP "a_server_that_knows_none" visit "$app" plain mine
kill -STOP "$notes"
say 'as=held ram=4K' "$app/caps/notes/visit"
held=$(id_of held "$app")
t_like "G01_pending" "^state=pending$" cat "$app/caps/held/visit"
t_like "G01_and_nobody_can_connect" "ECONNREFUSED|onnection refused|Connection reset|ended" note "$app" held x
t_fails EBUSY "G07_nothing_more_meanwhile" "$CAP" upgrade sessions/app/caps/held ram=1
CAPFS=$app timeout 20 "$CAP" visit notes late ram=4K >late.out 2>&1 &
late=$!
t_ok "G13_one_waits_for_the_answer" wait_for 10 test -d "$app/caps/late"
t_ok "an_answer_by_hand" "$CAP" answer "$held" accept ram=100
t_like "is_one" "^state=open$" cat "$app/caps/held/visit"
t_fails EALREADY "G05_a_second_one_is_an_error" "$CAP" answer "$held" accept
t_fails EALREADY "G05_also_a_refusal" "$CAP" answer "$held" refuse
t_fails EDQUOT "G31_not_more_than_was_lent" "$CAP" answer "$held" ram=4097
t_fails EINVAL "not_both" "$CAP" answer "$held" accept refuse
t_fails EINVAL "nothing_is_charged_by_a_refusal" "$CAP" answer "$held" ram=1 refuse
t_ok "G09_a_close_that_is_pending_there" rmdir "$app/caps/held"
t_ok "refused_by_hand" "$CAP" answer "$(id_of late "$app")" refuse full today
wait "$late"
t_like "G13_is_an_error_for_who_waits" "EACCES" cat late.out
t_like "with_a_reason_in_its_events" " answer session=init/app slot=late .*refuse full today" cat "$app/events"
kill -CONT "$notes"
t_is "G08_nothing_stays_lent" 0 "$(lent "$app")"

# --- more

visit "$app" notes mine ram=4K >/dev/null
t_ok "G07_more_is_lent" "$CAP" upgrade sessions/app/caps/mine ram=4K
t_like "G07_and_there" "^ram lent=8192 charged=0 free=8192 asked=0$" cat "$app/caps/mine/visit"
t_fails EDQUOT "G07_not_more_than_there_is" "$CAP" upgrade sessions/app/caps/mine ram=1G
t_fails EINVAL "nothing_is_no_upgrade" "$CAP" upgrade sessions/app/caps/mine args=x
kill -STOP "$notes"
say 'ram=1K' "$app/caps/mine/visit"
t_is "asked_for" 9216 "$(lent "$app")"
"$CAP" answer "$(id_of mine "$app")" refuse
t_is "G07_refused_is_as_before" 8192 "$(lent "$app")"
t_like "and_said_so" "^answer=refused$" cat "$app/caps/mine/visit"
kill -CONT "$notes"
t_ok "it_goes_on" note "$app" mine "and on"

# --- what was opened from above

visits=$(visits "$CAPFS")
t_is "G04_for_a_child" "slot=given" "$("$CAP" visit notes given to=app ram=4K)"
t_ok "G04_that_uses_it" note "$app" given "x"
t_fails EPERM "G04_and_cannot_close_it" rmdir "$app/caps/given"
t_is "who_opened_it_lends" 8192 "$(lent "$app")"
before=$(quota ram lent "$CAPFS/quota")
t_fails EPERM "G04_nor_lend_more_of_what_is_not_its_own" "$CAP" upgrade sessions/app/caps/given ram=4K
t_is "G04_and_nothing_was_lent" "$before" "$(quota ram lent "$CAPFS/quota")"
t_ok "and_takes_it_back" "$CAP" revoke notes --id="$(id_of given "$app")"
t_is "all_of_it" "$visits" "$(visits "$CAPFS")"

# --- a server that ends

note "$app" mine "soon gone" >/dev/null
kill -KILL "$notes"
wait_for 10 detached notes
t_like "G12_callers_are_told" "onnection refused|reset|ended" note "$app" mine x
t_fails ECONNREFUSED "G12_and_who_would_visit" visit "$app" notes new ram=4K
t_like "the_visit_stays" "^state=open$" cat "$app/caps/mine/visit"
start_notes notes
notes=$SERVER
id=$(id_of mine "$app")
t_ok "G14_the_next_one_finds_it" wait_for 10 told "^found $id init/app mine "
t_ok "G14_and_its_client_goes_on" note "$app" mine "anew"
t_is "G14_with_what_that_has" "anew" "$(note "$app" mine)"
t_like "charged_anew" "charged=4 " cat "$app/caps/mine/visit"

# --- a broker that ends, in each state

again() {
	local old=$BROKER
	kill -KILL "$old"
	wait_for 30 another_broker "$old"
}
kill -STOP "$notes"
say 'as=first ram=4K' "$app/caps/notes/visit"
again
t_like "pending_after_a_crash" "^state=pending$" cat "$app/caps/first/visit"
CAPFS=$app timeout 30 "$CAP" visit notes second ram=4K >second.out 2>&1 &
second=$!
wait_for 10 test -d "$app/caps/second"
again
kill -CONT "$notes"
t_ok "its_server_is_told_all_the_same" wait_for 20 grep -q '^state=open' "$app/caps/first/visit"
wait "$second"
t_is "who_waits_over_a_crash_is_told" "slot=second" "$(cat second.out)"
again
t_ok "what_was_charged_stays" note "$app" mine "!"
t_is "as_what_was_written" "anew!" "$(note "$app" mine)"
first=$(id_of first "$app")
rmdir "$app/caps/first" "$app/caps/second"
t_ok "G06_a_server_is_told_by_the_next_broker" wait_for 20 told "^closed $first "

# --- a client that vanishes, with all it has

id=$(id_of mine "$other")
rmdir "$other/caps/notes"
t_ok "G06_the_client_is_gone" wait_for 20 told "^closed $id "
t_is "nothing_of_it_is_lent" 0 "$(lent "$other")"
id=$(id_of mine "$app")
t_ok "G09_a_session_that_closes" "$CAP" session close --all app
t_ok "G06_and_its_visits" wait_for 20 told "^closed $id "
t_is "none_is_left" 0 "$(visits "$CAPFS")"

# --- through a proxy

mkdir "$CAPFS/sessions/user"
user=$CAPFS/sessions/user
start_notes front "$proxy"
say 'to=proxy caps=64' "$CAPFS/transfer_quota"
t_is "what_a_sibling_serves_is_imported" "new front" "$("$(program tests/importing)" node "$proxy" front "$user")"
before=$(free "$user")
t_is "G32_the_client_of_a_proxy" "slot=mine" "$(visit "$user" front mine ram=256K caps=2)"
via=$(id_of mine "$user")
t_is "G32_lends" 262144 "$(lent "$user")"
left=$(free "$user") lends=$((40 * 512))
forty() {
	local i
	for i in $(seq 40); do
		say "as=for-$i via=$via ram=4K" "$proxy/caps/notes/visit" || return 1
	done
}
all_open() {
	[ "$(cat "$proxy"/caps/for-*/visit | grep -c '^state=open$')" -eq 40 ]
}
t_ok "G32_forty_visits_for_it" forty
t_ok "G32_are_accepted" wait_for 30 all_open
t_is "G32_all_paid_by_the_client" 40 "$(cat "$proxy"/caps/for-*/visit | grep -c "^payer=init/user via=$via$")"
t_is "G32_of_what_it_has_lent" "$left $lends" "$(free "$user") $((262144 - $(lent "$user")))"
t_is "G32_and_the_proxy_lends_nothing" 0 "$(lent "$proxy")"
t_like "G32_so_much_is_left" "^ram lent=$((262144 - 40 * (4096 + 512))) " cat "$proxy/visits/$via/info"
t_fails EDQUOT "G32_no_more_than_that" "$CAP" visit sessions/proxy/caps/notes more "via=$via" ram=128K
t_fails ENOENT "G32_not_of_another_ones_visits" "$CAP" visit sessions/proxy/caps/notes more via=1 ram=4K
t_ok "G32_used_for_it" note "$proxy" for-7 "behind"
t_ok "G32_one_goes" rmdir "$proxy/caps/for-40"
t_like "G32_and_can_be_used_again" "^ram lent=$((262144 - 39 * (4096 + 512))) " cat "$proxy/visits/$via/info"
t_ok "G32_the_client_closes" rmdir "$user/caps/mine"
none_left() {
	[ "$(visits "$CAPFS")" -eq 0 ] && ! ls "$proxy"/caps/for-* >/dev/null 2>&1
}
t_ok "G32_and_with_it_all_of_them" wait_for 20 none_left
t_is "G32_all_is_the_clients_again" "$before" "$(free "$user")"

harness_stop
t_done
