/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A model over a store in memory, for tests without root: the store can be made to fail at any of
 * its calls, and a model can be written down as a text, so that "nothing has changed" and "the same
 * after a restart" are comparisons of strings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/model/model.h"

#define MINUTE_USEC UINT64_C(60000000)

/* A store in memory; what a transaction wrote is seen only after its commit. */
struct stub {
	struct index records;
	struct list staged;
	bool active;
	uint64_t fail_after; /* so many calls succeed before one fails, UINT64_MAX: all */
	int fail_error;
	bool full;           /* nothing new is taken; what is there can be replaced and dropped */
	uint64_t n_commits, n_calls;
};

extern const struct store_ops stub_store_ops;

struct stub *stub_new(void);
struct stub *stub_free(struct stub *s);
/* All records, in order of keys, to EACH until it does not return 0, and returns that. */
int stub_scan(struct stub *s, int (*each)(void *data, uint64_t key, const void *record, size_t n),
	void *data);
/* Replaces a record behind everybody's back. */
void stub_set(struct stub *s, uint64_t key, const void *data, size_t n);

/* What the hooks told. */
struct told {
	uint64_t n_changed, n_gone, n_restricted, n_logged;
	uint64_t last_gone, last_restricted;
};

struct world {
	struct stub *store;
	struct model *model;
	struct told told;
	struct quota limit;
};

/* A new model with a root of plenty. */
void world_init(struct world *w);
void world_deinit(struct world *w);
/* A new model from what the store has. Returns what model_load() or model_load_done() did. */
int world_restart(struct world *w);
/* model_reap() until nothing is left, and model_check(). */
void world_reap(struct world *w);

/* Everything that a restart must bring back, one thing a line. */
char *world_describe(const struct world *w);

/* The clock that the models of tests go by, in microseconds. */
void world_set_now(uint64_t usec);
uint64_t world_now(void);

/* One change each, which must succeed. */
struct session *make_session(struct world *w, struct session *parent, const char *name,
	const struct quota *donation);
struct entrypoint *make_entrypoint(struct world *w, struct session *s, const char *name);
/* An object of EP with a first slot in EP's session. */
struct capability *make_origin(struct world *w, struct entrypoint *ep, uint64_t key,
	const char *name);
/* Logs an event in S that is called "note", with this text. */
void log_text(struct model *m, struct session *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* … or is the refusal of it, for EPERM. */
void log_refusal(struct model *m, struct session *s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

struct capability *make_grant(struct world *w, struct capability *source, struct session *to,
	const char *name, const struct reductions *how);
void end_capability(struct world *w, struct capability *c);

/* One change each: the answer, which must not be a negative errno; undone if not 0. */
int try_session(struct world *w, struct session *parent, const char *name,
	const struct quota *donation, struct session **ret, enum quota_kind *ret_kind);
int try_grant(struct world *w, struct capability *source, struct session *to, const char *name,
	const struct reductions *how, struct capability **ret);
int try_reduce(struct world *w, struct capability *c, const struct reductions *how);
int try_transfer(struct world *w, struct session *from, struct session *to,
	const struct quota *amount, enum quota_kind *ret_kind);
int try_connect(struct world *w, struct capability *c);
int try_close(struct world *w, struct session *s);
int try_attach(struct world *w, struct session *s, const char *name, uint32_t flags,
	struct entrypoint **ret);
/* Ends the change under way: commits it when ANSWER is 0. Returns: ANSWER. */
int finish(struct change *ch, int answer);
