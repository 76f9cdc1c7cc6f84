/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners that a service manager gave (LISTEN_FDS): other ways to the capability that this process
 * serves, for clients that look elsewhere. Whoever connects there is joined to caps/NAME/socket of the
 * session that serves, and so comes back through the daemon, which counts, limits, shows and revokes
 * that connection like any other through that slot.
 */
#pragma once

#include "helpers/loop.h"
#include "helpers/relay.h"

#define SOCKETS_MAX 16

struct sockets {
	struct loop *loop;
	struct relays relays; /* to the slot; unused while n is 0 */
	capc_session *session; /* in which that is; the service's */
	const char *slot;
	int type;
	unsigned n;
	uint64_t pause_until_usec; /* nobody is accepted; 0: not so */
	struct sockets_listener {
		struct source source;
		struct sockets *sockets;
	} listeners[SOCKETS_MAX];
};

/*
 * Takes them, if there are any; MAX connections at a time. To be called before descriptors are made, and
 * sockets_start() when NAME is served. Return: 0 or -errno, having said why.
 */
int sockets_take(struct sockets *s, bool seqpacket);
int sockets_start(
	struct sockets *s, struct service *service, const struct service_options *o, uint64_t max);
void sockets_deinit(struct sockets *s);

/* As of struct relays. */
void sockets_tend(struct sockets *s);
uint64_t sockets_timeout(const struct sockets *s);
