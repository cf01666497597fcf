/* Packets of a SOCK_SEQPACKET socket on their way through a channel: fragments of `packet`
 * messages there, whole again at the socket. */
#ifndef COMMON_PACKETS_H
#define COMMON_PACKETS_H

#include <sys/types.h>

#include "mux.h"

/* The largest packet: what a unix socket with the default SO_SNDBUF (net.core.wmem_default,
 * 212,992) sends, 32 bytes less than that. */
#define PACKETS_MAX (212992 - 32)

struct packets {
	struct buf rest;    /* of the packet that is being sent by the channel */
	bool open;          /* the last packet in the queue is not whole yet */
	uint32_t len, cost; /* of that packet: its bytes so far, and what they took of the credit */
};

void packets_init(struct packets *p);
void packets_done(struct packets *p);

/* packets_prepare() - make the socket tell an empty packet from the end of file. 0 or -errno. */
int packets_prepare(int fd);

/* packets_may_read() - the channel takes another packet, or a part of it. When it does not,
 * writable() of the channel will be called once it does. */
bool packets_may_read(const struct packets *p, struct channel *c);

/* packets_read() - read one packet, send by the channel what that takes of it, and keep the rest.
 * 1, 0 at the end of file, -errno; -EMSGSIZE: a packet longer than PACKETS_MAX. When it may. */
int packets_read(struct packets *p, int fd, struct channel *c);

/* packets_send_rest() - send what the channel takes of what was kept. */
void packets_send_rest(struct packets *p, struct channel *c);

/* packets_put() - add a fragment that came by the channel to the queue. 0; -EMSGSIZE; -ENOBUFS. */
int packets_put(struct packets *p, struct buf *queue, const struct msg_packet *m);

/* packets_drop() - forget the queue; a fragment that follows begins a packet. */
void packets_drop(struct packets *p, struct buf *queue);

/* packets_ready() - there is a whole packet in the queue. */
bool packets_ready(const struct packets *p, const struct buf *queue);

/* packets_write() - write whole packets of the queue as long as the socket takes them. How much
 * credit they give back, or -errno. */
ssize_t packets_write(const struct packets *p, struct buf *queue, int fd);

#endif
