/* Mirrored ports: copies of what clients send to the pod, which is not touched itself. */
#ifndef AGENT_MIRROR_H
#define AGENT_MIRROR_H

#include "fragments.h"
#include "incoming.h"
#include "log.h"
#include "ring.h"
#include "stream.h"

struct mirror {
	struct loop *loop;
	struct ring ring; /* open while a port is mirrored */
	struct watch watch;
	struct timer tick;
	struct deferred refresh; /* a port was dropped: set the filter anew, or close the ring */
	struct htab ports;       /* of struct mirrored, by port_key() */
	struct htab udp;         /* of struct mirror_udp, by port_key() */
	struct htab flows;       /* of struct flow, by a hash of both addresses */
	struct list half_open;   /* flows, the oldest first */
	struct list open;        /* flows, the longest silent first */
	struct list holed;       /* flows with a hole, the oldest hole first */
	struct stream_pool kept;
	struct fragments fragments;
	size_t waiting; /* bytes that wait for credit, in all copies */
	uint64_t seed;  /* of the hash: nobody outside can choose addresses that collide */
};

/* One subscription to a port; embedded in it. */
struct mirror_port {
	struct list link;
	struct mirrored *port;
	struct subscriber to;
};

/* A UDP port, of which copies of datagrams are handed out; embedded in who wants them. */
struct mirror_udp {
	struct hnode node;
	enum proto_family family;
	uint16_t port;
	void *owner; /* for datagram() */
	void (*datagram)(void *owner, const struct addr *peer, const struct addr *local,
		const uint8_t *bytes, size_t n);
};

void mirror_init(struct mirror *m, struct loop *loop);

/* mirror_done() - when no subscription and no copy is left. */
void mirror_done(struct mirror *m);

/* mirror_add() - send copies of the port's new connections to the subscriber. 0, or -errno with a
 * sentence in e. */
int mirror_add(struct mirror *m, struct mirror_port *p, const struct subscriber *to,
	enum proto_family family, uint16_t port, struct err *e);

/* mirror_udp_add() - call datagram() for each datagram that comes to the port; it must not add or
 * delete any. All of p but the node is set. 0, or -errno with a sentence in e. */
int mirror_udp_add(struct mirror *m, struct mirror_udp *p, struct err *e);
void mirror_udp_del(struct mirror *m, struct mirror_udp *p);

/* mirror_del() - no more new connections. Those that are being copied live on. */
void mirror_del(struct mirror *m, struct mirror_port *p);

#endif
