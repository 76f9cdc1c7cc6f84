/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `capctl run`: its exit statuses, beside those of the program itself, and where a program is. */
#pragma once

#include "base/text.h"

enum {
	STATUS_LOST = 125,     /* it was started, and how it ended is not known */
	STATUS_CANNOT = 126,   /* it was not started */
	STATUS_NO_FILE = 127,  /* … as there is no such program */
	STATUS_SIGNAL = 128,   /* it was ended by a signal, whose number is added */
};

/*
 * The absolute path of PROGRAM, as a shell would find it: one without a '/' in the directories of PATH, which
 * may be NULL, else whether it is there or not. Returns: 0, -ENOENT, -EACCES (none that may be executed), -errno.
 */
int run_find(const char *program, const char *path, struct text *ret);
