/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The texts of informing files, one function each. */
#pragma once

#include <stdint.h>

/* Texts with a line for each of what may be a million have no more than so many, then "... more". */
#define INFO_LINES_MAX 4096

struct entity;
struct request;
struct text;

void info_readme(struct request *r, struct entity *e, struct text *t);
void info_version(struct request *r, struct entity *e, struct text *t);
void info_label(struct request *r, struct entity *e, struct text *t);
void info_state(struct request *r, struct entity *e, struct text *t);
void info_quota(struct request *r, struct entity *e, struct text *t);
void info_capability(struct request *r, struct entity *e, struct text *t);
void info_holders(struct request *r, struct entity *e, struct text *t);
void info_entrypoint(struct request *r, struct entity *e, struct text *t);
void info_objects(struct request *r, struct entity *e, struct text *t);
void info_thread(struct request *r, struct entity *e, struct text *t);
