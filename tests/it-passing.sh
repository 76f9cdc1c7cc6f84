#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G44 S02 S03 S06
#
# Capabilities in messages: as O_PATH descriptors of their socket nodes, which are compared, used by
# whoever gets them, and end with the slot.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start
passing=$(program tests/passing)

job "$(program examples/echo-server)" echo
wait_for 10 served echo
job "$(program examples/echo-server)" other
wait_for 10 served other
mkdir "$CAPFS/sessions/app"
app=$CAPFS/sessions/app
say 'to=app rights=call,replicate' "$CAPFS/caps/echo/grant"
say 'as=twin' "$app/caps/echo/replicate"

t_is "G44_S03_one_slot_is_the_same" 1 "$("$passing" same "$CAPFS" echo echo)"
t_is "G44_S03_through_another_mount_path" 1 "$("$passing" same "$CAPFS" sessions/app/caps/echo sessions/app/caps/echo)"
t_is "S03_another_slot_is_not" 0 "$("$passing" same "$CAPFS" echo other)"
t_is "S03_nor_is_its_replica" 0 "$("$passing" same "$app" echo twin)"
t_is "S03_connections_have_names" 1 "$("$passing" connected "$CAPFS" echo echo)"
t_is "S03_of_their_slots" 0 "$("$passing" connected "$app" echo twin)"
t_is "S02_used_by_whoever_gets_it" "init/app: hello" "$("$passing" use "$app" echo hello)"
t_is "S06_a_thousand_times_around" "init/app: around" "$("$passing" ring "$app" echo 1000)"
t_ok "S06_nothing_leaks" "$passing" ring "$app" echo 1000
t_fails ENOENT "nothing_of_no_slot" "$passing" use "$app" nope x
t_fails EINVAL "nothing_but_slots" "$passing" use "$app" caps/../sessions x

# What was passed on ends with the slot.
"$passing" ring "$app" echo 1 >"$TMP/before"
mkfifo "$TMP/go"
cat >"$TMP/late" <<'EOT'
import os, socket, sys
fd = os.open(sys.argv[1], os.O_PATH)
print("held", flush=True)
open(sys.argv[2]).read()
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
try:
    s.connect("/proc/self/fd/%d" % fd)
    s.settimeout(5)
    print("connected" if s.recv(1) else "ended")
except OSError as e:
    print("refused")
EOT
if command -v python3 >/dev/null; then
	python3 "$TMP/late" "$app/caps/twin/socket" "$TMP/go" >"$TMP/result" &
	HARNESS_JOBS+=("$!")
	wait_for 5 grep -q held "$TMP/result"
	say 1 "$CAPFS/caps/echo/revoke"
	echo >"$TMP/go"
	t_ok "S03_revoked_in_flight" wait_for 10 grep -Eq 'refused|ended' "$TMP/result"
else
	t_skip "S03_revoked_in_flight" "no python3"
fi

harness_stop
t_done
