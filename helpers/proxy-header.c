/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every number is in network order. The addresses are of TCP over IPv4, as some servers take no others. They
 * must be nobody's, as servers believe them, and not the same for all, as servers count, slow down and shut out
 * by them: 240.0.0.0/4, which is reserved, and in it the capability. The command is PROXY; who gets a LOCAL one
 * passes over all that follows.
 *
 * There is no checksum: between two sockets of one machine nothing is lost, and some servers take 232 bytes.
 */
#include "config.h"

#include "helpers/proxy-header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#define VERSION_2_PROXY 0x21
#define TCP_OVER_IPV4 0x11
#define LENGTH_AT 14
#define START_BYTES 16
#define NET UINT32_C(0xf0000000)
#define TYPE_CAVEATS 0xe3 /* once for each group, whose members have a 0 in between */
#define HOST_MAX UINT32_C(0x0ffffffe) /* the next is what broadcasts go to */

static void
put_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void
add_u32(struct text *t, uint32_t value)
{
	uint8_t bytes[4];

	put_u16(bytes, value >> 16);
	put_u16(bytes + 2, value & 0xffff);
	text_add_n(t, bytes, sizeof(bytes));
}

/* An id that has no room has no address of its own: with another one's it could do what that one may. */
static void
add_addresses(const struct capc_caller *caller, struct text *t)
{
	add_u32(t, NET | (caller->capability <= HOST_MAX ? (uint32_t)caller->capability : 0));
	add_u32(t, NET);
	add_u32(t, 0); /* both ports */
}

static void
add_label(const struct capc_caller *caller, struct text *t)
{
	text_add(t, caller->label ? caller->label : "");
}

static void
add_capability(const struct capc_caller *caller, struct text *t)
{
	text_addf(t, "%" PRIu64, caller->capability);
}

static void
add_rights(const struct capc_caller *caller, struct text *t)
{
	/* As the daemon shows them. */
	static const struct {
		uint32_t right;
		const char *name;
	} names[] = {
		{CAPC_RIGHT_CALL, "call"},
		{CAPC_RIGHT_FDS, "fds"},
		{CAPC_RIGHT_GRANT, "grant"},
		{CAPC_RIGHT_REPLICATE, "replicate"},
		{CAPC_RIGHT_REDUCE, "reduce"},
		{CAPC_RIGHT_TRANSFER, "transfer"},
		{CAPC_RIGHT_SHARE, "share"},
	};
	const char *separator = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (caller->rights & names[i].right) {
			text_addf(t, "%s%s", separator, names[i].name);
			separator = ",";
		}
	if (!*separator)
		text_add(t, "-");
}

/*
 * What follows the addresses. The first two have names in the specification, and HAProxy before 2.9 and Dovecot
 * read no others; HAProxy closes the connection where one of them is longer. All and what goes before them stay
 * below PROXY_HEADER_MAX.
 */
static const struct row {
	uint8_t type;
	size_t bytes_max;
	void (*add)(const struct capc_caller *caller, struct text *t);
} rows[] = {
	{0x02, 255, add_label},	     /* PP2_TYPE_AUTHORITY */
	{0x05, 128, add_capability}, /* PP2_TYPE_UNIQUE_ID */
	{0xe0, 255, add_label},
	{0xe1, 20, add_capability},
	{0xe2, 64, add_rights},
};

static int
add_row(const struct row *row, const struct capc_caller *caller, struct text *t)
{
	const uint8_t start[] = {row->type, 0, 0};
	size_t value;

	text_add_n(t, start, sizeof(start));
	value = t->n;
	row->add(caller, t);
	if (text_done(t) < 0)
		return -ENOMEM;
	if (t->n - value > row->bytes_max)
		return -ENAMETOOLONG;
	put_u16((uint8_t *)t->data + value - 2, t->n - value);
	return 0;
}

/* Returns: behind the group at P, whose last member has another 0 behind its own. */
static const char *
add_group(const char *p, struct text *t)
{
	const uint8_t start[] = {TYPE_CAVEATS, 0, 0};
	size_t at = t->n, n;
	const char *end = p;

	do
		end += strlen(end) + 1;
	while (*end);
	n = (size_t)(end - p) - 1;
	text_add_n(t, start, sizeof(start));
	text_add_n(t, p, n);
	if (text_done(t) == 0)
		put_u16((uint8_t *)t->data + at + 1, n);
	return end + 1;
}

static int
add_caveats(const struct capc_caller *caller, struct text *t)
{
	for (const char *p = caller->caveats; p && p < caller->caveats + caller->n_caveats;)
		p = add_group(p, t);
	return text_done(t);
}

int
proxy_header(const struct capc_caller *caller, struct text *t)
{
	static const uint8_t start[START_BYTES] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n',
		VERSION_2_PROXY, TCP_OVER_IPV4};
	size_t header = t->n;
	int e = 0;

	text_add_n(t, start, sizeof(start));
	add_addresses(caller, t);
	for (size_t i = 0; e == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
		e = add_row(&rows[i], caller, t);
	if (e == 0)
		e = add_caveats(caller, t);
	if (e == 0 && t->n - header > PROXY_HEADER_MAX)
		e = -ENAMETOOLONG;
	if (e == 0)
		put_u16((uint8_t *)t->data + header + LENGTH_AT, t->n - header - START_BYTES);
	return e;
}
