/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The socket to an attached server, its credit and its serials. At most CREDIT_MAX things are on
 * their way that the server has not acknowledged. What goes over it is its users' concern:
 * connections (queue.c), listeners (lend.c), pages (pages.c); they are called through channel_ops,
 * by which serve.c joins them.
 *
 * Serials never come twice on one channel: their upper half is an epoch, stored, and raised by
 * each broker before it offers anything new.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"

struct change;
struct channel;
struct endpoint;
struct entrypoint;
struct memo;

#define EPOCH_SHIFT 32

/* What happens on a channel. */
struct channel_ops {
	/*
	 * Sends what waits and has credit. Ends nothing, since callers hold connections and
	 * listeners.
	 */
	void (*pump)(struct channel *channel);
	/* The server has what had this serial, or this badge. */
	void (*taken)(struct channel *channel, uint64_t serial);
	/* The server is gone. Frees CHANNEL. */
	void (*lost)(struct channel *channel);
};

struct channel {
	struct sockets *sockets;
	const struct channel_ops *ops;
	struct entrypoint *entrypoint; /* NULL: not yet */
	struct endpoint *endpoint;     /* that of the entrypoint, once it is published */
	struct list link;	       /* channels.all, once it is published */
	struct list starved_link;      /* channels.starved: waits for others' credit */
	struct watch watch;	 /* its end */
	struct watch late_watch; /* what its server says */
	struct charge charge;
	struct memo *memo;
	uint64_t next_serial;
	unsigned n_offered; /* of CREDIT_MAX */
	int fd;

	/* queue.c's: connections, by serial, by how far their hand-over is. */
	struct list waiting, offered, taken;
	/* visits.c's: what its server is to be told, and whether it has not taken the last word on that. */
	struct list untold; /* of struct visit, untold_link */
	bool look, told;
	/* lend.c's: listeners that wait for credit, and whether objects may lack one. */
	struct list lending;
	bool unlent;
};

struct channels {
	struct list all;
	struct list starved;
};

/* Returns: 0 or -errno. */
int channels_new(struct sockets *sockets);
/* All of them have been freed. */
void channels_free(struct sockets *sockets);

/* Takes FD and MEMO on success. Returns: 0 or -errno. */
int channel_new(struct sockets *sockets, const struct channel_ops *ops, struct session *s, int fd,
	struct memo *memo,
	struct channel **ret);
/*
 * Nothing of its users is left. Leaves its entrypoint as it is. CHANNEL may be NULL. Returns: NULL.
 */
struct channel *channel_free(struct channel *channel);
/* S pays for it. Returns: 0 or -EDQUOT. */
int channel_charge(struct channel *channel, struct session *s);
/* It serves E from here on, which has no other. */
void channel_publish(struct channel *channel, struct entrypoint *e);

/* Stages that it serves E, by THREAD, with serials that begin with EPOCH. Returns: 0 or -ENOMEM. */
int channel_stage(struct channel *channel, struct change *ch, const struct entrypoint *e,
	uint64_t thread, uint64_t epoch);
/* The next one to be given, and that it was. */
uint64_t channel_serial(const struct channel *channel);
void channel_next_serial(struct channel *channel);
/* A new epoch, or pages, that the store does not know yet go with CH. Returns: 0 or -ENOMEM. */
int channel_stage_late(struct channel *channel, struct change *ch);
/* It has the pages IDENTITY from here on. Stored with the next change. */
void channel_set_pages(struct channel *channel, uint64_t identity);

/*
 * Is there credit for one thing, and room in flight for its N descriptors? It is tried again later.
 */
bool channel_may_send(struct channel *channel, size_t n);
/* One with N descriptors is on its way, and has arrived or is gone. */
void channel_sent(struct channel *channel, size_t n);
void channel_settled(struct channel *channel, size_t n);
/* Something had no room: tries again soon. */
void channel_starve(struct channel *channel);
/* The same, at the next round of the loop. For hooks. */
void channel_pump_soon(struct channel *channel);
void channel_pump(struct channel *channel);
/* What its server has said by now counts now. */
void channel_catch_up(struct channel *channel);
/* All that there was is sent: its server's word on that need wake nobody. */
void channel_rest(struct channel *channel);
/* Those that starve, since something has arrived. */
void channels_pump_starved(struct sockets *sockets);

/* Notices a server that is gone before the loop does. May free CHANNEL. */
void channel_look(struct channel *channel);
