/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each invariant of doc/MODEL is broken by hand, and model_check() says which it is. One that is added there has a
 * row here, too, and stands in the document with its text.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capfsd/model/check.h"
#include "tests/fixture.h"
#include "tests/model-service.h"

static struct capability *child, *other, *limited;
static struct object *object;

static void
setup(void)
{
	struct confinement_record record;
	struct change *ch;

	service_setup();
	child = make_grant(&w, origin, app, NULL, NULL);
	other = make_origin(&w, web, 2, "other");
	object = capability_object(origin);
	limited = make_grant(&w, origin, app, "limited", &(struct reductions){.only = "GET /**", .n_only = 1});
	confinement_default(&record);
	ch = change_begin(w.model);
	ck_assert_int_eq(change_finish(ch, confinement_set(ch, app, &record)), 0);
	log_text(w.model, app, "a line");
	model_check(w.model);
}

static void
break_ids(void)
{
	w.model->header.next_id = 2;
}

static void
break_names(void)
{
	child->entity.name[0] = 'x';
}

static void
break_lists(void)
{
	list_unlink(&web->objects);
	list_append(object->entity.owner_link.next, &web->objects);
}

static void
break_depth(void)
{
	inner->entity.depth++;
}

static void
break_staged(void)
{
	child->entity.staged = (struct staged *)(void *)child;
}

static void
break_counts(void)
{
	w.model->n[ENTITY_CAPABILITY]++;
}

static void
break_target(void)
{
	child->record.target++;
}

static void
break_rights(void)
{
	child->record.rights = 0;
}

static void
break_source(void)
{
	child->target = other->target;
	child->record.target = other->record.target;
}

static void
break_children(void)
{
	origin->n_children++;
}

static void
break_holders(void)
{
	index_remove(&w.model->by_holder, &child->held_link);
}

static void
break_ending(void)
{
	child->record.flags |= CAPABILITY_DEAD;
}

static void
break_closing(void)
{
	app->record.state = SESSION_CLOSING;
	list_append(&w.model->ending, &app->entity.ending_link);
}

static struct caveat *
caveat(void)
{
	return caveat_of(list_entry(list_first(&limited->caveats), struct entity, owner_link));
}

static void
break_caveats(void)
{
	record_set_caveats(&limited->record, 2);
}

static void
break_caveat(void)
{
	caveat()->record.text[0] = '\n';
}

static void
break_calls(void)
{
	child->record.calls_limit = 1;
	child->record.calls_used = 2;
}

static void
break_conns(void)
{
	child->conns_used++;
}

static void
break_expiry(void)
{
	child->record.expires_usec = world_now() + MINUTE_USEC;
}

static void
break_used(void)
{
	app->used.n[QUOTA_CAPS]++;
}

static void
break_lent(void)
{
	app->lent.n[QUOTA_SOCKETS]--;
}

static void
break_limit(void)
{
	root->lent.n[QUOTA_CAPS] -= app->record.limit.n[QUOTA_CAPS];
	app->record.limit.n[QUOTA_CAPS] = 0;
}

static void
break_donation(void)
{
	app->record.donation.n[QUOTA_THREADS] = app->record.limit.n[QUOTA_THREADS] + 1;
}

static void
break_sums(void)
{
	w.model->used.n[QUOTA_RAM]++;
}

static void
break_badge(void)
{
	object->record.badge = w.model->header.next_badge;
}

static void
break_objects(void)
{
	web->n_objects++;
}

static void
break_server(void)
{
	web->record.thread = 0;
}

static void
break_numbers(void)
{
	web->thread->record.number = root->record.threads_made + 1;
}

static void
break_confinement(void)
{
	confinement_own(app)->record.n_binds = UINT32_MAX;
}

static void
break_command(void)
{
	static struct program none;

	web->command = &none;
}

static void
break_log(void)
{
	app->event_bytes++;
}

/* More is charged than was lent. */
static void
break_visit(void)
{
	const struct quota amount = {{[QUOTA_RAM] = 4096}};
	struct change *ch = change_begin(w.model);
	struct capability *c = NULL;
	enum quota_kind kind;

	ck_assert_int_eq(capability_visit(ch, child, app, "visit", 5, 0, &c), 0);
	ck_assert_int_eq(finish(ch, visit_open(ch, c, app, NULL, &amount, NULL, 0, &kind)), 0);
	model_check(w.model);
	c->visit->record.charged.n[QUOTA_RAM] = 1;
}

static void
break_tie(void)
{
	const struct reductions how = {};
	struct change *ch = change_begin(w.model);
	struct capability *made = NULL, *of;

	ck_assert_int_eq(change_finish(ch, capability_reach(ch, other, origin, RIGHT_GRANT, app, "tied", 4, &how, 0, &made,
						   &of)), 0);
	model_check(w.model);
	made->tie->through->ties = NULL;
}

static struct ask *
add_ask(struct change *ch, uint64_t until_usec)
{
	const struct ask_record record = {.until_usec = until_usec};
	struct ask *a = NULL;

	ck_assert_int_eq(ask_add(ch, app, "mail", 4, &record, &a), 0);
	return a;
}

static struct ask *
make_ask(uint64_t until_usec)
{
	struct change *ch = change_begin(w.model);
	struct ask *a = add_ask(ch, until_usec);

	ck_assert_int_eq(change_finish(ch, 0), 0);
	model_check(w.model);
	return a;
}

static void
break_ask(void)
{
	list_unlink(&make_ask(1)->asked_link);
}

static void
break_due(void)
{
	struct ask *a = make_ask(1);

	make_ask(2);
	a->record.until_usec = 3;
}

static void
break_asks(void)
{
	for (int i = 0; i <= ASKS_MAX; i++) {
		struct change *ch = change_begin(w.model);

		add_ask(ch, 1);
		ck_assert_int_eq(change_finish(ch, 0), 0);
	}
}

static void
break_policy(void)
{
	struct change *ch = change_begin(w.model);
	uint64_t old;

	ck_assert_int_eq(change_finish(ch, policy_set(ch, app, rules_new("", 0), &old)), 0);
	model_check(w.model);
	app->policy = NULL;
}

static void
break_ruled(void)
{
	struct change *ch = change_begin(w.model);

	ck_assert_int_eq(change_finish(ch, ruled_add(ch, child, "mail", 4)), 0);
	model_check(w.model);
	list_unlink(&child->ruled->given_link);
}

static const struct {
	enum model_invariant number;
	void (*break_it)(void);
} broken[] = {
	{INVARIANT_M01, break_ids},
	{INVARIANT_M02, break_names},
	{INVARIANT_M03, break_lists},
	{INVARIANT_M04, break_depth},
	{INVARIANT_M05, break_staged},
	{INVARIANT_M06, break_counts},
	{INVARIANT_M10, break_target},
	{INVARIANT_M11, break_rights},
	{INVARIANT_M12, break_source},
	{INVARIANT_M13, break_children},
	{INVARIANT_M14, break_holders},
	{INVARIANT_M15, break_ending},
	{INVARIANT_M16, break_closing},
	{INVARIANT_M17, break_caveats},
	{INVARIANT_M18, break_caveat},
	{INVARIANT_M19, break_tie},
	{INVARIANT_M20, break_calls},
	{INVARIANT_M21, break_conns},
	{INVARIANT_M22, break_expiry},
	{INVARIANT_M30, break_used},
	{INVARIANT_M31, break_lent},
	{INVARIANT_M32, break_limit},
	{INVARIANT_M33, break_donation},
	{INVARIANT_M34, break_sums},
	{INVARIANT_M35, break_visit},
	{INVARIANT_M40, break_badge},
	{INVARIANT_M41, break_objects},
	{INVARIANT_M42, break_server},
	{INVARIANT_M43, break_numbers},
	{INVARIANT_M44, break_confinement},
	{INVARIANT_M45, break_command},
	{INVARIANT_M50, break_log},
	{INVARIANT_M60, break_ask},
	{INVARIANT_M61, break_due},
	{INVARIANT_M62, break_asks},
	{INVARIANT_M63, break_policy},
	{INVARIANT_M64, break_ruled},
};

#define N_BROKEN (sizeof(broken) / sizeof(broken[0]))

_Static_assert(N_BROKEN == MODEL_N_INVARIANTS, "each is broken once");

/* In a process of its own, which it ends. Returns: what model_check() has said; it is the caller's (free). */
static char *
check_broken(size_t i)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC), status;
	char *text = calloc(1, 1024);
	pid_t pid = fork();

	ck_assert(fd >= 0 && text && pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){});
		signal(SIGABRT, SIG_DFL);
		dup2(fd, STDERR_FILENO);
		broken[i].break_it();
		model_check(w.model);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s is not seen",
		model_invariants[broken[i].number].number);
	ck_assert_int_gt(pread(fd, text, 1023, 0), 0);
	close(fd);
	return text;
}

START_TEST(each_is_seen_when_it_is_broken)
{
	const struct invariant *invariant = &model_invariants[broken[_i].number];
	cleanup_free char *text = check_broken((size_t)_i);

	ck_assert_uint_eq(broken[_i].number, (unsigned)_i);
	ck_assert_msg(strncmp(text, invariant->number, strlen(invariant->number)) == 0, "%s: %s", invariant->number, text);
	ck_assert_ptr_nonnull(strstr(text, invariant->text));
}
END_TEST

/* "  M01  an id leads back …" */
START_TEST(each_stands_in_the_document)
{
	const char *top = getenv("top_srcdir");
	cleanup_free char *line = NULL;
	size_t size = 0, n = 0;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/doc/MODEL", top ? top : ".");
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (getline(&line, &size, f) >= 0) {
		if (strncmp(line, "  M", 3) != 0 || !strchr("0123456789", line[3]))
			continue;
		line[strcspn(line, "\n")] = '\0';
		ck_assert_uint_lt(n, MODEL_N_INVARIANTS);
		ck_assert_msg(strncmp(line + 2, model_invariants[n].number, 3) == 0 &&
				strcmp(line + 7, model_invariants[n].text) == 0,
			"%s, and not: %s: %s", line, model_invariants[n].number, model_invariants[n].text);
		n++;
	}
	fclose(f);
	ck_assert_uint_eq(n, MODEL_N_INVARIANTS);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("invariants");
	TCase *t = tcase_create("invariants");

	tcase_add_checked_fixture(t, setup, service_teardown);
	tcase_add_loop_test(t, each_is_seen_when_it_is_broken, 0, (int)N_BROKEN);
	tcase_add_test(t, each_stands_in_the_document);
	suite_add_tcase(s, t);
	return fixture_main(s);
}
