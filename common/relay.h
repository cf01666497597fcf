/* A relay carries bytes both ways between one stream socket and one channel, with half-close in
 * each direction, resets, and credit for delivered bytes only; or packets, between a SOCK_SEQPACKET
 * socket and a channel. Both programs have one per connection. */
#ifndef COMMON_RELAY_H
#define COMMON_RELAY_H

#include "packets.h"

struct relay {
	struct channel ch;
	struct loop *loop;
	struct watch watch;
	struct buf pending; /* came by the channel, not yet written to the socket */
	struct packets packets;
	bool seqpacket;    /* set before relay_start(): the socket is SOCK_SEQPACKET */
	bool connecting;   /* connect(2) of the socket is under way, or there is no socket yet */
	bool drop_replies; /* what the socket sends is read and forgotten (a mirrored connection) */
	bool read_over;    /* the socket has sent its last byte */
	bool write_over;   /* we have shut our side of the socket */
	int failed;        /* errno: the socket has failed, what it had received is passed on */
	void (*over)(struct relay *r, int error);
	/* The outcome of connect(2): 0, or the errno with which the relay ends; then the channel is
	 * over without a reset, and over() follows. NULL: the channel is reset. Set before
	 * relay_start(). */
	void (*connected)(struct relay *r, int error);
	/* Sees what the channel brings before the socket does; may be NULL. Set before
	 * relay_start(). */
	void (*tap)(struct relay *r, const uint8_t *p, size_t n);
	/* Messages about the channel that are not the relay's; may be NULL. Set before
	 * relay_start(). */
	void (*message)(struct relay *r, const struct msg *m);
};

/* A stream that had come to its end when the link was lost is still delivered whole; what ends
 * later is reset. */

/* relay_start() - join the socket fd (non-blocking) with the channel id. The relay owns fd, also
 * when it fails; then the channel is not open, and what the peer is told is up to the caller. With
 * fd -1 the socket comes later; until then the relay keeps what the channel brings.
 *
 * over() is called once when both directions have ended in order (error 0), or when either side was
 * reset or lost (error: errno); the socket is closed by then, and the relay's memory is the owner's
 * to release with loop_defer(). 0 or -errno; after an error over() is not called. */
int relay_start(struct relay *r, struct loop *loop, struct mux *mux, uint32_t id, int fd,
	bool connecting, void (*over)(struct relay *r, int error));

/* relay_connect() - the socket of a relay that has none yet, connected or connecting. The relay
 * owns fd, also when it fails; then it has none still. 0 or -errno. */
int relay_connect(struct relay *r, int fd);

/* relay_refuse() - the connection cannot be had: connected() and over() are called. */
void relay_refuse(struct relay *r, int error);

/* relay_abort() - reset both sides; over() is called. */
void relay_abort(struct relay *r, int error);

#endif
