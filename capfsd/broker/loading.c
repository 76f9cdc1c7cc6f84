/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/broker/loading.h"

#include <errno.h>
#include <stdint.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "capfsd/process/boot.h"
#include "capfsd/process/messages.h"
#include "capfsd/process/records.h"

#define STORE_BYTES_MIN (UINT64_C(256) << 20)
#define STORE_BYTES_MAX (sizeof(void *) > 4 ? UINT64_C(64) << 30 : UINT64_C(512) << 20)
#define STORE_BYTES_CAP 4096 /* a capability with its share of everything else */

/* Gives one record of the store to the model; those of the fronts are read by themselves. */
static int
load_record(void *data, uint64_t key, const void *record, size_t n)
{
	enum store_space space = STORE_KEY_SPACE(key);

	if (space != STORE_HEADER && space != STORE_ENTITY && space != STORE_EVENT)
		return 0;
	return model_load(data, key, record, n);
}

static int
refuse_state(int answer, const char *reason)
{
	const char *id = answer == STATE_E_DAMAGED ? MESSAGE_STATE_KEPT_ASIDE
						   : MESSAGE_STATE_REFUSED;

	log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", id}), "%s", reason);
	return BROKER_EXIT_REFUSED;
}

/* As large as it can become with all quota used; address space costs nothing. */
static size_t
store_bytes(const struct quota *q)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(q->n[QUOTA_CAPS], STORE_BYTES_CAP, &bytes) ||
		__builtin_add_overflow(bytes, q->n[QUOTA_RAM], &bytes) || bytes > STORE_BYTES_MAX)
		return (size_t)STORE_BYTES_MAX;
	return (size_t)(bytes < STORE_BYTES_MIN ? STORE_BYTES_MIN : bytes);
}

int
loading_open(const struct boot *boot, struct state **ret)
{
	cleanup_free char *reason = NULL;
	int r;

	r = state_open(boot->run_dir, store_bytes(&boot->root_quota), ret, &reason);
	if (r == 0 && boot->page->stored && state_is_new(*ret)) {
		log_event(LOG_CRIT, LOG_FIELDS({"MESSAGE_ID", MESSAGE_STATE_REFUSED}),
			"the state in %s has vanished under the running daemon", boot->run_dir);
		return BROKER_EXIT_REFUSED;
	}
	return r > 0 ? refuse_state(r, reason) : r;
}

int
loading_open_copy(const struct boot *boot, int fd, struct state **ret)
{
	cleanup_free char *reason = NULL;
	int r = state_open_copy(fd, store_bytes(&boot->root_quota), ret, &reason);

	if (r <= 0)
		return r;
	log_message(LOG_ERR, "%s", reason);
	return BROKER_EXIT_REFUSED;
}

int
loading_model(const struct boot *boot, struct state *state, struct model **ret)
{
	cleanup_free char *reason = NULL;
	int r;

	r = model_new(&state_store_ops, state, ret);
	if (r < 0)
		return error_trace(r);
	if (state_is_new(state))
		return model_create_root(*ret, boot->owner_uid, boot->owner_gid, SESSION_MODE_ROOT,
			&boot->root_quota);
	r = state_scan(state, load_record, *ret, &reason);
	if (r == 0)
		r = model_load_done(*ret);
	if (r == -EBADMSG)
		r = state_set_aside(state, "a record does not fit the others", &reason);
	if (r == STATE_E_DAMAGED)
		return refuse_state(r, reason);
	return r < 0 ? error_trace(r) : model_set_root_limit(*ret, &boot->root_quota);
}
