/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of argument trees as text: the YAML of capfs-args(5), which reads as the same value. */
#pragma once

#include <stddef.h>

#include "base/text.h"
#include "libcap-client/cap-client.h"

/*
 * The YAML in a file; "-" is stdin. What is longer than a tree's text may be is cut off one byte behind that, and
 * refused as such. Returns: 0, or an exit status, having said why.
 */
int value_read(const char *file, struct text *t);

/* A scalar, or a sequence or map without items. A descriptor is "!fd 3". */
void value_add(struct text *t, const struct capc_value *v);

/* For a program: strings and bytes as they are, a descriptor as its number. */
void value_add_raw(struct text *t, const struct capc_value *v);

/* "string", "int". */
const char *value_type(const struct capc_value *v);

/* A key, in quotes unless it is a plain word. */
void value_add_key(struct text *t, const char *key);
