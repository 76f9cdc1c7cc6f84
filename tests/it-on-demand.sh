#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G60 P04 P14 S11
#
# Commands of entrypoints: programs that are started when somebody connects and nobody serves. Who waits meanwhile
# and who is told; what is left when any of the processes is killed.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300

OWNER=$(id -u)
if is_root; then OWNER=12345; fi
cd "$top_builddir" && top_builddir=$PWD && cd "$TMP" || exit 99
chmod 755 "$TMP"
# Where those who may not reach the build tree find it.
mkdir bin
for p in helpers/capfs-inetd helpers/capfs-listen helpers/capfs-relay examples/echo-server examples/echo-client; do
	cp "$(program "$p")" bin
done
cp "$top_builddir"/libcap-client/.libs/libcap-client.so* bin
export CAPFS_LIBEXEC=$TMP/bin LD_LIBRARY_PATH=$TMP/bin:$LD_LIBRARY_PATH
work=$TMP/work
mkdir -m 777 "$work"

session() { # NAME [CONFINEMENT]
	mkdir "$CAPFS/sessions/$1"
	say "to=$1 threads=20 caps=20 sockets=100 inflight=100 ram=64K" "$CAPFS/transfer_quota"
	if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/$1"; fi
	[ $# -lt 2 ] || say "$2" "$CAPFS/sessions/$1/confine"
	rm -rf "${TMP:?}"/work/*
	app=$CAPFS/sessions/$1 own=$1
	place=$app
	[ $# -lt 2 ] || place=/cap
}
run() { # OPTION… -- PROGRAM ARGUMENT…
	"$CAP" --cap="$CAPFS" run --session="$own" --env="CAPFS=$place" --env="LD_LIBRARY_PATH=$TMP/bin" "$@"
}
# A service that writes how often it has begun, then echoes; `broken` lets it serve nobody.
cat >bin/service <<-EOF
	#!/bin/sh
	echo begun >>$work/runs
	if [ -e $work/broken ]; then exit 3; fi
	unset LISTEN_FDS # a file's program has a tree there, and no socket to serve
	exec $TMP/bin/capfs-inetd "\$@" -- /bin/cat
EOF
chmod 755 bin/service
publish() { # NAME [WORD…]: its program's thread is then in ID
	local entrypoint=$1
	shift
	id=$(run --detach --serve="$entrypoint,socket=stream$*" -- "$TMP/bin/service" "$entrypoint")
}
ask() { # TEXT [SLOT]: says what comes back
	timeout 60 "$PROBE" ask "$app/caps/${2:-echo}/socket" "$1" 2>&1
}
info() { # KEY
	sed -n "s/^$1=//p" "$app/threads/$id/info" 2>/dev/null
}
is() { # KEY VALUE
	[ "$(info "$1")" = "$2" ]
}
entrypoint() { # KEY
	sed -n "s/.*\\<$1=\\([^ ]*\\).*/\\1/p" "$app/entrypoints/echo/info"
}
waits() { # N
	[ "$(entrypoint waiting)" = "$1" ]
}
is_over() {
	[ ! -e "$app/threads/$id" ]
}
runs_are() { # N
	local n
	n=$(grep -cs . "$work/runs")
	[ "${n:-0}" = "$1" ]
}
no_threads() {
	grep -q '^threads limit=[0-9]* used=0 ' "$app/quota"
}
# Their pids, as others know them.
inetd() {
	pgrep -f "^$TMP/bin/capfs-inetd .*echo"
}
starter() {
	pgrep -f "^capfs-starter $TMP/bin"
}
asks() { # TEXT: a job, whose answer is in the file of that name
	ask "$1" >"answer-$1" &
	JOBS="$JOBS $!"
}
answered() { # TEXT…
	# shellcheck disable=SC2086
	wait $JOBS
	JOBS=
	for i in "$@"; do [ "$(cat "answer-$i")" = "$i" ] || return 1; done
}
JOBS=

check() { # bare|confined CONFINEMENT…
	local kind=$1 pid
	shift

	session "$kind" "$@"
	publish echo
	t_like "${kind}_a_command_is_published" '^[0-9]*\.[0-9]*$' echo "$id"
	t_is "and_waits" waiting "$(info state)"
	t_is "for_its_entrypoint" echo "$(info serves)"
	t_is "which_knows_it" "detached $id 1024" "$(entrypoint state) $(entrypoint command) $(entrypoint hold)"
	t_ok "its_slot_says_so" grep -q '^served=starting' "$app/caps/echo/info"
	t_ok "nothing_has_run" runs_are 0
	t_is "who_connects_starts_it" hello "$(ask hello)"
	t_is "it_runs" "running served" "$(info state) $(entrypoint state)"
	t_ok "its_slot_says_yes" grep -q '^served=yes' "$app/caps/echo/info"
	t_is "once_for_all" again "$(ask again)"
	t_ok "so_far" runs_are 1

	kill -9 "$(inetd)"
	t_ok "G60_killed_it_waits" wait_for 10 is state waiting
	t_ok "and_does_not_run" runs_are 1
	for i in a b c d; do asks $i; done
	t_ok "G60_for_the_next_who_come" answered a b c d
	t_ok "for_all_of_whom_it_runs_once" runs_are 2

	# Called while the daemon has no broker; then while it runs, which must not matter.
	harness_pids
	pid=$BROKER
	kill -9 "$(inetd)"
	wait_for 10 is state waiting
	kill -STOP "$HOLDER"
	kill -9 "$BROKER"
	asks early
	kill -CONT "$HOLDER"
	wait_for 10 another_broker "$pid"
	t_ok "P14_kill_9_of_the_broker_loses_no_caller" answered early
	t_ok "nor_a_run" runs_are 3
	pid=$BROKER
	kill -9 "$BROKER"
	wait_for 10 another_broker "$pid"
	t_is "P14_nor_who_serves" later "$(ask later)"
	t_ok "who_goes_on" runs_are 3

	# What keeps it is killed.
	kill -9 "$(starter)"
	t_is "kill_9_of_what_keeps_it_leaves_it" still "$(ask still)"
	kill -9 "$(inetd)"
	t_ok "but_then_it_is_over" wait_for 10 is_over
	t_is "and_who_comes_is_refused" ECONNREFUSED "$(ask late)"
	t_is "as_the_entrypoint_says" "detached  " "$(entrypoint state) $(entrypoint command) $(entrypoint hold)"

	publish echo
	t_is "the_same_can_be_published_again" hello "$(ask hello)"
	kill -9 "$(inetd)"
	wait_for 10 is state waiting
	kill -9 "$(starter)"
	# They wait for one that will not come, and are not left to.
	t_is "where_it_is_lost_between_two_runs_callers_are_told" "" "$(ask lost)"
	t_ok "and_it_is_over" wait_for 10 is_over

	publish echo
	say kill "$app/threads/$id/ctl"
	t_ok "killed_before_it_ever_ran_it_is_over" wait_for 10 is_over
	t_is "and_callers_are_refused" ECONNREFUSED "$(ask late)"
	publish echo
	ask hello >/dev/null
	rmdir "$app/entrypoints/echo"
	t_ok "without_its_entrypoint_it_is_over" wait_for 10 is_over
	publish echo
	rmdir "$app/entrypoints/echo"
	t_ok "also_when_it_waited" wait_for 10 is_over
	t_ok "G63_nothing_is_left" wait_for 15 no_threads
	publish echo
	ask hello >/dev/null
	t_ok "a_session_with_one_ends" "$CAP" session close --all "$kind"
	t_is "with_all_of_it" "" "$(inetd; starter)"
}
check bare
session try
if say "ro=/usr,/bin,/lib,/lib64" "$app/confine" && run -- /bin/true; then
	check confined "ro=/usr,/bin,/lib,/lib64,$TMP/bin rw=$work"
fi

# --- one that is broken ---

session broken
touch "$work/broken"
publish echo
t_is "one_that_fails_tells_its_caller" "" "$(ask hello)"
t_ok "and_waits" wait_for 5 is state waiting
t_ok "having_run_once" runs_are 1
for i in 1 2 3; do ask $i >/dev/null; done
pauses() {
	sed -n "s/.*fault session=init\\/broken thread=$id .*code=3 restart_msec=\\([0-9]*\\)\$/\\1/p" "$app/events" | xargs
}
t_is "P04_it_is_tried_ever_more_slowly" "100 200 400 800" "$(pauses)"
t_ok "P04_but_only_when_somebody_calls" runs_are 4
asks slow
t_ok "who_calls_in_a_pause_waits" wait_for 10 waits 1
rm "$work/broken"
t_ok "P04_and_is_served_when_it_works" answered slow
say kill "$app/threads/$id/ctl"
wait_for 10 is_over

# --- bounds, and others ---

session bounds
publish echo ,hold=2
pid=$(starter)
kill -STOP "$pid"
asks a
asks b
t_ok "two_wait" wait_for 10 waits 2
t_is "as_many_as_hold_says" "" "$(ask c)"
t_ok "which_is_said" grep -q 'refused connect session=init/bounds slot=echo' "$app/events"
kill -CONT "$pid"
t_ok "they_are_served" answered a b
t_fails EBUSY "one_entrypoint_has_one_command" publish echo
kill -9 "$(inetd)"
wait_for 10 grep -q ^state=waiting "$app"/threads/*/info
"$CAP" --cap="$app" serve echo --inetd -- /bin/sh -c 'echo by hand' &
by_hand=$!
wait_for 10 served echo "$app"
t_is "somebody_else_may_serve" "by hand" "$(ask x)"
kill "$by_hand"
wait "$by_hand"
wait_for 10 detached echo "$app"
t_is "and_after_him_the_command_does" after "$(ask after)"
t_is "for_which_callers_still_wait" 2 "$(entrypoint hold)"
kill -9 "$(inetd)"
wait_for 10 detached echo "$app"
t_fails EBUSY "nobody_ends_it_by_the_way" "$CAP" --cap="$app" serve echo --once --inetd -- /bin/cat
id=$(entrypoint command)
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
for words in hold=0 hold=5000 socket=tcp fds=maybe key=x colour=red; do
	t_fails EINVAL "not_with_$words" publish other ",$words"
done
t_fails EINVAL "nor_a_name_like_this" publish a/b
t_fails ENOENT "and_of_none_there_is_anything" cat "$app/entrypoints/other/info"
t_ok "G63_no_thread_is" wait_for 15 no_threads
id=$(run --detach --restart=on-failure --serve=echo,socket=stream -- "$TMP/bin/capfs-inetd" --once echo -- /bin/cat)
t_is "a_server_that_would_end_it_with_itself_is_none" "" "$(ask x)"
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
id=$(run --detach --serve=calls,key=1,protocol=calls -- "$TMP/bin/echo-server" calls)
t_like "S11_a_server_of_the_library_is_started_too" ': hello$' env CAPFS="$app" "$TMP/bin/echo-client" -s calls hello
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
cat >one.yaml <<-EOF
	program: [$TMP/bin/service, echo]
	serve: echo,socket=stream
EOF
id=$(run --detach one.yaml)
t_is "a_file_says_it_as_well" yaml "$(ask yaml)"
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
"$CAP" run --session="$own" --env="CAPFS=$app" --env="LD_LIBRARY_PATH=$TMP/bin" --serve=echo,socket=stream -- \
	"$TMP/bin/service" echo &
waiter=$!
wait_for 10 grep -q command= "$app/entrypoints/echo/info"
ask x >/dev/null
kill -TERM $waiter
wait $waiter
t_is "who_ends_the_command_ends_it_for_good" "0 " "$? $(inetd)"
t_ok "G63_and_nothing_is_left_here_either" wait_for 15 no_threads

# --- who leaves, and who stays ---

session idle
id=$(run --detach --serve=echo,socket=stream -- /usr/bin/timeout --preserve-status 1 "$TMP/bin/capfs-inetd" echo -- /bin/cat)
for i in 1 2 3 4; do
	t_is "idle_$i" "idle $i" "$(ask "idle $i")"
	wait_for 10 is state waiting
done
t_is "P04_who_has_served_and_leaves_is_not_slowed_down" 4 "$(grep -c "thread=$id .*code=0 restart_msec=100\$" "$app/events")"
"$CAP" --cap="$app" serve echo --inetd -- /bin/sh -c 'echo by hand' &
by_hand=$!
wait_for 10 served echo "$app"
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
t_is "the_end_of_a_command_is_not_that_of_who_serves_by_hand" "served 1024" "$(entrypoint state) $(entrypoint hold)"
kill -9 "$(inetd)"
t_is "whose_callers_wait_as_ever" "by hand" "$(ask x)"
kill "$by_hand"
wait "$by_hand"

# --- one line ---

session line
id=$("$CAP" -s line serve echo --detach --inetd -- /bin/cat)
t_is "serve_detached_waits" "waiting echo" "$(info state) $(info serves)"
t_is "and_serves_who_comes" line "$(ask line)"
kill -9 "$(pgrep -f "^$TMP/bin/capfs-inetd .*echo")"
t_is "also_after_kill_9" line2 "$(ask line2)"
rmdir "$app/entrypoints/echo"
t_ok "until_its_entrypoint_goes" wait_for 10 is_over
job "$PROBE" serve "$TMP/echo.sock"
wait_for 10 test -S "$TMP/echo.sock"
chmod 666 "$TMP/echo.sock"
id=$("$CAP" -s line serve behind --detach --as=front --hold=3 --proxy="$TMP/echo.sock")
t_is "a_relay_too" relayed "$(ask relayed front)"
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
id=$("$CAP" -s line serve own --detach --listen -- "$PROBE" serve)
t_ok "who_accepts_by_himself_runs_at_once" wait_for 10 served own "$app"
t_is "and_always" "running always" "$(info state) $(info restart)"
t_is "and_serves" mine "$(ask mine own)"
say kill "$app/threads/$id/ctl"
wait_for 10 is_over
"$CAP" -s line serve echo --detach --once --inetd -- /bin/cat 2>/dev/null
t_is "not_once" 2 $?
t_ok "G63_nothing_is_left_of_these" wait_for 15 no_threads

harness_stop
t_done
