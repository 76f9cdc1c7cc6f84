#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P31 P33 P34
#
# What programs that know nothing of capabilities take for granted of sockets and files: a socket that
# others have only looked at is no obstacle to the next one, and numbers of a file system add up.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start
ask() { # SLOT TEXT
	timeout 60 "$PROBE" ask "$app/caps/$1/socket" "$2"
}
serve echo --inetd -- /bin/cat
"$CAP" session create app caps=16 sockets=2 >/dev/null
app=$CAPFS/sessions/app
for name in a b c d; do
	say "to=app as=$name" "$CAPFS/caps/echo/grant"
done

# --- listeners give way

t_ok "slots_are_looked_at" ls -l "$app/caps/a/socket" "$app/caps/b/socket"
t_is "P31_the_next_one_can_be_connected_to" x "$(ask c x)"
t_ok "all_are_looked_at" ls -lR "$app"
for name in a b c d; do
	t_is "P31_so_can_$name" "$name" "$(ask $name "$name")"
done
t_unlike "P31_nobody_was_refused" refused cat "$app/events"

# One listener, and somebody who is connected there: nothing is left for another.
mkfifo "$TMP/in"
"$PROBE" inherit "$app/caps/a/socket" bash -c 'echo >&3; read -r -u 3 && echo there; read -r' <"$TMP/in" >"$TMP/out" &
HARNESS_JOBS+=("$!")
exec 7>"$TMP/in"
wait_for 30 grep -q there "$TMP/out"
t_is "P31_a_refusal_is_not_that_of_nobody_serves" "0 " "$(ask b x; echo "$? ")"
t_like "P31_it_is_an_event" 'refused connect session=init/app slot=b uid=[0-9]+ EDQUOT: init/app sockets limit=2 used=2' \
	cat "$app/events"
t_like "P31_it_is_counted" '^capfs_connections_refused_total\{reason="sockets"\} [1-9]' cat "$CAPFS/metrics"
t_like "names_are_there_all_the_same" ' socket$' ls -l "$app/caps/b"
exec 7>&-
t_ok "P31_until_there_is_room" wait_for 30 ask b x

# --- names that are held

# As a container has it: the socket itself is mounted as a file, or kept as a descriptor.
if is_root; then
	: >"$TMP/held"
	mount --bind "$app/caps/d/socket" "$TMP/held"
	held() { # TEXT
		timeout 60 "$PROBE" ask "$TMP/held" "$1"
	}
else
	mkfifo "$TMP/asked"
	"$PROBE" keep "$app/caps/d/socket" bash -c 'while read -r text; do
		timeout 60 "$0" ask /proc/self/fd/3 "$text"; echo " $text $?"; done' "$PROBE" <"$TMP/asked" >"$TMP/held" &
	HARNESS_JOBS+=("$!")
	exec 8>"$TMP/asked"
	held() { # TEXT
		echo "$1" >&8
		wait_for 60 grep -q " $1 [0-9]*\$" "$TMP/held" && sed -n "s/^\($1\) $1 0\$/\1/p" "$TMP/held"
	}
fi
# Without a look-up of the name nothing but connect(2) tells.
comes() { # TEXT
	local i
	for i in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(held "$1$i")" = "$1$i" ] && return
		sleep 0.5
	done
	return 1
}
t_ok "P33_a_held_name" comes first
for round in 1 2 3; do
	end_job "$SERVER"
	[ $round -ne 2 ] || { kill -9 "$BROKER" && wait_for 10 harness_pids; }
	serve echo --inetd -- /bin/cat
	t_ok "P33_for_server_$round" comes "server$round"
done
# Others take its listener's place, and it has had its second; it comes back, as they are only looked at.
t_ok "others_are_looked_at" ls -l "$app/caps/a/socket" "$app/caps/b/socket" "$app/caps/c/socket"
sleep 2
t_ok "P33_after_its_listener_gave_way" comes again
if is_root; then umount "$TMP/held"; else exec 8>&-; fi

# --- a server that is not there

job "$CAP" serve late --proxy="$TMP/late.sock" $(is_root && echo --lend-root) 2>"$TMP/late"
LATE=$!
wait_for 10 served late
t_ok "it_is_said_at_once" wait_for 30 grep -q "late.sock: ENOENT: no server is there; meanwhile callers are refused" "$TMP/late"
t_is "who_calls_is_refused" "" "$(timeout 60 "$PROBE" ask "$CAPFS/caps/late/socket" x)"
# Whoever looks at a slot sees that nobody is behind it, and that somebody is, and since when.
is_like() { grep -q "$@"; }
echo "to=app" >"$CAPFS/caps/late/grant"
t_ok "a_slot_says_so" wait_for 30 is_like '^served=unreachable' "$app/caps/late/info"
t_like "and_the_entrypoint_why" '^state=served .* health=ENOENT$' cat "$CAPFS/entrypoints/late/info"
kill -9 "$BROKER" && wait_for 10 harness_pids
t_like "another_broker_knows_it_too" '^served=unreachable' cat "$app/caps/late/info"
job "$PROBE" serve "$TMP/late.sock"
BACKEND=$!
t_ok "until_it_comes" wait_for 30 is_like '^served=yes' "$app/caps/late/info"
for words in error=EWHAT error=E 'ok error=EIO' fine; do
	t_fails EINVAL "no_word_for_it: $words" bash -c "echo $words >$CAPFS/entrypoints/late/health"
done
t_ok "anybody_who_serves_may_say_so" say error=EIO "$CAPFS/entrypoints/late/health"
t_like "and_it_is_shown" '^state=served .* health=EIO$' cat "$CAPFS/entrypoints/late/info"
say ok "$CAPFS/entrypoints/late/health"
t_ok "which_is_said" grep -q "late.sock: its server is there" "$TMP/late"
end_job "$BACKEND"
t_is "the_next_caller_finds_it_gone" "" "$(timeout 60 "$PROBE" ask "$CAPFS/caps/late/socket" x)"
t_ok "and_then_everybody_sees_it" wait_for 30 is_like '^served=unreachable' "$app/caps/late/info"
t_is "these_are_events" "ENOENT ok EIO ok ECONNREFUSED" \
	"$(sed -n 's/.* health .* entrypoint=late health=\([A-Za-z]*\).*/\1/p' "$CAPFS/events" | tail -5 | xargs)"
rm "$TMP/late.sock"
end_job "$LATE"
t_ok "without_the_relay_nobody_serves" wait_for 30 is_like '^served=no' "$app/caps/late/info"
t_fails ECONNREFUSED "and_nobody_has_a_word_on_it" bash -c "echo ok >$CAPFS/entrypoints/late/health"
t_like "which_is_told" 'refused health .* ECONNREFUSED: nobody serves it' tail -n 1 "$CAPFS/events"
job "$CAP" serve late --proxy="$TMP/late.sock" --wait-backend=60 $(is_root && echo --lend-root) 2>"$TMP/late"
LATE=$!
wait_for 10 served late
t_ok "that_they_wait" wait_for 30 grep -q "no server is there; meanwhile callers wait" "$TMP/late"
timeout 60 "$PROBE" ask "$CAPFS/caps/late/socket" waited >"$TMP/waited" &
waiting=$!
HARNESS_JOBS+=("$waiting")
t_ok "somebody_waits" wait_for 30 grep -q '^capfs_connections [1-9]' "$CAPFS/metrics"
job "$PROBE" serve "$TMP/late.sock"
BACKEND=$!
wait "$waiting"
t_is "and_is_served_when_it_comes" waited "$(cat "$TMP/waited")"
end_job "$BACKEND"
timeout 60 "$PROBE" ask "$CAPFS/caps/late/socket" again >"$TMP/waited" &
waiting=$!
HARNESS_JOBS+=("$waiting")
rm "$TMP/late.sock"
job "$PROBE" serve "$TMP/late.sock"
BACKEND=$!
wait "$waiting"
t_is "or_comes_again" again "$(cat "$TMP/waited")"
end_job "$LATE"
end_job "$BACKEND"

# A socket of the other type is found out before anybody calls, and stays so whoever calls.
job "$PROBE" serve "$TMP/stream.sock"
BACKEND=$!
wait_for 10 test -S "$TMP/stream.sock"
serve wrong --socket=seqpacket --proxy="$TMP/stream.sock"
t_ok "the_other_type_is_no_health" wait_for 10 is_like 'health=EPROTOTYPE$' "$CAPFS/entrypoints/wrong/info"
end_job "$SERVER"
serve right --proxy="$TMP/stream.sock"
t_is "who_is_looked_at_serves_on" again "$(timeout 60 "$PROBE" ask "$CAPFS/caps/right/socket" again)"
t_unlike "and_is_well" health cat "$CAPFS/entrypoints/right/info"
end_job "$SERVER"
end_job "$BACKEND"

# --- numbers

read -r total used free < <(df --output=itotal,iused,iavail "$CAPFS" | tail -n 1)
t_ok "P34_what_is_used_and_free_is_all" test $((used + free)) -eq "$total" -a "$used" -gt 0 -a "$free" -gt 0

harness_stop
t_done
