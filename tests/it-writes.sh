#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P14 P35
# Time: 600
#
# The ways in which shells, tools and languages write one command: each grants exactly what was written, or
# fails and changes nothing. A row is
#
#	way EXPECTED NAME PROGRAMS SCRIPT
#
# SCRIPT is run by sh with $F, the file; $C, the command, and $A and $B, its parts; $D, a directory.
#
#	now	it succeeds, and the slot is there when it returns
#	closed	it succeeds, and the slot is there soon: no newline was written
#	none	no slot, and a refusal among the events
#	nothing	it fails, no slot: nothing was written

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=1024,sockets=128

t_ok "a_service" serve date --inetd -- /bin/date
mkdir "$CAPFS/sessions/app" "$TMP/d"
caps=$CAPFS/sessions/app/caps
export F=$CAPFS/caps/date/grant D=$TMP/d

refusals() {
	grep ' refused grant .*slot=date' "$CAPFS/events" | tail -n 1
}

refused_since() { # LINE
	[ "$(refusals)" != "$1" ]
}

# What the slot allows, of what was written.
granted() { # NAME
	grep -qx 'rights=call' "$caps/$1/info" && grep -q '^conns limit=7 ' "$caps/$1/info"
}

way() { # EXPECTED NAME PROGRAMS SCRIPT
	local expected=$1 name=$2 program before status
	for program in $3; do
		if ! have "$program"; then
			t_skip "P35_$name" "no $program"
			return
		fi
	done
	before=$(refusals)
	# As a file's owner leaves it for the next row.
	rm -rf "${D:?}"/*
	A="to=app as=$name rights=call " B='conns=7' C="to=app as=$name rights=call conns=7" \
		timeout 60 sh -c "$4" >"$TMP/output" 2>&1 </dev/null
	status=$?
	case $expected in
	now) [ $status -eq 0 ] && granted "$name" ;;
	closed) [ $status -eq 0 ] && wait_for 10 granted "$name" ;;
	none) wait_for 10 refused_since "$before" ;;
	nothing) [ $status -ne 0 ] ;;
	esac && case $expected in
	now | closed) rmdir "$caps/$name" ;;
	esac && [ -z "$(ls "$caps")" ]
	status=$?
	{
		echo "$4"
		ls "$caps"
		tail -n 3 "$CAPFS/events"
	} >>"$TMP/output"
	t_result $status "P35_$name"
	[ $status -eq 0 ] || rmdir "$caps"/* 2>/dev/null
}

# --- shells ---

# Left unquoted below: "busybox sh" is two words.
for shell in sh bash dash 'busybox sh' zsh mksh ksh; do
	id=${shell// /-}
	program=${shell%% *}
	export SHELL_TRIED=$shell
	way now "$id-echo" "$program" "\$SHELL_TRIED -c 'echo \"\$C\" >\"\$F\"'"
	way now "$id-printf" "$program" "\$SHELL_TRIED -c 'printf \"%s\\n\" \"\$C\" >\"\$F\"'"
	way closed "$id-printf-no-newline" "$program" "\$SHELL_TRIED -c 'printf %s \"\$C\" >\"\$F\"'"
	way now "$id-two-parts" "$program" "\$SHELL_TRIED -c '{ printf %s \"\$A\"; echo \"\$B\"; } >\"\$F\"'"
	way now "$id-newline-last" "$program" "\$SHELL_TRIED -c '{ printf %s \"\$A\"; printf %s \"\$B\"; echo; } >>\"\$F\"'"
	way now "$id-subshells" "$program" "\$SHELL_TRIED -c '( (printf %s \"\$A\"); (echo \"\$B\") ) >\"\$F\"'"
	way now "$id-programs" "$program env" "\$SHELL_TRIED -c '( env printf %s \"\$A\"; env printf \"%s\\n\" \"\$B\" ) >\"\$F\"'"
	way now "$id-exec" "$program" "\$SHELL_TRIED -c 'exec 3>\"\$F\"; printf %s \"\$A\" >&3; echo \"\$B\" >&3; exec 3>&-'"
	way now "$id-read-and-write" "$program" "\$SHELL_TRIED -c 'exec 3<>\"\$F\"; printf %s \"\$A\" >&3; echo \"\$B\" >&3; grep slot= <&3'"
	way now "$id-here-document" "$program" "\$SHELL_TRIED -c 'cat >\"\$F\" <<EOT
\$C
EOT'"
	way none "$id-behind-a-blank" "$program" "\$SHELL_TRIED -c 'printf %s \"\$A\" >\"\$F\"'"
done
way now bash-here-string bash "bash -c 'cat <<<\"\$C\" >\"\$F\"'"
way now bash-clobber bash "bash -c 'set -C; echo \"\$C\" >|\"\$F\"'"
way now bash-echo-n bash "bash -c '{ echo -n \"\$A\"; echo \"\$B\"; } >\"\$F\"'"
way now bash-process-substitution bash "bash -c 'cat <(printf %s \"\$A\") <(echo \"\$B\") >\"\$F\"'"

# --- tools ---

# shellcheck disable=SC2016 # the variables are those of the rows
{
	way now cat '' 'echo "$C" | cat >"$F"'
	way now cat-slow '' '{ printf %s "$A"; sleep 0.2; echo "$B"; } | cat >"$F"'
	way now cp '' 'echo "$C" >"$D/c"; cp "$D/c" "$F"'
	way closed cp-no-newline '' 'printf %s "$C" >"$D/c"; cp "$D/c" "$F"'
	way now tee '' 'echo "$C" | tee "$F"'
	way now tee-append '' '{ printf %s "$A"; sleep 0.2; echo "$B"; } | tee -a "$F"'
	way closed tee-no-newline '' 'printf %s "$C" | tee "$F"'
	way now dd '' 'echo "$C" | dd of="$F"'
	way now dd-bytes '' 'echo "$C" | dd of="$F" bs=1'
	way now dd-fours '' 'echo "$C" | dd of="$F" bs=4 conv=notrunc'
	way closed dd-bytes-no-newline '' 'printf %s "$C" | dd of="$F" bs=1'
	way now dd-seek '' 'echo "$C" | dd of="$F" bs=7 seek=3'
	way now dd-append '' 'echo "$C" | dd of="$F" bs=5 oflag=append conv=notrunc'
	way now sed-w '' 'echo "$C" | sed "w $F"'
	way now awk-print awk 'awk "BEGIN { print ENVIRON[\"C\"] >ENVIRON[\"F\"] }"'
	way now awk-parts awk 'awk "BEGIN { printf \"%s\", ENVIRON[\"A\"]; fflush(); print ENVIRON[\"B\"] }" >"$F"'
	way now gawk-parts gawk 'gawk "BEGIN { printf \"%s\", ENVIRON[\"A\"] >ENVIRON[\"F\"]; fflush(); print ENVIRON[\"B\"] >ENVIRON[\"F\"] }"'
	way closed awk-no-newline awk 'awk "BEGIN { printf \"%s\", ENVIRON[\"C\"] >ENVIRON[\"F\"] }"'
	way now busybox-tee busybox 'echo "$C" | busybox tee "$F"'
	way now busybox-dd busybox 'echo "$C" | busybox dd of="$F" bs=3'
	way now busybox-cp busybox 'echo "$C" >"$D/c"; busybox cp "$D/c" "$F"'
	way now busybox-awk busybox 'busybox awk "BEGIN { printf \"%s\", ENVIRON[\"A\"]; fflush(); print ENVIRON[\"B\"] }" >"$F"'
	way now xargs '' 'echo "$C" | xargs >"$F"'
	way now xargs-each '' '{ echo "$A"; echo "$B"; } | xargs -n 9 >"$F"'
	way now head '' 'yes "$C" | head -n 1 >"$F"'
	way now tail '' 'echo "$C" | tail -n 1 >"$F"'
	way now sort-o '' 'echo "$C" | sort -o "$F"'
	way now uniq '' 'echo "$C" | uniq - "$F"'
	way closed tr '' 'echo "$C" | tr -d "\n" >"$F"'
	way now stdbuf stdbuf 'echo "$C" | stdbuf -o0 sed s/x/x/ >"$F"'
	way now env '' 'env printf "%s\n" "$C" >"$F"'
	way now base64 base64 'echo "$C" | base64 | base64 -d >"$F"'
	way now xxd xxd 'echo "$C" | xxd | xxd -r - "$F"'
	way now curl curl 'echo "$C" >"$D/c"; curl -sS -o "$F" "file://$D/c"'
	way now sponge sponge 'echo "$C" | sponge "$F"'
	way now rsync-inplace rsync 'echo "$C" >"$D/c"; rsync --inplace "$D/c" "$F"'
	way now socat socat 'echo "$C" | socat -u - "OPEN:$F"'
	way now socat-slow socat '{ printf %s "$A"; sleep 0.2; echo "$B"; } | socat -u - "OPEN:$F"'
	way now socat-both-ways socat '{ printf %s "$A"; sleep 0.2; echo "$B"; } | socat - "OPEN:$F"'
	way now nohup '' 'nohup echo "$C" >"$F"'
	way now timeout '' 'timeout 10 echo "$C" >"$F"'

	# --- editors ---

	way now ed ed 'printf "%s\n" "0a" "$C" . "1,1w $F" Q >"$D/s"; ed -s <"$D/s"'
	way now ex ex 'echo "$C" >"$D/c"; ex -s -u NONE -c "w! >> $F" -c "q!" "$D/c"'
	way now vim vim 'echo "$C" >"$D/c"; vim -es -u NONE -c "w! $F" -c "q!" "$D/c"'

	# --- languages ---

	way now perl-print perl 'perl -e "open F, q(>), \$ENV{F}; print F \$ENV{C}, qq(\n); close F or die"'
	way now perl-syswrite perl 'perl -e "open F, q(>), \$ENV{F}; for (qw(A B)) { syswrite F, \$ENV{\$_} or die } syswrite F, qq(\n) or die"'
	way now perl-unbuffered perl 'perl -e "open F, q(+<), \$ENV{F}; select F; \$| = 1; print \$ENV{A}; print \$ENV{B}, qq(\n) or die"'
	way closed perl-no-newline perl 'perl -e "open F, q(>), \$ENV{F}; print F \$ENV{C}; close F or die"'
	way now lua lua5.4 'lua5.4 -e "local f = io.open(os.getenv(\"F\"), \"w\"); f:write(os.getenv(\"C\"), \"\n\"); assert(f:close())"'
	way now lua-unbuffered lua5.4 'lua5.4 -e "local f = io.open(os.getenv(\"F\"), \"w\"); f:setvbuf(\"no\"); f:write(os.getenv(\"A\")); assert(f:write(os.getenv(\"B\"), \"\n\"))"'
	way now tcl tclsh 'echo "set f [open \$env(F) w]; puts -nonewline \$f \$env(A); flush \$f; puts \$f \$env(B); close \$f" | tclsh'
	way now ruby ruby 'ruby -e "File.write(ENV[%q(F)], ENV[%q(C)] + %Q(\n))"'
	way now php php 'php -r "exit(file_put_contents(getenv(\"F\"), getenv(\"C\") . \"\n\") ? 0 : 1);"'
	way now node-sync node 'node -e "fs.writeFileSync(process.env.F, process.env.C + String.fromCharCode(10))"'
	way now node-append node 'node -e "fs.appendFileSync(process.env.F, process.env.C + String.fromCharCode(10))"'
	way now node-stream node 'node -e "const s = fs.createWriteStream(process.env.F); s.write(process.env.A); s.write(process.env.B); s.end(String.fromCharCode(10))"'
	way closed node-no-newline node 'node -e "fs.writeFileSync(process.env.F, process.env.C)"'
}

# python SCRIPT: with F, C, A, B as bytes.
cat >"$TMP/python" <<'EOT'
import os, sys
F, A, B, C = (os.environb[k] for k in (b'F', b'A', b'B', b'C'))
def opened(flags = os.O_WRONLY): return os.open(F, flags)
def write(fd, *parts):
    for part in parts: assert os.write(fd, part) == len(part)
exec(sys.argv[1])
EOT
export PY="python3 -I $TMP/python"
python() { # EXPECTED NAME SCRIPT
	export SCRIPT=$3
	# shellcheck disable=SC2016 # the row's
	way "$1" "$2" python3 '$PY "$SCRIPT"'
}
python now python-text 'with open(F, "w") as f: f.write(C.decode() + "\n")'
python now python-print 'with open(F, "w") as f: print(C.decode(), file=f)'
python now python-line-buffered 'with open(F, "w", buffering=1) as f: f.write(A.decode()); f.write(B.decode() + "\n")'
python now python-flushed 'with open(F, "w") as f: f.write(A.decode()); f.flush(); f.write(B.decode() + "\n")'
python now python-unbuffered 'f = open(F, "wb", buffering=0); f.write(A); f.write(B); f.write(b"\n")'
python closed python-path 'import pathlib; pathlib.Path(os.fsdecode(F)).write_text(C.decode())'
python now python-update 'f = open(F, "r+"); f.write(C.decode() + "\n"); f.flush(); assert "slot=" in f.read()'
python now python-half-reads-nothing 'f = opened(os.O_RDWR); write(f, A); assert os.read(f, 99) == b""; write(f, B + b"\n"); assert b"slot=" in os.read(f, 99)'
python now write-bytes 'write(opened(), *(C[i:i + 1] for i in range(len(C))), b"\n")'
python now write-append 'write(opened(os.O_WRONLY | os.O_APPEND), A, B, b"\n")'
python now write-truncates-between 'f = opened(); write(f, A); os.ftruncate(f, 0); write(f, B + b"\n")'
python now writev 'assert os.writev(opened(), [A, B, b"\n"]) == len(C) + 1'
python now pwrite 'f = opened(); os.pwrite(f, A, 9); os.pwrite(f, B + b"\n", 9 + len(A))'
python now sendfile 'f = os.memfd_create("c"); write(f, C + b"\n"); assert os.sendfile(opened(), f, 0, len(C) + 1) == len(C) + 1'
python now splice 'r, w = os.pipe(); write(w, C + b"\n"); assert os.splice(r, opened(), len(C) + 1) == len(C) + 1'
python now two-duplicates 'f = opened(); g = os.dup(f); write(f, A); os.close(f); write(g, B + b"\n")'
python now two-processes 'f = opened(); write(f, A)
if os.fork() == 0: write(f, B + b"\n"); os._exit(0)
assert os.wait()[1] == 0'
python now two-lines-two-commands 'f = opened(); write(f, A, B + b"\n")
try: write(f, C + b"\n")
except FileExistsError: pass
else: assert False'
python closed closed-by-the-last 'f = opened(); write(f, C)
if os.fork() == 0: os.close(f); os._exit(0)
assert os.wait()[1] == 0'

# --- what is none ---

python none two-lines-in-one 'write(opened(), C + b"\n" + C + b"2\n")'
python none a-second-line-begun 'f = opened()
for part in (C + b"\nconns=9 ", C + b"\n"):
    try: write(f, part)
    except OSError: continue
    assert False'
python none carriage-return 'write(opened(), C + b"\r\n")'
python none with-nul 'write(opened(), C + b"\0")'
python none with-tab 'write(opened(), A + b"\t" + B + b"\n")'
python none byte-order-mark 'write(opened(), b"\xef\xbb\xbf" + C + b"\n")'
python none too-long-in-parts 'f = opened(); write(f, C)
for part in (b" " * 4096, b"\n", C + b"\n"):
    try: write(f, part)
    except OSError: continue
    assert False'
python none written-elsewhere 'f = opened(); os.pwrite(f, A, 0)
try: os.pwrite(f, B + b"\n", 0)
except OSError: pass
else: assert False'
python none begun-twice 'f = opened(); g = opened(); write(f, A); write(g, B + b"\n")'
python none two-writers-at-once 'f = opened(); write(f, A); write(f, C); write(f, b" ", B, b"\n")'
python none killed-behind-a-blank 'write(opened(), A); os.kill(os.getpid(), 9)'
# shellcheck disable=SC2016 # the variables are those of the rows
{
	way none timeout-behind-a-blank '' 'timeout -s KILL 0.3 sh -c "{ printf %s \"\$A\"; sleep 9; echo \"\$B\"; } >\"\$F\""; :'
	way nothing sed-i '' 'echo "$C" | sed -i "s/.*/$C/" "$F"'
	way nothing mv '' 'echo "$C" >"$D/c"; mv "$D/c" "$F"'
	way nothing install '' 'echo "$C" >"$D/c"; install "$D/c" "$F"'
	way nothing ln '' 'echo "$C" >"$D/c"; ln -sf "$D/c" "$F"'
	way nothing rsync rsync 'echo "$C" >"$D/c"; rsync "$D/c" "$F"'
	if is_root; then
		way none another-user setpriv '( printf %s "$A"; setpriv --reuid=65534 --clear-groups printf "%s\n" "$B" ) >"$F"'
	else
		t_skip "P35_another-user" "only root can become one"
	fi
}

# --- what happens in between ---

begin() { # NAME: half a command, which FD keeps open
	exec {FD}>"$F"
	printf 'to=app as=%s rights=call ' "$1" >&"$FD"
}

finish() { # NAME
	printf 'conns=7\n' >&"$FD" && exec {FD}>&- && granted "$1" && rmdir "$caps/$1"
}

kill_broker() {
	local before=$BROKER
	kill -9 "$BROKER"
	wait_for 10 another_broker "$before"
}

begin killed
t_ok "P14_P35_the_broker_is_killed" kill_broker
t_is "P14_P35_half_of_it_was_not_done" "" "$(ls "$caps")"
t_ok "P14_P35_the_next_one_has_the_half" finish killed

begin upgraded
kill -HUP "$KEEPER"
t_ok "P35_an_upgrade" wait_for 30 grep -q 'upgraded: ' "$TMP/log"
t_ok "P35_the_next_binary_has_the_half" finish upgraded
harness_pids

before=$(refusals)
begin closed
t_ok "P14_P35_killed_again" kill_broker
exec {FD}>&-
t_ok "P14_P35_the_next_one_tells_of_the_close" wait_for 10 refused_since "$before"
t_is "P14_P35_and_does_nothing" "" "$(ls "$caps")"

# The slot ends while a command of it waits, and so does a session.
mkdir "$CAPFS/sessions/short"
echo 'to=short rights=call,grant' >"$F"
exec {FD}>"$CAPFS/sessions/short/caps/date/grant"
printf 'to=nobody ' >&"$FD"
rmdir "$CAPFS/sessions/short/caps/date" "$CAPFS/sessions/short"
t_fails ESTALE "P35_its_session_has_ended" bash -c "printf 'conns=7\n' >&$FD"
exec {FD}>&-

# Halves without end: who leaves them pays, and is told; the root goes on, and all is given back.
cat >"$TMP/many" <<'EOT'
import errno, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
fds = []
try:
    while len(fds) < 10000:
        fds.append(os.open(sys.argv[1], os.O_WRONLY))
        os.write(fds[-1], b'conns=7 ' * 500)
except OSError as e:
    print(errno.errorcode[e.errno], len(fds), flush=True)
sys.stdin.read()
EOT
mkdir "$CAPFS/sessions/many"
mkfifo "$TMP/go"
used=$(quota ram used "$CAPFS/sessions/many/quota")
if have python3; then
	python3 -I "$TMP/many" "$CAPFS/sessions/many/transfer_quota" <"$TMP/go" >"$TMP/many.out" &
	many=$!
	exec {FD}>"$TMP/go"
	t_ok "P35_halves_are_bounded" wait_for 60 grep -q EDQUOT "$TMP/many.out"
	t_is "P35_nobody_else_is_refused" 0 "$(begin other && finish other; echo $?)"
	exec {FD}>&-
	wait "$many"
	given_back() { [ "$(quota ram used "$CAPFS/sessions/many/quota")" -le $((used + 200000)) ]; }
	t_ok "P35_and_given_back" wait_for 30 given_back
else
	t_skip "P35_halves_are_bounded" "no python3"
fi
t_ok "P35_the_session_ends" rmdir "$CAPFS/sessions/many"
t_unlike "no_complaint_in_the_log" 'BUG|assert' cat "$TMP/log"

harness_stop
t_done
