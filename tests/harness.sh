# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # what it sets is used by those who source it
#
# Sourced by the integration tests, the quickstart and the benchmarks: a daemon of the build tree on a
# mount point of its own, in a directory of its own, and results as TAP. When the shell ends, by any
# way, the daemon is stopped by its pid, and what it leaves (a mount, a process) is a failure.
#
#	harness_start [OPTION…]		starts capfsd; sets CAPFS, KEEPER, HOLDER, BROKER, BINDER
#	harness_pids			looks the processes up again
#	harness_stop			stops it and tests that nothing is left
#	t_ok NAME CMD…			CMD succeeds
#	t_fails ERRNO NAME CMD…		CMD fails and says so by that errno's name or text
#	t_is NAME WANTED GOT		two strings are equal
#	t_like NAME REGEX CMD…		what CMD prints has a line like REGEX
#	t_skip NAME REASON		cannot be tested here
#	t_done				prints the plan; its status is the test's
#
# A NAME begins with the ids of the rows that it covers, joined by "_".

set -u
export LC_ALL=C
# Where an ordinary user of Debian does not look: mount helpers, useradd, modprobe.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

harness_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${top_srcdir:=$harness_dir}"
: "${top_builddir:=$harness_dir}"

T_COUNT=0
T_FAILED=0
T_DONE=
HARNESS_JOBS=()
KEEPER='' HOLDER='' BROKER='' BINDER=''

# --- results ----------------------------------------------------------------------------------

t_result() { # STATUS NAME [DIRECTIVE]
	T_COUNT=$((T_COUNT + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $T_COUNT - $2${3:+ # $3}"
	else
		T_FAILED=$((T_FAILED + 1))
		echo "not ok $T_COUNT - $2"
		[ -s "$TMP/output" ] && head -c 2000 "$TMP/output" | sed 's/^/# /'
	fi
	return 0
}

# The variables of these begin with t_: a function that is CMD sees them, in the place of its own caller's.

t_ok() { # NAME CMD…
	local t_name=$1
	shift
	"$@" >"$TMP/output" 2>&1
	t_result $? "$t_name"
}

t_is() { # NAME WANTED GOT
	printf 'wanted: %s\ngot:    %s\n' "$2" "$3" >"$TMP/output"
	[ "$2" = "$3" ]
	t_result $? "$1"
}

t_like() { # NAME REGEX CMD…
	local t_name=$1 t_regex=$2
	shift 2
	"$@" >"$TMP/output" 2>&1
	grep -Eq -- "$t_regex" "$TMP/output"
	local t_status=$?
	[ $t_status -eq 0 ] || echo "no line like: $t_regex" >>"$TMP/output"
	t_result $t_status "$t_name"
}

t_unlike() { # NAME REGEX CMD…
	local t_name=$1 t_regex=$2
	shift 2
	"$@" >"$TMP/output" 2>&1
	! grep -Eq -- "$t_regex" "$TMP/output"
	t_result $? "$t_name"
}

t_skip() { # NAME REASON
	t_result 0 "$1" "SKIP $2"
}

# What a shell or a tool prints for it.
errno_text() {
	case $1 in
	EACCES) echo 'Permission denied' ;;
	EBUSY) echo 'Device or resource busy' ;;
	ECONNREFUSED) echo 'Connection refused' ;;
	EDQUOT) echo 'Disk quota exceeded' ;;
	EEXIST) echo 'File exists' ;;
	EINVAL) echo 'Invalid argument' ;;
	EMLINK) echo 'Too many links' ;;
	EMSGSIZE) echo 'Message too long' ;;
	ENOENT) echo 'No such file or directory' ;;
	ENOTEMPTY) echo 'Directory not empty' ;;
	EOPNOTSUPP) echo 'Operation not supported' ;;
	EPERM) echo 'Operation not permitted' ;;
	ESTALE) echo 'Stale file handle' ;;
	EXDEV) echo 'Invalid cross-device link' ;;
	*) echo "$1" ;;
	esac
}

t_fails() { # ERRNO NAME CMD…
	local t_errno=$1 t_name=$2 t_status
	shift 2
	"$@" >"$TMP/output" 2>&1
	t_status=$?
	if [ $t_status -ne 0 ] && grep -qwe "$t_errno" -e "$(errno_text "$t_errno")" "$TMP/output"; then
		t_result 0 "$t_name"
	else
		echo "wanted $t_errno, got status $t_status" >>"$TMP/output"
		t_result 1 "$t_name"
	fi
}

t_done() {
	T_DONE=1
	echo "1..$T_COUNT"
	[ "$T_FAILED" -eq 0 ]
}

# The whole script cannot run here.
harness_skip() {
	echo "1..0 # SKIP $*"
	T_DONE=1
	exit 77
}

# --- helpers ----------------------------------------------------------------------------------

# wait_for SECONDS CMD…: until CMD succeeds. Where it does not, that is known after 30 s, or after SECONDS where
# that is more: what is slow here and now is no failure.
wait_for() {
	local end=$((SECONDS + ($1 > 30 ? $1 : 30)))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -le $end ] || return 1
		sleep 0.05
	done
}

# echo TEXT > NODE, as a command.
say() { # TEXT NODE
	printf '%s\n' "$1" >"$2"
}

# A job that is ended with the test.
job() {
	"$@" &
	HARNESS_JOBS+=("$!")
}

# end_job PID: asks it to end and waits.
end_job() {
	kill "$1" 2>/dev/null
	wait_for 5 not kill -0 "$1" || kill -9 "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

not() {
	! "$@"
}

is_root() {
	[ "$(id -u)" -eq 0 ]
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# as UID CMD…: as another user without groups; only root can.
as() {
	local uid=$1
	shift
	setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# One `key=` of an info file.
field() { # KEY FILE
	tr ' ' '\n' <"$2" | sed -n "s/^$1=//p" | head -n 1
}

# The figure KEY in the line that begins with KIND.
quota() { # KIND KEY FILE
	sed -n "s/^$1 .*\\<$2=\\([0-9]*\\).*/\\1/p" "$3"
}

# A program of the build tree: libtool's own copy when there is one, for its wrapper is a slow script.
program() { # DIR/NAME
	local real="$top_builddir/${1%/*}/.libs/${1##*/}"
	if [ -x "$real" ]; then echo "$real"; else echo "$top_builddir/$1"; fi
}

# The same where other users can reach it, with the library that it needs (LD_LIBRARY_PATH).
program_for_others() { # DIR/NAME
	mkdir -p "$TMP/for-others"
	cp "$(program "$1")" "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP/for-others"
	echo "$TMP/for-others/${1##*/}"
}

# served NAME [SESSION_DIR]: somebody serves that entrypoint.
served() {
	grep -q '^state=served' "${2:-$CAPFS}/entrypoints/$1/info"
}

detached() {
	grep -q '^state=detached' "${2:-$CAPFS}/entrypoints/$1/info"
}

# serve NAME OPTION…: `capctl serve` as a job; its pid is then in SERVER.
serve() {
	local lend=()
	# The servers of tests are root's own, and their sockets let nobody else in.
	if is_root && [[ "$*" == *--proxy=* ]]; then lend=(--lend-root); fi
	job "$CAP" serve ${lend[@]+"${lend[@]}"} "$@"
	SERVER=$!
	wait_for 10 served "$1"
}

# The state of all that is not volatile, to be compared: names, modes, owners, texts. Events, metrics
# and the usage of commands are left out.
dump() { # [DIR]
	(
		cd "${1:-$CAPFS}" || exit 1
		find . -printf '%p %M %U %G\n' | sort
		find . -type f \( -name info -o -name holders -o -name quota -o -name label -o -name state \) |
			sort | xargs grep -H '' | grep -v ':ram limit='
	)
}

# --- the daemon -------------------------------------------------------------------------------

# Whom root becomes: the daemon, and the relays.
harness_user() {
	local user
	for user in capfs capfs-serve; do
		getent passwd $user >/dev/null ||
			useradd --system --no-create-home --shell /usr/sbin/nologin $user || return 1
	done
}

harness_check() {
	[ -c /dev/fuse ] || harness_skip "no /dev/fuse"
	if is_root; then
		harness_user || harness_skip "no users capfs and capfs-serve, and useradd failed"
	else
		if ! [ -r /dev/fuse ] || ! [ -w /dev/fuse ]; then
			harness_skip "/dev/fuse is not ours to open"
		fi
		have fusermount3 || harness_skip "no fusermount3"
	fi
}

harness_init() {
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/capfs-test.XXXXXX") || exit 99
	chmod 755 "$TMP"
	trap harness_exit EXIT
	trap 'exit 143' TERM
	trap 'exit 130' INT
	CAPFS=$TMP/cap RUN=$TMP/run
	# Never where somebody's is: what a test leaves goes with the test.
	export STATE_DIRECTORY=$RUN
	mkdir "$CAPFS"
	CAPFSD=$(program capfsd/capfsd)
	CAP=$(program capctl/capctl)
	PROBE=$(program tests/probe)
	# Daemons of before know of none.
	SPAWNER_OPTION=--spawner=$(cd "$top_builddir" && pwd)/spawner/capfs-spawner
	CAPFS_LIBEXEC=$(dirname "$(program helpers/capfs-relay)")
	export CAPFS CAPFS_LIBEXEC
	export LD_LIBRARY_PATH="$top_builddir/libcap-client/.libs:$TMP/for-others${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
	if [ -x "$PROBE" ]; then # where other users can reach it
		cp "$PROBE" "$TMP/probe"
		PROBE=$TMP/probe
	fi
}

# Is there a mount at this place?
mounted() {
	grep -qF " $1 " /proc/self/mountinfo
}

child() { # PARENT NAME
	pgrep -P "$1" -x "$2" | head -n 1
}

# Those that are not found keep their last number, for the look at what is left.
harness_pids() {
	local holder binder broker
	holder=$(child "$KEEPER" capfs-holder)
	binder=$(child "$KEEPER" capfs-binder)
	broker=${holder:+$(child "$holder" capfs-broker)}
	HOLDER=${holder:-$HOLDER} BINDER=${binder:-$BINDER} BROKER=${broker:-$BROKER}
	[ -n "$holder" ] && [ -n "$binder" ] && [ -n "$broker" ]
}
# Another one than PID is there, and answers.
another_broker() { # PID
	harness_pids && [ "$BROKER" != "$1" ] && ls "$CAPFS" >/dev/null 2>&1
}

answers() {
	kill -0 "$KEEPER" 2>/dev/null || return 0 # it has ended: no use waiting
	mounted "$CAPFS" && timeout 2 cat "$CAPFS/version" >/dev/null 2>&1 && harness_pids
}

# Starts the daemon without a word about its success. The limit on descriptors can be given as NOFILE.
harness_launch() {
	local limit=()
	[ -z "${NOFILE:-}" ] || limit=(prlimit "--nofile=$NOFILE")
	${limit[@]+"${limit[@]}"} "$CAPFSD" --run-dir="$RUN" ${SPAWNER_OPTION:+"$SPAWNER_OPTION"} "$@" "$CAPFS" >>"$TMP/log" 2>&1 &
	KEEPER=$!
}

harness_start() {
	: >>"$TMP/log"
	harness_launch "$@"
	if ! wait_for "${HARNESS_START_SEC:-30}" answers || ! kill -0 "$KEEPER" 2>/dev/null; then
		cp "$TMP/log" "$TMP/output"
		t_result 1 "daemon_starts"
		T_DONE=1
		exit 1
	fi
}

# Processes that were the daemon's and are still there.
harness_left() {
	local pid
	for pid in $KEEPER $HOLDER $BROKER $BINDER; do
		if kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; then
			echo "$pid"
		fi
	done
}

all_ended() {
	[ -z "$(harness_left)" ]
}

nothing_left() {
	all_ended && ! mounted "$CAPFS"
}

harness_end_daemon() {
	[ -n "$KEEPER" ] || return 0
	harness_pids || :
	kill -TERM "$KEEPER" 2>/dev/null
	wait_for 10 nothing_left
}

harness_stop() {
	local status
	harness_end_daemon
	status=$?
	{
		echo "processes: $(harness_left)"
		grep -F " $CAPFS " /proc/self/mountinfo
		tail -n 5 "$TMP/log"
	} >"$TMP/output"
	t_result $status "daemon_leaves_no_process_and_no_mount"
	KEEPER=''
}

# Whatever the script did: end what it started. A run that broke off counts as failed.
harness_exit() {
	local status=$? pid
	trap - EXIT
	trap '' TERM INT
	for pid in ${HARNESS_JOBS[@]+"${HARNESS_JOBS[@]}"}; do
		kill "$pid" 2>/dev/null
	done
	if ! harness_end_daemon; then
		for pid in $(harness_left); do
			kill -9 "$pid" 2>/dev/null
		done
		[ $status -ne 0 ] || status=1
	fi
	for pid in ${HARNESS_JOBS[@]+"${HARNESS_JOBS[@]}"}; do
		kill -9 "$pid" 2>/dev/null
	done
	if mounted "$CAPFS"; then
		umount -l "$CAPFS" 2>/dev/null || fusermount3 -u -z "$CAPFS" 2>/dev/null
		status=1
	fi
	if [ -z "$T_DONE" ]; then
		echo "not ok $((T_COUNT + 1)) - ${0##*/} broke off with status $status"
		tail -n 20 "$TMP/log" 2>/dev/null | sed 's/^/# log: /'
		[ $status -ne 0 ] || status=1
	fi
	if [ $status -ne 0 ] && [ $status -ne 77 ] && [ -n "${KEEP:-}" ]; then
		echo "# kept: $TMP"
	else
		rm -rf --one-file-system "$TMP"
	fi
	exit $status
}

harness_init
