/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the library:
 *
 *	activate.c	where a session is found, and the socket that starts the daemon
 *	io.c		deadlines, and sockets that keep them
 *	session.c	the control connection
 *	nodes.c		… what is read there
 *	asking/		asking, and deciding on what is asked
 *	delegation/	capc_write() and its like, their short forms, and commands that are put together
 *	message.c	what a call carries, as the library owns it
 *	buffer.c	memory for large payloads, kept by who sends them
 *	window.c	… and by who receives them
 *	frame.c		calls as packets
 *	calling/	calling a service
 *	observe/	what the library tells of itself
 *	pass.c		capabilities in messages, and those that came in one
 *	posted.c	descriptors that are left with the daemon, and memory
 *	server.c	entrypoints: the round
 *	channel.c	… what the daemon hands over
 *	plain.c		… and sockets that nobody did
 *	caveats.c	… what its callers may ask, glob.c: … as patterns
 *	objects.c	… their objects and listeners
 *	connection.c	of a served entrypoint: the calls of one client
 *	request.c	… until they are answered, and their replies
 *	timer.c		… and what is to be done later
 *	limits.c	which of these calls may be
 *	programs/	starting programs and waiting for them
 *
 * No socket is made non-blocking, since that would show in every duplicate: all sending and
 * receiving is MSG_DONTWAIT, and waits in poll(2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/index.h"
#include "base/list.h"
#include "base/text.h"
#include "libcap-client/buffer.h"
#include "libcap-client/cap-client.h"
#include "libcap-client/frame.h"
#include "libcap-client/limits.h"
#include "wire/wire.h"

/* io.c. A deadline is in microseconds of CLOCK_MONOTONIC, UINT64_MAX is never. */

/* As getpid(2), which every function asks for: without a system call, also in a child of fork(2) or clone(2). */
pid_t process_id(void);

uint64_t now_usec(void);
uint64_t deadline_after(uint64_t timeout);

/* Microseconds until then, 0 if it is over. */
uint64_t deadline_left(uint64_t deadline);

/* Milliseconds until then for poll(2), rounded up; -1: for ever. */
int deadline_left_msec(uint64_t deadline);

/* As msg_send() and msg_receive(), but until the deadline. Give -ETIMEDOUT. */
int send_until(int fd, const void *data, size_t n, const int *fds, size_t n_fds, uint64_t deadline);
ssize_t receive_until(int fd, void *data, size_t size, int *ret_fd, uint64_t deadline);

/* Until FD is ready for EVENTS or has an error, which the next call will report. 0, -ETIMEDOUT. */
int wait_until(int fd, short events, uint64_t deadline);
/* … or until OTHER can be read; -1: there is none. */
int wait_until_either(int fd, short events, int other, uint64_t deadline);

/*
 * Whether to look again and again for a moment before one sleeps: to be woken up takes longer than
 * most answers do. Where it was in vain, the next times go without. It is for the caller to choose.
 */
struct spin {
	unsigned usec; /* for so long; 0: never */
	unsigned skip, skipped;
	uint64_t end_nsec; /* of the present one; 0: there is none */
};

/* Returns: 0, -EINVAL. */
int spin_set(struct spin *s, uint64_t usec);

/* Returns: true, to look once more; others who want the processor had it meanwhile. */
bool spin_again(struct spin *s, uint64_t deadline);

/* It is over: FOUND tells whether it was worth while. */
void spin_end(struct spin *s, bool found);

/* For a moment: others' descriptors have to be received first, and nothing tells when. */
int wait_in_flight(uint64_t deadline);

/* A socket connected to PATH, however long it is. Returns: 0, -ETIMEDOUT, -errno. */
int connect_path(const char *path, int type, uint64_t deadline, int *ret_fd);

/* SOCK_STREAM and so on, or -errno. */
int socket_type(int fd);

/* Closes FD; shuts it down before if this process is OWNER. Returns -1. */
int close_owned(int fd, pid_t owner);

/* session.c */

/*
 * Something is to be asked for: forgets the reason of an earlier refusal. For functions that can
 * fail before they make a request, which does the same.
 */
void session_begin(struct capc_session *s);

/* A refusal that is not the daemon's, with its reason. */
void session_refused(struct capc_session *s, const char *reason);

uint64_t session_deadline(const struct capc_session *s);

/* Nothing can be told from what comes after this: it is closed. Returns ERROR. */
int session_end(struct capc_session *s, int error);

struct wire_request request_make(enum wire_op op, const char *node, const char *text);

/*
 * One request and its answer, whose text lasts until the next one; with the answer's descriptor, which belongs to
 * the caller, who gives NULL where none is expected.
 */
int session_ask(struct capc_session *s, struct wire_request *q, uint64_t deadline, struct wire_reply *ret,
	int *ret_fd);

/*
 * A request that is under way while others use the session: whoever reads its answer gives it to ANSWERED, which is
 * called once, unless the request is given up by list_unlink(). Takes FD; REPLY NULL: the session has ended.
 */
struct errand {
	struct list link; /* of the session, while it is under way */
	uint64_t serial;
	uint8_t op;
	void (*answered)(struct errand *e, int error, const struct wire_reply *reply, int fd);
};

/*
 * Asks for an OPEN. Never waits. Returns: 0; -EAGAIN: the daemon takes no more for now, to be called again; another
 * -errno: ANSWERED is not called.
 */
int errand_open(struct errand *e, struct capc_session *s, const char *node, const char *text);

/*
 * Asks for a WAIT, which is answered with -EAGAIN when the session asks for anything else. Returns: 0, -EBUSY: there is
 * another wait; -errno: ANSWERED is not called. Blocks as long as the daemon takes nothing.
 */
int errand_wait(struct errand *e, struct capc_session *s, const char *node);

/* Takes what has come. Never waits. Returns: 0, also when the answer was not among it; -EMFILE; -errno. */
int errand_process(struct errand *e, struct capc_session *s);

/* ROOT, which S owns from now on, is its directory; -1: there is none in sight. */
void session_set_root(struct capc_session *s, int root);

/* Its directory in the file system, or -EOPNOTSUPP: there is none in sight; -ECHILD. */
int session_root(const struct capc_session *s);

/*
 * One request; the deadline is for all of it. A refusal is a -errno with capc_session_reason().
 * RET_TEXT as capc_write(), may be NULL.
 */
int session_do(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	char **ret_text, uint64_t deadline);

/* The same with an offset. */
int session_do_at(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t offset, char **ret_text, uint64_t deadline);

/* As capc_list(). */
int session_list(struct capc_session *s, const char *node,
	int (*each)(const char *name, void *data), void *data, uint64_t deadline);

/* One request whose answer is a descriptor. */
int session_do_fd(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t deadline, int *ret_fd);

/* The same, with the rest of the answer: its text lasts until the next request of S. */
int session_do_fd_reply(struct capc_session *s, enum wire_op op, const char *node, const char *text,
	uint64_t deadline, struct wire_reply *ret, int *ret_fd);

/*
 * The connection that the server of FD has for its client instead. Returns: 0, -ECONNREFUSED (it has
 * none), -ETIMEDOUT, -EBADMSG, -errno. It is asked for, and its answer taken when FD can be read, which else is -EAGAIN.
 */
int aside_take(int fd, uint64_t deadline, int *ret_fd);
int aside_ask(int fd);
int aside_answer(int fd, int *ret_fd);

/* The same for a node and a text that were put together: -ENOMEM when that failed. */
int session_do_text(struct capc_session *s, enum wire_op op, struct text *node, struct text *text,
	char **ret_text);

/* delegation/delegate.c: the node NODE ("/socket") of SLOT, a name or a path. 0, -EINVAL, -ENOMEM. */
int slot_node(const char *slot, const char *node, struct text *ret);

/* The value of KEY ("slot=") in a result such as "slot=web-2 id=44", or NULL. */
const char *result_find(const char *result, const char *key, size_t *ret_n);

/* The directory of the session below that is called NAME: "app/db" is sessions/app/sessions/db. */
void session_node_add(struct text *t, const char *name);

/* delegation/how.c: " KEY=VALUE" of what is given. Returns: 0, or -EINVAL when VALUE is none that KEY can have. */
int command_add(struct text *t, const char *key, const char *value);

/* message.c */

/*
 * A message that owns a copy of the payload of CALL, and the descriptors, which stay the caller's
 * on failure. W is for a payload in a buffer, may be NULL. A long one that is in *PACKET stays there: then *PACKET is
 * another one afterwards.
 * Returns: 0, -ENOMEM, -EBADMSG (a large payload that is not as it must be).
 */
int message_make(const struct wire_call *call, const int *fds, size_t n_fds, struct window *w,
	struct call_packet **packet, struct capc_msg *ret);

/* It came through a buffer. */
bool message_is_copied(const struct capc_msg *m);

/* The N bytes at DATA as a large payload travels. Returns: 0, -errno. */
int message_memfd(const void *data, size_t n, int *ret);

/* -EMSGSIZE, -EINVAL for what cannot be sent. */
int message_check(const struct capc_msg *m);
