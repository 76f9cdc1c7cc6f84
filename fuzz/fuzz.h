/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the fuzzers share. A fuzzer is one function that gets bytes and looks for what must never
 * be: libFuzzer calls it with bytes of its own making, run.c with those of the files that it is
 * given, so that a corpus is a regression test with any compiler.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* As assert(), whatever NDEBUG says. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* What is left of the input. */
struct fuzz_input {
	const uint8_t *p, *end;
};

/* A little-endian number of N_BYTES; what is beyond the end is zero. */
uint64_t fuzz_take(struct fuzz_input *in, unsigned n_bytes);

/* The next *N bytes; *N becomes less where there are less. */
const void *fuzz_take_bytes(struct fuzz_input *in, size_t *n);

/* ENCODED is what decoding DATA and encoding that gave: no message has two forms. */
void fuzz_check_same(const void *data, size_t n, const void *encoded, int n_encoded);

/* How many descriptors are open, of the first thousand. */
unsigned fuzz_count_fds(void);

/*
 * Sends a packet to FD without waiting, as the input says: any bytes, or a call's message with
 * numbers that are likely to matter; with no, some or many descriptors, the first of which may be a
 * payload's memfd, rightly made or not, or a buffer, which is always the same.
 */
void fuzz_send_packet(struct fuzz_input *in, int fd);
