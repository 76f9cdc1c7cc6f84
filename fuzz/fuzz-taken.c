/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Acknowledgements of a server, as the daemon decodes them. */
#include "config.h"

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/wire.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t again[16];
	uint64_t serial;
	int r = wire_taken_decode(data, n, &serial);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTO);
	if (r == 0)
		fuzz_check_same(data, n, again, wire_taken_encode(serial, again, sizeof(again)));
	return 0;
}
