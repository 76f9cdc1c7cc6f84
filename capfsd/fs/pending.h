/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's requests between the read(2) that brought them and their turn (base/turns.h): struct
 * fs_pending, one for each. The kernel has one line for all who use the mount; here each waits in the
 * line of the session in whose tree it asks, behind that one's own.
 *
 * They are read as they come, up to a bound of their number and bytes, since nobody can be let past
 * those that were not. What waits here when a broker ends, the kernel sends to the next.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "capfsd/fs/front.h"

#define FS_PENDING_MAX 16384
#define FS_PENDING_BYTES_MAX ((size_t)32 << 20)

/* No more is read until one of them was served. */
bool fs_pending_full(const struct fs *fs);
/* Takes a copy of a request, which is served when it is its turn. Returns: 0 or -ENOMEM. */
int fs_pending_add(struct fs *fs, const char *request, size_t n);
/* UNIQUE was interrupted. Returns: is it one of these? Else libfuse has it. */
bool fs_pending_interrupt(struct fs *fs, uint64_t unique);
/* S is about to be gone: what was asked there is told so in the root's turns. */
void fs_pending_gone(struct fs *fs, struct session *s);
/* Nobody gets a reply. */
void fs_pending_free(struct fs *fs);
