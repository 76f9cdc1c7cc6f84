#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: G52 P14 P35
#
# The file `policy`: written at once, added to by >>, kept over crashes; what it takes away is gone when the write
# returns, with its connections.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=4096,sockets=1024

job "$(program tests/call-service)" stream smtp
t_ok "a_service" wait_for 10 served smtp
for s in app b; do
	mkdir "$CAPFS/sessions/$s"
done
app=$CAPFS/sessions/app
b=$CAPFS/sessions/b
policy=$CAPFS/policy

get() { # SESSION NAME: what comes of it
	(
		exec 3<>"$1/request" || exit
		echo "name=$2 timeout=1" >&3 || exit
		timeout 20 cat <&3 2>&1
	)
}
kill_broker() {
	local old=$BROKER
	kill -9 "$BROKER"
	wait_for 10 new_broker "$old"
}
new_broker() {
	harness_pids && [ "$BROKER" != "$1" ] && timeout 5 cat "$CAPFS/version"
}

t_is "there_is_none_at_first" '' "$(cat "$policy")"
t_ok "it_is_written" sh -c "printf '# mail\ninit/app mail smtp\n' >$policy"
t_like "what_it_says_is_given_at_once" '^slot=mail id=' get "$app" mail
t_like "and_nothing_else" 'timed out' get "$b" mail
t_ok "more_is_added" sh -c "echo 'init/b/* mail smtp calls=9' >>$policy"
t_is "behind_what_is_there" "# mail
init/app mail smtp
init/b/* mail smtp calls=9" "$(cat "$policy")"
t_ok "what_was_given_stays" test -e "$app/caps/mail"
t_like "LABEL_is_covered_by_what_is_below_it" '^slot=mail id=' get "$b" mail
t_like "info_names_the_rule" '^policy=init line=3$' cat "$b/caps/mail/info"
t_fails EINVAL "two_rules_that_are_alike" sh -c "/bin/echo 'init/app mail smtp calls=1' >>$policy"
t_like "are_named" 'refused policy session=init uid=[0-9]+ EINVAL: line 4: line 2 says already' tail -3 "$CAPFS/events"
t_ok "P14_a_broker_is_killed" kill_broker
t_is "P14_the_policy_is_kept" 3 "$(wc -l <"$policy")"
t_ok "P14_and_what_it_gave" test -e "$app/caps/mail" -a -e "$b/caps/mail"
rmdir "$b/caps/mail"
t_like "P14_and_gives" '^slot=mail id=' get "$b" mail
exec 4<>"$app/caps/mail/call"
echo hello >&4
t_ok "G52_one_line_less" sh -c "echo 'init/b mail smtp calls=10' >$policy"
t_ok "G52_takes_away_what_it_covered" test ! -e "$app/caps/mail"
t_ok "G52_and_nothing_else" test -e "$b/caps/mail"
exec 4>&-

# In pieces, as languages and cat(1) write: a line feed at the end of one ends it.
t_fails EINVAL "P35_what_follows_a_whole_one" sh -c "exec 3<>$policy; echo '# all of it' >&3; /bin/echo '# more' >&3"
t_ok "P35_pieces_without_a_line_feed_belong_together" sh -c "(printf '* a '; printf 'smtp\n* b'; printf ' smtp\n') >$policy"
t_is "P35_as_one" "* a smtp
* b smtp" "$(cat "$policy")"
t_ok "one_that_is_large" sh -c "(echo '* mail smtp'; yes '# a line that says nothing' | head -2000) >$TMP/large; cat $TMP/large >$policy"
t_ok "is_there_as_it_was" cmp "$TMP/large" "$policy"
t_fails EMSGSIZE "one_that_is_too_large" sh -c "yes '# a line that says nothing' | head -4000 >$TMP/larger; LC_ALL=C cat $TMP/larger >$policy"
t_ok "changes_nothing" cmp "$TMP/large" "$policy"
t_ok "none_again" sh -c "echo >$policy"
t_ok "takes_all_away" test ! -e "$b/caps/mail"
harness_stop
t_done
