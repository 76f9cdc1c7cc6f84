#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P07 P08 P11 P14 P19 S04
#
# caps/SLOT/call: a request is a write, its reply is what one reads; from shells and others that know
# files only. What a conversation survives, and what ends it.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=1024

cap=$CAPFS/caps
for kind in calls seqpacket stream; do
	job "$(program tests/call-service)" $kind $kind
	eval "SERVICE_$kind=$!"
	t_ok "a_service_of_$kind" wait_for 10 served $kind
done

kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}

# ask FILE TEXT…: each is asked on the same open file; a line for each reply.
ask() {
	local file=$1 text fd status=0
	shift
	exec {fd}<>"$file" || return
	for text; do
		printf '%s' "$text" >&"$fd" || status=1
		timeout 10 cat <&"$fd" || status=1
		echo
	done
	exec {fd}>&-
	return $status
}
sockets_used() {
	quota sockets used "$CAPFS/quota"
}

# The real deadline, meanwhile.
deadline() (
	exec 3<>"$cap/seqpacket/call"
	start=$SECONDS
	echo never >&3
	echo asked >"$TMP/deadline.asked"
	LC_ALL=C timeout 60 cat <&3 >"$TMP/deadline" 2>&1
	echo "seconds $((SECONDS - start))" >>"$TMP/deadline"
	echo here >&3
	cat <&3 >>"$TMP/deadline"
	echo >>"$TMP/deadline"
)
deadline &
DEADLINE=$!
HARNESS_JOBS+=("$DEADLINE")


# Sockets are in use by what was connected before, and nothing else.
is_idle() {
	[ "$(sockets_used)" = "$IDLE" ]
}
wait_for 5 test -s "$TMP/deadline.asked"
IDLE=$(sockets_used)

# As a file.
t_like "a_fresh_open_reads_the_usage" '^one request of at most 65536 bytes' cat "$cap/calls/call"
t_is "its_size_is_that_of_the_usage" "$(wc -c <"$cap/calls/call")" "$(stat -c %s "$cap/calls/call")"
t_is "it_has_the_mode_of_commands" 600 "$(stat -c %a "$cap/calls/call")"
t_ok "P19_everything_can_be_read" sh -c "find '$cap' -type f | timeout 20 xargs cat >/dev/null"
t_ok "P19_and_archived" sh -c "timeout 20 tar cf - -C '$cap' calls/call | tar tf -"

# Each kind of service.
t_is "a_call" hello "$(ask "$cap/calls/call" 'echo hello')"
t_is "a_packet" hello "$(ask "$cap/seqpacket/call" 'echo hello')"
t_is "a_stream" hello "$(ask "$cap/stream/call" 'echo hello')"
t_is "an_open_file_is_one_conversation" "1
2
3" "$(ask "$cap/seqpacket/call" here here here)"
t_is "of_streams_each_request_has_its_own" "1
1" "$(ask "$cap/stream/call" here here)"
t_is "calls_one_after_the_other" "a
b
6" "$(ask "$cap/calls/call" 'echo a' 'echo b' 'abcdef')"
for kind in calls seqpacket stream; do
	t_is "an_empty_reply_is_the_end_$kind" "
x" "$(ask "$cap/$kind/call" empty 'echo x')"
	t_is "large_reply_$kind" 65536 "$(ask "$cap/$kind/call" 'bytes 65536' | tr -d '\n' | wc -c)"
	head -c 65536 /dev/zero | tr '\0' y >"$TMP/request"
	exec 3<>"$cap/$kind/call"
	cat "$TMP/request" >&3
	t_is "large_request_$kind" 65536 "$(timeout 10 cat <&3)"
	exec 3>&-
done
t_is "a_stream_is_passed_on_as_it_comes" 300000 "$(ask "$cap/stream/call" 'bytes 300000' | tr -d '\n' | wc -c)"
t_fails EMSGSIZE "a_packet_that_is_too_large" ask "$cap/seqpacket/call" 'bytes 65537'
t_fails EMSGSIZE "a_reply_that_is_too_large" ask "$cap/calls/call" 'bytes 65537'
# Who sends them is told, or, before Linux 6.16, who asked.
t_fails EOPNOTSUPP "P08_descriptors_are_refused_calls" ask "$cap/calls/call" fd
for kind in seqpacket stream; do
	if "$CAPFSD" --check | grep -q '^passrights  *yes'; then
		t_is "P08_descriptors_are_refused_$kind" EPERM "$(ask "$cap/$kind/call" fd)"
	else
		t_fails EOPNOTSUPP "P08_descriptors_are_refused_$kind" ask "$cap/$kind/call" fd
	fi
done
t_is "a_second_packet_is_not_the_next_reply" "one
hello" "$(ask "$cap/seqpacket/call" two 'echo hello')"

# Refusals: an errno, then the reason, and an event.
refused() (
	exec 3<>"$cap/calls/call"
	echo 'fail 1 not today' >&3
	LC_ALL=C cat <&3 2>&1
	cat <&3
	echo 'echo tomorrow' >&3
	cat <&3
	exec 3>&-
)
t_is "a_refusal_is_an_errno_and_a_reason" "cat: -: Operation not permitted
not today
tomorrow" "$(refused)"
t_like "a_refusal_is_an_event" 'refused call session=init slot=calls uid=[0-9]+ EPERM: not today' \
	tail -n 3 "$CAPFS/events"
t_fails "Remote I/O error" "an_errno_that_the_kernel_would_not_take" ask "$cap/calls/call" 'fail 4000 x'

# Too large: nothing is sent, and nothing after it.
count=$(ask "$cap/calls/call" count)
burst() (
	exec 3<>"$cap/calls/call"
	head -c 65537 /dev/zero | dd bs=65537 count=1 iflag=fullblock status=none >&3
	echo count >&3
)
t_fails EMSGSIZE "too_large_a_request" burst
t_is "nothing_of_it_was_sent" $((count + 1)) "$(ask "$cap/calls/call" count)"
two_parts() ( # as bash does it with a long line
	exec 3<>"$cap/calls/call"
	head -c 8192 /dev/zero >&3
	echo 'count' >&3
)
t_fails EBUSY "the_next_request_waits_for_the_reply" two_parts
t_is "the_second_part_was_not_sent" $((count + 3)) "$(ask "$cap/calls/call" count)"
# A shell's `read` takes a line, and not the end of the reply.
by_lines() (
	exec 3<>"$cap/calls/call"
	echo 'fail 1 one' >&3
	cat <&3 2>/dev/null
	read -r line <&3
	echo 'echo two' >&3
	cat <&3
	exec 3>&-
	echo " $line"
)
t_is "who_has_all_may_go_on" "two one" "$(by_lines)"
t_ok "what_nobody_reads_is_done_all_the_same" sh -c "echo count >'$cap/calls/call'"
counted() {
	[ "$(ask "$cap/calls/call" count)" -ge $((count + 5)) ]
}
t_ok "and_was_counted" wait_for 5 counted

if have python3; then
	python() {
		CAP_DIR=$cap timeout 60 python3 -c "
import os, errno, select, signal, sys, threading, time
cap = os.environ['CAP_DIR']
def begin(slot): return os.open(cap + '/' + slot + '/call', os.O_RDWR)
def ask(fd, text):
    os.write(fd, text)
    all = b''
    while True:
        part = os.read(fd, 1000)
        if not part: return all
        all += part
$1"
	}
	t_is "from_python" "b'hi' 5000" "$(python "
f = begin('calls')
print(ask(f, b'echo hi'), len(ask(f, b'bytes 5000')))")"
	t_ok "fifty_openers_never_mix" python "
fds = [begin(s) for i in range(50) for s in ('calls', 'seqpacket', 'stream')]
for turn in range(3):
    for i, f in enumerate(fds): os.write(f, b'echo %d.%d' % (i, turn))
    for i, f in reversed(list(enumerate(fds))):
        got = os.read(f, 1000)
        assert got == b'%d.%d' % (i, turn), (i, turn, got)
        assert os.read(f, 1000) == b''"
	t_like "poll_wakes" '^(0\.[3-9]|1)' python "
f = begin('calls')
p = select.poll()
p.register(f, select.POLLIN)
assert p.poll(0)
os.write(f, b'late 500')
assert not p.poll(0)
start = time.monotonic()
assert p.poll(8000)
print(time.monotonic() - start)
assert os.read(f, 100) == b'late'"
	t_ok "a_reader_holds_up_no_writer_of_the_node" python "
f, g = begin('seqpacket'), begin('seqpacket')
os.write(f, b'never')
t = threading.Thread(target=lambda: os.read(f, 10), daemon=True)
t.start()
time.sleep(0.2)
assert ask(g, b'echo x') == b'x'
os._exit(0)"
	t_ok "P11_an_interrupted_read_is_EINTR" python "
f = begin('calls')
os.write(f, b'never')
class Alarm(Exception): pass
def on(signal, frame): raise Alarm
signal.signal(signal.SIGALRM, on)
signal.setitimer(signal.ITIMER_REAL, 0.3)
start = time.monotonic()
try: os.read(f, 10); sys.exit('read')
except Alarm: pass
assert time.monotonic() - start < 5
assert ask(f, b'echo again') == b'again'"
	t_ok "P11_a_waiting_reader_can_be_killed" python "
f = begin('calls')
os.write(f, b'never')
pid = os.fork()
if pid == 0: os.read(f, 10)
time.sleep(0.3)
os.kill(pid, signal.SIGKILL)
start = time.monotonic()
os.waitpid(pid, 0)
assert time.monotonic() - start < 5"
else
	t_skip "from_python" "python3 is not installed"
fi
t_ok "nothing_stays_open" wait_for 5 is_idle

# Across the death of brokers.
between() (
	exec 3<>"$cap/$1/call"
	echo here >&3
	cat <&3
	echo 'late 300' >&3
	kill_broker
	cat <&3
	kill_broker
	echo here >&3
	kill_broker
	cat <&3
	exec 3>&-
)
t_is "P14_killed_between_write_and_read_seqpacket" 1late3 "$(between seqpacket)"
t_is "P14_killed_between_write_and_read_calls" 0late0 "$(between calls)"
t_is "P14_killed_between_write_and_read_stream" 1late1 "$(between stream)"
during() (
	exec 3<>"$cap/$1/call"
	echo 'late 1500' >&3
	(sleep 0.2; kill_broker; kill_broker) &
	timeout 20 cat <&3
	wait $!
	exec 3>&-
)
for kind in calls seqpacket stream; do
	t_is "P14_killed_during_the_read_$kind" late "$(during $kind)"
	harness_pids
done
slowly() ( # a reply in small pieces, with a kill between some of them
	exec 3<>"$cap/$1/call"
	echo "bytes 60000" >&3
	for i in 1 2 3 4 5 6; do
		dd bs=10000 count=1 status=none <&3
		[ $((i % 2)) -eq 0 ] || kill_broker
	done
	cat <&3
	exec 3>&-
)
for kind in calls seqpacket stream; do
	t_is "P14_killed_within_the_reply_$kind" 60000 "$(slowly $kind | wc -c)"
	harness_pids
done
if have python3; then
	# Each request is served once, or said to be unknown, whatever dies while it is on its way.
	count=$(ask "$cap/calls/call" count)
	while sleep 0.1; do
		pid=$(child "$HOLDER" capfs-broker) && kill -9 "$pid"
	done 2>/dev/null &
	KILLER=$!
	HARNESS_JOBS+=("$KILLER")
	python "
f, n, unknown, last = begin('calls'), 0, 0, $count
end = time.monotonic() + 6
while time.monotonic() < end:
    n += 1
    try:
        now = int(ask(f, b'count'))
        assert now > last and now <= last + 1 + unknown, (now, last, unknown)
        unknown -= now - last - 1
        last = now
    except OSError as e:
        assert e.errno in (errno.ECONNABORTED,), e
        unknown += 1
print(n, unknown)" >"$TMP/killed" 2>&1
	status=$?
	end_job "$KILLER"
	wait_for 10 harness_pids
	cp "$TMP/killed" "$TMP/output"
	t_result $status "P14_no_request_runs_twice"
	echo "# requests, and those of which it is not known: $(cat "$TMP/killed")"
fi

# Ends.
revoked() (
	say 'to=app as=gone rights=call' "$cap/$1/grant"
	exec 3<>"$CAPFS/sessions/app/caps/gone/call"
	echo never >&3
	(sleep 0.3; echo 1 >"$cap/$1/revoke") &
	LC_ALL=C timeout 20 cat <&3
	wait $!
	echo again >&3
)
mkdir "$CAPFS/sessions/app"
for kind in calls seqpacket stream; do
	t_fails ESTALE "P07_revoked_while_it_is_read_$kind" revoked $kind
done
closed() (
	say 'to=short as=it rights=call' "$cap/calls/grant"
	exec 3<>"$CAPFS/sessions/short/caps/it/call"
	echo never >&3
	(sleep 0.3; rmdir "$CAPFS/sessions/short") &
	LC_ALL=C timeout 20 cat <&3
)
mkdir "$CAPFS/sessions/short"
t_fails ESTALE "its_session_is_closed" closed
say 'to=app as=mute rights=grant' "$cap/calls/grant"
t_fails EPERM "without_the_right_to_call" ask "$CAPFS/sessions/app/caps/mute/call" x
say 'to=app as=one rights=call conns=1' "$cap/calls/grant"
one=$CAPFS/sessions/app/caps/one
exec 4<>"$one/call"
echo 'echo x' >&4
t_is "a_connection_within_the_limit" x "$(cat <&4)"
t_fails EDQUOT "connections_are_limited" ask "$one/call" 'echo y'
exec 4>&-
t_is "and_given_back_by_close" z "$(ask "$one/call" 'echo z')"
say 'to=app as=twice rights=call calls=2' "$cap/stream/grant"
t_fails EDQUOT "calls_of_a_stream_are_limited" ask "$CAPFS/sessions/app/caps/twice/call" here here here
ended() (
	exec 3<>"$cap/$1/call"
	echo end >&3
	cat <&3
)
t_fails "Broken pipe" "the_service_ends_the_connection" ended seqpacket
if is_root; then
	chmod 0711 "$CAPFS/sessions/app"
	t_fails EACCES "nobody_else_opens_it" as 12345 sh -c "echo x >'$one/call'"
fi

wait "$DEADLINE"
t_like "P11_a_read_waits_thirty_seconds" 'timed out' cat "$TMP/deadline"
t_like "and_no_longer" '^seconds (30|31|32)$' cat "$TMP/deadline"
t_like "then_the_next_request_may_come" '^1$' cat "$TMP/deadline"

gone() (
	exec 3<>"$cap/seqpacket/call"
	echo never >&3
	(sleep 0.3; kill -9 "$SERVICE_seqpacket") &
	LC_ALL=C timeout 20 cat <&3
)
t_fails "Broken pipe" "G12_the_server_is_gone" gone
t_ok "and_nobody_serves" wait_for 5 detached seqpacket
t_fails ECONNREFUSED "G13_nobody_serves" ask "$cap/seqpacket/call" x
for slot in calls stream; do
	end_job "$(eval echo "\$SERVICE_$slot")"
done
t_is "nothing_is_left_of_it" 0 "$(quota inflight used "$CAPFS/quota")"
t_unlike "no_broker_ended_by_itself" 'ended with status|Sanitizer|runtime error' cat "$TMP/log"
harness_stop
t_done
