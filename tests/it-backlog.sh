#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P05 P32
#
# As many may have connected without being accepted as at a plain server: while the broker stands still,
# all at once, and through nginx, which asks without waiting, while the daemon becomes another binary.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=64,sockets=4096,inflight=4096

# full PATH [MAX]: how many non-blocking connections it takes without anybody accepting
full() {
	timeout 60 python3 -c '
import socket, sys
taken = []
while len(taken) < int(sys.argv[2]):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(sys.argv[1])
    except BlockingIOError:
        break
    taken.append(s)
print(len(taken))' "$1" "${2:-6000}"
}
# The broker does not accept, and its holder, which would replace it, does not look. What is to be
# connected to must be known to the kernel before.
stand_still() { # PATH…
	harness_pids
	ls -l "$@" >/dev/null
	kill -STOP "$HOLDER" "$BROKER"
}
go_on() {
	kill -CONT "$BROKER" "$HOLDER"
}
filled() { # PATH
	stand_still "$1"
	full "$1"
	go_on
}
somaxconn=$(cat /proc/sys/net/core/somaxconn)
if [ "$(ulimit -n)" -gt $((somaxconn + 100)) ]; then
	serve echo --inetd --max=4 -- /bin/cat
	# The kernel lets one more in than was said.
	t_is "P32_as_many_as_the_system_allows" $((somaxconn + 1)) "$(filled "$CAPFS/caps/echo/socket")"
	t_is "the_broker_goes_on" x "$(timeout 60 "$PROBE" ask "$CAPFS/caps/echo/socket" x)"
	end_job "$SERVER"
else
	t_skip "P32_as_many_as_the_system_allows" "net.core.somaxconn is $somaxconn, there are $(ulimit -n) descriptors"
fi

serve echo --inetd --backlog=100 --max=4 -- /bin/cat
t_like "P32_what_a_server_says_is_shown" ' backlog=128 ' cat "$CAPFS/entrypoints/echo/info"
t_is "P32_and_rounded_up" 129 "$(filled "$CAPFS/caps/echo/socket")"
"$CAP" session create good >/dev/null
say to=good "$CAPFS/caps/echo/grant"
good=$CAPFS/sessions/good/caps/echo/socket
stand_still "$good" "$CAPFS/caps/echo/socket"
t_is "P05_one_is_flooded" 129 "$(full "$CAPFS/caps/echo/socket")"
t_is "P05_another_is_not" 10 "$(full "$good" 10)"
go_on
# A listener that is there already gets what the next server says.
test -S "$CAPFS/caps/echo/socket"
end_job "$SERVER"
serve echo --inetd --hold=8 --backlog=16 -- /bin/cat
t_is "P32_the_next_server_s" 17 "$(filled "$CAPFS/caps/echo/socket")"
end_job "$SERVER"
t_like "not_more" 'EINVAL: a backlog is 1 to 65536' timeout 20 "$CAP" serve echo --inetd --backlog=65537 -- /bin/cat
t_like "not_none" "backlog=0 is not a number above 0" timeout 20 "$CAP" serve echo --inetd --backlog=0 -- /bin/cat

# --- nginx in front

if ! command -v nginx >/dev/null || ! command -v ab >/dev/null; then
	t_skip "P32_nginx" "no nginx or no ab"
	harness_stop
	t_done
fi
port=$((20000 + $$ % 20000))
# nginx_start NAME LISTEN LOCATION
nginx_start() {
	mkdir -p "$TMP/$1"
	cat >"$TMP/$1.conf" <<EOT
daemon off; master_process off; pid $TMP/$1/pid; error_log $TMP/$1/error.log warn;
worker_rlimit_nofile 4096;
events { worker_connections 2000; }
http {
	access_log off; client_body_temp_path $TMP/$1/body; proxy_temp_path $TMP/$1/proxy;
	fastcgi_temp_path $TMP/$1/fastcgi; uwsgi_temp_path $TMP/$1/uwsgi; scgi_temp_path $TMP/$1/scgi;
	server { listen $2; location / { $3 } }
}
EOT
	job nginx -c "$TMP/$1.conf" -e "$TMP/$1/error.log"
}
nginx_start behind "unix:$TMP/behind.sock backlog=4096" 'return 200 "served\n";'
wait_for 10 test -S "$TMP/behind.sock"
serve web --proxy="$TMP/behind.sock"
nginx_start front "127.0.0.1:$port backlog=1024" "proxy_pass http://unix:$CAPFS/caps/web/socket:/;"
t_ok "P32_nginx_in_front" wait_for 10 sh -c "curl -sf http://127.0.0.1:$port/ | grep -q served"
# failed REQUESTS: of so many requests by 400 clients
requests() {
	timeout 300 ab -q -r -s 60 -c 400 -n "$1" "http://127.0.0.1:$port/" >"$TMP/ab" 2>&1
	awk -F: '/^(Failed|Non-2xx)/ { n += $2 } /^Complete/ { done = $2 } END { print done + 0, n + 0 }' "$TMP/ab"
}
t_is "P32_400_clients_at_once" "8000 0" "$(requests 8000)"
requests 24000 >"$TMP/requested" &
requesting=$!
upgraded() { # COUNT
	[ "$(grep -c 'upgraded: ' "$TMP/log")" -ge "$1" ]
}
for i in 1 2 3 4 5; do
	kill -HUP "$KEEPER"
	t_ok "SIGHUP_$i" wait_for 60 upgraded "$i"
done
t_ok "the_clients_are_still_at_it" kill -0 "$requesting"
wait "$requesting"
t_is "P32_a_SIGHUP_fails_none" "24000 0" "$(cat "$TMP/requested")"
echo "# $(grep -c . "$TMP/front/error.log") lines in the error log of nginx"

harness_stop
t_done
