/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "base/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Makes room for N bytes and the NUL. */
static bool
text_reserve(struct text *t, size_t n)
{
	size_t size = t->size ? t->size : 128;
	char *data;

	if (t->failed)
		return false;
	if (n > SIZE_MAX / 4 - t->n) {
		t->failed = true;
		return false;
	}
	while (size < t->n + n + 1)
		size *= 2;
	if (size == t->size)
		return true;
	data = realloc(t->data, size);
	if (!data) {
		t->failed = true;
		return false;
	}
	t->data = data;
	t->size = size;
	return true;
}

void
text_add_n(struct text *t, const void *data, size_t n)
{
	if (!text_reserve(t, n))
		return;
	if (n > 0)
		memcpy(t->data + t->n, data, n);
	t->n += n;
	t->data[t->n] = '\0';
}

void
text_add(struct text *t, const char *s)
{
	text_add_n(t, s, strlen(s));
}

void
text_add_quoted(struct text *t, const char *data, size_t n)
{
	text_add(t, "\"");
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '"' || data[i] == '\\')
			text_add(t, "\\");
		text_add_n(t, data + i, 1);
	}
	text_add(t, "\"");
}

void
text_vaddf(struct text *t, const char *format, va_list args)
{
	va_list again;
	int n;

	if (!text_reserve(t, 64))
		return;
	va_copy(again, args);
	n = vsnprintf(t->data + t->n, t->size - t->n, format, args);
	if (n < 0) {
		t->failed = true;
	} else if ((size_t)n < t->size - t->n) {
		t->n += (size_t)n;
	} else if (text_reserve(t, (size_t)n)) {
		vsnprintf(t->data + t->n, t->size - t->n, format, again);
		t->n += (size_t)n;
	}
	va_end(again);
}

void
text_addf(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vaddf(t, format, args);
	va_end(args);
}

void
text_reset(struct text *t)
{
	t->n = 0;
	t->failed = false;
	if (t->data)
		t->data[0] = '\0';
}

int
text_done(const struct text *t)
{
	return t->failed ? -ENOMEM : 0;
}

char *
text_take(struct text *t)
{
	char *data = t->data;

	if (!data && !t->failed)
		data = strdup("");
	*t = (struct text){};
	return data;
}

void
text_deinit(struct text *t)
{
	free(t->data);
	*t = (struct text){};
}
