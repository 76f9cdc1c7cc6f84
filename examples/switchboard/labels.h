/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Labels: a set of `key=value`, each key once, sorted by key. Whoever knows less says less: two sets go together
 * when no key has one value here and another one there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LABELS_MAX 16
#define LABEL_BYTES 128 /* of "key=value", terminated */
#define LABELS_TEXT_BYTES (LABELS_MAX * LABEL_BYTES)

struct labels {
	size_t n;
	char label[LABELS_MAX][LABEL_BYTES];
};

/*
 * Adds what N bytes at TEXT have, separated by blanks or line ends. A key is of [A-Za-z0-9._-], a value has no
 * blanks. Returns: 0, -EINVAL (no labels), -E2BIG, -EEXIST (a key that is there has another value); then some may
 * have been added.
 */
int labels_add(struct labels *l, const char *text, size_t n);
/* Returns: 0, -E2BIG, -EEXIST as labels_add(). */
int labels_unite(struct labels *l, const struct labels *more);

/* The value of LABEL's key in L, or NULL: it has none. */
const char *labels_value(const struct labels *l, const char *label);
bool labels_contradict(const struct labels *a, const struct labels *b);
bool labels_contain(const struct labels *all, const struct labels *some);
bool labels_equal(const struct labels *a, const struct labels *b);

/* One after the other with blanks between. Returns: the length. */
size_t labels_format(const struct labels *l, char text[LABELS_TEXT_BYTES]);
