/* A message of each kind, made from proto.def: for the unit tests and for the fuzzers' corpus. */
#ifndef TEST_SAMPLE_H
#define TEST_SAMPLE_H

#include <string.h>

#include "proto.h"
#include "util.h"

enum sample_fill {
	SAMPLE_ZERO,  /* all zero, nothing in the texts */
	SAMPLE_SOME,  /* each field with a value of its own, IPv4 */
	SAMPLE_LIMIT, /* all bits set, texts as long as allowed, IPv6 with a scope */
	SAMPLE_MAX,
};

#define SAMPLE_C2A  (1u << PROTO_CLIENT)
#define SAMPLE_A2C  (1u << PROTO_AGENT)
#define SAMPLE_BOTH (SAMPLE_C2A | SAMPLE_A2C)

struct sampler {
	enum sample_fill fill;
	uint64_t last;
};

static inline uint64_t sample_uint(struct sampler *s)
{
	if (s->fill == SAMPLE_SOME)
		return s->last += 0x0123456789abcdefu;
	return s->fill == SAMPLE_LIMIT ? UINT64_MAX : 0;
}

static inline struct addr sample_addr(struct sampler *s)
{
	struct in6_addr ip = { .s6_addr = { 0xfe, 0x80, [15] = 0x01 } };
	struct addr a;

	if (s->fill != SAMPLE_LIMIT)
		return addr_v4((uint32_t)sample_uint(s), (uint16_t)sample_uint(s));
	a = addr_v6(&ip, UINT16_MAX);
	a.in6.sin6_scope_id = 7;
	return a;
}

static inline struct file_attr sample_attr(const struct sampler *s)
{
	struct file_attr a;

	memset(&a, s->fill == SAMPLE_LIMIT ? 0xff : s->fill == SAMPLE_SOME ? 0x5a : 0, sizeof(a));
	return a;
}

static inline struct span sample_text(const struct sampler *s, uint32_t max)
{
	static char text[PROTO_DATA_MAX];

	memset(text, 'x', sizeof(text));
	if (s->fill == SAMPLE_SOME)
		return span_of("caf\xc3\xa9 ~");
	return (struct span){ text, s->fill == SAMPLE_LIMIT ? max : 0 };
}

#define U8(name)         b->name = (uint8_t)sample_uint(s);
#define U16(name)        b->name = (uint16_t)sample_uint(s);
#define U32(name)        b->name = (uint32_t)sample_uint(s);
#define U64(name)        b->name = sample_uint(s);
#define ADDR(name)       b->name = sample_addr(s);
#define ATTR(name)       b->name = sample_attr(s);
#define TEXT(name, max)  b->name = sample_text(s, max);
#define BYTES(name, max) b->name = sample_text(s, max);
#define MSG(name, number, direction, since, fields)                                                \
	static inline void sample_##name(struct sampler *s, struct msg_##name *b)                  \
	{                                                                                          \
		(void)s;                                                                           \
		(void)b;                                                                           \
		fields                                                                             \
	}
#include "proto.def"

struct sample {
	enum msg_type type;
	const char *name;
	unsigned senders; /* 1 << enum proto_side */
	bool has_bytes;   /* it ends in BYTES */
	uint32_t bytes_max;
};

#define C2A  SAMPLE_C2A
#define A2C  SAMPLE_A2C
#define BOTH SAMPLE_BOTH
#define U8(name)
#define U16(name)
#define U32(name)
#define U64(name)
#define ADDR(name)
#define ATTR(name)
#define TEXT(name, max)
#define BYTES(name, max) .has_bytes = true, .bytes_max = (max)
static const struct sample samples[] = {
#define MSG(name_, number, direction, since, fields)                                               \
	{ .type = MSG_##name_, .name = #name_, .senders = (direction), fields },
#include "proto.def"
};
#undef C2A
#undef A2C
#undef BOTH

static inline struct msg sample_msg(enum msg_type type, enum sample_fill fill)
{
	struct sampler s = { .fill = fill };
	struct msg m = { .type = type, .id = (uint32_t)sample_uint(&s) };

	switch (type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		sample_##name(&s, &m.name);                                                        \
		break;
#include "proto.def"
	}
	return m;
}

#endif
