/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How errors travel. A function that returns int gives
 *
 *	0		done
 *	-errno		fatal for the caller, who passes it up unchanged through error_trace()
 *	MODULE_E_X > 0	a documented answer of this one function, which its caller must handle
 */
#pragma once

#include <stddef.h>

#include <errno.h>

#include "base/log.h"

/* Where an error began: logs it at debug level with its place and returns it. */
int error_trace_at(int r, const char *file, int line);
#define error_trace(r) error_trace_at((r), __FILE__, __LINE__)

/* "EPERM" for EPERM and -EPERM, "E?" for what has no name. */
const char *error_name(int error);
/* The errno whose name is the N bytes at NAME, "ENOENT". Returns: 0, there is none. */
int error_number(const char *name, size_t n);
