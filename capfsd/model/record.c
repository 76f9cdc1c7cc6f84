/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of an entity in the store. What comes from there may be damaged in any way, or be of a
 * newer version, so a length is believed only when all of it fits together.
 */
#include "config.h"

#include "capfsd/model/record.h"

#include <errno.h>
#include <string.h>

#include "capfsd/model/kind.h"

/* The record and the name follow it, without gaps. */
struct record_header {
	uint8_t kind;
	uint8_t n_name;
	uint8_t reserved[6];
};

_Static_assert(sizeof(struct record_header) == 8, "stored");
_Static_assert(NAME_BYTES_MAX <= UINT8_MAX && ENTITY_N_KINDS - 1 <= UINT8_MAX,
	"the header has a byte for each");

/*
 * Asked of the table, so that a kind with a larger record makes the buffers larger and no stack
 * array is silently too small.
 */
size_t
record_bytes_max(void)
{
	size_t most = 0;

	for (int kind = 1; kind < ENTITY_N_KINDS; kind++)
		if (entity_kinds[kind]->record_bytes > most)
			most = entity_kinds[kind]->record_bytes;
	return sizeof(struct record_header) + most + NAME_BYTES_MAX;
}

size_t
record_encode(const struct entity *e, const void *record, const char *name, uint8_t *buffer)
{
	const struct kind *kind = entity_kind(e);
	struct record_header header = {.kind = e->kind, .n_name = (uint8_t)strlen(name)};
	size_t n = kind->record_bytes;

	if (kind->is_later && kind->is_later(record))
		header.kind = kind->later_number;
	memcpy(buffer, &header, sizeof(header));
	memcpy(buffer + sizeof(header), record, n);
	memcpy(buffer + sizeof(header) + n, name, header.n_name);
	return sizeof(header) + n + header.n_name;
}

/* Returns: 0: there is none. */
static uint8_t
kind_of_number(uint8_t number)
{
	if (number < ENTITY_N_KINDS)
		return number;
	for (uint8_t kind = 1; kind < ENTITY_N_KINDS; kind++)
		if (entity_kinds[kind]->later_number == number)
			return kind;
	return 0;
}

bool
record_is_unknown(const uint8_t *data, size_t n)
{
	return n > 0 && data[0] >= ENTITY_N_KINDS && !kind_of_number(data[0]);
}

/*
 * The kind tells how long its record is, and the header how long the name; together they must be
 * all that there is. What the record says is checked by the kind's resolve(). Nothing is copied.
 */
int
record_decode(const uint8_t *data, size_t n, struct record *ret)
{
	struct record_header header;
	size_t n_record;

	if (n < sizeof(header))
		return -EBADMSG;
	memcpy(&header, data, sizeof(header));
	header.kind = kind_of_number(header.kind);
	if (!header.kind)
		return -EBADMSG;
	n_record = entity_kinds[header.kind]->record_bytes;
	data += sizeof(header);
	if (n != sizeof(header) + n_record + header.n_name ||
		!entity_name_is_valid(header.kind, (const char *)data + n_record, header.n_name))
		return -EBADMSG;
	*ret = (struct record){
		.kind = header.kind,
		.data = data,
		.name = (const char *)data + n_record,
		.n_name = header.n_name,
	};
	return 0;
}
