/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals for `capctl run` are meant for the program: that is the leader of a session of its own, and no terminal
 * reaches it. They go the way of any command, to the `ctl` of its thread, by a thread of this process with a
 * connection of its own, as the other one is busy with waiting.
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "libcap-client/cap-client.h"

struct forward {
	const char *root; /* where the daemon is, as for capc_session_open() */
	const char *node; /* the thread's directory */
	bool restarts; /* it would run again */
	capc_session *session; /* once there was something to say */
	sigset_t signals;
	int signal_fd, end_fd;
	pthread_t thread;
};

/*
 * Until forward_start(): what would end this process is kept for the program, and ends calls that wait. Where there
 * will be no program, forward_kept() says what came, or 0.
 */
void forward_keep(void);
int forward_kept(void);

/*
 * From now on; what is ignored here stays so. ROOT and NODE are borrowed. RESTARTS: whose end is asked for is not to
 * run again. Returns: 0, -errno.
 */
int forward_start(struct forward *f, const char *root, const char *node, bool restarts);
void forward_end(struct forward *f);

/* What is written for a signal: "signal=15", "pause", "resume". */
const char *forward_command(int signal, char buffer[24]);
