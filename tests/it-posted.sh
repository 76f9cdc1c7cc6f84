#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G82 G83 G84
# Time: 300
#
# Posted descriptors: left with the daemon by one, fetched by others, also when the one is gone and when the
# daemon was killed in between; and what those who post and those who fetch can do to each other and to others.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
mkdir "$TMP/kept"
chmod 755 "$TMP"
OPTIONS=(--quota=caps=1024,sockets=1024,inflight=256 --state-dir="$TMP/kept/state")
harness_start "${OPTIONS[@]}"
POSTED=$(program tests/posted)
app=$CAPFS/sessions/app
packet() { # SOCKET HEX [N PATH…]
	timeout 60 "$POSTED" packet "$@"
}
is_served() { # SLOT_DIR
	grep -q '^served=yes ' "$1/info"
}
kill_broker() {
	local old
	harness_pids
	old=$BROKER
	kill -9 "$old"
	wait_for 10 another_broker "$old"
}
used() { # KIND
	quota "$1" used "$CAPFS/quota"
}

# --- made, shown, refused

t_like "one_is_made" '^slot=conf id=[0-9]+$' "$CAP" originate fd conf
conf=$CAPFS/caps/conf
t_like "it_says_what_it_is" '^type=fd$' cat "$conf/info"
t_like "nothing_is_there_and_nothing_can_be_taken_back" '^served=no revocation=none$' cat "$conf/info"
t_like "its_rights" '^rights=open,fds,grant,replicate,reduce,transfer$' cat "$conf/info"
t_fails ECONNREFUSED "nothing_is_fetched" "$CAP" dataspace cat conf
t_fails EINVAL "it_is_about_no_session" "$CAP" originate fd conf2 of=app
"$CAP" session create app caps=16 sockets=16 inflight=8 >/dev/null
t_ok "it_is_granted_before_anything_is_there" "$CAP" grant conf app
t_like "without_the_right_to_post" '^rights=open$' cat "$app/caps/conf/info"
t_fails EPERM "which_cannot_be_granted" "$CAP" grant conf app as=more rights=open,fds
t_fails EPERM "nobody_calls_it" "$CAP" grant conf app as=more rights=call
t_fails EOPNOTSUPP "it_has_no_methods" "$CAP" grant conf app as=more methods=1

# --- posted and fetched

echo first >"$TMP/first"
echo second >"$TMP/second"
sockets=$(used sockets) inflight=$(used inflight)
t_ok "a_file_is_posted" "$CAP" post conf <"$TMP/first"
t_like "it_is_told_who_did" ' post session=init slot=conf id=[0-9]+ uid=[0-9]+$' cat "$CAPFS/events"
t_like "it_is_there" '^served=yes revocation=none$' cat "$conf/info"
t_like "others_see_that" '^served=yes revocation=none$' cat "$app/caps/conf/info"
t_is "it_is_paid_for" "1 1" "$(($(used sockets) - sockets)) $(($(used inflight) - inflight))"
t_is "it_arrives" first "$("$CAP" fetch app:conf cat)"
t_is "it_is_the_same_open_file" "" "$("$CAP" fetch app:conf cat)"
t_ok "another_one_is_posted" "$CAP" post conf <"$TMP/second"
t_is "it_takes_the_place" second "$("$CAP" fetch conf cat)"
t_ok "what_was_there_is_paid_back" wait_for 10 eval 'test "$(used inflight)" = $((inflight + 1))'
t_fails EINVAL "a_file_is_no_dataspace" "$CAP" dataspace cat conf
t_fails EPERM "a_receiver_cannot_post" "$CAP" post app:conf <"$TMP/first"
t_ok "a_slot_is_made_for_what_is_posted" "$CAP" post new <"$TMP/first"
t_is "and_has_it" first "$("$CAP" fetch new cat)"
t_ok "it_is_dropped" rmdir "$CAPFS/caps/new"
t_ok "a_descriptor_of_another_number" "$CAP" post conf 9 9<"$TMP/first"
t_fails EBADF "one_that_is_not_there" "$CAP" post conf 8
t_fails EBADF "for_which_no_slot_is_made" "$CAP" post new 8
t_ok "none_is_there" not test -e "$CAPFS/caps/new"

# --- what may not be posted

"$CAP" post conf <"$TMP/second"
t_fails EISDIR "a_directory" "$CAP" post conf <"$TMP"
t_fails EPERM "dev_fuse" "$CAP" post conf <>/dev/fuse
t_is "a_path" EBADF "$(packet "$conf/socket" 01 1 "@$TMP/first")"
t_is "a_connection_of_the_daemons" EXDEV "$(packet "$conf/socket" 01 1 "=$conf/socket")"
t_is "one_of_control" EXDEV "$(packet "$conf/socket" 01 1 "=$CAPFS/control")"
t_is "the_connection_itself" EXDEV "$("$POSTED" itself "$CAPFS" conf)"
t_is "more_than_one" EBADMSG "$(packet "$conf/socket" 01 2 "$TMP/first")"
t_is "as_many_as_can_be_sent" EBADMSG "$(packet "$conf/socket" 01 253 "$TMP/first")"
for bad in 00 03 0101 0000000000000000000000; do
	t_is "no_packet_$bad" EBADMSG "$(packet "$conf/socket" "$bad")"
done
t_is "a_request_with_a_descriptor" EBADMSG "$(packet "$conf/socket" 02 1 "$TMP/first")"
t_is "a_post_without_one" EBADMSG "$(packet "$conf/socket" 01)"
t_is "an_empty_one" end "$(packet "$conf/socket" "")"
t_like "a_receiver_does_not_post_by_hand" '^(EPERM|end)$' packet "$app/caps/conf/socket" 01 1 "$TMP/first"
t_is "all_that_changed_nothing" second "$("$CAP" fetch conf -- sh -c 'cat /proc/self/fd/0')"
t_like "it_is_told" 'refused connect session=init slot=conf uid=[0-9]+ E[A-Z]+: ' cat "$CAPFS/events"
t_is "what_is_behind_the_answer" "0 fd" "$(packet "$conf/socket" 02)"

# --- dataspaces

t_ok "memory_is_posted" sh -c "echo hello | '$CAP' dataspace create data"
data=$CAPFS/caps/data
t_like "it_is_shown" '^memory=6 seals=shrink,grow,write,seal$' cat "$data/info"
t_is "and_read" hello "$("$CAP" dataspace cat data)"
t_ok "one_of_nothing" sh -c "'$CAP' dataspace create nothing </dev/null"
t_is "is_read" "" "$("$CAP" dataspace cat nothing)"
rmdir "$CAPFS/caps/nothing"
head -c 1000000 /dev/urandom >"$TMP/large"
t_ok "a_large_one" sh -c "'$CAP' dataspace create data <'$TMP/large'"
"$CAP" dataspace cat data >"$TMP/copy"
t_ok "is_the_same" cmp "$TMP/large" "$TMP/copy"
"$CAP" originate fd hole >/dev/null
t_ok "one_in_which_nothing_is" "$POSTED" sparse "$CAPFS" hole 20000000
t_is "is_read_as_zeros" "20000000 0" "$("$CAP" dataspace cat hole | wc -c) $("$CAP" dataspace cat hole | tr -d '\0' | wc -c)"
t_is "and_takes_no_memory_by_that" 0 "$("$CAP" fetch hole -- stat -L -c %b /proc/self/fd/0)"
rmdir "$CAPFS/caps/hole"
t_is "G83_later_mappings_are_read_only_older_ones_go_on" \
	"seal 1 size 1 later EPERM write EPERM cut EPERM again EPERM older after!" \
	"$("$POSTED" seal "$CAPFS" data | tr '\n' ' ' | sed 's/ $//')"
printf '\1' | "$CAP" dataspace create data
"$CAP" grant data app rights=open >/dev/null
"$CAP" dataspace cat app:data >/dev/null
harness_pids
lists() {
	ls "/proc/$BROKER/fd" | wc -l
}
t_ok "all_is_quiet" wait_for 20 grep -q '^capfs_connections 2$' "$CAPFS/metrics"
before="$(lists) $(used sockets) $(used inflight) $(used ram)"
t_is "G82_10000_attach_and_detach" 10000 "$(timeout 280 "$POSTED" attach "$CAPFS" sessions/app/caps/data 1000 10)"
t_ok "G82_they_are_gone" wait_for 20 grep -q '^capfs_connections 2$' "$CAPFS/metrics"
t_is "G82_nothing_has_grown" "$before" "$(lists) $(used sockets) $(used inflight) $(used ram)"
t_ok "G84_who_has_it_drops_his_own" rmdir "$app/caps/data"
t_is "G84_the_owner_still_has_it" 01 "$("$CAP" dataspace cat data | od -An -tx1 | tr -d ' ')"
t_fails ENOENT "G84_and_he_has_not" "$CAP" dataspace cat app:data

# --- limits

"$CAP" grant conf app as=one rights=open conns=1 >/dev/null
mkfifo "$TMP/end"
"$POSTED" unread "$app/caps/one/socket" 1 <"$TMP/end" >"$TMP/unread" &
HARNESS_JOBS+=("$!")
exec 7>"$TMP/end"
wait_for 10 grep -q ready "$TMP/unread"
one_is_used() {
	grep -q '^conns limit=1 used=1' "$app/caps/one/info"
}
t_ok "who_has_not_read_is_counted" wait_for 10 one_is_used
t_like "and_kept_out" '^(end|EPIPE)$' packet "$app/caps/one/socket" 02
exec 7>&-
t_ok "until_he_leaves" wait_for 10 not one_is_used
t_is "then_he_gets_it" "0 fd" "$(packet "$app/caps/one/socket" 02)"

"$POSTED" unread "$app/caps/conf/socket" 8 <"$TMP/end" >"$TMP/unread" &
HARNESS_JOBS+=("$!")
exec 7>"$TMP/end"
wait_for 10 grep -q ready "$TMP/unread"
all_fly() {
	[ "$(quota inflight free "$app/quota")" = 0 ]
}
t_ok "what_nobody_reads_is_in_flight" wait_for 10 all_fly
t_is "one_more_is_refused" EDQUOT "$(packet "$app/caps/conf/socket" 02)"
t_is "others_are_not" "0 fd" "$(packet "$conf/socket" 02)"
exec 7>&-
t_ok "it_comes_back" wait_for 10 not all_fly
t_is "and_goes_out_again" "0 fd" "$(packet "$app/caps/conf/socket" 02)"

# --- whoever dies

for i in 1 2 3; do
	kill_broker
	t_is "a_broker_is_killed_$i" "yes 0 fd" "$(is_served "$app/caps/conf" && echo yes) $(packet "$app/caps/conf/socket" 02)"
done
for i in 1 2 3 4 5; do
	(
		while [ ! -e "$TMP/stop" ]; do
			"$CAP" post conf <"$TMP/$([ $((RANDOM % 2)) = 0 ] && echo first || echo second)" || echo bad
		done >"$TMP/posts.$i" 2>&1
	) &
	HARNESS_JOBS+=("$!")
	posters+=("$!")
done
for i in 1 2 3 4 5; do
	old=$BROKER
	kill_broker
	t_like "killed_while_many_post_$i" '^0 fd$' packet "$app/caps/conf/socket" 02
done
: >"$TMP/stop"
wait "${posters[@]}"
t_is "none_of_them_failed" "" "$(cat "$TMP"/posts.*)"
t_ok "one_is_there_in_the_end" wait_for 20 grep -q '^capfs_connections 2$' "$CAPFS/metrics"
t_is "and_paid_for" "$((inflight + 2))" "$(used inflight)"
"$CAP" post conf <"$TMP/first"
kill -9 "$BINDER"
t_ok "the_binder_is_killed" wait_for 20 sh -c "[ \"\$('$POSTED' packet '$conf/socket' 02)\" = '0 fd' ]"
harness_pids
old=$BROKER
upgraded() {
	answers && [ "$BROKER" != "$old" ]
}
kill -HUP "$KEEPER"
t_ok "a_reload" wait_for 60 upgraded
t_is "keeps_it" first "$("$CAP" fetch conf cat)"

# --- ended

"$CAP" grant conf app as=brief rights=open expires=2 >/dev/null
t_ok "it_expires" wait_for 30 not test -e "$app/caps/brief"
t_ok "it_is_revoked" "$CAP" revoke conf
t_fails ENOENT "from_who_had_it" "$CAP" fetch app:conf cat
t_ok "the_poster_still_has_it" is_served "$conf"
t_fails EBUSY "what_has_something_is_not_moved" "$CAP" transfer conf app
t_ok "the_slot_is_dropped" rmdir "$conf"
t_ok "and_what_was_posted_with_it" wait_for 10 eval 'test "$(used inflight)" = $((inflight + 1))'
rmdir "$data"
t_is "nothing_is_left" "$inflight" "$(used inflight)"

# --- over a stop

"$CAP" post old <"$TMP/first"
"$CAP" grant old app >/dev/null
harness_stop
harness_start "${OPTIONS[@]}"
t_like "what_was_posted_is_gone_with_the_daemon" '^served=no ' cat "$CAPFS/caps/old/info"
t_fails ECONNREFUSED "and_not_fetched" "$CAP" fetch app:old cat
t_ok "it_can_be_posted_again" "$CAP" post old <"$TMP/second"
t_is "for_all_who_have_it" second "$("$CAP" fetch app:old cat)"
rmdir "$CAPFS/caps/old"

# A file that nobody can close, of a client's own file system.
mkdir "$TMP/fs"
"$CAP" originate fd bad >/dev/null
"$CAP" grant bad app rights=open >/dev/null
: >"$TMP/hostile"
"$(program tests/hostile-file)" "$TMP/fs" "$CAPFS/caps/bad/socket" seqpacket $'\1' <"$TMP/end" >"$TMP/hostile" &
hostile=$!
HARNESS_JOBS+=("$hostile")
exec 7>"$TMP/end"
wait_for 20 test -s "$TMP/hostile"
if [ "$(cat "$TMP/hostile")" = sent ]; then
	t_ok "what_nobody_can_close_is_posted" wait_for 20 is_served "$CAPFS/caps/bad"
	harness_pids
	old=$BROKER
	t_ok "a_broker_is_killed_with_it" kill -9 "$BROKER"
	t_ok "it_is_there_again" wait_for 20 is_served "$CAPFS/caps/bad"
	harness_pids
	old=$BROKER
	t_ok "it_is_dropped" timeout 20 rmdir "$CAPFS/caps/bad"
	t_ok "one_process_sleeps_over_it" wait_for 20 pgrep -P "$BINDER" -x capfs-inspector
	t_ok "others_go_on" sh -c "echo more | timeout 20 '$CAP' dataspace create more"
	t_is "and_fetch" more "$(timeout 20 "$CAP" dataspace cat more)"
	harness_pids
	t_is "of_the_same_broker" "$old" "$BROKER"
else
	t_skip "what_nobody_can_close_is_posted" "$(cat "$TMP/hostile")"
fi
exec 7>&-
wait "$hostile"
umount -l "$TMP/fs" 2>/dev/null || fusermount3 -uz "$TMP/fs" 2>/dev/null

harness_stop
t_done
