# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034 # read by those who source it
#
# What building, testing and showing need on Debian and Ubuntu; sourced.

PACKAGES_BUILD=(autoconf automake libtool pkg-config gcc make libc6-dev libfuse3-dev fuse3 libsystemd-dev
	liblmdb-dev libseccomp-dev libcbor-dev libyaml-dev check)
PACKAGES_TEST=(curl socat lighttpd redis-server redis-tools procps strace mandoc python3
	systemd util-linux mount graphviz libglib2.0-dev)
# Small programs that read and write, each in its own way; larger ones (node, php, ruby, vim) are tried where they are.
PACKAGES_WRITERS=(busybox ed gawk git lua5.4 mksh moreutils rsync tcl xxd zsh zstd)
# Servers that are tried with unmodified clients.
PACKAGES_SERVERS=(mariadb-server-core mariadb-client-core postgresql dbus-daemon dbus-bin nginx-light haproxy apache2
	apache2-utils dovecot-imapd postfix php-fpm openssh-server openssh-client gnupg git podman crun xvfb
	x11-utils x11-xserver-utils)
# A browser is large, and where it comes as a snap it cannot look at the tests' files.
# prometheus has promtool, and starts a service where there is systemd: not on everybody's machine.
PACKAGES_CI=(clang g++ libclang-rt-dev prometheus chromium)

# install_packages PACKAGE…: by apt, through sudo if need be; says what.
install_packages() {
	local missing=() package sudo=

	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "installing: ${missing[*]}"
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
		echo "without sudo these must be installed by root: ${missing[*]}" >&2
		return 1
	fi
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
			--no-install-recommends "${missing[@]}" >/dev/null
}
