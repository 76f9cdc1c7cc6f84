#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The rooms of the daemon, as doc/ARCHITECTURE lists them: each includes only what stands above it, so
# there is no circle of two. And the bounds that keep a reader's breath: 15 .c files in a directory, 600
# lines in a .c file or a test, 250 in a header, and less than 1000 in all of the keeper.

cd "${top_srcdir:-$(dirname "$0")/..}" || exit 99
n=0 failed=0
result() { # STATUS NAME WHAT
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else
		failed=1
		echo "not ok $n - $2"
		echo "$3" | sed 's/^/# /'
	fi
}
nothing() { # NAME WHAT: there is none of it
	[ -z "$2" ]
	result $? "$1" "$2"
}

# "  model           entities, …" and "  holder  binder  mount  start    the other processes, …"
rooms=$(sed -n '/^Rooms of/,/^  base and/p' doc/ARCHITECTURE | sed -n 's/^  \([a-z][a-z ]*[a-z]\)   *.*/\1/p' |
	sed 's/   .*//' | tr -s ' ' '\n')
rank() { # ROOM
	echo "$rooms" | grep -nx "$1" | cut -d: -f1
}
unknown='' upward=''
for dir in capfsd/*/; do
	room=$(basename "$dir")
	ls "$dir"*.c >/dev/null 2>&1 || continue
	own=$(rank "$room")
	[ -n "$own" ] || unknown="$unknown $room"
	for other in $(sed -n 's,^#include "capfsd/\([a-z]*\)/.*,\1,p' $(find "$dir" -name '*.[ch]') | sort -u); do
		[ "$other" = "$room" ] && continue
		[ "$(rank "$other")" -lt "${own:-0}" ] || upward="$upward $room->$other"
	done
done
nothing "every_room_is_in_the_list" "$unknown"
nothing "no_include_goes_to_a_room_below" "$upward"
nothing "nothing_above_the_daemon_includes_it" "$(grep -l '#include "capfsd/' args/*.[ch] base/*.[ch] wire/*.[ch] libcap-client/*.[ch] libcap-client/*/*.[ch] spawner/*.[ch] spawner/*/*.[ch])"
nothing "the_model_knows_no_front" "$(grep -nE '#include [<"](linux/fuse|fuse|systemd/|sys/socket|libcap-client|wire/)' \
	capfsd/model/*.[ch] capfsd/kinds/*.[ch] capfsd/kinds/*/*.[ch] capfsd/ops/*.[ch] capfsd/verbs/*.[ch] capfsd/verbs/*/*.[ch] capfsd/tree/*.[ch] |
	grep -v wire/process.h)" # whose numbers for what becomes of a program are stored

lines() { # MAX FILE…: those with more
	local max=$1
	shift
	wc -l "$@" | awk -v max="$max" '$2 != "total" && $1 > max { print $2, $1 }'
}
nothing "no_c_file_has_more_than_600_lines" "$(lines 600 args/*.c base/*.c wire/*.c libcap-client/*.c libcap-client/*/*.c capfsd/*.c capfsd/*/*.c capfsd/*/*/*.c spawner/*.c spawner/*/*.c \
	capctl/*.c capctl/*/*.c helpers/*.c $(ls helpers/*/*.c 2>/dev/null) metrics/*.c mount/*.c)"
nothing "no_test_has_more_than_600_lines" "$(lines 600 tests/*.[ch] tests/*.sh)"
nothing "no_header_has_more_than_250_lines" "$(lines 250 args/*.h base/*.h wire/*.h capfsd/*/*.h capfsd/*/*/*.h spawner/*.h spawner/*/*.h capctl/*.h capctl/*/*.h helpers/*.h $(ls helpers/*/*.h 2>/dev/null) metrics/*.h mount/*.h \
	$(ls libcap-client/*.h libcap-client/*/*.h | grep -v cap-client.h))"
# It has privilege: a reviewer reads it in one sitting.
n_keeper=$(cat capfsd/keeper/*.[ch] | wc -l)
nothing "the_keeper_has_less_than_1000_lines" "$([ "$n_keeper" -lt 1000 ] || echo "$n_keeper")"
nothing "no_directory_has_more_than_15_c_files" "$(for dir in args base wire libcap-client libcap-client/*/ spawner spawner/*/ capfsd/*/ capfsd/*/*/ capctl capctl/*/ helpers $(ls -d helpers/*/ 2>/dev/null) metrics mount; do
	[ "$(ls "$dir" | grep -c '\.c$')" -le 15 ] || echo "$dir"
done)"
echo "1..$n"
exit $failed
