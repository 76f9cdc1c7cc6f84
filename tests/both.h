/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server in a thread of its own, and a client of it over the library. */
#pragma once

#include <pthread.h>

#include "tests/played-daemon.h"

struct both {
	struct played client;
	pthread_t thread;
	capc *c;
	int *channel;
};

/* Serves E, whose daemon's end is *CHANNEL, and opens a connection to its object 1. */
void both_start(struct both *b, capc_entrypoint *e, int *channel);

/* Closes *CHANNEL, which ends the server. */
void both_stop(struct both *b);
