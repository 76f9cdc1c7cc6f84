/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grammar of commands: words separated by blanks, each KEY=VALUE or a bare KEY, each key at
 * most once. Both fronts and all verbs decode by this one function.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capfsd/kinds/capability.h"
#include "capfsd/model/quota.h"

struct request;

enum key {
	KEY_TO,
	KEY_FROM,
	KEY_AS,
	KEY_RIGHTS,
	KEY_METHODS,
	KEY_CALLS,
	KEY_CONNS,
	KEY_RATE,
	KEY_EXPIRES,
	KEY_IMMUTABLE,
	KEY_ALL, /* the bare word 1 */
	KEY_SELF,
	KEY_ID,
	KEY_KEY,
	KEY_SOCKET,
	KEY_REMOVE,
	KEY_PROTOCOL,
	KEY_ONCE,
	KEY_MODE,
	KEY_HOLD,
	KEY_QUOTA, /* the first of QUOTA_N_KINDS */
	KEY_N = KEY_QUOTA + QUOTA_N_KINDS,
};

#define KEYS_REDUCTIONS                                                                            \
	(1u << KEY_RIGHTS | 1u << KEY_METHODS | 1u << KEY_CALLS | 1u << KEY_CONNS | 1u << KEY_RATE | \
		1u << KEY_EXPIRES | 1u << KEY_IMMUTABLE)
#define KEYS_QUOTA (((1u << QUOTA_N_KINDS) - 1) << KEY_QUOTA)

struct word {
	const char *p;
	size_t n;
};

struct command {
	uint32_t given; /* bit per enum key */
	struct word value[KEY_N];
};

static inline bool
command_has(const struct command *c, enum key key)
{
	return c->given & 1u << key;
}

/* Is KEY given, with this value? */
bool command_is(const struct command *c, enum key key, const char *value);

/*
 * Decodes the N bytes at TEXT, of which only the keys in ALLOWED may occur.
 * Returns: true, or false with the refusal in R (EINVAL).
 */
bool command_parse(struct request *r, const char *text, size_t n, uint32_t allowed,
	struct command *ret);

/* The reductions among its words. Returns: true, or false with the refusal in R. */
bool command_reductions(struct request *r, const struct command *c, struct reductions *ret);

/* The quota kinds among its words; the others are 0. Returns: true, or false (refused). */
bool command_quota(struct request *r, const struct command *c, struct quota *ret);

/* A decimal or 0x… number. Returns: true, or false (refused). */
bool command_number(struct request *r, const struct command *c, enum key key, uint64_t *ret);

/* "KIND=N,KIND=N…" of the command line. Returns: 0 or -EINVAL. Kinds not named stay. */
int quota_parse(const char *text, struct quota *quota);
