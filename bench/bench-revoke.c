/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-revoke ROOT SLOT SESSION CAPABILITIES CONNECTIONS CPU
 *
 * The revocation of a slot from which a tree of capabilities was derived, with connections through some of them,
 * against a loop that shuts as many sockets down and deletes as many records of an LMDB. And what it costs others
 * meanwhile: the longest request of another client's, against the median of its requests. The loop runs on CPU, which
 * is the daemon's: how fast two CPUs are at a time may differ by half.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define TIMEOUT_USEC UINT64_C(120000000)
#define ROUNDS 5
#define WIDTH 1000	 /* children of each capability in the middle */
#define RECORD_BYTES 240 /* a capability's, as it is stored */
#define MAP_BYTES ((size_t)1 << 30)
#define REQUESTS_MAX (1 << 20)

struct tree {
	capc_session *session;
	const char *root, *slot, *to;
	long n, n_connections;
	int *fds;
};

static void
command(struct tree *t, const char *node, const char *text)
{
	bench_check(capc_write(t->session, node, text, NULL, TIMEOUT_USEC), text);
}

/* The slot's copy, from it what stands in the middle, and from each of these WIDTH. */
static void
plant(struct tree *t)
{
	char node[256], text[128];

	snprintf(node, sizeof(node), "caps/%s/replicate", t->slot);
	command(t, node, "as=tree");
	for (long i = 0; i < t->n; i++) {
		if (i % WIDTH == 0) {
			snprintf(text, sizeof(text), "to=%s as=m%ld rights=call,replicate", t->to, i / WIDTH);
			command(t, "caps/tree/grant", text);
			snprintf(node, sizeof(node), "sessions/%s/caps/m%ld/replicate", t->to, i / WIDTH);
		}
		snprintf(text, sizeof(text), "as=l%ld", i);
		command(t, node, text);
	}
	for (long i = 0; i < t->n_connections; i++) {
		snprintf(node, sizeof(node), "%s/sessions/%s/caps/l%ld/socket", t->root, t->to,
			i * (t->n / t->n_connections));
		t->fds[i] = bench_connect(node);
	}
}

struct other {
	pthread_t thread;
	capc_session *session;
	const char *root;
	bool stop, quiet;
	double *usec;
	size_t n;
};

/* One request after the other, and how long each took. */
static void *
run_other(void *data)
{
	struct other *o = data;

	while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE) && o->n < REQUESTS_MAX) {
		uint64_t begin = bench_now_nsec();
		char *text = NULL;

		bench_check(capc_read(o->session, "label", &text, TIMEOUT_USEC), "label");
		free(text);
		o->usec[o->n++] = (double)(bench_now_nsec() - begin);
		usleep(100);
	}
	return NULL;
}

static void
others_begin(struct other *o)
{
	o->n = 0;
	o->stop = false;
	if (pthread_create(&o->thread, NULL, run_other, o) != 0)
		bench_die("pthread_create");
}

static void
others_end(struct other *o)
{
	__atomic_store_n(&o->stop, true, __ATOMIC_RELEASE);
	pthread_join(o->thread, NULL);
}

static double
longest(const struct other *o)
{
	double most = 0;

	for (size_t i = 0; i < o->n; i++)
		most = o->usec[i] > most ? o->usec[i] : most;
	return most;
}

static double
fell(struct tree *t, struct other *o, double *ret_longest)
{
	uint64_t begin;
	double nsec;
	char byte;

	plant(t);
	others_begin(o);
	begin = bench_now_nsec();
	command(t, "caps/tree/revoke", "self");
	nsec = (double)(bench_now_nsec() - begin);
	others_end(o);
	*ret_longest = longest(o);
	for (long i = 0; i < t->n_connections; i++) {
		if (recv(t->fds[i], &byte, 1, MSG_DONTWAIT) != 0)
			bench_die("a connection that is still there");
		close(t->fds[i]);
	}
	return nsec;
}

static void
lmdb(int r, const char *what)
{
	if (r != 0) {
		errno = r > 0 ? r : EIO;
		bench_die(what);
	}
}

static void
go_to(const cpu_set_t *cpus)
{
	if (sched_setaffinity(0, sizeof(*cpus), cpus) < 0)
		bench_die("sched_setaffinity");
}

/* The records lie as they do in the state, with the same options. */
static double
peer(const struct tree *t, MDB_env *env)
{
	char record[RECORD_BYTES] = "";
	MDB_txn *txn;
	MDB_dbi dbi;
	int (*pairs)[2] = calloc((size_t)t->n_connections, sizeof(*pairs));
	uint64_t begin, nsec;

	lmdb(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
	lmdb(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), "mdb_dbi_open");
	for (uint64_t i = 0; i < (uint64_t)t->n; i++)
		lmdb(mdb_put(txn, dbi, &(MDB_val){sizeof(i), &i}, &(MDB_val){sizeof(record), record}, 0),
			"mdb_put");
	lmdb(mdb_txn_commit(txn), "mdb_txn_commit");
	for (long i = 0; i < t->n_connections; i++)
		if (!pairs || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) < 0)
			bench_die("socketpair");
	begin = bench_now_nsec();
	for (long i = 0; i < t->n_connections; i++)
		shutdown(pairs[i][0], SHUT_RDWR);
	lmdb(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
	for (uint64_t i = 0; i < (uint64_t)t->n; i++)
		lmdb(mdb_del(txn, dbi, &(MDB_val){sizeof(i), &i}, NULL), "mdb_del");
	lmdb(mdb_txn_commit(txn), "mdb_txn_commit");
	nsec = bench_now_nsec() - begin;
	for (long i = 0; i < t->n_connections; i++) {
		close(pairs[i][0]);
		close(pairs[i][1]);
	}
	free(pairs);
	return (double)nsec;
}

static MDB_env *
peer_open(char *directory)
{
	MDB_env *env;

	if (!mkdtemp(directory))
		bench_die(directory);
	lmdb(mdb_env_create(&env), "mdb_env_create");
	lmdb(mdb_env_set_mapsize(env, MAP_BYTES), "mdb_env_set_mapsize");
	lmdb(mdb_env_open(env, directory, MDB_NOSYNC | MDB_NOLOCK, 0600), "mdb_env_open");
	return env;
}

static void
peer_close(MDB_env *env, const char *directory)
{
	char path[256];

	mdb_env_close(env);
	snprintf(path, sizeof(path), "%s/data.mdb", directory);
	unlink(path);
	rmdir(directory);
}

int
main(int argc, char **argv)
{
	double ours[ROUNDS], peers[ROUNDS], most[ROUNDS], usual;
	cpu_set_t own, cpu;
	char directory[] = "/dev/shm/bench-revoke-XXXXXX";
	struct other o = {};
	struct tree t;
	MDB_env *env;
	int worse;

	if (argc != 7) {
		fprintf(stderr, "usage: bench-revoke ROOT SLOT SESSION CAPABILITIES CONNECTIONS CPU\n");
		return 2;
	}
	t = (struct tree){.root = argv[1], .slot = argv[2], .to = argv[3], .n = atol(argv[4]),
		.n_connections = atol(argv[5])};
	CPU_ZERO(&cpu);
	CPU_SET(atoi(argv[6]), &cpu);
	if (sched_getaffinity(0, sizeof(own), &own) < 0)
		bench_die("sched_getaffinity");
	t.fds = calloc((size_t)t.n_connections, sizeof(*t.fds));
	o.usec = calloc(REQUESTS_MAX, sizeof(*o.usec));
	if (!t.fds || !o.usec)
		bench_die("calloc");
	bench_check(capc_session_open(argv[1], TIMEOUT_USEC, &t.session), argv[1]);
	bench_check(capc_session_open(argv[1], TIMEOUT_USEC, &o.session), argv[1]);
	env = peer_open(directory);
	others_begin(&o);
	usleep(1000000);
	others_end(&o);
	usual = bench_median(o.usec, o.n);
	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = fell(&t, &o, &most[i]);
		go_to(&cpu);
		peers[i] = peer(&t, env);
		go_to(&own);
	}
	peer_close(env, directory);
	worse = bench_report("revocation of a tree with connections / shutdown and mdb_del",
		bench_median(ours, ROUNDS), bench_median(peers, ROUNDS), 5.0);
	worse |= bench_report("another client's longest request meanwhile / its median",
		bench_median(most, ROUNDS), usual, 20.0);
	free(t.fds);
	free(o.usec);
	return worse;
}
