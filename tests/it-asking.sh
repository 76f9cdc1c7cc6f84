#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G28 G29 P14 S12 S23
#
# request and requests, from shells: the write is answered at once, the read waits, and can be interrupted; what
# waits outlives brokers, and ends with its file. Session 12 of the administrator's.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=1024

job "$(program tests/call-service)" stream smtp
t_ok "a_service" wait_for 10 served smtp
t_ok "a_child" mkdir "$CAPFS/sessions/app"
app=$CAPFS/sessions/app

kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}
waiting() { # NAME: its id
	sed -n "s/^id=\([0-9]*\) from=init\/app type=object name=$1 .*/\1/p" "$CAPFS/requests"
}
is_waiting() {
	[ -n "$(waiting "$1")" ]
}
nothing_waits() {
	[ -z "$(cat "$CAPFS/requests")" ]
}

# asker NAME WORDS: what comes of it stands in $TMP/NAME; it is in the background.
asker() {
	(
		exec 3<>"$app/request" || exit
		echo "$2" >&3 || exit
		timeout 60 cat <&3
	) >"$TMP/$1" 2>&1 &
	ASKER=$!
	HARNESS_JOBS+=("$ASKER")
}
came() { # NAME REGEX
	grep -Eq "$2" "$TMP/$1"
}

t_like "a_fresh_open_reads_the_usage" '^quota\|name=NAME \[rights=RIGHT,\.\.\.\]' cat "$app/request"
asker mail 'type=object name=mail rights=call'
t_ok "S23_it_waits" wait_for 5 is_waiting mail
t_ok "S23_nothing_is_there_before" test ! -e "$app/caps/mail"
t_ok "S12_it_is_answered" sh -c "echo 'id=$(waiting mail) slot=smtp calls=100' >$CAPFS/requests"
t_ok "S12_and_the_reader_goes_on" wait_for 5 came mail '^slot=mail id=[0-9]+$'
t_like "S12_with_what_was_given" '^calls limit=100 used=0 left=100' cat "$app/caps/mail/info"
t_ok "its_reader_has_ended" wait "$ASKER"

asker no 'name=no'
wait_for 5 is_waiting no
t_ok "a_refusal" sh -c "echo 'id=$(waiting no) refuse not today' >$CAPFS/requests"
t_ok "is_EACCES" wait_for 5 came no 'Permission denied'
t_like "and_has_its_reason_in_an_event" 'refused request session=init/app .*EACCES: not today' tail -5 "$app/events"

t_like "nobody_decides" 'timed out' sh -c "exec 3<>$app/request; echo name=late timeout=1 >&3; cat <&3 2>&1"
t_ok "and_nothing_waits_any_more" nothing_waits

# What it asks for ends with its file, and so does a reader that is killed.
t_ok "the_write_alone_asks" sh -c "echo name=gone >$app/request"
t_ok "and_its_end_ends_it" wait_for 5 nothing_waits
asker killed 'name=killed'
wait_for 5 is_waiting killed
READER=$(pgrep -P "$ASKER" timeout)
t_ok "a_reader_can_be_killed" kill -9 "$(pgrep -P "$READER")"
kill "$READER" 2>/dev/null
t_ok "and_then_nothing_waits" wait_for 5 nothing_waits

# Brokers.
asker lives 'name=lives timeout=300'
wait_for 5 is_waiting lives
for i in 1 2 3; do
	t_ok "P14_a_broker_is_killed_$i" kill_broker
done
t_ok "P14_what_waits_waits" is_waiting lives
t_ok "P14_it_is_answered_by_another_broker" sh -c "echo 'id=$(waiting lives) slot=smtp' >$CAPFS/requests"
t_ok "P14_and_read" wait_for 10 came lives '^slot=lives id=[0-9]+$'

before=$(quota caps limit "$app/quota")
asker quota 'quota caps=8'
wait_for 5 grep -q 'quota caps=8' "$CAPFS/requests"
id=$(sed -n 's/^id=\([0-9]*\) from=init.app quota .*/\1/p' "$CAPFS/requests")
t_ok "G28_quota_is_given" sh -c "echo 'id=$id caps=8' >$CAPFS/requests"
t_ok "G28_and_told" wait_for 5 came quota '^caps=8$'
t_is "G28_and_there" $((before + 8)) "$(quota caps limit "$app/quota")"
(
	exec 3<>"$app/yield"
	echo 'caps=8 timeout=60' >&3
	timeout 60 cat <&3
) >"$TMP/yield" 2>&1 &
HARNESS_JOBS+=("$!")
asked_back() {
	grep -q '^id=[0-9]* yield caps=8 waiting=' "$app/yield"
}
t_ok "G30_it_is_asked_back" wait_for 5 asked_back
id=$(sed -n 's/^id=\([0-9]*\) .*/\1/p' "$app/yield")
t_ok "G30_and_given" sh -c "echo 'id=$id caps=8' >$app/yield"
t_ok "G30_who_asked_reads_it" wait_for 5 came yield '^caps=8$'
t_is "G30_and_the_limit_is_that_of_before" "$before" "$(quota caps limit "$app/quota")"
t_fails EBUSY "one_at_a_time" sh -c "exec 3<>$app/request; echo name=one >&3; LC_ALL=C; /bin/echo name=two >&3"
harness_stop
t_done
