/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a word of YAML means: the core schema of YAML 1.2, with times, and what the tags of YAML
 * say. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "libcap-client/cap-client.h"

struct scalar {
	struct capc_value value; /* a string is the word itself */
	uint8_t big[CAPC_ARGS_BIG_MAX + 4];
	void *owned; /* of binaries */
};

static inline void
scalar_deinit(struct scalar *s)
{
	free(take_ptr(s->owned));
}

#define cleanup_scalar cleanup(scalar_deinit)

/* A plain word. Returns: 0, -ERANGE (a number that is too large). */
int scalar_plain(const char *s, size_t n, struct scalar *ret);

/*
 * A word with the tag !!NAME.
 * Returns: 0, -EINVAL (it is none of these), -ERANGE, -ENOENT (there is no such tag of scalars),
 * -ENOMEM.
 */
int scalar_tagged(const char *name, const char *s, size_t n, struct scalar *ret);
