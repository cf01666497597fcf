/* connect(2). The guest's socket is pointed at the stand-in of its peer, once the agent has
 * connected its own: then send, recv and poll need no help. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "dgram.h"
#include "route.h"
#include "sock.h"
#include "task.h"
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

static void ask_free(struct ask *a)
{
	list_del(&a->link);
	close_fd(&a->fd);
	free(a);
}

/* The agent's socket is not connected to a broadcast address; for a guest that may broadcast that
 * is no reason. */
bool dgram_is_way(int error, int fd)
{
	return !error || (error == EACCES && dgram_may_broadcast(fd));
}

void dgram_asks_free(struct uplink *up)
{
	list_for_each_safe (pos, &up->asks)
		ask_free(list_entry(pos, struct ask, link));
}

static void seen_at(struct dgram *d, const struct call *c)
{
	d->tgid = c->task->proc ? c->task->proc->tgid : c->task->tid;
	d->fd = c->arg[0];
}

static void parked(struct datagram_table *t, uint64_t cookie, int more)
{
	struct dgram *d = dgram_find(t, cookie);

	if (d)
		d->parked += (unsigned)more;
}

/* The agent's answer is still to come, and counts. */
static void connect_cancel(struct call *c)
{
	struct ask *a = c->data;

	parked(dgram_table(c), a->cookie, -1);
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
		a->to = addr_meant(to);
	list_append(&d->uplink->asks, &a->link);
	uplink_connect(d->uplink, to ? &a->to : NULL);
	return a;
}

bool dgram_is_alone(const struct dgram *d)
{
	return d->uplink && uplink_is_open(d->uplink) && d->uplink->users == 1;
}

static void set_peer(struct dgram *d, const struct addr *peer, const struct addr *local)
{
	if (d->uplink && d->peer.sa.sa_family != AF_UNSPEC)
		uplink_let_go(d->uplink, &d->peer);
	if (peer->sa.sa_family != AF_UNSPEC)
		uplink_hold(d->uplink, peer);
	d->peer = *peer;
	d->local = *local;
}

/* The socket is connected to nobody beyond the agent any more. One that did not bind to a port
 * loses it with its peer (udp_disconnect() in the kernel). */
static void disconnect(struct dgram *d)
{
	if (!d || d->peer.sa.sa_family == AF_UNSPEC)
		return;
	set_peer(d, &dgram_no_addr, &dgram_no_addr);
	if (!dgram_is_alone(d))
		return;
	if (d->bound && !d->any_port)
		ask_new(d, NULL);
	else if (list_empty(&d->uplink->asks))
		dgram_drop_uplink(d);
}

void dgram_ask_again(struct uplink *up)
{
	list_for_each (pos, &up->asks) {
		struct ask *a = list_entry(pos, struct ask, link);

		uplink_connect(up, a->to.sa.sa_family != AF_UNSPEC ? &a->to : NULL);
	}
}

void dgram_connect_again(struct dgram *d)
{
	if (dgram_is_alone(d) && list_empty(&d->uplink->asks) && d->peer.sa.sa_family != AF_UNSPEC)
		ask_new(d, &d->peer);
}

static int connect_to(int fd, const struct addr *to)
{
	struct addr mapped = addr_map(to, sock_family(fd));

	return connect(fd, &mapped.sa, addr_len(&mapped)) < 0 ? -errno : 0;
}

/* Stand-ins of sockets that are no more may be in the way. */
static int get_standin(struct dgram *d, const struct addr *to, struct standin **s)
{
	int r = uplink_standin(d->uplink, to, s);

	if (r != -ENOBUFS)
		return r;
	dgram_check(dgram_table_of(d->uplink));
	return uplink_standin(d->uplink, to, s);
}

/* Point the guest's socket at its peer's stand-in. */
static int connect_standin(struct dgram *d, int fd, const struct addr *to, const struct addr *local)
{
	struct standin *s;
	int r = get_standin(d, to, &s);

	if (r == 0)
		r = connect_to(fd, &s->at);
	if (r < 0)
		return r;
	set_peer(d, to, local);
	return 0;
}

void dgram_connected(struct uplink *up, int error, const struct addr *local)
{
	struct datagram_table *t = dgram_table_of(up);
	struct list *first = list_shift(&up->asks);
	struct ask *a = first ? list_entry(first, struct ask, link) : NULL;
	struct call *c = a ? a->call : NULL;
	struct dgram *d = a ? dgram_find(t, a->cookie) : NULL;
	int r = -error;

	if (c) {
		if (d)
			d->parked--;
		if (dgram_is_way(error, a->fd))
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
	struct addr peer = addr_meant(to);
	const struct addr *local = d->bound && !addr_is_wildcard(&d->asked) ? &d->asked
									    : &dgram_no_addr;

	call_return(c, connect_standin(d, fd, &peer, local));
}

static void connect_remote(struct call *c, int fd, const struct addr *to)
{
	struct datagram_table *t = dgram_table(c);
	struct dgram *d = dgram_get(t, fd);
	int r = d ? dgram_relay(t, d, fd) : -ENOMEM;
	struct ask *a;

	if (r < 0) {
		call_return(c, r);
		return;
	}
	seen_at(d, c);
	if (!dgram_is_alone(d)) {
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
	disconnect(datagram_find(dgram_table(c), fd));
	if (addr_equal(to, real))
		call_continue(c);
	else
		call_return(c, connect_to(fd, real));
}

void datagram_connect(struct call *c, int fd, const struct addr *to)
{
	struct addr real;

	if (to->sa.sa_family == AF_UNSPEC) {
		disconnect(datagram_find(dgram_table(c), fd));
		call_continue(c);
	} else if (!dgram_fits(fd, to) || datagram_may_not_broadcast(fd, to)) {
		call_continue(c);
	} else if (datagram_route(c, fd, to, &real) == SIDE_LOCAL) {
		connect_local(c, fd, to, &real);
	} else {
		connect_remote(c, fd, to);
	}
}
