/* A stream of frames from either side: whatever decodes must encode to the bytes it came from.
 * Input: a byte that chooses the sender, then the stream. */
#include <stdlib.h>
#include <string.h>

#include "proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encodes_to(const struct msg *m, const uint8_t *frame, size_t n)
{
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	if (proto_encode(&b, m) < 0 || buf_len(&b) != n || memcmp(buf_head(&b), frame, n) != 0)
		abort();
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proto_side from;
	struct msg m;
	int n;

	if (!size)
		return 0;
	from = data[0] % 2 ? PROTO_AGENT : PROTO_CLIENT;
	for (data++, size--; size; data += n, size -= (size_t)n) {
		n = proto_decode(data, size, from, &m);
		if (n <= 0)
			break;
		encodes_to(&m, data, (size_t)n);
	}
	return 0;
}
