/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of sockets in whose queue a stranger may have left descriptors. To close the last reference to
 * a file runs what its owner has chosen, and may take for ever, in a sleep that not even SIGKILL ends;
 * the last reference to one that is queued in a socket goes where that socket is read or closed. So
 * nobody who serves anybody else does either, before the kernel has said that none is queued.
 *
 * This owns each socket that it was given until it is closed, here or in a process that ends with it,
 * which somebody else is asked for (disposal_ops); and the charges of what waits for that. It never
 * reads what a peer wrote. The sockets' room calls it, and nobody else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct charge;
struct disposal;
struct session;

#define DISPOSAL_MAX 64 /* under way, shared as quota_share_left() says; … */
#define DISPOSAL_MIN 4  /* … in halves no smaller than this */

/* Serials of this room have this bit; those of others who use the same process have not. */
#define DISPOSAL_SERIAL (UINT64_C(1) << 63)

/*
 * Has somebody else take the one message of the other end of FD, which stays the caller's, and close
 * what comes with it, for S. FD -1: that of SERIAL is on the account of S now. Returns: 0, or -errno:
 * not now.
 */
typedef int disposal_begin(void *data, uint64_t serial, const struct session *s, int fd);

/* BEGIN is called with DATA. It must be made while files can still be opened. Returns: 0 or -errno. */
int disposal_new(sd_event *event, disposal_begin *begin, void *data, struct disposal **ret);
/* What was not closed stays open: the next broker finds it. */
struct disposal *disposal_free(struct disposal *d);

/*
 * Takes the connected or listening Unix socket FD, for which PAYER answers, and CHARGE, which FD pays
 * until now; NULL: it has paid nothing. Returns: -1.
 *
 * disposal_end() shuts it down, and keeps from its peer nothing that was sent before;
 * disposal_leave() only lets go of it: others who have it go on.
 */
int disposal_end(struct disposal *d, int fd, struct session *payer, struct charge *charge);
int disposal_leave(struct disposal *d, int fd, struct session *payer, struct charge *charge);

/* Does so much of PAYER wait that has not been paid for, that nobody of it is to be let in? */
bool disposal_is_full(const struct disposal *d, const struct session *payer);

/* The process for SERIAL has taken what it was sent; with ENDED it is gone, by itself or not. */
void disposal_told(struct disposal *d, uint64_t serial, bool ended);
/* The process for SERIAL is there, begun by a broker before this for S. */
void disposal_found(struct disposal *d, uint64_t serial, struct session *s);
/* Nobody is there any more of those who were asked. */
void disposal_lost(struct disposal *d);
/* S is gone: its parent answers for what is left. */
void disposal_inherit(struct disposal *d, const struct session *s);
