/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "labels.h"

#include <errno.h>
#include <string.h>

static bool
is_key(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		c == '-';
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/* With the '=', by which no key is the beginning of another one. */
static size_t
key_length(const char *label)
{
	return (size_t)(strchr(label, '=') - label) + 1;
}

/* Where the label with this key is, or would be. */
static size_t
place(const struct labels *l, const char *label)
{
	size_t i = 0;

	while (i < l->n && strncmp(l->label[i], label, key_length(label)) < 0)
		i++;
	return i;
}

const char *
labels_value(const struct labels *l, const char *label)
{
	size_t i = place(l, label), n = key_length(label);

	return i < l->n && strncmp(l->label[i], label, n) == 0 ? l->label[i] + n : NULL;
}

static int
insert(struct labels *l, const char *label)
{
	const char *there = labels_value(l, label);
	size_t i = place(l, label);

	if (there)
		return strcmp(there, label + key_length(label)) == 0 ? 0 : -EEXIST;
	if (l->n == LABELS_MAX)
		return -E2BIG;
	memmove(l->label[i + 1], l->label[i], (l->n - i) * LABEL_BYTES);
	strcpy(l->label[i], label);
	l->n++;
	return 0;
}

static int
add_one(struct labels *l, const char *text, size_t n)
{
	char label[LABEL_BYTES];
	size_t n_key = 0;

	if (n >= LABEL_BYTES)
		return -E2BIG;
	while (n_key < n && is_key(text[n_key]))
		n_key++;
	if (n_key == 0 || n_key == n || text[n_key] != '=')
		return -EINVAL;
	for (size_t i = n_key; i < n; i++)
		if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
			return -EINVAL;
	memcpy(label, text, n);
	label[n] = '\0';
	return insert(l, label);
}

int
labels_add(struct labels *l, const char *text, size_t n)
{
	int r = 0;

	while (r == 0 && n > 0) {
		size_t length = 0;

		while (length < n && !is_blank(text[length]))
			length++;
		if (length > 0)
			r = add_one(l, text, length);
		else
			length = 1;
		text += length;
		n -= length;
	}
	return r;
}

int
labels_unite(struct labels *l, const struct labels *more)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < more->n; i++)
		r = insert(l, more->label[i]);
	return r;
}

bool
labels_contradict(const struct labels *a, const struct labels *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const char *other = labels_value(b, a->label[i]);

		if (other && strcmp(other, a->label[i] + key_length(a->label[i])) != 0)
			return true;
	}
	return false;
}

bool
labels_contain(const struct labels *all, const struct labels *some)
{
	for (size_t i = 0; i < some->n; i++) {
		const char *value = labels_value(all, some->label[i]);

		if (!value || strcmp(value, some->label[i] + key_length(some->label[i])) != 0)
			return false;
	}
	return true;
}

bool
labels_equal(const struct labels *a, const struct labels *b)
{
	return a->n == b->n && labels_contain(a, b);
}

size_t
labels_format(const struct labels *l, char text[LABELS_TEXT_BYTES])
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0)
			text[n++] = ' ';
		strcpy(text + n, l->label[i]);
		n += strlen(text + n);
	}
	return n;
}
