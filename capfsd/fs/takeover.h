/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What passes between libfuse and the kernel, and what the kernel is told when a broker begins. */
#pragma once

#include <sys/uio.h>

#include "capfsd/fs/front.h"

/* For libfuse: the descriptor, and the reply to INIT, which nobody is sent again. */
ssize_t fs_writev(int fd, struct iovec *iov, int count, void *data);
ssize_t fs_read(int fd, void *buffer, size_t size, void *data);

/* All that the kernel has looked up it looks up again at the next use. */
void fs_next_epoch(struct fs *fs);
