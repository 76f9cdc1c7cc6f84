#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P18
#
# What the daemon writes when all is well, and when it is not; to a file, to a pipe that nobody reads,
# and to a journal that is played: in a mount namespace of its own, where journald's socket would be.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check

# --- all is well --------------------------------------------------------------------------------

harness_start
serve echo --inetd -- /bin/cat
mkdir "$CAPFS/sessions/app"
say to=app "$CAPFS/caps/echo/grant"
t_is "a_service_works" hello "$(timeout 20 "$PROBE" ask "$CAPFS/caps/echo/socket" hello)"
for ((i = 0; i < 100; i++)); do
	say to=nobody "$CAPFS/caps/echo/grant" 2>/dev/null
	"$PROBE" ask "$CAPFS/sessions/app/caps/none/socket" x >/dev/null 2>&1
done
end_job "$SERVER"
harness_stop
cp "$TMP/log" "$TMP/output"
t_is "P18_an_idle_system_logs_nothing_nor_do_refusals" "" "$(cat "$TMP/log")"
rm -rf "$RUN"

# --- nobody reads -------------------------------------------------------------------------------

# The other end is held by a process that never reads, and the pipe is full.
mkfifo "$TMP/pipe"
exec 8<>"$TMP/pipe"
dd if=/dev/zero of="$TMP/pipe" bs=4096 count=64 oflag=nonblock 2>/dev/null
"$CAPFSD" --run-dir="$RUN" --log-level=debug "$CAPFS" 2>"$TMP/pipe" 8<&- &
KEEPER=$!
t_ok "P18_it_starts_with_a_full_pipe_as_stderr" wait_for 15 answers
for i in 1 2 3; do
	harness_pids
	kill -9 "$BROKER"
	t_ok "P18_kill_${i}_is_not_held_up_by_the_log" wait_for 10 timeout 5 grep -q \
		"^capfs_broker_restarts_total $i\$" "$CAPFS/metrics"
done
lost=$(sed -n 's/^capfs_log_lines_lost_total //p' "$CAPFS/metrics")
t_ok "P18_what_is_lost_is_counted" test "${lost:-0}" -ge 3
harness_stop
exec 8<&-
rm -rf "$RUN"

# --- the journal --------------------------------------------------------------------------------

catalog=$top_srcdir/capfsd/capfsd.catalog
ids=$(sed -n 's/^#define MESSAGE_.* "\([0-9a-f]*\)"$/\1/p' "$top_srcdir/capfsd/process/messages.h")
t_is "every_message_id_is_explained" "$(echo "$ids" | sort)" \
	"$(sed -n 's/^-- \([0-9a-f]\{32\}\)$/\1/p' "$catalog" | sort)"
page=$top_srcdir/man/capfsd.8
t_is "and_stands_in_the_manual" "" "$(for id in $ids; do grep -q "$id" "$page" || echo "$id"; done)"
t_is "as_do_all_fields" "" "$(cd "$top_srcdir" && grep -oh '"CAPFS_[A-Z_]*"' -r capfsd | tr -d '"' |
	grep -v CAPFS_LIBEXEC | sort -u | while read -r field; do
		grep -q "$field" "$page" || echo "$field"
	done)"
if have journalctl; then
	mkdir -p "$TMP/root/usr/lib/systemd/catalog" "$TMP/root/var/lib/systemd/catalog"
	cp "$catalog" "$TMP/root/usr/lib/systemd/catalog"
	t_ok "the_catalog_is_compiled" journalctl --root="$TMP/root" --update-catalog
	t_is "and_listed" "$(echo "$ids" | wc -l)" \
		"$(journalctl --root="$TMP/root" --list-catalog | grep -c 'capfsd: ')"
else
	t_skip "the_catalog_is_compiled" "no journalctl"
fi

# Prints each datagram as one line, its fields by "|".
cat >"$TMP/journald" <<'PY'
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
out = open(sys.argv[2], "w")
print("bound", file=out, flush=True)
while True:
    data, fields = s.recv(65536), []
    while data:
        line, _, data = data.partition(b"\n")
        if b"=" not in line:
            n, = struct.unpack("<Q", data[:8])
            line, data = line + b"=" + data[8 : 8 + n], data[9 + n :]
        fields.append(line.decode())
    print("|".join(fields), file=out, flush=True)
PY
# The daemon stays in this script's namespace, and the test of the journal runs in another one.
journal() {
	local server stream status at=/run
	[ ! -d /run/systemd ] || at=/run/systemd
	mount -t tmpfs none "$at" && mkdir -p /run/systemd/journal || return
	python3 "$TMP/journald" /run/systemd/journal/socket "$TMP/journal" &
	server=$!
	wait_for 5 grep -q bound "$TMP/journal"
	: >"$TMP/stderr"
	stream=$(stat -L -c %d:%i "$TMP/stderr")
	JOURNAL_STREAM=$stream "$CAPFSD" --audit --run-dir="$RUN" "$CAPFS" 2>>"$TMP/stderr" &
	KEEPER=$!
	wait_for 15 answers
	mkdir "$CAPFS/sessions/a"
	echo 'to=init session=b' >"$CAPFS/sessions/a/transfer_quota"
	kill -9 "$BROKER"
	wait_for 10 grep -q '^capfs_broker_restarts_total 1$' "$CAPFS/metrics"
	harness_pids
	kill -9 "$HOLDER"
	wait_for 10 sh -c "! kill -0 $HOLDER" 2>/dev/null
	wait_for 10 answers
	umount -l "$CAPFS"
	wait "$KEEPER"
	status=$?
	KEEPER=''
	# Nobody listens there any more: stderr is the journal's, too.
	kill "$server"
	wait "$server"
	JOURNAL_STREAM=$stream "$CAPFSD" --run-dir="$RUN" "$CAPFS" 2>>"$TMP/stderr" &
	KEEPER=$!
	wait_for 15 answers
	kill -9 "$BROKER"
	wait_for 10 grep -q '^capfs_broker_restarts_total 1$' "$CAPFS/metrics"
	harness_end_daemon
	KEEPER=''
	return $status
}
if is_root && have python3 && unshare -m true 2>/dev/null; then
	export -f journal wait_for answers mounted harness_pids child harness_end_daemon nothing_left \
		all_ended harness_left
	export TMP RUN CAPFS CAPFSD HOLDER='' BROKER='' BINDER='' KEEPER=''
	t_ok "a_daemon_with_a_journal" unshare -m --propagation private bash -c journal
	t_like "a_broker_has_died" "^MESSAGE=broker 1 was ended by signal 9 .*\|PRIORITY=4\|SYSLOG_IDENTIFIER=capfsd\|CAPFS_MOUNT=$CAPFS\|MESSAGE_ID=bbc03f8b1cc24329a20819537b444dfd\|CAPFS_BROKER=1\|CAPFS_SIGNAL=9\$" cat "$TMP/journal"
	t_like "P23_audit_of_what_was_done" "^MESSAGE=create session=init/a id=[0-9]+ uid=0\|PRIORITY=6\|.*MESSAGE_ID=7d1f0b0c35c84a0f9a6e4b27d85c9e11\|CAPFS_VERB=create\|CAPFS_SESSION=init/a\|CAPFS_ID=[0-9]+\|CAPFS_UID=0\|CAPFS_EVENT=[0-9]+\|CAPFS_COUNT=1\$" cat "$TMP/journal"
	t_like "P23_audit_of_a_refusal" "^MESSAGE=refused transfer_quota session=init/a uid=0 EINVAL: .*\|PRIORITY=5\|.*CAPFS_VERB=transfer_quota\|CAPFS_SESSION=init/a\|CAPFS_UID=0\|CAPFS_ERROR=EINVAL\|CAPFS_EVENT=[0-9]+\|CAPFS_COUNT=1\$" cat "$TMP/journal"
	t_like "the_holder_has_died" "MESSAGE_ID=be873a2bda654e44a4c21867065fbec9\|CAPFS_SIGNAL=9" cat "$TMP/journal"
	t_like "it_was_unmounted" "^MESSAGE=$CAPFS was unmounted\|PRIORITY=5\|.*MESSAGE_ID=389ded9954b7450db7922253491f67db" cat "$TMP/journal"
	t_is "and_stderr_had_none_of_these" 0 "$(grep -c unmounted "$TMP/stderr")"
	t_like "without_journald_it_has_levels" '^<4>broker 1 was ended by signal 9' cat "$TMP/stderr"
else
	t_skip "a_daemon_with_a_journal" "it needs root, python3 and a mount namespace"
fi
t_done
