/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The server's side of an entrypoint's pages (pages.h): whether a call may be, and counting it. Any
 * number of threads and processes that share the pages may do so at once; together they never count
 * more than was granted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/pages.h"

struct limits {
	const struct granted_entry *granted; /* NULL: there are no pages */
	struct used_entry *used;
};

/*
 * Maps both. The descriptors stay the caller's, and need not stay open.
 * Returns: 0, -EBADMSG (not what the daemon would send), -EPROTO (another version), -errno.
 */
int limits_map(int granted_fd, int used_fd, struct limits *ret);
void limits_unmap(struct limits *l);

/* Has CAPABILITY, whose entry is INDEX, or anything that it came from, a limit of calls or a rate now? */
bool limits_apply(const struct limits *l, uint32_t index, uint64_t capability);

/*
 * One call of METHOD by CAPABILITY, whose entry is INDEX: checked against it and all that it came
 * from, and counted there.
 * Returns: 0; the errno of a refusal, with *RET_REASON: EPERM (the method, or the right `call`),
 * EDQUOT (calls, rate); ENOENT: it has ended.
 */
int limits_count(const struct limits *l, uint32_t index, uint64_t capability, uint32_t method,
	const char **ret_reason);
