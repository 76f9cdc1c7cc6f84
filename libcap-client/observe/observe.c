/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library tells of itself: its version, what this process has done by it, and each step while it is done.
 *
 * Counters are of the process, since a program has many connections, short-lived ones among them. Each is a word of
 * its own, counted without an order: whoever reads them while others count gets a number of now or of a moment before.
 */
#include "config.h"

#include <string.h>

#include "libcap-client/observe/observe.h"
#include "libcap-client/private.h"

static struct capc_counters counters;

/* DATA is written first, and read last. */
static capc_trace_handler *trace_handler;
static void *trace_data;

static void
count(uint64_t *counter, uint64_t n)
{
	if (n > 0)
		__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void
trace(const struct capc_trace *t)
{
	capc_trace_handler *f = __atomic_load_n(&trace_handler, __ATOMIC_ACQUIRE);

	if (f)
		f(t, __atomic_load_n(&trace_data, __ATOMIC_RELAXED));
}

void
observe_sent(int fd, const struct wire_call *call, size_t n_fds)
{
	bool is_call = call->type == WIRE_CALL;

	if (!is_call && call->type != WIRE_RETURN)
		return;
	count(is_call ? &counters.calls_sent : &counters.replies_sent, 1);
	if (!is_call && call->code)
		count(&counters.refusals_sent, 1);
	count(&counters.bytes_sent, call->n_payload);
	count(&counters.fds_sent, n_fds);
	trace(&(struct capc_trace){.what = is_call ? CAPC_TRACE_CALL_SENT : CAPC_TRACE_REPLY_SENT,
		.fd = fd, .code = call->code, .serial = call->serial, .n_data = call->n_payload, .n_fds = n_fds});
}

void
observe_received(int fd, const struct wire_call *call, size_t n_fds)
{
	bool is_call = call->type == WIRE_CALL;

	if (!is_call && call->type != WIRE_RETURN)
		return;
	count(is_call ? &counters.calls_received : &counters.replies_received, 1);
	if (!is_call && call->code)
		count(&counters.refusals_received, 1);
	count(&counters.bytes_received, call->n_payload);
	count(&counters.fds_received, n_fds);
	trace(&(struct capc_trace){.what = is_call ? CAPC_TRACE_CALL_RECEIVED : CAPC_TRACE_REPLY_RECEIVED,
		.fd = fd, .code = call->code, .serial = call->serial, .n_data = call->n_payload, .n_fds = n_fds});
}

void
observe_connected(int fd)
{
	count(&counters.connections, 1);
	trace(&(struct capc_trace){.what = CAPC_TRACE_CONNECTED, .fd = fd});
}

void
observe_reconnected(int fd)
{
	count(&counters.reconnections, 1);
	trace(&(struct capc_trace){.what = CAPC_TRACE_RECONNECTED, .fd = fd});
}

void
observe_client(int fd)
{
	count(&counters.clients, 1);
	trace(&(struct capc_trace){.what = CAPC_TRACE_CLIENT, .fd = fd});
}

unsigned
capc_version(void)
{
	return CAPC_VERSION;
}

/* Members are words, so one by one is whole. A caller of a later version gets zeros for what is not counted here. */
void
capc_counters(struct capc_counters *ret, size_t size)
{
	const uint64_t *from = (const uint64_t *)&counters;
	uint64_t *to = (uint64_t *)ret;
	size_t n = (size < sizeof(counters) ? size : sizeof(counters)) / sizeof(*to);

	memset(ret, 0, size);
	for (size_t i = 0; i < n; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void
capc_set_trace(capc_trace_handler *f, void *data)
{
	__atomic_store_n(&trace_data, data, __ATOMIC_RELAXED);
	__atomic_store_n(&trace_handler, f, __ATOMIC_RELEASE);
}

/* --- names that say what is done; those of before stay for programs that have them --- */

int
capc_call_ready(struct capc *c, uint64_t *ret_serial)
{
	return capc_call_done(c, ret_serial);
}

void
capc_msg_clear(struct capc_msg *m)
{
	capc_msg_done(m);
}
