#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Every command line of README, in order, with the mount point and the paths of this test's services in
# place of README's, also those for an ordinary user. The lines of "Try it" are run by .ci/run, the
# installation by distcheck. Here the quickstart has to fail, since the service that it starts does.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
for program in lighttpd redis-server curl; do
	have "$program" || harness_skip "no $program"
done
harness_start --quota=threads=64

mkdir "$TMP/www"
echo 'a page' >"$TMP/www/index.html"
cat >"$TMP/lighttpd.conf" <<EOT
server.document-root = "$TMP/www"
server.bind = "$TMP/lighttpd.sock"
index-file.names = ( "index.html" )
EOT
sed 's/^server.bind.*/server.systemd-socket-activation = "enable"/' "$TMP/lighttpd.conf" >"$TMP/site.conf"
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

export CAPFS_PROFILES=$top_srcdir/profiles AS_NOBODY=''
owner=$(id -un)
if is_root; then AS_NOBODY=yes owner=nobody; fi
# Where whoever a program runs as finds them.
chmod 755 "$TMP"
mkdir "$TMP/libexec"
cp "$CAPFS_LIBEXEC"/capfs-* "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP/libexec"
export CAPFS_LIBEXEC=$TMP/libexec LD_LIBRARY_PATH=$TMP/libexec
# As README has them, less its remarks behind several blanks; a server goes to the background.
while IFS= read -r line; do
	line=${line%%    *}
	# What a program sees as /cap is its session.
	case $line in
	'capctl run'*) line=${line//--uid=nobody /${AS_NOBODY:+--uid=nobody }} ;;
	*) line=${line//\/cap\//$CAPFS/} ;;
	esac
	line=${line//\/run\/redis\/redis.sock/$TMP/redis.sock}
	line=${line//site.conf/$TMP/site.conf}
	line=${line//--owner=app/--owner=$owner}
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
t_like "what_the_daemon_starts_answers" '20[0-9][0-9]' timeout 20 "$PROBE" ask "$CAPFS/sessions/app/caps/hours/socket" ''

harness_stop

# The lines for an ordinary user, with a directory that this user may enter in place of /usr/local/sbin.
user_commands() {
	sed -n '/^An ordinary user/,/^Use$/ s/^    \$ //p' "$top_srcdir/README" |
		sed "s|/usr/local/sbin|$TMP/bin|; s|capctl tree|wait_for 5 test -e ~/cap/README \&\& &|"
	echo 'kill %1 && wait %1'
}
user=$(id -u nobody) # whose name fusermount3 asks for
user_instance() {
	as "$user" env -u STATE_DIRECTORY HOME="$TMP/home" XDG_RUNTIME_DIR="$TMP/home/run" LD_LIBRARY_PATH="$TMP/bin" \
		bash -ec "$(declare -f wait_for; user_commands)"
}
if is_root && have fusermount3 && as "$user" test -w /dev/fuse; then
	mkdir -p "$TMP/bin" "$TMP/home/run"
	cp "$CAPFSD" "$CAP" "$top_builddir"/libcap-client/.libs/libcap-client.so* "$TMP/bin"
	chown -R "$user" "$TMP/home"
	t_like "an_ordinary_user_has_a_daemon" '^init$' user_instance
	t_ok "and_no_mount_is_left" not mounted "$TMP/home/cap"
else
	t_skip "an_ordinary_user_has_a_daemon" "another user who can mount is needed"
fi

printf '#!/bin/sh\nexit 1\n' >"$TMP/lighttpd"
chmod +x "$TMP/lighttpd"
if have dpkg-query; then
	TMPDIR=$TMP BUILD_DIR=$top_builddir "$top_srcdir/tools/quickstart" --once >"$TMP/said" 2>&1
	t_is "a_quickstart_that_fails_says_so" 1 $?
	t_like "and_shows_the_log" "what capfsd said last" cat "$TMP/said"
	t_is "and_leaves_nothing" "" "$(ls -d "$TMP"/capfs-quickstart.* 2>/dev/null)"
else
	t_skip "a_quickstart_that_fails_says_so" "no dpkg-query"
fi
t_done
