/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How reductions are written. A limit that nobody would keep is refused rather than stored: whoever
 * grants with it relies on it.
 *
 * Whether a reduction is one, compared with what the source has, is for the kind to say (derive.c).
 * Here it is only decoded, and everything that could never be meant is refused with a reason.
 */
#include "config.h"

#include "capfsd/ops/reductions.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/number.h"
#include "capfsd/ops/request.h"

/* "call,grant": each by its name. A list that ends in a comma was cut off, and is not taken. */
static bool
parse_rights(struct request *r, const struct word *w, uint32_t *ret)
{
	const char *p = w->p, *end = w->p + w->n;
	uint32_t rights = 0;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t n = comma ? (size_t)(comma - p) : (size_t)(end - p);
		uint32_t right = right_find(p, n);

		if (!right)
			return refuse(r, EINVAL, "there is no right '%.*s'", (int)n, p);
		rights |= right;
		p += n + (comma != NULL);
	}
	if (!rights || (w->n > 0 && w->p[w->n - 1] == ','))
		return refuse(r, EINVAL, "'rights=' names no right");
	*ret = rights;
	return true;
}

/* N or LO-HI. */
static bool
parse_range(const char *p, size_t n, struct methods *m)
{
	const char *dash = memchr(p, '-', n);
	size_t n_first = dash ? (size_t)(dash - p) : n;
	uint64_t first, last;

	if (number_parse(p, n_first, false, &first) < 0)
		return false;
	last = first;
	if (dash && number_parse(dash + 1, n - n_first - 1, false, &last) < 0)
		return false;
	return first <= last && last <= UINT32_MAX &&
		methods_add(m, (uint32_t)first, (uint32_t)last);
}

/* Instead of a number: there is no limit of its own, which is one that its source must have none of either. */
static bool
is_none(const struct word *w, const char *word)
{
	return w->n == strlen(word) && memcmp(w->p, word, w->n) == 0;
}

/* At most METHODS_MAX ranges, since they stand in a record of a fixed length. */
static bool
parse_methods(struct request *r, const struct word *w, struct methods *ret)
{
	const char *p = w->p, *end = w->p + w->n;
	struct methods m = {};

	*ret = m;
	if (is_none(w, "all"))
		return true;
	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		if (!parse_range(p, (size_t)((comma ? comma : end) - p), &m))
			return refuse(r, EINVAL,
				"'methods' is N or LO-HI, or up to %d of these with commas",
				METHODS_MAX);
		if (!comma)
			break;
		p = comma + 1;
	}
	methods_finish(&m);
	*ret = m;
	return true;
}

/* "none" is LIMIT_NONE, which no number may be. A limit of 0 could never be used. */
static bool
parse_limit(struct request *r, const struct command *c, enum key key, uint64_t *ret)
{
	*ret = LIMIT_NONE;
	if (is_none(&c->value[key], "none"))
		return true;
	if (!command_number(r, c, key, ret))
		return false;
	return (*ret && *ret != LIMIT_NONE) || refuse(r, EINVAL, "a limit is a number above 0");
}

/* N/s: so many in a second. The unit is written, so that nobody takes it for a minute's. */
static bool
parse_rate(struct request *r, const struct word *w, uint64_t *ret)
{
	uint64_t n;

	*ret = LIMIT_NONE;
	if (is_none(w, "none"))
		return true;
	if (w->n < 3 || memcmp(w->p + w->n - 2, "/s", 2) != 0 ||
		number_parse(w->p, w->n - 2, false, &n) < 0 || n < 1 || n > RATE_MAX)
		return refuse(r, EINVAL, "'rate' is N/s, from 1/s to %u/s", (unsigned)RATE_MAX);
	*ret = n;
	return true;
}

#define TIME_BYTES 20 /* 2026-01-31T12:00:00Z */

/*
 * All of it, and of a day that there is: strptime() takes the 31st of February, and timegm() makes
 * a day in March of it, which is seen when it is written again. Returns: 0 or -EINVAL.
 */
static int
parse_time(const struct word *w, uint64_t *ret_usec)
{
	char text[TIME_BYTES + 1], same[TIME_BYTES + 1];
	struct tm tm = {};
	const char *end;
	time_t t;

	if (w->n != TIME_BYTES)
		return -EINVAL;
	memcpy(text, w->p, w->n);
	text[w->n] = '\0';
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	t = end && !*end ? timegm(&tm) : -1;
	if (t < 0 || !strftime(same, sizeof(same), "%Y-%m-%dT%H:%M:%SZ", &tm) ||
		strcmp(same, text) != 0)
		return -EINVAL;
	*ret_usec = (uint64_t)t * 1000000;
	return 0;
}

/* "90", "90s", "15m", "1h". Returns: 0; -EINVAL; -ERANGE, too many microseconds. */
static int
parse_duration(const struct word *w, uint64_t *ret_usec)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
	uint64_t number, usec_each = 1000000;
	size_t n = w->n;

	for (size_t i = 0; n > 1 && n == w->n && i < sizeof(units) / sizeof(units[0]); i++)
		if (w->p[n - 1] == units[i].unit) {
			usec_each *= units[i].seconds;
			n--;
		}
	if (number_parse(w->p, n, false, &number) < 0)
		return -EINVAL;
	return __builtin_mul_overflow(number, usec_each, ret_usec) ? -ERANGE : 0;
}

/*
 * SECONDS from now, or an instant as 2026-01-31T12:00:00Z. What is over already would make a
 * capability that is dead when it is born. The largest number means "never" in records, so no
 * instant may be that.
 */
static bool
parse_expires(struct request *r, const struct word *w, uint64_t *ret)
{
	uint64_t now = r->model->now_usec(), usec;
	int e;

	*ret = LIMIT_NONE;
	if (is_none(w, "never"))
		return true;
	e = parse_duration(w, &usec);
	if (e != -EINVAL) {
		if (e < 0 || !number_add(now, usec, ret) || *ret == LIMIT_NONE)
			return refuse(r, EINVAL, "'expires' is too far away");
	} else if (parse_time(w, ret) < 0) {
		return refuse(r, EINVAL,
			"'expires' is neither seconds nor a time as 2026-01-31T12:00:00Z");
	}
	if (*ret <= now)
		return refuse(r, EINVAL, "'expires' is not in the future");
	return true;
}

/* Each with a 0 behind it. Memory that is wanting is told by who uses it. */
static bool
parse_only(struct request *r, const struct command *c, struct text *only, struct reductions *how)
{
	struct word w = {};

	while (command_next(c, KEY_ONLY, &w)) {
		size_t start = only->n;

		word_add(&w, only);
		text_add_n(only, "", 1);
		if (text_done(only) < 0)
			return refuse(r, ENOMEM, "the daemon is out of memory");
		if (!caveat_is_valid(only->data + start, only->n - start - 1))
			return refuse(r, EINVAL, "a caveat has at most %d characters", CAVEAT_BYTES_MAX);
		how->n_only++;
	}
	how->only = only->data;
	return true;
}

bool
command_reductions(struct request *r, const struct command *c, struct text *only, struct reductions *ret)
{
	struct reductions how = {
		.has_rights = command_has(c, KEY_RIGHTS),
		.has_methods = command_has(c, KEY_METHODS),
		.has_calls = command_has(c, KEY_CALLS),
		.has_conns = command_has(c, KEY_CONNS),
		.has_rate = command_has(c, KEY_RATE),
		.has_expires = command_has(c, KEY_EXPIRES),
		.immutable = command_has(c, KEY_IMMUTABLE),
	};

	if (how.has_rights && !parse_rights(r, &c->value[KEY_RIGHTS], &how.rights))
		return false;
	if (how.has_methods && !parse_methods(r, &c->value[KEY_METHODS], &how.methods))
		return false;
	if (how.has_calls && !parse_limit(r, c, KEY_CALLS, &how.calls))
		return false;
	if (how.has_conns && !parse_limit(r, c, KEY_CONNS, &how.conns))
		return false;
	if (how.has_rate && !parse_rate(r, &c->value[KEY_RATE], &how.rate))
		return false;
	if (how.has_expires && !parse_expires(r, &c->value[KEY_EXPIRES], &how.expires_usec))
		return false;
	if (!parse_only(r, c, only, &how))
		return false;
	*ret = how;
	return true;
}

/* For usages, which show only what would be taken. */
key_set
reductions_unkept(const struct capability *c)
{
	static const struct {
		enum key key;
		enum kept_limit limit;
	} limits[] = {
		{KEY_METHODS, KEPT_METHODS},
		{KEY_CALLS, KEPT_CALLS},
		{KEY_CONNS, KEPT_CONNS},
		{KEY_RATE, KEPT_RATE},
		{KEY_ONLY, KEPT_CAVEATS},
	};
	const uint32_t kept = capability_type(c)->limits(c).kept;
	key_set keys = 0;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (!(kept & limits[i].limit))
			keys |= KEY_BIT(limits[i].key);
	return keys;
}

/* Refused rather than stored without effect: whoever grants with a limit relies on it. */
bool
reductions_can_be_kept(
	struct request *r, const struct capability *c, const struct reductions *how)
{
	const struct kept_limits limits = capability_type(c)->limits(c);
	const char *limit = reductions_not_kept(how, limits.kept);

	return !limit ||
		refuse(r, EOPNOTSUPP, "the limit '%s' cannot be kept for %s%s", limit,
			c->entity.name, limits.why);
}
