/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page that the holder shares with all its brokers, one after the other (MAP_SHARED, anonymous). The
 * broker writes what it is about to do, so that the next one knows of what it has died; the holder writes
 * what it has seen of that death; the counters of `metrics` go on over it.
 *
 * It goes from one binary to the next (succession.h): it grows at its end only, and what an older binary
 * did not have reads as 0. It holds no pointer and nothing that a client could read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/model/counters.h"

#define BOOT_SERVED_MAX 1024 /* requests in service at a time, where the kernel repeats none */
/* Pollers that are woken when a broker takes over: those in `polls`, and all. */
#define BOOT_POLLS_MAX 256
#define BOOT_ALL_POLLS 2048
/* Records of connections that the store does not have, and the length of each. */
#define BOOT_PLACES 384
#define BOOT_PLACE_WORDS 9

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
	struct more_counters more; /* of verbs that `counters` has no place for */
	uint64_t turns;            /* rounds of the broker's loop; the holder looks whether it grows */
	uint64_t more_polls[BOOT_ALL_POLLS - BOOT_POLLS_MAX];
	uint64_t storing; /* the broker is in a transaction of the store */
	uint64_t places[BOOT_PLACES][BOOT_PLACE_WORDS]; /* see listeners/memos.c; the first word 0: free */
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

/*
 * Called by the holder when a broker has died. BLAMED: by what it did, and not because somebody from
 * outside has killed it, which says nothing about the request that it was at. Returns: is that one
 * refused from here on?
 */
static inline bool
boot_page_died(struct boot_page *p, bool blamed)
{
	uint64_t request = p->executing;
	bool again = blamed && request && request == p->crashed;

	if (again)
		p->poisoned = request;
	if (blamed)
		p->crashed = request;
	p->executing = 0;
	return again;
}
