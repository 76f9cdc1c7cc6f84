/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tests/played-server.h"

#include "base/fd.h"
#include "tests/fixture.h"

struct played d;
capc_entrypoint *e;
int channel = -1;
uint8_t buffer[WIRE_CALL_MAX];

void
server_setup(void)
{
	fixture_setup();
	played_init(&d);
	e = played_attach(&d, &channel);
}

void
server_teardown(void)
{
	e = capc_detach(e);
	channel = fd_close(channel);
	played_deinit(&d);
	fixture_teardown();
}

void
echo(capc_request *r, struct capc_msg *m, void *data)
{
	unsigned *n = data;

	if (n)
		(*n)++;
	ck_assert_int_eq(capc_reply(r, m), 0);
}
