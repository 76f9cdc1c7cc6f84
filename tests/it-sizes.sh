#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P34
# Time: 1200
#
# Programs that believe what stat(2) says, and the kernel, which does so for those who copy by sendfile(2)
# or map a file: each must have of each kind of file what cat(1) has of it, short or long, while the text
# changes, and while brokers die.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=100000,sockets=512,ram=1G

# --- the programs: each copies SOURCE to DEST

copy_cat() { cat "$1" >"$2"; }
copy_cp() { cp "$1" "$2"; }
copy_dd() { dd if="$1" of="$2" bs=1000 status=none; }
copy_tail() { tail -c "$(stat -c %s "$1")" "$1" >"$2"; }
copy_head() { head -c "$(stat -c %s "$1")" "$1" >"$2"; }
copy_grep() { grep -a '' "$1" >"$2" || [ ! -s "$1" ]; }
copy_tar() { tar -C "${1%/*}" -cf "$2.tar" "${1##*/}" && tar -xOf "$2.tar" >"$2"; }
copy_gzip() { gzip -c <"$1" | gzip -dc >"$2"; }
copy_busybox_cat() { busybox cat "$1" >"$2"; }
copy_busybox_cp() { busybox cp "$1" "$2"; }
copy_busybox_tar() { busybox tar -C "${1%/*}" -cf "$2.tar" "${1##*/}" && tar -xOf "$2.tar" >"$2"; }
copy_rsync() { rsync --whole-file "$1" "$2"; }
copy_rsync_delta() { sed 1d "$1" >"$2" && rsync --no-whole-file -I "$1" "$2"; }
copy_perl() { perl -MFile::Copy -e 'copy(@ARGV) or die' "$1" "$2"; }
copy_perl_by_size() { perl -e 'open F, $ARGV[0] or die; read F, $a, -s F; print $a' "$1" >"$2"; }
copy_git() {
	git -C "$TMP" cat-file blob "$(git -C "$TMP" hash-object -w --no-filters "$1")" >"$2"
}
copy_zstd() { zstd -q -c "$1" | zstd -q -dc >"$2"; }
copy_curl() { curl -sS "file://$1" -o "$2" && touch "$2"; }
copy_python_copy2() { python3 -c 'import shutil, sys; shutil.copy2(*sys.argv[1:])' "$1" "$2"; }
copy_python_read() { python3 -c 'import sys; open(sys.argv[2], "wb").write(open(sys.argv[1], "rb").read())' "$1" "$2"; }
copy_python_mmap() {
	python3 -c 'import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
n = os.fstat(fd).st_size
text = mmap.mmap(fd, n, mmap.MAP_PRIVATE, mmap.PROT_READ)[:] if n else b""
open(sys.argv[2], "wb").write(text)' "$1" "$2"
}
copy_python_sendfile() {
	python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
to = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
while os.sendfile(to, fd, None, 1 << 30): pass' "$1" "$2"
}
copy_node_copyFile() { node -e 'require("fs").copyFileSync(process.argv[1], process.argv[2])' "$1" "$2"; }
copy_node_readFile() {
	node -e 'const fs = require("fs"); fs.writeFileSync(process.argv[2], fs.readFileSync(process.argv[1]))' "$1" "$2"
}
copy_java() {
	[ -s "$TMP/Copy.java" ] || cat >"$TMP/Copy.java" <<-JAVA
		import java.nio.file.*;
		class Copy {
			public static void main(String[] a) throws Exception {
				Files.copy(Path.of(a[0]), Path.of(a[1]));
			}
		}
	JAVA
	java "$TMP/Copy.java" "$1" "$2"
}
copy_java_read() {
	[ -s "$TMP/Read.java" ] || cat >"$TMP/Read.java" <<-JAVA
		import java.nio.file.*;
		class Read {
			public static void main(String[] a) throws Exception {
				Files.write(Path.of(a[1]), Files.readAllBytes(Path.of(a[0])));
			}
		}
	JAVA
	java "$TMP/Read.java" "$1" "$2"
}
# The program that a row needs, where that is not the first word of its name.
needs() {
	case $1 in
	python_*) echo python3 ;;
	*) echo "${1%%_*}" ;;
	esac
}

# --- the files: one of each kind

t_ok "a_service" serve date --inetd -- /bin/date
"$CAP" session create app caps=20000 ram=200M threads=4 >/dev/null
app=$CAPFS/sessions/app
say 'to=app rights=call,grant' "$CAPFS/caps/date/grant"
! is_root || chown 12345:12345 "$app"
t_ok "a_program" "$CAP" run --session=app --detach -- /bin/sleep 1000
# `answer` is of visits alone, of which there are none here; it is a usage, as `reduce` is.
mapfile -t FILES < <(
	cd "$CAPFS" && { find . -path ./sessions -prune -o -type f -printf '%P\n' && find sessions/app/threads -type f; } |
		sort |
		awk -F/ '!seen[$(NF > 2 ? 1 : 0) "/" $NF]++'
)
rows() { # of the files that can be read, as rows.c has them
	sed -n 's/.*ROW([0-9]*, "\([^"]*\)", ROW_\(INFO\|COMMAND\|LOG\|CALL\|ASK\)\>.*/\1/p' \
		"$top_srcdir/capfsd/tree/rows.c" | grep -vx answer | sort -u
}
t_is "P34_each_kind_of_file_is_tried" "$(rows)" "$(printf '%s\n' "${FILES[@]##*/}" | sort -u)"

# What is in these changes with each look at them: their lines are the same, their numbers are not, and so
# not what is counted over them.
settled() { # FILE
	case $1 in
	checkpoint | */checkpoint) sed 's/ sum=.*/ sum=N/; s/[0-9][0-9]*/N/g' "$2" ;;
	*/metrics | */quota | metrics | quota) sed 's/[0-9][0-9]*/N/g' "$2" ;;
	*) cat "$2" ;;
	esac
}
# The program's copy of FILE is the text.
copies() { # PROGRAM DIR FILE…
	local program=$1 dir=$2 file failed=0
	shift 2
	for file in "$@"; do
		rm -rf "$TMP"/copy*
		cat "$dir/$file" >"$TMP/wanted" || return 1
		"copy_$program" "$dir/$file" "$TMP/copy" || { echo "$program $file: status $?" && failed=1; }
		[ -e "$TMP/copy" ] || : >"$TMP/copy"
		cmp -s "$TMP/wanted" "$TMP/copy" ||
			cmp <(settled "$file" "$TMP/wanted") <(settled "$file" "$TMP/copy") || { echo "$program: $file" && failed=1; }
	done
	return $failed
}
has_size() { # FILE…: told by name, and by who has it open, without and with others who ask
	python3 - "$@" <<-'PYTHON'
		import os, sys
		for name in sys.argv[1:]:
		    named, fd = os.stat(name).st_size, os.open(name, os.O_RDONLY)
		    opened = os.fstat(fd).st_size
		    n = sum(map(len, iter(lambda: os.read(fd, 65536), b'')))
		    again = os.fstat(fd).st_size
		    if n != opened or n != again or n != named:
		        sys.exit(f'{name}: {named}, opened {opened}, read {n}, then {again}')
	PYTHON
}
# Those that take long to start have fewer; those that ask before they open none that changes meanwhile.
files_for() { # PROGRAM FILE…
	case $1 in
	java* | node* | python*) printf '%s\n' "${@:2}" | grep -E '(metrics|quota|holders|objects|grant|events)$' ;;
	head | tail) printf '%s\n' "${@:2}" | grep -Ev '(metrics|quota)$' ;;
	*) printf '%s\n' "${@:2}" ;;
	esac
}
git init -q "$TMP" 2>/dev/null
programs=$(declare -F | sed -n 's/^declare -f copy_//p')
try_all() { # NAME DIR FILE…
	local name=$1 dir=$2 program files
	shift 2
	for program in $programs; do
		if have "$(needs "$program")"; then
			mapfile -t files < <(files_for "$program" "$@")
			t_ok "P34_${program}_of_$name" copies "$program" "$dir" "${files[@]}"
		else
			t_skip "P34_${program}_of_$name" "no $(needs "$program")"
		fi
	done
}
try_all "each_kind" "$CAPFS" "${FILES[@]}"
if have python3; then
	(cd "$CAPFS" && has_size "${FILES[@]}") >"$TMP/output" 2>&1
	t_result $? "P34_each_size_is_true"
fi
t_ok "P34_cmp_sees_that_they_differ" not cmp -s "$CAPFS/caps/date/holders" /dev/null
t_ok "P34_test_s_sees_a_holder" test -s "$CAPFS/caps/date/holders"
t_is "P34_wc_counts_what_cat_has" "$(cat "$CAPFS/caps/date/holders" | wc -c)" "$(wc -c <"$CAPFS/caps/date/holders")"

# --- long ones

mass() { # FIRST LAST
	timeout 120 "$(program tests/mass)" grant "$CAPFS" date app "$1" "$2"
}
t_ok "five_thousand_holders" mass 1 5000
objects=$CAPFS/entrypoints/date/objects
make_objects() {
	local i
	for ((i = 100; i < 1600; i++)); do
		echo "key=$i" >"$objects" || return 1
	done
}
t_ok "many_objects" make_objects
holders=$CAPFS/caps/date/holders
t_ok "they_are_long" test "$(stat -c %s "$holders")" -gt 65536 -a "$(stat -c %s "$objects")" -gt 65536
t_is "the_last_line_is_there" "... more" "$(tail -n 1 "$holders")"
try_all "long_texts" "$CAPFS" caps/date/holders entrypoints/date/objects
! have python3 || t_ok "P34_sizes_of_long_texts_are_true" has_size "$holders" "$objects"
# Many at once, each of whom has it made: the others' requests come between.
crowd() {
	local i pids=()
	for i in 1 2 3 4 5 6 7 8 9 10; do
		stat -c %s "$holders" >"$TMP/size.$i" &
		pids+=("$!")
	done
	wait "${pids[@]}"
	[ "$(sort -u "$TMP"/size.*)" = "$(cat "$holders" | wc -c)" ]
}
t_ok "P34_ten_who_ask_at_once" crowd

# --- by an ordinary user in a session of theirs

if is_root; then
	mapfile -t theirs < <(cd "$app" && find . -maxdepth 1 -type f -printf '%P\n' && echo caps/date/info caps/date/holders | tr ' ' '\n')
	export -f copies settled copy_cat copy_busybox_cat copy_cp copy_python_copy2
	by_user() { # PROGRAM
		as 12345 env TMP="$TMP/user" bash -c 'copies "$@"' _ "$1" "$app" "${theirs[@]}"
	}
	install -d -o 12345 "$TMP/user"
	for program in cat cp busybox_cat python_copy2; do
		if have "$(needs "$program")"; then
			t_ok "P34_${program}_by_another_user" by_user "$program"
		else
			t_skip "P34_${program}_by_another_user" "no $(needs "$program")"
		fi
	done
fi

# --- while it changes

# A copy is whole when its last line is, and there are as many as there may be; and what was there all the
# time is in it. Who copies by sendfile(2) while another asks for the size of what is longer by now can have
# zeros behind its text: the kernel takes the one size for both (SIZES in capfs(5)).
whole() { # FILE
	local n
	[ "$program" != python_sendfile ] || { tr -d '\0' <"$1" >"$1.text" && mv "$1.text" "$1"; }
	n=$(wc -l <"$1")
	[ "$(tail -c 1 "$1" | od -An -tx1)" = " 0a" ] && [ "$n" -gt 290 ] && [ "$n" -lt 601 ] &&
		[ "$(grep -c ' since=[^ ]*$' "$1")" -eq "$n" ] && [ "$(grep -c ' init/other/caps/m[0-9]* ' "$1")" -eq 300 ]
}
while_it_changes() { # PROGRAM
	local i
	for i in $(seq 12); do
		rm -rf "$TMP"/copy*
		"copy_$1" "$CAPFS/caps/other/holders" "$TMP/copy" || continue # it says so
		whole "$TMP/copy" || { cp "$TMP/copy" "$TMP/output" && return 1; }
	done
}
t_ok "a_second_service" serve other --inetd -- /bin/date
"$CAP" session create other caps=2000 ram=1M >/dev/null
t_ok "three_hundred_holders" timeout 60 "$(program tests/mass)" grant "$CAPFS" other other 1 300
changes() {
	local i
	while :; do
		for ((i = 0; i < 300; i++)); do
			echo "to=app as=come-and-go-$i" >"$CAPFS/caps/other/grant"
			[ $((i % 3)) -ne 0 ] || stat "$CAPFS/caps/other/holders"
		done
		rmdir "$app"/caps/come-and-go-*
	done >/dev/null 2>&1
}
job changes
changes=${HARNESS_JOBS[-1]}
for program in cat cp busybox_cat rsync python_sendfile; do
	if have "$(needs "$program")"; then
		t_ok "P34_${program}_while_it_changes" while_it_changes "$program"
	else
		t_skip "P34_${program}_while_it_changes" "no $(needs "$program")"
	fi
done
end_job "$changes"

# --- while brokers die

new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}
kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
# At each step: a broker that has told the size, one that has opened the file, one that has told it to who
# has it open; then it is read by those who know neither.
across_brokers() { # SIZE_KILLED OPEN_KILLED FSTAT_KILLED
	local told fd kills=("$@")
	cat "$holders" >"$TMP/wanted"
	harness_pids
	told=$(stat -c %s "$holders")
	[ "${kills[0]}" -eq 0 ] || kill_broker
	exec {fd}<"$holders"
	[ "${kills[1]}" -eq 0 ] || kill_broker
	[ "$(stat -L -c %s "/proc/self/fd/$fd" <&"$fd")" -eq "$told" ] || return 1
	[ "${kills[2]}" -eq 0 ] || kill_broker
	"${kills[@]:3}" <&"$fd" >"$TMP/copy"
	exec {fd}<&-
	cmp "$TMP/wanted" "$TMP/copy"
}
for kills in "1 0 0" "0 1 0" "0 0 1" "1 1 1"; do
	# shellcheck disable=SC2086 # three words
	t_ok "P34_cat_across_brokers_${kills// /}" across_brokers $kills cat
	if have busybox; then
		# shellcheck disable=SC2086
		t_ok "P34_busybox_cat_across_brokers_${kills// /}" across_brokers $kills busybox cat
	else
		t_skip "P34_busybox_cat_across_brokers_${kills// /}" "no busybox"
	fi
done
# One that dies while a text is being made: the kernel asks the next for it.
under_fire() {
	local i sizes
	harness_pids
	cat "$holders" >"$TMP/wanted"
	for i in 1 2 3 4 5; do
		for _ in $(seq 20); do stat -c %s "$holders"; done >"$TMP/sizes" 2>&1 &
		sizes=$!
		kill -9 "$BROKER"
		wait_for 10 new_broker "$BROKER"
		wait "$sizes"
		[ "$(sort -u "$TMP/sizes")" = "$(wc -c <"$TMP/wanted")" ] || { cat "$TMP/sizes" && return 1; }
	done
}
t_ok "P34_sizes_while_brokers_die" under_fire

harness_stop
t_done
