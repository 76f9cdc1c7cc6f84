#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time: 600
#
# The recipes of capfs-recipes.7 as they stand there, with the real programs: their files are written, their
# commands run by root or in the sight of the user app, and what they print is compared. All that is done
# here besides is what a machine has before: users, and the servers as Debian starts them.

. "$(dirname "$0")/namespace.sh" || exit 99
namespace_enter
# Ports are ours alone.
if [ -z "${RECIPES_NET:-}" ]; then
	unshare --net true 2>/dev/null || namespace_skip "no network namespace can be made"
	RECIPES_NET=own exec unshare --net bash "$top_srcdir/tests/${0##*/}"
fi
. "$(dirname "$0")/harness.sh" || exit 99
. "$(dirname "$0")/manager.sh" || exit 99
. "$(dirname "$0")/containers.sh" || exit 99
harness_check
t_ok "installs" namespace_install
manager_check
export -n CAPFS CAPFS_LIBEXEC
CAPFS=/cap
PATH=/usr/local/sbin:/usr/local/bin:$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)
ldconfig
unset LD_LIBRARY_PATH
page=$top_srcdir/man/capfs-recipes.7
ip link set lo up 2>/dev/null

# --- reading the page ---------------------------------------------------------------------------

# displays OPTIONS TITLE: what stands in such displays of a section or subsection.
displays() {
	awk -v start=".Bd $1" -v title="$2" '
		/^\.S[hs] / { inside = substr($0, 5) == title }
		/^\.Ed/ { copy = 0 }
		copy { print }
		inside && $0 == start { copy = 1 }' "$page" | sed 's/\\e/\\/g'
}
# Commands without their signs, each behind a line that says whose it is; what they print has a blank before it.
# A command that ends in a backslash goes on in the next line.
commands() { # TITLE
	displays "-literal -offset indent" "$1" | awk '
		more { sub(/^[ \t]*/, ""); print; more = /\\$/; next }
		/^# / { print "root"; print substr($0, 3); more = /\\$/; next }
		/^\$ / { print "app"; print substr($0, 3); more = /\\$/; next }
		{ print " " $0 }' | awk '/\\$/ { sub(/\\$/, ""); printf "%s", $0; next } { print }'
}

# --- who does it --------------------------------------------------------------------------------

# A mount namespace in which /cap is the session of app, as BindPaths= of a unit makes it.
view() {
	job unshare --mount sh -c 'mount --bind /cap/sessions/app /cap && exec sleep infinity'
	VIEW=$!
	wait_for 10 in_view test ! -e /cap/README
}
in_view() {
	nsenter --mount --target "$VIEW" setpriv --reuid=app --regid=app --clear-groups \
		env -i HOME=/home/app USER=app LC_ALL=C PATH="$PATH" "$@"
}
run_as() { # root|app COMMAND
	case $1 in
	root) exec bash -c "cd /root; $2" ;;
	app) in_view bash -c "cd; $2" ;;
	esac
}
# What ends in & stays until the recipe is done; the next command finds it at work.
begin() { # root|app COMMAND
	local port
	job run_as "$1" "exec ${2% &}" >>"$TMP/server.log" 2>&1
	case $2 in
	'capctl serve '*) wait_for 20 served "$(echo "$2" | cut -d' ' -f3)" ;;
	*TCP-LISTEN:*)
		port=${2#*TCP-LISTEN:}
		wait_for 20 listens "${port%%,*}"
		;;
	esac
}
listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
# step TITLE root|app COMMAND PRINTS
step() {
	local name="$1: $3" got
	case $3 in
	*' &')
		t_ok "$name" begin "$2" "$3"
		return
		;;
	esac
	# Nothing of ours is left open in it, nor is there a terminal to ask.
	got=$(run_as "$2" "$3" </dev/null 2>"$TMP/errors") || got+=" (status $?) $(cat "$TMP/errors")"
	case $3 in
	'capctl grant '*) t_like "$name" '^slot=[^ ]+ id=[0-9]+$' echo "$got" ;;
	*) t_is "$name" "$4" "$got" ;;
	esac
}
# follow TITLE: all of a recipe.
follow() {
	local title=$1 who='' command='' prints='' line
	displays -literal "$title" | awk '/^==> / { file = $2; next } { print >file }'
	while IFS= read -r line <&5; do
		case $line in
		' '*) prints+=${prints:+$'\n'}${line# } ;;
		*)
			[ -z "$who" ] || step "$title" "$who" "$command" "$prints"
			who=$line prints=''
			IFS= read -r command <&5
			;;
		esac
	done 5< <(commands "$title")
	step "$title" "$who" "$command" "$prints"
}

# --- what is there before -----------------------------------------------------------------------

# recipe TITLE PROGRAM…: is it to be tried?
TRIED=()
recipe() {
	local program
	TRIED+=("$1")
	for program in "${@:2}"; do
		have "$program" || { t_skip "$1" "no $program" && return 1; }
	done
}
# A server of the machine's, as one of its users.
server() { # USER COMMAND…
	job setpriv --reuid="$1" --regid="$1" --init-groups env HOME="$(getent passwd "$1" | cut -d: -f6)" "${@:2}" \
		>>"$TMP/server.log" 2>&1
}
# clean: what a recipe has served, and the sessions that it made, are gone, with its servers.
clean() {
	local i name
	for ((i = ${#HARNESS_JOBS[@]} - 1; i >= 0; i--)); do
		[ "${HARNESS_JOBS[i]}" = "$VIEW" ] || end_job "${HARNESS_JOBS[i]}"
	done
	HARNESS_JOBS=("$VIEW")
	rmdir /cap/entrypoints/* 2>/dev/null
	for name in /cap/sessions/*; do
		[ "${name##*/}" = app ] || capctl session close "${name##*/}" --all
	done
}
user() { # NAME
	getent passwd "$1" >/dev/null || useradd --system --user-group --create-home --shell /bin/bash "$1"
}
directory() { # PATH OWNER MODE
	install -d -o "$2" -g "$2" -m "$3" "$1"
}

for name in app alice git; do user $name; done
manager_start
t_ok "capfsd_starts" unit start capfsd.service
cat >/usr/local/bin/systemctl <<EOT
#!/bin/sh
XDG_RUNTIME_DIR=/run exec /usr/bin/systemctl --user "\$@"
EOT
chmod 755 /usr/local/bin/systemctl
hash -r
follow DESCRIPTION
t_ok "app_has_its_session" view

# --- servers ------------------------------------------------------------------------------------

if recipe PostgreSQL initdb postgres psql createuser; then
	user postgres
	rm -rf /run/postgresql && directory /run/postgresql postgres 2775 && directory /srv/pg postgres 700
	as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); }
	(as_postgres initdb -D /srv/pg/data -A peer -U postgres >"$TMP/output" 2>&1)
	printf "unix_socket_permissions = 0770\nlisten_addresses = ''\n" >>/srv/pg/data/postgresql.conf
	server postgres postgres -D /srv/pg/data -k /run/postgresql
	wait_for 60 setpriv --reuid=postgres --regid=postgres --clear-groups psql -h /run/postgresql -d postgres -c 'select 1'
	follow PostgreSQL
	t_fails EACCES "PostgreSQL: its own socket is out of reach" in_view psql -h /run/postgresql -d postgres -c 'select 1'
	# What people do all day.
	as_postgres createdb -h /run/postgresql -O app work
	t_ok "PostgreSQL: pgbench makes its tables" in_view pgbench -h /cap/caps/db/as -i -q work
	t_like "PostgreSQL: and uses them" '^number of failed transactions: 0 ' \
		in_view pgbench -h /cap/caps/db/as -c 4 -t 200 work
	# But for a word that pg_dump makes up each time.
	in_view pg_dump -h /cap/caps/db/as work 2>"$TMP/errors" | grep -v '^\\\(un\)\?restrict ' >"$TMP/dumped"
	as_postgres pg_dump -h /run/postgresql work | grep -v '^\\\(un\)\?restrict ' >"$TMP/as-it-is"
	t_ok "PostgreSQL: pg_dump has all of it" cmp "$TMP/dumped" "$TMP/as-it-is"
	t_like "PostgreSQL: which is much" '^[0-9]{7,}$' stat -c %s "$TMP/dumped"
	clean
fi

redis_starts() {
	user redis
	directory /run/redis redis 755
	server redis redis-server --port 0 --save '' --dir /run/redis --unixsocket /run/redis/redis.sock --unixsocketperm 770
	wait_for 20 test -S /run/redis/redis.sock
}
if recipe Redis redis-server redis-cli; then
	redis_starts
	follow Redis
	t_fails EACCES "Redis: its own socket is out of reach" \
		in_view redis-cli -s /run/redis/redis.sock ping
	clean
fi

nginx_ends() {
	nginx -s stop 2>/dev/null
	wait_for 20 test ! -e /run/nginx.pid
}
rm -f /etc/nginx/sites-enabled/* /run/nginx.pid
mkdir -p /var/log/nginx
if recipe nginx nginx curl; then
	follow nginx
	id=$(field id /cap/sessions/app/caps/web/info)
	t_ok "nginx: its log has the address of the slot" \
		wait_for 10 grep -q "^240.*\.$((id & 255)) \"GET / " /var/log/nginx/callers.log
	nginx_ends
	rm /etc/nginx/conf.d/recipe.conf
	clean
fi

fpm=$(compgen -c php-fpm | head -n 1)
if recipe php-fpm nginx "${fpm:-php-fpm}" curl; then
	mkdir -p /run/php /srv/php
	printf '<?php echo "hello from php", PHP_EOL;' >/srv/php/index.php
	sed -n '/^\[www\]/p; /^user\|^group\|^listen\|^pm/p' /etc/php/*/fpm/pool.d/www.conf |
		sed 's,^listen = .*,listen = /run/php/php-fpm.sock,' >"$TMP/pool"
	{ printf '[global]\nerror_log = %s\nprocess_control_timeout = 20s\n' "$TMP/fpm.log"; cat "$TMP/pool"; } >"$TMP/fpm.conf"
	job "$fpm" --nodaemonize --fpm-config "$TMP/fpm.conf" >>"$TMP/server.log" 2>&1
	master=$!
	t_is "php-fpm: listen.mode is Debian's" "660 www-data" \
		"$(wait_for 20 test -S /run/php/php-fpm.sock && stat -c '%a %U' /run/php/php-fpm.sock)"
	follow php-fpm
	if have ab; then
		# One that was reloaded again and again loses nobody's request.
		job ab -q -c 20 -n 4000 http://127.0.0.1:8081/index.php >"$TMP/ab" 2>&1
		load=$!
		for _ in 1 2 3 4 5; do
			sleep 0.3
			kill -USR2 "$master"
		done
		wait "$load"
		t_like "php-fpm: reloads fail nobody's request" '^Failed requests: +0$' cat "$TMP/ab"
		t_unlike "php-fpm: nor does nginx say that they did" '^Non-2xx' cat "$TMP/ab"
	fi
	nginx_ends
	rm /etc/nginx/conf.d/php.conf
	clean
fi

if recipe MariaDB mariadbd mariadb mariadb-install-db; then
	user mysql
	directory /run/mysqld mysql 755 && directory /srv/maria mysql 700
	mariadb-install-db --no-defaults --user=mysql --datadir=/srv/maria --auth-root-authentication-method=socket \
		--auth-root-socket-user=root --skip-test-db --skip-name-resolve >"$TMP/output" 2>&1
	server mysql mariadbd --no-defaults --datadir=/srv/maria --socket=/run/mysqld/mysqld.sock --skip-networking
	wait_for 60 mariadb --socket=/run/mysqld/mysqld.sock -e 'select 1'
	follow MariaDB
	t_like "MariaDB: its own socket is out of reach" '\(13\)$' \
		in_view mariadb --no-defaults --socket=/run/mysqld/mysqld.sock -e 'select 1'
	clean
fi

if recipe D-Bus dbus-daemon dbus-send; then
	user messagebus
	directory /run/dbus messagebus 755
	job dbus-daemon --system --nofork --nopidfile >>"$TMP/server.log" 2>&1
	wait_for 20 test -S /run/dbus/system_bus_socket
	follow D-Bus
	clean
fi

if have podman && have busybox; then
	containers >"$TMP/output" 2>&1 && CONTAINERS=yes
fi
if recipe Docker docker podman; then
	docker_starts
	follow Docker
	docker() {
		in_view env DOCKER_HOST=unix:///cap/caps/docker/socket DOCKER_BUILDKIT=0 docker "$@"
	}
	t_like "Docker: ps" '^CONTAINER ID' docker ps -a
	docker events >"$TMP/docker-events" 2>&1 &
	HARNESS_JOBS+=("$!")
	mkdir "$TMP/context" && echo hello >"$TMP/context/hello"
	printf 'FROM scratch\nCOPY hello /hello\nLABEL by=recipes\n' >"$TMP/context/Dockerfile"
	build() { tar -C "$TMP/context" -c . | docker build -q -t made -; }
	t_ok "Docker: build" build
	t_is "Docker: what was built" recipes "$(docker inspect -f '{{.Config.Labels.by}}' made)"
	saved() { docker save made | tar -t; }
	t_like "Docker: save" '^manifest.json$' saved
	t_ok "Docker: events" wait_for 20 grep -q ' image ' "$TMP/docker-events"
	unset -f docker
	clean
fi

if recipe git git socat; then
	directory /srv/git git 755
	as_git() {
		setpriv --reuid=git --regid=git --clear-groups env HOME=/home/git git "$@"
	}
	{
		cd /srv/git && as_git init -q -b main work && echo "hello from git" >work/README && as_git -C work add README &&
			as_git -C work -c user.name=git -c user.email=git@here commit -qm README &&
			as_git clone -q --bare work project.git
		cd / || exit
	} >"$TMP/output" 2>&1
	follow git
	clean
fi

if recipe sshd sshd ssh ssh-keygen socat; then
	mkdir -p /run/sshd
	ssh-keygen -A >"$TMP/output" 2>&1
	in_view sh -c 'mkdir -p -m 700 ~/.ssh && ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519 &&
		cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys'
	sed 's/^/here /' /etc/ssh/ssh_host_ed25519_key.pub >/etc/ssh/ssh_known_hosts
	follow sshd
	clean
fi

title="Servers and clients that know TCP only"
if recipe "$title" socat curl python3; then
	mkdir -p /srv/tcp && echo "hello by TCP" >/srv/tcp/index.html
	job python3 -m http.server --bind 127.0.0.1 --directory /srv/tcp 8082 >>"$TMP/server.log" 2>&1
	wait_for 20 listens 8082
	follow "$title"
	clean
fi

# --- services of a user -------------------------------------------------------------------------

directory "/run/user/$(id -u alice)" alice 700
if recipe ssh-agent ssh-agent ssh-add ssh-keygen; then
	socket=/run/user/$(id -u alice)/openssh_agent
	server alice ssh-agent -D -a "$socket"
	wait_for 20 test -S "$socket"
	setpriv --reuid=alice --regid=alice --clear-groups env HOME=/home/alice SSH_AUTH_SOCK="$socket" sh -c '
		ssh-keygen -q -t ed25519 -N "" -C alice@here -f ~/key && ssh-add -q ~/key' >"$TMP/output" 2>&1
	follow ssh-agent
	clean
fi

if recipe gpg-agent gpg gpg-agent gpgconf; then
	alice() {
		setpriv --reuid=alice --regid=alice --clear-groups env HOME=/home/alice "$@"
	}
	{
		alice mkdir -p -m 700 /home/alice/.gnupg "/run/user/$(id -u alice)/gnupg"
		alice gpg --batch --passphrase '' --quick-generate-key alice@here
		alice gpg --armor --export alice@here >/srv/alice.pub
	} >"$TMP/output" 2>&1
	follow gpg-agent
	alice gpgconf --kill gpg-agent
	clean
fi

if recipe X11 Xvfb xdpyinfo xhost; then
	install -d -m 1777 /tmp/.X11-unix
	job Xvfb :5 -noreset -nolisten tcp -nolisten local >>"$TMP/server.log" 2>&1
	wait_for 30 test -S /tmp/.X11-unix/X5
	follow X11
	clean
fi

# --- containers ---------------------------------------------------------------------------------

title="A container that has a session"
if [ -z "${CONTAINERS:-}" ]; then
	TRIED+=("$title")
	t_skip "$title" "no podman that starts containers here"
elif recipe "$title" podman redis-server; then
	redis_starts
	follow "$title"
	clean
fi

# --- backup -------------------------------------------------------------------------------------

# Somebody makes sessions all the while.
busy() {
	local n=0
	while mkdir "/cap/sessions/busy$n" 2>/dev/null; do
		echo $((n += 1)) >"$TMP/made"
		rmdir "/cap/sessions/busy$((n - 20))" 2>/dev/null
	done
}
TRIED+=("To copy it" "To bring it back")
mkdir -p /var/backups
mkdir /cap/sessions/before
job busy
writer=$!
wait_for 20 test -s "$TMP/made"
made=$(cat "$TMP/made")
follow "To copy it"
kill "$writer"
wait "$writer" 2>/dev/null
t_ok "somebody_wrote_all_the_while" test "$(cat "$TMP/made")" -ge "$made"
rmdir /cap/sessions/before
mkdir /cap/sessions/after
follow "To bring it back"
t_ok "the_daemon_takes_it" wait_for 30 test -d /cap/sessions/app
t_ok "what_was_ended_since_is_there" test -d /cap/sessions/before
t_ok "what_was_made_since_is_not" test ! -e /cap/sessions/after
t_ok "what_was_replied_to_is_there" test -d "/cap/sessions/busy$((made - 1))"

t_is "all_recipes_of_the_page" "$(sed -n 's/^\.Ss //p' "$page" | sort)" "$(printf '%s\n' "${TRIED[@]}" | sort)"
t_ok "manager_ends" manager_stop
t_done
