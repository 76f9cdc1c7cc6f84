/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *	bench-scale LARGE_ROOT SMALL_ROOT SLOT SESSION
 *
 * Grant, connect and revoke in a daemon with many unrelated capabilities against another with few.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcap-client/cap-client.h"

#define SCALE_TIMEOUT_USEC UINT64_C(20000000)

struct scale {
	capc_session *session;
	char socket[256], grant[128], revoke[128], how[128], who[128];
};

static void
scale_open(struct scale *s, const char *root, const char *slot, const char *to)
{
	bench_check(capc_session_open(root, SCALE_TIMEOUT_USEC, &s->session), root);
	snprintf(s->socket, sizeof(s->socket), "%s/sessions/%s/caps/x/socket", root, to);
	snprintf(s->grant, sizeof(s->grant), "caps/%s/grant", slot);
	snprintf(s->revoke, sizeof(s->revoke), "sessions/%s/caps/x/revoke", to);
	snprintf(s->how, sizeof(s->how), "to=%s as=x rights=call,reduce", to);
	snprintf(s->who, sizeof(s->who), "self");
}

static void
run_grant(void *data)
{
	struct scale *s = data;

	bench_check(capc_write(s->session, s->grant, s->how, NULL, SCALE_TIMEOUT_USEC), "grant");
}

static void
run_revoke(void *data)
{
	struct scale *s = data;

	bench_check(capc_write(s->session, s->revoke, s->who, NULL, SCALE_TIMEOUT_USEC), "revoke");
}

static void
run_connect(void *data)
{
	struct scale *s = data;
	char byte = 'x';
	int fd = bench_connect(s->socket);

	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
		bench_die("connect");
	shutdown(fd, SHUT_RDWR);
	close(fd);
}

int
main(int argc, char **argv)
{
	struct scale large = {}, small = {};
	const struct bench_plan plan = {401, 3, 1};
	double a, b;
	int worse;

	if (argc != 5) {
		fprintf(stderr, "usage: bench-scale LARGE_ROOT SMALL_ROOT SLOT SESSION\n");
		return 2;
	}
	scale_open(&large, argv[1], argv[3], argv[4]);
	scale_open(&small, argv[2], argv[3], argv[4]);
	bench_pair(&(struct bench_side){run_grant, &large, run_revoke},
		&(struct bench_side){run_grant, &small, run_revoke}, &plan, &a, &b);
	worse = bench_report("grant at 2^17 / at 2^4", a, b, 1.25);
	run_grant(&large);
	run_grant(&small);
	bench_pair(&(struct bench_side){run_connect, &large, NULL},
		&(struct bench_side){run_connect, &small, NULL}, &plan, &a, &b);
	worse |= bench_report("connect at 2^17 / at 2^4", a, b, 1.25);
	bench_pair(&(struct bench_side){run_revoke, &large, run_grant},
		&(struct bench_side){run_revoke, &small, run_grant}, &plan, &a, &b);
	worse |= bench_report("revoke at 2^17 / at 2^4", a, b, 1.25);
	capc_session_free(large.session);
	capc_session_free(small.session);
	return worse;
}
