/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the processes of the daemon say to each other: fixed-size records, one a message; the words in
 * which a process ends; and the names under which systemd keeps descriptors for the next daemon.
 *
 * Keepers, holders and brokers of other versions understand these, since an upgrade replaces one after the
 * other: values are appended, never changed or used again. A record that is not known is ignored. A new one
 * is a line here and a row with a function at its receiver: peer_records in keeper/loop.c, keeper_records in
 * broker/broker.c, pause_orders in holder/orders.c.
 */
#pragma once

#include <signal.h>
#include <stdint.h>

/*
 * Between keeper and broker (BOOT_FD_KEEPER): fixed-size records, one a message. While no broker is
 * there, the holder speaks for it: nobody else then has the descriptor.
 */
enum keeper_type {
	KEEPER_READY = 1, /* broker: the tree is served */
	KEEPER_BINDER,    /* keeper: a new binder; its socket comes along */
	KEEPER_STOP,      /* keeper: shut down listeners and connections, then exit with 0 */
	KEEPER_COPY,      /* keeper: send a copy of the state into the socket that comes along */
	KEEPER_PAUSE,     /* keeper: exit with BROKER_EXIT_PAUSED, everything stays */
	KEEPER_ALONE,     /* holder: no broker is running; become another binary, or go on? */
	KEEPER_BECOME,    /* keeper: that of the descriptor that comes along */
	KEEPER_GO_ON,     /* keeper: start the next broker */
	/* Keepers of 0.1.0 ask the broker by these whether it turns, in which the holder's watch has no part. */
	KEEPER_LOADING, /* holder: a broker is started, and will be READY */
	KEEPER_PING,    /* keeper: does the loop turn? */
	KEEPER_PONG,    /* broker: it does */
	/*
	 * The broker is answered at once, or some seconds later if it asks often; an answer may also come to a
	 * broker that has not asked, for one before it.
	 */
	KEEPER_WANT_SPAWNER, /* broker: I need a connection to capfs-spawner */
	KEEPER_SPAWNER,      /* keeper: it comes along; without a descriptor: there is none to be had now */
};

/*
 * From the keeper to the holder: what it waits for does not come. The broker is ended, or, where there is
 * none, the next one is started at once.
 */
#define HOLDER_SIGNAL_HANGS SIGUSR1

/* From the holder to the broker: turn your loop. One that does not know of it ignores it. */
#define HOLDER_SIGNAL_TURN SIGURG

struct keeper_record {
	uint32_t type;
	uint32_t generation; /* of the sender's boot block; BECOME: the new one */
};

/* What comes along with an inspection. An older binder knows the first alone. */
enum inspection_task {
	INSPECTION_PASSED, /* one end of a pair, over which a client sends a descriptor */
	INSPECTION_POSTED, /* a socket in whose queue one is left, and who gets a copy of it, if anybody */
};

/*
 * Between broker and binder (BOOT_FD_BINDER). The binder replies to all but inspections in order. A
 * job of no socket_type gets EINVAL and its two numbers back, so all before it are done; in front of
 * that comes a result for each inspection that is not over, since the broker that asked for it may be
 * dead. An inspection without a socket is one of these, which is on another session's account now.
 */
struct binder_job {
	uint64_t object, capability; /* the name to bind: "OBJECT.CAPABILITY"; inspection: session, 0 */
	uint32_t socket_type;        /* SOCK_STREAM or SOCK_SEQPACKET; inspection: 0 */
	union {
		uint32_t backlog;
		uint32_t task; /* enum inspection_task */
	};
	uint64_t inspection; /* not 0: the socket that comes along brings a descriptor to look at */
};

enum inspection_end {
	INSPECTION_ENDED = 1, /* its process is gone */
	INSPECTION_GOES_ON,   /* it is not; `object` is the session that pays */
};

#define RESULT_MEMORY (1U << 16)
#define RESULT_SEALS 0xff

/* The reply to a binding carries the listener, unless `error` is set. */
struct binder_result {
	uint64_t object, capability; /* inspection: as the socket's peer is named; 0: otherwise */
	uint32_t error;
	uint32_t uid;	     /* the rest of an inspection: of the peer, by SO_PEERCRED … */
	union {
		uint32_t by_binder; /* … which is the binder that is running */
		uint32_t memory;    /* of memory that was posted: RESULT_MEMORY and its seals */
	};
	uint32_t ended;	     /* enum inspection_end; then nothing else is said here … */
	union {
		uint64_t cookie; /* of the socket */
		uint64_t size;	 /* of that memory, in bytes */
	};
	uint64_t inspection; /* 0: it was a binding */
};

/* Under which names systemd keeps what (fdstore.h). */
#define KEEP_NAME_FUSE "f"
#define KEEP_NAME_MOUNT "m"
#define KEEP_NAME_SOCKET "c"
#define KEEP_NAME_PAGES "p" /* and their identity, in hexadecimal */

/* Exit statuses of a broker, which the holder passes on. */
enum broker_exit {
	BROKER_EXIT_STOPPED = 0,
	BROKER_EXIT_RESTART = 70,   /* an error that the next broker may not meet */
	BROKER_EXIT_UNMOUNTED = 71, /* /dev/fuse gave ENODEV: somebody unmounted */
	BROKER_EXIT_REFUSED = 72,   /* damaged store, foreign INIT: starting again is no use */
	BROKER_EXIT_PAUSED = 73,    /* it was told to, for the holder to become another binary */
};

/* Of a binary that can take over: none that a program which knows nothing of it would use. */
#define TRY_EXIT_GOOD 74
