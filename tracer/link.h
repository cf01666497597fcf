/* Our end of the link: reaching an agent, or starting one, and what happens when it goes away. */
#ifndef TRACER_LINK_H
#define TRACER_LINK_H

#include <stdbool.h>
#include <sys/types.h>

#include "addr.h"
#include "log.h"
#include "mux.h"

/* How long an agent may take to answer us before the guest starts, and to clean up after our
 * goodbye. */
#define LINK_ANSWER_MS 10000
#define LINK_BYE_MS    7000 /* more than the agent's own patience with its clients */

/* With --on-link-loss reconnect: how long a new link is tried for, and how often. */
#define LINK_RECONNECT_MS 30000
#define LINK_RETRY_MS     250

/* How many of the target's addresses are kept. */
#define LINK_ADDRESSES_MAX 128

struct tracer;

struct link {
	struct mux mux;
	bool open;                                 /* mux is in use */
	bool hello;                                /* the agent has said who it is */
	bool here;                                 /* the target's network namespace is our own */
	pid_t agent;                               /* the one we started, or 0 */
	int agent_pidfd;                           /* -1: none */
	bool agent_in_order;                       /* it ended without a failure */
	bool agent_spoke;                          /* it failed and has said why on our stderr */
	char agent_end[64];                        /* how it ended, when it has */
	struct addr addresses[LINK_ADDRESSES_MAX]; /* the target's, without ports */
	unsigned naddresses;
	struct timer patience, retry;
	uint64_t retry_until; /* ns; 0: the link has not been lost, or it is given up */
	bool given_up;        /* no new link was found in time */
	struct err *err;      /* while we wait for it before the guest starts */
};

/* link_open() - connect to the agent that the configuration names, or start one for a local target,
 * and wait for its hello. 0, or -errno and e. */
int link_open(struct link *l, struct tracer *tr, struct err *e);

/* link_await() - before the guest starts: serve the loop until *there, which an answer of the agent
 * sets. 0, or -errno and e: the link is lost, or the agent takes too long. */
int link_await(struct link *l, const bool *there, struct err *e);

/* link_close() - end the session in order: wait until the agent has undone what it did for us. */
void link_close(struct link *l);

/* link_is_up() - the agent can be told and asked something now. */
static inline bool link_is_up(const struct link *l)
{
	return l->open && l->hello && !l->mux.lost;
}

/* link_has_address() - it is one of the target's addresses, whatever its port. */
bool link_has_address(const struct link *l, const struct addr *a);

/* link_may_return() - when the link is lost, a new one is tried: what the agent is asked may wait.
 */
bool link_may_return(const struct link *l);

/* link_child_ended() - a child that is not of the guest has ended. */
void link_child_ended(struct link *l, pid_t pid, int status);

#endif
