#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time: 300
#
# Other names of a slot's socket, for clients that insist on one, and paths that are too long for a client:
# the examples of capfs(5).

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)
harness_start --quota=caps=256,sockets=128
ask() { # SOCKET TEXT
	timeout 60 "$PROBE" ask "$@" 2>&1
}
serve echo --inetd -- /bin/cat
"$CAP" session create app caps=16 sockets=16 >/dev/null
app=$CAPFS/sessions/app
slot=$CAPFS/caps/echo
say to=app "$slot/grant"
theirs=$app/caps/echo

# --- made and found

t_is "nothing_at_first" "" "$(ls -A "$slot/as")"
t_ok "a_link_is_one" ln "$slot/socket" "$slot/as/.s.PGSQL.5432"
t_is "it_answers" x "$(ask "$slot/as/.s.PGSQL.5432" x)"
t_ok "a_command_makes_one" "$CAP" alias echo S.gpg-agent
t_is "it_answers_too" y "$(ask "$slot/as/S.gpg-agent" y)"
t_is "both_are_listed" ".s.PGSQL.5432 S.gpg-agent" "$(cd "$slot/as" && echo .s* S*)"
t_is "they_are_sockets_to_readdir" 2 "$(find "$slot/as" -type s | wc -l)"
t_is "all_are_one_inode" "$(stat -c %i "$slot/socket" "$slot/socket" "$slot/socket")" \
	"$(stat -c %i "$slot/as/.s.PGSQL.5432" "$slot/as/S.gpg-agent" "$slot/socket")"
t_is "readdir_says_so_too" 2 "$(ls -Ai "$slot/as" | grep -c "$(stat -c %i "$slot/socket")")"
t_is "which_counts_its_links" 3 "$(stat -c %h "$slot/socket")"
t_is "a_directory_without_others" 2 "$(stat -c %h "$slot/as")"
t_is "which_the_slot_counts" 3 "$(stat -c %h "$slot")"

# --- what is derived has them

t_is "what_was_derived_has_them" "$(ls -A "$slot/as")" "$(ls -A "$theirs/as")"
t_is "they_lead_to_its_own_socket" "$(stat -c %i "$theirs/socket")" "$(stat -c %i "$theirs/as/.s.PGSQL.5432")"
t_is "and_answer" z "$(ask "$theirs/as/.s.PGSQL.5432" z)"
t_ok "its_session_may_add" ln "$theirs/socket" "$theirs/as/X5"
t_is "which_is_its_own" "2 3" "$(ls -A "$slot/as" | wc -l) $(ls -A "$theirs/as" | wc -l)"
t_fails EPERM "it_cannot_take_the_others" rm -f "$theirs/as/S.gpg-agent"
t_fails EPERM "nor_by_its_control" "$CAP" unalias app:echo S.gpg-agent
t_fails EEXIST "nor_have_the_same_name" "$CAP" alias app:echo S.gpg-agent
paid() {
	quota ram used "$app/quota"
}
before=$(paid)
t_ok "a_command_takes_one" "$CAP" unalias app:echo X5
t_is "who_gave_it_has_paid" $((before - 512)) "$(paid)"
t_fails ENOENT "it_is_gone" ask "$theirs/as/X5" x
before=$(paid)
t_ok "one_at_the_source" "$CAP" alias echo X6
t_is "is_paid_there" "$before" "$(paid)"
t_is "and_reaches_who_has_it_already" x "$(ask "$theirs/as/X6" x)"
t_is "what_others_gave_is_not_in_their_count" 1 "$(stat -c %h "$theirs/socket")"
t_ok "it_is_removed_as_a_file" rm "$slot/as/X6"
t_fails ENOENT "at_the_source" ask "$slot/as/X6" x
t_fails ENOENT "and_where_it_was_found_before" ask "$theirs/as/X6" x
t_is "the_links_say_so" "3 1" "$(stat -c %h "$slot/socket" "$theirs/socket" | tr '\n' ' ' | sed 's/ $//')"
t_is "the_socket_stays" x "$(ask "$theirs/socket" x)"

# --- refused

tries() {
	echo "$1" | "$PROBE" try
}

t_fails EPERM "only_a_socket_is_linked" ln "$slot/info" "$slot/as/i"
t_fails EPERM "only_that_of_the_slot" ln "$slot/socket" "$theirs/as/other"
t_fails EPERM "only_in_as" ln "$slot/socket" "$slot/other"
t_fails EPERM "no_directory_there" mkdir "$slot/as/d"
t_fails EPERM "no_symbolic_link" ln -s ../socket "$slot/as/s"
t_fails EEXIST "a_name_once" ln "$slot/socket" "$slot/as/S.gpg-agent"
t_fails EPERM "files_are_not_removed" rm -f "$slot/info"
t_like "nor_renamed" 'EXDEV|Invalid cross-device' tries "rename $slot/as/S.gpg-agent $slot/as/S2"
long=$(printf '%064d' 0)
for name in ..x 'a b' "a=b" "0$long" .; do
	t_fails EINVAL "no_name_like_$name" "$CAP" alias echo "$name"
done
t_fails EINVAL "nor_by_a_link" ln "$slot/socket" "$slot/as/a b"
t_like "it_is_an_event" "refused alias session=init slot=echo at=caps/echo/as/a.x20b uid=[0-9]+ EINVAL: 'a b' is not a valid name" \
	cat "$CAPFS/events"
t_ok "the_longest" ln "$slot/socket" "$slot/as/$long"
for i in 1 2 3 4 5; do
	ln "$slot/socket" "$slot/as/n$i"
done
t_fails EMLINK "one_more_than_eight" "$CAP" alias echo n6
t_is "they_stay" 8 "$(ls -A "$slot/as" | wc -l)"
rm "$slot/as/$long" "$slot"/as/n?
"$CAP" session create poor caps=2 sockets=2 ram=2K >/dev/null
say 'to=poor rights=call,transfer' "$slot/grant"
while "$CAP" alias poor:echo "p$((n = ${n:-0} + 1))" 2>/dev/null && [ "$n" -lt 6 ]; do :; done
t_fails EDQUOT "more_than_its_session_has" "$CAP" alias poor:echo more
t_is "and_gets_none" $((n - 1 + 2)) "$(ls -A "$CAPFS/sessions/poor/caps/echo/as" | wc -l)"
rmdir "$CAPFS/sessions/poor/caps/echo" "$CAPFS/sessions/poor"

# --- what survives what

names() {
	ls -A "$slot/as" "$theirs/as"
}
ln "$theirs/socket" "$theirs/as/own"
before=$(names) inode=$(stat -c %i "$theirs/as/own")
still() { # WHAT
	t_is "$1_leaves_them" "$before" "$(names)"
	t_is "$1_leaves_the_inode" "$inode" "$(stat -c %i "$theirs/as/own")"
	t_is "after_$1_it_answers" "$1" "$(ask "$theirs/as/own" "$1")"
	t_is "after_$1_as_the_source" "$1" "$(ask "$slot/as/.s.PGSQL.5432" "$1")"
}
kill -9 "$BROKER"
wait_for 10 answers
still crash
kill -9 "$BINDER"
wait_for 10 answers
still binder
mv "$slot" "$CAPFS/caps/renamed" && slot=$CAPFS/caps/renamed
before=$(names)
still rename
mv "$slot" "$CAPFS/caps/echo" && slot=$CAPFS/caps/echo
before=$(names)
old=$BROKER
upgraded() {
	answers && [ "$BROKER" != "$old" ] && grep -q '^capfs_brokers{reason="upgrade"} 1\|upgraded' "$CAPFS/metrics" "$TMP/log"
}
kill -HUP "$KEEPER"
wait_for 30 upgraded
still upgrade
end_job "$SERVER"
wait_for 10 detached echo
t_fails ECONNREFUSED "without_a_server" ask "$slot/as/.s.PGSQL.5432" x
serve echo --inetd -- /bin/cat
still server
harness_end_daemon
end_job "$SERVER"
harness_start --quota=caps=256,sockets=128
serve echo --inetd -- /bin/cat
still restart

# Names that give way to others for want of sockets are made anew.
"$CAP" session create few caps=4 sockets=2 >/dev/null
few=$CAPFS/sessions/few
for name in a b c; do
	say "to=few as=$name" "$slot/grant"
done
for name in a b c a b c; do
	t_is "a_listener_for_$name" "$name" "$(ask "$few/caps/$name/as/S.gpg-agent" "$name")"
done
"$CAP" session close few --all

# --- transferred, revoked

"$CAP" session create heir caps=4 sockets=4 >/dev/null
"$CAP" replicate echo moving >/dev/null
"$CAP" alias moving mine
t_ok "it_is_transferred" "$CAP" transfer moving heir
t_like "with_its_own" '^mine$' ls -A "$CAPFS/sessions/heir/caps/moving/as"
t_is "which_answers" x "$(ask "$CAPFS/sessions/heir/caps/moving/as/mine" x)"
before=$(quota ram used "$CAPFS/sessions/heir/quota")
t_ok "it_is_theirs_to_remove" rm "$CAPFS/sessions/heir/caps/moving/as/mine"
t_is "and_was_paid_there" $((before - 512)) "$(quota ram used "$CAPFS/sessions/heir/quota")"
exec 5<"$theirs/as"
t_ok "it_is_revoked" "$CAP" revoke echo
t_fails ENOENT "with_its_names" ask "$theirs/as/own" x
t_fails ENOENT "and_those_it_had" ask "$theirs/as/S.gpg-agent" x
t_like "also_for_who_has_it_open" 'ESTALE|ENOENT' "$PROBE" ask "/proc/self/fd/5/own" x
exec 5<&-
t_is "its_ram_comes_back" 0 "$(quota caps used "$app/quota")"

# --- where the kernel asks, modes count

if is_root; then
	stranger=65534
	chmod 711 "$CAPFS" "$CAPFS/sessions" 2>/dev/null
	t_fails EACCES "a_stranger_finds_none" as $stranger "$PROBE" ask "$slot/as/S.gpg-agent" x
	t_fails EACCES "nor_makes_one" as $stranger ln "$slot/socket" "$slot/as/mine"
	chgrp $stranger "$slot" && chmod 770 "$slot"
	t_is "whoever_may_write_connects" x "$(as $stranger timeout 60 "$PROBE" ask "$slot/as/S.gpg-agent" x)"
	t_ok "and_removes" as $stranger rm "$slot/as/S.gpg-agent"
	"$CAP" alias echo S.gpg-agent
else
	t_skip "strangers" "root only"
fi

# --- a server that accepts by itself has one inode for all slots

job "$CAP" serve listening --listen -- "$PROBE" serve
server=$!
t_ok "a_server_that_listens" wait_for 10 served listening
t_ok "has_a_name_more" ln "$CAPFS/caps/listening/socket" "$CAPFS/caps/listening/as/.l"
say to=app "$CAPFS/caps/listening/grant"
t_is "its_alias_answers" x "$(ask "$CAPFS/caps/listening/as/.l" x)"
t_is "in_all_slots" x "$(ask "$app/caps/listening/as/.l" x)"
t_is "and_is_the_one_inode" "$(stat -c %i "$CAPFS/caps/listening/socket")" "$(stat -c %i "$app/caps/listening/as/.l")"
end_job "$server"

# --- clients that insist

if have initdb && have postgres && have psql; then
	user=
	if is_root; then user=daemon; fi
	user() {
		if is_root; then as "$user" env HOME="$TMP" "$@"; else "$@"; fi
	}
	mkdir "$TMP/pg"
	[ -z "$user" ] || chown "$user:" "$TMP/pg"
	(cd / && user initdb -D "$TMP/pg/data" -A trust -U me) >"$TMP/output" 2>&1
	job user postgres -D "$TMP/pg/data" -k "$TMP/pg" -h '' >"$TMP/pg.log" 2>&1
	t_ok "a_postgres" wait_for 60 user psql -h "$TMP/pg" -U me -d postgres -tAc 'select 1'
	chmod 777 "$TMP/pg/.s.PGSQL.5432"
	t_ok "is_served" serve pg --proxy="$TMP/pg/.s.PGSQL.5432"
	say to=app "$CAPFS/caps/pg/grant"
	pg() {
		PGHOST=$1/caps/pg/as timeout 60 psql -U me -d postgres -tAc 'select 6*7' 2>&1
	}
	t_like "psql_does_not_find_it" 'No such file' pg "$CAPFS"
	ln "$CAPFS/caps/pg/socket" "$CAPFS/caps/pg/as/.s.PGSQL.5432"
	t_is "now_it_does" 42 "$(pg "$CAPFS")"
	t_is "so_it_does_in_the_session" 42 "$(pg "$app")"
	rm "$CAPFS/caps/pg/as/.s.PGSQL.5432"
	t_like "until_it_is_removed" 'No such file' pg "$app"
	end_job "$SERVER"
	end_job "$(head -n 1 "$TMP/pg/data/postmaster.pid")"
else
	t_skip "psql" "no PostgreSQL"
fi
in_its_place() { # PLACE NAME
	unshare -rm bash -c 'mount --bind "$1" "$2" && "$3" ask "$2/$4" x' - "$slot/as" "$1" "$PROBE" "$2"
}
mkdir "$TMP/.X11-unix"
"$CAP" alias echo X5
if unshare -rm true 2>/dev/null; then
	t_is "a_bind_mount_has_them" x "$(in_its_place "$TMP/.X11-unix" X5 2>&1)"
else
	t_skip "a_bind_mount_has_them" "no user namespaces"
fi
ln -s "$slot/as/X5" "$TMP/X5"
t_is "so_has_a_symbolic_link" x "$(ask "$TMP/X5" x)"

# --- paths that are too long

deep=$CAPFS
for name in a-department a-team-of-it its-application the-database; do
	"$CAP" --cap="$deep" session create $name >/dev/null
	"$CAP" --cap="$deep" grant echo $name rights=call,grant >/dev/null
	deep=$deep/sessions/$name
done
deep=$deep/caps/echo
t_ok "a_path_that_is_too_long" test ${#deep} -gt 107
client() {
	echo x | timeout 60 socat -t 30 - "UNIX-CONNECT:$1" 2>&1
}
if have socat; then
	t_unlike "is_none_for_clients" '^x$' client "$deep/socket"
	t_is "in_the_directory_it_is_short" x "$(cd "$deep" && client socket)"
	t_is "by_a_descriptor_it_is_short" x "$(exec 5<"$deep" && client /proc/self/fd/5/socket)"
	t_is "and_so_are_aliases" x "$(exec 5<"$deep" && client /proc/self/fd/5/as/X5)"
else
	t_skip "is_none_for_clients" "no socat"
fi

harness_stop
t_done
