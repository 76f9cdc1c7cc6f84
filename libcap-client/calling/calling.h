/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A handle on a service, shared by the files of this directory:
 *
 *	handle.c	opening and freeing
 *	link.c		its connection: connecting is a state, and so is having none
 *	flow.c		calls on their way out, and what comes back
 *	call.c		those that wait for it
 *	dispatch.c	those that do not: one descriptor, and callbacks
 *
 * The handle is the slot, not the connection: when there is none, or it has ended, the next call makes another one.
 * What was sent is never repeated, since nobody knows whether it was executed; what waits here was not sent.
 */
#pragma once

#include "libcap-client/private.h"

#define QUEUE_MAX 256 /* calls that wait to be sent */
#define SENT_MAX 256  /* unanswered, of a server that does not say how many it takes */
#define AWAIT_USEC 100000
#define RETRY_MSEC 10 /* where nothing tells that it is time; then twice as much, up to … */
#define RETRY_MSEC_MAX 1280

enum link_state {
	LINK_NONE,
	LINK_ASKING,  /* the daemon does not even take the request */
	LINK_OPENING, /* it has not answered */
	LINK_ASIDE,   /* the server has another connection for us, which has not come */
	LINK_UP,
};

/* What is known of how much the server lets us have unanswered. */
enum credit {
	CREDIT_UNASKED,
	CREDIT_ASKED,
	CREDIT_TOLD,
	CREDIT_NONE, /* it does not know */
};

enum pending_state {
	PENDING_QUEUED,
	PENDING_SENT,
	PENDING_DONE,
	PENDING_CANCELLING, /* sent, and given up; the server is to be told */
	PENDING_CANCELLED,  /* … which it was: only its RETURN is waited for */
};

struct pending {
	struct list link; /* of the list of the handle that has those of this state */
	struct index_link by_serial;
	enum pending_state state;
	bool is_last_try; /* while queued: it has seen a connection end, or there was none */
	bool refused;	  /* once done: by who makes connections, */
	bool by_server;	  /* … or by the server, which has not looked at it */
	uint64_t serial;
	size_t n_fds;
	struct kept_frame *frame; /* while queued */
	int error;		  /* once done: 0, or why there is no reply in `msg` */
	struct capc_msg msg;
	capc_replied *replied; /* NULL: to be finished */
	void *data;
};

struct capc {
	pid_t owner;
	struct capc_session *session; /* borrowed; NULL: opened by a node */
	char *slot;		      /* its node, with SESSION */
	int node;		      /* else the slot's directory, or its socket */
	bool is_socket;		      /* … which of these */
	unsigned flags;		      /* CAPC_ONE_CONNECTION, CAPC_DIRECT */
	bool listens;		      /* the server accepts by itself: connected to by its node */
	bool refused;		      /* the last call could not be sent, since there is no connection */

	enum link_state state;
	struct errand opening; /* ASKING, OPENING */
	int fd;			/* ASIDE: the first connection; UP; else -1 */
	int server;		/* pidfd of the process that serves it, once that has sent something; or -1 */
	bool asks_server;	/* … this was asked for */
	bool is_timed;		/* FD: SO_RCVTIMEO is AWAIT_USEC */
	int lifeline;		/* the first connection, where there were two; -1: none */
	int type;
	uint64_t generation; /* connections so far */
	int ended;	     /* why the last one ended, or was not made */
	int farewell;	     /* … since the server looked at no call of it: that -errno; or 0 */

	enum credit credit;
	unsigned n_asked; /* times that it was asked for */
	unsigned calls_max;
	size_t fds_max;
	unsigned n_sent; /* calls that have no RETURN */
	size_t n_fds;	 /* descriptors of these */
	bool is_blocked; /* the socket takes no more, */
	bool is_starved; /* … or the kernel no more descriptors in flight */
	int retry_msec;	 /* when to try again what no event tells of */

	uint64_t serial;
	struct index by_serial;
	struct list queued, sent, cancelling, cancelled, done, due; /* due: with a callback */
	unsigned n_queued;

	int epoll, timer; /* -1: nobody polls it */
	int watched_fd, watched_session, watched_server;
	uint32_t fd_events, session_events, server_events;
	int timer_msec; /* that it is set to; -1: off, 0: has run out */
	bool has_news;	/* that capc_dispatch() has not seen */
	bool has_more;	/* in the socket, which was not taken in one step */
	bool is_dispatching, is_freed;
	capc_connection_changed *changed;
	void *changed_data;
	uint64_t told; /* the generation whose beginning was told, and whose end was not; 0: none */
	bool failed;   /* an attempt to connect, and this was not told */

	struct room room; /* for large payloads, once there are some */
	struct buffer out;
	struct window window;
	struct inbox in;
	struct spin spin;
	struct call_packet *packet; /* that comes in, or goes out */
};

/* handle.c */
void handle_enter(struct capc *c); /* the payload to come is large: there is to be memory for it that stays */

/* link.c */

/* The connection is there: C->fd. Closes it where it fails. Returns: 0, -errno. */
int link_up(struct capc *c);

/* Whether there can be another one at all. Returns: 0, or why not, a -errno. */
int link_may(const struct capc *c);

/* Makes a connection, and waits for it. There is none, nor one under way. Returns: 0, -errno. */
int link_connect(struct capc *c, uint64_t deadline);

/*
 * Begins to. Waits only where a connection is made by its node. Returns: 0, -errno: nothing is under way.
 */
int link_begin(struct capc *c);

/* Goes on as far as that is possible. Where it fails all calls that are queued are done. */
void link_step(struct capc *c);

/* The connection is closed; what was sent on it has no reply. Returns ERROR. */
int link_end(struct capc *c, int error);

/* What is to be waited for while a connection is being made. */
void link_wants(const struct capc *c, int *ret_fd, short *ret_events);

/* flow.c */

struct pending *pending_new(struct capc *c, const struct capc_msg *req);
void pending_free(struct capc *c, struct pending *p);
struct pending *pending_find(const struct capc *c, uint64_t serial);
void pending_done(struct capc *c, struct pending *p, int error);

/* What came of one that is done: *RET is the caller's. Returns: as capc_call(). */
int pending_result(struct pending *p, struct capc_msg *ret);

/* Sends the call P, or has it wait. Takes P, also on failure. Returns: 0, -errno. */
int flow_call(struct capc *c, struct pending *p, const struct capc_msg *req);

/* Takes one packet. Returns: 1, 0 (there is none), or -errno: the connection has ended. */
int flow_take(struct capc *c);

/*
 * The same, but sleeps for AWAIT_USEC at most when there is none: in the receive itself, for which nobody has to be
 * woken up first. Nothing else is seen meanwhile, not that the server has died either. 0: also after a signal.
 */
int flow_await(struct capc *c);

/* Sends what waits, as far as that is possible; makes a connection if there has to be one. */
void flow_send(struct capc *c);

/* Goes on with all of it as far as that is possible, but takes N_MAX packets at most. */
void flow_step(struct capc *c, unsigned n_max);

/* Forgets what was known of the last connection, which has ended. */
void flow_reset(struct capc *c, int error);

/* Nothing that waits is sent any more, for this reason. */
void flow_fail(struct capc *c, int error, bool refused);

/* When to try again what no event will tell of, in milliseconds; 0: there is no such thing. */
int flow_retry_msec(const struct capc *c);

/* Nothing is under way but what has been sent. */
static inline bool
flow_is_simple(const struct capc *c)
{
	return c->state == LINK_UP && list_empty(&c->queued) && list_empty(&c->cancelling);
}

/* dispatch.c */

/* The descriptor that is polled shows what there is to be done. To be called at the end of what changes that. */
void dispatch_update(struct capc *c);

/* FD is closed next. */
void dispatch_forget(struct capc *c);

/* Something has happened that capc_dispatch() is to tell. */
static inline void
dispatch_news(struct capc *c)
{
	c->has_news = true;
}
