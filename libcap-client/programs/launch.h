/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is said to a half-started program over the launch pair (wire/process.h): to nobody else do argv,
 * environment and descriptors go. It has a copy of each descriptor; the caller's table is not touched.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/process.h"

struct launch {
	struct process_hello hello;
	const char *bytes; /* argv and environment, each string with its 0; hello.n_bytes of them */
	const int *fds;    /* hello.n_fds, and the program itself if there is HELLO_EXEC_FD */
	size_t n_fds;
	uid_t uid; /* whose program it is to be */
	gid_t gid;
	const gid_t *groups; /* hello.n_groups of them, each larger than the one before */
};

/*
 * Tells the program at the other end of FD all of it, and waits for what it says.
 *
 * Returns: 0: it runs; -errno of the *RET_STEP at which it ended, STEP_NONE: it ended by itself; and with
 * *RET_STEP -1, when nothing is known of it: -EPERM (the caller may not say that it is UID, GID and of GROUPS),
 * -ETIMEDOUT, -EBADF, -EBADMSG.
 */
int launch_run(int fd, const struct launch *l, uint64_t deadline, int *ret_step);

/* "exec", or NULL for a step that is not known here. */
const char *launch_step_name(int step);
