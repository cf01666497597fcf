/* Where a socket of the guest is while its connection is being made elsewhere: in the middle of a
 * handshake with an address of ours that never answers. To the guest that is connect(2) as ever:
 * poll, timeouts, signals and a second connect are the kernel's own. */
#ifndef TRACER_LIMBO_H
#define TRACER_LIMBO_H

#include "addr.h"
#include "list.h"

/* Addresses of ours that do not answer, of one family. One is enough but for sockets of the guest
 * that share a source port. */
#define LIMBO_HOLDS_MAX 64

enum limbo_family {
	LIMBO_IPV4,
	LIMBO_IPV6,
	LIMBO_FAMILY_MAX,
};

struct limbo {
	struct list holds[LIMBO_FAMILY_MAX];
	unsigned nholds[LIMBO_FAMILY_MAX];
};

/* Where one socket waits: our address, and its own. */
struct limbo_place {
	struct addr hold, guest;
};

void limbo_init(struct limbo *l);
void limbo_done(struct limbo *l);

/* limbo_enter() - begin to connect fd, a TCP socket that is not connected, which was meant to go to
 * `to`. 0 and where it is; or -errno of socket(2), bind(2) or connect(2), and fd is as before. fd
 * itself is not kept. */
int limbo_enter(struct limbo *l, int fd, const struct addr *to, struct limbo_place *p);

/* limbo_complete() - a socket that is or is about to be connected with the one that waits there, by
 * a simultaneous open (RFC 9293, 3.5). The caller's, or -errno. */
int limbo_complete(const struct limbo_place *p);

/* limbo_refuse() - what waits there fails, with the poll events of a refused connection and, as far
 * as the kernel knows, ECONNRESET. */
void limbo_refuse(const struct limbo_place *p);

#endif
