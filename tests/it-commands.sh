#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: C14 G20 G21 G23 P10 P12 S10 Z40 Z41
#
# Bad input to every writable node: the documented errno, and nothing has changed. Then random bytes by
# an unprivileged owner (P12, the short version).

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
harness_start --quota=caps=1024,sockets=128

OWNER=$(id -u)
! is_root || OWNER=12345
: "${FUZZ_SECONDS:=8}"

t_ok "a_service" serve date --inetd -- /bin/date
mkdir "$CAPFS/sessions/app" "$CAPFS/sessions/app/sessions/inner"
say 'to=app rights=call,grant,reduce calls=100 conns=10' "$CAPFS/caps/date/grant"
say 'to=inner' "$CAPFS/sessions/app/caps/date/grant"
app=$CAPFS/sessions/app

# write_bytes NODE BYTES…: each argument is a printf format and one write(2) on the same open file.
write_bytes() {
	local node=$1 i=0 files=() bytes
	shift
	for bytes in "$@"; do
		# shellcheck disable=SC2059 # the bytes are the format
		printf "$bytes" >"$TMP/bytes$i"
		files+=("$TMP/bytes$i")
		i=$((i + 1))
	done
	"$PROBE" write "$node" "${files[@]}" | tr '\n' ' '
}

repeat() { # STRING N
	printf "%*s" "$2" '' | sed "s/ /$1/g"
}

# refused NAME WANTED NODE BYTES…: the results of the writes, and the tree is as it was.
refused() {
	local name=$1 wanted=$2 before got
	before=$(dump)
	shift 2
	got=$(write_bytes "$@")
	t_is "${name}_${1##*/}" "$wanted" "${got% }"
	if [ "$before" != "$(dump)" ]; then
		diff <(echo "$before") <(dump) >"$TMP/output"
		t_result 1 "${name}_${1##*/}_changes_nothing"
	fi
}

# What a `call` takes is no command, but for its service to understand, and a `policy` has many lines.
mapfile -t nodes < <(find "$app" -type f -perm /222 ! -name call ! -name policy | sort)
t_ok "there_are_command_files" test "${#nodes[@]}" -ge 6
long=$(repeat x 5000)
fits=$(repeat x 4095)
for node in "${nodes[@]}"; do
	refused "malformed_word" EINVAL "$node" 'wibble\n'
	refused "malformed_nothing_but_a_line_feed" EINVAL "$node" '\n'
	refused "malformed_equals" EINVAL "$node" '=\n'
	refused "malformed_empty_value" EINVAL "$node" 'to=\n'
	refused "unknown_key" EINVAL "$node" 'to=inner wibble=1\n'
	refused "repeated_key" EINVAL "$node" 'to=inner to=inner\n'
	refused "two_lines" EINVAL "$node" 'to=inner as=x\nto=inner as=y\n'
	refused "line_feed_first" EINVAL "$node" '\nto=inner\n'
	refused "not_utf8" EINVAL "$node" 'to=\377\376\n'
	refused "not_utf8_overlong" EINVAL "$node" 'to=\300\257\n'
	refused "with_nul" EINVAL "$node" 'to=inner\000as=x\n'
	refused "oversized" EMSGSIZE "$node" "$long"
	refused "largest_that_fits_is_parsed" EINVAL "$node" "${fits%x}\n"
	refused "oversized_then_good" "EMSGSIZE EMSGSIZE" "$node" "$long" 'to=inner as=late\n'
	refused "oversized_by_one" EMSGSIZE "$node" "${fits}x"
done

grant=$app/caps/date/grant
refused "no_such_session" ENOENT "$grant" 'to=nobody-here\n'
refused "R2_names_reach_down_never_up" ENOENT "$grant" 'to=app\n'
refused "R2_dots_are_no_way_up" ENOENT "$grant" 'to=../app\n'
refused "taken_name" EEXIST "$grant" 'to=inner as=date\n'
refused "bad_name_dot" EINVAL "$grant" 'to=inner as=.hidden\n'
refused "bad_name_slash" EINVAL "$grant" 'to=inner as=a/b\n'
refused "bad_name_long" EINVAL "$grant" "to=inner as=$(repeat n 65)\n"
refused "Z40_Z41_no_larger_calls" EINVAL "$grant" 'to=inner as=z calls=101\n'
refused "C14_no_right_that_it_lacks" EPERM "$grant" 'to=inner as=z rights=call,transfer\n'
refused "no_such_right" EINVAL "$grant" 'to=inner as=z rights=everything\n'
refused "a_limit_that_cannot_be_kept_methods" EOPNOTSUPP "$grant" 'to=inner as=z methods=0-3\n'
refused "a_rate_has_its_unit" EINVAL "$grant" 'to=inner as=z rate=3\n'
refused "negative_number" EINVAL "$grant" 'to=inner as=z calls=-1\n'
refused "P10_number_beyond_64_bits" EINVAL "$grant" 'to=inner as=z calls=18446744073709551616\n'
refused "zero_is_no_limit" EINVAL "$grant" 'to=inner as=z conns=0\n'
refused "Z40_Z41_not_a_reduction" EINVAL "$app/caps/date/reduce" 'calls=100 conns=10\n'
refused "Z41_one_good_one_bad" EINVAL "$app/caps/date/reduce" 'calls=50 conns=11\n'
refused "Z40_no_empty_rights" EINVAL "$app/caps/date/reduce" 'rights=\n'
refused "nothing_held_there" ENOENT "$app/caps/date/revoke" 'id=999999\n'
refused "two_ways_at_once" EINVAL "$app/caps/date/revoke" '1 self\n'
refused "G20_not_parent_and_child" ENOENT "$CAPFS/transfer_quota" 'to=elsewhere caps=1\n'
refused "G20_not_a_grandchild" EINVAL "$CAPFS/transfer_quota" 'to=app/inner caps=1\n'
refused "G21_more_than_there_is" EDQUOT "$CAPFS/transfer_quota" 'to=app caps=100000\n'
refused "G21_atomic_over_kinds" EDQUOT "$CAPFS/transfer_quota" 'to=app sockets=1 caps=100000\n'
refused "P10_G23_largest_number" EDQUOT "$CAPFS/transfer_quota" 'to=app caps=18446744073709551615\n'
refused "G23_overflow" EINVAL "$CAPFS/transfer_quota" 'to=app caps=18446744073709551616\n'
refused "no_amount" EINVAL "$CAPFS/transfer_quota" 'to=app\n'

# The same open file tells why; a fresh one gives the usage.
t_like "the_reason_on_the_same_open_file" '^EINVAL .*wibble' "$PROBE" command "$grant" $'to=inner wibble=1\n'
t_like "the_usage_on_a_fresh_open_file" '^to=SESSION' cat "$grant"
t_like "every_refusal_is_an_event" "refused grant session=init/app slot=date uid=$(id -u) EINVAL: .*wibble" \
	tail -n 1 "$app/events"
t_like "st_size_is_the_length_of_the_text" '^0$' sh -c "cat '$grant' | wc -c | xargs -I{} expr {} - \$(stat -c %s '$grant')"

# What shells and tools do when they write.
t_ok "append_means_nothing" sh -c "echo 'to=inner as=appended' >>'$grant'"
t_ok "clobber_means_nothing" sh -c "set -C; echo 'to=inner as=clobbered' >|'$grant'"
t_ok "tee" sh -c "echo 'to=inner as=teed' | tee '$grant'"
t_ok "dd" sh -c "printf 'to=inner as=dd' | dd of='$grant' status=none"
t_ok "truncate_means_nothing" truncate -s 0 "$grant"
t_is "each_of_them_was_done" "appended clobbered date dd teed" \
	"$(cd "$app/sessions/inner/caps" && echo *)"
t_ok "drop" rmdir "$app/sessions/inner/caps/dd"

# What is not a command: each is refused and leaves nothing behind.
before=$(dump)
t_is "nothing_else_can_be_made" "EPERM EPERM EPERM EPERM EPERM EPERM" "$("$PROBE" try <<EOT | tr '\n' ' ' | sed 's/ $//'
create $app/new
mkfifo $app/caps/new
symlink $app/new
link $app/label $app/new
unlink $app/caps/date/info
mkdir $app/caps/new
EOT
)"
t_is "S10_nobody_else_binds_here" "EPERM EPERM EPERM" "$("$PROBE" try <<EOT | tr '\n' ' ' | sed 's/ $//'
bind $app/caps/date/mine
bind $app/mine
bind $CAPFS/caps/mine
EOT
)"
t_fails ENOTEMPTY "close_with_child_sessions" rmdir "$app"
t_fails EEXIST "a_session_of_that_name" mkdir "$app"
t_is "mv_of_a_slot_elsewhere" EXDEV "$("$PROBE" try <<<"rename $app/caps/date $CAPFS/caps/date2")"
t_is "mv_replaces_nothing" EEXIST \
	"$("$PROBE" try <<<"rename $app/sessions/inner/caps/date $app/sessions/inner/caps/teed")"
t_is "refused_operations_change_nothing" "$before" "$(dump)"

# P12. An owner without privileges writes random bytes; root's own part stays as it was, the broker
# lives, and nothing else opens to that user.
if is_root; then
	chown "$OWNER" "$app" "$app/sessions/inner"
fi
chmod 0777 "$app/sessions/inner"
outside() {
	dump | grep -v -e sessions/app -e caps/date/info -e caps/date/holders -e ^./quota
}
before=$(outside)
brokers=$(sed -n 's/^capfs_brokers //p' "$CAPFS/metrics")
fuzz=("$PROBE")
! is_root || fuzz=("$PROBE" -u "$OWNER")
t_ok "P12_random_bytes" "${fuzz[@]}" fuzz "$app" "$FUZZ_SECONDS" "$RANDOM"
sed 's/^/# /' "$TMP/output"
t_is "P12_nothing_outside_has_changed" "$before" "$(outside)"
t_is "P12_the_broker_lives" "$brokers" "$(sed -n 's/^capfs_brokers //p' "$CAPFS/metrics")"
# shellcheck disable=SC2016 # awk's
t_ok "P12_quota_is_conserved" awk '{ for (i = 2; i <= NF; i++) { split($i, a, "="); v[a[1]] = a[2] }
	if (v["used"] + v["free"] + v["lent"] != v["limit"]) exit 1 }' "$CAPFS/quota" "$app/quota" "$app/sessions/inner/quota"
if is_root; then
	t_is "P12_other_nodes_stay_shut" "EACCES EACCES EACCES EACCES" "$("$PROBE" -u "$OWNER" try <<EOT | tr '\n' ' ' | sed 's/ $//'
openw $CAPFS/transfer_quota
openw $CAPFS/caps/date/grant
connect $CAPFS/caps/date/socket
list $CAPFS/caps
EOT
)"
fi
t_unlike "no_complaint_in_the_log" . cat "$TMP/log"

harness_stop
t_done
