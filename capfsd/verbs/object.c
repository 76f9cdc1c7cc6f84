/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * object: objects of an entrypoint come and go. A server that starts again names its objects again,
 * and finds them, and their slots, as they were.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>

#include "capfsd/ops/refusals.h"
#include "capfsd/verbs/verbs.h"

/*
 * The slot that the server wants for its object. One that refers to the object already is what it
 * had before its restart; any other is in the way. NULL in *RET: there is none yet.
 */
static bool
find_slot(struct request *r, struct entrypoint *ep, const struct object *o, const struct word *w,
	struct capability **ret)
{
	const struct about about = {.session = ep->session, .name = *w};
	struct entity *e = entity_find_name(
		r->model, ep->session->entity.id, ENTITY_CAPABILITY, w->p, w->n);

	*ret = e ? capability_of(e) : NULL;
	if (*ret && !capability_is_live(*ret))
		return refuse_capability(r, CAPABILITY_E_ENDING, &about);
	if (*ret && capability_object(*ret) != o)
		return refuse(r, EEXIST, "the slot '%.*s' refers to something else", (int)w->n, w->p);
	return true;
}

/* The slot of O that AS names, where it is missing. */
static int
stage_origin(struct operation *operation, struct entrypoint *ep, struct object *o)
{
	const struct word *as = &operation->command.value[KEY_AS];
	const struct about about = {.session = ep->session, .name = *as};
	struct request *r = operation->request;
	struct capability *slot;
	int answer;

	if (!find_slot(r, ep, o, as, &slot) || slot)
		return 0;
	answer = capability_originate(operation->change, TYPE_OBJECT, &o->entity, ep->session, as->p,
		as->n, RIGHTS_OBJECT, r->uid, &slot);
	return answer > 0 ? refuse_capability(r, answer, &about) : answer;
}

/* The protocol of the library is one of packets, so that it needs seqpacket. */
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

int
object_stage(struct operation *operation, struct entrypoint *ep, uint64_t key, struct object **ret)
{
	const struct command *c = &operation->command;
	const struct about about = {.session = ep->session, .subject = ep->entity.name};
	struct request *r = operation->request;
	enum object_protocol protocol;
	enum object_socket socket;
	int answer;

	if (!parse_kind(r, c, &socket, &protocol))
		return 0;
	answer = object_add(operation->change, ep, key, socket, protocol, ret);
	if (answer > 0)
		return refuse_object(r, answer, &about);
	return answer == 0 && command_has(c, KEY_AS) ? stage_origin(operation, ep, *ret) : answer;
}

/*
 * Of an object that was restored its server knew another badge. It is told that by whoever may add objects
 * here, and nothing is decided by it.
 */
static int
stage_was(struct operation *operation, struct object *o)
{
	struct request *r = operation->request;
	uint64_t badge;

	if (!command_number(r, &operation->command, KEY_WAS, &badge))
		return 0;
	if (badge > OBJECT_WAS_MAX)
		return refuse(r, EINVAL, "no badge is as large as that");
	text_addf(&r->text, " was=0x%" PRIx64, badge);
	return object_set_was(operation->change, o, badge);
}

/* Object and slot come in one change: a server never finds one without the other. */
static int
stage_add(struct operation *operation, struct entrypoint *ep)
{
	struct request *r = operation->request;
	struct object *o;
	uint64_t key;
	int answer;

	if (!command_number(r, &operation->command, KEY_KEY, &key))
		return 0;
	answer = object_stage(operation, ep, key, &o);
	if (answer < 0 || r->error)
		return answer;
	r->made = &o->entity;
	text_addf(&r->text, "object=%" PRIu64 " badge=0x%" PRIx64, o->entity.id, o->record.badge);
	if (command_has(&operation->command, KEY_WAS))
		return stage_was(operation, o);
	if (object_was(&o->record))
		text_addf(&r->text, " was=0x%" PRIx64, object_was(&o->record));
	return 0;
}

/*
 * By its badge, which no later object will have; a key may come again. The reply waits until it is
 * gone, or a server that adds the key again at once would pay for both.
 */
static int
stage_end(struct operation *operation, struct entrypoint *ep)
{
	struct request *r = operation->request;
	struct object *o;
	uint64_t badge;

	if (!command_number(r, &operation->command, KEY_REMOVE, &badge))
		return 0;
	o = object_find(ep, badge);
	if (!o)
		return refuse(r, ENOENT, "no object of this entrypoint has that badge");
	r->pending = o->entity.id;
	text_addf(&r->text, "removed=0x%" PRIx64, badge);
	return object_end(operation->change, o);
}

static int
stage(struct operation *o)
{
	struct entrypoint *ep = entrypoint_of(o->subject);

	return command_has(&o->command, KEY_REMOVE) ? stage_end(o, ep) : stage_add(o, ep);
}

const struct verb verb_object = {
	VERB_ROW(OBJECT, object),
	.keys = KEY_BIT(KEY_KEY) | KEY_BIT(KEY_AS) | KEY_BIT(KEY_SOCKET) | KEY_BIT(KEY_PROTOCOL) |
		KEY_BIT(KEY_WAS) | KEY_BIT(KEY_REMOVE),
	.required = KEY_BIT(KEY_KEY),
	.alone = KEY_BIT(KEY_REMOVE),
	.stage = stage,
};
