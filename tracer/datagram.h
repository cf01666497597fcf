/* UDP sockets of the guest, by cookie: those that it bound, and those whose datagrams leave from
 * the target. */
#ifndef TRACER_DATAGRAM_H
#define TRACER_DATAGRAM_H

#include "addr.h"
#include "diag.h"
#include "htab.h"
#include "list.h"
#include "loop.h"
#include "policy.h"
#include "uplink.h"

/* Beyond this many the one that was used least recently is forgotten. */
#define DATAGRAM_SOCKETS_MAX 4096

/* How many senders of this machine are remembered with a socket, to be answered here. */
#define DATAGRAM_LOCALS_MAX 16

/* How often it is looked which sockets still exist; and where the kernel does not tell, how long
 * one may be idle. */
#define DATAGRAM_CHECK_MS 100
#define DATAGRAM_IDLE_MS  120000

struct call;
struct dgram;
struct tracer;

struct datagram_table {
	struct tracer *tracer;
	struct htab by_cookie; /* empty: no socket of the guest is known */
	struct list sockets;   /* used least recently first */
	struct uplink_table uplinks;
	struct diag diag;
	struct timer check;
	struct deferred check_now;
};

void datagram_init(struct datagram_table *t, struct tracer *tr);
void datagram_done(struct datagram_table *t);

/* datagram_bind(), datagram_connect() - bind(2) and connect(2) of a UDP socket, of which fd is a
 * duplicate (still the caller's): the call is ended or parked. to may be AF_UNSPEC. */
void datagram_bind(struct call *c, int fd, const struct addr *asked);
void datagram_connect(struct call *c, int fd, const struct addr *to);

/* datagram_find() - what is known of the socket behind fd, or NULL. */
struct dgram *datagram_find(struct datagram_table *t, int fd);

/* datagram_may_not_broadcast() - it is the broadcast address, and the socket has no SO_BROADCAST.
 */
bool datagram_may_not_broadcast(int fd, const struct addr *to);

/* datagram_route() - where a datagram from fd to that address goes. SIDE_LOCAL: *real is the
 * address to use. */
enum side datagram_route(struct call *c, int fd, const struct addr *to, struct addr *real);

/* datagram_send() - send n bytes from the target, in datagrams of segment bytes each. n or -errno
 * of sendto(2). */
int64_t datagram_send(struct datagram_table *t, int fd, const struct addr *to, const uint8_t *p,
	size_t n, size_t segment);

/* datagram_probe() - the peer is new to the socket, which may block: the call is parked until it is
 * known whether there is a way to the peer, and then the same is done. False: do it now. */
bool datagram_probe(
	struct call *c, int fd, const struct addr *to, const uint8_t *p, size_t n, size_t segment);

/* datagram_source() - a datagram came to the socket from that address: make it the true one, in
 * the shape that a socket of that family shows. */
void datagram_source(
	struct datagram_table *t, struct dgram *d, sa_family_t family, struct addr *from);

/* datagram_addresses() - what the guest believes its address and its peer's to be. Either may be
 * NULL. False: the kernel knows better. */
bool datagram_addresses(
	const struct datagram_table *t, int fd, struct addr *local, struct addr *peer);

/* datagram_is_own() - the guest has bound a UDP socket that takes datagrams to that address of
 * loopback or the target; *real: where it is in truth. */
bool datagram_is_own(const struct datagram_table *t, const struct addr *to, struct addr *real);

/* datagram_check_soon() - at this turn's end, see which sockets still exist. */
void datagram_check_soon(struct datagram_table *t);

/* datagram_drain() - the guest has ended: pass on what it sent last. True: there is more. */
bool datagram_drain(struct datagram_table *t);

/* datagram_link_lost() - whoever waits for the agent is told. */
void datagram_link_lost(struct datagram_table *t);

/* datagram_link_back() - there is a new link: the sockets that want one get a channel of it. */
void datagram_link_back(struct datagram_table *t);

#endif
