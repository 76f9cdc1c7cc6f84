#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2016,SC2012,SC2011 # what is in quotes is for programs; names are plain
# Conformance: S17 S27 C04 C06
#
# capctl run with all that it makes for a program: argument trees with the descriptors that they name, sessions of a
# program's own, and what a program is that runs by a profile.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=100

OWNER=$(id -u) USER_OPTION=()
if is_root; then OWNER=12345 USER_OPTION=(--uid=12345:12345); fi
top=$(cd "$top_srcdir" && pwd)
export CAPFS_PROFILES=$top/profiles
unset CAP_ARGS_FD
top_builddir=$(cd "$top_builddir" && pwd)
cd "$TMP" || exit 99
chmod 755 "$TMP"
# Where other users, and programs that see little, can reach it.
mkdir bin
cp -L "$CAP" "$top_builddir"/libcap-client/.libs/libcap-client.so* bin
cp "$(program tests/caller)" bin/caller
CAP=$TMP/bin/capctl
export LD_LIBRARY_PATH=$TMP/bin:$LD_LIBRARY_PATH

job "$(program examples/echo-server)"
wait_for 10 served echo
job "$(program tests/call-service)" calls counted
wait_for 10 served counted
"$CAP" session create app caps=8 sockets=64 inflight=16 threads=20 ram=64K
if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/app"; fi
"$CAP" grant echo app >/dev/null
app=$CAPFS/sessions/app
run() { # OPTION… -- PROGRAM ARGUMENT…
	timeout 60 "$CAP" run --session=app "$@" 2>&1
}
no_programs() {
	[ -z "$(ls "$app/threads")" ]
}
connections() {
	sed -n 's/.*\<connections=\([0-9]*\).*/\1/p' "$CAPFS/entrypoints/echo/info"
}
no_connections() {
	[ "$(connections)" = 0 ]
}

# --- a tree ---

exec 8>"$TMP/log"
cat >app.yaml <<'EOT'
name: shop
list: [1, [two, {three: 3.5}], ~]
log: !fd 8
"a:b c":
  again: !fd 8
  kv: !cap echo
in: !file {path: in.txt}
web: !socket {listen: ./web.sock}
above: !session
EOT
echo text >in.txt
get() { run --args=app.yaml -- "$CAP" args get "$1"; }
t_is "C06_a_program_reads_its_tree" shop "$(get name)"
t_is "C06_all_of_it" $'- 1\n- \n  - "two"\n  - \n    three: 3.5\n- null' "$(get list | sed 's/: *$/:/; s/-$/- /')"
t_is "S27_behind_the_standard_three" 3 "$(get log)"
t_is "S27_once_each" 3 "$(get 'a:b c.again')"
t_is "S27_in_the_order_of_their_first_use" "4 5 6 7" \
	"$({ get 'a:b c.kv'; get in; get web; get above; } | xargs)"
t_is "S17_S27_the_program_has_these_and_no_others" "0 1 2 3 4 5 6 7 8 CAP_ARGS_FD=8 LISTEN_FDS=6" "$(
	run --args=app.yaml --clear-env -- /bin/sh -c 'for i in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$i ] && echo $i; done; env | grep -e ^CAP_ -e ^LISTEN_FDS=' | sort | xargs)"
t_is "LISTEN_FDNAMES_has_their_paths" "LISTEN_FDNAMES=log:a_b_c.kv:in:web:above:args" \
	"$(run --args=app.yaml -- /usr/bin/env | grep LISTEN_FDNAMES)"
t_is "a_session_is_a_connection_to_its_control_socket" init/app \
	"$(run --args=app.yaml -- /bin/sh -c "exec '$TMP/bin/caller' label \$('$CAP' args get above)")"
t_is "behind_those_of_the_command_line" $'LISTEN_FDNAMES=kv:log:a_b_c.kv\n5\n11' "$(
	sed /^in/,\$d app.yaml >short.yaml
	run --cap=echo=kv --args=short.yaml -- /usr/bin/env | grep LISTEN_FDNAMES | sed 's/:args$//'
	run --cap=echo=kv --args=short.yaml -- "$CAP" args get 'a:b c.kv'
	run --cap=echo=kv --fd=a=8 --fd=b=8 --fd=c=8 --fd=d=8 --fd=e=8 --args=short.yaml -- /usr/bin/env | sed -n 's/CAP_ARGS_FD=//p'
)"
t_is "one_that_listens_is_left_to_its_program" yes "$([ -S web.sock ] && echo yes)"
rm -f web.sock
t_ok "and_all_is_closed_with_it" wait_for 10 no_connections

# A failed start leaves nothing.
t_fails ENOENT "C04_what_is_not_there" run --args=app.yaml -- /no/such
t_ok "C04_leaves_no_file" test ! -e web.sock
t_ok "C04_no_program" wait_for 10 no_programs
t_ok "C04_no_connection" wait_for 10 no_connections
echo 'last: !cap none' >>app.yaml
t_like "C04_a_leaf_is_refused_with_its_place" \
	"^capctl: args: ENOENT: app.yaml:10:7: !cap none: there is no such slot" run --args=app.yaml -- /bin/true
t_ok "C04_and_leaves_no_file" test ! -e web.sock
t_ok "C04_nor_connection" wait_for 10 no_connections
refused() { # TEXT REASON
	printf '%s\n' "$1" >bad.yaml
	t_is "refused: $1" "capctl: args: $2" "$(run --args=bad.yaml -- /bin/true)"
}
refused 'a: [1' "EINVAL: bad.yaml:2:1: did not find expected ',' or ']' while parsing a flow sequence"
refused 'a: !cap echo conns=2' \
	"EOPNOTSUPP: bad.yaml:1:4: !cap echo conns=2: limits are of a session of the program's own: --new"
refused 'a: !fd 5' "EBADF: bad.yaml:1:4: the descriptor 5 is not open"
refused 'a: !cap ../x' "EINVAL: bad.yaml:1:4: !cap ../x: '../x' is not a slot"
refused 'a: !session none' "ENOENT: bad.yaml:1:4: !session none: there is no such session"

# --- a file that is all ---

cat >job.yaml <<'EOT'
program: [sh, -c, 'echo "$@"; "$0" args get log; echo $A $B >&5', PLACE, first]
session: app
name: job
env: {A: from-file, B: also}
args:
  log: !fd 8
  "x.y": [!fd 8, !cap echo, !file {path: out, mode: w, create: 0666}]
EOT
sed -i "s,PLACE,$CAP," job.yaml
: >out
chmod 666 out
t_is "C06_a_file_is_all_of_a_program" "first second 3" "$("$CAP" run --env=B=here job.yaml second 2>&1 | xargs)"
t_is "what_is_said_here_is_stronger" "from-file here" "$(cat out)"
t_ok "its_end_is_that_of_all" wait_for 10 no_programs
wrong() { # TEXT REASON
	printf '%b\n' "$1" >bad.yaml
	t_is "refused: $1" "capctl: EINVAL: $2" "$("$CAP" run bad.yaml 2>&1 | sed 's/^\(capctl: \)\(.*\): EINVAL: /\1EINVAL: \2: /; s/: Invalid argument$//')"
}
wrong '# nothing\nargs: {}' "bad.yaml:1:1: program: there is none"
wrong 'program: [a]\nsesion: b' "bad.yaml:2:1: sesion: it is none of program, session, name, env, args, restart, serve, heartbeat"
wrong 'program:\n- echo\n- 010' "bad.yaml:1:1: program.1: this is no string: it may want quotes"
wrong 'program: [a]\nenv: {A: !fd 8}' "bad.yaml:2:1: env.A: this is no string: it may want quotes"
wrong 'program: a' "bad.yaml:1:1: program: it is a sequence of words, the program first"
wrong '[a]' "bad.yaml:1:1: program: the file is no map with a program"
t_fails ENOENT "one_behind_two_dashes_is_a_program" run -- /no/such.yaml

# --- a session of the program's own ---

new() { # OPTION… -- PROGRAM ARGUMENT…
	timeout 60 "$CAP" run --new "${USER_OPTION[@]}" "$@" 2>&1
}
sessions() {
	ls "$CAPFS/sessions" | xargs
}
derived() {
	sed -n 's/.*\<children=\([0-9]*\).*/\1/p' "$CAPFS/caps/echo/info"
}
quotas=$(grep -v '^ram' "$CAPFS/quota")
t_is "a_program_has_a_session_of_its_own" "init/sh-1 $OWNER" \
	"$(new -- /bin/sh -c 'cat $CAPFS/label; id -u' | xargs)"
printf 'mine: !session\nother: !session app\n' >both.yaml
t_is "C06_it_is_that_of_its_tree" "init/sh-1 init/app" \
	"$(new --args=both.yaml -- /bin/sh -c "'$TMP/bin/caller' label 3; '$TMP/bin/caller' label 4" | xargs)"
t_is "which_is_closed_with_it" app "$(sessions)"
t_is "it_has_what_it_is_granted" "e limit=2 rights=call" "$(
	new --cap=echo=e,conns=2,rights=call,expires=30m -- /bin/sh -c \
		'ls $CAPFS/caps; sed -n "s/.*conns.* \(limit=[0-9]*\).*/\1/p" $CAPFS/caps/e/info; grep -o "rights=.*" $CAPFS/caps/e/info' | xargs)"
t_like "for_so_long" '^expires=' new --cap=echo,expires=30m -- /bin/sh -c 'tr " " "\n" <$CAPFS/caps/echo/info'
t_is "by_the_name_that_it_was_given" "init/shop" "$(timeout 60 "$CAP" run --new=shop "${USER_OPTION[@]}" -- /bin/sh -c 'cat $CAPFS/label')"
new -- /bin/sh -c 'exit 7' >/dev/null
t_is "its_status_is_that_of_the_program" 7 $?
printf 'a: !cap echo\nb: !cap echo conns=1 expires=1h\nme: !session\n' >caps.yaml
t_is "C06_what_its_tree_names_is_granted_too" "e echo 3 4 5" \
	"$(new --cap=echo=e --args=caps.yaml -- /bin/sh -c "ls \$CAPFS/caps; for i in a b me; do '$CAP' args get \$i; done" | xargs)"

# Nothing is left of one that failed, wherever it did.
none_is_left() { # NAME
	t_is "C04_$1: no session is left" app "$(sessions)"
	t_is "C04_$1: nor a grant" 1 "$(derived)"
}
t_fails ENOENT "C04_no_such_program" new --cap=echo -- /no/such
none_is_left exec
no_slot="capctl: none: ENOENT: there is no such slot; 'capctl why none' says more"
t_is "C04_no_such_slot" "$no_slot" "$(new --cap=echo --cap=none -- /bin/true)"
none_is_left slot
t_is "says_the_same_of_ones_own" "$no_slot" "$(timeout 60 "$CAP" run --cap=none -- /bin/true 2>&1)"
t_like "and_that_does" "has no slot none" "$CAP" why none
t_fails EINVAL "C04_no_such_word" new --confine=nonsense=1 -- /bin/true
none_is_left confine
t_fails EINVAL "C04_no_such_limit" new --cap=echo,conns=x -- /bin/true
none_is_left limit
t_like "C04_no_limit_at_all" "'nonsense' are no limits" new --cap=echo,nonsense -- /bin/true
none_is_left limits
t_fails EDQUOT "C04_too_much" new --quota=threads=100000 -- /bin/true
none_is_left quota
echo 'c: !cap none' >>caps.yaml
t_fails ENOENT "C04_no_such_leaf" new --args=caps.yaml -- /bin/true
none_is_left leaf
if is_root; then
	t_is "C04_root_is_told_whom_a_program_is_to_be" \
		"capctl: /bin/true: step start: EPERM: programs are not root's, --uid says whose" \
		"$("$CAP" run --new -- /bin/true 2>&1)"
	none_is_left root
fi
t_fails EEXIST "C04_one_that_is_there" timeout 60 "$CAP" run --new=app -- /bin/true
t_ok "is_left_as_it_was" grep -q echo <(ls "$app/caps")
back() {
	[ "$(grep -v '^ram' "$CAPFS/quota")" = "$quotas" ]
}
t_ok "all_quota_is_back" wait_for 10 back

there_is() { # SESSION
	[ "$(ls "$CAPFS/sessions/$1/threads" 2>/dev/null | wc -l)" = 1 ]
}
job "$CAP" run --new=slow "${USER_OPTION[@]}" -- /bin/sleep 1000
slow=${HARNESS_JOBS[-1]}
t_ok "one_that_runs" wait_for 10 there_is slow
kill -TERM "$slow"
wait "$slow"
t_is "is_ended_by_a_signal" 143 $?
t_is "and_its_session_with_it" app "$(sessions)"
job "$CAP" run --new=slow "${USER_OPTION[@]}" -- /bin/sh -c 'while [ ! -e '"$TMP"'/go ]; do sleep 0.1; done; exit 5'
slow=${HARNESS_JOBS[-1]}
t_ok "one_that_waits" wait_for 10 there_is slow
harness_pids
old=$BROKER
kill -9 "$BROKER"
t_ok "whose_broker_is_killed" wait_for 20 another_broker "$old"
: >go
wait "$slow"
t_is "has_its_status" 5 $?
t_is "and_its_session_is_closed_by_the_next_one" app "$(sessions)"
mkfifo fifo
echo 'a: !file fifo' >fifo.yaml
job "$CAP" run --new=slow "${USER_OPTION[@]}" --args=fifo.yaml -- /bin/true 2>said
slow=${HARNESS_JOBS[-1]}
t_ok "one_that_is_not_started_yet" wait_for 10 test -d "$CAPFS/sessions/slow"
sleep 0.3
kill -TERM "$slow"
wait "$slow"
t_ok "C04_is_not_started" test $? -gt 100
t_like "and_says_so" "EINTR: fifo.yaml:1:4: 'fifo' cannot be opened" cat said
none_is_left signal

read -r name id < <("$CAP" run --new --detach "${USER_OPTION[@]}" -- /bin/sleep 1000)
t_is "one_that_is_detached_is_named" sleep-1 "$name"
t_ok "and_stays" test -e "$CAPFS/sessions/$name/threads/$id"
t_ok "until_it_is_closed" "$CAP" session close "$name" --all

# --- profiles ---

workspace=$TMP/work
mkdir -m 777 "$workspace"
if ! new --confine="ro=/usr,/bin,/lib,?/lib64" -- /bin/true >"$TMP/cannot"; then
	t_skip "profiles" "$(head -n 1 "$TMP/cannot")"
	harness_stop
	t_done
	exit
fi
by() { # PROFILE OPTION… -- PROGRAM ARGUMENT…
	timeout 60 "$CAP" run --profile="$1" "${USER_OPTION[@]}" --confine="ro=$TMP/bin,$PROBE" --env="LD_LIBRARY_PATH=$TMP/bin" "${@:2}" 2>&1
}
for profile in tool service agent; do
	t_is "${profile}_its_session_is_cap" "init/sh-1 /cap" "$(by $profile -- /bin/sh -c 'cat /cap/label; echo $CAPFS' | xargs)"
	t_is "${profile}_no_network" "lo:" "$(by $profile -- /bin/sh -c 'tail -n +3 /proc/net/dev' | awk '{ print $1 }' | xargs)"
	t_is "${profile}_a_root_of_its_own" "" "$(by $profile -- /bin/sh -c 'ls /home /root /var /srv 2>/dev/null; ls /etc | grep -xe passwd -e shadow')"
	t_is "${profile}_it_writes_nowhere_but_in_tmp" "yes" \
		"$(by $profile -- /bin/sh -c 'echo x >/tmp/x && ! echo x >/usr/x && ! echo x >/x && ! echo x >/etc/x && echo yes' | tail -n 1)"
	t_is "${profile}_it_inherits_no_environment" "" "$(SECRET=1 by $profile -- /usr/bin/env | grep SECRET)"
	t_is "${profile}_other_processes_are_not_its" 1 "$(by $profile -- /bin/sh -c 'cat /proc/1/comm' | grep -c capfs-init)"
done
t_is "tool_has_its_limits" 256 "$(by tool -- /bin/sh -c 'ulimit -n')"
t_is "what_is_said_here_is_stronger_than_a_profile" 64 "$(by tool --confine=rlimits=nofile:64 -- /bin/sh -c 'ulimit -n')"
cat >tool.yaml <<'EOT'
program: [sh, -c, 'cat <&4; echo " $A $(ls /cap/caps)"']
env: {A: b}
args: {kv: !cap echo conns=1, in: !file in.txt}
EOT
t_is "C06_a_file_by_a_profile" "text b echo" "$(by tool tool.yaml | xargs)"
agent() {
	by agent --workspace=work "$@"
}
t_is "the_workspace_is_writable_and_where_it_begins" "$workspace yes" \
	"$(agent -- /bin/sh -c 'pwd; echo made >file && echo yes' | xargs)"
t_is "and_is_the_real_one" made "$(cat work/file)"
t_is "no_more_of_what_is_around_it" "bin probe work" "$(agent -- /bin/sh -c "ls '$TMP'" | xargs)"

# Of calls, and of connections at a time.
t_like "a_capability_has_its_limits" 'limit=2' agent --cap=echo,conns=2,expires=30m -- /bin/sh -c 'cat /cap/caps/echo/info'
t_is "S27_no_more_calls_than_it_was_given" "ok=3 EDQUOT=2" \
	"$(agent --cap=counted,calls=3 -- /bin/sh -c "echo 1 5 | '$TMP/bin/caller' call /cap counted")"
printf 'a: !cap counted\nb: !cap counted\n' >two.yaml
t_is "nor_more_connections_at_a_time" "counted: EDQUOT" \
	"$(agent --cap=counted,conns=2 --args=two.yaml -- /bin/sh -c "'$TMP/bin/caller' call /cap counted")"
t_is "that_are_its_own_alone" "ok=1" \
	"$(agent --cap=counted,conns=3 --args=two.yaml -- /bin/sh -c "echo 1 1 | '$TMP/bin/caller' call /cap counted")"

# Revoked while it runs: nothing else of it is disturbed.
"$CAP" run --profile=agent --workspace=work "${USER_OPTION[@]}" --cap=echo,conns=2,expires=30m -- /bin/sh -c \
	'ls /cap/caps >before; while [ -e /cap/caps/echo ]; do sleep 0.1; done; ls /cap/caps >after; echo on >on' &
HARNESS_JOBS+=($!)
agent=${HARNESS_JOBS[-1]}
t_ok "it_has_the_slot" wait_for 10 grep -qs echo work/before
t_ok "that_is_revoked_while_it_runs" "$CAP" revoke echo --from=sh-1
wait "$agent"
t_is "and_it_goes_on" "0 on " "$? $(cat work/on) $(cat work/after)"
t_is "all_of_them_are_closed" app "$(sessions)"
t_ok "all_quota_is_back_again" wait_for 10 back

mkdir profiles
printf '# mine\n\nconfine net=none ro=/usr,/bin,/lib,?/lib64,?/none # what it sees\n--env A=b\nenv=C=d e\nclear-env\n' >profiles/mine
mine() { CAPFS_PROFILES=$TMP/profiles timeout 60 "$CAP" run --profile=mine "${USER_OPTION[@]}" "$@" 2>&1; }
t_is "a_profile_is_options" "b d e" "$(mine -- /bin/sh -c 'echo $A $C')"
echo 'session app' >>profiles/mine
t_is "of_which_some_are_none" "capctl: $TMP/profiles/mine:7: 'session' is nothing that a profile says" "$(mine -- /bin/true)"
t_fails ENOENT "one_that_is_not_there" by none -- /bin/true
t_fails ENOENT "without_a_question_mark_a_path_is_needed" new --confine=ro=/usr,/nowhere -- /bin/true
none_is_left path

harness_stop
t_done
