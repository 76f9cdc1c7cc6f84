/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serving half of the library, shared by server.c, objects.c, connection.c, request.c and timer.c: an
 * entrypoint owns its objects and the connections that were handed over to it.
 *
 * One thread serves it at a time; any thread answers requests. `mutex` is for that: it covers connections, their
 * requests and replies, the room and the timer. Objects, the channel and what is visited belong to who serves. The
 * program's functions run without it, so that they may answer, and take their time; whoever calls one holds a count of
 * what it needs afterwards. In a child of fork(2), which is refused, nothing is locked.
 */
#pragma once

#include <pthread.h>

#include "libcap-client/private.h"

struct capc_entrypoint;

/* What the epoll of an entrypoint knows by its address. Returns: how much was served. */
struct watched {
	int (*dispatch)(struct capc_entrypoint *e, struct watched *w, uint32_t events);
};

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
	pthread_mutex_t mutex;
	unsigned n_refs;              /* the program's, and that of each connection */
	struct capc_session *session; /* borrowed; NULL: it is no daemon's */
	char *name;
	struct capc_handlers on;
	void *on_data;
	int exhausted; /* why something was refused that needs room, which is to be told; or 0 */
	int error;   /* why it ended: all its descriptors but the epoll are closed then; or 0 */
	int epoll;   /* watches channel, timer, connections */
	struct watched channel_watched, timer_watched;
	int channel; /* or -1 */
	int timer;   /* runs out when the first of `stalled` has been so for too long, or: */
	uint64_t retry_at; /* when to try again for descriptors, or 0 */
	uint64_t timeout;  /* of what is stalled */
	size_t data_max, fds_max; /* of a call */
	unsigned calls_max;       /* unanswered, of one connection */
	struct room room;         /* for large payloads */
	uint64_t room_at;         /* when to look what of that is idle, or 0 */
	uint64_t dead_at;         /* 1: somebody is to be told of the dead, at once; or 0 */
	int spare[2]; /* given back while a hand-over is received: see channel_receive() */
	uint64_t serial;         /* of the last hand-over */
	uint64_t unacknowledged; /* serial that waits until the channel takes it, or 0 */
	struct spin spin;
	bool expects;            /* the next call soon: one was served in the last round */
	bool caveats;            /* those of each connection are wanted, or none is taken */
	bool counts;             /* the program counts what raw connections ask for … */
	int pages[2];            /* … in these, as they came; or -1 */
	bool paused;             /* the channel, until `retry_at` */
	bool serving;            /* inside capc_serve() */
	bool in_round;           /* … and behind its wait: nothing that an event may name is freed before its end */
	bool detached;           /* to be freed when `serving` ends */
	struct limits limits;    /* the pages that the daemon gave, if it did */
	struct index objects_by_key, objects_by_badge;
	struct list connections;
	struct list stalled; /* of these, by the time since when they take nothing */
	struct list dead;    /* closed, which who serves has to be told */
	struct list listeners;
	uint64_t connection_id, badge; /* the last ones */
	uint64_t seed;       /* of hashes of what clients choose */
	struct list ahead;   /* connections with descriptors of a call that has not come; oldest first */
	size_t n_ahead;      /* all of these */
	struct visited visited;
	capc_raw_handler *raw;
	void *raw_data;
	struct call_packet *packet; /* that comes in, of who serves */
	uint8_t out[WIRE_CALL_MAX];    /* with the mutex */
};

/* Counted by: being open or dead (1), and each request that is not answered. */
struct connection {
	struct watched watched;
	unsigned n_refs;
	struct capc_entrypoint *entrypoint;
	bool open;
	bool announced; /* by `connected` */
	int error;      /* once closed: why, or 0 */
	struct list link;
	struct list stalled_link;
	uint64_t stalled_since;
	struct inbox in;
	struct list ahead_link; /* entrypoint.ahead */
	size_t n_ahead;		/* descriptors in the inbox, as counted there */
	bool full;		/* too much is unanswered: nothing but CANCEL is read */
	struct list requests; /* that have no reply */
	struct index by_serial; /* … which CANCEL names */
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

/* Counted by: having no answer (1), and being told of. */
struct capc_request {
	struct connection *connection;
	unsigned n_refs;
	bool told; /* that it is cancelled */
	struct list link; /* connection.requests */
	struct index_link by_serial;
	uint64_t serial;
	bool cancelled; /* read without the mutex */
	size_t n_fds; /* that came with it */
	bool lent;    /* the payload came through the client's buffer */
	struct capc_msg msg;
};

/* Returns: 0, -ECHILD, or why it has ended. */
int entrypoint_check(const struct capc_entrypoint *e);

static inline void
entrypoint_lock(struct capc_entrypoint *e)
{
	pthread_mutex_lock(&e->mutex);
}

/* Frees E when it was the last that knew it. */
void entrypoint_unlock(struct capc_entrypoint *e);

/* Has the epoll know FD. Returns: 0, -errno. */
int entrypoint_watch(struct capc_entrypoint *e, int fd, struct watched *w);

/* Descriptors that make room for one that is to be received or accepted. Returns: 0, -errno. */
int spares_take(struct capc_entrypoint *e);
void spares_give(struct capc_entrypoint *e);

/*
 * It has a connection, but no room for a next one: ends this one, whose client is told why, where calls are spoken.
 * Takes FD.
 */
void entrypoint_refuse(struct capc_entrypoint *e, int fd, int error);

/* Nothing comes any more, for the reason ERROR, which capc_serve() gives from now on. */
void entrypoint_end(struct capc_entrypoint *e, int error);

/* channel.c */
int channel_dispatch(struct capc_entrypoint *e, struct watched *w, uint32_t events);
/* It was paused for want of descriptors. */
void channel_resume(struct capc_entrypoint *e);

/* Nobody sleeps on while there are dead. */
void entrypoint_wake(struct capc_entrypoint *e);

/* plain.c: accepts again where there was no room. */
void listeners_retry(struct capc_entrypoint *e);
void listeners_free(struct capc_entrypoint *e);

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
 * Starts to read calls, which count at PAGE_INDEX. Takes FD and the caller's pidfd, and says that there is a
 * connection. Without the mutex meanwhile.
 */
void connection_new(struct capc_entrypoint *e, int fd, const struct capc_caller *caller, uint32_t page_index);

/* Shuts down and closes; ERROR is what the program is told, by entrypoint_bury(). */
void connection_close(struct connection *c, int error);

/* C is closed: of no use any more, unless a thread is writing a reply there, which calls this afterwards. */
void connection_drop_buffer(struct connection *c);
struct connection *connection_unref(struct connection *c);

/* Tells of the dead and forgets them; without the mutex meanwhile. */
void entrypoint_bury(struct capc_entrypoint *e);

/* Nobody waits for R any more, which is told once; without the mutex meanwhile. */
void request_tell_cancelled(struct capc_request *r);

/* Reads as long as there is room, writes while something waits. */
void connection_watch(struct connection *c);

/* Sends what waits, as far as the client takes it, and as its descriptors may be in flight. */
void connection_flush(struct connection *c);

/* Tells the client how much it may have unanswered, before anything else is read. Returns: 0, -errno. */
int connection_credit(struct connection *c);

/* Says that the connection FD ends before a call of it was looked at, for the reason ERROR, an errno. */
void connection_farewell(int fd, int error, const char *reason);

/* Returns: 0; -ENOMEM; -EBADMSG: the client has used SERIAL for another one, which has no answer. */
int request_new(struct connection *c, uint64_t serial, struct capc_request **ret);
struct capc_request *request_find(const struct connection *c, uint64_t serial);

/* Nobody has it, and it has no answer. */
void request_free(struct capc_request *r);

/*
 * The service itself has not been asked, for this reason: a limit, or something of the library. Frees R. Takes the
 * mutex.
 */
void request_refuse(struct capc_request *r, int error, const char *reason, enum wire_origin origin);

/* Sends what waited for descriptors. */
void connections_retry(struct capc_entrypoint *e);

/* It took something, or sent something, or begins to do nothing of what we wait for. */
void connection_stalls(struct connection *c);

/* Closes those that took nothing for too long. */
void connections_expire(struct capc_entrypoint *e);
