/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations behind command files, and those behind mkdir, rmdir, mv, chmod and chown. Each
 * decodes, checks, stages one change, commits it, and leaves its answer in the request.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct capability;
struct change;
struct entity;
struct entrypoint;
struct request;
struct session;
struct word;

/*
 * The ANSWER of the model to VERB, named AS the word says: a refusal, or the slot that is MADE from
 * SOURCE in its session, committed and logged. VERB is the right too that it takes.
 */
int finish_made(struct request *r, struct change *ch, const char *verb, struct capability *source,
	struct session *session, const struct word *as, int answer, const struct capability *made);

int verb_grant(struct request *r, struct entity *e, const char *text, size_t n);
int verb_replicate(struct request *r, struct entity *e, const char *text, size_t n);
int verb_transfer(struct request *r, struct entity *e, const char *text, size_t n);
int verb_reduce(struct request *r, struct entity *e, const char *text, size_t n);
int verb_revoke(struct request *r, struct entity *e, const char *text, size_t n);
int verb_transfer_quota(struct request *r, struct entity *e, const char *text, size_t n);
/* What another session passed on: SOURCE, as a slot of TO. */
int verb_import(struct request *r, struct capability *source, struct session *to, const char *text,
	size_t n);
int verb_identify(struct request *r, struct capability *c, struct session *s);
int verb_objects(struct request *r, struct entity *e, const char *text, size_t n);

int verb_session_create(struct request *r, struct session *parent, const char *name, size_t n,
	const char *quota, size_t n_quota, struct session **ret);
int verb_session_close(struct request *r, struct session *s);
int verb_drop(struct request *r, struct capability *c);
int verb_rename(struct request *r, struct capability *c, const char *name, size_t n);
int verb_entrypoint_end(struct request *r, struct entrypoint *e);
int verb_set_owner(struct request *r, struct entity *e, uid_t uid, gid_t gid, mode_t mode);
