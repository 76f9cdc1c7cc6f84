#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P28
#
# A hostile program in the broker's place, with all its descriptors (tests/hostile-broker.c), gets nothing of
# the kernel, of keeper, holder and binder, or of strangers; and the daemon goes on.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

HOSTILE_DONE=$TMP/hostile/done
mkdir "$TMP/hostile"
chmod 777 "$TMP/hostile"
export HOSTILE_DONE
# What is tried before the broker serves has its own times, of half a minute each.
HARNESS_START_SEC=300

# Four processes: what the kernel says of each.
status() { # PID KEY
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}
# The kernel's log says which calls were refused, each by a number that only grows; process ids come again, in
# what earlier programs left there as well.
refusals() { # "NUMBER PID" of each
	dmesg | sed -n 's/.* type=1326 audit([0-9.]*:\([0-9]*\)): .* pid=\([0-9]*\) .*/\1 \2/p'
}
refused() { # AFTER PID…
	local pid
	for pid in "${@:2}"; do refusals | awk -v after="$1" -v pid="$pid" '$1 > after && $2 == pid'; done
}
work() { # All that the four have to do together.
	[ "$(timeout 20 "$PROBE" ask "$CAPFS/caps/echo/socket" x)" = x ] && mkdir "$CAPFS/sessions/$1"
}
serves() { # A binder that was led into a directory of nobody's fails once, and is replaced.
	served echo || serve echo --inetd -- /bin/cat
}
new_binder() { # OLD
	harness_pids && [ "$BINDER" != "$1" ]
}

filtered=
earlier=$(refusals 2>/dev/null | tail -1)
earlier=${earlier:-0}
harness_start
if [ "$(status "$BROKER" Seccomp)" = 2 ]; then filtered=1; fi
serve echo --inetd -- /bin/cat
t_ok "it_works" work first
if [ -n "$filtered" ]; then
	t_is "P28_holder_and_binder_are_filtered" "2 2" \
		"$(status "$HOLDER" Seccomp) $(status "$BINDER" Seccomp)"
else
	t_skip "P28_holder_and_binder_are_filtered" "built with sanitizers"
fi
if is_root; then
	t_is "P28_the_keeper_has_what_it_names_for_good" "00000000002001e5 00000000002001e5 1" \
		"$(status "$KEEPER" CapPrm) $(status "$KEEPER" CapBnd) $(status "$KEEPER" NoNewPrivs)"
	[ -z "$filtered" ] || t_is "P28_the_keeper_is_filtered" 2 "$(status "$KEEPER" Seccomp)"
fi
for pid in "$HOLDER" "$BINDER" "$BROKER"; do
	t_is "P28_the_others_have_none_for_good" "0000000000000000 1" \
		"$(status "$pid" CapPrm) $(status "$pid" NoNewPrivs)"
done
if is_root && [ -n "$filtered" ] && dmesg >/dev/null 2>&1; then
	t_is "P28_none_of_them_is_refused_what_it_needs" "" \
		"$(refused "${earlier%% *}" "$KEEPER" "$HOLDER" "$BINDER" "$BROKER")"
else
	t_skip "P28_none_of_them_is_refused_what_it_needs" "no log of the kernel"
fi
harness_stop

CAPFSD=$(program tests/hostile-broker)
for what in ${HOSTILE_ONLY:-kernel keeper binder link holder}; do
	if [ $what = kernel ] && [ -z "$filtered" ]; then
		t_skip "P28_kernel" "built with sanitizers"
		continue
	fi
	rm -f "$HOSTILE_DONE"
	: >"$TMP/log"
	HOSTILE=$what harness_start
	t_like "P28_${what}_was_tried" '^hostile: (done|nothing the_holder)' cat "$TMP/log"
	t_like "P28_${what}_gets_nothing" '^hostile: nothing' cat "$TMP/log"
	t_unlike "P28_${what}_gets_not_a_thing" 'hostile: (GOT|cannot)' cat "$TMP/log"
	t_ok "P28_${what}_and_the_daemon_is_there" wait_for 60 serves
	t_ok "P28_${what}_and_the_daemon_goes_on" work "$what"
	harness_pids
	binder=$BINDER
	kill -9 "$binder"
	t_ok "P28_${what}_and_so_does_the_keeper" wait_for 20 new_binder "$binder"
	t_ok "P28_${what}_and_the_next_binder" work "after-$what"
	harness_stop
done
t_done
