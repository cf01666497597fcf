/* What addresses mean: to the guest, to its kernel, to the target. A guest knows its peers by their
 * true addresses and its own sockets by what it has bound them to; the kernel knows stand-ins and
 * the ports that were free here. */
#include <errno.h>

#include "dgram.h"
#include "route.h"
#include "util.h"

bool dgram_may_broadcast(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, &len) == 0 && on;
}

bool datagram_may_not_broadcast(int fd, const struct addr *to)
{
	struct addr all = addr_v4(INADDR_BROADCAST, 0);

	return addr_same_ip(to, &all) && !dgram_may_broadcast(fd);
}

bool dgram_fits(int fd, const struct addr *to)
{
	if (sock_family(fd) == AF_INET)
		return to->sa.sa_family == AF_INET;
	return !sock_only_v6(fd) || (to->sa.sa_family == AF_INET6 && !addr_is_v4mapped(to));
}

int dgram_own_address(int fd, struct addr *a)
{
	struct addr any = addr_any(sock_family(fd), 0);
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
	struct addr plain = addr_meant(to);

	list_for_each (pos, &t->sockets) {
		const struct dgram *d = list_entry(pos, struct dgram, link);

		if (!takes(d, &plain))
			continue;
		if (!addr_is_wildcard(&d->real))
			plain = d->real;
		else if (!addr_is_loopback(&plain))
			plain = addr_loopback(plain.sa.sa_family, 0);
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
	const struct dgram *d = t->by_cookie.count ? dgram_find(t, sock_cookie(fd)) : NULL;
	bool connected = d && d->peer.sa.sa_family != AF_UNSPEC;
	struct addr a;

	if (!d)
		return false;
	if (peer) {
		if (connected)
			*peer = addr_map(&d->peer, sock_family(fd));
		else if (addr_of_peer(fd, &a) < 0 || !believed_source(t, &a, peer))
			return false;
	}
	if (!local)
		return true;
	if (connected && d->local.sa.sa_family != AF_UNSPEC) {
		*local = addr_map(&d->local, sock_family(fd));
		if (d->bound && !d->any_port)
			addr_set_port(local, addr_port(&d->asked));
		return true;
	}
	if (!d->bound || addr_equal(&d->asked, &d->real))
		return false;
	*local = d->asked;
	return true;
}

enum side datagram_route(struct call *c, int fd, const struct addr *to, struct addr *real)
{
	struct datagram_table *t = dgram_table(c);
	struct tracer *tr = c->tracer;
	struct dgram *d = datagram_find(t, fd);
	struct addr plain = addr_meant(to);

	*real = *to;
	/* Who has sent something is answered on the side that it came from. */
	if (d && d->uplink && uplink_knows(d->uplink, &plain))
		return SIDE_REMOTE;
	if (d && is_local_peer(d, &plain)) {
		datagram_is_own(t, to, real);
		return SIDE_LOCAL;
	}
	if (route_is_target(tr, &plain) && datagram_is_own(t, to, real))
		return SIDE_LOCAL;
	if (sock_has_device(fd))
		return SIDE_LOCAL; /* of this machine, where no stand-in is */
	return route_to(tr, c, IPPROTO_UDP, to);
}

struct addr dgram_bind_there(const struct tracer *tr, const struct addr *asked, uint16_t port)
{
	struct addr plain = addr_unmap(asked);

	if (!route_is_target(tr, &plain))
		plain = addr_any(plain.sa.sa_family, 0);
	addr_set_port(&plain, port);
	return plain;
}
