#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P23
#
# What a server says that it has refused: an event of who asked, and of nobody else.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start
serve echo --inetd -- /bin/cat
serve other --inetd -- /bin/cat
"$CAP" session create app >/dev/null
"$CAP" session create app/sub >/dev/null
"$CAP" session create b >/dev/null
app=$CAPFS/sessions/app
node=$CAPFS/entrypoints/echo/refusal
say 'to=app as=e' "$CAPFS/caps/echo/grant"
say 'to=b as=o' "$CAPFS/caps/other/grant"
id=$(field id "$app/caps/e/info")
foreign=$(field id "$CAPFS/sessions/b/caps/o/info")

t_is "its_usage" "id=N call=TEXT [error=ERRNO] [uid=N]" "$(cat "$node")"
t_ok "a_refusal" say "id=$id uid=990 call=POST%20/containers/create" "$node"
t_like "it_is_an_event_of_the_session" \
	'^[^ ]+ e=[0-9]+ refused call session=init/app slot=e uid=990 EPERM: POST /containers/create$' cat "$app/events"
t_like "and_of_those_above" ' refused call session=init/app slot=e uid=990 EPERM: POST /containers/create$' \
	cat "$CAPFS/events"
t_unlike "not_of_others" 'refused call' cat "$CAPFS/sessions/b/events" "$app/sessions/sub/events"
t_ok "without_a_user" say "id=$id call=GET%20/x" "$node"
t_like "none_is_told" ' refused call session=init/app slot=e EPERM: GET /x$' cat "$app/events"
t_ok "the_same_again" say "id=$id call=GET%20/x" "$node"
t_like "is_the_same_line" ' refused call session=init/app slot=e EPERM: GET /x ×2$' cat "$app/events"
t_like "it_is_counted" '^capfs_operations_total\{.*"refusal".* 3$' cat "$CAPFS/metrics"

# --- what is none

say "to=app/sub" "$app/caps/e/grant"
t_fails ENOENT "P23_of_a_capability_to_something_else" say "id=$foreign call=x" "$node"
t_fails ENOENT "P23_of_what_is_no_capability" say "id=1 call=x" "$node"
t_fails ENOENT "P23_of_what_is_nothing" say "id=999999 call=x" "$node"
for words in "id=$id" "call=x" "id=$id call=" "id=x call=x" "id=$id uid=x call=x" "id=$id call=x y" ''; do
	t_fails EINVAL "no_refusal: $words" say "$words" "$node"
done
t_unlike "P23_they_left_nothing" 'refused call' cat "$CAPFS/sessions/b/events"

# --- what would be another line, or a field

lines=$(grep -c . "$app/events")
t_ok "P23_a_line_in_it" say "id=$id call=a%0a2026-11-30T00:00:00Z%20e=1%20grant%20session=init/b" "$node"
t_is "P23_is_one_line" $((lines + 1)) "$(grep -c . "$app/events")"
t_unlike "P23_whose_fields_are_ours" ' (session=init/b|e=1 grant)' tail -n 1 "$app/events"
t_like "P23_it_names_the_slot" ' refused call session=init/app slot=e EPERM: ' tail -n 1 "$app/events"
t_ok "P23_what_is_no_pair_stands_for_itself" say "id=$id call=100%zz%2" "$node"
t_like "P23_as_it_is" ' EPERM: 100%zz%2$' tail -n 1 "$app/events"

# --- a server that says it all the time

flood() {
	local i n=0
	for i in $(seq 100); do
		say "id=$id call=flood-$i" "$node" 2>/dev/null && n=$((n + 1))
	done
	echo "$n"
}
begin=$EPOCHREALTIME
said=$(flood)
seconds=$((${EPOCHREALTIME%.*} - ${begin%.*} + 1))
t_ok "P23_it_says_at_most_so_many_a_second: $said in $seconds" test "$said" -le $((32 * (seconds + 1)))
if [ "$said" -lt 100 ]; then
	t_like "P23_which_its_own_session_reads" ' refused refusal .* EDQUOT: more than 32 in a second' cat "$CAPFS/events"
fi
t_like "P23_and_pushes_out_nobodys_line" ' grant session=init/b slot=o ' cat "$CAPFS/sessions/b/events" "$CAPFS/events"

# --- nobody else says it

if is_root; then
	chown 12345:12345 "$app"
	t_fails EACCES "P23_who_may_call_has_no_word" as 12345 bash -c "echo id=$id call=x >$node"
	t_fails EACCES "P23_nor_anybody_else" as 4711 bash -c "echo id=$id call=x >$node"
fi
end_job "$SERVER"
wait_for 10 detached other
t_fails ECONNREFUSED "without_a_server" say "id=$foreign call=x" "$CAPFS/entrypoints/other/refusal"
t_ok "revoked" say 1 "$CAPFS/caps/echo/revoke"
t_fails ENOENT "P23_of_one_that_has_ended" say "id=$id call=x" "$node"
harness_stop
t_done
