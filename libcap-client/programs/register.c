/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread of a process that the daemon has not started registers itself. It is one as long as it has the socket
 * over which it said so; the end of a thread closes nothing by itself, so that a destructor says it.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg.h"
#include "libcap-client/private.h"
#include "wire/register.h"

/* What a thread has registered: in each session it may. */
struct registration {
	struct registration *next;
	pid_t pid; /* a copy of it in a child is not the child's to end */
	int fd;
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int key_error;

static void
on_end(void *data)
{
	struct registration *r = data, *next;

	for (; r; r = next) {
		next = r->next;
		if (r->pid == getpid())
			(void)msg_send(r->fd, "", REGISTER_LEAVES_BYTES, NULL, 0, MSG_DONTWAIT);
		close(r->fd);
		free(r);
	}
}

static void
make_key(void)
{
	key_error = pthread_key_create(&key, on_end);
}

/* Returns: 0, -errno: the daemon's refusal, -ETIMEDOUT, -EBADMSG. */
static int
hear(int fd, uint64_t deadline)
{
	struct register_answer answer;
	size_t n_fds;

	for (;;) {
		ssize_t n = msg_receive(fd, &answer, sizeof(answer), NULL, 0, &n_fds, MSG_DONTWAIT);
		int r;

		if (n == sizeof(answer))
			return answer.error >= 0 ? -answer.error : -EBADMSG;
		if (n != -EAGAIN)
			return n == 0 ? -ECONNRESET : n < 0 ? (int)n : -EBADMSG;
		r = wait_until(fd, POLLIN, deadline);
		if (r < 0)
			return r;
	}
}

/* Returns: 0, or -errno. */
static int
speak(int fd, uint64_t deadline)
{
	const struct register_hello hello = {.magic = REGISTER_MAGIC};
	ssize_t n = socket_type(fd) == SOCK_SEQPACKET ? msg_send(fd, &hello, sizeof(hello), NULL, 0, MSG_DONTWAIT)
						      : -EBADMSG;

	return n < 0 ? (int)n : hear(fd, deadline);
}

static int
keep(int fd)
{
	struct registration *r;
	int e = pthread_once(&once, make_key);

	if (e == 0)
		e = key_error;
	if (e)
		return -e;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct registration){.next = pthread_getspecific(key), .pid = getpid(), .fd = fd};
	e = pthread_setspecific(key, r);
	if (e)
		free(r);
	return -e;
}

int
capc_thread_register(struct capc_session *s, const char *name)
{
	uint64_t deadline = session_deadline(s);
	cleanup_text struct text command = {};
	cleanup_close int fd = -1;
	struct wire_reply reply;
	int r;

	session_begin(s);
	r = command_add(&command, "name", name);
	if (r == 0 && text_done(&command) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = session_do_fd_reply(s, WIRE_REGISTER, "threads", command.data ? command.data : "", deadline, &reply,
			&fd);
	if (r == 0)
		r = speak(fd, deadline);
	if (r == 0)
		r = keep(fd);
	if (r == 0)
		(void)take_fd(fd);
	return r;
}
