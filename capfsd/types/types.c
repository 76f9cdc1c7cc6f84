/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All types of capability: a row for each, in a file of its own, under the number that its records
 * have (kinds/capability/type.h). The model and the kinds know only the table, so that a type needs nothing
 * of them but a line here.
 */
#include "config.h"

#include "capfsd/types/types.h"

const struct type *const capability_types[N_CAPABILITY_TYPES] = {
	[TYPE_OBJECT] = &object_type,
	[TYPE_SIGNAL] = &signal_type,
	[TYPE_SESSION] = &session_type,
	[TYPE_THREAD] = &thread_type,
	[TYPE_FD] = &fd_type,
};
