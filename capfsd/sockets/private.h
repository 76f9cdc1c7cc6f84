/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of this front share. A listener owns the connections that came through its
 * capability (or the control clients of its session); a channel lists the same connections by how
 * far their hand-over is; struct ipc owns the rest.
 *
 * Whatever runs inside a hook of the model (ipc_gone, ipc_restricted) must not start a change:
 * records are dropped later, through struct memo.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/index.h"
#include "base/list.h"
#include "base/text.h"
#include "capfsd/sockets/sockets.h"
#include "capfsd/tree/conversations.h"
#include "capfsd/tree/tree.h"
#include "libcap-client/wire.h"

#define ACCEPTS_MAX 16	/* connections accepted of one listener in a row */
#define REQUESTS_MAX 16 /* requests of one control client in a row */
#define MESSAGES_MAX 32 /* messages of one server, or of the binder, in a row */
#define BACKLOG 128	/* of each listener: one flooder does not keep others out */
#define HANDOVER_FDS 2	/* the connection and its client's pidfd, in flight until they are taken */
#define CREDIT_MAX 8	/* hand-overs to one server that it has not taken yet */
#define IDLE_LISTENERS_MAX 4096
#define COMMAND_BYTES_MAX 4095
#define CHALLENGE_BYTES 32 /* hexadecimal digits */
#define INSPECTIONS_MAX 64 /* that are not over; below a session half of those below its parent … */
#define INSPECTIONS_MIN 4  /* … but no less than this */
#define MEMOS_MAX 64 /* staged in one transaction */

#define BINDER_USEC 2000000	 /* for one that is replaced, and its jobs */
#define RETIRE_USEC 1000000	 /* from the invalidation of a node to the end of its listener */
#define FORGET_USEC 100000	 /* from the end of a listener to the kernel's FORGET */
#define PAUSE_USEC 100000	 /* without descriptors nobody is accepted for so long */
#define RETRY_USEC 10000	 /* too many descriptors in flight: send again after that */
#define COUNT_USEC 1000000	 /* between two looks at what servers have counted */
#define FLUSH_USEC 20000	 /* records that may be late are written after that … */
#define FLUSH_AGAIN_USEC 1000000 /* … and tried again after that when the store is full */

enum socket_kind {
	SOCKET_CONNECTION = 1,
	SOCKET_CHANNEL,
	SOCKET_CONTROL,
	SOCKET_CALL, /* the client's end of a conversation that the daemon has for an open file */
};

enum connection_state {
	CONNECTION_WAITING, /* for credit. To the store this is the same as offered */
	CONNECTION_OFFERED,
	CONNECTION_TAKEN,
	CONNECTION_HELD, /* in the store only: no server has ever been offered it */
};

/* What the store has about a socket, under STORE_CONNECTION and its cookie. */
struct connection_record {
	uint64_t cookie; /* in full: the key has 56 bits of it */
	uint64_t owner;	 /* the capability, entrypoint or session */
	uint64_t serial; /* of the hand-over; channel: its epoch; control: of the reply; call: of it */
	/* channel: the thread; control: what is to be reaped before the reply; paired connection: the
	 * cookie of the client's end; call: the handle */
	uint64_t value;
	uint64_t fd_cookie;	/* control: of the descriptor that goes with the reply, or 0 */
	uint64_t pages;		/* channel: the identity of its pages, 0: none */
	uint32_t uid, gid, pid; /* of the client */
	uint32_t error;		/* control: of the reply */
	uint8_t kind;		/* enum socket_kind */
	uint8_t state;		/* enum connection_state */
	uint8_t op;		/* control: of the reply, whose text follows this record */
	uint8_t reserved[5];
};

/*
 * A record and what is still to be done about it in the store. It outlives its socket, until the
 * store has forgotten it too.
 */
struct memo {
	struct list link; /* ipc.dirty or ipc.staged while it is to be written */
	struct connection_record record;
	bool stored;
	bool drop;
};

enum listener_state {
	LISTENER_UNBOUND, /* no socket; there are connections by WIRE_OPEN, or it is just made */
	LISTENER_QUEUED,  /* to be sent to the binder */
	LISTENER_SENT,	  /* the binder is at it */
	LISTENER_BOUND,
	LISTENER_RETIRING, /* still accepts; the kernel was told to look the node up again */
	LISTENER_CLOSED,   /* waits for the kernel to forget the node */
};

/* Of the listener of an object: how far it is on its way to the server. */
enum lent {
	LENT_NOT,
	LENT_SENT,
	LENT_TAKEN,
};

struct listener {
	struct ipc *ipc;
	struct entity *entity; /* a capability, a session, or an object whose server accepts */
	struct list link;      /* ipc.listeners */
	struct list state_link;
	struct list paused_link;
	struct list connections; /* of struct connection, or of struct control for a session */
	struct list lend_link;	 /* channel.lending: to be given to the server */
	size_t n_connections;
	sd_event_source *source;
	struct charge charge, inflight;
	uint64_t due_usec;     /* when RETIRING or CLOSED is over */
	uint64_t refused_usec; /* of the last refusal that became an event */
	int fd;
	uint8_t state; /* enum listener_state */
	uint8_t lent;  /* enum lent */
	bool wanted;   /* a look-up waits */
};

struct connection {
	struct ipc *ipc;
	struct index_link peer_link; /* ipc.by_peer, when it is paired */
	struct capability *capability; /* NULL: ended, and only its credit is still out */
	struct channel *channel; /* NULL: held, in entrypoint.held, until there is a server */
	struct listener *listener;
	struct list listener_link;
	struct list channel_link; /* of the list of its state */
	sd_event_source *source;
	struct charge socket, inflight;
	struct memo *memo;
	uint64_t serial;
	int fd;		/* a duplicate of what the server has */
	uint8_t state;	/* enum connection_state */
	uint8_t n_sent; /* descriptors in flight */
	bool paired;	/* made by WIRE_OPEN: its peer credentials are the daemon's own */
	bool hung_up;	/* the client went before the server took it */
	bool repeated;	/* a predecessor may have offered it */
	struct call *call; /* the client, if that is the daemon itself */
};

enum call_state {
	CALL_ASKED,
	CALL_ANSWERED, /* some of the reply, or its end, was read */
	CALL_FAILED,   /* and every read says so */
};

/* How far a conversation is: stands behind its record. */
struct call_progress {
	uint64_t unique; /* of the READ that was answered last */
	uint64_t wait_unique, wait_until_usec; /* of the one that waited last, by CLOCK_MONOTONIC */
	uint32_t offset; /* of the reply: so much was read */
	uint32_t last;	 /* … of which that READ got the last */
	uint32_t total;	 /* the reply's length, if that is a packet */
	uint32_t error;	 /* FAILED: of all reads; ANSWERED: the service's refusal, of the first */
	uint8_t state;	 /* enum call_state */
	uint8_t tag;	 /* of streams (reply.c) */
	uint8_t given_up; /* a read was not answered in time: the next request need not wait */
	uint8_t reserved[5];
};

/* The client's end of a connection, for the open file of a `call`. */
struct call {
	struct ipc *ipc;
	struct index_link handle_link; /* ipc.calls */
	struct index_link owner_link;  /* ipc.calls_by_owner, by the capability's id */
	struct list link;	       /* ipc.all_calls */
	struct connection *connection; /* of which it is the client; NULL: ended */
	sd_event_source *source;
	struct charge socket, ram;
	struct memo *memo;
	struct call_progress progress;
	uint64_t handle;
	uint32_t untaken; /* of a stream: was read, and is still in the socket */
	int fd;
	bool stream, calls; /* what the object speaks; neither: packets of its own */
};

struct channel {
	struct ipc *ipc;
	struct entrypoint *entrypoint; /* NULL: it ended */
	struct list link;	       /* ipc.channels; ipc.detaching when the server is gone */
	struct list starved_link;      /* ipc.starved: waits for others' credit */
	struct list waiting, offered, taken;
	struct list lending; /* of listeners, by lend_link */
	sd_event_source *source;
	struct charge charge;
	struct memo *memo;
	struct pages *pages; /* NULL: nothing was counted yet */
	uint64_t next_serial;
	unsigned n_offered;
	bool unlent; /* there may be objects without a listener */
	int fd;
};

struct page_slot {
	struct capability *capability; /* NULL: free */
	uint32_t next;		       /* … and the one that was freed after it */
	bool written;
};

/* Of an attached server; pages.c. */
struct pages {
	struct ipc *ipc;
	struct entrypoint *entrypoint;
	struct granted_entry *granted;
	int granted_fd, used_fd;
	uint32_t attachment; /* of the entrypoint */
	uint64_t identity;   /* 0: they were never sent to anybody */
	uint64_t sequence;
	struct page_slot *slots;
	uint32_t n_slots; /* with memory: in `granted`, charged, and here */
	uint32_t n_given; /* from 1 up to here all were given once */
	uint32_t first_free, last_free, n_free;
	struct charge ram;
	bool sent;
	uint8_t n_inflight;
};

/* A reply that could not be sent at once. */
struct parcel {
	uint8_t *data; /* NULL: none */
	size_t n;
	struct charge ram;
	uint64_t pending; /* goes out when this is reaped */
	int fd;		  /* goes with it */
};

/* What a client is to prove, and what it has proved. */
struct vouch {
	struct index_link link; /* ipc.challenges, while there is a challenge */
	char challenge[CHALLENGE_BYTES + 1];
	uint64_t inspection; /* that is under way, 0: none */
	uint64_t capability; /* 0: not yet */
	int error;	     /* of an inspection: why there is none */
};

struct control {
	struct ipc *ipc;
	struct session *session;
	struct listener *listener;
	struct list listener_link;
	struct list pending_link; /* ipc.pending */
	struct list starved_link; /* ipc.starved_controls */
	sd_event_source *source;
	struct charge charge;
	struct memo *memo;
	struct ucred peer;
	uint64_t serial; /* of the last request that was executed */
	struct parcel parcel;
	struct text snapshot; /* of the node that is being read in pieces */
	struct charge snapshot_ram;
	uint64_t snapshot_node;
	struct vouch vouch;
	int fd;
	bool replay; /* PARCEL answers SERIAL, executed by a predecessor, if that is asked again */
};

struct ipc {
	struct model *model;
	struct state *state;
	const struct boot *boot;
	sd_event *event;
	const struct ipc_fs *fs;
	void *fs_data;

	struct list listeners;
	struct list queued, sent, idle, retiring, closed; /* of listeners, by state_link */
	struct list paused;				  /* of listeners, by paused_link */
	struct list channels, detaching;
	struct list starved; /* of channels */
	struct list starved_controls;
	struct list pending;	   /* of controls */
	struct list dirty, staged; /* of memos */
	struct index challenges;   /* of vouches */
	struct index by_peer;	   /* of connections, by the cookie of the client's end */
	struct list inspections;
	uint64_t next_inspection;
	struct index calls, calls_by_owner;
	struct list all_calls;
	struct metrics *metrics; /* for requests, which show them; NULL: none */
	size_t n_connections;
	size_t n_listeners, n_idle, n_idle_max;
	size_t n_inflight, n_inflight_max;

	struct keep *keep; /* NULL: nobody keeps sockets for us */
	sd_event_source *binder_source;
	sd_event_source *activation_source;
	sd_event_source *retire_timer, *pause_timer, *retry_timer, *flush_timer, *count_timer;
	sd_event_source *binder_timer;
	int binder_fd;
	int next_binder_fd; /* comes when that has ended, -1: none */
	int activation_fd; /* -1: no service manager gave one */
	uint8_t *request, *reply; /* WIRE_CONTROL_MAX bytes each */
	uint8_t *packet;	  /* WIRE_CALL_MAX bytes */
	uint64_t logged_usec;	  /* of the last complaint about descriptors */
	uint64_t activity;
	bool stopped;
	bool forgetting; /* ipc_free(): descriptors and records stay for the next broker */
};

/* ipc.c */
int ipc_add_io(struct ipc *ipc, int fd, uint32_t events, sd_event_io_handler_t f, void *data,
	sd_event_source **ret);
uint64_t ipc_now(const struct ipc *ipc);
/* Runs TIMER after USEC, unless it is going to run anyway. */
void ipc_arm(sd_event_source *timer, uint64_t usec);
/* shutdown(2) and close(2), but when all is only forgotten. Returns: -1. */
int ipc_close(const struct ipc *ipc, int fd);
/* An error that the next broker may not meet: ends the loop. -ENOMEM and -ENOSPC do not. */
void ipc_fail(struct ipc *ipc, int error);
/* change_commit() together with memos that wait. Returns: as that. */
int ipc_commit(struct ipc *ipc, struct change *ch);

int ipc_add_timer(struct ipc *ipc, sd_event_time_handler_t f, sd_event_source **ret);

/* keep.c */
/* *RET is NULL when sockets are not to be kept. Returns: 0 or -errno. */
int keep_new(struct ipc *ipc, struct keep **ret);
struct keep *keep_free(struct keep *keep);
/* FD is a socket that lives on: it is sent some time, if it does then. KEEP may be NULL. */
void keep_add(struct keep *keep, int fd);
/* FDS are the pages IDENTITY, kept at once; NULL: forgotten. KEEP may be NULL. */
void keep_pages(struct keep *keep, uint64_t identity, const int fds[2]);
/* Sends them now, and waits for a moment until systemd has them. */
void keep_now(struct ipc *ipc);
int keep_on_timer(sd_event_source *source, uint64_t usec, void *data);

/* memos.c */
struct memo *memo_new(enum socket_kind kind, uint64_t cookie, uint64_t owner);
/* Stages MEMO with N bytes of TEXT behind its record. Returns: 0 or -ENOMEM. */
int memo_stage(struct memo *memo, struct change *ch, const char *text, size_t n);
/* The record changed: written some time. */
void memo_touch(struct ipc *ipc, struct memo *memo);
/* Its socket is gone. Takes MEMO, which may be NULL. Returns: NULL. */
struct memo *memo_drop(struct ipc *ipc, struct memo *memo);
void memos_stage(struct ipc *ipc, struct change *ch);
void memos_settle(struct ipc *ipc, bool committed);
/* Writes all. Returns: 0 or -errno. */
int memos_flush(struct ipc *ipc);
int memos_on_timer(sd_event_source *source, uint64_t usec, void *data);

/* listener.c */
struct listener *listener_find(const struct entity *e);
/* The one of E, made when there is none. NULL: no memory. */
struct listener *listener_get(struct ipc *ipc, struct entity *e);
/* Is somebody there to accept for E? */
bool listener_is_served(const struct entity *e);
/* FD listens for it now; an older one is given up. Takes FD. Returns: 0 or -errno. */
int listener_set_fd(struct listener *l, int fd);
/* Gives its socket up; clients in the backlog are served when SERVE, else refused. */
void listener_close(struct listener *l, bool serve);
/* A connection or a control client comes and goes; the last one may free L. */
void listener_link(struct listener *l, struct list *link);
void listener_unlink(struct listener *l, struct list *link);
void listener_touch(struct listener *l);
/* Leaves the list of its state for LIST, or for none. */
void listener_move(struct listener *l, enum listener_state state, struct list *list);
/* Frees L if nothing is left of it. */
void listener_release(struct listener *l);
/* Ends everything of L, and L, which may be NULL. */
struct listener *listener_free(struct listener *l);
/* Somebody connected. Takes FD. */
void listener_accepted(struct listener *l, int fd);
/* Makes it pay for its socket. Returns: 0 or EDQUOT. */
int listener_charge(struct listener *l);
/* A look-up waits for L: this is how it ended. */
void listener_done(struct listener *l, int error);
/* Somebody was not let in: an event, at most one a second. */
void listener_log_refusal(struct listener *l, uid_t uid, int error, const char *reason);
int listener_on_pause(sd_event_source *source, uint64_t usec, void *data);

/*
 * Gives F what has come to the listener FD, some at a time. Returns: 0; an errno when there is no
 * descriptor or memory to accept with; -errno when it does not listen any more.
 */
int listener_accept_each(int fd, void (*f)(void *data, int client), void *data);
/* No descriptor or memory to accept with: said now and then. */
void listener_complain(struct ipc *ipc, int error);
/* FD came to E by another way than its own listener. Takes FD. */
void listener_admit(struct ipc *ipc, struct entity *e, int fd);
bool socket_is_listening(int fd);

/* activation.c */
/* Has FD the name of the service manager's listener, as it or as accepted of it? */
bool activation_is(const struct ipc *ipc, int fd);
/* Such a one. Takes FD. */
void activation_adopt(struct ipc *ipc, int fd);
/* There may be descriptors again. */
void activation_resume(struct ipc *ipc);
void activation_close(struct ipc *ipc);

/* binding.c */
void binding_request(struct listener *l);
/* What "…/OBJECT.CAPABILITY", the name of the socket FD, tells. NULL: no such name or thing. */
struct entity *binding_entity(struct ipc *ipc, int fd);
/* The capability of that object, or the session when OBJECT is 0. NULL: there is none. */
struct entity *binding_find(struct ipc *ipc, uint64_t object, uint64_t capability);
/* Takes what the binder has said, without waiting for the loop. */
void binding_look(struct ipc *ipc);
void binding_balance(struct ipc *ipc);
/* Gives back an idle one of S, other than KEEP, its quota at once. Returns: was there one? */
bool binding_yield(struct ipc *ipc, const struct session *s, const struct listener *keep);
int binding_on_retire(sd_event_source *source, uint64_t usec, void *data);
int binding_on_timer(sd_event_source *source, uint64_t usec, void *data);

/* lend.c: where the server accepts by itself */
/* Is L such a server's? Then nobody here accepts, and it is never given back while it is served. */
bool listener_is_lent(const struct listener *l);
/* Makes the listeners that the objects of E do not have; its server gets each when it is bound. */
void lend_all(struct ipc *ipc, struct entrypoint *e);
/* L is bound, or there is ERROR instead: its server is told, soon. */
void lend_bound(struct listener *l);
void lend_failed(struct listener *l, int error);
/* Sends what the server has credit for. */
void lend_pump(struct channel *channel);
/* The server has the listener of the object with this badge. */
void lend_taken(struct channel *channel, uint64_t badge);
/* L, or CHANNEL, ends. */
void lend_end(struct listener *l);
void lend_detach(struct channel *channel);

/* connection.c */
enum {
	CONNECTION_E_ENDED = 1, /* the capability */
	CONNECTION_E_RIGHT,
	CONNECTION_E_UNSERVED,
	CONNECTION_E_CALLS,
	CONNECTION_E_CONNS,
	CONNECTION_E_RATE,
	CONNECTION_E_HELD,    /* as many wait for a server as may */
	CONNECTION_E_SOCKETS, /* quota */
	CONNECTION_E_INFLIGHT,
	CONNECTION_E_PAGES,
	CONNECTION_E_STORE,
	CONNECTION_E_MEMORY,
};

/* The errno of an answer, and its reason appended to T. */
int connection_refusal(const struct capability *c, int answer, struct text *t);

/*
 * Stages a connection through C over FD for the client PEER, whose end has CLIENT_COOKIE if it is
 * made here (WIRE_OPEN), else 0. After the commit comes
 * connection_publish(), else connection_free(). Takes FD on success.
 * Returns: 0, CONNECTION_E_*, -errno.
 */
int connection_stage(struct ipc *ipc, struct change *ch, struct capability *c, int fd,
	const struct ucred *peer, uint64_t client_cookie, struct connection **ret);
void connection_publish(struct connection *conn);
struct connection *connection_free(struct connection *conn);
/* One of a predecessor, with its record; takes both. */
void connection_adopt(struct ipc *ipc, int fd, struct memo *memo);
/* Shuts it down, discards what is queued, forgets it. CONN may be freed. */
void connection_end(struct connection *conn);
/* The server has it. */
void connection_taken(struct connection *conn);
/* Is C, with all it came from, still good for calls? */
bool connection_is_allowed(const struct capability *c);
/* Puts CONN into a list of connections, by its serial. */
void connection_enqueue(struct list *list, struct connection *conn);
/* CONN, which was not offered, waits until its entrypoint has a server again. */
void connection_hold(struct connection *conn);
/* The one that was made here, by the cookie of the client's end. NULL: ended. */
struct connection *connection_find_paired(const struct ipc *ipc, uint64_t cookie);
/* Its client has closed, as the loop would learn a little later. CONN may be freed. */
void connection_left(struct connection *conn);
/* accept(2) gave FD for the capability of L. Takes FD. */
void connection_accepted(struct listener *l, int fd);
/* Shuts FD down, discards what is queued, closes it. Returns: -1. */
int socket_discard(int fd);
int socket_peer(int fd, struct ucred *ret);

/* channel.c */
/* Takes FD and MEMO on success. Returns: 0 or -errno. */
int channel_new(struct ipc *ipc, int fd, struct memo *memo, struct channel **ret);
/* E is served through CHANNEL from now on. */
void channel_publish(struct channel *channel, struct entrypoint *e);
struct channel *channel_free(struct channel *channel);
/* One of a predecessor; takes all. PAGE_FDS: its pages, -1: none. FD -1: its server was being lost. */
void channel_adopt(struct ipc *ipc, int fd, struct memo *memo, const int page_fds[2]);
/* E will be served through CHANNEL: sets the serials that come before the commit. */
void channel_begin(struct channel *channel, const struct entrypoint *e);
/* CONN waits for its hand-over; by its serial among the others. */
void channel_enqueue(struct channel *channel, struct connection *conn);
void channel_pump(struct channel *channel);
/* channel_pump() again soon: something has no room now. */
void channel_starve(struct channel *channel);
/* Notices a server that is gone before the loop does. May free CHANNEL. */
void channel_look(struct channel *channel);
/* The server is gone. Frees CHANNEL, at once or when the store has it. */
void channel_lost(struct channel *channel);
/* The store says that E is served, but there is no channel. */
void channel_orphan(struct ipc *ipc, struct entrypoint *e);
void channels_retry(struct ipc *ipc);
int channels_on_retry(sd_event_source *source, uint64_t usec, void *data);

/* hold.c */
/* Those who waited for a server are the first. */
void channel_take_held(struct channel *channel);
/* What CHANNEL's server has not been offered waits for the next one, if callers may. */
void channel_hold_waiting(struct channel *channel);

/* pages.c */
/* Unless all is only forgotten they are gone with it. P may be NULL. */
struct pages *pages_free(struct pages *p);
/* Those of a predecessor; takes both descriptors on success. Returns: 0, -EBADMSG, -errno. */
int pages_adopt(struct ipc *ipc, struct entrypoint *e, int granted_fd, int used_fd, struct pages **ret);
/* Is FD such a file as pages are? Then RET_KIND tells 0: `granted`, 1: `used`. */
bool page_identify(int fd, unsigned *ret_kind, uint64_t *ret_identity);
/*
 * Stages entries for C and all its ancestors, for a connection over CHANNEL. After the commit comes
 * pages_publish(). Returns: 0, -EDQUOT (there is no room for more), -errno.
 */
int pages_stage(struct channel *channel, struct change *ch, struct capability *c);
void pages_publish(struct channel *channel, struct capability *c);
/* C was reduced or has ended: its server sees it at the next call. For hooks. */
void pages_restrict(struct capability *c);
/* C is gone. For hooks. */
void pages_forget(struct capability *c);
/* Before the first hand-over that needs them. Returns: 0, -errno of the channel. */
int pages_send(struct channel *channel);
/* The server has taken them out of the channel. */
void pages_taken(struct pages *p);
/* Has C an entry, and been given it? */
bool pages_have(const struct pages *p, const struct capability *c);

/* counts.c */
/*
 * What was used before it had this entry, which nobody looks at yet: written before the server hears
 * of it. Returns: 0, -errno.
 */
int counts_begin(const struct pages *p, uint32_t index, const struct capability_record *r);
/* Stores what was used, for the last time. P may be NULL. Returns: 0, -errno. */
int counts_settle(const struct pages *p);
int counts_on_timer(sd_event_source *source, uint64_t usec, void *data);

/* control.c */
void control_accepted(struct listener *l, int fd);
/* One of a predecessor, with its record and N bytes of its reply's text. Takes descriptors, MEMO.
 */
void control_adopt(
	struct ipc *ipc, int fd, struct memo *memo, const char *text, size_t n, int reply_fd);
struct control *control_free(struct control *c);
/* What C waits for may have come. C may be freed. */
void control_resume(struct control *c);

/* call.c */
struct call *call_find(struct ipc *ipc, uint64_t handle);
struct call *call_free(struct call *call);
/* One of a predecessor, with its record and N bytes of its progress. Takes FD and MEMO. */
void call_adopt(struct ipc *ipc, int fd, struct memo *memo, const void *progress, size_t n);
/* The capability E has ended. */
void calls_gone(struct ipc *ipc, const struct entity *e);
/* Commits the progress. Returns: 0, -errno; then nothing has changed, but in memory. */
int call_commit(struct call *call);
/* The loop tells the other front when there is something to be read. */
void call_watch(struct call *call);

/* reply.c */
/* What is there of the reply to CALL, whose capability C lives. Returns: 0 or CALL_E_WAIT. */
int call_read(struct call *call, struct request *r, const struct capability *c,
	struct call_read *read);
/* Was all of the reply read, or given up, so that the next request may come? */
bool call_is_over(struct call *call);
/* Discards what the service sent unasked. Returns: can the connection go on? */
bool call_drain(struct call *call);
/* Is there a reply, or the end of all replies? */
bool call_is_readable(struct call *call);
/* Of one that is adopted: finds out what its predecessor has taken. */
void call_recall(struct call *call);

/* perform.c */
struct answer {
	struct request request;
	struct control *control;
	const struct wire_request *asked;
	const char *text; /* instead of request.text, when set */
	size_t n_text;
	uint64_t value;
	uint16_t flags;
	int fd;	    /* goes with the reply */
	bool noted; /* the reply was staged */
};

/* Does what is asked; the answer stands in A. Returns: 0, -errno for what ends the daemon. */
int perform(struct answer *a);
void answer_deinit(struct answer *a);

/* vouch.c */
void vouch_deinit(struct control *c);
int perform_challenge(struct answer *a);
int perform_import(struct answer *a);
int perform_identify(struct answer *a);

/* inspect.c */
int perform_inspect(struct answer *a);
/* What an inspector says, or that it has ended. */
void inspection_result(struct ipc *ipc, const struct binder_result *result);
/* S is gone: its parent answers for those that are not over. */
void inspections_inherit(struct ipc *ipc, const struct session *s);
void inspections_forget(struct ipc *ipc);

/* attach.c */
int perform_attach(struct answer *a);
int perform_open(struct answer *a);
/* The directory of PATH and the name in it. Returns: 0, else refused. */
int perform_split(struct answer *a, struct node *ret_at, const char **ret_name, size_t *ret_n);
