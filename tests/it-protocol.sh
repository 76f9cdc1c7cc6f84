#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P36 P37
#
# A client and a server that have nothing but the manual and a standard library (Python), with each other and with the
# C library at the other end: descriptors, large payloads both ways, and all limits.

. "$(dirname "$0")/harness.sh" || exit 99
have python3 || harness_skip "no python3"
harness_check
harness_start

client() { # SLOT LINE…: the calls, over one connection
	local slot=$1
	shift
	printf '%s\n' "$@" | timeout 60 python3 "$top_srcdir/tests/protocol-client.py" "${ROOT:-$CAPFS}" "$slot" 2>&1
}
c_client() { # SLOT LINE…
	local slot=$1
	shift
	printf '%s\n' "$@" | timeout 60 "$(program tests/caller)" call "${ROOT:-$CAPFS}" "$slot" 2>&1
}

job python3 "$top_srcdir/tests/protocol-server.py" "$CAPFS" py 2>"$TMP/server"
t_ok "P37_a_server_of_the_manual_alone" wait_for 10 served py
mkdir "$CAPFS/sessions/app"
app=$CAPFS/sessions/app
say 'to=app rights=call,fds' "$CAPFS/caps/py/grant"

# --- with each other

t_is "P37_calls" hello "$(client py 'text 0 hello')"
t_is "P37_the_caller_is_the_daemon's_word" "init/app 0" "$(ROOT=$app client py 'text 6')"
t_is "P37_refusals" "EDOM not this one" "$(client py 'text 3')"
t_is "P37_descriptors_there" "in a file" "$(client py 'file 0 in a file')"
t_is "P37_and_back" "put there" "$(client py 'open 2 put there')"
t_is "P37_more_than_a_packet_has" "300 299" "$(client py 'files 5 300 299')"
t_is "P37_large_payloads_both_ways" $'65536 same\n65537 same\n1000000 same\n2097152 same\n2097153 same\n16777216 same' \
	"$(client py 'bytes 0 65536' 'bytes 0 65537' 'bytes 0 1000000' 'bytes 0 2097152' 'bytes 0 2097153' 'bytes 0 16777216')"
t_is "P37_a_buffer_is_used_again" $'70000 same\n90000 same\n80000 same' \
	"$(client py 'bytes 0 70000' 'bytes 0 90000' 'bytes 0 80000')"
t_is "P37_credit_and_what_is_given_up" $'64\ninit 1' "$(client py credit 'cancel 0' 'text 6')"

# --- limits, which the server keeps

limited() { # NAME LIMITS
	say "to=app as=$1 $2" "$CAPFS/caps/py/grant"
}
limited few 'calls=2'
t_is "P36_P37_calls_are_counted" $'a\nb\nlimit EDQUOT its calls are used up' "$(ROOT=$app client few 'text 0 a' 'text 0 b' 'text 0 c')"
t_is "P37_and_shown" "calls limit=2 used=2 left=0" "$(grep '^calls' "$app/caps/few/info")"
limited some 'methods=0,4-6'
t_is "P37_methods" $'a\nlimit EPERM it may not call that method\ninit/app 0' "$(ROOT=$app client some 'text 0 a' 'text 3' 'text 6')"
limited slow 'rate=2/s'
t_is "P37_rate" $'a\nb\nlimit EDQUOT its rate is reached' "$(ROOT=$app client slow 'text 0 a' 'text 0 b' 'text 0 c')"
t_ok "P37_of_which_there_is_more_later" wait_for 10 sh -c "echo 'text 0 a' |
	timeout 20 python3 '$top_srcdir/tests/protocol-client.py' '$app' slow | grep -x a"
limited above 'calls=3 rights=call,grant'
mkdir "$app/sessions/low"
say 'to=low as=below calls=3' "$app/caps/above/grant"
t_is "P37_limits_of_ancestors_count" "a" "$(ROOT=$app client above 'text 0 a')"
t_is "P37_for_all_below" $'b\nc\nlimit EDQUOT its calls are used up' \
	"$(ROOT=$app/sessions/low client below 'text 0 b' 'text 0 c' 'text 0 d')"
mkfifo "$TMP/lines"
timeout 60 python3 "$top_srcdir/tests/protocol-client.py" "$app" py <"$TMP/lines" >"$TMP/revoked" 2>&1 &
HARNESS_JOBS+=("$!")
exec 7>"$TMP/lines"
echo 'text 0 before' >&7
t_ok "P37_a_call_before_it_is_revoked" wait_for 10 grep -qx before "$TMP/revoked"
say 'to=app' "$CAPFS/caps/py/revoke"
echo 'text 0 after' >&7
exec 7>&-
t_ok "P37_ends_the_connection" wait_for 10 grep -Eq 'ended|pipe|reset' "$TMP/revoked"
t_is "P37_and_there_is_no_call_after" 0 "$(grep -cx after "$TMP/revoked")"

# --- the C library at the other end

t_is "P37_a_client_of_the_library" "init: hello" "$(
	job "$(program examples/echo-server)" >/dev/null 2>&1
	wait_for 10 served echo
	client echo 'text 0 hello'
)"
job "$(program tests/call-service)" calls service
wait_for 10 served service
t_is "P37_which_sends_large_ones" "100000 300000 200000 $(seq 5 | sed 's/.*/70000/' | xargs)" \
	"$(client service 'text 0 bytes 100000' 'text 0 bytes 300000' 'text 0 bytes 200000' \
		'text 0 bytes 70000' 'text 0 bytes 70000' 'text 0 bytes 70000' 'text 0 bytes 70000' 'text 0 bytes 70000' |
		awk '{ print length($0) }' | xargs)"
job "$(program examples/count)" --serve count
wait_for 10 served count
t_is "P37_and_takes_descriptors" "0 2 7" "$(client count 'file 0 one two' | head -1)"
t_is "P37_a_server_for_the_library" "ok=3 ok=0 EDOM=1" "$(c_client py '0 3' '3 1' | tr '\n' ' ' | xargs)"
printf 'one two\nthree\n' >"$TMP/text"
text=$(printf '%0120000d' 7)
t_is "P37_with_large_payloads" "$text" "$(timeout 20 "$(program examples/echo-client)" -s py "$text" 2>&1)"
t_is "P37_with_descriptors" "one two three" "$(timeout 20 "$(program examples/pass)" py "$TMP/text" 2>&1 | xargs)"
t_is "the_server_had_nothing_to_say" "" "$(cat "$TMP/server")"

harness_stop
t_done
