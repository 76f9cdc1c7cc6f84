/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of all commands; each command says which of them it takes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum option_bit {
	OPTION_CAP = 1 << 0,
	OPTION_SESSION = 1 << 1,
	OPTION_HELP = 1 << 2,
	OPTION_VERSION = 1 << 3,
	OPTION_FROM = 1 << 4,
	OPTION_TO = 1 << 5,
	OPTION_ID = 1 << 6,
	OPTION_SELF = 1 << 7,
	OPTION_OWNER = 1 << 8,
	OPTION_MODE = 1 << 9,
	OPTION_ALL = 1 << 10,
	OPTION_FOLLOW = 1 << 11,
	OPTION_PROXY = 1 << 12,
	OPTION_INETD = 1 << 13,
	OPTION_ONCE = 1 << 14,
	OPTION_WAIT = 1 << 15,
	OPTION_IDLE = 1 << 16,
	OPTION_MAX = 1 << 17,
	OPTION_SOCKET = 1 << 18,
	OPTION_LISTEN = 1 << 19,
	OPTION_AS = 1 << 20,
	OPTION_HOLD = 1 << 21,
	OPTION_FDS = 1 << 22,
	OPTION_USER = 1 << 23,
	OPTION_AS_CALLER = 1 << 24,
	OPTION_LEND_ROOT = 1 << 25,
	OPTION_BACKLOG = 1 << 26,
	OPTION_SEND_PROXY = 1 << 27,
	OPTION_WAIT_BACKEND = 1 << 28,
	OPTION_STEP_ASIDE = 1 << 29,
	OPTION_STOP = 1 << 30,
	OPTION_DETACH = UINT32_C(1) << 31,
	OPTION_SVG = UINT64_C(1) << 32,
	OPTION_HTML = UINT64_C(1) << 33,
	OPTION_HTTP = UINT64_C(1) << 34,
	OPTION_CAVEATS = UINT64_C(1) << 35,
	OPTION_VIA = UINT64_C(1) << 36,
	OPTION_CHECK = UINT64_C(1) << 37,
};

/* Every command takes these. */
#define OPTIONS_GLOBAL (OPTION_CAP | OPTION_SESSION | OPTION_VIA | OPTION_HELP | OPTION_VERSION)

struct options {
	uint64_t given;
	const char *cap, *session, *via;
	const char *from, *to, *id;
	const char *owner, *mode;
	const char *proxy, *wait, *idle, *max, *socket, *as, *hold, *backlog, *user;
	const char *wait_backend;
};

static inline bool
options_have(const struct options *o, enum option_bit bit)
{
	return o->given & bit;
}

/* Its name without the dashes, and in *RET_VALUE what it was given, NULL: it takes no value. */
const char *options_name(const struct options *o, enum option_bit bit, const char **ret_value);
/* As if it had been given with VALUE, which it must take. */
void options_set(struct options *o, enum option_bit bit, const char *value);

/*
 * Adds the options of ARGV to O, of which only those in ALLOWED may occur, and moves what is no
 * option behind them. With STOP it stops at the first word that is none. Complains to stderr.
 * Returns: the index of the first word that is no option, or -EINVAL.
 */
int options_parse(struct options *o, int argc, char **argv, uint64_t allowed, bool stop);
