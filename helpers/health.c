/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "helpers/health.h"

#include <errno.h>

#include "base/error.h"
#include "helpers/backend.h"
#include "helpers/loop.h"
#include "helpers/message.h"
#include "helpers/service.h"

/* A look costs the server nothing, and this process a few microseconds. */
#define WELL_USEC 10000000
#define ILL_USEC 1000000

/* What says that nobody is let in there; a full backlog does not, nor what we lack ourselves. */
static bool
is_about_server(const struct health *h, int error)
{
	switch (-error) {
	case EACCES:
		return !h->as_caller;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ECONNREFUSED:
	case EPROTOTYPE:
		return true;
	default:
		return false;
	}
}

/*
 * Where the daemon is just not there it is told later, and not each time: meanwhile nothing else is done here.
 * One that has no word for it never is.
 */
static void
tell(struct health *h)
{
	int e;

	if (h->told == h->error || h->loop->now_usec < h->tell_usec)
		return;
	e = service_health(h->service, h->error);
	if (e == 0 || (e != -ENOTCONN && e != -ETIMEDOUT && e != -ECONNRESET && e != -ENOSPC))
		h->told = h->error;
	else
		h->tell_usec = h->loop->now_usec + WELL_USEC;
}

static void
set(struct health *h, int error)
{
	int before = h->error;

	h->error = error;
	h->next_usec = h->loop->now_usec + (error ? ILL_USEC : WELL_USEC);
	if (error && error != before)
		message("warning: %s: %s%s; meanwhile callers %s", h->path, error_name(error),
			backend_advice(error), h->waits ? "wait" : "are refused");
	else if (!error && before)
		message("%s: its server is there", h->path);
	tell(h);
}

static void
look(struct health *h)
{
	int e = backend_look(h->path, h->type);

	/* Not of either type, which only a connection shows. */
	if (e == 0 && h->error == -EPROTOTYPE)
		e = h->error;
	set(h, is_about_server(h, e) ? e : 0);
}

void
health_start(struct health *h)
{
	look(h);
}

void
health_saw(struct health *h, int error)
{
	if (error == 0 || error == -EAGAIN || is_about_server(h, error))
		set(h, is_about_server(h, error) ? error : 0);
}

void
health_tend(struct health *h)
{
	if (h->loop->now_usec >= h->next_usec)
		look(h);
}

uint64_t
health_timeout(const struct health *h)
{
	uint64_t now = h->loop->now_usec;

	return h->next_usec > now ? h->next_usec - now : 0;
}
