#include "agent/fragments.c"

#include <stdio.h>

#include "agent_packet.h"

/* Whose fragments: what tells datagrams apart. */
static const struct {
	const char *src, *dst;
	uint32_t id;
} owners[] = {
	{ "10.0.0.2:0", "10.0.0.1:0", 7 },
	{ "10.0.0.2:0", "10.0.0.1:0", 8 },
	{ "10.0.0.3:0", "10.0.0.1:0", 7 },
	{ "10.0.0.2:0", "10.0.0.4:0", 7 },
	{ "[fd00::2]:0", "[fd00::1]:0", 7 },
	{ "[fd00::2]:0", "[fd00::1]:0", 7 + (1u << 16) },
};

static uint8_t byte_of(size_t owner, size_t at)
{
	return (uint8_t)(owner * 31 + at * 167 + (at >> 8));
}

static struct fragment make(size_t owner, size_t offset, size_t len, bool more)
{
	static uint8_t bytes[2 * PAYLOAD_MAX];
	struct fragment f = { .id = owners[owner].id, .offset = offset, .more = more, .len = len };

	assert_int_equal(addr_parse(&f.src, owners[owner].src), 0);
	assert_int_equal(addr_parse(&f.dst, owners[owner].dst), 0);
	assert_true(len <= sizeof(bytes));
	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_of(owner, offset + i);
	f.data = bytes;
	return f;
}

/* Add the fragment, and write down a datagram that it makes whole. */
static void see(
	struct fragments *t, size_t owner, size_t offset, size_t len, bool more, char *heard)
{
	struct fragment f = make(owner, offset, len, more), whole;

	if (!fragments_add(t, &f, 0, &whole))
		return;
	for (size_t i = 0; i < whole.len; i++) {
		if (whole.data[i] != byte_of(owner, i))
			fail_msg("byte %zu", i);
	}
	assert_true(addr_equal(&whole.src, &f.src) && addr_equal(&whole.dst, &f.dst));
	assert_int_equal(whole.offset, 0);
	assert_false(whole.more);
	sprintf(heard + strlen(heard), "%zu.", whole.len);
}

/* Fragments as "offset+length", the last one with a $; of the owner with the number after #, or of
 * the first. What is heard: the length of each datagram that gets whole. */
static void see_all(struct fragments *t, const char *fragments, char *heard)
{
	const char *p = fragments;

	while (*p) {
		size_t offset = strtoul(p, (char **)&p, 10), len = strtoul(p + 1, (char **)&p, 10);
		bool last = *p == '$';
		size_t owner = 0;

		p += last;
		if (*p == '#')
			owner = strtoul(p + 1, (char **)&p, 10);
		see(t, owner, offset, len, !last, heard);
		p += strspn(p, " ");
	}
}

static void fragments_become_datagrams(void **state)
{
	static const struct {
		const char *name, *fragments, *heard;
		size_t left; /* datagrams under way */
	} cases[] = {
		{ "in order", "0+16 16+8 24+5$", "29.", 0 },
		{ "backwards", "24+5$ 16+8 0+16", "29.", 0 },
		{ "the middle last", "0+16 24+5$ 16+8", "29.", 0 },
		{ "a gap", "0+16 24+5$", "", 1 },
		{ "no end", "0+16 16+8", "", 1 },
		{ "no beginning", "8+8 16+8$", "", 1 },
		{ "the last is as long as a block", "0+8 8+8$", "16.", 0 },
		{ "the last has one byte", "0+8 8+1$", "9.", 0 },
		{ "the longest", "0+65528 65528+7$", "65535.", 0 },
		{ "too long", "0+65528 65528+8$", "", 1 },
		{ "much too long", "65528+65528", "", 0 },

		{ "duplicates", "0+8 0+8 8+8 0+8 16+3$ 8+8", "19.", 1 },
		{ "the last twice", "8+3$ 8+3$ 0+8", "11.", 0 },
		{ "a part again", "0+24 8+8 24+8$", "32.", 0 },
		{ "parts again, in one", "0+8 8+8 0+16 16+8$", "24.", 0 },
		{ "the id used again", "0+8 8+8$ 0+8 8+8$", "16.16.", 0 },

		{ "an overlap behind", "0+16 8+16 24+8$", "", 1 },
		{ "an overlap ahead", "8+16 0+16 24+8$", "", 1 },
		{ "a cover", "8+8 0+24 24+8$", "", 1 },
		{ "all again after an overlap", "0+16 8+16 0+16 16+8$", "24.", 0 },
		{ "two ends", "16+8$ 24+8$ 0+16", "", 1 },
		{ "two ends, the higher first", "24+8$ 16+8$ 0+16", "", 1 },
		{ "two ends in a block", "8+5$ 8+3$ 0+8", "", 1 },
		{ "beyond the end", "8+5$ 16+8 0+8", "", 1 },
		{ "the end's block, full", "8+5$ 8+8 0+8", "", 1 },
		{ "an end before the end", "16+8 8+8$ 0+8", "", 1 },

		{ "empty", "8+0$ 0+8", "", 1 },
		{ "empty, the first", "0+0 0+8 8+8$", "16.", 0 },
		{ "not of whole blocks", "0+7 7+8$", "", 0 },
		{ "not at a block", "4+8$", "", 0 },

		{ "two ids", "0+8 0+8#1 8+8$ 8+4$#1", "16.12.", 0 },
		{ "two sources", "0+8 0+8#2 8+4$#2 8+8$", "12.16.", 0 },
		{ "two destinations", "0+8 8+4$#3 8+8$ 0+8#3", "16.12.", 0 },
		{ "IPv6", "0+8 0+8#4 8+4$#4", "12.", 1 },
		{ "IPv6 has ids of 32 bits", "0+8#4 8+4$#5", "", 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char heard[64] = "";
		struct fragments t;

		fragments_init(&t);
		see_all(&t, cases[i].fragments, heard);
		if (strcmp(heard, cases[i].heard) != 0 || t.count != cases[i].left)
			fail_msg("%s: %s, %zu left", cases[i].name, heard, t.count);
		fragments_clear(&t);
		assert_int_equal(t.count, 0);
	}
}

/* A datagram in as many parts as there can be, in any order. */
static void order_does_not_matter(void **state)
{
	static size_t order[BLOCKS(PAYLOAD_MAX)];
	uint64_t seed = 42;
	char heard[64] = "";
	struct fragments t;

	(void)state;
	fragments_init(&t);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		order[i] = i;
	for (size_t i = ARRAY_SIZE(order) - 1; i; i--) {
		size_t j = unit_random(&seed) % (i + 1), swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		bool last = order[i] == ARRAY_SIZE(order) - 1;

		assert_string_equal(heard, "");
		see(&t, 0, order[i] * BLOCK, last ? PAYLOAD_MAX % BLOCK : BLOCK, !last, heard);
	}
	assert_string_equal(heard, "65535.");
	fragments_clear(&t);
}

/* The first one's time counts: what comes later does not prolong it. */
static void what_does_not_get_whole_expires(void **state)
{
	struct fragment f = make(0, 0, 8, true), whole;
	struct fragments t;

	(void)state;
	fragments_init(&t);
	assert_false(fragments_add(&t, &f, 1000, &whole));
	f = make(1, 0, 8, true);
	assert_false(fragments_add(&t, &f, 1001, &whole));
	f = make(0, 8, 8, true);
	assert_false(fragments_add(&t, &f, 1002, &whole));
	fragments_expire(&t, 999 + FRAGMENTS_NS);
	assert_int_equal(t.count, 2);
	fragments_expire(&t, 1000 + FRAGMENTS_NS);
	assert_int_equal(t.count, 1);
	f = make(1, 8, 8, false);
	assert_true(fragments_add(&t, &f, 1003, &whole));
	fragments_clear(&t);
}

static void the_oldest_makes_room(void **state)
{
	struct fragment f = make(0, 0, 8, true), whole;
	struct fragments t;

	(void)state;
	fragments_init(&t);
	for (f.id = 0; f.id < FRAGMENTS_MAX + 2; f.id++)
		assert_false(fragments_add(&t, &f, 0, &whole));
	assert_int_equal(t.count, FRAGMENTS_MAX);
	f = make(0, 8, 8, false);
	f.id = 2;
	assert_true(fragments_add(&t, &f, 0, &whole));
	f.id = 1;
	assert_false(fragments_add(&t, &f, 0, &whole));
	f.id = 2 + FRAGMENTS_MAX - 1;
	assert_true(fragments_add(&t, &f, 0, &whole));
	fragments_clear(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragments_become_datagrams),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(what_does_not_get_whole_expires),
		cmocka_unit_test(the_oldest_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
