/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grammar of commands: words separated by blanks, each KEY=VALUE or a bare KEY, each key at
 * most once, but those of KEYS_TEXTS. Their values may have blanks: between quotes (only="GET /x"), in which \" and
 * \\ stand for " and \. It owns the list of all keys that any verb understands, and nothing at run time.
 * ops/verb.c decodes by it for both fronts; what the words mean together is the verb's to say.
 * It never looks at the model, but for the clock that `expires` is counted from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "capfsd/model/quota.h"

struct request;

/*
 * Every key: its name in the enum, the word that is written, whether it stands there without a
 * value, and how a usage shows it. Their order is that of usages; nothing is stored by it. The kinds
 * of quota come last, since they are found by their number, and take numbers that end in K, M, G.
 */
#define KEYS(X)                                                                                    \
	X(ALL, "1", true, "1")                                                                     \
	X(SELF, "self", true, "self")                                                              \
	X(TO, "to", false, "to=SESSION")                                                           \
	X(FROM, "from", false, "from=SESSION")                                                     \
	X(AS, "as", false, "as=NAME")                                                              \
	X(TARGET, "target", false, "target=NAME[/NAME...]")                                         \
	X(RIGHTS, "rights", false, "rights=")                                                      \
	X(METHODS, "methods", false, "methods=LO-HI,...")                                          \
	X(CALLS, "calls", false, "calls=N")                                                        \
	X(CONNS, "conns", false, "conns=N")                                                        \
	X(RATE, "rate", false, "rate=N/s")                                                         \
	X(EXPIRES, "expires", false, "expires=SECONDS|TIME")                                       \
	X(ONLY, "only", false, "only=TEXT")                                                        \
	X(IMMUTABLE, "immutable", true, "immutable")                                               \
	X(USED, "used", false, "used=N")                                                           \
	X(ID, "id", false, "id=N")                                                                 \
	X(TYPE, "type", false, "type=TYPE")                                                        \
	X(SLOT, "slot", false, "slot=NAME")                                                        \
	X(TIMEOUT, "timeout", false, "timeout=SECONDS")                                            \
	X(AMOUNT, "quota", true, "quota")                                                          \
	X(REFUSE, "refuse", true, "refuse [REASON]")                                               \
	X(KEY, "key", false, "key=N")                                                              \
	X(SOCKET, "socket", false, "socket=stream|seqpacket")                                      \
	X(PROTOCOL, "protocol", false, "protocol=calls")                                           \
	X(WAS, "was", false, "was=BADGE")                                                          \
	X(REMOVE, "remove", false, "remove=BADGE")                                                 \
	X(ONCE, "once", true, "once")                                                              \
	X(MODE, "mode", false, "mode=broker|listen")                                               \
	X(HOLD, "hold", false, "hold=N")                                                           \
	X(FDS, "fds", false, "fds=yes|no")                                                         \
	X(CAVEATS, "caveats", false, "caveats=yes|no")                                             \
	X(COUNTS, "counts", false, "counts=yes|no")                                                \
	X(BACKLOG, "backlog", false, "backlog=N")                                                  \
	X(PIDFD, "pidfd", false, "pidfd=yes|no")                                                   \
	X(ASIDE, "aside", true, "aside")                                                           \
	X(OK, "ok", true, "ok")                                                                    \
	X(ERROR, "error", false, "error=ERRNO")                                                    \
	X(CALL, "call", false, "call=TEXT")                                                        \
	X(DESCRIPTORS, "descriptors", false, "descriptors=N")                                      \
	X(NAME, "name", false, "name=NAME")                                                        \
	X(LABELS, "labels", false, "labels=NAME,...")                                              \
	X(DIE, "die", true, "die")                                                                 \
	X(KEEP, "keep", true, "keep")                                                              \
	X(RESTART, "restart", false, "restart=no|on-failure|always")                               \
	X(HEARTBEAT, "heartbeat", false, "heartbeat=SECONDS[:N]")                                  \
	X(SERVES, "serves", false, "serves=ENTRYPOINT")                                            \
	X(KILL, "kill", true, "kill")                                                              \
	X(SIGNAL, "signal", false, "signal=N")                                                     \
	X(PAUSE, "pause", true, "pause")                                                           \
	X(RESUME, "resume", true, "resume")                                                        \
	X(AFFINITY, "affinity", false, "affinity=LO-HI,...")                                       \
	X(FAULTS, "faults", true, "faults")                                                        \
	X(OF, "of", false, "of=SESSION")                                                           \
	X(THREAD, "thread", false, "thread=ID")                                                    \
	X(UID, "uid", false, "uid=N")                                                              \
	X(GID, "gid", false, "gid=N")                                                              \
	X(GROUPS, "groups", false, "groups=N,...|none")                                            \
	X(ROOT, "root", false, "root=DIR")                                                         \
	X(RO, "ro", false, "ro=PATH,...")                                                          \
	X(RW, "rw", false, "rw=PATH,...")                                                          \
	X(CWD, "cwd", false, "cwd=DIR")                                                            \
	X(NET, "net", false, "net=none|host")                                                      \
	X(PROC, "proc", false, "proc=yes|no")                                                      \
	X(DEV, "dev", false, "dev=yes|no")                                                         \
	X(SECCOMP, "seccomp", false, "seccomp=yes|no")                                             \
	X(LANDLOCK, "landlock", false, "landlock=yes|no")                                          \
	X(RLIMITS, "rlimits", false, "rlimits=NAME:N[:N],...")                                     \
	X(MEM, "mem", false, "mem=N")                                                              \
	X(PIDS, "pids", false, "pids=N")                                                           \
	X(WITH, "with", false, "with=children|subtree|siblings|SESSION|none")                      \
	X(VIA, "via", false, "via=ID")                                                             \
	X(ARGS, "args", false, "args=TEXT")                                                        \
	X(VISITS, "visits", true, "visits")                                                        \
	X(ACCEPT, "accept", true, "accept")                                                        \
	X(CAPS, "caps", false, "caps=N")                                                           \
	X(SOCKETS, "sockets", false, "sockets=N")                                                  \
	X(THREADS, "threads", false, "threads=N")                                                  \
	X(RAM, "ram", false, "ram=N")                                                              \
	X(INFLIGHT, "inflight", false, "inflight=N")

enum key {
#define X(key, word, bare, usage) KEY_##key,
	KEYS(X)
#undef X
	KEY_N,
	KEY_QUOTA = KEY_CAPS, /* the first of QUOTA_N_KINDS */
};

/* A set of keys. It is wider than any that is stored or sent: neither is done with one. */
__extension__ typedef unsigned __int128 key_set;

_Static_assert(KEY_N <= 128, "a set of keys has a bit for each");
_Static_assert(KEY_N - KEY_QUOTA == QUOTA_N_KINDS, "each kind of quota is a key");

#define KEY_BIT(key) ((key_set)1 << (key))
#define KEYS_REDUCTIONS                                                                            \
	(KEY_BIT(KEY_RIGHTS) | KEY_BIT(KEY_METHODS) | KEY_BIT(KEY_CALLS) | KEY_BIT(KEY_CONNS) |     \
		KEY_BIT(KEY_RATE) | KEY_BIT(KEY_EXPIRES) | KEY_BIT(KEY_ONLY) | KEY_BIT(KEY_IMMUTABLE))
#define KEYS_QUOTA ((KEY_BIT(QUOTA_N_KINDS) - 1) << KEY_QUOTA)

/* Whose values are texts: each may be given several times, and may be quoted. */
#define KEYS_TEXTS KEY_BIT(KEY_ONLY)

/* Not terminated; P NULL: not there. What stood in quotes is read by word_add() alone. */
struct word {
	const char *p;
	size_t n;
	bool quoted;
};

struct command {
	key_set given; /* the keys that were */
	struct word value[KEY_N]; /* the first, where there are several */
	const char *end; /* of the text */
};

static inline bool
command_has(const struct command *c, enum key key)
{
	return (c->given & KEY_BIT(key)) != 0;
}

/* Is KEY given, with this value? */
bool command_is(const struct command *c, enum key key, const char *value);

/* The first value of KEY, for a W of zeros, and then the one behind W. Returns: is there one? */
bool command_next(const struct command *c, enum key key, struct word *w);

/* Appends what W stands for. */
void word_add(const struct word *w, struct text *t);

const char *key_name(enum key key);
/* As it stands in usages: "to=SESSION". */
const char *key_usage(enum key key);

/*
 * Decodes the N bytes at TEXT, of which only the keys in ALLOWED may occur.
 * Returns: true, or false with the refusal in R (EINVAL).
 */
bool command_parse(struct request *r, const char *text, size_t n, key_set allowed,
	struct command *ret);

/* Is it all printable ASCII, as every command is? Returns: true, or false (refused). */
bool command_is_printable(struct request *r, const char *text, size_t n);

/* The quota kinds among its words; the others are 0. Returns: true, or false (refused). */
bool command_quota(struct request *r, const struct command *c, struct quota *ret);

/* A decimal or 0x… number. Returns: true, or false (refused). */
bool command_number(struct request *r, const struct command *c, enum key key, uint64_t *ret);

/* "yes" or "no"; *RET stays as it is where KEY is not given. Returns: true, or false (refused). */
bool command_yes(struct request *r, const struct command *c, enum key key, bool *ret);

/*
 * "KIND=N,KIND=N…" of the daemon's command line. Kinds that are not named stay as they are, those
 * that are set their bit in *GIVEN, in which none of them may be before.
 * Returns: 0, or -EINVAL with what is wrong in REASON; then nothing has changed.
 */
int quota_parse(const char *text, struct quota *quota, uint32_t *given, struct text *reason);
