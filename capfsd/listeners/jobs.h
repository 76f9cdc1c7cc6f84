/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of the binder: the process that binds listeners, and that has somebody look at the
 * descriptors that clients have sent. One of these may be there, or none, or one that is ending and
 * the next, which waits until the first has answered everything.
 */
#pragma once

#include <stdint.h>

#include "capfsd/listeners/core.h"
#include "capfsd/process/records.h"

/*
 * The binder's reply to a job of this broker, or of one before it, so that nothing about it may be
 * taken for granted. Takes FD, which may be -1.
 */
typedef void jobs_result(struct sockets *sockets, const struct binder_result *result, int fd);

/* Returns: 0 or -errno. */
int jobs_new(struct sockets *sockets, jobs_result *result);
/* Closes the binder's socket, which ends it. */
void jobs_stop(struct sockets *sockets);
void jobs_free(struct sockets *sockets);

/*
 * The first binder or a new one: takes FD, which gets the old one's number. Jobs that are under way
 * are given to it.
 */
void jobs_set_binder(struct sockets *sockets, int fd);
/* Has the binder make a socket for L, which pays for it already. */
void jobs_request(struct listener *l);
/* Takes what the binder has said, without waiting for the loop. */
void jobs_look(struct sockets *sockets);

/*
 * Gives the binder the N FDS for the inspection SERIAL, which S pays for. N 0: that of SERIAL, which
 * is under way, is S's now. Returns: 0, or -EAGAIN: it has no time for it, or has not told yet what is
 * under way.
 */
int jobs_inspect(struct sockets *sockets, uint64_t serial, const struct session *s, enum inspection_task task,
	const int *fds, size_t n);
