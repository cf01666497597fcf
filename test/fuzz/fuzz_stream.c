/* Segments in any order, against a model: byte i of the connection has a value that its place alone
 * decides, so whatever is delivered must be just the next bytes, each once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/stream.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t first, delivered;

static uint8_t byte_at(uint32_t seq)
{
	return (uint8_t)(seq * 167 + (seq >> 8));
}

static void check(struct stream *s, const uint8_t *p, size_t n)
{
	(void)s;
	for (size_t i = 0; i < n; i++) {
		if (p[i] != byte_at(first + delivered + (uint32_t)i))
			abort();
	}
	delivered += (uint32_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream_pool pool = { .max = 4096 };
	struct stream s;
	uint8_t bytes[256];

	if (size < 4)
		return 0;
	memcpy(&first, data, sizeof(first)); /* wrap-around included */
	delivered = 0;
	stream_init(&s, first, &pool, check);
	for (data += 4, size -= 4; size >= 3; data += 3, size -= 3) {
		uint32_t seq = first + ((uint32_t)data[0] << 4 | data[1] >> 4);
		size_t n = data[2];

		for (size_t i = 0; i < n; i++)
			bytes[i] = byte_at(seq + (uint32_t)i);
		if ((data[1] & 15) == 15)
			stream_fin(&s, seq);
		else if (stream_add(&s, seq, bytes, n) < 0)
			break;
		if (s.next != first + delivered || pool.used > pool.max)
			abort();
	}
	stream_done(&s);
	if (pool.used)
		abort();
	return 0;
}
