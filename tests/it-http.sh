#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P38 P23
# Time: 300
#
# capfs-http: caveats that are methods and paths, kept by HAProxy. A server of ours tells what has come to it,
# and clients of ours ask for what clients should not.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
for program in haproxy curl python3; do have $program || harness_skip "no $program"; done
harness_start --quota=caps=4096,sockets=4096

mkdir -m 755 "$TMP/behind"
cat >"$TMP/server.py" <<'EOT'
# A server that says what it was asked; /up switches to the connection's own protocol, which is capitals, and
# /stream sends as long as its client is there.
import os, socket, sys, threading, time
path, log = sys.argv[1], open(sys.argv[2], "a", buffering=1)
s = socket.socket(socket.AF_UNIX)
s.bind(path); os.chmod(path, 0o666); s.listen(128)
def chunk(c, text): c.sendall(b"%x\r\n%s\r\n" % (len(text), text))
def upgraded(c):
    c.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
    while True:
        d = c.recv(65536)
        if not d: break
        c.sendall(d.upper())
    c.sendall(b"over")
def stream(c):
    c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk(c, b"first\n")
    while c.recv(1): pass
def upload(c, have, length):
    # What has come is told before all of it is there: nobody keeps it in between.
    c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk(c, b"begun\n")
    while have < length:
        d = c.recv(1 << 20)
        if not d: return
        have += len(d)
    chunk(c, b"%d\n" % have); c.sendall(b"0\r\n\r\n")
def serve(c):
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            d = c.recv(65536)
            if not d: return
            data += d
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:])}
        print(method, target, file=log)
        if target.endswith("/fields"): print(method, target, *sorted(f for f in fields if f in ("host",) or f.startswith("x-")), file=log)
        if target.endswith("/up") or "h2c" in fields.get("upgrade", "").lower() or method == "CONNECT": return upgraded(c)
        if target.endswith("/stay"):
            c.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); time.sleep(600)
        if target.endswith("/stream"):
            stream(c); print("gone", file=log); return
        if target.endswith("/upload"): return upload(c, len(data), int(fields["content-length"]))
        n = int(fields.get("content-length", 0))
        while len(data) < n: data += c.recv(65536)
        body, data = data[:n], data[n:]
        if target.endswith("/exec") and "upgrade" in fields:
            print("body", body.decode(), data.decode(), fields["upgrade"], file=log); return upgraded(c)
        while fields.get("transfer-encoding") and b"0\r\n\r\n" not in data: data += c.recv(65536)
        if fields.get("transfer-encoding"): data = data.split(b"0\r\n\r\n", 1)[1]
        text = f"{method} {target}\n".encode()
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
def one(c):
    try: serve(c)
    except OSError: pass
    c.close()
while True:
    threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()
EOT
cat >"$TMP/ask.py" <<'EOT'
# ask.py SOCKET [half|hold=N]: sends what comes by standard input as it is and prints all that is answered, until
# the end or 10 s. half: ends its side behind that, once it was answered. hold: N connections, until ended.
import socket, sys, time
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]); return s
how = sys.argv[2] if len(sys.argv) > 2 else ""
if how.startswith("hold="):
    kept = [connect() for _ in range(int(how[5:]))]
    print("there", flush=True); time.sleep(600)
s = connect(); text = sys.stdin.buffer.read()
if how == "half":
    head, rest = text.split(b"\r\n\r\n", 1)
    s.sendall(head + b"\r\n\r\n"); print(s.recv(4096).split(b"\r\n")[0].decode(), flush=True)
    s.sendall(rest); s.shutdown(socket.SHUT_WR)
else:
    s.sendall(text)
try:
    while True:
        d = s.recv(65536)
        if not d: print("<end>"); break
        sys.stdout.write(d.decode("latin-1")); sys.stdout.flush()
except socket.timeout: print("<nothing>")
EOT
asked=$TMP/asked
: >"$asked"
job python3 "$TMP/server.py" "$TMP/behind/server" "$asked" 2>/dev/null
wait_for 10 test -S "$TMP/behind/server"

# --- a service ---------------------------------------------------------------------------------

job "$CAP" serve docker --http --proxy="$TMP/behind/server" 2>"$TMP/said"
SERVER=$!
t_ok "a_server_is_filtered" wait_for 30 served docker
helper() { pgrep -P "$SERVER" -x capfs-http; }
haproxy_pid() { pgrep -P "$(helper)" -x haproxy; }
if is_root; then
	t_is "by_nobody_who_may_anything" "$(id -u capfs-serve) $(id -u capfs-serve)" \
		"$(awk '/^Uid:/ { print $2 }' "/proc/$(helper)/status" "/proc/$(haproxy_pid)/status" | xargs)"
	t_is "without_any_capability" 1 "$(awk '/^Cap(Prm|Eff|Inh|Amb):/ { print $2 }' "/proc/$(haproxy_pid)/status" | sort -u | grep -c .)"
fi
sockets_of() { find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -cd '0-9\n'; }
listening() { # nobody else can connect to it: no socket of it has a name, or a port
	local inode
	for inode in $(sockets_of "$(haproxy_pid)"); do
		awk -v inode="$inode" '$7 == inode && NF > 7' /proc/net/unix
		awk -v inode="$inode" '$10 == inode' /proc/net/tcp /proc/net/tcp6 2>/dev/null
	done
}
t_is "it_listens_nowhere" "" "$(listening)"
for session in ci free two; do "$CAP" session create $session caps=400 sockets=512 >/dev/null; done
ci=$CAPFS/sessions/ci/caps/docker/socket free=$CAPFS/sessions/free/caps/docker/socket
t_ok "a_tool_may_do_two_things" say 'to=ci rights=call,grant only="GET /containers/**" only="GET /images/json"' "$CAPFS/caps/docker/grant"
t_ok "and_somebody_all" "$CAP" grant docker free

get() { # SOCKET [OPTION…] PATH: status and body
	local path=${*: -1} socket=$1
	timeout 20 curl -s -w '%{http_code}' --path-as-is --unix-socket "$socket" "${@:2:$#-2}" "http://d$path"
}
status() { get "$@" | tail -c 3; }

# --- what is allowed ---------------------------------------------------------------------------

t_is "what_is_allowed" "GET /containers/json 200" "$(get "$ci" /containers/json | xargs)"
t_is "what_else_is" "GET /images/json 200" "$(get "$ci" /images/json | xargs)"
t_is "with_a_query" "GET /containers/json?all=1 200" "$(get "$ci" '/containers/json?all=1' | xargs)"
t_is "with_an_api_version" "GET /v1.41/containers/json 200" "$(get "$ci" /v1.41/containers/json | xargs)"
while read -r wanted path; do
	t_is "path: $path" "$wanted" "$(status "$ci" "$path")"
done <<'EOT'
403 /info
403 /
403 /containers
403 /images/json/x
403 /images/jsonx
403 /v1.41/info
403 /v1.41/v1.41/images/json
403 /vx/images/json
403 /containers/../info
403 /containers/%2e%2e/info
403 /containers/%2E%2e/info
403 /containers/.%2e/info
403 /containers/x/../../info
403 /containers/..
403 /containers/..%2finfo
403 /containers/%2e%2e%2Finfo
403 /containers/..%5cinfo
403 /containers/..;/info
403 /containers/x%00/info
403 //info
403 /./info
403 /images/./../info
403 /IMAGES/json
403 /images%2fjson
403 /containers/%252e%252e/info
403 /containers/..%252Finfo
403 /containers/..%255cinfo
403 /containers/%c0%ae%C0%ae/info
403 /containers/..%c0%afinfo
403 /containers/..%3bx/info
403 /containers/%2e%3B/info
200 /containers/%25json
200 /containers/a%3bb
200 //containers//json
200 /containers/./json
200 /info/../images/json
200 /images/%6ason
403 /containers/x%0a
403 /containers/x%7F/json
200 /containers/a%20b/json
200 /containers/%40b/json
EOT
t_is "what_is_asked_is_what_was_compared" "GET /images/json" \
	"$(get "$ci" /info/..//%2e/images/%6ason >"$TMP/output"; tail -n 1 "$asked")"
long=$(printf 'a%.0s' $(seq 3000))
t_is "a_path_that_is_too_long_to_compare" 403 "$(status "$ci" "/containers/$long")"
for method in POST PUT DELETE HEAD PATCH OPTIONS TRACE get; do
	t_is "method: $method" 403 "$(timeout 20 curl -s -o "$TMP/body" -w '%{http_code}' -X $method $([ $method = HEAD ] && echo -I) \
		--unix-socket "$ci" http://d/containers/json)"
done
t_is "nothing_of_that_has_come" 0 "$(grep -c -v '^GET [^ ]*/\(containers\|images\)' "$asked")"

# --- what is refused ---------------------------------------------------------------------------

t_is "it_says_who_and_why" \
	"init/ci docker: POST /containers/create is outside only='GET /containers/**', 'GET /images/json'" \
	"$(timeout 20 curl -s -X POST --unix-socket "$ci" http://d/containers/create | python3 -c 'import json, sys; print(json.load(sys.stdin)["message"])')"
t_like "it_is_json" '^[Cc]ontent-[Tt]ype: application/json' timeout 20 curl -s -i --unix-socket "$ci" http://d/info
told() { grep -q "$1" "$2"; }
# Of a capability only some are told each second.
create() {
	[ "$(status "$ci" -X POST /containers/create)" = 403 ] &&
		told " refused call session=init/ci slot=docker uid=$(id -u) EPERM: POST /containers/create" "$CAPFS/sessions/ci/events"
}
t_ok "P23_it_is_an_event_of_the_session" wait_for 20 create
t_unlike "P23_of_no_other" 'refused call' cat "$CAPFS/sessions/free/events"
t_is "who_has_no_caveats_may_all" "200 200 200" \
	"$(status "$free" /info) $(status "$free" -X DELETE /containers/x) $(status "$free" /containers/../x)"
t_is "P38_whose_words_are_not_touched" "GET /a/../%6a//x" "$(get "$free" /a/../%6a//x | head -n 1)"

# --- more caveats only take away ---------------------------------------------------------------

mkdir "$CAPFS/sessions/ci/sessions/sub"
t_ok "P38_a_derivation" say 'to=sub only="* /containers/*/logs" only="**"' "$CAPFS/sessions/ci/caps/docker/grant"
sub=$CAPFS/sessions/ci/sessions/sub/caps/docker/socket
t_is "P38_has_its_source_s_too" "200 403 200" \
	"$(status "$sub" /containers/x/logs) $(status "$sub" -X POST /containers/x/logs) $(status "$sub" /images/json)"
t_ok "P38_a_narrower_one" say 'to=two only="GET /containers/*/logs"' "$CAPFS/caps/docker/grant"
two=$CAPFS/sessions/two/caps/docker/socket
t_is "P38_a_star_stays_in_its_part" "200 403 403" "$(status "$two" /containers/x/logs) $(status "$two" /containers/x/y/logs) $(status "$two" /images/json)"
for only in 'no pattern' 'GET' 'GET /[' ']' '; del acl' 'GET /x {1}' '<<' '@1' '#1' 'GET /[z-a]' '(' '**)' 'GET /{'; do
	t_ok "caveat: $only" say "to=two as=odd only=\"$only\"" "$CAPFS/caps/docker/grant"
	t_is "P38_allows_nothing" 403 "$(status "$CAPFS/sessions/two/caps/odd/socket" /x)"
	rmdir "$CAPFS/sessions/two/caps/odd"
done
t_is "others_are_as_they_were" "200 403" "$(status "$ci" /images/json) $(status "$ci" /info)"

# --- tricks ------------------------------------------------------------------------------------

: >"$asked"
ask() { # SOCKET TEXT [HOW]
	printf "$2" | timeout 30 python3 "$TMP/ask.py" "$1" ${3:+"$3"} | tr -d '\r'
}
answers() { # how many of which
	grep -o '^HTTP/1.1 [0-9]*\|}HTTP/1.1 [0-9]*' | cut -d' ' -f2 | xargs
}
end='Connection: close\r\n\r\n'
t_is "each_request_of_a_connection_is_compared" "200 403" \
	"$(ask "$ci" "GET /images/json HTTP/1.1\r\nHost: d\r\n\r\nGET /info HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "also_after_a_refusal" "403 200" \
	"$(ask "$ci" "GET /info HTTP/1.1\r\nHost: d\r\n\r\nGET /images/json HTTP/1.1\r\nHost: d\r\n$end" | answers)"
smuggle() { # NAME HEAD BODY
	t_unlike "nothing_is_smuggled: $1" ' /smuggled' ask "$ci" \
		"GET /containers/x HTTP/1.1\r\nHost: d\r\n$2\r\n\r\n$3GET /smuggled HTTP/1.1\r\nHost: d\r\n$end"
}
smuggle "length and chunks" 'Content-Length: 4\r\nTransfer-Encoding: chunked' '0\r\n\r\n'
smuggle "length that covers it" 'Content-Length: 60\r\nTransfer-Encoding: chunked' '0\r\n\r\n'
smuggle "two lengths" 'Content-Length: 0\r\nContent-Length: 60' ''
smuggle "a list of lengths" 'Content-Length: 0, 60' ''
smuggle "another spelling" 'Transfer-Encoding: xchunked\r\nContent-Length: 4' '0\r\n\r\n'
smuggle "a blank in the name" 'Transfer-Encoding : chunked\r\nContent-Length: 4' '0\r\n\r\n'
smuggle "a line that goes on" 'X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 4' '0\r\n\r\n'
smuggle "bare line feeds" 'X: y\nTransfer-Encoding: chunked\nContent-Length: 4' '0\r\n\r\n'
smuggle "an upgrade that is none" 'Connection: Upgrade\r\nUpgrade: websocket' ''
for upgrade in h2c H2C 'tcp, h2c' 'h2c\r\nUpgrade: tcp'; do
	t_is "no_upgrade_to_HTTP/2: $upgrade" "200 403" "$(ask "$ci" "GET /containers/x HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: $upgrade\r\n\r\nGET /info HTTP/1.1\r\nHost: d\r\n$end" | answers)"
done
smuggle "HTTP/2" 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__' ''
t_is "an_absolute_path" 403 "$(ask "$ci" "GET http://d/info HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "an_absolute_path_that_is_allowed" 200 "$(ask "$ci" "GET http://d/images/json HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "of_another_host" 400 "$(ask "$ci" "GET http://other/images/json HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "an_absolute_path_behind_a_query" 403 "$(ask "$ci" "GET http://d?/images/json HTTP/1.1\r\nHost: d?\r\n$end" | answers)"
for url in 'http://d\\\\info/containers/x' foo://d/containers/x http:///containers/x http://d?/containers/x \
	'http://d#/containers/x'; do
	t_like "an_odd_url: $url" '^40[03]$' answers < <(ask "$ci" "GET $url HTTP/1.1\r\nHost: d\r\n$end")
done
# A server that goes by a field of a request would see another one than was compared.
ask "$ci" "GET /containers/fields HTTP/1.1\r\nHost: d\r\nX-HTTP-Method-Override: DELETE\r\nX-Method-Override: PUT\r\nX-HTTP-Method: PUT\r\nX-Original-URL: /info\r\nX-Rewrite-URL: /info\r\nX-Kept: 1\r\n$end" >/dev/null
t_is "no_field_makes_another_of_a_request" "GET /containers/fields host x-kept" "$(tail -n 1 "$asked")"
t_is "a_star" 403 "$(ask "$ci" "OPTIONS * HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "a_tunnel" 403 "$(ask "$ci" "CONNECT d:80 HTTP/1.1\r\nHost: d:80\r\n$end" | answers)"
t_ok "a_set_of_what_is_not" say 'to=two as=set only="GET /containers/[!@-Z ]*"' "$CAPFS/caps/docker/grant"
set=$CAPFS/sessions/two/caps/set/socket
t_is "P38_sets_are_of_what_is_decoded" "403 403 403 403 200 200" "$(for path in /@ /%40 /%5a /%20 /%21 /a; do
	echo "$(status "$set" "/containers$path")"; done | xargs)"
t_ok "a_caveat_is_written_decoded" say 'to=two as=blank only="GET /containers/a b@%c"' "$CAPFS/caps/docker/grant"
t_is "and_all_that_it_may_be_encoded_as" "200 200 403" "$(for path in a%20b%40%25c a%20b@%25c a%2520b@%25c; do
	echo "$(status "$CAPFS/sessions/two/caps/blank/socket" "/containers/$path")"; done | xargs)"
t_ok "any_method" say 'to=two as=any only="* /containers/**"' "$CAPFS/caps/docker/grant"
t_is "a_tunnel_with_a_path" 403 "$(ask "$CAPFS/sessions/two/caps/any/socket" "CONNECT http://d:80/containers/x HTTP/1.1\r\nHost: d:80\r\n$end" | answers)"
t_like "HTTP/2_at_once" '^400' answers < <(ask "$ci" 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
t_is "HTTP/0.9" 400 "$(ask "$ci" 'GET /images/json\r\n' | answers)"
t_is "HTTP/1.0" 403 "$(ask "$ci" 'GET /info HTTP/1.0\r\n\r\n' | answers)"
t_is "a_fragment" 400 "$(ask "$ci" "GET /info#/../images/json HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "no_pair_of_digits" 400 "$(ask "$ci" "GET /images/%%zz HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "a_backslash" 403 "$(ask "$ci" "GET /images/json\\\\000 HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "nothing_else_has_come" 0 "$(grep -c -v '^GET \(http://d\)\?/\(containers\|images\)' "$asked")"

# --- what is no question and answer ------------------------------------------------------------

t_is "an_upgrade" "HTTP/1.1 101 UPGRADED ABCover<end>" \
	"$(ask "$ci" 'GET /containers/x/up HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nabc' half | xargs)"
t_is "an_upgrade_outside" 403 "$(ask "$ci" "POST /containers/x/up HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" | answers)"
cat >"$TMP/ends.py" <<'EOT'
# ends.py SOCKET PID: some are answered and stay; others come, for whom HAProxy has their numbers; then the first ones
# end, which PID, that has duplicates, does not notice now: do the others hear of it?
import os, signal, socket, sys
def connect(): s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]); return s
def ask(s, fields=b""):
    s.sendall(b"GET /info HTTP/1.1\r\nHost: d\r\n" + fields + b"\r\n")
    got = b""
    while not got.endswith(b"GET /info\n"):
        d = s.recv(4096)
        if not d: break
        got += d
    return got.startswith(b"HTTP/1.1 200 ")
early = [connect() for _ in range(8)]
for s in early: ask(s, b"Connection: close\r\n"); s.recv(1)
late = [connect() for _ in range(8)]
for s in late: ask(s)
os.kill(int(sys.argv[2]), signal.SIGSTOP)
try:
    for s in early: s.close()
    print(sum(ask(s) for s in late))
finally: os.kill(int(sys.argv[2]), signal.SIGCONT)
EOT
t_is "the_end_of_one_is_not_that_of_another" 8 "$(timeout 60 python3 "$TMP/ends.py" "$free" "$(helper)")"

# As Docker's exec: with a body, which HAProxy alone does not let through as one.
switching() { # PATH [BODY [HEADER]]
	printf 'POST %s HTTP/1.1\\r\\nHost: d\\r\\nConnection: Upgrade\\r\\nUpgrade: tcp\\r\\nContent-Length: %d%s\\r\\n\\r\\n%s' "$1" "${#2}" "${3:+\\r\\n$3}" "$2"
}
cat >"$TMP/exec.py" <<'EOT'
# exec.py SOCKET PATH [BYTES]: as Docker's client: once it is answered 101 it sends so many bytes, ends its side,
# and prints what it got.
import socket, sys, threading
path, n = sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])
s.sendall(b'POST %s HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\n{"a"' % path.encode())
answer = b""
while b"\r\n\r\n" not in answer: answer += s.recv(1)
def send():
    s.sendall(b"abc" * (n // 3)); s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
got = b""
while True:
    d = s.recv(1 << 16)
    if not d: break
    got += d
sys.stdout.write(f"{answer.decode().splitlines()[0]} {len(got)} {got[:3].decode()} {got[-7:].decode()}\n")
EOT
t_ok "any_may_exec" say 'to=two as=exec only="POST /containers/*/exec" only="POST /containers/create"' "$CAPFS/caps/docker/grant"
exec=$CAPFS/sessions/two/caps/exec/socket
t_is "an_upgrade_with_a_body" "HTTP/1.1 101 UPGRADED 7 ABC ABCover" "$(timeout 30 python3 "$TMP/exec.py" "$exec" /containers/x/exec | xargs)"
t_like "whose_server_gets_it_as_it_was" '^body {"a"  tcp$' tail -n 1 "$asked"
t_is "an_upgrade_with_a_body_without_caveats" "HTTP/1.1 101 UPGRADED 7 ABC ABCover" \
	"$(timeout 30 python3 "$TMP/exec.py" "$free" /containers/x/exec | xargs)"
t_is "much_goes_through_it" "HTTP/1.1 101 UPGRADED 3000007 ABC ABCover" \
	"$(timeout 60 python3 "$TMP/exec.py" "$free" /containers/x/exec 3000003 | xargs)"
several() {
	local i
	for i in $(seq 20); do timeout 30 python3 "$TMP/exec.py" "$([ $((i % 2)) = 0 ] && echo "$exec" || echo "$free")" /containers/x/exec 300003 & done |
		sort | uniq -c | xargs
	wait
}
t_is "several_at_once" "20 HTTP/1.1 101 UPGRADED 300007 ABC ABCover" "$(several)"
t_is "one_outside" 403 "$(ask "$exec" "$(switching /containers/x/other '{}')" | answers)"
t_is "one_that_the_server_does_not_switch" "200 200" \
	"$(ask "$exec" "$(switching /containers/create '{}')$(switching /containers/create '{}' 'Connection: close')" | answers)"
t_is "what_comes_behind_it_is_compared" "200 403" \
	"$(ask "$exec" "$(switching /containers/create '{}')GET /info HTTP/1.1\r\nHost: d\r\n$end" | answers)"
t_is "one_with_a_long_body" 413 "$(ask "$exec" "$(switching /containers/create "$(printf 'x%.0s' $(seq 9000))" 'Connection: close')" | answers)"
python3 "$TMP/ask.py" "$exec" <<<$'POST /containers/x/exec HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 1\r\n\r\nx' >"$TMP/exec" &
asker=$!
t_ok "one_that_stays" wait_for 10 grep -q ' 101 ' "$TMP/exec"
t_ok "is_taken_away" rmdir "$CAPFS/sessions/two/caps/exec"
t_ok "and_ends" wait_for 10 grep -q '<end>' "$TMP/exec"
wait $asker
mkfifo "$TMP/kept"
python3 "$TMP/ask.py" "$ci" <<<$'GET /containers/stream HTTP/1.1\r\nHost: d\r\n\r' >"$TMP/stream" &
stream=$!
t_ok "a_stream_comes_as_it_is_sent" wait_for 10 grep -q first "$TMP/stream"
kill $stream; wait $stream 2>/dev/null
t_ok "whose_end_the_server_hears" wait_for 10 grep -q '^gone' "$asked"
head -c 300M /dev/zero >"$TMP/zeros"
rss() { awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"; }
before=$(rss "$(haproxy_pid)")
t_is "a_body_goes_through" "begun 314572800 200" "$(timeout 100 curl -s -w '%{http_code}' -X POST -H 'Expect:' \
	-T "$TMP/zeros" --unix-socket "$free" http://d/upload | xargs)"
t_ok "and_is_not_kept" test $(($(rss "$(haproxy_pid)") - before)) -lt 4096
rm "$TMP/zeros"

# --- revocation --------------------------------------------------------------------------------

python3 "$TMP/ask.py" "$two" <<<$'GET /containers/stream/logs HTTP/1.1\r\nHost: d\r\n\r' >"$TMP/revoked" &
asker=$!
wait_for 10 grep -q ' 200 OK' "$TMP/revoked"
t_ok "it_is_taken_away" "$CAP" revoke docker --from=two
t_ok "which_ends_what_is_open" wait_for 10 grep -q '<end>' "$TMP/revoked"
wait $asker
t_ok "for_good" not test -e "$CAPFS/sessions/two/caps/docker"

# --- many --------------------------------------------------------------------------------------

# More capabilities than HAProxy has listeners, one after the other: each is told its own.
for i in $(seq 300); do echo "to=two as=n$i only=\"GET /n/$i\""; done |
	while read -r words; do say "$words" "$CAPFS/caps/docker/grant" 2>/dev/null || break; done
n=$(find "$CAPFS/sessions/two/caps" -mindepth 1 -maxdepth 1 -name 'n*' | wc -l)
each() {
	local i
	for i in $(seq "$n"); do
		echo "$(status "$CAPFS/sessions/two/caps/n$i/socket" "/n/$i")$(status "$CAPFS/sessions/two/caps/n$i/socket" "/n/$((i + 1))")"
	done | sort | uniq -c | xargs
}
t_is "there_are_many" 300 "$n"
# Somebody has left, and the server does not hear it: this is in nobody's way.
say 'to=two as=left only="GET /stay"' "$CAPFS/caps/docker/grant"
python3 "$TMP/ask.py" "$CAPFS/sessions/two/caps/left/socket" >"$TMP/left" \
	<<<$'GET /stay HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r' &
left=$!
t_ok "a_server_stays" wait_for 10 grep -q ' 101 ' "$TMP/left"
kill $left; wait $left 2>/dev/null
t_is "each_may_its_own" "$n 200403" "$(each)"
# One takes as many connections as it can.
job python3 "$TMP/ask.py" "$free" hold=600 >"$TMP/held" 2>&1 </dev/null
holder=$!
wait_for 20 told . "$TMP/held"
t_is "a_crowd_keeps_nobody_out" "200 403" "$(status "$ci" /images/json) $(status "$ci" /info)"
end_job $holder
flood() {
	local i
	for i in $(seq 200); do echo "$(status "$ci" "/flood/$i")"; done | grep -c 403
}
t_is "a_flood_of_refusals" 200 "$(flood)"
t_like "P23_fills_no_log" ' grant session=init/ci slot=docker ' cat "$CAPFS/sessions/ci/events"
t_is "and_stops_nobody" 200 "$(status "$free" /info)"

# --- ends --------------------------------------------------------------------------------------

first=$(helper)
kill -9 "$(haproxy_pid)"
another() { [ -n "$(helper)" ] && [ "$(helper)" != "$1" ] && served docker; }
t_ok "HAProxy_does_not_end_alone" wait_for 20 another "$first"
t_is "the_next_knows_the_caveats" "200 403" "$(status "$ci" /images/json) $(status "$ci" /info)"
second=$(helper) below=$(haproxy_pid)
kill -9 "$second"
t_ok "nor_does_it_outlive_us" wait_for 20 not kill -0 "$below"
t_ok "another_comes" wait_for 20 another "$second"
kill -9 "$BROKER" && wait_for 20 harness_pids
t_is "a_broker_s_death_changes_nothing" "200 403" "$(status "$ci" /images/json) $(status "$ci" /info)"
pid=$(haproxy_pid)
end_job "$SERVER"
t_ok "nothing_is_left" wait_for 20 not kill -0 "$pid"

# --- what does not go --------------------------------------------------------------------------

# --- a client that leaves what HAProxy then keeps ----------------------------------------------

job "$CAP" serve many --http --max=600 --proxy="$TMP/behind/server" 2>/dev/null
t_ok "another_service" wait_for 30 served many
say 'to=ci rights=call only="GET /stay"' "$CAPFS/caps/many/grant"
say 'to=two rights=call only="GET /info"' "$CAPFS/caps/many/grant"
cat >"$TMP/leave.py" <<'EOT'
# Leaves upgraded connections behind, until no more are taken.
import socket, sys
n = refused = 0
while n < 1000 and refused < 3:
    s = socket.socket(socket.AF_UNIX); s.settimeout(2)
    try:
        s.connect(sys.argv[1])
        s.sendall(b"GET /stay HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        if not s.recv(4096).startswith(b"HTTP/1.1 101"): raise OSError
        n, refused = n + 1, 0
    except OSError: refused += 1
    s.close()
print(n)
EOT
left=$(python3 "$TMP/leave.py" "$CAPFS/sessions/ci/caps/many/socket")
t_is "so_many_it_can_leave" 150 "$left"
t_is "and_others_go_on" 200 "$(status "$CAPFS/sessions/two/caps/many/socket" /info)"
job "$CAP" serve few --http --max=16 --proxy="$TMP/behind/server" 2>/dev/null
t_ok "one_for_few_clients" wait_for 30 served few
t_like "only_in_front_of_a_server" 'in front of a server' "$CAP" serve x --http --inetd -- cat
t_like "not_as_the_caller" 'as-caller does not go with --http' "$CAP" serve x --http --proxy=/x --as-caller
t_like "a_path_that_is_too_long" 'no path that HAProxy takes' "$CAP" serve x --http --proxy="/$(printf 'a%.0s' $(seq 200))"
# --- as the command of its entrypoint ----------------------------------------------------------

"$CAP" session create line caps=40 sockets=1100 threads=8 inflight=64 >/dev/null
if is_root; then chown 12345:12345 "$CAPFS/sessions/line"; fi
mkdir "$TMP/bin"
chmod 755 "$TMP" "$TMP/bin"
cp "$(program helpers/capfs-http)" "$top_builddir/helpers/.libs/capfs-haproxy.so" "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP/bin"
line=$CAPFS/sessions/line
t_ok "a_filter_that_is_started_when_it_is_called" env CAPFS_LIBEXEC="$TMP/bin" LD_LIBRARY_PATH="$TMP/bin" \
	"$CAP" -s line serve late --detach --http --proxy="$TMP/behind/server"
t_like "is_not_there_yet" '^state=detached ' cat "$line/entrypoints/late/info"
t_ok "P38_and_keeps_caveats_already" say 'as=narrow only="GET /info"' "$line/caps/late/replicate"
t_is "and_comes_for_its_first_caller" 403 "$(status "$line/caps/narrow/socket" /other)"
t_is "and_lets_through_what_it_may" 200 "$(status "$line/caps/narrow/socket" /info)"
rmdir "$line/entrypoints/late"

serve plain --inetd -- /bin/cat
t_fails EOPNOTSUPP "P38_others_keep_no_caveats" say 'to=ci only="GET /x"' "$CAPFS/caps/plain/grant"
harness_stop
t_done
