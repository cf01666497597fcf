/* Theory of operation. The two directions are independent:
 *
 *   socket → channel   read while the channel has room, straight into the frame; end of file is
 * sent as eof; nothing is kept here. channel → socket   written at once; what the socket does not
 * take waits in pending, at most one window, and its credit is given back when it has been written.
 *
 * Events asked of the socket follow from that: EPOLLIN while there is room, EPOLLOUT while
 * something is pending. A socket error (a reset by its peer) is always reported by epoll. */
#include "relay.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const struct channel_ops relay_channel;

static struct relay *relay_of(struct channel *c)
{
	return container_of(c, struct relay, ch);
}

/* The end of the relay. reset: the socket's peer is to see a reset, not an end of file. */
static void finish(struct relay *r, int error, bool reset)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	int fd = r->watch.fd;

	loop_del(r->loop, &r->watch);
	if (reset && fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fd(&fd);
	channel_close(&r->ch);
	buf_done(&r->pending);
	packets_done(&r->packets);
	r->over(r, error);
}

void relay_abort(struct relay *r, int error)
{
	channel_reset(&r->ch, error);
	finish(r, error, true);
}

void relay_refuse(struct relay *r, int error)
{
	if (!r->connected) {
		relay_abort(r, error);
		return;
	}
	r->connected(r, error);
	finish(r, error, true);
}

static bool is_over(const struct relay *r)
{
	return channel_is_over(&r->ch) && r->write_over;
}

/* There is something to be written to the socket. */
static bool has_pending(const struct relay *r)
{
	return r->seqpacket ? packets_ready(&r->packets, &r->pending) : buf_len(&r->pending);
}

/* What the socket has sent can be passed on. */
static bool may_read(struct relay *r)
{
	if (r->seqpacket)
		return packets_may_read(&r->packets, &r->ch);
	return r->drop_replies || channel_room(&r->ch);
}

static void want_events(struct relay *r)
{
	uint32_t events = 0;

	if (r->connecting || has_pending(r))
		events |= EPOLLOUT;
	if (!r->connecting && !r->read_over && may_read(r))
		events |= EPOLLIN;
	/* A hang-up is reported also when nothing is asked for: once is enough. */
	loop_set(r->loop, &r->watch, events ? events : EPOLLET);
}

/* The channel's last byte has been written: pass its end on. */
static void shut_if_drained(struct relay *r)
{
	if (!r->ch.eof_received || buf_len(&r->pending) || r->write_over || r->connecting)
		return;
	shutdown(r->watch.fd, SHUT_WR);
	r->write_over = true;
}

/* Write what the socket takes of n bytes; how many, or -errno. */
static ssize_t write_some(struct relay *r, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t w = send(r->watch.fd, p + done, n - done, MSG_NOSIGNAL);

		if (w < 0 && errno == EAGAIN)
			break;
		if (w < 0 && errno != EINTR)
			return -errno;
		if (w > 0)
			done += (size_t)w;
	}
	return (ssize_t)done;
}

/* Write what the socket takes of what is pending; how much credit that gives back, or -errno. */
static ssize_t write_pending(struct relay *r)
{
	ssize_t n;

	if (r->seqpacket)
		return packets_write(&r->packets, &r->pending, r->watch.fd);
	n = buf_len(&r->pending) ? write_some(r, buf_head(&r->pending), buf_len(&r->pending)) : 0;
	if (n > 0)
		buf_consume(&r->pending, (size_t)n);
	return n;
}

static ssize_t read_packet(struct relay *r)
{
	int n = packets_may_read(&r->packets, &r->ch)
			? packets_read(&r->packets, r->watch.fd, &r->ch)
			: -EAGAIN;

	errno = n < 0 ? -n : 0;
	return n < 0 ? -1 : n;
}

/* One read of the socket, into a frame or to nowhere; what read(2) returned. */
static ssize_t read_stream(struct relay *r)
{
	static uint8_t nowhere[PROTO_DATA_MAX];
	size_t room = r->drop_replies ? sizeof(nowhere) : channel_room(&r->ch);
	uint8_t *to = r->drop_replies ? nowhere : room ? channel_reserve(&r->ch, room) : NULL;
	ssize_t n;

	if (!to) {
		errno = room ? ENOMEM : EAGAIN;
		return -1;
	}
	n = read(r->watch.fd, to, room);
	if (n > 0 && !r->drop_replies)
		channel_commit(&r->ch, (size_t)n);
	return n;
}

static ssize_t read_some(struct relay *r)
{
	return r->seqpacket ? read_packet(r) : read_stream(r);
}

/* The socket was reset. What arrived before the reset can still be read: it is passed on as the
 * channel has room for it, and the reset after it. Nothing is written any more. */
static void socket_failed(struct relay *r, int error)
{
	socklen_t len = sizeof(int);
	ssize_t n = 1;
	int told;

	/* The kernel would tell it before the packets of a unix socket. */
	getsockopt(r->watch.fd, SOL_SOCKET, SO_ERROR, &told, &len);
	if (!r->failed)
		r->failed = error;
	packets_drop(&r->packets, &r->pending);
	while (n > 0 && !r->read_over && may_read(r))
		n = read_some(r);
	if (n > 0 && !r->read_over)
		want_events(r);
	else
		relay_abort(r, n < 0 && errno != EAGAIN ? errno : r->failed);
}

static void refuse(struct channel *c)
{
	mux_fail(c->mux, EPROTO, "the peer sent a message that its channel does not take");
}

static void relay_data(struct channel *c, const uint8_t *p, size_t n)
{
	struct relay *r = relay_of(c);
	ssize_t done = 0;

	if (r->tap)
		r->tap(r, p, n);
	if (r->seqpacket) {
		refuse(c);
		return;
	}
	if (r->failed)
		done = (ssize_t)n;
	else if (!r->connecting && !buf_len(&r->pending))
		done = write_some(r, p, n);
	if (done < 0) {
		socket_failed(r, (int)-done);
		return;
	}
	if ((size_t)done < n && buf_put(&r->pending, p + done, n - (size_t)done) < 0) {
		relay_abort(r, ENOBUFS);
		return;
	}
	channel_consumed(c, (size_t)done);
	want_events(r);
}

/* False when the socket failed. */
static bool write_socket(struct relay *r)
{
	ssize_t n = write_pending(r);

	if (n < 0) {
		socket_failed(r, (int)-n);
		return false;
	}
	channel_consumed(&r->ch, (size_t)n);
	shut_if_drained(r);
	return true;
}

static void relay_eof(struct channel *c)
{
	struct relay *r = relay_of(c);

	if (r->packets.open) {
		relay_abort(r, EPROTO); /* in the middle of a packet */
		return;
	}
	shut_if_drained(r);
	if (is_over(r))
		finish(r, 0, false);
}

/* The link is lost, but the peer's stream had come to its end before: the socket gets all of it. */
static void deliver_rest(struct relay *r)
{
	r->ch.eof_sent = r->read_over = true; /* nobody is left to send to */
	shut_if_drained(r);
	if (r->write_over)
		finish(r, 0, false);
	else
		want_events(r);
}

static void relay_reset(struct channel *c, int error)
{
	struct relay *r = relay_of(c);

	if (error == ENOTCONN && c->eof_received && !r->connecting) {
		deliver_rest(r);
		return;
	}
	/* The socket may have been connected just now. */
	if (r->watch.fd >= 0)
		write_pending(r);
	finish(r, error ? error : ECONNRESET, true);
}

static void relay_writable(struct channel *c)
{
	struct relay *r = relay_of(c);

	packets_send_rest(&r->packets, c);
	want_events(r);
}

static void relay_packet(struct relay *r, const struct msg_packet *m)
{
	int error;

	if (r->failed) {
		channel_consumed(&r->ch, PROTO_MESSAGE_COST(m->bytes.len));
		return;
	}
	error = packets_put(&r->packets, &r->pending, m);
	if (error < 0)
		relay_abort(r, -error);
	else if (r->connecting || write_socket(r))
		want_events(r);
}

static void relay_message(struct channel *c, const struct msg *m)
{
	struct relay *r = relay_of(c);

	if (m->type == MSG_packet && r->seqpacket)
		relay_packet(r, &m->packet);
	else if (r->message)
		r->message(r, m);
	else
		refuse(c);
}

static const struct channel_ops relay_channel = {
	.data = relay_data,
	.eof = relay_eof,
	.reset = relay_reset,
	.writable = relay_writable,
	.message = relay_message,
};

/* False when the relay is over. */
static bool read_socket(struct relay *r)
{
	ssize_t n = read_some(r);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		relay_abort(r, errno);
		return false;
	}
	if (n == 0) {
		r->read_over = true;
		channel_eof(&r->ch);
	}
	return true;
}

/* False when the connection failed, and with it the relay. */
static bool connected(struct relay *r)
{
	int error = 0;
	socklen_t len = sizeof(error);
	bool reset;

	getsockopt(r->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	/* Reset, it had been connected: there may be bytes from before. */
	reset = error == ECONNRESET || error == EPIPE;

	if (error && !reset) {
		relay_refuse(r, error);
		return false;
	}
	r->connecting = false;
	if (r->connected)
		r->connected(r, 0);
	if (reset)
		socket_failed(r, error);
	return !reset;
}

/* The peer of a unix socket that is closed hangs up, too; what it had sent before is whole. */
static bool hangup_is_reset(const struct relay *r)
{
	int domain = AF_UNSPEC;
	socklen_t len = sizeof(domain);

	getsockopt(r->watch.fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
	return !r->write_over && domain != AF_UNIX;
}

static void relay_event(struct watch *w, uint32_t events)
{
	struct relay *r = container_of(w, struct relay, watch);

	if (r->connecting && !connected(r))
		return;
	/* A reset shows as an error, and as the end of both directions when the error was taken. */
	if (r->failed || events & EPOLLERR ||
		(events & EPOLLHUP && r->read_over && hangup_is_reset(r))) {
		socket_failed(r, ECONNRESET);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP) && !r->read_over && !read_socket(r))
		return;
	if (!write_socket(r))
		return;
	if (is_over(r))
		finish(r, 0, false);
	else
		want_events(r);
}

int relay_connect(struct relay *r, int fd)
{
	uint32_t events = r->connecting ? EPOLLOUT : EPOLLIN;
	int error = r->seqpacket ? packets_prepare(fd) : 0;

	if (error == 0)
		error = loop_add(r->loop, &r->watch, fd, events, relay_event);
	if (error < 0)
		close_fd(&fd);
	return error;
}

int relay_start(struct relay *r, struct loop *loop, struct mux *mux, uint32_t id, int fd,
	bool connecting, void (*over)(struct relay *r, int error))
{
	int error;

	r->loop = loop;
	r->watch.fd = -1;
	r->connecting = connecting || fd < 0;
	r->read_over = r->write_over = false;
	r->failed = 0;
	r->over = over;
	buf_init(&r->pending, PROTO_WINDOW);
	packets_init(&r->packets);
	error = channel_open(&r->ch, mux, id, &relay_channel);
	if (error < 0) {
		close_fd(&fd);
		return error;
	}
	error = fd < 0 ? 0 : relay_connect(r, fd);
	if (error < 0)
		channel_close(&r->ch);
	return error;
}
