#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P18 P19
#
# What people and their tools do with a tree: find, ls, du, tar, completion. Nothing hangs, nothing
# changes, what was asked once is not asked again, and many slots are listed in linear time.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=300000,sockets=512,ram=1G

t_ok "a_service" serve date --inetd -- /bin/date
mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/app/sessions/inner"
say 'to=app rights=call,grant' "$CAPFS/caps/date/grant"
say 'to=inner' "$CAPFS/sessions/app/caps/date/grant"
! is_root || chown 12345 "$CAPFS/sessions/app" "$CAPFS/sessions/app/sessions/inner"

requests() {
	awk '/^capfs_requests_total{front="fuse"/ { n += $NF } END { print n }' "$CAPFS/metrics"
	sleep 0.1 # the kernel's RELEASE comes when it likes, and counts
}

# P19: cat everything.
cat_all() (
	set -o pipefail
	timeout 60 find "$1" -type f -print0 | timeout 60 xargs -0 cat >/dev/null
)
before=$(dump)
t_ok "P19_find_cat_by_the_owner" cat_all "$CAPFS"
if is_root; then
	export -f cat_all
	t_ok "P19_find_cat_by_a_user_in_his_session" as 12345 bash -c "cat_all '$CAPFS/sessions/app'"
	as 54321 bash -c "cat_all '$CAPFS'" >/dev/null 2>&1
	t_ok "P19_and_by_a_stranger_it_ends" test $? -lt 124
fi
t_is "P19_nothing_has_changed" "$before" "$(dump)"
t_ok "ls_lR" timeout 30 ls -lR "$CAPFS"
t_ok "du" timeout 30 du -a "$CAPFS"
t_ok "stat_f" stat -f "$CAPFS"
t_ok "df" df "$CAPFS"
t_ok "find_ls" timeout 30 find "$CAPFS" -ls
t_ok "grep_r" timeout 30 grep -rs init "$CAPFS/sessions"
t_like "tar_takes_the_texts" '^init/app$' sh -c \
	"cd '$CAPFS' && tar cf - --ignore-failed-read sessions/app/label 2>/dev/null | tar xOf -"
t_ok "test_s_sees_a_text" test -s "$CAPFS/caps/date/info"
t_is "st_size_is_the_length" "$(wc -c <"$CAPFS/caps/date/info")" "$(stat -c %s "$CAPFS/caps/date/info")"
t_is "link_counts_of_directories" "$((2 + $(find "$CAPFS/sessions" -mindepth 1 -maxdepth 1 | wc -l)))" \
	"$(stat -c %h "$CAPFS/sessions")"
t_like "every_socket_is_shown_as_one" '^srw' ls -l "$CAPFS/caps/date/socket"
t_is "names" "$(echo caps checkpoint confine control entrypoints events faults graph.dot label originate policy \
	quota request requests sessions share state threads transfer_quota visits yield)" \
	"$(cd "$CAPFS/sessions/app" && echo *)"

# Asked once, not asked again. A read of `metrics` costs requests of its own, always the same number.
requests >/dev/null
cost() { # CMD…
	local a b c
	"$@" >/dev/null
	"$@" >/dev/null
	a=$(requests)
	b=$(requests)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		"$@" >/dev/null
	done
	c=$(requests)
	# Per run: one more or less in all is a RELEASE or FORGET of the counting itself.
	echo $(((c - b - (b - a) + 5) / 10))
}
# What was looked at before lets listeners go for a while, of which the kernel is told.
costs() { # N CMD…
	[ "$(cost "${@:2}")" -eq "$1" ]
}
t_ok "a_repeated_stat_costs_no_request" wait_for 30 costs 0 stat "$CAPFS/caps/date/info"
t_ok "a_repeated_stat_of_a_socket_costs_no_request" wait_for 30 costs 0 stat "$CAPFS/caps/date/socket"
t_ok "a_repeated_ls_costs_no_request" wait_for 30 costs 0 ls "$CAPFS/sessions/app/caps"
# One text tells what would happen now, and is as long as that.
t_ok "a_repeated_ls_l_costs_no_request_but_for_why" wait_for 30 costs 1 ls -l "$CAPFS/sessions/app/caps/date"
# Two texts tell of all sessions below, and change with any of them.
t_ok "but_for_what_tells_of_all_below" wait_for 30 costs 2 ls -l "$CAPFS/sessions/app"
# find(1) asks once for the kind of the file system (statfs), and for these: two of each session, one of each slot.
n_restless=$((2 * $(find "$CAPFS/sessions" -name graph.dot | wc -l) + $(find "$CAPFS/sessions" -name why | wc -l)))
t_ok "a_repeated_find_costs_no_other_request" wait_for 30 costs $((1 + n_restless)) find "$CAPFS/sessions" -ls
# And what has changed is seen at once.
say 'to=app as=fresh' "$CAPFS/caps/date/grant"
t_ok "a_new_slot_is_seen" test -d "$CAPFS/sessions/app/caps/fresh"
t_like "a_new_slot_is_listed" '^fresh$' ls "$CAPFS/sessions/app/caps"
t_like "its_count_is_fresh" '^children=2$' cat "$CAPFS/caps/date/info"
rmdir "$CAPFS/sessions/app/caps/fresh"
t_ok "a_dropped_slot_is_gone" test ! -e "$CAPFS/sessions/app/caps/fresh"
t_unlike "a_dropped_slot_is_not_listed" fresh ls "$CAPFS/sessions/app/caps"
chmod 0750 "$CAPFS/sessions/app"
t_is "a_new_mode_is_seen" 750 "$(stat -c %a "$CAPFS/sessions/app")"
t_is "a_new_mode_is_seen_below" 640 "$(stat -c %a "$CAPFS/sessions/app/transfer_quota")"

# A text is the one of its open, and whole: it grows and shrinks, twice read, open meanwhile, with a size
# told before or not.
texts_of_now() {
	local i want got
	exec 8<"$CAPFS/caps/date/info"
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		say "to=app as=t$i" "$CAPFS/caps/date/grant"
		want=children=$((i + 1))
		[ $((i % 3)) -ne 0 ] || stat "$CAPFS/caps/date/info" >/dev/null
		for _ in 1 2 3; do
			got=$(cat "$CAPFS/caps/date/info")
			grep -qx "$want" <<<"$got" || return 1
			[[ $got == *revocation=full ]] || return 1
		done
	done
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		rmdir "$CAPFS/sessions/app/caps/t$i"
		[ $((i % 3)) -ne 0 ] || stat "$CAPFS/caps/date/info" >/dev/null
		for _ in 1 2 3; do
			[ "$(cat "$CAPFS/caps/date/info" | wc -c)" = "$(stat -c %s "$CAPFS/caps/date/info")" ] &&
				grep -qx "children=$((13 - i))" "$CAPFS/caps/date/info" || return 1
		done
	done
	# Open since the beginning: whole, and not older than its open.
	grep -qx 'children=1' <&8 || return 1
	exec 8<&-
}
t_ok "a_text_is_the_one_of_its_open" texts_of_now

# What it says may depend on others: the use of an ancestor's limit shows in what is left here.
left() {
	for _ in 1 2 3; do
		sed -n 's/^conns.* left=//p' "$CAPFS/sessions/app/sessions/inner/caps/below/info"
	done | tr '\n' ' '
}
t_ok "a_service_that_stays" serve stay --inetd -- /bin/cat
say 'to=app as=above conns=12 rights=call,grant' "$CAPFS/caps/stay/grant"
say 'to=inner as=below conns=11' "$CAPFS/sessions/app/caps/above/grant"
t_is "left_of_a_limit" "11 11 11 " "$(left)"
job "$(program tests/probe)" flood "$CAPFS/sessions/app/caps/above/socket" 3 60 >/dev/null
flood=$!
wait_for 5 grep -q 'used=3' "$CAPFS/sessions/app/caps/above/info"
t_is "less_is_left_by_an_ancestor" "9 9 9 " "$(left)"
end_job "$flood"
wait_for 5 grep -q 'used=0' "$CAPFS/sessions/app/caps/above/info"
t_is "and_again_more" "11 11 11 " "$(left)"
rmdir "$CAPFS/sessions/app/caps/above"

# Many slots: listed whole, each once, in a time that grows as their number does.
mass() { # FIRST LAST
	timeout 120 "$(program tests/mass)" grant "$CAPFS" date app "$1" "$2"
}
list_msec() {
	local start end
	start=$(date +%s%N)
	ls -f "$CAPFS/sessions/app/caps" >"$TMP/list"
	end=$(date +%s%N)
	echo $(((end - start) / 1000000 + 1))
}
say 'to=app caps=150000 ram=200M' "$CAPFS/transfer_quota"
t_ok "ten_thousand_grants" mass 1 10000
small=$(list_msec)
t_is "ten_thousand_are_listed" 10003 "$(sort -u "$TMP/list" | wc -l)"
t_ok "hundred_thousand_grants" mass 10001 100000
large=$(list_msec)
t_is "hundred_thousand_are_listed" 100003 "$(sort -u "$TMP/list" | wc -l)"
echo "# 10 000 slots: $small ms, 100 000 slots: $large ms"
t_ok "listing_is_not_quadratic" test "$large" -lt $((small * 30 + 200))
t_ok "a_slot_among_them_is_found" cat "$CAPFS/sessions/app/caps/m77777/info"
listeners() {
	sed -n 's/^capfs_listeners //p' "$CAPFS/metrics"
}
t_ok "and_none_of_them_costs_a_listener" test "$(listeners)" -lt 50
t_ok "revoke_of_all_of_them" timeout 60 sh -c "echo to=app >'$CAPFS/caps/date/revoke'"
list_msec >/dev/null
t_is "none_is_left" 2 "$(wc -l <"$TMP/list")"
# What is left is the child session.
t_is "and_their_quota_is_back" 1 "$(quota caps used "$CAPFS/sessions/app/quota")"

# P18. All this was nothing to talk about.
sleep 2
t_unlike "P18_an_idle_system_logs_nothing" . cat "$TMP/log"

harness_stop
t_done
