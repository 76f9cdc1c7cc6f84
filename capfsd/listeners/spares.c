/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Under systemd with a store for descriptors (sd_pid_notify_with_fds(3)) each socket is also kept
 * there, so that listeners and connections outlive the whole daemon. Sent a little later and
 * together: most connections are short, and one that is gone by then costs nothing. Whoever ends a
 * socket shuts it down, upon which systemd forgets its copy; nothing need be taken back.
 *
 * Which ones are there already must be known by a next broker too. SO_PRIORITY, which means nothing
 * to a Unix socket, tells.
 */
#include "config.h"

#include "capfsd/listeners/spares.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/msg.h"
#include "base/notify.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/loop.h"
#include "capfsd/process/records.h"

/* How long a socket lives before it is worth a copy. Most connections are over by then. */
#define SPARES_USEC 20000
/* systemd was late, or too much was in flight to it. */
#define SPARES_AGAIN_USEC 100000
#define SPARE_PRIORITY 1
/* More than this can wait only while systemd does not listen: the rest goes without a copy. */
#define WAITING_MAX 65536
/* A stop of the daemon waits so long for systemd, NOW_TRIES times, and then goes on without it. */
#define NOW_MSEC 20
#define NOW_TRIES 50

struct waiting {
	uint64_t cookie; /* its number may belong to something else by now */
	int fd;
};

struct spares {
	int notify_fd;
	struct waiting *waiting;
	size_t n, size;
	sd_event_source *timer;
};

static int spares_on_timer(sd_event_source *source, uint64_t usec, void *data);

static int
open_notify(const char *path)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	socklen_t n;
	int r;

	if (fd < 0)
		return -errno;
	if (path[0] != '/' && path[0] != '@')
		return -EINVAL;
	r = notify_address(path, &address, &n);
	if (r < 0)
		return r;
	return connect(fd, (struct sockaddr *)&address, n) < 0 ? -errno : take_fd(fd);
}

/* What still waits is sent by the next broker, which watches the same sockets. */
struct spares *
spares_free(struct spares *spares)
{
	if (!spares)
		return NULL;
	sd_event_source_disable_unref(spares->timer);
	fd_close(spares->notify_fd);
	free(spares->waiting);
	free(spares);
	return NULL;
}

/*
 * Without a store at systemd, or without systemd, everything goes on as well: sockets then end with
 * the daemon.
 */
int
spares_new(sd_event *event, const struct boot *boot, struct spares **ret)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct spares *spares;
	int r;

	*ret = NULL;
	if (!boot->store_max || !path)
		return 0;
	spares = calloc(1, sizeof(*spares));
	if (!spares)
		return -ENOMEM;
	spares->notify_fd = open_notify(path);
	r = spares->notify_fd;
	if (r >= 0)
		r = loop_add_timer(event, spares_on_timer, spares, &spares->timer);
	if (r < 0) {
		/* It serves all the same. */
		log_message(LOG_WARNING, "sockets cannot be kept by systemd: %s", strerror(-r));
		spares_free(spares);
		return 0;
	}
	*ret = spares;
	return 0;
}

/* Is there a copy of FD already, or can there be none? An error means that this is no socket. */
static bool
has_spare(int fd)
{
	int priority = 0;
	socklen_t n = sizeof(priority);

	return getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, &n) < 0 ||
		priority == SPARE_PRIORITY;
}

/*
 * Whatever fails here is passed over: a copy is a comfort, and no client is refused for want of
 * one.
 */
void
spares_add(struct spares *spares, int fd)
{
	struct waiting w = {.fd = fd};

	if (!spares || has_spare(fd) || fd_socket_cookie(fd, &w.cookie) < 0)
		return;
	if (spares->n == spares->size) {
		size_t size = spares->size ? spares->size * 2 : 64;
		struct waiting *grown = NULL;

		if (size <= WAITING_MAX)
			grown = reallocarray(spares->waiting, size, sizeof(*grown));
		if (!grown)
			return;
		spares->waiting = grown;
		spares->size = size;
	}
	spares->waiting[spares->n++] = w;
	loop_arm(spares->timer, SPARES_USEC);
}

/*
 * The last ones that are still what they were: a number may belong to another socket by now, which
 * systemd would then keep under a false name. Returns: how many; *RET_LEFT, how many wait then.
 */
static size_t
next_batch(const struct spares *spares, int fds[MSG_FDS_MAX], size_t *ret_left)
{
	size_t left = spares->n, n = 0;
	uint64_t cookie;

	while (left > 0 && n < MSG_FDS_MAX) {
		const struct waiting *w = &spares->waiting[--left];

		if (fd_socket_cookie(w->fd, &cookie) == 0 && cookie == w->cookie)
			fds[n++] = w->fd;
	}
	*ret_left = left;
	return n;
}

/* As if it had been sent. */
void
spares_never(int fd)
{
	const int priority = SPARE_PRIORITY;

	setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

/* No descriptor of theirs is ever hung up, so they need a name by which they are taken back. */
void
spares_pages(struct spares *spares, uint64_t identity, const int fds[2])
{
	char message[80];
	int n;

	if (!spares)
		return;
	n = snprintf(message, sizeof(message), "%s=1\nFDNAME=" KEEP_NAME_PAGES "%" PRIx64 "%s",
		fds ? "FDSTORE" : "FDSTOREREMOVE", identity, fds ? "\nFDPOLL=0" : "");
	if (msg_send(spares->notify_fd, message, (size_t)n, fds, fds ? 2 : 0, MSG_DONTWAIT) < 0)
		log_message(LOG_WARNING, "systemd does not listen: pages %s",
			fds ? "will not outlive the daemon" : "stay with it");
}

/*
 * The mark is set after systemd was sent the copy: a crash in between sends it twice, which is
 * harmless, while a mark without a copy would leave the socket without one for good. Returns: 0,
 * -EAGAIN (systemd is late, or too much is in flight).
 */
static int
spares_send(struct spares *spares)
{
	static const char message[] = "FDSTORE=1\nFDNAME=" KEEP_NAME_SOCKET;
	int fds[MSG_FDS_MAX];

	while (spares->n > 0) {
		const int priority = SPARE_PRIORITY;
		size_t left, n = next_batch(spares, fds, &left);
		ssize_t r = 0;

		if (n > 0)
			r = msg_send(spares->notify_fd, message, sizeof(message) - 1, fds, n,
				MSG_DONTWAIT);
		if (r == -EAGAIN || r == -ETOOMANYREFS || r == -ENOBUFS)
			return -EAGAIN;
		if (r < 0)
			log_message(LOG_WARNING, "%zu sockets cannot be kept by systemd: %s", n,
				strerror((int)-r));
		for (size_t i = 0; r > 0 && i < n; i++)
			setsockopt(fds[i], SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
		spares->n = left;
	}
	return 0;
}

static int
spares_on_timer(sd_event_source *source, uint64_t usec, void *data)
{
	struct spares *spares = data;

	if (spares_send(spares) < 0)
		loop_arm(spares->timer, SPARES_AGAIN_USEC);
	return 0;
}

/* systemd closes what comes with a barrier when it has read all that was sent before. */
static void
wait_for_barrier(struct spares *spares)
{
	static const char message[] = "BARRIER=1";
	cleanup_close int ours = -1, theirs = -1;
	struct pollfd p = {};
	int pair[2];

	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return;
	ours = pair[0];
	theirs = pair[1];
	if (msg_send(spares->notify_fd, message, sizeof(message) - 1, &theirs, 1, MSG_DONTWAIT) < 0)
		return;
	theirs = fd_close(theirs);
	p = (struct pollfd){.fd = ours, .events = POLLIN};
	for (int i = 0; i < NOW_TRIES && poll(&p, 1, NOW_MSEC) <= 0; i++)
		;
}

/* Its sender must live until then: systemd asks by its pid to whom a message belongs. */
void
spares_now(struct spares *spares)
{
	if (!spares)
		return;
	for (int i = 0; i < NOW_TRIES && spares_send(spares) < 0; i++)
		poll(NULL, 0, NOW_MSEC);
	wait_for_barrier(spares);
}
