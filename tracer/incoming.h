/* The target's connections: which ports are subscribed at the agent, and the connections under way.
 */
#ifndef TRACER_INCOMING_H
#define TRACER_INCOMING_H

#include "addr.h"
#include "htab.h"
#include "list.h"
#include "proto.h"

/* Connections that are over are remembered this long, in their number: the guest may still ask for
 * the address of a socket whose peer has gone. */
#define INCOMING_REMEMBERED_MAX 1024

struct sock;
struct tracer;

struct incoming {
	struct tracer *tracer;
	struct list subscriptions;
	uint32_t next_id;
	struct htab conns; /* by the ports of both ends of the local connection */
	struct list over;  /* oldest first */
	unsigned nover;
	unsigned long gaps; /* mirrored connections that lost bytes */
};

void incoming_init(struct incoming *in, struct tracer *tr);
void incoming_done(struct incoming *in);

/* incoming_listen() - subscribe the port of a listener at the agent. done() is called when the
 * agent has answered, perhaps before this returns: 0, or -errno for listen(2). */
void incoming_listen(struct incoming *in, struct sock *s,
	void (*done)(struct sock *s, int result, void *data), void *data);

/* incoming_forget() - done() of that data will not be called any more. */
void incoming_forget(struct incoming *in, struct sock *s, void *data);

/* incoming_unlisten() - the listener is gone. Its connections live on. */
void incoming_unlisten(struct incoming *in, struct sock *s);

/* incoming_has_port() - a connection under way has this port of the guest. */
bool incoming_has_port(const struct incoming *in, uint16_t port);

/* incoming_peer() - fd is the guest's end of a connection from the target: its client's address,
 * and the address that the client connected to. Either may be NULL. False: it is not. */
bool incoming_addresses(const struct incoming *in, int fd, struct addr *peer, struct addr *local);

/* incoming_message() - subscribed, incoming and gap of the agent. */
void incoming_message(struct incoming *in, const struct msg *m);

#endif
