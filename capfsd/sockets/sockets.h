/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes on at the listeners of capabilities and objects: connections and how they get to their
 * servers, and channels of attached servers.
 *
 * It owns these descriptors and their records in the store. It is called by the model's hooks and
 * by the file system through broker/fronts.c, and by its users, control/ and conversation/, which
 * it calls through struct endpoint_ops alone (core.h). It never reads what clients say to servers,
 * and knows no protocol but that of the channels.
 *
 * What a connection is stands in the store under its socket's cookie, and what a listener is in the
 * name that it is bound to. adopt_all() takes both up again.
 *
 *	adopt		what a predecessor left
 *	serve		servers come and go
 *	connect		how a connection is made, or refused; accepting for capabilities
 *	queue		connections on their way to their server
 *	lend		listeners that servers get, to accept by themselves
 *	counts, pages	what servers count by themselves
 *	connection, channel	what these are and have
 *
 * Includes run one way: channel, connection <- pages <- counts <- queue, lend <- connect, serve
 * <- adopt <- sockets.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "capfsd/listeners/core.h"

struct capability;
struct change;
struct entity;

/* TURNS: the line in which clients wait, with whoever else uses it. */
int sockets_new(struct model *m, struct state *state, const struct boot *boot, sd_event *event,
	struct turns *turns, const struct sockets_fs *fs, void *fs_data, struct sockets **ret);
/*
 * Forgets: sockets and their records stay, for the next broker, but after sockets_stop(). Users
 * that have sockets of their own end first, by core_add_user()'s `gone` or by sockets_forget() and
 * their own.
 */
struct sockets *sockets_free(struct sockets *sockets);
/* From here on nothing that ends is shut down, nor its record dropped. */
void sockets_forget(struct sockets *sockets);

/* Something was reaped, for which somebody may wait. */
void sockets_reaped(struct sockets *sockets);
/* What may be heard of late is put in line now. Returns: 0 or -errno. */
int sockets_catch_up(struct sockets *sockets);
/* The broker is going to end, and perhaps the daemon: nothing that is to be kept waits any more. */
void sockets_pause(struct sockets *sockets);
/* Shuts all listeners, connections and channels down, for good. */
void sockets_stop(struct sockets *sockets);

/* How many there are, for the metrics. */
struct sockets_numbers {
	uint64_t listeners, connections;
};
struct sockets_numbers sockets_numbers(const struct sockets *sockets);

/* The model's hooks. */
void sockets_changed(struct sockets *sockets, struct entity *e);
void sockets_gone(struct sockets *sockets, struct entity *e);
void sockets_restricted(struct sockets *sockets, struct capability *c);
