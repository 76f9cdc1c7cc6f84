/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What passes between fs/ and conversation/ for caps/SLOT/call, and between fs/ and asking/ for `request` and
 * `yield`: the open files are those of the one, what is said in them the others'. An open file is known to both
 * by its handle.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALL_BYTES_MAX 65536 /* of a request, and of a reply that is one packet */

enum {
	CALL_E_NONE = 1, /* nothing was asked on this open file */
	CALL_E_WAIT,     /* nothing is there to be read; `ready` tells when there may be */
};

struct node;
struct request;

/* A READ. What it consumes is committed under its number: sent again, it gets the same. */
struct call_read {
	uint64_t handle, unique;
	bool resent;
	char *buffer;
	size_t size, n; /* N: what it gets, 0: the end */
};

/*
 * The conversations of open files. The replies of the first two stand in R.
 * Returns: 0, CALL_E_*; -errno for what ends the daemon.
 */
struct calls {
	size_t bytes_max; /* of one request */
	/* One request. It is sent at once, and at most once. */
	int (*write)(void *data, struct request *r, struct node node, uint64_t handle, const void *bytes,
		size_t n);
	/* Some of its reply, or the end of that. */
	int (*read)(void *data, struct request *r, struct node node, struct call_read *read);
	/* Is there one, perhaps of a file that this broker has not met yet? */
	bool (*exists)(void *data, uint64_t handle);
	/* The file was closed. There may have been no conversation. */
	void (*end)(void *data, uint64_t handle);
	/*
	 * That READ waits until UNTIL_USEC. Returns: until when it does, which is earlier when it waited
	 * before and is sent again, and another time where the answer has one of its own.
	 */
	uint64_t (*wait)(void *data, const struct call_read *read, uint64_t until_usec);
	/* A read was not answered in time. */
	void (*give_up)(void *data, uint64_t handle);
	/* Is there anything to be read? If not fs/ is told when there may be. */
	bool (*poll)(void *data, uint64_t handle);
};
