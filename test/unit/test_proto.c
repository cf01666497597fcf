#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"
#include "unit.h"

#define FRAME_MAX (PROTO_FRAME_MAX + 1)

/* --- comparing two messages, field by field --- */

static void same_span(struct span a, struct span b)
{
	assert_int_equal(a.len, b.len);
	if (a.len)
		assert_memory_equal(a.data, b.data, a.len);
}

static void same_addr(const struct addr *a, const struct addr *b)
{
	assert_int_equal(a->sa.sa_family, b->sa.sa_family);
	assert_memory_equal(a, b, addr_len(a));
}

#define U8(name)         assert_int_equal(a->name, b->name);
#define U16(name)        assert_int_equal(a->name, b->name);
#define U32(name)        assert_int_equal(a->name, b->name);
#define U64(name)        assert_true(a->name == b->name);
#define ADDR(name)       same_addr(&a->name, &b->name);
#define ATTR(name)       assert_memory_equal(&a->name, &b->name, sizeof(a->name));
#define TEXT(name, max)  same_span(a->name, b->name);
#define BYTES(name, max) same_span(a->name, b->name);
#define MSG(name, number, direction, since, fields)                                                \
	static void same_##name(const struct msg_##name *a, const struct msg_##name *b)            \
	{                                                                                          \
		(void)a;                                                                           \
		(void)b;                                                                           \
		fields                                                                             \
	}
#include "proto.def"

static void same_msg(const struct msg *a, const struct msg *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->id, b->id);
	switch (a->type) {
#define MSG(name, number, direction, since, fields)                                                \
	case MSG_##name:                                                                           \
		same_##name(&a->name, &b->name);                                                   \
		break;
#include "proto.def"
	}
}

/* --- frames --- */

static enum proto_side sender_of(const struct sample *s)
{
	return s->senders & SAMPLE_C2A ? PROTO_CLIENT : PROTO_AGENT;
}

/* The frame of a sample; its length. */
static size_t frame_of(const struct sample *s, enum sample_fill fill, uint8_t *frame)
{
	struct msg m = sample_msg(s->type, fill);
	struct buf b;
	size_t n;

	buf_init(&b, FRAME_MAX);
	assert_int_equal(proto_encode(&b, &m), 0);
	n = buf_len(&b);
	memcpy(frame, buf_head(&b), n);
	buf_done(&b);
	return n;
}

/* Decode exactly n bytes in memory of their own, where a read beyond them is seen. */
static int decode(const uint8_t *frame, size_t n, enum proto_side from)
{
	cleanup_free uint8_t *p = malloc(n ? n : 1);
	struct msg m;

	memcpy(p, frame, n);
	return proto_decode(p, n, from, &m);
}

#define for_each_sample(s, fill)                                                                   \
	for (const struct sample *s = samples; s < samples + ARRAY_SIZE(samples); s++)             \
		for (enum sample_fill fill = 0; fill < SAMPLE_MAX; fill++)

static void every_message_survives_the_wire(void **state)
{
	uint8_t frame[FRAME_MAX];
	struct msg m;

	(void)state;
	for_each_sample(s, fill)
	{
		size_t n = frame_of(s, fill, frame);
		struct msg sent = sample_msg(s->type, fill);

		assert_int_equal(proto_decode(frame, n, sender_of(s), &m), n);
		same_msg(&m, &sent);
	}
}

static void a_frame_ends_where_the_next_begins(void **state)
{
	uint8_t frame[2 * FRAME_MAX];
	struct msg m;

	(void)state;
	for_each_sample(s, fill)
	{
		size_t n = frame_of(s, fill, frame);

		memset(frame + n, 0xff, FRAME_MAX);
		assert_int_equal(proto_decode(frame, n + FRAME_MAX, sender_of(s), &m), n);
	}
}

static void a_truncated_frame_is_incomplete(void **state)
{
	uint8_t frame[FRAME_MAX];

	(void)state;
	for_each_sample(s, fill)
	{
		size_t n = frame_of(s, fill, frame), step = n > 4096 ? 509 : 1;

		for (size_t cut = 0; cut < n; cut += step)
			assert_int_equal(decode(frame, cut, sender_of(s)), 0);
		assert_int_equal(decode(frame, n - 1, sender_of(s)), 0);
	}
}

static void only_its_sender_may_send_it(void **state)
{
	uint8_t frame[FRAME_MAX];

	(void)state;
	for_each_sample(s, fill)
	{
		size_t n = frame_of(s, fill, frame);

		for (enum proto_side side = PROTO_CLIENT; side <= PROTO_AGENT; side++) {
			int want = s->senders & 1u << side ? (int)n : -EPROTO;

			assert_int_equal(decode(frame, n, side), want);
		}
	}
}

/* Bytes at the end are as many as there are; every other body has one right length. */
static size_t bytes_at_the_end(const struct sample *s, enum sample_fill fill)
{
	const struct sampler sampler = { .fill = fill };

	return s->has_bytes ? sample_text(&sampler, s->bytes_max).len : 0;
}

static void a_body_of_another_length_is_refused(void **state)
{
	uint8_t frame[FRAME_MAX];

	(void)state;
	for_each_sample(s, fill)
	{
		size_t n = frame_of(s, fill, frame), bytes = bytes_at_the_end(s, fill);

		if (!s->has_bytes || fill == SAMPLE_LIMIT) {
			frame[n] = 0;
			put_uint(frame, 4, n - PROTO_HEADER + 1);
			assert_int_equal(decode(frame, n + 1, sender_of(s)), -EPROTO);
		}
		for (size_t less = 0; less < n - PROTO_HEADER - bytes; less++) {
			put_uint(frame, 4, less);
			assert_int_equal(decode(frame, PROTO_HEADER + less, sender_of(s)), -EPROTO);
		}
	}
}

static void a_type_outside_the_table_is_refused(void **state)
{
	uint8_t frame[PROTO_HEADER];
	bool known[256] = { false };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		known[samples[i].type] = true;
	for (unsigned type = 0; type < 256; type++) {
		if (known[type])
			continue;
		proto_put_header(frame, type, 0, 0);
		assert_int_equal(decode(frame, sizeof(frame), PROTO_CLIENT), -EPROTO);
		assert_int_equal(decode(frame, sizeof(frame), PROTO_AGENT), -EPROTO);
		assert_string_equal(proto_name(type), "?");
	}
}

/* One wrong byte in a good frame. */
static void a_bad_byte_is_refused(void **state)
{
	enum { TEXT_AT = PROTO_HEADER + 2, PEER_AT = PROTO_HEADER + 4, ADDR4 = 11 };
	static const struct {
		const char *what;
		enum msg_type type;
		size_t at;
		uint8_t byte;
	} cases[] = {
		{ "pad 1", MSG_ping, 5, 1 },
		{ "pad 2", MSG_ping, 6, 0x80 },
		{ "pad 3", MSG_ping, 7, 1 },
		{ "family 0", MSG_incoming, PEER_AT, 0 },
		{ "family 5", MSG_incoming, PEER_AT, 5 },
		{ "family 6, the length of 4", MSG_incoming, PEER_AT, 6 },
		{ "a scope on IPv4", MSG_incoming, PEER_AT + 6, 1 },
		{ "newline", MSG_notice, TEXT_AT, '\n' },
		{ "escape", MSG_notice, TEXT_AT + 1, 0x1b },
		{ "zero", MSG_notice, TEXT_AT + 2, 0 },
		{ "delete", MSG_notice, TEXT_AT + 2, 0x7f },
		{ "text longer than the frame", MSG_notice, PROTO_HEADER + 1, 200 },
		{ "text longer than allowed", MSG_notice, PROTO_HEADER, 0x02 },
		{ "a peer of family 7", MSG_datagram, PROTO_HEADER, 7 },
		{ "a local address without family", MSG_connecting, PROTO_HEADER, 0 },
		{ "newline in a text behind an address", MSG_udp_opened,
			PROTO_HEADER + 4 + ADDR4 + 2, '\n' },
	};
	uint8_t frame[FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sample s = { .type = cases[i].type };
		size_t n = frame_of(&s, SAMPLE_SOME, frame);

		assert_int_equal(decode(frame, n, PROTO_AGENT), n);
		frame[cases[i].at] = cases[i].byte;
		if (decode(frame, n, PROTO_AGENT) != -EPROTO)
			fail_msg("accepted: %s", cases[i].what);
	}
}

static void an_oversize_frame_is_refused_by_its_header(void **state)
{
	static const uint32_t sizes[] = { PROTO_BODY_MAX + 1, 1u << 24, INT32_MAX, UINT32_MAX };
	uint8_t frame[PROTO_HEADER];

	(void)state;
	proto_put_header(frame, MSG_data, 1, PROTO_BODY_MAX);
	assert_int_equal(decode(frame, sizeof(frame), PROTO_CLIENT), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		proto_put_header(frame, MSG_data, 1, sizes[i]);
		assert_int_equal(decode(frame, sizeof(frame), PROTO_CLIENT), -EPROTO);
	}
}

static void what_is_too_long_is_not_encoded(void **state)
{
	static char text[PROTO_DATA_MAX + 1];
	const struct {
		struct msg m;
		int want;
	} cases[] = {
		{ { .type = MSG_notice, .notice.text = { text, 512 } }, 0 },
		{ { .type = MSG_notice, .notice.text = { text, 513 } }, -EMSGSIZE },
		{ { .type = MSG_notice, .notice.text = { text, UINT32_MAX } }, -EMSGSIZE },
		{ { .type = MSG_hello, .hello.boot_id = { text, 65 } }, -EMSGSIZE },
		{ { .type = MSG_data, .data.bytes = { text, PROTO_DATA_MAX } }, 0 },
		{ { .type = MSG_data, .data.bytes = { text, PROTO_DATA_MAX + 1 } }, -EMSGSIZE },
		{ { .type = MSG_datagram, .datagram.bytes = { text, PROTO_DATAGRAM_MAX } }, 0 },
		{ { .type = MSG_datagram, .datagram.bytes = { text, PROTO_DATAGRAM_MAX + 1 } },
			-EMSGSIZE },
		{ { .type = MSG_connect, .connect.path = { text, PROTO_PATH_MAX + 1 } },
			-EMSGSIZE },
		{ { .type = MSG_hello, .hello.about = { text, 257 } }, -EMSGSIZE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b;

		buf_init(&b, FRAME_MAX);
		assert_int_equal(proto_encode(&b, &cases[i].m), cases[i].want);
		if (cases[i].want < 0)
			assert_int_equal(buf_len(&b), 0);
		buf_done(&b);
	}
}

static void control_characters_are_replaced_when_sent(void **state)
{
	struct msg m = { .type = MSG_notice, .notice.text = span_of("a\nb\033[2J\x7f") };
	struct msg got;
	struct buf b;
	char s[32];

	(void)state;
	buf_init(&b, FRAME_MAX);
	assert_int_equal(proto_encode(&b, &m), 0);
	assert_int_equal(proto_decode(buf_head(&b), buf_len(&b), PROTO_AGENT, &got), buf_len(&b));
	assert_string_equal(proto_print(got.notice.text, s, sizeof(s)), "a?b?[2J?");
	buf_done(&b);
}

static void a_full_queue_takes_no_part_of_a_frame(void **state)
{
	struct msg ping = sample_msg(MSG_ping, SAMPLE_SOME);
	struct buf b;

	(void)state;
	buf_init(&b, PROTO_HEADER + 8 + 1);
	assert_int_equal(proto_encode(&b, &ping), 0);
	assert_int_equal(proto_encode(&b, &ping), -ENOBUFS);
	assert_int_equal(buf_len(&b), PROTO_HEADER + 8);
	buf_done(&b);
}

static void names_and_texts_print(void **state)
{
	char s[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_string_equal(proto_name(samples[i].type), samples[i].name);
	assert_string_equal(proto_print(span_of("abcdef"), s, sizeof(s)), "abc");
	assert_string_equal(proto_print(span_of("ab"), s, sizeof(s)), "ab");
	assert_string_equal(proto_print((struct span){ NULL, 0 }, s, sizeof(s)), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_survives_the_wire),
		cmocka_unit_test(a_frame_ends_where_the_next_begins),
		cmocka_unit_test(a_truncated_frame_is_incomplete),
		cmocka_unit_test(only_its_sender_may_send_it),
		cmocka_unit_test(a_body_of_another_length_is_refused),
		cmocka_unit_test(a_type_outside_the_table_is_refused),
		cmocka_unit_test(a_bad_byte_is_refused),
		cmocka_unit_test(an_oversize_frame_is_refused_by_its_header),
		cmocka_unit_test(what_is_too_long_is_not_encoded),
		cmocka_unit_test(control_characters_are_replaced_when_sent),
		cmocka_unit_test(a_full_queue_takes_no_part_of_a_frame),
		cmocka_unit_test(names_and_texts_print),
	};

	return cmocka_run_group_tests_name("proto", tests, NULL, NULL);
}
