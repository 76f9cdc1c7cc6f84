#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Conformance: P38
#
# BEFORE=FILE: a capfsd of an earlier version. It becomes this one and this one becomes it again, UPGRADES
# times, while eight clients work: no call fails, and the state at the end is that of before. An installed
# daemon is upgraded by a package, and must be able to go back, without anybody noticing.

. "$(dirname "$0")/harness.sh" || exit 99
[ -n "${BEFORE:-}" ] || harness_skip "BEFORE does not name an earlier capfsd"
harness_check
SPAWNER_OPTION='' # of which the earlier one may know nothing
: "${UPGRADES:=20}"

mkdir "$TMP/sbin"
this=$CAPFSD
CAPFSD=$TMP/sbin/capfsd

# Installs FILE as a package manager does: the name gets another file.
install_binary() { # FILE
	cp "$1" "$CAPFSD.new" && chmod 755 "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
}
said() { # TEXT COUNT
	[ "$(grep -c -- "$1" "$TMP/log")" -ge "$2" ]
}
# All four processes run what is installed. Only root can see that of others.
all_run() {
	local pid
	harness_pids || return 1
	is_root || return 0
	for pid in "$KEEPER" "$HOLDER" "$BROKER" "$BINDER"; do
		cmp -s "/proc/$pid/exe" "$CAPFSD" || return 1
	done
}
n=0
upgrade_to() { # FILE
	n=$((n + 1))
	install_binary "$1" && kill -HUP "$KEEPER" && wait_for 30 said 'upgraded: ' $n && wait_for 10 all_run
}
there_and_back() {
	local i
	for ((i = 0; i < UPGRADES; i++)); do
		upgrade_to "$this" && upgrade_to "$BEFORE" || return 1
	done
}
# What was listed by this version is not there any more when the earlier one is asked for it.
work() {
	HOLDER=$HOLDER ONLY_LATER=' why visit visits answer originate as confine faults graph.dot checkpoint adjust refusal split request requests policy share yield ' timeout 240 "$(program tests/it-recovery)" "$@"
}
state() {
	dump | grep -v 'made=\|version'
}

install_binary "$BEFORE"
harness_start --quota=caps=4096,sockets=512
job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
t_ok "a_service" serve echo --proxy="$TMP/echo.sock"
pids="$KEEPER $HOLDER"
work 0 4 >/dev/null

# A connection that is there all the time: each line comes back.
mkfifo "$TMP/line"
"$PROBE" inherit "$CAPFS/caps/echo/socket" bash -c \
	'while read -r line; do echo "$line" >&3; read -r -u 3 -t 5 line; echo "$line"; done' \
	<"$TMP/line" >"$TMP/lines" &
HARNESS_JOBS+=("$!")
exec 8>"$TMP/line"
echo first >&8
wait_for 5 grep -q first "$TMP/lines"
before=$(state)

: >"$TMP/go"
(
	status=0
	while [ -e "$TMP/go" ]; do
		work 0 10 >"$TMP/work" 2>&1 || { status=1 && break; }
	done
	exit $status
) &
worker=$!
t_ok "${UPGRADES}_times_there_and_back_under_load" there_and_back
rm "$TMP/go"
wait "$worker"
status=$?
cp "$TMP/work" "$TMP/output"
t_result $status "no_call_of_eight_clients_fails"
sed 's/^/# /' "$TMP/work"
harness_pids
t_is "keeper_and_holder_stay" "$pids" "$KEEPER $HOLDER"
t_is "nothing_lost_nothing_twice" "$before" "$(state)"
echo second >&8
t_ok "a_connection_went_through_all" wait_for 5 grep -q second "$TMP/lines"
t_unlike "no_upgrade_was_refused" 'no upgrade' cat "$TMP/log"

# The watch over the broker has changed hands as well: one that hangs is replaced in either direction.
hangs() { # NAME
	local broker=$BROKER
	kill -STOP "$BROKER"
	t_is "a_call_goes_on_when_the_broker_hangs_after_$1" init "$(timeout 50 cat "$CAPFS/label")"
	harness_pids
	t_ok "with_another_broker_after_$1" not test "$broker" = "$BROKER"
}
hangs the_way_back
t_ok "once_more_there" upgrade_to "$this"
hangs the_way_there

# What an earlier version does not know is let be by it, and goes where that has ended what it belongs to.
"$CAP" replicate echo ended >/dev/null
for slot in ended echo; do
	t_ok "an_alias_of_$slot" "$CAP" alias $slot .name
done
t_ok "the_way_back_with_aliases" upgrade_to "$BEFORE"
t_ok "a_slot_that_has_one_ends" rmdir "$CAPFS/caps/ended"
t_ok "the_way_there_with_one_that_is_left" upgrade_to "$this"
t_is "the_other_is_there" .name "$(ls -A "$CAPFS/caps/echo/as")"

# Caveats: what has any cannot be called where nobody knows them, and has lost nothing afterwards. And a server
# that has asked for them takes nothing from a daemon that does not tell.
told() { # SLOT
	timeout 20 "$PROBE" inherit "$CAPFS/caps/$1/socket" sh -c 'head -n 1 <&3' 2>&1
}
job "$(program tests/limited)" words caveats=yes
wait_for 10 served words
"$CAP" replicate words narrow only='GET *' >/dev/null
"$CAP" replicate narrow below rights=call >/dev/null
t_is "P38_its_server_is_told" '0:GET *' "$(told narrow)"
t_ok "the_way_back_with_caveats" upgrade_to "$BEFORE"
for slot in narrow below; do
	if grep -q 'only=' "$CAPFS/caps/$slot/info"; then
		t_is "P38_${slot}_has_them_there" '0:GET *' "$(told $slot)"
		continue
	fi
	t_unlike "P38_${slot}_cannot_be_called_there" '^rights=.*call' cat "$CAPFS/caps/$slot/info"
	t_unlike "P38_nor_is_its_server_told_of_it_$slot" '0:|^$' told $slot
done
t_is "P38_and_nobody_else_is_taken" "" "$(told words)"
t_ok "the_way_there_with_caveats" upgrade_to "$this"
for slot in narrow below; do
	t_is "P38_${slot}_has_them_still" '0:GET *' "$(told $slot)"
done

exec 8>&-
harness_stop
t_done
