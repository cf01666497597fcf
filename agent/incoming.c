#include "incoming.h"

#include "log.h"

uint32_t incoming_channel(void)
{
	static uint32_t last;

	last = (last + 1) & ~PROTO_CLIENT_CHANNEL;
	return last;
}

void incoming_announce(const struct subscriber *to, uint32_t channel, const struct addr *peer,
	const struct addr *local)
{
	struct msg m = {
		.type = MSG_incoming,
		.id = channel,
		.incoming = { .subscription = to->id, .peer = *peer, .local = *local },
	};
	char from[ADDR_STRLEN], at[ADDR_STRLEN];

	log_dbg("channel %u: %s -> %s, subscription %u", channel, addr_format(peer, from),
		addr_format(local, at), to->id);
	mux_send(to->mux, &m);
}
