/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of argument trees share: a program that is started is this process itself. */
#pragma once

#include <stdint.h>

#include "libcap-client/cap-client.h"

#define PLACE 600 /* where no test has anything open */

capc_args *new_args(void);

/*
 * Opens N bytes as this process's tree, as if it had been started with them; the memfd is closed again.
 * Returns: as capc_args_open().
 */
int open_bytes(const void *data, size_t n, capc_args **ret);

/*
 * Seals A with its first descriptor at FIRST, places these, and opens the tree. unplace() closes them.
 * Frees A.
 */
capc_args *start(capc_args *a, int first, size_t *ret_n_fds);
void unplace(int first, size_t n_fds);

/* The encoded tree; free it. Seals A. */
uint8_t *encoded(capc_args *a, size_t *ret_n);

/* Two are the same, but for the numbers of descriptors where SAME_FDS is not set. */
void assert_same(const capc_args *a, const capc_args *b, const char *path, bool same_fds);

capc_args *yaml(const char *text);

struct capc_value a_string(const char *s);
struct capc_value an_int(int64_t i);
struct capc_value a_fd(int fd);

void set(capc_args *a, const char *path, struct capc_value v);

/* A number below N. */
uint64_t pick(uint64_t *seed, uint64_t n);
/* Of $PROPERTY_SEED, or another one each time; says which. */
uint64_t seed_of_run(void);
