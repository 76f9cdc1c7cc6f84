/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a session does with a capability that another one has passed on in a message. Which one that
 * is has been proved to control/vouch.c; here it is a grant without a name: whoever passes a capability
 * on delegates it, so it must hold `grant`, and may end what was made of it.
 */
#include "config.h"

#include "capfsd/verbs/verbs.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"

/* Nothing is made and nothing committed: asked again, it is answered again. */
static int
import_held(struct request *r, const struct capability *held)
{
	text_addf(&r->text, "slot=%s id=%" PRIu64 " held", held->entity.name, held->entity.id);
	return 0;
}

static int
import_new(struct request *r, struct capability *source, struct session *to, const struct word *as)
{
	const struct reductions none = {};
	struct change *ch = change_begin(r->model);
	struct capability *made = NULL;
	int a = capability_grant(ch, source, to, as->p, as->n, &none, r->uid, &made);

	if (a > 0) {
		change_abort(ch);
		return refuse_capability(r, source, to, as, a, "grant");
	}
	return finish_made(r, ch, "import", source, to, as, a, made);
}

int
verb_import(struct request *r, struct capability *source, struct session *to, const char *text,
	size_t n)
{
	struct capability *held;
	struct command c = {};

	if (n > 0 && !command_parse(r, text, n, 1u << KEY_AS, &c))
		return 0;
	if (!capability_is_live(source))
		return refuse(r, ENOENT, "the capability has ended");
	held = capability_held(r->model, to, source);
	return held ? import_held(r, held) : import_new(r, source, to, &c.value[KEY_AS]);
}

int
verb_identify(struct request *r, struct capability *c, struct session *s)
{
	const struct service service = capability_service(c);
	const struct capability *held;

	if (!capability_is_live(c))
		return refuse(r, ENOENT, "the capability has ended");
	text_addf(&r->text,
		"object=%" PRIu64 " badge=0x%" PRIx64 " capability=%" PRIu64 " type=%s rights=",
		service.object, service.badge, c->entity.id, capability_type(c)->name);
	rights_format(capability_rights(c), &r->text);
	text_add(&r->text, " owner=");
	session_label(service.entrypoint->session, &r->text);
	held = capability_held(r->model, s, c);
	if (held)
		text_addf(&r->text, " slot=%s", held->entity.name);
	return 0;
}
