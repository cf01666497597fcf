/* Theory of operation. Frames are decoded where they were received and encoded where they will be
 * sent from: the bytes of a channel are copied once on each side, between a socket and these
 * buffers. What is queued leaves at the end of the loop's turn, so that the small frames of one
 * turn share a packet. When the queue is above MUX_OUT_HIGH, channels get no room and wait in a
 * list; when it is below MUX_OUT_LOW they are told in the order they came, which is what keeps them
 * even. Control frames are never refused; that their number stays small is the business of who
 * sends them, and a peer that lets MUX_OUT_MAX pile up is taken for dead.
 *
 * The queue is `out`, then the first source, then `later`, in which each further source has its
 * place. The first source fills `out` as that empties; when it is over, what lies between it and
 * the next one moves from `later` to `out`. So a source takes no memory, however much it sends, and
 * what is sent after it waits behind it: for channels it is `later` then that is full or not.
 *
 * Credit, ping and pong are put into `out`, and so pass the sources. Keep-alive says that we live,
 * which is true however long the queue is. Credit is about what we have received and delivered: the
 * peer needs it to go on in the other direction, and can draw no conclusion from it about anything
 * that we send; and there is none for a channel whose opening has not reached the peer, since then
 * nothing came on it.
 *
 * A frame for a channel that is not open is dropped: it crossed our reset on the way. */
#include "mux.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>

/* Reads of a link that cannot be written any more: what the peer said last may say why. */
#define LAST_READS 64

static bool read_in(struct mux *mux);
static void mux_event(struct watch *w, uint32_t events);
static void mux_flush_turn(struct deferred *d);
static void mux_keepalive(struct timer *t);

static bool is_unix(int fd)
{
	int domain = AF_UNSPEC;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

int mux_init(
	struct mux *mux, struct loop *loop, int fd, enum proto_side side, const struct mux_ops *ops)
{
	int flags = fcntl(fd, F_GETFL), on = 1, r;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a unix socket has none */
	*mux = (struct mux){ .loop = loop, .side = side, .ops = ops };
	buf_init(&mux->in, MUX_IN_MAX);
	buf_init(&mux->out, MUX_OUT_MAX);
	buf_init(&mux->later, MUX_LATER_MAX);
	list_init(&mux->sources);
	list_init(&mux->waiting);
	deferred_init(&mux->flush, mux_flush_turn);
	timer_init(&mux->keepalive, mux_keepalive);
	r = loop_add(loop, &mux->watch, fd, EPOLLIN, mux_event);
	if (r < 0)
		return r;
	/* The kernel tells when the peer of a unix socket is dead; one that is only stopped, as by
	 * Ctrl-Z, may take its time. */
	if (!is_unix(fd))
		loop_timer(loop, &mux->keepalive, MUX_KEEPALIVE_MS);
	return 0;
}

static void reset_all(struct mux *mux)
{
	struct hnode *n;

	while ((n = htab_any(&mux->channels))) {
		struct channel *c = container_of(n, struct channel, node);

		channel_close(c);
		c->ops->reset(c, ENOTCONN);
	}
}

/* The end of service, by whatever cause. Idempotent. */
static void shut(struct mux *mux)
{
	int fd = mux->watch.fd;

	mux->lost = true;
	timer_cancel(&mux->keepalive);
	list_del(&mux->flush.link);
	loop_del(mux->loop, &mux->watch);
	close_fd(&fd);
	reset_all(mux);
	buf_done(&mux->in);
	buf_done(&mux->out);
	buf_done(&mux->later);
	while (list_shift(&mux->sources))
		;
}

void mux_done(struct mux *mux)
{
	shut(mux);
	htab_done(&mux->channels);
}

void mux_fail(struct mux *mux, int error, const char *why)
{
	if (mux->lost)
		return;
	shut(mux);
	mux->ops->lost(mux, error, why);
}

/* --- the queue --- */

/* Where the next message goes. */
static struct buf *queue_tail(struct mux *mux)
{
	return list_empty(&mux->sources) ? &mux->out : &mux->later;
}

/* Something was added to the queue, or, with r < 0, could not be. That is told at the turn's end:
 * the caller is in the middle of something. */
static void queued(struct mux *mux, int r)
{
	if (r < 0)
		mux->doomed = -r;
	loop_defer(mux->loop, &mux->flush);
}

static bool passes_others(enum msg_type type)
{
	return type == MSG_ping || type == MSG_pong || type == MSG_credit || type == MSG_hello;
}

static void before_send(struct mux *mux)
{
	if (mux->ops->before_send)
		mux->ops->before_send(mux);
}

void mux_send(struct mux *mux, const struct msg *m)
{
	bool passes = passes_others(m->type);

	if (mux->lost)
		return;
	if (!passes)
		before_send(mux);
	queued(mux, proto_encode(passes ? &mux->out : queue_tail(mux), m));
}

void mux_source_init(
	struct mux_source *s, enum mux_more (*more)(struct mux_source *s, struct mux *mux))
{
	*s = (struct mux_source){ .more = more };
	list_init(&s->link);
}

void mux_source_add(struct mux *mux, struct mux_source *s)
{
	if (mux->lost || mux_source_waits(s))
		return;
	s->at = mux->later_gone + buf_len(&mux->later);
	list_append(&mux->sources, &s->link);
	loop_defer(mux->loop, &mux->flush);
}

/* What lies before the first source now is next. */
static void move_later(struct mux *mux)
{
	size_t n = buf_len(&mux->later);
	int r;

	if (!list_empty(&mux->sources))
		n = list_entry(mux->sources.next, struct mux_source, link)->at - mux->later_gone;
	if (!n)
		return;
	r = buf_put(&mux->out, buf_head(&mux->later), n);
	buf_consume(&mux->later, n);
	mux->later_gone += n;
	queued(mux, r);
}

void mux_source_del(struct mux *mux, struct mux_source *s)
{
	if (!mux_source_waits(s))
		return;
	list_del(&s->link);
	move_later(mux);
}

void mux_source_send(struct mux *mux, const struct msg *m)
{
	int r = proto_encode(&mux->out, m);

	if (r < 0)
		queued(mux, r);
}

/* Let the first source fill the room that there is, and the next ones when it is over. */
static void ask_sources(struct mux *mux)
{
	enum mux_more more = MUX_MORE;

	while (more != MUX_PAUSE && !list_empty(&mux->sources) && mux_source_has_room(mux)) {
		struct mux_source *s = list_entry(mux->sources.next, struct mux_source, link);

		more = s->more(s, mux);
		if (more == MUX_OVER)
			mux_source_del(mux, s);
	}
}

static bool has_queued(const struct mux *mux)
{
	return buf_len(&mux->out) || !list_empty(&mux->sources);
}

/* Write until the queue is empty or the socket full; 0, or -errno when the link is dead. Sources
 * are asked once: a peer as fast as we are would keep us here for all that they have. */
static int write_out(struct mux *mux)
{
	ask_sources(mux);
	while (buf_len(&mux->out)) {
		ssize_t n = send(
			mux->watch.fd, buf_head(&mux->out), buf_len(&mux->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf_consume(&mux->out, (size_t)n);
			mux->sent += (uint64_t)n;
		}
	}
	loop_set(mux->loop, &mux->watch, EPOLLIN | (has_queued(mux) ? EPOLLOUT : 0));
	return 0;
}

/* Tell the waiting channels, those that are waiting now and each once. */
static void wake_waiting(struct mux *mux)
{
	struct list now, *first;

	if (list_empty(&mux->waiting) || buf_len(queue_tail(mux)) >= MUX_OUT_LOW)
		return;
	list_init(&now);
	while ((first = list_shift(&mux->waiting)))
		list_append(&now, first);
	while ((first = list_shift(&now))) {
		struct channel *c = list_entry(first, struct channel, waiting);

		c->ops->writable(c);
	}
}

static void flush_now(struct mux *mux)
{
	int r = write_out(mux);

	for (int i = 0; r < 0 && i < LAST_READS && !mux->lost && read_in(mux); i++)
		;
	if (r < 0)
		mux_fail(mux, -r, strerror(-r));
	else
		wake_waiting(mux);
}

static void mux_flush_turn(struct deferred *d)
{
	struct mux *mux = container_of(d, struct mux, flush);

	if (mux->doomed)
		mux_fail(mux, mux->doomed,
			mux->doomed == ENOBUFS ? "the peer does not take what is queued for it"
					       : strerror(mux->doomed));
	else if (!mux->lost)
		flush_now(mux);
}

void mux_flush(struct mux *mux, unsigned ms)
{
	uint64_t end = now_ns() + ms * (uint64_t)NS_PER_MS;

	while (!mux->lost && write_out(mux) == 0 && has_queued(mux)) {
		struct pollfd p = { .fd = mux->watch.fd, .events = POLLOUT };
		uint64_t now = now_ns();

		if (now >= end)
			break;
		if (poll(&p, 1, (int)((end - now) / 1000000u)) < 0 && errno != EINTR)
			break;
	}
	if (!mux->lost)
		loop_defer(mux->loop, &mux->flush); /* who waits for room is told there */
}

/* --- receiving --- */

static void answer_ping(struct mux *mux, const struct msg *m)
{
	struct msg pong = { .type = MSG_pong, .pong.cookie = m->ping.cookie };

	mux_send(mux, &pong);
}

static struct channel *channel_find(const struct mux *mux, uint32_t id)
{
	struct hnode *n = htab_find(&mux->channels, id);

	return n ? container_of(n, struct channel, node) : NULL;
}

static void got_data(struct channel *c, const struct msg *m)
{
	if (c->eof_received || m->data.bytes.len > c->may_receive) {
		mux_fail(c->mux, EPROTO, "the peer sent more than its credit");
		return;
	}
	c->may_receive -= m->data.bytes.len;
	if (m->data.bytes.len)
		c->ops->data(c, m->data.bytes.data, m->data.bytes.len);
}

static void got_credit(struct channel *c, const struct msg *m)
{
	bool was_low = c->may_send < PROTO_MESSAGE_COST(PROTO_DATA_MAX);

	if (m->credit.bytes > c->window - c->may_send) {
		mux_fail(c->mux, EPROTO, "the peer gave more credit than the window");
		return;
	}
	c->may_send += m->credit.bytes;
	if (was_low && c->may_send)
		c->ops->writable(c);
}

static void got_eof(struct channel *c)
{
	if (c->eof_received)
		return;
	c->eof_received = true;
	c->ops->eof(c);
}

static void got_reset(struct channel *c, const struct msg *m)
{
	channel_close(c);
	c->ops->reset(c, m->reset.error <= PROTO_ERRNO_MAX ? (int)m->reset.error : EPROTO);
}

/* A datagram or a packet: it counts as data does. */
static void got_message(struct channel *c, const struct msg *m, uint32_t cost)
{
	if (!c->ops->message || c->eof_received || cost > c->may_receive) {
		mux_fail(c->mux, EPROTO, "the peer sent a message that its channel does not take");
		return;
	}
	c->may_receive -= cost;
	c->ops->message(c, m);
}

/* What someone beyond the peer has done: all but its answers, and what keeps the link alive. */
static bool is_of_others(const struct msg *m)
{
	switch (m->type) {
	case MSG_incoming:
	case MSG_data:
	case MSG_eof:
	case MSG_reset:
	case MSG_gap:
	case MSG_connected:
	case MSG_packet:
	case MSG_datagram:
	case MSG_udp_error:
		return true;
	case MSG_file_changed:
		return m->file_changed.events; /* none: the answer to file_watch */
	default:
		return false;
	}
}

static void count_heard(struct mux *mux, const struct msg *m)
{
	mux->heard += is_of_others(m);
}

/* A message about a channel; false when it is about something else. */
static bool channel_message(struct mux *mux, const struct msg *m)
{
	struct channel *c = channel_find(mux, m->id);

	if (c)
		count_heard(mux, m);
	switch (m->type) {
	case MSG_data:
		if (c)
			got_data(c, m);
		return true;
	case MSG_credit:
		if (c)
			got_credit(c, m);
		return true;
	case MSG_eof:
		if (c)
			got_eof(c);
		return true;
	case MSG_reset:
		if (c)
			got_reset(c, m);
		return true;
	case MSG_packet:
		if (c)
			got_message(c, m, PROTO_MESSAGE_COST(m->packet.bytes.len));
		return true;
	case MSG_datagram:
		if (c)
			got_message(c, m, PROTO_MESSAGE_COST(m->datagram.bytes.len));
		return true;
	case MSG_file_data:
		if (c)
			got_message(c, m, PROTO_MESSAGE_COST(m->file_data.bytes.len));
		return true;
	case MSG_file_entry:
		if (c)
			got_message(c, m, PROTO_MESSAGE_COST(m->file_entry.name.len));
		return true;
	case MSG_file_opened:
	case MSG_file_end:
	case MSG_connecting:
	case MSG_connected:
	case MSG_udp_opened:
	case MSG_udp_connect:
	case MSG_udp_connected:
	case MSG_udp_error:
		if (c)
			got_message(c, m, 0);
		return true;
	default:
		return false;
	}
}

static void dispatch(struct mux *mux, const struct msg *m)
{
	if (m->type == MSG_ping) {
		answer_ping(mux, m);
	} else if (m->type != MSG_pong && !channel_message(mux, m)) {
		count_heard(mux, m);
		mux->ops->message(mux, m);
	}
}

/* All whole frames that are in hand. */
static void decode_in(struct mux *mux)
{
	enum proto_side from = mux->side == PROTO_CLIENT ? PROTO_AGENT : PROTO_CLIENT;
	struct msg m;
	int n;

	while (!mux->lost && buf_len(&mux->in)) {
		n = proto_decode(buf_head(&mux->in), buf_len(&mux->in), from, &m);
		if (n < 0)
			mux_fail(mux, EPROTO, "the peer does not speak this protocol");
		if (n <= 0)
			return;
		dispatch(mux, &m);
		if (!mux->lost)
			buf_consume(&mux->in, (size_t)n);
	}
}

/* One read; false when there was nothing, or nothing will come any more. */
static bool read_in(struct mux *mux)
{
	uint8_t *to = buf_reserve(&mux->in, 2 * PROTO_FRAME_MAX);
	ssize_t n;

	if (!to) {
		mux_fail(mux, ENOMEM, strerror(ENOMEM));
		return false;
	}
	n = read(mux->watch.fd, to, 2 * PROTO_FRAME_MAX);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		mux_fail(mux, n ? errno : 0, n ? strerror(errno) : "it was closed");
		return false;
	}
	buf_commit(&mux->in, (size_t)n);
	mux->asked = false;
	decode_in(mux);
	return true;
}

static void mux_event(struct watch *w, uint32_t events)
{
	struct mux *mux = container_of(w, struct mux, watch);

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_in(mux);
	if (!mux->lost && events & EPOLLOUT)
		flush_now(mux);
}

static void mux_keepalive(struct timer *t)
{
	struct mux *mux = container_of(t, struct mux, keepalive);
	struct msg ping = { .type = MSG_ping };

	if (mux->asked) {
		mux_fail(mux, ETIMEDOUT, "the peer does not answer");
		return;
	}
	mux->asked = true;
	mux_send(mux, &ping);
	if (!mux->lost)
		loop_timer(mux->loop, &mux->keepalive, MUX_KEEPALIVE_MS);
}

/* --- channels --- */

int channel_open(struct channel *c, struct mux *mux, uint32_t id, const struct channel_ops *ops)
{
	if (mux->lost)
		return -ENOTCONN;
	if (mux->channels.count >= MUX_CHANNELS_MAX)
		return -EMFILE;
	if (channel_find(mux, id))
		return -EEXIST;
	*c = (struct channel){
		.mux = mux,
		.id = id,
		.ops = ops,
	};
	channel_widen(c, PROTO_WINDOW);
	list_init(&c->waiting);
	return htab_add(&mux->channels, &c->node, id);
}

void channel_widen(struct channel *c, uint32_t window)
{
	c->window = c->may_send = c->may_receive = window;
}

void channel_close(struct channel *c)
{
	if (!c->mux)
		return;
	htab_del(&c->mux->channels, &c->node);
	list_del(&c->waiting);
	c->mux = NULL;
}

size_t channel_room(struct channel *c)
{
	if (!c->mux || c->mux->lost || c->eof_sent || !c->may_send)
		return 0;
	if (buf_len(queue_tail(c->mux)) >= MUX_OUT_HIGH) {
		if (list_empty(&c->waiting))
			list_append(&c->mux->waiting, &c->waiting);
		return 0;
	}
	return MIN(c->may_send, (uint32_t)PROTO_DATA_MAX);
}

uint8_t *channel_reserve(struct channel *c, size_t n)
{
	uint8_t *p = buf_reserve(queue_tail(c->mux), PROTO_HEADER + n);

	return p ? p + PROTO_HEADER : NULL;
}

/* The frame has its place already when it is found that a source goes before it: in the rare case
 * that this is the first one, the frame is on the wrong side of it and moves. */
void channel_commit(struct channel *c, size_t n)
{
	struct mux *mux = c->mux;
	struct buf *place = queue_tail(mux), *to;
	uint8_t *frame = place->data + place->tail;
	int r = 0;

	proto_put_header(frame, MSG_data, c->id, (uint32_t)n);
	before_send(mux);
	to = queue_tail(mux);
	if (to == place)
		buf_commit(to, PROTO_HEADER + n);
	else
		r = buf_put(to, frame, PROTO_HEADER + n);
	c->may_send -= (uint32_t)n;
	queued(mux, r);
}

size_t channel_send(struct channel *c, const void *p, size_t n)
{
	size_t done = 0, room;
	uint8_t *to;

	while (done < n && (room = channel_room(c))) {
		room = MIN(room, n - done);
		to = channel_reserve(c, room);
		if (!to)
			break;
		memcpy(to, (const uint8_t *)p + done, room);
		channel_commit(c, room);
		done += room;
	}
	return done;
}

int channel_post(struct channel *c, const struct msg *m, size_t n)
{
	uint32_t cost = PROTO_MESSAGE_COST(n);

	if (!channel_room(c) || c->may_send < cost)
		return -EAGAIN;
	c->may_send -= cost;
	mux_send(c->mux, m);
	return 0;
}

void channel_eof(struct channel *c)
{
	struct msg m = { .type = MSG_eof, .id = c->id };

	if (!c->mux || c->eof_sent)
		return;
	c->eof_sent = true;
	mux_send(c->mux, &m);
}

void channel_reset(struct channel *c, int error)
{
	struct msg m = { .type = MSG_reset, .id = c->id, .reset.error = (uint32_t)error };
	struct mux *mux = c->mux;

	if (!mux)
		return;
	channel_close(c);
	mux_send(mux, &m);
}

void channel_consumed(struct channel *c, size_t n)
{
	struct msg m = { .type = MSG_credit, .id = c->id };

	c->consumed += (uint32_t)n;
	/* Often enough that the sender never waits for it, seldom enough to cost nothing. */
	if (!c->mux || c->eof_received || c->consumed < c->window / 4)
		return;
	m.credit.bytes = c->consumed;
	c->may_receive += c->consumed;
	c->consumed = 0;
	mux_send(c->mux, &m);
}

bool channel_is_over(const struct channel *c)
{
	return c->eof_sent && c->eof_received;
}
