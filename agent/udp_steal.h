/* A stolen UDP port: what is sent to it in the target comes to a socket of ours, and our answers
 * leave from it. */
#ifndef AGENT_UDP_STEAL_H
#define AGENT_UDP_STEAL_H

#include "steal.h"
#include "udp_peers.h"

struct udp_steal;

/* udp_steal_open() - take the port of `bind` over, for both families if the socket's family is
 * AF_INET6 and bind is a wildcard. *fd: the socket that receives; the caller's. 0, or -errno with a
 * sentence in e. */
int udp_steal_open(struct udp_steal **out, struct steal *s, sa_family_t family,
	const struct addr *bind, int *fd, struct err *e);

/* udp_steal_close() - give the port back; before its fd is closed. NULL is fine. */
void udp_steal_close(struct udp_steal *u);

/* udp_steal_receive() - one datagram for the port; its length, or -errno; -ENOMSG: one that was not
 * for the port. *peer is not v4-mapped. */
ssize_t udp_steal_receive(struct udp_steal *u, int fd, void *bytes, size_t n, struct addr *peer);

/* udp_steal_send() - from the port, and from the address that the peer has sent to; 0 or -errno. */
int udp_steal_send(const struct udp_steal *u, const struct addr *to, struct span s);

/* udp_steal_source() - the address and port that a datagram to that peer leaves from. 0 or -errno.
 */
int udp_steal_source(const struct udp_steal *u, const struct addr *to, struct addr *from);

#endif
