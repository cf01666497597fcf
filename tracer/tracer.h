/* Everything one run of mirrord-trace holds; passed down, never reached for. */
#ifndef TRACER_TRACER_H
#define TRACER_TRACER_H

#include "config.h"
#include "context.h"
#include "datagram.h"
#include "follow.h"
#include "fs.h"
#include "htab.h"
#include "incoming.h"
#include "link.h"
#include "loop.h"
#include "names.h"
#include "outgoing.h"
#include "policy.h"
#include "sock.h"

/* How a run of the guest ended, or that it has not. */
#define GUEST_RUNS (-1)

struct tracer {
	const struct config *cfg;
	struct loop loop;
	struct link link; /* to the agent */
	struct context context;
	struct sock_table socks;
	struct incoming incoming;
	struct policy *policy;
	struct names *names;
	struct outgoing outgoing;
	struct datagram_table datagrams;
	struct fs fs;

	struct htab tasks; /* by tid */
	struct htab procs; /* by tgid */
	pid_t guest;       /* the program itself */
	char **env;        /* what it is started with */
	int status;        /* its wait status, or GUEST_RUNS */
	bool failed;       /* the run ends for a reason of ours: exit status 125 */

	const struct trap_ops *trap; /* how calls are answered */
	struct watch listener;       /* of user notification; fd -1 with stops alone */
	uint64_t last_id;            /* of the notification that came last */
	uint64_t missed_id;          /* the last of those that were taken back before we had them */
	struct watch signals;
	struct watch report; /* of the child, until it executes the program */
	int exec_errno;      /* why it could not, or 0 */
	int stop_signal;     /* a terminal's stop that we were sent as well, or 0 */
	struct timer kill_timer, drain_timer;
	struct follow follow; /* with stops alone */
};

/* tracer_link_gone() - nothing will come of the target any more: whoever waits for it is told. */
void tracer_link_gone(struct tracer *tr);

/* tracer_link_back() - there is a new link: what was asked for on the old one is asked for again.
 */
void tracer_link_back(struct tracer *tr);

/* tracer_link_lost() - the run has lost its purpose: the guest is asked to end, then made to. */
void tracer_link_lost(struct tracer *tr);

#endif
