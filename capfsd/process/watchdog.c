/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a child turns its loop, found out from memory that it shares: a record would wait in a queue
 * that one which hangs does not read. It owns the times of struct watchdog, sends one signal, and leaves
 * it to its caller to end anybody.
 */
#include "config.h"

#include "capfsd/process/watchdog.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/process/records.h"

#define PERIOD_USEC UINT64_C(10000000)
#define PERIOD_MIN_USEC UINT64_C(1000)
#define LOADING_USEC UINT64_C(120000000) /* a broker reads a million capabilities in a few seconds */

/*
 * Half of systemd's patience with the keeper, by which this broker is to be replaced before the whole
 * daemon is. The keeper's environment is ours too, so that this holds after an upgrade as well; whether it
 * was meant for the keeper is for the keeper to find out.
 */
void
watchdog_init(struct watchdog *w)
{
	const char *text = getenv("WATCHDOG_USEC");
	uint64_t usec;

	*w = (struct watchdog){.period_usec = PERIOD_USEC};
	if (text && number_parse(text, strlen(text), false, &usec) == 0 &&
		usec / 2 >= PERIOD_MIN_USEC && usec / 2 < PERIOD_USEC)
		w->period_usec = usec / 2;
}

void
watchdog_begin(struct watchdog *w, uint64_t now_usec)
{
	w->until_usec = now_usec + LOADING_USEC;
	w->at_usec = now_usec + w->period_usec;
	w->asked = false;
}

/*
 * Two looks are needed to blame a child: it may have slept between them for a good reason, but not
 * after the signal that has woken it in between. One that waits is judged by time alone, from when it
 * was last known to turn.
 */
bool
watchdog_look(struct watchdog *w, uint64_t turns, bool ready, pid_t child, uint64_t now_usec)
{
	bool turned = turns != w->turns;

	w->at_usec = now_usec + w->period_usec;
	w->turns = turns;
	if (ready || turned)
		w->until_usec = now_usec + LOADING_USEC;
	if (!ready) {
		w->asked = false;
		return now_usec < w->until_usec;
	}
	if (w->asked && !turned)
		return false;
	/* The count was read before it is asked, so that the turn that follows counts. */
	w->asked = true;
	kill(child, HOLDER_SIGNAL_TURN);
	return true;
}
