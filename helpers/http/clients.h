/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections that HAProxy has from us. No byte of them comes through this process, which keeps a duplicate
 * of each, as the daemon does: so a close of HAProxy's alone is never seen by a client. HAProxy shuts most of
 * them down first, and the client's own end follows. Only where the client has ended its side before, as one does
 * that attaches with a file as its input, it closes without a word: of such a connection we look whether HAProxy
 * still has it.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "helpers/http/slots.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"

struct clients {
	struct loop *loop;
	struct service *service;
	struct slots *slots;
	uint64_t max, n;
	uint64_t n_uncounted, limits_usec; /* of these; when it is looked whether they have limits by now */
	struct list waiting; /* HAProxy has not taken those of before */
	struct list open;
	struct list halves; /* the client has ended its side */
	struct list taken;  /* somebody else goes on with it */
	struct list dead;   /* to be freed after the round */
	struct list tenants; /* sessions that have some */
	struct message_limit limit;
};

void clients_init(struct clients *c, struct loop *l, struct service *s, struct slots *slots, uint64_t max);
void clients_deinit(struct clients *c);

/* Takes the connection. */
void clients_add(struct clients *c, int fd, const struct capc_caller *caller);

/* After every round, which may wait for so long. */
void clients_tend(struct clients *c);
uint64_t clients_timeout(const struct clients *c);

/*
 * Somebody goes on with the client whose socket has the inode INODE, which HAProxy has let go. It counts until it has
 * hung up. Returns: a duplicate, and its session's label; -ENOENT: it has left; -errno.
 */
int clients_take(struct clients *c, uint64_t inode, const char **ret_label);
