/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G26 P02 Z41 */
/* What is asked for by way of the tree: commands and their usages, sessions, refusals, events. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/verbs/verbs.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

START_TEST(Z41_bad_commands_change_nothing)
{
	static const struct {
		const char *path, *text;
		int error;
	} bad[] = {
		{"caps/kv/grant", "", EINVAL},
		{"caps/kv/grant", "to=app to=app", EINVAL},
		{"caps/kv/grant", "to", EINVAL},
		{"caps/kv/grant", "to=app immutable=1", EINVAL},
		{"caps/kv/grant", "to=app colour=red", EINVAL},
		{"caps/kv/grant", "to=app rights=fly", EINVAL},
		{"caps/kv/grant", "to=app rights=call,", EINVAL},
		{"caps/kv/grant", "to=app conns=0", EINVAL},
		{"caps/kv/grant", "to=app conns=-1", EINVAL},
		{"caps/kv/grant", "to=app conns=18446744073709551616", EINVAL},
		{"caps/kv/grant", "to=app expires=0", EINVAL},
		{"caps/kv/grant", "to=app expires=yesterday", EINVAL},
		{"caps/kv/grant", "to=app expires=1969-12-31T23:59:59Z", EINVAL},
		{"caps/kv/grant", "to=app expires=2099-02-31T00:00:00Z", EINVAL},
		{"caps/kv/grant", "to=app expires=2099-01-31T24:00:00Z", EINVAL},
		{"caps/kv/grant", "to=app expires=2099-1-31T00:00:00Z", EINVAL},
		{"caps/kv/grant", "to=app expires=99-01-31T00:00:00Z", EINVAL},
		{"caps/kv/grant", "to=app expires=2099-01-31T00:00:00", EINVAL},
		{"caps/kv/grant", "to=app expires=2099-01-31T00:00:00Z0", EINVAL},
		{"caps/kv/grant", "to=app expires=18446744073709551615", EINVAL},
		{"caps/kv/grant", "to=app expires=9999999999999999999w", EINVAL},
		{"caps/kv/grant", "to=app expires=30500568904944w", EINVAL},
		{"caps/kv/grant", "to=app expires=m", EINVAL},
		{"caps/kv/grant", "to=app expires=1y", EINVAL},
		{"caps/kv/grant", "to=app expires=1hm", EINVAL},
		{"caps/kv/grant", "to=app expires=0m", EINVAL},
		{"caps/kv/grant", "to=app rate=5", EINVAL},
		{"caps/kv/grant", "to=app rate=0/s", EINVAL},
		{"caps/kv/grant", "to=app rate=1000001/s", EINVAL},
		{"caps/kv/grant", "to=app rate=5/min", EINVAL},
		{"caps/kv/grant", "to=app methods=1-2", EOPNOTSUPP},
		{"caps/kv/grant", "to=app\nas=x", EINVAL},
		{"caps/kv/grant", "to=app as=\xff", EINVAL},
		{"caps/kv/grant", "to=app as=.hidden", EINVAL},
		{"caps/kv/grant", "to=nobody", ENOENT},
		{"caps/kv/grant", "to=../app", ENOENT},
		{"caps/kv/reduce", "rights=call,grant,replicate,reduce,transfer,share", EINVAL},
		{"caps/kv/replicate", "to=app", EINVAL},
		{"caps/kv/replicate", "as=kv", EEXIST},
		{"caps/kv/replicate", "as=x calls=3", EINVAL},
		{"caps/kv/replicate", "as=x rights=fds", EPERM},
		{"caps/kv/transfer", "as=x", EINVAL},
		{"caps/kv/transfer", "to=nobody", ENOENT},
		{"caps/kv/transfer", "to=app rights=call", EINVAL},
		{"caps/kv/reduce", "to=app", EINVAL},
		{"caps/kv/revoke", "2", EINVAL},
		{"caps/kv/revoke", "1 self", EINVAL},
		{"caps/kv/revoke", "id=999", ENOENT},
		{"caps/kv/revoke", "to=app", ENOENT},
		{"transfer_quota", "to=app", EINVAL},
		{"transfer_quota", "caps=1", EINVAL},
		{"transfer_quota", "to=app from=app caps=1", EINVAL},
		{"transfer_quota", "to=app caps=99999999", EDQUOT},
		{"transfer_quota", "from=app caps=1", EDQUOT},
		{"entrypoints/kv/objects", "key=x", EINVAL},
		{"entrypoints/kv/objects", "key=0x", EINVAL},
		{"entrypoints/kv/objects", "key=0x0x5", EINVAL},
		{"entrypoints/kv/objects", "key=0x-5", EINVAL},
		{"entrypoints/kv/objects", "key=0x12345678123456780", EINVAL},
		{"entrypoints/kv/objects", "key=0 socket=seqpacket", EEXIST},
		{"entrypoints/kv/objects", "remove=0xdead", ENOENT},
		{"entrypoints/kv/objects", "remove=0xdead key=1", EINVAL},
		{"entrypoints/kv/objects", "as=kv", EINVAL},
	};
	struct world w;
	char *before, *after;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	before = text_of(&w, "caps/kv/info");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int error = put(&w, bad[i].path, bad[i].text);

		ck_assert_msg(error == bad[i].error, "%s '%s': %s instead of %s", bad[i].path,
			bad[i].text, strerror(error), strerror(bad[i].error));
		ck_assert_uint_gt(w.request.text.n, 0);
	}
	after = text_of(&w, "caps/kv/info");
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_uint_eq(w.model->n[ENTITY_CAPABILITY], 1);
	world_deinit(&w);
}
END_TEST

START_TEST(an_object_speaks_one_protocol)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 protocol=calls"), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1"), EEXIST);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=2 protocol=http"), EINVAL);
	ck_assert_int_eq(
		put(&w, "entrypoints/kv/objects", "key=2 socket=stream protocol=calls"), EINVAL);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=3 as=raw"), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=3 protocol=calls"), EEXIST);
	world_deinit(&w);
}
END_TEST

/* Long names are the choice of those who are audited: what they did stands ahead of them. */
START_TEST(long_labels_cut_nothing_off_that_matters)
{
	char path[1024] = "sessions", label[1024] = "", quota[64], text[1100];
	char name[NAME_BYTES_MAX + 1] = "";
	struct world w;

	world_init(&w);
	serve(&w);
	memset(name, 'n', NAME_BYTES_MAX);
	for (int i = 0; i < 10; i++) {
		snprintf(quota, sizeof(quota), "caps=%d ram=%dK", 100 - 2 * i, 10000 - 8 * i);
		ck_assert_int_eq(make(&w, path, name, quota), 0);
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s/sessions", name);
		snprintf(label + strlen(label), sizeof(label) - strlen(label), "%s%s",
			i > 0 ? "/" : "", name);
	}
	snprintf(text, sizeof(text), "to=%s", label);
	ck_assert_int_eq(put(&w, "caps/kv/grant", text), 0);
	expect_event(&w, "nnn slot=kv id=");
	expect_event(&w, " uid=1000 from=init/caps/kv\n");
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), 0);
	expect_event(&w, "revoke session=init slot=kv uid=1000 to=nnn");
	path[strlen(path) - strlen("/nnn/sessions") - NAME_BYTES_MAX + 3] = '\0';
	ck_assert_int_eq(removed(&w, path, name), 0);
	expect_event(&w, "close session=init/.../nnn");
	expect_event(&w, "nnn id=");
	world_deinit(&w);
}
END_TEST

START_TEST(every_refusal_is_an_event)
{
	struct world w;
	struct node root, caps;
	char name[300];

	world_init(&w);
	serve(&w);
	root = walk(&w, "");
	caps = walk(&w, "caps");
	ck_assert_int_eq(removed(&w, "caps", "none"), ENOENT);
	expect_event(&w, "refused remove session=init slot=none uid=1000 ENOENT: there is no 'none'");
	ck_assert_int_eq(removed(&w, "", "caps"), EPERM);
	expect_event(&w, "refused remove session=init at=caps uid=1000 EPERM");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(removed(&w, "caps", name), ENOENT);
	expect_event(&w, "xx uid=1000 ENOENT");
	ck_assert_int_eq(make(&w, "caps", "dir", ""), EPERM);
	expect_event(&w, "refused create session=init slot=dir uid=1000 EPERM");
	ck_assert_int_eq(put(&w, "caps/kv/info", "x"), EACCES);
	expect_event(&w, "refused write session=init slot=kv at=caps/kv/info uid=1000 EACCES");
	ck_assert_int_eq(tree_rename(ask(&w), caps, "kv", 2, root, "kv", 2), 0);
	expect_event(&w, "refused rename session=init slot=kv uid=1000 EXDEV");
	ck_assert_int_eq(tree_rename(ask(&w), caps, "no", 2, caps, "kv", 2), 0);
	expect_event(&w, "refused rename session=init slot=no uid=1000 ENOENT");
	ck_assert_int_eq(tree_set_owner(ask(&w), caps, 7, (gid_t)-1, 0750), 0);
	expect_event(&w, "refused chmod session=init at=caps uid=1000 EPERM");
	world_deinit(&w);
}
END_TEST

static uint64_t
long_ago(void)
{
	return UINT64_C(60000) * 1000000;
}

START_TEST(times_are_taken_whole)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app expires=2099-12-31T23:59:59Z"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "expires=2099-12-31T23:59:59Z\n");
	w.model->now_usec = long_ago;
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=hours expires=2h"), 0);
	expect_line(&w, "sessions/app/caps/hours/info", "expires=1970-01-01T18:40:00Z\n");
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app as=weeks expires=1w"), 0);
	expect_line(&w, "sessions/app/caps/weeks/info", "expires=1970-01-08T16:40:00Z\n");
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=0xaB as=hex"), 0);
	expect_line(&w, "entrypoints/kv/objects", "key=171 ");
	world_deinit(&w);
}
END_TEST

/* What the daemon does with --quota=; each mistake is named. */
START_TEST(quotas_of_the_command_line_are_taken_whole)
{
	static const struct {
		const char *text, *reason;
	} bad[] = {
		{"caps=7,", "'' is not KIND=N"},
		{",caps=7", "'' is not KIND=N"},
		{"caps=7,,ram=1", "'' is not KIND=N"},
		{"caps", "'caps' is not KIND=N"},
		{"cups=1,ram=1", "'cups=1' is not KIND=N"},
		{"caps=", "'caps=' has no valid number"},
		{"caps=7,ram=1Q", "'ram=1Q' has no valid number"},
		{"caps=7,caps=8", "'caps' is given twice"},
		{"inflight=8", "'inflight' is given twice"},
	};
	struct quota q = {.n = {1, 2, 3, 4, 5}}, before = q;
	uint32_t given = 1u << QUOTA_INFLIGHT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cleanup_text struct text reason = {};

		ck_assert_int_eq(quota_parse(bad[i].text, &q, &given, &reason), -EINVAL);
		ck_assert_str_eq(reason.data, bad[i].reason);
		ck_assert_mem_eq(&q, &before, sizeof(q));
		ck_assert_uint_eq(given, 1u << QUOTA_INFLIGHT);
	}
	ck_assert_int_eq(quota_parse("", &q, &given, NULL), 0);
	ck_assert_int_eq(quota_parse("caps=7,ram=1K", &q, &given, NULL), 0);
	ck_assert_uint_eq(q.n[QUOTA_CAPS], 7);
	ck_assert_uint_eq(q.n[QUOTA_RAM], 1024);
	ck_assert_uint_eq(given, 1u << QUOTA_INFLIGHT | 1u << QUOTA_CAPS | 1u << QUOTA_RAM);
}
END_TEST

/* A fresh open of a command file tells what may be written to it, and not what would be refused. */
START_TEST(usages_come_from_the_rows)
{
	static const struct {
		const char *path, *usage;
	} usages[] = {
		{"caps/rpc/grant",
			"to=SESSION [as=NAME] [rights=call,grant,replicate,reduce,transfer,share] "
			"[methods=LO-HI,...] [calls=N] [conns=N] [rate=N/s] "
			"[expires=SECONDS|TIME] [immutable]\n"},
		{"caps/kv/reduce",
			"[rights=call,grant,replicate,reduce,transfer,share] [calls=N] [conns=N] "
			"[rate=N/s] [expires=SECONDS|TIME] [immutable] or used=N\n"},
		{"caps/rpc/replicate",
			"as=NAME [rights=call,grant,replicate,reduce,transfer,share] "
			"[methods=LO-HI,...] [conns=N] [rate=N/s] [expires=SECONDS|TIME] "
			"[immutable]\n"},
		{"caps/alone/grant",
			"to=SESSION [as=NAME] [rights=call,grant,replicate,reduce,transfer,share] "
			"[expires=SECONDS|TIME] [immutable]\n"},
		{"caps/kv/transfer", "to=SESSION [as=NAME]\n"},
		{"caps/kv/revoke", "1 | self | to=SESSION | id=N\n"},
		{"caps/kv/call",
			"one request of at most 65536 bytes; then read its reply from the same open "
			"file\n"},
		{"transfer_quota",
			"to=SESSION|from=SESSION [caps=N] [sockets=N] [threads=N] [ram=N] "
			"[inflight=N]\n"},
	};
	struct entrypoint *e;
	struct change *ch;
	struct world w;

	world_init(&w);
	serve(&w);
	ch = change_begin(w.model);
	ck_assert_int_eq(entrypoint_attach(
				 ch, w.model->root, "alone", 5, ENTRYPOINT_LISTEN, 1, &e),
		0);
	ck_assert_int_eq(change_commit(ch), 0);
	ck_assert_int_eq(put(&w, "entrypoints/alone/objects", "key=1 as=alone"), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	for (size_t i = 0; i < sizeof(usages) / sizeof(usages[0]); i++) {
		char *text = text_of(&w, usages[i].path);

		ck_assert_str_eq(text, usages[i].usage);
		free(text);
	}
	/* The socket of an object that listens is its own node, which has a path as any other. */
	ck_assert_int_eq(
		tree_set_owner(ask(&w), walk(&w, "caps/alone/socket"), 7, (gid_t)-1, 0700), 0);
	expect_event(&w, "refused chmod session=init entrypoint=alone at=entrypoints/alone/1/socket uid=1000 EPERM");
	world_deinit(&w);
}
END_TEST

/* In `metrics` a verb is called as in events, where the name of its row stands. */
START_TEST(verbs_have_one_name)
{
	static const struct verb *const rows[] = {&verb_grant, &verb_replicate, &verb_transfer,
		&verb_reduce, &verb_revoke, &verb_object, &verb_transfer_quota, &verb_create,
		&verb_remove, &verb_rename, &verb_chmod, &verb_import};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_str_eq(verb_names[rows[i]->number], rows[i]->name);
	ck_assert_str_eq(verb_names[VERB_OTHER], "other");
	ck_assert_str_eq(verb_names[VERB_ATTACH], "attach");
	ck_assert_str_eq(verb_names[VERB_OPEN], "open");
}
END_TEST

START_TEST(P02_quota_refusal_names_the_largest_consumer)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=2"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	ck_assert(exists(&w, "sessions/app/caps/kv-2"));
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), EDQUOT);
	ck_assert_str_eq(w.request.text.data, "init/app caps limit=2 used=2; largest: init/app 2");
	ck_assert_int_eq(put(&w, "transfer_quota", "to=app caps=1"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	world_deinit(&w);
}
END_TEST

START_TEST(G26_rmdir_returns_quota_and_ends_slots)
{
	struct world w;
	char *before, *after;

	world_init(&w);
	serve(&w);
	before = text_of(&w, "quota");
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(make(&w, "sessions/app/sessions", "sub", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "app"), ENOTEMPTY);
	ck_assert_int_eq(removed(&w, "sessions/app/sessions", "sub"), 0);
	ck_assert_int_eq(removed(&w, "sessions", "app"), 0);
	ck_assert(!exists(&w, "sessions/app"));
	expect_line(&w, "caps/kv/info", "children=0");
	after = text_of(&w, "quota");
	/* Events are charged to ram: compare the other kinds. */
	*strstr(before, "ram ") = '\0';
	*strstr(after, "ram ") = '\0';
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	world_deinit(&w);
}
END_TEST

START_TEST(sessions_that_do_not_fit_are_told_why)
{
	char path[32 * SESSION_DEPTH_MAX] = "sessions", quota[64], name[NAME_BYTES_MAX + 1] = "";
	struct world w;

	world_init(&w);
	for (int i = 0; i < SESSION_DEPTH_MAX; i++) {
		snprintf(quota, sizeof(quota), "caps=%d ram=%dK", 900 - 2 * i, 40000 - 8 * i);
		ck_assert_int_eq(make(&w, path, "d", quota), 0);
		strcat(path, "/d/sessions");
	}
	ck_assert_int_eq(make(&w, path, "d", ""), EMLINK);
	ck_assert_str_eq(w.request.text.data, "sessions nest at most 64 deep");
	memset(name, 'n', NAME_BYTES_MAX);
	strcpy(path, "sessions");
	for (int i = 0; i < 15; i++) {
		snprintf(quota, sizeof(quota), "caps=%d ram=%dK", 100 - 2 * i, 10000 - 8 * i);
		ck_assert_int_eq(make(&w, path, name, quota), 0);
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s/sessions", name);
	}
	ck_assert_int_eq(make(&w, path, name, ""), ENAMETOOLONG);
	world_deinit(&w);
}
END_TEST

START_TEST(full_store_refuses_and_changes_nothing)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	w.store.full = true;
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), ENOSPC);
	ck_assert(!exists(&w, "sessions/app/caps/kv"));
	w.store.full = false;
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app"), 0);
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ops");
	TCase *t = tcase_create("ops");

	tcase_add_checked_fixture(t, fixture_setup, fixture_teardown);
	tcase_add_test(t, Z41_bad_commands_change_nothing);
	tcase_add_test(t, an_object_speaks_one_protocol);
	tcase_add_test(t, long_labels_cut_nothing_off_that_matters);
	tcase_add_test(t, every_refusal_is_an_event);
	tcase_add_test(t, times_are_taken_whole);
	tcase_add_test(t, quotas_of_the_command_line_are_taken_whole);
	tcase_add_test(t, usages_come_from_the_rows);
	tcase_add_test(t, verbs_have_one_name);
	tcase_add_test(t, P02_quota_refusal_names_the_largest_consumer);
	tcase_add_test(t, G26_rmdir_returns_quota_and_ends_slots);
	tcase_add_test(t, sessions_that_do_not_fit_are_told_why);
	tcase_add_test(t, full_store_refuses_and_changes_nothing);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
