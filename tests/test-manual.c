/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manual says of verbs, keys, files, rights and metrics what their rows say, no more and no
 * less: whoever adds a row is told here that a page lacks it.
 *
 * capfs.5 has a list for each of these tables, and in it an item for each row. Of the source of a
 * page only this is looked at: the names in .It, the line .Ic, which is for usages alone, and the
 * line that follows "Needs the right". What else an item says is for people, and is not checked.
 *
 * Both sides are brought to lines such as "grant: to=SESSION [as=NAME]; needs grant", which are
 * compared as sets, so that items stand in the order in which they are best read.
 */
#include "config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/kinds/capability/rights.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/ops/usage.h"
#include "capfsd/tree/metrics.h"
#include "capfsd/verbs/verbs.h"
#include "tests/fixture.h"
#include "tests/ops-world.h"

/* --- sets of lines --- */

#define LINES_MAX 128

struct lines {
	char *line[LINES_MAX];
	size_t n;
};

static void
lines_add(struct lines *l, struct text *t)
{
	ck_assert_uint_lt(l->n, LINES_MAX);
	ck_assert_int_eq(text_done(t), 0);
	l->line[l->n++] = text_take(t);
}

static void
lines_deinit(struct lines *l)
{
	while (l->n > 0)
		free(l->line[--l->n]);
}

static unsigned
lines_count(const struct lines *l, const char *line)
{
	unsigned n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += strcmp(l->line[i], line) == 0;
	return n;
}

/* Appends what A has and B has not, once each. */
static void
lines_without(const struct lines *a, const struct lines *b, const char *what, struct text *t)
{
	for (size_t i = 0; i < a->n; i++)
		if (lines_count(b, a->line[i]) != 1)
			text_addf(t, "\n%s: %s", what, a->line[i]);
}

/* Frees both. */
static void
expect_same(struct lines *rows, struct lines *page)
{
	cleanup_text struct text t = {};

	ck_assert_uint_gt(rows->n, 0);
	lines_without(rows, page, "not once in the page", &t);
	lines_without(page, rows, "not once in the rows", &t);
	ck_assert_msg(t.n == 0, "%s", t.data);
	lines_deinit(rows);
	lines_deinit(page);
}

/* --- the page --- */

static char *
page_read(const char *name)
{
	const char *top = getenv("top_srcdir");
	cleanup_text struct text path = {}, t = {};
	char buffer[4096];
	size_t n;
	FILE *f;

	text_addf(&path, "%s/man/%s", top ? top : ".", name);
	f = fopen(path.data, "re");
	ck_assert_msg(f != NULL, "cannot read %s", path.data);
	while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		text_add_n(&t, buffer, n);
	fclose(f);
	ck_assert_int_eq(text_done(&t), 0);
	return text_take(&t);
}

/* Its next line, terminated; NULL at the end. */
static char *
next_line(char **rest)
{
	return strsep(rest, "\n");
}

/* What a line has after BEGIN, without the punctuation that follows a blank; NULL: another line. */
static char *
macro(char *line, const char *begin)
{
	size_t n = strlen(line);

	if (strncmp(line, begin, strlen(begin)) != 0)
		return NULL;
	if (n > 2 && line[n - 2] == ' ' && strchr(".,:;", line[n - 1]))
		line[n - 2] = '\0';
	return line + strlen(begin);
}

/* An item of a list. */
struct item {
	char *names; /* "README , version", of a file or a word; NULL: there is none under way */
	const char *usage, *right;
};

/*
 * A directory whose names somebody chose is written with a word for these: "caps/SLOT/". Files are
 * compared without it, as the rows have none.
 */
static void
add_name(const char *name, struct text *t)
{
	const char *chosen = strchr(name, '/'), *end = chosen ? strchr(chosen + 1, '/') : NULL;

	if (end)
		text_addf(t, "%.*s%s", (int)(chosen - name), name, end);
	else
		text_add(t, name);
}

static void
item_end(struct item *item, struct lines *ret)
{
	char *name;

	while ((name = strsep(&item->names, " "))) {
		struct text t = {};

		if (strcmp(name, ",") == 0)
			continue;
		add_name(name, &t);
		if (item->usage)
			text_addf(&t, ": %s", item->usage);
		if (item->right)
			text_addf(&t, "; needs %s", item->right);
		lines_add(ret, &t);
	}
	*item = (struct item){};
}

static void
item_line(struct item *item, char *line, bool after_needs)
{
	const char *usage = macro(line, ".Ic ");

	if (usage) {
		ck_assert_msg(!item->usage, "two usages: %s", usage);
		item->usage = usage;
	} else if (after_needs) {
		item->right = macro(line, ".Li ");
	}
}

/* The items of the list in SECTION of capfs.5. */
static void
page_items(const char *section, struct lines *ret)
{
	char *page = page_read("capfs.5"), *rest = page, *line;
	bool inside = false, after_needs = false;
	struct item item = {};

	while ((line = next_line(&rest))) {
		if (strncmp(line, ".Sh ", 4) == 0 || strncmp(line, ".It ", 4) == 0 ||
			strcmp(line, ".El") == 0)
			item_end(&item, ret);
		if (strncmp(line, ".Sh ", 4) == 0)
			inside = strcmp(line + 4, section) == 0;
		else if (inside && strncmp(line, ".It ", 4) == 0)
			item.names = line + strlen(".It Li ");
		else if (item.names)
			item_line(&item, line, after_needs);
		after_needs = strcmp(line, "Needs the right") == 0;
	}
	free(page);
}

/* What stands anywhere in a page behind the macro NAME (".Li "), and begins so. */
static void
page_words(const char *page_name, const char *name, const char *begin, struct lines *ret)
{
	char *page = page_read(page_name), *rest = page, *line;

	while ((line = next_line(&rest))) {
		const char *words = macro(line, name);
		struct text t = {};

		if (!words || strncmp(words, begin, strlen(begin)) != 0)
			continue;
		text_add(&t, words);
		lines_add(ret, &t);
	}
	free(page);
}

/* --- the rows --- */

static const struct verb *const counted[VERB_N] = {
#define X(number, name) [VERB_##number] = &verb_##name,
	VERBS(X)
#undef X
};

/* One of each kind that has files; the slot is one for which every limit can be kept. */
static void
world_populate(struct world *w)
{
	world_init(w);
	serve(w);
	ck_assert_int_eq(put(w, "entrypoints/kv/objects", "key=1 as=rpc protocol=calls"), 0);
}

/*
 * Which rights may be named differs from slot to slot, so that a page has "rights=RIGHT,...": the
 * rights of this one are taken out.
 */
static void
add_usage(struct world *w, const struct verb *v, struct text *t)
{
	static const char rights[] = "rights=";
	struct entity *slot = walk(w, "caps/rpc").entity;
	cleanup_text struct text usage = {};
	const char *p, *end;

	verb_usage(v, ask(w), slot, &usage);
	ck_assert_int_eq(text_done(&usage), 0);
	usage.data[strcspn(usage.data, "\n")] = '\0';
	p = usage.data;
	end = strstr(p, rights);
	if (end) {
		text_add_n(t, p, (size_t)(end - p));
		text_addf(t, "%sRIGHT,...", rights);
		p = end + strcspn(end, "]|");
	}
	text_add(t, p);
}

/* What `call` takes is no command, and its usage is a sentence. */
static void
add_verb(struct world *w, const struct verb *v, struct text *t)
{
	if (!v || !v->stage)
		return;
	if (v->keys) {
		text_add(t, ": ");
		add_usage(w, v, t);
	}
	if (v->right) {
		text_add(t, "; needs ");
		rights_format(v->right, t);
	}
}

static bool
has_file(enum entity_kind kind, const char *name)
{
	struct rows rows = rows_of(kind);

	for (size_t i = 1; i < rows.n; i++)
		if (strcmp(rows.rows[i].name, name) == 0)
			return true;
	return false;
}

/*
 * The files of a KIND, whose directory is called so in the page; but those that the kind BESIDE it, 0: none,
 * has as well.
 */
static void
add_files(struct world *w, enum entity_kind kind, enum entity_kind beside, const char *directory, struct lines *ret)
{
	struct rows rows = rows_of(kind);

	for (size_t i = 1; i < rows.n; i++) {
		const struct row *row = &rows.rows[i];
		struct text t = {};

		if ((row->children && kind == ENTITY_SESSION) || (beside && has_file(beside, row->name)))
			continue;
		text_addf(&t, "%s%s", directory, row->name);
		add_verb(w, row->verb, &t);
		lines_add(ret, &t);
	}
}

/*
 * Directories with entities: the files of slots have a section of their own, and those of child
 * sessions are the same as here; of all others each file stands in this one.
 */
static void
add_directories(struct world *w, struct lines *ret)
{
	struct rows rows = rows_of(ENTITY_SESSION);

	for (size_t i = 1; i < rows.n; i++) {
		enum entity_kind kind = rows.rows[i].children;
		struct text directory = {};

		if (!kind)
			continue;
		text_addf(&directory, "%s/", rows.rows[i].name);
		if (kind == ENTITY_CAPABILITY || kind == ENTITY_SESSION) {
			lines_add(ret, &directory);
			continue;
		}
		ck_assert_int_eq(text_done(&directory), 0);
		add_files(w, kind, 0, directory.data, ret);
		if (rows.rows[i].others)
			add_files(w, rows.rows[i].others, kind, directory.data, ret);
		text_deinit(&directory);
	}
}

/* The name of the file in which a verb is written; NULL: none. */
static const char *
file_of(const struct verb *v)
{
	for (enum entity_kind kind = 1; kind < ENTITY_N_KINDS; kind++)
		for (size_t i = 0; i < rows_of(kind).n; i++)
			if (rows_of(kind).rows[i].verb == v)
				return rows_of(kind).rows[i].name;
	return NULL;
}

/* --- one against the other --- */

START_TEST(files_of_a_session_are_in_the_manual)
{
	struct lines rows = {}, page = {};
	struct world w;

	world_populate(&w);
	add_files(&w, ENTITY_SESSION, 0, "", &rows);
	add_directories(&w, &rows);
	page_items("FILES OF A SESSION", &page);
	expect_same(&rows, &page);
	world_deinit(&w);
}
END_TEST

START_TEST(files_of_a_capability_are_in_the_manual)
{
	struct lines rows = {}, page = {};
	struct world w;

	world_populate(&w);
	add_files(&w, ENTITY_CAPABILITY, 0, "", &rows);
	page_items("FILES OF A CAPABILITY", &page);
	expect_same(&rows, &page);
	world_deinit(&w);
}
END_TEST

/*
 * A verb has its usage at its file. In this list stand those that have none, and those that are
 * called otherwise than it.
 */
START_TEST(verbs_are_in_the_manual)
{
	struct lines rows = {}, page = {};
	struct world w;

	world_populate(&w);
	for (enum verb_number i = 0; i < VERB_N; i++) {
		const char *file = counted[i] ? file_of(counted[i]) : NULL;
		struct text t = {};

		if (file && strcmp(file, verb_names[i]) == 0)
			continue;
		text_add(&t, verb_names[i]);
		if (!file)
			add_verb(&w, counted[i], &t);
		lines_add(&rows, &t);
	}
	page_items("OPERATIONS", &page);
	expect_same(&rows, &page);
	world_deinit(&w);
}
END_TEST

/* What is a key and belongs to no verb cannot be in the manual, and is not needed. */
START_TEST(each_key_is_of_a_verb_and_shown)
{
	key_set keys = 0;

	for (enum verb_number i = 0; i < VERB_N; i++)
		if (counted[i])
			keys |= counted[i]->keys & ~counted[i]->hidden;
	for (enum key key = 0; key < KEY_N; key++)
		ck_assert_msg(keys & KEY_BIT(key), "no usage shows '%s'", key_name(key));
}
END_TEST

START_TEST(rights_are_in_the_manual)
{
	struct lines rows = {}, page = {};

	for (unsigned bit = 0; bit < 32; bit++) {
		cleanup_text struct text t = {};

		rights_format(UINT32_C(1) << bit, &t);
		if (strcmp(t.data, "-") != 0)
			lines_add(&rows, &t);
	}
	page_items("RIGHTS AND LIMITS", &page);
	expect_same(&rows, &page);
}
END_TEST

START_TEST(types_are_in_the_manual)
{
	struct lines rows = {}, page = {};

	for (size_t i = 0; i < N_CAPABILITY_TYPES; i++) {
		struct text t = {};

		text_addf(&t, "type=%s", capability_types[i]->name);
		lines_add(&rows, &t);
	}
	page_words("capfs.5", ".Li ", "type=", &page);
	expect_same(&rows, &page);
}
END_TEST

/* All that a broker may know, so that every family is there. */
static void
measure(struct metrics *m, void *data)
{
	m->memory = 1;
}

START_TEST(metrics_are_in_the_manual)
{
	static const char type[] = "# TYPE ";
	struct metrics metrics = {.measure = measure};
	struct lines rows = {}, page = {};
	struct text text = {};
	char *rest, *line;
	struct world w;

	world_init(&w);
	ask(&w)->metrics = &metrics;
	tree_read(&w.request, walk(&w, "metrics"), &text);
	ck_assert_int_eq(text_done(&text), 0);
	rest = text.data;
	while ((line = next_line(&rest))) {
		struct text t = {};

		if (strncmp(line, type, strlen(type)) != 0)
			continue;
		line += strlen(type);
		text_add_n(&t, line, strcspn(line, " "));
		lines_add(&rows, &t);
	}
	page_items("METRICS", &page);
	expect_same(&rows, &page);
	text_deinit(&text);
	world_deinit(&w);
}
END_TEST

/* capctl takes the words of `reduce` as they are. */
START_TEST(reductions_of_capctl_are_those_of_reduce)
{
	struct lines rows = {}, page = {};
	struct text t = {};
	struct world w;

	world_populate(&w);
	add_usage(&w, &verb_reduce, &t);
	lines_add(&rows, &t);
	page_words("capctl.1", ".Ic ", "[", &page);
	expect_same(&rows, &page);
	world_deinit(&w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("manual");
	TCase *t = fixture_case(s, "manual", 10);

	tcase_add_test(t, files_of_a_session_are_in_the_manual);
	tcase_add_test(t, files_of_a_capability_are_in_the_manual);
	tcase_add_test(t, verbs_are_in_the_manual);
	tcase_add_test(t, each_key_is_of_a_verb_and_shown);
	tcase_add_test(t, rights_are_in_the_manual);
	tcase_add_test(t, types_are_in_the_manual);
	tcase_add_test(t, metrics_are_in_the_manual);
	tcase_add_test(t, reductions_of_capctl_are_those_of_reduce);
	return fixture_main(s);
}
