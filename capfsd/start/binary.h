/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program that this process runs, and the one that is installed under its name now. Non-logging. */
#pragma once

#include <limits.h>

/*
 * What we are, as a descriptor for execveat(2), and PATH, unless it is NULL: where what we are to become will be.
 * That is asked once, at the start: later the file that we run may have been replaced. Returns: the descriptor,
 * or -errno.
 */
int binary_find(char path[PATH_MAX]);

/*
 * Opens what is installed at PATH, if it is a program that nobody else can have put there or can change.
 * Returns: NULL with *RET_FD, or why not.
 */
const char *binary_open(const char *path, int *ret_fd);
