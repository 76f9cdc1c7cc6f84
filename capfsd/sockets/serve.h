/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Servers come and go: an entrypoint gets a channel when one attaches, and loses it when that
 * closes, with all that its server had. What the store must be told of a loss is tried until it has
 * room for it.
 */
#pragma once

#include <stdint.h>

#include "capfsd/listeners/core.h"

struct change;
struct channel;
struct entrypoint;
struct memo;
struct session;

/* For core_add_user(): channels are pumped when there is room again. */
extern const struct endpoint_ops serve_ops;

/* Returns: 0 or -errno. */
int served_new(struct sockets *sockets);
void served_free(struct sockets *sockets);

/* What a server can do with what it is handed. */
struct channel_ways {
	bool pidfd; /* look at a pidfd of each client */
	bool aside; /* give the client another connection */
	bool caveats; /* keep those of each connection */
	bool visits; /* be visited (visits.h) */
};

/*
 * A channel for a server of S, and the other end of its socket, both the caller's: after the commit
 * comes serve_publish(), else serve_abandon(). Returns: 0, -EDQUOT (sockets), -errno.
 */
int serve_prepare(struct sockets *sockets, struct session *s, const struct channel_ways *ways,
	struct channel **ret, int *ret_server_fd);
/* May the server of E, if there is one, give its clients other connections than ours? */
bool serve_steps_aside(const struct entrypoint *e);
/* Stages that CHANNEL serves E, whose record CH has. Returns: 0 or -ENOMEM. */
int serve_stage(struct channel *channel, struct change *ch, struct entrypoint *e);
/* It does. Who waited for a server is handed over. */
void serve_publish(struct channel *channel, struct entrypoint *e);
/* CHANNEL may be NULL. Returns: NULL. */
struct channel *serve_abandon(struct channel *channel);

/* Notices a server of E that is gone before the loop does. */
void serve_look(struct entrypoint *e);

/*
 * One of a predecessor; takes all. PAGE_FDS: its pages, -1: none. FD -1: its server was being lost.
 */
void serve_adopt(struct sockets *sockets, int fd, struct memo *memo, const int page_fds[2]);
/* The store says that E is served, but there is no channel. */
void serve_orphan(struct sockets *sockets, struct entrypoint *e);

/* Who waits for a server of E is told that none comes; later ones are refused, if none may wait. */
void serve_refuse(struct sockets *sockets, struct entrypoint *e);

/* E is gone. For hooks. */
void serve_gone(struct entrypoint *e);
/* Ends all channels, and forgets what the store was still to be told. */
void serve_end_all(struct sockets *sockets);
