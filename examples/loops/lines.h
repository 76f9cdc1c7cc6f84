/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs of this directory do, each in another event loop: they send each line of the standard input to
 * the service in a slot, and print what comes back, and on the standard error which connection it is.
 */
#pragma once

#include <cap-client.h>
#include <stdbool.h>

struct lines {
	capc_session *session;
	capc *c;
	unsigned n_calls;  /* that have no reply */
	bool ended;	   /* the input */
	void (*over)(void *loop); /* ends the loop, when there is nothing more to do */
	void *loop;
};

/* Asks for a connection, and waits for nothing but the session. Returns: 0, -errno. */
int lines_open(struct lines *l, const char *slot);
void lines_close(struct lines *l);

/* Some of the standard input can be read. Returns: whether to go on reading. */
bool lines_read(struct lines *l);
