/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: P13 S20 */
/* The tree: its nodes, their numbers and modes, listings, and texts. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capfsd/tree/lists.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

START_TEST(S20_info_tells_object_badge_and_owner)
{
	struct world w;

	world_init(&w);
	serve(&w);
	expect_line(&w, "caps/kv/info", "type=object\nentrypoint=init/kv\n");
	expect_line(&w, "caps/kv/info", "socket=stream\nrights=call,grant,replicate,reduce,transfer,share\n");
	expect_line(&w, "caps/kv/info", "served=yes revocation=full\n");
	expect_line(&w, "entrypoints/kv/objects", "key=0 ");
	expect_line(&w, "entrypoints/kv/info", "state=served");
	world_deinit(&w);
}
END_TEST

START_TEST(a_limit_of_an_ancestor_is_shown)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "rights=call\nexpires=never\n");
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=2 calls=5"), 0);
	expect_line(&w, "sessions/app/caps/kv/info",
		"calls limit=none used=0 left=5\nconns limit=none used=0 left=2\n");
	world_deinit(&w);
}
END_TEST

static unsigned
count_lines(struct world *w, const char *path)
{
	char *text = text_of(w, path);
	unsigned n = 0;

	for (const char *p = text; *p; p++)
		n += *p == '\n';
	free(text);
	return n;
}

START_TEST(long_texts_are_bounded)
{
	const struct quota plenty = {.n = {1 << 20, 1024, 64, 1 << 30, 256}};
	struct world w;
	char text[64];

	world_init(&w);
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=10000 ram=100M"), 0);
	for (unsigned i = 1; i <= LISTS_LINES_MAX + 1; i++) {
		snprintf(text, sizeof(text), "to=app as=s%u", i);
		ck_assert_int_eq(put_only(&w, "caps/kv/grant", text), 0);
		snprintf(text, sizeof(text), "key=%u", i);
		ck_assert_int_eq(put_only(&w, "entrypoints/kv/objects", text), 0);
		if (i == LISTS_LINES_MAX)
			ck_assert_uint_eq(count_lines(&w, "caps/kv/holders"), LISTS_LINES_MAX);
	}
	ck_assert_uint_eq(count_lines(&w, "caps/kv/holders"), LISTS_LINES_MAX + 1);
	expect_line(&w, "caps/kv/holders", "\n... more\n");
	expect_line(&w, "entrypoints/kv/objects", "\n... more\n");
	ck_assert_uint_eq(count_lines(&w, "entrypoints/kv/objects"), LISTS_LINES_MAX);
	world_deinit(&w);
}
END_TEST

static uint64_t later_usec;

static uint64_t
later(void)
{
	return later_usec;
}

START_TEST(what_has_ended_is_hidden_and_keeps_its_name_for_a_while)
{
	struct world w;
	struct node node;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=8"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app expires=1000"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=other"), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=one"), 0);
	ck_assert_int_eq(put(&w, "caps/one/reduce", "expires=1000"), 0);
	later_usec = w.model->now_usec() + UINT64_C(1001) * 1000000;
	w.model->now_usec = later;
	ck_assert(!exists(&w, "sessions/app/caps/kv"));
	ck_assert_int_eq(put_only(&w, "caps/kv/grant", "to=app as=kv"), EBUSY);
	ck_assert_str_eq(w.request.text.data, "the slot 'kv' of init/app is being ended");
	ck_assert_int_eq(put_only(&w, "caps/kv/grant", "to=app"), 0);
	ck_assert(exists(&w, "sessions/app/caps/kv-2"));
	ck_assert_int_eq(tree_rename(ask(&w), walk(&w, "sessions/app/caps"), "other", 5,
				 walk(&w, "sessions/app/caps"), "kv", 2),
		0);
	ck_assert_int_eq(w.request.error, EBUSY);
	/* A server that finds its slot ended is not told that it has one. */
	ck_assert_int_eq(put_only(&w, "entrypoints/kv/objects", "key=1 as=one"), EBUSY);
	ck_assert_int_eq(put_only(&w, "caps/kv/revoke", "to=app"), 0);
	ck_assert_int_eq(tree_remove(ask(&w), walk(&w, "sessions"), "app", 3), 0);
	ck_assert_int_eq(w.request.error, 0);
	ck_assert(!exists(&w, "sessions/app"));
	ck_assert_int_eq(tree_create(ask(&w), walk(&w, "sessions"), "app", 3, "", 0), 0);
	ck_assert_int_eq(w.request.error, EBUSY);
	ck_assert_str_eq(w.request.text.data, "the session 'app' is being closed");
	node = walk(&w, "entrypoints/kv/objects");
	ck_assert_int_eq(entrypoint_end(change_begin(w.model),
				 container_of(node.entity, struct entrypoint, entity)),
		0);
	ck_assert_int_eq(change_commit(w.model->change), 0);
	ck_assert(!exists(&w, "entrypoints/kv"));
	ck_assert_int_eq(tree_write(ask(&w), node, "key=7", 5), 0);
	ck_assert_int_eq(w.request.error, EBUSY);
	ck_assert_str_eq(w.request.text.data, "the entrypoint kv is being ended");
	world_deinit(&w);
}
END_TEST

static bool
count_entry(void *data, const char *name, struct node node, uint64_t cookie)
{
	uint64_t *last = data;

	ck_assert_uint_gt(cookie, last[0]);
	last[0] = cookie;
	last[1]++;
	return last[1] % 10 != 0;
}

static void
list_from(struct world *w, uint64_t state[2])
{
	uint64_t cookie = state[0];
	bool more;

	ck_assert_int_eq(tree_list(w->model, walk(w, "sessions/app/caps"), &cookie, count_entry, state, &more), 0);
	/* What was refused is not behind it. */
	ck_assert(!more || cookie < state[0]);
}

START_TEST(listing_resumes_by_cookie_also_when_that_slot_is_gone)
{
	struct world w;
	uint64_t state[2] = {};
	char text[64];

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=100"), 0);
	for (int i = 0; i < 35; i++) {
		snprintf(text, sizeof(text), "to=app as=n%d", i);
		ck_assert_int_eq(put(&w, "caps/kv/grant", text), 0);
	}
	list_from(&w, state);
	ck_assert_uint_eq(state[1], 10);
	ck_assert_int_eq(removed(&w, "sessions/app/caps", "n9"), 0);
	while (state[1] < 35) {
		uint64_t n = state[1];

		list_from(&w, state);
		ck_assert_uint_gt(state[1], n);
	}
	ck_assert_uint_eq(state[1], 35);
	world_deinit(&w);
}
END_TEST

#define MANY 1500
#define DEEP 60

static bool
note_entry(void *data, const char *name, struct node node, uint64_t cookie)
{
	unsigned *n = data;

	/* Each once, and in their order. */
	ck_assert_int_eq(atoi(name + 1), (*n)++);
	return true;
}

/* Gives N slots, each derived from SLOT, to SESSION, and lists them. Returns: in how many pieces. */
static unsigned
list_in_pieces(struct world *w, const char *slot, const char *session, unsigned n)
{
	char text[64], grant[64], path[64];
	unsigned n_pieces = 0, n_found = 0, before;
	uint64_t cookie = 0;
	bool more = true;

	snprintf(grant, sizeof(grant), "caps/%s/grant", slot);
	snprintf(path, sizeof(path), "sessions/%s/caps", session);
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "to=%s as=n%u", session, i);
		ck_assert_int_eq(put(w, grant, text), 0);
	}
	for (; more; n_pieces++) {
		before = n_found;
		ck_assert_int_eq(tree_list(w->model, walk(w, path), &cookie, note_entry, &n_found, &more), 0);
		ck_assert(!more || n_found > before);
	}
	ck_assert_uint_eq(n_found, n);
	return n_pieces;
}

/* Whether a slot is shown is for all those to say that it was derived from. */
START_TEST(a_long_list_is_told_in_pieces)
{
	const struct quota plenty = {.n = {1 << 20, 1024, 64, 1 << 30, 256}};
	char text[64] = "as=d0", path[64] = "caps/kv/replicate";
	struct world w;
	unsigned flat;

	world_init(&w);
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=2000 ram=10M"), 0);
	ck_assert_int_eq(make(&w, "sessions", "deep", "caps=2000 ram=10M"), 0);
	flat = list_in_pieces(&w, "kv", "app", MANY);
	ck_assert_uint_gt(flat, 1);
	ck_assert_uint_lt(flat, 10);
	for (int i = 0; i < DEEP; i++) {
		ck_assert_int_eq(put(&w, path, text), 0);
		snprintf(path, sizeof(path), "caps/d%d/replicate", i);
		snprintf(text, sizeof(text), "as=d%d", i + 1);
	}
	snprintf(text, sizeof(text), "d%d", DEEP - 1);
	ck_assert_uint_gt(list_in_pieces(&w, text, "deep", MANY), 3 * flat);
	world_deinit(&w);
}
END_TEST

static bool
count_socket(void *data, const char *name, struct node node, uint64_t cookie)
{
	unsigned *n = data;

	ck_assert(node.row->type == ROW_SOCKET);
	return ++*n > 0;
}

static int
link_count(struct world *w, const char *path)
{
	struct node_stat st;

	tree_stat(walk(w, path), &st);
	return (int)st.nlink;
}

/* What is done to an alias is done to it, and not to the slot whose socket it names. */
START_TEST(an_alias_is_a_name_of_the_socket)
{
	struct world w;
	unsigned n = 0;
	uint64_t cookie = 0;
	bool more;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	ck_assert_int_eq(make(&w, "caps/kv/as", ".s.PGSQL.5432", ""), 0);
	ck_assert_int_eq(make(&w, "caps/kv/as", "X5", ""), 0);
	ck_assert_int_eq(make(&w, "caps/kv/as", "X6", "caps=1"), EPERM);
	ck_assert_uint_eq(tree_number(walk(&w, "caps/kv/as/X5")), tree_number(walk(&w, "caps/kv/socket")));
	ck_assert_uint_eq(tree_number(walk(&w, "sessions/app/caps/kv/as/X5")),
		tree_number(walk(&w, "sessions/app/caps/kv/socket")));
	/* Only a slot's own are counted. */
	ck_assert_int_eq(link_count(&w, "caps/kv/socket"), 3);
	ck_assert_int_eq(link_count(&w, "sessions/app/caps/kv/socket"), 1);
	ck_assert_int_eq(link_count(&w, "caps/kv"), 3);
	ck_assert_int_eq(link_count(&w, "caps/kv/as"), 2);
	ck_assert_int_eq(tree_list(w.model, walk(&w, "sessions/app/caps/kv/as"), &cookie, count_socket, &n, &more), 0);
	ck_assert(!more);
	ck_assert_uint_eq(n, 2);
	ck_assert_int_eq(removed(&w, "sessions/app/caps/kv/as", "X5"), EPERM);
	ck_assert_int_eq(removed(&w, "caps/kv/as", "X7"), ENOENT);
	ck_assert_int_eq(removed(&w, "caps/kv/as", "X5"), 0);
	ck_assert(exists(&w, "caps/kv/socket") && !exists(&w, "sessions/app/caps/kv/as/X5"));
	ck_assert_int_eq(link_count(&w, "caps/kv/socket"), 2);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "self"), 0);
	ck_assert_uint_eq(w.model->n[ENTITY_ALIAS], 0);
	world_deinit(&w);
}
END_TEST

START_TEST(P13_modes_follow_the_session_and_the_slot)
{
	struct world w;
	struct node_stat st;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	tree_stat(walk(&w, "sessions/app/caps/kv/info"), &st);
	ck_assert_uint_eq(st.mode, S_IFREG | 0400);
	ck_assert_uint_eq(st.uid, 1000);
	ck_assert_int_eq(
		tree_set_owner(ask(&w), walk(&w, "sessions/app/caps/kv"), 7, (gid_t)-1, 0750), 0);
	tree_stat(walk(&w, "sessions/app/caps/kv/socket"), &st);
	ck_assert_uint_eq(st.mode, S_IFSOCK | 0640);
	ck_assert_uint_eq(st.uid, 7);
	tree_stat(walk(&w, "README"), &st);
	ck_assert_uint_eq(st.mode, S_IFREG | 0444);
	ck_assert_int_eq(tree_set_owner(ask(&w), walk(&w, "caps"), 7, (gid_t)-1, 0750), 0);
	ck_assert_int_eq(w.request.error, EPERM);
	world_deinit(&w);
}
END_TEST

START_TEST(node_numbers_lead_back)
{
	static const char *const paths[] = {"", "README", "caps", "caps/kv", "caps/kv/socket",
		"entrypoints/kv/objects", "sessions/app/control"};
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_uint_eq(tree_number(walk(&w, "")), 1);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct node node = walk(&w, paths[i]), back;

		ck_assert(tree_node(w.model, tree_number(node), &back));
		ck_assert_ptr_eq(back.entity, node.entity);
		ck_assert_ptr_eq(back.row, node.row);
	}
	ck_assert(!exists(&w, "sessions/app/README"));
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tree");
	TCase *t = fixture_case(s, "tree", 4);

	tcase_set_timeout(t, 60);
	tcase_add_test(t, S20_info_tells_object_badge_and_owner);
	tcase_add_test(t, a_limit_of_an_ancestor_is_shown);
	tcase_add_test(t, long_texts_are_bounded);
	tcase_add_test(t, what_has_ended_is_hidden_and_keeps_its_name_for_a_while);
	tcase_add_test(t, listing_resumes_by_cookie_also_when_that_slot_is_gone);
	tcase_add_test(t, a_long_list_is_told_in_pieces);
	tcase_add_test(t, an_alias_is_a_name_of_the_socket);
	tcase_add_test(t, P13_modes_follow_the_session_and_the_slot);
	tcase_add_test(t, node_numbers_lead_back);
	return fixture_main(s);
}
