/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A listener: the bound socket of a capability, of a session's `control`, or of an object whose
 * server accepts by itself; and whoever came through it. It exists while it has a socket, is on its
 * way to one, or has clients. Who accepts there is told by endpoint_ops; listener.c itself reads no
 * byte of anybody.
 *
 * All members are written by listener.c alone, but for `loan`, which is lend.c's, and what doomed.c says of who ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "capfsd/listeners/core.h"
#include "capfsd/model/quota.h"
#include "capfsd/process/watch.h"

/* Of a session's control: what comes there is few, and is looked through as a whole (control/ownership.c). */
#define LISTENER_CONTROL_BACKLOG 128

enum listener_state {
	LISTENER_UNBOUND, /* no socket; clients came by another way, or it is just made */
	LISTENER_QUEUED,  /* to be sent to the binder */
	LISTENER_SENT,	  /* the binder is at it */
	LISTENER_BOUND,
	LISTENER_RETIRING, /* still accepts; the kernel was told to look the node up again */
	LISTENER_CLOSED,   /* waits for the kernel to forget the node */
	LISTENER_HELD,	   /* it has not, and there is nothing to pay for another socket with */
};

#define LISTENER_N_STATES (LISTENER_HELD + 1)

/* Of the listener of an object: how far it is on its way to the server. */
struct loan {
	struct list link; /* channel.lending: to be given to the server */
	struct charge inflight;
	uint8_t state; /* enum lent */
};

struct listener {
	struct sockets *sockets;
	struct entity *entity; /* a capability, a session, or an object */
	struct list link;      /* listeners.all */
	struct list state_link; /* of the list of its state */
	struct list paused_link;
	struct list doomed_link;
	struct list clients; /* its user's, linked by listener_link() */
	size_t n_clients;
	/* Of a slot, by connection.c: connections that its server has not taken, what is in flight
	 * of them, and, in the order in which they left, those whose client has gone. */
	size_t n_untaken, n_flying, n_left;
	struct list left;
	bool uneven; /* who waits there may take descriptors or not, whatever this one does now */
	struct watch watch;
	struct charge charge;
	struct loan loan;
	uint64_t due_usec;     /* when RETIRING, CLOSED or HELD is over */
	int fd;
	uint8_t state; /* enum listener_state */
	bool wanted;   /* a look-up waits */
	bool ending;   /* it is being freed: clients that leave do not free it */
	bool crowded;  /* doomed, with many clients */
	bool gone;     /* it is freed, but for its memory … */
	unsigned n_accepting; /* … as so many are being told of a client, the last of whom frees that */
};

struct listeners {
	struct list all;
	/*
	 * By state_link, those that came first in front; of those that are BOUND: without clients.
	 */
	struct list by_state[LISTENER_N_STATES];
	struct list paused;
	struct list doomed; /* to be freed, a piece at a time (doomed.h) */
	size_t n, n_idle, n_crowded;
	size_t n_unlooked; /* the first of `all`: not looked at since something ended */
	sd_event_source *pause_timer;
};

/* Returns: 0 or -errno. */
int listeners_new(struct sockets *sockets);
/* All of them have been freed. */
void listeners_free(struct sockets *sockets);
/* Ends them all. */
void listeners_end(struct sockets *sockets);

/* That of E, which has none: NULL. */
struct listener *listener_find(const struct entity *e);
/* The one of E, made when there is none. NULL: no memory. */
struct listener *listener_get(struct sockets *sockets, struct entity *e);
/* Is it an object's? Then nobody here accepts, and it is never given back while it is served. */
bool listener_is_lent(const struct listener *l);
/* Who is served through it. NULL: a session's control. */
struct entrypoint *listener_entrypoint(const struct listener *l);
/* The session that pays for it. */
struct session *listener_session(const struct listener *l);
/* How many may wait there to be accepted, if the system allows so many. */
uint32_t listener_backlog(const struct listener *l);

/* FD listens for it from here on; an older one is given up. Takes FD. Returns: 0 or -errno. */
int listener_set_fd(struct listener *l, int fd);
/* It may have changed whether descriptors may be sent to it, and how many may wait there. */
void listener_restricted(struct listener *l);
/*
 * Gives its socket up, and with it what was paid for that; clients in the backlog are served when SERVE, else
 * refused.
 */
void listener_close(struct listener *l, bool serve);

/*
 * A client comes and goes. L may be freed when the last one goes, since it is nothing without a
 * socket; whoever is in the midst of it holds it meanwhile.
 */
void listener_link(struct listener *l, struct list *link);
void listener_unlink(struct listener *l, struct list *link);
void listener_hold(struct listener *l);
void listener_unhold(struct listener *l);

/* It leaves the list of its state for the end of that of STATE. */
void listener_enter(struct listener *l, enum listener_state state);
/* The same, until USEC from now. */
void listener_enter_for(struct listener *l, enum listener_state state, uint64_t usec);
/* The one that has been in STATE longest; BOUND: without clients. NULL: none. */
struct listener *listener_first(const struct sockets *sockets, enum listener_state state);
/* Idle ones that S pays for, but KEEP. RET: the oldest, or NULL. Returns: how many. */
size_t listener_idle(const struct sockets *sockets, const struct session *s,
	const struct listener *keep, struct listener **ret);
/* It was asked for: others are given back before it. */
void listener_touch(struct listener *l);

/* Frees L if nothing is left of it. */
void listener_release(struct listener *l);
/*
 * It has no socket and will not get one: gives its quota back, and frees it if it has no clients.
 */
void listener_give_up(struct listener *l);
/* Ends everything of L, and L, which may be NULL. */
struct listener *listener_free(struct listener *l);
/* The first half of that: nobody gets in any more, and its clients are still there. */
void listener_end_socket(struct listener *l);
/* It has few clients left, or none. */
void listener_leave_crowd(struct listener *l);

/* Makes it pay for its socket. Returns: 0 or EDQUOT. */
int listener_charge(struct listener *l);
void listener_uncharge(struct listener *l);

/* A look-up waits for L, until listener_done() tells how that ended. */
void listener_want(struct listener *l);
void listener_done(struct listener *l, int error);
/* Somebody was not let in: an event, at most one a second. */
void listener_log_refusal(struct listener *l, uid_t uid, int error, const char *reason);

/* FD came to E by another way than its own listener. Takes FD. */
void listener_admit(struct sockets *sockets, struct entity *e, int fd);
/* No descriptor or memory to accept with: said in the log now and then. */
void listener_complain(struct sockets *sockets, int error);
