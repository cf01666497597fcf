#include "stream.h"

#include <errno.h>
#include <stdlib.h>

#include "buf.h"

/* Contiguous bytes that wait for a hole before them to be filled. */
struct piece {
	struct list link;
	uint32_t seq;
	struct buf bytes;
};

/* Sequence numbers wrap: all comparisons are made on differences. */
static int32_t distance(uint32_t from, uint32_t to)
{
	return (int32_t)(to - from);
}

static uint32_t piece_end(const struct piece *q)
{
	return q->seq + (uint32_t)buf_len(&q->bytes);
}

static struct piece *piece_of(struct list *l)
{
	return list_entry(l, struct piece, link);
}

void stream_init(struct stream *s, uint32_t first, struct stream_pool *pool,
	void (*deliver)(struct stream *s, const uint8_t *p, size_t n))
{
	*s = (struct stream){ .next = first, .pool = pool, .deliver = deliver };
	list_init(&s->pieces);
}

/* Account for memory; false when a bound would be passed. */
static bool charge(struct stream *s, size_t n)
{
	if (n > STREAM_KEPT_MAX - s->kept || n > s->pool->max - s->pool->used)
		return false;
	s->kept += n;
	s->pool->used += n;
	return true;
}

static void uncharge(struct stream *s, size_t n)
{
	s->kept -= n;
	s->pool->used -= n;
}

static void piece_drop(struct stream *s, struct piece *q)
{
	uncharge(s, sizeof(*q) + buf_len(&q->bytes));
	list_del(&q->link);
	s->npieces--;
	buf_done(&q->bytes);
	free(q);
}

void stream_done(struct stream *s)
{
	while (!list_empty(&s->pieces))
		piece_drop(s, piece_of(s->pieces.next));
}

static struct piece *piece_new(struct stream *s, struct list *before, uint32_t seq)
{
	struct piece *q;

	if (s->npieces >= STREAM_PIECES_MAX || !charge(s, sizeof(*q)))
		return NULL;
	q = malloc(sizeof(*q));
	if (!q) {
		uncharge(s, sizeof(*q));
		return NULL;
	}
	q->seq = seq;
	buf_init(&q->bytes, STREAM_KEPT_MAX);
	list_add_before(before, &q->link);
	s->npieces++;
	return q;
}

/* Keep bytes that no piece has, between the piece at `before` and the one ahead of it. */
static int insert(struct stream *s, struct list *before, uint32_t seq, const uint8_t *p, size_t n)
{
	struct list *prev = before->prev;
	struct piece *q = prev == &s->pieces ? NULL : piece_of(prev);

	if (!q || piece_end(q) != seq)
		q = piece_new(s, before, seq);
	if (!q || !charge(s, n))
		return -ENOBUFS;
	if (buf_put(&q->bytes, p, n) < 0) {
		uncharge(s, n);
		return -ENOMEM;
	}
	return 0;
}

/* Keep what is new of bytes that lie beyond a hole. Of bytes seen twice the first stay. */
static int keep(struct stream *s, uint32_t seq, const uint8_t *p, size_t n)
{
	struct list *pos;

	for (pos = s->pieces.next; n && pos != &s->pieces; pos = pos->next) {
		const struct piece *q = piece_of(pos);
		int32_t before = distance(seq, q->seq), overlap;
		size_t part = before > 0 ? MIN(n, (size_t)before) : 0;

		if (part) {
			int r = insert(s, pos, seq, p, part);

			if (r < 0)
				return r;
		}
		overlap = distance(seq + (uint32_t)part, piece_end(q));
		if (overlap > 0)
			part += MIN(n - part, (size_t)overlap);
		seq += (uint32_t)part;
		p += part;
		n -= part;
	}
	return n ? insert(s, pos, seq, p, n) : 0;
}

/* Deliver the pieces that the last bytes have reached. */
static void deliver_pieces(struct stream *s)
{
	while (!list_empty(&s->pieces)) {
		struct piece *q = piece_of(s->pieces.next);
		int32_t had = distance(q->seq, s->next);
		size_t len = buf_len(&q->bytes);

		if (had < 0)
			return;
		if ((size_t)had < len) {
			s->next += (uint32_t)(len - (size_t)had);
			s->deliver(s, buf_head(&q->bytes) + had, len - (size_t)had);
		}
		piece_drop(s, q);
	}
}

int stream_add(struct stream *s, uint32_t seq, const uint8_t *p, size_t n)
{
	int32_t ahead = distance(s->next, seq);

	if (ahead > STREAM_AHEAD_MAX)
		return 0;
	if (s->has_end)
		n = MIN(n, (size_t)(distance(seq, s->end) > 0 ? distance(seq, s->end) : 0));
	if (ahead > 0)
		return n ? keep(s, seq, p, n) : 0;
	if ((int64_t)n <= -(int64_t)ahead)
		return 0;
	p -= ahead;
	n -= (size_t) - (int64_t)ahead;
	s->next += (uint32_t)n;
	s->deliver(s, p, n);
	deliver_pieces(s);
	return 0;
}

void stream_fin(struct stream *s, uint32_t seq)
{
	int32_t ahead = distance(s->next, seq);

	if (s->has_end || ahead < 0 || ahead > STREAM_AHEAD_MAX)
		return;
	s->has_end = true;
	s->end = seq;
}

bool stream_ended(const struct stream *s)
{
	return s->has_end && distance(s->next, s->end) <= 0;
}

uint32_t stream_hole(const struct stream *s)
{
	if (!list_empty(&s->pieces))
		return piece_of(s->pieces.next)->seq - s->next;
	return s->has_end && !stream_ended(s) ? s->end - s->next : 0;
}
