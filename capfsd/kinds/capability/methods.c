/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets of methods as a few ranges. Each function leaves them in the one form that a set has, sorted
 * and with a gap between any two, so that records with equal sets have equal bytes and comparing
 * two sets is comparing memory.
 *
 * Nothing here allocates or stores; a set is a value, of which the record has a copy.
 */
#include "config.h"

#include "capfsd/kinds/capability/methods.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

/*
 * Without a gap between them they are one range. Differences instead of sums, since a last method
 * of UINT32_MAX has none behind it; where `first` is 0 the other side of the comparison holds
 * already.
 */
static bool
ranges_touch(const struct method_range *a, const struct method_range *b)
{
	return (a->first <= b->last || a->first - 1 == b->last) &&
		(b->first <= a->last || b->first - 1 == a->last);
}

static void
remove_range(struct methods *m, uint32_t i)
{
	m->n--;
	memmove(&m->range[i], &m->range[i + 1], (m->n - i) * sizeof(m->range[0]));
	m->range[m->n] = (struct method_range){};
}

/*
 * Whatever touches the new range is taken into it first, so that what is inserted has a gap on both
 * sides. A set that is full is left as it was.
 */
bool
methods_add(struct methods *m, uint32_t first, uint32_t last)
{
	struct method_range new = {first, last};
	uint32_t at = 0;

	for (uint32_t i = 0; i < m->n;) {
		const struct method_range old = m->range[i];

		if (!ranges_touch(&old, &new)) {
			i++;
			continue;
		}
		new.first = old.first < new.first ? old.first : new.first;
		new.last = old.last > new.last ? old.last : new.last;
		remove_range(m, i);
	}
	if (m->n == METHODS_MAX)
		return false;
	while (at < m->n && m->range[at].first < new.first)
		at++;
	memmove(&m->range[at + 1], &m->range[at], (m->n - at) * sizeof(m->range[0]));
	m->range[at] = new;
	m->n++;
	return true;
}

/* All methods have two forms, one range or none; the record has the second. */
void
methods_finish(struct methods *m)
{
	if (m->n == 1 && m->range[0].first == 0 && m->range[0].last == UINT32_MAX)
		*m = (struct methods){};
}

/*
 * Made again from its ranges, it must come out the same: whatever else there is to be wrong with it
 * shows.
 */
bool
methods_are_valid(const struct methods *m)
{
	struct methods same = {};

	if (m->n > METHODS_MAX)
		return false;
	for (uint32_t i = 0; i < m->n; i++)
		if (m->range[i].first > m->range[i].last ||
			!methods_add(&same, m->range[i].first, m->range[i].last))
			return false;
	methods_finish(&same);
	return methods_equal(m, &same);
}

/*
 * As each of its ranges lies within one of the other's: a range that is covered by two of them
 * together cannot be, since there is a gap between any two.
 */
bool
methods_contain(const struct methods *all, const struct methods *some)
{
	if (all->n == 0)
		return true;
	if (some->n == 0)
		return false;
	for (uint32_t i = 0; i < some->n; i++) {
		uint32_t k = 0;

		while (k < all->n && (some->range[i].first < all->range[k].first ||
					     some->range[i].last > all->range[k].last))
			k++;
		if (k == all->n)
			return false;
	}
	return true;
}

/* What is left between the ranges of SOME, of each range of ALL. Numbers of 64 bits, since there is one behind the last. */
static bool
add_gaps(struct methods *m, uint64_t first, uint64_t last, const struct methods *some)
{
	for (uint32_t i = 0; i < some->n && first <= last; i++) {
		const struct method_range *gone = &some->range[i];

		if (gone->last < first)
			continue;
		if (gone->first > first &&
			!methods_add(m, (uint32_t)first,
				gone->first > last ? (uint32_t)last : gone->first - 1))
			return false;
		first = (uint64_t)gone->last + 1;
	}
	return first > last || methods_add(m, (uint32_t)first, (uint32_t)last);
}

bool
methods_without(const struct methods *all, const struct methods *some, struct methods *ret)
{
	struct methods m = {};

	if (some->n == 0 || (all->n == 0 && !add_gaps(&m, 0, UINT32_MAX, some)))
		return false;
	for (uint32_t i = 0; i < all->n; i++)
		if (!add_gaps(&m, all->range[i].first, all->range[i].last, some))
			return false;
	*ret = m;
	return m.n > 0;
}

bool
methods_equal(const struct methods *a, const struct methods *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

void
methods_format(const struct methods *m, struct text *t)
{
	for (uint32_t i = 0; i < m->n; i++) {
		text_addf(t, "%s%" PRIu32, i > 0 ? "," : "", m->range[i].first);
		if (m->range[i].last > m->range[i].first)
			text_addf(t, "-%" PRIu32, m->range[i].last);
	}
}
