/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grammar of commands: the first byte of the input says which keys are allowed, the rest is the
 * text. It is taken for a quota of the command line as well.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/ops/grammar.h"
#include "capfsd/ops/reductions.h"
#include "capfsd/ops/request.h"
#include "fuzz/fuzz.h"
#include "fuzz/store.h"

static const key_set keys[] = {
	~(key_set)0,
	KEY_BIT(KEY_TO) | KEY_BIT(KEY_AS) | KEYS_REDUCTIONS,
	KEYS_REDUCTIONS,
	KEY_BIT(KEY_ALL) | KEY_BIT(KEY_SELF) | KEY_BIT(KEY_TO) | KEY_BIT(KEY_ID),
	KEY_BIT(KEY_TO) | KEY_BIT(KEY_FROM) | KEYS_QUOTA,
	KEYS_QUOTA,
	KEY_BIT(KEY_KEY) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_SOCKET) | KEY_BIT(KEY_RIGHTS),
	KEY_BIT(KEY_REMOVE),
};

/* An answer of the grammar: done, or refused with a reason of one line. */
static void
check_answer(const struct request *r, bool done)
{
	FUZZ_CHECK(done == (r->error == 0));
	if (done)
		return;
	FUZZ_CHECK(r->error == EINVAL || r->error == EOPNOTSUPP);
	FUZZ_CHECK(text_done(&r->text) == 0 && r->text.n > 0 && !strchr(r->text.data, '\n'));
}

static void
check_words(const struct command *c, key_set allowed, const char *text, size_t n)
{
	FUZZ_CHECK(c->given && !(c->given & ~allowed));
	for (enum key key = 0; key < KEY_N; key++) {
		const struct word *w = &c->value[key];

		if (!command_has(c, key) || !w->p)
			continue;
		FUZZ_CHECK(w->n > 0 && w->p >= text && w->p + w->n <= text + n);
		FUZZ_CHECK(!w->quoted || KEYS_TEXTS & KEY_BIT(key));
	}
}

/* Each of them has a name. */
static void
check_rights(uint32_t rights)
{
	cleanup_text struct text names = {};
	size_t n = 1;

	rights_format(rights, &names);
	FUZZ_CHECK(text_done(&names) == 0);
	for (size_t i = 0; i < names.n; i++)
		n += names.data[i] == ',';
	FUZZ_CHECK(rights && n == (size_t)__builtin_popcount(rights));
}

static void
check_reductions(const struct model *m, const struct reductions *how)
{
	if (how->has_rights)
		check_rights(how->rights);
	FUZZ_CHECK(!how->has_calls || how->calls > 0);
	FUZZ_CHECK(!how->has_conns || how->conns > 0);
	FUZZ_CHECK(!how->has_rate || (how->rate > 0 && (how->rate <= RATE_MAX || how->rate == LIMIT_NONE)));
	FUZZ_CHECK(!how->has_expires || how->expires_usec > m->now_usec());
}

/* Each with its 0, and nothing else. */
static void
check_only(const struct text *only, const struct reductions *how)
{
	const char *p = only->data, *end = p ? p + only->n : p;
	unsigned n = 0;

	for (; p < end; p += strlen(p) + 1, n++)
		FUZZ_CHECK(caveat_is_valid(p, strlen(p)));
	FUZZ_CHECK(n == how->n_only && p == end);
}

static void
fuzz_command(struct model *m, key_set allowed, const char *text, size_t n)
{
	struct request r = {.model = m};
	cleanup_text struct text only = {};
	struct reductions how = {};
	struct quota quota;
	struct command c;
	bool done;

	done = command_parse(&r, text, n, allowed, &c);
	check_answer(&r, done);
	if (done) {
		check_words(&c, allowed, text, n);
		done = command_reductions(&r, &c, &only, &how);
		check_answer(&r, done);
	}
	if (done) {
		check_reductions(m, &how);
		check_only(&only, &how);
		done = command_quota(&r, &c, &quota);
		check_answer(&r, done);
	}
	for (enum key key = KEY_ID; done && key <= KEY_KEY; key++) {
		uint64_t value;

		if (command_has(&c, key))
			done = command_number(&r, &c, key, &value);
		check_answer(&r, done);
	}
	request_deinit(&r);
}

static void
fuzz_quota(const char *text, size_t n)
{
	struct quota quota = {.n = {1, 2, 3, 4, 5}}, before = quota;
	cleanup_free char *copy = strndup(text, n);
	cleanup_text struct text reason = {};
	uint32_t given = 0;
	int r;

	FUZZ_CHECK(copy);
	r = quota_parse(copy, &quota, &given, &reason);
	FUZZ_CHECK(r == 0 || r == -EINVAL);
	if (r < 0)
		FUZZ_CHECK(memcmp(&quota, &before, sizeof(quota)) == 0 && !given &&
			reason.n > 0);
	else
		FUZZ_CHECK(reason.n == 0 && !given == !*copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct model *model;
	const char *text;

	if (!model) {
		FUZZ_CHECK(model_new(&fuzz_store_ops, NULL, &model) == 0);
		model->now_usec = fuzz_now;
	}
	if (n == 0)
		return 0;
	text = (const char *)data + 1;
	fuzz_command(model, keys[data[0] % (sizeof(keys) / sizeof(keys[0]))], text, n - 1);
	fuzz_quota(text, n - 1);
	return 0;
}
