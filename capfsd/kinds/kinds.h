/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kinds of entities beside sessions: capabilities, their aliases, caveats, ties and visits, entrypoints,
 * objects, threads, programs and their labels, confinements, asks, policies, anchors. Each has a
 * header with its record, which is stored as it stands there, and functions that stage changes of
 * it (model/change.h) or read it; verbs and fronts call them. A kind checks what holds for the
 * model, never whether somebody may: who asks is known to verbs alone. Nothing here logs, writes a
 * text for people, or knows a type of capability (capfsd/types) but by its row.
 */
#pragma once

#include "capfsd/kinds/alias.h"
#include "capfsd/kinds/anchor.h"
#include "capfsd/kinds/asking/ask.h"
#include "capfsd/kinds/asking/policy.h"
#include "capfsd/kinds/capability/capability.h"
#include "capfsd/kinds/capability/caveat.h"
#include "capfsd/kinds/confinement.h"
#include "capfsd/kinds/declined.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/capability/expiry.h"
#include "capfsd/kinds/labels.h"
#include "capfsd/kinds/object.h"
#include "capfsd/kinds/capability/passage.h"
#include "capfsd/kinds/program.h"
#include "capfsd/kinds/thread.h"
#include "capfsd/kinds/capability/share.h"
#include "capfsd/kinds/capability/tie.h"
#include "capfsd/kinds/capability/type.h"
#include "capfsd/kinds/capability/use.h"
#include "capfsd/kinds/visit.h"
#include "capfsd/model/model.h"
