/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the broker turns its loop, found out from the shared page: a record would wait in a queue
 * that a broker which hangs does not read. It owns the times of struct watch, sends one signal, and
 * leaves it to the holder to end anybody.
 */
#include "config.h"

#include "capfsd/holder/watch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "capfsd/process/page.h"
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
watch_init(struct watch *w)
{
	const char *text = getenv("WATCHDOG_USEC");
	uint64_t usec;

	*w = (struct watch){.period_usec = PERIOD_USEC};
	if (text && number_parse(text, strlen(text), false, &usec) == 0 &&
		usec / 2 >= PERIOD_MIN_USEC && usec / 2 < PERIOD_USEC)
		w->period_usec = usec / 2;
}

void
watch_begin(struct watch *w, uint64_t now_usec)
{
	w->until_usec = now_usec + LOADING_USEC;
	w->at_usec = now_usec + w->period_usec;
	w->asked = false;
}

/*
 * Two looks are needed to blame a broker: it may have slept between them for a good reason, but not
 * after the signal that has woken it in between. One that is still loading is judged by time alone.
 */
bool
watch_look(struct watch *w, const struct boot_page *page, pid_t broker, uint64_t now_usec)
{
	uint64_t turns = __atomic_load_n(&page->turns, __ATOMIC_RELAXED);

	w->at_usec = now_usec + w->period_usec;
	if (!__atomic_load_n(&page->ready, __ATOMIC_RELAXED))
		return now_usec < w->until_usec;
	if (w->asked && turns == w->turns)
		return false;
	/* Read before it is asked, so that the turn that follows counts. */
	w->turns = turns;
	w->asked = true;
	kill(broker, HOLDER_SIGNAL_TURN);
	return true;
}
