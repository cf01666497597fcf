/* Fragments in any order, against a model: byte i of a datagram has a value that its place and its
 * owner decide, so whatever gets whole must have just these bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/fragments.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t byte_at(uint32_t id, size_t at)
{
	return (uint8_t)(id * 31 + at * 167 + (at >> 8));
}

static void check(const struct fragment *whole)
{
	if (whole->len > PAYLOAD_MAX || whole->offset || whole->more)
		abort();
	for (size_t i = 0; i < whole->len; i++) {
		if (whole->data[i] != byte_at(whole->id, i))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[256 * 4];
	struct fragment f = { .src = addr_v4(1, 0), .dst = addr_v4(2, 0), .data = bytes }, whole;
	struct fragments t;
	uint64_t now = 0;

	fragments_init(&t);
	/* Each in five bytes: id, offset, length, and what goes on between two. */
	for (; size >= 5; data += 5, size -= 5) {
		f.id = data[0];
		f.offset = (size_t)data[1] << 8 | data[2];
		f.len = data[3] * 4u;
		f.more = data[4] & 1;
		for (size_t i = 0; i < f.len; i++)
			bytes[i] = byte_at(f.id, f.offset + i);
		if (fragments_add(&t, &f, now, &whole))
			check(&whole);
		if (t.count > FRAGMENTS_MAX)
			abort();
		now += (uint64_t)(data[4] >> 1) * (FRAGMENTS_NS / 1024);
		fragments_expire(&t, now);
	}
	fragments_clear(&t);
	if (t.count)
		abort();
	return 0;
}
