#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: R01 R02 R03 R04 S20 S21
#
# Sessions that are written to a file, and made of it again: beside themselves, after they have gone, and by another
# instance of the daemon; and what a file cannot do that somebody has forged.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
have socat || harness_skip "socat is not installed"
harness_start --quota=caps=4096,sockets=2048
cd "$TMP" || exit 99

app=$CAPFS/sessions/app
copy=$CAPFS/sessions/copy
ask() { # SESSION_DIR SLOT
	echo hello | timeout 20 socat -t10 - "UNIX:$1/caps/$2/socket"
}
# What a checkpoint says, without what is another one each time: ids, badges, where and when.
plain() { # FILE
	sed -E '/^of=|^end /d; s/ (id|parent|object)=[0-9]+//g; s/badge=0x[0-9a-f]+//' "$1"
}
# seal FILE: what somebody writes who wants it to be taken.
seal() {
	python3 - "$1" <<'END'
import re, sys
data = re.sub(rb"end sum=.*\n$", b"", open(sys.argv[1], "rb").read())
sum = 0xcbf29ce484222325
for byte in data:
    sum = ((sum ^ byte) * 0x100000001b3) & 0xffffffffffffffff
open(sys.argv[1], "wb").write(data + b"end sum=%016x\n" % sum)
END
}
status_and_sessions() { # CMD…: what a refused restore leaves
	"$@" >/dev/null 2>&1
	echo "$? $(ls "$CAPFS/sessions" | xargs)"
}

serve kv --inetd -- /bin/cat
"$CAP" session create app caps=64 sockets=64 threads=10 ram=4M >/dev/null
"$CAP" session create app/front caps=8 sockets=16 threads=4 ram=600K >/dev/null
"$CAP" session create app/front/deep caps=4 sockets=4 threads=1 ram=100K >/dev/null
job "$CAP" -s app serve db --inetd -- /bin/cat
db=$!
wait_for 10 served db "$app"
{
	"$CAP" grant kv app rights=call,grant conns=10
	"$CAP" grant app:kv front conns=3
	"$CAP" grant app:db front calls=10 as=data expires=7200 rights=call,grant
	"$CAP" grant app/front:data deep calls=5
	"$CAP" replicate app:db spare rights=call,reduce
	"$CAP" reduce app:spare calls=8
	"$CAP" reduce app:db rights=call,reduce,grant
	"$CAP" alias app:db x
} >/dev/null
echo 'net=none' >"$app/sessions/front/confine"
chmod 0750 "$app/sessions/front"
chmod 0640 "$app/caps/spare"
if is_root; then chown 12345:12346 "$app/sessions/front/sessions/deep"; fi
for _ in 1 2 3; do ask "$app/sessions/front" data >/dev/null; done
ask "$app/sessions/front/sessions/deep" data >/dev/null
t_is "calls_are_counted" "4 10" "$(quota calls used "$app/sessions/front/caps/data/info") $(quota calls limit "$app/sessions/front/caps/data/info")"

# --- written ---

mkfifo hold
timeout 60 socat - "UNIX:$app/sessions/front/caps/data/socket" <hold >held 2>/dev/null &
client=$!
HARNESS_JOBS+=("$client")
exec 7>hold
echo first >&7
t_ok "a_client" wait_for 10 grep -q first held
t_like "what_is_not_carried_is_listed" '^left path=\. what=connections name=db n=1$' "$CAP" checkpoint app file
t_is "nobody_else_reads_it" 600 "$(stat -c %a file)"
t_is "the_same_by_the_tree" "$(plain file)" "$(plain "$app/checkpoint")"
echo second >&7
t_ok "R04_the_target_runs_on" wait_for 10 grep -q second held
exec 7>&-
wait "$client"
t_is "R04_and_is_called" hello "$(ask "$app" db)"
t_fails ENOENT "of_no_session" "$CAP" checkpoint nope other
t_fails ENOENT "to_no_directory" "$CAP" checkpoint app nowhere/other
t_ok "a_file_is_replaced" "$CAP" checkpoint app file

# --- restored, beside it ---

"$CAP" restore file copy >said 2>&1
status=$?
t_is "restored" 0 "$status"
"$CAP" checkpoint copy file2 >/dev/null
t_is "R01_the_same_slots_rights_limits_use_owners_quota" "$(plain file)" "$(plain file2)"
t_is "R03_the_counter_goes_on" "5 10 5" "$(quota calls used "$copy/sessions/front/caps/data/info") $(
	quota calls limit "$copy/sessions/front/caps/data/info") $(quota calls left "$copy/sessions/front/caps/data/info")"
t_is "what_it_was_derived_from" "init/copy/sessions/front" "$(sed -n 's,^parent=init/copy/front/caps/data .*,init/copy/sessions/front,p' \
	"$copy/sessions/front/sessions/deep/caps/data/info")"
t_is "outside_the_slot_of_that_name" "init/caps/kv" "$(sed -n 's/^parent=\([^ ]*\).*/\1/p' "$copy/caps/kv/info")"
t_like "which_is_told" '^attached path=\. name=kv to=caps/kv$' cat said
t_is "aliases" "$copy/caps/db/as/x" "$(echo "$copy"/caps/db/as/*)"
t_is "R02_the_entrypoint_waits_for_its_server" "detached" "$(field state "$copy/entrypoints/db/info" | cut -d' ' -f1)"
old=$(sed -n 's/.*badge=\(0x[0-9a-f]*\).*/\1/p' "$app/entrypoints/db/objects")
new=$(sed -n 's/.* badge=\(0x[0-9a-f]*\).*/\1/p' "$copy/entrypoints/db/objects")
t_like "badges_are_translated" "^badge path=\\. entrypoint=db key=0 old=$old new=$new$" cat said
t_is "S19_and_are_others" yes "$([ "$old" != "$new" ] && echo yes)"
t_like "S20_who_reads_the_map" "^key=0 object=[0-9]+ badge=$new socket=stream was=$old slot=init/copy/caps/db$" \
	cat "$copy/entrypoints/db/objects"
job "$CAP" -s copy serve db --inetd -- /bin/cat
wait_for 10 served db "$copy"
t_is "S21_served_by_the_same_entrypoint_in_the_same_slots" hello "$(ask "$copy/sessions/front" data)"
t_is "R03_and_counted" 6 "$(quota calls used "$copy/sessions/front/caps/data/info")"
t_is "the_first_one_is_not_touched" "5" "$(quota calls used "$app/sessions/front/caps/data/info")"

# --- all or nothing ---

sessions=$(ls "$CAPFS/sessions" | xargs)
t_fails EEXIST "a_name_that_is_taken" "$CAP" restore file copy
t_is "leaves_what_has_it" "1 $sessions" "$(status_and_sessions "$CAP" restore file copy)"
t_fails EDQUOT "a_quota_that_is_not_there" "$CAP" restore file third caps=11 sockets=20 threads=5 ram=900K
t_is "leaves_nothing" "1 $sessions" "$(status_and_sessions "$CAP" restore file third caps=11 sockets=20 threads=5 ram=900K)"
head -c -1 file >cut
t_fails 'cut off' "cut_off" "$CAP" restore cut third
head -n 5 file >cut
t_fails 'cut off' "cut_off_at_a_line" "$CAP" restore cut third
sed 's/rights=call,grant /rights=call,grant,reduce /' file >cut
t_fails damaged "damaged" "$CAP" restore cut third
: >cut
t_fails empty "empty" "$CAP" restore cut third
t_fails ENOENT "no_file" "$CAP" restore nothing third
t_is "nothing_was_made" "$sessions" "$(ls "$CAPFS/sessions" | xargs)"

# --- forged: nobody gets by a file what he could not grant himself ---

"$CAP" session create jail caps=1000 sockets=1000 threads=100 ram=100M inflight=1000 >/dev/null
"$CAP" grant kv jail rights=call conns=2 >/dev/null
in_jail() { # CMD…: as somebody whose whole world is that session
	CAPFS=$CAPFS/sessions/jail "$CAP" "$@"
}
in_jail restore file own >said 2>&1
t_is "one_without_grant_restores" 0 $?
t_like "but_passes_on_nothing" '^left path=\. what=slot name=kv why=' cat said
t_is "and_what_hung_on_it_neither" "no" "$([ -e "$CAPFS/sessions/jail/sessions/own/sessions/front/caps/kv" ] && echo yes || echo no)"
"$CAP" revoke kv --from=jail >/dev/null
"$CAP" grant kv jail rights=call,grant conns=2 expires=3600 >/dev/null
forge() { # SED NAME: the file, changed and sealed, in the jail
	sed "$1" file >forged
	seal forged
	in_jail restore forged "$2" 2>&1
}
t_like "more_connections_than_its_own" '^left path=\. what=slot name=kv why=' forge 's/zz//' more
t_like "other_rights" '^left .*name=kv why=its source here has not all of its rights$' \
	forge '/from=/s/rights=[^ ]*/rights=call,grant,reduce,transfer,share/' rights
t_like "as_much_as_it_has" '^attached path=\. name=kv' forge '/from=/s/conns=10/conns=2/; s/conns=3/conns=2/' same
granted=$CAPFS/sessions/jail/sessions/same/caps/kv/info
t_is "and_no_longer_than_it_has" "$(field expires "$CAPFS/sessions/jail/caps/kv/info")" "$(field expires "$granted")"
t_is "and_below_it" "init/jail/caps/kv" "$(sed -n 's/^parent=\([^ ]*\).*/\1/p' "$granted")"
t_like "what_it_does_not_hold" '^left .*why=there is no slot of its source.s name here$' \
	forge 's,from=init/caps/kv,from=init/caps/db,' hold
t_like "a_parent_of_somebody_elses" 'is not one of a checkpoint' forge 's/object=[0-9]* rights/parent=1 rights/' parent
t_like "a_path_that_leads_up" 'is not one of a checkpoint' forge 's,path=front,path=../front,' up
t_like "a_session_of_somebody_elses" 'why=there is no session .other. here$' forge '/^slot/s,path=front ,path=other ,' other
t_like "a_word_in_a_name" 'is not one of a checkpoint' forge 's/name=spare/name=spare to=x/' word
t_like "more_quota_than_there_is" EDQUOT forge 's/caps=64/caps=100000/' quota
t_like "another_ones_badge_is_a_word" "badge path=. entrypoint=db key=0 old=0x1 new=0x[0-9a-f]*$" \
	forge 's/badge=0x[0-9a-f]*/badge=0x1/' badge
t_is "and_no_badge" "0" "$(grep -c ' badge=0x1 ' "$CAPFS/sessions/jail/sessions/badge/entrypoints/db/objects")"
t_like "more_calls_than_were_left" '^badge' forge 's/used=5/used=0/' calls
t_is "are_calls_of_ones_own_objects" "init/jail/calls/db" "$(field entrypoint "$CAPFS/sessions/jail/sessions/calls/sessions/front/caps/data/info")"
# Caveats of a service that keeps them, as a file of its session would have them.
slot=$(sed -n 's/^slot path=\. name=db id=\([0-9]*\) .*/\1/p' file)
data=$(sed -n 's/^slot path=front name=data id=\([0-9]*\) .*/\1/p' file)
caveats="/^slot .* id=$slot /a only id=$slot only=\"GET /a b\" only=\"say \\\\\"x\\\\\"\"\\
only id=$slot only=\"*\"
/^slot .* id=$data /a only id=$data only=\"GET /a\""
t_like "caveats" '^badge' forge "$caveats
s/caveats=no/caveats=yes/" caveats
t_is "stay_whole" "$(grep -o 'only=.*' forged)" "$("$CAP" checkpoint jail/caveats - | grep -o 'only=.*')"
t_like "and_count_below" 'inherited only="GET /a b"' cat "$CAPFS/sessions/jail/sessions/caveats/sessions/front/caps/data/info"
t_like "who_does_not_keep_them_is_not_given" EOPNOTSUPP forge "$caveats" nobody
t_is "without_them" "no" "$([ -e "$CAPFS/sessions/jail/sessions/nobody" ] && echo yes || echo no)"
t_like "nor_derived_from_it" '^left path=\. what=slot name=kv why=' \
	forge "/from=/a only id=$(sed -n 's/.* id=\([0-9]*\) .*from=.*/\1/p' file) only=\"x\"
s/conns=10/conns=2/" outside
t_is "nobody_else_has_more" "1 2" "$("$CAP" holders kv | grep -c 'init/jail/same/caps/kv') $(
	"$CAP" holders kv | grep -c 'init/jail/.*/caps/kv')"

# --- another instance ---

printf 'init/app/front log kv calls=3\ninit/app mail kv\n* kv kv\n' >rules
cat rules >"$CAPFS/policy"
t_ok "a_share" "$CAP" share kv children
t_like "what_a_share_makes_it_makes_again" '^left path=\. what=shared name=kv-2 n=1$' "$CAP" checkpoint app other
"$CAP" checkpoint . all >/dev/null
shared=$("$CAP" holders kv | grep -c by=share)
instance=$(field instance "$CAPFS/version")
for job in "${HARNESS_JOBS[@]}"; do end_job "$job"; done
HARNESS_JOBS=()
harness_stop
RUN=$TMP/run-2
export STATE_DIRECTORY=$RUN
harness_start --quota=caps=8192,sockets=4096,threads=1024
t_is "another_instance" yes "$([ "$(field instance "$CAPFS/version")" != "$instance" ] && echo yes)"
t_like "without_what_it_came_from" '^left path=\. what=slot name=kv why=there is no slot' "$CAP" restore file bare
t_is "S21_the_rest_is_there" "db spare" "$(ls "$CAPFS/sessions/bare/caps" | xargs)"
serve kv --inetd -- /bin/cat
t_ok "S21_with_it" "$CAP" restore file
"$CAP" checkpoint app file3 >/dev/null
t_is "R01_the_same_elsewhere" "$(plain file)" "$(plain file3)"
job "$CAP" -s app serve db --inetd -- /bin/cat
wait_for 10 served db "$app"
t_is "R02_S21_served_there" "hello hello" "$(ask "$app/sessions/front" data) $(ask "$app/sessions/front" kv)"
t_is "R03_its_counter_goes_on" 6 "$(quota calls used "$app/sessions/front/caps/data/info")"
t_ok "a_backup_of_all" "$CAP" restore all all caps=2000 sockets=2000 threads=400 ram=300M inflight=2000
t_is "has_all" "$(sed -n 's/^session path=//p' all | cut -d' ' -f1 | sort | xargs)" \
	"$("$CAP" checkpoint all - | sed -n 's/^session path=//p' | cut -d' ' -f1 | sort | xargs)"
t_is "and_its_slots" "$(grep -c '^slot ' all)" "$("$CAP" checkpoint all - | grep -c '^slot ')"
t_is "its_rules_are_of_what_it_is_called_now" "init/all/app/front log kv calls=3 init/all/app mail kv * kv kv" \
	"$(xargs <"$CAPFS/sessions/all/policy")"
t_is "and_it_shares" "$shared" "$(grep -c ' by=share ' "$CAPFS/sessions/all/caps/kv/holders")"

# --- all of it, in the place of all of it ---

for job in "${HARNESS_JOBS[@]}"; do end_job "$job"; done
HARNESS_JOBS=()
harness_stop
RUN=$TMP/run-3
export STATE_DIRECTORY=$RUN
harness_start --quota=caps=8192,sockets=4096,threads=1024
sed '/^session path=jail /s/caps=1000/caps=100000/' all >forged
seal forged
t_fails EDQUOT "one_that_cannot_be_paid" "$CAP" restore forged .
t_is "leaves_nothing_there" "" "$(ls "$CAPFS/sessions" "$CAPFS/caps" "$CAPFS/entrypoints" | grep -v : | xargs)"
t_ok "S21_a_backup_of_all_in_place" "$CAP" restore all .
"$CAP" checkpoint . all2 >/dev/null
t_is "R01_all_is_as_it_was" "$(plain all | grep -v '^left\|path=\. uid=' | sort)" "$(plain all2 | grep -v '^left\|path=\. uid=' | sort)"
t_is "with_its_rules" "init/app/front log kv calls=3 init/app mail kv * kv kv" "$(xargs <"$CAPFS/policy")"
t_is "and_its_shares" "$shared" "$(grep -c ' by=share ' "$CAPFS/caps/kv/holders")"
t_is "R03_and_its_counter" 5 "$(quota calls used "$CAPFS/sessions/app/sessions/front/caps/data/info")"
t_fails ENOTEMPTY "only_where_nothing_is" "$CAP" restore all .
serve kv --inetd -- /bin/cat
t_is "R02_S21_and_is_served" hello "$(ask "$CAPFS/sessions/app" kv)"

t_done
