/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/listeners/inspections.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/model/quota.h"
#include "capfsd/model/session.h"
#include "capfsd/process/boot.h"

struct inspections {
	struct list running;
	uint64_t next_serial;
};

struct inspection {
	struct list link;
	struct charge charge;
	struct session *session;
	uint64_t serial;
	bool moved; /* the binder still believes that it is another session's */
	inspection_told *told; /* NULL: it was, or a predecessor had begun this one */
	void *data;
};

/* The last that is heard of it, or nothing. */
static void
tell(struct inspection *i, const struct binder_result *result)
{
	inspection_told *told = i->told;

	i->told = NULL;
	if (told)
		told(i->data, i->session, i->serial, result);
}

static void
inspection_free(struct inspection *i)
{
	list_unlink(&i->link);
	charge_deinit(&i->charge);
	tell(i, NULL);
	free(i);
}

/* A session without quota for it does without: the process is there all the same. */
static void
inspection_pay(struct inspection *i, struct session *s)
{
	charge_deinit(&i->charge);
	i->session = s;
	(void)charge_init(&i->charge, s, QUOTA_SOCKETS, 1);
}

/* The binder must know it before this broker is dead. It may have no time now. */
static void
tell_moved(struct sockets *sockets)
{
	list_for_each (link, &sockets->inspections->running) {
		struct inspection *i = list_entry(link, struct inspection, link);

		if (i->moved)
			i->moved = jobs_inspect(sockets, i->serial, i->session, 0, NULL, 0) < 0;
	}
}

/*
 * An inspector may outlive the session that asked for it. It then counts against the parent, so
 * that making and closing sessions is no way to have any number of them.
 */
void
inspections_inherit(struct sockets *sockets, const struct session *s)
{
	list_for_each (link, &sockets->inspections->running) {
		struct inspection *i = list_entry(link, struct inspection, link);

		if (i->session != s)
			continue;
		/* Its quota is the parent's again, unless others were faster. */
		inspection_pay(i, s->parent);
		i->moved = true;
	}
	tell_moved(sockets);
}

static size_t
count_below(const void *data, const struct session *top)
{
	const struct inspections *all = data;
	size_t n = 0;

	list_for_each (i, &all->running)
		n += quota_is_below(list_entry(i, struct inspection, link)->session, top);
	return n;
}

/* No broker before had it: a reply to one of theirs is nobody's. */
static uint64_t
next_serial(struct sockets *sockets)
{
	const struct boot_page *page = sockets->boot->page;
	struct inspections *all = sockets->inspections;

	if (!all->next_serial)
		all->next_serial = (page ? (uint64_t)page->n_brokers : 0) << 32 | 1;
	return all->next_serial++;
}

int
inspections_begin(struct sockets *sockets, struct session *s, enum inspection_task task, const int *fds,
	size_t n, inspection_told *told, void *data, uint64_t *ret_serial)
{
	struct inspections *all = sockets->inspections;
	struct inspection *i;

	if (!quota_share_left(s, INSPECTIONS_MAX, INSPECTIONS_MIN, count_below, all))
		return -EBUSY;
	i = calloc(1, sizeof(*i));
	if (!i)
		return -ENOMEM;
	list_init(&i->link);
	if (charge_init(&i->charge, s, QUOTA_SOCKETS, 1)) {
		free(i);
		return -EDQUOT;
	}
	i->session = s;
	i->serial = next_serial(sockets);
	list_append(&all->running, &i->link);
	tell_moved(sockets);
	if (jobs_inspect(sockets, i->serial, s, task, fds, n) < 0) {
		inspection_free(i);
		return -EAGAIN;
	}
	i->told = told;
	i->data = data;
	*ret_serial = i->serial;
	return 0;
}

bool
inspections_crowd(const struct sockets *sockets, const struct session *s)
{
	size_t n = 0;

	list_for_each (i, &sockets->inspections->running)
		n += list_entry(i, struct inspection, link)->session == s;
	return n > 0 && n >= quota_available(s, QUOTA_SOCKETS);
}

static struct inspection *
inspection_of(const struct inspections *all, uint64_t serial)
{
	list_for_each (link, &all->running) {
		struct inspection *i = list_entry(link, struct inspection, link);

		if (i->serial == serial)
			return i;
	}
	return NULL;
}

/* One that a predecessor has begun. Whoever waited for what it says begins anew. */
static void
inspection_found(struct sockets *sockets, const struct binder_result *result)
{
	struct inspection *i = calloc(1, sizeof(*i));

	if (!i) {
		core_fail(sockets, -ENOMEM);
		return;
	}
	i->serial = result->inspection;
	list_append(&sockets->inspections->running, &i->link);
	inspection_pay(i, core_session(sockets, result->object));
}

/* Who waits for one to be over may begin then. */
void
inspections_told(struct sockets *sockets, const struct binder_result *result)
{
	struct inspection *i = inspection_of(sockets->inspections, result->inspection);

	if (!i) {
		if (result->ended == INSPECTION_GOES_ON)
			inspection_found(sockets, result);
		return;
	}
	if (result->ended == INSPECTION_GOES_ON)
		return;
	if (!result->ended) {
		tell(i, result);
		return;
	}
	inspection_free(i);
	core_resume_later(sockets, 0);
}

/* With the binder all its inspectors ended, and none will report any more. */
void
inspections_lost(struct sockets *sockets)
{
	list_for_each_safe (i, &sockets->inspections->running)
		inspection_free(list_entry(i, struct inspection, link));
	core_resume_later(sockets, 0);
}

int
inspections_new(struct sockets *sockets)
{
	sockets->inspections = calloc(1, sizeof(*sockets->inspections));
	if (!sockets->inspections)
		return -ENOMEM;
	list_init(&sockets->inspections->running);
	return 0;
}

void
inspections_free(struct sockets *sockets)
{
	struct inspections *all = take_ptr(sockets->inspections);

	if (!all)
		return;
	list_for_each_safe (i, &all->running)
		inspection_free(list_entry(i, struct inspection, link));
	free(all);
}
