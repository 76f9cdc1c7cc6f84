/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the store to the model. It owns nothing: state and model are the caller's. It is run before
 * a broker reads any request, and in the trial of another binary. It never repairs anything: with a
 * state that does not fit the daemon does not start, as half of a state would give out rights that were
 * taken back, and an empty one would take everybody's.
 */
#include "config.h"

#include "capfsd/broker/loading.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"
#include "capfsd/verbs/asking/policy.h"

/*
 * Bounds of the map's size: a small quota must leave room for events and replies, and no more than
 * this can be mapped everywhere.
 */
#define STORE_BYTES_MIN (UINT64_C(256) << 20)
#define STORE_BYTES_MAX (sizeof(void *) > 4 ? UINT64_C(64) << 30 : UINT64_C(512) << 20)
#define STORE_BYTES_CAP 4096 /* a capability with its share of everything else */

/*
 * Gives one record of the store to the model; those of the fronts they read by themselves, when
 * they are there.
 */
static int
load_record(void *data, uint64_t key, const void *record, size_t n)
{
	enum store_space space = STORE_KEY_SPACE(key);

	if (space != STORE_HEADER && space != STORE_ENTITY && space != STORE_EVENT &&
		space != STORE_LATER)
		return 0;
	return model_load(data, key, record, n);
}

/*
 * The status says that starting another broker is no use: the state stays as it is, and every start ends
 * here until somebody has decided what is to become of it.
 */
static int
refuse_state(int answer, const char *reason)
{
	if (answer == STATE_E_DAMAGED)
		log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STATE_DAMAGED}),
			"%s; start with --discard-damaged-state to begin with an empty tree", reason);
	else
		log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STATE_REFUSED}), "%s", reason);
	return BROKER_EXIT_REFUSED;
}

/*
 * As large as it can become with all quota used, so that a store is full only when quota is;
 * address space costs nothing. LMDB cannot grow the map while it is in use.
 */
static size_t
store_bytes(const struct quota *q)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(q->n[QUOTA_CAPS], STORE_BYTES_CAP, &bytes) ||
		__builtin_add_overflow(bytes, q->n[QUOTA_RAM], &bytes) || bytes > STORE_BYTES_MAX)
		return (size_t)STORE_BYTES_MAX;
	return (size_t)(bytes < STORE_BYTES_MIN ? STORE_BYTES_MIN : bytes);
}

/*
 * Records come in order of their ids, so that whatever one refers to is there already. One that
 * refers to nothing, though its checksum is right, counts as damage. The root's limit is set each
 * time, as the command line or the machine may have changed.
 */
static int
load_model(const struct boot *boot, struct state *state, struct model **ret, char **ret_reason)
{
	int r;

	r = model_new(&state_store_ops, state, ret);
	if (r < 0)
		return error_trace(r);
	if (state_is_new(state))
		return model_create_root(*ret, boot->owner_uid, boot->owner_gid, SESSION_MODE_ROOT,
			&boot->root_quota);
	r = state_scan(state, load_record, *ret, ret_reason);
	if (r == 0)
		r = model_load_done(*ret);
	if (r == 0)
		r = policies_make(*ret);
	if (r == -EBADMSG)
		r = state_damaged(state, "a record does not fit the others", ret_reason);
	if (r != 0)
		return r < 0 ? error_trace(r) : r;
	return model_set_root_limit(*ret, &boot->root_quota);
}

/*
 * A state that was there for the broker before and is not now was deleted under the running daemon.
 * Going on with an empty one would revoke everything without a word, while clients still have its
 * connections.
 */
static int
load(const struct boot *boot, struct state **ret, struct model **ret_model, char **ret_reason)
{
	int r = state_open(boot->run_dir, store_bytes(&boot->root_quota), ret, ret_reason);

	if (r == 0 && boot->page->stored && state_is_new(*ret)) {
		if (asprintf(ret_reason, "the state in %s has vanished under the running daemon",
			    boot->run_dir) < 0)
			return -ENOMEM;
		return STATE_E_VERSION;
	}
	return r == 0 ? load_model(boot, *ret, ret_model, ret_reason) : r;
}

/*
 * The administrator's word is about what lies there at the start. What is damaged later, under a daemon
 * that has served it, nobody has seen yet.
 */
static bool
may_discard(const struct boot *boot)
{
	return boot->discard_damaged && !boot->page->stored;
}

static int
discard(const struct boot *boot, const char *reason)
{
	cleanup_free char *name = NULL;
	int r = state_set_aside(boot->run_dir, &name);

	if (r < 0)
		return error_trace(r);
	log_event(LOG_WARNING, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STATE_DAMAGED}),
		"%s; it is kept as %s, and the tree is empty now", reason, name);
	return 0;
}

int
loading_store(const struct boot *boot, struct state **ret, struct model **ret_model)
{
	cleanup_free char *reason = NULL;
	int r = load(boot, ret, ret_model, &reason);

	if (r == STATE_E_DAMAGED && may_discard(boot)) {
		*ret_model = model_free(*ret_model);
		*ret = state_free(*ret);
		r = discard(boot, reason);
		free(take_ptr(reason));
		if (r == 0)
			r = load(boot, ret, ret_model, &reason);
	}
	return r > 0 ? refuse_state(r, reason) : r;
}

/* A damage in a copy is no damage of the state. */
int
loading_copy(const struct boot *boot, int fd, struct state **ret, struct model **ret_model)
{
	cleanup_free char *reason = NULL;
	int r = state_open_copy(fd, store_bytes(&boot->root_quota), ret, &reason);

	if (r == 0)
		r = load_model(boot, *ret, ret_model, &reason);
	if (r <= 0)
		return r;
	log_message(LOG_ERR, "%s", reason);
	return BROKER_EXIT_REFUSED;
}

/* The machine may be about to go off: what was promised is to be there when it comes back. */
void
loading_sync(struct state *state)
{
	int r = state_sync(state);

	if (r < 0)
		log_message(LOG_ERR, "the state may not be on the disk: %s", strerror(-r));
}
