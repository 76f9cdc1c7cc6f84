#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The file `metrics`: its form as promtool and the rules of OpenMetrics want it; counters that rise by
# what was done and never fall, also over the death of a broker; a bound on the number of series; and
# the same over HTTP through a capability.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=4096,ram=256M,threads=1024,inflight=1024

# metric SERIES: its value.
metric() {
	awk -v name="$1" 'substr($0, 1, length(name) + 1) == name " " { print $NF }' "$CAPFS/metrics"
}

# What both kinds of reader want of every text.
well_formed() { # FILE OPENMETRICS
	awk -v openmetrics="$2" '
		function bad(why) { print why ": " $0; failed = 1 }
		/[ \t]$|^$|\t|  / { bad("blanks") }
		ended { bad("behind the end") }
		/^# EOF$/ { ended = 1; next }
		/^# (TYPE|UNIT|HELP) / {
			if ($3 != family) {
				if ($2 != "TYPE" || $3 in seen) bad("a family begins with its type, once")
				family = $3; seen[family] = 1; unit = ""; type = $4
				total = family ~ /_total$/
				if (type != "gauge" && type != "counter" && type != "histogram") bad("type")
				if ((type == "counter" && !openmetrics) != total) bad("_total in the name")
			}
			if ($2 == "UNIT" && family !~ ("_" $4 "$")) bad("the unit ends the name")
			if ($2 == "HELP") helped[family] = NF > 3
			next
		}
		/^#/ { bad("comment") }
		!/^capfs_[a-z_]+(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*\})? [0-9.e+-]+$/ { bad("sample") }
		{
			name = $1; sub(/\{.*/, "", name)
			if (type == "counter" && openmetrics && name != family "_total") bad("counter")
			if (type == "histogram") sub(/_(bucket|sum|count)$/, "", name)
			if (!(type == "counter" && openmetrics) && name != family) bad("not of the family")
			if (!helped[family]) bad("no help")
			if ($1 in series) bad("twice")
			series[$1] = 1
		}
		END { if (!ended) { print "no end"; failed = 1 } exit failed }' "$1"
}

cp "$CAPFS/metrics" "$TMP/first"
t_ok "the_text_is_well_formed" well_formed "$TMP/first" 0
if have promtool; then
	t_ok "promtool_accepts_the_file" sh -c "promtool check metrics <'$CAPFS/metrics'"
else
	t_skip "promtool_accepts_the_file" "no promtool"
fi
t_ok "its_size_is_told" test -s "$CAPFS/metrics"

# --- counters -----------------------------------------------------------------------------------

# counted NAME N SERIES CMD…: CMD makes SERIES rise by N, and all others that it names stay.
counted() {
	local name=$1 n=$2 series=$3 before
	shift 3
	before=$(metric "$series")
	"$@" >"$TMP/counted" 2>&1
	t_is "$name" "$n" "$(($(metric "$series") - ${before:-0}))"
}

serve echo --inetd -- /bin/cat
echo=$SERVER
mkdir "$CAPFS/sessions/app"
several() { # N CMD…
	local n=$1
	shift
	for ((i = 1; i <= n; i++)); do
		"${@//%/$i}"
	done
}
operations=capfs_operations_total
counted "grants" 3 "$operations{operation=\"grant\"}" several 3 say "to=app as=e%" "$CAPFS/caps/echo/grant"
counted "grants_by_the_control_protocol" 1 "$operations{operation=\"grant\"}" \
	"$CAP" grant echo app as=other
counted "revokes" 1 "$operations{operation=\"revoke\"}" say to=app "$CAPFS/caps/echo/revoke"
counted "sessions_made" 2 "$operations{operation=\"create\"}" several 2 mkdir "$CAPFS/sessions/s%"
counted "sessions_removed" 2 "$operations{operation=\"remove\"}" several 2 rmdir "$CAPFS/sessions/s%"
counted "refusals_by_operation" 2 'capfs_operation_refusals_total{operation="grant"}' \
	several 2 say to=nobody "$CAPFS/caps/echo/grant"
counted "refusals_by_error" 1 'capfs_refusals_total{error="ENOENT"}' say to=nobody "$CAPFS/caps/echo/grant"
counted "a_refusal_is_no_operation" 0 "$operations{operation=\"grant\"}" say x "$CAPFS/caps/echo/grant"
counted "requests_of_the_kernel" 2 'capfs_requests_total{front="fuse",operation="mkdir"}' \
	several 2 mkdir "$CAPFS/sessions/m%"
counted "requests_of_control_clients" 1 'capfs_requests_total{front="control",operation="create"}' \
	"$CAP" session create made caps=1
ask() { # PATH
	[ "$(timeout 20 "$PROBE" ask "$1" hello)" = hello ]
}
say 'to=app conns=1' "$CAPFS/caps/echo/grant"
counted "connections_offered" 4 capfs_connections_offered_total several 4 ask "$CAPFS/caps/echo/socket"
counted "connections_taken" 2 capfs_connections_taken_total several 2 ask "$CAPFS/caps/echo/socket"
"$PROBE" flood "$CAPFS/sessions/app/caps/echo/socket" 1 4 >/dev/null &
HARNESS_JOBS+=("$!")
wait_for 5 grep -q '^capfs_connections 1$' "$CAPFS/metrics"
counted "connections_refused_by_reason" 1 'capfs_connections_refused_total{reason="conns"}' \
	ask "$CAPFS/sessions/app/caps/echo/socket"
counted "events" 1 capfs_events_total say 'to=app as=another' "$CAPFS/caps/echo/grant"

is_at_least() { # N M
	[ "$1" -ge "$2" ]
}
t_ok "times_are_measured" is_at_least "$(metric 'capfs_service_seconds_count{front="fuse"}')" 100
t_is "as_many_as_requests" \
	"$(awk '/^capfs_requests_total\{front="control"/ { n += $NF } END { print n }' "$CAPFS/metrics")" \
	"$(metric 'capfs_service_seconds_count{front="control"}')"

# --- a broker dies ------------------------------------------------------------------------------

# No sample of a counter or histogram in BEFORE is larger than in AFTER.
monotonic() { # BEFORE AFTER
	awk '
		/^# TYPE/ { rising = $4 != "gauge"; next }
		/^#/ || !rising { next }
		NR == FNR { before[$1] = $2; n++; next }
		$1 in before { found++; if ($2 + 0 < before[$1] + 0) { print $1, before[$1], $2; failed = 1 } }
		END { print n, found; exit failed || n < 100 || found != n }' "$1" "$2"
}
cp "$CAPFS/metrics" "$TMP/before"
for i in 1 2 3; do
	harness_pids
	kill -9 "$BROKER"
	wait_for 10 grep -q "^capfs_broker_restarts_total $i\$" "$CAPFS/metrics"
	cp "$CAPFS/metrics" "$TMP/after"
	t_ok "kill_${i}_nothing_has_fallen" monotonic "$TMP/before" "$TMP/after"
	mv "$TMP/after" "$TMP/before"
done
t_is "restarts" 3 "$(metric capfs_broker_restarts_total)"
t_is "the_beginning_is_the_same" "$(grep '^capfs_start_time_seconds' "$TMP/first")" \
	"$(grep '^capfs_start_time_seconds' "$CAPFS/metrics")"

# --- many sessions ------------------------------------------------------------------------------

# used SESSION KIND
used() {
	metric "capfs_session_$2{session=\"$1\",part=\"used\"}"
}
"$CAP" session create many caps=3000 ram=128M sockets=64 >/dev/null
for ((i = 1; i <= 200; i++)); do
	"$CAP" session create "many/s$i" caps=8 ram=64K sockets=0 threads=0 inflight=0
done >/dev/null
"$CAP" session create large caps=500 >/dev/null
for ((i = 1; i <= 100; i++)); do
	say "to=large as=l$i" "$CAPFS/caps/echo/grant"
done
t_is "sessions" "$(find "$CAPFS/sessions" -path '*/caps/*' -prune -o -path '*/sessions/*' -name label -print | wc -l)" \
	"$(($(metric capfs_sessions) - 1))"
t_is "at_most_64_have_series" 64 "$(grep -c '^capfs_session_caps{.*part="limit"' "$CAPFS/metrics")"
t_is "and_one_is_of_all_others" 1 "$(grep -c '^capfs_session_caps{session="(others)"' "$CAPFS/metrics")"
t_is "the_root_is_first" init \
	"$(sed -n 's/^capfs_session_caps{session="\([^"]*\)".*/\1/p' "$CAPFS/metrics" | head -n 1)"
t_is "the_largest_consumer_has_series" 100 "$(used init/large caps)"
# all_is_in KIND: the samples add up to what all the sessions use. A connection that just ended may be in
# one of the two and not yet in the other, so this is asked until it is so.
all_is_in() {
	cp "$CAPFS/metrics" "$TMP/many"
	[ "$(awk -v kind="$1" '$0 ~ "^capfs_session_" kind "{.*part=\"used\"}" { n += $NF }
		END { print n }' "$TMP/many")" = \
		"$(find "$CAPFS" -name quota | xargs grep -h "^$1 " | sed 's/.* used=\([0-9]*\) .*/\1/' |
			awk '{ n += $1 } END { print n }')" ]
}
for kind in caps sockets threads; do
	t_ok "nothing_of_${kind}_is_left_out" wait_for 20 all_is_in "$kind"
done
t_ok "the_text_is_still_well_formed" well_formed "$TMP/many" 0
t_ok "and_has_a_bound" test "$(stat -c %s "$TMP/many")" -lt 200000
for ((i = 1; i <= 200; i++)); do
	rmdir "$CAPFS/sessions/many/sessions/s$i"
done
t_is "those_that_went_are_gone" 0 "$(grep -c 'session="init/many/' "$CAPFS/metrics")"

# --- HTTP ---------------------------------------------------------------------------------------

t_ok "a_service" serve metrics --inetd --max=4 -- "$CAPFS_LIBEXEC/capfs-metrics-http"
metrics=$CAPFS/caps/metrics/socket
http() { # TEXT: the answer's first line
	printf "$1" | timeout 25 socat -t 20 - "UNIX-CONNECT:$metrics" 2>/dev/null | tr -d '\r' | head -n 1
}
if have curl; then
	get() {
		timeout 20 curl -sS --unix-socket "$metrics" "$@"
	}
	t_ok "curl_gets_it" get -f -o "$TMP/http" http://x/metrics
	t_ok "it_is_well_formed" well_formed "$TMP/http" 0
	t_like "its_type" '^Content-Type: text/plain; version=0.0.4; charset=utf-8' \
		get -o /dev/null -D - http://x/metrics
	if have promtool; then
		t_ok "promtool_accepts_it" bash -o pipefail -c \
			"curl -sS --unix-socket '$metrics' http://x/metrics | promtool check metrics"
	else
		t_skip "promtool_accepts_it" "no promtool"
	fi
	t_ok "openmetrics_for_who_asks" get -f -o "$TMP/openmetrics" -D "$TMP/head" \
		-H 'Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5' http://x/metrics
	t_like "its_type_is_said" '^Content-Type: application/openmetrics-text; version=1.0.0' cat "$TMP/head"
	t_ok "openmetrics_is_well_formed" well_formed "$TMP/openmetrics" 1
	t_like "head_has_no_body" '^Content-Length: [1-9]' get -I http://x/metrics
	t_is "another_path" 404 "$(get -o /dev/null -w '%{http_code}' http://x/)"
	t_is "another_method" 405 "$(get -o /dev/null -w '%{http_code}' -X DELETE http://x/metrics)"
	t_is "a_body" 400 "$(get -o /dev/null -w '%{http_code}' -d x http://x/metrics)"
else
	t_skip "curl_gets_it" "no curl"
fi
if have socat; then
	t_is "no_http" "HTTP/1.1 400 Bad Request" "$(http 'hello\r\n\r\n')"
	t_is "lines_of_unix" "HTTP/1.1 400 Bad Request" "$(http 'GET /metrics HTTP/1.1\nHost: x\n\n')"
	t_is "no_host" "HTTP/1.1 400 Bad Request" "$(http 'GET /metrics HTTP/1.1\r\n\r\n')"
	t_is "half_a_request" "HTTP/1.1 400 Bad Request" "$(http 'GET /metr')"
	t_is "too_long_a_head" "HTTP/1.1 431 Request Header Fields Too Large" \
		"$(http "GET /metrics HTTP/1.1\r\nX: $(printf '%08200d' 0)")"
	# It is answered before all has come, and what follows is no reason not to read the answer.
	goes_on() {
		python3 - "$metrics" 2>&1 <<-'EOT'
			import select, socket, sys
			s = socket.socket(socket.AF_UNIX)
			s.connect(sys.argv[1])
			s.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"0" * 8200)
			select.select([s], [], [], 20)
			s.sendall(b"0" * 5000)
			print(s.recv(1000).decode().splitlines()[0])
		EOT
	}
	if have python3; then
		t_is "who_goes_on_reads_it" "HTTP/1.1 431 Request Header Fields Too Large" "$(goes_on)"
	fi
	start=$SECONDS
	t_is "one_that_does_not_go_on" "HTTP/1.1 408 Request Timeout" \
		"$( (printf 'GET /metrics'; sleep 15) | timeout 25 socat -t 1 - "UNIX-CONNECT:$metrics" |
			tr -d '\r' | head -n 1)"
	t_ok "has_a_deadline" test $((SECONDS - start)) -le 18
else
	t_skip "no_http" "no socat"
fi
t_ok "all_connections_end" wait_for 15 grep -q '^capfs_connections 0$' "$CAPFS/metrics"
end_job "$SERVER"
end_job "$echo"
harness_stop
t_done
