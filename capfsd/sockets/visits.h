/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What servers are told of visits: which one asks for an answer, and that some have gone. One word at a time, that
 * its server acknowledges, so that it need not read for nothing to be kept here but what the model has anyway.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct visit;

/* V has been opened, or upgraded, or has gone. For hooks. */
void visits_changed(struct visit *v);
void visits_gone(struct visit *v);

/* Whoever serves there from now on looks at all of them, and is told of those that ask. */
void visits_tell_all(struct channel *channel);
/* Sends what waits. */
void visits_pump(struct channel *channel);
/* Was SERIAL the acknowledgement of such a word? */
bool visits_taken(struct channel *channel, uint64_t serial);
/* CHANNEL ends. */
void visits_forget(struct channel *channel);
