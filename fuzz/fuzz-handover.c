/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hand-overs, as a server decodes them. */
#include "config.h"

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t again[WIRE_CHANNEL_MAX];
	struct wire_handover m;
	int r = wire_handover_decode(data, n, &m);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r == 0)
		fuzz_check_same(data, n, again, wire_handover_encode(&m, again, sizeof(again)));
	return 0;
}
