/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serving half of the library, shared by server.c, objects.c, connection.c, request.c and timer.c: an
 * entrypoint owns its objects and the connections that were handed over to it. All of it is used by
 * the thread that serves the entrypoint, and by nobody in a child of fork(2), which is refused.
 */
#pragma once

#include "libcap-client/private.h"

struct object {
	struct index_link by_key, by_badge;
	uint64_t key, badge;
	uint64_t was; /* the badge where it was restored from, 0: none */
	capc_handler *handler;
	void *data;
	int listener;       /* that was not taken yet, or -1 */
	int listener_error; /* why there is none, or 0 */
	bool has_come;      /* the listener: any other one is a repetition */
};

/* By visits/visited.c. */
struct visited {
	capc_visit_handler *handler; /* NULL: nobody wants to know */
	void *data;
	struct list known;
};

struct capc_entrypoint {
	pid_t owner;
	struct capc_session *session; /* borrowed */
	char *name;
	int error;   /* why it ended: all its descriptors but the epoll are closed then; or 0 */
	int epoll;   /* watches channel, timer, connections */
	int channel;
	int timer;   /* runs out when the first of `stalled` has been so for too long, or: */
	uint64_t retry_at; /* when to try again for descriptors, or 0 */
	uint64_t timeout;  /* of what is stalled */
	size_t data_max, fds_max; /* of a call */
	unsigned calls_max;       /* unanswered, of one connection */
	struct room room;         /* for large payloads */
	uint64_t room_at;         /* when to look what of that is idle, or 0 */
	int spare[2]; /* given back while a hand-over is received: see channel_receive() */
	uint64_t serial;         /* of the last hand-over */
	uint64_t unacknowledged; /* serial that waits until the channel takes it, or 0 */
	struct spin spin;
	bool expects;            /* the next call soon: one was served in the last round */
	bool caveats;            /* those of each connection are wanted, or none is taken */
	bool paused;             /* the channel, until `retry_at` */
	bool serving;            /* inside capc_serve(): nothing that an event may name is freed */
	bool detached;           /* to be freed when `serving` ends */
	struct limits limits;    /* the pages that the daemon gave, if it did */
	struct index objects_by_key, objects_by_badge;
	struct list connections;
	struct list stalled; /* of these, by the time since when they take nothing */
	struct list dead;    /* closed while `serving` */
	struct list ahead;   /* connections with descriptors of a call that has not come; oldest first */
	size_t n_ahead;      /* all of these */
	struct visited visited;
	capc_raw_handler *raw;
	void *raw_data;
	uint8_t buffer[WIRE_CALL_MAX];
};

/* Counted by: being open or dead (1), and each request that is not answered. */
struct connection {
	unsigned n_refs;
	struct capc_entrypoint *entrypoint; /* NULL once closed */
	struct list link;
	struct list stalled_link;
	uint64_t stalled_since;
	struct inbox in;
	struct list ahead_link; /* entrypoint.ahead */
	size_t n_ahead;		/* descriptors in the inbox, as counted there */
	bool full;		/* too much is unanswered: nothing but CANCEL is read */
	struct list requests; /* that have no reply */
	struct list replies;  /* that the client did not take yet */
	unsigned n_unanswered; /* both */
	size_t n_fds;          /* descriptors of the requests */
	struct buffer buffer;  /* for replies */
	struct window window;  /* for calls … */
	bool lent;             /* … of which one is in its client's buffer and not answered */
	bool starved;          /* too many descriptors are in flight for the first of them */
	uint32_t events;       /* that epoll watches */
	uint32_t page_index;   /* in the entrypoint's limits, 0: nothing is counted */
	int fd;
	struct capc_caller caller;
	char label[]; /* and the caveats behind it */
};

struct capc_request {
	struct connection *connection;
	struct list link; /* connection.requests */
	uint64_t serial;
	bool cancelled;
	size_t n_fds; /* that came with it */
	bool lent;    /* the payload came through the client's buffer */
	struct capc_msg msg;
};

/* Returns: 0, -ECHILD, or why it has ended. */
int entrypoint_check(const struct capc_entrypoint *e);

struct object *entrypoint_find(const struct capc_entrypoint *e, uint64_t key);
struct object *entrypoint_find_badge(const struct capc_entrypoint *e, uint64_t badge);
void objects_free(struct capc_entrypoint *e);

/* Sets the timer to when the connection that is stalled longest is due, or to `retry_at`. */
void entrypoint_set_timer(struct capc_entrypoint *e);

/* Descriptors are wanting, and nothing tells when there are some: to be tried again soon. */
void entrypoint_retry(struct capc_entrypoint *e);

/* Something large was kept, which is not to stay for ever. */
void entrypoint_keeps(struct capc_entrypoint *e);

/*
 * Starts to read calls, which count at PAGE_INDEX. Takes FD and the caller's pidfd. Returns: 0,
 * -ENOMEM, -errno.
 */
int connection_new(struct capc_entrypoint *e, int fd, const struct capc_caller *caller,
	uint32_t page_index);

/* Shuts down and closes; frees unless that must wait. */
void connection_close(struct connection *c);
struct connection *connection_unref(struct connection *c);

/* Returns how many calls were given to handlers. C may be closed, not freed, afterwards. */
int connection_dispatch(struct connection *c, uint32_t events);

/* Reads as long as there is room, writes while something waits. */
void connection_watch(struct connection *c);

/* Sends what waits, as far as the client takes it, and as its descriptors may be in flight. */
void connection_flush(struct connection *c);

/* Tells the client how much it may have unanswered, before anything else is read. Returns: 0, -errno. */
int connection_credit(struct connection *c);

struct capc_request *request_free(struct capc_request *r);

/* The service itself has not been asked, for this reason: a limit, or something of the library. Frees R. */
void request_refuse(struct capc_request *r, int error, const char *reason, enum wire_origin origin);

/* Sends what waited for descriptors. */
void connections_retry(struct capc_entrypoint *e);

/* It took something, or sent something, or begins to do nothing of what we wait for. */
void connection_stalls(struct connection *c);

/* Closes those that took nothing for too long. */
void connections_expire(struct capc_entrypoint *e);
