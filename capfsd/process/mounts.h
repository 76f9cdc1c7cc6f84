/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's list of mounts: tells about a mount without touching it. */
#pragma once

#include <stdbool.h>

#define MOUNTS_FIELD_BYTES 32

/*
 * The mount on top at PATH: its "MAJOR:MINOR" and type, "" without one. Returns: 0 or -errno.
 */
int mounts_top(const char *path, char device[MOUNTS_FIELD_BYTES], char type[MOUNTS_FIELD_BYTES]);

/* Is that device mounted anywhere here? */
bool mounts_have(const char *device);

/* A descriptor on which poll(2) tells POLLPRI when mounts have come or gone; or -errno. */
int mounts_watch(void);
