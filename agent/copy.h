/* One mirrored connection on its way to one client: a channel that carries the client's bytes in
 * one direction, and what waits for the channel's credit. */
#ifndef AGENT_COPY_H
#define AGENT_COPY_H

#include "incoming.h"

/* A copy that falls behind by more than this is given up: 160 ms of a connection at 100 MB/s. */
#define COPY_WAITING_MAX (16u << 20)

/* The copies of one connection, and the bound that they share with all others. */
struct copies {
	struct list list;
	size_t *waiting; /* bytes waiting in all copies of the agent */
	size_t waiting_max;
	/* The last copy has left, by its client's will. */
	void (*empty)(struct copies *set);
};

/* What is said on the channel when nothing waits any more. */
enum copy_state {
	COPY_OPEN,  /* nothing: more bytes come */
	COPY_EOF,   /* eof; then the client may still end its direction, or a reset come */
	COPY_RESET, /* a reset, the copy's end */
	COPY_GAP,   /* how much is missing, and a reset, the copy's end */
	COPY_STATE_MAX,
};

/* copy_new() - open a channel to the subscriber and announce it. 0 or -errno. */
int copy_new(struct copies *set, struct loop *loop, const struct subscriber *to,
	const struct addr *peer, const struct addr *local);

/* These act on all copies of the connection. After copies_reset() and copies_gap() the set is
 * empty; its copies live on until what waits has been sent, or their clients let go. */
void copies_data(struct copies *set, const uint8_t *p, size_t n);
void copies_eof(struct copies *set);
void copies_reset(struct copies *set, int error);

/* copies_gap() - the connection goes on, but bytes of it were not seen; missing: how many, or 0
 * when that is not known. */
void copies_gap(struct copies *set, uint64_t missing);

#endif
