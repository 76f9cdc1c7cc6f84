#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P36
#
# A name that somebody else has chosen becomes no authority: what a program adds by capc_how_add() is one value,
# and where that cannot be nothing is granted, whether the program looks or not.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start

name='guestkv rights=call,grant,replicate,reduce,transfer'
inject() { # WORD…
	timeout 20 "$(program tests/inject)" echo guest "$@"
}
slots() {
	ls "$CAPFS/sessions/guest/caps"
}

job "$(program examples/echo-server)"
wait_for 10 served echo
mkdir "$CAPFS/sessions/guest"

t_is "a_name_is_one" plain "$(inject plain)"
t_is "with_what_was_added_beside_it" "call 1" \
	"$(field rights "$CAPFS/sessions/guest/caps/plain/info") $(sed -n 's/^conns limit=\([0-9]*\).*/\1/p' "$CAPFS/sessions/guest/caps/plain/info")"
t_fails EINVAL "P36_a_name_with_rights_is_none" inject "$name"
t_fails EINVAL "P36_also_for_who_does_not_look" inject "$name" unchecked
t_fails EINVAL "P36_nor_is_no_name" inject "" unchecked
t_is "P36_and_nothing_was_granted" plain "$(slots)"
# A server's own name, of its command line.
t_fails EINVAL "P36_servers_refuse_it_too" timeout 20 "$(program examples/count)" --serve 'x as=y'
t_fails EINVAL "P36_also_with_a_prefix" timeout 20 "$(program examples/log-service)" 60 'web rights=call'

harness_stop
t_done
