#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Listen mode: servers that know socket activation and nothing of us get a listener and accept by
# themselves. What that keeps of a capability's promises, and what it says that it does not keep.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=512

cap=$CAPFS/caps
ask() { # SLOT_DIR TEXT
	timeout 30 "$PROBE" ask "$1/socket" "$2"
}

inode() { # SLOT_DIR
	stat -c '%i' "$1/socket"
}

# activated NAME OPTION…: a server by LISTEN_FDS, whose words go to $TMP/NAME.
activated() {
	rm -f "$TMP/$1"
	"$CAP" serve "$1" --listen "${@:2}" -- "$PROBE" serve >"$TMP/$1" 2>&1 &
	SERVER=$!
	HARNESS_JOBS+=("$SERVER")
	wait_for 10 grep -q names= "$TMP/$1"
}

t_ok "a_server_by_LISTEN_FDS" activated plain
SERVER_PLAIN=$SERVER
t_like "it_gets_just_the_listener" '^names=plain fds=0,1,2,3 blocking=yes cloexec=no$' cat "$TMP/plain"
t_like "a_client_is_answered" '^hello$' ask "$cap/plain" hello
t_like "info_of_the_entrypoint" \
	'^state=served thread=[0-9.]+ mode=listen objects=1 connections=- waiting=- fds=no$' \
	cat "$CAPFS/entrypoints/plain/info"
t_like "R4_info_says_what_a_revocation_does" '^served=yes revocation=new-only$' cat "$cap/plain/info"

t_ok "seqpacket" activated packets --socket=seqpacket
t_like "seqpacket_is_answered" '^packet$' ask "$cap/packets" packet
t_ok "as_another_slot" activated other --as=elsewhere
t_like "as_another_slot_is_answered" '^x$' ask "$cap/elsewhere" x

# One inode with many names, each of them as strong as its directory.
mkdir "$CAPFS/sessions/a" "$CAPFS/sessions/a/sessions/b"
a=$CAPFS/sessions/a/caps b=$CAPFS/sessions/a/sessions/b/caps
say 'to=a rights=call,grant,reduce' "$cap/plain/grant"
say 'to=b rights=call' "$a/plain/grant"
t_like "a_derived_slot" '^through b$' ask "$b/plain" "through b"
t_is "all_slots_are_names_of_one_socket" "$(inode "$cap/plain") $(inode "$cap/plain")" \
	"$(inode "$a/plain") $(inode "$b/plain")"
t_ok "another_object_is_another_socket" test "$(inode "$cap/plain")" != "$(inode "$cap/packets")"

# The control protocol has no connections of such a server to give; the library finds the way.
passing() {
	timeout 20 "$(program tests/passing)" "$@"
}
t_is "the_library_connects" "library" "$(passing raw "$CAPFS" plain library)"
t_is "the_library_connects_below" "below" "$(passing raw "$CAPFS" sessions/a/sessions/b/caps/plain below)"
t_is "S03_slots_of_one_socket_are_the_same" 1 "$(passing same "$CAPFS" plain sessions/a/caps/plain)"

for limit in conns=1 calls=1 rate=1/s methods=0-3; do
	t_fails EOPNOTSUPP "R4_${limit%%=*}_cannot_be_kept" say "to=a $limit" "$cap/plain/grant"
	t_fails EOPNOTSUPP "R4_${limit%%=*}_cannot_be_kept_by_reduce" say "$limit" "$a/plain/reduce"
done
t_unlike "usage_names_no_such_limit" 'conns|calls|rate' cat "$cap/plain/grant"
t_fails EOPNOTSUPP "R4_replicate_neither" say 'as=c conns=1' "$cap/plain/replicate"
t_ok "refused_and_nothing_done" test ! -e "$cap/c"

say 'to=a as=brief expires=1' "$cap/plain/grant"
t_like "expires_can_be_granted" '^expires=20' cat "$a/brief/info"
t_like "before_it_expires" '^z$' ask "$a/brief" z
t_ok "expired_is_gone" wait_for 5 test ! -e "$a/brief"
t_fails ENOENT "expired_is_ENOENT" ask "$a/brief" z

# A right that a slot loses, others keep.
say 'to=a as=mute rights=grant,reduce,call' "$cap/plain/grant"
t_like "before_it_loses_call" '^x$' ask "$a/mute" x
say 'rights=grant,reduce' "$a/mute/reduce"
t_fails ECONNREFUSED "without_call_there_is_no_connection" ask "$a/mute" x
t_fails ECONNREFUSED "without_call_still_none" ask "$a/mute" x
t_like "others_still_have_it" '^x$' ask "$a/plain" x

# Revocation takes the names: new connections only. What is said in info.
job timeout 60 "$PROBE" inherit "$b/plain/socket" sh -c \
	"sleep 2; printf on >&3; head -c 2 <&3 >$TMP/goes-on"
job timeout 60 "$PROBE" keep "$b/plain/socket" sh -c \
	"touch $TMP/kept; sleep 2; '$PROBE' ask /proc/self/fd/3 kept >$TMP/by-node"
wait_for 5 test -e "$TMP/kept"
t_ok "revoke" say 1 "$a/plain/revoke"
t_fails ENOENT "revoked_is_ENOENT" ask "$b/plain" x
t_fails ENOENT "revoked_is_ENOENT_again" ask "$b/plain" x
t_like "what_it_came_from_goes_on" '^x$' ask "$a/plain" x
t_ok "new_only_an_open_connection_goes_on" wait_for 5 grep -q on "$TMP/goes-on"
t_ok "new_only_a_kept_node_goes_on" wait_for 5 grep -q kept "$TMP/by-node"
t_ok "drop" rmdir "$a/plain"
t_fails ENOENT "dropped_is_ENOENT" ask "$a/plain" x
t_like "the_origin_goes_on" '^x$' ask "$cap/plain" x

# Who may connect: as in broker mode, whatever the mode of the common socket.
if is_root; then
	mkdir "$CAPFS/sessions/u"
	say 'to=u' "$cap/plain/grant"
	chown 61234 "$CAPFS/sessions/u"
	u=$CAPFS/sessions/u/caps
	t_like "its_owner_connects" '^x$' "$PROBE" -u 61234 ask "$u/plain/socket" x
	t_fails EACCES "another_user_does_not" "$PROBE" -u 61235 ask "$u/plain/socket" x
	t_fails EACCES "nor_through_the_root_session" "$PROBE" -u 61234 ask "$cap/plain/socket" x
	chmod 711 "$CAPFS/sessions/u"
	t_fails EACCES "search_permission_does_not_do" "$PROBE" -u 61235 ask "$u/plain/socket" x
	chmod 777 "$u/plain"
	t_like "write_permission_does" '^x$' "$PROBE" -u 61235 ask "$u/plain/socket" x
fi

# Signals and the exit status are the command's.
"$CAP" serve brief --listen -- sh -c 'exit 7' 2>"$TMP/output"
t_is "the_status_is_the_command_s" 7 $?
"$CAP" serve brief --listen -- sh -c 'kill -9 $$' 2>"$TMP/output"
t_is "a_signal_is_128_and_more" 137 $?
"$CAP" serve brief --listen -- /no/such 2>"$TMP/said"
t_is "no_such_command" 127 $?
t_like "no_such_command_says_so" 'ENOENT' cat "$TMP/said"
t_ok "what_ended_is_detached" wait_for 5 detached brief
for signal in TERM INT HUP; do
	# What runs behind a script's back ignores SIGINT.
	env --default-signal=INT "$CAP" serve brief --listen -- bash -c \
		"trap 'echo $signal; exit 3' $signal; touch $TMP/up-$signal; while :; do sleep 0.1; done" \
		>"$TMP/said-$signal" 2>&1 &
	server=$!
	HARNESS_JOBS+=("$server")
	wait_for 10 test -e "$TMP/up-$signal"
	kill -s "$signal" "$server"
	wait "$server"
	t_is "SIG${signal}_is_passed_on" "3 $signal" "$? $(cat "$TMP/said-$signal")"
done
t_fails EBUSY "served_by_one_only" "$CAP" serve plain --listen -- /bin/true
t_fails EEXIST "the_mode_is_fixed" "$CAP" serve brief --inetd -- /bin/cat

# The server goes: refused, not waiting. The next one gets a new listener; the slots are the same.
id=$(field id "$cap/plain/info") badge=$(field badge "$cap/plain/info") node=$(inode "$cap/plain")
end_job "$SERVER_PLAIN"
t_ok "G12_a_dead_server_detaches" wait_for 10 detached plain
t_fails ECONNREFUSED "G13_nobody_serves" ask "$cap/plain" x
t_like "listing_what_nobody_serves" '^s.* socket$' timeout 10 ls -l "$cap/plain"
t_fails ECONNREFUSED "G13_still_nobody" ask "$cap/plain" x
t_ok "G14_served_again" activated plain
t_like "G14_S21_the_same_slot_works" '^again$' ask "$cap/plain" again
t_is "S21_same_id_badge_and_node" "$id $badge $node" \
	"$(field id "$cap/plain/info") $(field badge "$cap/plain/info") $(inode "$cap/plain")"

# A server killed without a chance to say anything: nobody waits in the backlog of a dead listener.
job timeout 60 "$PROBE" keep "$cap/plain/socket" sh -c \
	"touch $TMP/kept2; sleep 3; '$PROBE' ask /proc/self/fd/3 x >$TMP/by-node2"
wait_for 5 test -e "$TMP/kept2"
kill -9 "$SERVER"
t_ok "killed_it_is_detached" wait_for 10 detached plain
t_ok "a_kept_node_is_refused_then" wait_for 8 grep -q ECONNREFUSED "$TMP/by-node2"
t_ok "and_served_again" activated plain
t_like "and_answers_again" '^x$' ask "$cap/plain" x

# The broker dies: listeners stay where they are, connections too.
job timeout 60 "$PROBE" inherit "$cap/plain/socket" sh -c \
	"sleep 2; printf on >&3; head -c 2 <&3 >$TMP/survived"
sleep 0.3
for i in 1 2 3 4 5; do
	harness_pids
	kill -9 "$BROKER"
	[ "$(ask "$cap/plain" "$i")" = "$i" ] && [ "$(ask "$cap/packets" "$i")" = "$i" ] || break
	wait_for 10 answers
done
t_is "P14_connect_goes_on_over_kills" 5 "$i"
t_ok "P14_an_open_connection_goes_on" wait_for 5 grep -q on "$TMP/survived"
t_ok "P14_still_served" served plain
say 'to=a' "$cap/plain/grant"
t_like "P14_a_new_slot_afterwards" '^x$' ask "$a/plain" x
end_job "$SERVER"
t_ok "P14_a_dead_server_is_seen_afterwards" wait_for 10 detached plain
t_fails ECONNREFUSED "P14_and_refuses" ask "$a/plain" x

# The end of the entrypoint ends the command.
t_ok "once_more" activated plain
rmdir "$CAPFS/entrypoints/plain"
t_ok "rmdir_ends_its_slots" test ! -e "$cap/plain"
wait "$SERVER"
t_is "rmdir_ends_the_command" 1 $?

# Many listeners beside it, more than are kept idle: the server's is never one of those given back.
t_ok "a_server_that_is_not_asked" activated quiet
quiet=$(inode "$cap/quiet")

# A web server as it is.
if have lighttpd && have curl; then
	mkdir "$TMP/www"
	echo 'a page' >"$TMP/www/index.html"
	cat >"$TMP/lighttpd.conf" <<EOT
server.document-root = "$TMP/www"
server.systemd-socket-activation = "enable"
index-file.names = ( "index.html" )
EOT
	t_ok "lighttpd_is_served" serve web --listen -- lighttpd -D -f "$TMP/lighttpd.conf"
	t_like "curl_reaches_lighttpd" '^a page$' \
		curl -sS -m 10 --retry 5 --retry-connrefused --unix-socket "$cap/web/socket" http://x/
	say 'to=a' "$cap/web/grant"
	t_like "curl_reaches_lighttpd_by_another_slot" '^a page$' \
		curl -sS -m 10 --unix-socket "$a/web/socket" http://x/
	end_job "$SERVER"
else
	t_skip "curl_reaches_lighttpd" "lighttpd or curl is not installed"
fi

mkdir "$CAPFS/sessions/many"
say 'to=many caps=100 sockets=100' "$CAPFS/transfer_quota"
t_ok "S10_a_service_beside_it" serve echo --inetd -- /bin/cat
for i in $(seq 64); do
	say "to=many as=s$i" "$cap/echo/grant"
done
ls -l "$CAPFS"/sessions/many/caps/*/socket >"$TMP/listed"
t_is "all_are_listed" 64 "$(wc -l <"$TMP/listed")"
sleep 2
t_like "a_server_that_is_not_asked_is_there" '^x$' ask "$cap/quiet" x
t_is "by_the_same_node" "$quiet" "$(inode "$cap/quiet")"

harness_stop
t_done
