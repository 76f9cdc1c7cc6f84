/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/*
 * Makes the reply to FUSE_INIT, of which REQUEST has N bytes. Whoever mounts replies at once, so
 * that no broker can die between reading the request and replying: it is never sent again.
 * Returns: the length of the reply in REPLY; -EBADMSG when it is no INIT, -EPROTO when the kernel
 * is too old, -EMSGSIZE.
 */
int fuse_init_answer(const void *request, size_t n, void *reply, size_t size);
