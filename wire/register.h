/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a thread says over the socket that a WIRE_REGISTER gave it (doc/PROTOCOL): who sends it is the thread, by
 * the word of the kernel, whoever had the socket before. A packet each, in the machine's order.
 */
#pragma once

#include <stdint.h>

#define REGISTER_MAGIC 0x31686170u

/* First of all; it stays in the queue as long as the thread is registered. */
struct register_hello {
	uint32_t magic;
	uint32_t reserved;
};

/* The answer: an errno, 0: it is a thread of the session now. */
struct register_answer {
	int32_t error;
	uint32_t reserved;
};

/* Anything more, of one byte: it is one no longer, while its process goes on. */
#define REGISTER_LEAVES_BYTES 1
