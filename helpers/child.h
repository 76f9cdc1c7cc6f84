/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process for each connection, which is its standard input and output. The connection is shut
 * down when the process ends, whoever else holds it; a process whose connection was revoked gets
 * SIGHUP, and SIGKILL when it stays, and so does all of its group. One whose client merely left
 * finishes its work; while a session has several of these its next connection waits.
 */
#pragma once

#include <stdint.h>

#include "base/list.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"

struct children {
	struct loop *loop;
	struct service *service;
	char **command;
	uint64_t max;
	struct list waiting; /* connections for which there is no process yet: as many as were under
				way */
	struct list running;
	struct list ending; /* asked to end; the first one has waited longest */
	struct list dead;   /* to be freed after the round */
	uint64_t n;	    /* processes, or what is left of their groups */
	uint64_t n_held;    /* of those that wait: until another one of their session has ended */
	uint64_t n_suspects; /* of those that run: left by their clients, or revoked */
	struct message_limit limit;
};

void children_init(
	struct children *c, struct loop *l, struct service *s, char **command, uint64_t max);
void children_deinit(struct children *c);

/* Takes the connection. */
void children_add(struct children *c, int fd, const struct capc_caller *caller);

/* SIGCHLD has come. */
void children_reap(struct children *c);

/* Kills what was asked to end and did not; frees; starts those that waited. After every round. */
void children_tend(struct children *c);
uint64_t children_timeout(const struct children *c);

/* Asks all to end, and waits for them in rounds of the loop. */
void children_stop(struct children *c);
