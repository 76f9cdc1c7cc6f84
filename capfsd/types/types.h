/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The types of capabilities: a row each, in the file of its name, which says what is true of that
 * type alone. This header is for those files and for the table in types.c; all others see the rows
 * through kinds/capability/type.h. A row reads the model and never changes it. A new type is: a number in
 * kinds/capability/type.h, its file, a line in types.c and here, and the file's name in capfsd/local.mk.
 */
#pragma once

#include "capfsd/kinds/capability/type.h"

extern const struct type fd_type;
extern const struct type object_type;
extern const struct type session_type;
extern const struct type signal_type;
extern const struct type thread_type;

/*
 * For the rows whose target is an anchor: the daemon answers, sees each connection, and knows no
 * methods; their `describe` begins with anchor_describe().
 */
struct list *anchor_origins(struct entity *target);
struct service anchor_service(const struct capability *c);
/* Instead, where the control protocol is spoken. */
struct service control_service(const struct capability *c);
void anchor_describe(const struct capability *c, struct text *t);
struct kept_limits anchor_limits(const struct capability *c);
