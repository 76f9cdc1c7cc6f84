/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: G26 P02 P13 S20 Z10 Z11 Z12 Z20 Z40 Z41 */
/* The tree and its operations over a model that is kept by nobody: no root, no FUSE, no sockets. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/info.h"
#include "capfsd/ops/tree.h"
#include "tests/fixture.h"

/* A store that forgets, and that is full when told so. */
struct store {
	bool full;
	unsigned n_commits;
};

static int
store_begin(void *data)
{
	return 0;
}

static int
store_put(void *data, uint64_t key, const void *record, size_t n)
{
	return ((struct store *)data)->full ? -ENOSPC : 0;
}

static int
store_drop(void *data, uint64_t key)
{
	return 0;
}

static int
store_commit(void *data)
{
	((struct store *)data)->n_commits++;
	return 0;
}

static void
store_abort(void *data)
{
}

static const struct store_ops store_ops = {
	.begin = store_begin,
	.put = store_put,
	.drop = store_drop,
	.commit = store_commit,
	.abort = store_abort,
};

struct world {
	struct store store;
	struct model *model;
	struct request request; /* the last answer */
};

static void
world_init(struct world *w)
{
	const struct quota quota = {.n = {1024, 1024, 64, 64 << 20, 256}};

	*w = (struct world){};
	ck_assert_int_eq(model_new(&store_ops, &w->store, &w->model), 0);
	ck_assert_int_eq(
		model_create_root(w->model, 0, 0, SESSION_MODE_ROOT, &quota), 0);
}

static void
world_deinit(struct world *w)
{
	request_deinit(&w->request);
	w->model = model_free(w->model);
}

static struct request *
ask(struct world *w)
{
	request_deinit(&w->request);
	w->request = (struct request){.model = w->model, .uid = 1000, .gid = 1000};
	return &w->request;
}

static struct node
walk(struct world *w, const char *path)
{
	struct node node;

	ck_assert_msg(tree_walk(w->model, tree_session(w->model->root), path, strlen(path), &node) == 0,
		"no node %s", path);
	return node;
}

static bool
exists(struct world *w, const char *path)
{
	struct node node;

	return tree_walk(w->model, tree_session(w->model->root), path, strlen(path), &node) == 0;
}

/* Returns the errno of the refusal, 0 when done; what must be reaped is reaped. */
static int
put(struct world *w, const char *path, const char *text)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_write(r, walk(w, path), text, strlen(text)), 0);
	while (model_reap(w->model, 8) > 0)
		;
	model_check(w->model);
	return r->error;
}

/* Asks without reaping, so that what has ended is still there. */
static int
put_only(struct world *w, const char *path, const char *text)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_write(r, walk(w, path), text, strlen(text)), 0);
	return r->error;
}

static int
make(struct world *w, const char *at, const char *name, const char *quota)
{
	struct request *r = ask(w);
	struct node node;

	ck_assert_int_eq(tree_create(r, walk(w, at), name, strlen(name), quota, strlen(quota), &node),
		0);
	model_check(w->model);
	return r->error;
}

static int
removed(struct world *w, const char *at, const char *name)
{
	struct request *r = ask(w);

	ck_assert_int_eq(tree_remove(r, walk(w, at), name, strlen(name)), 0);
	while (model_reap(w->model, 8) > 0)
		;
	model_check(w->model);
	return r->error;
}

static char *
text_of(struct world *w, const char *path)
{
	struct text t = {};

	tree_read(ask(w), walk(w, path), &t);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

static void
expect_line(struct world *w, const char *path, const char *line)
{
	char *text = text_of(w, path);

	ck_assert_msg(strstr(text, line) != NULL, "%s has no '%s':\n%s", path, line, text);
	free(text);
}

static void
expect_event(struct world *w, const char *part)
{
	char buffer[4096];
	struct session *s = w->model->root;
	uint64_t end = events_end(s), start = events_start(s);
	size_t n;

	if (end - start > sizeof(buffer) - 1)
		start = end - (sizeof(buffer) - 1);
	n = events_read(s, start, buffer, sizeof(buffer) - 1);
	buffer[n] = '\0';
	ck_assert_msg(strstr(buffer, part) != NULL, "no event '%s' in:\n%s", part, buffer);
}

/* A served entrypoint "kv" with an object and a slot of that name. */
static void
serve(struct world *w)
{
	struct entrypoint *e;
	struct change *ch = change_begin(w->model);

	ck_assert_int_eq(entrypoint_attach(ch, w->model->root, "kv", 2, 0, 1, &e), 0);
	ck_assert_int_eq(change_commit(ch), 0);
	ck_assert_int_eq(put(w, "entrypoints/kv/objects", "key=0 as=kv socket=stream"), 0);
}

START_TEST(S20_info_tells_object_badge_and_owner)
{
	struct world w;

	world_init(&w);
	serve(&w);
	expect_line(&w, "caps/kv/info", "type=object\nentrypoint=init/kv\n");
	expect_line(&w, "caps/kv/info", "socket=stream\nrights=call,grant,replicate,reduce,transfer\n");
	expect_line(&w, "caps/kv/info", "served=yes revocation=full\n");
	expect_line(&w, "entrypoints/kv/objects", "key=0 ");
	expect_line(&w, "entrypoints/kv/info", "state=served");
	world_deinit(&w);
}
END_TEST

START_TEST(grant_defaults_to_call_and_limits_are_shown)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=8"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app conns=4\n"), 0);
	ck_assert_int_eq(strncmp(w.request.text.data, "slot=kv id=", 11), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "rights=call\nconns limit=4 used=0 left=4\n");
	expect_line(&w, "caps/kv/holders", "init/app/caps/kv rights=call conns=0/4");
	expect_event(&w, " as=kv uid=1000 init/caps/kv to=init/app");
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/grant", "to=x"), EPERM);
	expect_event(&w, "refused grant caps/kv uid=1000 EPERM: init/app does not hold right 'grant'");
	world_deinit(&w);
}
END_TEST

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
		{"caps/kv/reduce", "rights=call,grant,replicate,reduce,transfer", EINVAL},
		{"caps/kv/replicate", "to=app", EINVAL},
		{"caps/kv/replicate", "as=kv", EEXIST},
		{"caps/kv/replicate", "as=x calls=3", EINVAL},
		{"caps/kv/replicate", "as=x rights=share", EPERM},
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

START_TEST(a_limit_that_nobody_counts_is_not_granted)
{
	struct world w;
	char *usage;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=raw"), 0);
	ck_assert_int_eq(put(&w, "caps/raw/grant", "to=app methods=1-2"), EOPNOTSUPP);
	ck_assert_int_eq(put(&w, "caps/raw/replicate", "as=two methods=1-2"), EOPNOTSUPP);
	ck_assert_int_eq(put(&w, "caps/raw/reduce", "methods=1"), EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(w.request.text.data, "'methods' cannot be kept for raw"));
	usage = text_of(&w, "caps/raw/grant");
	ck_assert_ptr_null(strstr(usage, "methods="));
	free(usage);
	/* A connection is a call there. */
	expect_line(&w, "caps/raw/grant", "[calls=N]");
	ck_assert_int_eq(put(&w, "caps/raw/grant", "to=app calls=3 rate=5/s"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app calls=3"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "calls=3"), 0);
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

/* A set of methods only gets smaller, by whatever operation, also behind an ancestor's back. */
START_TEST(Z42_methods_only_shrink)
{
	static const char *const not_smaller[] = {"0-9", "9", "0-5", "4-6", "3-4,7-8", "0-4294967295"};
	static const char *const malformed[] = {"", "x", "1-", "-1", "3-1", "1,", ",1", "4294967296",
		"1,3,5,7,9", "1--2", "0x1"};
	struct world w;
	char text[128];

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		snprintf(text, sizeof(text), "to=app methods=%s", malformed[i]);
		ck_assert_msg(put(&w, "caps/rpc/grant", text) == EINVAL, "%s", text);
	}
	ck_assert_int_eq(
		put(&w, "caps/rpc/grant", "to=app rights=call,grant,reduce,replicate methods=2,1,8,3-4"),
		0);
	expect_line(&w, "sessions/app/caps/rpc/info", "rights=call,grant,replicate,reduce\nmethods=1-4,8\n");
	for (size_t i = 0; i < sizeof(not_smaller) / sizeof(not_smaller[0]); i++) {
		snprintf(text, sizeof(text), "methods=%s", not_smaller[i]);
		ck_assert_msg(put(&w, "sessions/app/caps/rpc/reduce", text) == EINVAL, "%s", text);
		snprintf(text, sizeof(text), "as=two methods=%s", not_smaller[i]);
		ck_assert_msg(put(&w, "sessions/app/caps/rpc/replicate", text) == EINVAL, "%s", text);
	}
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=1-4,8"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=two methods=3,8"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=three"), 0);
	expect_line(&w, "sessions/app/caps/three/info", "methods=1-4,8\n");
	expect_line(&w, "caps/rpc/holders", " methods=1-4,8 ");
	/* What the parent loses is lost below it, too. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=4-4,8"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "methods=8\n");
	ck_assert_int_eq(put(&w, "sessions/app/caps/two/reduce", "methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/three/reduce", "methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/replicate", "as=four methods=3"), EINVAL);
	ck_assert_int_eq(put(&w, "sessions/app/caps/rpc/reduce", "methods=4"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "methods=none\n");
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
	expect_event(&w, " as=kv uid=1000 init/caps/kv to=init/nnn");
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), 0);
	expect_event(&w, "revoke caps/kv uid=1000 to=nnn");
	path[strlen(path) - strlen("/nnn/sessions") - NAME_BYTES_MAX + 3] = '\0';
	ck_assert_int_eq(removed(&w, path, name), 0);
	expect_event(&w, "close uid=1000 init/nnn");
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
	struct node_stat st;
	struct world w;
	char text[64];

	world_init(&w);
	ck_assert_int_eq(model_set_root_limit(w.model, &plenty), 0);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=10000 ram=100M"), 0);
	for (unsigned i = 1; i <= INFO_LINES_MAX + 1; i++) {
		snprintf(text, sizeof(text), "to=app as=s%u", i);
		ck_assert_int_eq(put_only(&w, "caps/kv/grant", text), 0);
		snprintf(text, sizeof(text), "key=%u", i);
		ck_assert_int_eq(put_only(&w, "entrypoints/kv/objects", text), 0);
		if (i == INFO_LINES_MAX)
			ck_assert_uint_eq(count_lines(&w, "caps/kv/holders"), INFO_LINES_MAX);
	}
	ck_assert_uint_eq(count_lines(&w, "caps/kv/holders"), INFO_LINES_MAX + 1);
	expect_line(&w, "caps/kv/holders", "\n... more\n");
	expect_line(&w, "entrypoints/kv/objects", "\n... more\n");
	ck_assert_uint_eq(count_lines(&w, "entrypoints/kv/objects"), INFO_LINES_MAX);
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "caps/kv/holders"), &st), 0);
	ck_assert_uint_eq(st.size, 0);
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "entrypoints/kv/objects"), &st), 0);
	ck_assert_uint_eq(st.size, 0);
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "caps/kv/info"), &st), 0);
	ck_assert_uint_gt(st.size, 0);
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
	expect_event(&w, "refused remove caps/none uid=1000 ENOENT: there is no 'none'");
	ck_assert_int_eq(removed(&w, "", "caps"), EPERM);
	expect_event(&w, "refused remove caps uid=1000 EPERM");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	ck_assert_int_eq(removed(&w, "caps", name), ENOENT);
	expect_event(&w, "xx uid=1000 ENOENT");
	ck_assert_int_eq(make(&w, "caps", "dir", ""), EPERM);
	expect_event(&w, "refused create caps/dir uid=1000 EPERM");
	ck_assert_int_eq(put(&w, "caps/kv/info", "x"), EACCES);
	expect_event(&w, "refused write caps/kv/info uid=1000 EACCES");
	ck_assert_int_eq(tree_rename(ask(&w), caps, "kv", 2, root, "kv", 2), 0);
	expect_event(&w, "refused rename caps/kv uid=1000 EXDEV");
	ck_assert_int_eq(tree_rename(ask(&w), caps, "no", 2, caps, "kv", 2), 0);
	expect_event(&w, "refused rename caps/no uid=1000 ENOENT");
	ck_assert_int_eq(tree_set_owner(ask(&w), caps, 7, (gid_t)-1, 0750), 0);
	expect_event(&w, "refused chmod caps uid=1000 EPERM");
	world_deinit(&w);
}
END_TEST

START_TEST(times_and_quotas_are_taken_whole)
{
	struct quota q = {.n = {1, 2, 3, 4, 5}};
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app expires=2099-12-31T23:59:59Z"), 0);
	expect_line(&w, "sessions/app/caps/kv/info", "expires=2099-12-31T23:59:59Z\n");
	ck_assert_int_eq(put(&w, "entrypoints/kv/objects", "key=0xaB as=hex"), 0);
	expect_line(&w, "entrypoints/kv/objects", "key=171 ");
	ck_assert_int_eq(quota_parse("caps=7,", &q), -EINVAL);
	ck_assert_int_eq(quota_parse(",caps=7", &q), -EINVAL);
	ck_assert_int_eq(quota_parse("caps=7,,ram=1", &q), -EINVAL);
	ck_assert_int_eq(quota_parse("caps=7,caps=8", &q), -EINVAL);
	ck_assert_uint_eq(q.n[QUOTA_CAPS], 1);
	ck_assert_int_eq(quota_parse("", &q), 0);
	ck_assert_int_eq(quota_parse("caps=7,ram=1K", &q), 0);
	ck_assert_uint_eq(q.n[QUOTA_CAPS], 7);
	ck_assert_uint_eq(q.n[QUOTA_RAM], 1024);
	world_deinit(&w);
}
END_TEST

START_TEST(Z40_reduce_shrinks_in_place)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=5"), 0);
	expect_line(&w, "caps/kv/info", "conns limit=5 used=0");
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=6"), EINVAL);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "rights=call"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/reduce", "conns=1"), EPERM);
	expect_line(&w, "caps/kv/info", "rights=call\n");
	world_deinit(&w);
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

START_TEST(Z20_replicate_is_a_derivation_here)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "app", "caps=3"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=app rights=call,replicate calls=3"), 0);
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "as=two rights=call"), 0);
	expect_line(&w, "sessions/app/caps/two/info", "parent=init/app/caps/kv id=");
	expect_line(&w, "sessions/app/caps/two/info", "rights=call\n");
	/* The quantity is not there twice: what is used counts against the source. */
	expect_line(&w, "sessions/app/caps/two/info", "calls limit=3 used=0 left=3\n");
	expect_event(&w, "replicate id=");
	expect_event(&w, " as=two uid=1000 init/app/caps/kv to=init/app");
	ck_assert_int_eq(put(&w, "sessions/app/caps/two/replicate", "as=three"), EPERM);
	expect_event(&w, "refused replicate caps/two uid=1000 EPERM: init/app does not hold right "
			 "'replicate'");
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "conns=2"), 0);
	ck_assert(exists(&w, "sessions/app/caps/kv-2"));
	/* The pool is empty. */
	ck_assert_int_eq(put(&w, "sessions/app/caps/kv/replicate", "as=four"), EDQUOT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert(!exists(&w, "sessions/app/caps/two") && !exists(&w, "sessions/app/caps/kv-2"));
	world_deinit(&w);
}
END_TEST

START_TEST(Z10_Z11_Z12_transfer_moves)
{
	struct world w;
	char *before, *after;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", "caps=1"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a as=stays rights=call,grant"), 0);
	ck_assert_int_eq(
		put(&w, "caps/kv/grant", "to=a as=moves rights=call,grant,transfer conns=2"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/stays/transfer", "to=b"), EPERM);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=c"), ENOENT);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/grant", "to=b"), 0);
	before = text_of(&w, "sessions/a/caps/moves/info");
	/* In use; the refusal says so and leaves it as it is. */
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=b"), EBUSY);
	after = text_of(&w, "sessions/a/caps/moves/info");
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/revoke", "1"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/moves/transfer", "to=b as=here"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/moves"));
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "parent=init/caps/kv id=");
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "rights=call,grant,transfer\n");
	expect_line(&w, "sessions/a/sessions/b/caps/here/info", "conns limit=2 used=0 left=2\n");
	expect_event(&w, " as=here uid=1000 init/a/caps/moves to=init/a/b");
	/* Its pool is empty, also for one that would be moved. */
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a as=more rights=call,transfer"), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/more/transfer", "to=b"), EDQUOT);
	ck_assert(exists(&w, "sessions/a/caps/more"));
	/* An origin, too. */
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/transfer", "to=a"), 0);
	expect_line(&w, "sessions/a/caps/kv/info", "parent=none id=");
	ck_assert(!exists(&w, "caps/kv"));
	world_deinit(&w);
}
END_TEST

START_TEST(Z10_immutable_is_the_end_of_passing_on)
{
	static const char *const verbs[][2] = {{"grant", "to=b"}, {"replicate", "as=x"},
		{"transfer", "to=b"}, {"reduce", "conns=1"}};
	char path[64];
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", ""), 0);
	ck_assert_int_eq(
		put(&w, "caps/kv/grant", "to=a rights=call,grant,replicate,transfer immutable"),
		0);
	expect_line(&w, "sessions/a/caps/kv/info", "rights=call\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		snprintf(path, sizeof(path), "sessions/a/caps/kv/%s", verbs[i][0]);
		ck_assert_int_eq(put(&w, path, verbs[i][1]), EPERM);
	}
	world_deinit(&w);
}
END_TEST

START_TEST(revoke_ends_what_was_derived_and_only_that)
{
	struct world w;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(make(&w, "sessions", "b", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=b"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "to=a"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/kv"));
	ck_assert(exists(&w, "sessions/b/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "1"), 0);
	ck_assert(!exists(&w, "sessions/a/caps/kv") && !exists(&w, "sessions/b/caps/kv"));
	ck_assert(exists(&w, "caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a"), 0);
	ck_assert(exists(&w, "sessions/a/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "self"), 0);
	ck_assert(!exists(&w, "caps/kv") && !exists(&w, "sessions/a/caps/kv"));
	world_deinit(&w);
}
END_TEST

START_TEST(revoke_by_id_reaches_down_only)
{
	struct world w;
	char text[32];
	struct entity *kv, *below;

	world_init(&w);
	serve(&w);
	ck_assert_int_eq(make(&w, "sessions", "a", ""), 0);
	ck_assert_int_eq(put(&w, "caps/kv/grant", "to=a rights=call,grant"), 0);
	ck_assert_int_eq(make(&w, "sessions/a/sessions", "b", ""), 0);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/grant", "to=b"), 0);
	kv = walk(&w, "caps/kv").entity;
	below = walk(&w, "sessions/a/sessions/b/caps/kv").entity;
	snprintf(text, sizeof(text), "id=%u", (unsigned)kv->id);
	ck_assert_int_eq(put(&w, "sessions/a/caps/kv/revoke", text), ENOENT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), ENOENT);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", "id=1"), ENOENT);
	snprintf(text, sizeof(text), "id=%u", (unsigned)below->id);
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), 0);
	ck_assert(!exists(&w, "sessions/a/sessions/b/caps/kv") && exists(&w, "sessions/a/caps/kv"));
	ck_assert_int_eq(put(&w, "caps/kv/revoke", text), ENOENT);
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
	ck_assert_int_eq(tree_create(ask(&w), walk(&w, "sessions"), "app", 3, "", 0, &node), 0);
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

static bool
count_entry(void *data, const char *name, struct node node, uint64_t cookie)
{
	uint64_t *last = data;

	ck_assert_uint_gt(cookie, last[0]);
	last[0] = cookie;
	last[1]++;
	return last[1] % 10 != 0;
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
	ck_assert_int_eq(tree_list(w.model, walk(&w, "sessions/app/caps"), 0, count_entry, state), 0);
	ck_assert_uint_eq(state[1], 10);
	ck_assert_int_eq(removed(&w, "sessions/app/caps", "n9"), 0);
	while (state[1] < 35) {
		uint64_t n = state[1];

		ck_assert_int_eq(
			tree_list(w.model, walk(&w, "sessions/app/caps"), state[0], count_entry, state),
			0);
		ck_assert_uint_gt(state[1], n);
	}
	ck_assert_uint_eq(state[1], 35);
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
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "sessions/app/caps/kv/info"), &st), 0);
	ck_assert_uint_eq(st.mode, S_IFREG | 0400);
	ck_assert_uint_eq(st.uid, 1000);
	ck_assert_int_eq(
		tree_set_owner(ask(&w), walk(&w, "sessions/app/caps/kv"), 7, (gid_t)-1, 0750), 0);
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "sessions/app/caps/kv/socket"), &st), 0);
	ck_assert_uint_eq(st.mode, S_IFSOCK | 0640);
	ck_assert_uint_eq(st.uid, 7);
	ck_assert_int_eq(tree_stat(ask(&w), walk(&w, "README"), &st), 0);
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
	Suite *s = suite_create("ops");
	TCase *t = tcase_create("tree");

	tcase_add_checked_fixture(t, fixture_setup, fixture_teardown);
	tcase_add_test(t, S20_info_tells_object_badge_and_owner);
	tcase_add_test(t, grant_defaults_to_call_and_limits_are_shown);
	tcase_add_test(t, Z41_bad_commands_change_nothing);
	tcase_add_test(t, a_limit_that_nobody_counts_is_not_granted);
	tcase_add_test(t, an_object_speaks_one_protocol);
	tcase_add_test(t, Z42_methods_only_shrink);
	tcase_add_test(t, long_labels_cut_nothing_off_that_matters);
	tcase_add_test(t, a_limit_of_an_ancestor_is_shown);
	tcase_add_test(t, long_texts_are_bounded);
	tcase_add_test(t, every_refusal_is_an_event);
	tcase_add_test(t, times_and_quotas_are_taken_whole);
	tcase_add_test(t, Z40_reduce_shrinks_in_place);
	tcase_add_test(t, P02_quota_refusal_names_the_largest_consumer);
	tcase_add_test(t, G26_rmdir_returns_quota_and_ends_slots);
	tcase_add_test(t, Z20_replicate_is_a_derivation_here);
	tcase_add_test(t, Z10_Z11_Z12_transfer_moves);
	tcase_add_test(t, Z10_immutable_is_the_end_of_passing_on);
	tcase_add_test(t, revoke_ends_what_was_derived_and_only_that);
	tcase_add_test(t, revoke_by_id_reaches_down_only);
	tcase_add_test(t, what_has_ended_is_hidden_and_keeps_its_name_for_a_while);
	tcase_add_test(t, sessions_that_do_not_fit_are_told_why);
	tcase_add_test(t, full_store_refuses_and_changes_nothing);
	tcase_add_test(t, listing_resumes_by_cookie_also_when_that_slot_is_gone);
	tcase_add_test(t, P13_modes_follow_the_session_and_the_slot);
	tcase_add_test(t, node_numbers_lead_back);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
