/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that ask for another protocol and have a body, as those of Docker's exec. HAProxy before 3.1 takes such
 * an upgrade out, and nothing could be sent behind the body in any case, as there it has seen the request's end.
 *
 * So it sends these, once it has judged them, to us instead of the server, and we send them on as they are. What is
 * answered goes back through it, unless that is 101: then HAProxy lets its client go, without a word, and bytes go
 * between that and the server through this process. Nothing of HTTP is read here but the status.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "helpers/http/clients.h"
#include "helpers/http/engine.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/relay.h"

struct upgrades {
	struct source source; /* the first member; there HAProxy connects */
	struct loop *loop;
	struct clients *clients;
	const struct engine *engine;
	const char *server; /* its path */
	struct relays relays; /* where it is decided who speaks with the server */
	int server_fd;	      /* … which the next of them is to have */
	struct list asking;   /* the server has not answered */
	struct list leaving;  /* HAProxy is told to let the client go */
	struct list dead;     /* to be freed after the round */
	struct message_limit limit;
};

/* Returns: 0 or -errno. */
int upgrades_init(struct upgrades *u, struct loop *l, struct clients *c, const char *server);
void upgrades_deinit(struct upgrades *u);

/* As of struct relays. */
void upgrades_tend(struct upgrades *u);
uint64_t upgrades_timeout(const struct upgrades *u);
