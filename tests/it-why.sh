#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P40
#
# capctl why, sessions 12 and 15 of the administrator's: each refusal that there is is made to happen. What connect(2) meets
# is what `why` says, and what it says is to be done is pasted into a shell: then it is open, and connects.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=1024,threads=64
CALLER=$(program tests/caller)
LIMITED=$(program tests/limited)
ci=$CAPFS/sessions/ci

# What is pasted is typed by somebody who has capctl.
mkdir "$TMP/bin"
ln -s "$(cd "$(dirname "$CAP")" && pwd)/${CAP##*/}" "$TMP/bin/capctl"
PATH=$TMP/bin:$PATH

why() { # WORD…
	timeout 20 "$CAP" why "$@" >"$TMP/why" 2>&1
}
remedy() { # [FILE]
	sed -n 's/^To make it so: //p' "$TMP/${1:-why}"
}
paste() { # [FILE]
	bash -c "$(remedy "$@")" >>"$TMP/pasted" 2>&1
}
last() { # SLOT_DIR
	tail -n 1 "$1/why"
}
# connects SLOT_DIR: with connect(2), and somebody answers. Of what is refused there are other ways to know.
connects() {
	[ "$("${HOW:-asks}" "$1" 2>&1)" = "${SAYS:-z}" ]
}
asks() {
	timeout 20 "$PROBE" ask "$1/socket" z
}
calls() { # … of a service that speaks the library's protocol
	echo "0 1" | timeout 20 "$CALLER" call "${1%/caps/*}" "${1##*/}"
}
is_open() { # SESSION SLOT SLOT_DIR
	why "$1" "$2" && [ "$(last "$3")" = open ] && connects "$3"
}
is_stopped() { # SESSION SLOT SLOT_DIR RULE ERRNO
	why "$1" "$2"
	[ $? -eq 1 ] && [ "$(last "$3")" = "refused $4 $5" ] &&
		grep -Eq "^  $4 +.*<- refused here" "$TMP/why" && ! connects "$3"
}
# stopped NAME SESSION SLOT RULE ERRNO
stopped() {
	local dir=$CAPFS/sessions/${2//\//\/sessions\/}/caps/$3
	t_ok "P40_$1_is_refused" is_stopped "$2" "$3" "$dir" "$4" "$5"
	cp "$TMP/why" "$TMP/said"
}
# … and then it is made so.
made_so() { # NAME SESSION SLOT
	local dir=$CAPFS/sessions/${2//\//\/sessions\/}/caps/$3
	why "$2" "$3"
	t_ok "P40_$1_has_a_remedy" test -n "$(remedy)"
	t_ok "P40_$1_is_made_so" paste
	t_ok "P40_$1_is_open" wait_for 5 is_open "$2" "$3" "$dir"
}

"$CAP" session create ci caps=64 sockets=64 ram=1M threads=4
"$CAP" session create ci/in caps=16 sockets=16 ram=128K threads=1
t_ok "a_service" serve docker --inetd -- /bin/cat
"$CAP" grant docker ci rights=call,grant,reduce
"$CAP" grant ci:docker in
in=$ci/sessions/in
t_ok "P40_open" is_open ci docker "$ci/caps/docker"
t_like "P40_whom_it_reaches" '^init/ci/caps/docker id=[0-9]+ reaches object [0-9]+ of init/docker \(served\)$' cat "$TMP/why"
t_like "P40_who_gave_it" '^granted from init/caps/docker by uid:[0-9]+ at ' cat "$TMP/why"
t_ok "P40_by_its_path" "$CAP" why "$ci/caps/docker"
t_ok "P40_of_the_session_itself" "$CAP" why docker
t_ok "P40_from_inside" env CAPFS="$ci" "$CAP" why docker
t_unlike "names_reach_down_alone" 'To make it so' env CAPFS="$ci" "$CAP" why docker

# --- limits, its own and an ancestor's

"$CAP" adjust docker ci calls=2 >/dev/null
connects "$ci/caps/docker"
connects "$ci/caps/docker"
connects "$ci/caps/docker"
stopped calls ci docker calls EDQUOT
t_like "P40_as_in_the_picture" '^  calls +limit=2 used=2 left=0   <- refused here, last 20..-[-0-9T:]*Z$' cat "$TMP/said"
t_like "P40_the_command" '^To make it so: capctl adjust docker ci calls=4$' cat "$TMP/said"
connects "$ci/caps/docker"
why ci docker
t_like "P40_how_often" 'Z \(×[0-9]+\)$' cat "$TMP/why"
stopped an_ancestors_calls ci/in docker calls EDQUOT
t_unlike "an_ancestor_is_not_named_where_it_is_not_seen" '^To make it so|init/ci/caps' env CAPFS="$in" "$CAP" why docker
t_like "but_what_is_the_matter_is_said" 'cannot be seen from here' env CAPFS="$in" "$CAP" why docker
made_so an_ancestors_calls ci/in docker
used=$(sed -n 's/^calls limit=[0-9]* used=\([0-9]*\) .*/\1/p' "$ci/caps/docker/info")
"$CAP" adjust docker ci calls=$((used + 1)) >/dev/null
"$CAP" adjust ci:docker in calls=1 >/dev/null
connects "$in/caps/docker"
stopped two_limits ci/in docker calls EDQUOT
t_like "from_the_top" '^To make it so: capctl adjust docker ci calls=[0-9]+ && capctl adjust ci:docker in calls=[0-9]+$' cat "$TMP/said"
made_so two_limits ci/in docker
"$CAP" adjust docker ci calls=none >/dev/null
"$CAP" adjust ci:docker in calls=none >/dev/null
"$CAP" adjust ci:docker in calls=2 >/dev/null
while connects "$in/caps/docker"; do :; done
"$CAP" adjust docker ci calls=none >/dev/null
"$CAP" adjust docker ci calls="$(sed -n 's/^calls .*used=\([0-9]*\) .*/\1/p' "$in/caps/docker/info")" >/dev/null 2>&1
stopped one_below_the_same ci/in docker calls EDQUOT
made_so one_below_the_same ci/in docker
"$CAP" adjust ci:docker in calls=none >/dev/null 2>&1
"$CAP" adjust docker ci calls=none conns=1 >/dev/null
job "$PROBE" flood "$ci/caps/docker/socket" 1 60 >/dev/null
wait_for 10 grep -q 'used=1 left=0' "$ci/caps/docker/info"
stopped conns ci docker conns EDQUOT
made_so conns ci docker
"$CAP" adjust docker ci conns=none rate=1/s >/dev/null
rate_is_used() { # while this second lasts
	connects "$ci/caps/docker"
	is_stopped ci docker "$ci/caps/docker" rate EDQUOT && cp "$TMP/why" "$TMP/said"
}
t_ok "P40_rate_is_refused" wait_for 10 rate_is_used
t_like "P40_rate_has_a_remedy" '^To make it so: capctl adjust docker ci rate=2/s$' cat "$TMP/said"
t_ok "P40_rate_is_made_so" paste said
t_ok "P40_rate_is_open" wait_for 5 is_open ci docker "$ci/caps/docker"
"$CAP" adjust docker ci rate=none >/dev/null

# --- the right

"$CAP" adjust docker ci rights=grant,reduce >/dev/null
stopped right ci docker right EPERM
made_so right ci docker
"$CAP" adjust docker ci rights=grant >/dev/null
stopped an_ancestors_right ci/in docker right EPERM
made_so an_ancestors_right ci/in docker

# --- two of one session are told apart

"$CAP" grant docker ci as=twin calls=1 >/dev/null
connects "$ci/caps/twin"
stopped one_of_two ci twin calls EDQUOT
t_like "by_its_id" '^To make it so: capctl adjust docker --id=[0-9]+ calls=2$' cat "$TMP/said"
made_so one_of_two ci twin

# --- quota

"$CAP" session create poor caps=8 sockets=1 ram=64K threads=1 inflight=8
"$CAP" grant docker poor
stopped sockets poor docker sockets EDQUOT
made_so sockets poor docker
"$CAP" session create slow caps=8 sockets=8 ram=64K threads=1 inflight=1
"$CAP" grant docker slow
stopped inflight slow docker inflight EDQUOT
made_so inflight slow docker
fetches() {
	CAPFS=${1%/caps/*} timeout 20 "$CAP" fetch "${1##*/}" cat
}
echo z >"$TMP/posted"
"$CAP" post box <"$TMP/posted"
"$CAP" session create still caps=8 sockets=8 ram=64K threads=1 inflight=0
"$CAP" grant box still
HOW=fetches
stopped fetching still box inflight EDQUOT
made_so fetching still box
unset HOW

# --- mode bits

if is_root; then
	others() { # UID: connects
		[ "$(as "$1" timeout 20 "$PROBE" ask "$ci/caps/docker/socket" z 2>&1)" = z ]
	}
	t_ok "P40_root_may" why ci docker
	t_like "P40_and_is_told" '^  mode +0700 owner root, you are root$' cat "$TMP/why"
	why ci docker --user=12345
	t_is "P40_another_user_may_not" 1 $?
	t_like "P40_mode" '^  mode +0700 owner root, for 12345   <- EACCES here$' cat "$TMP/why"
	t_ok "P40_and_cannot" not others 12345
	t_ok "P40_mode_is_made_so" paste
	t_ok "P40_and_he_may" why ci docker --user=12345
	t_ok "P40_and_can" others 12345
	t_ok "P40_nobody_else" not others 54321
	why ci docker --user=54321
	t_is "P40_as_it_says" 1 $?
	t_is "P40_who_is_not_known_is_neither" "2 capctl: there is no user 'nobody-of-all'" \
		"$(why ci docker --user=nobody-of-all; echo "$? $(grep capctl: "$TMP/why")")"
fi

# --- what is not there

"$CAP" revoke docker --from=poor
why poor docker
t_is "P40_revoked_is_gone" 1 $?
t_like "P40_there_is_none" '^init/poor has no slot docker$' cat "$TMP/why"
t_like "P40_its_last_event" '^  last +.* revoke session=init slot=docker .* to=poor$' cat "$TMP/why"
t_fails ENOENT "P40_connect_says_so" "$PROBE" ask "$CAPFS/sessions/poor/caps/docker/socket" z
made_so "granted_again" poor docker
rmdir "$CAPFS/sessions/poor/caps/docker"
why poor docker
t_like "P40_dropped" '^  last +.* drop session=init/poor slot=docker ' cat "$TMP/why"
made_so dropped poor docker
"$CAP" adjust docker poor expires=1 >/dev/null
gone() { ! test -e "$CAPFS/sessions/poor/caps/docker"; }
t_ok "it_expires" wait_for 5 gone
why poor docker
t_like "P40_expired" '^  last +.* expire session=init/poor slot=docker ' cat "$TMP/why"
made_so expired poor docker
"$CAP" grant docker poor as=tools >/dev/null
"$CAP" revoke docker --from=poor
why poor tools
t_like "P40_it_came_from_a_slot_of_another_name" '^  above +docker, from which it came$' cat "$TMP/why"
made_so under_its_own_name poor tools
t_is "no_such_session" "1 There is no session init/none." "$(why none x; echo "$? $(cat "$TMP/why")")"
why ci nothing
t_is "nobody_has_one" 1 $?
t_like "and_that_is_said" 'No session above has a slot of that name' cat "$TMP/why"

# --- asking, session 12

"$CAP" replicate docker smtp rights=call,grant
echo 'init/poor mail smtp calls=5' >"$CAPFS/policy"
why poor mail
t_like "P40_a_policy_would_give_it" '^  policy +line 1 of init: init/poor mail smtp calls=5$' cat "$TMP/why"
made_so by_policy poor mail
t_like "P40_S12_the_rule_that_gave_it" '^granted by policy line 1 of init: init/poor mail smtp calls=5$' cat "$TMP/why"
echo 'init/poor smtp deny' >>"$CAPFS/policy"
why poor smtp
t_like "P40_a_rule_that_denies" '^  policy +line 2 of init: init/poor smtp deny$' cat "$TMP/why"
exec 4<>"$ci/request"
echo 'name=smtp' >&4
why ci smtp
t_like "P40_a_request_waits" '^  waiting +id=[0-9]+ from=init/ci type=object name=smtp ' cat "$TMP/why"
made_so request ci smtp
exec 4<&-

# --- servers

"$CAP" serve held --hold=1 --inetd -- /bin/cat &
held=$!
HARNESS_JOBS+=("$held")
wait_for 10 served held
"$CAP" grant held ci
"$CAP" grant docker slow as=stuck
t_ok "held_is_open" is_open ci held "$ci/caps/held"
end_job "$held"
wait_for 10 detached held
job "$PROBE" flood "$ci/caps/held/socket" 1 60 >/dev/null
wait_for 10 grep -q 'waiting=1' "$CAPFS/entrypoints/held/info"
stopped waiting ci held waiting EDQUOT
t_like "P40_waiting_for_a_server" "^Start a server for it, as by .capctl serve held …'" cat "$TMP/said"
serve held --inetd -- /bin/cat
t_ok "P40_waiting_is_made_so" wait_for 5 is_open ci held "$ci/caps/held"
end_job "$SERVER"
t_ok "nobody_waits_for_another_one" wait_for 10 grep -q '^served refused no' "$ci/caps/held/why"
stopped served ci held served ECONNREFUSED
serve held --inetd -- /bin/cat
t_ok "P40_served_is_made_so" wait_for 5 is_open ci held "$ci/caps/held"

# --- one that takes nothing

"$CAP" session create slower caps=8 sockets=8 ram=64K threads=1
"$CAP" grant held slower
takes=$(pgrep -P "$SERVER")
kill -STOP "$takes"
job "$PROBE" flood "$CAPFS/sessions/slower/caps/held/socket" 8 60 >/dev/null 2>&1
wait_for 10 grep -q '^crowd refused' "$CAPFS/sessions/slower/caps/held/why"
stopped crowd slower held crowd EDQUOT
t_like "P40_crowd_what_to_do" '^Its server does not take the connections' cat "$TMP/said"
kill -CONT "$takes"
t_ok "P40_crowd_is_over" wait_for 10 grep -q '^crowd ok' "$CAPFS/sessions/slower/caps/held/why"

# --- caveats, of which the daemon knows whether their server is told

job "$LIMITED" api caveats=yes
limited=$!
wait_for 10 served api
"$CAP" grant api ci only='GET /a'
SAYS='0:GET /a'
t_ok "P40_with_caveats" is_open ci api "$ci/caps/api"
t_like "P40_they_are_shown" '^  only +only="GET /a"$' cat "$TMP/why"
end_job "$limited"
wait_for 10 detached api
job "$LIMITED" api
limited=$!
wait_for 10 served api
stopped only ci api only ECONNREFUSED
t_like "P40_only_what_to_do" '^Start a server for it, as by .capctl serve api --caveats …' cat "$TMP/said"
end_job "$limited"
wait_for 10 detached api
job "$LIMITED" api caveats=yes
wait_for 10 served api
t_ok "P40_only_is_made_so" wait_for 5 is_open ci api "$ci/caps/api"

# --- what a server counts, and what that costs its session

HOW=calls SAYS=ok=1
"$CAP" session create srv caps=8 sockets=8 ram=8K threads=2
job "$CALLER" serve "$CAPFS/sessions/srv" rpc
wait_for 10 served rpc "$CAPFS/sessions/srv"
stopped pages srv rpc pages EDQUOT
made_so pages srv rpc
job "$CALLER" serve "$CAPFS" rpc
wait_for 10 served rpc
"$CAP" grant rpc ci calls=1 methods=0-3
calls "$ci/caps/rpc" >/dev/null
stopped counted_calls ci rpc calls EDQUOT
made_so counted_calls ci rpc

# --- what the daemon answers: a session, and what is reached through that

speaks() {
	timeout 20 "$(program tests/speak)" "$1/socket" <<<"read label"
}
HOW=speaks SAYS='ok init/ci'
"$CAP" originate session theci of=ci >/dev/null
"$CAP" grant theci slower rights=control calls=1
slower=$CAPFS/sessions/slower
t_ok "P40_a_session" is_open slower theci "$slower/caps/theci"
stopped a_sessions_calls slower theci calls EDQUOT
made_so a_sessions_calls slower theci
"$CAP" grant theci slower as=reach rights=call,replicate
"$CAP" grant docker ci as=seed rights=call,replicate
say 'target=seed as=via' "$slower/caps/reach/replicate"
HOW=asks SAYS=z
t_ok "P40_what_is_reached" is_open slower via "$slower/caps/via"
"$CAP" adjust theci --id="$(field id "$slower/caps/reach/info")" rights=replicate >/dev/null
stopped what_is_reached_no_more slower via right EPERM
t_like "P40_through_which" '^What it was reached through does not let it pass any more' cat "$TMP/said"
"$CAP" adjust theci --id="$(field id "$slower/caps/reach/info")" rights=call,replicate >/dev/null
t_ok "P40_it_is_reached_again" wait_for 5 is_open slower via "$slower/caps/via"

# --- one that accepts by itself

serve own --listen -- "$PROBE" serve >/dev/null
"$CAP" grant own ci
t_ok "P40_by_its_own_listener" is_open ci own "$ci/caps/own"
end_job "$SERVER"
wait_for 10 detached own
stopped its_own_listener ci own served ECONNREFUSED
serve own --listen -- "$PROBE" serve >/dev/null
t_ok "P40_its_own_listener_is_made_so" wait_for 5 is_open ci own "$ci/caps/own"
end_job "$SERVER"

# --- a visit

cd "$TMP" || exit 2
"$(program examples/notes)" notes >/dev/null &
notes=$!
HARNESS_JOBS+=("$notes")
wait_for 10 served notes
"$CAP" grant notes ci
kill -STOP "$notes"
say 'as=mine ram=4K' "$ci/caps/notes/visit"
HOW=calls SAYS=never
stopped visit ci mine visit ECONNREFUSED
t_ok "P40_visit_is_made_so" paste
t_ok "P40_visit_is_open" why ci mine
kill -CONT "$notes"

harness_stop
t_done
