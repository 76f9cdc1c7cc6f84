#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The live upgrade: SIGHUP makes all processes of the daemon run the installed binary, while eight
# clients work, with open files and connections; no call fails. A binary that is not fit for it leaves
# the old one where it was, and nothing of it can be reached by hand.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
: "${UPGRADES:=20}"

mkdir "$TMP/sbin"
original=$CAPFSD
CAPFSD=$TMP/sbin/capfsd
version=$(sed -n 's/.*PACKAGE_VERSION "\(.*\)"/\1/p' "$top_builddir/config.h")
export BROKEN_MODE=$TMP/mode
echo none >"$BROKEN_MODE"

# Installs FILE as a package manager does: the name gets another file.
install_binary() { # FILE [MODE]
	cp "$1" "$CAPFSD.new" && chmod "${2:-755}" "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
}
# The same program with another version of the same length.
make_version() { # DIGIT FILE
	LC_ALL=C sed "s/\\<${version//./\\.}\\>/${version%?}$1/g" "$original" >"$2"
	chmod 755 "$2"
}
running_version() {
	sed -n 's/^version=//p' "$CAPFS/version"
}
said() { # TEXT COUNT
	[ "$(grep -c -- "$1" "$TMP/log")" -ge "$2" ]
}
upgrade() { # COUNT: the how manieth
	kill -HUP "$KEEPER" && wait_for 20 said 'upgraded: ' "$1" && wait_for 5 harness_pids
}
refused() { # COUNT
	kill -HUP "$KEEPER" && wait_for 60 said 'no upgrade: ' "$1" && wait_for 5 answers
}
work() {
	HOLDER=$HOLDER timeout 240 "$(program tests/it-recovery)" "$@"
}
connects() {
	[ "$(timeout 10 "$PROBE" ask "$CAPFS/caps/echo/socket" x)" = x ]
}
# What a table has, without numbers that differ by nature.
table() { # PID
	find "/proc/$1/fd" -mindepth 1 -printf '%l\n' | sed -e 's/\[[0-9]*\]//' -e 's/(deleted)//' \
		-e "s|^$TMP/sbin/.*|binary|" -e 's|/proc/[0-9]*/|/proc/|' -e 's|/fdinfo/[0-9]*|/fdinfo/|' | sort | uniq -c
}
tables() {
	sleep 3 # for what is given back lazily
	harness_pids
	table "$KEEPER"
	table "$HOLDER"
}
dropped() { # PID: as the daemon's user, without privileges, not to be traced by that user
	local uid
	uid=$(id -u capfs)
	grep -q "^Uid:.$uid.$uid.$uid.$uid" "/proc/$1/status" &&
		grep -q '^CapBnd:.0000000000000000' "/proc/$1/status" &&
		grep -q '^CapPrm:.0000000000000000' "/proc/$1/status" &&
		grep -q '^NoNewPrivs:.1' "/proc/$1/status" &&
		[ "$(stat -c %u "/proc/$1/fd")" = 0 ]
}

install_binary "$original"
harness_start --quota=caps=4096,sockets=512
job "$PROBE" serve "$TMP/echo.sock"
wait_for 5 test -S "$TMP/echo.sock"
t_ok "a_service" serve echo --proxy="$TMP/echo.sock"

# --- one upgrade, looked at closely ---
for digit in 1 2; do
	make_version "$digit" "$TMP/version$digit"
done
mkdir "$CAPFS/sessions/kept"
exec 7<>"$CAPFS/caps/echo/grant"
echo 'to=kept as=before' >&7
mkfifo "$TMP/line"
"$PROBE" inherit "$CAPFS/caps/echo/socket" bash -c \
	'while read -r line; do echo "$line" >&3; read -r -u 3 -t 5 line; echo "$line"; done' \
	<"$TMP/line" >"$TMP/lines" &
HARNESS_JOBS+=("$!")
exec 8>"$TMP/line"
echo first >&8
wait_for 5 grep -q first "$TMP/lines"

is_root && before=$(tables)
pids="$KEEPER $HOLDER"
brokers="$BROKER $BINDER"
title=$(tr '\0' ' ' <"/proc/$KEEPER/cmdline")
install_binary "$TMP/version1"
t_ok "upgrade" upgrade 1
wait_for 5 not test -d "/proc/${brokers#* }"
t_is "another_version_serves" "${version%?}1" "$(running_version)"
t_is "keeper_and_holder_stay" "$pids" "$KEEPER $HOLDER"
t_ok "broker_and_binder_are_others" not test "$brokers" = "$BROKER $BINDER"
t_is "the_command_line_is_the_same" "${title%% }" \
	"$(tr '\0' ' ' <"/proc/$KEEPER/cmdline" | sed 's/ *$//')"
if is_root; then
	for pid in "$KEEPER" "$HOLDER" "$BROKER" "$BINDER"; do
		t_like "all_run_the_new_binary" "sbin/capfsd$" readlink "/proc/$pid/exe"
	done
	t_is "descriptor_tables_as_before" "$before" "$(tables)"
	for pid in "$HOLDER" "$BROKER" "$BINDER"; do
		t_ok "no_privilege_has_come_back" dropped "$pid"
	done
	if grep -q '^#define HAVE_SANITIZERS' "$top_builddir/config.h"; then
		t_skip "the_broker_is_filtered" "not with sanitizers"
	else
		t_like "the_broker_is_filtered" '^Seccomp:.2' cat "/proc/$BROKER/status"
	fi
fi
t_is "the_result_is_still_there" "$(cat <&7 | sed 's/id=.*//')" "slot=before "
echo second >&8
t_ok "a_connection_goes_on" wait_for 5 grep -q second "$TMP/lines"
t_ok "another_connection" connects
t_ok "an_open_file_goes_on" say 'to=kept as=after' /dev/fd/7
exec 7>&-

# --- under load ---
many_upgrades() {
	local i
	for ((i = 0; i < UPGRADES; i++)); do
		install_binary "$TMP/version$((1 + (i + 1) % 2))"
		upgrade $((i + 2)) || return 1
	done
}
work 0 4 >/dev/null
state=$(dump | grep -v 'made=\|version')
: >"$TMP/stop"
(
	status=0
	while [ -e "$TMP/stop" ]; do
		work 0 3 >"$TMP/work" 2>&1 || { status=1 && break; }
	done
	exit $status
) &
worker=$!
t_ok "${UPGRADES}_upgrades_under_load" many_upgrades
rm "$TMP/stop"
wait "$worker"
status=$?
cp "$TMP/work" "$TMP/output"
t_result $status "no_call_of_eight_clients_fails"
sed 's/^/# /' "$TMP/work"
t_is "nothing_lost_nothing_twice" "$state" "$(dump | grep -v 'made=\|version')"
echo third >&8
t_ok "the_first_connection_goes_on" wait_for 5 grep -q third "$TMP/lines"

# Brokers die meanwhile, which is nothing new to anybody.
work 40 0 >"$TMP/work" 2>&1 &
worker=$!
for i in 1 2 3 4 5 6; do
	kill -HUP "$KEEPER"
	sleep 0.7
done
wait "$worker"
status=$?
cp "$TMP/work" "$TMP/output"
t_result $status "no_call_fails_when_brokers_are_killed_meanwhile"
wait_for 20 answers
sleep 1
served_by_now=$(grep -c 'upgraded: ' "$TMP/log")
t_ok "an_upgrade_after_that" upgrade $((served_by_now + 1))

# --- what is not fit for it ---
n=$(grep -c 'no upgrade: ' "$TMP/log")
now_version=$(running_version)
reject() { # NAME REGEX
	n=$((n + 1))
	t_ok "$1_is_refused" refused "$n"
	t_like "$1_is_refused_with_the_reason" "$2" tail -n 3 "$TMP/log"
	t_is "$1_leaves_the_old_one" "$now_version" "$(running_version)"
}
rm "$CAPFSD"
reject "no_binary" 'cannot be opened'
install_binary /bin/true
reject "another_program" 'does not run'
printf '#!/bin/sh\nexit 74\n' >"$TMP/script"
install_binary "$TMP/script"
reject "a_text" 'does not run'
install_binary "$original" 757
reject "a_file_that_others_can_write" 'others can write'
if is_root; then
	install_binary "$original"
	chown 1234 "$CAPFSD"
	reject "somebody_elses_file" 'another user'
fi
rm -f "$CAPFSD"
mkdir "$CAPFSD"
reject "a_directory" 'no executable file'
rmdir "$CAPFSD"

broken=$(program tests/broken-daemon)
install_binary "$broken"
echo state >"$BROKEN_MODE"
reject "a_binary_that_refuses_the_state" 'cannot use the state'
for mode in exits refuses; do
	echo $mode >"$BROKEN_MODE"
	reject "a_broker_that_$mode" 'does not serve'
	t_is "a_broker_that_${mode}_costs_nothing" "$pids" "$KEEPER $HOLDER"
done
echo fourth >&8
t_ok "the_first_connection_still_goes_on" wait_for 5 grep -q fourth "$TMP/lines"
if [ -n "${SLOW:-}" ]; then
	echo hangs >"$BROKEN_MODE"
	reject "a_broker_that_hangs" 'does not serve'
fi
t_ok "everything_is_served" connects
t_ok "clients_work_after_all_that" work 0 3

# --- the holder's death ---
echo holder >"$BROKEN_MODE"
reject "a_holder_that_ends" 'the holder has ended'
wait_for 10 harness_pids
t_ok "the_tree_is_served" test -d "$CAPFS/sessions/kept"
install_binary "$TMP/version1"
killed=0
for i in 0.00 0.05 0.10 0.15; do
	kill -HUP "$KEEPER"
	sleep $i
	kill -9 "$HOLDER"
	wait_for 15 answers || break
	killed=$((killed + 1))
done
t_is "kill_9_of_the_holder_at_any_time" 4 "$killed"
t_ok "the_tree_is_served_after_that" test -d "$CAPFS/sessions/kept"

# --- by hand ---
t_like "not_by_hand" 'not for you' "$original" --take-over=keeper,99 "$CAPFS"
not_without() { # ROLE: with a descriptor that is no handover
	local status
	timeout 5 "$original" "--take-over=$1,9" 9<"$0"
	status=$?
	[ $status -ne 0 ] && [ $status -ne 124 ] && [ $status -ne 74 ]
}
for role in try holder keeper; do
	t_ok "not_without_a_handover_$role" not_without $role
done

exec 8>&-
harness_stop
t_done
