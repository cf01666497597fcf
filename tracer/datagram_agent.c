/* What the agent says of a guest's UDP socket: open or not, refused, gone; and the link that is
 * lost and comes back. */
#include <errno.h>
#include <string.h>

#include "dgram.h"
#include "log.h"
#include "sock.h"
#include "task.h"
#include "util.h"

bool dgram_waits_for_link(const struct uplink *up, int error)
{
	return error == ENOTCONN && up->table->tracer->cfg->on_link_loss == LINK_LOSS_RECONNECT;
}

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
	struct datagram_table *t = dgram_table_of(up);
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
	struct addr none = dgram_no_addr;
	int r = error && error != ENOTCONN ? error : ENETUNREACH;

	if (dgram_waits_for_link(up, error))
		return;
	channel_reset(&up->ch, 0);
	if (up->opening)
		dgram_bind_answered(up, r, NULL);
	else
		while (!list_empty(&up->asks))
			dgram_connected(up, r, &none);
}

/* Of a port, that is told: it was had before the link was lost. */
static void refused(struct uplink *up, int error, struct span text)
{
	if (up->mode != INCOMING_OFF)
		dgram_say_not_had(up, text);
	over(up, error);
}

static void opened(struct uplink *up, int error, struct span text)
{
	if (up->opening)
		dgram_bind_answered(up, error, &text);
	/* The port that the socket has here is taken there. */
	else if (error && up->mode == INCOMING_OFF && addr_port(&up->bind) &&
		 uplink_reopen(up) == 0)
		dgram_ask_again(up);
	else if (error)
		refused(up, error, text);
}

/* Sockets that are connected, too, are connected again. */
static void renewed(struct uplink *up)
{
	dgram_ask_again(up);
	list_for_each (pos, &dgram_table_of(up)->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (d->uplink == up)
			dgram_connect_again(d);
	}
}

const struct uplink_ops dgram_uplink_ops = {
	.opened = opened,
	.connected = dgram_connected,
	.failed = failed,
	.over = over,
	.renewed = renewed,
};

void datagram_link_lost(struct datagram_table *t)
{
	list_for_each_safe (pos, &t->uplinks.uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		up->ops->over(up, ENETUNREACH);
	}
}

void datagram_link_back(struct datagram_table *t)
{
	list_for_each_safe (pos, &t->uplinks.uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		if (uplink_renew(up) < 0)
			up->ops->over(up, ENETUNREACH);
		else
			up->ops->renewed(up);
	}
}
