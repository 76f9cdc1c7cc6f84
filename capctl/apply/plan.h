/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a file of `capctl apply` says: one session, and those below it, each with a program or with
 * others. All of it is found right, or refused where it stands, before anybody is asked for
 * anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capctl/run/profile.h"
#include "capctl/run/tree.h"
#include "capctl/run/words.h"

struct entry;

/* A slot that a session is granted. */
struct use {
	const struct run_given *given;
	char *name;	    /* as the slot is called there */
	struct entry *from; /* whose program serves it, or NULL: it is in the session that the file
			       is applied in */
	const char *slot;   /* … as which slot; the word for it where there is no such */
};

struct entry {
	struct entry *parent; /* NULL: it is the first one */
	char *place;	      /* "shop.yaml:3:5" */
	char *path;	      /* in the tree of the file */
	char *name;	      /* below the first one, "db/log"; "": it is that */
	struct text node;     /* "sessions/shop/sessions/db/sessions/log" */
	struct text session;  /* "shop/db/log" */
	bool has_sessions, has_program, has_args;

	/* As `capctl run` is told it. */
	char **argv; /* of which N_ARGV are owned */
	size_t n_argv, size_argv;
	char **program; /* its words, with its absolute path */
	size_t n_program;
	char *profile_place;
	char *output; /* NULL: none */
	struct profile profile;
	struct run_words words;
	struct run_tree tree; /* of its arguments; has a name if there are any */

	struct use *uses;
	size_t n_uses;
	bool has_connections; /* through some of them, in its arguments */
	uint64_t hash;	      /* of all that it is */
	char digest[24];      /* the same, as its program is called */

	unsigned visit; /* of the sort */
	bool is_kept;	/* it runs as it should */
};

struct plan {
	struct context *context;
	struct run_tree tree; /* all of the file */
	capc_args *args;
	struct entry **
		all; /* those that others are below come first; the first one is that of the file */
	size_t n, size;
	struct entry *
		*order; /* the N_ORDER that have a program: who uses another one comes behind it */
	size_t n_order;
};

#define PLAN_TITLE "apply-" /* what digests begin with */

/* The name of the session that the file is about. Complain. Return: 0, or an exit status.
 * plan_deinit() in any case. */
int plan_open(struct plan *p, struct context *x, const char *file);
/* All that it says. */
int plan_read(struct plan *p);
void plan_deinit(struct plan *p);

/* --- of plan.c alone: entry.c --- */

/* Takes the map at PATH. Complains. Returns: 0, or an exit status. */
int entry_read(struct plan *p, struct entry *parent, const char *path, const char *key,
	const struct capc_value *v);
/* Once its keys are known: what they say together. */
int entry_finish(struct plan *p, struct entry *e);
void entry_free(struct entry *e);

/* Complains about what stands at PATH. Returns: an exit status. */
int plan_refuse(const struct plan *p, const char *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* "shop.yaml:3:5", or NULL: no memory. */
char *plan_place(const struct plan *p, const char *path);
int plan_no_memory(void);
