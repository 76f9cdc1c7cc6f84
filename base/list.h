/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A doubly linked ring with its links inside the members. A link that is in no list points to
 * itself, so list_unlink() may be called twice, and a destructor may call it always.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name) {&(name), &(name)}
#define container_of(ptr, type, member)                                                            \
	((type *)(void *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))
#define list_entry(link, type, member) container_of(link, type, member)

static inline void
list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void
list_append(struct list *l, struct list *link)
{
	link->prev = l->prev;
	link->next = l;
	l->prev->next = link;
	l->prev = link;
}

static inline void
list_unlink(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

static inline struct list *
list_first(const struct list *l)
{
	return list_empty(l) ? NULL : l->next;
}

#define list_for_each(i, l) for (struct list *i = (l)->next; i != (l); i = i->next)
#define list_for_each_safe(i, l)                                                                   \
	for (struct list *i = (l)->next, *i##_next = i->next; i != (l); i = i##_next, i##_next = i->next)
