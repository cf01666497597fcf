/* A bounded byte queue in one piece of memory, and readers and writers of big-endian integers.
 *
 * Bytes are added at the tail and taken from the head. The memory is released when the queue runs
 * empty after having been large, so that an idle connection costs nothing. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t head, tail, cap;
	size_t max; /* never holds more than this many bytes */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->tail - b->head;
}

static inline uint8_t *buf_head(struct buf *b)
{
	return b->head ? b->data + b->head : b->data; /* which may be NULL */
}

/* buf_reserve() - make room for n bytes and return where they go, or NULL: past the bound, or no
 * memory. The bytes count only after buf_commit(). The place is valid until the next call. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* buf_consume() - drop n bytes from the head; n must not exceed buf_len(). */
void buf_consume(struct buf *b, size_t n);

/* buf_put() - 0, or -ENOBUFS with nothing added. */
int buf_put(struct buf *b, const void *p, size_t n);

/* A cursor over received bytes. The first read past the end sets bad; from then on all reads give
 * zero, so that a decoder checks once, at its end. */
struct reader {
	const uint8_t *p, *end;
	bool bad;
};

uint64_t read_uint(struct reader *r, size_t width);

/* read_bytes() - n bytes in place, or NULL and bad. */
const uint8_t *read_bytes(struct reader *r, size_t n);

/* put_uint() - write the width lowest bytes of v at p, most significant first. */
void put_uint(uint8_t *p, size_t width, uint64_t v);

#endif
