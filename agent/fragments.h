/* UDP datagrams put together from their IP fragments, as these were seen on the wire: in any order,
 * more than once, or not all. Pure: no clock, no I/O. */
#ifndef AGENT_FRAGMENTS_H
#define AGENT_FRAGMENTS_H

#include "list.h"
#include "packet.h"

/* Datagrams under way. Each takes the memory of the longest one, so this bounds the bytes too: 64
 * KiB and an eighth of it for each. The oldest makes room. */
#define FRAGMENTS_MAX 128

/* How long one may be under way, as in Linux (ipfrag_time, ip-sysctl). */
#define FRAGMENTS_NS 30000000000u

struct fragments {
	struct list under_way; /* the oldest first */
	size_t count;
	struct assembly *whole; /* what fragments_add() returned last */
};

void fragments_init(struct fragments *t);

/* fragments_clear() - forget what is under way; all memory is released. */
void fragments_clear(struct fragments *t);

/* fragments_add() - one fragment, seen at `now` (ns). True: it was the last one missing, and *whole
 * is the datagram's transport header and data, valid until the next call of any function here. */
bool fragments_add(
	struct fragments *t, const struct fragment *f, uint64_t now, struct fragment *whole);

/* fragments_expire() - forget what has been under way for FRAGMENTS_NS. */
void fragments_expire(struct fragments *t, uint64_t now);

#endif
