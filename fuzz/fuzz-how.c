/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands that are put together of what strangers chose: each line of the input is a value, of `as`, `only` and
 * `rights` in turn. What the builder makes of it the daemon's grammar reads as these keys, and no others, with these
 * values; or it is what no grammar takes.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "capfsd/ops/grammar.h"
#include "capfsd/ops/request.h"
#include "fuzz/fuzz.h"
#include "fuzz/store.h"
#include "libcap-client/cap-client.h"

static const struct {
	const char *name;
	enum key key;
} keys[] = {{"as", KEY_AS}, {"only", KEY_ONLY}, {"rights", KEY_RIGHTS}};

static void
check_command(const char *text, bool taken, key_set added, const char *as)
{
	struct request r = {};
	struct command c;
	bool done = command_parse(&r, text, strlen(text), ~(key_set)0, &c);

	FUZZ_CHECK(done == (taken && added != 0));
	FUZZ_CHECK(!done || c.given == added);
	FUZZ_CHECK(!done || !as || command_is(&c, KEY_AS, as));
	request_deinit(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_free char *copy = strndup((const char *)data, n);
	char *rest = copy, *value;
	const char *as = NULL;
	key_set added = 0;
	bool taken = true;
	capc_how *how;

	FUZZ_CHECK(copy);
	FUZZ_CHECK(capc_how_new(&how) == 0);
	for (unsigned i = 0; (value = strsep(&rest, "\n")); i = (i + 1) % 3) {
		int r = capc_how_add(how, keys[i].name, value);

		FUZZ_CHECK(r == 0 || r == -EINVAL || r == -EEXIST);
		FUZZ_CHECK(taken || r != 0);
		taken = r == 0;
		added |= KEY_BIT(keys[i].key);
		if (i == 0 && taken)
			as = value;
	}
	check_command(capc_how_text(how), taken, added, as);
	capc_how_free(how);
	return 0;
}
