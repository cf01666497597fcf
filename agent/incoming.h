/* What steal and mirror share: whom a new connection is for, and how the client learns of it. */
#ifndef AGENT_INCOMING_H
#define AGENT_INCOMING_H

#include "mux.h"

/* One subscription of one client. */
struct subscriber {
	struct mux *mux;
	uint32_t id; /* the subscription's, chosen by the client */
};

/* port_key() - a family (PROTO_IPV4, PROTO_IPV6) and a port as the key of a table. */
static inline uint64_t port_key(enum proto_family family, uint16_t port)
{
	return (uint64_t)family << 16 | port;
}

/* addr_key() - the same of an address that is not v4-mapped. */
static inline uint64_t addr_key(const struct addr *a)
{
	return port_key(a->sa.sa_family == AF_INET6 ? PROTO_IPV6 : PROTO_IPV4, addr_port(a));
}

/* incoming_channel() - a channel id of the agent's (without PROTO_CLIENT_CHANNEL) that was not used
 * before on any link of this agent, until 2^31 connections have come. */
uint32_t incoming_channel(void);

/* incoming_announce() - tell the subscriber that the channel is a connection from peer to local. */
void incoming_announce(const struct subscriber *to, uint32_t channel, const struct addr *peer,
	const struct addr *local);

#endif
