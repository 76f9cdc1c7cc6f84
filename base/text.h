/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A string that grows: what a node reads as, or a reply. A failed allocation sticks (`failed`), so
 * that a generator appends without looking and its caller checks once, by text_done().
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct text {
	char *data; /* NUL-terminated once anything was added */
	size_t n;
	size_t size;
	bool failed;
};

void text_add_n(struct text *t, const void *data, size_t n);
void text_add(struct text *t, const char *s);
/* As the value of a command: "…", in which a \ stands before each " and \ of the N bytes at DATA. */
void text_add_quoted(struct text *t, const char *data, size_t n);
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vaddf(struct text *t, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Empties the text and forgets a failure; keeps the memory. */
void text_reset(struct text *t);

/* Returns: 0, or -ENOMEM when an addition failed. */
int text_done(const struct text *t);

/* Hands the string over (never NULL when text_done() is 0); the text is empty then. */
char *text_take(struct text *t);

void text_deinit(struct text *t);

#define cleanup_text cleanup(text_deinit)
