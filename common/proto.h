/* The messages of the link as structs, and their form on the wire (PROTOCOL.md). */
#ifndef COMMON_PROTO_H
#define COMMON_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"

#define PROTO_MAGIC   0x6d747263u /* "mtrc" */
#define PROTO_VERSION 2

/* A frame is a header of 12 bytes (length of the body, message, three zero bytes, id) and a body.
 */
#define PROTO_HEADER    12
#define PROTO_DATA_MAX  65536
#define PROTO_BODY_MAX  (PROTO_DATA_MAX + 64)
#define PROTO_FRAME_MAX (PROTO_HEADER + PROTO_BODY_MAX)

/* The longest datagram: what UDP over IPv6 carries without a jumbogram (RFC 768, RFC 8200). */
#define PROTO_DATAGRAM_MAX 65527

/* The path of a unix socket, or its abstract name with the leading zero byte (unix(7)). */
#define PROTO_PATH_MAX 108

/* Channels that the client opens have this bit in their id, those of the agent do not. */
#define PROTO_CLIENT_CHANNEL 0x80000000u

/* What a datagram or a packet of n bytes costs of a channel's credit: an empty one is not free. */
#define PROTO_MESSAGE_COST(n) ((uint32_t)(n) + 64)

/* The largest errno; a greater number from the peer is taken for EPROTO. */
#define PROTO_ERRNO_MAX 4095

/* The bytes of a target's addresses in its hello. */
#define PROTO_ADDRESSES_MAX 4096

/* What a channel may send before the first credit arrives. */
#define PROTO_WINDOW (1u << 20)

enum proto_side {
	PROTO_CLIENT, /* the supervisor */
	PROTO_AGENT,
};

/* The values of subscribe's and udp_open's mode. */
enum incoming_mode {
	INCOMING_OFF, /* never in subscribe */
	INCOMING_MIRROR,
	INCOMING_STEAL,
	INCOMING_MODE_MAX,
};

/* The values of connect's kind. */
enum connect_kind {
	CONNECT_TCP = 1,
	CONNECT_UNIX_STREAM,
	CONNECT_UNIX_SEQPACKET,
	CONNECT_KIND_MAX,
};

/* The values of the fields called family. */
enum proto_family {
	PROTO_IPV4 = 4,
	PROTO_IPV6 = 6,
};

/* The numbers on the wire. */
enum msg_type {
#define MSG(name, number, direction, since, fields) MSG_##name = (number),
#include "proto.def"
#undef MSG
};

/* Bytes or text inside a frame, or of the sender's: never owned, not terminated. */
struct span {
	const void *data;
	uint32_t len;
};

#define U8(name)         uint8_t name;
#define U16(name)        uint16_t name;
#define U32(name)        uint32_t name;
#define U64(name)        uint64_t name;
#define ADDR(name)       struct addr name;
#define TEXT(name, max)  struct span name;
#define BYTES(name, max) struct span name;
#define MSG(name, number, direction, since, fields)                                                \
	struct msg_##name {                                                                        \
		fields                                                                             \
	};
#include "proto.def"
#undef MSG
#undef U8
#undef U16
#undef U32
#undef U64
#undef ADDR
#undef TEXT
#undef BYTES

struct msg {
	enum msg_type type;
	uint32_t id; /* of the subscription or the channel it is about; else 0 */
	union {
#define MSG(name, number, direction, since, fields) struct msg_##name name;
#include "proto.def"
#undef MSG
	};
};

/* span_of() - a C string as a span. */
struct span span_of(const char *s);

/* proto_encode() - append the message as one frame, control characters in a text as '?'. 0;
 * -ENOBUFS when b is full; -EMSGSIZE when a text or the bytes are longer than the table allows. */
int proto_encode(struct buf *b, const struct msg *m);

/* proto_decode() - the first frame of n bytes that came from the other side.
 *
 * Returns its whole length and fills m, whose spans point into p. 0: incomplete, read on. -EPROTO:
 * not a frame that `from` may send; nothing after it can be believed. Nothing is read beyond n. */
int proto_decode(const uint8_t *p, size_t n, enum proto_side from, struct msg *m);

/* proto_put_header() - the PROTO_HEADER bytes of a frame whose body the caller adds himself. */
void proto_put_header(uint8_t *p, enum msg_type type, uint32_t id, uint32_t body);

/* proto_name() - "subscribe", or "?" for a number that is not in the table. */
const char *proto_name(enum msg_type type);

/* proto_print() - the text of a span as a string for people, cut to fit, without anything that a
 * terminal would obey; returns s. */
const char *proto_print(struct span text, char *s, size_t size);

#endif
