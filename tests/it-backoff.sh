#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P14 P25
#
# Brokers that end before they have answered anybody are a reason to wait longer for the next one, not to
# end the daemon: mount, connections and state outlive any number of them, and clients see a pause. Also
# in the middle of such a pause the daemon stops when it is told to, and takes another binder or binary.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

version=$(sed -n 's/.*PACKAGE_VERSION "\(.*\)"/\1/p' "$top_builddir/config.h")
original=$CAPFSD
mkdir "$TMP/sbin"
CAPFSD=$TMP/sbin/capfsd
cp "$original" "$CAPFSD"

start() {
	: >"$TMP/log"
	harness_start --quota=caps=4096,sockets=512
	job "$PROBE" serve "$TMP/echo.sock"
	ECHO=$!
	wait_for 5 test -S "$TMP/echo.sock"
	t_ok "a_service" serve echo --proxy="$TMP/echo.sock"
	# A connection that is there all the time: each line comes back.
	rm -f "$TMP/line" "$TMP/lines"
	mkfifo "$TMP/line"
	"$PROBE" inherit "$CAPFS/caps/echo/socket" bash -c \
		'while read -r line; do echo "$line" >&3; read -r -u 3 -t 5 line; echo "$line"; done; read -r -u 3 line; echo end' \
		<"$TMP/line" >"$TMP/lines" &
	HARNESS_JOBS+=("$!")
	exec 8>"$TMP/line"
	echo first >&8
	wait_for 5 grep -q first "$TMP/lines"
}
stop_service() {
	exec 8>&-
	end_job "$SERVER"
	end_job "$ECHO"
	rm -f "$TMP/echo.sock"
}
FREE=64 # kills that cost no pause (holder.c)
# On a busy machine the killer may be late for a broker: it answers, and all is as in the beginning. What the
# daemon has counted is in its log.
in_a_row() { # prints "N MILLISECONDS" for each pause
	sed -n 's/.*\b\([0-9]\+\) brokers in a row .*, the next one waits \([0-9]*\) ms.*/\1 \2/p' "$TMP/log"
}
# Leaves the holder in a pause of some seconds, with nobody who kills the next broker.
into_a_pause() {
	local killer

	: >"$TMP/log"
	job "$(program tests/kill-early)" "$HOLDER" 1000 0 >"$TMP/kills"
	killer=$!
	wait_for 30 pauses_for_long
	end_job "$killer"
}
pauses_for_long() {
	in_a_row | grep -q ' [2-4]...$'
}

# --- a spree ----------------------------------------------------------------------------------

start
pids="$KEEPER $HOLDER"
device=$(stat -c %d "$CAPFS")
state=$(dump | grep -v 'made=')
# Who asks while none is there waits.
job timeout 60 "$(program tests/kill-early)" "$HOLDER" $((FREE + 8)) 11 >"$TMP/kills"
spree=$!
wait_for 5 grep -qs 'killed 2' "$TMP/kills"
timeout 60 cat "$CAPFS/label" >"$TMP/label" 2>&1 &
client=$!
wait "$spree"
status=$?
t_is "P14_brokers_are_started_all_the_time" 0 $status
kills=$(grep -c killed "$TMP/kills")
echo "# killed before they answered: $kills"
in_a_row >"$TMP/row"
sed 's/^/# in a row: /' "$TMP/row"
t_ok "and_ever_more_slowly" awk -v most=$((FREE + 21)) '
	$1 == n + 1 && $2 < pause || $1 > most { exit 1 } { n = $1; pause = $2 }' "$TMP/row"
t_ok "the_next_one_serves" wait_for 10 answers
wait "$client"
t_is "P14_who_asked_has_waited" "0 init" "$? $(cat "$TMP/label")"
t_is "P14_keeper_and_holder_are_the_same" "$pids" "$KEEPER $HOLDER"
t_is "P14_the_mount_is_the_same" "$device" "$(stat -c %d "$CAPFS")"
t_is "P14_nothing_is_lost" "$state" "$(dump | grep -v 'made=')"
echo second >&8
t_ok "P14_a_connection_goes_on" wait_for 5 grep -q second "$TMP/lines"
t_like "it_is_said" 'brokers in a row ended before they answered' cat "$TMP/log"

# A broker that has answered wipes that out: the next one is there at once.
broker=$BROKER
kill -9 "$BROKER"
new_broker() {
	harness_pids && [ "$BROKER" != "$broker" ]
}
t_ok "after_that_a_kill_costs_nothing" wait_for 1 new_broker

# --- in the middle of a pause -----------------------------------------------------------------

binder=$BINDER
into_a_pause
kill -9 "$BINDER"
wait_for 10 answers
t_ok "another_binder" not test "$binder" = "$BINDER"
mkdir "$CAPFS/sessions/late"
say 'to=late' "$CAPFS/caps/echo/grant"
t_is "which_the_next_broker_has_got" x \
	"$(timeout 10 "$PROBE" ask "$CAPFS/sessions/late/caps/echo/socket" x)"

# Another version of the same length.
LC_ALL=C sed "s/\\<${version//./\\.}\\>/${version%?}1/g" "$original" >"$CAPFSD.new"
chmod 755 "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
into_a_pause
start=$SECONDS
kill -HUP "$KEEPER"
t_ok "an_upgrade" wait_for 20 grep -q 'upgraded: ' "$TMP/log"
t_ok "which_did_not_wait" test $((SECONDS - start)) -le 3
wait_for 5 answers
t_is "of_the_same_daemon" "$pids" "$KEEPER $HOLDER"
echo third >&8
t_ok "a_connection_goes_on" wait_for 5 grep -q third "$TMP/lines"

stopped() { # NAME: the daemon is told to stop, and does without being ended by force
	local start=$SECONDS
	kill -TERM "$KEEPER"
	wait_for 10 nothing_left
	t_ok "${1}_within_a_bound" test $((SECONDS - start)) -le 2
	wait "$KEEPER"
	t_is "${1}_well" 0 $?
	t_unlike "${1}_by_itself" 'does not stop' cat "$TMP/log"
	harness_stop
}
into_a_pause
stopped "a_stop"
exec 8>&-
t_ok "which_ends_connections" wait_for 5 grep -q end "$TMP/lines"
stop_service

# --- holders ------------------------------------------------------------------------------------

# They cost the connections, not the daemon.
start
stop_service
killed=0
for i in 1 2 3 4 5 6 7; do
	kill -9 "$HOLDER"
	wait_for 15 answers || break
	killed=$((killed + 1))
done
t_is "P25_any_number_of_holders" 7 "$killed"

# Binders cost a look-up its time.
killed=0
for ((i = 0; i < 600 && killed < 15; i++)); do
	binder=$(child "$KEEPER" capfs-binder)
	[ -n "$binder" ] && kill -9 "$binder" && killed=$((killed + 1))
	sleep 0.1
done
t_is "P25_any_number_of_binders" 15 "$killed"
serve late --inetd -- /bin/cat
t_is "P25_and_the_next_one_binds" x "$(timeout 60 "$PROBE" ask "$CAPFS/caps/late/socket" x)"
harness_stop

# --- a stop without brokers ---------------------------------------------------------------------

# None lives that could shut anything down.
start
job "$(program tests/kill-early)" "$HOLDER" 1000 0 >"$TMP/kills"
killer=$!
wait_for 15 grep -q 'killed 10' "$TMP/kills"
stopped "a_stop_without_brokers"
end_job "$killer"
stop_service
t_done
