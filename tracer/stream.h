/* A stream that the guest opens and that leaves from the target: what is known of the guest's
 * socket, the channel, and the calls that wait for the outcome. */
#ifndef TRACER_STREAM_H
#define TRACER_STREAM_H

#include <sys/un.h>

#include "addr.h"
#include "limbo.h"
#include "names.h"
#include "relay.h"

struct call;
struct outgoing;

enum stream_state {
	STREAM_CONNECTING, /* asked, and not answered */
	STREAM_CONNECTED,  /* it has its relay */
	STREAM_FAILED,     /* the guest has not asked why, perhaps */
	STREAM_OVER,
	STREAM_STATE_MAX,
};

struct stream {
	struct relay relay;
	struct hnode node; /* by cookie */
	struct list link;  /* by state: connecting, connected, or past */
	struct outgoing *out;
	uint64_t cookie; /* of the guest's socket */
	enum stream_state state;
	enum connect_kind kind;
	bool has_channel;
	struct addr peer;        /* what the guest asked for */
	struct sockaddr_un path; /* the same, of a unix socket */
	socklen_t path_len;
	bool any_port;     /* the kernel chose the port of bound */
	struct addr bound; /* what it had bound before, or nothing */
	struct addr local; /* its address in the target; port 0: not known yet */
	struct limbo_place place;
	struct hnode placed; /* by the place's ports, while it connects */
	int error;           /* that the kernel does not know */
	struct list waiters;
	struct names_stream answers; /* of a name server */
	struct deferred release;
};

/* A call of the guest that waits for a stream. */
struct waiter {
	struct list link;
	struct stream *stream;
	struct call *call;
	void (*answer)(struct waiter *w);
	int fd;
	bool wants_local;     /* it asks for the address in the target, and for no outcome */
	sa_family_t family;   /* of that address */
	bool first;           /* the call that began to connect */
	struct timer timeout; /* SO_SNDTIMEO */
	struct deferred release;
};

/* stream_new() - one for the guest's socket of which fd is a duplicate: connecting, and not asked
 * for yet. NULL: no memory. stream_free() - for one that has no channel. */
struct stream *stream_new(struct outgoing *out, int fd, enum connect_kind kind);
void stream_free(struct stream *s);

/* stream_find() - the stream of the guest's socket, or NULL. */
struct stream *stream_find(const struct outgoing *out, int fd);

/* stream_ask() - ask the agent to connect. 0, also when there is no link and one may come; or
 * -errno of connect(2). */
int stream_ask(struct stream *s);

/* stream_placed() - its place in limbo is known: whatever was there before is no more. */
void stream_placed(struct stream *s);

/* stream_forget() - the guest's socket is another from here on. */
void stream_forget(struct stream *s);

/* stream_give_up() - it is over, and what waits for it is told: the kernel has the outcome. */
void stream_give_up(struct stream *s);

/* stream_fail() - it failed without the agent's answer; it has no channel. */
void stream_fail(struct stream *s, int error);

/* stream_to_past() - remember it as long as there is room for it. */
void stream_to_past(struct stream *s);

#endif
