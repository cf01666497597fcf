/* Connections that outlive their client: the agent of one client ends when the last bytes of them
 * all have been delivered. */
#ifndef AGENT_DRAIN_H
#define AGENT_DRAIN_H

#include "loop.h"

/* How long the last bytes may take when the agent has no client left. */
#define DRAIN_MS 5000

struct drain {
	struct loop *loop;
	unsigned live; /* connections */
	bool leaving;
	struct timer patience;
};

void drain_init(struct drain *d, struct loop *loop);
void drain_done(struct drain *d);

/* drain_enter(), drain_exit() - one more connection, one less. */
void drain_enter(struct drain *d);
void drain_exit(struct drain *d);

/* drain_leave() - stop the loop once nothing is left to deliver. */
void drain_leave(struct drain *d);

#endif
