/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	workers NAME THREADS
 *
 * A service whose calls take their time: "3" works for three seconds and answers "worked". One thread serves, and
 * each of THREADS takes the oldest call that waits and answers it by itself. What nobody waits for any more is left
 * off.
 */
#include <cap-client.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct job {
	struct job *next;
	capc_request *request;
	int seconds;
} *first, **last = &first;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;

/* What M carries could be read by the worker as well: it lasts as long as R. */
static void
enqueue(capc_request *r, struct capc_msg *m, void *data)
{
	struct job *job = malloc(sizeof(*job));

	(void)data;
	if (!job) {
		capc_reply_error(r, ENOMEM, NULL);
		return;
	}
	*job = (struct job){.request = r, .seconds = atoi(m->data)};
	pthread_mutex_lock(&mutex);
	*last = job;
	last = &job->next;
	pthread_cond_signal(&more);
	pthread_mutex_unlock(&mutex);
}

static struct job *
dequeue(void)
{
	struct job *job;

	pthread_mutex_lock(&mutex);
	while (!first)
		pthread_cond_wait(&more, &mutex);
	job = first;
	first = job->next;
	if (!first)
		last = &first;
	pthread_mutex_unlock(&mutex);
	return job;
}

static void *
work(void *data)
{
	(void)data;
	for (;;) {
		struct job *job = dequeue();

		while (job->seconds > 0 && !capc_cancelled(job->request))
			job->seconds -= sleep(1) == 0;
		if (job->seconds > 0)
			printf("left off\n");
		capc_reply(job->request, &(struct capc_msg){.data = "worked", .n_data = 6});
		free(job);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	int n = argc == 3 ? atoi(argv[2]) : 0, r;
	capc_entrypoint *e = NULL;
	capc_session *s = NULL;
	capc_how *how = NULL;

	if (n < 1) {
		fprintf(stderr, "usage: workers NAME THREADS\n");
		return 2;
	}
	setlinebuf(stdout);
	for (int i = 0; i < n; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, NULL) != 0)
			return EXIT_FAILURE;
	}
	r = capc_session_open(NULL, CAPC_TIMEOUT_USEC, &s);
	if (r == 0)
		r = capc_attach(s, argv[1], 0, &e);
	if (r == 0)
		r = capc_how_new(&how);
	if (r == 0)
		r = capc_how_add(how, "as", argv[1]);
	if (r == 0)
		r = capc_object_add(e, 1, enqueue, NULL, capc_how_text(how), NULL);
	while (r >= 0)
		r = capc_serve(e, CAPC_FOREVER);
	fprintf(stderr, "workers: %s %s\n", strerror(-r), s ? capc_session_reason(s) : "");
	return EXIT_FAILURE;
}
