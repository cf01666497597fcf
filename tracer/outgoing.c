#include "outgoing.h"

#include "proto.h"

void outgoing_init(struct outgoing *out, struct tracer *tr)
{
	*out = (struct outgoing){ .tracer = tr };
}

void outgoing_done(struct outgoing *out)
{
	(void)out;
}

uint32_t outgoing_channel(struct outgoing *out)
{
	return PROTO_CLIENT_CHANNEL | out->next_channel++;
}
