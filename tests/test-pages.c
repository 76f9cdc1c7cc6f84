/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C13 P10 P14 Z42 */
/* The daemon's side of the pages: the test is the server, an honest one or not. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/memos.h"
#include "capfsd/sockets/channel.h"
#include "tests/fixture.h"
#include "tests/sockets-world.h"
#include "wire/pages.h"

static struct world w;
static int control, channel;
static struct capability *origin, *parent, *slot;
static const struct granted_entry *granted;
static struct used_entry *used;

static void
unmap(void)
{
	if (granted)
		munmap((void *)(uintptr_t)granted, PAGES_GRANTED_BYTES);
	if (used)
		munmap(used, PAGES_USED_BYTES);
	granted = NULL;
	used = NULL;
}

/* What the channel brought. */
static void
take_pages(void)
{
	int fds[2];

	unmap();
	ck_assert(world_pages(&w, channel, fds));
	granted = mmap(NULL, PAGES_GRANTED_BYTES, PROT_READ, MAP_SHARED, fds[0], 0);
	used = mmap(NULL, PAGES_USED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	ck_assert(granted != MAP_FAILED && used != MAP_FAILED);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_lt(ftruncate(fds[i], 0), 0);
		ck_assert_int_lt(fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE), 0);
		world_close(&w, fds[i]);
	}
}

static void
command(const char *node, const char *text)
{
	struct answered a;

	ck_assert_msg(world_ask(&w, control, WIRE_WRITE, node, text, &a) == 0, "%s %s: %s", node, text,
		a.text);
}

static void
find_slots(void)
{
	origin = world_slot(&w, w.model->root, "kv");
	parent = world_slot(&w, w.model->root, "parent");
	slot = world_slot(&w, w.model->root, "slot");
}

/* A connection through the slot NAME, handed over and taken. Returns: the client's end. */
static int
use(const char *name, struct handed *ret)
{
	int client = world_connect(&w, &world_slot(&w, w.model->root, name)->entity);

	ck_assert_int_ge(client, 0);
	world_settle(&w);
	if (!granted)
		take_pages();
	ck_assert(world_handed(&w, channel, ret));
	world_take(&w, channel, ret->m.serial);
	return client;
}

static void
setup(void)
{
	fixture_setup();
	world_init(&w);
	control = world_control(&w, w.model->root);
	channel = world_serve_calls(&w, control, "kv");
	command("caps/kv/replicate", "as=parent");
	command("caps/parent/reduce", "calls=10 methods=1-4");
	command("caps/parent/replicate", "as=slot methods=2");
	find_slots();
}

static void
teardown(void)
{
	unmap();
	world_deinit(&w);
	fixture_teardown();
}

static char *
info(const char *name)
{
	static struct answered a;
	char node[64];

	snprintf(node, sizeof(node), "caps/%s/info", name);
	ck_assert_int_eq(world_ask(&w, control, WIRE_READ, node, "", &a), 0);
	return a.text;
}

static void
expect(const char *name, const char *line)
{
	char *text = info(name);

	ck_assert_msg(strstr(text, line) != NULL, "no '%s' in: %s", line, text);
}

START_TEST(pages_come_before_the_first_connection)
{
	struct handed first, second;
	const struct granted_entry *g;

	use("slot", &first);
	ck_assert_uint_gt(first.m.page_index, 0);
	g = &granted[first.m.page_index];
	ck_assert_uint_eq(g->capability, slot->entity.id);
	ck_assert_uint_eq(g->parent, parent->entity.id);
	ck_assert_uint_eq(g->calls_limit, 10);
	ck_assert_uint_eq(g->methods[0], 2 | UINT64_C(2) << 32);
	g = &granted[g->parent_index];
	ck_assert_uint_eq(g->capability, parent->entity.id);
	ck_assert_uint_eq(g->methods[0], 1 | UINT64_C(4) << 32);
	g = &granted[g->parent_index];
	ck_assert_uint_eq(g->capability, origin->entity.id);
	ck_assert_uint_eq(g->parent, 0);
	ck_assert_uint_eq(g->calls_limit, PAGES_NO_LIMIT);
	/* They come once, and an index stays. */
	use("slot", &second);
	ck_assert_uint_eq(second.m.page_index, first.m.page_index);
}
END_TEST

START_TEST(a_plain_service_has_no_pages)
{
	int raw = world_serve(&w, control, "raw", "seqpacket"), client, fds[2];
	struct handed h;

	client = world_connect(&w, &world_slot(&w, w.model->root, "raw")->entity);
	ck_assert_int_ge(client, 0);
	world_settle(&w);
	ck_assert(!world_pages(&w, raw, fds));
	ck_assert(world_handed(&w, raw, &h));
	ck_assert_uint_eq(h.m.page_index, 0);
}
END_TEST

START_TEST(Z42_C13_reduce_and_revoke_are_stores)
{
	struct handed h;
	uint32_t parent_index;

	use("slot", &h);
	parent_index = (uint32_t)granted[h.m.page_index].parent_index;
	command("caps/parent/reduce", "methods=2-3 calls=5 rate=7/s");
	ck_assert_uint_eq(granted[parent_index].methods[0], 2 | UINT64_C(3) << 32);
	ck_assert_uint_eq(granted[parent_index].calls_limit, 5);
	ck_assert_uint_eq(granted[parent_index].rate, 7);
	ck_assert_uint_eq(granted[parent_index].sequence % 2, 0);
	command("caps/parent/reduce", "rights=call,grant,replicate,reduce");
	ck_assert_uint_eq(granted[parent_index].rights, 15);
	command("caps/parent/revoke", "1");
	ck_assert_uint_ge(granted[parent_index].revoked_upto, h.m.capability);
	ck_assert_uint_eq(granted[parent_index].capability, parent->entity.id);
	ck_assert_uint_eq(granted[h.m.page_index].capability, 0);
	command("caps/parent/revoke", "self");
	ck_assert_uint_eq(granted[parent_index].capability, 0);
}
END_TEST

START_TEST(P10_what_a_server_says_is_not_believed)
{
	struct handed h;
	uint32_t parent_index;
	uint64_t before = 0;

	use("slot", &h);
	parent_index = (uint32_t)granted[h.m.page_index].parent_index;
	used[h.m.page_index].calls = 3;
	used[parent_index].calls = 3;
	expect("slot", "calls limit=10 used=3 left=7");
	used[parent_index].calls = UINT64_MAX;
	expect("slot", "calls limit=10 used=3 left=0");
	expect("parent", "calls limit=10 used=10 left=0");
	used[parent_index].calls = 4;
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t said[] = {4, 2, 0, UINT64_MAX - 1};

		used[parent_index].calls = said[i];
		used[parent_index].rate_at = said[i];
		world_settle_for(&w, 1100000);
		ck_assert_uint_ge(parent->record.calls_used, before);
		ck_assert_uint_le(parent->record.calls_used, parent->record.calls_limit);
		before = parent->record.calls_used;
		ck_assert_uint_eq(before, i < 3 ? 4 : 10);
	}
	/* What is overwritten here is nobody's but its own. */
	memset(used, 0xff, 4096);
	world_settle_for(&w, 1100000);
	ck_assert_uint_eq(slot->record.calls_used, 10);
	expect("slot", "calls limit=10 used=10 left=0");
}
END_TEST

START_TEST(P14_a_new_broker_goes_on_with_the_same_pages)
{
	struct handed h, again;
	uint32_t index, parent_index;
	int fds[2];

	use("slot", &h);
	index = h.m.page_index;
	parent_index = (uint32_t)granted[index].parent_index;
	used[index].calls = 2;
	used[parent_index].calls = 6;
	/* Until it is stored that the first one was taken: it would be offered again. */
	world_settle_for(&w, 2 * FLUSH_USEC);
	world_restart(&w);
	find_slots();
	ck_assert_uint_eq(granted[index].capability, slot->entity.id);
	expect("parent", "calls limit=10 used=6 left=4");
	expect("slot", "calls limit=10 used=2 left=4");
	command("caps/parent/reduce", "calls=7");
	ck_assert_uint_eq(granted[parent_index].calls_limit, 7);
	/* It cannot know that they came, and sends them once more. */
	ck_assert_int_ge(world_connect(&w, &slot->entity), 0);
	world_settle(&w);
	ck_assert(world_pages(&w, channel, fds));
	ck_assert(world_handed(&w, channel, &again));
	ck_assert_uint_eq(again.m.page_index, index);
	world_take(&w, channel, again.m.serial);
	/* Another one's entry is elsewhere. */
	command("caps/kv/replicate", "as=other");
	use("other", &again);
	ck_assert_uint_ne(again.m.page_index, index);
	ck_assert_uint_ne(again.m.page_index, parent_index);
}
END_TEST

/* What a dead broker had committed, and not yet written. */
START_TEST(P14_a_new_broker_writes_what_the_old_one_could_not)
{
	struct granted_entry *writable;
	struct handed h;
	uint32_t index;
	int fds[2];

	ck_assert_int_ge(world_connect(&w, &slot->entity), 0);
	world_settle(&w);
	ck_assert(world_pages(&w, channel, fds));
	ck_assert(world_handed(&w, channel, &h));
	world_take(&w, channel, h.m.serial);
	index = h.m.page_index;
	writable = mmap(NULL, PAGES_GRANTED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	ck_assert(writable != MAP_FAILED);
	world_kill(&w);
	writable[index].calls_limit = 100;
	writable[index].methods[0] = UINT64_MAX << 32;
	writable[index].sequence = 99;
	world_start(&w);
	ck_assert_uint_eq(writable[index].calls_limit, 10);
	ck_assert_uint_eq(writable[index].methods[0], 2 | UINT64_C(2) << 32);
	ck_assert_uint_eq(writable[index].sequence % 2, 0);
	munmap(writable, PAGES_GRANTED_BYTES);
}
END_TEST

START_TEST(what_was_used_outlives_the_server)
{
	struct handed h;
	uint32_t parent_index;

	use("slot", &h);
	parent_index = (uint32_t)granted[h.m.page_index].parent_index;
	used[h.m.page_index].calls = 2;
	used[parent_index].calls = 6;
	unmap();
	channel = world_close(&w, channel);
	world_settle(&w);
	ck_assert_uint_eq(parent->record.calls_used, 6);
	expect("slot", "calls limit=10 used=2 left=4");
	channel = world_serve_calls(&w, control, "kv");
	use("slot", &h);
	ck_assert_uint_eq(used[h.m.page_index].calls, 2);
	ck_assert_uint_eq(used[granted[h.m.page_index].parent_index].calls, 6);
	expect("parent", "calls limit=10 used=6 left=4");
}
END_TEST

/* A broker dies when it has closed the channel, and before the store knows. */
START_TEST(P14_a_channel_that_was_being_lost_loses_no_count)
{
	struct handed h;
	int fd;

	use("slot", &h);
	used[h.m.page_index].calls = 9;
	fd = endpoint_channel(capability_entrypoint(slot))->fd;
	unmap();
	channel = world_close(&w, channel);
	world_kill(&w);
	close(fd);
	world_start(&w);
	find_slots();
	ck_assert_ptr_null(capability_entrypoint(slot)->thread);
	ck_assert_uint_eq(slot->record.calls_used, 9);
}
END_TEST

/* One index after the other, as capabilities come and go; memory is given back with the pages. */
START_TEST(indexes_are_used_again_but_not_at_once)
{
	uint32_t highest = 0, last = 0;
	struct handed h;
	uint64_t ram;

	use("slot", &h);
	ram = w.model->root->charged.n[QUOTA_RAM];
	for (unsigned i = 0; i < 1200; i++) {
		int client;

		command("caps/parent/replicate", "as=one");
		client = use("one", &h);
		ck_assert_uint_ne(h.m.page_index, last);
		ck_assert_uint_eq(granted[h.m.page_index].parent_index, granted[1].parent_index);
		last = h.m.page_index;
		highest = last > highest ? last : highest;
		world_close(&w, client);
		world_close(&w, h.fd);
		command("caps/one/revoke", "self");
		ck_assert_uint_eq(granted[last].capability, 0);
		ck_assert_ptr_null(world_slot(&w, w.model->root, "one"));
	}
	ck_assert_uint_lt(highest, 1100);
	ck_assert_uint_gt(w.model->root->charged.n[QUOTA_RAM], ram);
	unmap();
	channel = world_close(&w, channel);
	world_settle(&w);
	ck_assert_uint_lt(w.model->root->charged.n[QUOTA_RAM], ram);
}
END_TEST

START_TEST(a_server_without_ram_counts_nothing_more)
{
	struct charge all = {};
	struct answered a;

	ck_assert_int_eq(charge_init(&all, w.model->root, QUOTA_RAM,
				 (uint32_t)quota_free(w.model->root, QUOTA_RAM) - 100),
		0);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/slot", "", &a), EDQUOT);
	ck_assert_ptr_nonnull(strstr(a.text, "can count no more"));
	charge_deinit(&all);
	ck_assert_int_eq(world_ask(&w, control, WIRE_OPEN, "caps/slot", "", &a), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pages");
	TCase *t = tcase_create("pages");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, pages_come_before_the_first_connection);
	tcase_add_test(t, a_plain_service_has_no_pages);
	tcase_add_test(t, Z42_C13_reduce_and_revoke_are_stores);
	tcase_add_test(t, P10_what_a_server_says_is_not_believed);
	tcase_add_test(t, P14_a_new_broker_goes_on_with_the_same_pages);
	tcase_add_test(t, P14_a_new_broker_writes_what_the_old_one_could_not);
	tcase_add_test(t, what_was_used_outlives_the_server);
	tcase_add_test(t, P14_a_channel_that_was_being_lost_loses_no_count);
	tcase_add_test(t, indexes_are_used_again_but_not_at_once);
	tcase_add_test(t, a_server_without_ram_counts_nothing_more);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
