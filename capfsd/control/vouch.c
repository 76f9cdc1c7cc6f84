/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a client proves that it has what another session has passed on to it, without sending us a
 * descriptor: one of a hostile file system could not be closed again without waiting for that.
 *
 * It asks for a challenge on its control connection, and writes that as an extended attribute onto
 * the `socket` node that it got. The kernel lets it do so exactly when it would let it connect, for
 * that takes the same right to write, and tells us which node it was. (To have a descriptor of a
 * node alone proves nothing: with O_PATH everybody gets one who can search the directory.) Then the
 * client imports or identifies what was vouched for.
 *
 * A challenge is answered once and used once. It is kept in memory only: whoever meets the next
 * broker with it begins anew.
 */
#include "config.h"

#include "capfsd/sockets/private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "capfsd/verbs/verbs.h"

static void
vouch_drop(struct control *c)
{
	if (c->vouch.challenge[0])
		index_remove(&c->ipc->challenges, &c->vouch.link);
	c->vouch = (struct vouch){};
}

void
vouch_deinit(struct control *c)
{
	vouch_drop(c);
}

/* Nobody who does not know a challenge can make one that falls into its chain. */
static uint64_t
challenge_hash(const char *challenge)
{
	uint64_t hash = 0;

	memcpy(&hash, challenge, sizeof(hash));
	return index_hash_id(hash);
}

int
perform_challenge(struct answer *a)
{
	struct control *c = a->control;
	struct vouch *v = &c->vouch;
	uint64_t random[2];

	if (a->asked->n_path > 0 || a->asked->n_text > 0)
		return refuse(&a->request, EINVAL, "a challenge takes neither path nor text");
	vouch_drop(c);
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return refuse(&a->request, EAGAIN, "there is nothing random yet");
	snprintf(v->challenge, sizeof(v->challenge), "%016" PRIx64 "%016" PRIx64, random[0],
		random[1]);
	if (index_add(&c->ipc->challenges, &v->link, challenge_hash(v->challenge)) < 0) {
		v->challenge[0] = '\0';
		return refuse(&a->request, ENOMEM, "the daemon is out of memory");
	}
	text_addf(&a->request.text, "challenge=%s device=%s", v->challenge, c->ipc->boot->device);
	return 0;
}

int
ipc_vouch(struct ipc *ipc, struct entity *e, const char *challenge, size_t n)
{
	struct index_link *i;

	assert(e->kind == ENTITY_CAPABILITY);
	if (n != CHALLENGE_BYTES)
		return EINVAL;
	for (i = index_first(&ipc->challenges, challenge_hash(challenge)); i; i = index_next(i)) {
		struct vouch *v = container_of(i, struct vouch, link);

		if (memcmp(v->challenge, challenge, n) != 0)
			continue;
		if (v->capability)
			return EEXIST;
		v->capability = e->id;
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

/* What was vouched for, once. NULL: refused. */
static struct capability *
vouch_take(struct answer *a)
{
	struct control *c = a->control;
	struct entity *e;
	uint64_t id;
	int error;

	if (a->asked->n_path > 0) {
		refuse(&a->request, EINVAL, "what was passed on has no path");
		return NULL;
	}
	/* The inspector has told us before it told the client. */
	if (c->vouch.inspection)
		binding_look(c->ipc);
	id = c->vouch.capability;
	error = c->vouch.error;
	vouch_drop(c);
	if (error) {
		refuse_seen(&a->request, error);
		return NULL;
	}
	if (!id) {
		refuse(&a->request, EAGAIN, "nothing has been proved on this connection");
		return NULL;
	}
	e = entity_find(a->request.model, id);
	if (e && e->kind == ENTITY_CAPABILITY)
		return container_of(e, struct capability, entity);
	refuse(&a->request, ENOENT, "the capability has ended");
	return NULL;
}

/* What was passed on has no path: only its id tells which it was. */
static void
write_id(const struct operation *o, struct text *t)
{
	text_addf(t, "id=%" PRIu64, o->subject->id);
}

static struct operation
passed_on(struct answer *a, const struct verb *verb, struct capability *c)
{
	return (struct operation){
		.request = &a->request,
		.verb = verb,
		.subject = &c->entity,
		.session = a->control->session,
		.text = {a->asked->text, a->asked->n_text},
		.where = write_id,
	};
}

int
perform_import(struct answer *a)
{
	struct capability *c = vouch_take(a);
	struct operation o;

	if (!c)
		return 0;
	o = passed_on(a, &verb_import, c);
	return verb_run(&o);
}

int
perform_identify(struct answer *a)
{
	struct capability *c = vouch_take(a);
	struct operation o;

	if (!c)
		return 0;
	if (a->asked->n_text > 0)
		return refuse(&a->request, EINVAL, "identify takes no text");
	o = passed_on(a, &verb_identify, c);
	return verb_run(&o);
}
