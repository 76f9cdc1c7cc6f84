#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G12 G14 P14 P25
# Time: 600
#
# P14, G12, P25: the broker is killed KILLS times (200), 50 in each 200 of them in a burst of one every
# 20 ms, while eight clients list, connect, exchange data, grant, reduce, revoke, transfer and make sessions.
# No call fails, nothing is lost, nothing is done twice, the daemon stays, and the descriptor tables are those
# of before.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=512
: "${KILLS:=200}"

work() {
	HOLDER=$HOLDER timeout $((360 + KILLS)) "$(program tests/it-recovery)" "$@"
}

# What each process has open, without numbers that differ by nature.
tables() {
	local pid name
	sleep 3 # for what is given back lazily
	harness_pids
	for name in KEEPER HOLDER BROKER BINDER; do
		pid=${!name}
		find "/proc/$pid/fd" -mindepth 1 -printf "$name %l\n" 2>/dev/null
	done | sed -e 's/\[[0-9]*\]//' -e 's,/proc/[0-9]*/,/proc/PID/,' -e 's,/fdinfo/[0-9]*,/fdinfo/N,' | sort | uniq -c
}

job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
t_ok "a_service" serve echo --proxy="$TMP/echo.sock"

t_ok "clients_without_kills" work 0 4
sed 's/^/# /' "$TMP/output"
state=$(dump | grep -v 'made=')
before=$(tables)
pids="$KEEPER $HOLDER"
t_ok "P14_P25_G12_G14_clients_with_${KILLS}_kills" work "$KILLS" 0
sed 's/^/# /' "$TMP/output"
t_is "P25_each_kill_of_a_burst_met_a_broker" "" "$(grep burst= "$TMP/output" | grep -v 'burst=50 ')"
harness_pids
t_is "P25_the_daemon_stays" "$pids" "$KEEPER $HOLDER"
t_is "P14_nothing_lost_nothing_twice" "$state" "$(dump | grep -v 'made=')"
t_ok "the_broker_was_killed" test "$(sed -n 's/^capfs_brokers //p' "$CAPFS/metrics")" -gt "$KILLS"
if is_root; then
	t_is "P14_descriptor_tables_as_before" "$before" "$(tables)"
else
	t_skip "P14_descriptor_tables_as_before" "the daemon's processes are not dumpable"
fi
t_unlike "no_error_in_the_log" 'error|assert|refus' cat "$TMP/log"

harness_stop
t_done
