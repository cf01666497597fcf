/* On which processor the supervisor runs while it answers stops. */
#ifndef TRACER_FOLLOW_H
#define TRACER_FOLLOW_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

#include "loop.h"

struct follow {
	struct loop *loop;
	struct timer rest;
	unsigned stops; /* since it was last looked at */
	uint64_t since_ns;
	bool pinned;
	cpu_set_t allowed; /* where we may run, to go back to */
};

void follow_init(struct follow *f, struct loop *loop);

/* follow_stop() - a thread has stopped for a call. */
void follow_stop(struct follow *f, pid_t tid);

#endif
