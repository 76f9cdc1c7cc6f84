#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The daemon's own spawner, with tests/played-spawner in its place: its programs would inherit nothing of the
# daemon's, it is there when somebody connects, again after its death, by the installed program after an
# upgrade, and ends with the daemon, by whatever that ends. Where a unit has one, that is taken. A broker that
# somebody has taken over gets few connections.

if [ -z "${CAPFS_NAMESPACE:-}" ] && [ "$(id -u)" -eq 0 ]; then
	# The machine's own spawner is not asked.
	if ! unshare -m --propagation private true 2>/dev/null; then
		echo "1..0 # SKIP no mount namespaces"
		exit 77
	fi
	CAPFS_NAMESPACE=1 exec unshare -m --propagation private bash "$0" "$@"
fi
[ -z "${CAPFS_NAMESPACE:-}" ] || mount -t tmpfs none /run || exit 99
. "$(dirname "$0")/harness.sh" || exit 99
harness_check

PLAYED=$TMP/libexec/capfs-spawner
SAW=$PLAYED.saw
export XDG_RUNTIME_DIR=$TMP/xdg
if is_root; then UNIT=/run/capfsd; else UNIT=$TMP/xdg/capfsd; fi
mkdir "$TMP/libexec" "$TMP/sbin" "$TMP/xdg"
install_program() { # FILE NAME: as a package manager does
	cp "$1" "$2.new" && chmod 755 "$2.new" && mv "$2.new" "$2"
}
install_program "$(program tests/played-spawner)" "$PLAYED"
original=$CAPFSD
CAPFSD=$TMP/sbin/capfsd
install_program "$original" "$CAPFSD"

MINDER='' SPAWNER=''
find_minder() {
	MINDER=$(child "$KEEPER" capfs-minder)
	[ -n "$MINDER" ]
}
ask() { # Prints the pid of who answers.
	timeout 60 "$PLAYED" --ask "$KEEPER"
}
gone() { # PID…
	local pid
	for pid; do
		if kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; then return 1; fi
	done
}
# What programs inherit of privilege and limits.
inherited() { # PID
	# 32 and 33 are the C library's own, which its posix_spawn(3) leaves ignored.
	grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Speculation|SigIgn)' "/proc/$1/status" |
		sed 's/^\(SigIgn:.0000000\)18/\100/'
	sed 's/  */ /g' "/proc/$1/limits"
}
# This shell's own, with no signal ignored.
started_with() {
	(trap - PIPE && inherited "$BASHPID") | sed 's/^\(SigIgn:.\).*/\10000000000000000/'
}

# --- what it is ---

harness_start --spawner="$PLAYED"
t_ok "there_is_a_minder" find_minder
t_like "with_its_name" '^capfs-minder' tr '\0' ' ' <"/proc/$MINDER/cmdline"
t_is "and_no_spawner_before_somebody_connects" "" "$(child "$MINDER" capfs-spawner)"
SPAWNER=$(ask)
t_is "the_first_who_connects_has_one" "$SPAWNER" "$(child "$MINDER" capfs-spawner)"
t_is "it_inherits_what_the_daemon_was_started_with" "$(started_with)" "$(inherited "$SPAWNER")"
t_is "not_what_the_keeper_has_taken_from_itself" "0" "$(sed -n 's/^NoNewPrivs:.//p' "/proc/$SPAWNER/status")"
is_root && t_unlike "the_keeper_is_confined_meanwhile" "^$(sed -n 's/^CapBnd:.//p' "/proc/$SPAWNER/status")" \
	sed -n 's/^CapBnd:.//p' "/proc/$KEEPER/status"
tables() {
	find "/proc/$MINDER/fd" "/proc/$SPAWNER/fd" -mindepth 1 -printf '%l\n'
}
t_unlike "neither_has_the_mount_or_a_lock" "fuse|$RUN|$CAPFS" tables
t_is "the_spawner_begins_with_the_listener_alone" "$SPAWNER 0 1 2 3" "$(sed -n 's/^start //p' "$SAW")"
t_is "in_an_environment_of_its_own" "LISTEN_PID=$SPAWNER LISTEN_FDS=1" "$(sed -n 's/^environment //p' "$SAW")"
t_is "from_the_root_directory" / "$(readlink "/proc/$SPAWNER/cwd")"
t_is "in_a_session_of_its_own" "$MINDER" "$(ps -o sid= -p "$SPAWNER" | tr -d ' ')"
t_is "the_listener_has_no_name" "lock" "$(ls "$RUN" | grep -v state)"

# --- its ends ---

t_is "one_serves_all_connections" "$SPAWNER" "$(ask)"
kill -9 "$SPAWNER"
wait_for 5 gone "$SPAWNER"
another=$(ask)
t_ok "another_comes_after_kill_9" test -n "$another" -a "$another" != "$SPAWNER"
t_is "of_the_same_minder" "$another" "$(child "$MINDER" capfs-spawner)"

pids="$KEEPER $MINDER"
install_program "$(program tests/played-spawner)" "$PLAYED"
kill -HUP "$KEEPER"
t_ok "upgrade" wait_for 20 grep -q 'upgraded: ' "$TMP/log"
wait_for 5 answers
find_minder
t_is "keeper_and_minder_stay" "$pids" "$KEEPER $MINDER"
t_ok "the_spawner_of_before_ends" wait_for 5 gone "$another"
SPAWNER=$(ask)
t_ok "the_next_one_is_the_installed_program" test "/proc/$SPAWNER/exe" -ef "$PLAYED"
kill -HUP "$KEEPER"
upgraded() {
	[ "$(grep -c 'upgraded: ' "$TMP/log")" -ge 2 ]
}
t_ok "another_upgrade" wait_for 20 upgraded
wait_for 5 answers
t_ok "after_which_it_serves" wait_for 5 ask
SPAWNER=$(child "$MINDER" capfs-spawner)
t_is "and_inherits_what_the_first_did" "$(started_with)" "$(inherited "$SPAWNER")"

echo stays >"$PLAYED.mode"
kill -9 "$SPAWNER"
SPAWNER=$(ask)
harness_stop
t_ok "all_of_it_ends_with_the_daemon" gone "$MINDER" "$SPAWNER"
rm "$PLAYED.mode"

for victim in KEEPER MINDER; do
	harness_start --spawner="$PLAYED"
	find_minder
	SPAWNER=$(ask)
	kill -9 "${!victim}"
	t_ok "kill_9_of_the_${victim}_ends_the_spawner" wait_for 5 gone "$MINDER" "$SPAWNER"
	if [ $victim = MINDER ]; then
		t_fails ECONNREFUSED "there_is_no_other" ask
		t_ok "all_else_goes_on" mkdir "$CAPFS/sessions/after"
		harness_stop
	fi
done

# --- where there is none ---

: >"$TMP/log"
harness_start --spawner="$TMP/libexec/nothing"
t_is "no_program_no_minder" "" "$(child "$KEEPER" capfs-minder)"
t_ok "the_tree_is_served" mkdir "$CAPFS/sessions/without"
t_is "nothing_is_said_of_it" "" "$(cat "$TMP/log")"
harness_stop

# --- a broker that was taken over, and the unit's spawner ---

export HOSTILE_DONE=$TMP/hostile/done HOSTILE=spawner
mkdir "$TMP/hostile"
chmod 777 "$TMP/hostile"
install_program "$(program tests/hostile-broker)" "$CAPFSD"
attached() { # FILE
	[ -s "$1" ] && [ "$(grep -c "^attach $CAPFS$" "$1")" -ge 2 ] && ! grep -q '^bad' "$1"
}
hostile() { # NAME OPTION…
	rm -f "$HOSTILE_DONE" "$SAW"
	: >"$TMP/log"
	harness_start "${@:2}"
	t_like "$1_was_tried" '^hostile: done' cat "$TMP/log"
	t_unlike "$1_gets_not_a_thing" 'hostile: (GOT|cannot)' cat "$TMP/log"
	t_ok "$1_and_the_daemon_goes_on" mkdir "$CAPFS/sessions/$1"
}
hostile own --spawner="$PLAYED"
t_ok "the_spawner_was_told_whose_they_are" attached "$SAW"
harness_stop

hostile none --spawner="$TMP/libexec/nothing"
t_is "that_there_is_none_is_said_once" 1 "$(grep -c 'no programs can be started' "$TMP/log")"
harness_stop

mkdir -p "$UNIT"
cp "$PLAYED" "$TMP/libexec/unit"
job "$TMP/libexec/unit" --listen "$UNIT/spawner"
unit=$!
wait_for 5 test -S "$UNIT/spawner"
hostile unit --spawner="$PLAYED"
t_ok "the_units_was_asked" attached "$TMP/libexec/unit.saw"
t_ok "and_no_other_was_started" not test -e "$SAW"
# Again, by the first broker of an upgrade: the keeper becomes another binary between its last question and the
# answer, and owes that all the same.
rm "$HOSTILE_DONE"
before=$(grep -c '^attach' "$TMP/libexec/unit.saw")
: >"$TMP/log"
kill -HUP "$KEEPER"
t_ok "upgrade_under_a_broker_that_asks" wait_for 60 grep -q 'upgraded: ' "$TMP/log"
given=$(sed -n 's/^hostile: \([0-9]*\) connections/\1/p' "$TMP/log")
one_more() {
	[ "$(grep -c '^attach' "$TMP/libexec/unit.saw")" -gt $((before + ${given:-99})) ]
}
t_ok "its_last_question_is_answered_by_the_new_keeper" wait_for 10 one_more
wait_for 5 answers
harness_stop
t_ok "it_goes_on_without_the_daemon" not gone "$unit"

# One that nobody listens to any more, and one of somebody else's.
end_job "$unit"
hostile stale --spawner="$PLAYED"
t_ok "where_the_units_is_dead_there_is_another" attached "$SAW"
harness_stop
if is_root; then
	rm "$UNIT/spawner" "$TMP/libexec/unit.saw"
	chmod 777 "$UNIT" "$TMP/libexec"
	job setpriv --reuid=65534 --regid=65534 --clear-groups "$TMP/libexec/unit" --listen "$UNIT/spawner"
	wait_for 5 test -S "$UNIT/spawner"
	hostile foreign --spawner="$PLAYED"
	t_ok "nobody_elses_is_taken" not grep -q '^attach' "$TMP/libexec/unit.saw"
	t_ok "but_the_daemons_own" attached "$SAW"
	harness_stop
fi
t_done
