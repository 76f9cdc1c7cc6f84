#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G28 G30 P14 S12 S13 S23 Z70
#
# Asking and deciding by the library and by capctl: examples/pager, over deaths of brokers; session 12 of the
# administrator's; policies.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
cd "$TMP" || exit 2
harness_start --quota=caps=4096,sockets=1024

job "$(program tests/call-service)" stream smtp
wait_for 10 served smtp
mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/b"
app=$CAPFS/sessions/app

by() { # SESSION_DIR WORD…: capctl there
	CAPFS=$1 timeout 100 "$CAP" "${@:2}" 2>&1
}
in_background() { # NAME CMD…: what it prints is in NAME
	"${@:2}" >"$1" 2>&1 &
	JOB=$!
	HARNESS_JOBS+=("$JOB")
}
waiting() { # NAME: its id
	"$CAP" requests | sed -n "s/^id=\([0-9]*\) from=init\/[a-z]* type=object name=$1 .*/\1/p"
}
is_waiting() {
	[ -n "$(waiting "$1")" ]
}
has() { # FILE REGEX
	grep -Eq -- "$2" "$1"
}
kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}

# --- by hand

in_background mail by "$app" request mail rights=call
t_ok "S12_it_waits" wait_for 5 is_waiting mail
t_like "S12_and_is_told" '^id=[0-9]+ from=init/app type=object name=mail rights=call waiting=[0-9]+$' "$CAP" requests
t_like "S12_approved" '^slot=mail id=[0-9]+$' "$CAP" approve "$(waiting mail)" smtp calls=100
t_ok "S12_and_who_asked_goes_on" wait_for 5 has mail '^slot=mail id=[0-9]+$'
t_like "S12_with_what_was_given" '^calls limit=100 used=0 left=100' cat "$app/caps/mail/info"
in_background no by "$app" request --wait=60 no
wait_for 5 is_waiting no
t_ok "refused" "$CAP" refuse "$(waiting no)" not today
t_ok "with_the_reason" wait_for 5 has no 'request: EACCES: not today'
t_fails ETIMEDOUT "nobody_decides" by "$app" request --wait=1 late
t_fails ESRCH "the_root_asks_nobody" "$CAP" request mail
t_fails EEXIST "what_is_there" by "$app" request mail
t_fails ESRCH "what_does_not_wait" "$CAP" approve 1 smtp
t_fails EPERM "Z70_2_3_for_others" by "$app" request --wait=1 x to=b
t_like "a_bad_time" 'number of seconds' by "$app" request --wait=soon x
in_background below "$CAP" --session=app request below
t_ok "of_a_session_below" wait_for 5 is_waiting below
"$CAP" refuse "$(waiting below)" >below.refused
t_ok "is_told_so" wait_for 5 has below EACCES

# --- a policy

t_is "a_policy_is_empty_at_first" "" "$("$CAP" policy)"
echo 'init/app/* post smtp rights=call' >rules
t_is "S12_checked" "rules=1" "$("$CAP" policy --check rules)"
t_is "S12_which_changes_nothing" "" "$("$CAP" policy)"
t_is "S12_written" "rules=1" "$("$CAP" policy rules)"
t_is "S12_as_it_is_there" "$(cat rules)" "$("$CAP" policy)"
t_like "S12_and_it_gives" '^slot=post id=' by "$app" request post
printf 'init/app post smtp\ninit/app post deny\n' >wrong
t_fails EINVAL "a_mistake_is_seen" "$CAP" policy --check wrong
t_like "G50_with_its_line" 'line 2: line 1 says already' "$CAP" policy wrong
t_is "S12_and_changes_nothing" "$(cat rules)" "$("$CAP" policy)"
t_is "a_check_that_fails_is_no_event" 1 "$(grep -c 'refused policy' "$CAPFS/events")"
t_is "what_comes_in" "rules=0" "$(printf '# none' | "$CAP" policy -)"
t_ok "G52_and_what_was_given_is_taken" test ! -e "$app/caps/post"
t_is "of_a_session_below_it" "rules=1" "$(echo '* log mail' | "$CAP" --session=app policy -)"
t_is "is_there" '* log mail' "$(cat "$app/policy")"
for i in $(seq 1000); do printf 'init/app/s%04d log%04d smtp rights=call calls=%d\n' "$i" "$i" "$i"; done >large
t_is "one_larger_than_a_message" "rules=1000" "$("$CAP" policy large)"
t_ok "is_there_as_a_whole" cmp large "$CAPFS/policy"
for i in $(seq 1000); do printf 'init/app/t%04d log%04d smtp rights=call calls=%d only=x%040d\n' "$i" "$i" "$i" 1; done >huge
t_fails EMSGSIZE "one_that_is_too_large" "$CAP" policy huge
t_ok "changes_nothing" cmp large "$CAPFS/policy"
: | "$CAP" policy - >empty

# --- quota that is asked back

before=$(quota caps limit "$app/quota")
in_background quota by "$app" request quota caps=8
quota_waits() {
	"$CAP" requests | grep -q 'quota caps=8'
}
wait_for 5 quota_waits
t_is "G28_quota_is_given" "caps=8" "$("$CAP" approve "$("$CAP" requests | sed -n 's/^id=\([0-9]*\) .* quota .*/\1/p')" caps=8)"
t_ok "G28_and_told" wait_for 5 has quota '^caps=8$'
in_background held "$CAP" yield --wait=86400 app caps=8
asked_back() {
	grep -q "^id=[0-9]* yield $1 waiting=" "$app/yield"
}
t_ok "G30_asked_back" wait_for 5 asked_back caps=8
in_background back "$CAP" yield app caps=6
t_ok "G30_the_newest_counts" wait_for 5 has held 'yield: ECANCELED: asked anew'
t_ok "G30_and_is_there" wait_for 5 asked_back caps=6
t_is "G30_given" "caps=5" "$(by "$app" approve "$(sed -n 's/^id=\([0-9]*\) .*/\1/p' "$app/yield")" caps=5)"
t_ok "G30_who_asked_has_it" wait_for 5 has back '^caps=5$'
t_is "G30_as_the_limit_says" $((before + 3)) "$(quota caps limit "$app/quota")"

# --- by a program

"$CAP" replicate smtp small rights=call,grant,reduce >replicated
"$CAP" reduce small conns=5 >>replicated
in_background pager "$(program examples/pager)" small smtp
PAGER=$JOB
t_like "Z70_7_the_first_that_fits" '^slot=few' by "$app" request few conns=3
t_like "Z70_7_is_the_first" '^parent=init/caps/small id=' cat "$app/caps/few/info"
t_like "Z70_7_the_second_where_the_first_is_too_small" '^slot=many' by "$app" request many conns=50
t_like "Z70_7_is_the_second" '^parent=init/caps/smtp id=' cat "$app/caps/many/info"
t_like "Z70_7_none_fits" 'EACCES: no capability' by "$app" request session type=session
t_fails EACCES "G29_quota_that_is_not_there" by "$app" request quota caps=100000
t_is "G28_quota" "caps=4" "$(by "$app" request quota caps=4)"
t_ok "S23_it_reaches_nothing_of_its_siblings" test -z "$(ls "$CAPFS/sessions/b/caps")"
t_is "S23_after_it_has_asked" "slot=only id=" "$(by "$CAPFS/sessions/b" request only rights=call | sed 's/[0-9]*$//')"
t_is "S23_just_that" only "$(ls "$CAPFS/sessions/b/caps")"

in_background followed by "$app" requests -f
t_ok "asked_back_of_who_follows" sh -c "'$CAP' yield --wait=1 app caps=1 2>&1 | grep -q ETIMEDOUT"
t_ok "is_told" wait_for 5 has followed '^id=[0-9]+ yield caps=1$'
kill "$JOB"

# Each asks once, and is answered once, whatever becomes of brokers.
many_asked() {
	local i
	for i in $(seq 1 12); do
		in_background "asked.$i" by "$app" request --wait=90 "n$i" conns=$i
	done
}
all_answered() {
	[ "$(cat asked.* | grep -c '^slot=n')" = 12 ]
}
many_asked
for i in 1 2 3 4; do
	t_ok "P14_a_broker_is_killed_$i" kill_broker
done
t_ok "P14_all_are_answered" wait_for 60 all_answered
t_is "P14_each_was_decided_once" "$(seq 1 12 | sed 's/^/n/' | sort)" \
	"$(sed -n 's/^[0-9]* init.app \(n[0-9]*\): s[a-z]*$/\1/p' pager | sort)"
t_is "P14_and_has_one_slot" 12 "$(find "$app/caps" -mindepth 1 -maxdepth 1 -name 'n*' | wc -l)"
t_ok "P14_the_pager_goes_on" kill -0 "$PAGER"
t_like "P14_and_decides" '^slot=later' by "$app" request later

harness_stop
t_ok "the_pager_ends_with_the_daemon" wait_for 10 has pager '^pager: '
t_done
