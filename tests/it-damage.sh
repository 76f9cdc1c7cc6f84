#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The store: what it keeps over a stop and a crash of everything, and how a damaged one is refused, kept
# aside, and not taken for a new one.

. "$(dirname "$0")/harness.sh"
harness_check

t_command() {
	timeout 10 "$CAPFSD" "$@"
}

harness_start
mkdir "$CAPFS/sessions/kept"
before=$(dump "$CAPFS/sessions")
t_fails 'in use' "one_daemon_a_directory" t_command --run-dir="$RUN" "$TMP"

# Everything is killed at once: the mount is dead, the next start clears it and has the same tree.
crash() {
	harness_pids
	kill -9 "$KEEPER"
	wait "$KEEPER" 2>/dev/null
	wait_for 10 all_ended
}
t_ok "everything_ends_with_the_keeper" crash
is_root || fusermount3 -u -z "$CAPFS" 2>/dev/null
harness_start
t_is "the_same_tree_after_a_crash_of_all" "$before" "$(dump "$CAPFS/sessions")"

store() {
	find "$RUN" -name state.mdb
}

# damaged NAME CMD…: CMD damages the file that it is given last; the next start refuses, the one after
# begins anew.
damaged() {
	local name=$1 status file
	shift
	[ -z "$KEEPER" ] || crash
	is_root || fusermount3 -u -z "$CAPFS" 2>/dev/null
	file=$(store)
	"$@" "$file"
	: >"$TMP/log"
	harness_launch
	wait_for 10 not kill -0 "$KEEPER"
	wait "$KEEPER"
	status=$?
	cp "$TMP/log" "$TMP/output"
	[ $status -ne 0 ] && [ $status -lt 124 ] && grep -qi 'damaged' "$TMP/log"
	t_result $? "${name}_is_refused"
	t_ok "${name}_is_kept_aside" sh -c "ls '$(dirname "$file")' | grep -q damaged"
	t_ok "${name}_leaves_no_mount" not mounted "$CAPFS"
	KEEPER=''
	harness_start
	t_ok "${name}_then_anew" test ! -e "$CAPFS/sessions/kept"
	mkdir "$CAPFS/sessions/kept"
}

empty() {
	: >"$1"
}
cut_off() {
	truncate -s "$(($(stat -c %s "$1") - 4096))" "$1"
}
flip() {
	# A byte of the session's own record, wherever pages have it or had it.
	local at
	for at in $(grep -abo kept "$1" | cut -d: -f1); do
		printf K | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
	done
}
garbage() {
	head -c "$(stat -c %s "$1")" /dev/urandom | dd of="$1" conv=notrunc status=none
}

damaged "emptied_store" empty
damaged "cut_off_store" cut_off
damaged "flipped_store" flip
damaged "overwritten_store" garbage

harness_stop
t_done
