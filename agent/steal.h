/* Stolen ports: who owns which, and the connections that come by them. */
#ifndef AGENT_STEAL_H
#define AGENT_STEAL_H

#include "acceptor.h"
#include "drain.h"
#include "incoming.h"
#include "log.h"
#include "redirect.h"

struct steal {
	struct loop *loop;
	struct drain *drain;
	const struct redirect_ops *ops; /* NULL until something is stolen */
	struct redirect *redirect;
	int listener;
	struct acceptor acceptor;
	struct htab ports; /* of struct steal_port, by port_key() */
};

/* One port and its owner; embedded in a subscription. */
struct steal_port {
	struct hnode node;
	struct subscriber owner;
	enum proto_family family;
	uint16_t port;
	int lock; /* an abstract socket: no other agent steals this port of the namespace */
};

/* steal_init() - the connections count with drain. */
void steal_init(struct steal *s, struct drain *drain);
void steal_done(struct steal *s);

/* steal_add() - give the port's new connections to the owner. 0, or -errno with a sentence in e;
 * -EADDRINUSE when somebody else has them. */
int steal_add(struct steal *s, struct steal_port *p, const struct subscriber *owner,
	enum proto_family family, uint16_t port, struct err *e);

/* steal_del() - give the port back to the pod. Connections that were accepted live on. */
void steal_del(struct steal *s, struct steal_port *p);

/* A UDP port whose new datagrams come to a socket. */
struct steal_udp {
	enum proto_family family;
	uint16_t port;
	int lock; /* as of steal_port */
};

/* steal_udp_add() - give the port's new datagrams to the UDP socket fd, which is the caller's. 0,
 * or -errno with a sentence in e; -EADDRINUSE when somebody else has them, -EOPNOTSUPP when the
 * kernel has no way. */
int steal_udp_add(struct steal *s, struct steal_udp *p, enum proto_family family, uint16_t port,
	int fd, struct err *e);
void steal_udp_del(struct steal *s, struct steal_udp *p);

/* steal_method() - how it is done, for people: "sk_lookup", "nft". */
const char *steal_method(const struct steal *s);

#endif
