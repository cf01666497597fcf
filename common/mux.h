/* One end of the link: frames over one connected stream socket, and the channels inside it.
 *
 * A channel is a byte stream in both directions with half-close, reset, and credit: each side may
 * send a window of bytes, and gets the right to send more only for bytes that the other side has
 * delivered, not merely received. So a slow stream holds up no other, and the memory that a channel
 * can take is bounded on both sides.
 *
 * Messages leave in the order in which they were sent, but for credit and keep-alive, which pass
 * the others. What is too much to be queued at once has a place in that order all the same: a
 * source. */
#ifndef COMMON_MUX_H
#define COMMON_MUX_H

#include "htab.h"
#include "loop.h"
#include "proto.h"

/* Bounds. A peer that could make us pass one of them loses the link. */
#define MUX_CHANNELS_MAX 16384
#define MUX_OUT_HIGH     (1u << 20) /* queued for the link: above, channels send no more */
#define MUX_OUT_LOW      (MUX_OUT_HIGH / 2)
#define MUX_OUT_MAX      (8u << 20) /* queued in all, with what may not wait */
#define MUX_LATER_MAX    (MUX_OUT_MAX - 2 * MUX_OUT_HIGH) /* of that, behind a source */
#define MUX_IN_MAX       (4u * PROTO_FRAME_MAX)

/* A link over TCP that has said nothing for this long is asked, and then has as long again to
 * answer. */
#define MUX_KEEPALIVE_MS 15000

struct mux;
struct channel;

struct mux_ops {
	/* A message that belongs to no channel. m's spans are valid during the call. */
	void (*message)(struct mux *mux, const struct msg *m);
	/* The link is gone: error is 0 when the peer closed it in order. Every channel has been
	 * reset before, and no more calls will come. The mux may be done with mux_done() from here.
	 */
	void (*lost)(struct mux *mux, int error, const char *why);
	/* Something is about to be queued (bytes of a channel are in hand by then): what must be on
	 * the link before it may be added now, as sources and in no other way. Not called for what
	 * passes the others, nor for what a source sends. NULL: there is nothing of that kind. */
	void (*before_send)(struct mux *mux);
};

/* What a source says when it was asked to go on. */
enum mux_more {
	MUX_MORE,  /* there is more, or may be */
	MUX_PAUSE, /* the same, and what it has done was enough for one turn of the loop */
	MUX_OVER,  /* that was all; it has left the queue and may be added again */
};

/* A place in the queue whose messages are made when the link has room for them. */
struct mux_source {
	struct list link;
	uint64_t at; /* how many bytes of `later`, ever, go before it */
	/* Send the next few with mux_source_send(), at most while there is room. */
	enum mux_more (*more)(struct mux_source *s, struct mux *mux);
};

struct mux {
	struct loop *loop;
	struct watch watch;
	enum proto_side side; /* which one we are */
	const struct mux_ops *ops;
	struct buf in, out;
	struct list sources; /* what goes after `out` */
	struct buf later;    /* and after the first source */
	uint64_t later_gone; /* how many bytes have left `later`, ever */
	uint64_t sent;       /* how many the socket has taken, ever */
	struct htab channels;
	struct list waiting; /* channels that want room in out */
	struct deferred flush;
	struct timer keepalive;
	bool asked;     /* a ping is under way */
	uint64_t heard; /* messages that came to someone here and say what others than the peer
			   itself did */
	bool lost;
	int doomed; /* errno: the queue overflowed, the link ends with the turn */
};

struct channel_ops {
	/* Bytes came; deliver or keep them, and call channel_consumed() for what was delivered. */
	void (*data)(struct channel *c, const uint8_t *p, size_t n);
	/* No more bytes will come. */
	void (*eof)(struct channel *c);
	/* Both directions are over; the channel has left the mux already. error: errno, or 0;
	 * ENOTCONN when it is the link that was lost. */
	void (*reset)(struct channel *c, int error);
	/* channel_room() is no longer 0, or larger than it was. */
	void (*writable)(struct channel *c);
	/* Any other message about the channel; its spans are valid during the call. For a datagram
	 * or a packet channel_consumed(PROTO_MESSAGE_COST()) is owed once it is delivered or
	 * dropped. NULL: the peer may send none. */
	void (*message)(struct channel *c, const struct msg *m);
};

struct channel {
	struct hnode node;
	struct mux *mux; /* NULL: not open */
	uint32_t id;
	const struct channel_ops *ops;
	uint32_t window;      /* either credit at most */
	uint32_t may_send;    /* the peer's credit */
	uint32_t may_receive; /* ours, as the peer knows it */
	uint32_t consumed;    /* delivered, not yet given back as credit */
	bool eof_sent, eof_received;
	struct list waiting;
};

/* mux_init() - serve the stream socket fd (non-blocking from here on; the mux owns it). 0 or
 * -errno, and then fd is still the caller's. */
int mux_init(struct mux *mux, struct loop *loop, int fd, enum proto_side side,
	const struct mux_ops *ops);

/* mux_done() - close the link; its channels are reset first. */
void mux_done(struct mux *mux);

/* mux_fail() - give the link up: the peer broke the protocol or did not answer. */
void mux_fail(struct mux *mux, int error, const char *why);

/* mux_send() - queue a message; it leaves at the end of the turn. A link that is lost drops it. */
void mux_send(struct mux *mux, const struct msg *m);

/* mux_source_init() - once, before anything else. mux_source_add() - its place is behind all that
 * was sent so far; one that is in the queue keeps its place, and a link that is lost takes none.
 * mux_source_del() - it has nothing more to say; idempotent. A lost link does the same. */
void mux_source_init(
	struct mux_source *s, enum mux_more (*more)(struct mux_source *s, struct mux *mux));
void mux_source_add(struct mux *mux, struct mux_source *s);
void mux_source_del(struct mux *mux, struct mux_source *s);

static inline bool mux_source_waits(const struct mux_source *s)
{
	return !list_empty(&s->link);
}

/* mux_source_send(), mux_source_has_room() - only from its more(). */
void mux_source_send(struct mux *mux, const struct msg *m);

static inline bool mux_source_has_room(const struct mux *mux)
{
	return buf_len(&mux->out) < MUX_OUT_LOW;
}

/* mux_flush() - write what is queued until it is gone, waiting for the peer up to ms in all. */
void mux_flush(struct mux *mux, unsigned ms);

/* channel_open() - 0; -EMFILE when there are MUX_CHANNELS_MAX; -EEXIST; -ENOMEM; -ENOTCONN. */
int channel_open(struct channel *c, struct mux *mux, uint32_t id, const struct channel_ops *ops);

/* channel_close() - leave the mux without a word to the peer; for a channel that is over. */
void channel_close(struct channel *c);

/* channel_widen() - right after channel_open(), on both sides: another window than PROTO_WINDOW. */
void channel_widen(struct channel *c, uint32_t window);

/* channel_room() - how many bytes may be sent now, at most PROTO_DATA_MAX. When it is 0, writable()
 * will be called once it is not. */
size_t channel_room(struct channel *c);

/* channel_reserve(), channel_commit() - the place for up to n <= channel_room() bytes inside the
 * frame that will carry them, and how many there are. NULL: no memory. Nothing else may be sent
 * between. */
uint8_t *channel_reserve(struct channel *c, size_t n);
void channel_commit(struct channel *c, size_t n);

/* channel_send() - the same by copy; returns how many bytes were taken. */
size_t channel_send(struct channel *c, const void *p, size_t n);

/* channel_post() - send a datagram or a packet of n bytes, whole, and count its cost. 0; -EAGAIN
 * when the peer's credit or the queue does not take it now: drop it, or wait for writable(). */
int channel_post(struct channel *c, const struct msg *m, size_t n);

void channel_eof(struct channel *c);
void channel_reset(struct channel *c, int error); /* and close it */
void channel_consumed(struct channel *c, size_t n);

/* channel_is_over() - both directions have ended in order. */
bool channel_is_over(const struct channel *c);

#endif
