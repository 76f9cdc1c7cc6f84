#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P39 P23
# Time: 120
#
# capfs-http: calls= and rate= are of requests, which HAProxy counts in the pages of the entrypoint, however many of
# them a connection has, and whoever dies in between.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
for program in haproxy curl python3; do have $program || harness_skip "no $program"; done
harness_start --quota=caps=4096,sockets=4096

mkdir -m 755 "$TMP/behind"
cat >"$TMP/server.py" <<'EOT'
# Answers what it was asked, and writes it down; /up switches to a protocol of capitals.
import os, socket, sys, threading
log = open(sys.argv[2], "a", buffering=1)
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o666); s.listen(128)
def serve(c):
    f = c.makefile("rwb")
    while (line := f.readline().decode("latin-1")):
        fields = []
        while (field := f.readline().decode("latin-1").strip()): fields.append(field.lower())
        what = " ".join(line.split(" ")[:2])
        print(what, *(x for x in fields if x.startswith(("upgrade", "x-"))), file=log)
        if what.endswith("/up"):
            c.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            while (d := c.recv(65536)): c.sendall(d.upper())
            return
        text = what.encode() + b"\n"
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
def one(c):
    try: serve(c)
    except OSError: pass
    c.close()
while True:
    threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()
EOT
cat >"$TMP/ask.py" <<'EOT'
# ask.py SOCKET: one connection. Each line of standard input is METHOD PATH [N]: so many requests, and the statuses
# of these; "end" waits for its end, "up" sends a word over it.
import http.client, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX); self.sock.settimeout(20); self.sock.connect(sys.argv[1])
c = Connection("d"); c.connect(); c.auto_open = 0
for line in sys.stdin:
    w = line.split()
    try:
        if w[0] == "end": print("end" if c.sock is None or c.sock.recv(1) == b"" else "more", flush=True); continue
        got = []
        for _ in range(int(w[2]) if len(w) > 2 else 1):
            c.request(w[0], w[1]); r = c.getresponse(); got.append(str(r.status)); r.read()
        print(*got, flush=True)
    except (OSError, http.client.HTTPException) as e: print(type(e).__name__, flush=True)
EOT
asked=$TMP/asked
: >"$asked"
job python3 "$TMP/server.py" "$TMP/behind/server" "$asked" 2>/dev/null
wait_for 10 test -S "$TMP/behind/server"
job "$CAP" serve docker --http --proxy="$TMP/behind/server" 2>"$TMP/said"
SERVER=$!
t_ok "a_server_counts_what_is_asked" wait_for 30 served docker
t_like "and_says_so" ' caveats=yes counts=yes$' cat "$CAPFS/entrypoints/docker/info"
for session in ci free; do "$CAP" session create $session caps=400 sockets=512 >/dev/null; done
ci=$CAPFS/sessions/ci/caps/docker free=$CAPFS/sessions/free/caps/docker

statuses() { # SOCKET LINE...: each what one connection has for it
	local socket=$1
	shift
	printf '%s\n' "$@" | timeout 60 python3 "$TMP/ask.py" "$socket"
}
used() { sed -n 's/.* used=\([0-9]*\).*/\1/p;s/^used=\([0-9]*\).*/\1/p' "$1/info" | head -n 1; }

# --- requests, and not connections -------------------------------------------------------------

t_ok "P39_ten_requests_of_some" say 'to=ci rights=call,grant only="GET /containers/**" calls=12' "$CAPFS/caps/docker/grant"
t_is "P39_many_on_one_connection" "200 200 200 200 200 200 200 200 200 200" \
	"$(statuses "$ci/socket" "GET /containers/json 10" | xargs)"
t_is "P39_count_each" 10 "$(used "$ci")"
t_is "P39_what_a_caveat_refuses_does_not" "403 403 200 10+1" \
	"$(statuses "$ci/socket" "GET /info" "POST /containers/x" "GET /containers/x" | xargs) 10+$(($(used "$ci") - 10))"
t_is "P39_and_no_more_than_it_may" "200 429 429 403" \
	"$(statuses "$ci/socket" "GET /containers/json 3" "GET /info" | xargs)"
t_is "P39_which_do_not_count" 12 "$(used "$ci")"
t_is "nothing_of_that_has_come" 12 "$(grep -c . "$asked")"
refused() { timeout 20 curl -s "$@" --unix-socket "$ci/socket" http://d/containers/json; }
t_is "it_says_who_and_why" "init/ci docker: GET /containers/json: its calls are used up" \
	"$(refused | python3 -c 'import json, sys; print(json.load(sys.stdin)["message"])')"
t_like "it_is_json" '^[Cc]ontent-[Tt]ype: application/json' refused -i
told() {
	refused >/dev/null
	grep -q " refused call session=init/ci slot=docker uid=$(id -u) EDQUOT: GET /containers/json" "$CAPFS/sessions/ci/events"
}
t_ok "P23_it_is_an_event_of_the_session" wait_for 20 told
mkfifo "$TMP/lines"
exec 7<>"$TMP/lines"
ask_on() { # LINE: on the connection that is kept; what it has is added to $TMP/kept
	local n
	n=$(grep -c . "$TMP/kept")
	echo "$1" >&7
	wait_for 30 more_than "$n" && tail -n 1 "$TMP/kept"
}
more_than() { [ "$(grep -c . "$TMP/kept")" -gt "$1" ]; }
keep() { # SOCKET: one connection for ask_on
	: >"$TMP/kept"
	python3 "$TMP/ask.py" "$1" <"$TMP/lines" >"$TMP/kept" 2>&1 &
	kept=$!
	HARNESS_JOBS+=("$kept")
}
say 'to=ci calls=16' "$CAPFS/caps/docker/adjust"
keep "$ci/socket"
t_is "more_are_asked_for_by_adjust" "200 200" "$(ask_on "GET /containers/json 2")"
say 'to=ci calls=14' "$CAPFS/caps/docker/adjust"
t_is "of_open_connections_too" 429 "$(ask_on "GET /containers/json")"
say 'to=ci calls=40' "$CAPFS/caps/docker/adjust"
t_is "up_and_down" 200 "$(ask_on "GET /containers/json")"
t_is "they_are_counted_on" 15 "$(used "$ci")"

# --- whoever dies ------------------------------------------------------------------------------

kill -9 "$BROKER" && wait_for 20 harness_pids
t_is "P39_a_broker_s_death_loses_none" "200 16" "$(ask_on "GET /containers/json") $(used "$ci")"
t_ok "the_store_has_them" wait_for 20 grep -q 'used=16' "$ci/info"
helper() { pgrep -P "$SERVER" -x capfs-http; }
another() { [ -n "$(helper)" ] && [ "$(helper)" != "$1" ] && served docker; }
first=$(helper)
kill -9 "$first"
t_ok "another_server_comes" wait_for 20 another "$first"
t_is "P39_a_server_s_death_neither" 16 "$(used "$ci")"
t_is "the_next_goes_on_counting" "200 17" "$(statuses "$ci/socket" "GET /containers/json") $(used "$ci")"
second=$(helper)
kill -9 "$(pgrep -P "$second" -x haproxy)"
t_ok "and_another_after_HAProxy_s" wait_for 20 another "$second"
t_is "P39_which_loses_none" "200 18" "$(statuses "$ci/socket" "GET /containers/json") $(used "$ci")"
end_job $kept

# --- all that it came from ---------------------------------------------------------------------

mkdir "$CAPFS/sessions/ci/sessions/sub"
sub=$CAPFS/sessions/ci/sessions/sub/caps/docker
t_ok "P39_a_derivation" say 'to=sub only="* /containers/x" calls=3' "$ci/grant"
t_is "P39_has_its_own" "200 200 200 429" "$(statuses "$sub/socket" "GET /containers/x 4" | xargs)"
t_is "P39_and_counts_above" "3 21" "$(used "$sub") $(used "$ci")"
say 'to=ci calls=22' "$CAPFS/caps/docker/adjust"
say 'to=sub calls=20' "$ci/adjust"
t_is "P39_where_it_is_refused_as_well" "200 429 4 22" \
	"$(statuses "$sub/socket" "GET /containers/x 2" | xargs) $(used "$sub") $(used "$ci")"

# --- without caveats, with a rate, without limits ----------------------------------------------

: >"$asked"
t_ok "no_caveat_and_a_limit" say 'to=free calls=4' "$CAPFS/caps/docker/grant"
t_is "all_is_allowed_and_counted" "200 200 200 200 429" \
	"$(statuses "$free/socket" "DELETE /a/../%6a//x" "GET /info 3" "POST /x" | xargs)"
t_is "and_not_touched" "DELETE /a/../%6a//x" "$(head -n 1 "$asked")"
say 'to=free calls=6' "$CAPFS/caps/docker/adjust"
printf 'GET /h2 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX-Kept: 1\r\n\r\n' |
	timeout 20 python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); print(s.recv(99)[:12])' "$free/socket" >"$TMP/output"
t_is "nothing_uncounted_behind_an_upgrade_to_HTTP/2" "GET /h2 x-kept: 1" "$(tail -n 1 "$asked")"
"$CAP" revoke docker --from=free >/dev/null
t_ok "a_rate" say 'to=free rate=5/s' "$CAPFS/caps/docker/grant"
rate=$(statuses "$free/socket" "GET /info 40" | xargs)
t_like "is_of_requests" '^200 200 200 200 200 .*429' echo "$rate"
may_again() { [ "$(statuses "$free/socket" "GET /info")" = 200 ]; }
t_ok "but_not_for_long" wait_for 10 may_again
"$CAP" revoke docker --from=free >/dev/null
t_ok "no_limit_at_all" say 'to=free' "$CAPFS/caps/docker/grant"
keep "$free/socket"
t_is "nobody_is_asked_whether" "200 200 200" "$(ask_on "GET /info 3")"
say 'to=free calls=2' "$CAPFS/caps/docker/adjust"
t_is "its_connection_ends_when_there_is_one" end "$(ask_on end)"
end_job $kept
t_is "and_the_next_is_counted" "200 200 429" "$(statuses "$free/socket" "GET /info 3" | xargs)"
t_ok "connections_are_limited_as_before" say 'to=free as=one conns=1 calls=100' "$CAPFS/caps/docker/grant"
keep "$CAPFS/sessions/free/caps/one/socket"
t_is "one_of_them" 200 "$(ask_on "GET /info")"
t_unlike "and_no_second" 200 statuses "$CAPFS/sessions/free/caps/one/socket" "GET /info"
end_job $kept

# --- who says that he counts, and who does not --------------------------------------------------

t_like "who_accepts_by_himself_cannot" 'Operation not supported' "$(program tests/limited)" other mode=listen counts=yes
job "$(program tests/limited)" other
t_ok "who_has_not_said_so_is_there" wait_for 10 served other
t_unlike "and_nothing_is_said" 'counts=' cat "$CAPFS/entrypoints/other/info"
say 'to=free calls=2' "$CAPFS/caps/other/grant"
for _ in 1 2; do timeout 5 python3 "$TMP/ask.py" "$CAPFS/sessions/free/caps/other/socket" <<<end >/dev/null; done
t_is "there_connections_count" 2 "$(used "$CAPFS/sessions/free/caps/other")"
t_fails EINVAL "P23_errors_have_names" say "$(grep -o "\bid=[0-9]*" "$ci/info" | head -n 1) call=x error=ENOTHING" "$CAPFS/entrypoints/docker/refusal"
"$CAP" checkpoint . - >"$TMP/saved"
t_like "a_backup_says_who_counts" '^entrypoint .* name=docker .* counts=yes$' cat "$TMP/saved"
t_unlike "and_of_others_what_it_said_before" 'counts=' grep 'name=other' "$TMP/saved"

harness_stop
t_done
