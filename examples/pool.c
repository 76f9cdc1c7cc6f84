/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	pool NAME WORKERS
 *
 * Workers behind one entrypoint, for a protocol of its own: each connection is a conversation of lines, of
 * which each comes back in capitals, behind the worker's number. One thread takes connections and gives
 * each to one of WORKERS threads that is free; while none is, nothing is taken, and clients wait in the
 * order in which they came.
 */
#include <cap-client.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int fd; /* a connection that nobody has yet, or -1 */
	int n_free;
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -1, 0};

static void
converse(int fd, long worker)
{
	char line[1024], reply[1100];
	FILE *f = fdopen(dup(fd), "r");

	while (f && fgets(line, sizeof(line), f)) {
		int n = snprintf(reply, sizeof(reply), "%ld: %s", worker, line);

		for (char *p = reply; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		if (send(fd, reply, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	}
	if (f)
		fclose(f);
	capc_raw_close(fd);
}

static void *
work(void *data)
{
	for (;;) {
		int fd;

		pthread_mutex_lock(&pool.mutex);
		pool.n_free++;
		pthread_cond_broadcast(&pool.changed);
		while (pool.fd < 0)
			pthread_cond_wait(&pool.changed, &pool.mutex);
		fd = pool.fd;
		pool.fd = -1;
		pool.n_free--;
		pthread_cond_broadcast(&pool.changed);
		pthread_mutex_unlock(&pool.mutex);
		converse(fd, (long)data);
	}
	return NULL;
}

/* Gives it to whoever is free, and returns when there is somebody for the next one. */
static void
give(int fd, const struct capc_caller *caller, void *data)
{
	(void)caller;
	(void)data;
	pthread_mutex_lock(&pool.mutex);
	pool.fd = fd;
	pthread_cond_broadcast(&pool.changed);
	while (pool.fd >= 0 || pool.n_free == 0)
		pthread_cond_wait(&pool.changed, &pool.mutex);
	pthread_mutex_unlock(&pool.mutex);
}

int
main(int argc, char **argv)
{
	long n = argc == 3 ? atol(argv[2]) : 0;
	capc_session *s = NULL;
	capc_entrypoint *e = NULL;
	char how[128];
	int r;

	if (n < 1) {
		fprintf(stderr, "usage: pool NAME WORKERS\n");
		return 2;
	}
	for (long i = 1; i <= n; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, (void *)i) != 0)
			return EXIT_FAILURE;
	}
	snprintf(how, sizeof(how), "as=%s socket=stream", argv[1]);
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[1], 0, &e);
	if (r == 0)
		r = capc_accept_raw(e, give, NULL);
	if (r == 0)
		r = capc_object_add(e, 1, NULL, NULL, how, NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "pool: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	return EXIT_FAILURE;
}
