/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of clients in a loop, served in turns (base/turns.h) instead of in the order in which
 * they wake it: a payer with a thousand of them has one payer's share. All of them together are
 * one source of the loop, which takes turns for the time of one each time that it is dispatched.
 *
 * The kernel tells each change once. So whoever is told works until there is nothing left, which
 * may be many turns later, and says so; until then it stays in line without being told again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/turns.h"

#define WATCH_LATE_USEC 5000

struct watches;

struct watch {
	struct turn turn;
	struct watches *watches; /* NULL: not watched; so one that is all zero may be removed */
	bool (*f)(void *data);
	void *data;
	uint32_t events; /* and WATCH_X */
	int fd;
};

/* TURNS, which outlives it: the line, which others may use, too. Returns: 0 or -errno. */
int watches_new(sd_event *event, struct turns *turns, struct watches **ret);
/* Nothing is watched any more. May be NULL. Returns: NULL. */
struct watches *watches_free(struct watches *watches);

/*
 * Calls F with DATA when EVENTS (EPOLLIN, EPOLLOUT, or 0: the end alone, which is always told) are
 * there on FD, and again as long as it returns true: there may be more. F does one piece of work;
 * it returns false when it has freed W. PAYER and FD outlast W. Returns: 0 or -errno.
 */
int watch_add(struct watches *watches, struct watch *w, struct payer *payer, int fd,
	uint32_t events, bool (*f)(void *data), void *data);

/* With EVENTS: what is left when F has returned false is told again, which spares it to look. */
#define WATCH_LEVEL (1U << 24)
/*
 * With EVENTS: nobody waits for it, as for the end of a connection. While others keep the loop awake
 * (watches_delay()) it is taken along with them, and wakes nobody.
 */
#define WATCH_LATE (1U << 25)
/*
 * With EVENTS: somebody new. Where nothing but such is ready, what is late is taken after it instead of before,
 * and whoever has no room for it calls watches_settle().
 */
#define WATCH_NEW (1U << 26)

/* Somebody was served who is likely to come again. What is late is so by WATCH_LATE_USEC at most. */
void watches_delay(struct watches *watches);
/* Somebody waits for it now. */
void watches_hurry(struct watches *watches);
/* What is late is put in line, before whatever comes now. Returns: 0 or -errno. */
int watches_catch_up(struct watches *watches);
/* … and done, before this returns. Of what others have in line only what is before all is done as well. */
void watches_settle(struct watches *watches);
/* From here on EVENTS, without WATCH_X; what of them is there already is told. */
void watch_set(struct watch *w, uint32_t events);
/* As if there were something: F is called when it is W's turn. */
void watch_again(struct watch *w);
/* So, and before all others (turn_first()). */
void watch_first(struct watch *w);
/* To be called before FD is closed, which others may have too. May be called always. */
void watch_remove(struct watch *w);
