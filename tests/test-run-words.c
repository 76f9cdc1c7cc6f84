/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conformance: C04 C06 S27 */
/* What capctl run is told by options, profiles and files, before it asks anybody: the inner functions. */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capctl/run/file.h"
#include "capctl/run/profile.h"
#include "capctl/run/settle.h"
#include "capctl/run/table.h"
#include "capctl/run/words.h"
#include "tests/fixture.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define W(s) ((char[]){s})

static char directory[FIXTURE_PATH], path[FIXTURE_PATH + 32];

/* What the functions say is for people, and tests/it-run.sh looks at it. */
static void
setup(void)
{
	fixture_setup();
	fixture_directory(directory);
	snprintf(path, sizeof(path), "%s/file", directory);
	ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

static void
teardown(void)
{
	unlink(path);
	fixture_remove(directory);
	fixture_teardown();
}

static void
write_file(const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

/* --- limits --- */

static const struct {
	const char *text, *words; /* NULL: none */
} limits[] = {
	{"", ""},
	{"calls=200", " calls=200"},
	{"calls=200,expires=30m", " calls=200 expires=30m"},
	{"expires=1d,immutable,conns=1", " expires=1d immutable conns=1"},
	{"expires=90", " expires=90"},
	{"expires=2026-01-31T12:00:00Z", " expires=2026-01-31T12:00:00Z"},
	{"rights=call,grant,calls=3,methods=1-5,7-9", " rights=call,grant calls=3 methods=1-5,7-9"},
	{"nonsense", NULL},
	{"immutable,nonsense", NULL},
	{"only=GET /a b,calls=2", " only=\"GET /a b\" calls=2"},
	{"calls=2,only=\"a,b \\\" c\",conns=1", " calls=2 only=\"a,b \\\" c\" conns=1"},
	{"only=say \"x\",only=b", " only=\"say \\\"x\\\"\" only=\"b\""},
	{"only=", NULL},
	{"only=a,b", NULL},
	{"only=\"a", NULL},
};

START_TEST(limits_are_words)
{
	cleanup_text struct text t = {};
	int r = run_limits(limits[_i].text, LIMITS_END_OPTION, &t);

	ck_assert_int_eq(r, limits[_i].words ? 0 : -EINVAL);
	if (limits[_i].words)
		ck_assert_str_eq(t.data ? t.data : "", limits[_i].words);
}
END_TEST

START_TEST(a_caveat_of_a_leaf_is_a_word_or_quoted)
{
	cleanup_text struct text t = {};

	ck_assert_int_eq(run_limits("only=GET calls=3 only=\"GET /a\" conns=1", LIMITS_END_LEAF, &t), 0);
	ck_assert_str_eq(t.data, " only=\"GET\" calls=3 only=\"GET /a\" conns=1");
}
END_TEST

/* --- words that come from several places --- */

static void
confined_to(char **words, size_t n, char *workspace, const char *wanted)
{
	struct run_words w = {.confine = words, .n_confine = n, .workspace = workspace};
	cleanup_text struct text t = {};

	ck_assert_int_eq(run_confinement(&w, &t), 0);
	ck_assert_str_eq(t.data, wanted);
}

START_TEST(lists_grow_and_the_last_word_counts)
{
	char *words[] = {W("ro=/usr,/a net=host  uid=1"), W("ro=/b rlimits=core:0"), W("\tnet=none rlimits=core:1\n")};

	confined_to(words, 3, NULL, "ro=/usr,/a,/b net=none uid=1 rlimits=core:0,core:1");
	confined_to(NULL, 0, NULL, "");
}
END_TEST

START_TEST(what_is_optional_may_be_missing)
{
	char *words[] = {W("ro=/usr,?/no/such,?/etc rw=?/no/such")};

	confined_to(words, 1, NULL, "ro=/usr,/etc");
}
END_TEST

START_TEST(a_workspace_is_where_a_program_begins)
{
	char wanted[2 * FIXTURE_PATH + 32], relative[FIXTURE_PATH + 8];
	char *words[] = {W("cwd=/tmp rw=/a")};

	snprintf(wanted, sizeof(wanted), "rw=%s cwd=%s", directory, directory);
	snprintf(relative, sizeof(relative), "%s/../%s", directory, strrchr(directory, '/') + 1);
	confined_to(NULL, 0, directory, wanted);
	confined_to(NULL, 0, relative, wanted);
	snprintf(wanted, sizeof(wanted), "rw=%s,/a cwd=/tmp", directory);
	confined_to(words, 1, directory, wanted);
}
END_TEST

static const struct {
	const char *word, *workspace;
} wrong_confinement[] = {
	{"net", NULL}, {"=x", NULL}, {"net=", NULL}, {NULL, "/no/such"}, {NULL, "/"}, {NULL, "/dev/null"}};

START_TEST(wrong_confinements_are_refused)
{
	char *word = strdup(wrong_confinement[_i].word ? wrong_confinement[_i].word : "net=none");
	struct run_words w = {.confine = &word, .n_confine = 1, .workspace = wrong_confinement[_i].workspace};
	cleanup_text struct text t = {};

	ck_assert_int_ne(run_confinement(&w, &t), 0);
	free(word);
}
END_TEST

/* --- options --- */

START_TEST(a_session_of_its_own_has_options)
{
	char *argv[] = {W("run"), W("--new=shop"), W("--cap=kv=store,conns=2,calls=3"), W("--cap"), W("db,calls=1"),
		W("--quota=threads=4"), W("--quota"), W("caps=1 ram=1K"), W("--uid=app"), W("--confine=net=none"),
		W("--args=a.yaml"), W("--"), W("x.yaml"), NULL};
	cleanup(run_words_deinit) struct run_words w;
	cleanup_text struct text quota = {};

	ck_assert_int_eq(run_words_parse(&w, N(argv) - 1, argv), 12);
	ck_assert(w.is_new && w.ended && w.n_given == 2 && w.n_confine == 1);
	ck_assert_str_eq(w.new_name, "shop");
	ck_assert_str_eq(w.uid, "app");
	ck_assert_str_eq(w.args, "a.yaml");
	ck_assert_str_eq(w.given[0].slot, "kv");
	ck_assert_str_eq(w.given[0].label, "store");
	ck_assert_str_eq(w.given[0].limits, "conns=2,calls=3");
	ck_assert_str_eq(w.given[1].slot, "db");
	ck_assert_ptr_null(w.given[1].label);
	ck_assert_str_eq(w.given[1].limits, "calls=1");
	ck_assert_int_eq(run_quota(&w, &quota), 0);
	ck_assert_str_eq(quota.data, "threads=4 caps=1 ram=1K");
}
END_TEST

static const char *const wrong[] = {"--new=a/b", "--new=", "--quota=threads=1", "--confine=net=none", "--uid=1",
	"--cap=kv,conns=1", "--cap=kv=a b", "--args", "--nonsense"};

START_TEST(wrong_options_are_refused)
{
	char *argv[] = {W("run"), strdup(wrong[_i]), NULL};
	cleanup(run_words_deinit) struct run_words w;

	ck_assert_int_eq(run_words_parse(&w, 2, argv), -EINVAL);
	free(argv[1]);
}
END_TEST

/* --- profiles --- */

START_TEST(a_profile_stands_before_the_options)
{
	char *argv[] = {W("run"), W("--env=A=1"), W("--profile"), path, W("--"), W("x"), NULL};
	static const char *const wanted[] = {"run", "--confine=net=none ro=/a", "--env=A=x#y", "--clear-env",
		"--quota=caps=1", "--uid=5", "--env=A=1", "--profile", path, "--", "x"};
	cleanup(profile_deinit) struct profile p;

	write_file("# a comment\n\n  confine  net=none ro=/a  # what it sees\n--env A=x#y\nclear-env # all\n"
		   "--quota=caps=1\r\nuid=5");
	ck_assert_str_eq(run_words_profile(6, argv), path);
	ck_assert_int_eq(profile_read(&p, path, 6, argv), 0);
	ck_assert_uint_eq((size_t)p.argc, N(wanted));
	for (size_t i = 0; i < N(wanted); i++)
		ck_assert_str_eq(p.argv[i], wanted[i]);
	ck_assert_ptr_null(p.argv[N(wanted)]);
}
END_TEST

START_TEST(a_profile_is_found_in_its_directories)
{
	char *argv[] = {W("run"), NULL};
	cleanup(profile_deinit) struct profile p;

	write_file("uid=5\n");
	ck_assert_int_eq(setenv("CAPFS_PROFILES", directory, 1), 0);
	ck_assert_int_eq(profile_read(&p, "file", 1, argv), 0);
	ck_assert_str_eq(p.argv[1], "--uid=5");
	profile_deinit(&p);
	ck_assert_int_ne(profile_read(&p, "none", 1, argv), 0);
	ck_assert_int_ne(profile_read(&p, "..", 1, argv), 0);
	ck_assert_int_ne(profile_read(&p, "/no/such", 1, argv), 0);
}
END_TEST

static const char *const wrong_profiles[] = {
	"session=app", "args=x", "profile=x", "new", "uid=1\n=x", "detach", "--", "cap=x\nconfin ro=/"};

START_TEST(a_profile_does_not_say_what_runs)
{
	char *argv[] = {W("run"), NULL};
	cleanup(profile_deinit) struct profile p;

	write_file(wrong_profiles[_i]);
	ck_assert_int_eq(profile_read(&p, path, 1, argv), 2);
}
END_TEST

/* --- files --- */

static int
take(struct run_file *f, struct run_tree *t, char *const *more)
{
	capc_args *a;
	int status;

	ck_assert_int_eq(run_tree_read(t, path), 0);
	ck_assert_int_eq(run_tree_check(t, &a), 0);
	status = run_file_take(f, t, a, more);
	capc_args_free(a);
	return status;
}

START_TEST(C06_a_file_is_all_of_a_program)
{
	cleanup(run_tree_deinit) struct run_tree t;
	cleanup(run_file_deinit) struct run_file f;
	char *more[] = {W("c"), NULL};

	write_file("args: {a: !fd 0}\nenv: {A: '1', B: x=y}\nname: n\nprogram: [a, '']\nsession: app/db\n");
	ck_assert_int_eq(take(&f, &t, more), 0);
	ck_assert_str_eq(f.argv[0], "a");
	ck_assert_str_eq(f.argv[1], "");
	ck_assert_str_eq(f.argv[2], "c");
	ck_assert_ptr_null(f.argv[3]);
	ck_assert_str_eq(f.session, "app/db");
	ck_assert_str_eq(f.name, "n");
	ck_assert_uint_eq(f.n_env, 2);
	ck_assert_str_eq(f.env[1], "B=x=y");
}
END_TEST

static const char *const wrong_files[] = {"a", "[a]", "{}", "program: []", "program: a", "program: [1]",
	"program: [[a]]", "program: [\"a\\0\"]", "program: [a]\nname: 1", "program: [a]\nsession: [b]",
	"program: [a]\nenv: [b]", "program: [a]\nenv: {b: 1}", "program: [a]\nenv: {b=c: d}", "program: [a]\nx: y"};

START_TEST(C04_wrong_files_are_refused)
{
	cleanup(run_tree_deinit) struct run_tree t;
	cleanup(run_file_deinit) struct run_file f;
	char *more[] = {NULL};

	write_file(wrong_files[_i]);
	ck_assert_int_eq(take(&f, &t, more), 126);
}
END_TEST

START_TEST(S27_a_tree_is_cut_out_of_its_file)
{
	cleanup(run_tree_deinit) struct run_tree t;
	char text[FIXTURE_PATH + 128];
	const char *label;
	int fd;

	snprintf(text, sizeof(text), "program: [x]\nargs: {a: [1, !file /dev/null], 'b.c': {d: !socket {listen: %s/s}}}\n",
		directory);
	write_file(text);
	for (int keeps = 0; keeps < 2; keeps++) {
		snprintf(text, sizeof(text), "%s/s", directory);
		ck_assert_int_eq(run_tree_read(&t, path), 0);
		t.root = "args";
		ck_assert_int_eq(run_tree_open(&t, NULL, NULL, 5), 0);
		ck_assert_uint_eq(capc_args_n_fds(t.given), 2);
		ck_assert_int_ge(capc_args_fd(t.given, 1, &label), 0);
		ck_assert_str_eq(label, "b\\.c.d");
		ck_assert_int_eq(capc_args_get_fd(t.given, "b\\.c.d", &fd), 0);
		ck_assert_int_eq(fd, 6);
		ck_assert_int_eq(access(text, F_OK), 0);
		if (keeps)
			run_tree_keep(&t);
		run_tree_deinit(&t);
		/* One that is not kept takes with it what it made. */
		ck_assert_int_eq(access(text, F_OK), keeps ? 0 : -1);
	}
	unlink(text);
}
END_TEST

START_TEST(labels_are_what_may_be_one)
{
	cleanup(table_deinit) struct table t = {};
	char label[400];

	ck_assert_int_eq(table_add(&t, 0, "stdin"), 0);
	ck_assert_int_eq(table_lend(&t, 1, "a b:c\td\x7f\\.e\xc3\xa4"), 0);
	ck_assert_str_eq(t.labels[1], "a_b_c_d_\\.e\xc3\xa4");
	memset(label, 'a', sizeof(label));
	memcpy(label + 254, "\xc3\xa4", 2);
	label[sizeof(label) - 1] = '\0';
	ck_assert_int_eq(table_lend(&t, 1, label), 0);
	ck_assert_uint_eq(strlen(t.labels[2]), 254);
	ck_assert(t.n == 3 && t.n_owned == 1);
}
END_TEST

START_TEST(small_numbers_can_be_kept_free)
{
	cleanup(reserve_release) struct reserve r = {};
	int fd;

	ck_assert_int_eq(reserve_fds(&r), 0);
	ck_assert_uint_gt(r.n, 0);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, RESERVED_FDS);
	close(fd);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("run-words");
	TCase *c = tcase_create("run-words");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, limits_are_words, 0, N(limits));
	tcase_add_test(c, a_caveat_of_a_leaf_is_a_word_or_quoted);
	tcase_add_test(c, lists_grow_and_the_last_word_counts);
	tcase_add_test(c, what_is_optional_may_be_missing);
	tcase_add_test(c, a_workspace_is_where_a_program_begins);
	tcase_add_loop_test(c, wrong_confinements_are_refused, 0, N(wrong_confinement));
	tcase_add_test(c, a_session_of_its_own_has_options);
	tcase_add_loop_test(c, wrong_options_are_refused, 0, N(wrong));
	tcase_add_test(c, a_profile_stands_before_the_options);
	tcase_add_test(c, a_profile_is_found_in_its_directories);
	tcase_add_loop_test(c, a_profile_does_not_say_what_runs, 0, N(wrong_profiles));
	tcase_add_test(c, C06_a_file_is_all_of_a_program);
	tcase_add_loop_test(c, C04_wrong_files_are_refused, 0, N(wrong_files));
	tcase_add_test(c, S27_a_tree_is_cut_out_of_its_file);
	tcase_add_test(c, labels_are_what_may_be_one);
	tcase_add_test(c, small_numbers_can_be_kept_free);
	suite_add_tcase(s, c);
	return s;
}

int
main(void)
{
	return fixture_main(suite());
}
