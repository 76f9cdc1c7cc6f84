/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The test plays the daemon: it has the other end of a session's control connection. The library
 * waits for its answers, and there is one thread, so an answer is put in before the request is
 * made, and the request is looked at afterwards.
 */
#pragma once

#include <check.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcap-client/cap-client.h"
#include "wire/wire.h"

#define SHORT 20000 /* usec, where the time is to run out */
#define LONG CAPC_TIMEOUT_USEC

struct played {
	int fd;          /* the daemon's end */
	uint64_t serial; /* of the last answer, or of a request before */
	capc_session *session;
};

void played_init(struct played *d);
void played_deinit(struct played *d);

/* The serial of a request that S makes, which is given up at once. */
uint64_t played_serial(struct played *d, capc_session *s);

/* Puts in the answer to the next request. TEXT may be NULL; FD stays the caller's, -1: none. */
void played_answer(struct played *d, enum wire_op op, int error, const char *text, int fd);
void played_answer_with(struct played *d, const struct wire_reply *reply, int fd);

/* The next request is this one. TEXT NULL: any. Returns its offset. */
uint64_t played_asked(struct played *d, enum wire_op op, const char *node, const char *text);

/* No request waits. */
void played_quiet(struct played *d);

/* A connected pair of sockets. */
void played_pair(int type, int ret_fds[2]);

/* A listener bound to DIRECTORY/NAME, whatever the length of that. */
int played_listen(const char *directory, const char *name, int type, int backlog);

/* The peer of FD ended the connection (without waiting). */
bool played_at_end(int fd);

/* An entrypoint "e" of the session; *RET_CHANNEL is the daemon's end. */
capc_entrypoint *played_attach(struct played *d, int *ret_channel);
capc_entrypoint *played_attach_to(struct played *d, capc_session *s, int *ret_channel);

/* Adds the object KEY with badge 0x100 + KEY. */
void played_add(struct played *d, capc_entrypoint *e, uint64_t key, capc_handler *f, void *data);

/*
 * Hands one end of a new connection to KEY over, with PIDFD if that is not -1.
 * Returns the client's end.
 */
int played_handover(int channel, uint64_t serial, uint64_t key, int pidfd);
void played_handover_fd(int channel, uint64_t serial, uint64_t key, int fd, int pidfd);

/* The server acknowledged this one; 0: nothing. */
void played_taken(int channel, uint64_t serial);

/* A new client of KEY, taken by E. Returns its end. */
int played_client(capc_entrypoint *e, int channel, uint64_t serial, uint64_t key);

/* Rounds until nothing is due. Returns how much they served. */
int played_serve_all(capc_entrypoint *e);

/* A client without the library. */
void played_call(int fd, uint64_t serial, uint32_t method, const void *data, size_t n, int passed);
/* Receives a return into BUFFER (WIRE_CALL_MAX). RET_FD may be NULL. False: there is none yet. */
bool played_return(int fd, void *buffer, struct wire_call *ret, int *ret_fd);

/* The daemon will open a connection of this type. Returns the service's end. */
int played_answer_open(struct played *d, int type);

/* A service without the library. FD -1: none, stays the caller's. */
void played_put_return(int service, uint64_t serial, uint32_t code, const char *data, int fd);
/* What it got. RET_FD may be NULL. */
void played_get_call(int service, uint64_t serial, const struct capc_msg *m, int *ret_fd);
