/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server is told of visits, as the library decodes it. */
#include "config.h"

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t again[16];
	uint64_t id;
	int r = wire_visit_decode(data, n, &id);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r == 0)
		fuzz_check_same(data, n, again, wire_visit_encode(id, again, sizeof(again)));
	return 0;
}
