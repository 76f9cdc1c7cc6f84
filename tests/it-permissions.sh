#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P13
#
# P13. Who may do what to which node: three users, every kind of node, every operation, as the modes in
# capfs(5) say. The kernel decides, the daemon only says owner, group and mode.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
is_root || harness_skip "three users are needed: run it as root"
harness_start --quota=caps=1024,sockets=128

OWNER=12345 OTHER=54321
t_ok "a_service" serve date --inetd -- /bin/date
mkdir "$CAPFS/sessions/app"
say 'to=app rights=call,grant,reduce' "$CAPFS/caps/date/grant"
chown $OWNER "$CAPFS/sessions/app"
app=$CAPFS/sessions/app

# Lines: OPERATION PATH root owner other. Paths are below $CAPFS, A stands for sessions/app.
matrix() { # NAME, lines on stdin
	local name=$1 user column got
	cat >"$TMP/matrix"
	column=3
	for user in 0 $OWNER $OTHER; do
		awk -v cap="$CAPFS" '{ sub("^A", "sessions/app", $2); p = ($2 == ".") ? cap : cap "/" $2
			print $1, p, $6 }' "$TMP/matrix" >"$TMP/lines"
		"$PROBE" -u "$user" try <"$TMP/lines" >"$TMP/got"
		awk -v c=$column '{ print $1, $2, $c }' "$TMP/matrix" >"$TMP/wanted"
		paste -d ' ' <(awk '{ print $1, $2 }' "$TMP/matrix") "$TMP/got" >"$TMP/results"
		got=0
		diff "$TMP/wanted" "$TMP/results" >"$TMP/output" || got=1
		t_result $got "P13_${name}_uid_$user"
		column=$((column + 1))
	done
}

modes() { # lines PATH MODE OWNER
	local path
	while read -r path _ _; do
		stat -c "$path %a %u" "$CAPFS/$path"
	done <"$1"
}

cat >"$TMP/modes" <<'EOT'
. 711 0
README 444 0
version 444 0
metrics 400 0
label 400 0
quota 400 0
transfer_quota 600 0
events 400 0
control 600 0
caps 711 0
caps/date 700 0
caps/date/info 400 0
caps/date/holders 400 0
caps/date/grant 600 0
caps/date/socket 600 0
entrypoints 711 0
entrypoints/date/info 400 0
threads 711 0
sessions 711 0
sessions/app 700 12345
sessions/app/label 400 12345
sessions/app/state 400 12345
sessions/app/transfer_quota 600 12345
sessions/app/control 600 12345
sessions/app/caps 700 12345
sessions/app/caps/date/info 400 12345
sessions/app/caps/date/reduce 600 12345
sessions/app/caps/date/socket 600 12345
sessions/app/sessions 700 12345
EOT
t_is "P13_modes_as_documented" "$(cat "$TMP/modes")" "$(modes "$TMP/modes")"

matrix root_session <<'EOT'
stat . OK OK OK
list . OK EACCES EACCES
read README OK OK OK
read version OK OK OK
read metrics OK EACCES EACCES
read quota OK EACCES EACCES
openw transfer_quota OK EACCES EACCES
connect control OK EACCES EACCES
list caps OK EACCES EACCES
stat caps/date/info OK EACCES EACCES
read caps/date/info OK EACCES EACCES
openw caps/date/grant OK EACCES EACCES
connect caps/date/socket OK EACCES EACCES
openw caps/date/socket ENXIO EACCES EACCES
list sessions OK EACCES EACCES
mkdir sessions/mine OK EACCES EACCES
rmdir sessions/mine OK ENOENT ENOENT
EOT

# 0700: the owner's alone, and root's.
matrix private_session <<'EOT'
stat A OK OK OK
list A OK OK EACCES
read A/label OK OK EACCES
read A/quota OK OK EACCES
read A/events OK OK EACCES
openw A/transfer_quota OK OK EACCES
connect A/control OK OK EACCES
list A/caps OK OK EACCES
stat A/caps/date OK OK EACCES
read A/caps/date/info OK OK EACCES
read A/caps/date/grant OK OK EACCES
openw A/caps/date/grant OK OK EACCES
connect A/caps/date/socket OK OK EACCES
mkdir A/sessions/x OK OK EACCES
rmdir A/sessions/x OK OK EACCES
mkdir A/caps/x EPERM EPERM EACCES
create A/x EPERM EPERM EACCES
chmod A OK OK EPERM 700
chown A OK OK EPERM 12345
EOT

# Made by the owner: the owner's.
matrix made_by_the_owner <<'EOT'
stat A/sessions/mine ENOENT ENOENT EACCES
EOT
as $OWNER mkdir "$app/sessions/mine"
t_is "P13_the_maker_is_the_owner" "$OWNER 700" "$(stat -c '%u %a' "$app/sessions/mine")"
t_ok "P13_and_can_close_it" as $OWNER rmdir "$app/sessions/mine"

# 0755: others look, but neither command nor connect.
t_ok "P13_owner_chmods" as $OWNER chmod 755 "$app"
matrix readable_session <<'EOT'
list A OK OK OK
read A/label OK OK OK
read A/caps/date/info OK OK OK
read A/caps/date/holders OK OK OK
read A/caps/date/grant OK OK OK
openw A/caps/date/grant OK OK EACCES
openw A/transfer_quota OK OK EACCES
connect A/caps/date/socket OK OK EACCES
connect A/control OK OK EACCES
mkdir A/sessions/x OK OK EACCES
rmdir A/sessions/x OK OK ENOENT
chmod A OK OK EPERM 755
EOT

# Also where the kernel has been told the mode of before.
shown() {
	stat -c %a "$app" "$app/caps/date" "$app/caps/date/socket" "$app/caps/date/info" | paste -sd:
}
for modes in 700:700:600:400 777:777:666:444 750:750:640:440; do
	chmod "${modes%%:*}" "$app"
	t_is "P29_the_slots_of_a_session_have_its_mode" "$modes" "$(shown)"
done

# One slot with a mode of its own in a session that others may pass: that socket alone is theirs.
chmod 711 "$app"
t_ok "P13_a_slot_has_a_mode_of_its_own" as $OWNER chmod 777 "$app/caps/date"
matrix open_slot <<'EOT'
list A OK OK EACCES
read A/label OK OK EACCES
connect A/control OK OK EACCES
stat A/caps/date OK OK OK
read A/caps/date/info OK OK OK
connect A/caps/date/socket OK OK OK
EOT

# By group.
chmod 700 "$app/caps/date"
chgrp $OTHER "$app"
chmod 750 "$app"
chgrp $OTHER "$app/caps/date"
chmod 770 "$app/caps/date"
matrix group <<'EOT'
list A OK OK OK
read A/label OK OK OK
openw A/transfer_quota OK OK EACCES
connect A/caps/date/socket OK OK OK
EOT

# They last: the next broker says the same.
before=$(dump)
harness_pids
kill -9 "$BROKER"
t_is "P13_owner_and_mode_outlive_the_broker" "$before" "$(dump)"

harness_stop
t_done
