#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G12 G13 G14 G26 P07 S01 S02 S10 S21 Z12 Z40 Z41
#
# Capability sockets as unmodified clients see them: curl, socat and a relay through them; limits; what
# a revocation, a lost server and a new one look like.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=512

cap=$CAPFS/caps
ask() { # SLOT_DIR TEXT
	timeout 30 "$PROBE" ask "$1/socket" "$2"
}

# hold SLOT_DIR NAME: a connection that stays open, its server's words go to $TMP/NAME; the peer is cat.
hold() {
	job timeout 120 socat -t 0.1 "UNIX-CONNECT:$1/socket" "EXEC:sleep 100"
	echo $! >"$TMP/$2.pid"
}

t_ok "S10_a_service_per_connection" serve echo --inetd -- /bin/cat
SERVER_ECHO=$SERVER
t_like "S10_a_shell_client_is_answered" '^hello$' ask "$cap/echo" hello
t_like "socat_through_a_capability" '^through socat$' sh -c \
	"echo 'through socat' | timeout 10 socat -t 5 - UNIX-CONNECT:$cap/echo/socket"

# A web server of its own behind the relay.
if have lighttpd && have curl; then
	mkdir "$TMP/www"
	echo 'a page' >"$TMP/www/index.html"
	head -c 3000000 /dev/urandom >"$TMP/www/blob"
	cat >"$TMP/lighttpd.conf" <<EOT
server.document-root = "$TMP/www"
server.bind = "$TMP/lighttpd.sock"
index-file.names = ( "index.html" )
EOT
	job lighttpd -D -f "$TMP/lighttpd.conf"
	wait_for 10 test -S "$TMP/lighttpd.sock"
	t_ok "a_web_server_behind_the_relay" serve web --proxy="$TMP/lighttpd.sock"
	t_like "curl_through_a_capability" '^a page$' curl -sS -m 10 --unix-socket "$cap/web/socket" http://x/
	fetch() {
		curl -sS -m 30 --unix-socket "$cap/web/socket" http://x/blob | cmp - "$TMP/www/blob"
	}
	t_ok "a_large_answer_arrives_whole" fetch
	many() {
		local pids=() i
		for i in 1 2 3 4 5 6 7 8; do
			fetch &
			pids+=($!)
		done
		for i in "${pids[@]}"; do
			wait "$i" || return 1
		done
	}
	t_ok "eight_at_once" many
	# A relay whose server is gone: connected, then the end.
	mv "$TMP/lighttpd.sock" "$TMP/away.sock"
	# The end comes before or after curl has sent: 7 (ended at once), 52 (empty
	# reply), 55, 56 (broken pipe); not 28.
	t_like "a_dead_backend_is_an_end_not_a_hang" '^status (7|52|55|56)$' sh -c \
		"curl -sS -m 10 --unix-socket $cap/web/socket http://x/; echo status \$?"
	mv "$TMP/away.sock" "$TMP/lighttpd.sock"
	t_ok "and_works_again" fetch
else
	t_skip "curl_through_a_capability" "lighttpd or curl is not installed"
fi

# Limits, counted against all ancestors.
mkdir "$CAPFS/sessions/a" "$CAPFS/sessions/a/sessions/b"
say 'to=a rights=call,grant,reduce conns=2' "$cap/echo/grant"
say 'to=b rights=call' "$CAPFS/sessions/a/caps/echo/grant"
a=$CAPFS/sessions/a/caps/echo b=$CAPFS/sessions/a/sessions/b/caps/echo
hold "$a" first
hold "$b" second
t_ok "conns_are_counted_at_the_ancestor" wait_for 5 grep -q '^conns limit=2 used=2 left=0' "$a/info"
t_is "conns_reached_connected_then_EOF" "" "$(ask "$b" x)"
t_like "conns_refusal_is_an_event" 'refused connect session=init/a/b slot=echo' tail -n 3 "$CAPFS/sessions/a/events"
t_like "others_are_not_concerned" '^x$' ask "$cap/echo" x
t_fails EBUSY "Z40_Z41_reduce_below_what_is_in_use" say 'conns=1' "$a/reduce"
end_job "$(cat "$TMP/first.pid")"
t_ok "conns_are_given_back" wait_for 5 grep -q '^conns limit=2 used=1 left=1' "$a/info"
t_like "and_can_be_used_again" '^y$' ask "$b" y
end_job "$(cat "$TMP/second.pid")"

say 'to=a as=thrice calls=3' "$cap/echo/grant"
thrice=$CAPFS/sessions/a/caps/thrice
t_is "calls_of_a_plain_service_are_connections" "1 2 3 " "$(for i in 1 2 3 4; do ask "$thrice" "$i "; done)"
t_like "calls_are_used_up" '^calls limit=3 used=3 left=0' cat "$thrice/info"

say 'to=a as=brief expires=1' "$cap/echo/grant"
brief=$CAPFS/sessions/a/caps/brief
t_like "expires_is_shown" '^expires=20[0-9-]+T[0-9:]+Z$' cat "$brief/info"
t_like "before_it_expires" '^z$' ask "$brief" z
job timeout 60 "$PROBE" inherit "$brief/socket" sh -c "cat <&3 >/dev/null; echo ended >$TMP/expired"
t_ok "expired_is_gone" wait_for 5 test ! -e "$brief"
t_fails ENOENT "expired_is_ENOENT" ask "$brief" z
t_ok "P07_an_open_connection_expires_too" wait_for 5 test -e "$TMP/expired"

# Rights.
say 'to=a as=no-grant rights=call' "$cap/echo/grant"
t_fails EPERM "Z12_no_right_no_grant" say 'to=b' "$CAPFS/sessions/a/caps/no-grant/grant"

# S01. What has no path to the tree reaches nothing; what was handed a connected socket uses that.
if is_root; then
	mkdir "$TMP/empty"
	t_like "S01_an_inherited_socket_works_where_no_path_leads" '^inherited$' \
		timeout 10 "$PROBE" inherit "$cap/echo/socket" unshare -m sh -c \
		"mount -t tmpfs none '$CAPFS' && printf inherited >&3 && head -c 9 <&3; ls '$CAPFS'"
	t_fails ENOENT "S01_and_nothing_else_is_reached" timeout 10 unshare -m sh -c \
		"mount -t tmpfs none '$CAPFS' && '$PROBE' ask '$cap/echo/socket' x"
else
	t_like "S01_an_inherited_socket_works" '^inherited$' timeout 10 "$PROBE" inherit "$cap/echo/socket" \
		sh -c "printf inherited >&3 && head -c 9 <&3"
fi

# Revocation as the client sees it: the open connection ends, the node is gone, others go on.
job timeout 60 "$PROBE" inherit "$b/socket" sh -c "cat <&3 >/dev/null; echo ended >$TMP/revoked"
job timeout 60 "$PROBE" inherit "$cap/echo/socket" sh -c "cat <&3 >/dev/null; echo ended >$TMP/untouched"
wait_for 5 grep -q 'used=1' "$a/info"
t_ok "P07_revoke" say 1 "$a/revoke"
t_ok "P07_open_connections_end" wait_for 5 test -e "$TMP/revoked"
t_fails ENOENT "P07_no_new_ones" ask "$b" x
t_like "the_source_of_the_revoked_goes_on" '^x$' ask "$a" x
t_ok "P07_a_drop_ends_what_was_derived" rmdir "$a"
t_fails ENOENT "dropped_is_ENOENT" ask "$a" x
t_like "what_it_came_from_goes_on" '^x$' ask "$cap/echo" x
t_ok "unrelated_connections_are_untouched" test ! -e "$TMP/untouched"
t_ok "revoke_self" sh -c "echo 'to=a as=selfless rights=call,reduce' >'$cap/echo/grant' && echo self >'$CAPFS/sessions/a/caps/selfless/revoke'"
t_ok "revoke_self_ends_the_slot" test ! -e "$CAPFS/sessions/a/caps/selfless"

# The server goes and comes back.
badge=$(field badge "$cap/echo/info")
say 'to=a as=echo' "$cap/echo/grant"
id=$(field id "$a/info")
end_job "$SERVER_ECHO"
t_ok "G12_a_dead_server_detaches" wait_for 10 detached echo
t_ok "G12_its_connections_end" wait_for 5 test -e "$TMP/untouched"
t_fails ECONNREFUSED "G13_nobody_serves" ask "$a" x
t_like "G13_info_says_so" '^served=no' cat "$a/info"
t_ok "listing_what_nobody_serves" timeout 10 ls -lR "$CAPFS/sessions/a"
t_fails ECONNREFUSED "G13_still_nobody" ask "$a" x
t_ok "G14_serve_again" serve echo --inetd -- /bin/cat
t_like "G14_S21_the_same_slot_works" '^again$' ask "$a" again
t_is "S21_same_badge_and_id" "$badge $id" "$(field badge "$a/info") $(field id "$a/info")"
t_fails EBUSY "S02_a_second_server_is_refused" "$CAP" serve echo --inetd -- /bin/cat

# An entrypoint that ends with its server.
t_ok "serve_once" serve brief --once --inetd -- /bin/date
end_job "$SERVER"
t_ok "once_it_ends_with_its_server" wait_for 5 test ! -e "$CAPFS/entrypoints/brief"
t_ok "and_so_do_its_capabilities" wait_for 5 test ! -e "$cap/brief"

# A session at another /cap is complete, and shows nothing above it.
if is_root; then
	mkdir "$TMP/elsewhere"
	sandbox() {
		unshare -m sh -c "mount --bind '$CAPFS/sessions/a' '$TMP/elsewhere' && umount -l '$CAPFS' &&
			cd '$TMP/elsewhere' && $1"
	}
	t_like "a_bind_mounted_session_connects" '^here$' sandbox "timeout 10 '$PROBE' ask caps/echo/socket here"
	t_like "a_bind_mounted_session_commands" '^init/a$' sandbox \
		"cat label && mkdir sessions/c && rmdir sessions/c && test ! -e ../sessions/a"
	t_like "a_bind_mounted_session_has_its_control" '^init/a$' sandbox "'$CAP' --cap=. show label"
fi

# Closing a session ends what it held, and its quota comes back.
free=$(quota caps free "$CAPFS/quota")
mkdir "$CAPFS/sessions/gone"
say to=gone "$cap/echo/grant"
job timeout 60 "$PROBE" inherit "$CAPFS/sessions/gone/caps/echo/socket" sh -c "cat <&3 >/dev/null; echo ended >$TMP/closed"
sleep 0.2
t_ok "G26_close_a_session" rmdir "$CAPFS/sessions/gone"
t_ok "G26_its_connections_end" wait_for 5 test -e "$TMP/closed"
t_is "G26_its_quota_comes_back" "$free" "$(quota caps free "$CAPFS/quota")"

harness_stop
t_done
