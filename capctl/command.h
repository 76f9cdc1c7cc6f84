/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command of capctl: one const entry, defined beside its function and listed in main.c. What a
 * command needs, the connection above all, hangs from struct context.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"
#include "capctl/names.h"
#include "capctl/options.h"
#include "libcap-client/cap-client.h"

/* Exit statuses. */
enum {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
};

/* Nothing that a broker answers takes longer, a restart included. */
#define TIMEOUT_USEC (UINT64_C(60) * 1000000)

struct context {
	struct options options;
	struct place place;
	capc_session *session; /* made by context_open() */
	char *label;	       /* its own, of which `place` has a pointer */
};

struct command {
	const char *name; /* one or two words */
	const char *arguments;
	const char *summary;
	uint64_t options; /* beside the global ones */
	bool own_options; /* its function gets all words behind its name, and that as the first */
	bool by_path; /* it takes files of the tree, or starts what does, and goes through no slot (--via) */
	int n_min, n_max; /* words; n_max -1: any number */
	int (*run)(struct context *x, int argc, char **argv);
};

extern const struct command command_adjust, command_alias, command_apply, command_args_encode, command_args_get, command_args_list,
	command_args_show, command_checkpoint, command_drop, command_events, command_faults, command_grant, command_graph,
	command_holders, command_reduce, command_replicate, command_restore, command_revoke, command_run, command_serve, command_session_close,
	command_session_create, command_share, command_shell, command_show, command_split, command_transfer, command_transfer_quota, command_tree,
	command_unalias, command_why;

extern const struct command command_dataspace_cat, command_dataspace_create, command_fetch, command_post;
extern const struct command command_originate, command_signal_raise, command_signal_wait, command_thread_ctl, command_thread_wait;
extern const struct command command_answer, command_upgrade, command_visit;
extern const struct command command_approve, command_policy, command_refuse, command_request, command_requests, command_yield;

/* Connects to the root. Returns: 0, or the exit status, having said why. */
int context_open(struct context *x);
void context_deinit(struct context *x);

/* The node of a word, or of --session. Returns: 0, or STATUS_USAGE, having said so. */
int context_node(struct context *x, const char *folder, const char *word, struct text *t);
int context_session(struct context *x, struct text *t);
/*
 * What commands begin with that are asked of one node: STATUS is that of their words, which stand in HOW. Connects,
 * and gives the node. Returns: STATUS, or as the two above, or STATUS_FAILED, having said why.
 */
int context_begin(struct context *x, int status, const char *folder, const char *word, const struct text *how,
	struct text *ret_node);

/* Reads NODE/FILE and appends its text. Returns: 0 or -errno; says nothing. */
int context_read(struct context *x, const char *node, const char *file, struct text *t);

/*
 * Writes TEXT to NODE/FILE; prints the answer when PRINT is set. WHAT is for the message of a
 * refusal: "grant kv to app". Returns: an exit status.
 */
int context_write(struct context *x, const char *node, const char *file, const char *text,
	bool print, const char *what);

/* The same, and prints nothing: *RET_ANSWER, to be freed, is what it was answered, or NULL. */
int context_ask(struct context *x, const char *node, const char *file, const char *text,
	const char *what, char **ret_answer);

/* As word_append(). Return: 0, or STATUS_USAGE, having said so. */
int command_word(struct text *t, const char *key, const char *word);
int command_words(struct text *t, char *const *words, int n);

/* Makes or removes a directory. Returns: 0 or -errno, with the reason (free it) or NULL. */
int context_create(struct context *x, const char *node, const char *text, char **ret_reason);
int context_remove(struct context *x, const char *node, char **ret_reason);

struct name_list {
	char **names;
	size_t n, size;
};

/* The names in directory NODE/FOLDER, sorted. Returns: 0 or -errno. */
int context_list(struct context *x, const char *node, const char *folder, struct name_list *ret);
void name_list_deinit(struct name_list *l);

/* Where what is complained about stands, "shop.yaml:3:5", or NULL; borrowed, until the next call. */
void complain_at(const char *place);

/* "capctl: WHAT: EDQUOT: REASON"; REASON may be NULL. Returns: STATUS_FAILED. */
int complain(int error, const char *reason, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "capctl: …". Returns: STATUS_USAGE. */
int complain_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How C is used. Returns: STATUS_USAGE. */
int command_usage(const struct command *c, FILE *f);
int command_version(void);

/* Lets go of stdout. Returns: STATUS, or STATUS_FAILED when not everything could be written. */
int output_done(int status);
