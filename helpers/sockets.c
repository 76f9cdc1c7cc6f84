/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/number.h"
#include "helpers/message.h"

#define LISTEN_FDS_START 3
#define ACCEPTS_MAX 16
#define PAUSE_USEC 100000
#define CONNECT_USEC UINT64_C(2000000)

static bool
is_listener(int fd, int wanted)
{
	int listening = 0, type = 0;
	socklen_t n = sizeof(int), n_type = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) == 0 && listening &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n_type) == 0 && type == wanted;
}

/* How many were passed to this process; the ones that it starts are not told. */
static uint64_t
count_passed(void)
{
	const char *pid_text = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
	uint64_t pid = 0, n = 0;

	if (!pid_text || !n_text || number_parse(pid_text, strlen(pid_text), false, &pid) < 0 ||
		number_parse(n_text, strlen(n_text), false, &n) < 0 || pid != (uint64_t)getpid())
		n = 0;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return n;
}

int
sockets_take(struct sockets *s, bool seqpacket)
{
	uint64_t n = count_passed();

	*s = (struct sockets){.type = seqpacket ? SOCK_SEQPACKET : SOCK_STREAM};
	if (n > SOCKETS_MAX) {
		message("at most %d sockets of a service manager are served", SOCKETS_MAX);
		return -EINVAL;
	}
	for (uint64_t i = 0; i < n; i++) {
		int fd = LISTEN_FDS_START + (int)i;

		if (!is_listener(fd, s->type) || fd_set_cloexec(fd, true) < 0 ||
			fd_set_nonblock(fd, true) < 0) {
			message("what the service manager passed as descriptor %d is no %s socket "
				"that listens (Accept=no)", fd, seqpacket ? "seqpacket" : "stream");
			return -EINVAL;
		}
		s->listeners[i] = (struct sockets_listener){.source.fd = fd, .sockets = s};
	}
	s->n = (unsigned)n;
	return 0;
}

static void
listener_run(struct source *source, uint32_t events)
{
	struct sockets *s = container_of(source, struct sockets_listener, source)->sockets;

	for (int i = 0; i < ACCEPTS_MAX && s->relays.n < s->relays.options.max; i++) {
		int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			/* Without descriptors they wait in the backlog. */
			if (errno != EAGAIN)
				s->pause_until_usec = s->loop->now_usec + PAUSE_USEC;
			return;
		}
		relays_add(&s->relays, fd, &(struct capc_caller){.label = "a socket of the service manager"});
	}
}

/*
 * By the session's own connection: this process may have become somebody who cannot reach the slot in the file
 * system. Nothing else moves until the daemon has answered, so it is not waited for any longer than this.
 */
static int
connect_slot(void *data, int client_fd, uid_t uid, gid_t gid)
{
	struct sockets *s = data;
	capc *c;
	int e = capc_open(s->session, s->slot, CONNECT_USEC, &c);

	return e < 0 ? e : capc_take_fd(c);
}

int
sockets_start(struct sockets *s, struct service *service, const struct service_options *o, uint64_t max)
{
	struct relays_options r = {.seqpacket = o->seqpacket, .max = max, .connect = connect_slot, .data = s};
	struct loop *l = service->loop;
	int e = 0;

	if (s->n == 0)
		return 0;
	s->session = service->session;
	s->slot = o->slot ? o->slot : o->name;
	r.path = s->slot;
	s->loop = l;
	e = relays_init(&s->relays, l, NULL, &r);
	/* Whoever may connect there may connect here: that is what the unit is for. */
	s->relays.checked = true;
	for (unsigned i = 0; e == 0 && i < s->n; i++) {
		s->listeners[i].source.run = listener_run;
		e = loop_add(l, &s->listeners[i].source, EPOLLIN);
	}
	if (e < 0)
		message("the service manager's sockets: %s", error_name(e));
	return e;
}

void
sockets_tend(struct sockets *s)
{
	uint32_t wanted = EPOLLIN;

	if (!s->loop)
		return;
	relays_tend(&s->relays);
	if (s->loop->now_usec >= s->pause_until_usec)
		s->pause_until_usec = 0;
	if (s->relays.n >= s->relays.options.max || s->pause_until_usec)
		wanted = 0;
	for (unsigned i = 0; i < s->n; i++)
		if (s->listeners[i].source.events != wanted)
			loop_modify(s->loop, &s->listeners[i].source, wanted);
}

uint64_t
sockets_timeout(const struct sockets *s)
{
	uint64_t timeout = s->loop ? relays_timeout(&s->relays) : UINT64_MAX;

	return s->pause_until_usec && timeout > PAUSE_USEC ? PAUSE_USEC : timeout;
}

/* The service manager has them as well, and listens on: they are not shut down. */
void
sockets_deinit(struct sockets *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->loop)
			loop_remove(s->loop, &s->listeners[i].source);
		fd_close(s->listeners[i].source.fd);
	}
	if (s->loop)
		relays_deinit(&s->relays);
}
