/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-restart NODE HOLDER STORE
 *
 * kill -9 of the broker until the next answer (a read of NODE) against one scan of the same store by
 * LMDB itself.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"

#define SCAN_MAP_BYTES ((size_t)4 << 30)

struct restart {
	const char *node;
	pid_t holder;
	pid_t broker;
};

static void
restart_find(void *data)
{
	struct restart *r = data;

	r->broker = bench_broker(r->holder);
	if (!r->broker)
		bench_die("no broker");
	usleep(300000);
}

static void
run_restart(void *data)
{
	struct restart *r = data;
	char buffer[256];
	int fd;

	if (kill(r->broker, SIGKILL) < 0)
		bench_die("kill");
	fd = open(r->node, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buffer, sizeof(buffer)) <= 0)
		bench_die(r->node);
	close(fd);
}

static void
scan_check(int r, const char *what)
{
	if (r != 0 && r != MDB_NOTFOUND) {
		fprintf(stderr, "bench: %s: %s\n", what, mdb_strerror(r));
		exit(2);
	}
}

/* Reads every byte of every record, as whoever loads them must. */
static void
run_scan(void *data)
{
	unsigned char sum = 0;
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	scan_check(mdb_env_create(&env), "env");
	scan_check(mdb_env_set_mapsize(env, SCAN_MAP_BYTES), "map");
	scan_check(mdb_env_open(env, data, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK, 0), data);
	scan_check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	scan_check(mdb_dbi_open(txn, NULL, 0, &dbi), "dbi");
	scan_check(mdb_cursor_open(txn, dbi, &cursor), "cursor");
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0)
		for (size_t i = 0; i < value.mv_size; i++)
			sum ^= ((const unsigned char *)value.mv_data)[i];
	__asm__ volatile("" ::"r"(sum)); /* keeps the loop */
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	mdb_env_close(env);
}

int
main(int argc, char **argv)
{
	struct restart r = {};
	double a, b;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-restart NODE HOLDER STORE\n");
		return 2;
	}
	r.node = argv[1];
	r.holder = (pid_t)atoi(argv[2]);
	restart_find(&r);
	bench_pair(&(struct bench_side){run_restart, &r, restart_find},
		&(struct bench_side){run_scan, argv[3], NULL}, &(struct bench_plan){15, 1, 1}, &a, &b);
	return bench_report("restart with 2^17 capabilities / one scan of the store", a, b, 40);
}
