/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The texts of informing files, one function each; those of one piece. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct capability;
struct entity;
struct request;
struct text;

void info_readme(struct request *r, struct entity *e, struct text *t);
void info_version(struct request *r, struct entity *e, struct text *t);
void info_label(struct request *r, struct entity *e, struct text *t);
void info_state(struct request *r, struct entity *e, struct text *t);
void info_quota(struct request *r, struct entity *e, struct text *t);
void info_capability(struct request *r, struct entity *e, struct text *t);
void info_entrypoint(struct request *r, struct entity *e, struct text *t);
void info_thread(struct request *r, struct entity *e, struct text *t);
void info_yield(struct request *r, struct entity *e, struct text *t);
void info_policy(struct request *r, struct entity *e, struct text *t);
void info_confine(struct request *r, struct entity *e, struct text *t);
void info_program_fds(struct request *r, struct entity *e, struct text *t);
void info_program(struct request *r, struct entity *e, struct text *t);
void info_visit(struct request *r, struct entity *e, struct text *t);
/* Of a slot that is a visit's; of others how one is opened. */
void info_slot_visit(struct request *r, struct entity *e, struct text *t);

/* What several texts have of a slot: "limit=9 used=7 left=2"; "limit=5/s" where there is one; "yes". */
void info_limit(uint64_t limit, uint64_t used, uint64_t left, struct text *t);
void info_rate(const struct capability *c, const char *before, const char *behind, struct text *t);
const char *info_served(const struct capability *c);

/* May that text change without notice? */
bool info_capability_restless(const struct entity *e);
