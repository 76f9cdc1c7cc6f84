#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G14 P14
#
# kill -9 of the daemon's other processes, and of the broker at the worst moments: nothing wedges. Every
# client ends with success or an error, no process stays in D, and nobody needs umount.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

# Processes of this test that are in D now and a while later. Its process group is its own, and tests of
# brokers that are to sleep may run beside it.
stuck() {
	local first group
	group=$(ps -o pgid= -p $$ | tr -d ' ')
	first=$(ps -eo pid=,stat=,pgid= | awk -v group="$group" '$2 ~ /^D/ && $3 == group { print $1 }')
	[ -n "$first" ] || return 1
	sleep 2
	for pid in $first; do
		if grep -qs '^State:.D' "/proc/$pid/status"; then
			echo "in D: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline") $(cat "/proc/$pid/wchan")"
			return 0
		fi
	done
	return 1
}

alive() {
	timeout 5 ls -lR "$CAPFS" >/dev/null
}

serve_echo() {
	serve echo --inetd -- /bin/cat
}

connects() {
	[ "$(timeout 10 "$PROBE" ask "$CAPFS/caps/echo/socket" x)" = x ]
}

random_sleep() { # at most N thousandths of a second
	sleep "$(printf '0.%03d' $((RANDOM % $1)))"
}

# look ALLOWED CMD…: ALLOWED is what may end with an error (any, none); that it ends is demanded of all.
look() {
	local allowed=$1 status
	shift
	timeout 20 "$@" >/dev/null 2>&1
	status=$?
	[ $status -eq 0 ] || { [ $status -ne 124 ] && [ "$allowed" = any ]; }
}

# The first look at many slots binds a listener for each: LOOKUP, MKNOD, the binder's work.
looks() { # ALLOWED
	local i bad=0
	for i in 1 2 3; do
		look "$1" ls -lR "$CAPFS" || bad=1
		look "$1" "$PROBE" ask "$CAPFS/caps/echo/socket" x || bad=1
	done
	return $bad
}

fresh_slots() {
	local i
	[ ! -d "$CAPFS/sessions/fresh/caps/s1" ] || say to=fresh "$CAPFS/caps/echo/revoke"
	for i in $(seq 24); do
		say "to=fresh as=s$i" "$CAPFS/caps/echo/grant" || return 1
	done
}

harness_start --quota=caps=4096,sockets=512
t_ok "a_service" serve_echo
mkdir "$CAPFS/sessions/fresh"

# round NAME ROUNDS ALLOWED PROCESS…: kill it while clients look and connect.
round() {
	local name=$1 rounds=$2 allowed=$3 victim i failed=0 clients pid
	shift 3
	for i in $(seq "$rounds"); do
		fresh_slots 2>/dev/null
		clients=()
		looks "$allowed" & clients+=($!)
		looks "$allowed" & clients+=($!)
		random_sleep 60
		for victim in "$@"; do
			harness_pids
			kill -9 "${!victim}" 2>/dev/null
		done
		for pid in "${clients[@]}"; do
			wait "$pid" || failed=$((failed + 1))
		done
	done
	t_is "P14_${name}_clients_that_failed" 0 $failed
	t_ok "P14_${name}_nobody_in_D" not stuck
	t_ok "P14_${name}_the_tree_answers" wait_for 10 alive
	t_ok "P14_${name}_processes_are_there" wait_for 10 harness_pids
}

round broker_while_binding 15 none BROKER
t_ok "P14_broker_while_binding_connects" connects
round binder_while_binding 8 any BINDER
t_ok "P14_binder_while_binding_connects" wait_for 10 connects
round broker_and_binder 5 any BROKER BINDER
t_ok "P14_broker_and_binder_connects" wait_for 10 connects

# The holder has every connection and channel: servers see the end and are started again.
before=$(cd "$CAPFS" && find . -type d | grep -v -e threads/ | sort)
sleep 5
round holder 3 any HOLDER
end_job "$SERVER"
t_ok "G14_holder_the_service_comes_back" serve_echo
t_ok "G14_holder_connects" wait_for 10 connects
t_is "P14_holder_the_tree_is_the_same" "$before" "$(cd "$CAPFS" && find . -type d | grep -v -e threads/ | sort)"
sleep 10

# The keeper: all ends, clients get an error, the next start works.
looks any & client=$!
random_sleep 60
harness_pids
kill -9 "$KEEPER"
wait "$KEEPER" 2>/dev/null
wait "$client"
t_is "P14_keeper_its_client_ends" 0 $?
t_ok "P14_keeper_everything_ends_with_it" wait_for 10 all_ended
t_ok "P14_keeper_nobody_in_D" not stuck
t_ok "P14_keeper_its_server_ends_too" wait_for 10 not kill -0 "$SERVER"
is_root || fusermount3 -u -z "$CAPFS" 2>/dev/null
harness_start --quota=caps=4096,sockets=512
t_ok "P14_keeper_the_next_start_works" alive
t_is "P14_keeper_the_tree_is_the_same" "$before" "$(cd "$CAPFS" && find . -type d | grep -v -e threads/ | sort)"
t_ok "G14_keeper_the_service_comes_back" serve_echo
t_ok "G14_keeper_connects" connects
end_job "$SERVER"
harness_stop

# At the very start: around INIT and the take-over.
failed=0
for i in $(seq 12); do
	harness_launch
	for _ in $(seq 500); do
		holder=$(child "$KEEPER" capfs-holder)
		broker=${holder:+$(child "$holder" capfs-broker)}
		[ -z "$broker" ] || break
	done
	[ $((i % 3)) -eq 0 ] || random_sleep 12
	kill -9 "$broker" 2>/dev/null
	if ! wait_for 10 answers || ! kill -0 "$KEEPER" || ! alive; then
		failed=$((failed + 1))
		tail -n 3 "$TMP/log" | sed 's/^/# /'
	fi
	harness_end_daemon || failed=$((failed + 1))
	KEEPER=''
done
t_is "P14_killed_at_the_start" 0 "$failed"
t_ok "P14_killed_at_the_start_nobody_in_D" not stuck
t_ok "P14_killed_at_the_start_no_mount" not mounted "$CAPFS"
t_done
