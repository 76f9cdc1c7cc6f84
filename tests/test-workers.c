/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P11 */
/* Requests that are answered by any thread, while one serves, clients leave, and the entrypoint is detached. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include "tests/fixture.h"
#include "tests/played-daemon.h"

#define KEY 7
#define WORKERS 8
#define CLIENTS 4
#define CALLS 400

static capc_entrypoint *e;
static struct capc_msg reply;
static unsigned n_left, n_disconnected;

static void
setup(void)
{
	fixture_setup();
	ck_assert_int_eq(capc_entrypoint_new(&e), 0);
}

static void
teardown(void)
{
	fixture_teardown();
}

static int
connected(const struct capc_caller *caller, void **ret_data, void *data)
{
	*ret_data = &n_disconnected;
	return 0;
}

/* One of them may be just answered. */
static void
cancelled(capc_request *r, void *data)
{
	ck_assert(capc_cancelled(r));
}

static void
disconnected(const struct capc_caller *caller, int error, void *data)
{
	++*(unsigned *)caller->data;
}

static const struct capc_handlers handlers = {
	.size = sizeof(handlers),
	.connected = connected,
	.cancelled = cancelled,
	.disconnected = disconnected,
};

static capc *
client_new(void)
{
	int fds[2];
	capc *c;

	played_pair(SOCK_SEQPACKET, fds);
	ck_assert_int_eq(capc_serve_fd(e, KEY, fds[0]), 0);
	ck_assert_int_eq(capc_from_fd(fds[1], &c), 0);
	return c;
}

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	capc_request *jobs[4096];
	const struct capc_msg *messages[4096];
	size_t first, last;
	bool over;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
enqueue(capc_request *r, struct capc_msg *m, void *data)
{
	pthread_mutex_lock(&pool.mutex);
	pool.messages[pool.last % 4096] = m;
	pool.jobs[pool.last++ % 4096] = r;
	pthread_cond_signal(&pool.changed);
	pthread_mutex_unlock(&pool.mutex);
}

/* Reads what the request carries, and answers by itself. Some refuse, some are large. */
static void *
work(void *data)
{
	for (;;) {
		const struct capc_msg *m;
		capc_request *r;

		pthread_mutex_lock(&pool.mutex);
		while (pool.first == pool.last && !pool.over)
			pthread_cond_wait(&pool.changed, &pool.mutex);
		if (pool.first == pool.last) {
			pthread_mutex_unlock(&pool.mutex);
			return NULL;
		}
		m = pool.messages[pool.first % 4096];
		r = pool.jobs[pool.first++ % 4096];
		pthread_mutex_unlock(&pool.mutex);
		if (capc_cancelled(r))
			__atomic_add_fetch(&n_left, 1, __ATOMIC_RELAXED);
		if (m->code == 1)
			capc_reply_error(r, EAGAIN, capc_caller(r)->label);
		else
			capc_reply(r, m);
	}
}

static void *
serve(void *data)
{
	while (capc_serve(e, CAPC_FOREVER) >= 0)
		continue;
	return NULL;
}

static void
end(capc_request *r, struct capc_msg *m, void *data)
{
	capc_reply(r, NULL);
	capc_detach(e);
}

/* Some clients leave with their calls under way. */
static void *
client_run(void *data)
{
	static char large[100000];
	capc *c = data;
	uint64_t serial;

	for (unsigned i = 0; i < CALLS; i++) {
		struct capc_msg m = {.code = i % 7 == 0, .data = large, .n_data = i % 16 ? 4 : sizeof(large)}, got;

		ck_assert_int_eq(capc_call(c, &m, &got, LONG), m.code ? -EAGAIN : 0);
		ck_assert_uint_eq(got.n_data, m.code ? 0 : m.n_data);
		capc_msg_done(&got);
	}
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(capc_call_start(c, &(struct capc_msg){}, &serial), 0);
	capc_free(c);
	return NULL;
}

START_TEST(P11_any_thread_answers)
{
	pthread_t workers[WORKERS], clients[CLIENTS], server;
	capc *c[CLIENTS], *last;
	int fds[2];

	ck_assert_int_eq(capc_object_add(e, KEY, enqueue, NULL, NULL, NULL), 0);
	ck_assert_int_eq(capc_entrypoint_set_handlers(e, &handlers, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		c[i] = client_new();
	ck_assert_int_eq(capc_object_add(e, KEY + 1, end, NULL, NULL, NULL), 0);
	played_pair(SOCK_SEQPACKET, fds);
	ck_assert_int_eq(capc_serve_fd(e, KEY + 1, fds[0]), 0);
	ck_assert_int_eq(capc_from_fd(fds[1], &last), 0);
	for (int i = 0; i < WORKERS; i++)
		ck_assert_int_eq(pthread_create(&workers[i], NULL, work, NULL), 0);
	ck_assert_int_eq(pthread_create(&server, NULL, serve, NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		ck_assert_int_eq(pthread_create(&clients[i], NULL, client_run, c[i]), 0);
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	/* Workers may still answer what has no client, and then no entrypoint. */
	ck_assert_int_eq(capc_call(last, &(struct capc_msg){}, &reply, LONG), 0);
	pthread_join(server, NULL);
	e = NULL;
	capc_msg_done(&reply);
	capc_free(last);
	pthread_mutex_lock(&pool.mutex);
	pool.over = true;
	pthread_cond_broadcast(&pool.changed);
	pthread_mutex_unlock(&pool.mutex);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	ck_assert_uint_eq(n_disconnected, CLIENTS + 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("workers");
	TCase *t = tcase_create("workers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, P11_any_thread_answers);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
