#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: S17 C06
#
# Argument trees from the command line: what a program finds that was started with one, and what capfs-args(5)
# shows. tests/args-run starts it; no daemon is needed.

. "$(dirname "$0")/harness.sh" || exit 99

RUN_ARGS=$(program tests/args-run)
man=$top_srcdir/man
unset CAP_ARGS_FD
cd "$TMP" || exit 99

# display N PAGE SECTION [OFFSET]: the literal display number N of a section, without or with an offset.
display() {
	awk -v n="$1" -v section="$3" -v start=".Bd -literal${4:+ -offset $4}" '
		/^\.Sh / { inside = substr($0, 5) == section }
		/^\.Ed/ { copy = 0 }
		copy { print }
		inside && $0 == start && --n == 0 { copy = 1 }' "$man/$2" | sed 's/\\e/\\/g'
}

# --- the page ---

page=capfs-args.5
display 1 $page EXAMPLES >app.yaml
t_ok "the_page_has_a_tree" test -s app.yaml
t_is "show_is_what_the_page_says" "$(display 1 $page EXAMPLES indent)" "$("$CAP" args show app.yaml 2>&1)"
t_ok "show_has_opened_nothing" test ! -e app.log
t_is "list_is_what_the_page_says" "$(display 2 $page EXAMPLES indent)" "$("$RUN_ARGS" app.yaml "$CAP" args list 2>&1)"
{ echo "capctl() { '$CAP' \"\$@\"; }"; display 3 $page EXAMPLES indent; } >shell.sh
t_ok "the_shell_writes_to_its_log" "$RUN_ARGS" app.yaml bash shell.sh
t_is "which_has_it" started "$(cat app.log)"
t_is "the_bytes_are_those_of_the_page" "$(display 4 $page EXAMPLES indent)" \
	"$("$CAP" args encode app.yaml | od -An -tx1)"

# Each text of the page is refused as it says, line by line.
n=0
while IFS= read -r text && IFS= read -r wanted; do
	n=$((n + 1))
	printf '%s\n' "$text" >app.yaml
	t_is "refused: $text" "args-run: ${wanted#$'\t'}" "$("$RUN_ARGS" app.yaml true 2>&1)"
done < <(display 1 $page REFUSALS indent)
t_is "the_page_has_refusals" 12 "$n"

# --- what a program has ---

exec 8>written
cat >all.yaml <<'EOT'
null: ~
bool: true
int: -1
big: 123456789012345678901234567890
negative: -18446744073709551617
float: 1.5
text: "a\nb\u00e4\x85\\\""
binary: !!binary AP8=
time: 2026-11-30T12:00:00.5+01:00
"a.b c": [[], {}, [1, [2]]]
out: !fd 8
again: {out: !fd 8}
file: !file all.yaml
cap: !cap kv rights=call
session: !session app
EOT
get() { "$RUN_ARGS" all.yaml "$CAP" args get "$@"; }
t_is "C06_get_null" null "$(get null)"
t_is "C06_get_bool" true "$(get bool)"
t_is "C06_get_int" -1 "$(get int)"
t_is "C06_get_big" 123456789012345678901234567890 "$(get big)"
t_is "C06_get_negative" -18446744073709551617 "$(get negative)"
t_is "C06_get_float" 1.5 "$(get float)"
t_is "C06_get_string" $'a\nb\xc3\xa4\xc2\x85\\"' "$(get text)"
t_is "C06_get_binary" " 00 ff" "$(get binary | od -An -tx1)"
t_is "C06_get_time" 2026-11-30T11:00:00.5Z "$(get time)"
t_is "C06_get_path" 2 "$(get 'a\.b c.2.1.0')"
t_is "C06_get_sequence" $'- []\n- {}\n-\n  - 1\n  -\n    - 2' "$(get 'a\.b c')"
t_is "get_what_was_resolved" "cap:kv rights=call session:app" "$(get cap) $(get session)"
t_is "S17_get_fd" "3 3 4" "$(get out) $(get again.out) $(get file)"
t_fails ENOENT "get_what_is_not_there" get none
t_fails ENOTDIR "get_behind_a_scalar" get int.0
t_fails EINVAL "get_what_is_no_path" get a..b
t_is "list_below_a_path" 'again.out fd 3' "$("$RUN_ARGS" all.yaml "$CAP" args list again)"
t_is "list_a_value" 'int int -1' "$("$RUN_ARGS" all.yaml "$CAP" args list int)"
t_is "list_what_is_empty" 'a\.b c.0 sequence []' "$("$RUN_ARGS" all.yaml "$CAP" args list 'a\.b c.0')"

# shellcheck disable=SC2016
t_is "S17_a_program_has_what_its_tree_has_and_no_more" "0 1 2 3 4 5 " \
	"$("$RUN_ARGS" all.yaml bash -c 'for fd in {0..254}; do
		[ ! -e /proc/$$/fd/$fd ] || printf "%s " $fd; done' </dev/null)"
# shellcheck disable=SC2016
t_is "S17_and_under_the_numbers_of_its_tree" "$TMP/written $TMP/all.yaml" \
	"$("$RUN_ARGS" all.yaml bash -c 'readlink /proc/$$/fd/3 /proc/$$/fd/4 | xargs')"
t_fails EBADF "a_descriptor_that_was_closed_is_missed" "$RUN_ARGS" all.yaml bash -c "exec 4<&-; exec '$CAP' args list"
t_fails EBADMSG "another_file_is_no_tree" env CAP_ARGS_FD=0 "$CAP" args list
t_fails EBADMSG "a_word_is_no_number" env CAP_ARGS_FD=x "$CAP" args list
t_fails ENOENT "a_program_may_have_none" "$CAP" args list

# What is shown reads as the same tree, and so do its bytes.
"$CAP" args show all.yaml >once.yaml
"$CAP" args show - <once.yaml >twice.yaml
t_ok "C06_what_is_shown_is_the_same" cmp once.yaml twice.yaml
"$CAP" args encode all.yaml >once.cbor
"$CAP" args encode once.yaml >twice.cbor
t_ok "C06_and_so_are_its_bytes" cmp once.cbor twice.cbor
t_is "show_of_the_own_tree" "$(sed '/^cap:/,$d' once.yaml)" \
	"$("$RUN_ARGS" all.yaml "$CAP" args show | sed '/^cap:/,$d')"

printf 'a: 1\na: 2\n' >bad.yaml
t_like "show_says_where" "^capctl: args: EEXIST: bad.yaml:2:1: the key 'a' comes twice" "$CAP" args show bad.yaml
t_fails ENOENT "show_of_no_file" "$CAP" args show none.yaml
head -c 2000000 /dev/zero | tr '\0' '#' >long.yaml
t_fails E2BIG "show_of_a_long_text" "$CAP" args show long.yaml
t_ok "encode_says_nothing_of_what_is_wrong_to_stdout" test -z "$("$CAP" args encode bad.yaml 2>/dev/null)"
t_like "args_alone_has_a_usage" '^usage: capctl args get PATH' "$CAP" args
exec 8>&-
cd /
t_done
