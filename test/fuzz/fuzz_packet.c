/* Captured packets: whatever is in them, nothing outside of what was captured is touched. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/packet.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is found lies in the packet. */
static void touch(const uint8_t *p, size_t size, const uint8_t *data, size_t len)
{
	uint8_t sum = 0;

	if (data < p || data + len > p + size)
		abort();
	for (size_t i = 0; i < len; i++)
		sum ^= data[i];
	if (sum == 1 && len == SIZE_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fragment f;
	struct packet k;
	size_t wire;
	uint8_t *p;

	if (size < 2)
		return 0;
	/* How much longer the packet was on the wire than what was captured. */
	wire = size - 2 + ((size_t)data[0] << 8 | data[1]);
	p = malloc(size - 2 ? size - 2 : 1); /* of its own, so that a byte beyond is seen */
	memcpy(p, data + 2, size - 2);
	if (packet_parse(&k, p, size - 2, wire) == 0) {
		if (k.header > (size_t)(k.data - p))
			abort();
		touch(p, size - 2, k.data, k.len);
		packet_sum_ok(&k);
	}
	if (packet_fragment(&f, p, size - 2) == 0) {
		if (f.offset + f.len > IP_MAXPACKET || !(f.offset || f.more))
			abort();
		touch(p, size - 2, f.data, f.len);
	}
	free(p);
	return 0;
}
