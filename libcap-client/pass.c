/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities in messages. What is passed is the slot's socket node, opened with O_PATH: whoever has
 * it can connect and nothing else. A directory would be a way up to all that its owner sees.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "libcap-client/private.h"

int
capc_export(struct capc_session *s, const char *slot)
{
	cleanup_text struct text path = {};
	cleanup_close int fd = -1;
	struct stat st;
	int root = session_root(s), r;

	session_begin(s);
	if (root < 0)
		return root;
	r = slot_node(slot, "/socket", &path);
	if (r < 0)
		return r;
	fd = openat(root, path.data, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISSOCK(st.st_mode) ? take_fd(fd) : -EINVAL;
}

/* The name of the listener that FD came through; its length, 0: it has none, -errno. */
static int
listener_name(int fd, struct sockaddr_un *ret)
{
	socklen_t n = sizeof(*ret);

	if (getpeername(fd, (struct sockaddr *)ret, &n) < 0)
		return -errno;
	if (ret->sun_family != AF_UNIX || n <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	return (int)n;
}

int
capc_same(int a, int b)
{
	struct sockaddr_un name_a, name_b;
	struct stat st_a, st_b;
	int flags_a = fcntl(a, F_GETFL), flags_b = fcntl(b, F_GETFL), n;

	if (flags_a < 0 || flags_b < 0 || fstat(a, &st_a) < 0 || fstat(b, &st_b) < 0)
		return -errno;
	if (!S_ISSOCK(st_a.st_mode) || !S_ISSOCK(st_b.st_mode))
		return -ENOTSOCK;
	if (flags_a & flags_b & O_PATH)
		return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
	if ((flags_a | flags_b) & O_PATH)
		return 0;
	n = listener_name(a, &name_a);
	if (n <= 0)
		return n;
	return listener_name(b, &name_b) == n && memcmp(&name_a, &name_b, (size_t)n) == 0;
}
