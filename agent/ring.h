/* A ring of packets that the kernel fills (packet(7), TPACKET_V3), from all interfaces of the
 * network namespace. */
#ifndef AGENT_RING_H
#define AGENT_RING_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"

struct ring {
	int fd; /* -1: not open; readable when ring_read() has something */
	uint8_t *blocks;
	unsigned next; /* the block to be read next */
};

struct ring_packet {
	const uint8_t *data; /* from the network header on */
	size_t captured, wire;
	bool outgoing;
	bool summed; /* the checksum is right, or was left for the network card to fill in */
};

/* ring_open() - start capturing what the filter passes. 0, or -errno with a sentence in e. */
int ring_open(struct ring *r, const struct sock_filter *f, size_t n, struct err *e);
void ring_close(struct ring *r); /* also when it is not open */

/* ring_filter() - replace the filter, at once and without losing packets. 0 or -errno. */
int ring_filter(struct ring *r, const struct sock_filter *f, size_t n);

/* ring_read() - hand out the packets of one block, up to 1 MiB, and give it back to the kernel. */
void ring_read(struct ring *r, void (*packet)(void *arg, const struct ring_packet *k), void *arg);

/* ring_drops() - packets that found the ring full since this was last asked. */
unsigned ring_drops(struct ring *r);

#endif
