#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P01 P02 P03 P05 S06 S24
#
# P01: one client opens connections in a loop and keeps them, also from inside a sandbox, with a daemon
# that may have 64, 256 or 1024 descriptors: the daemon and the other clients go on. P05: the backlog is
# per capability. S06 in small: a server that never reads.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

ask() {
	timeout 20 "$PROBE" ask "$1" "$2"
}

flood() { # PATH N SECONDS
	timeout 60 "$PROBE" flood "$@"
}

for NOFILE in 64 256 1024; do
	harness_start
	name=nofile_$NOFILE
	serve echo --inetd --max=2000 -- /bin/cat || serve echo --inetd -- /bin/cat
	mkdir "$CAPFS/sessions/bad" "$CAPFS/sessions/good"
	say to=bad "$CAPFS/caps/echo/grant"
	say to=good "$CAPFS/caps/echo/grant"
	bad=$CAPFS/sessions/bad/caps/echo/socket good=$CAPFS/sessions/good/caps/echo/socket
	t_is "P01_${name}_before" before "$(ask "$good" before)"
	if is_root; then
		job unshare -m "$PROBE" flood "$bad" 4000 6 >"$TMP/flood"
	else
		job "$PROBE" flood "$bad" 4000 6 >"$TMP/flood"
	fi
	sleep 1.5
	failed=0
	for i in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(ask "$good" "during $i")" = "during $i" ] || failed=$((failed + 1))
	done
	t_is "P01_P05_${name}_others_go_on" 0 "$failed"
	t_ok "P01_${name}_the_tree_answers" timeout 10 ls -lR "$CAPFS"
	t_ok "P01_${name}_commands_are_done" timeout 10 sh -c "echo to=good as=more >'$CAPFS/caps/echo/grant'"
	t_like "P02_${name}_the_flooder_is_told" 'refused connect session=init/bad slot=echo uid=[0-9]+ EDQUOT' \
		timeout 10 cat "$CAPFS/sessions/bad/events"
	wait "${HARNESS_JOBS[-1]}"
	echo "# flood with $NOFILE descriptors: $(cat "$TMP/flood")"
	sleep 0.5
	t_is "P01_${name}_the_flooder_may_again" after "$(ask "$bad" after)"
	t_is "P01_${name}_the_same_broker" 1 "$(sed -n 's/^capfs_brokers //p' "$CAPFS/metrics")"
	t_ok "P01_${name}_connections_are_given_back" wait_for 5 grep -q '^capfs_connections 0$' "$CAPFS/metrics"
	end_job "$SERVER"
	harness_stop
	rm -rf "$RUN"
done

# Rates as well as levels: so many in a second, all at once or one by one, and no more; then again.
harness_start
serve echo --inetd -- /bin/cat
mkdir "$CAPFS/sessions/fast"
say 'to=fast as=echo rate=5/s' "$CAPFS/caps/echo/grant"
t_like "P03_a_rate_is_shown" '^rate limit=5/s$' cat "$CAPFS/sessions/fast/caps/echo/info"
# All at once: where starting a program takes a fifth of a second, one after the other would be no flood.
asking=()
for i in 1 2 3 4 5 6 7 8 9 10; do
	ask "$CAPFS/sessions/fast/caps/echo/socket" "$i" >"$TMP/asked$i" 2>/dev/null &
	asking+=("$!")
done
wait "${asking[@]}"
got=0
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(cat "$TMP/asked$i")" = "$i" ] && got=$((got + 1))
done
t_ok "P03_a_rate_is_kept" test $got -ge 5 -a $got -lt 10
t_like "P03_and_the_refusal_says_so" 'refused connect session=init/fast slot=echo uid=[0-9]+ EDQUOT: its rate is reached' \
	cat "$CAPFS/sessions/fast/events"
t_is "P03_others_have_their_own" mine "$(ask "$CAPFS/caps/echo/socket" mine)"
sleep 1.2
t_is "P03_it_comes_back" again "$(ask "$CAPFS/sessions/fast/caps/echo/socket" again)"
harness_stop
rm -rf "$RUN"

# A server that is stopped takes nothing from the others.
NOFILE=''
harness_start
serve stuck --inetd -- /bin/cat
stuck=$SERVER
serve echo --inetd -- /bin/cat
kill -STOP "$stuck"
pkill -STOP -P "$stuck"
job flood "$CAPFS/caps/stuck/socket" 300 5 >"$TMP/flood"
sleep 1
failed=0
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(ask "$CAPFS/caps/echo/socket" "x$i")" = "x$i" ] || failed=$((failed + 1))
done
t_is "P05_a_server_that_never_reads_hinders_nobody_else" 0 "$failed"
t_ok "S24_transfer_quota_goes_on" sh -c \
	"mkdir '$CAPFS/sessions/x' && echo 'to=x caps=1' >'$CAPFS/transfer_quota'"
kill -CONT "$stuck"
pkill -CONT -P "$stuck"
t_is "P05_and_serves_again_when_it_wakes" awake "$(ask "$CAPFS/caps/stuck/socket" awake)"

# A client's file is closed by whoever drops the last reference to it, and may take its time: not ours.
lingers() { # PATH CMD…: CMD is quick although such a file is queued at PATH, or cannot be
	local path=$1 start status
	shift
	harness_pids || return 1
	: >"$TMP/linger"
	"$PROBE" linger "$path" 20 "$BROKER" >"$TMP/linger" &
	HARNESS_JOBS+=("$!")
	wait_for 5 test -s "$TMP/linger" || return 1
	start=$(date +%s%N)
	"$@"
	status=$?
	echo "took $((($(date +%s%N) - start) / 1000000)) ms"
	[ $status -eq 0 ] && [ $((($(date +%s%N) - start) / 1000000)) -lt 2000 ]
}
revoke_and_look() {
	say 1 "$CAPFS/caps/echo/revoke" && cat "$CAPFS/version" >/dev/null
}
t_ok "P05_a_file_that_lingers_sent_to_control" lingers "$CAPFS/control" cat "$CAPFS/version"
if "$CAPFSD" --check | grep -q '^passrights  *yes'; then
	t_is "P20_it_cannot_be_sent" refused "$(cat "$TMP/linger")"
else
	t_skip "P20_it_cannot_be_sent" "Linux before 6.16"
fi
say 'to=x as=e' "$CAPFS/caps/echo/grant"
t_ok "P05_a_file_that_lingers_in_a_connection" lingers "$CAPFS/sessions/x/caps/e/socket" revoke_and_look

harness_stop
t_done
