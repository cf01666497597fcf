/* What the parts of datagram.h (datagram*.c) share, and nobody else sees: a UDP socket of the
 * guest. */
#ifndef TRACER_DGRAM_H
#define TRACER_DGRAM_H

#include "datagram.h"
#include "tracer.h"
#include "trap.h"

struct dgram {
	struct hnode node; /* by cookie */
	struct list link;  /* used most recently last */
	uint64_t cookie;
	uint64_t used_ns;
	struct uplink *uplink; /* NULL: nothing of it has left for the target */

	bool bound;        /* by the guest itself */
	bool any_port;     /* which left the port to the kernel */
	struct addr asked; /* what it bound, with the port it shall see */
	struct addr real;  /* what it has */

	struct addr peer;  /* connected to, through the agent; AF_UNSPEC: it is not */
	struct addr local; /* and then its own address there; AF_UNSPEC: not known */
	pid_t tgid;        /* where the socket was last seen, and */
	uint64_t fd;       /* as which descriptor */

	struct addr locals[DATAGRAM_LOCALS_MAX];
	unsigned next_local;

	int error; /* of the last datagram to failed, not told yet; or 0 */
	struct addr failed;
	unsigned parked; /* calls that wait */
};

extern const struct addr dgram_no_addr; /* AF_UNSPEC */

static inline struct datagram_table *dgram_table(const struct call *c)
{
	return &c->tracer->datagrams;
}

static inline struct datagram_table *dgram_table_of(const struct uplink *up)
{
	return container_of(up->table, struct datagram_table, uplinks);
}

/* --- datagram.c: which there are --- */

/* dgram_find() - by cookie, or NULL. dgram_get() - what is known of the socket behind fd, from now
 * on; NULL: no memory. */
struct dgram *dgram_find(const struct datagram_table *t, uint64_t cookie);
struct dgram *dgram_get(struct datagram_table *t, int fd);

/* dgram_use_uplink(), dgram_drop_uplink() - an uplink goes with the last socket that uses it. */
void dgram_use_uplink(struct dgram *d, struct uplink *up);
void dgram_drop_uplink(struct dgram *d);

/* dgram_uplink_unref() - one user of up->users less. NULL is fine. */
void dgram_uplink_unref(struct uplink *up);

/* dgram_check() - forget the sockets that are no more. */
void dgram_check(struct datagram_table *t);

/* --- datagram_address.c: what addresses mean --- */

bool dgram_may_broadcast(int fd);

/* dgram_fits() - the kernel takes such an address for such a socket, whatever becomes of it then.
 */
bool dgram_fits(int fd, const struct addr *to);

/* dgram_own_address() - a socket that has none gets a port as the kernel would give it itself. 0 or
 * -errno. */
int dgram_own_address(int fd, struct addr *a);

/* dgram_bind_there() - what the agent shall bind its socket to. An address of this machine alone
 * means nothing there. */
struct addr dgram_bind_there(const struct tracer *tr, const struct addr *asked, uint16_t port);

/* --- datagram_send.c --- */

/* dgram_relay() - see that the socket has an uplink, which knows where the socket is. 0 or -errno.
 */
int dgram_relay(struct datagram_table *t, struct dgram *d, int fd);

/* --- datagram_connect.c --- */

/* dgram_is_way() - whether what the agent's connect(2) said leaves a way to the peer. */
bool dgram_is_way(int error, int fd);

/* dgram_is_alone() - the agent's socket has no other user. */
bool dgram_is_alone(const struct dgram *d);

/* dgram_connect_again() - on a new link: what was asked, or, if nothing was, to what d is. */
void dgram_ask_again(struct uplink *up);
void dgram_connect_again(struct dgram *d);

/* dgram_connected() - ops->connected() of an uplink. dgram_asks_free() - it goes. */
void dgram_connected(struct uplink *up, int error, const struct addr *local);
void dgram_asks_free(struct uplink *up);

/* --- datagram_bind.c --- */

/* dgram_bind_answered() - the agent has, or has not, the port that a bind(2) waits for. text: why
 * not, unless that was said already. */
void dgram_bind_answered(struct uplink *up, int error, const struct span *text);

/* dgram_say_not_had() - one line about the uplink's port. */
void dgram_say_not_had(const struct uplink *up, struct span text);

/* --- datagram_agent.c: what the agent says --- */

extern const struct uplink_ops dgram_uplink_ops;

/* dgram_waits_for_link() - the link is lost, and what waits may wait for a new one:
 * datagram_link_back() goes on, or datagram_link_lost() ends it. */
bool dgram_waits_for_link(const struct uplink *up, int error);

#endif
