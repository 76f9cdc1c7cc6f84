#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P21
#
# Turns go by session: while one session floods the daemon by every way that it has, another one's
# operation waits for few of the flood's. Counted and not timed: how many of the flood's requests were
# served between two readings of `metrics`; the median, since whoever reads may have to wait for a CPU
# meanwhile. A reading is four requests; the flood's turn before each of them has room for some tens of
# its own, where 60 connections with 16 requests each had 960 in a row.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

STORM=$(program tests/storm)
ENOUGH=300

harness_start --quota=caps=4096,sockets=4096,ram=256M,threads=64,inflight=256
mkdir "$CAPFS/sessions/bad" "$CAPFS/sessions/good"
say 'to=bad sockets=512 ram=16M caps=1024' "$CAPFS/transfer_quota"
serve echo --inetd -- /bin/cat
serve other --inetd -- /bin/cat
say 'to=bad conns=2 rights=call,grant' "$CAPFS/caps/other/grant"
mkdir "$CAPFS/sessions/bad/sessions/holders"
say 'to=holders caps=600' "$CAPFS/sessions/bad/transfer_quota"
timeout 120 "$(program tests/mass)" grant "$CAPFS/sessions/bad" other holders 1 500
say to=good "$CAPFS/caps/echo/grant"

# storm ARGUMENT…: as a job, when it has begun; its pid is then in STORMING
storm() {
	: >"$TMP/storm"
	job "$STORM" "$@" >"$TMP/storm"
	STORMING=$!
	wait_for 30 grep -q storm "$TMP/storm"
}

calm() {
	kill "$STORMING" 2>/dev/null
	wait "$STORMING" 2>/dev/null
}

# waits METRICS|ROOT: it waits for no more than so many
waits() {
	local least median most
	read -r least median most < <(timeout 120 "$STORM" count "$1" 200)
	echo "# between two: least $least, median $median, most $most" >&3
	kill -0 "$STORMING" && [ "$median" -le $ENOUGH ]
}

bad=$CAPFS/sessions/bad
exec 3>&1
while read -r name op path text; do
	t_ok "P21_a_storm_of_$name" storm ask "$bad" 60 "$op" "$path" "${text:-}"
	t_ok "P21_others_read_files_in_a_storm_of_$name" waits "$CAPFS/metrics"
	t_ok "P21_others_ask_in_a_storm_of_$name" waits "$CAPFS"
	calm
done <<-'END'
	readings 1 label
	long_readings 1 caps/other/holders
	refusals 2 transfer_quota x
	listings 3 caps
	inspections 11
END
left() {
	[ "$(quota sockets used "$bad/quota")" -lt 60 ]
}
t_ok "P21_what_storms_had_is_given_back" wait_for 20 left

# What counts requests of the control protocol tells nothing of other storms: others are served, each.
others_are_served() {
	local i answer
	for i in 1 2 3 4 5; do
		answer=$(timeout 60 "$PROBE" ask "$CAPFS/sessions/good/caps/echo/socket" "$i")
		[ "$answer" = $i ] || { echo "asked $i, and got '$answer'" && return 1; }
		timeout 60 cat "$CAPFS/sessions/good/quota" || return 1
		timeout 60 "$CAP" tree good || return 1
	done
	kill -0 "$STORMING"
}
t_ok "P21_a_storm_of_connections" storm connect "$bad/caps/other/socket" 4
t_ok "P21_others_are_served_in_it" others_are_served
calm
t_ok "P21_a_storm_of_files" storm read "$bad/quota" 8
t_ok "P21_others_are_served_in_that" others_are_served
calm
t_ok "P21_a_storm_of_long_files" storm read "$bad/caps/other/holders" 60
t_ok "P21_others_are_served_in_that_one" others_are_served
calm
t_ok "P21_a_storm_of_a_server" storm taken "$bad" mine
t_ok "P21_others_are_served_in_that_too" others_are_served
calm

harness_stop
t_done
