/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a process has ended that is nobody's child here. */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

/* As the first version of it is; linux/pidfd.h may be older. */
struct pidfd_status_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t ids[11]; /* of the process and its user */
	int32_t exit_code;
};

_Static_assert(sizeof(struct pidfd_status_info) == 64, "as the kernel has it");

/* PIDFD_GET_INFO: for the filter of system calls. */
#define PIDFD_STATUS_REQUEST _IOWR(0xff, 11, struct pidfd_status_info)

/*
 * Its status, as of wait(2), which the kernel tells (from Linux 6.15 on) when its parent has it. Returns: 0,
 * -ENODATA: not, or not yet.
 */
int pidfd_status(int pidfd, int *ret);
