/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A path that is longer than sun_path is reached through an O_PATH descriptor of its socket, by the
 * link that /proc has to that. Nothing here waits.
 */
#include "config.h"

#include "helpers/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "helpers/message.h"

int
backend_connect(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int node = -1;
	cleanup_close int fd = -1;

	if (strlen(path) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, path);
	} else {
		node = open(path, O_PATH | O_CLOEXEC);
		if (node < 0)
			return -errno;
		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", node);
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* They would not be passed on. */
	(void)fd_refuse_descriptors(fd);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(fd);
}

/*
 * A socket of a type that is not the server's finds it, with all permissions, and is then refused as such,
 * before the server could be told. So one that serves a single connection, or logs each, is not disturbed.
 */
int
backend_look(const char *path, int type)
{
	int fd = backend_connect(path, type == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM);

	if (fd < 0 && fd != -EAGAIN)
		return fd == -EPROTOTYPE ? 0 : fd;
	if (fd >= 0)
		fd_close(fd);
	return -EPROTOTYPE;
}

const char *
backend_advice(int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return ": no server is there";
	case -EACCES:
		return ": the server lets this user not in (--user)";
	case -EPROTOTYPE:
		return ": its socket is of the other type (--socket)";
	default:
		return "";
	}
}

/*
 * Write permission on the socket, and search permission on each directory above it: one that shuts
 * others out is enough. It is a hint for a warning, not a decision, as modes may change at any time.
 */
bool
backend_is_exposed(const char *path)
{
	cleanup_free char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0 || !(st.st_mode & S_IWOTH))
		return false;
	for (char *slash = strrchr(real, '/'); slash; slash = strrchr(real, '/')) {
		*slash = '\0';
		if (stat(*real ? real : "/", &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
	}
	return true;
}

void
backend_warn(const char *path)
{
	if (backend_is_exposed(path))
		message("warning: every user can connect to %s itself, without a capability", path);
}
