/* Theory of operation. A guest's UDP socket stays a socket of this machine. When its first datagram
 * leaves for the target, or when it binds a port whose datagrams are wanted, it gets an uplink
 * (uplink.h): a channel to a socket in the target's namespace. Sockets that share a port by
 * SO_REUSEADDR or SO_REUSEPORT share the uplink, because the kernel deals its datagrams to them.
 *
 * connect(2) points the guest's socket at the stand-in of its peer, once the agent has connected
 * its own: then send, recv and poll need no help. Calls that name an address are trapped, since
 * the guest knows its peers by their true ones. */
#include "datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "log.h"
#include "route.h"
#include "task.h"
#include "tracer.h"
#include "trap.h"
#include "util.h"

/* A connect(2) of the guest that the agent has not answered, or one whose thread is gone, or the
 * end of a connection, for which nobody waits. */
struct ask {
	struct list link;
	struct call *call; /* or NULL */
	int fd;            /* of the call: kept while it is parked */
	uint64_t cookie;
	struct addr to;
};

/* A bind(2) that waits for the agent. */
struct binding {
	struct call *call;
	struct uplink *uplink;
	int fd;
	struct addr asked;
};

static const struct addr no_addr = { .sa.sa_family = AF_UNSPEC };

static const struct uplink_ops uplink_ops;

static void check_timer(struct timer *timer);
static void check_deferred(struct deferred *d);

static struct datagram_table *table(const struct call *c)
{
	return &c->tracer->datagrams;
}

void datagram_init(struct datagram_table *t, struct tracer *tr)
{
	*t = (struct datagram_table){ .tracer = tr };
	list_init(&t->sockets);
	uplink_table_init(&t->uplinks, tr);
	diag_init(&t->diag);
	timer_init(&t->check, check_timer);
	deferred_init(&t->check_now, check_deferred);
}

/* --- the table --- */

static void ask_free(struct ask *a)
{
	list_del(&a->link);
	close_fd(&a->fd);
	free(a);
}

static void drop_uplink(struct dgram *d)
{
	struct uplink *up = d->uplink;

	d->uplink = NULL;
	if (!up || --up->users)
		return;
	list_for_each_safe (pos, &up->asks)
		ask_free(list_entry(pos, struct ask, link));
	uplink_free(up);
}

static void use_uplink(struct dgram *d, struct uplink *up)
{
	drop_uplink(d);
	d->uplink = up;
	up->users++;
}

static void dgram_free(struct datagram_table *t, struct dgram *d)
{
	drop_uplink(d);
	htab_del(&t->by_cookie, &d->node);
	list_del(&d->link);
	free(d);
}

void datagram_done(struct datagram_table *t)
{
	struct hnode *n;

	timer_cancel(&t->check);
	list_del(&t->check_now.link);
	while ((n = htab_any(&t->by_cookie)))
		dgram_free(t, container_of(n, struct dgram, node));
	htab_done(&t->by_cookie);
	uplink_table_done(&t->uplinks);
	diag_done(&t->diag);
}

static struct dgram *find_cookie(const struct datagram_table *t, uint64_t cookie)
{
	struct hnode *n = cookie ? htab_find(&t->by_cookie, cookie) : NULL;

	return n ? container_of(n, struct dgram, node) : NULL;
}

static void touch(struct datagram_table *t, struct dgram *d)
{
	d->used_ns = now_ns();
	list_del(&d->link);
	list_append(&t->sockets, &d->link);
}

struct dgram *datagram_find(struct datagram_table *t, int fd)
{
	struct dgram *d = t->by_cookie.count ? find_cookie(t, sock_cookie(fd)) : NULL;

	if (d)
		touch(t, d);
	return d;
}

static void forget_oldest(struct datagram_table *t)
{
	list_for_each_safe (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (t->by_cookie.count < DATAGRAM_SOCKETS_MAX)
			return;
		if (!d->parked)
			dgram_free(t, d);
	}
}

static struct dgram *dgram_new(struct datagram_table *t, uint64_t cookie)
{
	struct dgram *d;

	forget_oldest(t);
	d = calloc(1, sizeof(*d));
	if (!d || htab_add(&t->by_cookie, &d->node, cookie) < 0) {
		free(d);
		return NULL;
	}
	d->cookie = cookie;
	d->peer = d->local = d->failed = no_addr;
	list_init(&d->link);
	touch(t, d);
	if (list_empty(&t->check.link))
		loop_timer(&t->tracer->loop, &t->check, DATAGRAM_CHECK_MS);
	return d;
}

static struct dgram *dgram_get(struct datagram_table *t, int fd)
{
	struct dgram *d = datagram_find(t, fd);

	return d ? d : dgram_new(t, sock_cookie(fd));
}

/* --- what exists --- */

static bool is_idle(const struct dgram *d, uint64_t now)
{
	uint64_t used = d->used_ns;

	if (d->uplink && d->uplink->used_ns > used)
		used = d->uplink->used_ns;
	return now - used > DATAGRAM_IDLE_MS * UINT64_C(1000000);
}

static void forget_idle(struct datagram_table *t)
{
	uint64_t now = now_ns();

	list_for_each_safe (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (!d->parked && is_idle(d, now))
			dgram_free(t, d);
	}
}

static void check_sockets(struct datagram_table *t)
{
	struct seen seen;

	if (!t->by_cookie.count)
		return;
	if (diag_see(&t->diag, DIAG_UDP, &seen) < 0) {
		forget_idle(t);
		return;
	}
	list_for_each_safe (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (!d->parked && !seen_has(&seen, d->cookie, DIAG_BOUND))
			dgram_free(t, d);
	}
	seen_done(&seen);
}

static void check_timer(struct timer *timer)
{
	struct datagram_table *t = container_of(timer, struct datagram_table, check);

	check_sockets(t);
	if (t->by_cookie.count)
		loop_timer(&t->tracer->loop, &t->check, DATAGRAM_CHECK_MS);
}

static void check_deferred(struct deferred *d)
{
	check_sockets(container_of(d, struct datagram_table, check_now));
}

void datagram_check_soon(struct datagram_table *t)
{
	if (t->by_cookie.count)
		loop_defer(&t->tracer->loop, &t->check_now);
}

bool datagram_drain(struct datagram_table *t)
{
	return uplink_drain(&t->uplinks);
}

/* --- addresses --- */

static sa_family_t family_of(int fd)
{
	return (sa_family_t)sock_family(fd);
}

static bool takes_only_v6(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return family_of(fd) == AF_INET6 &&
	       getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) == 0 && on;
}

static bool may_broadcast(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, &len) == 0 && on;
}

bool datagram_may_not_broadcast(int fd, const struct addr *to)
{
	struct addr all = addr_v4(INADDR_BROADCAST, 0);
	int on = 0;
	socklen_t len = sizeof(on);

	return addr_same_ip(to, &all) && getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, &len) == 0 &&
	       !on;
}

/* The kernel takes such an address for such a socket, whatever becomes of it then. */
static bool fits(int fd, const struct addr *to)
{
	if (family_of(fd) == AF_INET)
		return to->sa.sa_family == AF_INET;
	return !takes_only_v6(fd) || (to->sa.sa_family == AF_INET6 && !addr_is_v4mapped(to));
}

/* Nowhere is here: the kernel takes loopback for it, too. */
static struct addr destination(const struct addr *to)
{
	struct addr plain = addr_unmap(to);

	if (!addr_is_wildcard(&plain))
		return plain;
	return plain.sa.sa_family == AF_INET ? addr_v4(INADDR_LOOPBACK, addr_port(to))
					     : addr_v6(&in6addr_loopback, addr_port(to));
}

/* The socket's own address. One that has none gets a port as the kernel would give it itself. */
static int own_address(int fd, struct addr *a)
{
	struct addr any = family_of(fd) == AF_INET ? addr_v4(INADDR_ANY, 0)
						   : addr_v6(&in6addr_any, 0);
	int r = addr_of_socket(fd, a);

	if (r < 0 || addr_port(a))
		return r;
	if (bind(fd, &any.sa, addr_len(&any)) < 0)
		return -errno;
	return addr_of_socket(fd, a);
}

/* Whether the guest's socket takes what is sent to that address, by what it asked for. */
static bool takes(const struct dgram *d, const struct addr *to)
{
	if (!d->bound || addr_port(&d->asked) != addr_port(to))
		return false;
	if (addr_is_wildcard(&d->asked))
		return d->asked.sa.sa_family == AF_INET6 || to->sa.sa_family == AF_INET;
	return addr_same_ip(&d->asked, to);
}

bool datagram_is_own(const struct datagram_table *t, const struct addr *to, struct addr *real)
{
	struct addr plain = destination(to);

	list_for_each (pos, &t->sockets) {
		const struct dgram *d = list_entry(pos, struct dgram, link);

		if (!takes(d, &plain))
			continue;
		if (!addr_is_wildcard(&d->real))
			plain = d->real;
		else if (!addr_is_loopback(&plain))
			plain = plain.sa.sa_family == AF_INET ? addr_v4(INADDR_LOOPBACK, 0)
							      : addr_v6(&in6addr_loopback, 0);
		addr_set_port(&plain, addr_port(&d->real));
		*real = addr_map(&plain, to->sa.sa_family);
		return true;
	}
	return false;
}

/* A socket of the guest that was moved is known by the port it asked for. */
static bool is_moved(const struct dgram *d)
{
	return d->bound && addr_port(&d->asked) != addr_port(&d->real);
}

static bool believed_source(const struct datagram_table *t, const struct addr *from, struct addr *a)
{
	list_for_each (pos, &t->sockets) {
		const struct dgram *d = list_entry(pos, struct dgram, link);

		if (!is_moved(d) || addr_port(&d->real) != addr_port(from) ||
			(!addr_is_wildcard(&d->real) && !addr_same_ip(&d->real, from)))
			continue;
		*a = *from;
		addr_set_port(a, addr_port(&d->asked));
		return true;
	}
	return false;
}

static bool is_local_peer(const struct dgram *d, const struct addr *a)
{
	for (unsigned i = 0; i < DATAGRAM_LOCALS_MAX; i++) {
		if (addr_port(&d->locals[i]) && addr_equal(&d->locals[i], a))
			return true;
	}
	return false;
}

void datagram_source(
	struct datagram_table *t, struct dgram *d, sa_family_t family, struct addr *from)
{
	struct addr plain = addr_unmap(from);
	struct standin *s = uplink_find(&t->uplinks, &plain);

	if (s) {
		*from = addr_map(&s->peer, family);
		return;
	}
	believed_source(t, from, from);
	plain = addr_unmap(from);
	if (!is_local_peer(d, &plain))
		d->locals[d->next_local++ % DATAGRAM_LOCALS_MAX] = plain;
}

bool datagram_addresses(
	const struct datagram_table *t, int fd, struct addr *local, struct addr *peer)
{
	const struct dgram *d = t->by_cookie.count ? find_cookie(t, sock_cookie(fd)) : NULL;
	bool connected = d && d->peer.sa.sa_family != AF_UNSPEC;
	struct addr a;

	if (!d)
		return false;
	if (peer) {
		if (connected)
			*peer = addr_map(&d->peer, family_of(fd));
		else if (addr_of_peer(fd, &a) < 0 || !believed_source(t, &a, peer))
			return false;
	}
	if (!local)
		return true;
	if (connected && d->local.sa.sa_family != AF_UNSPEC) {
		*local = addr_map(&d->local, family_of(fd));
		if (d->bound && !d->any_port)
			addr_set_port(local, addr_port(&d->asked));
		return true;
	}
	if (!d->bound || addr_equal(&d->asked, &d->real))
		return false;
	*local = d->asked;
	return true;
}

/* --- where datagrams go --- */

static bool is_near(const struct tracer *tr, const struct addr *to)
{
	return addr_is_loopback(to) || addr_is_wildcard(to) || link_has_address(&tr->link, to);
}

enum side datagram_route(struct call *c, int fd, const struct addr *to, struct addr *real)
{
	struct datagram_table *t = table(c);
	struct tracer *tr = c->tracer;
	struct dgram *d = datagram_find(t, fd);
	struct addr plain = destination(to);

	*real = *to;
	/* Who has sent something is answered on the side that it came from. */
	if (d && d->uplink && uplink_knows(d->uplink, &plain))
		return SIDE_REMOTE;
	if (d && is_local_peer(d, &plain)) {
		datagram_is_own(t, to, real);
		return SIDE_LOCAL;
	}
	if (is_near(tr, &plain) && datagram_is_own(t, to, real))
		return SIDE_LOCAL;
	if (tr->link.here)
		return SIDE_LOCAL;
	return route_to(tr, c, IPPROTO_UDP, to);
}

/* What the agent shall bind its socket to. An address of this machine alone means nothing there. */
static struct addr bind_there(const struct tracer *tr, const struct addr *asked, uint16_t port)
{
	struct addr plain = addr_unmap(asked);
	struct addr any = plain.sa.sa_family == AF_INET ? addr_v4(INADDR_ANY, 0)
							: addr_v6(&in6addr_any, 0);

	if (!is_near(tr, &plain))
		plain = any;
	addr_set_port(&plain, port);
	return plain;
}

/* See that the socket has an uplink, which knows where the socket is. */
static int relay(struct datagram_table *t, struct dgram *d, int fd)
{
	struct addr at, there;
	struct uplink *up;
	int r = own_address(fd, &at);

	if (r < 0)
		return r;
	if (!d->uplink || !uplink_is_open(d->uplink)) {
		there = bind_there(t->tracer, d->bound ? &d->asked : &at,
			addr_port(d->bound ? &d->asked : &at));
		r = uplink_new(&up, &t->uplinks, &uplink_ops, INCOMING_OFF, family_of(fd), &there);
		if (r < 0)
			return r;
		use_uplink(d, up);
	}
	uplink_guest_is_at(d->uplink, &at, takes_only_v6(fd));
	return 0;
}

/* An error that a socket has waiting is told before anything is sent. */
static int pending_error(struct dgram *d, int fd, const struct addr *to)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		return -error;
	if (!d->error || !addr_equal(&d->failed, to))
		return 0;
	error = d->error;
	d->error = 0;
	return -error;
}

int64_t datagram_send(struct datagram_table *t, int fd, const struct addr *to, const uint8_t *p,
	size_t n, size_t segment)
{
	struct addr peer = destination(to);
	struct dgram *d;
	size_t at = 0;
	int r;

	if (MIN(n, segment) > (peer.sa.sa_family == AF_INET ? UPLINK_IPV4_MAX : PROTO_DATAGRAM_MAX))
		return -EMSGSIZE;
	d = dgram_get(t, fd);
	if (!d)
		return -ENOMEM;
	r = pending_error(d, fd, &peer);
	if (r == 0)
		r = relay(t, d, fd);
	if (r < 0)
		return r;
	do {
		size_t one = MIN(segment, n - at);

		r = uplink_send(d->uplink, &peer, p + at, one);
		at += one;
	} while (r == 0 && at < n);
	return r < 0 ? r : (int64_t)n;
}

/* The link is lost, and what waits may wait for a new one: datagram_link_back() goes on, or
 * datagram_link_lost() ends it. */
static bool is_for_now(const struct uplink *up, int error)
{
	return error == ENOTCONN && up->table->tracer->cfg->on_link_loss == LINK_LOSS_RECONNECT;
}

/* --- the way to a new peer --- */

/* A call that sends, and waits until a socket of the agent's has been connected to the peer: there
 * the target's kernel says what it has against it. The socket is used for nothing else. */
struct probe {
	struct call *call;
	struct uplink *uplink;
	int fd;
	struct addr to;
	size_t n, segment;
	uint8_t bytes[];
};

static void probe_free(struct probe *p)
{
	uplink_free(p->uplink);
	close_fd(&p->fd);
	free(p);
}

static void probe_cancel(struct call *c)
{
	probe_free(c->data);
}

/* From now on the peer is known: it has a stand-in. */
static int64_t send_probed(struct datagram_table *t, const struct probe *p)
{
	int64_t n = datagram_send(t, p->fd, &p->to, p->bytes, p->n, p->segment);
	struct dgram *d = n < 0 ? NULL : datagram_find(t, p->fd);
	struct addr peer = destination(&p->to);
	struct standin *s;

	if (d && d->uplink)
		uplink_standin(d->uplink, &peer, &s);
	return n;
}

/* The agent's socket is not connected to a broadcast address; for a guest that may broadcast that
 * is no reason. */
static bool is_way(int error, int fd)
{
	return !error || (error == EACCES && may_broadcast(fd));
}

static void probe_answered(struct uplink *up, int error, const struct addr *local)
{
	struct probe *p = up->opening;
	struct call *c = p->call;
	int64_t r = is_way(error, p->fd) ? send_probed(table(c), p) : -error;

	(void)local;
	probe_free(p);
	call_return(c, r);
}

static void probe_opened(struct uplink *up, int error, struct span text)
{
	(void)text;
	if (error)
		probe_answered(up, error, NULL);
}

static void probe_over(struct uplink *up, int error)
{
	if (!is_for_now(up, error))
		probe_answered(up, ENETUNREACH, NULL);
}

static void probe_failed(struct uplink *up, int error, const struct addr *peer)
{
	(void)up;
	(void)error;
	(void)peer;
}

static const struct uplink_ops probe_ops = {
	.opened = probe_opened,
	.connected = probe_answered,
	.failed = probe_failed,
	.over = probe_over,
};

bool datagram_probe(struct call *c, int fd, const struct addr *to, const uint8_t *bytes, size_t n,
	size_t segment)
{
	struct datagram_table *t = table(c);
	struct dgram *d = datagram_find(t, fd);
	struct addr peer = destination(to);
	struct addr there = family_of(fd) == AF_INET ? addr_v4(INADDR_ANY, 0)
						     : addr_v6(&in6addr_any, 0);
	struct probe *p;

	if (sock_is_nonblocking(fd) || (d && d->uplink && uplink_knows(d->uplink, &peer)))
		return false;
	p = calloc(1, sizeof(*p) + n);
	if (!p)
		return false;
	there = bind_there(c->tracer, d && d->bound ? &d->asked : &there, 0);
	if (uplink_new(&p->uplink, &t->uplinks, &probe_ops, INCOMING_OFF, family_of(fd), &there) <
		0) {
		free(p);
		return false;
	}
	*p = (struct probe){ .call = c,
		.uplink = p->uplink,
		.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
		.to = *to,
		.n = n,
		.segment = segment };
	memcpy(p->bytes, bytes, n);
	p->uplink->opening = p;
	uplink_connect(p->uplink, &peer);
	call_park(c, false, probe_cancel, p);
	return true;
}

/* --- connect --- */

static void seen_at(struct dgram *d, const struct call *c)
{
	d->tgid = c->task->proc ? c->task->proc->tgid : c->task->tid;
	d->fd = c->arg[0];
}

static void parked(struct datagram_table *t, uint64_t cookie, int more)
{
	struct dgram *d = find_cookie(t, cookie);

	if (d)
		d->parked += (unsigned)more;
}

/* The agent's answer is still to come, and counts. */
static void connect_cancel(struct call *c)
{
	struct ask *a = c->data;

	parked(table(c), a->cookie, -1);
	close_fd(&a->fd);
	a->call = NULL;
}

static struct ask *ask_new(struct dgram *d, const struct addr *to)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->fd = -1;
	a->cookie = d->cookie;
	if (to)
		a->to = destination(to);
	list_append(&d->uplink->asks, &a->link);
	uplink_connect(d->uplink, to ? &a->to : NULL);
	return a;
}

/* The agent's socket has no other user. */
static bool is_alone(const struct dgram *d)
{
	return d->uplink && uplink_is_open(d->uplink) && d->uplink->users == 1;
}

/* The socket is connected to nobody beyond the agent any more. One that did not bind to a port
 * loses it with its peer (udp_disconnect() in the kernel). */
static void disconnect(struct dgram *d)
{
	if (!d || d->peer.sa.sa_family == AF_UNSPEC)
		return;
	d->peer = d->local = no_addr;
	if (!is_alone(d))
		return;
	if (d->bound && !d->any_port)
		ask_new(d, NULL);
	else if (list_empty(&d->uplink->asks))
		drop_uplink(d);
}

static int connect_to(int fd, const struct addr *to)
{
	struct addr mapped = addr_map(to, family_of(fd));

	return connect(fd, &mapped.sa, addr_len(&mapped)) < 0 ? -errno : 0;
}

/* Point the guest's socket at its peer's stand-in. */
static int connect_standin(struct dgram *d, int fd, const struct addr *to, const struct addr *local)
{
	struct standin *s;
	int r = uplink_standin(d->uplink, to, &s);

	if (r == 0)
		r = connect_to(fd, &s->at);
	if (r < 0)
		return r;
	d->peer = *to;
	d->local = *local;
	return 0;
}

static void connect_answered(struct uplink *up, int error, const struct addr *local)
{
	struct datagram_table *t = container_of(up->table, struct datagram_table, uplinks);
	struct list *first = list_shift(&up->asks);
	struct ask *a = first ? list_entry(first, struct ask, link) : NULL;
	struct call *c = a ? a->call : NULL;
	struct dgram *d = a ? find_cookie(t, a->cookie) : NULL;
	int r = -error;

	if (c) {
		if (d)
			d->parked--;
		if (is_way(error, a->fd))
			r = d ? connect_standin(d, a->fd, &a->to, local) : -ENETUNREACH;
		call_return(c, r);
	}
	if (a)
		ask_free(a);
}

/* A connection in which the agent's socket has no part: it serves others as well. The stand-in
 * keeps their datagrams away from this one. */
static void connect_sharing(struct call *c, struct dgram *d, int fd, const struct addr *to)
{
	struct addr peer = destination(to);
	const struct addr *local = d->bound && !addr_is_wildcard(&d->asked) ? &d->asked : &no_addr;

	call_return(c, connect_standin(d, fd, &peer, local));
}

static void connect_remote(struct call *c, int fd, const struct addr *to)
{
	struct datagram_table *t = table(c);
	struct dgram *d = dgram_get(t, fd);
	int r = d ? relay(t, d, fd) : -ENOMEM;
	struct ask *a;

	if (r < 0) {
		call_return(c, r);
		return;
	}
	seen_at(d, c);
	if (!is_alone(d)) {
		connect_sharing(c, d, fd, to);
		return;
	}
	a = ask_new(d, to);
	if (!a) {
		call_return(c, -ENOMEM);
		return;
	}
	a->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	a->call = c;
	d->parked++;
	call_park(c, false, connect_cancel, a);
}

static void connect_local(struct call *c, int fd, const struct addr *to, const struct addr *real)
{
	disconnect(datagram_find(table(c), fd));
	if (addr_equal(to, real))
		call_continue(c);
	else
		call_return(c, connect_to(fd, real));
}

void datagram_connect(struct call *c, int fd, const struct addr *to)
{
	struct addr real;

	if (to->sa.sa_family == AF_UNSPEC) {
		disconnect(datagram_find(table(c), fd));
		call_continue(c);
	} else if (!fits(fd, to) || datagram_may_not_broadcast(fd, to)) {
		call_continue(c);
	} else if (datagram_route(c, fd, to, &real) == SIDE_LOCAL) {
		connect_local(c, fd, to, &real);
	} else {
		connect_remote(c, fd, to);
	}
}

/* --- bind --- */

/* A socket of the guest that has the asked port at an address in the way, and still exists. */
static struct dgram *holder(struct datagram_table *t, const struct addr *asked)
{
	for (bool checked = false;; checked = true) {
		struct dgram *found = NULL;

		list_for_each (pos, &t->sockets) {
			struct dgram *d = list_entry(pos, struct dgram, link);

			if (d->bound && addr_port(&d->asked) == addr_port(asked) &&
				sock_overlap(&d->asked, asked))
				found = d;
		}
		if (!found || checked)
			return found;
		check_sockets(t);
	}
}

static int remember(struct datagram_table *t, int fd, const struct addr *asked)
{
	struct dgram *d = dgram_get(t, fd);

	if (!d)
		return -ENOMEM;
	d->bound = true;
	d->asked = *asked;
	d->any_port = !addr_port(asked);
	addr_of_socket(fd, &d->real);
	if (d->any_port)
		addr_set_port(&d->asked, addr_port(&d->real));
	return 0;
}

/* Bind at the asked port, or where a socket of the guest's that shares it is, or elsewhere when
 * somebody else has it. */
static int bind_here(struct datagram_table *t, int fd, const struct addr *asked)
{
	struct sock_table *socks = &t->tracer->socks;
	const struct dgram *own = addr_port(asked) ? holder(t, asked) : NULL;
	uint16_t port = own ? addr_port(&own->real) : addr_port(asked);
	int first = sock_bind_near(socks, fd, asked, port), r = first;
	struct addr real;

	if ((first == -EADDRINUSE && !own) || first == -EACCES)
		r = sock_bind_near(socks, fd, asked, 0);
	if (r < 0)
		return first;
	if (first < 0 && addr_of_socket(fd, &real) == 0)
		sock_say_moved(asked, &real, first, "-lunp");
	return remember(t, fd, asked);
}

static bool wants_remote(const struct tracer *tr, const struct addr *asked)
{
	return tr->cfg->incoming != INCOMING_OFF && tr->link.open && !tr->link.here &&
	       addr_port(asked) && is_near(tr, asked);
}

/* The socket is bound: join it to an uplink, its own or that of a socket which it shares with. */
static void join(struct datagram_table *t, int fd, struct uplink *up)
{
	struct dgram *d = datagram_find(t, fd);

	if (!d || !up)
		return;
	uplink_guest_is_at(up, &d->real, takes_only_v6(fd));
	use_uplink(d, up);
}

static void bind_cancel(struct call *c)
{
	struct binding *b = c->data;

	close_fd(&b->fd);
	b->uplink->opening = NULL;
	uplink_free(b->uplink);
	free(b);
}

static void say_not_had(const struct uplink *up, struct span text)
{
	char why[512];

	log_err("the target's UDP port %u cannot be had: %s", addr_port(&up->bind),
		proto_print(text, why, sizeof(why)));
}

/* text: why not, unless that was said already. */
static void bind_answered(struct uplink *up, int error, const struct span *text)
{
	struct datagram_table *t = container_of(up->table, struct datagram_table, uplinks);
	struct binding *b = up->opening;
	struct call *c = b->call;
	int r = -error;

	up->opening = NULL;
	if (r < 0 && text)
		say_not_had(up, *text);
	/* This agent, or its kernel, cannot: that was said, and is no failure that bind(2) knows.
	 */
	if (r == 0 || r == -EOPNOTSUPP)
		r = bind_here(t, b->fd, &b->asked);
	if (r == 0 && !error) {
		join(t, b->fd, up);
		call_note(c, "%s the target's port %u",
			t->tracer->cfg->incoming == INCOMING_STEAL ? "steals" : "mirrors",
			addr_port(&b->asked));
	}
	if (!up->users)
		uplink_free(up);
	close_fd(&b->fd);
	free(b);
	call_return(c, r);
}

static void bind_remote(struct call *c, int fd, const struct addr *asked)
{
	struct datagram_table *t = table(c);
	unsigned mode = c->tracer->cfg->incoming;
	struct addr there = bind_there(c->tracer, asked, addr_port(asked));
	struct binding *b = calloc(1, sizeof(*b));
	int r = b ? 0 : -ENOMEM;

	if (r == 0)
		r = uplink_new(&b->uplink, &t->uplinks, &uplink_ops, mode, family_of(fd), &there);
	if (r < 0) {
		free(b);
		call_return(c, r);
		return;
	}
	b->call = c;
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	b->asked = *asked;
	b->uplink->opening = b;
	call_park(c, false, bind_cancel, b);
}

void datagram_bind(struct call *c, int fd, const struct addr *asked)
{
	struct datagram_table *t = table(c);
	struct dgram *own = addr_port(asked) ? holder(t, asked) : NULL;
	struct addr at;
	int r;

	if (!fits(fd, asked) || asked->sa.sa_family != family_of(fd) ||
		addr_of_socket(fd, &at) < 0 || addr_port(&at)) {
		call_continue(c);
		return;
	}
	if (!own && wants_remote(c->tracer, asked)) {
		bind_remote(c, fd, asked);
		return;
	}
	r = bind_here(t, fd, asked);
	if (r == 0 && own && own->uplink && own->uplink->mode != INCOMING_OFF)
		join(t, fd, own->uplink);
	call_return(c, r);
}

/* --- what the agent says --- */

/* A duplicate of the socket, by where it was last seen; or -1. */
static int find_again(const struct datagram_table *t, const struct dgram *d)
{
	struct task *task = d->tgid ? task_find(t->tracer, d->tgid) : NULL;
	struct call c = { .tracer = t->tracer, .task = task };
	cleanup_fd int fd = task ? call_dup(&c, d->fd) : -1;

	return fd >= 0 && sock_cookie(fd) == d->cookie ? take_fd(&fd) : -1;
}

/* Nobody was there: have the guest's kernel say so. A datagram that the guest's socket sends to its
 * stand-in while that takes none is refused by ICMP at once, as loopback delivers within the call;
 * and an ICMP error is what makes a connected socket fail, and poll(2) say POLLERR. */
static void bounce(struct datagram_table *t, struct dgram *d)
{
	cleanup_fd int fd = find_again(t, d);
	struct standin *s;

	if (fd < 0 || uplink_standin(d->uplink, &d->peer, &s) < 0)
		return;
	uplink_detach(s);
	send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
	uplink_attach(s);
}

static void failed(struct uplink *up, int error, const struct addr *peer)
{
	struct datagram_table *t = container_of(up->table, struct datagram_table, uplinks);
	char text[ADDR_STRLEN];

	log_dbg("a datagram to %s failed: %s", addr_format(peer, text), strerrorname_np(error));
	list_for_each_safe (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (d->uplink != up)
			continue;
		if (d->peer.sa.sa_family != AF_UNSPEC) {
			if (error == ECONNREFUSED && addr_equal(&d->peer, peer))
				bounce(t, d);
		} else if (error != ECONNREFUSED) {
			d->error = error;
			d->failed = addr_unmap(peer);
		}
	}
}

/* Stand-ins stay as long as the guest's sockets do: what is sent to them is lost as in a network
 * that is down. */
static void over(struct uplink *up, int error)
{
	struct addr none = no_addr;
	int r = error && error != ENOTCONN ? error : ENETUNREACH;

	if (is_for_now(up, error))
		return;
	channel_reset(&up->ch, 0);
	if (up->opening)
		bind_answered(up, r, NULL);
	else
		while (!list_empty(&up->asks))
			connect_answered(up, r, &none);
}

/* The port that the socket has here is taken there. */
static void ask_again(struct uplink *up)
{
	list_for_each (pos, &up->asks) {
		struct ask *a = list_entry(pos, struct ask, link);

		uplink_connect(up, a->to.sa.sa_family != AF_UNSPEC ? &a->to : NULL);
	}
}

/* Of a port, that is told: it was had before the link was lost. */
static void refused(struct uplink *up, int error, struct span text)
{
	if (up->mode != INCOMING_OFF)
		say_not_had(up, text);
	over(up, error);
}

static void opened(struct uplink *up, int error, struct span text)
{
	if (up->opening)
		bind_answered(up, error, &text);
	else if (error && up->mode == INCOMING_OFF && addr_port(&up->bind) &&
		 uplink_reopen(up) == 0)
		ask_again(up);
	else if (error)
		refused(up, error, text);
}

static const struct uplink_ops uplink_ops = {
	.opened = opened,
	.connected = connect_answered,
	.failed = failed,
	.over = over,
};

void datagram_link_lost(struct datagram_table *t)
{
	list_for_each_safe (pos, &t->uplinks.uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		up->ops->over(up, ENETUNREACH);
	}
}

/* Sockets that are connected, too, are connected again. */
static void connect_again(struct datagram_table *t, struct uplink *up)
{
	ask_again(up);
	list_for_each (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (d->uplink == up && is_alone(d) && list_empty(&up->asks) &&
			d->peer.sa.sa_family != AF_UNSPEC)
			ask_new(d, &d->peer);
	}
}

void datagram_link_back(struct datagram_table *t)
{
	list_for_each_safe (pos, &t->uplinks.uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		if (uplink_renew(up) < 0)
			up->ops->over(up, ENETUNREACH);
		else if (up->ops == &probe_ops)
			uplink_connect(up, &((struct probe *)up->opening)->to);
		else
			connect_again(t, up);
	}
}
