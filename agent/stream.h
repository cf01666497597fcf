/* One direction of a TCP connection, put together from segments as they were seen on the wire: in
 * any order, overlapping, more than once, or not at all. Pure: no clock, no I/O.
 *
 * Bytes are delivered in order, each once. What lies beyond a hole is kept, within bounds; how long
 * a hole may stay is the caller's business. */
#ifndef AGENT_STREAM_H
#define AGENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "list.h"

/* Bounds of what one stream keeps beyond its first hole. */
#define STREAM_KEPT_MAX   (4u << 20)
#define STREAM_PIECES_MAX 256

/* A segment further ahead than any window (RFC 7323 2.3) is not of this connection. */
#define STREAM_AHEAD_MAX (1 << 30)

/* What a set of streams may keep together. */
struct stream_pool {
	size_t used, max;
};

struct stream {
	uint32_t next; /* the sequence number of the next byte to deliver */
	uint32_t end;  /* of the byte after the last, if has_end */
	bool has_end;
	struct list pieces; /* beyond `next`, by sequence number; they do not overlap */
	unsigned npieces;
	size_t kept; /* what this stream has taken from the pool */
	struct stream_pool *pool;
	/* Called inside stream_add(); p is valid during the call. */
	void (*deliver)(struct stream *s, const uint8_t *p, size_t n);
};

void stream_init(struct stream *s, uint32_t first, struct stream_pool *pool,
	void (*deliver)(struct stream *s, const uint8_t *p, size_t n));
void stream_done(struct stream *s);

/* stream_add() - bytes of a segment. 0; -ENOBUFS when a bound of what can be kept is passed, or
 * -ENOMEM: then the stream has lost them. */
int stream_add(struct stream *s, uint32_t seq, const uint8_t *p, size_t n);

/* stream_fin() - a FIN was seen: the stream has no byte at seq or after it. */
void stream_fin(struct stream *s, uint32_t seq);

/* stream_ended() - every byte up to the FIN has been delivered. */
bool stream_ended(const struct stream *s);

/* stream_hole() - how many bytes are missing before the next one that was seen; 0: none. */
uint32_t stream_hole(const struct stream *s);

#endif
