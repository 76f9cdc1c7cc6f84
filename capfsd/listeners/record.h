/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the store has about a socket, under STORE_CONNECTION and its cookie. A later broker finds by
 * it what a descriptor is that it was left. The bytes are those of every version since 0.1.0, so
 * what is asserted below is never changed; new members take reserved ones.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Whose union member a record has. */
enum socket_kind {
	SOCKET_CONNECTION = 1, /* a duplicate of what a server was handed */
	SOCKET_CHANNEL,	       /* to an attached server */
	SOCKET_CONTROL,	       /* a client of the control protocol */
	SOCKET_CALL, /* the client's end of a conversation that the daemon has for an open file */
	SOCKET_INIT, /* to the init of a session's programs */
	SOCKET_THREAD, /* to a thread that has registered itself; its owner is that, a program of the model's */
};

enum connection_state {
	CONNECTION_WAITING, /* for credit. To the store this is the same as offered */
	CONNECTION_OFFERED, /* a server may have seen it */
	CONNECTION_TAKEN,
	CONNECTION_QUEUED, /* in the store only: no server has ever been offered it */
};

struct connection_record {
	uint64_t cookie; /* in full: the key has 56 bits of it */
	uint64_t owner;	 /* the id of the capability, entrypoint or session */
	union {
		struct {
			uint64_t serial;	/* of the hand-over, or of the client's last packet */
			uint64_t client_cookie; /* of the other end, if that was made here, or 0 */
			uint64_t n_caveats; /* of the capability, when it was made */
			uint64_t answer;    /* to what had that serial, where the daemon answers */
			uint32_t uid, gid, pid; /* of the client */
			uint32_t aside; /* it waits for another connection in the place of this one */
		} connection;
		struct {
			uint64_t epoch;	 /* the upper half of the serials that it gives */
			uint64_t thread; /* who serves there */
			uint64_t reserved;
			uint64_t pages; /* the identity of its pages, 0: none */
			uint32_t no_pidfd; /* of its clients is wanted there */
			uint32_t aside;    /* the server may give its clients other connections */
			uint32_t caveats;  /* the server is told of those of each connection */
			uint32_t visits;   /* the server takes them, and is told of them */
		} channel;
		struct { /* of the last reply, whose text follows this record */
			uint64_t serial;
			uint64_t pending;   /* is to be reaped before it goes out, 0: nothing */
			uint64_t fd_cookie; /* of the descriptor that goes with it, or 0 */
			uint64_t reserved;
			uint32_t reserved_too[3];
			uint32_t error;
		} control;
		struct { /* struct call_progress follows this record */
			uint64_t serial; /* of the last request */
			uint64_t handle; /* of the open file */
			uint64_t reserved[2];
			uint32_t reserved_too[4];
		} call;
	};
	/* Of an init nothing but its session is stored: it says the rest itself. */
	uint8_t kind;  /* enum socket_kind */
	uint8_t state; /* connection: enum connection_state */
	uint8_t op;    /* control: of the reply */
	uint8_t reserved[5];
};

#define RECORD_AT(member, at)                                                                      \
	_Static_assert(offsetof(struct connection_record, member) == (at), "as 0.1.0 has it")

_Static_assert(sizeof(struct connection_record) == 72, "as 0.1.0 has it");
RECORD_AT(cookie, 0);
RECORD_AT(owner, 8);
RECORD_AT(connection.serial, 16);
RECORD_AT(channel.epoch, 16);
RECORD_AT(control.serial, 16);
RECORD_AT(call.serial, 16);
RECORD_AT(connection.client_cookie, 24);
RECORD_AT(channel.thread, 24);
RECORD_AT(control.pending, 24);
RECORD_AT(call.handle, 24);
RECORD_AT(control.fd_cookie, 32);
RECORD_AT(connection.n_caveats, 32);
RECORD_AT(connection.answer, 40);
RECORD_AT(channel.pages, 40);
RECORD_AT(connection.uid, 48);
RECORD_AT(channel.no_pidfd, 48);
RECORD_AT(connection.gid, 52);
RECORD_AT(connection.pid, 56);
RECORD_AT(control.error, 60);
RECORD_AT(connection.aside, 60);
RECORD_AT(channel.aside, 52);
RECORD_AT(channel.caveats, 56);
RECORD_AT(channel.visits, 60);
RECORD_AT(kind, 64);
RECORD_AT(state, 65);
RECORD_AT(op, 66);

#undef RECORD_AT
