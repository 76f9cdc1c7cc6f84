/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Capabilities for which the daemon itself answers: a file for each such type, with its row of
 * sockets/answers.h, and a line in answers.c. It owns nothing: what lasts is in the model (anchors)
 * and in the records of connections. It is called by sockets/ alone, and decides nothing by who the
 * client is, but by the rights of the capability through which it came.
 */
#pragma once

#include "capfsd/sockets/answers.h"

extern const struct answers signal_answers;
extern const struct answers fd_answers;
