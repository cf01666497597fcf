/* UDP sockets of the guest whose datagrams leave from the target, by cookie. */
#ifndef TRACER_DATAGRAM_H
#define TRACER_DATAGRAM_H

#include "addr.h"
#include "htab.h"
#include "list.h"
#include "loop.h"

struct call;
struct tracer;

struct datagram_table {
	struct tracer *tracer;
	struct htab by_cookie; /* empty: no socket of the guest is relayed */
};

void datagram_init(struct datagram_table *t, struct tracer *tr);
void datagram_done(struct datagram_table *t);

/* datagram_bind(), datagram_connect() - bind(2) and connect(2) of a UDP socket, of which fd is a
 * duplicate (still the caller's): the call is ended or parked. to may be AF_UNSPEC. */
void datagram_bind(struct call *c, int fd, const struct addr *asked);
void datagram_connect(struct call *c, int fd, const struct addr *to);

/* datagram_addresses() - fd is a relayed socket: what the guest believes its address and its
 * peer's to be. Either may be NULL. False: the kernel knows better. */
bool datagram_addresses(
	const struct datagram_table *t, int fd, struct addr *local, struct addr *peer);

/* datagram_is_own() - the guest has bound a UDP socket that takes datagrams to that loopback
 * address; *real: where it is in truth. */
bool datagram_is_own(const struct datagram_table *t, const struct addr *to, struct addr *real);

/* datagram_check_soon() - at this turn's end, see which sockets still exist. */
void datagram_check_soon(struct datagram_table *t);

/* datagram_link_lost() - whoever waits for the agent is told. */
void datagram_link_lost(struct datagram_table *t);

/* datagram_link_back() - there is a new link: the sockets that want one get a channel of it. */
void datagram_link_back(struct datagram_table *t);

#endif
