#include "proto.h"

#include <errno.h>
#include <string.h>

#include "util.h"

/* Who may send a message: a set of sides. */
enum direction {
	C2A = 1 << PROTO_CLIENT,
	A2C = 1 << PROTO_AGENT,
	BOTH = C2A | A2C,
};

struct span span_of(const char *s)
{
	return (struct span){ s, (uint32_t)strlen(s) };
}

void proto_put_header(uint8_t *p, enum msg_type type, uint32_t id, uint32_t body)
{
	put_uint(p, 4, body);
	put_uint(p + 4, 1, type);
	put_uint(p + 5, 3, 0);
	put_uint(p + 8, 4, id);
}

/* --- encoding: each field appends itself to a frame under construction --- */

struct writer {
	uint8_t data[1024]; /* any body but that of BYTES, which is never copied here */
	size_t len;
	struct span tail;
	bool bad;
};

static void write_uint(struct writer *w, size_t width, uint64_t v)
{
	put_uint(w->data + w->len, width, v);
	w->len += width;
}

/* What a text may not hold, since it may reach a terminal. */
static bool is_control(uint8_t c)
{
	return c < 0x20 || c == 0x7f;
}

/* A text may quote what others said, a file name or a tool's message: it must not cost the link. */
static void write_text(struct writer *w, struct span s, size_t max)
{
	const uint8_t *p = s.data;

	if (s.len > max) {
		w->bad = true;
		return;
	}
	write_uint(w, 2, s.len);
	for (uint32_t i = 0; i < s.len; i++)
		write_uint(w, 1, is_control(p[i]) ? '?' : p[i]);
}

static void write_addr(struct writer *w, const struct addr *a)
{
	bool v6 = a->sa.sa_family == AF_INET6;
	size_t n = v6 ? 16 : 4;

	write_uint(w, 1, v6 ? PROTO_IPV6 : PROTO_IPV4);
	write_uint(w, 2, addr_port(a));
	write_uint(w, 4, v6 ? a->in6.sin6_scope_id : 0);
	memcpy(w->data + w->len, v6 ? (const void *)&a->in6.sin6_addr : &a->in.sin_addr, n);
	w->len += n;
}

/* The wire's order of a file's attributes. */
#define ATTR_FIELDS(do)                                                                            \
	do                                                                                         \
	(4, mode) do(4, uid) do(4, gid) do(4, nlink) do(8, flags) do(8, dev) do(8, ino) do(        \
		8, rdev) do(8, size) do(8, blocks) do(8, atime) do(8, mtime) do(8, ctime)

static void write_attr(struct writer *w, const struct file_attr *a)
{
#define WRITE(width, field) write_uint(w, width, (uint64_t)a->field);
	ATTR_FIELDS(WRITE)
#undef WRITE
}

static void write_bytes(struct writer *w, struct span s, size_t max)
{
	w->bad |= s.len > max;
	w->tail = s;
}

#define U8(name)         write_uint(w, 1, b->name);
#define U16(name)        write_uint(w, 2, b->name);
#define U32(name)        write_uint(w, 4, b->name);
#define U64(name)        write_uint(w, 8, b->name);
#define ADDR(name)       write_addr(w, &b->name);
#define ATTR(name)       write_attr(w, &b->name);
#define TEXT(name, max)  write_text(w, b->name, max);
#define BYTES(name, max) write_bytes(w, b->name, max);
#define MSG(name, number, direction, since, fields)                                                \
	static void write_##name(                                                                  \
		__attribute__((unused)) struct writer *w, const struct msg_##name *b)              \
	{                                                                                          \
		(void)b;                                                                           \
		fields                                                                             \
	}
#include "proto.def"

int proto_encode(struct buf *b, const struct msg *m)
{
	struct writer w = { 0 };
	uint8_t *p;

	switch (m->type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		write_##name(&w, &m->name);                                                        \
		break;
#include "proto.def"
	}
	if (w.bad)
		return -EMSGSIZE;
	p = buf_reserve(b, PROTO_HEADER + w.len + w.tail.len);
	if (!p)
		return -ENOBUFS;
	proto_put_header(p, m->type, m->id, (uint32_t)(w.len + w.tail.len));
	memcpy(p + PROTO_HEADER, w.data, w.len);
	if (w.tail.len)
		memcpy(p + PROTO_HEADER + w.len, w.tail.data, w.tail.len);
	buf_commit(b, PROTO_HEADER + w.len + w.tail.len);
	return 0;
}

/* --- decoding: each field reads itself; the reader remembers the first failure --- */

static struct span read_text(struct reader *r, size_t max)
{
	size_t n = read_uint(r, 2);
	const uint8_t *p;

	r->bad |= n > max;
	p = read_bytes(r, n);
	for (size_t i = 0; p && i < n; i++)
		r->bad |= is_control(p[i]);
	return (struct span){ p, p ? (uint32_t)n : 0 };
}

static struct addr read_addr(struct reader *r)
{
	unsigned family = (unsigned)read_uint(r, 1);
	uint16_t port = (uint16_t)read_uint(r, 2);
	uint32_t scope = (uint32_t)read_uint(r, 4);
	const uint8_t *p = read_bytes(r, family == PROTO_IPV6 ? 16 : 4);
	struct in6_addr ip6;
	struct addr a;

	r->bad |= family != PROTO_IPV4 && family != PROTO_IPV6;
	r->bad |= family == PROTO_IPV4 && scope;
	if (r->bad)
		return (struct addr){ 0 };
	if (family == PROTO_IPV4) {
		struct reader four = { p, p + 4, false };

		return addr_v4((uint32_t)read_uint(&four, 4), port);
	}
	memcpy(&ip6, p, sizeof(ip6));
	a = addr_v6(&ip6, port);
	a.in6.sin6_scope_id = scope;
	return a;
}

static struct file_attr read_attr(struct reader *r)
{
	struct file_attr a;

#define READ(width, field) a.field = (typeof(a.field))read_uint(r, width);
	ATTR_FIELDS(READ)
#undef READ
	return a;
}

static struct span read_rest(struct reader *r, size_t max)
{
	size_t n = (size_t)(r->end - r->p);

	r->bad |= n > max;
	return (struct span){ read_bytes(r, n), (uint32_t)n };
}

#define U8(name)         b->name = (uint8_t)read_uint(r, 1);
#define U16(name)        b->name = (uint16_t)read_uint(r, 2);
#define U32(name)        b->name = (uint32_t)read_uint(r, 4);
#define U64(name)        b->name = read_uint(r, 8);
#define ADDR(name)       b->name = read_addr(r);
#define ATTR(name)       b->name = read_attr(r);
#define TEXT(name, max)  b->name = read_text(r, max);
#define BYTES(name, max) b->name = read_rest(r, max);
#define MSG(name, number, direction, since, fields)                                                \
	static void read_##name(__attribute__((unused)) struct reader *r, struct msg_##name *b)    \
	{                                                                                          \
		(void)b;                                                                           \
		fields                                                                             \
	}
#include "proto.def"

static enum direction senders(unsigned type)
{
	switch (type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		return direction;
#include "proto.def"
	}
	return 0;
}

int proto_decode(const uint8_t *p, size_t n, enum proto_side from, struct msg *m)
{
	struct reader header = { p, p + n, false }, r;
	uint32_t body = (uint32_t)read_uint(&header, 4);
	unsigned type = (unsigned)read_uint(&header, 1);
	uint32_t zero = (uint32_t)read_uint(&header, 3);
	uint32_t id = (uint32_t)read_uint(&header, 4);
	struct msg out = { .type = type, .id = id };

	if (header.bad)
		return 0;
	if (zero || body > PROTO_BODY_MAX || !(senders(type) & 1u << from))
		return -EPROTO;
	if (n - PROTO_HEADER < body)
		return 0;
	r = (struct reader){ p + PROTO_HEADER, p + PROTO_HEADER + body, false };
	switch (out.type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		read_##name(&r, &out.name);                                                        \
		break;
#include "proto.def"
	}
	if (r.bad || r.p != r.end)
		return -EPROTO;
	*m = out;
	return (int)(PROTO_HEADER + body);
}

const char *proto_name(enum msg_type type)
{
	switch (type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		return #name;
#include "proto.def"
	}
	return "?";
}

const char *proto_print(struct span text, char *s, size_t size)
{
	size_t n = MIN((size_t)text.len, size - 1);

	if (n)
		memcpy(s, text.data, n);
	s[n] = '\0';
	/* The controls of the second kind, U+0080 to U+009F, which some terminals obey. */
	for (size_t i = 1; i < n; i++) {
		if ((uint8_t)s[i - 1] == 0xc2 && (uint8_t)s[i] < 0xa0)
			s[i - 1] = s[i] = '?';
	}
	return s;
}
