/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "args/item.h"

#include <cbor.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define HEAD_MAX 9 /* bytes before what an item contains */

/* --- floats --- */

/* The bytes of a half-precision float. Returns: false: it has not this value. */
static bool
half_of(double real, uint8_t ret[2])
{
	int exponent;
	double fraction = frexp(fabs(real), &exponent), scaled;
	unsigned bits = signbit(real) ? 0x8000 : 0;

	if (isnan(real)) {
		bits = 0x7e00; /* the one that stands for all of them */
	} else if (isinf(real)) {
		bits |= 0x7c00;
	} else if (real != 0) {
		/* 0.5 <= FRACTION < 1; below 2^-14 the exponent stays and the fraction shrinks. */
		bool is_normal = exponent >= -13;

		scaled = is_normal ? ldexp(fraction, 11) : ldexp(fraction, exponent + 24);
		if (exponent > 16 || exponent < -23 || scaled != (double)(unsigned)scaled)
			return false;
		bits |= is_normal ? (unsigned)(exponent + 14) << 10 | ((unsigned)scaled & 0x3ff)
				  : (unsigned)scaled;
	}
	ret[0] = (uint8_t)(bits >> 8);
	ret[1] = (uint8_t)bits;
	return true;
}

static bool
is_single(double real)
{
	return fabs(real) <= (double)__FLT_MAX__ && (double)(float)real == real;
}

static size_t
float_encode(double real, uint8_t ret[HEAD_MAX])
{
	if (half_of(real, ret + 1)) {
		ret[0] = 0xf9;
		return 3;
	}
	return is_single(real) ? cbor_encode_single((float)real, ret, HEAD_MAX)
			       : cbor_encode_double(real, ret, HEAD_MAX);
}

/* --- out --- */

static size_t
head_encode(enum item_kind kind, uint64_t number, uint8_t ret[HEAD_MAX])
{
	switch (kind) {
	case ITEM_UINT:
		return cbor_encode_uint(number, ret, HEAD_MAX);
	case ITEM_NEGINT:
		return cbor_encode_negint(number, ret, HEAD_MAX);
	case ITEM_BYTES:
		return cbor_encode_bytestring_start(number, ret, HEAD_MAX);
	case ITEM_TEXT:
		return cbor_encode_string_start(number, ret, HEAD_MAX);
	case ITEM_ARRAY:
		return cbor_encode_array_start(number, ret, HEAD_MAX);
	case ITEM_MAP:
		return cbor_encode_map_start(number, ret, HEAD_MAX);
	case ITEM_TAG:
		return cbor_encode_tag(number, ret, HEAD_MAX);
	case ITEM_BOOL:
		return cbor_encode_bool(number, ret, HEAD_MAX);
	default:
		return cbor_encode_null(ret, HEAD_MAX);
	}
}

void
item_add(struct text *t, enum item_kind kind, uint64_t number)
{
	uint8_t head[HEAD_MAX];

	text_add_n(t, head, head_encode(kind, number, head));
}

void
item_add_float(struct text *t, double real)
{
	uint8_t head[HEAD_MAX];

	text_add_n(t, head, float_encode(real, head));
}

/* --- in --- */

/* Lengths were size_t in its first versions. */
#if CBOR_MAJOR_VERSION == 0 && CBOR_MINOR_VERSION < 10
typedef size_t cbor_length;
#else
typedef uint64_t cbor_length;
#endif

static void
took(void *data, enum item_kind kind, uint64_t number)
{
	struct item *item = data;

	item->kind = kind;
	item->number = number;
}

#define TOOK(name, type, kind)                           \
	static void took_##name(void *data, type number) \
	{                                                \
		took(data, kind, number);                \
	}
TOOK(uint8, uint8_t, ITEM_UINT)
TOOK(uint16, uint16_t, ITEM_UINT)
TOOK(uint32, uint32_t, ITEM_UINT)
TOOK(uint64, uint64_t, ITEM_UINT)
TOOK(negint8, uint8_t, ITEM_NEGINT)
TOOK(negint16, uint16_t, ITEM_NEGINT)
TOOK(negint32, uint32_t, ITEM_NEGINT)
TOOK(negint64, uint64_t, ITEM_NEGINT)
TOOK(array, cbor_length, ITEM_ARRAY)
TOOK(map, cbor_length, ITEM_MAP)
TOOK(tag, uint64_t, ITEM_TAG)
TOOK(boolean, bool, ITEM_BOOL)
#undef TOOK

static void
took_bytes(void *data, cbor_data bytes, cbor_length n)
{
	took(data, ITEM_BYTES, n);
	((struct item *)data)->data = bytes;
}

static void
took_text(void *data, cbor_data bytes, cbor_length n)
{
	took(data, ITEM_TEXT, n);
	((struct item *)data)->data = bytes;
}

static void
took_float(void *data, double real, unsigned width)
{
	struct item *item = data;

	item->kind = ITEM_FLOAT;
	item->real = real;
	item->width = width;
}

static void
took_float2(void *data, float real)
{
	took_float(data, (double)real, 2);
}

static void
took_float4(void *data, float real)
{
	took_float(data, (double)real, 4);
}

static void
took_float8(void *data, double real)
{
	took_float(data, real, 8);
}

static void
took_null(void *data)
{
	took(data, ITEM_NULL, 0);
}

/* What has no end yet, undefined, or is an end: the item stays of no kind. */
static void
took_other(void *data)
{
}

static const struct cbor_callbacks callbacks = {
	.uint8 = took_uint8,
	.uint16 = took_uint16,
	.uint32 = took_uint32,
	.uint64 = took_uint64,
	.negint8 = took_negint8,
	.negint16 = took_negint16,
	.negint32 = took_negint32,
	.negint64 = took_negint64,
	.byte_string_start = took_other,
	.byte_string = took_bytes,
	.string = took_text,
	.string_start = took_other,
	.indef_array_start = took_other,
	.array_start = took_array,
	.indef_map_start = took_other,
	.map_start = took_map,
	.tag = took_tag,
	.float2 = took_float2,
	.float4 = took_float4,
	.float8 = took_float8,
	.undefined = took_other,
	.null = took_null,
	.boolean = took_boolean,
	.indef_break = took_other,
};

/* It is as item_add() would have made it. */
static bool
is_shortest(const struct item *item, const uint8_t *p, size_t n_read)
{
	uint8_t head[HEAD_MAX];
	size_t n = item->kind == ITEM_FLOAT ? float_encode(item->real, head)
					    : head_encode(item->kind, item->number, head);

	if (item->kind == ITEM_BYTES || item->kind == ITEM_TEXT)
		n_read -= item->number;
	return n == n_read && memcmp(p, head, n) == 0;
}

int
item_take(const uint8_t **p, const uint8_t *end, struct item *ret)
{
	struct item item = {};
	struct cbor_decoder_result result;

	if (*p == end)
		return -EBADMSG;
	result = cbor_stream_decode(*p, (size_t)(end - *p), &callbacks, &item);
	if (result.status != CBOR_DECODER_FINISHED || item.kind == ITEM_NONE ||
		!is_shortest(&item, *p, result.read))
		return -EBADMSG;
	*p += result.read;
	if ((item.kind == ITEM_UINT || item.kind == ITEM_NEGINT) && item.number > UINT32_MAX)
		item.data = *p - sizeof(uint64_t);
	*ret = item;
	return 0;
}
