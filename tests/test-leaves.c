/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a leaf of control groups is limited to, by the controllers that this kernel has in version 2: `hugetlb`, where
 * no others are, is set by the same function as memory and pids. Only root can, and where nobody else has a say.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "spawner/cgroup/leaves.h"
#include "tests/fixture.h"
#include "wire/process.h"

static char place[256], control[256];
static bool was_switched_on;

static bool
write_text(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static char *
read_text(int directory, const char *name, char text[static 256])
{
	cleanup_close int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, 255);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* With it the controller hugetlb, if nobody has switched others on at the top. Returns: false: it cannot be had. */
static bool
begin(void)
{
	static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	char text[256];

	for (size_t i = 0; geteuid() == 0 && i < 2; i++) {
		snprintf(control, sizeof(control), "%s/cgroup.subtree_control", mounts[i]);
		snprintf(place, sizeof(place), "%s/capfs-leaves-%d", mounts[i], (int)getpid());
		if (access(control, W_OK) < 0 || mkdir(place, 0755) < 0)
			continue;
		if (!*read_text(AT_FDCWD, control, text))
			was_switched_on = write_text(control, "+hugetlb");
		return true;
	}
	return false;
}

static void
end(void)
{
	ck_assert_int_eq(rmdir(place), 0);
	if (was_switched_on)
		write_text(control, "-hugetlb");
}

START_TEST(what_is_there_is_set_and_what_is_not_is_named)
{
	struct process_plan plan = {.memory_max = 1 << 26, .cpu_usec = 5};
	char text[256], path[300];
	struct leaf_made m;
	struct leaves all;
	uint32_t missing;
	int r;

	if (!begin()) {
		fixture_skip("limits", "no control groups can be made here");
		return;
	}
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", place);
	if (was_switched_on)
		ck_assert(write_text(path, "+hugetlb"));
	ck_assert_int_eq(leaves_init(&all, place), 0);
	/* What has none is refused, and its leaf is gone again. */
	r = leaves_make(&all, &plan, &m, &missing);
	ck_assert_int_eq(r, -EOPNOTSUPP);
	ck_assert_uint_eq(missing & CONTROLLER_CPU, CONTROLLER_CPU);
	ck_assert(list_empty(&all.list));
	plan = (struct process_plan){};
	ck_assert_int_eq(leaves_make(&all, &plan, &m, &missing), 0);
	ck_assert_int_ge(m.kill, 0);
	ck_assert_ptr_nonnull(strstr(read_text(m.directory, "cgroup.events", text), "populated 0"));
	ck_assert_int_eq(leaf_limit(m.directory, "nothing", "nothing.max", 1), -EOPNOTSUPP);
	if (*read_text(m.directory, "hugetlb.2MB.max", text)) {
		ck_assert_int_eq(leaf_limit(m.directory, "hugetlb", "hugetlb.2MB.max", 4 << 20), 0);
		ck_assert_str_eq(read_text(m.directory, "hugetlb.2MB.max", text), "4194304\n");
	} else {
		fixture_skip("hugetlb", "there is no such controller");
	}
	leaf_made_close(&m);
	leaves_drop(&all, m.number);
	ck_assert(list_empty(&all.list));
	leaves_deinit(&all, 0);
	end();
}
END_TEST

/* Those of memory and pids, where they are there. */
START_TEST(limits_of_a_plan_are_written)
{
	const struct process_plan plan = {.memory_max = 1 << 26, .pids_max = 77};
	struct leaf_made m;
	struct leaves all;
	uint32_t missing;
	char text[256];
	int r;

	if (!begin()) {
		fixture_skip("limits", "no control groups can be made here");
		return;
	}
	ck_assert_int_eq(leaves_init(&all, place), 0);
	r = leaves_make(&all, &plan, &m, &missing);
	if (r == 0) {
		ck_assert_str_eq(read_text(m.directory, "memory.max", text), "67108864\n");
		ck_assert_str_eq(read_text(m.directory, "pids.max", text), "77\n");
		leaf_made_close(&m);
		leaves_drop(&all, m.number);
	} else {
		fixture_skip("memory and pids", "there are no such controllers");
		ck_assert_int_eq(r, -EOPNOTSUPP);
		ck_assert_uint_ne(missing, 0);
		ck_assert_uint_eq(missing & ~(uint32_t)(CONTROLLER_MEMORY | CONTROLLER_PIDS), 0);
	}
	leaves_deinit(&all, 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("leaves");
	TCase *t = fixture_case(s, "leaves", 60);

	tcase_add_test(t, what_is_there_is_set_and_what_is_not_is_named);
	tcase_add_test(t, limits_of_a_plan_are_written);
	return fixture_main(s);
}
