/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "wire/wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

uint64_t
wire_get(struct wire_reader *r, unsigned n_bytes)
{
	const uint8_t *p = wire_get_bytes(r, n_bytes);
	uint64_t value = 0;

	if (!p)
		return 0;
	/* With a constant length each of them is one load. */
	switch (n_bytes) {
	case 1:
		return *p;
	case 4:
		memcpy(&value, p, 4);
		break;
	case 8:
		memcpy(&value, p, 8);
		break;
	default:
		memcpy(&value, p, n_bytes);
	}
	return le64toh(value);
}

const void *
wire_get_bytes(struct wire_reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->failed || n > (size_t)(r->end - p)) {
		r->failed = true;
		return NULL;
	}
	r->p += n;
	return p;
}

bool
wire_reader_done(const struct wire_reader *r)
{
	return !r->failed && r->p == r->end;
}

void
wire_put(struct wire_writer *w, uint64_t value, unsigned n_bytes)
{
	value = htole64(value);
	wire_put_bytes(w, &value, n_bytes);
}

void
wire_put_bytes(struct wire_writer *w, const void *data, size_t n)
{
	if (w->failed || n > (size_t)(w->end - w->p)) {
		w->failed = true;
		return;
	}
	if (n > 0)
		memcpy(w->p, data, n);
	w->p += n;
}

/* Every message begins with its version and its type. */
static struct wire_writer
writer_start(void *buffer, size_t size, uint8_t type)
{
	struct wire_writer w = {.start = buffer, .p = buffer, .end = (uint8_t *)buffer + size};

	wire_put(&w, WIRE_VERSION, 1);
	wire_put(&w, type, 1);
	return w;
}

static int
writer_finish(const struct wire_writer *w)
{
	return w->failed ? -EMSGSIZE : (int)(w->p - w->start);
}

static int
reader_start(struct wire_reader *r, const void *data, size_t n, uint8_t *ret_type)
{
	*r = (struct wire_reader){.p = data, .end = (const uint8_t *)data + n};
	if (n < 2)
		return -EBADMSG;
	if (wire_get(r, 1) != WIRE_VERSION)
		return -EPROTO;
	*ret_type = (uint8_t)wire_get(r, 1);
	return 0;
}

int
wire_request_encode(const struct wire_request *m, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, m->op);

	if (m->n_path > WIRE_PATH_MAX || m->n_text > WIRE_TEXT_MAX)
		return -EMSGSIZE;
	wire_put(&w, m->n_path, 2);
	wire_put(&w, m->n_text, 4);
	wire_put(&w, m->serial, 8);
	wire_put(&w, m->offset, 8);
	wire_put_bytes(&w, m->path, m->n_path);
	wire_put_bytes(&w, m->text, m->n_text);
	return writer_finish(&w);
}

int
wire_request_decode(const void *data, size_t n, struct wire_request *ret)
{
	struct wire_request m = {};
	struct wire_reader r;
	int e = reader_start(&r, data, n, &m.op);

	if (e < 0)
		return e;
	m.n_path = (size_t)wire_get(&r, 2);
	m.n_text = (size_t)wire_get(&r, 4);
	m.serial = wire_get(&r, 8);
	m.offset = wire_get(&r, 8);
	m.path = wire_get_bytes(&r, m.n_path);
	m.text = wire_get_bytes(&r, m.n_text);
	if (!wire_reader_done(&r) || m.n_path > WIRE_PATH_MAX || m.n_text > WIRE_TEXT_MAX)
		return -EBADMSG;
	/* Which operations there are is for the daemon to know: it refuses, and goes on. */
	if (m.op == 0 || m.op & WIRE_REPLY || m.serial == 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int
wire_reply_encode(const struct wire_reply *m, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, m->op | WIRE_REPLY);

	if (m->n_text > WIRE_TEXT_MAX)
		return -EMSGSIZE;
	wire_put(&w, m->flags, 2);
	wire_put(&w, m->error, 4);
	wire_put(&w, m->serial, 8);
	wire_put(&w, m->value, 8);
	wire_put(&w, m->n_text, 4);
	wire_put_bytes(&w, m->text, m->n_text);
	return writer_finish(&w);
}

int
wire_reply_decode(const void *data, size_t n, struct wire_reply *ret)
{
	struct wire_reply m = {};
	struct wire_reader r;
	int e = reader_start(&r, data, n, &m.op);

	if (e < 0)
		return e;
	m.flags = (uint16_t)wire_get(&r, 2);
	m.error = (uint32_t)wire_get(&r, 4);
	m.serial = wire_get(&r, 8);
	m.value = wire_get(&r, 8);
	m.n_text = (size_t)wire_get(&r, 4);
	m.text = wire_get_bytes(&r, m.n_text);
	if (!wire_reader_done(&r) || m.n_text > WIRE_TEXT_MAX || !(m.op & WIRE_REPLY))
		return -EBADMSG;
	m.op &= (uint8_t)~WIRE_REPLY;
	*ret = m;
	return 0;
}

/* No rights, but there was room. */
#define RIGHTS_ASIDE (UINT32_C(1) << 31)
#define RIGHTS_CAVEATS (UINT32_C(1) << 30)
#define RIGHTS_NONE (RIGHTS_ASIDE | RIGHTS_CAVEATS)

/* One caveat, at the end of which the reader stands then. */
static bool
read_caveat(const char **p, const char *end)
{
	const char *start = *p;

	while (*p < end && **p >= ' ' && **p <= '~')
		++*p;
	return *p > start && *p - start <= WIRE_CAVEAT_MAX && *p < end && **p == '\0';
}

bool
wire_caveats_are_valid(const char *caveats, size_t n)
{
	const char *p = caveats, *end;
	unsigned n_caveats = 0;

	if (n == 0) /* perhaps of no place at all, to which nothing can be added */
		return true;
	end = caveats + n;
	while (p < end) {
		do {
			if (++n_caveats > WIRE_CAVEATS_N_MAX || !read_caveat(&p, end))
				return false;
			p++;
		} while (p < end && *p);
		if (p == end)
			return false;
		p++;
	}
	return true;
}

int
wire_handover_encode(const struct wire_handover *m, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, WIRE_HANDOVER);

	if (m->n_label > WIRE_LABEL_MAX || m->n_caveats > WIRE_CAVEATS_MAX)
		return -EMSGSIZE;
	wire_put(&w, m->n_label, 2);
	wire_put(&w, m->rights | (m->aside ? RIGHTS_ASIDE : 0) | (m->caveats ? RIGHTS_CAVEATS : 0), 4);
	wire_put(&w, m->serial, 8);
	wire_put(&w, m->key, 8);
	wire_put(&w, m->badge, 8);
	wire_put(&w, m->capability, 8);
	wire_put(&w, m->uid, 4);
	wire_put(&w, m->gid, 4);
	wire_put(&w, m->pid, 4);
	wire_put(&w, m->page_index, 4);
	wire_put_bytes(&w, m->label, m->n_label);
	if (m->caveats) {
		wire_put(&w, m->n_caveats, 2);
		wire_put_bytes(&w, m->caveats, m->n_caveats);
	}
	return writer_finish(&w);
}

int
wire_handover_decode(const void *data, size_t n, struct wire_handover *ret)
{
	struct wire_handover m = {};
	struct wire_reader r;
	uint32_t rights;
	uint8_t type;
	int e = reader_start(&r, data, n, &type);

	if (e < 0)
		return e;
	m.n_label = (size_t)wire_get(&r, 2);
	m.rights = (uint32_t)wire_get(&r, 4);
	rights = m.rights;
	m.aside = rights & RIGHTS_ASIDE;
	m.rights = rights & ~RIGHTS_NONE;
	m.serial = wire_get(&r, 8);
	m.key = wire_get(&r, 8);
	m.badge = wire_get(&r, 8);
	m.capability = wire_get(&r, 8);
	m.uid = (uint32_t)wire_get(&r, 4);
	m.gid = (uint32_t)wire_get(&r, 4);
	m.pid = (uint32_t)wire_get(&r, 4);
	m.page_index = (uint32_t)wire_get(&r, 4);
	m.label = wire_get_bytes(&r, m.n_label);
	if (rights & RIGHTS_CAVEATS) {
		m.n_caveats = (size_t)wire_get(&r, 2);
		m.caveats = wire_get_bytes(&r, m.n_caveats);
	}
	if (!wire_reader_done(&r) || type != WIRE_HANDOVER || m.serial == 0 ||
		m.n_label > WIRE_LABEL_MAX || !wire_caveats_are_valid(m.caveats, m.n_caveats))
		return -EBADMSG;
	*ret = m;
	return 0;
}

int
wire_pages_encode(void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, WIRE_PAGES);

	return writer_finish(&w);
}

int
wire_pages_decode(const void *data, size_t n)
{
	struct wire_reader r;
	uint8_t type;
	int e = reader_start(&r, data, n, &type);

	if (e < 0)
		return e;
	return wire_reader_done(&r) && type == WIRE_PAGES ? 0 : -EBADMSG;
}

int
wire_listener_encode(const struct wire_listener *m, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, WIRE_LISTENER);

	wire_put(&w, m->key, 8);
	wire_put(&w, m->badge, 8);
	wire_put(&w, m->error, 4);
	return writer_finish(&w);
}

int
wire_listener_decode(const void *data, size_t n, struct wire_listener *ret)
{
	struct wire_listener m = {};
	struct wire_reader r;
	uint8_t type;
	int e = reader_start(&r, data, n, &type);

	if (e < 0)
		return e;
	m.key = wire_get(&r, 8);
	m.badge = wire_get(&r, 8);
	m.error = (uint32_t)wire_get(&r, 4);
	if (!wire_reader_done(&r) || type != WIRE_LISTENER || m.badge == 0)
		return -EBADMSG;
	*ret = m;
	return 0;
}

int
wire_visit_encode(uint64_t id, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, WIRE_VISIT);

	wire_put(&w, id, 8);
	return writer_finish(&w);
}

int
wire_visit_decode(const void *data, size_t n, uint64_t *ret_id)
{
	struct wire_reader r;
	uint64_t id;
	uint8_t type;
	int e = reader_start(&r, data, n, &type);

	if (e < 0)
		return e;
	id = wire_get(&r, 8);
	if (!wire_reader_done(&r) || type != WIRE_VISIT)
		return -EBADMSG;
	*ret_id = id;
	return 0;
}

int
wire_taken_encode(uint64_t serial, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, WIRE_TAKEN);

	wire_put(&w, serial, 8);
	return writer_finish(&w);
}

int
wire_taken_decode(const void *data, size_t n, uint64_t *ret_serial)
{
	struct wire_reader r;
	uint64_t serial;
	uint8_t type;
	int e = reader_start(&r, data, n, &type);

	if (e < 0)
		return e;
	serial = wire_get(&r, 8);
	if (!wire_reader_done(&r) || type != WIRE_TAKEN || serial == 0)
		return -EBADMSG;
	*ret_serial = serial;
	return 0;
}

int
wire_call_encode(const struct wire_call *m, void *buffer, size_t size)
{
	struct wire_writer w = writer_start(buffer, size, m->type);

	if (m->n_payload > WIRE_LARGE_MAX)
		return -EMSGSIZE;
	wire_put(&w, m->code, 4);
	wire_put(&w, m->serial, 8);
	wire_put(&w, m->n_payload, 4);
	if (m->type < WIRE_PART && !wire_call_is_large(m))
		wire_put_bytes(&w, m->payload, m->n_payload);
	return writer_finish(&w);
}

int
wire_refusal_encode(const char *reason, enum wire_origin origin, void *buffer, size_t size)
{
	size_t n = strlen(reason);
	char *text = buffer;

	if (n + 2 > size)
		return -EMSGSIZE;
	memcpy(text, reason, n + 1);
	text[n + 1] = (char)origin;
	return (int)n + 2;
}

uint8_t
wire_refusal_origin(struct wire_call *m)
{
	const uint8_t *p = m->payload;

	if (m->type != WIRE_RETURN || m->code == 0 || !p || m->n_payload < 2 || p[m->n_payload - 2] != 0)
		return 0;
	m->n_payload -= 2;
	return p[m->n_payload + 1];
}

bool
wire_call_is_farewell(const struct wire_call *m)
{
	struct wire_call refusal = *m;

	return m->code <= WIRE_ERRNO_MAX && wire_refusal_origin(&refusal) == WIRE_ORIGIN_END;
}

int
wire_call_decode(const void *data, size_t n, struct wire_call *ret)
{
	struct wire_call m = {};
	struct wire_reader r;
	int e = reader_start(&r, data, n, &m.type);

	if (e < 0)
		return e;
	m.code = (uint32_t)wire_get(&r, 4);
	m.serial = wire_get(&r, 8);
	m.n_payload = (size_t)wire_get(&r, 4);
	if (m.type < WIRE_PART && !wire_call_is_large(&m))
		m.payload = wire_get_bytes(&r, m.n_payload);
	if (!wire_reader_done(&r) || m.n_payload > WIRE_LARGE_MAX || m.serial == 0)
		return -EBADMSG;
	if (m.type < WIRE_CALL || m.type > WIRE_CREDIT)
		return -EBADMSG;
	if (m.type > WIRE_RETURN && m.type < WIRE_CREDIT && (m.code || (m.n_payload && m.type != WIRE_PART)))
		return -EBADMSG;
	if (m.type == WIRE_CREDIT && (m.code < WIRE_CREDIT_MIN || m.n_payload > WIRE_CREDIT_FDS_MAX ||
		m.serial != WIRE_CREDIT_SERIAL))
		return -EBADMSG;
	if (m.type == WIRE_PART && (m.n_payload == 0 || m.n_payload > WIRE_BUFFER_MAX))
		return -EBADMSG;
	*ret = m;
	return 0;
}
