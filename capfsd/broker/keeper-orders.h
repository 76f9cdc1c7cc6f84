/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeper and broker say to each other, from the broker's side. */
#pragma once

#include <systemd/sd-event.h>

#include "capfsd/process/records.h"

struct boot;
struct fronts;
struct state;

struct keeper_orders {
	const struct boot *boot;
	struct state *state;
	struct fronts *fronts;
	sd_event *event;
};

/* What the fronts need of the keeper is asked by O, which stays where it is. Before fronts_init(). */
void keeper_orders_join(struct keeper_orders *o);
/* The keeper is listened to from now on. Returns: 0 or -errno. */
int keeper_orders_listen(struct keeper_orders *o);
/* Returns: 0 or -errno. */
int keeper_orders_tell(const struct keeper_orders *o, enum keeper_type type);
