/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * As whom a helper goes on once it serves, and as whom a relay connects.
 *
 * A server that asks the kernel for its peer (SO_PEERCRED) is told who called connect(2): of a relay that
 * stayed root, every client would be root there. So root is given up for a user that has nothing of its own;
 * or each connection is made as the client that it is for, with no more capabilities than that takes. What the
 * relay itself may reach, the server's socket, goes by its own user and group in any case.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "libcap-client/cap-client.h"

#define IDENTITY_USER "capfs-serve" /* whom root becomes unless another one is named */

struct identity_options {
	const char *user; /* "[USER][:GROUP,…]", NULL: as if nothing had been said */
	bool for_others;  /* it connects for its clients: root is given up, and no other user can be had again */
	bool lend_root;	  /* … but whoever connects may be root there */
	bool as_caller;	  /* each connection is made as the client */
};

struct identity {
	bool changes; /* when taken, and not only what it has already */
	bool for_others, as_caller, lend_root;
	uid_t uid, overflow_uid;
	gid_t gid;
	gid_t *groups; /* of the relay itself */
	size_t n_groups;
	int parent_signal; /* when its parent ends */
	pid_t parent;
};

/* Looks up who it is to be, and changes nothing. Returns: 0 or -errno, having said why. */
int identity_init(struct identity *i, const struct identity_options *o);
void identity_deinit(struct identity *i);

/* For good. Returns: 0 or -errno, having said why: then this process must end. */
int identity_take(struct identity *i);

/*
 * May a connection be made as CALLER, by --as-caller? Not as one whom this system has no number for, and as
 * root only if it is the root of this user namespace. Returns: NULL, or why not.
 */
const char *identity_refuses(const struct identity *i, const struct capc_caller *caller);

/*
 * Until identity_leave(), which ends the process if it cannot come back, whoever is connected to sees UID,
 * GID, and the groups that the kernel knows of the peer of CLIENT_FD, if that is UID. Nothing without
 * --as-caller. Returns: 0 or -errno.
 */
int identity_enter(const struct identity *i, int client_fd, uid_t uid, gid_t gid);
void identity_leave(const struct identity *i);
