#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Every command line of README, in order, with the mount point and the paths of this test's services in
# place of README's. The lines of "Try it" and "Install" are run elsewhere: tools/quickstart below in the
# build tree, tools/check by whoever runs this, the installation by distcheck.

. "$(dirname "$0")/harness.sh"
harness_check
for program in lighttpd redis-server curl; do
	have "$program" || harness_skip "no $program"
done
harness_start

mkdir "$TMP/www"
echo 'a page' >"$TMP/www/index.html"
cat >"$TMP/lighttpd.conf" <<EOT
server.document-root = "$TMP/www"
server.bind = "$TMP/lighttpd.sock"
index-file.names = ( "index.html" )
EOT
job lighttpd -D -f "$TMP/lighttpd.conf"
job redis-server --port 0 --unixsocket "$TMP/redis.sock" --save '' --dir "$TMP"
wait_for 10 test -S "$TMP/lighttpd.sock"
wait_for 10 test -S "$TMP/redis.sock"
t_ok "a_web_server_is_published" serve web --proxy="$TMP/lighttpd.sock"

ln -s "$CAP" "$TMP/capctl"
PATH=$TMP:$PATH
sed -n '/^Try it/q; s/^    \$ //p' "$top_srcdir/README" >"$TMP/first"
sed -n '/^Use$/,$ s/^    \$ //p' "$top_srcdir/README" >"$TMP/use"
t_ok "readme_has_commands" test "$(cat "$TMP/first" "$TMP/use" | wc -l)" -ge 14

# As README has them, less its remarks behind several blanks; a server goes to the background.
while IFS= read -r line; do
	line=${line%%    *}
	line=${line//\/cap\//$CAPFS/}
	line=${line//\/run\/redis\/redis.sock/$TMP/redis.sock}
	line=${line//--owner=app/--owner=$(id -un)}
	case $line in
	'capctl serve'*)
		name=${line#capctl serve }
		name=${name%% *}
		job bash -c "exec $line"
		t_ok "readme: $line" wait_for 10 test -d "$CAPFS/caps/$name"
		;;
	*)
		t_ok "readme: $line" timeout 20 bash -c "$line"
		;;
	esac
done < <(cat "$TMP/first" "$TMP/use")

harness_stop
t_done
