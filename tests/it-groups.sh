#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G91 S09
#
# Supplementary groups of programs, which root alone gives: what they reach by them, who can start such a program,
# and that nobody gets a group by it that he could not be of.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

harness_start --quota=threads=300
OWNER=$(id -u) GROUP=$(id -g)
if is_root; then OWNER=12345 GROUP=12345; fi
box=$CAPFS/sessions/box
PATHS=/usr,/bin,/lib,/lib64,$TMP/shared

session() { # NAME
	mkdir "$CAPFS/sessions/$1"
	say "to=$1 threads=20 ram=128K caps=32 sockets=32" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$GROUP" "$CAPFS/sessions/$1"; fi
}
run() { # SESSION OPTION… -- PROGRAM ARGUMENT…
	local session=$1
	shift
	"$CAP" --cap="$CAPFS" run --session="$session" --clear-env "$@"
}
no_threads() { # DIRECTORY
	grep -q '^threads limit=[0-9]* used=0 ' "$1/quota"
}

chmod 755 "$TMP"
CAP=$(program_for_others capctl/capctl)
mkdir "$TMP/shared"
session box

if ! is_root; then
	t_fails EPERM "G91_only_root_names_groups" say "ro=$PATHS groups=$GROUP" "$box/confine"
	t_ok "but_none_anybody" say "ro=$PATHS groups=none" "$box/confine"
	t_fails EPERM "or_who_asks_for_one_is_told" run box --groups="$GROUP" -- /usr/bin/id -G
	harness_stop
	t_done
	exit
fi

for group in 12400 12401 12500; do
	echo "of $group" >"$TMP/shared/$group"
	chown "0:$group" "$TMP/shared/$group"
	chmod 040 "$TMP/shared/$group"
done

# --- what is said -------------------------------------------------------------------------------

t_fails EINVAL "groups_are_numbers" say groups=audio "$box/confine"
t_fails EINVAL "each_once" say groups=12400,12400 "$box/confine"
t_fails EINVAL "and_not_too_many" say "groups=$(seq -s, 1 33)" "$box/confine"
t_fails EPERM "G91_only_root_names_any" as "$OWNER" bash -c "echo groups=12400 >$box/confine"
t_ok "root_does" say "ro=$PATHS groups=12500,12400" "$box/confine"
t_ok "they_are_shown" grep -qx 'groups=12400,12500' "$box/confine"
t_fails EPERM "S09_there_are_never_more" say groups=12400,12401,12500 "$box/confine"
session none
say "ro=$PATHS" "$CAPFS/sessions/none/confine"
t_fails EPERM "S09_nor_any_later" say groups=12400 "$CAPFS/sessions/none/confine"

# --- who has them -------------------------------------------------------------------------------

t_is "G91_a_program_has_them" "12345 12400 12500" "$(run box --groups=12400,12500 -- /usr/bin/id -G)"
t_is "G91_and_one_of_the_same_init" "12345 12400 12500" "$(run box --groups=12500,12400,12400 -- /usr/bin/id -G)"
t_is "it_reads_what_is_theirs" "of 12400 of 12500" \
	"$(run box --groups=12400,12500 -- /bin/cat "$TMP/shared/12400" "$TMP/shared/12500" | xargs)"
t_fails EACCES "and_of_no_other_group" run box --groups=12400,12500 -- /bin/cat "$TMP/shared/12401"
t_is "nobody_there_changes_groups" "deny" "$(run box --groups=12400,12500 -- /bin/cat /proc/self/setgroups)"
t_is "without_any_there_is_none" "12345" "$(run none -- /usr/bin/id -G)"
if have python3; then
	t_is "ways_to_drop_them_fail" "[1, 1, 22]" "$(run box --groups=12400,12500 -- /usr/bin/python3 -c '
import os
def tried(f, *a):
    try: f(*a)
    except OSError as e: return e.errno
    return 0
print([tried(os.setgroups, []), tried(os.setgroups, [12400]), tried(os.setresgid, 0, 0, 0)])')"
else
	t_skip "ways_to_drop_them_fail" "no python3"
fi
id=$(run box --groups=12400,12500 --detach --restart=always -- /bin/sh -c 'exit 1')
again() { [ "$(sed -n 's/^restarts=//p' "$box/threads/$id/info")" -ge 2 ]; }
t_ok "what_runs_again" wait_for 20 again
say kill "$box/threads/$id/ctl"
t_is "with_its_own_session_made_for_it" "12345 12400" \
	"$("$CAP" --cap="$CAPFS" run --new --uid="$OWNER" --groups=12400 --confine="ro=$PATHS" --clear-env -- /usr/bin/id -G)"

# --- who can start them -------------------------------------------------------------------------

vain() { # OPTION…: nothing runs
	run box "$@" -- /usr/bin/id -G
}
t_fails EPERM "G91_root_names_them_itself" vain
t_like "and_is_told_why" 'step creds: EPERM: the groups that were named' vain
t_fails EPERM "all" vain --groups=12400
t_fails EPERM "and_no_others" vain --groups=12400,12401
t_fails EPERM "nor_more" vain --groups=12400,12401,12500
t_fails EPERM "none_where_there_are_none" run none --groups=12400 -- /usr/bin/id -G
user() { # GROUPS OPTION…: the owner of the session, who is of these as well
	local groups=$1
	shift
	setpriv --reuid="$OWNER" --regid="$GROUP" --groups="$groups" \
		"$CAP" --cap="$box" run --clear-env "$@" -- /usr/bin/id -G
}
wait_for 20 no_threads "$box"
for running in no yes; do
	if [ $running = yes ]; then run box --groups=12400,12500 --detach -- /bin/sleep 1000 >/dev/null; fi
	t_fails EPERM "G91_no_user_gets_a_group_running_$running" user "$GROUP" --groups=12400,12500
	t_fails EPERM "G91_by_saying_nothing_running_$running" user "$GROUP"
	t_fails EPERM "G91_nor_all_by_one_running_$running" user 12400 --groups=12400,12500
done
rmdir "$box"

# --- below --------------------------------------------------------------------------------------

session top
top=$CAPFS/sessions/top
say "ro=$PATHS groups=12400,12500" "$top/confine"
mkdir "$top/sessions/below"
say 'to=below threads=8 ram=64K' "$top/transfer_quota"
chown "$OWNER:$GROUP" "$top/sessions/below"
t_ok "S09_what_is_below_has_them" grep -qx 'groups=12400,12500' "$top/sessions/below/confine"
t_ok "S09_or_fewer" say groups=12500 "$top/sessions/below/confine"
t_is "S09_alone" "12345 12500" "$(run top/below --groups=12500 -- /usr/bin/id -G)"
wait_for 20 no_threads "$top/sessions/below"
run top --groups=12400,12500 --detach -- /bin/sleep 1000 >/dev/null
t_fails EOPNOTSUPP "S09_while_the_one_above_runs_none_could_be_shown" \
	run top/below --groups=12500 -- /usr/bin/id -G
t_like "with_its_step" 'step creds' run top/below --groups=12500 -- /usr/bin/id -G

harness_stop
t_done
