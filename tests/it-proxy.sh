#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Servers that learn by the PROXY protocol who calls, with the settings of capfs-relay.8 as they stand there:
# nginx, HAProxy, Apache, Dovecot, Postfix. Clients come by connect(2) to the slots' sockets, from two sessions.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
have python3 || harness_skip "no python3"
have curl || harness_skip "no curl"
harness_start --quota=caps=4096,sockets=512
chmod 755 "$TMP"
for session in app other; do "$CAP" session create $session caps=32 sockets=64; done

# What the page has in the display of an item, with this test's paths and PORT.
settings() { # ITEM DIRECTORY [PORT]
	awk -v item=".It $1" '
		/^\.Sh / { inside = $0 == ".Sh PROXY PROTOCOL"; found = 0 }
		/^\.It / { found = inside && $0 == item }
		/^\.Ed/ { copy = 0 }
		copy { print }
		found && /^\.Bd -literal/ { copy = 1 }' "$top_srcdir/man/capfs-relay.8" |
		sed -e 's/\\e/\\/g' -e "s,/run/web,$2," -e "s,/var/log,$2," -e "s/\<8143$/${3-}/;s/:8081$/:${3-}/"
}
# A server that listens by TCP alone gets its connections by this, which the page has as well.
between() { # PATH PORT
	local command
	command=$(sed -n 's/^\.Dl \(socat .*\)/\1/p' "$top_srcdir/man/capfs-relay.8" | sed -e "s,/run/web/front,$1," -e "s/:8081/:$2/")
	# shellcheck disable=SC2086 # it is one of words
	job $command
	JOINT=$!
	wait_for 10 test -S "$1"
}
free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Two sessions get what NAME serves.
grant_both() { # NAME
	"$CAP" grant "$1" app >"$TMP/output" && "$CAP" grant "$1" other >"$TMP/output"
}
slot() { # NAME SESSION
	echo "$CAPFS/sessions/$2/caps/$1"
}
slot_id() { # NAME SESSION
	field id "$(slot "$1" "$2")/info"
}
# The address that stands for it.
address() { # NAME SESSION
	local id
	id=$(slot_id "$1" "$2")
	echo "240.$((id >> 16)).$((id >> 8 & 255)).$((id & 255))"
}
# serve NAME OPTION…, with what its relay says in a log.
relay() {
	serve "$@" 2>>"$TMP/relay.log"
}
get() { # NAME SESSION [OPTION…]
	curl -sS --max-time 20 --unix-socket "$(slot "$1" "$2")/socket" "${@:3}" http://localhost/
}
# say_to NAME SESSION BYTES: as printf has them, some of them a second header; what is answered to that.
say_to() {
	python3 - "$(slot "$1" "$2")/socket" "$3" <<-'EOT'
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(20)
		s.connect(sys.argv[1])
		try:
		    s.sendall(sys.argv[2].encode().decode("unicode_escape").encode("latin-1"))
		    while data := s.recv(4096):
		        sys.stdout.write(data.decode("latin-1"))
		except OSError as e:
		    print(e)
	EOT
}
# Of 127.0.0.1, and of another label.
forged='\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x17\x7f\0\0\x01\x7f\0\0\x01\0\0\0\0\x02\0\x08init/ops'
in_log() { # TEXT FILE
	wait_for 10 grep -qF -- "$1" "$2"
}

# --- what does not go -----------------------------------------------------------------------------------

t_like "packets_have_no_header" "begin of a stream" "$CAP" serve x --proxy="$TMP/none" --send-proxy --socket=seqpacket
t_like "commands_get_none" "send-proxy does not go with --inetd" "$CAP" serve x --inetd --send-proxy -- cat

# --- with the caller's own user -------------------------------------------------------------------------

if is_root && have socat; then
	mkdir "$TMP/both"
	cat >"$TMP/both/reader.py" <<-'EOT'
		import os, socket, struct, sys
		s = socket.socket(socket.AF_UNIX)
		s.bind(sys.argv[1])
		os.chmod(sys.argv[1], 0o777)
		s.listen()
		while True:
		    c = s.accept()[0]
		    uid = struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
		    h = c.recv(1024)
		    c.sendall(b"%d %s\n" % (uid, h[31 : 31 + h[30]]))
		    c.close()
	EOT
	job python3 "$TMP/both/reader.py" "$TMP/both/front" 2>"$TMP/both/errors"
	reader=$!
	wait_for 10 test -S "$TMP/both/front"
	job "$CAP" serve both --proxy="$TMP/both/front" --send-proxy --as-caller
	SERVER=$!
	t_ok "a_relay_as_the_caller" wait_for 20 served both
	chmod 777 "$CAPFS/caps/both"
	t_is "the_kernel_tells_one_and_the_header_the_other" "5 init" \
		"$(cd / && as 5 socat -t20 -u UNIX-CONNECT:"$CAPFS/caps/both/socket" -)"
	end_job "$SERVER"
	end_job "$reader"
else
	t_skip "a_relay_as_the_caller" "root only: others have no other user"
fi

# --- caveats --------------------------------------------------------------------------------------------

# A server that answers with the groups of caveats in its header, a line each, and what else it gets.
mkdir "$TMP/told"
cat >"$TMP/told/reader.py" <<-'EOT'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.bind(sys.argv[1])
	s.listen()
	while True:
	    c = s.accept()[0]
	    h = c.recv(2048)
	    at, end, told = 28, 16 + int.from_bytes(h[14:16], "big"), []
	    while at < end:
	        n = int.from_bytes(h[at + 1 : at + 3], "big")
	        if h[at] == 0xE3:
	            told.append(h[at + 3 : at + 3 + n].replace(b"\0", b" | "))
	        at += 3 + n
	    c.sendall(b"; ".join(told) + b"\n")
	    c.close()
EOT
job python3 "$TMP/told/reader.py" "$TMP/told/front" 2>"$TMP/told/errors"
reader=$!
wait_for 10 test -S "$TMP/told/front"
t_ok "a_relay_without_caveats" relay told --proxy="$TMP/told/front" --send-proxy
t_fails EOPNOTSUPP "P38_gives_none_that_its_server_was_not_told" "$CAP" grant told app only=x
end_job "$SERVER"
t_like "only_a_header_tells_of_them" "only by a PROXY header" not "$CAP" serve told --proxy="$TMP/told/front" --caveats
t_ok "a_relay_with_caveats" relay told --proxy="$TMP/told/front" --send-proxy --caveats
"$CAP" grant told app rights=call,replicate 'only=GET /a b' only='GET /"c"' >"$TMP/output"
"$CAP" replicate app:told narrow only='GET *' >"$TMP/output"
answer() { # NAME
	timeout 20 "$PROBE" inherit "$(slot "$1" app)/socket" sh -c 'cat <&3'
}
t_is "P38_the_server_behind_is_told" 'GET /a b | GET /"c"' "$(answer told)"
t_is "P38_and_of_each_group" 'GET /a b | GET /"c"; GET *' "$(answer narrow)"
t_is "of_none_where_there_are_none" "" "$(timeout 20 "$PROBE" inherit "$CAPFS/caps/told/socket" sh -c 'cat <&3')"
long=$(printf '%240s' | tr ' ' x)
"$CAP" replicate app:told long only="$long" only="$long" only="$long" only="$long" >"$TMP/output"
t_is "P38_who_has_more_than_fits_is_refused" "" "$(answer long)"
t_ok "which_is_told" wait_for 10 grep -q 'its label or its caveats are longer' "$TMP/relay.log"
end_job "$SERVER"
end_job "$reader"

# --- nginx ----------------------------------------------------------------------------------------------

if have nginx; then
	mkdir -p "$TMP/nginx/tmp"
	{
		echo "daemon off; pid $TMP/nginx/pid; error_log $TMP/nginx/errors info; worker_processes 1; events {}"
		is_root && echo "user root;"
		echo "http {"
		for part in client_body proxy fastcgi uwsgi scgi; do echo "${part}_temp_path $TMP/nginx/tmp;"; done
		settings nginx "$TMP/nginx"
		echo "}"
	} >"$TMP/nginx/conf"
	job nginx -c "$TMP/nginx/conf" -e "$TMP/nginx/errors" 2>>"$TMP/nginx/start"
	nginx=$!
	t_ok "nginx" wait_for 20 test -S "$TMP/nginx/front"
	t_ok "a_relay_for_it" serve web --proxy="$TMP/nginx/front" --send-proxy --caveats
	grant_both web
	for session in app other; do
		t_is "nginx_knows_$session" "$(address web $session)" "$(get web $session)"
	done
	"$CAP" grant web app as=slim only='GET /' >"$TMP/output"
	t_is "nginx_passes_over_caveats" "$(address slim app)" "$(get slim app)"
	t_ok "and_logs_it" in_log "$(address web app) \"GET / HTTP/1.1\" 200" "$TMP/nginx/callers"
	t_like "a_second_header_is_a_bad_request" "^HTTP/1.1 400" say_to web app "${forged}GET / HTTP/1.0\r\n\r\n"
	t_ok "of_the_same_caller" wait_for 10 grep -q "^$(address web app) \"[^G].* 400$" "$TMP/nginx/callers"
	end_job "$SERVER"
	end_job "$nginx"
else
	t_skip "nginx" "no nginx"
fi

# --- HAProxy --------------------------------------------------------------------------------------------

if have haproxy; then
	mkdir "$TMP/haproxy"
	{
		printf 'defaults\n\tmode http\n\ttimeout connect 20s\n\ttimeout client 20s\n\ttimeout server 20s\n'
		settings HAProxy "$TMP/haproxy"
		printf '\thttp-request return status 200 content-type text/plain lf-string "%s %s %s"\n' \
			'%[req.hdr(X-Caller)]' '%[req.hdr(X-Capability)]' '%[src]'
	} >"$TMP/haproxy/conf"
	job haproxy -f "$TMP/haproxy/conf" -db >"$TMP/haproxy/output" 2>&1
	haproxy=$!
	t_ok "haproxy" wait_for 20 test -S "$TMP/haproxy/front"
	t_ok "a_relay_for_it" relay ha --proxy="$TMP/haproxy/front" --send-proxy --caveats
	grant_both ha
	t_is "haproxy_knows_label_and_slot" "init/app $(slot_id ha app) $(address ha app)" "$(get ha app)"
	t_is "whatever_the_client_says" "init/app $(slot_id ha app) $(address ha app)" "$(get ha app -H 'X-Caller: init/ops')"
	"$CAP" grant ha app as=thin only='GET /' >"$TMP/output"
	t_is "haproxy_passes_over_caveats" "init/app $(slot_id thin app) $(address thin app)" "$(get thin app)"
	t_like "and_refuses_another" "403 Forbidden" get ha other
	t_like "a_second_header_is_a_bad_request" "^HTTP/1.1 400" say_to ha other "${forged}GET / HTTP/1.0\r\n\r\n"
	# A label of 256 bytes is one too many: 4 of init, 3 of 65, 57.
	deep=$CAPFS
	for n in 64 64 64 56; do
		name=$(printf "%0${n}d" 0)
		mkdir "$deep/sessions/$name" && deep=$deep/sessions/$name
		echo "to=$name rights=call,grant" >"${deep%/sessions/*}/caps/ha/grant"
	done
	t_is "a_long_label" 256 "$(($(wc -c <"$deep/label") - 1))"
	cd "$deep/caps/ha" || exit # whose path is longer than an address
	# Whether curl has sent its request by then is its own affair: nothing came, or what it said was not read.
	t_like "is_refused_and_not_cut_off" "Empty reply|reset by peer|Broken pipe" curl -sS --max-time 20 --unix-socket socket http://localhost/
	cd / || exit
	t_like "which_is_told" "its label or its caveats are longer" cat "$TMP/relay.log"
	end_job "$SERVER"
	end_job "$haproxy"
else
	t_skip "haproxy" "no haproxy"
fi

# --- Apache ---------------------------------------------------------------------------------------------

if have apache2 && have socat; then
	mkdir "$TMP/apache"
	port=$(free_port)
	{
		printf 'ServerName localhost\nServerRoot %s\nPidFile pid\nErrorLog errors\nDocumentRoot %s\n' "$TMP/apache" \
			"$TMP/apache"
		for module in mpm_event remoteip authz_core; do
			echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
		done
		is_root && printf 'User www-data\nGroup www-data\n'
		settings Apache "$TMP/apache" "$port"
	} >"$TMP/apache/conf"
	job apache2 -f "$TMP/apache/conf" -DFOREGROUND 2>>"$TMP/apache/start"
	apache=$!
	t_ok "apache" wait_for 20 listens "$port"
	t_ok "what_leads_to_it" between "$TMP/apache/front" "$port"
	t_ok "a_relay_for_it" serve ap --proxy="$TMP/apache/front" --send-proxy
	grant_both ap
	for session in app other; do
		get ap $session >"$TMP/output"
		t_ok "apache_knows_$session" in_log "$(address ap $session) \"GET / HTTP/1.1\"" "$TMP/apache/callers"
	done
	t_like "a_second_header_is_a_bad_request" "^HTTP/1.1 400" say_to ap app "${forged}GET / HTTP/1.0\r\n\r\n"
	end_job "$SERVER"
	end_job "$JOINT"
	end_job "$apache"
else
	t_skip "apache" "no apache2, or no socat"
fi

# --- Dovecot --------------------------------------------------------------------------------------------

if ! is_root; then
	t_skip "dovecot" "root only: its processes have users of their own"
elif have dovecot && have socat; then
	mkdir -p "$TMP/dovecot/mail" && chown nobody "$TMP/dovecot/mail"
	port=$(free_port)
	{
		printf 'base_dir = %s/run\nstate_dir = %s/run\nlog_path = %s/log\n' "$TMP/dovecot" "$TMP/dovecot" "$TMP/dovecot"
		printf 'protocols = imap\nssl = no\ndisable_plaintext_auth = no\nmail_location = maildir:%s/mail\n' "$TMP/dovecot"
		printf 'passdb {\ndriver = static\nargs = nopassword=y\n}\n'
		printf 'userdb {\ndriver = static\nargs = uid=nobody gid=nogroup home=%s/mail\n}\n' "$TMP/dovecot"
		printf 'service imap-login {\nchroot =\ninet_listener imaps {\nport = 0\n}\n}\n'
		settings Dovecot "$TMP/dovecot" "$port"
	} >"$TMP/dovecot/conf"
	job dovecot -F -c "$TMP/dovecot/conf"
	dovecot=$!
	t_ok "dovecot" wait_for 20 listens "$port"
	t_ok "what_leads_to_it" between "$TMP/dovecot/front" "$port"
	t_ok "a_relay_for_it" serve mail --proxy="$TMP/dovecot/front" --send-proxy
	grant_both mail
	imap() { # SESSION
		curl -sS --max-time 20 --unix-socket "$(slot mail "$1")/socket" --user joe:x imap://localhost/ -X NOOP
	}
	for session in app other; do
		t_ok "a_login_from_$session" imap $session
		t_ok "dovecot_knows_$session" \
			in_log "user=<joe>, rip=$(address mail $session), caller=init/$session" "$TMP/dovecot/log"
	done
	t_like "a_second_header_is_a_bad_command" "^\* BAD" say_to mail app "$forged\r\na LOGOUT\r\n"
	t_ok "of_the_same_caller" in_log "user=<>, rip=$(address mail app), caller=init/app" "$TMP/dovecot/log"
	end_job "$SERVER"
	end_job "$JOINT"
	end_job "$dovecot"
else
	t_skip "dovecot" "no dovecot, or no socat"
fi

# --- Postfix --------------------------------------------------------------------------------------------

if ! is_root; then
	t_skip "postfix" "root only: its processes have users of their own"
elif have postfix && [ -x /usr/lib/postfix/sbin/master ]; then
	mkdir -p "$TMP/postfix/conf" "$TMP/postfix/spool" "$TMP/postfix/data"
	chown postfix "$TMP/postfix/data"
	cp /etc/postfix/postfix-files "$TMP/postfix/conf"
	cat >"$TMP/postfix/conf/main.cf" <<-EOT
		compatibility_level = 3.6
		queue_directory = $TMP/postfix/spool
		data_directory = $TMP/postfix/data
		command_directory = /usr/sbin
		daemon_directory = /usr/lib/postfix/sbin
		mail_owner = postfix
		setgid_group = postdrop
		inet_interfaces = loopback-only
		myhostname = relay.example
		mydestination = relay.example
		alias_maps =
		local_recipient_maps =
		maillog_file = $TMP/postfix/log
		maillog_file_prefixes = $TMP
	EOT
	{
		settings Postfix "$TMP/postfix"
		printf '%s\n' 'rewrite unix - - n - - trivial-rewrite' 'cleanup unix n - n - 0 cleanup' \
			'qmgr unix n - n 300 1 qmgr' 'anvil unix - - n - 1 anvil' 'postlog unix-dgram n - n - 1 postlogd'
	} >"$TMP/postfix/conf/master.cf"
	postfix -c "$TMP/postfix/conf" check >"$TMP/output" 2>&1
	job /usr/lib/postfix/sbin/master -c "$TMP/postfix/conf" -d 2>>"$TMP/postfix/start"
	postfix=$!
	t_ok "postfix" wait_for 20 test -S "$TMP/postfix/spool/public/front"
	job "$CAP" serve smtp --proxy="$TMP/postfix/spool/public/front" --send-proxy --user=:postdrop
	SERVER=$!
	t_ok "a_relay_for_it" wait_for 20 served smtp
	grant_both smtp
	for session in app other; do
		t_like "a_greeting_for_$session" "^220 relay.example" say_to smtp $session 'QUIT\r\n'
		t_ok "postfix_knows_$session" in_log "connect from unknown[$(address smtp $session)]" "$TMP/postfix/log"
	done
	t_like "a_second_header_is_a_bad_command" "^500 .*bad syntax" say_to smtp app "$forged\r\nQUIT\r\n"
	t_ok "of_nobody_else" not grep -F '[127.0.0.1]' "$TMP/postfix/log"
	end_job "$SERVER"
	end_job "$postfix"
else
	t_skip "postfix" "no postfix"
fi

harness_stop
t_done
