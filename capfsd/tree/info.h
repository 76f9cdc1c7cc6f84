/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The texts of informing files, one function each. */
#pragma once

#include <stdint.h>

/* Texts with a line for each of what may be a million have no more than so many, then "... more". */
#define INFO_LINES_MAX 4096

struct entity;
struct request;
struct session;
struct text;

void info_readme(struct request *r, struct entity *e, struct text *t);
void info_version(struct request *r, struct entity *e, struct text *t);
void info_metrics(struct request *r, struct entity *e, struct text *t);
void info_label(struct request *r, struct entity *e, struct text *t);
void info_state(struct request *r, struct entity *e, struct text *t);
void info_quota(struct request *r, struct entity *e, struct text *t);
void info_capability(struct request *r, struct entity *e, struct text *t);
void info_holders(struct request *r, struct entity *e, struct text *t);
void info_entrypoint(struct request *r, struct entity *e, struct text *t);
void info_objects(struct request *r, struct entity *e, struct text *t);
void info_thread(struct request *r, struct entity *e, struct text *t);

void usage_call(struct request *r, struct entity *e, struct text *t);
void usage_grant(struct request *r, struct entity *e, struct text *t);
void usage_replicate(struct request *r, struct entity *e, struct text *t);
void usage_transfer(struct request *r, struct entity *e, struct text *t);
void usage_reduce(struct request *r, struct entity *e, struct text *t);
void usage_revoke(struct request *r, struct entity *e, struct text *t);
void usage_transfer_quota(struct request *r, struct entity *e, struct text *t);

/* "init/app caps limit=8 used=8; largest: init/app/w 5": the account behind a refusal. */
struct capability;
void info_account(struct session *s, unsigned kind, struct text *t);
/* "init/app/caps/kv" */
void info_slot_path(const struct capability *c, struct text *t);
