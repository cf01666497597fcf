#include "uplink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "dns.h"
#include "log.h"
#include "tracer.h"
#include "util.h"

static void standin_ready(struct watch *w, uint32_t events);
static void local_ready(struct watch *w, uint32_t events);

void uplink_table_init(struct uplink_table *t, struct tracer *tr)
{
	*t = (struct uplink_table){ .tracer = tr };
	list_init(&t->recent);
	list_init(&t->uplinks);
}

void uplink_table_done(struct uplink_table *t)
{
	htab_done(&t->standins);
}

static struct loop *loop_of(const struct uplink *up)
{
	return &up->table->tracer->loop;
}

/* --- stand-ins --- */

static void standin_release(struct deferred *d)
{
	free(container_of(d, struct standin, release));
}

static void unwatch(struct loop *l, struct watch *w)
{
	int fd = w->fd;

	if (fd < 0)
		return;
	loop_del(l, w);
	close(fd);
	w->fd = -1;
}

static void standin_free(struct standin *s)
{
	struct uplink *up = s->uplink;

	unwatch(loop_of(up), &s->watch);
	unwatch(loop_of(up), &s->local);
	htab_del(&up->table->standins, &s->node);
	list_del(&s->link);
	list_del(&s->recent);
	up->nstandins--;
	up->table->nstandins--;
	loop_defer(loop_of(up), &s->release);
}

static void free_standins(struct uplink *up)
{
	list_for_each_safe (pos, &up->standins)
		standin_free(list_entry(pos, struct standin, link));
}

static void used_now(struct standin *s)
{
	list_del(&s->link);
	list_append(&s->uplink->standins, &s->link);
	list_del(&s->recent);
	list_append(&s->uplink->table->recent, &s->recent);
}

static bool evict(struct standin *s)
{
	if (s->held)
		return false;
	standin_free(s);
	return true;
}

/* 0, or -ENOBUFS. */
static int make_room_of(struct uplink *up)
{
	if (up->nstandins < UPLINK_STANDINS_MAX)
		return 0;
	list_for_each_safe (pos, &up->standins) {
		if (evict(list_entry(pos, struct standin, link)))
			return 0;
	}
	return -ENOBUFS;
}

static int make_room_of_all(struct uplink_table *t)
{
	if (t->nstandins < UPLINK_ALL_STANDINS_MAX)
		return 0;
	list_for_each_safe (pos, &t->recent) {
		if (evict(list_entry(pos, struct standin, recent)))
			return 0;
	}
	return -ENOBUFS;
}

static const struct addr *guest_seen_by(const struct standin *s)
{
	return s->at.sa.sa_family == AF_INET ? &s->uplink->reach4 : &s->uplink->reach6;
}

static void take_only(struct standin *s, const struct addr *from)
{
	if (connect(s->watch.fd, &from->sa, addr_len(from)) < 0)
		log_dbg("a stand-in cannot be connected: %s", strerrorname_np(errno));
}

void uplink_attach(struct standin *s)
{
	take_only(s, guest_seen_by(s));
}

/* Connected to itself it takes datagrams of nobody else. */
void uplink_detach(struct standin *s)
{
	take_only(s, &s->at);
}

/* A UDP socket on loopback, connected to the guest's. */
static int open_standin(const struct addr *guest, struct addr *at)
{
	cleanup_fd int fd = -1;
	struct addr here = addr_loopback(guest->sa.sa_family, 0);

	if (guest->sa.sa_family == AF_UNSPEC)
		return -EADDRNOTAVAIL;
	fd = socket(guest->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, &here.sa, addr_len(&here)) < 0 ||
		connect(fd, &guest->sa, addr_len(guest)) < 0 || addr_of_socket(fd, at) < 0)
		return -errno;
	return take_fd(&fd);
}

/* The peer's own family; IPv4 also where there is no IPv6 on this machine. */
static int open_near_guest(const struct uplink *up, const struct addr *peer, struct addr *at)
{
	bool ipv6 = peer->sa.sa_family == AF_INET6 || up->reach4.sa.sa_family == AF_UNSPEC;
	int fd = ipv6 ? open_standin(&up->reach6, at) : -EADDRNOTAVAIL;

	return fd >= 0 || up->only_v6 ? fd : open_standin(&up->reach4, at);
}

static int standin_new(struct uplink *up, const struct addr *peer, struct standin **out)
{
	struct standin *s = calloc(1, sizeof(*s));
	int fd, r;

	if (!s)
		return -ENOMEM;
	fd = r = open_near_guest(up, peer, &s->at);
	if (fd >= 0)
		r = loop_add(loop_of(up), &s->watch, fd, EPOLLIN, standin_ready);
	if (r >= 0) {
		r = htab_add(&up->table->standins, &s->node, addr_port(&s->at));
		if (r < 0)
			loop_del(loop_of(up), &s->watch);
	}
	if (r < 0) {
		close_fd(&fd);
		free(s);
		return r;
	}
	s->uplink = up;
	s->peer = *peer;
	s->local.fd = -1;
	deferred_init(&s->release, standin_release);
	list_append(&up->standins, &s->link);
	list_append(&up->table->recent, &s->recent);
	up->nstandins++;
	up->table->nstandins++;
	*out = s;
	return 0;
}

static struct standin *of_peer(const struct uplink *up, const struct addr *peer)
{
	list_for_each (pos, &up->standins) {
		struct standin *s = list_entry(pos, struct standin, link);

		if (addr_equal(&s->peer, peer))
			return s;
	}
	return NULL;
}

int uplink_standin(struct uplink *up, const struct addr *peer, struct standin **out)
{
	struct addr plain = addr_unmap(peer);
	struct standin *s = of_peer(up, &plain);
	int r;

	if (!s) {
		r = make_room_of(up);
		if (r == 0)
			r = make_room_of_all(up->table);
		return r < 0 ? r : standin_new(up, &plain, out);
	}
	used_now(s);
	*out = s;
	return 0;
}

void uplink_hold(struct uplink *up, const struct addr *peer)
{
	struct standin *s = of_peer(up, peer);

	if (s)
		s->held++;
}

/* It may be another than was held: that of a guest which has moved meanwhile. */
void uplink_let_go(struct uplink *up, const struct addr *peer)
{
	struct standin *s = of_peer(up, peer);

	if (s && s->held)
		s->held--;
}

bool uplink_knows(const struct uplink *up, const struct addr *peer)
{
	return of_peer(up, peer);
}

struct standin *uplink_find(const struct uplink_table *t, const struct addr *at)
{
	for (struct hnode *n = htab_find(&t->standins, addr_port(at)); n; n = htab_next(n)) {
		struct standin *s = container_of(n, struct standin, node);

		if (addr_equal(&s->at, at))
			return s;
	}
	return NULL;
}

/* --- where the guest's socket is --- */

static struct addr reach_in(const struct addr *at, sa_family_t family)
{
	struct addr none = { .sa.sa_family = AF_UNSPEC }, plain = addr_unmap(at);

	if (addr_is_wildcard(at) && (at->sa.sa_family == AF_INET6 || family == AF_INET))
		return addr_loopback(family, addr_port(at));
	return plain.sa.sa_family == family ? plain : none;
}

/* A socket that is connected has the address that its peer sees; it is still found at the others
 * once it is not. So only a new place counts. */
static bool moves(struct addr *reach, const struct addr *now)
{
	bool moved = reach->sa.sa_family != AF_UNSPEC && !addr_equal(reach, now);

	if (now->sa.sa_family == AF_UNSPEC)
		return false;
	*reach = *now;
	return moved;
}

void uplink_guest_is_at(struct uplink *up, const struct addr *at, bool only_v6)
{
	struct addr v4 = reach_in(at, AF_INET), v6 = reach_in(at, AF_INET6);
	bool moved4 = moves(&up->reach4, &v4), moved6 = moves(&up->reach6, &v6);

	up->only_v6 = only_v6;
	if (moved4 || moved6)
		free_standins(up);
}

/* --- from the guest to the peer --- */

static bool has_room(struct uplink *up)
{
	return channel_room(&up->ch) && up->ch.may_send >= PROTO_MESSAGE_COST(PROTO_DATAGRAM_MAX);
}

static int post(struct uplink *up, const struct addr *peer, const uint8_t *p, size_t n)
{
	struct msg m = { .type = MSG_datagram,
		.id = up->ch.id,
		.datagram = { .peer = *peer, .bytes = { p, (uint32_t)n } } };

	if (!up->ch.mux)
		return uplink_is_open(up) ? 0 : -ENETUNREACH;
	up->used_ns = now_ns();
	if (channel_post(&up->ch, &m, n) < 0)
		log_dbg("a datagram of %zu bytes is dropped: the link is full", n);
	return 0;
}

/* Have this machine's name server answer in the peer's place. */
static int ask_here(struct standin *s, const struct addr *server, const uint8_t *p, size_t n)
{
	struct loop *l = loop_of(s->uplink);
	cleanup_fd int fd = -1;

	if (s->local.fd < 0) {
		fd = socket(server->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0 || loop_add(l, &s->local, fd, EPOLLIN, local_ready) < 0) {
			s->local.fd = -1;
			return -ENOBUFS;
		}
		take_fd(&fd);
	}
	/* Connected: nobody else can answer. */
	if (connect(s->local.fd, &server->sa, addr_len(server)) < 0)
		return -errno;
	send(s->local.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return 0;
}

int uplink_send(struct uplink *up, const struct addr *peer, const uint8_t *p, size_t n)
{
	struct addr to = addr_unmap(peer), server;
	struct standin *s;
	int r;

	if (addr_port(&to) != DNS_PORT ||
		names_query(up->table->tracer->names, p, n, &server) == SIDE_REMOTE)
		return post(up, &to, p, n);
	r = uplink_standin(up, &to, &s);
	return r < 0 ? r : ask_here(s, &server, p, n);
}

/* One datagram of the guest. False: there is none, or no room for it. */
static bool pass_on(struct standin *s)
{
	static uint8_t bytes[PROTO_DATAGRAM_MAX];
	ssize_t n;

	if (s->uplink->ch.mux && !has_room(s->uplink)) {
		loop_set(loop_of(s->uplink), &s->watch, 0);
		return false;
	}
	n = recv(s->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	/* An error is that of a datagram which found the guest's socket closed. */
	if (n < 0)
		return errno == ECONNREFUSED || errno == EINTR;
	uplink_send(s->uplink, &s->peer, bytes, (size_t)n);
	return true;
}

static void standin_ready(struct watch *w, uint32_t events)
{
	struct standin *s = container_of(w, struct standin, watch);

	int error;
	socklen_t len = sizeof(error);

	/* Reading it clears it; else it would be told again, also while there is no room. */
	if (events & EPOLLERR)
		getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	used_now(s);
	for (unsigned i = 0; i < UPLINK_BURST && pass_on(s); i++)
		;
}

static void got_room(struct channel *ch)
{
	struct uplink *up = container_of(ch, struct uplink, ch);

	list_for_each (pos, &up->standins) {
		struct standin *s = list_entry(pos, struct standin, link);

		loop_set(loop_of(up), &s->watch, EPOLLIN);
	}
}

bool uplink_drain(struct uplink_table *t)
{
	bool more = false;

	list_for_each (pos, &t->uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		list_for_each_safe (at, &up->standins) {
			struct standin *s = list_entry(at, struct standin, link);

			while (pass_on(s))
				;
			more |= up->ch.mux && !has_room(up);
		}
	}
	return more;
}

/* --- from the peer to the guest --- */

static void deliver(struct standin *s, const void *p, size_t n)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

	if (addr_port(&s->peer) == DNS_PORT)
		names_answer(s->uplink->table->tracer->names, p, n);
	if (send(s->watch.fd, p, n, flags) >= 0 || errno != ECONNREFUSED)
		return;
	/* It was refused earlier: that socket may be gone, and this is the first we hear of it. */
	datagram_check_soon(&s->uplink->table->tracer->datagrams);
	send(s->watch.fd, p, n, flags);
}

static void local_ready(struct watch *w, uint32_t events)
{
	struct standin *s = container_of(w, struct standin, local);
	static uint8_t bytes[PROTO_DATAGRAM_MAX];
	ssize_t n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (n >= 0)
		deliver(s, bytes, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		s->uplink->ops->failed(s->uplink, errno, &s->peer);
}

static void got_datagram(struct uplink *up, const struct msg *m)
{
	struct span bytes = m->datagram.bytes;
	struct standin *s;
	int r = uplink_standin(up, &m->datagram.peer, &s);

	up->used_ns = now_ns();
	if (r == 0)
		deliver(s, bytes.data, bytes.len);
	else
		log_dbg("a datagram of the target is dropped: %s", strerrorname_np(-r));
	channel_consumed(&up->ch, PROTO_MESSAGE_COST(bytes.len));
}

/* --- the channel --- */

static int errno_of(uint32_t error)
{
	return error > PROTO_ERRNO_MAX ? EPROTO : (int)error;
}

static int open_channel(struct uplink *up);

/* The target has no IPv6. A guest's socket of both families can send to IPv4 all the same. */
static bool reopen_as_ipv4(struct uplink *up, int error)
{
	bool any = addr_is_wildcard(&up->bind);

	if (error != EAFNOSUPPORT || up->family != AF_INET6 || up->only_v6 ||
		(!any && up->bind.sa.sa_family != AF_INET))
		return false;
	if (any)
		up->bind = addr_v4(INADDR_ANY, addr_port(&up->bind));
	up->family = AF_INET;
	channel_close(&up->ch);
	return open_channel(up) == 0;
}

static void got_opened(struct uplink *up, int error, struct span text)
{
	if (reopen_as_ipv4(up, error))
		up->ops->renewed(up);
	else
		up->ops->opened(up, error, text);
}

static void got_message(struct channel *ch, const struct msg *m)
{
	struct uplink *up = container_of(ch, struct uplink, ch);

	switch (m->type) {
	case MSG_udp_opened:
		got_opened(up, errno_of(m->udp_opened.error), m->udp_opened.text);
		break;
	case MSG_udp_connected:
		up->ops->connected(up, errno_of(m->udp_connected.error), &m->udp_connected.local);
		break;
	case MSG_udp_error:
		up->ops->failed(up, errno_of(m->udp_error.error), &m->udp_error.peer);
		break;
	case MSG_datagram:
		got_datagram(up, m);
		break;
	default:
		break;
	}
}

static void got_reset(struct channel *ch, int error)
{
	struct uplink *up = container_of(ch, struct uplink, ch);

	up->ops->over(up, error);
}

/* Nothing of a stream is sent here: whoever does is reset. */
static void got_data(struct channel *ch, const uint8_t *p, size_t n)
{
	(void)p;
	channel_consumed(ch, n);
}

static void got_eof(struct channel *ch)
{
	(void)ch;
}

static const struct channel_ops channel_ops = {
	.data = got_data,
	.eof = got_eof,
	.reset = got_reset,
	.writable = got_room,
	.message = got_message,
};

void uplink_connect(struct uplink *up, const struct addr *peer)
{
	struct addr none = addr_v4(INADDR_ANY, 0);
	struct msg m = { .type = MSG_udp_connect,
		.id = up->ch.id,
		.udp_connect.peer = peer ? addr_unmap(peer) : none };

	if (up->ch.mux)
		mux_send(up->ch.mux, &m);
}

bool uplink_is_open(const struct uplink *up)
{
	return up->ch.mux || link_may_return(&up->table->tracer->link);
}

static void uplink_release(struct deferred *d)
{
	free(container_of(d, struct uplink, release));
}

static int open_channel(struct uplink *up)
{
	struct tracer *tr = up->table->tracer;
	struct msg m = { .type = MSG_udp_open,
		.id = outgoing_channel(&tr->outgoing),
		.udp_open = { .mode = (uint8_t)up->mode,
			.family = up->family == AF_INET ? PROTO_IPV4 : PROTO_IPV6,
			.bind = up->bind } };
	int r = tr->link.open ? channel_open(&up->ch, &tr->link.mux, m.id, &channel_ops)
			      : -ENOTCONN;

	if (r == 0)
		mux_send(&tr->link.mux, &m);
	if (r == -ENOTCONN)
		return uplink_is_open(up) ? 0 : -ENETUNREACH;
	return r;
}

int uplink_new(struct uplink **out, struct uplink_table *t, const struct uplink_ops *ops,
	unsigned mode, sa_family_t family, const struct addr *bind)
{
	struct uplink *up = calloc(1, sizeof(*up));
	int r;

	if (!up)
		return -ENOMEM;
	up->table = t;
	up->ops = ops;
	up->mode = mode;
	up->family = family;
	up->bind = addr_unmap(bind);
	r = open_channel(up);
	if (r < 0) {
		free(up);
		return r;
	}
	up->used_ns = now_ns();
	list_init(&up->standins);
	list_init(&up->asks);
	list_append(&t->uplinks, &up->link);
	deferred_init(&up->release, uplink_release);
	*out = up;
	return 0;
}

int uplink_reopen(struct uplink *up)
{
	channel_close(&up->ch);
	addr_set_port(&up->bind, 0);
	return open_channel(up);
}

int uplink_renew(struct uplink *up)
{
	return up->ch.mux ? 0 : open_channel(up);
}

void uplink_free(struct uplink *up)
{
	if (!up)
		return;
	list_for_each_safe (pos, &up->standins) {
		struct standin *s = list_entry(pos, struct standin, link);

		while (up->ch.mux && pass_on(s))
			;
	}
	free_standins(up);
	list_del(&up->link);
	channel_reset(&up->ch, 0);
	loop_defer(loop_of(up), &up->release);
}
