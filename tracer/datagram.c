/* Theory of operation. A guest's UDP socket stays a socket of this machine. When its first datagram
 * leaves for the target (datagram_send.c, datagram_connect.c), or when it binds a port whose
 * datagrams are wanted (datagram_bind.c), it gets an uplink (uplink.h): a channel to a socket in
 * the target's namespace. Sockets that share a port by SO_REUSEADDR or SO_REUSEPORT share the
 * uplink, because the kernel deals its datagrams to them.
 *
 * Here is which sockets are known, and for how long. The guest's descriptors are the kernel's
 * affair: whether a socket still exists is asked of it (sock_diag(7)). */
#include "datagram.h"

#include <stdlib.h>

#include "dgram.h"
#include "tracer.h"
#include "util.h"

static void check_timer(struct timer *timer);
static void check_deferred(struct deferred *d);

const struct addr dgram_no_addr = { .sa.sa_family = AF_UNSPEC };

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

void dgram_uplink_unref(struct uplink *up)
{
	if (!up || --up->users)
		return;
	dgram_asks_free(up);
	uplink_free(up);
}

void dgram_drop_uplink(struct dgram *d)
{
	struct uplink *up = d->uplink;

	if (up && d->peer.sa.sa_family != AF_UNSPEC)
		uplink_let_go(up, &d->peer);
	d->uplink = NULL;
	dgram_uplink_unref(up);
}

void dgram_use_uplink(struct dgram *d, struct uplink *up)
{
	dgram_drop_uplink(d);
	d->uplink = up;
	up->users++;
}

static void dgram_free(struct datagram_table *t, struct dgram *d)
{
	dgram_drop_uplink(d);
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

struct dgram *dgram_find(const struct datagram_table *t, uint64_t cookie)
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
	struct dgram *d = t->by_cookie.count ? dgram_find(t, sock_cookie(fd)) : NULL;

	if (d)
		touch(t, d);
	return d;
}

/* Datagrams may come to it that it has not asked for just now. */
static bool is_expecting(const struct dgram *d)
{
	return d->peer.sa.sa_family != AF_UNSPEC || (d->uplink && d->uplink->mode != INCOMING_OFF);
}

static void forget_oldest(struct datagram_table *t, bool expecting)
{
	list_for_each_safe (pos, &t->sockets) {
		struct dgram *d = list_entry(pos, struct dgram, link);

		if (t->by_cookie.count < DATAGRAM_SOCKETS_MAX)
			return;
		if (!d->parked && is_expecting(d) == expecting)
			dgram_free(t, d);
	}
}

static void make_room(struct datagram_table *t)
{
	if (t->by_cookie.count >= DATAGRAM_SOCKETS_MAX)
		dgram_check(t);
	forget_oldest(t, false);
	forget_oldest(t, true);
}

static struct dgram *dgram_new(struct datagram_table *t, uint64_t cookie)
{
	struct dgram *d;

	make_room(t);
	d = calloc(1, sizeof(*d));
	if (!d || htab_add(&t->by_cookie, &d->node, cookie) < 0) {
		free(d);
		return NULL;
	}
	d->cookie = cookie;
	d->peer = d->local = d->failed = dgram_no_addr;
	list_init(&d->link);
	touch(t, d);
	if (list_empty(&t->check.link))
		loop_timer(&t->tracer->loop, &t->check, DATAGRAM_CHECK_MS);
	return d;
}

struct dgram *dgram_get(struct datagram_table *t, int fd)
{
	struct dgram *d = datagram_find(t, fd);
	uint64_t cookie = d ? 0 : sock_cookie(fd);

	return cookie ? dgram_new(t, cookie) : d;
}

/* --- what exists --- */

static bool is_idle(const struct dgram *d, uint64_t now)
{
	uint64_t used = d->used_ns;

	if (d->uplink && d->uplink->used_ns > used)
		used = d->uplink->used_ns;
	return now - used > DATAGRAM_IDLE_MS * (uint64_t)NS_PER_MS;
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

void dgram_check(struct datagram_table *t)
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

	dgram_check(t);
	if (t->by_cookie.count)
		loop_timer(&t->tracer->loop, &t->check, DATAGRAM_CHECK_MS);
}

static void check_deferred(struct deferred *d)
{
	dgram_check(container_of(d, struct datagram_table, check_now));
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
