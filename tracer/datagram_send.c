/* Datagrams that the guest sends to an address of the target's network.
 *
 * They are dropped when the link takes no more, as any network drops what it cannot carry. A full
 * socket buffer would have the sender wait, or give it EAGAIN until poll(2) says POLLOUT. But the
 * guest's own socket has nothing in its buffer: poll(2) would say POLLOUT at once, and a guest that
 * trusts it would spin, or with an edge-triggered epoll(7) never send again. What a connected
 * socket sends to its stand-in is dropped by the kernel in the same way. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "dgram.h"
#include "route.h"
#include "util.h"

int dgram_relay(struct datagram_table *t, struct dgram *d, int fd)
{
	struct addr at, there;
	struct uplink *up;
	int r = dgram_own_address(fd, &at);

	if (r < 0)
		return r;
	if (!d->uplink || !uplink_is_open(d->uplink)) {
		there = dgram_bind_there(t->tracer, d->bound ? &d->asked : &at,
			addr_port(d->bound ? &d->asked : &at));
		r = uplink_new(
			&up, &t->uplinks, &dgram_uplink_ops, INCOMING_OFF, sock_family(fd), &there);
		if (r < 0)
			return r;
		dgram_use_uplink(d, up);
	}
	uplink_guest_is_at(d->uplink, &at, sock_only_v6(fd));
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
	struct addr peer = addr_meant(to);
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
		r = dgram_relay(t, d, fd);
	if (r < 0)
		return r;
	do {
		size_t one = MIN(segment, n - at);

		r = uplink_send(d->uplink, &peer, p + at, one);
		at += one;
	} while (r == 0 && at < n);
	return r < 0 ? r : (int64_t)n;
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
	struct addr peer = addr_meant(&p->to);
	struct standin *s;

	if (d && d->uplink)
		uplink_standin(d->uplink, &peer, &s);
	return n;
}

static void probe_answered(struct uplink *up, int error, const struct addr *local)
{
	struct probe *p = up->opening;
	struct call *c = p->call;
	int64_t r = dgram_is_way(error, p->fd) ? send_probed(dgram_table(c), p) : -error;

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
	if (!dgram_waits_for_link(up, error))
		probe_answered(up, ENETUNREACH, NULL);
}

static void probe_failed(struct uplink *up, int error, const struct addr *peer)
{
	(void)up;
	(void)error;
	(void)peer;
}

static void probe_renewed(struct uplink *up)
{
	const struct probe *p = up->opening;
	struct addr peer = addr_meant(&p->to);

	uplink_connect(up, &peer);
}

static const struct uplink_ops probe_ops = {
	.opened = probe_opened,
	.connected = probe_answered,
	.failed = probe_failed,
	.over = probe_over,
	.renewed = probe_renewed,
};

bool datagram_probe(struct call *c, int fd, const struct addr *to, const uint8_t *bytes, size_t n,
	size_t segment)
{
	struct datagram_table *t = dgram_table(c);
	struct dgram *d = datagram_find(t, fd);
	struct addr peer = addr_meant(to);
	struct addr there = addr_any(sock_family(fd), 0);
	struct probe *p;

	if (sock_is_nonblocking(fd) || (d && d->uplink && uplink_knows(d->uplink, &peer)))
		return false;
	p = calloc(1, sizeof(*p) + n);
	if (!p)
		return false;
	there = dgram_bind_there(c->tracer, d && d->bound ? &d->asked : &there, 0);
	if (uplink_new(&p->uplink, &t->uplinks, &probe_ops, INCOMING_OFF, sock_family(fd), &there) <
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
