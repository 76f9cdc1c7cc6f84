/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/http/refusals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

#define SECOND_USEC UINT64_C(1000000)
#define SLOT_MAX 4 /* in a second */
#define LINE_MAX 4096

/* Is there room for one more of it in this second? */
static bool
slot_may_tell(struct slot *slot, uint64_t now_usec)
{
	if (now_usec - slot->second_usec >= SECOND_USEC) {
		slot->second_usec = now_usec;
		slot->n_refused = 0;
	}
	return slot->n_refused++ < SLOT_MAX;
}

/* "LISTENER ERRNO METHOD PATH", or "LISTENER - …": it was no request. */
static void
take_line(struct refusals *r, char *line)
{
	char *what;
	struct slot *slot = slots_find(r->slots, (uint32_t)strtoul(line, &what, 10));
	const char *error = *what == ' ' ? what + 1 : "-";
	int e;

	line[strcspn(line, "\r\n")] = '\0';
	what = strchr(error, ' ');
	if (!slot || *error == '-' || !what)
		return;
	*what++ = '\0';
	message_limited(&r->limit, r->loop->now_usec, "%s: refused: %s: %s", slot->label, error, what);
	if (!slot_may_tell(slot, r->loop->now_usec))
		return;
	e = service_refused(r->service, slot->capability, slot->uid, error, what);
	/* It may have ended meanwhile, and daemons of before take no such word. */
	if (e < 0 && e != -ENOENT && e != -EDQUOT)
		message_limited(&r->limit, r->loop->now_usec, "a refusal cannot be told: %s", error_name(e));
}

void
refusals_read(struct refusals *r)
{
	char line[LINE_MAX + 1];
	ssize_t n;

	while ((n = recv(r->source.fd, line, LINE_MAX, MSG_DONTWAIT)) > 0) {
		line[n] = '\0';
		take_line(r, line);
	}
}

static void
refusals_run(struct source *source, uint32_t events)
{
	struct refusals *r = (struct refusals *)source;

	refusals_read(r);
	if (events & (EPOLLHUP | EPOLLERR))
		loop_remove(r->loop, source);
}

int
refusals_init(struct refusals *r, struct loop *l, struct service *s, struct slots *slots)
{
	*r = (struct refusals){.source = {.fd = slots->engine->log, .run = refusals_run}, .loop = l, .service = s,
		.slots = slots};
	return loop_add(l, &r->source, EPOLLIN);
}

void
refusals_deinit(struct refusals *r)
{
	if (r->loop)
		loop_remove(r->loop, &r->source);
}
