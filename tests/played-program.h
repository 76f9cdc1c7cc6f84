/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread of the test plays a half-started program at the end of a launch pair: it takes what comes, says what
 * it was told to say, and ends. Check knows nothing of threads, so it gives the line that went wrong.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "wire/process.h"

#define PROGRAM_TAKES_ALL (-1)
#define PROGRAM_TAKES_NOTHING (-2) /* not even the hello */
#define PROGRAM_FDS_MAX 4200

struct played_program {
	/* What it does: */
	int takes; /* so many packets after the hello, or as above */
	struct process_answer answers[2];
	size_t n_answers, n_answer_bytes; /* of each; 0: all */
	bool waits; /* then for the end of the pair, instead of making it */
	int full[2]; /* after the hello it expects nothing for a moment, and closes these; 0: no such thing */

	/* What came: */
	bool hello_came, end_came;
	struct process_hello hello;
	struct ucred who;
	char bytes[HELLO_BYTES_MAX];
	size_t n_bytes, n_fds, n_packets, packet_bytes_max, packet_fds_max;
	ino_t files[PROGRAM_FDS_MAX];

	int fd, line;
	pthread_t thread;
};

/* Starts it. Returns: the other end, for the client. */
int played_program_start(struct played_program *p);

/* Waits for it, and asserts that it did what it should. */
void played_program_end(struct played_program *p);
