/* Streams that the guest opens and that leave from the target: TCP, and unix sockets by policy. */
#ifndef TRACER_OUTGOING_H
#define TRACER_OUTGOING_H

#include <sys/un.h>

#include "addr.h"
#include "htab.h"
#include "limbo.h"
#include "list.h"
#include "loop.h"
#include "mux.h"
#include "proto.h"

/* Streams that are over, or have failed, are remembered in this number: the guest may still ask for
 * the addresses of such a socket, or for its error. All that can be under way may fail at once. */
#define OUTGOING_PAST_MAX MUX_CHANNELS_MAX

/* How often it is asked whether the sockets that wait to be connected still exist. */
#define OUTGOING_CHECK_MS 1000

struct call;
struct tracer;

struct outgoing {
	struct tracer *tracer;
	uint32_t next_channel;
	struct limbo limbo;
	struct htab by_cookie;
	struct htab by_place;   /* those that wait in limbo */
	struct list connecting; /* in the order in which they were asked for */
	struct list connected;
	struct list past; /* oldest first */
	unsigned npast;
	struct timer check;
};

void outgoing_init(struct outgoing *out, struct tracer *tr);
void outgoing_done(struct outgoing *out);

/* outgoing_channel() - a channel id that was not used before on this link (common/PROTOCOL.md). */
uint32_t outgoing_channel(struct outgoing *out);

/* In all of these fd is a duplicate of the guest's descriptor, which they take when they leave -1
 * in it. "Ended" means: the call has its answer, or is parked. */

/* outgoing_connect() - connect(2) of a TCP socket to an address of the target: ended. nonblock: the
 * call is not to wait, whatever O_NONBLOCK says. */
void outgoing_connect(struct call *c, int *fd, const struct addr *to, bool nonblock);

/* outgoing_again() - connect(2), or a send that connects, of a socket that is one of ours: ended.
 * False: it is none. */
bool outgoing_again(struct call *c, int *fd, bool nonblock);

/* outgoing_disconnect() - connect(2) with AF_UNSPEC: the kernel's affair, and nothing is known of
 * the socket any more. */
void outgoing_disconnect(struct outgoing *out, int fd);

/* outgoing_connect_unix() - connect(2) of a unix socket to one of the target: ended. */
void outgoing_connect_unix(
	struct call *c, int *fd, const struct sockaddr_un *to, socklen_t len, int type);

/* outgoing_exit() - with stops: the kernel has done the connect(2) or the send; what the guest
 * shall see of the result. */
int64_t outgoing_exit(struct call *c, int64_t result);

/* outgoing_note_own() - the guest has connected fd to its own listener, which it believes to be at
 * that address. */
void outgoing_note_own(struct outgoing *out, int fd, const struct addr *to);

/* outgoing_name() - getsockname(2): ended. False: the kernel knows better. */
bool outgoing_name(struct call *c, int *fd);

/* outgoing_peer() - what the guest connected to, when fd is connected. False: the kernel knows
 * better. Its length is that of the address that the guest gave. */
bool outgoing_peer(
	const struct outgoing *out, int fd, struct sockaddr_storage *peer, socklen_t *len);

/* outgoing_error() - the error of a connection that failed and that the kernel does not know: taken
 * with it. 0: none. */
int outgoing_error(struct outgoing *out, int fd);

/* outgoing_is_sending() - a connection has bytes of the guest, or their end, still to pass on. */
bool outgoing_is_sending(const struct outgoing *out);

/* outgoing_link_lost() - what waits for the agent fails; outgoing_link_back(): it asks anew. */
void outgoing_link_lost(struct outgoing *out);
void outgoing_link_back(struct outgoing *out);

#endif
