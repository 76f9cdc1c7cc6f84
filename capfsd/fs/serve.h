/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How one request of the kernel is served, which pending.c calls when its turn has come. fs_drain()
 * (fs.h) is what brings them there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/fs/front.h"

/*
 * Gives it to libfuse, which answers it or has it wait. INTERRUPTED: it is told that, too. Returns: is it to be served
 * again, as only a piece of it was done? Then *PLACE, 0 at first, says where it goes on.
 */
bool fs_serve(struct fs *fs, const char *request, size_t n, bool interrupted, uint64_t *place);
/* Answers it with ERROR, past libfuse. */
void fs_refuse(struct fs *fs, const char *request, size_t n, int error);
