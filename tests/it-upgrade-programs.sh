#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Conformance: P38
#
# BEFORE=FILE: a capfsd of an earlier version, as for it-upgrade-from.sh, with the spawner that was built beside it. One
# becomes the other, again and again, while the inits of either version go on: programs that run stay, are known and
# are ended, and each new one starts, whoever has what an init of another version has offered.

. "$(dirname "$0")/harness.sh" || exit 99
[ -n "${BEFORE:-}" ] || harness_skip "BEFORE does not name an earlier capfsd"
spawner=${BEFORE%/*}/../spawner/capfs-spawner
[ -x "$spawner" ] || harness_skip "there is no spawner beside $BEFORE"
harness_check

OWNER=12345
mkdir "$TMP/sbin"
this=$CAPFSD
CAPFSD=$TMP/sbin/capfsd

install_binary() { # FILE
	cp "$1" "$CAPFSD.new" && chmod 755 "$CAPFSD.new" && mv "$CAPFSD.new" "$CAPFSD"
}
said() { # TEXT COUNT
	[ "$(grep -c -- "$1" "$TMP/log")" -ge "$2" ]
}
upgrade_to() { # FILE
	n=$((n + 1))
	install_binary "$1" && kill -HUP "$KEEPER" && wait_for 30 said 'upgraded: ' $n && wait_for 10 harness_pids
}
run() {
	"$CAP" --cap="$CAPFS" run --session=app-$whose "$@"
}
five_start_and_end() {
	local i
	for i in 1 2 3 4 5; do
		run -- /bin/sh -c "exit $i"
		[ $? -eq $i ] || return 1
	done
}
is_running() { # THREAD
	grep -q '^state=running' "$CAPFS/sessions/app-$whose/threads/$1/info"
}
has_none() {
	[ "$(quota threads used "$CAPFS/sessions/app-$whose/quota")" = 0 ]
}

for whose in its this; do
	n=0
	: >"$TMP/log"
	if [ $whose = its ]; then
		SPAWNER_OPTION=--spawner=$(cd "${spawner%/*}" && pwd)/capfs-spawner
	else
		SPAWNER_OPTION=--spawner=$(cd "$top_builddir" && pwd)/spawner/capfs-spawner
	fi
	install_binary "$BEFORE"
	harness_start
	mkdir "$CAPFS/sessions/app-$whose"
	say "to=app-$whose threads=16 ram=1M" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/app-$whose"; fi
	t_ok "P38_programs_start_before_with_${whose}_spawner" five_start_and_end
	id=$(run --detach -- /bin/sleep 1000)
	for round in 1 2; do
		t_ok "the_next_version_takes_over_$round" upgrade_to "$this"
		t_ok "P38_the_program_goes_on" is_running "$id"
		t_ok "P38_and_others_start" five_start_and_end
		t_ok "the_earlier_one_takes_over_$round" upgrade_to "$BEFORE"
		t_ok "P38_the_program_still_goes_on" is_running "$id"
		t_ok "P38_and_others_start_still" five_start_and_end
	done
	t_ok "the_next_version_is_there" upgrade_to "$this"
	t_ok "P38_others_start_at_last" five_start_and_end
	say kill "$CAPFS/sessions/app-$whose/threads/$id/ctl"
	t_ok "nothing_of_it_is_left" wait_for 20 has_none
	harness_stop
done
t_done
