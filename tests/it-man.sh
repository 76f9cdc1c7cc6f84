#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The manual: it is clean mdoc, has every function of the library as the header declares it, and its
# examples do what the pages say, against the built library and a daemon. An example is what stands
# in EXAMPLES between .Bd -literal and .Ed, one program a page; what it prints is in a display with
# -offset.

. "$(dirname "$0")/harness.sh" || exit 99

man=$top_srcdir/man
library=$top_builddir/libcap-client/.libs
functions() { # FILE…: the library's, as NAME has them
	sed -sn '/^\.Sh NAME/,/^\.Nd/ s/^\.Nm \(capc_[a-z_]*\).*/\1/p' "$@" | sort
}

# example PAGE [OFFSET]: its program; with an offset, what that prints.
example() {
	awk -v start=".Bd -literal${2:+ -offset $2}" '
		/^\.Sh / { inside = $2 == "EXAMPLES" }
		/^\.Ed/ { copy = 0 }
		copy { print }
		inside && $0 == start { copy = 1 }' "$1" | sed 's/\\e/\\/g'
}

# What SYNOPSIS has, as declarations in C.
synopsis() { # PAGE
	awk '
		function words(line, list, n, i) {
			n = split(line, list, "\"")
			line = ""
			for (i = 2; i <= n; i += 2)
				line = line (line == "" ? "" : ", ") list[i]
			return line
		}
		/^\.Sh / { inside = $2 == "SYNOPSIS" }
		!inside { next }
		/^\.Ft / { type = substr($0, 5); gsub("\"", "", type) }
		/^\.Fn / { print type " " $2 "(" words($0) ");" }
		/^\.Fo / { name = $2; all = "" }
		/^\.Fa / { all = all (all == "" ? "" : ", ") words($0) }
		/^\.Fc/ { print type " " name "(" all ");" }' "$1"
}

if have mandoc; then
	for page in "$man"/*.[1-8]; do
		t_is "mandoc_is_content_with_${page##*/}" "" "$(mandoc -T lint -W warning "$page" 2>&1)"
	done
else
	t_skip "mandoc_is_content" "no mandoc"
fi

t_is "every_function_has_a_page_and_no_other_has" \
	"$(sed -n 's/^\t\(capc_[a-z_]*\);/\1/p' "$top_srcdir/libcap-client/libcap-client.sym" | sort)" \
	"$(functions "$man"/*.3)"

# Each name leads to a page when it is installed.
installed() {
	local name
	env -u MAKEFLAGS -u MAKELEVEL "${MAKE:-make}" -s -C "$top_builddir" install-data \
		DESTDIR="$TMP/root" >"$TMP/make" 2>&1 || cat "$TMP/make"
	for name in $(functions "$man"/*.3); do
		find "$TMP/root" -path "*/man3/$name.3" -size +0 | grep -q . || echo "$name"
	done
}
t_is "every_function_is_installed_under_its_name" "" "$(installed)"
page=$(find "$TMP/root" -name capc_read_from.3)
t_is "which_leads_to_its_page" ".so man3/capc_read.3" "$(cat "$page")"
installed_examples() {
	local docs
	docs=$(find "$TMP/root" -path '*/examples/echo-server.c')
	(cd "$top_srcdir/examples" && find . -name '*.c') | while read -r source; do
		[ -s "${docs%/*}/$source" ] || echo "$source"
	done
}
t_is "and_so_are_the_examples" "" "$(installed_examples)"
t_ok "that_is_there" test -s "${page%/*}/capc_read.3"

# The compiler of the build, with the warnings that any program may have on.
variable() { # NAME
	sed -n "s/^$1 = //p" "$top_builddir/Makefile"
}
read -ra compiler <<<"$(variable CC) -Wall -Wextra -Werror -I$top_srcdir/libcap-client"
if variable HARDENING_CFLAGS | grep -q sanitize; then
	compiler+=("-fsanitize=address,undefined")
fi
for page in "$man"/*.3; do
	name=$(basename "$page" .3)
	{ echo '#include <cap-client.h>'; synopsis "$page"; } >"$TMP/$name-synopsis.c"
	t_is "synopsis_of_$name.3_has_the_functions_of_its_name" "$(functions "$page")" \
		"$(sed -n '/^typedef/d; s/.*\<\(capc_[a-z_]*\)(.*/\1/p' "$TMP/$name-synopsis.c" | sort)"
	t_ok "synopsis_of_$name.3_is_the_header's" "${compiler[@]}" -fsyntax-only "$TMP/$name-synopsis.c"
	example "$page" >"$TMP/$name.c"
	t_ok "example_of_$name.3_compiles" "${compiler[@]}" -o "$TMP/$name" "$TMP/$name.c" \
		-L"$library" -lcap-client
	t_ok "example_of_$name.3_has_at_most_40_lines" test "$(wc -l <"$TMP/$name.c")" -le 40
done

# One makes an argument tree, for the other.
t_is "capc_args_open.3_prints_what_capc_args_new.3_has_made" \
	$'shop 4\nstarted\nname: type 5, name\nworkers: type 2, workers\nlog: type 8, log' \
	"$("$TMP/capc_args_new" shop "$TMP/capc_args_open" 2>&1)"
t_like "capc_args_open.3_says_that_it_has_none" 'no arguments: No such file' "$TMP/capc_args_open"
t_like "capc_args_new.3_says_what_it_wants" 'usage: .* NAME PROGRAM' "$TMP/capc_args_new"

if ! cannot=$(harness_check); then
	t_skip "the_examples_do_what_they_say" "${cannot#*SKIP }"
	t_done
	exit
fi
harness_start
job "$(program examples/echo-server)"
wait_for 10 served echo
page=$man/capfs-protocol.7
example "$page" >"$TMP/client.py"
t_ok "example_of_capfs-protocol.7_has_at_most_40_lines" test "$(wc -l <"$TMP/client.py")" -le 40
if have python3; then
	t_is "example_of_capfs-protocol.7_prints_what_it_says" "$(example "$page" indent)" \
		"$(timeout 20 python3 "$TMP/client.py" "$CAPFS" echo hello 2>&1)"
	t_fails ENOENT "and_says_why_it_was_refused" \
		timeout 20 python3 "$TMP/client.py" "$CAPFS" none hello
else
	t_skip "example_of_capfs-protocol.7_prints_what_it_says" "no python3"
fi

run() { # NAME ARGUMENT…
	timeout 20 "$TMP/$1" "${@:2}" </dev/null 2>&1
}
t_is "capc_version.3_tells_it" "$(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile"), no calls: 1" "$(run capc_version)"
t_is "cap-client.3_calls" "init: hello" "$(run cap-client echo hello)"
t_is "capc_session_open.3_tells_label_and_reason" $'init\nthere is no \'caps/none/info\'' \
	"$(run capc_session_open)"
t_like "capc_read.3_prints_slots" '^echo$' run capc_read
t_like "capc_read.3_prints_what_they_are" '^rights=call' run capc_read
t_is "capc_export.3_calls_what_it_passes_on" "init: passed on" "$(run capc_export echo)"
t_is "capc_call.3_has_calls_under_way" $'done: init: a\ndone: init: b' "$(run capc_call echo a b)"
t_is "capc_dispatch.3_has_them_in_a_loop" $'done: init: a\ndone: init: b' "$(run capc_dispatch echo a b)"
t_is "capc_grant.3_grants" "guest has it as echo" "$(run capc_grant echo)"
t_is "capc_grant.3_takes_it_away" "" "$(ls "$CAPFS/sessions")"
mkdir "$CAPFS/sessions/named"
t_is "capc_how_new.3_grants_under_a_name" "mine" "$(run capc_how_new echo named mine)"
t_like "capc_how_new.3_takes_no_rights_for_one" "is no name" run capc_how_new echo named 'x rights=call,grant'
job "$(program examples/notes)" notes >"$TMP/notes"
wait_for 10 served notes
t_is "capc_visit.3_reads_what_was_kept" "a note" "$(run capc_visit notes "a note")"
mkdir "$CAPFS/sessions/asks"
echo 'init/asks echo echo' >"$CAPFS/policy"
t_is "capc_ask.3_asks" "init/asks has echo" "$(CAPFS=$CAPFS/sessions/asks run capc_ask echo)"
t_like "capc_ask.3_and_says_why_not" 'there is a slot' env CAPFS="$CAPFS/sessions/asks" timeout 20 "$TMP/capc_ask" echo
t_is "capc_entrypoint_new.3_serves_without_a_daemon" "hello you" "$(CAPFS=/nowhere run capc_entrypoint_new)"
job "$TMP/capc_attach" >"$TMP/upper"
t_ok "capc_attach.3_serves" wait_for 10 test -d "$CAPFS/caps/upper"
t_is "capc_attach.3_answers" HELLO "$(run cap-client upper hello)"
# Programs are no user's but their session's, which is not root's.
if is_root; then user=nobody; else user=$(id -un); fi
[ -d "$CAPFS/sessions/app" ] || "$CAP" session create app --owner="$user" caps=8 sockets=32 threads=8
if cannot=$("$CAP" run --session=app -- /bin/true 2>&1); then
	"$CAP" grant echo app >/dev/null
	t_is "capc_spawn.3_runs_a_program" "a b" \
		"$(CAPFS=$CAPFS/sessions/app run capc_spawn echo /bin/echo a b)"
	"$CAP" session close app --all
	capctl() {
		"$CAP" "$@"
	}
	id=
	example "$man/capctl-run.1" indent | sed "s,/tmp/,$TMP/,g; s,> /cap/,> $CAPFS/,; s/kv/echo/g; s/\(owner\|uid\)=app/\1=$user/" \
		>"$TMP/run.sh"
	# Where another user can reach it.
	mkdir "$TMP/bin" "$TMP/work"
	export CAPFS_PROFILES=$top_srcdir/profiles
	cp -L "$CAP" "$library/libcap-client.so"* "$TMP/bin"
	PATH=$TMP/bin:$PATH LD_LIBRARY_PATH=$TMP/bin:$LD_LIBRARY_PATH
	# shellcheck disable=SC1091 # it was just made
	. "$TMP/run.sh" >"$TMP/ran" 2>&1
	t_is "capctl-run.1_does_what_it_says" $'echo\ngood morning\nhello\nLISTEN_FDNAMES=log\nLISTEN_FDS=1\nLISTEN_PID=\nwork' \
		"$(sed -n '/^echo$/p; /^hello$/p; /^good/p; s,^/.*/work$,work,p; s/^\(LISTEN_PID=\)[0-9][0-9]*$/\1/; /^LISTEN_/p' "$TMP/ran" | sort -f)"
	t_ok "and_what_goes_on_can_be_ended" wait_for 10 not test -e "$CAPFS/sessions/app/threads/$id"
	cp "$(program helpers/capfs-inetd)" "$TMP/bin"
	example "$man/capctl-apply.1" indent | sed "s,/tmp/,$TMP/,g; s/uid: app/uid: $user/" >"$TMP/apply.sh"
	# shellcheck disable=SC1091 # it was just made
	CAPFS_LIBEXEC=$TMP/bin . "$TMP/apply.sh" >"$TMP/ran" 2>&1
	t_is "capctl-apply.1_does_what_it_says" "shop/echo: started shop/user: started shop: removed" \
		"$(sed 's/ started .*/ started/' "$TMP/ran" | xargs)"
else
	t_skip "capc_spawn.3_runs_a_program" "${cannot//#/}"
fi
t_like "capc_attach.3_refuses" 'at most 256 bytes' run cap-client upper "$(printf '%300s' x)"
harness_stop
t_done
