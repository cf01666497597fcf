#include "agent/stream.c"

#include <string.h>

#include "unit.h"

static struct stream_pool pool;
static char got[65536];
static size_t ngot;

static void take(__attribute__((unused)) struct stream *s, const uint8_t *p, size_t n)
{
	assert_true(n <= sizeof(got) - ngot);
	memcpy(got + ngot, p, n);
	ngot += n;
}

static void begin(struct stream *s, uint32_t first)
{
	ngot = 0;
	pool = (struct stream_pool){ .max = 64u << 20 };
	stream_init(s, first, &pool, take);
}

/* Segments "offset text", '$' at the end for a FIN, into a stream whose byte at offset n is the
 * letter that the text says; and what was delivered, what hole is left, whether it has ended. Each
 * case runs from several first sequence numbers: the wrap is where it hurts. */
static void segments_are_put_in_order(void **state)
{
	static const struct {
		const char *name;
		struct {
			int at;
			const char *text;
		} segments[8];
		const char *delivered;
		uint32_t hole;
		bool ended;
	} cases[] = {
		{ "in order", { { 0, "ab" }, { 2, "cd" }, { 4, "e$" } }, "abcde", 0, true },
		{ "reversed", { { 4, "e$" }, { 2, "cd" }, { 0, "ab" } }, "abcde", 0, true },
		{ "two holes", { { 2, "c" }, { 4, "e" } }, "", 2, false },
		{ "first hole filled", { { 2, "c" }, { 4, "e" }, { 0, "ab" } }, "abc", 1, false },
		{ "second hole first", { { 2, "c" }, { 4, "e" }, { 3, "d" }, { 0, "ab" } }, "abcde",
			0, false },
		{ "sent again", { { 0, "abc" }, { 0, "abc" }, { 1, "b" }, { 3, "d" } }, "abcd", 0,
			false },
		{ "sent again, longer", { { 0, "ab" }, { 0, "abcd" } }, "abcd", 0, false },
		{ "overlap at the front", { { 0, "abc" }, { 2, "cde" } }, "abcde", 0, false },
		{ "overlap with a piece", { { 3, "def" }, { 1, "bcde" }, { 0, "a" } }, "abcdef", 0,
			false },
		{ "over a piece and beyond", { { 2, "c" }, { 1, "bcde" }, { 0, "a" } }, "abcde", 0,
			false },
		{ "over several pieces",
			{ { 2, "c" }, { 4, "e" }, { 6, "g" }, { 1, "bcdefgh" }, { 0, "a" } },
			"abcdefgh", 0, false },
		{ "delivery over pieces", { { 2, "c" }, { 4, "e" }, { 0, "abcdef" } }, "abcdef", 0,
			false },
		{ "the first bytes stay", { { 2, "c" }, { 1, "XXX" }, { 0, "a" } }, "aXcX", 0,
			false },
		{ "fin before data", { { 3, "$" }, { 0, "ab" } }, "ab", 1, false },
		{ "fin alone", { { 0, "$" } }, "", 0, true },
		{ "fin sent again", { { 0, "a$" }, { 0, "a$" }, { 1, "$" } }, "a", 0, true },
		{ "nothing after the fin", { { 0, "a$" }, { 1, "bc" }, { 0, "abc" } }, "a", 0,
			true },
		{ "a piece cut by the fin", { { 2, "$" }, { 1, "bcd" }, { 0, "a" } }, "ab", 0,
			true },
		{ "an early fin is forged", { { 0, "abc" }, { 1, "$" }, { 3, "d" } }, "abcd", 0,
			false },
		{ "old bytes", { { 0, "abc" }, { -3, "xyz" }, { -2, "xyz" } }, "abc", 0, false },
		{ "old bytes, and new", { { -2, "xyabc" } }, "abc", 0, false },
		{ "a keep-alive", { { 0, "ab" }, { 1, "?" }, { 2, "c" } }, "abc", 0, false },
		{ "far outside of the window", { { 0, "a" }, { STREAM_AHEAD_MAX + 2, "x" } }, "a",
			0, false },
	};
	static const uint32_t firsts[] = { 0, 1, 0x7ffffffe, 0x80000000, UINT32_MAX - 2,
		UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(firsts); i++) {
		__auto_type c = &cases[i / ARRAY_SIZE(firsts)];
		uint32_t first = firsts[i % ARRAY_SIZE(firsts)];
		struct stream s;

		begin(&s, first);
		for (size_t j = 0; c->segments[j].text; j++) {
			const char *text = c->segments[j].text;
			uint32_t seq = first + (uint32_t)c->segments[j].at;
			size_t n = strcspn(text, "$");

			assert_int_equal(stream_add(&s, seq, (const uint8_t *)text, n), 0);
			if (text[n])
				stream_fin(&s, seq + (uint32_t)n);
		}
		if (ngot != strlen(c->delivered) || memcmp(got, c->delivered, ngot) != 0 ||
			stream_hole(&s) != c->hole || stream_ended(&s) != c->ended)
			fail_msg("%s from %#x: \"%.*s\", hole %u, ended %d", c->name, first,
				(int)ngot, got, stream_hole(&s), stream_ended(&s));
		stream_done(&s);
		assert_int_equal(pool.used, 0);
	}
}

/* Every byte of a stream cut, shuffled, repeated and overlapping at random, over the wrap. */
static void any_order_gives_the_same_bytes(void **state)
{
	enum { LEN = 20000, SEGMENTS = 600 };
	static uint8_t text[LEN];
	uint64_t rnd = 88172645463325252u;

	(void)state;
	for (size_t i = 0; i < LEN; i++)
		text[i] = (uint8_t)unit_random(&rnd);
	for (int round = 0; round < 50; round++) {
		uint32_t first = UINT32_MAX - (uint32_t)(unit_random(&rnd) % LEN);
		struct stream s;

		begin(&s, first);
		for (int i = 0; i < SEGMENTS; i++) {
			uint32_t at = (uint32_t)(unit_random(&rnd) % LEN);
			size_t n = MIN((size_t)(unit_random(&rnd) % 200), (size_t)(LEN - at));

			assert_int_equal(stream_add(&s, first + at, text + at, n), 0);
		}
		for (uint32_t at = 0; at < LEN; at += 100)
			assert_int_equal(stream_add(&s, first + at, text + at, 100), 0);
		assert_int_equal(ngot, LEN);
		assert_memory_equal(got, text, LEN);
		assert_int_equal(pool.used, 0);
		stream_done(&s);
	}
}

static void what_is_kept_is_bounded(void **state)
{
	static uint8_t block[65536];
	struct stream s, other;
	uint32_t at = 1;
	int r;

	(void)state;
	begin(&s, 0);
	while ((r = stream_add(&s, at, block, sizeof(block))) == 0)
		at += sizeof(block);
	assert_int_equal(r, -ENOBUFS);
	assert_true(pool.used <= STREAM_KEPT_MAX && pool.used > STREAM_KEPT_MAX / 2);
	stream_done(&s);
	assert_int_equal(pool.used, 0);

	/* Single bytes with holes between them cost more than their size. */
	begin(&s, 0);
	for (at = 1; stream_add(&s, at, block, 1) == 0; at += 2)
		;
	assert_int_equal(s.npieces, STREAM_PIECES_MAX);

	/* The pool is shared. */
	pool.max = pool.used + 1000;
	stream_init(&other, 0, &pool, take);
	assert_int_equal(stream_add(&other, 1, block, 2000), -ENOBUFS);
	stream_done(&other);
	stream_done(&s);
	assert_int_equal(pool.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_put_in_order),
		cmocka_unit_test(any_order_gives_the_same_bytes),
		cmocka_unit_test(what_is_kept_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
