/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The version of the library that a program runs with, which may be later than that of its header. */
#include "config.h"

#include "libcap-client/private.h"

unsigned
capc_version(void)
{
	return CAPC_VERSION;
}
