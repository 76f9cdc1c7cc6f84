/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/*
 * Makes the answer to FUSE_INIT, of which REQUEST holds N bytes. Whoever mounts answers it at once,
 * so that no broker can die between reading and answering it.
 * Returns: the length of the answer in REPLY; -EBADMSG when it is no INIT, -EPROTO when the kernel is
 * too old, -EMSGSIZE.
 */
int fuse_init_answer(const void *request, size_t n, void *reply, size_t size);
