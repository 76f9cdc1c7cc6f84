/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sources of an sd-event loop that end it when their callback fails. A callback that returned a
 * negative number would otherwise be switched off by sd-event without a word, and the
 * process would live on deaf.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

/* Returns: 0 or -errno; *RET is set in both cases, and NULL where there is nothing to be freed. */
int loop_add_io(sd_event *event, int fd, uint32_t events, sd_event_io_handler_t f, void *data,
	sd_event_source **ret);

/* A timer by CLOCK_MONOTONIC that is off until loop_arm(). Returns: as above. */
int loop_add_timer(
	sd_event *event, sd_event_time_handler_t f, void *data, sd_event_source **ret);

/* Runs TIMER after USEC, unless it is going to run sooner. TIMER may be NULL. */
void loop_arm(sd_event_source *timer, uint64_t usec);
/* It does not run, so that it can be armed for later than it was. NULL: nothing. */
void loop_disarm(sd_event_source *timer);

/* CLOCK_MONOTONIC; inside a callback the time when its round began, which costs no system call. */
uint64_t loop_now(sd_event *event);
