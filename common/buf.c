#include "buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUF_MIN  256
#define BUF_KEEP 4096 /* an empty queue gives back memory beyond this */

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b), cap;
	uint8_t *data;

	if (n > b->max || len > b->max - n)
		return NULL;
	if (b->data && b->cap - b->tail >= n)
		return b->data + b->tail;
	/* Moving costs at most one copy per byte as long as at least half of the space is free. */
	if (b->data && b->cap >= len + n && b->head >= b->cap / 2) {
		memmove(b->data, b->data + b->head, len);
		b->head = 0;
		b->tail = len;
		return b->data + len;
	}
	for (cap = b->cap ? b->cap : BUF_MIN; cap < len + n || cap - len < cap / 4; cap *= 2)
		;
	data = malloc(cap);
	if (!data)
		return NULL;
	if (len)
		memcpy(data, b->data + b->head, len);
	free(b->data);
	b->data = data;
	b->cap = cap;
	b->head = 0;
	b->tail = len;
	return b->data + len;
}

void buf_commit(struct buf *b, size_t n)
{
	b->tail += n;
}

void buf_consume(struct buf *b, size_t n)
{
	b->head += n;
	if (b->head < b->tail)
		return;
	b->head = b->tail = 0;
	if (b->cap > BUF_KEEP)
		buf_done(b);
}

int buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to = buf_reserve(b, n);

	if (!to)
		return -ENOBUFS;
	if (n)
		memcpy(to, p, n);
	buf_commit(b, n);
	return 0;
}

const uint8_t *read_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || (size_t)(r->end - p) < n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

uint64_t read_uint(struct reader *r, size_t width)
{
	const uint8_t *p = read_bytes(r, width);
	uint64_t v = 0;

	for (size_t i = 0; p && i < width; i++)
		v = v << 8 | p[i];
	return v;
}

void put_uint(uint8_t *p, size_t width, uint64_t v)
{
	while (width--) {
		p[width] = (uint8_t)v;
		v >>= 8;
	}
}
