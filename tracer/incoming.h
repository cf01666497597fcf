/* The target's connections: which ports are subscribed at the agent, and the connections under way.
 */
#ifndef TRACER_INCOMING_H
#define TRACER_INCOMING_H

#include "addr.h"
#include "htab.h"
#include "list.h"
#include "loop.h"
#include "proto.h"

/* Connections that are over are remembered this long, in their number: the guest may still ask for
 * the address of a socket whose peer has gone. */
#define INCOMING_REMEMBERED_MAX 1024

/* How often a full accept queue is looked at while connections wait for it. */
#define INCOMING_RETRY_MS 1

/* Connections that are lost within this time are said together. */
#define INCOMING_LOST_MS 1000

struct sock;
struct tracer;

struct incoming {
	struct tracer *tracer;
	struct list subscriptions;
	uint32_t next_id;
	struct htab conns; /* by the ports of both ends of the local connection */
	struct list over;  /* oldest first */
	unsigned nover;
	struct timer retry; /* while connections wait */
	unsigned long gaps; /* mirrored connections that lost bytes */
	unsigned long lost; /* connections that the guest did not get, not said yet */
	int lost_error;
	struct timer say_lost;
};

void incoming_init(struct incoming *in, struct tracer *tr);
void incoming_done(struct incoming *in);

/* incoming_listen() - subscribe the port of a listener at the agent. done() is called when the
 * agent has answered, perhaps before this returns: 0, or -errno for listen(2). */
void incoming_listen(struct incoming *in, struct sock *s,
	void (*done)(struct sock *s, int result, void *data), void *data);

/* incoming_leave() - that listen(2) is over without success: its data is not used any more. */
void incoming_leave(struct incoming *in, struct sock *s, const void *data);

/* incoming_is_asked() - a subscription for the listener is asked for or held. */
bool incoming_is_asked(const struct incoming *in, const struct sock *s);

/* incoming_link_lost() - whoever waits for the agent is told. */
void incoming_link_lost(struct incoming *in);

/* incoming_link_back() - the ports are subscribed at the agent of the new link. */
void incoming_link_back(struct incoming *in);

/* incoming_unlisten() - the listener is gone. Its connections live on. */
void incoming_unlisten(struct incoming *in, struct sock *s);

/* incoming_has_port() - a connection under way has this port of the guest. */
bool incoming_has_port(const struct incoming *in, uint16_t port);

/* incoming_addresses() - fd is the guest's end of a connection from the target: its client's
 * address, and the address that the client connected to. Either may be NULL. False: it is not. */
bool incoming_addresses(const struct incoming *in, int fd, struct addr *peer, struct addr *local);

/* incoming_is_sending() - a connection has bytes of the guest, or their end, still to pass on. */
bool incoming_is_sending(const struct incoming *in);

/* incoming_message() - subscribed, incoming and gap of the agent. */
void incoming_message(struct incoming *in, const struct msg *m);

#endif
