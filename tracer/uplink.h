/* A guest's way for datagrams through the agent: one channel, and a stand-in for each peer.
 *
 * A stand-in is a UDP socket of ours on loopback, connected to the guest's. What the peer sends
 * reaches the guest from its stand-in, and what the guest sends to the stand-in goes to the peer.
 * So a guest that is connected (to the stand-in) sends, receives, polls and filters by the kernel's
 * own means. */
#ifndef TRACER_UPLINK_H
#define TRACER_UPLINK_H

#include "addr.h"
#include "htab.h"
#include "list.h"
#include "loop.h"
#include "mux.h"

/* Stand-ins of one uplink, and of all; of those that nobody is connected to the one that was used
 * least recently makes room. */
#define UPLINK_STANDINS_MAX     256
#define UPLINK_ALL_STANDINS_MAX 2048

/* Datagrams taken from one stand-in in a turn of the loop. */
#define UPLINK_BURST 64

/* The longest payload of a datagram (RFC 768, less the header of IPv4). */
#define UPLINK_IPV4_MAX 65507

struct tracer;
struct uplink;

struct standin {
	struct hnode node;        /* by its port */
	struct list link, recent; /* of the uplink, of all: used most recently last */
	struct uplink *uplink;
	struct watch watch; /* its socket */
	struct watch local; /* to this machine's name server in the peer's place; or fd -1 */
	struct addr at;     /* its own address */
	struct addr peer;   /* never v4-mapped */
	unsigned held;      /* sockets of the guest that are connected to it */
	struct deferred release;
};

struct uplink_table {
	struct tracer *tracer;
	struct htab standins;
	struct list recent;
	struct list uplinks;
	unsigned nstandins;
};

struct uplink_ops {
	/* The agent has, or could not open, its socket (error: errno). */
	void (*opened)(struct uplink *up, int error, struct span text);
	/* The answer to the oldest uplink_connect() that has none. */
	void (*connected)(struct uplink *up, int error, const struct addr *local);
	/* A datagram to the peer could not be sent, or nobody was there. */
	void (*failed)(struct uplink *up, int error, const struct addr *peer);
	/* The agent's end is gone; ENOTCONN: with the link. */
	void (*over)(struct uplink *up, int error);
	/* uplink_renew() has opened it: what was asked of the agent is to be asked again. */
	void (*renewed)(struct uplink *up);
};

struct uplink {
	struct channel ch;
	struct list link;
	struct uplink_table *table;
	const struct uplink_ops *ops;
	struct list standins;
	unsigned nstandins;
	unsigned mode; /* as it was opened */
	sa_family_t family;
	struct addr bind;
	bool only_v6; /* the guest's socket takes no IPv4 */
	struct addr reach4,
		reach6; /* where stand-ins find the guest's socket; AF_UNSPEC: not there */
	struct deferred release;
	uint64_t used_ns; /* when something passed last */

	/* The owner's. */
	unsigned users;
	struct list asks; /* for each uplink_connect() that is not answered */
	void *opening;    /* who waits for opened() */
};

void uplink_table_init(struct uplink_table *t, struct tracer *tr);
void uplink_table_done(struct uplink_table *t);

/* uplink_new() - open a channel with a socket in the target's namespace. mode, family and bind as
 * in PROTOCOL.md's udp_open. 0, or -ENETUNREACH (no link), -EMFILE, -ENOMEM. */
int uplink_new(struct uplink **up, struct uplink_table *t, const struct uplink_ops *ops,
	unsigned mode, sa_family_t family, const struct addr *bind);

/* uplink_reopen() - the port that it was to have is taken: open it at any. 0 or -errno as above. */
int uplink_reopen(struct uplink *up);

/* uplink_renew() - the link was lost and there is a new one: open it as at first. 0 or -errno. */
int uplink_renew(struct uplink *up);

/* uplink_is_open() - false: the agent's end is gone, and no new link may come for it. */
bool uplink_is_open(const struct uplink *up);

/* uplink_free() - what stand-ins have received yet is sent, then the channel is reset. NULL is
 * fine. */
void uplink_free(struct uplink *up);

/* uplink_guest_is_at() - the address that the guest's socket has now. */
void uplink_guest_is_at(struct uplink *up, const struct addr *at, bool only_v6);

/* uplink_standin() - the peer's stand-in, made if there is none: 0 or -errno (-ENOBUFS: there are
 * as many as may be, and all are held). */
int uplink_standin(struct uplink *up, const struct addr *peer, struct standin **s);

/* uplink_hold(), uplink_let_go() - the guest connects a socket to the peer's stand-in, which then
 * makes no room for others. */
void uplink_hold(struct uplink *up, const struct addr *peer);
void uplink_let_go(struct uplink *up, const struct addr *peer);

/* uplink_knows() - the peer has a stand-in. */
bool uplink_knows(const struct uplink *up, const struct addr *peer);

/* uplink_find() - the stand-in that has that address, of whatever uplink; or NULL. */
struct standin *uplink_find(const struct uplink_table *t, const struct addr *at);

/* uplink_connect() - the agent's socket shall take datagrams of that peer alone; peer NULL: of all
 * again. ops->connected() follows. */
void uplink_connect(struct uplink *up, const struct addr *peer);

/* uplink_send() - a datagram to the peer, or to who answers in its place. It is dropped when there
 * is no room, as on any network. 0, or -ENETUNREACH: the agent's end is gone. */
int uplink_send(struct uplink *up, const struct addr *peer, const uint8_t *p, size_t n);

/* uplink_detach(), uplink_attach() - between the two nobody is there at the stand-in's address. */
void uplink_detach(struct standin *s);
void uplink_attach(struct standin *s);

/* uplink_drain() - pass on what stand-ins have received. True: there is more than had room. */
bool uplink_drain(struct uplink_table *t);

#endif
