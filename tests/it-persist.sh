#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P26 P27
#
# Where the state is when nobody says where: on a disk, named after the mount point, for root and for a
# user; what a stop and a start keep; --volatile; what is refused as a place for it.

. "$(dirname "$0")/namespace.sh" || exit 99
namespace_enter
. "$(dirname "$0")/harness.sh" || exit 99
harness_check
unset STATE_DIRECTORY

# As at a boot: nothing of the run directory is left.
reboot() {
	harness_stop
	rm -rf "$RUN"
	harness_start "$@"
}
state=/var/lib/capfsd/$(systemd-escape --path "$CAPFS")/state

harness_start
t_ok "it_is_on_a_disk_named_after_the_mount_point" test -f "$state/state.mdb"
t_is "and_the_daemons_own" "700 capfs" "$(stat -c '%a %U' "$state")"
t_is "with_no_state_in_the_run_directory" lock "$(ls "$RUN")"
serve echo --inetd -- /bin/cat
capctl() {
	timeout 30 "$CAP" "$@"
}
capctl session create app caps=8 >/dev/null
capctl grant echo app conns=3 calls=50 >/dev/null
capctl grant echo app as=short expires=3600 >/dev/null
end_job "$SERVER"
wait_for 10 detached echo
before=$(dump)
reboot
t_is "a_stop_and_a_start_keep_sessions_grants_limits" "$before" "$(dump)"
t_like "the_limits_are_there" '^calls limit=50' cat "$CAPFS/sessions/app/caps/echo/info"
kill -9 "$KEEPER"
wait "$KEEPER" 2>/dev/null
wait_for 10 all_ended
harness_start
t_is "so_does_a_kill_of_everything" "$before" "$(dump)"

# Another mount point, another state, also at the same time.
mkdir "$TMP/other"
CAPFS=$TMP/other RUN=$TMP/other-run
job "$CAPFSD" --run-dir="$TMP/other-run" "$TMP/other"
OTHER=$!
wait_for 15 test -f "$TMP/other/label"
t_is "another_mount_point_has_its_own" "" "$(ls "$TMP/other/sessions")"
end_job "$OTHER"
CAPFS=$TMP/cap RUN=$TMP/run

# The old way.
reboot --volatile
t_is "volatile_is_in_the_run_directory" "" "$(ls "$CAPFS/sessions")"
t_ok "and_there_is_its_file" test -f "$RUN/state/state.mdb"
mkdir "$CAPFS/sessions/passing"
reboot --volatile
t_is "and_gone_with_that" "" "$(ls "$CAPFS/sessions")"
reboot
t_is "the_one_on_the_disk_is_as_it_was" "$before" "$(dump)"
harness_stop

# --- what is no place ---------------------------------------------------------------------------

refused() { # NAME WORDS OPTION…
	local name=$1 words=$2 status
	shift 2
	timeout 20 "$CAPFSD" --run-dir="$RUN" "$@" "$CAPFS" >"$TMP/output" 2>&1
	status=$?
	[ $status -eq "${STATUS:-1}" ] && grep -qF -- "$words" "$TMP/output"
	t_result $? "$name"
}
STATUS=2 refused "volatile_and_a_place" "exclude each other" --volatile --state-dir="$TMP/x"
mkdir -m 700 "$TMP/foreign" && chown 65534 "$TMP/foreign"
refused "P27_a_state_directory_of_somebody_else" ": chown it if it is this daemon's" --state-dir="$TMP/foreign"
mkdir -p -m 700 "$TMP/closed"
refused "a_place_that_the_daemon's_user_cannot_get_to" "cannot get to the state directory" \
	--state-dir="$TMP/closed/state"
ln -s "$state" "$TMP/link"
refused "P27_a_link_in_its_place" "cannot open the directory" --state-dir="$TMP/link"
chmod 755 "$state"
refused "P27_one_that_others_can_enter" ": chmod it if nobody has changed what is in it"
chmod 700 "$state"
chmod 777 /var/lib/capfsd
refused "P27_a_way_there_that_others_can_write_to" "others can write to the state directory /var/lib/capfsd"
chmod 755 /var/lib/capfsd
chown 65534 "${state%/state}"
refused "P27_or_that_is_somebody_else's" "belongs to uid 65534"
chown 0 "${state%/state}"
mv "${state%/state}" "$TMP/elsewhere"
ln -s "$TMP/elsewhere" "${state%/state}"
refused "P27_or_a_link" "cannot open the directory"
rm "${state%/state}"
mv "$TMP/elsewhere" "${state%/state}"

# The store itself: what is there in its place is not followed.
mv "$state/state.mdb" "$TMP/state.mdb"
ln -s "$TMP/state.mdb" "$state/state.mdb"
sum=$(sha256sum <"$TMP/state.mdb")
: >"$TMP/log"
harness_launch
sleep 1
harness_end_daemon
KEEPER=''
t_is "P27_a_link_in_place_of_the_store_is_not_followed" "$sum" "$(sha256sum <"$TMP/state.mdb")"
mv "$TMP/state.mdb" "$state/state.mdb"
harness_start
t_is "all_of_that_has_changed_nothing" "$before" "$(dump)"
harness_stop

# --- a user's -----------------------------------------------------------------------------------

if have fusermount3 && useradd --create-home ann && [ -w /dev/fuse ] &&
	setpriv --reuid=ann --regid=ann --init-groups test -w /dev/fuse; then
	install -d -o ann -g ann -m 700 /run/ann
	as_ann=(env -i HOME=/home/ann XDG_RUNTIME_DIR=/run/ann PATH="$PATH" LC_ALL=C
		LD_LIBRARY_PATH="$LD_LIBRARY_PATH" setpriv --reuid=ann --regid=ann --init-groups env)
	ann() { # [VARIABLE=VALUE] CMD…
		"${as_ann[@]}" "$@"
	}
	cp "$CAPFSD" /usr/local/bin/capfsd-of-ann
	ann mkdir /home/ann/cap
	ann_start() {
		job "${as_ann[@]}" "$@" capfsd-of-ann /home/ann/cap
		ANN=$!
		wait_for 15 ann test -f /home/ann/cap/label
	}
	ann_stop() {
		end_job "$ANN"
		not mounted /home/ann/cap
	}
	t_ok "a_user's_starts" ann_start
	t_ok "and_has_it_below_the_home" test -f /home/ann/.local/state/capfsd/home-ann-cap/state/state.mdb
	ann mkdir /home/ann/cap/sessions/kept
	t_ok "it_stops" ann_stop
	t_ok "a_user's_starts_again" ann_start
	t_is "with_what_there_was" kept "$(ann ls /home/ann/cap/sessions)"
	ann_stop
	t_ok "or_where_XDG_STATE_HOME_says" ann_start XDG_STATE_HOME=/home/ann/elsewhere
	t_ok "there_it_is" test -f /home/ann/elsewhere/capfsd/home-ann-cap/state/state.mdb
	ann_stop
else
	t_skip "a_user's_starts" "no fusermount3, no user, or /dev/fuse is root's"
fi
t_done
