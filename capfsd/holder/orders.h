/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the holder hears from the keeper while no broker is there to hear it, and what it says.
 *
 * The broker may have put anything under the number of the keeper's socket. So nothing is read there
 * before the kernel has said that it still is the socket that it was, and never while a broker lives.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capfsd/process/boot.h"
#include "capfsd/process/records.h"

/* Returns: what the keeper's socket is known by, KEEPER below. Called before there is a broker. */
uint64_t orders_keeper(void);

/* Is the keeper's socket where it was? */
bool orders_keeper_is_there(uint64_t keeper);

/* It may have nobody to read it, if a broker has put something else there. Returns: 0 or -errno. */
int orders_tell(const struct boot *boot, enum keeper_type type);

/*
 * Waits for the keeper's word what to do without a broker; what it had said to the broker of before is
 * void. *RET_BINARY is the binary to become when RET says BECOME, else -1. Returns: 0 or -errno.
 */
int orders_receive(struct keeper_record *ret, int *ret_binary);

/* Why a pause between two brokers was over. */
enum orders_pause {
	ORDERS_PAUSE_OVER,   /* its time is, or the keeper cannot wait (HOLDER_SIGNAL_HANGS) */
	ORDERS_PAUSE_WANTED, /* the queue has something that only a broker can do, at once */
	ORDERS_PAUSE_ALONE,  /* the keeper wants a broker to pause, and there is none */
};

/*
 * Lies still until UNTIL_USEC (CLOCK_MONOTONIC), but obeys: a binder that the keeper sends takes the place
 * of the one before, for the next broker. KEEPER_STOP and KEEPER_COPY stay in the queue, since only a
 * broker knows which connections to shut down, and has the state.
 */
enum orders_pause orders_pause(uint64_t keeper, uint64_t until_usec);

/* Takes away what a broker was wanted for, when none lives to do it. Returns: an enum keeper_type, 0. */
uint32_t orders_drop(uint64_t keeper);
