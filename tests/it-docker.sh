#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Conformance: P38
# Time: 300
#
# Docker's own client through capfs-http, in front of podman's service: who may only list is refused by Docker's
# words, who may all notices nothing. examples/docker is followed as it stands.

. "$(dirname "$0")/namespace.sh" || exit 99
namespace_enter
. "$(dirname "$0")/harness.sh" || exit 99
. "$(dirname "$0")/containers.sh" || exit 99
harness_check
for program in haproxy podman docker busybox; do have $program || harness_skip "no $program"; done
containers >"$TMP/output" 2>&1 || harness_skip "podman runs nothing here: $(tail -n 1 "$TMP/output")"
harness_start --quota=caps=4096,sockets=2048
docker_starts
for session in all ci; do "$CAP" session create $session caps=32 sockets=64 >/dev/null; done
job "$CAP" serve docker --http --proxy=/run/docker.sock --user=:docker 2>"$TMP/said"
t_ok "docker_is_served" wait_for 30 served docker
t_ok "a_tool_may_list" say 'to=ci only="GET /containers/**" only="GET /images/json" only="* /_ping" only="GET /version"' \
	"$CAPFS/caps/docker/grant"
t_ok "another_may_all" say to=all "$CAPFS/caps/docker/grant"

docker_as() { # SESSION ARGUMENT…
	DOCKER_BUILDKIT=0 DOCKER_HOST=unix://$CAPFS/sessions/$1/caps/docker/socket timeout 60 docker "${@:2}"
}

# --- who may only list

t_like "ps" '^CONTAINER ID' docker_as ci ps
t_like "images" '^docker.io/library/alpine|^alpine' docker_as ci images
t_like "create_is_refused_by_docker_s_own_client" \
	"Error response from daemon: init/ci docker: POST (/v[0-9.]+)?/containers/create is outside only='GET /containers/\*\*', 'GET /images/json'" \
	docker_as ci create alpine true
for command in 'rmi alpine' 'events --until 1s' 'info' 'pull alpine' 'network ls' 'volume ls'; do
	# shellcheck disable=SC2086 # words
	t_like "refused: $command" 'init/ci docker: [A-Z]+ [^ ]* is outside only=' docker_as ci $command
done
told() { grep -Eq "$1" "$CAPFS/sessions/ci/events"; }
create() {
	! docker_as ci create alpine true 2>/dev/null &&
		told ' refused call session=init/ci slot=docker uid=0 EPERM: POST (/v[0-9.]+)?/containers/create'
}
t_ok "it_is_an_event" wait_for 30 create

# --- who may all

t_like "all: ps" '^CONTAINER ID' docker_as all ps -a
docker_as all events >"$TMP/docker-events" 2>&1 &
events=$!
mkdir "$TMP/context" && echo hello >"$TMP/context/hello"
printf 'FROM alpine\nCOPY hello /hello\nLABEL by=tests\n' >"$TMP/context/Dockerfile"
build() { tar -C "$TMP/context" -c . | docker_as all build -q -t made -; }
t_ok "build" build
t_is "what_was_built" tests "$(docker_as all inspect -f '{{.Config.Labels.by}}' made)"
saved() { docker_as all save made | tar -t; }
t_like "save" '^manifest.json$' saved
t_ok "events_come_as_they_happen" wait_for 30 grep -q ' image ' "$TMP/docker-events"
kill $events; wait $events 2>/dev/null
t_ok "a_container" docker_as all run -d --network=none --name=runs alpine /bin/busybox sleep 300
t_ok "exec_in_the_background" docker_as all exec -d runs /bin/busybox true
t_is "exec" hello "$(docker_as all exec runs /bin/busybox echo hello 2>&1)"
t_is "exec_with_a_file_as_its_input" "from the file" \
	"$(echo from the file | docker_as all exec -i runs /bin/busybox cat 2>&1)"
t_is "exec_with_a_status" 7 "$(docker_as all exec runs /bin/busybox sh -c 'exit 7' >/dev/null 2>&1; echo $?)"
t_like "exec_of_what_is_not_there" 'exec|not found|no such file' docker_as all exec runs /nothing
much() { head -c 4000000 /dev/zero | docker_as all exec -i runs /bin/busybox cat | wc -c; }
t_is "much_both_ways" 4000000 "$(much)"
t_ok "one_may_exec_in_one_container" say 'to=ci as=exec only="* /containers/runs/**" only="* /exec/**" only="* /_ping"' "$CAPFS/caps/docker/grant"
exec_as_ci() { DOCKER_HOST=unix://$CAPFS/sessions/ci/caps/exec/socket timeout 60 docker exec "$@"; }
t_is "who_may_exec_only" hello "$(exec_as_ci runs /bin/busybox echo hello 2>&1)"
t_like "and_in_no_other" 'is outside' exec_as_ci other /bin/busybox echo hello
t_is "run_with_a_file_as_its_input" "FROM THE FILE" \
	"$(echo from the file | docker_as all run -i --rm --network=none alpine /bin/busybox tr a-z A-Z 2>&1)"
t_like "the_tool_sees_them" ' runs$' docker_as ci ps
t_ok "logs" docker_as ci logs runs
t_like "and_may_not_end_them" 'POST [^ ]*/containers/runs/kill is outside' docker_as ci kill runs
t_ok "who_may_all_does" docker_as all rm -f runs

# --- taken away

t_ok "it_is_taken_away" "$CAP" revoke docker --from=ci
t_like "then_nobody_is_there" '[Cc]annot connect|no such file|failed to connect' docker_as ci ps

# --- the example -------------------------------------------------------------------------------

end_job "${HARNESS_JOBS[-1]}"
wait_for 20 detached docker
rmdir "$CAPFS/entrypoints/docker"
"$CAP" session close ci --all
ln -s "$CAP" "$TMP/capctl"
job env PATH="$TMP:$PATH" sh "$top_srcdir/examples/docker/docker" /run/docker.sock 2>"$TMP/example"
t_ok "examples_docker" wait_for 30 test -e "$CAPFS/sessions/web/caps/docker"
t_like "a_tool_lists" '^CONTAINER ID' docker_as ci ps
t_like "a_tool_makes_nothing" 'init/ci docker: POST [^ ]*/containers/create is outside' docker_as ci create alpine true
t_like "monitoring_lists" '^CONTAINER ID' docker_as monitor ps
t_like "and_sees_no_images" 'init/monitor docker: GET [^ ]*/images/json is outside' docker_as monitor images
t_like "one_container_is_another_s" 'init/web docker: POST [^ ]*/containers/other/start is outside' docker_as web start other
t_unlike "the_own_one_is_not" 'is outside' docker_as web start web
harness_stop
t_done
