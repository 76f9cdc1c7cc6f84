/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One end of a relay, and the direction that leads from it to the other one. Bytes are read into a buffer
 * that all share, and written at once; only what finds no room is kept, one buffer's worth a direction at
 * most. Where much comes it goes through a pipe, by which the kernel passes pages on instead of copying them
 * twice; the pipe is another one's next as soon as it is empty.
 *
 * Descriptors that come with the bytes are never installed in this process, and end the relay: recvmsg(2)
 * without room for them drops them and tells so. A pipe would drop them silently, so it is used only where
 * the kernel refuses whoever sends some (socket(7), SO_PASSRIGHTS).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "helpers/loop.h"

struct pipe {
	struct list link; /* mover.pipes, while it is empty */
	int fds[2];
	size_t n; /* what is in it */
};

/* What all sides of one kind move bytes by, one after the other. */
struct mover {
	char *buffer;
	size_t size;
	bool seqpacket;
	struct list pipes; /* that are empty */
	unsigned n_pipes, n_pipes_max;
};

struct side {
	struct source source; /* the first member */
	struct side *other;
	struct mover *mover;
	char *pending; /* read here, not yet written to the other side; NULL: nothing */
	size_t start, n;
	struct pipe *pipe; /* the same, instead; NULL: nothing */
	bool ended;   /* nothing more comes from here */
	bool passed;  /* … and the other side has been told */
	bool deaf;    /* nothing can be written to it any more */
	bool hung_up; /* both; it is no longer in the loop */
	bool moved;   /* bytes have been read here, or written to the other one; its user resets it */
	size_t n_pumped; /* that has come at the last time */
	bool bulk;    /* that was much, and the next goes through a pipe */
	bool piped;   /* it may */
	bool barred;  /* nobody can send descriptors here */
	bool to_end;  /* what is read may stop short of what has come: at urgent data, or before the end */
	bool unread;  /* there may be more, of which an edge will not tell again */
};

/* Returns: 0 or -errno. */
int mover_init(struct mover *m, bool seqpacket);
void mover_deinit(struct mover *m);
/* How many descriptors of this process it may use at most. */
unsigned mover_fds(void);

/* Both ends of a relay, which have a descriptor each by now. Returns: 0 or -errno. */
int side_start(struct side *s);
/* Moves from S what can be moved now. Returns: NULL; or what is wrong with S, for which the relay must end. */
const char *side_pump(struct side *s);
/* Writes what was kept of S. Returns: has all of it gone? */
bool side_flush_pending(struct side *s);
/* What was kept of S goes nowhere. */
void side_drop(struct side *s);
/* Nothing more will go from S to the other side. */
bool side_is_done(const struct side *s);
/* Who writes what nobody will read at S is told so, and does not wait for room in vain. */
void side_deafen(struct side *s);
/*
 * What S must be woken for: EPOLLIN, EPOLLOUT. By EPOLLET where a piece that is shorter than the buffer says
 * that all has been read, so that no later look is needed to see that there is nothing.
 */
uint32_t side_events(const struct side *s);
