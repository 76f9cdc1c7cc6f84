#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P30
#
# As whom a relay connects: as an unprivileged user of its own, or as each caller, and never as root unless
# somebody says so. The server behind tells what the kernel says of its peer.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
have python3 || harness_skip "no python3"
is_root || harness_skip "root only: nobody else has an identity to lend but their own"
harness_start --quota=caps=4096,sockets=512

# Prints uid, gid and groups of each peer to it.
cat >"$TMP/who.py" <<'EOT'
import os, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], int(sys.argv[2], 8))
s.listen(64)
while True:
    c = s.accept()[0]
    uid, gid = struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:]
    try:
        groups = c.getsockopt(socket.SOL_SOCKET, 59, 1024)
    except OSError:
        groups = b""
    text = ",".join(str(g) for g in sorted(struct.unpack("%di" % (len(groups) // 4), groups)))
    c.sendall(("%d %d [%s]\n" % (uid, gid, text)).encode())
    c.close()
EOT
own=$(id -u capfs-serve) group=$(id -g capfs-serve)
mkdir "$TMP/behind"
job python3 "$TMP/who.py" "$TMP/behind/who" 0666
wait_for 10 test -S "$TMP/behind/who"

# relay NAME OPTION…: root starts it, without what harness.sh adds.
relay() {
	job "$CAP" serve "$1" --proxy="$TMP/behind/who" "${@:2}" 2>>"$TMP/relay.log"
	SERVER=$!
	wait_for 20 served "$1" && chmod 777 "$CAPFS/caps/$1" && helper_is_up
}
helper_is_up() {
	HELPER=$(pgrep -P "$SERVER" | head -n 1)
	[ -n "$HELPER" ]
}
who() { # NAME [COMMAND…]: what the server sees of a client that COMMAND runs
	timeout 20 "${@:2}" socat -t5 - "UNIX-CONNECT:$CAPFS/caps/$1/socket" </dev/null
}
status() { # KEY
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$HELPER/status" | tr '\t' ' '
}
client() { # NAME UID GID GROUPS [COMMAND…]: the same, as somebody else
	who "$1" setpriv --reuid="$2" --regid="$3" --groups="$4" "${@:5}"
}

# --- a user of its own ------------------------------------------------------------------------------

t_ok "a_relay_that_root_starts" relay own
t_is "P30_the_server_sees_the_relay_s_user" "$own $group [$group]" "$(who own)"
t_is "P30_for_others_as_well" "$own $group [$group]" "$(client own 1234 1234 5)"
t_is "P30_it_runs_as_that" "$own $own $own $own" "$(status Uid)"
t_is "P30_without_capabilities" "0000000000000000 0000000000000000 1" \
	"$(status CapPrm) $(status CapEff) $(status NoNewPrivs)"
killed() { # whoever is above it, and it ends as well
	kill -9 "$SERVER"
	wait "$SERVER" 2>/dev/null
	wait_for 20 not kill -0 "$HELPER"
}
t_ok "it_ends_with_a_killed_serve" killed

t_ok "as_somebody_else" relay named --user=nobody:5,tty
t_is "P30_with_groups" "65534 5 [$(printf '5\n5\n65534\n' | sort -n | tr '\n' ',' | sed 's/,$//')]" "$(who named)"
end_job "$SERVER"
t_ok "in_a_group_of_the_server_s" relay let-in --user=:5
t_is "P30_as_the_same_user" "$own 5 [5,$group]" "$(who let-in)"
end_job "$SERVER"

# --- root's --------------------------------------------------------------------------------------------

t_like "P30_root_is_not_lent_by_name" "that is --lend-root" "$CAP" serve x --proxy="$TMP/behind/who" --user=root
t_like "an_unknown_user" "there is no user 'nobody-at-all'" "$CAP" serve x --proxy="$TMP/behind/who" --user=nobody-at-all
t_like "an_unknown_group" "there is no group" "$CAP" serve x --proxy="$TMP/behind/who" --user=:nobody-at-all
t_ok "P30_root_is_lent_by_its_name" relay lent --lend-root
t_is "P30_and_only_then" "0 0" "$(who lent | cut -d' ' -f1,2)"
end_job "$SERVER"

# --- the caller's ------------------------------------------------------------------------------------

t_ok "as_the_caller" relay caller --as-caller
t_is "P30_with_two_capabilities" "00000000000000c0 1" "$(status CapPrm) $(status NoNewPrivs)"
t_is "P30_the_server_sees_the_caller" "1234 4321 [5,77]" "$(client caller 1234 4321 5,77)"
t_is "P30_and_the_next_one" "1235 1235 [6]" "$(client caller 1235 1235 6)"
t_is "P30_root_is_root" "0 0" "$(who caller | cut -d' ' -f1,2)"
t_is "P30_between_two_others" "1234 1234 [1]" "$(client caller 1234 1234 1)"
t_is "P30_and_the_relay_is_itself_again" "$own $own $own $own" "$(status Uid)"
t_ok "it_ends_with_a_killed_serve_as_well" killed
t_ok "once_more" relay caller --as-caller
t_is "P30_nobody_known_is_refused" "" "$(client caller 65534 65534 65534)"
t_like "P30_which_is_said" 'init: refused: nobody knows its user' cat "$TMP/relay.log"
if unshare -U --map-root-user true 2>/dev/null; then
	t_is "P30_root_of_another_namespace_is_refused" "" "$(who caller unshare -U --map-root-user)"
	t_like "P30_which_is_said_as_well" 'init: refused: it is not known to be root' cat "$TMP/relay.log"
	t_is "P30_others_are_whom_they_are" "1234 1234" \
		"$(client caller 1234 1234 1 unshare -U --map-root-user | cut -d' ' -f1,2)"
else
	t_skip "P30_root_of_another_namespace_is_refused" "no user namespaces"
fi

# The library has the daemon make its connection: who asked is known, groups are not.
end_job "$SERVER"

# What it may reach goes by its own user: callers need no way to the server, and none is lent.
t_ok "behind_a_door" relay door --as-caller --user=:5
chmod 750 "$TMP/behind"
chgrp 5 "$TMP/behind"
t_is "P30_a_caller_comes_through" "1234 1234 [9]" "$(client door 1234 1234 9)"
chmod 700 "$TMP/behind"
t_is "P30_the_caller_s_own_way_does_not_count" "" "$(client door 1234 1234 9)"
t_is "P30_nor_root_s" "" "$(who door)"
chmod 755 "$TMP/behind"
end_job "$SERVER"

# Where another user can read it.
cp "$(program helpers/capfs-relay)" "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP"
others_relay() {
	as 1234 env LD_LIBRARY_PATH="$TMP" "$TMP/capfs-relay" "$@"
}
t_like "P30_only_root_can_be_others" "CAP_SETUID" others_relay --as-caller x "$TMP/behind/who"
t_like "P30_nor_become_them" "can only be had by root" others_relay --user=nobody x "$TMP/behind/who"

# --- sockets of a service manager -----------------------------------------------------------------------

# They lead through the slot, where the relay itself could not go any more.
job systemd-socket-activate -E CAPFS -E LD_LIBRARY_PATH --listen="$TMP/front" \
	"$CAPFS_LIBEXEC/capfs-relay" front "$TMP/behind/who" 2>/dev/null
wait_for 10 test -S "$TMP/front"
ask_front() {
	timeout 20 socat -t5 - "UNIX-CONNECT:$TMP/front" </dev/null | grep .
}
t_is "P30_a_front_leads_through_the_slot" "$own $group [$group]" "$(ask_front)"
rmdir "$CAPFS/caps/front"
t_is "P30_and_nowhere_else" "" "$(ask_front)"
harness_stop
t_done
