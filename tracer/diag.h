/* What the kernel says of TCP and UDP sockets, whoever has them: sock_diag(7) of our own network
 * namespace.
 */
#ifndef TRACER_DIAG_H
#define TRACER_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct diag {
	int fd; /* a netlink socket, -1 until it is needed */
};

/* Which sockets: a set. Those that are only bound are told of since Linux 6.8, and slowly: the
 * kernel walks all bound ports for them. */
enum diag_which {
	DIAG_LISTENING = 1 << 0,
	DIAG_BOUND = 1 << 1,
	DIAG_CONNECTING = 1 << 2,
	DIAG_UDP = 1 << 3, /* not with the others: UDP sockets that have a port */
};

struct seen_socket {
	uint64_t cookie;
	enum diag_which which;
};

struct seen {
	struct seen_socket *sockets;
	size_t n, cap;
	bool full;
};

void diag_init(struct diag *d);
void diag_done(struct diag *d);

/* diag_see() - all sockets of the kinds, of both families. 0, and then seen_done() is owed; or
 * -errno
 * (-EOPNOTSUPP: the kernel has no INET_DIAG). */
int diag_see(struct diag *d, unsigned which, struct seen *seen);
bool seen_has(const struct seen *seen, uint64_t cookie, enum diag_which which);
void seen_done(struct seen *seen);

/* diag_tells_of_bound() - whether DIAG_BOUND sees anything. */
bool diag_tells_of_bound(struct diag *d);

/* diag_queue_room() - how many connections the accept queue of the listener at that address still
 * takes; -errno when nobody listens there or the kernel does not tell. Sockets that share a port by
 * SO_REUSEPORT have queues of their own, and which of them gets the next connection is not known
 * before: the answer is that of one of them. */
int diag_queue_room(struct diag *d, const struct addr *at);

/* diag_is_listening() - the socket listens at that address. False, too: it is one of several that
 * do, or the kernel does not tell. */
bool diag_is_listening(struct diag *d, const struct addr *at, uint64_t cookie);

#endif
