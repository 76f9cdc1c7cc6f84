/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The second front, and everything that is a socket: listeners, accepted connections and their
 * hand-over to servers, channels of attached servers, the control protocol.
 *
 * Its descriptors outlive it: what a connection is stands in the store under its socket's cookie,
 * and what a listener is in the name that it is bound to. ipc_adopt() takes both up again.
 *
 *	activation.c	the service manager's listener, a second name of the root's control
 *	adopt.c		ipc_adopt()
 *	binding.c	how listeners are made, and given back when too many are idle
 *	listener.c	struct listener: a bound socket of a capability or of a session's control
 *	connection.c	struct connection: accepted, offered to the server, taken, ended
 *	channel.c	struct channel: the socket to an attached server; credit and repetition
 *	hold.c		callers that wait for a server to come
 *	lend.c		listeners that servers get, to accept by themselves
 *	control.c	struct control: a client of the control protocol
 *	perform.c	its requests; attach.c those that give a descriptor
 *	vouch.c		what was passed on to a client by another session
 *	inspect.c	the same, of connected sockets
 *	keep.c		copies of sockets for a later daemon, kept by systemd
 *	memos.c		records of sockets that may be written late
 *	pages.c		struct pages: what the capabilities of a server that counts may do
 *	counts.c	what it has counted
 *	call.c		struct call: a conversation that the daemon has for an open file
 *	reply.c		what is read of it
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "capfsd/process/boot.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"
#include "capfsd/state/state.h"

struct ipc;

struct ipc_fs {
	void (*socket_done)(void *data, struct entity *e, int error);
	void (*socket_invalidate)(void *data, struct entity *e);
	/* A READ of this open `call` may have an answer now. */
	void (*call_ready)(void *data, uint64_t handle);
};

int ipc_new(struct model *m, struct state *state, const struct boot *boot, sd_event *event,
	const struct ipc_fs *fs, void *fs_data, struct ipc **ret);
/* Forgets: sockets and their records stay, for the next broker, but after ipc_stop(). */
struct ipc *ipc_free(struct ipc *ipc);

/*
 * Takes up what a predecessor left: FDS are all descriptors from BOOT_FD_FIRST_FREE on that this
 * broker did not open itself. What neither the store nor its own name explains is closed.
 * Entrypoints whose server is gone are detached. Returns: 0 or -errno.
 */
int ipc_adopt(struct ipc *ipc, const int *fds, size_t n);

/* For struct fs_sockets. */
bool ipc_socket_ready(struct ipc *ipc, struct entity *e);
void ipc_socket_want(struct ipc *ipc, struct entity *e);
void ipc_socket_forgotten(struct ipc *ipc, uint64_t entity_id);

/* For fs_set_calls(). */
struct calls;
extern const struct calls ipc_calls;

/*
 * The first binder (BOOT_FD_BINDER) or a new one: takes FD, which gets the old one's number. Jobs
 * that are under way are given to it.
 */
void ipc_set_binder(struct ipc *ipc, int fd);

/*
 * Somebody who may connect through capability E has written CHALLENGE onto its socket.
 * Returns: 0, EINVAL, ECANCELED (no such challenge: that of an earlier broker, or it was used), EEXIST.
 */
int ipc_vouch(struct ipc *ipc, struct entity *e, const char *challenge, size_t n);

/* The model's hooks. */
void ipc_changed(struct ipc *ipc, struct entity *e);
void ipc_gone(struct ipc *ipc, struct entity *e);
void ipc_restricted(struct ipc *ipc, struct capability *c);
bool ipc_counted(struct ipc *ipc, const struct capability *c, uint64_t *ret_calls);

/* Something was reaped: sends the replies that waited for it. */
void ipc_reaped(struct ipc *ipc);

/* For `metrics`: whom its requests show, how many sockets there are, and what is counted by number. */
struct metrics;
void ipc_set_metrics(struct ipc *ipc, struct metrics *metrics);
void ipc_count(const struct ipc *ipc, uint64_t *ret_connections, uint64_t *ret_listeners);
const char *ipc_control_name(size_t op);
const char *ipc_refusal_name(size_t answer);

/* Counts what was served: the loop goes on trying while it grows. */
uint64_t ipc_activity(const struct ipc *ipc);

/* The broker is going to end, and perhaps the daemon: nothing that is to be kept waits any more. */
void ipc_pause(struct ipc *ipc);

/* Shuts all listeners, connections and channels down, for good; control clients too. */
void ipc_stop(struct ipc *ipc);
