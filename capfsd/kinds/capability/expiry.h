/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which capabilities expire, and when the next one does. The row of capabilities keeps this up to
 * date (capability.c), and the broker ends what is due; a capability whose ancestor expires is ended
 * with that, and is not here for it.
 */
#pragma once

#include <stdint.h>

struct capability;
struct capability_record;
struct model;

/*
 * When C comes, when its record has changed from what it was BEFORE, and when C goes: it is there while it lives and
 * expires, as its record says.
 */
void expiry_add(struct model *m, struct capability *c);
void expiry_follow(struct model *m, struct capability *c, const struct capability_record *before);
void expiry_remove(struct model *m, struct capability *c);

/*
 * Ends what has expired by now (as a dead mark each, then model_reap()), and tells when the next
 * one does, LIMIT_NONE: none. Returns: 0 or -errno.
 */
int expiry_run(struct model *m, uint64_t *ret_next_usec);

/* For the checks of capabilities. */
void expiry_check(const struct model *m, const struct capability *c);
void expiry_check_all(const struct model *m);
