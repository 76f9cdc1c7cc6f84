#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G20 P14
#
# P14: kill -9 of the broker at every system call that it makes for a look-up and a connection, a grant,
# a drop, a transfer of quota, a new session, three requests through `call`, and at those of a broker that takes over. Each client
# succeeds, nothing is lost, nothing is done twice, nobody hangs.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
is_root || harness_skip "only root may trace the broker"
harness_start --quota=caps=4096,sockets=512
points() { # OPERATION [STEP]
	timeout 120 "$(program tests/kill-points)" "$CAPFS" "$HOLDER" "$@"
}

t_ok "a_service" serve echo --inetd -- /bin/cat
mkdir "$CAPFS/sessions/kill"
say 'to=kill caps=64 sockets=16' "$CAPFS/transfer_quota"
if ! points mkdir 1000 >"$TMP/first" 2>&1 && grep -q PTRACE_SEIZE "$TMP/first"; then
	harness_skip "this kernel lets nobody trace"
fi

t_ok "P14_killed_at_each_call_of_a_connection" points connect
sed 's/^/# /' "$TMP/output"
t_ok "P14_killed_at_each_call_of_a_grant" points grant
sed 's/^/# /' "$TMP/output"
t_ok "P14_killed_at_each_call_of_a_drop" points drop
sed 's/^/# /' "$TMP/output"
t_ok "P14_G20_killed_at_each_call_of_a_transfer" points transfer
sed 's/^/# /' "$TMP/output"
t_ok "P14_killed_at_each_call_of_mkdir" points mkdir
sed 's/^/# /' "$TMP/output"
t_ok "P14_killed_while_it_takes_over" points takeover 59
sed 's/^/# /' "$TMP/output"
for kind in calls stream; do
	job "$(program tests/call-service)" $kind $kind
	wait_for 10 served $kind
	t_ok "P14_killed_at_each_call_of_requests_$kind" points $kind
	sed 's/^/# /' "$TMP/output"
done
rmdir "$CAPFS/sessions/made" "$CAPFS/sessions/kill"
t_is "all_quota_is_back" 3 "$(quota caps used "$CAPFS/quota")"
harness_stop
t_done
