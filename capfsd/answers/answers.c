/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All types for which the daemon itself answers, by the numbers that they have in records. */
#include "config.h"

#include "capfsd/answers/answers.h"

const struct answers *const capability_answers[N_CAPABILITY_TYPES] = {
	[TYPE_SIGNAL] = &signal_answers,
	[TYPE_FD] = &fd_answers,
};
