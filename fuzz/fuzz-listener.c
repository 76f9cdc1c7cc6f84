/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listeners that a server is given, as the library decodes them. */
#include "config.h"

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t again[64];
	struct wire_listener m;
	int r = wire_listener_decode(data, n, &m);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r == 0)
		fuzz_check_same(data, n, again, wire_listener_encode(&m, again, sizeof(again)));
	return 0;
}
