/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "capfsd/listeners/doomed.h"

#include <errno.h>

#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/endpoint.h"
#include "capfsd/listeners/listener.h"

#define CROWD 4	 /* more clients do not end all at once */
#define LOOKS 16 /* at listeners, in one piece */

void
listener_doom(struct listener *l)
{
	if (!list_empty(&l->doomed_link))
		return;
	l->crowded = l->n_clients > CROWD;
	l->sockets->listeners->n_crowded += l->crowded;
	list_append(&l->sockets->listeners->doomed, &l->doomed_link);
}

void
listeners_look(struct sockets *sockets)
{
	sockets->listeners->n_unlooked = sockets->listeners->n;
}

/* Who was looked at goes to the end, behind who comes meanwhile: what ends next begins with who has waited longest. */
static void
look_at_some(struct listeners *all)
{
	for (unsigned n = 0; n < LOOKS && all->n_unlooked > 0; n++) {
		struct listener *l = list_entry(list_first(&all->all), struct listener, link);

		list_unlink(&l->link);
		list_append(&all->all, &l->link);
		all->n_unlooked--;
		if (l->entity->kind == ENTITY_CAPABILITY && capability_is_doomed(capability_of(l->entity)))
			listener_doom(l);
	}
}

bool
listeners_are_doomed(const struct sockets *sockets)
{
	return sockets->listeners->n_unlooked > 0 || !list_empty(&sockets->listeners->doomed);
}

bool
listeners_are_crowded(const struct sockets *sockets)
{
	return sockets->listeners->n_unlooked > 0 || sockets->listeners->n_crowded > 0;
}

void
listeners_end_one(struct sockets *sockets)
{
	struct list *first;
	struct listener *l;

	look_at_some(sockets->listeners);
	first = list_first(&sockets->listeners->doomed);
	if (!first)
		return;
	l = list_entry(first, struct listener, doomed_link);
	listener_done(l, ECONNREFUSED);
	if (!l->ending)
		listener_end_socket(l);
	else
		core_tell_gone(sockets, endpoint_user(l->entity), l);
	if (l->n_clients <= CROWD)
		listener_leave_crowd(l);
	if (list_empty(&l->clients))
		listener_free(l);
}
