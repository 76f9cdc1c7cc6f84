# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Sourced behind namespace.sh and harness.sh by tests that want Docker's interface: podman's, in the namespace.
#
#	containers		makes podman work, with an image "alpine" that is busybox
#	docker_starts		serves /run/docker.sock, to the group docker

# podman here has no control groups of its own, and may not raise limits; images are ours.
containers() {
	local root=$TMP/image
	[ -f /etc/containers/policy.json ] || return
	mkdir -p /var/lib/containers "$root/bin" && mount -t tmpfs none /var/lib/containers
	printf '[containers]\ndefault_ulimits=["nofile=512:512","nproc=1000:1000"]\ncgroups="disabled"\n' >/run/containers.conf
	cat >/usr/local/bin/podman <<-'EOT'
		#!/bin/sh
		export CONTAINERS_CONF=/run/containers.conf
		exec unshare --mount sh -c 'umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup
			exec /usr/bin/podman "$@"' - "$@"
	EOT
	chmod 755 /usr/local/bin/podman
	hash -r
	cp "$(command -v busybox)" "$root/bin/" && ln -s busybox "$root/bin/ls" || return
	ldd "$root/bin/busybox" | grep -o '/[^ ]*' | while read -r library; do
		install -D "$library" "$root$library"
	done
	tar -C "$root" -c . | podman import - docker.io/library/alpine:latest &&
		podman run --rm --network=none alpine ls /bin
}
docker_starts() {
	getent group docker >/dev/null || groupadd --system docker
	job podman system service --time=0 unix:///run/docker.sock >>"$TMP/server.log" 2>&1
	wait_for 20 test -S /run/docker.sock
	chgrp docker /run/docker.sock && chmod 660 /run/docker.sock
}
