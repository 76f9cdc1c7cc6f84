/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon's processes hand to each other at their start, and the page that the holder
 * shares with its brokers, one after the other.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capfsd/model/counters.h"
#include "capfsd/model/quota.h"

/* Numbers of the descriptors that the holder and its brokers start with. */
enum boot_fd {
	BOOT_FD_FUSE = 3,   /* /dev/fuse, non-blocking, INIT answered by the keeper */
	BOOT_FD_KEEPER = 4, /* SEQPACKET pair to the keeper */
	BOOT_FD_BINDER = 5, /* SEQPACKET pair to the binder; replaced when that dies */
	BOOT_FD_LOCK = 6,   /* flock'ed file of the run directory, held by the holder */
	BOOT_FD_FIRST_FREE = 7, /* the service manager's listener, when there is one */
	BOOT_FD_FIRST_STORED = 8, /* from here on, what an earlier daemon has left */
};

#define BOOT_INIT_BYTES_MAX 256
#define BOOT_SERVED_MAX 1024 /* requests in service at a time, where the kernel repeats none */
#define BOOT_POLLS_MAX 256 /* pollers that are woken when a broker takes over */

/* FUSE_INIT as the keeper read it, and its answer. Each broker replays the first. */
struct boot_init {
	uint32_t n_request, n_reply;
	uint8_t request[BOOT_INIT_BYTES_MAX];
	uint8_t reply[BOOT_INIT_BYTES_MAX];
};

/*
 * Shared by the holder and all its brokers (MAP_SHARED, anonymous). What was being executed when a
 * broker died: noted before, cleared after. The second crash with the same note poisons it.
 * It goes from one binary to the next (succession.h): grows at its end only.
 */
struct boot_page {
	uint64_t executing;      /* id of the request being executed, 0: none */
	uint64_t crashed;        /* what was executing at the last crash, 0: nothing */
	uint64_t poisoned;       /* what was executing at two crashes in a row: answered EIO */
	uint32_t n_brokers;      /* started so far */
	uint32_t answered;       /* this broker has answered a request */
	uint32_t ready;          /* this broker serves the tree */
	uint32_t stored;         /* there is a store: the next broker must find it */
	uint64_t sending;        /* handle of the open `call` whose request is being sent, 0: none */
	uint64_t polls[BOOT_POLLS_MAX]; /* the kernel's handles of those who poll a log; 0: free */
	struct counters counters;       /* of all brokers together */
	uint64_t served[BOOT_SERVED_MAX]; /* see fs/service.c; 0: free */
};

/*
 * An instance of a mount: new with each mount(2), the same for all brokers that serve it. As the
 * page, it grows at its end only.
 */
struct boot {
	struct boot_init init;
	uint64_t instance;       /* random */
	char device[32];         /* "MAJOR:MINOR" of the mount, as stat(2) tells it of its nodes */
	char bind_dir[40];       /* the hidden directory in the root: ".bind-" and 128 random bits */
	char run_dir[256];       /* the state's own directory; opened by the broker */
	char *title;             /* the memory of argv, for the name that ps shows */
	size_t n_title;
	struct quota root_quota;
	uid_t owner_uid;         /* owner of the root session */
	gid_t owner_gid;
	uid_t daemon_uid;        /* of binder, holder and broker */
	gid_t daemon_gid;
	bool privileged;         /* started as root: drop, confine, seccomp */
	int log_level;
	struct boot_page *page;  /* set by the holder */
	char activation[108];    /* the name of the service manager's listener, "": none */
	uint32_t generation;     /* how many times the holder has become another binary */
	uint32_t store_max;      /* descriptors that systemd keeps for us; 0: it does not */
	bool resumed;            /* an earlier daemon has left mount and state */
};

/* Ids for the page: a FUSE unique without its resend bit, or a control message. */
#define BOOT_REQUEST_FUSE(unique) ((unique) & ~(UINT64_C(1) << 63))
#define BOOT_REQUEST_CONTROL(cookie, serial)                                                       \
	(((cookie) * UINT64_C(0x9e3779b97f4a7c15) + (serial)) | UINT64_C(1) << 63)

/* Must the request be refused (EIO) because brokers die of it? Otherwise it is noted. */
static inline bool
boot_page_enter(struct boot_page *p, uint64_t request)
{
	if (request == p->poisoned)
		return false;
	__atomic_store_n(&p->executing, request, __ATOMIC_SEQ_CST);
	return true;
}

static inline void
boot_page_leave(struct boot_page *p)
{
	__atomic_store_n(&p->executing, 0, __ATOMIC_SEQ_CST);
	p->answered = 1;
}

/* Called by the holder when a broker has died. */
static inline void
boot_page_crashed(struct boot_page *p)
{
	if (p->executing && p->executing == p->crashed)
		p->poisoned = p->executing;
	p->crashed = p->executing;
	p->executing = 0;
}

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
	KEEPER_LOADING,   /* holder: a broker is started, and will be READY */
	KEEPER_PING,      /* keeper: does the loop turn? */
	KEEPER_PONG,      /* broker: it does */
};

/* From the keeper to the holder: the broker does not answer, end it. */
#define HOLDER_SIGNAL_HANGS SIGUSR1

struct keeper_record {
	uint32_t type;
	uint32_t generation; /* of the sender's boot block; BECOME: the new one */
};

/*
 * Between broker and binder (BOOT_FD_BINDER).
 */
struct binder_job {
	uint64_t object, capability; /* the name to bind: "OBJECT.CAPABILITY" */
	uint32_t socket_type;        /* SOCK_STREAM or SOCK_SEQPACKET */
	uint32_t backlog;
	uint64_t inspection; /* not 0: the socket that comes along brings a descriptor to look at */
};

/* The answer to a binding carries the listener, unless `error` is set. */
struct binder_result {
	uint64_t object, capability; /* inspection: as the socket's peer is named; 0: otherwise */
	uint32_t error;
	uint32_t uid;	     /* the rest of an inspection: of the peer, by SO_PEERCRED … */
	uint32_t by_binder;  /* … which is the binder that is running */
	uint32_t ended;	     /* its process is gone; nothing else is said here */
	uint64_t cookie;     /* of the socket */
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

/* Each runs as a process of its own and returns its exit status. */
/* Starts one for what is sent to CLIENT's other end. Returns: its pid, or -errno. */
pid_t inspector_start(const struct boot *boot, int socket_fd, int client, uint64_t serial);
int binder_main(const struct boot *boot, const char *mountpoint, int socket_fd);
int broker_main(const struct boot *boot);

/*
 * The same for what execve(2) has made of a holder or of a child of the keeper; FD is the succession.
 */
int try_main(int fd);
