/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What rights are called, in commands and in what is read. The order is the one in which they are
 * shown; their bits stand in records (rights.h) and nothing here depends on their order.
 */
#include "config.h"

#include "capfsd/kinds/capability/rights.h"

#include <string.h>

#include "base/text.h"

static const struct {
	const char *name;
	enum right right;
} right_names[] = {
	{"call", RIGHT_CALL},
	{"raise", RIGHT_RAISE},
	{"wait", RIGHT_WAIT},
	{"accept", RIGHT_ACCEPT},
	{"account", RIGHT_ACCOUNT},
	{"control", RIGHT_CONTROL},
	{"spawn", RIGHT_SPAWN},
	{"kill", RIGHT_KILL},
	{"pause", RIGHT_PAUSE},
	{"affinity", RIGHT_AFFINITY},
	{"signal", RIGHT_SIGNAL},
	{"open", RIGHT_OPEN},
	{"fds", RIGHT_FDS},
	{"grant", RIGHT_GRANT},
	{"replicate", RIGHT_REPLICATE},
	{"reduce", RIGHT_REDUCE},
	{"transfer", RIGHT_TRANSFER},
	{"share", RIGHT_SHARE},
};

#define N_RIGHTS (sizeof(right_names) / sizeof(right_names[0]))

void
rights_format(uint32_t rights, struct text *t)
{
	const char *separator = "";

	for (size_t i = 0; i < N_RIGHTS; i++)
		if (rights & right_names[i].right) {
			text_add(t, separator);
			text_add(t, right_names[i].name);
			separator = ",";
		}
	if (!*separator)
		text_add(t, "-");
}

uint32_t
right_find(const char *name, size_t n)
{
	for (size_t i = 0; i < N_RIGHTS; i++)
		if (strlen(right_names[i].name) == n && memcmp(right_names[i].name, name, n) == 0)
			return right_names[i].right;
	return 0;
}
