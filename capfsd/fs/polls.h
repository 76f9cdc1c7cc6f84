/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who polls an open file that may have nothing to read, and is woken, also by a broker to come. */
#pragma once

#include <stdbool.h>

#include "capfsd/fs/front.h"

struct fs_file;

/* May one more poll a file of S? */
bool fs_polls_allow(const struct fs *fs, const struct session *s);
/* Takes POLL: the request that is being served waits for F, which nobody else polls. */
void fs_poll_begin(struct fs *fs, struct fs_file *f, struct fuse_pollhandle *poll);
/* Nobody polls F any more. */
void fs_poll_end(struct fs *fs, struct fs_file *f);
/* All that the brokers before have left. */
void fs_polls_wake(struct fs *fs);
