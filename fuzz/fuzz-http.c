/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Heads of HTTP requests, as capfs-metrics-http reads them: piece by piece. */
#include "config.h"

#include "fuzz/fuzz.h"
#include "metrics/http.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct http_request request;
	int whole = http_parse((const char *)data, n, "/metrics", &request);
	size_t part = n > 0 ? data[n - 1] % n : 0;
	int early = http_parse((const char *)data, part, "/metrics", &request);

	FUZZ_CHECK(whole == 0 || (whole >= 200 && whole < 600));
	/* What was answered stays so, whatever comes behind it. */
	FUZZ_CHECK(early == 0 || early == whole);
	return 0;
}
