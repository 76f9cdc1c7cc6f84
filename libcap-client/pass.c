/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities in messages. What is passed is the slot's socket node, opened with O_PATH: whoever has
 * it can connect and nothing else. A directory would be a way up to all that its owner sees. Where
 * people can have such a descriptor who may not connect, it is a connection, which they cannot.
 *
 * What came in one is made known to the daemon without sending it there: the session's challenge is
 * written onto the socket node that the descriptor is of (capfsd/control/vouch.c), or a connection is
 * sent to an inspector (capfsd/control/inspection.c). The descriptor may be anything: nothing is asked
 * of it that would wait for another file system before it is known to be a socket of this daemon's own
 * mount.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/number.h"
#include "libcap-client/private.h"

#define AGAIN_USEC 2000

/* --- what is passed --- */

/* Returns: 1: to have NODE proves the right to connect, 0: it does not, -errno. */
static int
node_proves(int node)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", node);
	if (setxattr(path, WIRE_VOUCH_ATTRIBUTE, "", 0, 0) == 0)
		return 1;
	switch (errno) {
	case ENOTUNIQ:
		return 0;
	case ESTALE:
		return -ENOENT;
	case EINVAL: /* a daemon of before takes any node */
	case ENOENT: /* no /proc: who imports it is told */
		return 1;
	default:
		return -errno;
	}
}

static int
export_connection(struct capc_session *s, const char *slot)
{
	cleanup_text struct text path = {};
	cleanup_close int fd = -1;
	int r = slot_node(slot, "", &path);

	if (r == 0)
		r = session_do_fd(s, WIRE_OPEN, path.data, NULL, session_deadline(s), &fd);
	if (r == 0)
		r = fd_set_nonblock(fd, false);
	return r < 0 ? r : take_fd(fd);
}

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
	if (!S_ISSOCK(st.st_mode))
		return -EINVAL;
	r = node_proves(fd);
	if (r == 0)
		return export_connection(s, slot);
	return r < 0 ? r : take_fd(fd);
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

/* --- what came --- */

/* Is FD a socket in the file system DEVICE, "MAJOR:MINOR"? Returns: 0, -EINVAL, -EXDEV, -errno. */
static int
check_node(int fd, const char *device, size_t n_device)
{
	struct statx st;
	char own[32];
	int n;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.stx_mode))
		return -EINVAL;
	n = snprintf(own, sizeof(own), "%u:%u", st.stx_dev_major, st.stx_dev_minor);
	return (size_t)n == n_device && memcmp(own, device, n_device) == 0 ? 0 : -EXDEV;
}

/* Returns: 0, -EAGAIN (the daemon was restarted meanwhile), -errno. */
static int
write_challenge(int fd, const char *challenge, size_t n)
{
	char path[64];

	/* An O_PATH descriptor takes no fsetxattr(2). */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (setxattr(path, WIRE_VOUCH_ATTRIBUTE, challenge, n, 0) == 0)
		return 0;
	switch (errno) {
	case ECANCELED:
		return -EAGAIN;
	case ESTALE:
		return -ENOENT;
	case ENOENT: /* no /proc */
		return -EOPNOTSUPP;
	default:
		return -errno;
	}
}

static int
prove_node(struct capc_session *s, int fd, uint64_t deadline)
{
	cleanup_free char *text = NULL;
	const char *challenge, *device;
	size_t n_challenge, n_device;
	int r = session_do(s, WIRE_CHALLENGE, "", NULL, &text, deadline);

	if (r < 0)
		return r;
	challenge = result_find(text, "challenge=", &n_challenge);
	device = result_find(text, "device=", &n_device);
	if (!challenge || !device)
		return -EBADMSG;
	r = check_node(fd, device, n_device);
	return r < 0 ? r : write_challenge(fd, challenge, n_challenge);
}

/* Sends FD to an inspector, who tells the daemon what it is. Returns: as prove_node(). */
static int
prove_connection(struct capc_session *s, int fd, uint64_t deadline)
{
	cleanup_close int inspector = -1, nothing = -1;
	ssize_t n;
	char byte;
	int r = session_do_fd(s, WIRE_INSPECT, "", NULL, deadline, &inspector);

	while (r == 0) {
		r = send_until(inspector, "", 1, &fd, 1, deadline);
		if (r != -ETOOMANYREFS)
			break;
		r = wait_in_flight(deadline);
	}
	if (r == -EPIPE || r == -ECONNRESET)
		return -EAGAIN;
	if (r < 0)
		return r;
	n = receive_until(inspector, &byte, 1, &nothing, deadline);
	return n > 0 ? 0 : n == 0 || n == -ECONNRESET ? -EAGAIN : (int)n;
}

/*
 * Proves that FD is here, then asks for OP. A daemon that was restarted in between knows nothing of
 * the proof: then all of it once more, which does no harm.
 */
static int
ask_about(struct capc_session *s, int fd, bool node, enum wire_op op, const char *text,
	char **ret_text)
{
	uint64_t deadline = session_deadline(s);

	for (;;) {
		int r = node ? prove_node(s, fd, deadline) : prove_connection(s, fd, deadline);

		if (r == 0)
			r = session_do(s, op, "", text, ret_text, deadline);
		if (r != -EAGAIN)
			return r;
		if (deadline_left_msec(deadline) == 0)
			return -ETIMEDOUT;
		free(take_ptr(*ret_text));
		usleep(AGAIN_USEC);
	}
}

/* Returns: 1: a node, 0: a connected socket, -ENOTSOCK, -ENOTCONN, -EBADF. */
static int
is_node(int fd)
{
	struct sockaddr_un address;
	socklen_t n = sizeof(address);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_PATH)
		return 1;
	return getpeername(fd, (struct sockaddr *)&address, &n) < 0 ? -errno : 0;
}

int
capc_import(struct capc_session *s, int fd, const char *as, char **ret_slot)
{
	cleanup_close int owned = fd;
	cleanup_text struct text command = {};
	cleanup_free char *result = NULL;
	const char *slot;
	char *name;
	size_t n;
	int node, r;

	session_begin(s);
	node = is_node(owned);
	if (node < 0)
		return node;
	r = command_add(&command, "as", as);
	if (r == 0)
		r = text_done(&command);
	if (r == 0)
		r = ask_about(s, owned, node, WIRE_IMPORT, command.data, &result);
	if (r < 0)
		return r;
	slot = result_find(result, "slot=", &n);
	if (!slot)
		return -EBADMSG;
	name = ret_slot ? strndup(slot, n) : NULL;
	if (ret_slot && !name)
		return -ENOMEM;
	if (ret_slot)
		*ret_slot = name;
	return result_find(result, "held", &n) != NULL;
}

static uint64_t
result_number(const char *result, const char *key)
{
	size_t n;
	const char *value = result_find(result, key, &n);

	return value ? strtoull(value, NULL, 0) : 0;
}

static void
result_word(const char *result, const char *key, char *ret, size_t size)
{
	size_t n;
	const char *value = result_find(result, key, &n);

	snprintf(ret, size, "%.*s", value ? (int)n : 0, value ? value : "");
}

static bool
result_is(const char *result, const char *key, const char *word)
{
	size_t n;
	const char *value = result_find(result, key, &n);

	return value && n == strlen(word) && memcmp(value, word, n) == 0;
}

static uint32_t
result_rights(const char *result)
{
	static const struct {
		const char *name;
		uint32_t right;
	} names[] = {
		{"call", CAPC_RIGHT_CALL},
		{"grant", CAPC_RIGHT_GRANT},
		{"replicate", CAPC_RIGHT_REPLICATE},
		{"reduce", CAPC_RIGHT_REDUCE},
		{"transfer", CAPC_RIGHT_TRANSFER},
		{"share", CAPC_RIGHT_SHARE},
		{"fds", CAPC_RIGHT_FDS},
		{"raise", CAPC_RIGHT_RAISE},
		{"wait", CAPC_RIGHT_WAIT},
		{"accept", CAPC_RIGHT_ACCEPT},
		{"account", CAPC_RIGHT_ACCOUNT},
		{"control", CAPC_RIGHT_CONTROL},
		{"spawn", CAPC_RIGHT_SPAWN},
		{"kill", CAPC_RIGHT_KILL},
		{"pause", CAPC_RIGHT_PAUSE},
		{"affinity", CAPC_RIGHT_AFFINITY},
		{"signal", CAPC_RIGHT_SIGNAL},
		{"open", CAPC_RIGHT_OPEN},
	};
	size_t n = 0;
	const char *word = result_find(result, "rights=", &n), *end = word + n;
	uint32_t rights = 0;

	for (; word && word < end; word += n + 1) {
		n = strcspn(word, ", \n");
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strlen(names[i].name) == n && memcmp(names[i].name, word, n) == 0)
				rights |= names[i].right;
	}
	return rights;
}

/* What the socket says of itself: its listener was bound to "…/OBJECT.CAPABILITY". */
static int
identify_by_name(int fd, struct capc_identity *ret)
{
	struct sockaddr_un address = {};
	char path[sizeof(address.sun_path) + 1] = {};
	struct capc_identity id = {};
	socklen_t n = sizeof(address);

	if (getpeername(fd, (struct sockaddr *)&address, &n) < 0)
		return -errno;
	if (address.sun_family != AF_UNIX)
		return -EINVAL;
	memcpy(path, address.sun_path, sizeof(address.sun_path));
	if (number_parse_pair(path, &id.object, &id.capability) < 0)
		return -EINVAL;
	*ret = id;
	return 0;
}

int
capc_identify(struct capc_session *s, int fd, struct capc_identity *ret)
{
	cleanup_free char *result = NULL;
	int node, r;

	session_begin(s);
	node = is_node(fd);
	if (node < 0)
		return node;
	r = ask_about(s, fd, node, WIRE_IDENTIFY, NULL, &result);
	/* It is not the daemon's, or that cannot tell. */
	if (!node && (r == -EXDEV || r == -EOPNOTSUPP))
		return identify_by_name(fd, ret);
	if (r < 0)
		return r;
	*ret = (struct capc_identity){
		.verified = true,
		.object = result_number(result, "object="),
		.badge = result_number(result, "badge="),
		.capability = result_number(result, "capability="),
		.rights = result_rights(result),
		.vouched = result_is(result, "vouched=", "yes"),
	};
	result_word(result, "holder=", ret->holder, sizeof(ret->holder));
	result_word(result, "type=", ret->type, sizeof(ret->type));
	result_word(result, "owner=", ret->owner, sizeof(ret->owner));
	result_word(result, "slot=", ret->slot, sizeof(ret->slot));
	return 0;
}
