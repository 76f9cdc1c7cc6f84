#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Relays that step aside: clients of the library go on with the relay's own connection to the server, while all
# that is said of a connection through a slot stays true.

. "${0%/*}/harness.sh" || exit 99
harness_check
command -v python3 >/dev/null || harness_skip "no python3"
harness_start

# A server that answers each line with it, and notes who comes and goes.
cat >"$TMP/server.py" <<'EOT'
import os, socket, sys, threading
path, log = sys.argv[1], open(sys.argv[2], "w", buffering=1)
s = socket.socket(socket.AF_UNIX)
s.bind(path)
os.chmod(path, 0o777)
s.listen()
def serve(c, n):
    log.write("%d comes\n" % n)
    try:
        for line in c.makefile("rb", buffering=0):
            c.sendall(b"%d:" % n + line)
    except OSError:
        pass
    log.write("%d goes\n" % n)
    c.close()
n = 0
while True:
    c = s.accept()[0]
    n += 1
    threading.Thread(target=serve, args=(c, n), daemon=True).start()
EOT
job python3 "$TMP/server.py" "$TMP/server" "$TMP/log"
BACKEND=$!
wait_for 20 test -S "$TMP/server"

relay() { # NAME OPTION…
	serve "$1" --proxy="$TMP/server" "${@:2}"
}
t_ok "a_relay_that_steps_aside" relay kv --step-aside
ASIDE=$SERVER
t_ok "and_one_that_does_not" relay plain
mkdir "$CAPFS/sessions/app"
app=$CAPFS/sessions/app
echo to=app >"$CAPFS/caps/kv/grant"
echo to=app >"$CAPFS/caps/plain/grant"
direct=$(program tests/direct)
log_has() { grep -qx "$1" "$TMP/log"; }
# The next client is the server's number N.
n=0

t_is "a_client_goes_on_by_itself" "$((++n)):hello aside" "$(timeout 60 "$direct" "$app" kv hello | xargs)"
t_ok "and_its_end_is_the_servers" wait_for 30 log_has "$n goes"
t_is "where_none_steps_aside_it_is_relayed" "$((++n)):hello relayed" "$(timeout 60 "$direct" "$app" plain hello | xargs)"
t_is "others_are_relayed_as_ever" "$((++n)):hello" "$(echo hello | timeout 60 socat -t20 - "UNIX-CONNECT:$app/caps/kv/socket")"

# hold NAME WORD…: a client that waits for lines of $TMP/NAME.in; its pid is then in CLIENT.
hold() {
	mkfifo "$TMP/$1.in"
	timeout 120 "$direct" "$app" kv "${@:2}" <"$TMP/$1.in" >"$TMP/$1.out" 2>&1 &
	CLIENT=$!
	HARNESS_JOBS+=("$CLIENT")
	exec {IN}>"$TMP/$1.in"
	((++n))
	wait_for 30 grep -q "^$n:" "$TMP/$1.out"
}
relay_pid=$(pgrep -P "$ASIDE" -x capfs-relay)
t_ok "one_that_stays" hold one first - second
kill -STOP "$relay_pid"
echo >&"$IN"
exec {IN}>&-
t_ok "nothing_is_in_between" wait_for 30 grep -qx aside "$TMP/one.out"
kill -CONT "$relay_pid"
t_ok "it_has_ended" wait_for 30 log_has "$n goes"

t_ok "one_that_is_killed" hold two first -
kill -9 "$(pgrep -P "$CLIENT")"
exec {IN}>&-
t_ok "has_ended_for_the_server_too" wait_for 30 log_has "$n goes"

connections() { sed -n 's/.* connections=\([0-9]*\).*/\1/p' "$CAPFS/entrypoints/kv/info"; }
none() { [ "$(connections)" = 0 ]; }
t_ok "all_have_gone" wait_for 30 none
echo 1 >"$CAPFS/caps/kv/revoke"
echo "to=app as=kv conns=1" >"$CAPFS/caps/kv/grant"
t_ok "one_that_counts" hold three first +
t_is "it_is_one_connection" 1 "$(connections)"
t_like "and_the_limit_holds" 'Disk quota exceeded' timeout 60 "$direct" "$app" kv x
kill -9 "$BROKER" && wait_for 10 harness_pids
t_is "over_a_brokers_death" 1 "$(connections)"
t_unlike "and_goes_on" "^$n goes" cat "$TMP/log"
echo 1 >"$CAPFS/caps/kv/revoke"
t_ok "a_revocation_ends_it" wait_for 30 grep -qx ended "$TMP/three.out"
t_ok "for_the_server_too" wait_for 30 log_has "$n goes"
exec {IN}>&-

echo to=app >"$CAPFS/caps/kv/grant"
t_ok "one_more" hold four first +
end_job "$ASIDE"
t_ok "it_ends_with_its_relay" wait_for 30 grep -qx ended "$TMP/four.out"
exec {IN}>&-

# With a header first, which is the server's first line.
t_ok "a_relay_that_says_who_calls" relay kv --step-aside --send-proxy
t_like "a_header_comes_before_all" "^$((++n)):" timeout 60 "$direct" "$app" kv hello
end_job "$SERVER"
end_job "$BACKEND"
t_ok "a_relay_without_a_server" relay kv --step-aside
t_like "refuses" 'Connection refused' timeout 60 "$direct" "$app" kv x
end_job "$SERVER"

harness_stop
t_done
