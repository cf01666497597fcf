/* One client: its link, what it has subscribed to, and what it may say when. */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include "mirror.h"
#include "steal.h"
#include "target.h"

/* What the sessions of one agent share. */
struct agent {
	struct loop loop;
	struct target target;
	struct drain drain;
	struct steal steal;
	struct mirror mirror;
	struct list sessions;
	bool ends_with_session; /* there is one client, and the agent serves nobody else */
};

/* session_start() - serve the client at the connected stream socket fd, which the session owns also
 * when this fails. 0 or -errno. */
int session_start(struct agent *agent, int fd);

/* session_end_all() - reset what the sessions have and let them go. */
void session_end_all(struct agent *agent);

#endif
