/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program that was started, as its session names it. */
#pragma once

#include "libcap-client/private.h"

struct capc_thread {
	struct capc_session *session;
	struct capc_session *own; /* the same, where it goes with this; NULL: it is the caller's */
	char *text;       /* "sessions/app/threads/7.3", in which these are */
	const char *node; /* where it is; "" at its own connection */
	const char *id;
	struct errand wait; /* of capc_thread_poll() */
	int error; /* … which has been in vain */
	bool ended;
	struct capc_exit exit; /* then; the daemon tells it once */
};

/* In the environment of a program that was started with a heartbeat. */
#define HEARTBEAT_THREAD "CAPFS_THREAD"
#define HEARTBEAT_SECONDS "CAPFS_HEARTBEAT"

/* The thread ID ("7.3") in the directory THREADS. Returns: 0, -EBADMSG (that is no id), -ENOMEM. */
int thread_new(struct capc_session *s, const char *threads, const char *id, struct capc_thread **ret);

/*
 * Nobody will ask for T: what its session keeps of it is to go, and with KILL itself, too. Waits for nothing,
 * and is in vain where the connection has ended.
 */
void thread_abandon(struct capc_thread *t, bool kill);
