/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A list, as there are never more than a few. Memory is counted as it was allocated, not as it is used:
 * a text that has grown has up to twice what it needs.
 */
#include "config.h"

#include "base/kept.h"

#include <stdlib.h>

#include "base/text.h"

struct kept_text {
	struct list link; /* kept.texts */
	uint64_t number, since_usec;
	struct text text;
};

void
kept_init(struct kept *k)
{
	*k = (struct kept){};
	list_init(&k->texts);
}

static void
kept_text_free(struct kept *k, struct kept_text *t)
{
	list_unlink(&t->link);
	k->n--;
	k->n_bytes -= t->text.size;
	text_deinit(&t->text);
	free(t);
}

void
kept_deinit(struct kept *k)
{
	list_for_each_safe (i, &k->texts)
		kept_text_free(k, list_entry(i, struct kept_text, link));
}

static struct kept_text *
find(const struct kept *k, uint64_t number)
{
	list_for_each (i, &k->texts) {
		struct kept_text *t = list_entry(i, struct kept_text, link);

		if (t->number == number)
			return t;
	}
	return NULL;
}

void
kept_drop(struct kept *k, uint64_t number)
{
	struct kept_text *t = find(k, number);

	if (t)
		kept_text_free(k, t);
}

void
kept_put(struct kept *k, uint64_t number, uint64_t now_usec, struct text *text)
{
	struct kept_text *t = text->size <= KEPT_BYTES_MAX ? malloc(sizeof(*t)) : NULL;

	kept_drop(k, number);
	if (!t) {
		text_deinit(text);
		return;
	}
	while (k->n == KEPT_MAX || (k->n > 0 && k->n_bytes + text->size > KEPT_BYTES_MAX))
		kept_text_free(k, list_entry(list_first(&k->texts), struct kept_text, link));
	*t = (struct kept_text){.number = number, .since_usec = now_usec, .text = *text};
	*text = (struct text){};
	list_append(&k->texts, &t->link);
	k->n++;
	k->n_bytes += t->text.size;
}

bool
kept_copy(const struct kept *k, uint64_t number, uint64_t now_usec, struct text *text)
{
	const struct kept_text *t = find(k, number);

	if (!t || now_usec - t->since_usec > KEPT_USEC)
		return false;
	text_add_n(text, t->text.data, t->text.n);
	return text_done(text) == 0;
}

size_t
kept_length(const struct kept *k, uint64_t number)
{
	const struct kept_text *t = find(k, number);

	return t ? t->text.n : 0;
}
