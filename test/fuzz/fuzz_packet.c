/* Captured packets: whatever is in them, nothing outside of what was captured is touched. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/packet.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
		uint8_t sum = 0;

		if (k.data < p || k.data + k.len > p + size - 2 || k.header > (size_t)(k.data - p))
			abort();
		for (size_t i = 0; i < k.len; i++)
			sum ^= k.data[i];
		packet_sum_ok(&k);
		if (sum == 1 && k.len == SIZE_MAX)
			abort();
	}
	free(p);
	return 0;
}
