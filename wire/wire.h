/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes between capfsd, libcap-client and services; doc/PROTOCOL describes them, and changes
 * with this file. Everything is little-endian and unpadded; every message is one SEQPACKET.
 *
 * Decoding goes through one bounds-checked cursor: a read beyond the end sticks as `failed` and
 * gives zeros, so that a decoder reads everything and checks once, by wire_reader_done().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1

#define WIRE_PATH_MAX 4096             /* bytes of a node's path */
#define WIRE_TEXT_MAX 32768            /* bytes of text in one control message */
#define WIRE_CONTROL_MAX (WIRE_TEXT_MAX + WIRE_PATH_MAX + 64)
#define WIRE_LABEL_MAX 1024            /* bytes of a session's label */
#define WIRE_CAVEATS_N_MAX 32          /* that count for a capability */
#define WIRE_CAVEAT_MAX 240            /* bytes of one */
#define WIRE_CAVEATS_MAX (WIRE_CAVEATS_N_MAX * (WIRE_CAVEAT_MAX + 2))
#define WIRE_CHANNEL_MAX (WIRE_LABEL_MAX + WIRE_CAVEATS_MAX + 128)
#define WIRE_PAYLOAD_MAX 65536         /* bytes of a call's payload that are in its packet */
#define WIRE_LARGE_MAX (1 << 24)       /* … that are in a memfd */
#define WIRE_CALL_MAX (WIRE_PAYLOAD_MAX + 64)
#define WIRE_CALL_HEAD 18              /* bytes before the payload */
#define WIRE_BUFFER_MAX (1 << 21)      /* … that are in a buffer, behind which is … */
#define WIRE_BUFFER_BYTES (WIRE_BUFFER_MAX + 4096) /* … the serial of what was copied */

/* What a control request asks. */
enum wire_op {
	WIRE_READ = 1, /* cat: text of the node from `offset`; offset 0 takes a new snapshot */
	WIRE_WRITE,    /* echo: `text` to the node; gives the result, or the reason of the refusal */
	WIRE_LIST,     /* ls: names after cookie `offset`, one a line; `value` is the next cookie */
	WIRE_CREATE,   /* mkdir: sessions/NAME; `text` is the quota, e.g. "caps=8", or empty */
	WIRE_REMOVE,   /* rmdir: sessions/NAME, caps/SLOT, entrypoints/NAME */
	WIRE_ATTACH,   /* serve entrypoints/NAME; gives the channel's descriptor */
	WIRE_OPEN,     /* caps/SLOT: gives a connected socket */
	WIRE_CHALLENGE, /* gives what is to be written onto a `socket` that was passed on … */
	WIRE_IMPORT,    /* … which then becomes a slot; `text` is "as=NAME", or empty */
	WIRE_IDENTIFY,  /* … or is described */
	WIRE_INSPECT,   /* instead of a challenge: gives a socket to send a connected one over */
	WIRE_SPAWN,     /* threads: gives one end of a pair to the program that is started (process.h) */
	WIRE_WAIT,      /* threads/ID: what it has come to, within `offset` microseconds; caps/SLOT: its visit's answer;
			   a session: what it is to decide */
	WIRE_REGISTER,  /* threads: gives one end of a pair, on which a thread says that it is one (register.h) */
	WIRE_CHECK,     /* as a WRITE of what is written as a whole, which changes nothing */
};

/* The text of a WAIT for threads/ID that is not to hold up what the connection asks behind it. */
#define WIRE_WAIT_YIELDS "yield"

/* The extended attribute of a `socket` that takes the challenge. */
#define WIRE_VOUCH_ATTRIBUTE "capfs.vouch"

/* Of what the label of a descriptor of a program's consists, in a WIRE_SPAWN and where it is shown. */
#define WIRE_LABEL_CHARACTERS \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@+/-"

#define WIRE_REPLY 0x80  /* or'ed to the op of a reply; `op` of struct wire_reply is without it */
#define WIRE_MORE 1      /* flag of a reply: go on at `value` */

struct wire_request {
	uint8_t op;
	uint64_t serial; /* chosen by the client, never 0, ascending on one connection */
	uint64_t offset;
	const char *path; /* relative to the session, "" is the session itself; not terminated */
	size_t n_path;
	const char *text;
	size_t n_text;
};

struct wire_reply {
	uint8_t op;
	uint16_t flags;
	uint32_t error; /* an errno, 0 when done */
	uint64_t serial;
	uint64_t value; /* next offset or cookie */
	const char *text;
	size_t n_text;
};

/* What goes over an entrypoint's channel. */
enum wire_channel_type {
	WIRE_HANDOVER = 1, /* daemon to server, with the connected socket, and a pidfd if there is one */
	WIRE_TAKEN,        /* server to daemon: it has the socket with this serial */
	WIRE_PAGES,        /* daemon to server, with the pages `granted` and `used` (pages.h) */
	WIRE_LISTENER,     /* daemon to server, with the listener of an object, or why there is none */
	WIRE_VISIT,        /* daemon to server: the visit of this slot asks; 0: look at all of them */
};

struct wire_handover {
	uint64_t serial; /* ascending; one that the server has already is a repetition: drop it */
	uint64_t key;    /* of the object, as the server chose it */
	uint64_t badge;
	uint64_t capability;
	uint32_t rights;
	uint32_t uid, gid, pid; /* of the client, by SO_PEERCRED: information, no authority */
	uint32_t page_index;    /* its entry in the pages; 0: none, calls are not counted */
	bool aside;             /* the client will go on with another connection, if it is given one */
	const char *label;      /* of the session whose slot it came through; not terminated */
	size_t n_label;
	/* Those of the capability: a 0 behind each, and one more behind each group; NULL: the server did not ask. */
	const char *caveats;
	size_t n_caveats; /* bytes */
};

#define WIRE_VISIT_SERIAL UINT64_MAX /* of the answer to that, WIRE_TAKEN */

struct wire_listener {
	uint64_t key;   /* of the object */
	uint64_t badge; /* … and the serial of the answer, WIRE_TAKEN */
	uint32_t error; /* an errno, 0: the descriptor is there */
};

/* To the socket of a posted descriptor, one byte; its answer is an errno, an i32 of this machine. */
enum wire_posted {
	WIRE_POST = 1, /* with the descriptor */
	WIRE_FETCH,    /* the answer comes with it */
};

/* A call of the library's protocol and its reply, on a connected socket. */
enum wire_call_type {
	WIRE_CALL = 1,
	WIRE_RETURN,
	WIRE_FDS,    /* descriptors of the CALL or RETURN with this serial, which follows */
	WIRE_CANCEL, /* nobody waits any more for the RETURN with this serial */
	WIRE_PART,   /* so much of the payload of the CALL or RETURN that follows is in the buffer */
	WIRE_CREDIT, /* how much may be unanswered: `code` calls, with `n_payload` descriptors */
};

/* No call has this serial: a CANCEL with it asks for a CREDIT, which has it, too. */
#define WIRE_CREDIT_SERIAL UINT64_MAX
#define WIRE_CREDIT_MIN 16      /* calls; a client that has not heard of any has no more unanswered */
#define WIRE_CREDIT_FDS_MAX 1012

struct wire_call {
	uint8_t type;
	uint32_t code; /* WIRE_CALL: the method; WIRE_RETURN: an errno, 0 when done */
	uint64_t serial;
	const void *payload; /* NULL when it is large, and of WIRE_PART and WIRE_CREDIT */
	size_t n_payload;
};

#define WIRE_ERRNO_MAX 4095 /* the kernel's */

/* Who refuses, unless it is the service: a byte that stands at the end of the reason, behind a 0. */
enum wire_origin {
	WIRE_ORIGIN_LIMIT = 1, /* of the capability */
	WIRE_ORIGIN_SERVER,    /* what speaks this protocol in the server's stead, and has not asked it */
	WIRE_ORIGIN_END,       /* … for all calls, of which it has looked at none: the connection ends */
};

/* The payload is in a memfd, the first of the descriptors. */
static inline bool
wire_call_is_large(const struct wire_call *m)
{
	return m->n_payload > WIRE_PAYLOAD_MAX;
}

/* The payload of a refusal with this origin. Returns: its length, -EMSGSIZE. */
int wire_refusal_encode(const char *reason, enum wire_origin origin, void *buffer, size_t size);

/* It is for all calls of the connection, of which the server has looked at none. */
bool wire_call_is_farewell(const struct wire_call *m);

/* Cuts the origin off the payload of a refusal. Returns: it, 0: none is said, so it is the service's. */
uint8_t wire_refusal_origin(struct wire_call *m);

/* Encoders: give the length of the message in BUFFER, or -EMSGSIZE. */
int wire_request_encode(const struct wire_request *m, void *buffer, size_t size);
int wire_reply_encode(const struct wire_reply *m, void *buffer, size_t size);
int wire_handover_encode(const struct wire_handover *m, void *buffer, size_t size);
int wire_pages_encode(void *buffer, size_t size);
int wire_listener_encode(const struct wire_listener *m, void *buffer, size_t size);
int wire_visit_encode(uint64_t id, void *buffer, size_t size);
int wire_taken_encode(uint64_t serial, void *buffer, size_t size);
int wire_call_encode(const struct wire_call *m, void *buffer, size_t size);

/*
 * Decoders: pointers in *RET point into DATA.
 * Returns: 0, -EBADMSG (malformed), -EPROTO (another version).
 */
int wire_request_decode(const void *data, size_t n, struct wire_request *ret);
int wire_reply_decode(const void *data, size_t n, struct wire_reply *ret);
int wire_handover_decode(const void *data, size_t n, struct wire_handover *ret);
int wire_pages_decode(const void *data, size_t n);
int wire_listener_decode(const void *data, size_t n, struct wire_listener *ret);
/* Are N bytes a list of caveats as a hand-over has it, also of none? */
bool wire_caveats_are_valid(const char *caveats, size_t n);
int wire_visit_decode(const void *data, size_t n, uint64_t *ret_id);
int wire_taken_decode(const void *data, size_t n, uint64_t *ret_serial);
int wire_call_decode(const void *data, size_t n, struct wire_call *ret);

/* The cursor. */
struct wire_reader {
	const uint8_t *p, *end;
	bool failed;
};

struct wire_writer {
	uint8_t *start, *p, *end;
	bool failed;
};

uint64_t wire_get(struct wire_reader *r, unsigned n_bytes); /* 1, 2, 4 or 8 */
const void *wire_get_bytes(struct wire_reader *r, size_t n);
bool wire_reader_done(const struct wire_reader *r); /* everything read, nothing failed */
void wire_put(struct wire_writer *w, uint64_t value, unsigned n_bytes);
void wire_put_bytes(struct wire_writer *w, const void *data, size_t n);
