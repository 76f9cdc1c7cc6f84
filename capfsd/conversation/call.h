/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The client's end of a connection, for the open file of a `call`. `untaken` and what `progress`
 * says of a reply are written by reply.c, what it says of a request and the serial by
 * conversation.c, the rest by call.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/index.h"
#include "base/list.h"
#include "capfsd/conversation/conversations.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"

struct capability;
struct change;
struct connection;
struct memo;

enum call_state {
	CALL_ASKED,
	CALL_ANSWERED, /* some of the reply, or its end, was read */
	CALL_FAILED,   /* and every read says so */
};

/*
 * How far a conversation is: stands behind its record in the store, and so is never laid out anew.
 */
struct call_progress {
	uint64_t unique; /* of the READ that was replied to last */
	uint64_t wait_unique, wait_until_usec; /* of the one that waited last, by CLOCK_MONOTONIC */
	uint32_t offset; /* of the reply: so much was read */
	uint32_t last;	 /* … of which that READ got the last */
	uint32_t total;	 /* the reply's length, if that is a packet */
	uint32_t error;	 /* FAILED: of all reads; ANSWERED: the service's refusal, of the first */
	uint8_t state;	 /* enum call_state */
	uint8_t tag;	 /* of streams (reply.c) */
	uint8_t given_up; /* a read was not answered in time: the next request need not wait */
	uint8_t reserved[5];
};

_Static_assert(sizeof(struct call_progress) == 48, "as 0.1.0 has it");

struct conversations {
	struct sockets *sockets;
	conversation_ready_t ready;
	void *ready_data;
	struct index by_handle, by_owner; /* of struct call */
	struct list all;
	uint8_t *packet; /* WIRE_CALL_MAX bytes */
};

struct call {
	struct conversations *all;
	struct index_link handle_link; /* conversations.by_handle */
	struct index_link owner_link;  /* conversations.by_owner, by the capability's id */
	struct list link;	       /* conversations.all */
	struct connection *connection; /* of which it is the client; NULL: ended */
	struct watch watch;
	struct charge socket, ram;
	struct memo *memo;
	struct call_progress progress;
	uint64_t handle;
	uint32_t untaken; /* of a stream: was read, and is still in the socket */
	int fd;
	bool stream, calls; /* what the object speaks; neither: packets of its own */
};

/* NULL: there is none for that open file. */
struct call *call_find(struct conversations *all, uint64_t handle);
/*
 * A new one for that file, of C, with `memo` still to be made. Returns: 0, EDQUOT with the kind of
 * quota, -ENOMEM.
 */
int call_new(struct conversations *all, struct capability *c, uint64_t handle, struct call **ret,
	enum quota_kind *ret_kind);
/* Makes it known. Takes FD on success. Returns: 0 or -errno. */
int call_link(struct call *call, int fd);
/*
 * Its connection ends with it. One that is not linked has no descriptor. May be NULL. Returns:
 * NULL.
 */
struct call *call_free(struct call *call);
/* It is the client of CONN, as long as that lasts; NULL: of none. */
void call_connected(struct call *call, struct connection *conn);
/* Stages its record and its progress. Returns: 0 or -ENOMEM. */
int call_stage(struct call *call, struct change *ch);
/* Commits the progress. Returns: 0, -errno; then nothing has changed, but in memory. */
int call_commit(struct call *call);
/* The loop tells the file system when there is something to be read. */
void call_watch(struct call *call);
