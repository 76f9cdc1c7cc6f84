/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log of one session: which lines it keeps, and whose make room for whose. For event.c alone;
 * what others may ask is in event.h.
 *
 * A line belongs to whom it is due to, as this session sees it: to the session itself, to the child
 * that it or somebody below is, to those above, or to who has come through capabilities to it. The session's own
 * lines have half of the log. The others share the other half, each child with all that is below it as one, those
 * above as one more, and those who have come as one: who has the most lines there gives, so that each may count on an equal share. Within a share
 * refusals go first, then the usual, and the oldest of these. Faults stay longest, as long as they are
 * not more than half of the share: neither they nor all else push the other out.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct line;
struct session;

#define RING_OWN 0
#define RING_ABOVE UINT64_MAX
#define RING_THROUGH (UINT64_MAX - 1) /* who has come through a slot that others have */
/* Every other owner is the id of a child, which may have gone. */

/*
 * Appends LINE, for which others of OWNER may have to go; the log takes a reference of its own.
 * One that finds no room has been written, and is gone already. Returns: where it ends; 0: there is
 * no memory for this log.
 */
uint64_t ring_push(struct session *s, struct line *line, uint64_t owner);

/* The next line begins at OFFSET. Returns: 0, -EBADMSG where the log is longer already, -ENOMEM. */
int ring_skip(struct session *s, uint64_t offset);

/* The line with this body that is a refusal; NULL: none. */
struct line *ring_find(const struct session *s, const char *body, size_t n);

/* Forgets the line with this number, if it is there. */
void ring_remove(struct session *s, uint64_t number);
