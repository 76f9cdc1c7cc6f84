/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers of the daemon, as the library decodes them. */
#include "config.h"

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t again[WIRE_CONTROL_MAX];
	struct wire_reply m;
	int r = wire_reply_decode(data, n, &m);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r == 0)
		fuzz_check_same(data, n, again, wire_reply_encode(&m, again, sizeof(again)));
	return 0;
}
