/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/process/pidfd.h"

#include <errno.h>

#define INFO_EXIT 8

int
pidfd_status(int pidfd, int *ret)
{
	struct pidfd_status_info info = {.mask = INFO_EXIT};

	if (ioctl(pidfd, PIDFD_STATUS_REQUEST, &info) < 0 || !(info.mask & INFO_EXIT))
		return -ENODATA;
	*ret = info.exit_code;
	return 0;
}
