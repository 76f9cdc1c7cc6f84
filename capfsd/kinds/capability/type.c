/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is the same for all types of capability, whatever their rows say; nothing here depends on a
 * type's number.
 */
#include "config.h"

#include "capfsd/kinds/capability/type.h"

#include <stddef.h>

#include "base/text.h"

void
capability_describe(const struct capability *c, struct text *t)
{
	const struct type *type = capability_type(c);

	text_addf(t, "type=%s\n", type->name);
	type->describe(c, t);
}

const char *
reductions_not_kept(const struct reductions *how, uint32_t kept)
{
	/* In the order in which usage texts name them: whoever asks for several is told of the first. */
	const struct {
		const char *name;
		bool wanted;
		enum kept_limit limit;
	} limits[] = {
		{"calls", how->has_calls, KEPT_CALLS},
		{"conns", how->has_conns, KEPT_CONNS},
		{"rate", how->has_rate, KEPT_RATE},
		{"methods", how->has_methods, KEPT_METHODS},
		{"only", how->n_only > 0, KEPT_CAVEATS},
		{"no fds", how->has_rights && !(how->rights & RIGHT_FDS), KEPT_FDS},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (limits[i].wanted && !(kept & limits[i].limit))
			return limits[i].name;
	return NULL;
}
