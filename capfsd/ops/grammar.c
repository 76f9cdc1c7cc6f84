/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/ops/grammar.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/number.h"
#include "capfsd/ops/request.h"

static const char *const key_names[KEY_N] = {
	[KEY_TO] = "to",
	[KEY_FROM] = "from",
	[KEY_AS] = "as",
	[KEY_RIGHTS] = "rights",
	[KEY_METHODS] = "methods",
	[KEY_CALLS] = "calls",
	[KEY_CONNS] = "conns",
	[KEY_RATE] = "rate",
	[KEY_EXPIRES] = "expires",
	[KEY_IMMUTABLE] = "immutable",
	[KEY_ALL] = "1",
	[KEY_SELF] = "self",
	[KEY_ID] = "id",
	[KEY_KEY] = "key",
	[KEY_SOCKET] = "socket",
	[KEY_REMOVE] = "remove",
	[KEY_PROTOCOL] = "protocol",
	[KEY_ONCE] = "once",
	[KEY_MODE] = "mode",
	[KEY_HOLD] = "hold",
	[KEY_QUOTA + QUOTA_CAPS] = "caps",
	[KEY_QUOTA + QUOTA_SOCKETS] = "sockets",
	[KEY_QUOTA + QUOTA_THREADS] = "threads",
	[KEY_QUOTA + QUOTA_RAM] = "ram",
	[KEY_QUOTA + QUOTA_INFLIGHT] = "inflight",
};

#define KEYS_BARE (1u << KEY_IMMUTABLE | 1u << KEY_ALL | 1u << KEY_SELF | 1u << KEY_ONCE)

static bool
word_is(const char *word, size_t n, const char *name)
{
	return strlen(name) == n && memcmp(word, name, n) == 0;
}

static enum key
key_find(const char *word, size_t n)
{
	enum key key = 0;

	while (key < KEY_N && !word_is(word, n, key_names[key]))
		key++;
	return key;
}

bool
command_is(const struct command *c, enum key key, const char *value)
{
	return command_has(c, key) && word_is(c->value[key].p, c->value[key].n, value);
}

static bool
command_add(struct request *r, struct command *c, uint32_t allowed, const char *word, size_t n)
{
	const char *equals = memchr(word, '=', n);
	size_t n_key = equals ? (size_t)(equals - word) : n;
	enum key key = key_find(word, n_key);

	if (key == KEY_N || !(allowed & 1u << key))
		return refuse(r, EINVAL, "unknown key '%.*s'", (int)n_key, word);
	if (!equals != !!(KEYS_BARE & 1u << key) || (equals && n_key + 1 == n))
		return refuse(r, EINVAL,
			KEYS_BARE & 1u << key ? "'%s' takes no value" : "'%s' needs a value",
			key_names[key]);
	if (command_has(c, key))
		return refuse(r, EINVAL, "'%s' is given twice", key_names[key]);
	c->given |= 1u << key;
	c->value[key] = (struct word){equals ? equals + 1 : NULL, equals ? n - n_key - 1 : 0};
	return true;
}

bool
command_parse(struct request *r, const char *text, size_t n, uint32_t allowed, struct command *ret)
{
	struct command c = {};
	const char *end = text + n;

	for (const char *p = text; p < end; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			return refuse(r, EINVAL, "a command is one line of printable ASCII");
	for (const char *p = text; p < end;) {
		const char *word = p;

		while (p < end && *p != ' ')
			p++;
		if (p > word && !command_add(r, &c, allowed, word, (size_t)(p - word)))
			return false;
		while (p < end && *p == ' ')
			p++;
	}
	if (!c.given)
		return refuse(r, EINVAL, "the command is empty");
	*ret = c;
	return true;
}

/* Up to 16 digits, and nothing else. */
static int
parse_hex(const char *digits, size_t n, uint64_t *ret)
{
	uint64_t value = 0;

	if (n < 1 || n > 16)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		char c = digits[i];

		if (!isxdigit((unsigned char)c))
			return -EINVAL;
		value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	*ret = value;
	return 0;
}

bool
command_number(struct request *r, const struct command *c, enum key key, uint64_t *ret)
{
	const struct word *w = &c->value[key];
	uint64_t value = 0;
	int e;

	if (w->n > 2 && w->p[0] == '0' && w->p[1] == 'x')
		e = parse_hex(w->p + 2, w->n - 2, &value);
	else
		e = number_parse(w->p, w->n, key >= KEY_QUOTA, &value);
	if (e < 0)
		return refuse(r, EINVAL, "'%s=%.*s' is not a number%s", key_names[key], (int)w->n,
			w->p, e == -ERANGE ? " of 64 bits" : "");
	*ret = value;
	return true;
}

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

static bool
parse_methods(struct request *r, const struct word *w, struct methods *ret)
{
	const char *p = w->p, *end = w->p + w->n;
	struct methods m = {};

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

/* N/s: so many in a second. */
static bool
parse_rate(struct request *r, const struct word *w, uint64_t *ret)
{
	uint64_t n;

	if (w->n < 3 || memcmp(w->p + w->n - 2, "/s", 2) != 0 ||
		number_parse(w->p, w->n - 2, false, &n) < 0 || n < 1 || n > RATE_MAX)
		return refuse(r, EINVAL, "'rate' is N/s, from 1/s to %u/s", (unsigned)RATE_MAX);
	*ret = n;
	return true;
}

#define TIME_BYTES 20 /* 2026-01-31T12:00:00Z */

/* All of it, and of a day that there is. Returns: 0 or -EINVAL. */
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

/* SECONDS from now, or an instant as 2026-01-31T12:00:00Z. */
static bool
parse_expires(struct request *r, const struct word *w, uint64_t *ret)
{
	uint64_t now = r->model->now_usec(), seconds;

	if (number_parse(w->p, w->n, false, &seconds) == 0) {
		if (__builtin_mul_overflow(seconds, 1000000, &seconds) ||
			!number_add(now, seconds, ret) || *ret == LIMIT_NONE)
			return refuse(r, EINVAL, "'expires' is too far away");
	} else if (parse_time(w, ret) < 0) {
		return refuse(r, EINVAL,
			"'expires' is neither seconds nor a time as 2026-01-31T12:00:00Z");
	}
	if (*ret <= now)
		return refuse(r, EINVAL, "'expires' is not in the future");
	return true;
}

bool
command_reductions(struct request *r, const struct command *c, struct reductions *ret)
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
	if (how.has_calls && !command_number(r, c, KEY_CALLS, &how.calls))
		return false;
	if (how.has_conns && !command_number(r, c, KEY_CONNS, &how.conns))
		return false;
	if (how.has_rate && !parse_rate(r, &c->value[KEY_RATE], &how.rate))
		return false;
	if (how.has_expires && !parse_expires(r, &c->value[KEY_EXPIRES], &how.expires_usec))
		return false;
	if ((how.has_calls && (!how.calls || how.calls == LIMIT_NONE)) ||
		(how.has_conns && (!how.conns || how.conns == LIMIT_NONE)))
		return refuse(r, EINVAL, "a limit is a number above 0");
	*ret = how;
	return true;
}

bool
command_quota(struct request *r, const struct command *c, struct quota *ret)
{
	struct quota q = {};

	for (int kind = 0; kind < QUOTA_N_KINDS; kind++)
		if (command_has(c, KEY_QUOTA + kind) &&
			!command_number(r, c, KEY_QUOTA + kind, &q.n[kind]))
			return false;
	*ret = q;
	return true;
}

int
quota_parse(const char *text, struct quota *quota)
{
	struct quota q = *quota;
	uint32_t given = 0;
	bool more = *text;

	while (more) {
		size_t n = strcspn(text, ","), n_name = strcspn(text, "=");
		enum quota_kind kind;

		if (n_name >= n)
			return -EINVAL;
		kind = quota_kind_find(text, n_name);
		if (kind == QUOTA_N_KINDS || (given & 1u << kind) ||
			number_parse(text + n_name + 1, n - n_name - 1, true, &q.n[kind]) < 0)
			return -EINVAL;
		given |= 1u << kind;
		more = text[n] == ',';
		text += n + more;
	}
	*quota = q;
	return 0;
}
