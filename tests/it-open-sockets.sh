#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2016 # what is in quotes is for programs
#
# Programs that open(2) a capability's node: by shells and languages, bare and confined, while openers die, and with
# what a program may try that wants more than is its own.
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=threads=300

OWNER=$(id -u)
if is_root; then OWNER=12345; fi
chmod 755 "$TMP"
unset CAP_ARGS_FD SHELL
serve echo --inetd -- /bin/cat
session() { # NAME [CONFINEMENT]
	mkdir "$CAPFS/sessions/$1"
	say "to=$1 threads=20 ram=64K caps=8 sockets=64 inflight=16" "$CAPFS/transfer_quota"
	[ -z "${2:-}" ] || say "$2" "$CAPFS/sessions/$1/confine"
	if is_root; then chown "$OWNER:$OWNER" "$CAPFS/sessions/$1"; fi
	"$CAP" grant echo "$1" >/dev/null
	"$CAP" grant echo "$1" as=held >/dev/null
}
# Where interpreters may be: what is not there is left out.
paths=$TMP/words,
for path in /usr /bin /lib /lib64 /etc; do
	[ ! -e "$path" ] || paths=$paths$path,
done
paths=${paths%,}
mkdir -m 777 "$TMP/words"
cp "$(program tests/opens)" "$TMP/words/opens"
session bare
session tight "ro=${paths#*,} rw=${paths%%,*}"
PYTHON=/usr/bin/python3

run() { # PROGRAM ARGUMENT…: in SESSION
	timeout 60 "$CAP" run --session="$SESSION" --open-sockets "$@" 2>&1
}
openers() {
	pgrep -f "^capfs-opener sessions/$SESSION\$"
}
no_openers() {
	! openers
}
one_opener() {
	[ "$(openers | wc -l)" = 1 ]
}
another_opener() { # PID
	one_opener && [ "$(openers)" != "$1" ]
}

# --- who opens ---

talk() { # SHELL: with $1, the directory of the session's capabilities
	run -- "$1" -c 'exec 3<>"$1/echo/socket" && echo hello >&3 && read -r x <&3 && echo "$x"' - "$caps"
}
languages() {
	t_is "${SESSION}_bash_opens_a_socket" hello "$(talk /bin/bash)"
	t_is "${SESSION}_it_is_a_connected_socket" "socket hello" "$(run -- /bin/bash -c '
		exec 3<>"$1/echo/socket" 4<>"$1/echo/socket"
		[ -S /proc/$$/fd/3 ] && echo -n "socket "; echo hello >&4; read -r x <&4; echo $x' - "$caps")"
	t_is "${SESSION}_by_a_relative_path_and_after_cd" "one two" "$(run -- /bin/bash -c '
		cd "$1"; exec 3<>echo/socket; echo one >&3; read -r x <&3
		cd echo; exec 4<>../echo/./socket; echo two >&4; read -r y <&4; echo $x $y' - "$caps")"
	t_is "${SESSION}_a_child_of_it_does" hello "$(run -- /bin/sh -c '/bin/sh -c "(exec 3<>\$0 && echo hello >&3 && head -n 1 <&3)" "$1/echo/socket"' - "$caps")"
	t_is "${SESSION}_cat_reads_and_writes_it" hello "$(run -- /bin/bash -c '
		exec 3<>"$1/echo/socket"; echo hello | { cat >&3; head -n 1 <&3; }' - "$caps")"
	if have dash; then
		t_is "${SESSION}_dash" hello "$(talk "$(command -v dash)")"
	else
		t_skip "${SESSION}_dash" "there is none"
	fi
	if [ -x /usr/bin/perl ]; then
		t_is "${SESSION}_perl" hello "$(run -- /usr/bin/perl -e '
			open(my $f, "+<", "$ARGV[0]/echo/socket") or die $!; syswrite($f, "hello\n"); sysread($f, my $x, 99); print $x' "$caps")"
	else
		t_skip "${SESSION}_perl" "there is none"
	fi
	if [ -x $PYTHON ]; then
		t_is "${SESSION}_python" "hello True again" "$(run -- $PYTHON -c 'if 1:
			import os, sys
			path = sys.argv[1] + "/echo/socket"
			fd = os.open(path, os.O_RDWR)
			os.write(fd, b"hello")
			f = open(path, "r+b", buffering=0)
			f.write(b"again")
			d = os.open(sys.argv[1], os.O_RDONLY)
			fd2 = os.open("echo/socket", os.O_RDWR, dir_fd=d)
			os.write(fd2, b"x")
			print(os.read(fd, 99).decode(), os.read(fd2, 1) == b"x", f.read(99).decode())' "$caps")"
	else
		t_skip "${SESSION}_python" "there is none"
	fi
	t_is "${SESSION}_without_the_option_it_is_ENXIO" "No such device or address" "$(
		timeout 60 "$CAP" run --session="$SESSION" -- /bin/sh -c '/bin/sh -c "exec 3<>$1/echo/socket"' - "$caps" 2>&1 | sed 's/.*: //')"
	t_is "${SESSION}_to_read_alone_is_none" "No such device or address" "$(
		run -- /bin/cat "$caps/echo/socket" | sed 's/.*: //')"
	t_ok "${SESSION}_no_opener_stays" wait_for 10 no_openers
}

# --- what else is opened ---

ordinary() {
	t_is "${SESSION}_files_are_opened_as_ever" "made text" "$(run -- /bin/sh -c '
		cd "$1"; rm -f file; (exec 3<>file; echo made >&3); echo -n "text" >other; exec 3<>other; echo $(cat file) $(cat <&3)' - "$TMP/words")"
	t_is "${SESSION}_so_are_devices_and_links" "x ok" "$(run -- /bin/bash -c '
		cd "$1"; echo x >file; exec 3<>file; exec 4<>/dev/fd/3; read -r x <&4; exec 5<>/dev/null && echo $x ok' - "$TMP/words")"
	t_is "${SESSION}_what_is_not_there_is_not_there" "No such file or directory" "$(
		run -- /bin/bash -c '(exec 3<>"$1/none/socket")' - "$caps" | sed 's/.*: //')"
	opens=$TMP/words/opens
	t_is "${SESSION}_CLOEXEC_and_NONBLOCK_are_kept" $'0 0\n1 0\n0 1' \
		"$(run -- "$opens" flags "$caps/echo/socket")"
	t_is "${SESSION}_NOFOLLOW_is_kept" ELOOP "$(
		run -- /bin/ln -sfn "$caps/echo/socket" "$TMP/words/link"; run -- "$opens" nofollow "$TMP/words/link")"
	t_is "${SESSION}_a_link_is_followed" hello "$(run -- /bin/bash -c 'exec 3<>"$1" && echo hello >&3 && read -r x <&3 && echo $x' - "$TMP/words/link")"
	t_is "${SESSION}_a_path_of_any_length_and_place" $'socket\nENAMETOOLONG\nEFAULT\nENOENT' \
		"$(run -- "$opens" paths "$caps/echo/socket")"
	t_is "${SESSION}_no_more_than_it_may_have" EMFILE "$(run -- "$opens" full "$caps/echo/socket")"
}

# --- openers die ---

# A service that has no room for anybody, until it is told to: FULL is its input.
full() { # PATH
	rm -f "$1" "$TMP/full" "$TMP/let-in"
	mkfifo "$TMP/full"
	exec {FULL}<>"$TMP/full"
	"$opens" listen "$1" <"$TMP/full" >"$TMP/let-in" {FULL}>&- &
	FULL_JOB=$!
	HARNESS_JOBS+=("$FULL_JOB")
	wait_for 10 grep -q listens "$TMP/let-in"
}
full_let_in() { # NAME N: it has ended, and whom it has let in
	exec {FULL}>&-
	wait "$FULL_JOB"
	t_is "$1" "$2" "$(sed 1d "$TMP/let-in")"
}
# A thread that was asked makes one that waits for more; there is one too many where a shell was quick to ask again.
looks_for() { # N: how many programs
	[ "$(awk '/^Threads:/ { print $2 }' "/proc/$(openers)/status")" -ge $(($1 + 2)) ]
}
deaths() {
	local first waiter
	rm -f "$TMP/words/go" "$TMP/words/went"
	mkfifo -m 666 "$TMP/words/go" "$TMP/words/went"
	run -- /bin/bash -c 'for n in 1 2; do read -r x <"$2/go"; exec 3<>"$1/echo/socket" && echo $x >&3 && read -r x <&3; echo $x >"$2/went"; exec 3>&-; done' - "$caps" "$TMP/words" &
	waiter=$!
	wait_for 10 one_opener
	first=$(openers)
	echo one >"$TMP/words/go"
	t_is "${SESSION}_it_opens" one "$(timeout 30 cat "$TMP/words/went")"
	kill -9 "$first"
	echo two >"$TMP/words/go"
	t_is "${SESSION}_after_its_opener_was_killed_as_well" two "$(timeout 30 cat "$TMP/words/went")"
	wait $waiter
	t_ok "${SESSION}_and_both_have_gone" wait_for 10 no_openers

	full "$TMP/words/full"
	run -- /bin/bash -c 'exec 3<>"$1"; read -r x <&3; echo "$x"' - "$TMP/words/full" >"$TMP/answer" &
	waiter=$!
	wait_for 10 looks_for 1
	first=$(openers)
	kill -9 "$first"
	t_ok "${SESSION}_an_opener_that_is_asked_has_a_successor" wait_for 10 another_opener "$first"
	echo >&"$FULL"
	wait $waiter
	t_is "${SESSION}_who_answers" ok "$(cat "$TMP/answer")"
	full_let_in "${SESSION}_once" 1

	full "$TMP/words/full"
	run -- /bin/bash -c 'for i in 1 2 3 4 5 6 7 8; do (exec 3<>"$2/full"; read -r x <&3; echo "$x") & done >"$2/oks"
		read -r x <"$2/go"; exec 4<>"$1/echo/socket"; echo $x >&4; read -r x <&4; echo $x >"$2/went"; wait' - "$caps" "$TMP/words" &
	waiter=$!
	wait_for 10 looks_for 8
	echo free >"$TMP/words/go"
	t_is "${SESSION}_who_waits_holds_up_nobody" free "$(timeout 30 cat "$TMP/words/went")"
	kill -9 "$(openers)"
	echo >&"$FULL"
	wait $waiter
	t_is "${SESSION}_all_of_them_are_answered" 8 "$(grep -c ok "$TMP/words/oks")"
	full_let_in "${SESSION}_each_once" 8

	full "$TMP/words/full"
	run -- /bin/bash -c 'exec 3<>"$1"' - "$TMP/words/full" >"$TMP/answer" &
	waiter=$!
	wait_for 10 looks_for 1
	thread=$(ls "$CAPFS/sessions/$SESSION/threads")
	echo kill >"$CAPFS/sessions/$SESSION/threads/$thread/ctl"
	wait $waiter
	t_is "${SESSION}_who_waits_can_be_killed" 137 $?
	t_ok "${SESSION}_and_nobody_waits_for_its_opener" wait_for 10 no_openers
	echo >&"$FULL"
	full_let_in "${SESSION}_who_was_killed_was_not_let_in" 0
}

# --- more than is a program's own ---

hostile() {
	local others
	mkdir -m 755 "$TMP/words/secret-$SESSION"
	full "$TMP/words/secret-$SESSION/socket"
	echo >&"$FULL"
	chmod 0 "$TMP/words/secret-$SESSION"
	: >"$TMP/words/good"
	chmod 666 "$TMP/words/good"
	t_is "${SESSION}_what_it_may_not_reach_is_not_opened" EACCES \
		"$(run -- "$opens" nofollow "$TMP/words/secret-$SESSION/socket")"
	others=$(run -- "$opens" race "$TMP/words/good" "$TMP/words/secret-$SESSION/socket" 3000)
	t_ok "${SESSION}_one_of_two_paths_is_opened" test "${others% *}" -gt 0
	t_is "${SESSION}_and_never_the_other" 0 "${others#* }"
	chmod 755 "$TMP/words/secret-$SESSION"
	full_let_in "${SESSION}_nor_does_anything_arrive_there" 0
	others=$(run -- "$opens" race "$TMP/words/good" "$caps/echo/socket" 3000)
	t_ok "${SESSION}_either_is_what_is_found" test "${others% *}" -gt 0 -a "${others#* }" -gt 0
	t_is "${SESSION}_who_cannot_be_looked_into_opens_as_ever" ENXIO "$(run -- "$opens" undumpable "$caps/echo/socket")"
	full "$TMP/words/full"
	echo >&"$FULL"
	others=$(run -- "$opens" chroot "$TMP/words/root" "$TMP/words/full")
	if [ -n "$others" ]; then
		t_is "${SESSION}_in_another_root_it_finds_what_is_there" ENOENT "$others"
		t_is "${SESSION}_also_by_a_way_up" ENOENT "$(run -- "$opens" chroot "$TMP/words/root" ../full)"
	else
		t_skip "${SESSION}_in_another_root_it_finds_what_is_there" "there is no other root"
	fi
	full_let_in "${SESSION}_and_nobody_outside_hears_of_it" 0
}

# --- killed and stopped, at any time ---

as_owner() { # COMMAND…
	if is_root; then as "$OWNER" "$@"; else "$@"; fi
}
storm() { # SIGNAL…: to openers while a program opens; it has got none of these
	local pid opener
	run -- "$opens" storm "$caps/echo/socket" 6000 >"$TMP/stormed" &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		for opener in $(openers); do
			for signal in "$@"; do as_owner kill -"$signal" "$opener" 2>/dev/null; done
		done
		sleep 0.02
	done
	wait $pid
	t_is "${SESSION}_each_open_gives_its_socket_whatever_the_opener_gets: $*" "0 others, 0 left open" "$(cat "$TMP/stormed")"
}
storms() {
	storm KILL
	storm STOP CONT
}

# --- ends ---

is_gone() { # PID: or only waits for its parent to look
	[ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}
start_sleeper() { # PID is the program's
	local thread
	thread=$("$CAP" run --session="$SESSION" --open-sockets --detach -- /bin/sleep 1000)
	PID=$(field pid "$CAPFS/sessions/$SESSION/threads/$thread/info")
	wait_for 10 one_opener
}
ends() {
	start_sleeper
	kill -9 "$(awk '/^PPid:/ { print $2 }' "/proc/$(openers)/status")"
	t_ok "${SESSION}_an_opener_ends_with_its_init" wait_for 10 no_openers
	t_ok "${SESSION}_as_does_the_program" wait_for 10 is_gone "$PID"
	start_sleeper
	t_ok "${SESSION}_the_session_can_be_closed" "$CAP" session close "$SESSION" --all
	t_ok "${SESSION}_which_ends_both" wait_for 10 no_openers
	t_ok "${SESSION}_and_its_program" wait_for 10 is_gone "$PID"
}

# --- a shell ---

shells() {
	t_is "${SESSION}_a_shell_finds_its_session_and_opens" "hello $1" "$(
		echo 'exec 3<>$CAPFS/caps/echo/socket; echo hello >&3; read -r x <&3; echo $x $CAPFS' |
			timeout 60 "$CAP" shell "$SESSION" 2>&1)"
	t_is "${SESSION}_of_the_users_choice" /bin/bash "$(
		echo 'echo $0' | SHELL=/bin/bash timeout 60 "$CAP" shell "$SESSION" 2>&1)"
	echo 'exit 7' | timeout 60 "$CAP" shell "$SESSION" >/dev/null 2>&1
	t_is "${SESSION}_its_status_is_told" 7 $?
}

mkdir -m 777 "$TMP/words/root"
for SESSION in bare tight; do
	caps=$CAPFS/sessions/bare/caps
	[ "$SESSION" = bare ] || caps=/cap/caps
	languages
	ordinary
	deaths
	hostile
	shells "${caps%/caps}"
	storms
	ends
done
t_like "a_shell_of_no_session" "'a:b' is not" "$CAP" shell a:b
t_fails ENOENT "nor_of_one_that_is_not_there" "$CAP" shell none
harness_stop
t_done
