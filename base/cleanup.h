/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cleanup attributes: a local that owns something names its destructor where it is declared, and
 * leaves the function by take_ptr() or take_fd(). Destructors accept NULL (or -1) and return it.
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(f) __attribute__((cleanup(f)))

/* Defines NAME_p(), which cleanup() can call, for a destructor that takes TYPE. */
#define CLEANUP_DEFINE(type, destroy)                                                              \
	static inline void destroy##_p(type *p)                                                    \
	{                                                                                          \
		if (*p)                                                                            \
			destroy(*p);                                                               \
	}

#define take_ptr(p)                                                                                \
	__extension__({                                                                            \
		__auto_type _taken = (p);                                                          \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})

static inline int
take_fd_from(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_fd(fd) take_fd_from(&(fd))

static inline void
close_p(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void
free_p(void *p)
{
	free(*(void **)p);
}

#define cleanup_close cleanup(close_p)
#define cleanup_free cleanup(free_p)

CLEANUP_DEFINE(FILE *, fclose)
CLEANUP_DEFINE(DIR *, closedir)
#define cleanup_fclose cleanup(fclose_p)
#define cleanup_closedir cleanup(closedir_p)
