/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who waits for the answer to an ask: open files of `request` and `yield`, by struct calls
 * (tree/conversations.h), and requests of the control protocol; and who waits for something to decide.
 *
 * What is asked and answered stands in the model (kinds/asking/ask.h), and so survives a broker. This room
 * looks when a time is over, and tells who waits; it owns nothing but a timer. broker/ makes it and gives it the
 * model's hooks, control/ and fs/ call it.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"

struct ask;
struct askings;
struct boot;
struct calls;
struct entity;
struct model;
struct session;

struct askings_ops {
	/* A READ of this open file may have its answer now. */
	void (*ready)(void *data, uint64_t handle);
	/* What this one waits for has come; it is in no list any more. FIRST: before all others. */
	void (*resume)(void *data, struct list *waiter, bool first);
	/* The store fails, or memory does: the daemon cannot go on. */
	void (*fail)(void *data, int error);
};

/* Drops what another daemon's clients have asked. Returns: 0 or -errno. */
int askings_new(struct model *m, const struct boot *boot, sd_event *event, struct askings **ret);
void askings_set_ops(struct askings *all, const struct askings_ops *ops, void *data);
struct askings *askings_free(struct askings *all);

/* For fs_set_asks(). */
extern const struct calls asking_calls;

/* Which daemon the numbers of an asker belong to. */
uint64_t askings_instance(const struct askings *all);

/* WAITER is told when A is answered, or S has something new to decide; until it is unlinked. */
void askings_wait(struct ask *a, struct list *waiter);
void askings_wait_decider(struct session *s, struct list *waiter);

/* That control connection has ended: nobody waits there any more. */
void askings_connection_ended(struct askings *all, uint64_t connection);

/* The model's hooks of these names. */
void askings_changed(struct askings *all, struct entity *e);
void askings_gone(struct askings *all, struct entity *e);
