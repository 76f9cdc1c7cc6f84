/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the row of capabilities (capability.c). */
#pragma once

struct entity;
struct model;

/* As struct kind has it: -EBADMSG, or -ENOENT of what an older daemon has left. */
int capability_resolve(struct model *m, struct entity *e);
