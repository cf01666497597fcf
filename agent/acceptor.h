/* One listening socket in the loop: accepts in batches, rests when descriptors run out. */
#ifndef AGENT_ACCEPTOR_H
#define AGENT_ACCEPTOR_H

#include "loop.h"

struct acceptor {
	struct loop *loop;
	struct watch watch;
	struct timer rest;
	void (*accepted)(struct acceptor *a, int fd);
};

/* acceptor_start() - call accepted() with each new connection (non-blocking; it owns the fd). The
 * listening socket must be non-blocking and stays the caller's. 0 or -errno. */
int acceptor_start(struct acceptor *a, struct loop *loop, int listener,
	void (*accepted)(struct acceptor *a, int fd));

/* acceptor_stop() - leave the loop; also before acceptor_start(), when all is zero. */
void acceptor_stop(struct acceptor *a);

#endif
