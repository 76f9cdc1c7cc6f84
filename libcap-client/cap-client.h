/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libcap-client: use and serve the capabilities that capfsd keeps.
 *
 * There is one grammar. A control request is a node's path below a session and the text that one
 * would write there; its answer is an errno and the text that one would read. The functions for
 * delegation are short forms of capc_write(), and their options are the text of the files. A program
 * that knows a value only when it runs puts that text together by capc_how_add(), never by printf(3).
 *
 * Rules for all functions:
 *
 *	Results		0 or positive when done, -errno when not. Results in last arguments are
 *			written only on success, unless it is said otherwise.
 *	Timeouts	are relative, in microseconds; CAPC_FOREVER waits for ever. What has no
 *			timeout of its own uses the session's, see capc_session_set_timeout().
 *	"Takes fd"	the descriptor belongs to the library from then on, also on failure.
 *	Threads		one object (a session, a connection, an entrypoint) is used by one thread
 *			at a time, different objects by any. A connection of capc_open() and an
 *			entrypoint use their session: they count as one object with it. But a
 *			request is an object of its own, which any thread may read and answer while
 *			another one serves, and also when its entrypoint was detached.
 *	Waiting		sleeps, unless capc_set_busy_poll() has said otherwise.
 *	fork		an object belongs to the process that made it. In a child every function
 *			gives -ECHILD, and the destructors only close the child's descriptors, so
 *			that the parent's connections go on. The child makes objects of its own.
 *			An argument tree goes on in a child, which has a copy of it.
 *
 * Besides those that are listed, a function may give -ENOMEM, -EMFILE, -ENFILE, -ECHILD.
 */
#ifndef CAP_CLIENT_H
#define CAP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPC_PUBLIC __attribute__((visibility("default")))

/*
 * The version of this header, to be compared: #if CAPC_VERSION >= CAPC_VERSION_NUMBER(0, 2, 0). What a program was built
 * with works with every later library of the same soname: no function goes, none changes what it does for what it
 * was given, and no structure that the caller allocates changes its size. cap-client(3), COMPATIBILITY.
 */
#define CAPC_VERSION_MAJOR 0
#define CAPC_VERSION_MINOR 2
#define CAPC_VERSION_MICRO 0
#define CAPC_VERSION_NUMBER(major, minor, micro) ((major)*1000000 + (minor)*1000 + (micro))
#define CAPC_VERSION CAPC_VERSION_NUMBER(CAPC_VERSION_MAJOR, CAPC_VERSION_MINOR, CAPC_VERSION_MICRO)

#define CAPC_FOREVER UINT64_MAX
#define CAPC_TIMEOUT_USEC UINT64_C(30000000) /* a session's and an entrypoint's, unless set */
#define CAPC_PAYLOAD_MAX (1 << 24)           /* bytes of data in one message */
#define CAPC_FDS_MAX 1012                    /* descriptors in one message */
#define CAPC_BUSY_POLL_MAX 1000              /* microseconds */

typedef struct capc_session capc_session;
typedef struct capc capc;
typedef struct capc_entrypoint capc_entrypoint;
typedef struct capc_request capc_request;
typedef struct capc_args capc_args;
typedef struct capc_thread capc_thread;
typedef struct capc_signal capc_signal;
typedef struct capc_how capc_how;

/* Who an error of a call is from: `origin` of the reply, which is written when a call fails, too. */
enum capc_origin {
	CAPC_ORIGIN_SERVICE, /* the service itself; and when there is no error */
	CAPC_ORIGIN_LIMIT,   /* a limit of the capability: the service was not asked */
	CAPC_ORIGIN_SERVER,  /* the library in the server: it has no such object, no room, no reply that can be sent */
	CAPC_ORIGIN_LIBRARY, /* the library here: the call cannot be sent, time is over, the connection has ended */
	CAPC_ORIGIN_DAEMON,  /* the daemon, or the kernel in its name, when the slot was opened: nothing was sent */
};

/*
 * What a call carries, each way. In one that you make, all is borrowed, and zeros mean nothing
 * there. One that the library made owns its data and descriptors until capc_msg_done().
 *
 * Data of more than 64 KiB travel in a memfd (memfd_create(2), fcntl(2)), and the receiver has them as they
 * were sent. A process needs room for one more descriptor meanwhile. Up to 2 MiB go through memory that both
 * sides keep while it is used often; else it is fresh memory, sealed, and read in place.
 */
struct capc_msg {
	uint32_t code;    /* of a request: the method; of a reply: 0, or the errno of the refusal */
	uint32_t origin;  /* of a reply: enum capc_origin; else ignored */
	const void *data; /* followed by a NUL that is not counted, in what the library made */
	size_t n_data;
	const int *fds;
	size_t n_fds;
	void *owned; /* the library's; NULL in one that you make */
};

/* Through which capability a connection came: the daemon's word, not the client's. */
struct capc_caller {
	uint64_t badge;      /* of the object, unique for ever */
	uint64_t key;        /* of the object, as it was added */
	uint64_t capability; /* the slot's id */
	uint32_t rights;     /* when it connected: CAPC_RIGHT_X */
	uid_t uid;           /* of the process that connected: information, no authority */
	gid_t gid;
	pid_t pid;
	int pidfd;         /* of that process, for who attached with CAPC_ATTACH_PIDFD, or -1; borrowed */
	const char *label; /* of the session whose slot it is, "init/web" */
	bool aside;        /* it waits for another connection in the place of this one: capc_step_aside() */
	/* For who attached with CAPC_ATTACH_CAVEATS, and read by capc_caveats(); NULL and 0 for others. */
	const char *caveats;
	size_t n_caveats; /* bytes */
	uint64_t connection; /* of calls: its number, which no other one of this entrypoint ever has; else 0 */
	void *data;          /* the server's own, by capc_caller_set_data(); or NULL */
	uint32_t page_index; /* for who attached with counts=yes: the capability's entry in capc_pages(), or 0 */
};

/* What the holder of a slot may do with it: capfs(5), RIGHTS AND LIMITS. The first and FDS are a service's matter. */
#define CAPC_RIGHT_CALL (1 << 0)
#define CAPC_RIGHT_GRANT (1 << 1)
#define CAPC_RIGHT_REPLICATE (1 << 2)
#define CAPC_RIGHT_REDUCE (1 << 3)
#define CAPC_RIGHT_TRANSFER (1 << 4)
#define CAPC_RIGHT_SHARE (1 << 5) /* let it appear in other sessions: capc_share() */
#define CAPC_RIGHT_FDS (1 << 6) /* descriptors may be sent through it */
#define CAPC_RIGHT_RAISE (1 << 7) /* of signals, sessions, threads and what is posted: capfs(5), TYPES */
#define CAPC_RIGHT_WAIT (1 << 8)
#define CAPC_RIGHT_ACCEPT (1 << 9)
#define CAPC_RIGHT_ACCOUNT (1 << 10)
#define CAPC_RIGHT_CONTROL (1 << 11)
#define CAPC_RIGHT_SPAWN (1 << 12)
#define CAPC_RIGHT_KILL (1 << 13)
#define CAPC_RIGHT_PAUSE (1 << 14)
#define CAPC_RIGHT_AFFINITY (1 << 15)
#define CAPC_RIGHT_SIGNAL (1 << 16)
#define CAPC_RIGHT_OPEN (1 << 17)

/* The version of the library that runs, as CAPC_VERSION is that of the header. Does not block. */
CAPC_PUBLIC unsigned capc_version(void);

/*
 * ---- What the library does, for who looks into a program ---------------------------------------
 *
 * Calls and replies here are those of the library's protocol; what goes over raw connections, and what is asked of
 * the daemon, is not among them.
 */

/* Of this process, by all its threads, since it began; a child of fork(2) goes on from where its parent was. */
struct capc_counters {
	uint64_t calls_sent, calls_received;       /* calls to services, and of clients */
	uint64_t replies_sent, replies_received;   /* their answers: a call that has none yet is not in here */
	uint64_t refusals_sent, refusals_received; /* those of them with an errno, also of limits */
	uint64_t bytes_sent, bytes_received;       /* of payloads, both of calls and replies */
	uint64_t fds_sent, fds_received;           /* that came with them */
	uint64_t connections;   /* that were made through slots, the first ones and others … */
	uint64_t reconnections; /* … and which of these in the place of one that had ended */
	uint64_t clients;       /* that an entrypoint got, from the daemon or by capc_serve_fd() */
};

/*
 * Reads them.
 *
 * size  sizeof(*ret): there will be more at the end; what the library does not have is 0
 *
 * Never blocks. Each counter is right, and no two of them need be of the same moment.
 */
CAPC_PUBLIC void capc_counters(struct capc_counters *ret, size_t size);

enum capc_trace_what {
	CAPC_TRACE_CALL_SENT = 1,
	CAPC_TRACE_CALL_RECEIVED,
	CAPC_TRACE_REPLY_SENT,
	CAPC_TRACE_REPLY_RECEIVED,
	CAPC_TRACE_CONNECTED,   /* a slot's handle has a connection */
	CAPC_TRACE_RECONNECTED, /* told after that, when it is not the first */
	CAPC_TRACE_CLIENT,      /* an entrypoint got a client */
};

/* Belongs to the library, and lasts until the handler returns; there will be more at its end. */
struct capc_trace {
	enum capc_trace_what what;
	int fd;          /* of the connection, by which its calls are told from others' while it lasts; borrowed */
	uint32_t code;   /* as of struct capc_msg */
	uint64_t serial; /* of the call on that connection; 0: of none */
	size_t n_data, n_fds;
};

/* Is called by every thread that uses the library, and must not use it. */
typedef void capc_trace_handler(const struct capc_trace *t, void *data);

/*
 * Tells F of each step when it has been done; NULL: nobody any more, while other threads may still be in it. To be
 * called before these are there, as DATA is F's from then on. Costs nothing where nobody is told. Never blocks.
 */
CAPC_PUBLIC void capc_set_trace(capc_trace_handler *f, void *data);

/* ---- A session ------------------------------------------------------------------------------ */

/*
 * Connects to the session whose directory is ROOT.
 *
 * ROOT     a directory such as /cap or /cap/sessions/web; NULL: $CAPFS, else /cap, and where no
 *          capfs is there a service manager's socket starts the daemon, if there is one
 * timeout  of the connection; looking the path up may take longer when the daemon is stopped
 *
 * Returns: 0, -ENOENT, -ENOTDIR, -EPROTOTYPE (no session there), -EACCES, -ECONNREFUSED, -ENOTCONN (no
 * daemon), -EPERM (others can write where that socket is), -ENAMETOOLONG, -ETIMEDOUT. Blocks.
 */
CAPC_PUBLIC int capc_session_open(const char *root, uint64_t timeout, capc_session **ret);

/*
 * Makes a session of a connected control socket, such as an inherited one. Takes fd.
 *
 * Whoever had the connection before must not use it any more: there is one handle on a connection
 * at a time, and only requests of the newest one are answered.
 *
 * Returns: 0, -EBADF, -ENOTSOCK, -EPROTOTYPE (not a SEQPACKET socket).
 */
CAPC_PUBLIC int capc_session_from_fd(int fd, capc_session **ret);

/*
 * Makes a session of the one that a slot of S refers to (type=session), its name or the path of one in a session
 * below: paths begin there. S need not stay. It can do what its owner can over its own connection; to start
 * programs takes the right `spawn` beside `control`, and to connect to its slots `call`. It ends with the slot.
 *
 * timeout  of all of it
 *
 * Returns: 0; -EOPNOTSUPP (the directory of S is not in sight), -ECONNREFUSED (right `control` is missing),
 * -EPROTOTYPE (it is no session's), -errno as capc_open(). That a limit is reached (-EDQUOT) is told by the first
 * request. Blocks.
 */
CAPC_PUBLIC int capc_session_through(capc_session *s, const char *slot, uint64_t timeout, capc_session **ret);

/*
 * Closes the connection; what was made through it must be gone before. Takes NULL.
 * Returns: NULL.
 */
CAPC_PUBLIC capc_session *capc_session_free(capc_session *s);

/* How long each of the functions without a timeout of their own may take. */
CAPC_PUBLIC void capc_session_set_timeout(capc_session *s, uint64_t timeout);

/*
 * The session's label, such as "init/web", asked for once.
 *
 * Returns: the label, which belongs to S; NULL when it cannot be had now. Blocks the first time.
 */
CAPC_PUBLIC const char *capc_session_label(capc_session *s);

/*
 * Why the daemon refused the last request of this session, in one line.
 *
 * Returns: the reason, which belongs to S and lasts until the next request; "" when the last
 * request was not refused by the daemon.
 */
CAPC_PUBLIC const char *capc_session_reason(const capc_session *s);

/*
 * The descriptor to poll for POLLIN; when it is ready, capc_session_process() is due.
 * Returns: the descriptor, which stays the library's; -ENOTCONN.
 */
CAPC_PUBLIC int capc_session_fd(const capc_session *s);

/*
 * Does what is due without waiting: discards answers that came too late, tells a pager what is to be decided
 * (capc_pager()), notices the end.
 * Returns: 0, -ENOTCONN (the daemon or the session ended; nothing more can be done with S), with a pager -errno as
 * capc_read().
 */
CAPC_PUBLIC int capc_session_process(capc_session *s);

/*
 * ---- Nodes ------------------------------------------------------------------------------------
 *
 * NODE is a path below the session: "caps/web/info", "sessions/app/quota", "" for itself.
 *
 * All of them give, besides what stands there: -ENOENT (no such node), -ETIMEDOUT (no answer; it
 * may still be executed, its answer will be discarded, and the session can be used further),
 * -ECONNRESET (the connection ended under it), -ENOTCONN (it had ended before), -EBADMSG, -EPROTO
 * (another version). Any other errno of capfs(5) is the daemon's refusal, for which
 * capc_session_reason() has the reason. They block.
 */

/*
 * Reads a node whole, as cat(1) does.
 *
 * ret  the text, NUL-terminated; belongs to the caller (free)
 *
 * Returns: 0, -errno as above.
 */
CAPC_PUBLIC int capc_read(capc_session *s, const char *node, char **ret, uint64_t timeout);

/*
 * Reads a growing node (events) from where the last read ended.
 *
 * offset  where to begin, 0 for the oldest; then where the next one begins
 *
 * Returns: 0 (with an empty text if nothing is new), -errno as above.
 */
CAPC_PUBLIC int capc_read_from(capc_session *s, const char *node, uint64_t *offset, char **ret,
	uint64_t timeout);

/*
 * Writes one command, as echo(1) does.
 *
 * ret_text  may be NULL; always written: the result ("slot=web-2 id=44"), or the reason of a
 *           refusal, or NULL when nothing was answered; belongs to the caller (free)
 *
 * Returns: 0, -EMSGSIZE (longer than a command may be), -errno as above.
 */
CAPC_PUBLIC int capc_write(capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout);

/*
 * Would TEXT be taken as the whole of a node, such as a policy? Nothing is changed. ret_text as capc_write().
 *
 * Returns: as capc_write() would; -EOPNOTSUPP (what is no policy, or the daemon is older).
 */
CAPC_PUBLIC int capc_check(capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout);

/*
 * Calls EACH for every name in a directory, as ls(1) does, until it returns other than 0. EACH may
 * use S. Names that come or go meanwhile may be missed, others are not, and none comes twice.
 *
 * timeout  of all of it, with the time that EACH takes
 *
 * Returns: 0, what EACH returned, -ENOTDIR, -errno as above.
 */
CAPC_PUBLIC int capc_list(capc_session *s, const char *node,
	int (*each)(const char *name, void *data), void *data, uint64_t timeout);

/* Makes a node, as mkdir(1) does; TEXT are options, may be NULL. ret_text as capc_write(). */
CAPC_PUBLIC int capc_create(capc_session *s, const char *node, const char *text, char **ret_text,
	uint64_t timeout);

/* Removes a node, as rmdir(1) does: a session, a slot, an entrypoint. ret_text as capc_write(). */
CAPC_PUBLIC int capc_remove(capc_session *s, const char *node, char **ret_text, uint64_t timeout);

/*
 * ---- Commands that are put together -----------------------------------------------------------
 *
 * HOW and its like, which all verbs take (capc_grant(), capc_split(), capc_share(), capc_adjust(), capc_ask(),
 * capc_object_add(), capc_write() …), are words separated by blanks. A name with a blank that is printed into
 * such a text, as by snprintf("as=%s"), becomes a word, and a right, of its own. So a program adds
 * each key by itself:
 *
 *	capc_how_add(how, "as", name), capc_how_add_number(how, "conns", 4);
 *	r = capc_grant(s, "kv", "app", capc_how_text(how), NULL);
 *
 * What was refused once stays so: capc_how_text() is then a word that no verb takes, which refuses it with EINVAL.
 * Nothing here asks a daemon or blocks.
 */

/* Makes a command without words. */
CAPC_PUBLIC int capc_how_new(capc_how **ret);

/* Frees H with its text. Takes NULL. Returns: NULL. */
CAPC_PUBLIC capc_how *capc_how_free(capc_how *h);

/*
 * Adds KEY=VALUE. Both are copied.
 *
 * key    of lower-case letters, digits and '_'. Whether the verb knows it, and what its value means, the daemon says
 * value  1 or more printable characters of ASCII, without a blank, and not with '"' first. That of "only", which may
 *        be added several times, is a text: 1 to 240 printable characters, and is quoted here. NULL: KEY alone, as
 *        "immutable"
 *
 * Returns: 0, -EINVAL (KEY or VALUE is none), -EEXIST (KEY was added before), -ENOMEM; the first of these again from
 * then on.
 */
CAPC_PUBLIC int capc_how_add(capc_how *h, const char *key, const char *value);

/* The same with a number, in decimal. */
CAPC_PUBLIC int capc_how_add_number(capc_how *h, const char *key, uint64_t value);

/*
 * The text of H. Returns: it, never NULL, "" when nothing was added; belongs to H, and lasts until something is added
 * or H is freed.
 */
CAPC_PUBLIC const char *capc_how_text(const capc_how *h);

/*
 * ---- Delegation -------------------------------------------------------------------------------
 *
 * SLOT is a slot's name, or the path of one in a session below, "sessions/app/caps/kv".
 * TO is a session below, "app" or "app/db". HOW is the text that the file takes, see capfs(5).
 * All block for at most the session's timeout, and give 0 or -errno as capc_write() does:
 * -EPERM (a right is missing), -EDQUOT, -EEXIST, -EINVAL, -EOPNOTSUPP, -ENOENT and the rest.
 */

/*
 * Derives a capability of SLOT for the session TO.
 *
 * how       "as=kv rights=call conns=4", may be NULL
 * ret_slot  may be NULL; the new slot's name there; belongs to the caller (free)
 */
CAPC_PUBLIC int capc_grant(capc_session *s, const char *slot, const char *to, const char *how,
	char **ret_slot);

/*
 * Derives a capability of SLOT in the same session. It needs the right replicate; calls= cannot be
 * given, since a quantity is granted, not made twice (as with Codezero's capabilities).
 *
 * as        the new slot's name; NULL: one that is free, and then HOW must say something
 * how       "rights=call conns=4", may be NULL: all that SLOT has
 * ret_slot  as capc_grant()
 */
CAPC_PUBLIC int capc_replicate(capc_session *s, const char *slot, const char *as, const char *how,
	char **ret_slot);

/*
 * Moves SLOT to the session TO, with what is used of its limits. It needs the right transfer.
 * -EBUSY: it has connections, or something was derived from it.
 *
 * as        its name there; NULL: the same, or one that is free
 */
CAPC_PUBLIC int capc_transfer(capc_session *s, const char *slot, const char *to, const char *as);

/*
 * Makes two slots of SLOT, with other rights, other methods, or some of the calls that are left each: together
 * they have what SLOT had. It needs the right reduce. -EINVAL also: one of the two would have nothing.
 *
 * as        the new slot's name; NULL: one that is free
 * how       what the new slot gets: "rights=call", "methods=0-9" or "calls=100"
 * ret_slot  as capc_grant()
 *
 * -EBUSY: more than the calls that are left; a limit that both would have is 1.
 */
CAPC_PUBLIC int capc_split(capc_session *s, const char *slot, const char *as, const char *how,
	char **ret_slot);

/*
 * Lets SLOT appear, immutable, in other sessions, now and later; called again it changes for whom, and those who are
 * not among them any more lose it. It needs the right share. -ENOENT also: SLOT is not shared, with "none".
 *
 * with  "children", "subtree", "siblings", a session below ("app/db"), or "none"
 * how   "conns=4 expires=3600" for each of them, may be NULL
 */
CAPC_PUBLIC int capc_share(capc_session *s, const char *slot, const char *with, const char *how);

/* Takes something away from SLOT and from all that was derived from it: "rights=call conns=2". */
CAPC_PUBLIC int capc_reduce(capc_session *s, const char *slot, const char *how);

/*
 * Changes what was derived from SLOT itself, up or down within what SLOT has: its id, its slot and its
 * connections stay, and calls on these meet the new limits. It needs the right grant.
 *
 * which     "to=SESSION", of which that must have one only, or "id=N"
 * how       "conns=64 expires=3600", of which "conns=none" and the like say that there is no limit of its own
 * ret_text  may be NULL; always written: "slot=kv id=31 connections=4 conns=4->64", the slot, how many
 *           connections it keeps, and what is other than it was; of a refusal the reason, or NULL; belongs to
 *           the caller (free)
 *
 * -EPERM also: more than SLOT has itself. -EBUSY: less than what is in use. -EINVAL also: that session has
 * several, whose ids *RET_TEXT names.
 */
CAPC_PUBLIC int capc_adjust(capc_session *s, const char *slot, const char *which, const char *how,
	char **ret_text);

/*
 * Ends what was derived from SLOT. When it returns, no connection of these is left.
 *
 * what  "1" or NULL: all; "self": SLOT too; "to=SESSION"; "id=N"
 */
CAPC_PUBLIC int capc_revoke(capc_session *s, const char *slot, const char *what);

/* Ends SLOT and all that was derived from it. -EINVAL also for what is no slot's name or path. */
CAPC_PUBLIC int capc_drop(capc_session *s, const char *slot);

/* Moves quota between this session and a child: "to=web caps=16", "from=web caps=8 sockets=4". */
CAPC_PUBLIC int capc_transfer_quota(capc_session *s, const char *how);

/* Makes the session NAME below this one with a first donation, "caps=32 sockets=8" or NULL. */
CAPC_PUBLIC int capc_session_create(capc_session *s, const char *name, const char *quota);

#define CAPC_CLOSE_ALL 1 /* end its entrypoints, and close the sessions below it, first */

/*
 * Closes the session NAME below this one.
 *
 * flags  0 or CAPC_CLOSE_ALL, which is many requests: when one is refused, the others stay done;
 *        while somebody goes on to make child sessions, or its servers are on their way out, it is
 *        tried again, for at most the session's timeout
 *
 * Returns: 0, -ENOTEMPTY (it has child sessions), -EBUSY (it has live threads), -errno as above.
 */
CAPC_PUBLIC int capc_session_close(capc_session *s, const char *name, unsigned flags);

/*
 * ---- Asking -----------------------------------------------------------------------------------
 *
 * A session asks its parent for a slot or for quota, and the parent asks quota back. Who decides is a policy, a
 * person, or a program that is told of it, a pager. capfs(5), ASKING, has the rules.
 */

/*
 * Asks the parent, and waits for the answer: a slot, immutable, or quota.
 *
 * want     "type=object name=mail rights=call calls=100", or "quota caps=16", as `request` takes it, without
 *          a timeout
 * timeout  of who decides, in which the daemon counts whole seconds, at least one and at most a day
 * ret      may be NULL; the new slot's name, or the quota, "caps=16"; belongs to the caller (free)
 *
 * Returns: 0, -EACCES (refused), -ETIMEDOUT (nobody has decided), -EEXIST (there is such a slot), -ESRCH (it is
 * the root session), -EPERM (for others, or to pass on), -EBUSY (16 wait), -errno as capc_write(). Blocks; nothing
 * else can be done with S meanwhile.
 */
CAPC_PUBLIC int capc_ask(capc_session *s, const char *want, uint64_t timeout, char **ret);

enum capc_ask_what {
	CAPC_ASK_SLOT,  /* a child wants a slot: capc_pager_try() */
	CAPC_ASK_QUOTA, /* a child wants quota: capc_pager_give() */
	CAPC_ASK_YIELD, /* the parent wants quota back: capc_pager_give() */
};

/* Belongs to the library, and lasts until the handler returns. */
struct capc_ask {
	capc_session *session;
	uint64_t id;
	enum capc_ask_what what;
	const char *from;   /* the label of who asks, "init/app"; NULL: the parent */
	const char *type;   /* of a slot, as all of these: "object" … */
	const char *name;   /* … what it is to be called … */
	const char *rights; /* … and "call,fds"; NULL: nothing is said */
	const char *limits; /* "calls=9 conns=3", or of quota how much, "caps=16 ram=4096"; "": none */
};

typedef void capc_pager_handler(const struct capc_ask *a, void *data);

/*
 * Tells HANDLER, by capc_session_process(), of each thing that S is to decide and no policy has decided: of what
 * waits already, and of what comes, one after the other, each once. The descriptor of capc_session_fd() is ready
 * when there is something. It answers by one of the three below, or leaves it to others, who see it in `requests`
 * and `yield`; it may use S. NULL: nobody is told any more.
 *
 * Returns: 0, -EBUSY (called by a handler), -EINVAL (the daemon is older), -errno as capc_read(). Blocks for at most
 * the session's timeout.
 */
CAPC_PUBLIC int capc_pager(capc_session *s, capc_pager_handler *handler, void *data);

/*
 * Gives who asks a slot that is derived from the first one of SLOTS that can be: of the type, with the rights and
 * limits that are wanted, immutable. If there is none it is refused, "no capability".
 *
 * slots     names of this session's slots, the last one is NULL
 * ret_slot  may be NULL; the one that it was derived from
 *
 * Returns: 0, -EACCES (refused, none fits), -ESRCH (it does not wait any more: somebody else has decided, or its
 * time is over), -EDQUOT and -EEXIST (of who asks: it waits on), -EINVAL (no slot is asked for), -errno as
 * capc_write(). Blocks for at most the session's timeout for each slot.
 */
CAPC_PUBLIC int capc_pager_try(const struct capc_ask *a, const char *const *slots, const char **ret_slot);

/*
 * Gives who asks quota, "caps=8", or the parent what it wants back: all of it, or less.
 *
 * Returns: 0, -ESRCH, -EDQUOT (more than there is; it waits on), -EINVAL (a slot is asked for), -errno as
 * capc_write(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_pager_give(const struct capc_ask *a, const char *amounts);

/* Gives nothing. REASON is one line for who asks, NULL: "refused". Returns and blocks as capc_pager_give(). */
CAPC_PUBLIC int capc_pager_refuse(const struct capc_ask *a, const char *reason);

/*
 * ---- Signals ----------------------------------------------------------------------------------
 *
 * A signal is a count that the daemon keeps: who raises adds to it and never waits for anybody, who
 * waits gets all of it. Like any slot's its capability is granted, with the right `raise`, `wait` or
 * both. The first one is made by "type=signal as=NAME" in the session's `originate`.
 */

/*
 * A handle on the signal of a slot, its name or the path of one in a session below. S must outlive it,
 * and counts as one object with it. Connections are made when they are wanted, one to raise through
 * and one to wait at.
 *
 * Returns: 0, -EINVAL (no slot's name or path). Does not block.
 */
CAPC_PUBLIC int capc_signal_new(capc_session *s, const char *slot, capc_signal **ret);

/* Closes its connections: what is waited for goes to others. Takes NULL. Returns: NULL. */
CAPC_PUBLIC capc_signal *capc_signal_free(capc_signal *g);

/*
 * Adds N to the count; at 2^64-1 that stops. It is counted once, also when the daemon is killed
 * meanwhile, and not yet when this returns. Blocks while it connects, at the first time or when the
 * connection has ended.
 *
 * Returns: 0, -EINVAL (N is 0), -EAGAIN (nothing was raised, as the daemon is behind), -ECONNRESET,
 * or any of capc_open(). Without the right `raise` the daemon ends the connection, and a later
 * raise learns of it.
 */
CAPC_PUBLIC int capc_signal_raise(capc_signal *g, uint64_t n);

/*
 * Waits until the count is above 0, takes all of it, and gives it in *RET_N. One that has timed out
 * goes on waiting by itself: what it gets the next call finds, and capc_signal_fd() tells of it. Of
 * several that wait, in any process, the one that has waited longest gets it all.
 *
 * Returns: 0, -ETIMEDOUT, -ECONNRESET (the connection has ended: revoked, or without the right
 * `wait`), -EBADMSG, or any of capc_open(). Blocks.
 */
CAPC_PUBLIC int capc_signal_wait(capc_signal *g, uint64_t timeout, uint64_t *ret_n);

/*
 * The descriptor to poll for POLLIN, after capc_signal_wait() with a timeout of 0 has timed out: when
 * it is ready, the next one has a count, or the reason why there is none. Stays the library's.
 *
 * Returns: the descriptor, -ENOTCONN (nobody waits).
 */
CAPC_PUBLIC int capc_signal_fd(const capc_signal *g);

/*
 * ---- Posted descriptors -----------------------------------------------------------------------
 *
 * Who has the origin of a slot of type=fd posts a descriptor there, and whoever has a slot that is
 * derived from it, with the right `open`, fetches copies: of the same open file, with its position and
 * flags. The daemon keeps it until another one is posted there, or the slot ends; what was fetched
 * cannot be taken back. The first slot is made by "type=fd as=NAME" in the session's `originate`.
 */

/*
 * Posts FD, which stays the caller's, in the place of what was posted there before. It counts as a
 * connection of the slot, and as one `sockets` and one `inflight` of its session, as long as it is
 * there; and in the kernel as a descriptor in flight of the caller's user.
 *
 * slot  its name, or the path of one in a session below
 *
 * Returns: 0, -EBADF (it is none, or was opened with O_PATH), -EISDIR (a directory), -EXDEV (a
 * connection of this daemon's), -EPERM (/dev/fuse; or the slot is no origin), -EDQUOT, -ETOOMANYREFS,
 * -EBUSY (files that were posted there before cannot be closed), -ECONNRESET (the slot has ended, or is
 * of another type), -EBADMSG, or any of capc_open(). Blocks for at most twice the session's timeout.
 */
CAPC_PUBLIC int capc_post(capc_session *s, const char *slot, int fd);

/*
 * Fetches a copy of what is posted in SLOT. It may be anything: to read it, or to close it, may take as long as its
 * poster likes; capc_dataspace_size() says without waiting whether it is memory.
 *
 * ret_fd  the caller's, close-on-exec
 *
 * Returns: 0, -ECONNREFUSED (nothing is posted), -EPERM (without the right `open`), -EDQUOT, -EBUSY,
 * -EAGAIN, -EMFILE, -ECONNRESET, -EBADMSG (it is of another type), -ETIMEDOUT, or any of capc_open(). Blocks.
 */
CAPC_PUBLIC int capc_fetch(capc_session *s, const char *slot, uint64_t timeout, int *ret_fd);

/*
 * Makes a dataspace, to be mapped (mmap(2)), written and posted: memory of N bytes that can be neither
 * longer nor shorter, so that nobody who has mapped it is hit by SIGBUS.
 *
 * data    what it begins as; NULL: zeros
 * ret_fd  the caller's, close-on-exec
 *
 * Returns: 0, -ENOMEM, -EMFILE, -errno. Does not block.
 */
CAPC_PUBLIC int capc_dataspace_new(const void *data, size_t n, int *ret_fd);

/*
 * From here on nobody can write there, or map it for writing: whoever has mapped it so already goes on.
 *
 * Returns: 0: it never changes again; 1: somebody has, and may write; -EINVAL (no memory), -EPERM (it was sealed
 * before). Does not block.
 */
CAPC_PUBLIC int capc_dataspace_seal(int fd);

/*
 * Is FD memory whose size cannot change? To be asked before a descriptor of a stranger's is mapped or closed.
 *
 * Returns: 0: and nothing of it changes any more; 1: it may; -EINVAL: it is something else; -EBADF. Does not block.
 */
CAPC_PUBLIC int capc_dataspace_size(int fd, size_t *ret_n);

/* ---- Calling a service ---------------------------------------------------------------------- */

/*
 * Opens a connection through a slot. S must outlive it.
 *
 * Returns: 0, -ENOENT (no such slot), -EPERM (without the right `call`), -EDQUOT (a limit is
 * reached), -ECONNREFUSED (nobody serves), -errno as capc_read(). Blocks.
 */
CAPC_PUBLIC int capc_open(capc_session *s, const char *slot, uint64_t timeout, capc **ret);

/*
 * The same; where a relay stands in front of the service and steps aside (capfs-relay(8)), the connection is
 * the relay's own to that service, and nothing is in between. What the slot's connections count, and its
 * revocation, are as ever: the relay has a duplicate, which it shuts down. So it lasts as long as the handle,
 * and no longer than the process that opened it, wherever capc_fd() was sent: there is no capc_take_fd().
 * Descriptors are the service's own affair there.
 *
 * Returns: as capc_open(). Blocks.
 */
CAPC_PUBLIC int capc_open_direct(capc_session *s, const char *slot, uint64_t timeout, capc **ret);

#define CAPC_ONE_CONNECTION 1 /* when it has ended no other one is made: calls give ENOTCONN */
#define CAPC_DIRECT 2	      /* as capc_open_direct() */

/*
 * A handle for an event loop: what the daemon is asked for is waited for by nobody. Calls can be made at once, and
 * are sent when there is a connection. Whether it could be made capc_on_connection() tells, and each call that
 * was waiting for it, with any of the errors of capc_open(); -EOPNOTSUPP is also of a service that accepts by
 * itself, whose node has to be connected to, which blocks: the next call does that.
 *
 * flags  CAPC_ONE_CONNECTION, CAPC_DIRECT, or 0
 *
 * Returns: 0, -EINVAL, -ENOMEM, -EMFILE, -ENOTCONN (the session has ended). Never blocks.
 */
CAPC_PUBLIC int capc_open_flags(capc_session *s, const char *slot, unsigned flags, capc **ret);

/*
 * Opens a connection through a slot's directory in the file system, without a session.
 *
 * dirfd  of the directory caps/SLOT, O_PATH is enough; borrowed
 *
 * Returns: 0, -EBADF, -ENOENT (revoked), -EACCES, -ECONNREFUSED (nobody serves), -ETIMEDOUT.
 * Blocks.
 */
CAPC_PUBLIC int capc_open_dir(int dirfd, uint64_t timeout, capc **ret);

/*
 * The same through a slot's `socket` itself, as capc_export() gives it and a message brings it. The
 * kernel asks for the right to write to that node, by its mode.
 *
 * fd  O_PATH; borrowed
 *
 * Returns: 0, -EBADF, -EACCES, -ECONNREFUSED (nobody serves it, it was revoked, or it is no such node),
 * -ETIMEDOUT. Blocks.
 */
CAPC_PUBLIC int capc_open_node(int fd, uint64_t timeout, capc **ret);

/*
 * Makes a connection of a connected socket, such as an end of socketpair(2) whose other end has capc_serve_fd(). No
 * session and no daemon is needed. Takes fd. When it has ended it is not opened again: calls give -ENOTCONN,
 * of CAPC_ORIGIN_LIBRARY. Calls set SO_RCVTIMEO of the socket, which its duplicates have too.
 *
 * Returns: 0, -EBADF, -ENOTSOCK. Does not block.
 */
CAPC_PUBLIC int capc_from_fd(int fd, capc **ret);

/* Shuts the connection down and closes it. Takes NULL. Returns: NULL. */
CAPC_PUBLIC capc *capc_free(capc *c);

/*
 * The socket itself, for a service that speaks a protocol of its own: blocking, stays the
 * library's. Do not mix this with calls.
 *
 * Returns: the descriptor, -ENOTCONN (the connection ended).
 */
CAPC_PUBLIC int capc_fd(const capc *c);

/*
 * Gives the handle up and keeps its connection, for a program that speaks a protocol of its own: a blocking
 * socket, to be closed by capc_raw_close(). Takes C, also when it fails. Calls that are under way are given up.
 *
 * Returns: the descriptor, which is the caller's, -ENOTCONN (the connection ended), -ECHILD (C was made before
 * fork(2)), -EOPNOTSUPP (it has no end of its own, see capc_open_direct()).
 */
CAPC_PUBLIC int capc_take_fd(capc *c);

/*
 * Sends REQ and waits for its reply. A connection that has ended since the last call is opened
 * once more before; a call that was sent is never repeated.
 *
 * req  at most CAPC_PAYLOAD_MAX bytes and CAPC_FDS_MAX descriptors, which stay the caller's
 * ret  always written, so that capc_msg_done() is always right: the reply; or, with its code not
 *      0, the service's refusal, whose data is the reason; else empty but for its origin
 *
 * Returns: 0; -errno of the service when ret->code is not 0; of the origin CAPC_ORIGIN_SERVER without a code: the server
 * had no room for the connection (-EMFILE, -ENFILE, -ENOMEM) or refused it, and nothing was executed; else: -EMSGSIZE, -EINVAL, -EBADF (of
 * a descriptor in REQ), -EOPNOTSUPP (descriptors to a service that takes none; then also -EMSGSIZE for
 * more than 64 KiB), -EPROTOTYPE (the service speaks a protocol of its own), -ETIMEDOUT (not
 * answered, perhaps executed; the reply will be discarded), -ECONNRESET (the connection ended under
 * it, perhaps executed), -EMFILE, -EMSGSIZE, -ENOMEM (perhaps executed, but the reply found no room in
 * this process), -EBUSY (256 calls wait to be sent), -EBADMSG, -EPROTO (executed, but the reply is not of this protocol; the connection is
 * closed), or, nothing having been sent, any of capc_open(). Blocks.
 */
CAPC_PUBLIC int capc_call(capc *c, const struct capc_msg *req, struct capc_msg *ret,
	uint64_t timeout);

/*
 * As capc_call() in two steps, so that many calls can be under way on one connection. The service
 * may answer them in any order.
 *
 * capc_call_start() never waits. What cannot be sent now, as there is no connection yet, or the service has as many
 * calls unanswered as it takes, or does not read, waits in this handle, which has a copy of it: 256 calls, with the
 * next one -EBUSY. It is sent by whatever function of the handle is called next when it is possible. Where the
 * connection ends before, another one is made, once, but not with CAPC_ONE_CONNECTION. Returns: 0, -EBUSY, else as
 * capc_call() of REQ itself; what comes of the connection the call tells when it is finished. Never blocks, but
 * where a connection is made by a node: of handles of capc_open_dir() and capc_open_node(), and of services that
 * accept by themselves; for at most CAPC_TIMEOUT_USEC.
 *
 * capc_call_finish() waits for the reply. -ETIMEDOUT: the call goes on, and can be finished later;
 * -ENOENT: there is no such call, or it was finished; the rest as capc_call(). Blocks.
 *
 * capc_call_done() takes what has come, for all calls, and gives one that can be finished at once. In an
 * event loop, call it when capc_poll_fd() can be read, after capc_dispatch(), until it gives 0. Returns: 1, 0
 * (none). Never blocks, but as capc_call_start().
 *
 * capc_call_ready() is a name that says so; capc_call_done() is the same, for programs that have it.
 *
 * serial  of the call, unique on this handle
 */
CAPC_PUBLIC int capc_call_ready(capc *c, uint64_t *ret_serial);
CAPC_PUBLIC int capc_call_start(capc *c, const struct capc_msg *req, uint64_t *ret_serial);
CAPC_PUBLIC int capc_call_finish(capc *c, uint64_t serial, struct capc_msg *ret, uint64_t timeout);
CAPC_PUBLIC int capc_call_done(capc *c, uint64_t *ret_serial);

/*
 * Gives a call up: nobody waits for its reply, no callback is called, and the service is told, see
 * capc_cancelled(). It may have been executed all the same, unless it was not sent yet. capc_call() does so when
 * its time is over.
 *
 * Returns: 0, -ENOENT (no such call, or it was finished). Never blocks, but as capc_call_start().
 */
CAPC_PUBLIC int capc_call_cancel(capc *c, uint64_t serial);

/*
 * Gets the reply to an asynchronous call, from capc_dispatch(): once for each that was not given up. It may use C in
 * every way, and free it; what is still under way then has no callbacks any more.
 *
 * result  what capc_call() would have returned
 * m       what it would have given; its data and descriptors go when this returns, unless *M was copied and emptied
 */
typedef void capc_replied(capc *c, uint64_t serial, int result, struct capc_msg *m, void *data);

/*
 * As capc_call_start(), with REPLIED in the place of capc_call_finish().
 *
 * ret_serial  for capc_call_cancel(); may be NULL
 *
 * Returns and blocks as capc_call_start().
 */
CAPC_PUBLIC int capc_call_async(capc *c, const struct capc_msg *req, capc_replied *replied, void *data,
	uint64_t *ret_serial);

/*
 * The descriptor to poll for POLLIN in an event loop: when it can be read, or at any other time, call capc_dispatch().
 * It is the same as long as the handle lasts, whatever becomes of the connection. Stays the library's. In a child of
 * fork(2) it is the parent's.
 *
 * Returns: the descriptor, -EMFILE, -ENOMEM, -ECHILD. Does not block.
 */
CAPC_PUBLIC int capc_poll_fd(capc *c);

/*
 * Does what is due, and calls the callbacks. Sessions whose connection is made by steps read their own descriptor
 * here as well, so S must not be used by another thread meanwhile.
 *
 * Returns: how many callbacks were called, -EBUSY (called by one), -ECHILD. Never blocks, but as capc_call_start().
 */
CAPC_PUBLIC int capc_dispatch(capc *c);

/*
 * Hears of connections, from capc_dispatch(). Who speaks a protocol with a state begins it anew with each
 * generation. One that came and went between two rounds may not be told.
 *
 * generation  of connections of this handle, from 1; 0: none could be made
 * error       0: it is there; else: it has ended, and with it the calls that were sent, or it could not be made: any
 *             of capc_open()
 */
typedef void capc_connection_changed(capc *c, uint64_t generation, int error, void *data);

/* F is called by later rounds; NULL: nobody. Does not block. */
CAPC_PUBLIC void capc_on_connection(capc *c, capc_connection_changed *f, void *data);

/* The generation of the present connection, or of the last one; 0: there was none. Does not block. */
CAPC_PUBLIC uint64_t capc_generation(const capc *c);

/*
 * Whoever waits for a reply in capc_call() or capc_call_finish() is to look for it again and again for USEC
 * microseconds before it sleeps, yielding its processor in between; 0, as it is at first: not at all. A
 * reply is there sooner then, by what it takes to be woken up, where the service runs on another processor
 * meanwhile; the price is the processor, in full for as long as it looks. Where that was in vain the next
 * calls go without, one after the first time, up to 63 in the end. An event loop of one's own does not do it.
 *
 * Returns: 0, -EINVAL (more than CAPC_BUSY_POLL_MAX).
 */
CAPC_PUBLIC int capc_set_busy_poll(capc *c, uint64_t usec);

/*
 * Takes descriptor I out of a message that the library made; it then belongs to the caller.
 * Returns: the descriptor, -EBADF (none there, or taken before).
 */
CAPC_PUBLIC int capc_msg_take_fd(struct capc_msg *m, size_t i);

/*
 * Frees what the library put into M, closes the descriptors that were not taken, empties M. capc_msg_done() is the
 * same, by its name of before.
 */
CAPC_PUBLIC void capc_msg_clear(struct capc_msg *m);
CAPC_PUBLIC void capc_msg_done(struct capc_msg *m);

/* ---- Passing on ----------------------------------------------------------------------------- */

/*
 * A slot as it is passed on in a message: its `socket` node, opened with O_PATH. Whoever gets it can
 * connect through the slot, as capc_open_node() does, until it is revoked, and do nothing else with
 * it; a directory would give away all that is reached from it.
 *
 * Where others can look into the slot's directory, or ever could, without a right to connect (mode
 * 0755), they can have such a descriptor as well, and nobody imports it. Then this is a connection
 * through the slot, as capc_open() makes it, which the service sees.
 *
 * slot  its name, or a path as for capc_grant()
 *
 * Returns: the descriptor, CLOEXEC, which is the caller's; -EOPNOTSUPP (the session was not opened by
 * its directory: send capc_fd() of a connection of capc_open() instead, which capc_from_fd() takes), -ENOENT, -EACCES (the caller may not
 * connect), -EINVAL; of a connection, as capc_open(). Blocks while the daemon makes the socket, for at
 * most the session's timeout.
 */
CAPC_PUBLIC int capc_export(capc_session *s, const char *slot);

/*
 * Whether two descriptors are of the same capability: two of socket nodes by device and inode, two
 * connected sockets by getpeername(2), which names the listener. Of one of each, and of connections
 * that capc_open() made, which have no name, nothing can be said. It is a hint: another process can
 * make a socket of any name.
 *
 * Returns: 1, 0 (other ones, or nothing can be said), -EBADF, -ENOTSOCK, -ENOTCONN.
 */
CAPC_PUBLIC int capc_same(int a, int b);

/*
 * Makes a slot of this session of what another session has passed on: FD as capc_export() gave it there,
 * or a connection through a slot of that session.
 * The slot is derived from that session's, and paid for by this one: it has the same rights, ends when
 * that one ends or is revoked, and counts against its limits. Where this session has such a slot
 * already, be it that very one, one that it was derived from, or one derived from it directly, nothing is made.
 *
 * The other session's slot must have `grant`: without it FD can still be used, by capc_open_node(), or capc_from_fd()
 * where it is a connected socket, and be passed on. A
 * node must be writable, as for capc_open_node(), and /proc in sight; a connection can be imported as
 * long as it lasts. What capc_identify() calls not vouched for is refused, also where the session has
 * such a slot: it may have been named by somebody who may not use it.
 *
 * fd        O_PATH, or a connected socket; takes fd
 * as        the name of the new slot; NULL: that of the other session's, with a number if it is taken
 * ret_slot  its name (free); may be NULL
 *
 * Returns: 0; 1 (*RET_SLOT is one that was there); -EPERM (without `grant`), -EACCES (FD cannot be
 * written, or nobody vouches for it: capc_session_reason() tells which), -EINVAL (FD is no slot's socket, or AS is no name), -EXDEV (of another daemon, or none),
 * -ENOENT (it has ended), -EEXIST, -EDQUOT, -EROFS, -EOPNOTSUPP, -EBUSY (inspectors are held by what was
 * sent before), -ENOTCONN, -ENOTSOCK, -ETIMEDOUT, -errno as capc_write(). Blocks for at most the
 * session's timeout, and while FD is closed.
 */
CAPC_PUBLIC int capc_import(capc_session *s, int fd, const char *as, char **ret_slot);

/* What a descriptor refers to. */
struct capc_identity {
	bool verified;       /* the daemon's word; else what the socket says, which anybody can forge */
	uint64_t object;     /* its id */
	uint64_t capability; /* the id of the slot that it came from */
	/* Only when verified: */
	uint64_t badge;      /* of the object */
	uint32_t rights;     /* of that slot, now: CAPC_RIGHT_X */
	char type[16];       /* "object" */
	char owner[1025];    /* label of the session that serves the object, "init/web" */
	char slot[65];       /* of this session, the one that capc_import() would find; or "" */
	char holder[1025];   /* label of the session whose slot it is that was passed on */
	bool vouched;        /* only who may use that slot can have passed it on */
	uint8_t reserved[134]; /* 0: what is added takes its place, and the size stays */
};

/*
 * What FD refers to. Of a connected socket that the daemon does not know as its own, that is what it says
 * itself: not verified.
 *
 * fd  as for capc_import(), but borrowed
 *
 * Returns: 0, -errno as capc_import(), but for -EPERM, -EEXIST, -EDQUOT of a slot. Blocks for at most the
 * session's timeout.
 */
CAPC_PUBLIC int capc_identify(capc_session *s, int fd, struct capc_identity *ret);

/*
 * ---- Serving ----------------------------------------------------------------------------------
 *
 * A server attaches to an entrypoint, adds its objects, and runs rounds of capc_serve(). A key is
 * the server's own name of an object: the same entrypoint and key keep object, badge and every
 * capability over a restart of the server. Objects are best added before the first round.
 */

/*
 * Answers R, now or later, by capc_reply() or capc_reply_error(), once. M and its descriptors
 * belong to R and go with it. DATA is the object's.
 */
typedef void capc_handler(capc_request *r, struct capc_msg *m, void *data);

/*
 * Gets a connected, blocking socket. FD belongs to the handler, who ends it by capc_raw_close();
 * CALLER lasts until the handler returns.
 */
typedef void capc_raw_handler(int fd, const struct capc_caller *caller, void *data);

/*
 * Gives the client of FD, whose caller has `aside`, the connected socket OTHER, on which it goes on. Both stay
 * the caller's: FD ends when the client has closed its handle or died, or was revoked, and then OTHER is to be
 * shut down, and so the other way round. Only servers that attached with the word "aside" have such callers.
 *
 * Returns: 0, -EAGAIN (the client is not ready yet: try again when FD can be read), -EBADMSG (it speaks
 * otherwise), -ECONNRESET (it has gone), -ETOOMANYREFS (too many descriptors are in flight). Never blocks.
 */
CAPC_PUBLIC int capc_step_aside(int fd, int other);

#define CAPC_ATTACH_ONCE 1 /* the entrypoint ends with this server, instead of being detached */
/*
 * Its clients may send descriptors, and with them more than 64 KiB in a call; without it they get EOPNOTSUPP
 * and EMSGSIZE. Whoever takes descriptors of strangers has to close them, which takes as long as a file's owner
 * likes: a service that needs none is better off without (SO_PASSRIGHTS of socket(7), since Linux 6.16).
 */
#define CAPC_ATTACH_FDS 2
/*
 * Each caller comes with a pidfd of its process, where the kernel has one (SO_PEERPIDFD of unix(7), since 6.5).
 * It costs each connection system calls and a descriptor of those in flight.
 */
#define CAPC_ATTACH_PIDFD 4
/*
 * Capabilities may have caveats, words that only this service understands (`only=`), and each caller comes with
 * those that it has: capc_caveats(). Whoever asks for them must keep them: without this nobody can be given any, and
 * nobody who has some can connect. No connection is taken from a daemon that does not tell.
 */
#define CAPC_ATTACH_CAVEATS 8
/* It takes visits: capc_visits(). */
#define CAPC_ATTACH_VISITS 16

/*
 * Makes the entrypoint NAME of this session, or takes it up again. S must outlive it.
 *
 * flags  any of CAPC_ATTACH_ONCE, CAPC_ATTACH_FDS, CAPC_ATTACH_PIDFD, CAPC_ATTACH_CAVEATS and
 *        CAPC_ATTACH_VISITS, or 0
 *
 * Returns: 0, -EBUSY (served by another), -EDQUOT, -EINVAL (also of a daemon that knows no caveats), -errno as capc_write(). Blocks for at most the
 * session's timeout.
 */
CAPC_PUBLIC int capc_attach(capc_session *s, const char *name, unsigned flags,
	capc_entrypoint **ret);

/*
 * The same, with words: "once"; "fds=yes", "pidfd=yes", "caveats=yes" and "visits", which the other flags are;
 * "hold=N", so many callers wait for the next server when this one has ended; "backlog=N", so many clients may
 * wait at each slot to be accepted, as many as the system allows unless it is said; "aside", callers may be given
 * other connections, see capc_step_aside(); "counts=yes", this server counts what clients ask for, see capc_pages(),
 * which a daemon that does not know it refuses, -EINVAL; "mode=listen" for an entrypoint whose server accepts by itself, as it
 * is made with, for ever: its objects have listeners, capc_listener(), and no connections are handed over.
 *
 * how  words separated by blanks; NULL: none
 *
 * Returns: as capc_attach(); -EINVAL, -EEXIST (it is there, in another mode). Blocks.
 */
CAPC_PUBLIC int capc_attach_how(capc_session *s, const char *name, const char *how,
	capc_entrypoint **ret);

/*
 * For a server that attached with "counts=yes" and speaks a protocol of its own on raw connections: what its clients
 * ask for there, and no longer that they connect, is a call of calls= and rate=, which this server counts. It does so
 * in the pages that this gives, whose form is that of doc/PROTOCOL, PAGES: at the entry caller.page_index, which
 * has to be caller.capability's, and at all those above it; any number of its processes may. A caller with 0 is a
 * daemon's that counts connections, since it has been an older one for a while.
 *
 * Objects with a handler go on as they are: their calls are counted by the library.
 *
 * Returns: 0, *RET_GRANTED to read and *RET_USED to write, which belong to E and last as long; -ENOENT: none have
 * come, as they do before the first caller with an entry; -errno as capc_serve().
 */
CAPC_PUBLIC int capc_pages(const capc_entrypoint *e, int *ret_granted, int *ret_used);

/*
 * Makes an entrypoint without a daemon, for tests, and for services between processes that have a socket in common:
 * the same objects and handlers, with connections of capc_serve_fd() alone. Of an object the `how` says nothing, its
 * badge lasts as long as the entrypoint; visits and listeners are not there (-EOPNOTSUPP).
 *
 * Returns: 0.
 */
CAPC_PUBLIC int capc_entrypoint_new(capc_entrypoint **ret);

/*
 * Serves calls of the object KEY of E on a socket that no daemon has handed over, beside those that one does: a
 * connected one, or a listener, of which capc_serve() accepts. Takes fd. Its callers have the rights `call` and `fds`,
 * the capability 0 and the label "", no limits are counted; uid, gid and pid are what SO_PEERCRED of unix(7) says.
 * They do not end with the object: their calls get ENXIO then.
 *
 * Returns: 0, -ENOENT (no such object was added), -EPROTOTYPE (calls need a SEQPACKET socket), -EBADF, -ENOTSOCK,
 * -errno as capc_serve(). Does not block.
 */
CAPC_PUBLIC int capc_serve_fd(capc_entrypoint *e, uint64_t key, int fd);

/*
 * What a server can be told beside its calls. Each may be NULL; capc_serve() runs them, and capc_detach() those of
 * what it ends. DATA is that of capc_entrypoint_set_handlers(). In all of them requests may be answered.
 */
struct capc_handlers {
	size_t size; /* sizeof(struct capc_handlers): it grows at its end, where zeros mean nothing */
	/*
	 * A client has connected, for calls; no call of it was read. It is served if this returns 0; with a -errno its
	 * connection ends, and the client gets that from each call, as of CAPC_ORIGIN_SERVER. *RET_DATA becomes `data`
	 * of the caller. Where it detaches the entrypoint and returns 0 it is told of the end of this one, too, afterwards.
	 */
	int (*connected)(const struct capc_caller *caller, void **ret_data, void *data);
	/*
	 * Nobody waits any more for R, which has no answer: the client has given it up, or its connection has ended.
	 * It is told once. R is to be answered all the same, here or later. Where other threads answer, one may do so
	 * at the same time: then R is good for being compared, until this returns, and nothing else.
	 */
	void (*cancelled)(capc_request *r, void *data);
	/*
	 * A connection that was told of has ended, after what it has not answered was cancelled; CALLER lasts on for
	 * requests that are kept. ERROR is 0 when the client has left, or was revoked; -ETIMEDOUT (it took no replies),
	 * -EBADMSG, -EPROTO (it did not speak this protocol), -ENOTCONN (the entrypoint ended), -errno.
	 */
	void (*disconnected)(const struct capc_caller *caller, int error, void *data);
	/*
	 * Something was refused since this process has no room for it: a connection, the descriptors of a call, or
	 * those of a reply. Who asked gets this errno. ERROR is -EMFILE, -ENFILE or -ENOMEM. Told once in a round.
	 */
	void (*exhausted)(int error, void *data);
};

/*
 * Has these told from now on; F is copied, NULL: none. Best set before the first round: `disconnected` is not told of
 * who came before `connected` was there.
 *
 * Returns: 0, -EOPNOTSUPP (F has what a later version of the structure has), -errno as capc_serve().
 */
CAPC_PUBLIC int capc_entrypoint_set_handlers(capc_entrypoint *e, const struct capc_handlers *f, void *data);

/* `data` of a caller is DATA from now on, which the library never touches: of one thread at a time. */
CAPC_PUBLIC void capc_caller_set_data(const struct capc_caller *caller, void *data);

/*
 * Stops serving: shuts the connections of calls down; the entrypoint stays, detached. Sockets that
 * a raw handler has are not the library's, but the daemon shuts them down. Requests that were kept
 * can still be replied to, in vain. May be called from a handler. Takes NULL. Returns: NULL.
 */
CAPC_PUBLIC capc_entrypoint *capc_detach(capc_entrypoint *e);

/*
 * Poll this for POLLIN; when it is ready, capc_serve() has something to do, be it that a time is over. When the
 * entrypoint has ended it is ready for ever, and capc_serve() says why. Stays the library's.
 */
CAPC_PUBLIC int capc_entrypoint_fd(const capc_entrypoint *e);

/*
 * The same for capc_serve(): after a round with calls it looks for the next one before it sleeps. Returns: as
 * capc_set_busy_poll(); why it has ended.
 */
CAPC_PUBLIC int capc_entrypoint_set_busy_poll(capc_entrypoint *e, uint64_t usec);

/* How long a client may take none of its replies before it is disconnected. */
CAPC_PUBLIC void capc_entrypoint_set_timeout(capc_entrypoint *e, uint64_t timeout);

/*
 * The most that one call may bring; until set, CAPC_PAYLOAD_MAX bytes and 253 descriptors. The client
 * of one with more gets EMSGSIZE. A client that has more descriptors than that in unanswered calls is not
 * read from. Descriptors that are refused are closed here, which takes as long as the file's owner has
 * chosen (SO_LINGER of socket(7), for one); a server that takes none, and no more than 64 KiB, never
 * gets any.
 */
CAPC_PUBLIC void capc_entrypoint_set_max(capc_entrypoint *e, size_t n_data, size_t n_fds);

#define CAPC_CALLS_MAX 65536

/*
 * How many calls of one connection may be unanswered, of connections that come from now on as well as of
 * those that are there; until set, 64. More of them wait in the client, and are not read from one that does
 * not know this. A service whose calls wait for something to happen sets as many as it is to have watchers.
 *
 * Each connection can make the server hold so many calls, each with up to 64 KiB of memory.
 *
 * n  16 to CAPC_CALLS_MAX
 *
 * Returns: 0, -EINVAL. Does not block.
 */
CAPC_PUBLIC int capc_entrypoint_set_calls(capc_entrypoint *e, unsigned n);

/*
 * One round: waits until there is something to do, takes new connections, calls handlers.
 *
 * timeout  of the waiting; 0 only does what is due
 *
 * Returns: how many connections and calls it served, which is 0 when the time was over, or when
 * there was something else to do; -EBUSY (called by a handler); -ENOTCONN (the entrypoint or the
 * daemon ended, or E was detached by a handler; all connections of calls are closed), -EBADMSG,
 * -EPROTO (likewise, after something that was not understood). Blocks.
 */
CAPC_PUBLIC int capc_serve(capc_entrypoint *e, uint64_t timeout);

/*
 * Adds the object KEY, or takes it up again: same key, same badge.
 *
 * f          runs its calls, within the limits of the capability that each came through; may be NULL
 *            where capc_accept_raw() is used: then calls are not counted, and connections are
 * how        "as=kv socket=stream": a slot of this session that refers to it, made if need be,
 *            and the type of its sockets: seqpacket (which calls need, and the default) or stream;
 *            NULL: no slot
 * ret_badge  may be NULL
 *
 * Returns: 0, -EEXIST (AS refers to something else, or KEY has another type or kind), -EDQUOT, -EINVAL,
 * -ENOTCONN, -errno as capc_write(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_object_add(capc_entrypoint *e, uint64_t key, capc_handler *f, void *data,
	const char *how, uint64_t *ret_badge);

/*
 * The badge that the object KEY, which was added to E, had where its session was restored from (capctl restore), for
 * who keeps something by badges. Whoever may add objects to E can have said so. Returns: it; 0: none is known. Does
 * not block.
 */
CAPC_PUBLIC uint64_t capc_object_was(const capc_entrypoint *e, uint64_t key);

/*
 * Takes the listener of an object that was added to an entrypoint in mode=listen, once. Every slot's
 * `socket` is a name of it; whoever connects is not told apart, and not known to the daemon: limits but
 * expires= are refused, and what is open when a slot is revoked stays open. It is shut down when the
 * entrypoint is detached. May run rounds of capc_serve(), which is to be called further.
 *
 * Returns: the descriptor, blocking and CLOEXEC, which is the caller's; -ENOENT (no such object, or it
 * was taken), -ETIMEDOUT, -EDQUOT (sockets or inflight of the session), -EBUSY (called by a handler),
 * -errno as capc_serve(). Blocks.
 */
CAPC_PUBLIC int capc_listener(capc_entrypoint *e, uint64_t key, uint64_t timeout);

/*
 * Ends an object and with it all its capabilities and connections. Objects may be added and removed in a handler,
 * also the one that it is the handler of; its request is answered as any other, in vain once the daemon has ended
 * the connection.
 * Returns: 0, -ENOENT, -errno as capc_write(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_object_remove(capc_entrypoint *e, uint64_t badge);

/*
 * Gives new connections of this entrypoint to F instead of reading calls from them, but those to
 * objects that were added with a handler. NULL: calls.
 * Returns: 0; -ENOTCONN, -EBADMSG, -EPROTO (E has ended, as capc_serve() says).
 */
CAPC_PUBLIC int capc_accept_raw(capc_entrypoint *e, capc_raw_handler *f, void *data);

/*
 * Ends a raw connection: shutdown(2), then close(2). The daemon holds a duplicate of the socket in
 * order to be able to revoke it, so that after a mere close(2) the client would wait on. For the
 * same reason epoll(7) does not forget FD by itself: remove it before. Keeps errno; takes -1.
 */
CAPC_PUBLIC void capc_raw_close(int fd);

/* Who calls. Lasts until R is answered. Never NULL. */
CAPC_PUBLIC const struct capc_caller *capc_caller(const capc_request *r);

/*
 * The caveats of a caller, whose capability is one of those that were derived with `only=`. What was given by one
 * command is a group, of which one is enough; what was given later, at another derivation or by `reduce`, is
 * another group and counts as well. So a request is to be allowed if in every group there is a caveat that allows
 * it, and nothing can be added that allows more. What a caveat says is the service's to define; one that it does
 * not understand must allow nothing.
 *
 * They are those of the moment when the client connected. Where some are added the connection ends.
 *
 * Calls EACH for every one, the oldest first, until it returns other than 0.
 *
 * group  0, 1 and so on, ascending
 * text   1 to 240 printable characters of ASCII; lasts as long as CALLER
 *
 * Returns: 0, what EACH returned.
 */
CAPC_PUBLIC int capc_caveats(const struct capc_caller *caller,
	int (*each)(unsigned group, const char *text, void *data), void *data);

/*
 * Asks ALLOWS of the caveats, as far as it takes, whether each allows something: it returns 1, 0, or a -errno, which
 * ends that. Returns: 1 when every group has one that does, also when there is none; 0; that -errno.
 */
CAPC_PUBLIC int capc_caveats_allow(const struct capc_caller *caller,
	int (*allows)(const char *text, void *data), void *data);

/*
 * The same where caveats are patterns of capc_glob(): is TEXT, such as "GET /images/json", allowed? One that is no
 * pattern allows nothing. Returns: 1 or 0.
 */
CAPC_PUBLIC int capc_caveat_glob(const struct capc_caller *caller, const char *text);

/*
 * Does all of TEXT match PATTERN? In that
 *
 *	*      stands for any number of characters, but no '/'
 *	**     for any number of any
 *	?      for one, but no '/'
 *	[a-z_] for one of these, [!a-z] for one of no others; never for '/'. A ']' that stands first is one of them
 *	\X     for X
 *
 * and everything else for itself. It takes at most as many steps as the product of both lengths.
 *
 * Returns: 1, 0, -EINVAL (that is no pattern: longer than 240 bytes, a '[' without end, a '\' at its end).
 */
CAPC_PUBLIC int capc_glob(const char *pattern, const char *text);

/*
 * TEXT as the word only="…", for `how` of capc_grant() and the others that derive, and of capc_reduce(): a caveat, which
 * the service of that capability understands. capc_how_add() with "only" does the same among other words.
 *
 * ret  belongs to the caller (free)
 *
 * Returns: 0, -EINVAL (1 to 240 printable characters of ASCII), -ENOMEM.
 */
CAPC_PUBLIC int capc_only(const char *text, char **ret);

/* Whether nobody waits for R any more: its client has given it up, or is gone. Answer it anyway. From any thread. */
CAPC_PUBLIC bool capc_cancelled(const capc_request *r);

/*
 * Answers R and frees it, also on failure; from any thread. Never blocks: what the client does not take at once is
 * sent in later rounds of capc_serve(); see capc_entrypoint_set_timeout().
 *
 * m  its code is ignored; NULL: an empty reply; descriptors stay the caller's
 *
 * Returns: 0, -ECONNRESET (the client is gone), -EMSGSIZE, -EINVAL, -EBADF, -ETOOMANYREFS
 * (the client got this error instead).
 */
CAPC_PUBLIC int capc_reply(capc_request *r, const struct capc_msg *m);

/*
 * Refuses R and frees it.
 *
 * error   an errno of 1 to 4095, positive or negative
 * reason  one line for people, may be NULL
 *
 * Returns: as capc_reply(); -EINVAL also: ERROR is no errno, and the client gets EINVAL of the origin
 * CAPC_ORIGIN_SERVER.
 */
CAPC_PUBLIC int capc_reply_error(capc_request *r, int error, const char *reason);

/*
 * ---- Visits -----------------------------------------------------------------------------------
 *
 * A visit is what a client has open at a service, with quota that it lends for it, of which the server charges what
 * it uses for this client. It has a slot of its own, by whose id the server knows it in capc_caller, and ends with
 * that, whoever ends it: then all that was lent is the client's again. capfs(5) has the rules.
 */

/*
 * Opens a visit at the service of SLOT, and waits until its server has accepted it.
 *
 * how       "as=NAME ram=64K sockets=2 args=TEXT", may be NULL: the new slot's name, what is lent, words to the
 *           server; "to=SESSION": the slot is that session's, which cannot close it; "via=ID": what is lent comes
 *           from the visit of a client of this session
 * ret_slot  the new slot's name (free); may be NULL
 *
 * Returns: 0, -EACCES (refused), -ETIMEDOUT (no answer; it was closed), -EEXIST, -EDQUOT (in both nothing was
 * opened), -EOPNOTSUPP (its server takes no visits), -ECONNREFUSED (nobody serves it), -errno as capc_write().
 * Whatever it gives but 0, nothing stays lent. Blocks.
 */
CAPC_PUBLIC int capc_visit(capc_session *s, const char *slot, const char *how, uint64_t timeout, char **ret_slot);

/*
 * Lends more for the visit whose slot SLOT is, "ram=64K", and waits until its server has accepted that.
 *
 * Returns: 0, -EACCES (refused; what was lent before stays so), -ETIMEDOUT (no answer; there may be one later),
 * -EBUSY (the last one has no answer yet), -EDQUOT, -errno as capc_visit(). Blocks.
 */
CAPC_PUBLIC int capc_visit_upgrade(capc_session *s, const char *slot, const char *how, uint64_t timeout);

/*
 * Closes the visit whose slot SLOT is. One that is not there is closed.
 *
 * Returns: 0, -EPERM (it was opened for this session by one above), -errno as capc_write(). Blocks for at most the
 * session's timeout.
 */
CAPC_PUBLIC int capc_visit_close(capc_session *s, const char *slot);

enum capc_visit_state {
	CAPC_VISIT_ASKED = 1, /* it wants to be accepted; until then its client cannot connect */
	CAPC_VISIT_OPEN,      /* it was, by a server before */
	CAPC_VISIT_UPGRADE,   /* more is lent, if that is accepted */
	CAPC_VISIT_CLOSED,    /* it has ended, and of its members only the id is set */
};

/* Belongs to the library, and lasts until the handler returns. */
struct capc_visit {
	uint64_t capability; /* its slot's id: that of capc_caller */
	uint64_t key;        /* of the object */
	enum capc_visit_state state;
	const char *label; /* of the session whose slot it is, "init/app" */
	const char *slot;  /* the name of that there, when it was looked at */
	const char *args;  /* the client's words; "" */
	const char *info;  /* all that the daemon says of it: capfs(5) */
};

typedef void capc_visit_handler(const struct capc_visit *v, void *data);

/*
 * Tells F of visits at E, which was attached with CAPC_ATTACH_VISITS, from now on within rounds of capc_serve(), which
 * may then block for at most the session's timeout, and of those that there are at once. F answers by
 * capc_visit_answer(), now or later. NULL: nobody is told.
 *
 * Returns: 0, -EBUSY (called by a handler), -errno as capc_read(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_visits(capc_entrypoint *e, capc_visit_handler *f, void *data);

/*
 * Answers, or charges, or both at once.
 *
 * capability  of the visit
 * how         "accept", "refuse REASON", "ram=4096", "accept ram=4096 caps=1": so much is used for this client now
 *
 * Returns: 0, -EALREADY (nothing is asked, or it was answered), -EDQUOT (the visit has not so much), -ENOENT (it has
 * ended), -errno as capc_write(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_visit_answer(capc_entrypoint *e, uint64_t capability, const char *how);

/* An amount of V: of KIND, "ram", what is "lent", "charged", "free" or "asked". 0: nothing of that. */
CAPC_PUBLIC uint64_t capc_visit_quota(const struct capc_visit *v, const char *kind, const char *what);

/*
 * ---- Argument trees ---------------------------------------------------------------------------
 *
 * What a program is started with: scalars, sequences and maps, with descriptors as leaves; see
 * capfs-args(5), which has the text, the encoding and the bounds. Nothing here asks a daemon.
 *
 * PATH leads from the root to a value: keys of maps and indexes of sequences, joined by '.', as
 * "web.listen.0"; "" is the root. A '.' or '\' that belongs to a key has a '\' before it. A path
 * that is no path is -EINVAL everywhere. A key has 1 to 255 bytes of UTF-8 without control
 * characters.
 */
#define CAPC_ARGS_BYTES_MAX (1 << 20)  /* of an encoded tree, and of a YAML text */
#define CAPC_ARGS_DEPTH_MAX 64         /* components of a path */
#define CAPC_ARGS_VALUES_MAX (1 << 16) /* in a tree, with sequences and maps */
#define CAPC_ARGS_FDS_MAX 4000         /* in a tree */
#define CAPC_ARGS_BIG_MAX 1024         /* bytes of an integer */
#define CAPC_ARGS_KEY_MAX 255          /* bytes of a key */
#define CAPC_ARGS_FD_TAG 51965         /* the tag of a descriptor in CBOR */

enum capc_type {
	CAPC_NULL,
	CAPC_BOOL,
	CAPC_INT,
	CAPC_BIG, /* an integer for which 64 bits with a sign are not enough */
	CAPC_FLOAT,
	CAPC_STRING,
	CAPC_BINARY,
	CAPC_TIME,
	CAPC_FD,
	CAPC_SEQUENCE,
	CAPC_MAP,
};

struct capc_string {
	const char *data; /* UTF-8, not terminated; it may have a NUL inside */
	size_t n;         /* bytes */
};

struct capc_binary {
	const void *data;
	size_t n;
};

/* As CBOR has it: N, the bytes with the most significant one first; or -1 - N. */
struct capc_big {
	const uint8_t *data;
	size_t n;
	bool negative;
};

struct capc_time {
	int64_t sec; /* since 1970 in UTC, in the years 0 to 9999 */
	uint32_t nsec;
};

struct capc_value {
	enum capc_type type;
	union {
		bool boolean;
		int64_t integer;
		double real;
		struct capc_string string;
		struct capc_binary binary;
		struct capc_big big;
		struct capc_time time;
		int fd;
		size_t n_items; /* of a sequence or a map */
	};
};

/*
 * Opens the tree that this process was started with, in the memfd whose number is in $CAP_ARGS_FD.
 * Both stay open, for programs that this one starts.
 *
 * Returns: 0, -ENOENT (there is none), -EBADF (the memfd is not open, or not one of the descriptors
 * that the tree names), -EBADMSG (it is not sealed, or is no tree; the variable is no number).
 */
CAPC_PUBLIC int capc_args_open(capc_args **ret);

/* Makes a tree to be filled: a map without keys. */
CAPC_PUBLIC int capc_args_new(capc_args **ret);

/*
 * Frees a tree, and closes the descriptors that it has as duplicates or from parsing; those of
 * capc_args_open() are the process's own and stay open. Takes NULL. Returns: NULL.
 */
CAPC_PUBLIC capc_args *capc_args_free(capc_args *a);

/*
 * Looks a value up. What it points to belongs to A, until A is freed or that value is set; its
 * descriptor is borrowed. In a tree that was sealed a descriptor is the number that the program
 * will have it under; capc_args_fd() has it here.
 *
 * Returns: 0, -ENOENT (no such key or index), -ENOTDIR (PATH goes on behind what is neither a
 * sequence nor a map).
 */
CAPC_PUBLIC int capc_args_get(const capc_args *a, const char *path, struct capc_value *ret);

/*
 * The same for one type. A string is a terminated copy, which belongs to the caller (free); a
 * descriptor is borrowed.
 *
 * Returns: as capc_args_get(); -EPROTOTYPE (another type), -ERANGE (an integer that is too large or
 * negative), -EILSEQ (a string with a NUL inside).
 */
CAPC_PUBLIC int capc_args_get_string(const capc_args *a, const char *path, char **ret);
CAPC_PUBLIC int capc_args_get_int(const capc_args *a, const char *path, int64_t *ret);
CAPC_PUBLIC int capc_args_get_uint(const capc_args *a, const char *path, uint64_t *ret);
CAPC_PUBLIC int capc_args_get_bool(const capc_args *a, const char *path, bool *ret);
CAPC_PUBLIC int capc_args_get_fd(const capc_args *a, const char *path, int *ret);

/*
 * Calls EACH for every item of the sequence or map at PATH, in their order, until it returns other
 * than 0. EACH must not change A. What it is given lasts until it returns.
 *
 * each  path: of the item, for capc_args_get(); key: its own, or NULL in a sequence
 *
 * Returns: 0, what EACH returned, -ENOTDIR (neither a sequence nor a map), -errno as capc_args_get().
 */
CAPC_PUBLIC int capc_args_each(const capc_args *a, const char *path,
	int (*each)(const char *path, const char *key, const struct capc_value *v, void *data), void *data);

/*
 * Sets the value at PATH, in place of what is there, and makes the maps on the way. The index of a
 * sequence that is its length, or "-", appends. Of a sequence or a map only an empty one can be set.
 * All is copied, and a descriptor duplicated, unless it is the number of one that A has: then both
 * places name the same. A CAPC_BIG for which an integer is enough becomes one.
 *
 * Returns: 0, -ENOENT (an index beyond the end), -ENOTDIR, -EINVAL (a type, an index, a time or a big
 * integer that is none), -EILSEQ (a string or a key is not as it must be), -EBADF, -E2BIG (a bound of
 * capfs-args(5)), -EROFS (A was sealed, or is that of this process).
 */
CAPC_PUBLIC int capc_args_set(capc_args *a, const char *path, const struct capc_value *v);

/*
 * Encodes A into a sealed memfd, and seals A itself. The program finds its descriptors, each once, from
 * the number FIRST on in the order of capc_args_fd(), which is that in which they first appear in
 * the tree. The memfd's number is the caller's to choose, and goes to the program as $CAP_ARGS_FD;
 * FIRST + capc_args_n_fds() is a good one.
 *
 * ret_memfd  CLOEXEC, belongs to the caller
 *
 * Returns: 0, -E2BIG (longer than CAPC_ARGS_BYTES_MAX), -ERANGE (FIRST is too large for a descriptor),
 * -EROFS (A was sealed, or is that of this process).
 */
CAPC_PUBLIC int capc_args_seal(capc_args *a, int first, int *ret_memfd);

/* How many descriptors a tree has that was sealed; 0 for any other. */
CAPC_PUBLIC size_t capc_args_n_fds(const capc_args *a);

/*
 * The descriptor number I of a tree that was sealed, borrowed.
 *
 * ret_label  may be NULL; the path at which it first appears, "web.listen"; belongs to A
 *
 * Returns: the descriptor; -EINVAL (there are not so many); -EBADF (nothing was opened:
 * CAPC_ARGS_DRY).
 */
CAPC_PUBLIC int capc_args_fd(const capc_args *a, size_t i, const char **ret_label);

/*
 * Resolves a leaf of which this library knows nothing.
 *
 * tag   "cap" of !cap, "session" of !session
 * text  what stands behind it, "kv rights=call"; "" for nothing
 * ret   what the leaf becomes, any scalar. A descriptor is taken; a string or bytes are copied and need to
 *       last until the next call
 * ret_reason  may be set in a refusal, to one line that free() takes
 *
 * Returns: 0 or -errno.
 */
typedef int capc_args_resolver(
	const char *tag, const char *text, struct capc_value *ret, char **ret_reason, void *data);

#define CAPC_ARGS_DRY 1 /* open nothing: all is checked but what is outside of the text */

/*
 * Makes a tree of a YAML text as capfs-args(5) has it, and opens what its leaves say, with the rights of
 * this process.
 *
 * name        of the text, for reasons: "app.yaml"
 * flags       0 or CAPC_ARGS_DRY: descriptors are -1, and the tree can be sealed only to be looked at
 * resolve     NULL: !cap and !session are refused, or in CAPC_ARGS_DRY descriptors like any
 * ret_reason  may be NULL; always written: why it was refused, "app.yaml:3:7: …", or NULL; belongs to
 *             the caller (free)
 *
 * Returns: 0, -EINVAL (no YAML, or not as it must be), -EEXIST (a key comes twice), -EILSEQ (no UTF-8), -E2BIG
 * (a bound), -EISDIR (a directory), -EBADF (!fd of what is not open), -EOPNOTSUPP (nothing resolves a
 * leaf), any errno of open(2), bind(2), connect(2), or of RESOLVE. Blocks as open(2) does, and
 * for at most 30 seconds a connection.
 */
CAPC_PUBLIC int capc_args_parse_yaml(const char *text, size_t n, const char *name, unsigned flags,
	capc_args_resolver *resolve, void *data, capc_args **ret, char **ret_reason);

/* Of a value in its text, as people count: lines, and characters in them, from 1. */
struct capc_place {
	size_t line, column;         /* of its first character */
	size_t end_line, end_column; /* of what is behind its last one */
	size_t reserved[2];          /* 0: what is added takes its place, and the size stays */
};

/*
 * Where a value of a tree of capc_args_parse_yaml() stands, for reasons of one's own.
 *
 * Returns: 0, -ENODATA (it is of no text, or was set since), -ENOENT, -ENOTDIR as capc_args_get().
 */
CAPC_PUBLIC int capc_args_place(const capc_args *a, const char *path, struct capc_place *ret);

/*
 * ---- Programs ---------------------------------------------------------------------------------
 *
 * A program is started in a session, is one of its threads, and ends with it. Only the program itself ever gets
 * what is given to it, over a socket pair that the daemon hands out: neither the daemon nor what it starts
 * programs with has the arguments, the environment or a descriptor. As the caller has these, so they stay: copies
 * are sent, whatever comes of it. Nothing of the caller is forked.
 *
 * The program is the leader of a session (setsid(2)) and a child of a process of the daemon's. It runs as the
 * owner of its session, whose limits and confinement it has, with no capabilities and no supplementary groups;
 * its signals are at their defaults, and none is blocked.
 */

#define CAPC_SPAWN_DIE_WITH 1 /* it is killed when the caller's session connection ends, however that comes */
/*
 * It is told of the descriptors from 3 on as by a service manager: LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID are
 * put into its environment, for sd_listen_fds_with_names(3). Where there are none, none of these is left there.
 */
#define CAPC_SPAWN_LISTEN 2
/*
 * Nobody waits for it: how it ended is not kept. Without this flag it is until capc_thread_wait() has given it or
 * the connection of the capc_session has ended, and counts as one of the session's threads as long.
 */
#define CAPC_SPAWN_DETACHED 4
#define CAPC_SPAWN_EXEC_FD 8 /* exec_fd is the program, as for fexecve(3) */
/*
 * open(2) and openat(2) of a socket's node for reading and writing give it, and what it starts, a connected socket.
 * Nothing that it executes gets privilege by that (no_new_privs).
 */
#define CAPC_SPAWN_OPEN_SOCKETS 16
/*
 * It runs again when it has ended: unless it was by exit(0); always. Each time with the same words and the same
 * descriptors, open files and not copies of these, so that what one run has read is not there for the next. They
 * are kept by a process of the session's, which counts as one of its threads. The pauses between short runs become
 * longer, from a tenth of a second to a minute. It is over, and capc_thread_wait() returns, when it ends in another
 * way than that, by `kill` of capc_thread_ctl(), or with its session; or when the first run does not begin.
 */
#define CAPC_SPAWN_RESTART 32
#define CAPC_SPAWN_RESTART_ALWAYS 64

/* What is to be started. All of it is borrowed until the function returns. */
struct capc_spawn {
	size_t size;         /* sizeof(struct capc_spawn): it grows at its end, where zeros mean nothing */
	const char *session; /* "app" or "app/db": one below; NULL: this one */
	const char *name;    /* for people, one word, in `info` of the thread; NULL: none */
	/*
	 * Ends with NULL, has at least one, of which the first is also the path of the program, as its session
	 * sees it, but with CAPC_SPAWN_EXEC_FD.
	 */
	char *const *argv;
	char *const *envp; /* "KEY=VALUE", ends with NULL; NULL: nothing at all */
	/*
	 * The program has exactly these, as 0 to n_fds - 1, in this order. One may be there more than once. No
	 * directories, also not with O_PATH: they would lead it out of its confinement.
	 */
	const int *fds;
	/* What they are called, or NULL each, or NULL: at most 255 bytes, no ':' and no control characters. */
	const char *const *labels;
	size_t n_fds; /* at most 4096 */
	int exec_fd;  /* with CAPC_SPAWN_EXEC_FD alone; the program does not get it. No script */
	unsigned flags; /* CAPC_SPAWN_X */
	/*
	 * It is the command of this entrypoint of its session, which comes to be with an object and a slot of the
	 * same name: it runs first when somebody connects there and nobody serves, attaches, and serves; when it has
	 * ended it runs again for the next who comes. Meanwhile callers wait; they are told, by the end of their
	 * connection, when a run has ended that never attached, and when the command is over. Restarts are as with
	 * CAPC_SPAWN_RESTART_ALWAYS, or as the flags say. capc_spawn() returns when it may be called for. NULL: none.
	 */
	const char *serves;
	/*
	 * How, separated by blanks: "key=N", of the object as the server will add it (else 0), "socket=stream" (else
	 * seqpacket), "protocol=calls", "as=SLOT", "hold=N", so many callers wait (else 1024), "fds=yes", they may send
	 * descriptors. NULL: none of these.
	 */
	const char *serves_how;
	/*
	 * It has to call capc_heartbeat() at least once in so many seconds, at most 65535, and is killed when it has
	 * missed heartbeat_max of these in a row, at most 255, 0: three. It finds CAPFS_THREAD and CAPFS_HEARTBEAT in
	 * its environment for that. 0: it has not.
	 */
	unsigned heartbeat_sec, heartbeat_max;
	/*
	 * Supplementary groups: all that `confine` says of its session, no more and no less, in any order. Each is one
	 * that the caller could have as its gid; root could have any.
	 */
	const gid_t *groups;
	size_t n_groups; /* at most 32 */
};

/*
 * Starts a program, and returns when it runs, or will not.
 *
 * timeout     of all of it
 * ret         belongs to the caller (capc_thread_free()); S must outlive it
 * ret_reason  may be NULL; always written: why not, in one line, which capc_session_reason() has too, or NULL
 *             when nobody said; belongs to the caller (free). Of a start that failed in the new process it
 *             begins with "step NAME", NAME being one of hello creds cgroup uid ns root bind proc dev cap pivot
 *             fork fds place limits caps landlock seccomp exec
 *
 * Returns: 0; after any error nothing of it runs. Without asking: -EINVAL (no argv, a label, name or flag that
 * cannot be), -EBADF, -E2BIG (more than 4096 descriptors, arguments or variables, 256 KiB of the last two, 32
 * groups), -EOPNOTSUPP (what a later version of the structure has). The daemon's refusals: -ECONNREFUSED (nothing
 * starts programs), -EOPNOTSUPP (this daemon never does), -EDQUOT (threads of the session), -EACCES, -EBUSY, -ENOENT
 * (no such session), -errno as capc_write(). -EPERM: the session has another owner, or groups that the caller may
 * not have, and it is not root; with "step creds", it has others than GROUPS, where -EOPNOTSUPP is: there it can
 * have none. Of the new process, by execve(2) with "step exec": -ENOENT, -EACCES, -ENOEXEC and others; -EISDIR with
 * "step place"; any that a system call of another step gives; -ECONNRESET (it was killed). -ETIMEDOUT: it is being
 * killed; where the daemon has not even answered it will end by itself, and counts until S is freed. Blocks.
 */
CAPC_PUBLIC int capc_spawn(capc_session *s, const struct capc_spawn *p, uint64_t timeout, capc_thread **ret,
	char **ret_reason);

/*
 * Makes a handle on the thread that a slot of S refers to (type=thread), its name or the path of one in a session
 * below, with a connection of its own: S need not stay. capc_thread_wait() needs the right `wait`, each command of
 * capc_thread_ctl() that of its name, `resume` pause; others are refused. It ends with the slot, and that with its
 * thread: then a wait is answered before.
 *
 * Returns: 0, -EPROTOTYPE (the slot is no thread's), -EOPNOTSUPP, -ECONNREFUSED, -errno as capc_session_through().
 * Blocks.
 */
CAPC_PUBLIC int capc_thread_through(capc_session *s, const char *slot, uint64_t timeout, capc_thread **ret);

/* The name of its directory in threads/ of its session, "7.3"; belongs to T. */
CAPC_PUBLIC const char *capc_thread_id(const capc_thread *t);

/* How a program ended. */
struct capc_exit {
	int status;    /* as of waitpid(2), with what WIFEXITED() and the others look at */
	int error;     /* 0; else it did not even start, and this is the errno of `step` */
	char step[16]; /* "exec", as for capc_spawn(); "" else */
	/* Of it and of those of its children that it has waited for, as of getrusage(2): */
	uint64_t utime_usec, stime_usec;
	uint64_t maxrss_kib;
	uint64_t reserved[4]; /* 0: what is added takes its place, and the size stays */
};

/*
 * Waits until T has ended, be it before or after the call, and tells how; further calls tell the same at once.
 *
 * While it waits, nothing else can be asked through the session: for that, capc_thread_ctl() too, there is
 * capc_thread_poll().
 *
 * timeout  0: looks; CAPC_FOREVER
 *
 * Returns: 0, -ETIMEDOUT (it has not ended), -ENOENT (it was started with CAPC_SPAWN_DETACHED, and has ended
 * before), -errno as capc_write(). Blocks for at most TIMEOUT, and by the session's timeout longer where no
 * daemon answers.
 */
CAPC_PUBLIC int capc_thread_wait(capc_thread *t, uint64_t timeout, struct capc_exit *ret);

/*
 * Has T ended? Never waits for that, so that a program with a loop of its own can do other things meanwhile: the
 * descriptor of capc_session_fd() of its session can be read when there may be an answer. Other requests of the
 * session, capc_thread_ctl() too, take precedence: after each this is to be called again, before one waits. So are
 * those of capc_dispatch(), for which a loop calls this in every round.
 * One thread of a session at a time, and none where there is a capc_pager().
 *
 * Returns: 0, and how it ended, as capc_thread_wait(); -EAGAIN (it runs), -EBUSY (another one is waited for so),
 * -EMFILE (calls that are being connected come first), -ENOENT and others as capc_thread_wait(). Blocks for at most
 * the session's timeout, where no daemon takes what it asks.
 */
CAPC_PUBLIC int capc_thread_poll(capc_thread *t, struct capc_exit *ret);

/* Within so many microseconds this program has to call capc_heartbeat() again. 0: it was not started so. */
CAPC_PUBLIC uint64_t capc_heartbeat_usec(void);

/*
 * Says that this program is well, which was started with a heartbeat in the session of S. It is best called where it
 * would not come by if anything stood still, every half of capc_heartbeat_usec().
 *
 * Returns: 1; 0: nobody wants to know; -ENOENT (it was started in another session), -errno as capc_write(). Blocks
 * for at most TIMEOUT.
 */
CAPC_PUBLIC int capc_heartbeat(capc_session *s, uint64_t timeout);

/*
 * Writes a command to the thread's `ctl`: "kill"; "signal=N", to the process that was started; "pause" and
 * "resume", of all its processes; "affinity=0-1", the CPUs that it may run on; "restart=no", of one that runs again.
 *
 * ret_reason  may be NULL; always written: the reason of a refusal, or NULL; belongs to the caller (free)
 *
 * Returns: 0, -ENOENT, -ESRCH (it has ended), -EINVAL, -errno as capc_write(). Blocks for at most the session's
 * timeout.
 */
CAPC_PUBLIC int capc_thread_ctl(capc_thread *t, const char *command, char **ret_reason);

/* Frees the handle; the program goes on. Takes NULL. Returns: NULL. */
CAPC_PUBLIC capc_thread *capc_thread_free(capc_thread *t);

/*
 * This thread, of a process that capfsd has not started, becomes one of the session's: shown in threads/ with the
 * pid that the kernel says, whoever has made the connection of S, and counted as one. It is one until it ends, its
 * process does, or the session; S need not stay. What becomes of the process is an event of the session, also a
 * fault, and can be waited for by nobody; the daemon can neither signal nor pause it.
 *
 * name  for people, one word, in `info` of the thread; NULL: none
 *
 * Returns: 0, -EINVAL (no such name can be), -EDQUOT (threads), -EOPNOTSUPP (the kernel is older than Linux 6.16;
 * this daemon never does), -ETIMEDOUT, -errno as capc_write(). Blocks for at most the session's timeout.
 */
CAPC_PUBLIC int capc_thread_register(capc_session *s, const char *name);

#ifdef __cplusplus
}
#endif

#endif
