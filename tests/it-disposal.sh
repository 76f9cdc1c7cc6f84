#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P20
#
# A file of a client's own file system, which nobody can close, is left wherever it can be sent to. Nobody
# sleeps but processes that have nothing else to do: not the broker when it ends the connection, nor when it
# is killed, nor the daemon when it stops; and another one can start meanwhile.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

inspectors() {
	pgrep -P "$BINDER" -x capfs-inspector
}
n_inspectors_is() {
	[ "$(inspectors | wc -l)" = "$1" ]
}
# hostile NAME PATH TYPE: leaves such a file at PATH; what was said of it is in $TMP/NAME. It is the job HOSTILE.
hostile() {
	mkdir -p "$TMP/$1.fs"
	mkfifo "$TMP/$1.end"
	: >"$TMP/$1"
	"$(program tests/hostile-file)" "$TMP/$1.fs" "$2" "$3" <"$TMP/$1.end" >"$TMP/$1" &
	HOSTILE=$!
	HARNESS_JOBS+=("$HOSTILE")
	exec 7>"$TMP/$1.end"
	wait_for 20 test -s "$TMP/$1"
}
release() { # NAME
	exec 7>&-
	wait "$HOSTILE"
	umount -l "$TMP/$1.fs" 2>/dev/null || fusermount3 -uz "$TMP/$1.fs" 2>/dev/null
	rm -rf "$TMP/$1.fs" "$TMP/$1.end"
}
# quick CMD…: is done in less time than a program that sleeps for ever would take.
quick() {
	timeout 20 "$@"
}

t_ok "a_service_that_reads_nothing" serve stuck --inetd --fds -- sleep 1000
STUCK=$SERVER
mkdir "$CAPFS/sessions/bad" "$CAPFS/sessions/good"
say 'to=bad as=s' "$CAPFS/caps/stuck/grant"
t_like "P20_it_takes_descriptors" 'fds=yes$' cat "$CAPFS/entrypoints/stuck/info"
t_like "P20_so_may_the_slot" '^rights=call,fds$' cat "$CAPFS/sessions/bad/caps/s/info"

# To the daemon itself it cannot be sent.
if "$CAPFSD" --check | grep -q '^passrights  *yes'; then
	t_ok "a_hostile_client_of_control" hostile control "$CAPFS/sessions/bad/control" seqpacket
	t_is "P20_control_takes_none" EPERM "$(cat "$TMP/control")"
	release control
	say 'to=bad as=less rights=call' "$CAPFS/caps/stuck/grant"
	t_ok "a_hostile_client_without_the_right" hostile less "$CAPFS/sessions/bad/caps/less/socket" stream
	t_is "P20_nor_does_a_slot_without_the_right" EPERM "$(cat "$TMP/less")"
	release less
else
	t_skip "P20_control_takes_none" "Linux before 6.16"
fi
# What takes long to close is closed elsewhere: CPU time is looked at, as a busy machine has no other
# measure.
ticks() { # PID FIRST: 14 its own, 16 that of children that have ended
	awk -v n="$2" -v hz="$(getconf CLK_TCK)" '{ print ($n + $(n + 1)) * 1000 / hz }' "/proc/$1/stat"
}
closed_by_inspectors() { # BEFORE COST
	[ $(($(ticks "$BINDER" 16) - $1)) -ge $(($2 / 2)) ]
}
serve eater --inetd --fds -- sleep 1000
EATER=$SERVER
say 'to=bad as=eater' "$CAPFS/caps/eater/grant"
mkfifo "$TMP/bomb.end"
: >"$TMP/bomb"
"$(program tests/fd-bomb)" "$CAPFS/sessions/bad/caps/eater/socket" 900000 <"$TMP/bomb.end" >"$TMP/bomb" &
BOMB=$!
HARNESS_JOBS+=("$BOMB")
exec 7>"$TMP/bomb.end"
wait_for 60 test -s "$TMP/bomb"
read -r cost said <"$TMP/bomb"
if [ "$said" = sent ] && [ "$cost" -ge 100 ]; then
	harness_pids
	before=$(ticks "$BROKER" 14)
	children=$(ticks "$BINDER" 16)
	end_job "$EATER"
	t_ok "P20_what_takes_long_to_close_is_closed" wait_for 60 closed_by_inspectors "$children" "$cost"
	spent=$(($(ticks "$BROKER" 14) - before))
	echo "# to close takes $cost ms; the broker had $spent ms meanwhile"
	t_ok "P20_and_costs_the_broker_nothing" test "$spent" -lt $((cost / 2))
else
	t_skip "P20_what_takes_long_to_close_is_closed" "no descriptor that takes long to close: $cost $said"
fi
exec 7>&-
wait "$BOMB"
t_ok "all_of_it_is_over" wait_for 20 grep -q '^capfs_connections 0$' "$CAPFS/metrics"

harness_pids
broker=$BROKER
t_ok "a_hostile_client" hostile queue "$CAPFS/sessions/bad/caps/s/socket" stream
t_is "P20_it_is_sent" sent "$(cat "$TMP/queue")"
t_ok "it_is_connected" wait_for 20 grep -q '^capfs_connections 1$' "$CAPFS/metrics"
end_job "$STUCK"
t_ok "P20_the_connection_ends_with_its_server" wait_for 20 grep -q '^capfs_connections 0$' "$CAPFS/metrics"
t_ok "P20_commands_are_done" quick sh -c "echo to=bad >'$CAPFS/caps/stuck/revoke'"
t_ok "P20_the_tree_answers" quick ls "$CAPFS"
t_ok "P20_one_process_sleeps_over_it" wait_for 20 n_inspectors_is 1
harness_pids
t_is "P20_the_same_broker" "$broker" "$BROKER"
kill -9 "$BROKER"
t_ok "P20_a_broker_can_be_killed" quick cat "$CAPFS/sessions/good/quota"
harness_pids
t_ok "P20_and_the_old_one_is_gone" wait_for 20 not kill -0 "$broker"
t_ok "P20_others_can_be_served" serve echo --inetd -- /bin/cat
t_is "P20_and_are" hello "$(timeout 20 "$PROBE" ask "$CAPFS/caps/echo/socket" hello)"
end_job "$SERVER"
inspector=$(inspectors)
t_ok "P20_the_daemon_can_be_stopped" harness_stop
t_ok "P20_while_it_sleeps" kill -0 "$inspector"
t_ok "P20_and_another_can_start" harness_start
t_ok "P20_which_serves" quick ls "$CAPFS"
release queue
t_ok "P20_let_go_it_ends" wait_for 20 not kill -0 "$inspector"

harness_stop
t_done
