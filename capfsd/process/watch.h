/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of clients in a loop, served in turns (base/turns.h) instead of in the order in which
 * they wake it: a payer with a thousand of them has one payer's share. All of them together are
 * one source of the loop, which does one payer's turn each time that it is dispatched.
 *
 * The kernel tells each change once. So whoever is told works until there is nothing left, which
 * may be many turns later, and says so; until then it stays in line without being told again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/turns.h"

struct watches;

struct watch {
	struct turn turn;
	struct watches *watches; /* NULL: not watched; so one that is all zero may be removed */
	bool (*f)(void *data);
	void *data;
	uint32_t events;
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
/* From here on EVENTS; what of them is there already is told. */
void watch_set(struct watch *w, uint32_t events);
/* As if there were something: F is called when it is W's turn. */
void watch_again(struct watch *w);
/* To be called before FD is closed, which others may have too. May be called always. */
void watch_remove(struct watch *w);
