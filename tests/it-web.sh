#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The example of capfsd.8 as it stands there: a web server that reaches its database only through a
# capability. Its files are written where it says, its commands are run.

. "$(dirname "$0")/namespace.sh" || exit 99
for program in lighttpd redis-server redis-cli curl; do
	command -v "$program" >/dev/null || namespace_skip "no $program"
done
namespace_enter
. "$(dirname "$0")/harness.sh" || exit 99
. "$(dirname "$0")/manager.sh" || exit 99
harness_check
t_ok "installs" namespace_install
manager_check
export -n CAPFS CAPFS_LIBEXEC
CAPFS=/cap
PATH=/usr/local/sbin:/usr/local/bin:$PATH
ldconfig
unset LD_LIBRARY_PATH

display() { # OPTIONS: that display of EXAMPLES
	awk -v start=".Bd $1" '
		/^\.Sh / { inside = $2 == "EXAMPLES" }
		/^\.Ed/ { copy = 0 }
		copy { print }
		inside && $0 == start { copy = 1 }' "$top_srcdir/man/capfsd.8" | sed 's/\\e/\\/g'
}
mkdir -p /etc/capfs /etc/systemd/system /srv/web
display -literal | awk '/^==> / { file = $2; next } { print >file }'
t_is "the_example_has_four_files" 4 "$(display -literal | grep -c '^==> ')"
manager_start
# The system's manager is the test's.
cp /etc/systemd/system/web.service /run/systemd/user/
cat >/usr/local/bin/systemctl <<EOT
#!/bin/sh
XDG_RUNTIME_DIR=/run exec /usr/bin/systemctl --user "\$@"
EOT
chmod 755 /usr/local/bin/systemctl
hash -r

# The database, which only its own user and group reach.
install -d -o redis -g redis -m 750 /run/redis
job setpriv --reuid=redis --regid=redis --clear-groups redis-server --port 0 --save '' --dir /run/redis \
	--unixsocket /run/redis/redis.sock --unixsocketperm 770 >/dev/null
wait_for 10 test -S /run/redis/redis.sock
redis-cli -s /run/redis/redis.sock set greeting "hello from the database" >/dev/null

display "-literal -offset indent" >"$TMP/commands"
n=0
while IFS= read -r command; do
	n=$((n + 1))
	case $command in
	curl*) wait_for 10 test -S /run/web/http ;;
	esac
	t_ok "command_$n: $command" timeout 60 bash -c "$command"
done <"$TMP/commands"
page() {
	curl -sS --max-time 10 --unix-socket /run/web/http http://localhost/
}
t_is "the_page_comes_from_the_database" "hello from the database" "$(page)"

# What is to be seen from where the web server is.
server=$(property MainPID web.service)
inside() {
	nsenter --mount --target "$server" setpriv --reuid=web --clear-groups "$@"
}
t_is "its_root_session_is_its_own" init/web "$(inside cat /cap/label)"
t_is "it_has_that_capability_and_no_other" db "$(inside ls /cap/caps)"
t_fails EACCES "the_databases_own_socket_is_out_of_reach" inside ls /run/redis/
t_fails EACCES "so_is_the_control_socket" inside ls /run/capfsd/
t_like "its_limit_is_its_own" '^conns limit=32 ' inside cat /cap/caps/db/info

t_ok "revoked" capctl revoke db --from=web
t_is "the_page_is_empty" "" "$(page)"
t_like "as_the_database_is_gone" 'Could not connect' inside redis-cli -s /cap/caps/db/socket ping
t_ok "granted_again" capctl grant db web conns=32
t_is "it_has" "hello from the database" "$(page)"
t_ok "a_restart_of_capfsd" systemctl restart capfsd.service
page_is_back() {
	page | grep -q 'hello from the database'
}
t_ok "G14_the_page_comes_back" wait_for 30 page_is_back
t_ok "manager_ends" manager_stop
t_done
