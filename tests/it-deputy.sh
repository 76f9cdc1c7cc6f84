#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P22 R1 S03 S20
#
# A service that imports what its clients pass on is no deputy of theirs: to name a slot, by a descriptor
# that everybody can have who sees it, is no right to it.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
is_root || harness_skip "root only: it takes two users"
harness_start
importing=$(program tests/importing)
# Where other users can read it.
cp "$importing" "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP"
importing_as() { # UID ARGUMENT…
	as "$1" env LD_LIBRARY_PATH="$TMP" "$TMP/${importing##*/}" "${@:2}"
}
svc=$CAPFS/sessions/svc other=$CAPFS/sessions/other

job "$(program examples/echo-server)" secret
wait_for 10 served secret
mkdir "$svc" "$other"
chown 1234 "$other"
slots() {
	ls "$svc/caps"
}

# What is there without a word: who may pass the root session cannot look into its slots.
t_is "P22_the_root_s_slots_are_searched_by_root" 700 "$(stat -c %a "$CAPFS/caps/secret")"
t_is "P22_the_session_is_passed" 711 "$(stat -c %a "$CAPFS")"
t_fails EACCES "P22_nobody_else_has_a_descriptor_of_one" as 1234 stat "$CAPFS/caps/secret/socket"
t_is "P22_whoever_vouches" "holder=init vouched=1" \
	"$("$importing" identify "$CAPFS/caps/secret/socket" "$svc" | grep -o 'holder=.*')"

# Shown to others: the name leads there, and is no right. Root's service would import anything.
chmod 755 "$CAPFS/caps/secret"
t_ok "R1_others_look" as 1234 cat "$CAPFS/caps/secret/info"
t_is "R1_and_do_not_connect" EACCES \
	"$(echo "connect $CAPFS/caps/secret/socket" | "$(program tests/probe)" -u 1234 try)"
t_like "P22_named_by_others_it_imports_nothing" '^EACCES: nobody vouches' \
	"$importing" named 1234 "$CAPFS/caps/secret/socket" "$svc"
t_is "P22_nothing_was_made" "" "$(slots)"
t_like "P22_an_event_tells" 'refused import session=init/svc id=[0-9]+ uid=0 EACCES' cat "$svc/events"
t_is "P22_nobody_vouches_for_it" "holder=init vouched=0" \
	"$("$importing" identify "$CAPFS/caps/secret/socket" "$svc" | grep -o 'holder=.*')"

# Nor is one that the service has already used for them.
say 'to=svc as=own rights=call,grant' "$CAPFS/caps/secret/grant"
t_like "P22_nor_its_own" '^EACCES: nobody vouches' "$importing" named 1234 "$CAPFS/caps/secret/socket" "$svc"

# Whoever may use it passes it on as before; as a connection, which others cannot have.
t_is "S03_passed_on_by_its_owner" "held own" "$("$importing" node "$CAPFS" secret "$svc")"
rmdir "$svc/caps/own"
t_is "S03_new" "new secret" "$("$importing" node "$CAPFS" secret "$svc")"
t_is "S20_whose_it_was" "holder=init vouched=1" \
	"$("$importing" opened "$CAPFS" secret "$svc" | head -n 1 | grep -o 'holder=.*')"

# A descriptor of when it was shown is as good as one of now.
chmod 700 "$CAPFS/caps/secret"
t_like "P22_what_was_once_shown" '^EACCES: nobody vouches' "$importing" path "$CAPFS/caps/secret/socket" "$svc"
harness_pids
kill -9 "$BROKER"
t_like "P22_over_a_broker_s_death" '^EACCES: nobody vouches' "$importing" path "$CAPFS/caps/secret/socket" "$svc"
t_is "S03_its_owner_still_does" "held secret" "$("$importing" node "$CAPFS" secret "$svc")"

# A session's mode is that of its slots.
say 'to=other as=kv rights=call,grant,replicate' "$CAPFS/caps/secret/grant"
t_is "P22_a_session_that_is_closed" "holder=init/other vouched=1" \
	"$("$importing" identify "$other/caps/kv/socket" "$svc" | grep -o 'holder=.*')"
chmod 711 "$other"
t_is "P22_or_passed" "holder=init/other vouched=1" \
	"$("$importing" identify "$other/caps/kv/socket" "$svc" | grep -o 'holder=.*')"
chmod 755 "$other"
t_is "P22_and_one_that_is_not" "holder=init/other vouched=0" \
	"$("$importing" identify "$other/caps/kv/socket" "$svc" | grep -o 'holder=.*')"
chmod 733 "$other"
say 'as=late' "$other/caps/kv/replicate"
chmod 700 "$other/caps/late"
t_is "P22_nor_what_had_its_mode" "holder=init/other vouched=0" \
	"$("$importing" identify "$other/caps/late/socket" "$svc" | grep -o 'holder=.*')"

# Receivers that have no right either: who cannot connect cannot import.
say 'as=third rights=call,grant' "$CAPFS/caps/secret/replicate"
chmod 744 "$CAPFS/caps/third"
t_fails EACCES "R1_one_that_is_listed_only" as 1234 stat "$CAPFS/caps/third/socket"
chmod 755 "$CAPFS/caps/third"
t_like "R1_a_node_that_may_not_be_written" '^EACCES' \
	importing_as 1234 path "$CAPFS/caps/third/socket" "$other"
say 'as=fourth rights=call,grant' "$CAPFS/caps/secret/replicate"
chmod 733 "$CAPFS/caps/fourth"
t_like "R1_one_that_may" '^new fourth' \
	importing_as 1234 path "$CAPFS/caps/fourth/socket" "$other"
t_ok "R1_its_attributes_mean_nothing_else" not setfattr -n user.x -v 1 "$CAPFS/caps/fourth/socket"

harness_stop
t_done
