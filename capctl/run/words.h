/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The options of `capctl run`, which are its own: some may come many times, and their order counts. What they
 * name is a word of the command line each, which is cut where its '=' was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capctl/owner.h"

/* A descriptor that the program gets. */
struct run_given {
	const char *slot; /* … by this word; NULL: it is the descriptor FD of ours */
	const char *label; /* NULL: as the slot is called */
	const char *limits; /* of the slot, as they were written, or NULL */
	int fd;
};

/* As in struct capc_spawn. */
struct run_heartbeat {
	unsigned sec, max;
};

struct run_words {
	const char *session, *name, *args;
	const char *serve; /* NAME[,WORD...], or NULL */
	/* Of a session of the program's own, each NULL unless it was said. */
	const char *new_name, *profile, *workspace, *uid;
	char **confine, **quota; /* words KEY=VALUE with blanks in between */
	size_t n_confine, n_quota;
	struct run_given *given; /* in their order */
	size_t n_given;
	gid_t groups[OWNER_GROUPS_MAX]; /* that it is to have beside its own */
	size_t n_groups;
	char **env; /* KEY=VALUE */
	size_t n_env;
	bool help, version, clear_env, detach, die_with, open_sockets;
	bool is_new; /* there is one */
	bool ended; /* the options, by "--": what follows is a program and no file of one */
	unsigned restart; /* one of CAPC_SPAWN_RESTART_X, or 0 */
	struct run_heartbeat heartbeat;
	uint64_t timeout_usec;
};

/*
 * ARGV[0] is the command's name. The first word that is no option is the program. Complains to stderr.
 * Returns: the index of that word, ARGC if there is none, or -EINVAL. run_words_deinit() in any case.
 */
int run_words_parse(struct run_words *w, int argc, char **argv);
/* What --profile has in ARGV, which stays as it is; NULL: none. Says nothing. */
const char *run_words_profile(int argc, char **argv);
void run_words_deinit(struct run_words *w);

/* The flag of capc_spawn that WORD stands for, 0: none. */
unsigned run_words_restart(const char *word);

/* "SECONDS[:N]". Returns: 0 or -EINVAL. */
int run_words_heartbeat(const char *word, struct run_heartbeat *ret);

/*
 * The environment of the program: what is inherited, which may be left out, and what was given, each key once.
 * What says where the tree of this process is, is not inherited: its descriptors are not.
 * Returns: an array that ends with NULL (free it, not what is in it), or NULL: there is no memory.
 */
char **run_words_environment(const struct run_words *w, char *const *inherited);
