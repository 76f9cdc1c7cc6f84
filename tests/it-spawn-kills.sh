#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time: 900
#
# KILLS (60) of all that takes part in starting programs are killed at random times, while six clients start
# programs in two bare sessions and a confined one. Each request has one answer, which is the right one or is due
# to what was killed (tests/spawn-storm.c says which may be), and nothing is left of any.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300
: "${KILLS:=60}"

OWNER=$(id -u) GROUP=$(id -g)
if is_root; then OWNER=54321 GROUP=54321; fi
mkdir "$TMP/bin"
cp "$(program tests/spawned)" "$TMP/bin/spawned"
chmod -R 755 "$TMP/bin"
sessions=("bare$$" "more$$" "tight$$")
for name in "${sessions[@]}"; do
	mkdir "$CAPFS/sessions/$name"
	say "to=$name threads=60 ram=1M" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$GROUP" "$CAPFS/sessions/$name"; fi
done
say "ro=/usr,/bin,/lib,/lib64,$TMP/bin" "$CAPFS/sessions/tight$$/confine" || sessions=("bare$$" "more$$")

storm() { # KILLS SECONDS
	timeout $((300 + 2 * KILLS)) "$(program tests/spawn-storm)" "$CAPFS" "$KEEPER" "$TMP/bin/spawned" "$@" "${sessions[@]}"
}
# Whatever is of these sessions: inits and half-started programs by their title, programs by what they execute.
processes() {
	pgrep -af "^(capfs-init sessions/(bare|more|tight)$$( |\$)|$TMP/bin/spawned )"
}
known() {
	cat "$CAPFS"/sessions/*/threads/*/info 2>/dev/null | sed -n 's/^pid=//p'
}
# Those that run and that no session knows. What the init of a confined one names is outside of that.
unknown() {
	local all
	all=$(pgrep -f "^$TMP/bin/spawned ")
	comm -23 <(sort <<<"$all") <(known | sort) | grep .
}
none_unknown() {
	[ -z "$(unknown)" ]
}
no_programs() {
	[ -z "$(ls "$CAPFS"/sessions/*/threads/)" ] || ! ls -d "$CAPFS"/sessions/*/threads/*
}
no_threads() {
	! cat "$CAPFS"/sessions/*/quota | grep '^threads' | grep -qv 'used=0 '
}
no_processes() {
	[ -z "$(processes)" ]
}
nobody_of_the_owner() {
	! pgrep -u "$OWNER"
}
# How many descriptors each has; the broker's and holder's are the same table.
descriptors() {
	local pid
	harness_pids
	spawner=$(child "$(child "$KEEPER" capfs-minder)" capfs-spawner)
	for pid in "$HOLDER" "$BROKER" "$spawner"; do
		find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l
	done | xargs
}
as_before() {
	[ "$(descriptors)" = "$before" ]
}
settled() {
	no_programs && no_threads && no_processes
}

t_ok "clients_without_kills" storm 0 3
sed 's/^/# /' "$TMP/output"
t_ok "nothing_is_left_of_their_programs" wait_for 30 settled
before=$(descriptors)
# One that stays, for as long as nothing kills it or its init.
for name in "${sessions[@]}"; do
	"$CAP" --cap="$CAPFS" run --session="$name" --detach --fd=log=3 -- "$TMP/bin/spawned" sleep 3>/dev/null >/dev/null
done
t_ok "G10_G62_G65_clients_with_${KILLS}_kills" storm "$KILLS" 0
sed 's/^/# /' "$TMP/output"
t_ok "no_program_runs_that_is_not_known" wait_for 10 none_unknown
t_ok "the_daemon_stays" kill -0 "$KEEPER"
for ctl in "$CAPFS"/sessions/*/threads/*/ctl; do
	[ ! -e "$ctl" ] || say kill "$ctl" 2>/dev/null
done
t_ok "no_thread_is_left" wait_for 30 no_programs
t_ok "G63_none_is_paid_for" wait_for 30 no_threads
t_ok "no_process_is_left" wait_for 30 no_processes
{ processes; head "$CAPFS"/sessions/*/threads/*/info; cat "$CAPFS"/sessions/*/quota; } 2>/dev/null | grep -v 'used=0' | sed 's/^/# /'
if is_root; then
	t_ok "of_their_owner_either" wait_for 30 nobody_of_the_owner
	t_ok "it_serves" storm 0 1
	t_ok "and_leaves_nothing_again" wait_for 30 settled
	t_ok "descriptors_as_before" wait_for 30 as_before
	echo "# before $before, after $(descriptors)"
else
	t_skip "descriptors_as_before" "the daemon's processes are not dumpable"
	t_ok "it_serves" storm 0 1
fi
t_unlike "no_error_in_the_log" 'error|assert' cat "$TMP/log"

harness_stop
t_done
