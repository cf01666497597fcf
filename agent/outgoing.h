/* Connections that leave from the target: TCP, and unix sockets of its files and its names. */
#ifndef AGENT_OUTGOING_H
#define AGENT_OUTGOING_H

#include "drain.h"
#include "mux.h"
#include "target.h"

/* outgoing_connect() - do as a `connect` says: open its channel and connect. How that ends, the
 * client is told in `connected`. The connection counts with drain. 0; -EPROTO when no honest client
 * asks that, and then nothing was done. */
int outgoing_connect(
	struct drain *drain, struct mux *mux, const struct target *target, const struct msg *m);

#endif
