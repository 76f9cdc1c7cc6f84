#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G14 G20 G21 G22 G23 P02 P10 S10 S19 S20 S21
#
# An administrator's sessions, as the documentation tells them: a real redis behind capfs-relay, given
# to another uid, inspected, refused, renamed, revoked, watched, and paid for.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
if ! have redis-server || ! have redis-cli; then
	harness_skip "redis-server and redis-cli are not installed"
fi
harness_start --quota=caps=4096,sockets=512

REDIS=$TMP/redis.sock
redis_ping() { # SOCKET [UID]
	if [ $# -gt 1 ]; then
		as "$2" timeout 10 redis-cli -s "$1" ping
	else
		timeout 10 redis-cli -s "$1" ping
	fi
}

redis_start() {
	local dir=$TMP/redis
	mkdir -p "$dir"
	job redis-server --port 0 --unixsocket "$REDIS" --unixsocketperm 700 --save '' --appendonly no \
		--dir "$dir" --logfile "$dir/log"
	wait_for 10 redis_ping "$REDIS"
}

redis_start

# 1. Publish redis, survive its restart.
t_ok "S10_session1_serve_publishes" serve kv --proxy="$REDIS"
t_like "S20_session1_entrypoint_info" \
	'^state=served thread=[0-9]+\.[0-9]+ mode=broker objects=1 connections=0 waiting=0 hold=1024 fds=no$' \
	cat "$CAPFS/entrypoints/kv/info"
t_like "session1_redis_answers" PONG redis_ping "$CAPFS/caps/kv/socket"
badge=$(field badge "$CAPFS/caps/kv/info")

# 2. Give it to my own service, without changing it.
if is_root; then owner=nobody; else owner=$(id -un); fi
t_ok "session2_create_with_owner_and_quota" "$CAP" session create app --owner="$owner" caps=8 sockets=32
t_is "session2_owner" "$owner" "$(stat -c %U "$CAPFS/sessions/app")"
t_ok "session2_grant_with_limit" "$CAP" grant kv app conns=4
slot=$CAPFS/sessions/app/caps/kv
if is_root; then
	t_like "session2_other_uid_uses_it" PONG redis_ping "$slot/socket" "$(id -u nobody)"
	mkdir "$TMP/elsewhere"
	in_sandbox() {
		unshare -m sh -c "mount --bind '$CAPFS/sessions/app' '$TMP/elsewhere' && $1"
	}
	t_like "session2_bind_mounted_session_is_a_tree_of_its_own" PONG in_sandbox \
		"setpriv --reuid=nobody --regid=nogroup --clear-groups redis-cli -s '$TMP/elsewhere/caps/kv/socket' ping"
	t_like "session2_bind_mounted_session_is_complete" '^caps$' in_sandbox \
		"ls '$TMP/elsewhere' && cat '$TMP/elsewhere/label' '$TMP/elsewhere/quota' && test ! -e '$TMP/elsewhere/README'"
else
	t_like "session2_owner_uses_it" PONG redis_ping "$slot/socket"
	t_skip "session2_bind_mounted_session_is_complete" "needs root"
fi

# 3. Limits and use.
mkfifo "$TMP/hold"
job timeout 60 socat "UNIX-CONNECT:$slot/socket" "PIPE:$TMP/hold"
holder=$!
t_ok "session3_use_is_counted" wait_for 5 grep -q 'conns limit=4 used=1' "$slot/info"
order() { # the keys in the order in which they stand
	tr ' ' '\n' <"$1" | sed -n 's/=.*//p' | tr '\n' ' '
}
t_is "S20_session3_info_lines" \
	"type entrypoint object badge socket rights limit used left expires parent id children origin made by served revocation " \
	"$(order "$slot/info")"
t_like "session3_entrypoint" '^entrypoint=init/kv$' cat "$slot/info"
t_is "S19_session3_same_badge" "$badge" "$(field badge "$slot/info")"
t_like "session3_rights" '^rights=call' cat "$slot/info"
t_like "session3_parent" '^parent=init/caps/kv id=[0-9]+$' cat "$slot/info"
t_like "session3_served" '^served=yes revocation=full$' cat "$slot/info"
end_job "$holder"
t_ok "session3_use_is_given_back" wait_for 5 grep -q 'conns limit=4 used=0' "$slot/info"

# 1 again: the service restarts.
end_job "$SERVER"
t_ok "S21_session1_detached" wait_for 10 detached kv
t_like "session1_served_no" '^served=no' cat "$slot/info"
t_ok "G14_S21_session1_serve_takes_it_up_again" serve kv --proxy="$REDIS"
t_like "S21_session1_served_yes" '^served=yes' cat "$slot/info"
t_is "S21_session1_same_badge" "$badge" "$(field badge "$slot/info")"
t_like "G14_session1_client_reconnects" PONG redis_ping "$slot/socket"

# 4. Why was I refused.
mkdir "$CAPFS/sessions/b"
t_ok "session4_grant_call_only" say 'to=b rights=call' "$CAPFS/caps/kv/grant"
t_fails EPERM "session4_no_right_to_grant" say 'to=app rights=call' "$CAPFS/sessions/b/caps/kv/grant"
t_like "session4_the_event_says_why" \
	"^20[0-9-]+T[0-9:]+Z e=[0-9]+ refused grant session=init/b slot=kv uid=$(id -u) EPERM: init/b does not hold right 'grant' on kv" \
	tail -n 1 "$CAPFS/sessions/b/events"

# 5. Name collisions.
t_fails EEXIST "session5_taken_name" say 'to=app as=kv' "$CAPFS/caps/kv/grant"
exec {fd}<>"$CAPFS/caps/kv/grant"
echo to=app >&"$fd"
t_like "session5_result_on_the_same_open_file" '^slot=kv-2 id=[0-9]+$' cat <&"$fd"
exec {fd}>&-
t_ok "session5_mv_renames" mv "$CAPFS/sessions/app/caps/kv-2" "$CAPFS/sessions/app/caps/cache"
t_ok "session5_the_new_name_is_there" test -d "$CAPFS/sessions/app/caps/cache"
t_is "session5_mv_to_another_session" EXDEV "$("$PROBE" try <<<"rename $CAPFS/sessions/app/caps/cache $CAPFS/caps/cache")"

# 6. Who holds what.
t_like "S20_session6_holders" '^id=[0-9]+ init/app/caps/kv rights=[a-z,]+ conns=0/4 by=uid:[0-9]+ since=20[0-9T:-]+Z' \
	cat "$CAPFS/caps/kv/holders"
t_like "S20_session6_renamed" '^id=[0-9]+ init/app/caps/cache rights=' cat "$CAPFS/caps/kv/holders"
t_is "S20_session6_all_of_them" 3 "$(wc -l <"$CAPFS/caps/kv/holders")"

# 7. Take it away from one, and undo.
id=$(field id "$slot/info")
t_ok "session7_revoke_from_one" "$CAP" revoke kv --from=app
t_like "session7_as_the_client_sees_it" 'No such file or directory' redis_ping "$slot/socket"
t_is "session7_others_keep_theirs" 1 "$(wc -l <"$CAPFS/caps/kv/holders")"
t_ok "session7_grant_again" "$CAP" grant kv app conns=4
t_is "S19_session7_same_badge" "$badge" "$(field badge "$slot/info")"
t_ok "session7_a_new_id" test "$id" != "$(field id "$slot/info")"
t_like "session7_works_again" PONG redis_ping "$slot/socket"

# 10. Watch.
job tail -n 0 -f "$CAPFS/events" >"$TMP/events"
sleep 0.5
"$CAP" grant kv app as=watched
t_ok "session10_tail_follows" wait_for 10 grep -Eq \
	"^20[0-9-]+T[0-9:]+Z e=[0-9]+ grant session=init/app slot=watched id=[0-9]+ uid=$(id -u) from=init/caps/kv$" "$TMP/events"
t_ok "session10_cat_ends" timeout 5 cat "$CAPFS/events"

# 11. Out of quota, give, take back.
fill() {
	for _ in 1 2 3 4 5 6 7 8 9; do
		say to=app "$CAPFS/caps/kv/grant" || return 1
	done
}
t_fails EDQUOT "P02_session11_out_of_quota" fill
t_like "P02_session11_names_the_account_and_its_largest" \
	"refused grant session=init slot=kv uid=$(id -u) EDQUOT: init/app caps limit=8 used=8; largest: init/app 8" \
	tail -n 1 "$CAPFS/events"
t_ok "G20_session11_give" say 'to=app caps=8' "$CAPFS/transfer_quota"
t_like "session11_quota" '^caps limit=16 used=8 free=8 lent=0$' cat "$CAPFS/sessions/app/quota"
t_ok "session11_now_it_fits" say to=app "$CAPFS/caps/kv/grant"
before=$(cat "$CAPFS/sessions/app/quota")
t_fails EDQUOT "G21_G22_session11_take_back_too_much" say 'from=app caps=16' "$CAPFS/transfer_quota"
t_is "G21_session11_nothing_moved" "$before" "$(cat "$CAPFS/sessions/app/quota")"
t_ok "session11_take_back_what_is_free" say 'from=app caps=7' "$CAPFS/transfer_quota"
t_fails EDQUOT "G22_session11_never_below_the_first_donation" say 'from=app caps=2' "$CAPFS/transfer_quota"
t_fails EINVAL "P10_G23_session11_overflow_is_refused" say 'to=app caps=18446744073709551616' "$CAPFS/transfer_quota"

harness_stop
t_done
