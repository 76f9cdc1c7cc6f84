/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals for `capctl run` are meant for the program: that is the leader of a session of its own, and no terminal
 * reaches it. They go the way of any command, to the `ctl` of its thread, over the connection that waits for it.
 */
#pragma once

#include <stdbool.h>

#include "libcap-client/cap-client.h"

/*
 * Until forward_wait(): what would end this process is kept for the program, and ends calls that wait. Where there
 * will be no program, forward_kept() says what came, or 0.
 */
void forward_keep(void);
int forward_kept(void);

/*
 * As capc_thread_wait(), for ever. From now on the signals of this process are T's, of the session S; what is ignored
 * here stays so. RESTARTS: it runs again, but not when its end is asked for.
 */
int forward_wait(capc_session *s, capc_thread *t, bool restarts, struct capc_exit *ret);

/* What is written for a signal: "signal=15", "pause", "resume". */
const char *forward_command(int signal, char buffer[24]);
