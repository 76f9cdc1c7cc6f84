/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conversations that the daemon has with objects for open files (caps/SLOT/call).
 *
 * It owns the client's end of each, and how far it is. The file system asks through `struct calls`
 * (tree/conversations.h), sockets/ gives it what a predecessor left, broker/fronts.c tells it of
 * capabilities that are gone. It is a client of sockets/ like any other: it never sees a server's
 * channel.
 *
 *	conversation	one of them: its requests, its end
 *	reply		what is read of it
 */
#pragma once

#include <stdint.h>

struct calls;
struct conversations;
struct entity;
struct sockets;

/* A READ of this open file may have a reply now. */
typedef void (*conversation_ready_t)(void *data, uint64_t handle);

/* Joins it to SOCKETS, which outlives it. Returns: 0 or -errno. */
int conversations_new(struct sockets *sockets, conversation_ready_t ready, void *data,
	struct conversations **ret);
/*
 * Conversations end; where SOCKETS forgets, they stay for the next broker. May be NULL. Returns:
 * NULL.
 */
struct conversations *conversations_free(struct conversations *all);
/* Ends them for good. */
void conversations_stop(struct conversations *all);

/* The model's hook of that name. */
void conversations_gone(struct conversations *all, const struct entity *e);

/* For fs_set_calls(). */
extern const struct calls conversation_calls;
