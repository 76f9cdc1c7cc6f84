/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ring of a log's lines, from which any may go while it grows. What it keeps is tested by test-event. */
#include "config.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/ops/texts.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

#define N_EVENTS 4000

static struct world w;

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	make_session(&w, w.model->root, "app", NULL);
}

static void
teardown(void)
{
	model_check(w.model);
	world_deinit(&w);
	fixture_teardown();
}

static unsigned
random_number(void)
{
	static unsigned seed = 1;

	seed = seed * 1103515245 + 12345;
	return seed >> 16 & 0x7fff;
}

/* A refusal that was told before goes from where it stands, which may be anywhere. */
static void
log_any(struct session *s, const struct session *by)
{
	switch (random_number() % 5) {
	case 0:
	case 1:
		log_refusal(w.model, s, "number %u", random_number() % 40);
		break;
	case 2:
		event_log(w.model, s, &(struct event){.verb = EVENT_FAULT_VERB, .keep = EVENT_FAULT, .by = by});
		break;
	default:
		event_log(w.model, s, &(struct event){.verb = "grant", .keep = EVENT_LASTING, .by = by});
	}
}

static char *
read_log(const struct session *s)
{
	uint64_t at = events_start(s);
	struct text t = {};
	char buffer[4096];

	while (events_has_more(s, EVENTS_ALL, at))
		text_add_n(&t, buffer, events_read(s, EVENTS_ALL, &at, buffer, sizeof(buffer)));
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

static void
expect_order(const struct session *s, uint64_t last)
{
	cleanup_free char *log = read_log(s);
	uint64_t before = 0;

	for (const char *at = log; (at = strstr(at, " e="));) {
		uint64_t number = strtoull(at + 3, (char **)(uintptr_t)&at, 10);

		ck_assert_uint_gt(number, before);
		before = number;
	}
	ck_assert_uint_eq(before, last);
}

START_TEST(lines_stay_in_order_whichever_go)
{
	struct session *app = session_find(w.model, w.model->root, "app", 3);
	uint64_t first = w.model->header.next_event;

	for (unsigned i = 0; i < N_EVENTS; i++) {
		log_any(random_number() % 2 ? app : w.model->root, random_number() % 2 ? w.model->root : NULL);
		if (i < 300 || i % 50 == 0) {
			model_check(w.model);
			expect_order(w.model->root, first + i);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, lines_stay_in_order_whichever_go);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
