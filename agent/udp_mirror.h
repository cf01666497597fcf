/* A mirrored UDP port: copies of what is sent to it in the target, and whom no answer may go to. */
#ifndef AGENT_UDP_MIRROR_H
#define AGENT_UDP_MIRROR_H

#include "mirror.h"
#include "udp_peers.h"

struct udp_mirror {
	struct mirror *mirror;      /* NULL: not open */
	struct mirror_udp ports[2]; /* of each family */
	size_t nports;
	struct udp_peers peers;
	void (*datagram)(struct udp_mirror *u, const struct addr *peer, const uint8_t *p, size_t n);
};

/* udp_mirror_open() - copy the port of `bind`, for both families if the socket's family is AF_INET6
 * and bind is a wildcard; u->datagram is set. 0, or -errno with a sentence in e. */
int udp_mirror_open(struct udp_mirror *u, struct mirror *m, sa_family_t family,
	const struct addr *bind, struct err *e);

/* udp_mirror_close() - also when it is not open. */
void udp_mirror_close(struct udp_mirror *u);

/* udp_mirror_has() - that peer has sent something to the pod, which answers it itself. */
bool udp_mirror_has(const struct udp_mirror *u, const struct addr *peer);

#endif
