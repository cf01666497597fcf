/* UDP sockets in the target's network namespace, one for each channel that `udp_open` opens. */
#ifndef AGENT_UDP_H
#define AGENT_UDP_H

#include "mirror.h"
#include "steal.h"

/* By what ports are taken over. */
struct udp_ports {
	struct steal *steal;
	struct mirror *mirror;
};

/* udp_open() - do as a `udp_open` says: open its channel and make the socket, and tell the client
 * how that ended in `udp_opened`. The socket lives as long as the channel. 0; -EPROTO when no
 * honest client asks that, and then nothing was done. */
int udp_open(
	struct loop *loop, const struct udp_ports *ports, struct mux *mux, const struct msg *m);

#endif
