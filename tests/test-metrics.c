/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `metrics` says of a model, and how times are measured and counted. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/broker/meter.h"
#include "capfsd/control/controls.h"
#include "capfsd/fs/fs.h"
#include "capfsd/ops/request.h"
#include "capfsd/sockets/connect.h"
#include "capfsd/tree/metrics.h"
#include "capfsd/verbs/verbs.h"
#include "tests/fixture.h"
#include "tests/model-world.h"

/* So that no search sees all of them. */
#define MANY (2 * QUOTA_SEARCHED + 100)

/* What the broker would know; NULL: nothing. */
static struct metrics *shown;

static char *
text_of(struct world *w)
{
	struct request r = {.model = w->model, .metrics = shown};
	struct text t = {};

	info_metrics(&r, &w->model->root->entity, &t);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

/* The value of SERIES, or -1. */
static long long
value_in(const char *text, const char *series)
{
	size_t n = strlen(series);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, series, n) == 0 && line[n] == ' ')
			return atoll(line + n + 1);
	}
	return -1;
}

static long long
value_of(struct world *w, const char *series)
{
	char *text = text_of(w);
	long long value = value_in(text, series);

	free(text);
	return value;
}

static unsigned
count_in(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

START_TEST(the_text_ends_as_openmetrics_wants_it)
{
	struct world w;
	char *text;
	size_t n;

	world_init(&w);
	text = text_of(&w);
	n = strlen(text);
	ck_assert_str_eq(text + n - 7, "\n# EOF\n");
	ck_assert_ptr_null(strstr(text, "\n\n"));
	ck_assert_ptr_null(strstr(text, " \n"));
	ck_assert_int_eq(value_in(text, "capfs_sessions"), 1);
	/* Without a broker nothing of it is told. */
	ck_assert_int_eq(value_in(text, "capfs_brokers"), -1);
	free(text);
	world_deinit(&w);
}
END_TEST

static int
refuse_it(struct operation *o)
{
	return refuse(o->request, o->owner.mode ? (int)o->owner.mode : EPERM, "no");
}

static int
do_it(struct operation *o)
{
	return 0;
}

/* VERB's number, and what is asked ends with ERROR. */
static void
asked(struct world *w, const struct verb *verb, unsigned error)
{
	const struct verb row = {
		.name = verb->name, .number = verb->number, .stage = error ? refuse_it : do_it};
	struct request r = {.model = w->model};
	struct operation o = {
		.request = &r, .verb = &row, .session = w->model->root, .owner = {.mode = error}};

	ck_assert_int_eq(verb_run(&o), 0);
	ck_assert_int_eq(r.error, (int)error);
	request_deinit(&r);
}

START_TEST(operations_and_refusals_are_counted)
{
	struct world w;

	world_init(&w);
	asked(&w, &verb_grant, 0);
	asked(&w, &verb_grant, 0);
	asked(&w, &verb_grant, EPERM);
	asked(&w, &verb_transfer_quota, EDQUOT);
	asked(&w, &verb_write, 0);
	asked(&w, &verb_import, 100000);
	ck_assert_int_eq(value_of(&w, "capfs_operations_total{operation=\"grant\"}"), 2);
	ck_assert_int_eq(value_of(&w, "capfs_operations_total{operation=\"transfer\"}"), 0);
	ck_assert_int_eq(value_of(&w, "capfs_operations_total{operation=\"other\"}"), 1);
	ck_assert_int_eq(value_of(&w, "capfs_operation_refusals_total{operation=\"grant\"}"), 1);
	ck_assert_int_eq(
		value_of(&w, "capfs_operation_refusals_total{operation=\"transfer_quota\"}"), 1);
	ck_assert_int_eq(value_of(&w, "capfs_operation_refusals_total{operation=\"import\"}"), 1);
	ck_assert_int_eq(value_of(&w, "capfs_refusals_total{error=\"EPERM\"}"), 1);
	ck_assert_int_eq(value_of(&w, "capfs_refusals_total{error=\"EDQUOT\"}"), 1);
	ck_assert_int_eq(value_of(&w, "capfs_refusals_total{error=\"other\"}"), 1);
	world_deinit(&w);
}
END_TEST

/* A verb that came later than the page's first counters has its place behind them. */
START_TEST(later_verbs_are_counted_behind)
{
	const struct verb late = {.name = "late", .number = COUNTERS_VERBS + 2};
	struct world w;

	world_init(&w);
	asked(&w, &late, 0);
	asked(&w, &late, EPERM);
	asked(&w, &late, EPERM);
	ck_assert_uint_eq(w.model->more->done[2], 1);
	ck_assert_uint_eq(w.model->more->refused[2], 2);
	world_deinit(&w);
}
END_TEST

/* The counters that have names are those of the fronts of the daemon. */
START_TEST(requests_are_called_by_their_fronts)
{
	struct metrics metrics = {
		.fuse_name = fs_opcode_name,
		.control_name = controls_operation_name,
		.connect_name = connect_refusal_name,
	};
	struct world w;
	char *text;

	world_init(&w);
	shown = &metrics;
	w.model->counters->fuse[1] = 7;
	w.model->counters->control[2] = 8;
	w.model->counters->connects_refused[1] = 9;
	text = text_of(&w);
	ck_assert_int_eq(
		value_in(text, "capfs_requests_total{front=\"fuse\",operation=\"lookup\"}"), 7);
	ck_assert_int_eq(
		value_in(text, "capfs_requests_total{front=\"control\",operation=\"write\"}"), 8);
	ck_assert_int_eq(value_in(text, "capfs_connections_refused_total{reason=\"ended\"}"), 9);
	free(text);
	shown = NULL;
	world_deinit(&w);
}
END_TEST

#define BUCKET(le) "capfs_service_seconds_bucket{front=\"control\",le=\"" le "\"}"

START_TEST(buckets_hold_what_is_at_most_as_long)
{
	struct world w;
	char *text;

	world_init(&w);
	metrics_took(w.model->counters, FRONT_CONTROL, 1, 0);
	metrics_took(w.model->counters, FRONT_CONTROL, 2, 10);
	metrics_took(w.model->counters, FRONT_CONTROL, 1, 11);
	metrics_took(w.model->counters, FRONT_CONTROL, 1, 1000000);
	metrics_took(w.model->counters, FRONT_CONTROL, 1, 2500000);
	text = text_of(&w);
	ck_assert_int_eq(value_in(text, BUCKET("1e-05")), 3);
	ck_assert_int_eq(value_in(text, BUCKET("2e-05")), 4);
	ck_assert_int_eq(value_in(text, BUCKET("0.1")), 4);
	ck_assert_int_eq(value_in(text, BUCKET("1.0")), 5);
	ck_assert_int_eq(value_in(text, BUCKET("+Inf")), 6);
	ck_assert_int_eq(value_in(text, "capfs_service_seconds_count{front=\"control\"}"), 6);
	ck_assert_ptr_nonnull(
		strstr(text, "capfs_service_seconds_sum{front=\"control\"} 3.500031\n"));
	free(text);
	world_deinit(&w);
}
END_TEST

START_TEST(what_is_served_between_two_times_shares_them)
{
	struct counters c = {.served = {[FRONT_FUSE] = 5}};
	struct durations *fuse = &c.durations[FRONT_FUSE];
	struct meter m;

	/* Five are a predecessor's. */
	meter_init(&m, &c);
	meter_begin(&m, 1000);
	c.served[FRONT_FUSE] += 4;
	meter_mark(&m);
	/* Of what comes behind the mark. */
	c.served[FRONT_CONTROL]++;
	meter_note(&m, 1060);
	ck_assert_uint_eq(fuse->n, 4);
	ck_assert_uint_eq(fuse->sum_usec, 60);
	ck_assert_uint_eq(fuse->buckets[1], 4);
	ck_assert_uint_eq(c.durations[FRONT_CONTROL].n, 0);
	meter_mark(&m);
	meter_note(&m, 1100);
	ck_assert_uint_eq(c.durations[FRONT_CONTROL].sum_usec, 40);
	ck_assert_uint_eq(fuse->n, 4);
	/* Sleep is nobody's work, and a clock that goes back no time. */
	meter_begin(&m, 5000);
	c.served[FRONT_FUSE]++;
	meter_mark(&m);
	meter_note(&m, 4000);
	ck_assert_uint_eq(fuse->n, 5);
	ck_assert_uint_eq(fuse->sum_usec, 60);
}
END_TEST

/* Slots in W's session NAME, made anew: that is what it uses. */
static struct session *
make_consumer(struct world *w, struct capability *source, const char *name, unsigned n)
{
	const struct quota some = {.n = {n, 0, 0, 65536, 0}};
	struct session *s = make_session(w, w->model->root, name, &some);
	char slot[16];

	for (unsigned i = 0; i < n; i++) {
		snprintf(slot, sizeof(slot), "c%u", i);
		make_grant(w, source, s, slot, &(struct reductions){});
	}
	return s;
}

/* What all series with part="used" of caps add up to. */
static long long
sum_used(const char *text)
{
	long long sum = 0;

	for (const char *p = text; (p = strstr(p, "\ncapfs_session_caps{")); p++) {
		const char *part = strstr(p, "part=\"");

		if (strncmp(part, "part=\"used\"} ", 13) == 0)
			sum += atoll(part + 13);
	}
	return sum;
}

START_TEST(the_largest_of_many_sessions_are_found_by_and_by)
{
	const char *large = "capfs_session_caps{session=\"init/large\",part=\"used\"}";
	const struct quota none = {};
	struct metrics metrics = {};
	struct capability *origin;
	struct world w;
	char name[16];
	unsigned found = 0;

	world_init(&w);
	shown = &metrics;
	origin = make_origin(&w, make_entrypoint(&w, w.model->root, "e"), 1, "e");
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		make_session(&w, w.model->root, name, &none);
	}
	make_consumer(&w, origin, "large", 20);
	make_consumer(&w, origin, "larger", 30);
	for (unsigned i = 0; i < 5; i++) {
		char *text = text_of(&w);

		ck_assert_uint_eq(
			count_in(text, "\ncapfs_session_caps{"), 3 * METRICS_SESSIONS_MAX + 1);
		ck_assert_int_eq(sum_used(text), (long long)w.model->used.n[QUOTA_CAPS]);
		/* Once found it stays, wherever the search is. */
		if (value_in(text, large) == 20)
			found++;
		else
			ck_assert_uint_eq(found, 0);
		if (i == 4)
			ck_assert_ptr_nonnull(strstr(text,
				"capfs_session_caps{session=\"init\",part=\"lent\"} 50\n"
				"capfs_session_caps{session=\"init/larger\",part=\"limit\"} 30\n"));
		free(text);
	}
	ck_assert_uint_eq(found, 3);
	ck_assert_int_eq(try_close(&w, session_find(w.model, w.model->root, "large", 5)), 0);
	world_reap(&w);
	ck_assert_int_eq(value_of(&w, large), -1);
	shown = NULL;
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("metrics");
	TCase *tc = fixture_case(s, "metrics", 60);

	tcase_add_test(tc, the_text_ends_as_openmetrics_wants_it);
	tcase_add_test(tc, operations_and_refusals_are_counted);
	tcase_add_test(tc, later_verbs_are_counted_behind);
	tcase_add_test(tc, requests_are_called_by_their_fronts);
	tcase_add_test(tc, buckets_hold_what_is_at_most_as_long);
	tcase_add_test(tc, what_is_served_between_two_times_shares_them);
	tcase_add_test(tc, the_largest_of_many_sessions_are_found_by_and_by);
	return fixture_main(s);
}
