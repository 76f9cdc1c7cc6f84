/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who calls, for servers that know no capabilities: a header of the PROXY protocol, version 2, as HAProxy's
 * specification has it. capfs-relay(8) says what is in it.
 */
#pragma once

#include "base/text.h"
#include "libcap-client/cap-client.h"

#define PROXY_HEADER_MAX 1024 /* bytes, which is as much as nginx reads unless it is told otherwise */

/*
 * Appends the header of a connection of CALLER's to T, whose bytes are binary.
 * Returns: 0, -ENOMEM, or -ENAMETOOLONG: CALLER's label, or its caveats, are longer than servers take. Nothing is ever
 * cut off, since a part of a label is that of somebody else, and fewer caveats allow more.
 */
int proxy_header(const struct capc_caller *caller, struct text *t);
