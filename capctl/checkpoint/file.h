/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A checkpoint as a file has it (capfs-checkpoint(5)). All of it is checked before any of it is used: its sum, that
 * each line is of a known kind with known words, once each, that names are names and numbers numbers, and that
 * ids refer to what stands in it. So whatever is made of a word is one word of a command. Nothing here asks a daemon.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define FILE_KEYS(X)                                                                               \
	X(path) X(name) X(uid) X(gid) X(mode) X(caps) X(sockets) X(threads) X(ram) X(inflight)      \
	X(hold) X(backlog) X(fds) X(caveats) X(counts) X(entrypoint) X(id) X(key) X(socket) X(protocol) X(badge)         \
	X(type) X(parent) X(object) X(from) X(rights) X(methods) X(calls) X(used) X(conns) X(rate)  \
	X(expires) X(slot) X(what) X(n)

enum file_key {
#define X(name) KEY_##name,
	FILE_KEYS(X)
#undef X
	N_FILE_KEYS,
};

enum file_kind {
	FILE_SESSION,
	FILE_CONFINE, /* what is behind its path is written as it is */
	FILE_ENTRYPOINT,
	FILE_OBJECT,
	FILE_SLOT,
	FILE_ONLY,  /* caveats of a slot, behind it: what is behind its id is written as it is */
	FILE_SHARE, /* likewise: with whom it is shared */
	FILE_POLICY, /* a line of one; what is behind its path is written as it is, but for labels */
	FILE_ALIAS,
	FILE_LEFT,
	N_FILE_KINDS,
};

struct file_line {
	enum file_kind kind;
	unsigned number;
	const char *value[N_FILE_KEYS]; /* NULL: not there */
	const char *rest;               /* of those that are written as they are */
	uint64_t id;                    /* of objects and slots, and of what follows a slot */
	uint64_t source;                /* a slot's parent or object; 0: it is from outside */
};

struct file {
	char *data;
	struct file_line *lines; /* in the order of the file; what has an id behind all others, by that */
	size_t n, size;
	size_t first; /* the first of these */
	const char *of; /* the label that the session had */
};

/*
 * Takes DATA, N bytes, from malloc(3). Returns: 0, or -EBADMSG, -EOPNOTSUPP (of a later version), -EBUSY (torn),
 * -ENOMEM, and what is wrong in WHY.
 */
int file_parse(char *data, size_t n, struct file *ret, struct text *why);
void file_deinit(struct file *f);

/* The object or slot with this id; NULL: there is none. */
struct file_line *file_find(const struct file *f, uint64_t id);
