/* Theory of operation. A datagram is sent at once or not at all, and one that arrives goes to the
 * client if the channel takes it now, or is dropped, as a socket with a full queue does.
 *
 * The guest's own send has succeeded before the datagram is sent here, so what goes wrong here is
 * told in `udp_error`: what sendto(2) says, and what ICMP has said to a connected socket, which
 * the kernel keeps and tells at the next call on the socket, whichever it is. */
#include "udp.h"

#include <errno.h>
#include <string.h>

#include "log.h"

/* What one socket may receive in a turn of the loop, so that a flood holds up nothing else. */
#define UDP_TURN_BYTES (256u << 10)

struct udp {
	struct channel ch;
	struct loop *loop;
	struct watch watch;
	struct deferred release;
	sa_family_t family;
	struct addr peer; /* connected to; AF_UNSPEC: to nobody */
	unsigned long dropped;
};

static struct udp *udp_of(struct channel *c)
{
	return container_of(c, struct udp, ch);
}

static void udp_release(struct deferred *d)
{
	free(container_of(d, struct udp, release));
}

static void udp_close(struct udp *u)
{
	int fd = u->watch.fd;

	if (u->dropped)
		log_dbg("channel %u: %lu datagrams dropped", u->ch.id, u->dropped);
	loop_del(u->loop, &u->watch);
	close_fd(&fd);
	loop_defer(u->loop, &u->release);
}

static struct addr local_of(const struct udp *u)
{
	struct addr a;

	if (addr_of_socket(u->watch.fd, &a) < 0)
		return addr_v4(INADDR_ANY, 0);
	return addr_unmap(&a);
}

/* --- from the target --- */

static void tell_error(struct udp *u, int error, const struct addr *peer)
{
	struct msg m = {
		.type = MSG_udp_error,
		.id = u->ch.id,
		.udp_error = { .error = (uint32_t)error, .peer = *peer },
	};

	mux_send(u->ch.mux, &m);
}

static void pass_on(struct udp *u, const struct addr *peer, const uint8_t *p, size_t n)
{
	struct msg m = {
		.type = MSG_datagram,
		.id = u->ch.id,
		.datagram = { .peer = addr_unmap(peer), .bytes = { p, (uint32_t)n } },
	};

	if (channel_post(&u->ch, &m, n) < 0)
		u->dropped++;
}

/* One call of recvfrom(2): what came of it is told. How many bytes, or -errno; an error that the
 * kernel kept for the socket, as of ICMP, counts as none. */
static ssize_t receive_one(struct udp *u)
{
	static uint8_t bytes[PROTO_DATAGRAM_MAX];
	struct addr peer = { 0 };
	socklen_t len = sizeof(peer);
	ssize_t n = recvfrom(u->watch.fd, bytes, sizeof(bytes), 0, &peer.sa, &len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -errno;
	if (n < 0)
		tell_error(u, errno, &u->peer);
	else
		pass_on(u, &peer, bytes, (size_t)n);
	return n < 0 ? 0 : n;
}

static void udp_event(struct watch *w, __attribute__((unused)) uint32_t events)
{
	struct udp *u = container_of(w, struct udp, watch);
	size_t cost = 0;
	ssize_t n;

	while (cost < UDP_TURN_BYTES && (n = receive_one(u)) >= 0)
		cost += PROTO_MESSAGE_COST(n);
}

/* --- from the client --- */

/* The errno of one attempt, or 0. */
static int send_once(const struct udp *u, const struct addr *to, struct span s)
{
	const struct addr peer = addr_map(to, u->family);
	ssize_t n;

	if (addr_equal(&u->peer, to))
		n = send(u->watch.fd, s.data, s.len, MSG_NOSIGNAL);
	else
		n = sendto(u->watch.fd, s.data, s.len, MSG_NOSIGNAL, &peer.sa, addr_len(&peer));
	return n < 0 ? errno : 0;
}

static void udp_send(struct udp *u, const struct msg *m)
{
	const struct addr *to = &m->datagram.peer;
	int error = send_once(u, to, m->datagram.bytes);

	/* The kernel told of an earlier datagram instead; this one has not been sent. */
	if (error == ECONNREFUSED) {
		tell_error(u, error, &u->peer);
		error = send_once(u, to, m->datagram.bytes);
	}
	if (error == EAGAIN)
		u->dropped++;
	else if (error)
		tell_error(u, error, to);
	channel_consumed(&u->ch, PROTO_MESSAGE_COST(m->datagram.bytes.len));
}

/* A wildcard without a port is nobody: the socket is connected no more. */
static int connect_to(struct udp *u, const struct addr *peer)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	const struct addr to = addr_map(peer, u->family);
	bool off = addr_is_wildcard(peer) && !addr_port(peer);

	if (connect(u->watch.fd, off ? &nobody : &to.sa, off ? sizeof(nobody) : addr_len(&to)) < 0)
		return errno;
	u->peer = off ? (struct addr){ 0 } : *peer;
	return 0;
}

static void udp_connect(struct udp *u, const struct msg *m)
{
	struct msg answer = { .type = MSG_udp_connected, .id = u->ch.id };

	answer.udp_connected.error = (uint32_t)connect_to(u, &m->udp_connect.peer);
	answer.udp_connected.local = local_of(u);
	mux_send(u->ch.mux, &answer);
}

static void refuse(struct channel *c)
{
	mux_fail(c->mux, EPROTO, "the peer sent a message that a UDP channel does not take");
}

static void udp_message(struct channel *c, const struct msg *m)
{
	if (m->type == MSG_datagram)
		udp_send(udp_of(c), m);
	else if (m->type == MSG_udp_connect)
		udp_connect(udp_of(c), m);
	else
		refuse(c);
}

static void udp_data(struct channel *c, __attribute__((unused)) const uint8_t *p,
	__attribute__((unused)) size_t n)
{
	refuse(c);
}

static void udp_reset(struct channel *c, __attribute__((unused)) int error)
{
	udp_close(udp_of(c));
}

/* What found no room was dropped. */
static void udp_writable(__attribute__((unused)) struct channel *c)
{
}

static const struct channel_ops udp_channel = {
	.data = udp_data,
	.eof = refuse,
	.reset = udp_reset,
	.writable = udp_writable,
	.message = udp_message,
};

/* --- opening --- */

/* The address to bind to, as the socket's family has it. False: there is none to bind to. */
static bool bind_address(const struct msg_udp_open *o, sa_family_t family, struct addr *a)
{
	if (addr_is_wildcard(&o->bind)) {
		*a = family == AF_INET6 ? addr_v6(&in6addr_any, addr_port(&o->bind))
					: addr_v4(INADDR_ANY, addr_port(&o->bind));
		return addr_port(a);
	}
	*a = addr_map(&o->bind, family);
	return true;
}

/* A socket that is bound as it was asked; the fd or -errno. */
static int make_socket(const struct msg_udp_open *o, sa_family_t family, struct err *e)
{
	cleanup_fd int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	int on = 1, off = 0;
	struct addr a;

	if (fd < 0)
		return err_set(e, errno == EMFILE || errno == ENFILE ? -ENOBUFS : -errno,
			"the agent cannot make a UDP socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind_address(o, family, &a) && bind(fd, &a.sa, addr_len(&a)) < 0)
		return err_set(e, -errno, "the target's UDP port %u cannot be had: %s",
			addr_port(&a), strerror(errno));
	return take_fd(&fd);
}

static int start(struct udp *u, const struct msg_udp_open *o, struct err *e)
{
	int fd, r;

	if (o->mode != INCOMING_OFF)
		return err_set(e, -EOPNOTSUPP, "this agent does not take UDP ports over");
	fd = make_socket(o, u->family, e);
	if (fd < 0)
		return fd;
	r = loop_add(u->loop, &u->watch, fd, EPOLLIN, udp_event);
	if (r < 0) {
		close(fd);
		return err_set(e, r, "the agent cannot watch a socket: %s", strerror(-r));
	}
	return 0;
}

/* A channel without a socket yet. */
static int udp_new(struct udp **out, struct loop *loop, struct mux *mux, const struct msg *m)
{
	struct udp *u = calloc(1, sizeof(*u));
	int r = u ? channel_open(&u->ch, mux, m->id, &udp_channel) : -ENOMEM;

	if (r < 0) {
		free(u);
		return r == -EMFILE ? -ENOBUFS : r;
	}
	u->loop = loop;
	u->watch.fd = -1;
	u->family = m->udp_open.family == PROTO_IPV6 ? AF_INET6 : AF_INET;
	deferred_init(&u->release, udp_release);
	*out = u;
	return 0;
}

static bool is_sane(const struct msg *m)
{
	const struct msg_udp_open *o = &m->udp_open;

	return m->id & PROTO_CLIENT_CHANNEL && o->mode < INCOMING_MODE_MAX &&
	       (o->family == PROTO_IPV4 || o->family == PROTO_IPV6) &&
	       (o->family == PROTO_IPV6 || o->bind.sa.sa_family == AF_INET) &&
	       (o->mode == INCOMING_OFF || addr_port(&o->bind));
}

int udp_open(struct loop *loop, struct mux *mux, const struct msg *m)
{
	struct msg answer = { .type = MSG_udp_opened, .id = m->id };
	struct err e = { "" };
	struct udp *u = NULL;
	int r;

	if (!is_sane(m))
		return -EPROTO;
	answer.udp_opened.local = m->udp_open.bind;
	r = udp_new(&u, loop, mux, m);
	if (r == -EEXIST)
		return -EPROTO;
	if (r < 0)
		err_set(&e, r, "the agent cannot open another channel: %s", strerror(-r));
	else
		r = start(u, &m->udp_open, &e);
	if (r == 0)
		answer.udp_opened.local = local_of(u);
	answer.udp_opened.error = (uint32_t)-r;
	answer.udp_opened.text = span_of(e.text);
	log_dbg("channel %u: UDP socket%s%s", m->id, r ? ", " : "", e.text);
	mux_send(mux, &answer);
	if (r < 0 && u) {
		channel_close(&u->ch);
		udp_close(u);
	}
	return 0;
}
