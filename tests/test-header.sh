#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# cap-client.h can be included alone, by C and by C++, without a warning of it; and the programs that show its use
# give none where they are copied to.

. "$(dirname "$0")/harness.sh" || exit 99

: "${CXX:=}"
cat >"$TMP/user.c" <<'EOT'
#include "libcap-client/cap-client.h"
#include "libcap-client/cap-client.h"

int
main(void)
{
	return capc_session_free(NULL) ? CAPC_ATTACH_ONCE : 0;
}
EOT
cp "$TMP/user.c" "$TMP/user.cc"

# compile COMPILER STANDARD FILE
compile() {
	# shellcheck disable=SC2086 # a compiler may come with options
	$1 "-std=$2" -Wall -Wextra -Wpedantic -Werror -I"$top_srcdir" -fsyntax-only "$TMP/$3"
}

t_ok "the_header_is_c11" compile "${CC:-cc}" c11 user.c
if have "${CXX%% *}"; then
	t_ok "the_header_is_c++17" compile "$CXX" c++17 user.cc
else
	t_skip "the_header_is_c++17" "no C++ compiler"
fi

# Of a loop that is not installed here there is nothing to be seen.
compiles_example() { # FILE
	local flags
	flags=$(sed -n 's/^#include <\(glib\|systemd\)[-.\/].*/\1/p' "$1" | sed 's/glib/glib-2.0/; s/systemd/libsystemd/' | sort -u)
	# shellcheck disable=SC2086 # several words
	if [ -n "$flags" ]; then
		pkg-config --exists $flags || return 0
		flags=$(pkg-config --cflags $flags)
	fi
	# shellcheck disable=SC2086
	${CC:-cc} -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -I"$top_srcdir" -I"$top_srcdir/libcap-client" $flags \
		-fsyntax-only "$1"
}
while read -r file; do
	t_ok "example_${file##*/}" compiles_example "$file"
done < <(find "$top_srcdir/examples" -name '*.c' | sort)
t_done
