/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G01 G02 G05 G06 G07 G08 G09 G31 G32 */
/*
 * Visits: quota is lent and comes back whole, whoever ends what. After each step the model is checked, and loaded
 * again from what the store has, as a daemon that was killed there would.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/fixture.h"
#include "tests/model-service.h"

static struct session *client, *proxy;
static struct entrypoint *proxied;

static struct quota
amounts(uint64_t caps, uint64_t ram)
{
	return (struct quota){{[QUOTA_CAPS] = caps, [QUOTA_RAM] = ram}};
}

/* The clients call web, which root serves, and the proxy calls it for others. */
static void
setup(void)
{
	struct capability *c;

	service_setup();
	client = make_session(&w, root, "client", NULL);
	proxy = make_session(&w, root, "proxy", NULL);
	make_grant(&w, origin, client, "web", &(struct reductions){.immutable = true});
	make_grant(&w, origin, proxy, "web", &(struct reductions){.immutable = true});
	proxied = make_entrypoint(&w, proxy, "front");
	c = make_origin(&w, proxied, 1, "front");
	/* What the root gives to one child, from what another one serves. */
	c = make_grant(&w, c, proxy, "for-client", NULL);
	make_grant(&w, c, proxy, "unused", NULL);
}

static struct capability *
slot_of(struct session *s, const char *name)
{
	struct entity *e = slot(s, name);

	ck_assert_ptr_nonnull(e);
	return capability_of(e);
}

/* As of a daemon that is killed now. */
static void
restart(void)
{
	cleanup_free char *before = world_describe(&w), *after = NULL;
	uint64_t app_id = app->entity.id, client_id = client->entity.id, proxy_id = proxy->entity.id;
	uint64_t front_id = proxied->entity.id, origin_id = origin->entity.id;

	model_check(w.model);
	ck_assert_int_eq(world_restart(&w), 0);
	model_check(w.model);
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
	root = w.model->root;
	app = session_find_id(w.model, app_id);
	client = session_find_id(w.model, client_id);
	proxy = session_find_id(w.model, proxy_id);
	proxied = entrypoint_of(entity_find(w.model, front_id));
	origin = capability_of(entity_find(w.model, origin_id));
}

/* Returns: the answer of either. */
static int
open_visit(struct capability *source, struct session *to, struct session *payer, struct visit *via, const char *as,
	struct quota amount)
{
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL;
	enum quota_kind kind;
	int r = capability_visit(ch, source, to, as, strlen(as), 0, &made);

	if (r == 0)
		r = visit_open(ch, made, payer, via, &amount, "mode=rw", 7, &kind);
	return finish(ch, r);
}

static struct visit *
opened(struct session *s, const char *source, struct visit *via, const char *as, struct quota amount)
{
	ck_assert_int_eq(open_visit(slot_of(s, source), s, via ? via->payer : s, via, as, amount), 0);
	model_check(w.model);
	return slot_of(s, as)->visit;
}

static int
answer(struct visit *v, bool accept)
{
	struct change *ch = change_begin(w.model);

	return finish(ch, visit_answer(ch, v, accept));
}

static int
charge(struct visit *v, struct quota amount)
{
	struct change *ch = change_begin(w.model);
	enum quota_kind kind;

	return finish(ch, visit_charge(ch, v, 1U << QUOTA_CAPS | 1U << QUOTA_RAM, &amount, &kind));
}

static int
upgrade(struct visit *v, struct quota amount)
{
	struct change *ch = change_begin(w.model);
	enum quota_kind kind;

	return finish(ch, visit_upgrade(ch, v, &amount, &kind));
}

/* A visit that CLIENT has at the front of PROXY: from a slot as the root would have given it there. */
static struct visit *
visit_proxy(const char *as, struct quota amount)
{
	ck_assert_int_eq(open_visit(slot_of(proxy, "front"), proxy, client, NULL, as, amount), 0);
	ck_assert_int_eq(answer(slot_of(proxy, as)->visit, true), 0);
	model_check(w.model);
	return slot_of(proxy, as)->visit;
}

/* What S has free of both kinds. */
static void
ck_free(const struct session *s, uint64_t caps, uint64_t ram)
{
	ck_assert_uint_eq(quota_free(s, QUOTA_CAPS), caps);
	ck_assert_uint_eq(quota_free(s, QUOTA_RAM), ram);
}

START_TEST(G01_opened_pending_delivered_closed)
{
	uint64_t caps = quota_free(client, QUOTA_CAPS), ram = quota_free(client, QUOTA_RAM);
	struct visit *v = opened(client, "web", NULL, "mine", amounts(2, 8192));

	ck_assert(!v->record.open && v->record.asks);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 8192);
	/* The slot, and the record. */
	ck_free(client, caps - 2 - 1, ram - 8192 - 2 * QUOTA_RAM_SLOT);
	restart();
	v = slot_of(client, "mine")->visit;
	ck_assert_int_eq(answer(v, true), 0);
	ck_assert(v->record.open && !v->record.asks && v->record.answer == VISIT_ACCEPTED);
	restart();
	end_capability(&w, slot_of(client, "mine"));
	/* Before it was reaped as well. */
	restart();
	world_reap(&w);
	ck_free(client, caps, ram);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 0);
	ck_assert_uint_eq(root->n_visits, 0);
	restart();
}
END_TEST

START_TEST(G02_a_duplicate_id_is_refused)
{
	cleanup_free char *before = NULL, *after = NULL;

	opened(client, "web", NULL, "mine", amounts(2, 8192));
	before = world_describe(&w);
	ck_assert_int_eq(open_visit(slot_of(client, "web"), client, client, NULL, "mine", amounts(0, 0)),
		CAPABILITY_E_EXISTS);
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
}
END_TEST

START_TEST(G05_a_second_answer_is_an_error)
{
	struct visit *v = opened(client, "web", NULL, "mine", amounts(2, 8192));

	ck_assert_int_eq(answer(v, true), 0);
	ck_assert_int_eq(answer(v, true), VISIT_E_ANSWERED);
	ck_assert_int_eq(answer(v, false), VISIT_E_ANSWERED);
	ck_assert(capability_is_live(v->capability));
}
END_TEST

START_TEST(G08_a_refused_one_gives_all_back)
{
	uint64_t caps = quota_free(client, QUOTA_CAPS), ram = quota_free(client, QUOTA_RAM);
	struct visit *v = opened(client, "web", NULL, "mine", amounts(2, 8192));

	ck_assert_int_eq(answer(v, false), 0);
	restart();
	world_reap(&w);
	ck_free(client, caps, ram);
	ck_assert_ptr_null(slot(client, "mine"));
	/* Nor does one take anything that cannot be paid for. */
	ck_assert_int_eq(open_visit(slot_of(client, "web"), client, client, NULL, "mine", amounts(0, ram)),
		VISIT_E_QUOTA);
	ck_assert_int_eq(open_visit(slot_of(client, "web"), client, client, NULL, "mine", amounts(UINT64_MAX, 0)),
		VISIT_E_QUOTA);
	ck_assert_int_eq(open_visit(slot_of(client, "web"), client, client, NULL, "mine", amounts(0, UINT64_MAX)),
		VISIT_E_QUOTA);
	ck_free(client, caps, ram);
	model_check(w.model);
}
END_TEST

START_TEST(G07_more_is_lent_when_it_is_accepted)
{
	struct visit *v = opened(client, "web", NULL, "mine", amounts(0, 4096));

	ck_assert_int_eq(upgrade(v, amounts(0, 1)), VISIT_E_ASKS);
	ck_assert_int_eq(answer(v, true), 0);
	ck_assert_int_eq(charge(v, amounts(0, 4096)), 0);
	ck_assert_int_eq(upgrade(v, amounts(0, 4096)), 0);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 8192);
	/* What is not accepted cannot be used, and the visit goes on. */
	ck_assert_int_eq(charge(v, amounts(0, 4097)), VISIT_E_QUOTA);
	ck_assert(v->record.open);
	restart();
	v = slot_of(client, "mine")->visit;
	ck_assert_int_eq(answer(v, true), 0);
	ck_assert_int_eq(charge(v, amounts(0, 8192)), 0);
	ck_assert_int_eq(upgrade(v, amounts(1, 4096)), 0);
	restart();
	v = slot_of(client, "mine")->visit;
	ck_assert_int_eq(answer(v, false), 0);
	ck_assert_int_eq(v->record.answer, VISIT_REFUSED);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 8192);
	ck_assert_uint_eq(client->lent.n[QUOTA_CAPS], 0);
	ck_assert(capability_is_live(v->capability));
	restart();
	ck_assert_int_eq(upgrade(slot_of(client, "mine")->visit, amounts(0, UINT64_MAX)), VISIT_E_QUOTA);
}
END_TEST

START_TEST(G31_a_server_charges_each_client)
{
	struct visit *v = opened(client, "web", NULL, "mine", amounts(1, 4096)), *other;
	uint64_t ram = quota_free(root, QUOTA_RAM);

	make_grant(&w, origin, app, "web", &(struct reductions){.immutable = true});
	other = opened(app, "web", NULL, "mine", amounts(0, 4096));
	ck_assert_int_eq(answer(v, true), 0);
	ck_assert_int_eq(answer(other, true), 0);
	ck_assert_int_eq(charge(v, amounts(1, 3000)), 0);
	ck_assert_int_eq(charge(other, amounts(0, 4000)), 0);
	/* Absolute, not more and more; and not of what another one has lent. */
	ck_assert_int_eq(charge(v, amounts(1, 4000)), 0);
	ck_assert_int_eq(charge(other, amounts(1, 4000)), VISIT_E_QUOTA);
	ck_assert_uint_eq(visit_free(v, QUOTA_RAM), 96);
	ck_assert_uint_eq(quota_free(root, QUOTA_RAM), ram);
	restart();
	ck_assert_uint_eq(visit_free(slot_of(client, "mine")->visit, QUOTA_RAM), 96);
}
END_TEST

/* Each of those who can end it, with what it is open for: nothing stays lent. */
START_TEST(G06_G09_whoever_goes)
{
	uint64_t caps = quota_free(client, QUOTA_CAPS), ram = quota_free(client, QUOTA_RAM);
	struct visit *v;

	for (int state = 0; state < 3; state++) {
		v = opened(client, "web", NULL, "mine", amounts(2, 8192));
		if (state > 0)
			ck_assert_int_eq(answer(v, true), 0);
		if (state > 1)
			ck_assert_int_eq(upgrade(v, amounts(1, 100)), 0);
		/* The slot that it was opened through. */
		end_capability(&w, slot_of(client, "web"));
		restart();
		world_reap(&w);
		ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 0);
		/* That slot is no more, either. */
		ck_free(client, caps + 1, ram + QUOTA_RAM_SLOT);
		make_grant(&w, origin, client, "web", &(struct reductions){.immutable = true});
	}
	/* The client, while it closes another one. */
	v = opened(client, "web", NULL, "mine", amounts(2, 8192));
	opened(client, "web", NULL, "other", amounts(2, 8192));
	end_capability(&w, v->capability);
	ck_assert_int_eq(try_close(&w, client), 0);
	restart();
	world_reap(&w);
	ck_assert_uint_eq(root->n_visits, 0);
	client = app;
	restart();
}
END_TEST

START_TEST(G06_the_server_goes)
{
	struct visit *first = visit_proxy("first", amounts(4, 65536));

	opened(proxy, "web", first, "behind", amounts(1, 4096));
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 65536 - QUOTA_RAM_SLOT);
	{
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(finish(ch, entrypoint_end(ch, proxied)), 0);
	}
	world_reap(&w);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 0);
	ck_assert_uint_eq(client->lent.n[QUOTA_CAPS], 0);
	/* What was opened for that visit went with it. */
	ck_assert_ptr_null(slot(proxy, "behind"));
	ck_assert_uint_eq(root->n_visits, 0);
}
END_TEST

START_TEST(G32_forty_through_a_proxy_are_the_clients)
{
	uint64_t ram = quota_free(client, QUOTA_RAM), proxy_ram, proxy_lent;
	struct visit *first = visit_proxy("first", amounts(0, 262144));
	const uint64_t lent = quota_free(client, QUOTA_RAM);
	char name[32];

	ck_assert_uint_eq(lent, ram - 262144 - QUOTA_RAM_SLOT);
	proxy_ram = quota_free(proxy, QUOTA_RAM);
	proxy_lent = proxy->lent.n[QUOTA_RAM];
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "behind-%d", i);
		opened(proxy, "web", first, name, amounts(0, 4096));
		ck_assert_int_eq(answer(slot_of(proxy, name)->visit, true), 0);
		ck_assert_int_eq(charge(slot_of(proxy, name)->visit, amounts(0, 4096)), 0);
		/* All of it is what the client has lent at first. */
		ck_assert_uint_eq(quota_free(client, QUOTA_RAM), lent);
	}
	/* The proxy pays for its slots, as everybody does, and lends nothing. */
	ck_assert_uint_eq(proxy->lent.n[QUOTA_RAM], proxy_lent);
	ck_assert_uint_eq(quota_free(proxy, QUOTA_RAM), proxy_ram - 20 * QUOTA_RAM_SLOT);
	ck_assert_uint_eq(visit_free(first, QUOTA_RAM), 262144 - 20 * (4096 + QUOTA_RAM_SLOT));
	/* No more than there is; and what one had others can have after it. */
	ck_assert_int_eq(open_visit(slot_of(proxy, "web"), proxy, client, first, "more",
				 amounts(0, visit_free(first, QUOTA_RAM) - QUOTA_RAM_SLOT + 1)),
		VISIT_E_QUOTA);
	restart();
	first = slot_of(proxy, "first")->visit;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "behind-%d", i);
		end_capability(&w, slot_of(proxy, name));
		world_reap(&w);
	}
	ck_assert_uint_eq(visit_free(first, QUOTA_RAM), 262144);
	for (int i = 20; i < 40; i++) {
		snprintf(name, sizeof(name), "behind-%d", i);
		opened(proxy, "web", first, name, amounts(0, 4096));
	}
	ck_assert_int_eq(upgrade(slot_of(proxy, "behind-20")->visit, amounts(0, 1)), VISIT_E_ASKS);
	ck_assert_int_eq(answer(slot_of(proxy, "behind-20")->visit, true), 0);
	ck_assert_int_eq(upgrade(slot_of(proxy, "behind-20")->visit, amounts(0, 100)), 0);
	ck_assert_uint_eq(quota_free(client, QUOTA_RAM), lent);
	ck_assert_int_eq(answer(slot_of(proxy, "behind-20")->visit, false), 0);
	ck_assert_uint_eq(visit_free(first, QUOTA_RAM), 262144 - 20 * (4096 + QUOTA_RAM_SLOT));
	end_capability(&w, first->capability);
	restart();
	world_reap(&w);
	ck_assert_uint_eq(quota_free(client, QUOTA_RAM), ram);
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 0);
	ck_assert_ptr_null(slot(proxy, "behind-39"));
	restart();
}
END_TEST

/* Whatever is reaped at once, and wherever a daemon ends in between: none of them outlives what it was made for. */
START_TEST(what_was_made_for_it_goes_in_any_slices)
{
	struct visit *first = visit_proxy("first", amounts(0, 262144));
	char name[32];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "behind-%d", i);
		opened(proxy, "web", first, name, amounts(0, 4096));
	}
	end_capability(&w, first->capability);
	for (int r = 1; r > 0;) {
		r = model_reap(w.model, 1);
		ck_assert_int_ge(r, 0);
		for (int i = 0; i < 3; i++) {
			struct entity *e;

			snprintf(name, sizeof(name), "behind-%d", i);
			e = slot(proxy, name);
			ck_assert(!e || !capability_is_live(capability_of(e)));
		}
		restart();
	}
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "behind-%d", i);
		ck_assert_ptr_null(slot(proxy, name));
	}
}
END_TEST

/* The payer has as much as before, so its log need not give way. */
START_TEST(what_goes_back_takes_no_events)
{
	struct visit *first = visit_proxy("first", amounts(0, quota_free(client, QUOTA_RAM) - 65536));
	uint64_t ram = visit_free(first, QUOTA_RAM), bytes;

	opened(proxy, "web", first, "behind", amounts(0, ram - QUOTA_RAM_SLOT));
	for (int i = 0; i < 50; i++)
		log_text(w.model, client, "line %d", i);
	bytes = client->event_bytes;
	end_capability(&w, slot_of(proxy, "behind"));
	world_reap(&w);
	ck_assert_uint_eq(visit_free(first, QUOTA_RAM), ram);
	ck_assert_uint_eq(client->event_bytes, bytes);
}
END_TEST

/*
 * The end of one in the middle of a chain takes those behind it, and the one before it has what all of them had,
 * wherever a slice or a daemon ends. The payer has as much as before, so its log need not give way.
 */
START_TEST(G32_the_end_of_a_middle_one_goes_back_to_the_first)
{
	struct visit *first = visit_proxy("first", amounts(3, quota_free(client, QUOTA_RAM) - 65536)), *v;
	uint64_t ram = visit_free(first, QUOTA_RAM), lent = client->lent.n[QUOTA_RAM], bytes;

	for (unsigned slice = 1; slice < 5; slice++) {
		v = opened(proxy, "front", first, "middle", amounts(2, ram - 4096));
		ck_assert_int_eq(answer(v, true), 0);
		v = opened(proxy, "front", v, "third", amounts(1, ram - 8192));
		ck_assert_int_eq(answer(v, true), 0);
		opened(proxy, "web", v, "last", amounts(0, 4096));
		for (int i = 0; i < 50; i++)
			log_text(w.model, client, "line %d", i);
		bytes = client->event_bytes;
		end_capability(&w, slot_of(proxy, "middle"));
		while (model_reap(w.model, slice) > 0)
			restart();
		first = slot_of(proxy, "first")->visit;
		ck_assert_uint_eq(visit_free(first, QUOTA_RAM), ram);
		ck_assert_uint_eq(visit_free(first, QUOTA_CAPS), 3);
		ck_assert_uint_eq(client->lent.n[QUOTA_RAM], lent);
		ck_assert_uint_eq(client->event_bytes, bytes);
		ck_assert_uint_eq(root->n_visits, 0);
	}
}
END_TEST

START_TEST(servers_visit_for_each_other_so_deep)
{
	struct visit *v = visit_proxy("first", amounts(0, 262144));
	char name[32];

	for (int i = 1; i < VISIT_DEPTH_MAX; i++) {
		snprintf(name, sizeof(name), "next-%d", i);
		v = opened(proxy, "front", v, name, amounts(0, 65536 - (uint64_t)i * 1024));
		ck_assert_int_eq(answer(v, true), 0);
	}
	ck_assert_int_eq(open_visit(slot_of(proxy, "front"), proxy, client, v, "last", amounts(0, 0)), VISIT_E_DEPTH);
	restart();
	/* With slices of one, which end anywhere. */
	end_capability(&w, slot_of(proxy, "first"));
	while (model_reap(w.model, 1) > 0)
		restart();
	ck_assert_uint_eq(client->lent.n[QUOTA_RAM], 0);
}
END_TEST

START_TEST(a_store_that_fails_changes_nothing)
{
	struct visit *v = opened(client, "web", NULL, "mine", amounts(1, 4096));
	cleanup_free char *before = world_describe(&w), *after = NULL;

	w.store->fail_after = 0;
	w.store->fail_error = -ENOSPC;
	{
		struct change *ch = change_begin(w.model);

		ck_assert_int_eq(change_finish(ch, visit_answer(ch, v, true)), -ENOSPC);
	}
	w.store->fail_after = UINT64_MAX;
	after = world_describe(&w);
	ck_assert_str_eq(after, before);
	model_check(w.model);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("visits");
	TCase *c = tcase_create("visits");

	tcase_add_checked_fixture(c, setup, service_teardown);
	tcase_add_test(c, G01_opened_pending_delivered_closed);
	tcase_add_test(c, G02_a_duplicate_id_is_refused);
	tcase_add_test(c, G05_a_second_answer_is_an_error);
	tcase_add_test(c, G06_G09_whoever_goes);
	tcase_add_test(c, G06_the_server_goes);
	tcase_add_test(c, G07_more_is_lent_when_it_is_accepted);
	tcase_add_test(c, G08_a_refused_one_gives_all_back);
	tcase_add_test(c, G31_a_server_charges_each_client);
	tcase_add_test(c, G32_forty_through_a_proxy_are_the_clients);
	tcase_add_test(c, what_was_made_for_it_goes_in_any_slices);
	tcase_add_test(c, what_goes_back_takes_no_events);
	tcase_add_test(c, G32_the_end_of_a_middle_one_goes_back_to_the_first);
	tcase_add_test(c, servers_visit_for_each_other_so_deep);
	tcase_add_test(c, a_store_that_fails_changes_nothing);
	suite_add_tcase(s, c);
	return fixture_main(s);
}
