#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: C20 C21 C22 C23 C24 C25
#
# examples/switchboard, as its README says that it is used.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

SWITCH=$(program examples/switchboard/switch)
switch() {
	timeout 60 "$SWITCH" "$@"
}
serves() { # LABEL…: a job, which tells its labels to whoever connects; its pid is in SERVER
	job "$SWITCH" board serve "$@" -- sh -c 'echo "server: $SWITCHBOARD_LABELS"; cat'
	SERVER=$!
	wait_for 10 listed "$@"
}
listed() { # LABEL…
	switch board list "$@" | grep -qxF "$(printf '%s\n' "$@" | sort | paste -sd' ')"
}
connect() {
	switch "$@" 2>&1 </dev/null
}

job "$(program examples/switchboard/switchboard)" board
board=$!
t_ok "switchboard_serves" wait_for 10 served board

# --- who matches whom

t_is "C25_nobody_is_there" "" "$(switch board list)"
t_fails "no server matches" "C20_nobody_matches" connect board connect app=shop
t_ok "C20_a_server" serves app=shop part=db
db=$SERVER
t_is "C20_both_sides_see_the_union" "labels: app=shop client=till part=db
server: app=shop client=till part=db" "$(connect board connect client=till part=db | sort)"
t_is "C20_no_labels_match_all" "server: app=shop part=db" "$(connect board connect | grep server)"
t_fails "no server matches" "C20_a_key_that_contradicts" connect board connect part=web client=till
t_is "C20_bytes_go_both_ways" "hello" "$(echo hello | switch board connect 2>/dev/null | tail -n 1)"
t_fails "File exists" "C22_two_with_the_same_labels" switch board serve part=db app=shop -- cat
t_fails EINVAL "no_labels" connect board connect app
t_fails EINVAL "no_key" connect board list =shop
t_fails EPERM "C20_one_that_contradicts_itself" connect board connect app=shop app=till
t_fails "Argument list too long" "too_many_labels" connect board connect $(seq -f 'k%g=1' 17)
t_fails "Argument list too long" "too_long_a_label" connect board list "a=$(printf '%0126d' 0)"
t_ok "the_longest_label" switch board list "a=$(printf '%0125d' 0)"

# --- several

serves app=shop part=web region=eu
eu=$SERVER
serves app=shop part=web region=us
serves app=blog part=web
t_is "C25_list_of_what_matches" "app=blog part=web
app=shop part=web region=eu
app=shop part=web region=us" "$(switch board list part=web | sort)"
t_is "C25_of_all" 4 "$(switch board list | wc -l)"
t_like "C22_the_label_that_decides" "2 servers match, the label 'region' decides: (eu us|us eu)$" connect board connect app=shop part=web
t_like "C22_what_tells_most_apart" "4 servers match, the label 'app' decides: (shop blog|blog shop)$" connect board connect
t_is "C22_then_it_does" "server: app=shop part=web region=us" \
	"$(connect board connect app=shop part=web region=us | grep server)"
serves app=blog
t_like "C22_no_label_decides" "2 servers match, the label 'part' decides: web or any other$" connect board connect app=blog
t_like "C22_said_already" "2 servers match, and no further label decides$" connect board connect app=blog part=web
t_is "C22_the_other_one" "server: app=blog part=other" "$(connect board connect app=blog part=other | grep server)"

# --- what a capability says

mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/app/sessions/inner"
say 'to=app as=board rights=call,grant only=app=shop' "$CAPFS/caps/board/grant"
say 'to=inner as=board only=region=eu methods=0-1' "$CAPFS/sessions/app/caps/board/grant"
in_app() { CAPFS=$CAPFS/sessions/app connect "$@"; }
inside() { CAPFS=$CAPFS/sessions/app/sessions/inner connect "$@"; }
t_is "C21_it_sees_those_alone" 3 "$(in_app board list | wc -l)"
t_fails EPERM "C21_and_cannot_contradict" in_app board connect app=blog
t_is "C21_each_derivation_adds" "app=shop part=db
app=shop part=web region=eu" "$(inside board list | sort)"
t_fails EPERM "C21_and_takes_none_away" inside board connect region=us part=web
t_like "C21_the_server_sees_them" "^server: app=shop part=web region=eu$" inside board connect part=web
t_like "C21_also_those_that_it_does_not_have" "^server: app=shop part=db region=eu$" inside board connect part=db
job env CAPFS="$CAPFS/sessions/app" "$SWITCH" board serve part=log -- sh -c 'echo "$SWITCHBOARD_LABELS"'
t_ok "C21_a_servers_too" wait_for 10 listed app=shop part=log
t_fails EPERM "a_method_that_it_does_not_have" inside board serve part=log2 -- cat
say 'to=app as=two only="app=shop part=db" only=app=blog' "$CAPFS/caps/board/grant"
t_fails EPERM "C21_alternatives_have_to_be_told_apart" in_app two list
t_is "C21_then_they_are_labels" "app=shop part=db" "$(in_app two list app=shop)"
t_is "C21_either_of_them" 2 "$(in_app two list app=blog | wc -l)"
t_fails EPERM "C21_and_no_other" in_app two list app=till
say 'to=app as=odd only=GET' "$CAPFS/caps/board/grant"
t_fails EPERM "P38_what_is_no_label_lets_nothing_through" in_app odd list
say 'to=inner as=none only=app=blog' "$CAPFS/sessions/app/caps/board/grant"
t_fails EPERM "C21_nor_does_what_contradicts" inside none list

# --- servers that end, and servers that do not answer

end_job "$eu"
t_ok "C23_a_dead_one_is_gone" wait_for 10 not listed app=shop part=web region=eu
t_is "C23_and_no_longer_ambiguous" "server: app=shop part=web region=us" \
	"$(connect board connect app=shop part=web | grep server)"

waiting() { # N: so many wait for a connection
	[ "$(grep -c . "$TMP/started")" -ge "$1" ] && [ "$(connections)" -ge "$1" ]
}
connections() {
	field connections "$CAPFS/entrypoints/board/info"
}
kill -STOP "$db"
: >"$TMP/started"
for i in $(seq 130); do
	(
		echo "$i" >>"$TMP/started"
		connect board connect app=shop part=db "n=$i" >"$TMP/waiting.$i"
	) &
	HARNESS_JOBS+=("$!")
done
t_ok "C24_130_wait_for_one_that_does_not_answer" wait_for 60 waiting 130
t_is "C24_others_go_on" "server: app=shop part=web region=us" \
	"$(connect board connect app=shop part=web | grep server)"
t_is "C24_listing_goes_on" 1 "$(switch board list app=blog part=other | wc -l)"
kill -CONT "$db"
all_came() {
	[ "$(cat "$TMP"/waiting.* | grep -c '^server:.* n=')" -eq 130 ]
}
t_ok "C24_all_come_when_it_does" wait_for 60 all_came

none_connected() {
	[ "$(connections)" -eq 0 ]
}
t_ok "and_are_done" wait_for 30 none_connected
kill -STOP "$db"
connect board connect app=shop part=db n=last >"$TMP/last" &
last=$!
t_ok "one_more_waits" wait_for 10 waiting 1
timeout 1 "$SWITCH" board connect app=shop part=db n=gone
t_is "another_one_gives_up" 124 $?
kill -KILL "$db"
wait "$last"
t_like "C23_who_waits_is_told" "Connection reset by peer the server has ended" cat "$TMP/last"
t_ok "C23_and_it_is_gone" wait_for 10 not listed app=shop part=db

end_job "$board"
harness_stop
t_done
