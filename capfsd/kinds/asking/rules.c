/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table by pattern and name. What may match a label are the label, each beginning of it, each end of it, and
 * the pattern for all: so many look-ups as it has parts, twice, however many rules there are.
 */
#include "config.h"

#include "capfsd/kinds/asking/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define KEY_BYTES (LABEL_BYTES_MAX + NAME_BYTES_MAX + 8)
#define SEED 0x6361706673706f6cU /* whoever fills the table has written all of it */

CLEANUP_DEFINE(struct rules *, rules_free)

struct rules *
rules_new(const char *text, size_t n)
{
	cleanup(rules_free_p) struct rules *rules = calloc(1, sizeof(*rules));

	if (!rules)
		return NULL;
	/* No more rules than lines. */
	rules->n_max = 1;
	for (size_t i = 0; i < n && rules->n_max < RULES_MAX; i++)
		rules->n_max += text[i] == '\n';
	rules->text = malloc(n + 1);
	rules->rule = calloc(rules->n_max, sizeof(*rules->rule));
	if (!rules->text || !rules->rule || index_reserve(&rules->index, rules->n_max) < 0)
		return NULL;
	rules->bytes = sizeof(*rules) + n + 1 +
		rules->n_max * (sizeof(*rules->rule) + 2 * sizeof(struct index_link *));
	if (n > 0)
		memcpy(rules->text, text, n);
	rules->text[n] = '\0';
	rules->n_text = n;
	return take_ptr(rules);
}

struct rules *
rules_free(struct rules *rules)
{
	if (!rules)
		return NULL;
	/* All of its members go with it. */
	rules->index.n = 0;
	index_deinit(&rules->index);
	for (size_t i = 0; i < rules->n; i++) {
		if (rules->rule[i].how)
			free((char *)(uintptr_t)rules->rule[i].how->only);
		free(rules->rule[i].how);
	}
	free(rules->rule);
	free(rules->text);
	free(rules);
	return NULL;
}

/* BEFORE, the N bytes at P, BEHIND, a blank, and the name: no pattern and no name has one. */
static uint64_t
hash(const char *before, const char *p, size_t n, const char *behind, const char *name, size_t n_name)
{
	char key[KEY_BYTES];
	size_t n_before = strlen(before), n_behind = strlen(behind), length = 0;

	if (n_before + n + n_behind + n_name + 1 > sizeof(key))
		return 0;
	memcpy(key, before, n_before);
	length += n_before;
	memcpy(key + length, p, n);
	length += n;
	memcpy(key + length, behind, n_behind);
	length += n_behind;
	key[length++] = ' ';
	memcpy(key + length, name, n_name);
	return index_hash(SEED, key, length + n_name);
}

static bool
is(const char *a, size_t n_a, const char *b, size_t n_b)
{
	return n_a == n_b && memcmp(a, b, n_a) == 0;
}

static bool
has_pattern(const struct rule *r, const char *before, const char *p, size_t n, const char *behind)
{
	size_t n_before = strlen(before), n_behind = strlen(behind);

	return r->n_pattern == n_before + n + n_behind && memcmp(rule_pattern(r), before, n_before) == 0 &&
		memcmp(rule_pattern(r) + n_before, p, n) == 0 &&
		memcmp(rule_pattern(r) + n_before + n, behind, n_behind) == 0;
}

static const struct rule *
find(const struct rules *rules, const char *before, const char *p, size_t n, const char *behind, const char *name,
	size_t n_name)
{
	struct index_link *l = index_first(&rules->index, hash(before, p, n, behind, name, n_name));

	for (; l; l = index_next(l)) {
		const struct rule *r = container_of(l, struct rule, link);

		if (is(rule_name(r), r->n_name, name, n_name) && has_pattern(r, before, p, n, behind))
			return r;
	}
	return NULL;
}

const struct rule *
rules_same(const struct rules *rules, const struct rule *as)
{
	return find(rules, "", rule_pattern(as), as->n_pattern, "", rule_name(as), as->n_name);
}

/* N of them, each with a 0 behind it. */
static char *
copy_texts(const char *texts, unsigned n, size_t *bytes)
{
	size_t length = 0;
	char *copy;

	for (; n > 0; n--)
		length += strlen(texts + length) + 1;
	copy = malloc(length);
	if (copy) {
		memcpy(copy, texts, length);
		*bytes += length;
	}
	return copy;
}

int
rules_add(struct rules *rules, const struct rule *rule, const struct reductions *how)
{
	struct rule *r = &rules->rule[rules->n];

	if (rules->n == rules->n_max)
		return -E2BIG;
	*r = *rule;
	r->text = rules->text;
	r->how = NULL;
	if (how) {
		r->how = malloc(sizeof(*how));
		if (!r->how)
			return -ENOMEM;
		*r->how = *how;
		rules->bytes += sizeof(*how);
		r->how->only = NULL;
	}
	if (how && how->n_only > 0)
		r->how->only = copy_texts(how->only, how->n_only, &rules->bytes);
	if (how && how->n_only > 0 && !r->how->only) {
		free(r->how);
		return -ENOMEM;
	}
	rules->n++;
	(void)index_add(&rules->index, &r->link, hash("", rule_pattern(r), r->n_pattern, "", rule_name(r), r->n_name));
	return 0;
}

/* The longest first, the label itself among them. */
static const struct rule *
find_beginning(const struct rules *rules, const char *label, size_t n_label, const char *name, size_t n)
{
	const struct rule *r;

	for (size_t i = n_label; i > 0; i--) {
		if (i < n_label && label[i] != '/')
			continue;
		r = find(rules, "", label, i, "/*", name, n);
		if (r)
			return r;
	}
	return NULL;
}

static const struct rule *
find_end(const struct rules *rules, const char *label, size_t n_label, const char *name, size_t n)
{
	const struct rule *r;

	for (size_t i = 0; i < n_label; i++) {
		if (label[i] != '/')
			continue;
		r = find(rules, "*", label + i, n_label - i, "", name, n);
		if (r)
			return r;
	}
	return NULL;
}

const struct rule *
rules_find(const struct rules *rules, const char *label, size_t n_label, const char *name, size_t n)
{
	const struct rule *r = find(rules, "", label, n_label, "", name, n);

	if (!r)
		r = find_beginning(rules, label, n_label, name, n);
	if (!r)
		r = find_end(rules, label, n_label, name, n);
	return r ? r : find(rules, "*", "", 0, "", name, n);
}
