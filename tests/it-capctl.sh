#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# capctl's commands, and the exit status of what is refused: 1 by the daemon, with its errno, 2 by
# capctl itself, with nothing asked.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=1024,sockets=128

# t_status STATUS NAME CMD…: what fails says why on stderr, and prints nothing.
t_status() {
	local wanted=$1 name=$2 got
	shift 2
	"$@" >"$TMP/stdout" 2>"$TMP/output"
	got=$?
	echo "status $got, wanted $wanted" >>"$TMP/output"
	[ $got -eq "$wanted" ] && grep -Eq '^(capctl|usage): ' "$TMP/output" && [ ! -s "$TMP/stdout" ]
	t_result $? "$name"
}

# t_refused ERRNO NAME CMD…
t_refused() {
	t_status 1 "$2" "${@:3}"
	t_fails "$@"
}

t_usage() { # NAME CMD…
	t_status 2 "$@"
}

t_ok "a_service" serve echo --inetd -- /bin/cat
t_ok "session_create" "$CAP" session create app caps=8
app=$CAPFS/sessions/app
t_like "grant" '^slot=echo id=[0-9]+$' "$CAP" grant echo app rights=call,grant,reduce conns=8
t_like "holders_of_a_slot" '^id=[0-9]+ init/app/caps/echo rights=call,grant,reduce conns=0/8 ' \
	"$CAP" holders echo
t_like "holders_of_a_session" '^id=[0-9]+ init/app/caps/echo .*entrypoint=init/echo parent=init/caps/echo' \
	"$CAP" holders --session=app
t_like "replicate" '^slot=twin id=[0-9]+$' "$CAP" replicate echo twin rights=call,transfer
t_like "transfer" '^slot=moved id=[0-9]+$' "$CAP" transfer twin app as=moved
t_like "transfer_is_a_move" 'rights=call,transfer$' "$CAP" show app:moved
t_refused ENOENT "transfer_ends_the_slot" "$CAP" show twin
t_refused EPERM "Z12_transfer_without_the_right" "$CAP" transfer app:echo nobody
t_ok "drop_what_was_moved" "$CAP" drop app:moved
t_ok "reduce" "$CAP" reduce app:echo conns=4
t_is "reduce_is_done" 4 "$(quota conns limit "$app/caps/echo/info")"
t_like "graph_has_sessions" 'subgraph "cluster_init/app"' "$CAP" graph
t_like "graph_has_derivations" '^ "init/app/caps/echo" -> "init/caps/echo" .*label="conns 0/4"' "$CAP" graph
t_like "graph_ends_with_the_object" '^ "init/caps/echo" -> "init/entrypoints/echo/0" ' "$CAP" graph
t_like "graph_of_a_session" '^}$' "$CAP" -s app graph

t_like "events" ' reduce session=init/app slot=echo .*conns=4' "$CAP" events
"$CAP" events -f >"$TMP/followed" &
follower=$!
HARNESS_JOBS+=("$follower")
t_ok "events_f_begins_with_the_oldest" wait_for 5 grep -q ' reduce ' "$TMP/followed"
"$CAP" grant echo app as=later >/dev/null
t_ok "events_f_goes_on" wait_for 5 grep -q 'later' "$TMP/followed"
t_ok "events_f_stays" kill -0 "$follower"
end_job "$follower"

limit() {
	quota caps limit "$app/quota"
}
before=$(limit)
t_ok "transfer_quota_to" "$CAP" transfer-quota --to=app caps=4
t_is "transfer_quota_to_is_done" $((before + 4)) "$(limit)"
t_ok "transfer_quota_from" "$CAP" transfer-quota --from=app caps=3
t_is "transfer_quota_from_is_done" $((before + 1)) "$(limit)"
t_ok "transfer_quota_by_words" "$CAP" transfer-quota to=app caps=1
t_is "transfer_quota_by_words_is_done" $((before + 2)) "$(limit)"

# Refused by the daemon.
t_refused ENOENT "holders_of_nothing" "$CAP" holders nope
t_refused ENOENT "holders_of_no_session" "$CAP" holders --session=nope
t_refused ENOENT "reduce_nothing" "$CAP" reduce nope conns=1
t_refused EINVAL "reduce_is_no_word" "$CAP" reduce echo wibble=1
t_refused ENOENT "drop_nothing" "$CAP" drop nope
t_refused ENOENT "drop_no_session_either" "$CAP" drop app
t_refused ENOENT "grant_to_nobody" "$CAP" grant echo nope
t_refused EDQUOT "transfer_quota_of_too_much" "$CAP" transfer-quota --to=app caps=100000
t_refused EINVAL "transfer_quota_of_no_kind" "$CAP" transfer-quota --to=app wibble=1
t_refused EEXIST "session_create_twice" "$CAP" session create app
t_refused ENOENT "session_close_nothing" "$CAP" session close nope
t_refused ENOENT "session_close_all_of_nothing" "$CAP" session close nope --all
t_refused ENOENT "events_of_no_session" "$CAP" -s nope events
t_refused ENOENT "show_nothing" "$CAP" show nope
t_refused ENOENT "no_daemon_there" "$CAP" -c "$TMP/nowhere" tree
t_status 1 "graph_of_no_session" "$CAP" -s nope graph

# By capctl.
before=$(dump)
t_usage "a_session_is_one_word" "$CAP" grant echo 'app as=inj rights=call,grant,reduce'
t_usage "a_reduction_is_one_word" "$CAP" grant echo app 'as=inj rights=call'
t_usage "reduce_takes_words" "$CAP" reduce echo 'conns=1 calls=1'
t_usage "revoke_from_one_word" "$CAP" revoke echo --from='app id=1'
t_usage "revoke_one_id" "$CAP" revoke echo --id='1 to=app'
t_usage "revoke_one_thing" "$CAP" revoke echo --self --from=app
t_usage "transfer_quota_to_one_word" "$CAP" transfer-quota --to='app sockets=1' caps=1
t_usage "transfer_quota_one_way" "$CAP" transfer-quota --to=app --from=app caps=1
t_usage "transfer_quota_of_nothing" "$CAP" transfer-quota --to=app
t_usage "a_donation_is_words" "$CAP" session create other 'caps=1 sockets=1'
t_usage "a_session_has_a_name" "$CAP" session create ../x
t_usage "session_close_takes_a_name" "$CAP" session close ..
t_usage "session_does_something" "$CAP" session
t_usage "holders_of_what" "$CAP" holders
t_usage "drop_is_for_slots" "$CAP" drop entrypoints/echo
t_usage "drop_is_not_for_sessions" "$CAP" drop sessions/app
t_usage "options_have_their_commands" "$CAP" drop echo --all
t_usage "no_such_command" "$CAP" wibble
t_usage "no_command" "$CAP"
t_usage "serve_takes_a_way" "$CAP" serve x
t_usage "serve_takes_one_way" "$CAP" serve x --listen --inetd -- /bin/true
t_usage "serve_listen_needs_a_command" "$CAP" serve x --listen
t_usage "serve_listen_has_no_max" "$CAP" serve x --listen --max=1 -- /bin/true
t_usage "serve_listen_holds_nobody" "$CAP" serve x --listen --hold=1 -- /bin/true
t_is "nothing_of_it_was_done" "$before" "$(dump)"

t_ok "drop" "$CAP" drop app:later
t_ok "drop_is_done" test ! -e "$app/caps/later"

mkdir "$app/sessions/inner"
t_refused ENOTEMPTY "session_close_with_children" "$CAP" session close app
CAPFS=$app serve inner --inetd -- /bin/cat &
wait_for 10 served inner "$app"
t_ok "session_close_all" timeout 30 "$CAP" session close app --all
t_ok "session_close_all_is_done" test ! -e "$app"
mkdir "$app"
t_ok "session_close" "$CAP" session close app
t_ok "session_close_is_done" test ! -e "$app"

# A session that has no socket left for one more client says so, and who has them.
"$CAP" session create full sockets=4 >/dev/null
job "$PROBE" flood "$CAPFS/sessions/full/control" 10 30 >"$TMP/flood"
wait_for 5 grep -q 'refused connect session=init/full at=control' "$CAPFS/sessions/full/events"
t_refused EDQUOT "no_socket_for_one_more" env CAPFS="$CAPFS/sessions/full" "$CAP" tree
t_like "which_is_said" 'init/full sockets limit=4 used=4; largest: init/full 4' \
	bash -c "CAPFS='$CAPFS/sessions/full' '$CAP' tree 2>&1; true"

harness_stop
t_done
