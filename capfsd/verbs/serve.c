/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done with entrypoints: objects come and go, the entrypoint ends. */
#include "config.h"

#include "capfsd/verbs/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capfsd/ops/grammar.h"
#include "capfsd/ops/refusals.h"
#include "capfsd/ops/request.h"

/* What an origin may do; all of it is kept by the present operations. */
/* RIGHT_SHARE is given when there is something to do with it. */
#define RIGHTS_ORIGIN (RIGHTS_OBJECT & ~(uint32_t)RIGHT_SHARE)

static int
refuse_object(struct request *r, struct entrypoint *ep, int answer)
{
	switch (answer) {
	case ENTRYPOINT_E_EXISTS:
		return refuse(r, EEXIST, "that key has an object with another socket type or protocol");
	case ENTRYPOINT_E_QUOTA_RAM:
		return refuse_quota(r, ep->session, QUOTA_RAM);
	case ENTRYPOINT_E_CLOSING:
		return refuse(r, EBUSY, "the entrypoint %s is being ended", ep->entity.name);
	default:
		return refuse(r, EIO, "unexpected answer %d", answer);
	}
}

/*
 * The slot that the server wants for its object. One that refers to the object already is what it
 * had before its restart; any other is in the way. NULL in *RET: there is none yet.
 */
static bool
find_slot(struct request *r, struct entrypoint *ep, const struct object *o, const struct word *w,
	struct capability **ret)
{
	struct entity *e = entity_find_name(r->model, ep->session->entity.id, ENTITY_CAPABILITY,
		w->p, w->n);

	*ret = e ? capability_of(e) : NULL;
	if (*ret && !capability_is_live(*ret))
		return refuse_capability(r, *ret, ep->session, w, CAPABILITY_E_ENDING, "");
	if (*ret && capability_object(*ret) != o)
		return refuse(r, EEXIST, "the slot '%.*s' refers to something else", (int)w->n, w->p);
	return true;
}

static bool
parse_kind(struct request *r, const struct command *c, enum object_socket *ret_socket,
	enum object_protocol *ret_protocol)
{
	*ret_socket = OBJECT_SEQPACKET;
	*ret_protocol = OBJECT_PLAIN;
	if (command_has(c, KEY_SOCKET)) {
		if (command_is(c, KEY_SOCKET, "stream"))
			*ret_socket = OBJECT_STREAM;
		else if (!command_is(c, KEY_SOCKET, "seqpacket"))
			return refuse(r, EINVAL, "socket is stream or seqpacket");
	}
	if (!command_has(c, KEY_PROTOCOL))
		return true;
	if (!command_is(c, KEY_PROTOCOL, "calls"))
		return refuse(r, EINVAL, "protocol is calls");
	if (*ret_socket != OBJECT_SEQPACKET)
		return refuse(r, EINVAL, "calls need socket=seqpacket");
	*ret_protocol = OBJECT_CALLS;
	return true;
}

static int
add_object(struct request *r, struct entrypoint *ep, const struct command *c)
{
	const struct word *as = &c->value[KEY_AS];
	enum object_socket socket;
	enum object_protocol protocol;
	struct capability *slot = NULL;
	struct object *o;
	struct change *ch;
	uint64_t key;
	int a;

	if (!command_number(r, c, KEY_KEY, &key) || !parse_kind(r, c, &socket, &protocol))
		return 0;
	ch = change_begin(r->model);
	a = object_add(ch, ep, key, socket, protocol, &o);
	if (a < 0)
		return request_fail(r, ch, a);
	if (a > 0) {
		change_abort(ch);
		return refuse_object(r, ep, a);
	}
	if (command_has(c, KEY_AS) && !find_slot(r, ep, o, as, &slot)) {
		change_abort(ch);
		return 0;
	}
	if (command_has(c, KEY_AS) && !slot) {
		a = capability_originate(ch, TYPE_OBJECT, &o->entity, ep->session, as->p, as->n,
			RIGHTS_ORIGIN, r->uid, &slot);
		if (a < 0)
			return request_fail(r, ch, a);
		if (a > 0) {
			change_abort(ch);
			return refuse_capability(r, slot, ep->session, as, a, "grant");
		}
	}
	text_addf(&r->text, "object=%" PRIu64 " badge=0x%" PRIx64, o->entity.id, o->record.badge);
	return request_commit(r, ch);
}

static int
remove_object(struct request *r, struct entrypoint *ep, const struct command *c)
{
	struct object *o;
	struct change *ch;
	uint64_t badge;
	int a;

	if (!command_number(r, c, KEY_REMOVE, &badge))
		return 0;
	o = object_find(ep, badge);
	if (!o)
		return refuse(r, ENOENT, "no object of this entrypoint has that badge");
	ch = change_begin(r->model);
	a = object_end(ch, o);
	if (a < 0)
		return request_fail(r, ch, a);
	text_addf(&r->text, "removed=0x%" PRIx64, badge);
	r->pending = o->entity.id;
	return request_commit(r, ch);
}

int
verb_objects(struct request *r, struct entity *e, const char *text, size_t n)
{
	const uint32_t keys_add =
		1u << KEY_KEY | 1u << KEY_AS | 1u << KEY_SOCKET | 1u << KEY_PROTOCOL;
	struct entrypoint *ep = entrypoint_of(e);
	struct command c;

	if (!command_parse(r, text, n, keys_add | 1u << KEY_REMOVE, &c))
		return 0;
	if (c.given == 1u << KEY_REMOVE)
		return remove_object(r, ep, &c);
	if (!command_has(&c, KEY_KEY) || command_has(&c, KEY_REMOVE))
		return refuse(r, EINVAL,
			"key=N [as=SLOT] [socket=stream|seqpacket] [protocol=calls], or remove=BADGE");
	return add_object(r, ep, &c);
}

int
verb_entrypoint_end(struct request *r, struct entrypoint *e)
{
	struct session *s = e->session;
	struct change *ch = change_begin(r->model);
	int a = entrypoint_end(ch, e);

	if (a < 0)
		return request_fail(r, ch, a);
	r->pending = e->entity.id;
	a = request_commit(r, ch);
	if (a == 0 && !r->error)
		event_log(r->model, s, "end entrypoints/%s uid=%u", e->entity.name,
			(unsigned)r->uid);
	return a;
}

