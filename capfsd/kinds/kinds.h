/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kinds of entities, for all who stand above them. */
#pragma once

#include "capfsd/kinds/capability.h"
#include "capfsd/kinds/entrypoint.h"
#include "capfsd/kinds/expiry.h"
#include "capfsd/kinds/object.h"
#include "capfsd/kinds/thread.h"
#include "capfsd/kinds/type.h"
#include "capfsd/model/model.h"
