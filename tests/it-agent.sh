#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2016,SC2012,SC2011 # what is in quotes is for programs; names are plain
# Conformance: S17 S27 C04
#
# The agent of examples/agent, by capctl run --profile=agent: a workspace, no network, one service for some calls and
# some time, tools that get less; all of it is in the log, and the service is taken away while it runs. Hostile code
# in it, and in one of its tools, reaches nothing else.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
have socat || harness_skip "no socat"
harness_start --quota=threads=300

top_builddir=$(cd "$top_builddir" && pwd)
top_srcdir=$(cd "$top_srcdir" && pwd)
unset CAP_ARGS_FD
cd "$TMP" || exit 99
chmod 755 "$TMP"
mkdir bin profiles
mkdir -m 777 work
for p in examples/echo-client tests/ways-out capctl/capctl; do cp "$(program "$p")" bin; done
cp "$top_srcdir/examples/agent/agent" "$top_builddir"/libcap-client/.libs/libcap-client.so* bin
# What is not below /usr here, for it and its tools.
export CAPFS_PROFILES=$TMP/profiles
{
	cat "$top_srcdir/profiles/agent"
	echo "confine ro=$TMP/bin"
	printf 'env %s\n' "LD_LIBRARY_PATH=$TMP/bin" "PATH=$TMP/bin:/usr/bin:/bin" "TOOLS=$TMP/bin"
} >profiles/agent
USER_OPTION=()
is_root && USER_OPTION=(--uid=nobody)
if ! "$CAP" run --profile=agent "${USER_OPTION[@]}" -- /bin/true >cannot 2>&1; then
	harness_stop
	harness_skip "$(head -n 1 cannot)"
fi
job "$(program examples/echo-server)" ask
wait_for 10 served ask
mkdir "$CAPFS/sessions/other"

mkfifo -m 666 work/tasks
"$CAP" run --profile=agent "${USER_OPTION[@]}" --new=agent --workspace=work --cap=ask,rights=call,grant,calls=5,expires=30m -- bin/agent &
HARNESS_JOBS+=($!)
agent=${HARNESS_JOBS[-1]}
exec 7>work/tasks
inside() { # SESSION OPTION… -- PROGRAM…: as what runs there
	timeout 100 "$CAP" run --session="$1" --clear-env --env="LD_LIBRARY_PATH=$TMP/bin" "${@:2}"
}
: >work/results
chmod 666 work/results
n_done() { # tasks that have an end
	grep -c '^[^ ]*: [0-9]*$' work/results
}
has_done() { # COUNT
	[ "$(n_done)" = "$1" ]
}
task() { # WORDS…: what came of it
	local before n
	before=$(wc -l <work/results) n=$(n_done)
	echo "$*" >&7
	wait_for 20 has_done $((n + 1))
	tail -n +$((before + 1)) work/results | sed "s,$TMP/,,g" | xargs
}

t_is "it_has_one_service" ask "$(wait_for 10 test -e "$CAPFS/sessions/agent/caps/ask"; ls "$CAPFS/sessions/agent/caps")"
t_is "S27_a_tool_of_it_uses_that" "init/agent/ask: hello ask: 0" "$(task ask hello)"
t_like "for_so_many_calls" "limit=5 used=1" tr '\n' ' ' <"$CAPFS/sessions/agent/caps/ask/info"
t_like "for_so_long" "^expires=20" tr ' ' '\n' <"$CAPFS/sessions/agent/caps/ask/info"
echo one two >work/text
t_is "another_tool_reads_the_workspace" "1 2 8 text count: 0" "$(task count text)"
t_is "one_that_is_not_known_has_neither" "/bin/ls: 0" "$(task /bin/ls /cap/caps)"
t_is "nor_the_workspace" "scratch /bin/ls: 0" "$(task /bin/ls "$TMP/work")"
t_like "but_a_directory_there" "touch: 0" task /usr/bin/touch "$TMP/work/scratch/touched"
task /usr/bin/touch "$TMP/work/touched" >/dev/null # in the /tmp that is its own
t_ok "and_nowhere_else" test ! -e work/touched -a -e work/scratch/touched
t_like "nor_does_the_one_that_reads" "Read-only|cannot|denied" inside agent --new=reads "${USER_OPTION[@]}" \
	"--confine=ro=/usr,?/bin,?/lib,?/lib64,$TMP/work rw=$TMP/work/scratch cwd=/tmp" "--quota=threads=3 caps=2 sockets=8 inflight=8 ram=64K" -- \
	/usr/bin/touch "$TMP/work/touched"
t_is "sessions_of_tools_go_with_them" "" "$(ls "$CAPFS/sessions/agent/sessions")"

# --- who has taken it over, or one of its tools ---

: >host-file
job sleep 1000 7>&-
outside=${HARNESS_JOBS[-1]}
job socat "ABSTRACT-LISTEN:capfs-agent-$$,fork" /dev/null 7>&-
printf '#!/bin/sh\ntty >%s\nexec sleep 1000\n' "$TMP/tty" >terminal
chmod 755 terminal
socat EXEC:"$TMP/terminal",pty,setsid,ctty PIPE 7>&- &
HARNESS_JOBS+=($!)
wait_for 10 test -s tty
inside agent -- "$TMP/bin/ways-out" "$outside" "capfs-agent-$$" "$TMP/host-file" 0>tried 1<>"$(cat tty)" 2<host-file
t_is "S17_hostile_code_in_it_finds_no_way_out" "0 " "$? $(cat tried)"
inside agent --new=tool "${USER_OPTION[@]}" "--confine=ro=/usr,?/bin,?/lib,?/lib64,$TMP/bin rw=$TMP/work/scratch cwd=/tmp" "--quota=threads=3 caps=2 sockets=8 inflight=8 ram=64K" -- \
	"$TMP/bin/ways-out" "$outside" "capfs-agent-$$" "$TMP/host-file" 0>tried 1<>"$(cat tty)" 2<host-file
t_is "S17_nor_in_a_tool_of_it" "0 " "$? $(cat tried)"
t_is "no_network" "lo:" "$(inside agent -- /bin/sh -c 'tail -n +3 /proc/net/dev' | awk '{ print $1 }' | xargs)"
t_is "no_files_but_its_workspace" "bin work" "$(inside agent -- /bin/ls "$TMP" | xargs)"
t_is "which_it_may_write" yes "$(inside agent -- /bin/sh -c "echo x >$TMP/work/x && echo yes")"
t_fails ENOENT "it_knows_no_session_but_those_below" inside agent -- "$TMP/bin/capctl" grant ask other
t_fails EPERM "nor_makes_one_that_may_more" inside agent -- "$TMP/bin/capctl" run --new --confine=ro=/etc -- /bin/true

# --- its limits, and its end ---

for i in b c d e; do task ask "$i" >/dev/null; done
t_like "S27_no_more_calls_than_it_was_given" "EDQUOT|quota exceeded|has no calls left|calls limit" task ask more
t_ok "what_it_did_is_in_the_log" grep -q " create session=init/agent/ask " "$CAPFS/events"
t_ok "with_what_was_granted" grep -q " grant session=init/agent/ask slot=ask .* from=init/agent/caps/ask" "$CAPFS/events"
t_ok "what_ran" grep -q " exit session=init/agent/count thread=.* code=0" "$CAPFS/events"
t_ok "and_what_was_refused" grep -q " refused .* session=init/agent" "$CAPFS/events"
t_ok "one_command_revokes_it_while_it_runs" "$CAP" revoke ask --from=agent
t_like "which_its_tools_find" "ENOENT|No such" task ask again
t_ok "and_the_log_has" grep -q " revoke session=init.* slot=ask" "$CAPFS/events"
t_is "nothing_else_of_it_is_disturbed" "1 2 8 text count: 0" "$(task count text)"
exec 7>&-
wait "$agent"
t_is "it_ends_when_there_is_no_more_to_do" 0 $?
t_is "and_its_session_with_it" other "$(ls "$CAPFS/sessions")"

harness_stop
t_done
