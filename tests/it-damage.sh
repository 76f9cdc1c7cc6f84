#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Conformance: P26
#
# The store: what it keeps over a stop and a crash of everything, and how a damaged one is refused until the
# administrator says that it may go; it is kept aside then, and never taken for a new one.

. "$(dirname "$0")/harness.sh" || exit 99
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

refused() { # NAME: the daemon does not start, and says why; the store is as it was
	local status sum
	sum=$(sha256sum <"$(store)")
	: >"$TMP/log"
	harness_launch
	wait_for 10 not kill -0 "$KEEPER"
	wait "$KEEPER"
	status=$?
	cp "$TMP/log" "$TMP/output"
	[ $status -eq 1 ] && grep -qi 'damaged.*--discard-damaged-state' "$TMP/log"
	t_result $? "$1"
	t_is "${1}_and_left_as_it_was" "$sum" "$(sha256sum <"$(store)")"
	t_ok "${1}_and_leaves_no_mount" not mounted "$CAPFS"
	KEEPER=''
}

# damaged NAME CMD…: CMD damages the file that it is given last; each start is refused until one is told to
# discard it.
damaged() {
	local name=$1 file
	shift
	[ -z "$KEEPER" ] || crash
	is_root || fusermount3 -u -z "$CAPFS" 2>/dev/null
	file=$(store)
	"$@" "$file"
	refused "P26_${name}_is_refused"
	refused "P26_${name}_is_refused_again"
	harness_start --discard-damaged-state
	t_like "P26_${name}_is_kept_aside_by_word" 'damaged.* kept as state.damaged-' cat "$TMP/log"
	t_ok "P26_${name}_is_there_under_that_name" sh -c "ls '$(dirname "$file")' | grep -q damaged"
	t_ok "P26_${name}_then_anew" test ! -e "$CAPFS/sessions/kept"
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

# Without damage the word means nothing.
harness_stop
harness_start --discard-damaged-state
t_ok "a_good_store_is_not_discarded" test -d "$CAPFS/sessions/kept"

# The word was about what there was at the start, not about what comes later.
flip "$(store)"
kill -9 "$BROKER"
wait_for 10 not kill -0 "$KEEPER"
wait "$KEEPER"
t_is "P26_under_a_running_daemon_it_is_refused" 1 $?
is_root || fusermount3 -u -z "$CAPFS" 2>/dev/null
refused "P26_and_at_the_next_start"

# Moving it away is a word as well.
mv "$(store)" "$TMP/moved.mdb"
harness_start
t_ok "P26_moved_away_it_begins_anew" test ! -e "$CAPFS/sessions/kept"

harness_stop
t_done
