#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S17 S27 C04 C06
#
# capctl run with all that it makes for a program: argument trees with the descriptors that they name, sessions of a
# program's own, and what a program is that runs by a profile.
. "${top_srcdir:-.}/tests/harness.sh"
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
CAP=$TMP/bin/capctl
export LD_LIBRARY_PATH=$TMP/bin:$LD_LIBRARY_PATH

job "$(program examples/echo-server)"
wait_for 10 served echo
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
t_is "S27_in_the_order_of_their_first_use" "4 5 6 7" "$(echo $(get 'a:b c.kv') $(get in) $(get web) $(get above))"
# shellcheck disable=SC2016 # it is the program's
t_is "S17_S27_the_program_has_these_and_no_others" "0 1 2 3 4 5 6 7 8 CAP_ARGS_FD=8 LISTEN_FDS=6" "$(
	run --args=app.yaml --clear-env -- /bin/sh -c 'for i in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$i ] && echo $i; done; env | grep -e ^CAP_ -e ^LISTEN_FDS=' | sort | xargs)"
t_is "LISTEN_FDNAMES_has_their_paths" "LISTEN_FDNAMES=log:a_b_c.kv:in:web:above:args" \
	"$(run --args=app.yaml -- /usr/bin/env | grep LISTEN_FDNAMES)"
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
wrong 'program: [a]\nsesion: b' "bad.yaml:2:1: sesion: it is none of program, session, name, env, args"
wrong 'program:\n- echo\n- 010' "bad.yaml:1:1: program.1: this is no string: it may want quotes"
wrong 'program: [a]\nenv: {A: !fd 8}' "bad.yaml:2:1: env.A: this is no string: it may want quotes"
wrong 'program: a' "bad.yaml:1:1: program: it is a sequence of words, the program first"
wrong '[a]' "bad.yaml:1:1: program: the file is no map with a program"
t_fails ENOENT "one_behind_two_dashes_is_a_program" run -- /no/such.yaml

harness_stop
t_done
