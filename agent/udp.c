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
#include "udp_mirror.h"
#include "udp_steal.h"

/* What one socket may receive in a turn of the loop, so that a flood holds up nothing else. */
#define UDP_TURN_BYTES (256u << 10)

struct udp {
	struct channel ch;
	struct loop *loop;
	struct watch watch;
	struct deferred release;
	sa_family_t family;
	struct addr bind; /* as it was asked */
	struct addr peer; /* connected to; AF_UNSPEC: to nobody */
	unsigned long dropped;
	struct udp_steal *stolen; /* NULL: an ordinary socket */
	struct udp_mirror copied; /* not open: nothing is mirrored */
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
	udp_steal_close(u->stolen);
	udp_mirror_close(&u->copied);
	loop_del(u->loop, &u->watch);
	close_fd(&fd);
	loop_defer(u->loop, &u->release);
}

static struct addr local_of(const struct udp *u)
{
	struct addr a;

	if (u->stolen || u->copied.mirror)
		return u->bind;
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

/* A copy; the kernel does not know whom a mirrored port is connected to. */
static void got_copy(struct udp_mirror *copied, const struct addr *peer, const uint8_t *p, size_t n)
{
	struct udp *u = container_of(copied, struct udp, copied);

	if (!u->peer.sa.sa_family || addr_equal(&u->peer, peer))
		pass_on(u, peer, p, n);
}

/* A datagram's length and its peer, or -errno; -ENOMSG: it is not for the client. */
static ssize_t receive(struct udp *u, uint8_t *p, size_t n, struct addr *peer)
{
	socklen_t len = sizeof(*peer);
	ssize_t got;

	if (!u->stolen) {
		got = recvfrom(u->watch.fd, p, n, 0, &peer->sa, &len);
		return got < 0 ? -errno : got;
	}
	got = udp_steal_receive(u->stolen, u->watch.fd, p, n, peer);
	/* The kernel does not know whom a stolen port is connected to. */
	if (got >= 0 && u->peer.sa.sa_family && !addr_equal(&u->peer, peer))
		return -ENOMSG;
	return got;
}

/* One attempt to receive: what came of it is told. How many bytes, or -errno; an error that the
 * kernel kept for the socket, as of ICMP, counts as none. */
static ssize_t receive_one(struct udp *u)
{
	static uint8_t bytes[PROTO_DATAGRAM_MAX];
	struct addr peer = { 0 };
	ssize_t n = receive(u, bytes, sizeof(bytes), &peer);

	if (n == -EAGAIN || n == -EINTR)
		return n;
	if (n >= 0)
		pass_on(u, &peer, bytes, (size_t)n);
	else if (n != -ENOMSG)
		tell_error(u, (int)-n, &u->peer);
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

	if (u->stolen)
		return -udp_steal_send(u->stolen, to, s);
	if (udp_mirror_has(&u->copied, to))
		return 0;
	if (addr_equal(&u->peer, to))
		n = send(u->watch.fd, s.data, s.len, MSG_NOSIGNAL);
	else
		n = sendto(u->watch.fd, s.data, s.len, MSG_NOSIGNAL, &peer.sa, addr_len(&peer));
	return n < 0 ? errno : 0;
}

static void udp_send(struct udp *u, const struct msg *m)
{
	const struct addr *to = &m->datagram.peer;
	int error = send_once(u, to, m->datagram.bytes), first = error;

	/* What ICMP has said of an earlier datagram to the connected peer is told instead of
	 * sending this one, once. */
	if (first && first != EAGAIN && u->peer.sa.sa_family)
		error = send_once(u, to, m->datagram.bytes);
	if (first != error)
		tell_error(u, first, &u->peer);
	if (error == EAGAIN)
		u->dropped++;
	else if (error)
		tell_error(u, error, to);
	channel_consumed(&u->ch, PROTO_MESSAGE_COST(m->datagram.bytes.len));
}

/* A wildcard without a port: the socket is connected no more. */
static bool is_nobody(const struct addr *peer)
{
	return addr_is_wildcard(peer) && !addr_port(peer);
}

static void set_peer(struct udp *u, const struct addr *peer)
{
	u->peer = *peer;
	if (is_nobody(peer))
		u->peer = (struct addr){ 0 };
}

static int connect_to(struct udp *u, const struct addr *peer)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	const struct addr to = addr_map(peer, u->family);
	bool off = is_nobody(peer);
	int may = 0, r;

	/* Whether the guest may broadcast is known there: here connect(2) says EACCES. */
	setsockopt(u->watch.fd, SOL_SOCKET, SO_BROADCAST, &may, sizeof(may));
	r = connect(u->watch.fd, off ? &nobody : &to.sa, off ? sizeof(nobody) : addr_len(&to)) < 0
		    ? errno
		    : 0;
	may = 1;
	setsockopt(u->watch.fd, SOL_SOCKET, SO_BROADCAST, &may, sizeof(may));
	if (r)
		return r;
	set_peer(u, peer);
	return 0;
}

/* *local: the address that the peer sees, if there is one. */
static int connect_stolen(struct udp *u, const struct addr *peer, struct addr *local)
{
	int r = 0;

	if (!is_nobody(peer))
		r = udp_steal_source(u->stolen, peer, local);
	if (r == 0)
		set_peer(u, peer);
	return -r;
}

static void udp_connect(struct udp *u, const struct msg *m)
{
	struct msg answer = { .type = MSG_udp_connected, .id = u->ch.id };
	const struct addr *peer = &m->udp_connect.peer;
	struct addr local = u->bind;
	int error = u->stolen ? connect_stolen(u, peer, &local) : connect_to(u, peer);

	answer.udp_connected.error = (uint32_t)error;
	answer.udp_connected.local = u->stolen ? local : local_of(u);
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
		*a = addr_any(family, addr_port(&o->bind));
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
	if (o->mode == INCOMING_OFF && bind_address(o, family, &a) &&
		bind(fd, &a.sa, addr_len(&a)) < 0)
		return err_set(e, -errno, "the target's UDP port %u cannot be had: %s",
			addr_port(&a), strerror(errno));
	return take_fd(&fd);
}

/* What is stolen or mirrored is not bound by us: the pod's own socket is. */
static int take_port(struct udp *u, const struct udp_ports *ports, const struct msg_udp_open *o,
	int *fd, struct err *e)
{
	int r;

	if (o->mode == INCOMING_STEAL)
		return udp_steal_open(&u->stolen, ports->steal, u->family, &o->bind, fd, e);
	r = *fd = make_socket(o, u->family, e);
	if (r < 0 || o->mode == INCOMING_OFF)
		return MIN(r, 0);
	u->copied.datagram = got_copy;
	r = udp_mirror_open(&u->copied, ports->mirror, u->family, &o->bind, e);
	if (r < 0)
		close_fd(fd);
	return r;
}

static int start(
	struct udp *u, const struct udp_ports *ports, const struct msg_udp_open *o, struct err *e)
{
	int fd = -1, r = take_port(u, ports, o, &fd, e);

	if (r < 0)
		return r;
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
	u->bind = m->udp_open.bind;
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

/* How a port was taken over, for people. */
static const char *way(const struct udp *u, const struct udp_ports *ports)
{
	if (u->stolen)
		return steal_method(ports->steal);
	return u->copied.mirror ? "packet ring" : "";
}

static void tell_opened(
	struct mux *mux, uint32_t id, int error, const struct addr *local, const char *text)
{
	struct msg m = {
		.type = MSG_udp_opened,
		.id = id,
		.udp_opened = {
			.error = (uint32_t)-error,
			.local = *local,
			.text = span_of(text),
		},
	};

	log_dbg("channel %u: UDP socket%s%s", id, *text ? ", " : "", text);
	mux_send(mux, &m);
}

int udp_open(struct loop *loop, const struct udp_ports *ports, struct mux *mux, const struct msg *m)
{
	const struct addr *bind = &m->udp_open.bind;
	struct addr local;
	struct udp *u;
	struct err e;
	int r;

	if (!is_sane(m))
		return -EPROTO;
	r = udp_new(&u, loop, mux, m);
	if (r == -EEXIST)
		return -EPROTO;
	if (r < 0) {
		tell_opened(mux, m->id, r, bind, "the agent cannot open another channel");
		return 0;
	}
	r = start(u, ports, &m->udp_open, &e);
	if (r < 0) {
		tell_opened(mux, m->id, r, bind, e.text);
		channel_close(&u->ch);
		udp_close(u);
		return 0;
	}
	local = local_of(u);
	tell_opened(mux, m->id, 0, &local, way(u, ports));
	return 0;
}
