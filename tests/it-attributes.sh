#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G01
#
# What the kernel has cached of a file's attributes is what the daemon would say now, after whatever was done: modes,
# owners, links, sizes, and times. A grant and a new limit leave those of directories and commands as they are.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
stat --cached=never / >/dev/null 2>&1 || t_skip "stat(1) cannot ask for what is not cached"
harness_start

t_ok "a_service" serve kv --inetd -- /bin/cat
mkdir "$CAPFS/sessions/a" "$CAPFS/sessions/b" "$CAPFS/sessions/a/sessions/c"
a=$CAPFS/sessions/a
say 'to=a rights=call,grant,reduce,replicate,share' "$CAPFS/caps/kv/grant"

# Of files that change without notice nothing is cached.
attributes() { # cached|never
	find "$CAPFS" \( -name metrics -o -name events -o -name faults -o -name graph.dot -o -name checkpoint \) -prune -o \
		-print0 | xargs -0 stat --cached="$1" -c '%n %a %u %g %h %s %.9Y'
}
same() {
	attributes default >/dev/null # from here on they are cached
	"$@" || return 1
	attributes default >"$TMP/cached"
	attributes never >"$TMP/now"
	diff "$TMP/cached" "$TMP/now"
}
mtime() { stat --cached=never -c %.9Y "$1"; }

t_ok "after_a_grant" same say 'to=c as=g calls=9 conns=4' "$a/caps/kv/grant"
t_ok "after_an_adjust" same say 'to=c conns=2' "$a/caps/kv/adjust"
t_ok "after_an_adjust_of_rights" same say 'to=c rights=grant' "$a/caps/kv/adjust"
t_ok "after_a_reduction" same say calls=90 "$a/caps/kv/reduce"
t_ok "after_a_split" same say 'as=part calls=5' "$a/caps/kv/split"
t_ok "after_a_replica" same say 'as=copy' "$a/caps/kv/replicate"
t_ok "after_a_share" same say 'with=children' "$a/caps/kv/share"
t_ok "after_another_share" same say 'with=subtree conns=1' "$a/caps/kv/share"
t_ok "after_the_end_of_the_share" same say 'with=none' "$a/caps/kv/share"
t_ok "after_a_link" same ln "$a/caps/kv/socket" "$a/caps/kv/as/other"
t_ok "after_its_end" same rm "$a/caps/kv/as/other"
t_ok "after_a_name" same mv "$a/caps/copy" "$a/caps/renamed"
t_ok "after_a_mode_of_a_slot" same chmod 640 "$a/caps/kv"
t_ok "after_a_call" same "$PROBE" ask "$a/caps/part/socket" x
t_ok "after_quota_was_lent" same say 'to=c caps=2' "$a/transfer_quota"
t_ok "after_a_session" same mkdir "$a/sessions/d"
t_ok "after_its_end_too" same rmdir "$a/sessions/d"
t_ok "after_a_refusal" same eval '! say "to=nobody" "$a/caps/kv/grant" 2>/dev/null'
t_ok "after_a_drop" same rmdir "$a/caps/renamed"
t_ok "after_a_revocation" same say 1 "$a/caps/kv/revoke"

t_is "the_grant_of" "$(say 'to=c' "$a/caps/kv/grant" && echo done)" done
command=$(mtime "$a/caps/kv/grant") directory=$(mtime "$a/caps/kv") info=$(mtime "$a/caps/kv/info")
say 'to=c as=more' "$a/caps/kv/grant"
say calls=80 "$a/caps/kv/reduce"
t_is "a_command_stays" "$(mtime "$a/caps/kv/grant")" "$command"
t_is "so_does_a_directory" "$(mtime "$a/caps/kv")" "$directory"
t_ok "what_is_shown_changes" test "$(mtime "$a/caps/kv/info")" != "$info"
say rights=call,grant "$a/caps/kv/reduce"
t_ok "with_its_rights_a_command_changes" test "$(mtime "$a/caps/kv/grant")" != "$command"

# Who looks a name up may run long after he was answered, and brings the kernel what has gone since. Here he has what
# another leaves of a CPU, and the slot goes about when he is answered: earlier after a look that found it, else later.
cpu=$(taskset -cp $$ | sed 's/.*: //; s/[,-].*//')
taskset -c "$cpu" timeout 300 sh -c 'while :; do :; done' &
busy=$!
coproc slow {
	chrt -i -p 0 "$BASHPID" && taskset -cp "$cpu" "$BASHPID" >/dev/null
	while read -r name; do
		test -e "$name"
		echo $?
	done
}
found='' milliseconds=30
for round in {1..50}; do
	name=$a/sessions/c/caps/late$round
	say "to=c as=late$round" "$a/caps/kv/grant"
	echo "$name" >&"${slow[1]}"
	sleep "$(printf 0.%03d "$milliseconds")"
	say 1 "$a/caps/kv/revoke"
	read -r -u "${slow[0]}" missed
	((milliseconds += missed ? 2 : milliseconds > 1 ? -1 : 0))
	test -e "$name" && found+=" $round"
done
kill "$busy"
wait "$busy" 2>/dev/null
t_is "what_has_gone_is_found_by_nobody" "" "$found"

harness_stop
t_done
