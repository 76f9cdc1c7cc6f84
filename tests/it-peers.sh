#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P30
#
# Servers that ask the kernel who their peer is, behind a relay that root has started: PostgreSQL by `peer`,
# MariaDB by unix_socket, D-Bus by EXTERNAL. Alone they see the relay's user, with --as-caller each caller's.

. "$(dirname "$0")/harness.sh" || exit 99
harness_check
is_root || harness_skip "root only: an ordinary user is the only one that a relay of theirs could be"
PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)
own=capfs-serve
# A user of the system's that owns nothing, and one that a server runs as.
caller=games server=daemon
harness_start --quota=caps=4096,sockets=512

# relay NAME PATH OPTION…: as whom root's relay connects by itself.
relay() {
	job "$CAP" serve "$1" --proxy="$2" "${@:3}" 2>>"$TMP/relay.log"
	SERVER=$!
	wait_for 20 served "$1" && chmod 777 "$CAPFS/caps/$1"
}
# user NAME COMMAND…: from where everybody may be
user() (
	cd / && timeout 60 setpriv --reuid="$1" --regid="$1" --clear-groups env HOME="$TMP" "${@:2}"
)
directory() { # NAME: the server's own
	mkdir "$TMP/$1" && chown "$server:" "$TMP/$1"
}

# --- PostgreSQL ---------------------------------------------------------------------------------------

# PostgreSQL's clients want a directory and a port, and make the name of the socket themselves.
pg() { # USER SLOT ROLE: asks who it is
	rm -rf "$TMP/link" && mkdir "$TMP/link" && chmod 755 "$TMP/link"
	ln -s "$CAPFS/caps/$2/socket" "$TMP/link/.s.PGSQL.5432"
	user "$1" psql -h "$TMP/link" -U "$3" -d postgres -tAc 'select current_user' 2>&1
}
postgres_answers() {
	user "$server" psql -h "$TMP/pg" -d postgres -tAc 'select 1'
}
if have initdb && have postgres && have psql; then
	directory pg
	user "$server" initdb -D "$TMP/pg/data" -A peer -U "$server" >"$TMP/output" 2>&1
	job setpriv --reuid=$server --regid=$server --clear-groups postgres -D "$TMP/pg/data" -k "$TMP/pg" -h '' \
		>"$TMP/pg.log" 2>&1
	postgres=$!
	t_ok "a_postgres" wait_for 60 postgres_answers
	user $server psql -h "$TMP/pg" -d postgres -qc "create role \"$own\" login" -c "create role root login superuser" \
		-c "create role $caller login"
	t_ok "a_relay_for_it" relay db "$TMP/pg/.s.PGSQL.5432"
	t_like "P30_postgres_root_gets_no_root" 'Peer authentication failed for user "root"' pg root db root
	t_is "P30_postgres_sees_the_relay" $own "$(pg root db $own)"
	t_is "P30_whoever_comes" $own "$(pg $caller db $own)"
	end_job "$SERVER"
	t_ok "one_as_the_caller" relay dbc "$TMP/pg/.s.PGSQL.5432" --as-caller
	t_is "P30_postgres_sees_the_caller" $caller "$(pg $caller dbc $caller)"
	t_is "P30_postgres_sees_root_as_root" root "$(pg root dbc root)"
	t_like "P30_postgres_lets_nobody_be_another" "Peer authentication failed for user \"$server\"" \
		pg $caller dbc $server
	end_job "$SERVER"
	end_job "$postgres"
else
	t_skip "P30_postgres" "no PostgreSQL"
fi

# --- MariaDB ------------------------------------------------------------------------------------------

maria() { # USER SLOT ACCOUNT
	user "$1" mariadb --no-defaults --socket="$CAPFS/caps/$2/socket" --user="$3" -NBe 'select current_user()' 2>&1
}
mariadb_answers() {
	user "$server" mariadb --no-defaults --socket="$TMP/maria/s" -NBe 'select 1'
}
if have mariadbd && have mariadb && have mariadb-install-db; then
	directory maria
	user "$server" mariadb-install-db --no-defaults --datadir="$TMP/maria/data" \
		--auth-root-authentication-method=socket --auth-root-socket-user=root --skip-test-db \
		--skip-name-resolve >"$TMP/output" 2>&1
	cat >"$TMP/init.sql" <<-EOT
		create user '$server'@localhost identified via unix_socket;
		create user '$own'@localhost identified via unix_socket;
		create user '$caller'@localhost identified via unix_socket;
	EOT
	job setpriv --reuid=$server --regid=$server --clear-groups mariadbd --no-defaults --datadir="$TMP/maria/data" \
		--socket="$TMP/maria/s" --skip-networking --init-file="$TMP/init.sql" >"$TMP/maria.log" 2>&1
	mariadb=$!
	t_ok "a_mariadb" wait_for 60 mariadb_answers
	t_ok "a_relay_for_it" relay sql "$TMP/maria/s"
	t_like "P30_mariadb_root_gets_no_root" "Access denied for user 'root'@'localhost'" maria root sql root
	t_is "P30_mariadb_sees_the_relay" "$own@localhost" "$(maria $caller sql $own)"
	end_job "$SERVER"
	t_ok "one_as_the_caller" relay sqlc "$TMP/maria/s" --as-caller
	t_is "P30_mariadb_sees_the_caller" "$caller@localhost" "$(maria $caller sqlc $caller)"
	t_is "P30_mariadb_sees_root_as_root" root@localhost "$(maria root sqlc root)"
	t_like "P30_mariadb_lets_nobody_be_another" "Access denied for user 'root'" maria $caller sqlc root
	end_job "$SERVER"
	end_job "$mariadb"
else
	t_skip "P30_mariadb" "no MariaDB"
fi

# --- D-Bus --------------------------------------------------------------------------------------------

bus() { # USER SLOT: the uid that the bus knows of it
	user "$1" dbus-send --bus="unix:path=$CAPFS/caps/$2/socket" --print-reply=literal --dest=org.freedesktop.DBus / \
		org.freedesktop.DBus.GetConnectionUnixUser string:org.freedesktop.DBus 2>&1
	user "$1" python3 - "$CAPFS/caps/$2/socket" 2>&1 <<-'EOT'
		import os, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(os.getuid()).encode().hex().encode())
		print(s.recv(100).decode().split()[0])
	EOT
}
if have dbus-daemon && have dbus-send && have python3; then
	directory bus
	cat >"$TMP/bus.conf" <<-EOT
		<busconfig>
		<type>custom</type>
		<listen>unix:path=$TMP/bus/s</listen>
		<auth>EXTERNAL</auth>
		<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
		<allow own="*"/></policy>
		</busconfig>
	EOT
	job setpriv --reuid=$server --regid=$server --clear-groups dbus-daemon --config-file="$TMP/bus.conf" --nofork \
		>"$TMP/bus.log" 2>&1
	dbus=$!
	wait_for 20 test -S "$TMP/bus/s"
	t_ok "a_relay_for_it" relay bus "$TMP/bus/s"
	t_like "P30_dbus_refuses_who_is_not_the_relay" '^REJECTED' bus root bus
	t_like "P30_whoever_it_is" '^REJECTED' bus $caller bus
	end_job "$SERVER"
	t_ok "one_as_the_caller" relay busc "$TMP/bus/s" --as-caller
	t_like "P30_dbus_knows_the_caller" '^OK' bus $caller busc
	t_like "P30_who_can_use_it" "uint32 $(id -u $server)" bus $caller busc
	t_like "P30_dbus_knows_root" '^OK' bus root busc
	end_job "$SERVER"
	end_job "$dbus"
else
	t_skip "P30_dbus" "no dbus-daemon, or no python3"
fi

harness_stop
t_done
