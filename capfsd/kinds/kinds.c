/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All kinds of entities: the model knows only this table, in which it looks up what to call. */
#include "config.h"

#include "capfsd/kinds/kinds.h"

#include "capfsd/model/kind.h"

const struct kind *const entity_kinds[ENTITY_N_KINDS] = {
	[ENTITY_SESSION] = &session_kind,
	[ENTITY_CAPABILITY] = &capability_kind,
	[ENTITY_ENTRYPOINT] = &entrypoint_kind,
	[ENTITY_OBJECT] = &object_kind,
	[ENTITY_THREAD] = &thread_kind,
	[ENTITY_ALIAS] = &alias_kind,
	[ENTITY_PROGRAM] = &program_kind,
	[ENTITY_CONFINEMENT] = &confinement_kind,
	[ENTITY_LABELS] = &labels_kind,
	[ENTITY_CAVEAT] = &caveat_kind,
	[ENTITY_ASK] = &ask_kind,
	[ENTITY_POLICY] = &policy_kind,
	[ENTITY_RULED] = &ruled_kind,
	[ENTITY_SHARE] = &share_kind,
	[ENTITY_ANCHOR] = &anchor_kind,
	[ENTITY_VISIT] = &visit_kind,
	[ENTITY_DECLINED] = &declined_kind,
	[ENTITY_TIE] = &tie_kind,
};
