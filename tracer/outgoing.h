/* Streams that the guest opens and that leave from the target: TCP, and unix sockets by policy. */
#ifndef TRACER_OUTGOING_H
#define TRACER_OUTGOING_H

#include "addr.h"
#include "htab.h"
#include "list.h"

struct call;
struct tracer;

struct outgoing {
	struct tracer *tracer;
	uint32_t next_channel;
};

void outgoing_init(struct outgoing *out, struct tracer *tr);
void outgoing_done(struct outgoing *out);

/* outgoing_channel() - a channel id that was not used before on this link (common/PROTOCOL.md). */
uint32_t outgoing_channel(struct outgoing *out);

#endif
