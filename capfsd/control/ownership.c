/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * chown(2) and chmod(2) of a session decide who can open its `control`; a connection from before
 * would go on with the authority that was just taken. So all of them are judged at a change, by
 * what the kernel says of who called connect(2), and who could not call it again is ended.
 *
 * Only at a change: whom the kernel has let in is not asked for reasons (it may have capabilities
 * that nobody sees here), and who was ended in error connects again. The record says, from the
 * change itself on, that there is something to judge, so a broker that dies in between leaves it to
 * the next one, whose clients and backlog are those of before. It is taken back when the last of
 * them is done.
 */
#include "config.h"

#include "capfsd/control/ownership.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/list.h"
#include "capfsd/control/control.h"
#include "capfsd/control/manager.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/listener.h"
#include "capfsd/model/change.h"
#include "capfsd/model/model.h"
#include "capfsd/model/session.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

#define AGAIN_USEC 1000000 /* the store was full, or there was no descriptor */
#define OPEN_BITS 3	   /* to enter the directory, and to write to the socket */

/*
 * The kernel lets people in by the old attributes until it has been told that chmod(2) is done, and whom it
 * has let in may arrive a little later.
 */
#define LATECOMERS_USEC 1000000

struct unsettled {
	struct list link; /* controls.unsettled */
	uint64_t session;
	uint64_t due_usec; /* nobody is on his way any more … */
	uint8_t change;    /* … of before this owner_changed */
};

/*
 * Does PEER have the group, of its own or as a supplementary one when it connected? There is room
 * for all that Linux allows, so that the answer is the same whenever it is asked.
 */
static bool
has_group(int fd, const struct ucred *peer, gid_t group)
{
	gid_t groups[NGROUPS_MAX];
	socklen_t n = sizeof(groups);

	if (peer->gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
		return false;
	for (size_t i = 0; i < n / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* As the kernel would, from the nine bits: those of the first class that somebody is of. */
static bool
may_open(const struct session *s, int fd, const struct ucred *peer)
{
	unsigned bits = s->record.mode;

	if (peer->uid == 0)
		return true;
	if (peer->uid == s->record.uid)
		bits >>= 6;
	else if (has_group(fd, peer, s->record.gid))
		bits >>= 3;
	return (bits & OPEN_BITS) == OPEN_BITS;
}

/* What came by the service manager's listener came by the mode of that, which did not change. */
bool
ownership_allows(
	struct controls *controls, const struct session *s, int fd, const struct ucred *peer)
{
	return !s->record.owner_changed || may_open(s, fd, peer) || manager_is(controls, fd);
}

/* The listener is held, as the last client of one that is not bound frees it. */
static void
judge(struct controls *controls, const struct session *s)
{
	struct listener *l = listener_find(&s->entity);

	if (!l)
		return;
	listener_hold(l);
	list_for_each_safe (i, &l->clients) {
		struct control *c = list_entry(i, struct control, listener_link);

		if (!ownership_allows(controls, s, c->fd, &c->peer))
			control_dismiss(c, EACCES, "the session's owner or mode has changed");
	}
	listener_unhold(l);
}

static struct unsettled *
find_unsettled(const struct controls *controls, uint64_t session)
{
	list_for_each (i, &controls->unsettled)
		if (list_entry(i, struct unsettled, link)->session == session)
			return list_entry(i, struct unsettled, link);
	return NULL;
}

/* Without memory for it the mark stays, and the next broker begins with it. */
static void
enter(struct controls *controls, const struct session *s)
{
	struct unsettled *u = find_unsettled(controls, s->entity.id);

	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return;
		u->session = s->entity.id;
		list_append(&controls->unsettled, &u->link);
		core_resume_later(controls->sockets, 0);
	}
	/* Other changes of the session are told as well, and must not put it off. */
	if (u->change != s->record.owner_changed)
		u->due_usec = core_now(controls->sockets) + LATECOMERS_USEC;
	u->change = s->record.owner_changed;
}

/* Called for other changes too, while the mark is there: then nobody new is found. */
void
ownership_changed(struct controls *controls, const struct entity *e)
{
	const struct session *s;

	if (e->kind != ENTITY_SESSION)
		return;
	s = session_of(e);
	if (!s->record.owner_changed)
		return;
	judge(controls, s);
	enter(controls, s);
}

struct backlog {
	struct controls *controls;
	struct session *session;
};

static void
admit(void *data, int fd)
{
	struct backlog *b = data;

	listener_admit(b->controls->sockets, &b->session->entity, fd);
}

/*
 * Who had connected before the change and was not accepted yet; as many as there can be of those.
 * Returns: false, where there are no descriptors to look at them.
 */
static bool
judge_backlog(struct controls *controls, struct session *s)
{
	struct backlog b = {controls, s};
	struct listener *l = listener_find(&s->entity);
	int r = 0;

	if (!l || l->fd < 0)
		return true;
	for (unsigned n = 0; n <= LISTENER_CONTROL_BACKLOG && r == 0; n++)
		r = socket_accept_one(l->fd, admit, &b);
	return r <= 0 || r == EAGAIN;
}

static int
unmark(struct session *s)
{
	struct change *ch = change_begin(s->model);
	struct session_record *record = change_edit(ch, &s->entity);

	if (!record) {
		change_abort(ch);
		return -ENOMEM;
	}
	record->owner_changed = 0;
	return change_commit(ch);
}

/* Returns: false, when it must be tried again later. */
static bool
settle(struct controls *controls, struct session *s, uint64_t due_usec)
{
	int r;

	if (!judge_backlog(controls, s) || core_now(controls->sockets) < due_usec)
		return false;
	r = unmark(s);
	if (r < 0)
		core_fail(controls->sockets, r);
	return r == 0;
}

/* What a predecessor has left: those that its store names. */
static void
enter_marked(struct controls *controls)
{
	struct session *root = controls->sockets->model->root;

	for (struct session *s = root; s; s = session_next_below(root, s))
		if (s->record.owner_changed)
			enter(controls, s);
	controls->settled_marked = true;
}

void
ownership_settle(struct controls *controls)
{
	struct list now = LIST_INIT(now);

	if (!controls->settled_marked)
		enter_marked(controls);
	/* What it does tells of changes, by which more may be entered. */
	while (!list_empty(&controls->unsettled)) {
		struct list *link = list_first(&controls->unsettled);

		list_unlink(link);
		list_append(&now, link);
	}
	while (!list_empty(&now)) {
		struct unsettled *u = list_entry(list_first(&now), struct unsettled, link);
		struct entity *e = entity_find(controls->sockets->model, u->session);

		list_unlink(&u->link);
		if (!e || !session_of(e)->record.owner_changed ||
			settle(controls, session_of(e), u->due_usec)) {
			free(u);
			continue;
		}
		list_append(&controls->unsettled, &u->link);
		core_resume_later(controls->sockets, AGAIN_USEC);
	}
}

void
ownership_deinit(struct controls *controls)
{
	while (!list_empty(&controls->unsettled)) {
		struct list *link = list_first(&controls->unsettled);

		list_unlink(link);
		free(list_entry(link, struct unsettled, link));
	}
}
