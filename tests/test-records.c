/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P15 */
/* What may stand in a store: no record that is damaged or unknown is believed, nor one missed. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/model/kind.h"
#include "capfsd/model/record.h"
#include "tests/fixture.h"
#include "tests/populated.h"

static struct world w;

static void
setup(void)
{
	fixture_setup();
	populated_init(&w);
}

static void
teardown(void)
{
	world_reap(&w);
	world_deinit(&w);
	fixture_teardown();
}

/* One record, or a truncated, lengthened or changed copy of it. */
struct damaged {
	uint64_t key;
	uint8_t data[512];
	size_t n;
};

static struct damaged records[64];
static size_t n_records;

static int
collect(void *data, uint64_t key, const void *record, size_t n)
{
	struct damaged *d = &records[n_records++];

	ck_assert_uint_le(n_records, sizeof(records) / sizeof(records[0]));
	ck_assert_uint_le(n, sizeof(d->data) - 8);
	d->key = key;
	d->n = n;
	memcpy(d->data, record, n);
	return 0;
}

/* Loads with one record damaged: refused, or good in itself. */
static void
load_damaged(const struct damaged *d, const uint8_t *data, size_t n)
{
	int r;

	stub_set(w.store, d->key, data, n);
	r = world_restart(&w);
	ck_assert(r == 0 || r == -EBADMSG);
	if (r == 0) {
		model_check(w.model);
		while (model_reap(w.model, 100) > 0)
			;
		model_check(w.model);
	}
	world_deinit(&w);
	w.store = stub_new();
	for (size_t i = 0; i < n_records; i++)
		stub_set(w.store, records[i].key, records[i].data, records[i].n);
}

START_TEST(P15_damaged_records)
{
	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		const struct damaged *d = &records[i];
		uint8_t copy[sizeof(d->data)] = {};

		memcpy(copy, d->data, d->n);
		load_damaged(d, copy, 0);
		load_damaged(d, copy, d->n - 1);
		load_damaged(d, copy, d->n + 1);
		for (size_t at = 0; at < d->n; at++)
			for (unsigned change = 1; change <= 0xff; change = change * 16 + 15) {
				memcpy(copy, d->data, d->n);
				copy[at] ^= (uint8_t)change;
				load_damaged(d, copy, d->n);
			}
	}
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

/* Whatever this binary does not know is refused, not taken for something that it knows. */
START_TEST(P15_types_are_checked)
{
	const size_t at = 8 + offsetof(struct capability_record, type);
	const size_t at_target = 8 + offsetof(struct capability_record, target);
	unsigned n = 0;

	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		struct damaged *d = &records[i];
		const uint64_t root = 1;
		uint8_t copy[sizeof(d->data)];

		if (STORE_KEY_SPACE(d->key) != STORE_ENTITY || d->data[0] != ENTITY_CAPABILITY)
			continue;
		memcpy(copy, d->data, d->n);
		ck_assert_uint_eq(copy[at], TYPE_OBJECT);
		copy[at] = N_CAPABILITY_TYPES;
		stub_set(w.store, d->key, copy, d->n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
		copy[at] = TYPE_OBJECT;
		memcpy(copy + at_target, &root, sizeof(root));
		stub_set(w.store, d->key, copy, d->n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
		stub_set(w.store, d->key, d->data, d->n);
		n++;
	}
	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(world_restart(&w), 0);
}
END_TEST

/* What a change stores a record from has room for the largest there is, with the longest name. */
START_TEST(P15_largest_record_fits)
{
	char name[NAME_BYTES_MAX + 1] = "";
	size_t most = 0;

	memset(name, 'n', NAME_BYTES_MAX);
	for (int kind = 1; kind < ENTITY_N_KINDS; kind++) {
		uint8_t *buffer = malloc(record_bytes_max());
		struct entity *e = entity_new(w.model, kind, name, NAME_BYTES_MAX);
		struct record record;
		size_t n;

		ck_assert(buffer && e);
		n = record_encode(e, entity_record(e), name, buffer);
		ck_assert_uint_le(n, record_bytes_max());
		ck_assert_int_eq(record_decode(buffer, n, &record), 0);
		ck_assert(record.kind == (enum entity_kind)kind && record.n_name == NAME_BYTES_MAX);
		ck_assert_int_eq(record_decode(buffer, n - 1, &record), -EBADMSG);
		most = n > most ? n : most;
		entity_free(e);
		free(buffer);
	}
	ck_assert_uint_eq(most, record_bytes_max());
}
END_TEST

/* A record that is missing takes with it what it held together: refused. */
START_TEST(P15_missing_records)
{
	stub_scan(w.store, collect, NULL);
	for (size_t i = 0; i < n_records; i++) {
		if (STORE_KEY_SPACE(records[i].key) == STORE_EVENT ||
			STORE_KEY_SPACE(records[i].key) == STORE_LATER)
			continue;
		world_deinit(&w);
		w.store = stub_new();
		for (size_t j = 0; j < n_records; j++)
			if (j != i)
				stub_set(w.store, records[j].key, records[j].data, records[j].n);
		ck_assert_int_eq(world_restart(&w), -EBADMSG);
	}
	world_deinit(&w);
	world_init(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("records");
	TCase *t = tcase_create("records");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, P15_damaged_records);
	tcase_add_test(t, P15_missing_records);
	tcase_add_test(t, P15_types_are_checked);
	tcase_add_test(t, P15_largest_record_fits);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
