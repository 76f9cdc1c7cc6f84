/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What several clients see of one server, each a process of its own: how long an operation takes, how
 * many are made, what processors are used for it, and whether all get as much. Ways that are compared
 * take turns in the same run.
 */
#pragma once

#include <sched.h>
#include <stddef.h>
#include <sys/types.h>

#define CLIENTS_MAX 64
#define WAYS_MAX 8

struct way {
	const char *name;
	/* In a new process, which never returns: sets up a client, and gives what OPERATION gets. */
	void *(*connect)(const struct way *way);
	void (*operation)(void *client);
	pid_t server;
	const char *root, *address; /* for `connect` */
	size_t n_bytes;		    /* of what is sent */
	double usec;		    /* for which both sides look before they sleep */
};

struct seen {
	double p50_usec, p99_usec;
	double rate;	 /* operations in a second, of all clients */
	double cpu_usec; /* of one operation, of clients and server */
	double fairness; /* what the busiest got, over what the idlest got */
};

/*
 * Gives for each of N_WAYS the medians of ROUNDS turns of MSEC. SERVERS and CLIENTS are where those
 * may run.
 */
void clients_compare(const struct way *ways, size_t n_ways, size_t n_clients, size_t rounds, unsigned msec,
	const cpu_set_t *servers, const cpu_set_t *clients, struct seen *ret);

/* The processors that this process could use when it first asked. */
cpu_set_t clients_cpus(void);
/* The Nth of them; -1: the last. */
cpu_set_t clients_cpu(int n);
