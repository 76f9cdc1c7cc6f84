#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P37
#
# What programs were linked with stays: the library exports all names in tests/cap-client.symbols, each with its
# version; without one of them it would need a new soname. What came since stands in the test's output, and goes into
# the list with the next release. The static library has the same names, and no other that a program could have as
# well. The header's version is that of the build.

. "$(dirname "$0")/harness.sh" || exit 99

list=$top_srcdir/tests/cap-client.symbols
shared=$top_builddir/libcap-client/.libs/libcap-client.so
static=$top_builddir/libcap-client/libcap-client.a
if ! have nm || ! [ -e "$shared" ]; then
	t_skip "P37_exported_names" "no nm, or no shared library"
	t_done
	exit
fi

sed '/^#/d' "$list" | sort >"$TMP/wanted"
nm -D --defined-only "$shared" | awk '$2 != "A" { print $3 }' | sed 's/@@/ /' | sort >"$TMP/exported"
t_is "P37_no_exported_name_is_gone" "" "$(comm -23 "$TMP/wanted" "$TMP/exported")"
comm -13 "$TMP/wanted" "$TMP/exported" | sed 's/^/# since then: /'
t_is "P37_each_is_one_of_the_header's" "" "$(sed 's/ .*//' "$TMP/exported" | while read -r name; do
	grep -q "\\<$name(" "$top_srcdir/libcap-client/cap-client.h" || echo "$name"
done)"
# With a sanitizer each object brings names of the compiler's.
if ! [ -e "$static" ]; then
	t_skip "P37_the_static_library" "no objcopy"
elif grep -q '^HARDENING_CFLAGS.*sanitize' "$top_builddir/Makefile"; then
	t_skip "P37_the_static_library" "built with sanitizers"
else
	t_is "P37_the_static_library_has_the_same_names" "$(sed 's/ .*//' "$TMP/exported")" \
		"$(nm --defined-only --extern-only "$static" | awk 'NF == 3 { print $3 }' | sort)"
	# Functions of a program's own, of ordinary names, which the library has inside.
	cat >"$TMP/collide.c" <<'EOT'
#include <cap-client.h>
#include <stdio.h>

int fd_close(int fd) { return fd + 1; }
int text_add(void) { return 1; }
int msg_send(void) { return 1; }

int
main(void)
{
	capc_session *s;
	int r = capc_session_open("/", 1000000, &s);

	printf("%d %d %u\n", r < 0, fd_close(1) + text_add() + msg_send(), capc_version());
	return 0;
}
EOT
	read -ra cc <<<"$(sed -n 's/^CC = //p' "$top_builddir/Makefile")"
	read -ra libs <<<"$(sed -n 's/^CBOR_LIBS = //p; s/^YAML_LIBS = //p' "$top_builddir/Makefile" | xargs)"
	t_ok "P37_a_program_may_have_names_of_the_library's_inside" \
		"${cc[@]}" "-I$top_srcdir/libcap-client" -o "$TMP/collide" "$TMP/collide.c" "$static" ${libs[@]+"${libs[@]}"}
	t_is "P37_and_both_find_their_own" "1 4 $(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile" |
		awk -F. '{ print $1 * 1000000 + $2 * 1000 + $3 }')" "$("$TMP/collide")"
fi
version() { # MAJOR|MINOR|MICRO
	sed -n "s/^#define CAPC_VERSION_$1 //p" "$top_srcdir/libcap-client/cap-client.h"
}
t_is "the_header's_version_is_the_package's" "$(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile")" \
	"$(version MAJOR).$(version MINOR).$(version MICRO)"
t_done
