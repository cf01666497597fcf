/* The last peers of a UDP port, and the address of ours that each has sent to. */
#ifndef AGENT_UDP_PEERS_H
#define AGENT_UDP_PEERS_H

#include "addr.h"
#include "htab.h"
#include "list.h"

/* The peer that has been silent longest goes when there would be more. */
#define UDP_PEERS_MAX 4096

struct udp_peers {
	struct htab by_addr;
	struct list age; /* the longest silent first */
	uint64_t seed;
};

void udp_peers_init(struct udp_peers *p);
void udp_peers_done(struct udp_peers *p);

/* udp_peers_note() - a datagram came from peer to local. Without memory it is not remembered. */
void udp_peers_note(struct udp_peers *p, const struct addr *peer, const struct addr *local);

/* udp_peers_find() - what the peer has sent to, or NULL. Valid until the next note. */
const struct addr *udp_peers_find(const struct udp_peers *p, const struct addr *peer);

#endif
