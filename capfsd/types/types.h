/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rows, each defined in the file of its name, for the table in types.c and nobody else. */
#pragma once

#include "capfsd/kinds/type.h"

extern const struct type object_type;
