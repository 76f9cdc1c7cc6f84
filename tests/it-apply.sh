#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2016,SC2012,SC2011,SC2094 # what is in quotes is for programs; names are plain
# Conformance: S17 S27 C04 C06
#
# capctl apply: the five programs of examples/pages, as their file says: started, made again where something
# changed, ended; what is wrong with a file; what is left where capctl or a broker is killed; and what somebody
# reaches who has taken over a worker.
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
mkdir -m 777 logs
for p in examples/pages/pages-fetcher examples/pages/pages-front examples/pages/pages-worker examples/log-service \
	examples/echo-server examples/echo-client tests/ways-out capctl/capctl; do
	cp "$(program "$p")" bin
done
cp "$top_builddir"/libcap-client/.libs/libcap-client.so* bin
# Programs are in bin, which is not below /usr, and find their library there.
export CAPFS_PROFILES=$TMP/profiles
{ cat "$top_srcdir/profiles/service"; echo "confine ro=$TMP/bin"; echo "env LD_LIBRARY_PATH=$TMP/bin"; } >profiles/service
# Only root can say whose sessions are.
USER_KEY='clear-env: true' USER_OPTION=()
if is_root; then USER_KEY='uid: nobody' USER_OPTION=(--uid=nobody); fi
sed -e "s,/usr/local/bin/,$TMP/bin/,; s,/var/log/pages,$TMP/logs,; s/uid: nobody/$USER_KEY/" \
	"$top_srcdir/examples/pages/pages.yaml" >pages.yaml
pages=$CAPFS/sessions/pages/sessions
sessions="fetcher front log worker-1 worker-2"

apply() { # [OPTION] FILE
	timeout 60 "$CAP" apply "$@" 2>&1
}
done_with() { # [OPTION] FILE: what it says that it has done, in alphabetical order
	apply "$@" | sed 's/ started .*/ started/' | sort | xargs
}
pid() { # SESSION: of its program
	sed -n 's/^pid=//p' "$pages/$1"/threads/*/info 2>/dev/null | head -n 1
}
pids() {
	for s in $sessions; do pid "$s"; done | xargs
}
ask() { # ADDRESS: the front end
	CAPFS=$pages/front timeout 20 "$(program examples/echo-client)" -s front "$1" 2>&1
}

"$CAP" tree >/dev/null # its connection has made the listener of `control`
quotas=$(grep -v '^ram' "$CAPFS/quota")
back() { # says what is not
	diff <(echo "$quotas") <(grep -v '^ram' "$CAPFS/quota")
}
if ! "$CAP" run --new "${USER_OPTION[@]}" --confine="ro=/usr,/bin,/lib,?/lib64" -- /bin/true >cannot 2>&1; then
	harness_stop
	harness_skip "$(head -n 1 cannot)"
fi

# --- what is wrong with a file: it changes nothing ---

refused() { # NAME PLACE-AND-REASON TEXT
	printf '%b\n' "$3" >bad.yaml
	t_is "$1" "capctl: $2" "$(apply bad.yaml | head -n 1 | sed "s,$TMP/,,g")"
}
P='program: [/bin/true]'
refused "no_yaml" "apply: EINVAL: bad.yaml:2:1: did not find expected node content while parsing a flow node" 'a: {'
refused "no_map" "bad.yaml:1:1: the file: EINVAL: it is a map of one session, which all others are below" '[a]'
refused "two_sessions" "bad.yaml:1:1: the file: EINVAL: it is a map of one session, which all others are below" "a: {$P}\nb: {$P}"
refused "no_name" "bad.yaml:1:5: \.a: EINVAL: '.a' cannot be the name of a session" ".a: {$P}"
refused "no_key" "bad.yaml:2:12: a.sesions: EINVAL: it is none of program, sessions, quota, profile, confine, workspace, uid, cap, clear-env, timeout, restart, serve, heartbeat, env, output, args" \
	'a:\n  sesions: {}'
refused "nothing_in_it" "bad.yaml:2:3: a: EINVAL: a session has a program, or others below it" 'a:\n  quota: caps=3'
refused "a_program_beside_sessions" "bad.yaml:3:12: a.program: EINVAL: a session that has others has nothing else but a quota" \
	"a:\n  sessions: {b: {$P}}\n  $P"
refused "no_string" "bad.yaml:1:24: a.program.1: EINVAL: this is no string: it may want quotes" 'a: {program: [/bin/ls, 010]}'
refused "no_limits" "bad.yaml:2:21: 'nonsense' are no limits" "a: {$P,\n  cap: [one, two=2, \"three,nonsense\"]}"
refused "no_quota" "bad.yaml:2:10: --quota takes words KEY=VALUE, not 'many'" "a: {$P,\n  quota: many}"
refused "no_kind_of_quota" "bad.yaml:2:10: --quota: there is no kind 'treads'" "a: {$P,\n  quota: treads=3}"
refused "no_number_of_it" "bad.yaml:2:10: --quota: threads=-1 is no number" "a: {$P,\n  quota: threads=-1}"
refused "no_user" "bad.yaml:1:32: there is no user 'no such'" "a: {$P, uid: no such}"
refused "no_profile" "bad.yaml:1:36: --profile=none: ENOENT: there is no such profile" "a: {$P, profile: none}"
refused "no_program" "bad.yaml:1:4: no-such-program: ENOENT: it is in no directory of PATH" 'a: {program: [no-such-program]}'
refused "no_session" "bad.yaml:1:19: a/b: c:kv: ENOENT: no session of the file is called so" "a: {sessions: {b: {cap: c:kv, $P}}}"
refused "no_slot" "bad.yaml:1:4: a: kv: ENOENT: there is no such slot" "a: {cap: kv, $P}"
refused "two_of_a_name" "bad.yaml:1:4: a: EINVAL: two slots are called 'x'" "a: {cap: [kv=x, x], $P}"
refused "no_slot_of_its_own" "a: EINVAL: bad.yaml:3:13: !cap kv: 'cap' gives it no such slot" "a:\n  $P\n  args: {x: !cap kv}"
refused "a_key_that_comes_twice" "apply: EEXIST: bad.yaml:3:3: the key 'cap' comes twice" "a:\n  cap: b\n  cap: c"
refused "C04_a_circle" "bad.yaml:1:56: a/c uses a/b, which uses it in turn: ELOOP: each of them would wait for the other one to serve" \
	"a: {sessions: {b: {cap: c:x, $P}, c: {cap: b:y, $P}}}"
sed '$s/.*/      program: [no-such-program]/' pages.yaml >bad.yaml
t_fails ENOENT "what_is_wrong_at_its_end" apply bad.yaml
t_is "C04_changes_nothing_at_its_beginning" "" "$(ls "$CAPFS/sessions")"

t_fails ENOENT "where_there_is_no_daemon_nothing_can_be_ended" "$CAP" --cap="$TMP/nowhere" apply --stop pages.yaml
t_is "which_is_a_refusal" 1 "$("$CAP" --cap="$TMP/nowhere" apply --stop pages.yaml 2>/dev/null; echo $?)"

# --- started, and left alone ---

cat >page <<'EOT'
#!/bin/sh
read -r line
printf 'HTTP/1.0 200 OK\r\n\r\none two\nthree\n'
EOT
chmod 755 page
socat -d -d TCP-LISTEN:0,bind=127.0.0.1,fork EXEC:"$TMP/page" 2>socat &
HARNESS_JOBS+=($!)
wait_for 10 grep -q listening socat
PORT=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' socat)
t_is "five_programs_are_started" \
	"pages/fetcher: started pages/front: started pages/log: started pages/worker-1: started pages/worker-2: started" \
	"$(done_with pages.yaml)"
t_is "each_in_its_session" "$sessions" "$(ls "$pages" | xargs)"
for i in 1 2; do
	t_is "S27_worker_$i" "2 3 14" "$(ask "127.0.0.1:$PORT/x")"
done
t_is "each_has_its_own_log" "init/pages/front: 127.0.0.1:$PORT/x" "$(tail -n 1 logs/front.log)"
t_is "S17_worker_1_was_asked" "init/pages/worker-1: 127.0.0.1:$PORT/x: 2 3 14" "$(cat logs/worker-1.log)"
t_is "S17_worker_2_was_asked" "init/pages/worker-2: 127.0.0.1:$PORT/x: 2 3 14" "$(cat logs/worker-2.log)"
t_is "the_first_session_shows_what_is_served" "fetcher.fetch log.log-front log.log-worker-1 log.log-worker-2 worker-1.count worker-2.count" \
	"$(ls "$CAPFS/sessions/pages/caps" | xargs)"
t_is "each_has_what_it_is_granted" "count fetch log" "$(ls "$pages/worker-1/caps" | xargs)"
t_is "as_limited_as_it_is_said" 2 "$(tr ' ' '\n' <"$pages/worker-1/caps/fetch/info" | grep -A1 -x conns | sed -n 's/limit=//p')"
before=$(pids)
t_is "applied_again_nothing_is_done" "" "$(done_with pages.yaml)"
{ echo '# A remark.'; sed 's/^    worker-1:/    # Another one.\n&/' pages.yaml; } >same.yaml
t_is "nor_for_remarks" "" "$(done_with same.yaml)"
t_is "S17_all_are_the_same_processes" "$before" "$(pids)"

# --- what changed ---

sed '/^    worker-1:/,/^    worker-2:/s/rate=20/rate=10/' pages.yaml >changed.yaml
old_front=$(pid front) old_one=$(pid worker-1) old_two=$(pid worker-2) old_log=$(pid log)
t_is "one_that_changed_is_made_again_and_granted_again" "pages/front: granted worker-1 pages/worker-1: started" \
	"$(done_with changed.yaml)"
t_ok "S17_it_alone" test "$old_front $old_two $old_log" = "$(pid front) $(pid worker-2) $(pid log)" -a "$old_one" != "$(pid worker-1)"
t_is "and_all_goes_on" "2 3 14, 2 3 14" "$(ask "127.0.0.1:$PORT/x"), $(ask "127.0.0.1:$PORT/y")"
old_two=$(pid worker-2)
kill -9 "$old_two"
other_two() { [ -n "$(pid worker-2)" ] && [ "$(pid worker-2)" != "$old_two" ]; }
t_ok "one_that_is_killed_is_started_again" wait_for 10 other_two
wait_for 10 served count "$pages/worker-2"
t_is "G60_and_has_all_that_it_had" "2 3 14, 2 3 14" "$(ask "127.0.0.1:$PORT/x"), $(ask "127.0.0.1:$PORT/y")"
t_is "which_apply_need_not_do" "" "$(done_with changed.yaml)"
ctl=("$pages"/worker-2/threads/*/ctl)
say kill "${ctl[0]}"
gone() { [ -z "$(pid worker-2)" ]; }
wait_for 10 gone
t_is "one_that_has_ended_for_good_is_started_by_apply" "pages/front: granted worker-2 pages/worker-2: started" "$(done_with changed.yaml)"
t_ok "what_is_revoked" "$CAP" --session=pages revoke fetcher.fetch --from=worker-1
t_is "is_not_there_for_who_had_it" "count log" "$(ls "$pages/worker-1/caps" | xargs)"
t_is "until_it_is_applied_again" "pages/worker-1: granted fetch" "$(done_with changed.yaml)"
awk '/^    worker-2:/ { skip = 1 } /^    front:/ { skip = 0 } !skip' changed.yaml |
	sed '/- worker-2:count/d; /pages-front/s/, worker-2//' >fewer.yaml
t_is "what_is_gone_from_the_file_is_removed" "pages/front: started pages/worker-2: removed" "$(done_with fewer.yaml)"
t_is "and_its_session" "fetcher front log worker-1" "$(ls "$pages" | xargs)"
limits() { # of the first session
	sed -n 's/^\(caps\|threads\) limit=\([0-9]*\).*/\2/p' "$CAPFS/sessions/pages/quota" | xargs
}
sed 's/threads=64 caps=160/threads=72 caps=170/' fewer.yaml >more.yaml
t_is "a_quota_is_moved_and_nothing_else_done" " 170 72" "$(done_with more.yaml) $(limits)"
t_is "and_moved_back" "pages/front: started pages/worker-2: started 160 64" "$(done_with changed.yaml) $(limits)"
sed 's/threads=64 caps=160/threads=64 caps=100/' changed.yaml >less.yaml
t_fails EDQUOT "not_below_what_is_in_use" apply less.yaml
t_is "of_which_nothing_stays" "" "$(done_with changed.yaml)"

# --- sessions that become programs, and the other way ---

turns() { # TEXT OF x
	echo "x: {sessions: {y: $1}}" >x.yaml
	done_with x.yaml
}
z="{$USER_KEY, quota: threads=3 caps=2 sockets=4 inflight=4 ram=64K, program: [sleep, '1000']}"
t_is "one_with_a_program" "x/y: started" "$(turns "$z")"
t_is "has_sessions_below_it" "x/y/z: started" "$(turns "{sessions: {z: $z}}")"
t_is "of_which_there_are_more" "x/y/w: started" "$(turns "{sessions: {z: $z, w: $z}}")"
t_is "and_a_program_again" "x/y: started" "$(turns "$z")"
t_is "alone" "" "$(ls "$CAPFS/sessions/x/sessions/y/sessions")"
mkdir "$CAPFS/sessions/x/sessions/other"
t_is "what_is_not_the_files_is_removed" "x/other: removed" "$(turns "$z")"
t_is "an_output_is_a_file" hello "$(turns "{$USER_KEY, output: $TMP/output.txt, program: [echo, hello]}" >/dev/null; wait_for 10 test -s output.txt; cat output.txt)"
apply --stop x.yaml >/dev/null

# --- one that has a connection as an argument ---

cat >args.yaml <<EOT
args:
  quota: threads=40 caps=160 sockets=600 inflight=300 ram=3M
  sessions:
    user: {profile: service, $USER_KEY, cap: "echo:echo=e,conns=1", args: {all: [1, !cap e]}, program: [sleep, "1000"]}
    echo: {profile: service, $USER_KEY, program: [$TMP/bin/echo-server]}
EOT
t_is "C06_its_tree_is_in_the_file" "args/echo: started args/user: started" "$(done_with args.yaml)"
t_is "S27_and_has_the_connection" "3 all.1,4 args" "$(tail -n 2 "$CAPFS"/sessions/args/sessions/user/threads/*/fds | paste -sd,)"
sed 's/echo-server\]/echo-server, echo]/' args.yaml >args-2.yaml
t_is "who_loses_one_is_started_again" "args/echo: started args/user: started" "$(done_with args-2.yaml)"
sed 's/\[1, /[2, /' args-2.yaml >args-3.yaml
t_is "C06_what_changed_in_a_tree_counts" "args/user: started" "$(done_with args-3.yaml)"
t_is "it_is_ended_by_one_command" "args: removed" "$(done_with --stop args.yaml)"

# --- what a program has laid where its output is ---

mkfifo pipe
ln -s "$TMP/elsewhere" link
laid() { # FILE
	echo "laid: {$USER_KEY, output: $TMP/$1, quota: threads=3 caps=2 sockets=4 inflight=4 ram=64K, program: [sleep, '1000']}" >laid.yaml
	apply laid.yaml | sed "s,$TMP/,," | sed 's/^capctl: [^ ]* //'
}
t_is "a_pipe_that_nobody_reads_is_not_waited_for" "pipe: ENXIO: No such device or address" "$(laid pipe)"
t_is "a_link_is_not_followed" "link: ELOOP: Too many levels of symbolic links" "$(laid link)"
t_fails ENOENT "and_made_nothing" cat elsewhere

# --- a slot that is granted and not served there ---

Q="threads=8 caps=16 sockets=64 inflight=32 ram=256K"
cat >second.yaml <<EOT
second:
  quota: threads=40 caps=160 sockets=600 inflight=300 ram=3M
  sessions:
    one: {profile: service, $USER_KEY, quota: $Q, program: [$TMP/bin/echo-server]}
    two: {profile: service, $USER_KEY, quota: $Q, cap: "one:echo", program: [sleep, "1000"]}
    user: {profile: service, $USER_KEY, quota: $Q, cap: "two:echo", timeout: 1, program: [sleep, "1000"]}
EOT
t_like "S17_it_is_no_service_of_who_was_granted_it" 'second/two: echo: ETIMEDOUT: its program does not serve that' apply second.yaml
apply --stop second.yaml >/dev/null

# --- two at once ---

twice="twice: {$USER_KEY, quota: threads=3 caps=2 sockets=4 inflight=4 ram=64K, program: [sleep, '1000']}"
echo "$twice" >twice.yaml
exec 8<"$CAPFS/sessions"
flock 8
t_is "while_one_is_at_work_another_one_does_nothing" \
	"capctl: $CAPFS/sessions: EBUSY: another capctl apply is at work there" "$(apply twice.yaml)"
t_fails EBUSY "nor_ends_anything" apply --stop pages.yaml
exec 8<&-
for i in 1 2 3 4 5 6; do
	apply twice.yaml >"twice-$i" &
	appliers[i]=$!
done
wait "${appliers[@]}"
t_is "of_many_one_does_it" 1 "$(cat twice-* | grep -c started)"
t_is "and_it_is_there" "" "$(done_with twice.yaml)"
apply --stop twice.yaml >/dev/null

# --- one that runs when it is called for ---

cat >called.yaml <<EOT
called:
  quota: threads=40 caps=160 sockets=600 inflight=300 ram=3M
  sessions:
    echo:
      profile: service
      $USER_KEY
      serve: echo,key=1,protocol=calls
      program: [$TMP/bin/echo-server]
    user: {profile: service, $USER_KEY, cap: "echo:echo", restart: always, heartbeat: 1000, program: [sleep, "1000"]}
EOT
called() { # KEY: of the service
	sed -n "s/^$1=//p" "$CAPFS"/sessions/called/sessions/echo/threads/*/info | head -n 1
}
t_is "G60_a_service_waits_for_its_callers" "called/echo: started called/user: started waiting" \
	"$(done_with called.yaml) $(called state)"
t_is "G11_with_words_for_each" "1000:3 always" \
	"$(sed -n 's/^heartbeat=//p; s/^restart=//p' "$CAPFS"/sessions/called/sessions/user/threads/*/info | xargs)"
t_like "and_runs_for_them" ': hi$' env CAPFS="$CAPFS/sessions/called/sessions/user" timeout 20 "$(program examples/echo-client)" -s echo hi
t_is "as_one_that_apply_finds" " running" "$(done_with called.yaml) $(called state)"
t_is "and_ends" "called: removed" "$(done_with --stop called.yaml)"

# --- who has taken over a worker ---

: >"$TMP/host-file"
chmod 644 "$TMP/host-file"
job sleep 1000
outside=${HARNESS_JOBS[-1]}
job socat "ABSTRACT-LISTEN:capfs-apply-$$,fork" /dev/null
# A terminal that is somebody else's.
printf '#!/bin/sh\ntty >%s\nexec sleep 1000\n' "$TMP/tty" >terminal
chmod 755 terminal
socat EXEC:"$TMP/terminal",pty,setsid,ctty PIPE &
HARNESS_JOBS+=($!)
wait_for 10 test -s tty
mkdir -p "$CAPFS/sessions/other"
in_worker() { # SESSION PROGRAM…: in its session, as it is confined
	local session=$1
	shift
	timeout 100 "$CAP" run --session="pages/$session" --clear-env --env="LD_LIBRARY_PATH=$TMP/bin" -- "$@"
}
tried=$TMP/tried
in_worker worker-1 "$TMP/bin/ways-out" "$outside" "capfs-apply-$$" "$TMP/host-file" 0>"$tried" 1<>"$(cat tty)" 2<"$TMP/host-file"
t_is "S17_hostile_code_in_a_worker_finds_no_way_out" "0 " "$? $(cat "$tried")"
t_is "it_sees_its_own_session" "init/pages/worker-1 count fetch log" \
	"$(in_worker worker-1 /bin/sh -c 'cat /cap/label; ls /cap/caps /cap/sessions' | xargs | sed 's, /cap/[a-z]*:,,g')"
t_is "no_files_but_of_the_system_and_its_programs" "bin" "$(in_worker worker-1 /bin/ls "$TMP")"
t_is "no_network" "lo:" "$(in_worker worker-1 /bin/sh -c 'tail -n +3 /proc/net/dev' | awk '{ print $1 }' | xargs)"
t_is "which_the_fetcher_has" "$(awk 'NR > 2 { print $1 }' /proc/net/dev | sort | xargs)" \
	"$(in_worker fetcher /bin/sh -c 'tail -n +3 /proc/net/dev' | awk '{ print $1 }' | sort | xargs)"

# --- killed ---

graph() {
	"$CAP" graph | sed 's/ id=[0-9]*//; s/badge=0x[0-9a-f]*//; s/\(used\|connections\)=[0-9]*//g; s/conns [0-9]*//' | sort
}
whole() {
	apply changed.yaml >/dev/null
	wait_for 10 served front "$pages/front" # for whom nobody has waited
	graph
}
wanted=$(whole)
for i in 1 2 3 4 5 6 7 8 9 10; do
	apply --stop changed.yaml >/dev/null
	"$CAP" apply changed.yaml >/dev/null 2>&1 &
	sleep "0.0$((i * 7 % 10))$i"
	kill -9 $! 2>/dev/null
	wait $! 2>/dev/null
	t_is "C04_killed_in_the_middle_$i: the next one finishes it" "$wanted" "$(whole)"
	t_is "C04_killed_in_the_middle_$i: and all of it runs" "5 2 3 14" "$(pids | wc -w) $(ask "127.0.0.1:$PORT/x")"
done
before=$(pids)
harness_pids
old=$BROKER
kill -9 "$BROKER"
t_ok "a_broker_that_is_killed" wait_for 20 another_broker "$old"
t_is "changes_nothing" " $before" "$(done_with changed.yaml) $(pids)"
apply --stop changed.yaml >/dev/null
"$CAP" apply changed.yaml >said 2>&1 &
harness_pids
kill -9 "$BROKER"
wait $!
t_is "C04_nor_one_that_is_killed_in_the_middle" "$wanted" "$(whole)"

# --- the end of all of it ---

t_is "one_command_ends_all_of_it" "pages: removed" "$(done_with --stop pages.yaml)"
t_is "once" "" "$(done_with --stop pages.yaml)"
t_is "no_session_is_left" other "$(ls "$CAPFS/sessions")"
rmdir "$CAPFS/sessions/other"
wait_for 10 back
t_ok "nor_quota" back
none_runs() { ! pgrep -f "$TMP/bin/" >/dev/null; }
t_ok "nor_process" wait_for 10 none_runs
printf 'pages: {nonsense: 1}\n' >bad.yaml
apply pages.yaml >/dev/null
t_is "it_can_be_ended_by_a_file_that_is_wrong_by_now" "pages: removed" "$(done_with --stop bad.yaml)"

harness_stop
t_done
