#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Conformance: G80 G81 Z82 Z01 S22
# Sessions and clients, many of them, again and again: what has ended leaves nothing, and who has what is counted
# and listed the same way however many there are.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=20000,sockets=8000,threads=800,ram=1G,inflight=8000

OWNER=$(id -u) GROUP=$(id -g)
if is_root; then OWNER=12345 GROUP=12345; fi
export CAPFS
job "$(program tests/call-service)" calls web
wait_for 10 served web || exit 99

own() { # SESSION-DIRECTORY
	if is_root; then chown "$OWNER:$GROUP" "$1"; fi
}
run() { # OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run "$@"
}
slots() { # DIRECTORY
	find "$1/caps" -mindepth 1 -maxdepth 1 | wc -l
}
numbers() { # of the root's quota, without ram, of which its log has what nobody needs
	grep -v '^ram ' "$CAPFS/quota"
}
fds() {
	harness_pids
	find "/proc/$BROKER/fd" -mindepth 1 | wc -l
}
kib() { # of the broker's own memory
	harness_pids
	awk '/^Anonymous:/ { print $2 }' "/proc/$BROKER/smaps_rollup"
}
at_most() { # VALUE LIMIT
	[ "$1" -le "$2" ] || { echo "$1, and not $2 or less"; return 1; }
}
as_before() {
	[ "$(numbers)" = "$numbers" ] && [ "$(fds)" -le "$fds" ]
}

# --- G80: a bomb ----------------------------------------------------------------------------------------------

# Each session makes two below it, six times, and gives each what all below that will need beside what is given by
# itself: 32 caps and 1 MiB, and what a session costs. The last of them get a capability.
CAPS=(2108 1020 476 204 68) KIB=(63984 30960 14448 6192 2064)
bomb() {
	local generation i dirs=("$CAPFS") below
	for ((generation = 0; generation < 6; generation++)); do
		below=()
		for i in "${dirs[@]}"; do below+=("$i/sessions/a" "$i/sessions/b"); done
		mkdir "${below[@]}" || return 1
		if [ $generation -lt 5 ]; then
			for i in "${dirs[@]}"; do
				echo "to=a caps=${CAPS[generation]} ram=${KIB[generation]}K" >"$i/transfer_quota" &&
					echo "to=b caps=${CAPS[generation]} ram=${KIB[generation]}K" >"$i/transfer_quota" || return 1
			done
		fi
		dirs=("${below[@]}")
	done
	for i in "${dirs[@]}"; do
		i=${i#"$CAPFS/sessions/"}
		echo "to=${i//\/sessions\//\/} as=web" >"$CAPFS/caps/web/grant" || return 1
	done
}
defuse() {
	"$CAP" --cap="$CAPFS" session close a --all && "$CAP" --cap="$CAPFS" session close b --all
}

t_ok "G80_a_tree_doubles_six_times" bomb
t_is "G80_each_of_64_leaves_with_its_slot" 64 "$(grep -c . "$CAPFS/caps/web/holders")"
own "$CAPFS/sessions/a"
id=$(run --session=a --detach -- /bin/sleep 1000)
pid=$(field pid "$CAPFS/sessions/a/threads/$id/info")
t_ok "G80_it_ends_with_all_that_runs_in_it" defuse
t_ok "G80_which_is_gone" wait_for 10 not kill -0 "$pid"
numbers=$(numbers) fds=$(fds) kib=$(kib)
again() {
	local i
	for ((i = 0; i < 19; i++)); do bomb && defuse || return 1; done
}
t_ok "G80_nineteen_times_more" again
t_is "G80_and_nobody_has_a_slot" 0 "$(grep -c . "$CAPFS/caps/web/holders")"
t_ok "G80_quota_and_descriptors_are_as_before" wait_for 10 as_before
t_ok "G80_and_so_is_memory" at_most "$(($(kib) - kib))" 1024

# --- G81: a client that is started again and again --------------------------------------------------------------

mkdir "$CAPFS/sessions/loop"
own "$CAPFS/sessions/loop"
say 'to=loop' "$CAPFS/caps/web/grant"
# A process of its own each time.
ask='exec 3<>"$1"; printf "echo hello" >&3; cat <&3'
call() { # NODE
	[ "$(sh -c "$ask" sh "$1")" = hello ]
}
client() {
	call "$CAPFS/sessions/loop/caps/web/call"
}
clients() { # N
	local i
	for ((i = 0; i < $1; i++)); do client || return 1; done
}
t_ok "G81_a_client_calls" clients 20
used() { cat "$CAPFS/sessions/loop/quota"; }
before=$(used) numbers=$(numbers) fds=$(fds) kib=$(kib)
t_ok "G81_and_is_started_two_hundred_times_more" clients 200
is_used_as_before() { [ "$(used)" = "$before" ]; }
t_ok "G81_its_session_has_used_no_more" wait_for 10 is_used_as_before
t_ok "G81_nor_has_the_daemon" wait_for 10 as_before
t_ok "G81_of_memory_neither" at_most "$(($(kib) - kib))" 512

# --- Z82, Z01: more sessions than fit into eight bits -----------------------------------------------------------

mkdir "$CAPFS/sessions/many"
say 'to=many caps=11000 ram=400M threads=64 sockets=64' "$CAPFS/transfer_quota"
many=$CAPFS/sessions/many
# Those that are to have threads first: each gets half of what there is.
t_ok "Z82_three_hundred_sessions" mkdir "$many"/sessions/s{300,1} "$many"/sessions/s{2..299}
give() {
	local i
	for ((i = 1; i <= 300; i++)); do echo "to=many/s$i as=web" >"$CAPFS/caps/web/grant" || return 1; done
}
t_ok "Z82_each_gets_a_capability" give
t_is "Z82_they_are_different_ones" 300 "$(sed -n 's/^id=\([0-9]*\) init\/many\/.*/\1/p' "$CAPFS/caps/web/holders" | sort -u | wc -l)"
own "$many/sessions/s1"
own "$many/sessions/s300"
one=$(run --session=many/s1 --detach -- /bin/sleep 1000)
last=$(run --session=many/s300 --detach -- /bin/sleep 1000)
t_is "S14_their_threads_carry_their_sessions" "1 1 1" \
	"$(ls "$many/sessions/s1/threads" | grep -cx "$one") $(ls "$many/sessions/s300/threads" | grep -cx "$last") \
$([ "${one%.*}" != "${last%.*}" ] && echo 1)"
t_is "Z01_own_slots_are_counted_as_they_are_listed" "$(slots "$many/sessions/s300")" \
	"$(quota caps used "$many/sessions/s300/quota")"
t_is "Z01_slots_and_sessions_of_one_above_too" "$(($(slots "$many") + 300))" "$(quota caps used "$many/quota")"
t_is "Z01_what_was_given_on_is_listed_where_it_came_from" 301 "$(grep -c . "$CAPFS/caps/web/holders")"
t_is "Z01_and_counted_there" 301 "$(field children "$CAPFS/caps/web/info")"
t_is "Z01_the_control_protocol_lists_the_same" "$(cd "$many/sessions" && echo s*/caps/web | tr ' ' '\n' | wc -l)" \
	"$("$CAP" --cap="$CAPFS" tree many | grep -cw web)"

# --- S22: slots are the session's, and not a thread's -----------------------------------------------------------

mkdir "$CAPFS/sessions/both"
own "$CAPFS/sessions/both"
say 'to=both threads=8 ram=64K' "$CAPFS/transfer_quota"
both=$CAPFS/sessions/both
chmod 755 "$TMP"
first=$(run --session=both --detach -- /bin/sleep 1000)
say 'to=both' "$CAPFS/caps/web/grant"
calls() { # in a thread of its own
	[ "$(run --session=both -- /bin/sh -c "$ask" sh "$both/caps/web/call")" = hello ]
}
t_ok "S22_a_thread_uses_what_came_when_another_was_there" calls
t_ok "S22_and_so_does_the_next" calls
id=$(field id "$both/caps/web/info")
say kill "$both/threads/$first/ctl"
no_threads() { [ -z "$(ls "$both/threads")" ]; }
t_ok "S22_threads_end" wait_for 10 no_threads
t_is "S22_the_slot_stays" "$id" "$(field id "$both/caps/web/info")"
t_ok "S22_and_works" calls

t_done
