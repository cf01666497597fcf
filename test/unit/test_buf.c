#include <errno.h>
#include <string.h>

#include "buf.h"
#include "unit.h"

#define BOUND 10000u

static void bytes_leave_in_the_order_they_came(void **state)
{
	uint8_t in = 0, out = 0;
	struct buf b;

	(void)state;
	buf_init(&b, BOUND);
	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 7; i++, in++)
			assert_int_equal(buf_put(&b, &in, 1), 0);
		for (int i = 0; i < 5 + (round % 5 == 0) * 10 && buf_len(&b); i++, out++) {
			assert_int_equal(*buf_head(&b), out);
			buf_consume(&b, 1);
		}
	}
	buf_done(&b);
}

static void the_bound_holds(void **state)
{
	static const uint8_t zeros[BOUND];
	static const struct {
		size_t held, n;
		int want;
	} cases[] = {
		{ 0, 0, 0 },
		{ 0, BOUND, 0 },
		{ 0, BOUND + 1, -ENOBUFS },
		{ 1, BOUND - 1, 0 },
		{ 1, BOUND, -ENOBUFS },
		{ BOUND, 0, 0 },
		{ BOUND, 1, -ENOBUFS },
		{ 1, SIZE_MAX, -ENOBUFS },
		{ BOUND, SIZE_MAX, -ENOBUFS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b;

		buf_init(&b, BOUND);
		assert_int_equal(buf_put(&b, zeros, cases[i].held), 0);
		if (cases[i].n <= BOUND)
			assert_int_equal(buf_put(&b, zeros, cases[i].n), cases[i].want);
		else
			assert_null(buf_reserve(&b, cases[i].n));
		assert_int_equal(buf_len(&b), cases[i].held + (cases[i].want ? 0 : cases[i].n));
		buf_done(&b);
	}
}

static void what_is_reserved_counts_when_committed(void **state)
{
	struct buf b;
	uint8_t *p;

	(void)state;
	buf_init(&b, BOUND);
	p = buf_reserve(&b, 100);
	memcpy(p, "abc", 3);
	assert_int_equal(buf_len(&b), 0);
	buf_commit(&b, 3);
	assert_int_equal(buf_len(&b), 3);
	assert_memory_equal(buf_head(&b), "abc", 3);
	buf_done(&b);
}

static void an_empty_queue_gives_its_memory_back(void **state)
{
	static const uint8_t zeros[BOUND];
	struct buf b;

	(void)state;
	buf_init(&b, BOUND);
	assert_int_equal(buf_put(&b, zeros, BOUND), 0);
	buf_consume(&b, BOUND);
	assert_null(b.data);
	assert_int_equal(b.max, BOUND);
	assert_int_equal(buf_put(&b, zeros, 1), 0);
	buf_done(&b);
	buf_done(&b);
}

/* Any order of operations against an array that only grows. */
static void random_operations_agree_with_a_model(void **state)
{
	static uint8_t model[1 << 20];
	size_t first = 0, last = 0;
	uint64_t seed = 42;
	struct buf b;

	(void)state;
	buf_init(&b, BOUND);
	while (last < sizeof(model) - 2 * BOUND) {
		size_t n = unit_random(&seed) % (unit_random(&seed) % 8 ? 300 : BOUND);

		if (unit_random(&seed) % 2) {
			for (size_t i = 0; i < n; i++)
				model[last + i] = (uint8_t)unit_random(&seed);
			if (buf_put(&b, model + last, n) == 0)
				last += n;
			else
				assert_true(last - first + n > BOUND);
		} else {
			n = MIN(n, last - first);
			buf_consume(&b, n);
			first += n;
		}
		assert_int_equal(buf_len(&b), last - first);
		if (last > first)
			assert_memory_equal(buf_head(&b), model + first, last - first);
		assert_true(b.cap <= 4 * BOUND);
	}
	buf_done(&b);
}

static void integers_are_big_endian(void **state)
{
	static const struct {
		size_t width;
		uint64_t v;
		uint8_t bytes[8];
	} cases[] = {
		{ 1, 0xfe, { 0xfe } },
		{ 2, 0x0102, { 1, 2 } },
		{ 3, 0x010203, { 1, 2, 3 } },
		{ 4, 0xff020304, { 0xff, 2, 3, 4 } },
		{ 8, 0x8182838485868788, { 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reader r = { cases[i].bytes, cases[i].bytes + cases[i].width, false };
		uint8_t p[8] = { 0 };

		put_uint(p, cases[i].width, cases[i].v);
		assert_memory_equal(p, cases[i].bytes, cases[i].width);
		assert_true(read_uint(&r, cases[i].width) == cases[i].v);
		assert_false(r.bad);
		assert_ptr_equal(r.p, r.end);
	}
}

static void a_reader_past_its_end_stays_bad(void **state)
{
	static const uint8_t bytes[4] = { 1, 2, 3, 4 };
	struct reader r = { bytes, bytes + sizeof(bytes), false };

	(void)state;
	assert_int_equal(read_uint(&r, 2), 0x0102);
	assert_int_equal(read_uint(&r, 4), 0);
	assert_true(r.bad);
	assert_int_equal(read_uint(&r, 1), 0);
	assert_null(read_bytes(&r, 0));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_leave_in_the_order_they_came),
		cmocka_unit_test(the_bound_holds),
		cmocka_unit_test(what_is_reserved_counts_when_committed),
		cmocka_unit_test(an_empty_queue_gives_its_memory_back),
		cmocka_unit_test(random_operations_agree_with_a_model),
		cmocka_unit_test(integers_are_big_endian),
		cmocka_unit_test(a_reader_past_its_end_stays_bad),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
