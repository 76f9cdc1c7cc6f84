/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/counts.h"

#include "base/error.h"
#include "helpers/message.h"

void
counts_init(struct counts *c, const struct engine *e, capc_entrypoint *const *entrypoint)
{
	*c = (struct counts){.engine = e, .entrypoint = entrypoint};
}

void
counts_deinit(struct counts *c)
{
	limits_unmap(&c->limits);
}

int
counts_open(struct counts *c)
{
	int granted, used, r;

	if (c->limits.granted)
		return 0;
	r = capc_pages(*c->entrypoint, &granted, &used);
	if (r == 0)
		r = engine_give_pages(c->engine, granted, used);
	if (r == 0)
		r = limits_map(granted, used, &c->limits);
	if (r < 0)
		message("requests cannot be counted: %s", error_name(r));
	return r;
}

bool
counts_hold(const struct counts *c, uint64_t capability, uint32_t page_index)
{
	return page_index && limits_apply(&c->limits, page_index, capability);
}
