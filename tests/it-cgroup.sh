#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Control groups: who is in a session's leaf, that nobody leaves it, that all in it end at once and nothing stays,
# whoever is killed meanwhile; which directory is taken, and which is not; what is said of limits.

# The directory is made by one shell, and removed by it whatever becomes of the other one.
if [ -z "${CAPFS_GROUP:-}" ]; then
	hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	if [ -z "$hierarchy" ] || [ "$(id -u)" -ne 0 ]; then
		echo "1..0 # SKIP ${hierarchy:+only root makes control groups}${hierarchy:-no cgroup2 is mounted}"
		exit 77
	fi
	CAPFS_GROUP=$hierarchy/capfs-test-$$
	if ! mkdir "$CAPFS_GROUP" 2>/dev/null || ! [ -e "$CAPFS_GROUP/cgroup.kill" ]; then
		rmdir "$CAPFS_GROUP" 2>/dev/null
		echo "1..0 # SKIP no control groups can be made, or not killed (Linux 5.14)"
		exit 77
	fi
	export CAPFS_GROUP
	trap : INT TERM
	bash "$0" "$@"
	status=$?
	echo 1 >"$CAPFS_GROUP/cgroup.kill"
	for ((i = 0; i < 100; i++)); do
		find "$CAPFS_GROUP" -depth -type d -exec rmdir {} + 2>/dev/null
		[ -e "$CAPFS_GROUP" ] || exit $status
		sleep 0.1
	done
	echo "# left: $CAPFS_GROUP"
	exit 1
fi

. "${top_srcdir:-.}/tests/harness.sh"
harness_check

# Of nobody else, as its processes are looked for.
OWNER=$((20000 + $$ % 10000))
HIERARCHY=${CAPFS_GROUP%/*}
PLACE=$CAPFS_GROUP/named
mkdir "$PLACE"

session() { # NAME
	mkdir -p "$CAPFS/sessions/$1" && say "to=$1 threads=400 ram=64K" "$CAPFS/transfer_quota" &&
		chown $OWNER:$OWNER "$CAPFS/sessions/$1"
}
run() { # SESSION OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run --session="$1" "${@:2}"
}
pid_of() { # SESSION THREAD
	sed -n 's/^pid=//p' "$CAPFS/sessions/$1/threads/$2/info"
}
parent() { # PID
	awk '/^PPid:/ { print $2 }' "/proc/$1/status"
}
group() { # PID: its directory
	echo "$HIERARCHY$(sed -n 's/^0:://p' "/proc/$1/cgroup")"
}
# sleeper SESSION: sets PID, INIT, SPAWNER, LEAF.
sleeper() {
	PID=$(pid_of "$1" "$(run "$1" --detach -- /bin/sleep 1000)")
	INIT=$(parent "$PID")
	SPAWNER=$(parent "$INIT")
	LEAF=$(group "$INIT")
}
is_gone() { # PID…
	local pid
	for pid; do
		if grep -q '^State:.[^ZX]' "/proc/$pid/status" 2>/dev/null; then return 1; fi
	done
}
no_leaves() { # [DIRECTORY]
	[ -z "$(find "${1:-$PLACE}" -mindepth 1 -name 'session-*')" ]
}
of_owner() {
	pgrep -u $OWNER -r R,S,D,T
}
closed() { # SESSION
	not test -e "$CAPFS/sessions/$1"
}
kill_spawner() {
	kill -9 "$SPAWNER"
	wait_for 10 is_gone "$SPAWNER"
}

harness_start --quota=threads=2000 --cgroup="$PLACE"
session app
session other

# --- who is in it ---

sleeper app
t_is "the_leaf_is_in_the_directory_that_was_named" "$PLACE" "${LEAF%/*}"
t_is "init_and_program_are_in_one" "$LEAF" "$(group "$PID")"
members() {
	sort -n "$LEAF/cgroup.procs" | xargs
}
t_is "and_nobody_else" "$(printf '%s\n' "$PID" "$INIT" | sort -n | xargs)" "$(members)"
t_is "it_is_roots" "0 644" "$(stat -c '%u %a' "$LEAF/cgroup.procs")"
t_is "with_all_that_is_in_it" "" "$(find "$LEAF" ! -user 0)"
deep=$(run app -- /bin/sh -c 'setsid sh -c "sleep 1000 >/dev/null 2>&1 & echo \$!"; :' </dev/null)
t_is "what_a_program_leaves_is_there_too" "$LEAF" "$(group "$deep")"
t_unlike "the_spawner_is_not" "^$LEAF\$" group "$SPAWNER"
run other --detach -- /bin/sleep 1000 >/dev/null
t_is "another_session_has_another_one" 2 "$(find "$PLACE" -mindepth 1 -type d | wc -l)"

# A program by no way of its own: to where it was, to the top, beside it.
for to in "$PLACE" "$HIERARCHY" "$LEAF"; do
	t_fails EACCES "no_program_moves_to_${to##*/}" run app -- /bin/sh -c "echo 0 >$to/cgroup.procs"
done
t_fails EACCES "or_makes_one_below" run app -- /bin/mkdir "$LEAF/below"
t_fails EACCES "or_ends_others" run app -- /bin/sh -c "echo 1 >$PLACE/cgroup.kill"
t_is "all_that_tried_were_in_the_leaf" "0::${LEAF#"$HIERARCHY"}" "$(run app -- /bin/grep ^0 /proc/self/cgroup)"

# --- ends ---

t_ok "a_session_is_closed" rmdir "$CAPFS/sessions/app"
t_ok "with_all_in_it" is_gone "$PID" "$INIT" "$deep"
t_ok "its_leaf_goes" wait_for 10 not test -e "$LEAF"
t_is "and_no_other_one" 1 "$(find "$PLACE" -mindepth 1 -type d | wc -l)"

session app
run app -- /bin/true
t_ok "an_init_that_has_nothing_to_do_leaves_none_either" wait_for 20 eval 'test "$(find "$PLACE" -mindepth 1 -type d | wc -l)" -le 2'
leaf_of_app_gone() { [ "$(find "$PLACE" -mindepth 1 -type d | wc -l)" = 1 ]; }
t_ok "a_moment_after_its_end" wait_for 20 leaf_of_app_gone

# No signal of its init's reaches one that has become another user, as by su, and an init waits for all that it has.
cp "$(command -v setpriv)" "$TMP/become"
chmod 4755 "$TMP/become"
suid=$(pid_of app "$(run app --detach -- "$TMP/become" --reuid=0 /bin/sleep 1000)")
becomes_root() { grep -q '^Uid:.0.0.0' "/proc/$suid/status"; }
if wait_for 5 becomes_root; then
	leaf=$(group "$suid")
	t_ok "G62_a_session_with_a_process_of_another_user" rmdir "$CAPFS/sessions/app"
	t_ok "G62_ends_with_that" wait_for 20 is_gone "$suid"
	t_ok "and_is_gone" wait_for 20 closed app
	t_ok "with_its_leaf" wait_for 20 not test -e "$leaf"
	session app
else
	t_skip "G62_a_process_of_another_user" "programs get no privilege from files here"
	kill "$suid"
fi

cp "$(program tests/bomb)" "$TMP/bomb"
chmod 755 "$TMP/bomb"
# Only the first one has its output.
run app -- "$TMP/bomb" 300 >"$TMP/there" &
bomb=$!
t_ok "a_fork_bomb" wait_for 30 grep -q there "$TMP/there"
busy() { [ "$(of_owner | wc -l)" -ge 100 ]; }
t_ok "that_has_spread" wait_for 30 busy
t_ok "G62_S09_is_closed" rmdir "$CAPFS/sessions/app"
t_ok "and_gone" wait_for 30 closed app
wait $bomb
# Those that have ended and only wait for their parent to look are nothing.
left_of_bomb() { pgrep -u $OWNER -x -r R,S,D,T bomb; }
t_ok "G62_nothing_is_left_of_it" not left_of_bomb
t_ok "others_run_on" test -n "$(of_owner)"
session app

# --- while others die ---

sleeper app
kill_spawner
t_ok "a_spawner_is_killed_the_leaf_stays" test -e "$LEAF"
t_is "and_its_programs" "$LEAF" "$(group "$PID")"
session third
before=$LEAF
run third --detach -- /bin/sleep 1000 >/dev/null
t_ok "the_next_one_leaves_it" test -e "$before"
t_ok "and_makes_others" test "$(find "$PLACE" -mindepth 1 -type d | wc -l)" = 3
rmdir "$CAPFS/sessions/app"
t_ok "it_removes_that_of_the_one_before" wait_for 20 not test -e "$before"
rmdir "$CAPFS/sessions/third"

# What an init leaves when it is killed, and its spawner is not its parent any more.
session app
sleeper app
deep=$(run app -- /bin/sh -c 'setsid sh -c "sleep 1000 >/dev/null 2>&1 & echo \$!"; :' </dev/null)
kill_spawner
run other -- /bin/true
session third
run third -- /bin/true # by the next one
kill -9 "$INIT"
t_ok "a_killed_init_takes_all_along" wait_for 20 is_gone "$PID" "$deep"
t_ok "and_its_leaf_goes" wait_for 20 not test -e "$LEAF"

# The same, while there is none.
sleeper app
deep=$(run app -- /bin/sh -c 'setsid sh -c "sleep 1000 >/dev/null 2>&1 & echo \$!"; :' </dev/null)
kill_spawner
kill -9 "$INIT"
wait_for 10 is_gone "$INIT"
t_ok "what_it_had_started_is_left" not is_gone "$deep"
empty=$PLACE/session-99999
mkdir "$empty"
rmdir "$CAPFS/sessions/third"
wait_for 10 closed third
session third
run third -- /bin/true
t_ok "the_next_spawner_finds_it" wait_for 20 is_gone "$deep"
t_ok "and_its_leaf" wait_for 20 not test -e "$LEAF"
t_ok "and_an_empty_one" not test -e "$empty"

# A session is gone when its leaf is empty, not when its init is: here of one that is nobody's child in there.
sleeper app
kill_spawner
job /bin/sleep 1000
foreign=$!
echo $foreign >"$LEAF/cgroup.procs"
harness_pids
fds=$(ls "/proc/$BROKER/fd" | wc -l)
for i in 1 2; do
	kill -9 "$BROKER"
	wait_for 10 another_broker "$BROKER"
done
knows_as_many() { [ "$(ls "/proc/$BROKER/fd" | wc -l)" -le "$fds" ]; }
t_ok "a_later_broker_has_what_it_needs_and_no_more" wait_for 10 knows_as_many
rmdir "$CAPFS/sessions/app" &
closing=$!
t_ok "the_init_ends" wait_for 20 is_gone "$INIT"
run other -- /bin/true # a while, in which no spawner is needed
t_ok "G62_its_session_is_not_gone_yet" kill -0 $closing
end_job $foreign
wait $closing
t_ok "but_then" wait_for 20 closed app

# --- confined ---

session box
if say "ro=/usr,/bin,/lib,/lib64" "$CAPFS/sessions/box/confine"; then
	PID=$(pid_of box "$(run box --detach -- /bin/sleep 1000)")
	INIT=$(parent "$PID")
	LEAF=$(group "$INIT")
	t_is "C08_one_that_is_confined_has_a_leaf" "$PLACE" "${LEAF%/*}"
	t_is "which_its_programs_are_in" "$LEAF" "$(group "$PID")"
	t_is "and_is_the_top_that_they_see" "0::/" "$(run box -- /bin/grep ^0 /proc/self/cgroup)"
	mkdir "$CAPFS/sessions/box/sessions/in"
	say "to=in threads=20 ram=16K" "$CAPFS/sessions/box/transfer_quota"
	chown $OWNER:$OWNER "$CAPFS/sessions/box/sessions/in"
	say "pids=50" "$CAPFS/sessions/box/sessions/in/confine"
	inner() { "$CAP" --cap="$CAPFS" run --session=box/in -- "$@"; }
	t_fails EOPNOTSUPP "a_limit_of_its_own_below_is_none" inner /bin/true
	t_like "and_it_is_said_why" 'limits of its own, below a session that runs' inner /bin/true
	mkdir "$CAPFS/sessions/box/sessions/too"
	say "to=too threads=20 ram=16K" "$CAPFS/sessions/box/transfer_quota"
	chown $OWNER:$OWNER "$CAPFS/sessions/box/sessions/too"
	id=$("$CAP" --cap="$CAPFS" run --session=box/too --detach -- /bin/sleep 1000)
	inside=$(ps -o pid=,args= -u $OWNER | awk '/capfs-init sessions\/box\/sessions\/too/ { print $1; exit }')
	t_is "what_is_made_in_it_is_in_its_leaf" "$LEAF" "$(group "$inside")"
	rmdir "$CAPFS/sessions/box/sessions/too"
	t_ok "that_ends" wait_for 20 is_gone "$inside"
	t_ok "alone" not is_gone "$PID"
	rmdir "$CAPFS/sessions/box/sessions/in"
	t_ok "it_ends" rmdir "$CAPFS/sessions/box"
	t_ok "and_its_leaf" wait_for 20 not test -e "$LEAF"

	# --- limits ---

	limit() { # KEY VALUE CONTROLLER FILE
		session box
		say "ro=/usr,/bin,/lib,/lib64 $1=$2" "$CAPFS/sessions/box/confine"
		t_like "$1_is_shown" "^$1=" cat "$CAPFS/sessions/box/confine"
		if grep -qw "$3" "$PLACE/cgroup.subtree_control"; then
			PID=$(pid_of box "$(run box --detach -- /bin/sleep 1000)")
			t_is "$1_is_a_limit_of_its_leaf" "$2" "$(cat "$(group "$PID")/$4")"
		else
			t_fails EOPNOTSUPP "$1_is_refused" run box -- /bin/true
			t_like "because_there_is_no_$3" "no controller $3" run box -- /bin/true
		fi
		rmdir "$CAPFS/sessions/box"
		wait_for 10 closed box
	}
	limit mem 67108864 memory memory.max
	limit pids 64 pids pids.max
else
	t_skip "C08_confined_sessions" "none can be made here"
fi

harness_stop
t_ok "nothing_is_left_after_the_daemon" wait_for 10 no_leaves
t_ok "and_no_process" wait_for 10 not of_owner

# --- which directory ---

FOUND=$CAPFS_GROUP/found
mkdir -p "$FOUND/supervisor"
# start_in DIRECTORY OPTION…: a daemon that is started in there.
start_in() {
	local own
	own=$(group $BASHPID)
	echo $BASHPID >"$1/cgroup.procs"
	harness_start "${@:2}"
	echo $BASHPID >"$own/cgroup.procs"
	session app
}
start_in "$FOUND/supervisor"
sleeper app
t_is "what_nobody_gave_us_is_not_taken" "$FOUND/supervisor" "$LEAF"
t_is "it_is_as_it_was" "supervisor" "$(cd "$FOUND" && find . -mindepth 1 -type d -printf '%P')"
PID='' LEAF=''
session box
say "ro=/usr,/bin,/lib,/lib64 mem=1G" "$CAPFS/sessions/box/confine"
t_like "without_any_there_is_no_limit" "no controller memory" run box -- /bin/true
harness_stop

if [ "$(echo "delegate $FOUND" | "$PROBE" try)" = ok ]; then
	start_in "$FOUND/supervisor"
	sleeper app
	t_is "what_is_delegated_is_found" "$FOUND" "${LEAF%/*}"
	t_is "the_spawner_stays_where_it_is" "$FOUND/supervisor" "$(group "$SPAWNER")"
	harness_stop
	t_ok "it_is_empty_again" wait_for 10 no_leaves "$FOUND"
	start_in "$FOUND"
	sleeper app
	t_is "also_the_one_that_it_is_in" "$FOUND" "${LEAF%/*}"
	harness_stop
	t_ok "and_empty_again" wait_for 10 no_leaves "$FOUND"
else
	t_skip "what_is_delegated_is_found" "no extended attributes of control groups"
fi

harness_start --cgroup="$TMP"
session app
t_like "where_what_was_named_is_none_no_program_runs" "step cgroup: EINVAL" run app -- /bin/true
t_like "and_it_is_said" "no control groups: $TMP: EINVAL" cat "$TMP/log"
harness_stop
t_done
