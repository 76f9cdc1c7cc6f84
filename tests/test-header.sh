#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# cap-client.h can be included alone, by C and by C++, without a warning of it.

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
t_done
