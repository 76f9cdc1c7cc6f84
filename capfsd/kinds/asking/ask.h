/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ask: something that one session wants of another, which decides. Of its parent a session wants a
 * capability or quota (`request`), and a parent wants quota back of a child (`yield`). It waits until it is
 * answered or its time is over, and ends with the open file, or the control request, that waits for the answer.
 *
 * It belongs to the session in whose tree it was asked, and who asks pays for it; who decides finds it in
 * session.asked. What the answer does, the verbs stage; here is what is known of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/index.h"
#include "base/list.h"
#include "capfsd/kinds/capability/methods.h"
#include "capfsd/model/entity.h"
#include "capfsd/model/quota.h"

struct change;
struct kind;
struct reductions;
struct session;

extern const struct kind ask_kind;

#define ASKS_MAX 16 /* that one session has made; and so many yields, answered ones with it */
#define ASK_TEXT_BYTES 192
#define ASK_GRACE_USEC UINT64_C(10000000) /* so long an answer waits for a control request that is gone */

enum ask_what {
	ASK_SLOT,  /* its name is that of the slot */
	ASK_QUOTA,
	ASK_YIELD, /* asked by the parent, and decided by the session itself */
	ASK_N,
};

enum ask_state {
	ASK_WAITING,
	ASK_ANSWERED,
};

/* Who waits for the answer: an open file, or a request of a control connection. */
struct asker {
	uint64_t instance; /* of the mount, or of the daemon, in which these numbers mean something */
	uint64_t handle;   /* 0: no file */
	uint64_t connection, serial;
};

struct ask_record {
	uint64_t session;
	struct asker asker;
	uint64_t since_usec, until_usec; /* CLOCK_REALTIME */
	uint64_t calls, conns, rate, expires_usec; /* as `given` says */
	struct quota amount;
	uint64_t read_unique; /* the READ that got some of the answer last … */
	uint32_t read_offset, read_last; /* … and how far that went, and how much of it was its part */
	uint32_t rights, uid;
	uint32_t given; /* enum ask_given */
	uint32_t error; /* the answer is this refusal; 0: it was given */
	uint32_t n_methods;
	uint8_t what, state, type;
	uint8_t n_text; /* of `text`, not terminated: "slot=net", or why not */
	struct method_range methods[METHODS_MAX];
	char text[ASK_TEXT_BYTES];
};

struct ask {
	struct entity entity; /* its name is that of what is wanted; several may have the same */
	struct ask_record record;
	struct session *session;
	struct list asked_link;        /* session.asked of who decides, while it waits; in the order of ids */
	struct list due_link;          /* model.asks, in the order of what is due */
	struct index_link asker_link;  /* model.by_asker */
	/* asking/'s. */
	struct list waiters;   /* of who is told of the answer: control requests */
	struct list news_link; /* something has become of it, and its file is to be told */
	bool abandoned;        /* nobody waits for it any more */
};

static inline struct ask *
ask_of(const struct entity *e)
{
	return container_of((struct entity *)(uintptr_t)e, struct ask, entity);
}

/* Who decides; NULL: nobody, who asks is the root. */
struct session *ask_decider(const struct session *s, enum ask_what what);
/* When something is to be done about it: its time is over, or who asked has not come for the answer. */
uint64_t ask_due(const struct ask *a);

/* The one of this open file, or of this request. NULL: none. */
struct ask *ask_find_file(struct model *m, uint64_t handle);
struct ask *ask_find_request(struct model *m, uint64_t connection, uint64_t serial);
/* The next one that a connection waits for, after A; NULL: from the start, or no more. */
struct ask *ask_next_of(struct model *m, uint64_t connection, struct ask *a);

/* How many S has made that are there; YIELDS: how many were made of it. */
unsigned ask_count(const struct session *s, bool yields);
/* What S was asked to give back, and has not answered. NULL: nothing. */
struct ask *ask_find_yield(const struct session *s);

/* As a record has it, and back. */
void ask_set_reductions(struct ask_record *record, const struct reductions *how);
void ask_reductions(const struct ask_record *record, struct reductions *ret);
/* The answer, cut to what there is room for. */
void ask_set_text(struct ask_record *record, uint32_t error, const char *text, size_t n);

/*
 * Stages one of S, whose RECORD has what is asked, and perhaps the answer. Returns: 0, QUOTA_E_EXCEEDED: ram of who
 * asks; -errno.
 */
int ask_add(struct change *ch, struct session *s, const char *name, size_t n, const struct ask_record *record,
	struct ask **ret);
/* Stages the answer. Returns: 0 or -ENOMEM. */
int ask_answer(struct change *ch, struct ask *a, uint32_t error, const char *text, size_t n);
