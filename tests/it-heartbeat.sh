#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G11 P14
#
# Programs that have to say that they are well: what becomes of one that does not, and of one that does, whoever
# dies meanwhile.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300

OWNER=$(id -u)
if is_root; then OWNER=12345; fi
cd "$top_builddir" && top_builddir=$PWD && cd "$TMP" || exit 99
chmod 755 "$TMP"
CAP=$(program_for_others capctl/capctl)
mkdir -m 777 work
mkdir bin
cp "$(program helpers/capfs-inetd)" "$(program examples/echo-server)" "$top_builddir"/libcap-client/.libs/libcap-client.so* bin
mkdir "$CAPFS/sessions/app"
say "to=app threads=30 caps=20 sockets=100 inflight=100 ram=64K" "$CAPFS/transfer_quota"
if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/app"; fi
app=$CAPFS/sessions/app

run() { # OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run --session=app --env="CAPFS=$app" --env="LD_LIBRARY_PATH=$TMP/bin" "$@"
}
info() { # KEY
	sed -n "s/^$1=//p" "$app/threads/$id/info" 2>/dev/null
}
is() { # KEY VALUE
	[ "$(info "$1")" = "$2" ]
}
at_least() { # KEY N
	local n
	n=$(info "$1")
	[ -n "$n" ] && [ "$n" -ge "$2" ]
}
# One that runs and was begun after N others: the one that does now may have seen what is not there any more.
another_run() {
	at_least restarts $((n + 1)) && is state running && return
	at_least restarts $((n + 1)) || say signal=9 "$app/threads/$id/ctl" 2>/dev/null
	false
}
is_over() {
	[ ! -e "$app/threads/$id" ]
}
has_event() { # TEXT
	grep -q "$1" "$CAPFS/events"
}
events() { # TEXT
	grep -c "$1" "$CAPFS/events"
}
no_threads() {
	grep -q '^threads limit=[0-9]* used=0 ' "$app/quota"
}
stop() {
	say kill "$app/threads/$id/ctl"
	wait_for 10 is_over
}

cat >bin/heart <<-'EOF'
	#!/bin/sh
	# Says that it is well until there is the file `still`, and is there on without a word.
	echo "$CAPFS_THREAD $CAPFS_HEARTBEAT" >>"$1/runs"
	while [ ! -e "$1/still" ]; do
		echo ok >"$CAPFS/threads/$CAPFS_THREAD/ctl" || exit 4
		sleep 0.1
	done
	exec sleep 1000
EOF
chmod 755 bin/heart

# --- one that stands still ---

touch work/still
id=$(run --detach --name=hang --heartbeat=1:2 -- "$TMP/bin/heart" "$TMP/work")
t_is "it_is_shown" "1:2" "$(info heartbeat)"
t_ok "G11_one_that_says_nothing_is_killed" wait_for 40 is_over
t_ok "G11_having_missed_as_many_as_it_may" has_event "fault session=init/app thread=$id name=hang missed=2\$"
t_ok "as_any_end_is_told" has_event "fault session=init/app thread=$id .*signal=KILL core=no\$"
t_is "it_knew_what_it_had_to_do" "$id 1" "$(cat work/runs)"
rm -f work/runs
id=$(run --detach --restart=on-failure --heartbeat=1:2 -- "$TMP/bin/heart" "$TMP/work")
t_ok "G11_and_runs_again_if_it_is_to" wait_for 40 at_least restarts 2
t_ok "with_the_word_about_each" test "$(grep -c "fault session=init/app thread=$id missed=2" "$app/faults")" -ge 2
n=$(info restarts)
rm work/still
t_ok "then_it_is_well" wait_for 10 another_run
n=$(info restarts)

# --- one that does not ---

sleep 3 # longer than it may say nothing
t_is "one_that_is_well_is_left_alone" "running" "$(info state)"
t_is "all_the_time" "$n" "$(info restarts)"
harness_pids
broker=$BROKER
kill -STOP "$HOLDER"
kill -9 "$BROKER"
sleep 3 # nobody hears it
kill -CONT "$HOLDER"
wait_for 10 another_broker "$broker"
t_ok "P14_what_nobody_has_heard_was_not_missed" test "$(info restarts)" = "$n"
touch work/still
t_ok "P14_a_broker_later_it_is_watched" wait_for 40 at_least restarts $((n + 1))
n=$(info restarts)
rm work/still
wait_for 10 another_run
n=$(info restarts)
say pause "$app/threads/$id/ctl"
sleep 3
t_is "one_that_is_paused_is_left_alone" "$n" "$(info restarts)"
say resume "$app/threads/$id/ctl"
t_is "it_says_so_no_event" 0 "$(events " ok session=init/app thread=$id")"
stop

# --- whose heart is whose ---

cat >bin/child <<-EOF
	#!/bin/sh
	# What it starts has no heartbeat of its own, and not this one's.
	$CAP --cap=$app run -- /usr/bin/env >$TMP/work/env
	exec sleep 1000
EOF
chmod 755 bin/child
id=$(run --detach --heartbeat=100 -- "$TMP/bin/child")
t_ok "a_program_starts_another_one" wait_for 10 test -s work/env
t_unlike "which_is_not_told_of_its_heart" CAPFS_HEARTBEAT cat work/env
t_is "three_may_be_missed" "100:3" "$(info heartbeat)"
stop

# --- servers ---

id=$(run --detach --heartbeat=1:2 --serve=echo,socket=stream -- "$TMP/bin/capfs-inetd" echo -- /bin/cat)
t_like "a_command_of_an_entrypoint_answers" '^x$' timeout 20 "$PROBE" ask "$app/caps/echo/socket" x
sleep 3
t_is "our_helpers_say_that_they_are_well" "running 1" "$(info state) $(info restarts)"
pid=$(pgrep -f "^$TMP/bin/capfs-inetd echo")
kill -STOP "$pid"
t_ok "G11_stopped_it_does_not" wait_for 40 is state waiting
t_like "G11_and_serves_again" '^y$' timeout 20 "$PROBE" ask "$app/caps/echo/socket" y
t_is "as_another_process" 2 "$(info restarts)"
stop

# --- words ---

for words in 0 65536 x 5: 5:0 5:256 :3 -1; do
	run --heartbeat=$words -- /bin/true 2>/dev/null
	t_is "not_$words" 2 $?
done
cat >one.yaml <<-EOF
	program: [/bin/sleep, "1000"]
	heartbeat: 7
EOF
id=$(run --detach one.yaml)
t_is "a_file_has_it_too" "7:3" "$(info heartbeat)"
stop
id=$(run --detach -- /bin/sleep 1000)
t_ok "who_need_not_may_say_it" say ok "$app/threads/$id/ctl"
stop
t_ok "nothing_is_left" wait_for 15 no_threads

harness_stop
t_done
