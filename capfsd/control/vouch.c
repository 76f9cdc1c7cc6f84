/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a client proves that it has what another session has passed on to it, without sending us a
 * descriptor: one of a hostile file system could not be closed again without waiting for that.
 *
 * It asks for a challenge on its control connection, and writes that as an extended attribute onto
 * the `socket` node that it got. The kernel lets it do so exactly when it would let it connect, for
 * that takes the same right to write, and tells us which node it was. Then the client imports or identifies what
 * was vouched for.
 *
 * That proves what the receiver may do. Of who passed the node on it tells something only where nobody
 * can have it who may not use it: with O_PATH everybody gets one who can search the slot's directory.
 * Those who may look there and not connect would have a service import with its own authority what
 * they name. So the node of a slot that has ever been shown to such people imports nothing, and
 * whoever passes it on is told so before (an empty challenge), and sends a connection instead.
 *
 * A challenge is answered once and used once. It is kept in memory only: whoever meets the next
 * broker with it begins anew.
 */
#include "config.h"

#include "capfsd/control/vouch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "capfsd/control/control.h"
#include "capfsd/control/exchange.h"
#include "capfsd/kinds/kinds.h"
#include "capfsd/listeners/core.h"
#include "capfsd/listeners/jobs.h"
#include "capfsd/process/boot.h"
#include "capfsd/verbs/verbs.h"
#include "wire/wire.h"

/*
 * The challenge leaves the index first: left there, it would be found by its hash in freed memory.
 */
void
vouch_drop(struct control *c)
{
	if (c->vouch.challenge[0])
		index_remove(&c->controls->challenges, &c->vouch.link);
	c->vouch = (struct vouch){};
}

/*
 * Nobody who does not know a challenge can make one that falls into its chain, as the hash is taken
 * of random digits; so no client can make the search long for another.
 */
static uint64_t
challenge_hash(const char *challenge)
{
	uint64_t hash = 0;

	memcpy(&hash, challenge, sizeof(hash));
	return index_hash_id(hash);
}

/*
 * The device tells the client which mount it must be of: somebody may have been passed a node of
 * another daemon's, and would write the challenge there in vain.
 */
int
perform_challenge(struct exchange *x)
{
	struct control *c = x->control;
	struct vouch *v = &c->vouch;
	uint64_t random[2];

	if (x->asked->n_path > 0 || x->asked->n_text > 0)
		return refuse(&x->request, EINVAL, "a challenge takes neither path nor text");
	vouch_drop(c);
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return refuse(&x->request, EAGAIN, "there is nothing random yet");
	snprintf(v->challenge, sizeof(v->challenge), "%016" PRIx64 "%016" PRIx64, random[0],
		random[1]);
	if (index_add(&c->controls->challenges, &v->link, challenge_hash(v->challenge)) < 0) {
		v->challenge[0] = '\0';
		return refuse(&x->request, ENOMEM, "the daemon is out of memory");
	}
	text_addf(&x->request.text, "challenge=%s device=%s", v->challenge,
		c->controls->sockets->boot->device);
	return 0;
}

/*
 * A second proof for one challenge is refused: whoever has overheard it must not replace what its
 * owner has proved.
 */
int
controls_vouch(
	struct controls *controls, const struct entity *e, const char *challenge, size_t n)
{
	struct index_link *i;

	assert(e->kind == ENTITY_CAPABILITY);
	if (n == 0)
		return capability_was_shown(capability_of(e)) ? ENOTUNIQ : 0;
	if (n != CHALLENGE_BYTES)
		return EINVAL;
	i = index_first(&controls->challenges, challenge_hash(challenge));
	for (; i; i = index_next(i)) {
		struct vouch *v = container_of(i, struct vouch, link);

		if (memcmp(v->challenge, challenge, n) != 0)
			continue;
		if (v->capability)
			return EEXIST;
		v->capability = e->id;
		v->by_node = true;
		return 0;
	}
	/* Not EAGAIN, of which setxattr(2) makes EOPNOTSUPP. */
	return ECANCELED;
}

/* What an inspector saw that is no proof. */
static int
refuse_seen(struct request *r, int error)
{
	switch (error) {
	case EXDEV:
		return refuse(r, error, "that is no connection of this daemon's");
	case ENOENT:
		return refuse(r, error, "the capability has ended");
	case EINVAL:
		return refuse(r, error, "that is no connection to a capability");
	default:
		return refuse(r, error, "that cannot be looked at");
	}
}

/*
 * What was vouched for, once. A proof is for one use, since what the client could reach when it
 * proved it, it may have lost by the next. NULL: refused.
 */
static struct capability *
vouch_take(struct exchange *x, bool *ret_by_node)
{
	struct control *c = x->control;
	struct entity *e;
	uint64_t id;
	int error;

	if (x->asked->n_path > 0) {
		refuse(&x->request, EINVAL, "what was passed on has no path");
		return NULL;
	}
	/* The inspector has told us before it told the client. */
	if (c->vouch.inspection)
		jobs_look(c->controls->sockets);
	id = c->vouch.capability;
	error = c->vouch.error;
	*ret_by_node = c->vouch.by_node;
	vouch_drop(c);
	if (error) {
		refuse_seen(&x->request, error);
		return NULL;
	}
	if (!id) {
		refuse(&x->request, EAGAIN, "nothing has been proved on this connection");
		return NULL;
	}
	e = entity_find(x->request.model, id);
	if (e && e->kind == ENTITY_CAPABILITY)
		return capability_of(e);
	refuse(&x->request, ENOENT, "the capability has ended");
	return NULL;
}

/* What was passed on has no path: only its id tells which it was. */
static void
write_id(const struct operation *o, struct text *t)
{
	text_addf(t, " id=%" PRIu64, o->subject->id);
}

/* The same of both: what is done to it, for the session of this connection and for no other. */
static int
perform_on_passed(struct exchange *x, const struct verb *verb)
{
	bool by_node;
	struct capability *c = vouch_take(x, &by_node);
	struct operation o;

	if (!c)
		return 0;
	o = exchange_operation(x, verb, x->control->session, &c->entity);
	o.where = write_id;
	o.vouched = !by_node || !capability_was_shown(c);
	return verb_run(&o);
}

int
perform_import(struct exchange *x)
{
	return perform_on_passed(x, &verb_import);
}

int
perform_identify(struct exchange *x)
{
	return perform_on_passed(x, &verb_identify);
}
