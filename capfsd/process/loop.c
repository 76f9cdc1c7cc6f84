/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Helpers for sd-event, for every process of the daemon that has a loop. They own nothing: a source
 * is its caller's from the moment that it is made.
 */
#include "config.h"

#include "capfsd/process/loop.h"

#include <syslog.h>
#include <time.h>

#include "base/error.h"

/* A coarser timer would make a hand-over that is retried wait for a quarter of a second. */
#define ACCURACY_USEC 1000

int
loop_add_io(sd_event *event, int fd, uint32_t events, sd_event_io_handler_t f, void *data,
	sd_event_source **ret)
{
	int r = sd_event_add_io(event, ret, fd, events, f, data);

	if (r < 0)
		return error_trace(r);
	r = sd_event_source_set_exit_on_failure(*ret, true);
	return r < 0 ? error_trace(r) : 0;
}

int
loop_add_timer(sd_event *event, sd_event_time_handler_t f, void *data, sd_event_source **ret)
{
	int r = sd_event_add_time(event, ret, CLOCK_MONOTONIC, 0, ACCURACY_USEC, f, data);

	if (r < 0)
		return error_trace(r);
	r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(*ret, true);
	return r < 0 ? error_trace(r) : 0;
}

/*
 * A timer that runs is not moved: somebody who asks for it again and again could put it off for
 * ever.
 */
void
loop_arm(sd_event_source *timer, uint64_t usec)
{
	int enabled = SD_EVENT_OFF;
	uint64_t due;

	if (!timer)
		return;
	sd_event_source_get_enabled(timer, &enabled);
	if (enabled != SD_EVENT_OFF && sd_event_source_get_time(timer, &due) >= 0 &&
		due <= loop_now(sd_event_source_get_event(timer)) + usec)
		return;
	if (sd_event_source_set_time_relative(timer, usec) < 0 ||
		sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT) < 0)
		log_message(LOG_ERR, "a timer could not be set");
}

void
loop_disarm(sd_event_source *timer)
{
	if (timer)
		(void)sd_event_source_set_enabled(timer, SD_EVENT_OFF);
}

/* It can fail only in a loop that was passed over fork(2), which none of ours is. */
uint64_t
loop_now(sd_event *event)
{
	uint64_t now = 0;

	return sd_event_now(event, CLOCK_MONOTONIC, &now) < 0 ? 0 : now;
}
