/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operations behind command files, and those behind mkdir, rmdir, mv, chmod and chown. Each
 * decodes, checks, stages one change, commits it, and leaves its answer in the request.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct capability;
struct entity;
struct entrypoint;
struct request;
struct session;

int verb_grant(struct request *r, struct entity *e, const char *text, size_t n);
int verb_replicate(struct request *r, struct entity *e, const char *text, size_t n);
int verb_transfer(struct request *r, struct entity *e, const char *text, size_t n);
int verb_reduce(struct request *r, struct entity *e, const char *text, size_t n);
int verb_revoke(struct request *r, struct entity *e, const char *text, size_t n);
int verb_transfer_quota(struct request *r, struct entity *e, const char *text, size_t n);
int verb_objects(struct request *r, struct entity *e, const char *text, size_t n);

int verb_session_create(struct request *r, struct session *parent, const char *name, size_t n,
	const char *quota, size_t n_quota, struct session **ret);
int verb_session_close(struct request *r, struct session *s);
int verb_drop(struct request *r, struct capability *c);
int verb_rename(struct request *r, struct capability *c, const char *name, size_t n);
int verb_entrypoint_end(struct request *r, struct entrypoint *e);
int verb_set_owner(struct request *r, struct entity *e, uid_t uid, gid_t gid, mode_t mode);
