/* Theory of operation. One subscription at the agent per (port, family), shared by all listeners of
 * the guest that have it; a dual-stack listener has two. The listener itself starts to listen only
 * after the agent has agreed, so listen(2) fails where the target would refuse.
 *
 * A connection of the target arrives as a channel. We connect to the guest's listener over
 * loopback, so the guest accepts a real TCP connection whose other end is our relay. Which one is
 * told by the two addresses of that connection: they are unique as long as the guest's socket
 * exists.
 *
 * Over loopback we could connect faster than the guest accepts, and what a full accept queue drops
 * comes back after a second or, when its peer resets it meanwhile, never. So we connect only where
 * there is room; a connection that has to wait keeps its bytes in a relay without a socket. */
#include "incoming.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "relay.h"
#include "sock.h"
#include "tracer.h"
#include "util.h"

enum subscription_state {
	SUBSCRIPTION_ASKED, /* the agent has not answered: listeners wait */
	SUBSCRIPTION_ON,
	SUBSCRIPTION_REFUSED, /* after a new link; whoever listens next asks again */
};

struct subscription {
	struct list link;
	struct list users;
	uint32_t id;
	uint16_t port;
	enum proto_family family;
	enum subscription_state state;
};

/* A listener's use of a subscription. */
struct user {
	struct list link;
	struct sock *sock;
	/* While listen(2) waits; NULL afterwards. */
	void (*done)(struct sock *s, int result, void *data);
	void *data;
};

enum conn_state {
	CONN_WAITING, /* for room in the guest's accept queue */
	CONN_HANDED,  /* it has a socket, connected or connecting, and is in the table */
	CONN_OVER,
};

struct conn {
	struct relay relay;
	struct hnode node;
	struct list link; /* waiting or starting at its listener, or among those that are over */
	struct incoming *incoming;
	struct addr near, far;   /* our end of the local connection, and the guest's */
	struct addr peer, local; /* the client's, and what it connected to */
	uint64_t guest;          /* cookie of the guest's end, once it has asked */
	enum conn_state state;
	bool is_known; /* in the table */
	struct deferred release;
};

static void retry(struct timer *t);
static void say_lost(struct timer *t);

void incoming_init(struct incoming *in, struct tracer *tr)
{
	*in = (struct incoming){ .tracer = tr, .next_id = 1 };
	list_init(&in->subscriptions);
	list_init(&in->over);
	timer_init(&in->retry, retry);
	timer_init(&in->say_lost, say_lost);
}

static void conn_free(struct incoming *in, struct conn *c)
{
	htab_del(&in->conns, &c->node);
	list_del(&c->link);
	list_del(&c->release.link);
	free(c);
}

void incoming_done(struct incoming *in)
{
	struct hnode *n;

	timer_cancel(&in->retry);
	timer_cancel(&in->say_lost);
	if (in->lost)
		say_lost(&in->say_lost);
	while ((n = htab_any(&in->conns)))
		conn_free(in, container_of(n, struct conn, node));
	htab_done(&in->conns);
	list_for_each_safe (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		list_for_each_safe (user, &sub->users)
			free(list_entry(user, struct user, link));
		free(sub);
	}
	list_init(&in->subscriptions);
}

/* --- subscriptions --- */

static struct subscription *find_id(const struct incoming *in, uint32_t id)
{
	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		if (sub->id == id)
			return sub;
	}
	return NULL;
}

static struct subscription *find_port(
	const struct incoming *in, uint16_t port, enum proto_family family)
{
	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		if (sub->port == port && sub->family == family)
			return sub;
	}
	return NULL;
}

/* Ask the agent for it. */
static void ask(struct incoming *in, struct subscription *sub)
{
	struct msg m = { .type = MSG_subscribe,
		.id = sub->id,
		.subscribe = {
			.mode = (uint8_t)in->tracer->cfg->incoming,
			.family = (uint8_t)sub->family,
			.port = sub->port,
		} };

	sub->state = SUBSCRIPTION_ASKED;
	mux_send(&in->tracer->link.mux, &m);
}

static struct subscription *subscribe(struct incoming *in, uint16_t port, enum proto_family family)
{
	struct subscription *sub = find_port(in, port, family);

	if (sub && sub->state == SUBSCRIPTION_REFUSED)
		ask(in, sub);
	if (sub)
		return sub;
	sub = calloc(1, sizeof(*sub));
	if (!sub)
		return NULL;
	sub->id = in->next_id++;
	sub->port = port;
	sub->family = family;
	list_init(&sub->users);
	list_append(&in->subscriptions, &sub->link);
	ask(in, sub);
	return sub;
}

static void unsubscribe_unused(struct incoming *in, struct subscription *sub)
{
	struct msg m = { .type = MSG_unsubscribe, .id = sub->id };

	if (!list_empty(&sub->users))
		return;
	mux_send(&in->tracer->link.mux, &m);
	list_del(&sub->link);
	free(sub);
}

static bool is_served(const struct sock *s, enum proto_family family)
{
	struct addr a = addr_unmap(&s->asked);

	if (family == PROTO_IPV4)
		return a.sa.sa_family == AF_INET || (addr_is_wildcard(&a) && !s->only_v6);
	return a.sa.sa_family == AF_INET6;
}

/* The listener's outstanding question: how many of its subscriptions are not answered. */
static unsigned asked_of(const struct incoming *in, const struct sock *s, const void *data)
{
	unsigned n = 0;

	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		list_for_each (u, &sub->users) {
			struct user *user = list_entry(u, struct user, link);

			n += sub->state == SUBSCRIPTION_ASKED && user->sock == s &&
			     user->data == data;
		}
	}
	return n;
}

static int use(struct incoming *in, struct sock *s, enum proto_family family,
	void (*done)(struct sock *s, int result, void *data), void *data)
{
	struct subscription *sub;
	struct user *user;

	if (!is_served(s, family))
		return 0;
	if (in->tracer->link.mux.lost && !link_may_return(&in->tracer->link))
		return -ENETDOWN;
	user = calloc(1, sizeof(*user));
	sub = user ? subscribe(in, addr_port(&s->asked), family) : NULL;
	if (!sub) {
		free(user);
		return -ENOMEM;
	}
	*user = (struct user){ .sock = s, .done = done, .data = data };
	list_append(&sub->users, &user->link);
	return 0;
}

void incoming_listen(struct incoming *in, struct sock *s,
	void (*done)(struct sock *s, int result, void *data), void *data)
{
	int r = use(in, s, PROTO_IPV4, done, data);

	if (r == 0)
		r = use(in, s, PROTO_IPV6, done, data);
	if (r < 0)
		incoming_leave(in, s, data);
	if (r < 0 || !asked_of(in, s, data))
		done(s, r, data);
}

/* Its done() is not called any more. */
static void forget(struct incoming *in, struct sock *s, const void *data)
{
	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		list_for_each (u, &sub->users) {
			struct user *user = list_entry(u, struct user, link);

			if (user->sock == s && user->data == data)
				user->done = NULL;
		}
	}
}

static void refuse_waiting(struct sock *s)
{
	while (!list_empty(&s->waiting))
		relay_abort(&list_entry(s->waiting.next, struct conn, link)->relay, ECONNREFUSED);
}

/* Take out the listener's uses: all, or those of one listen(2). */
static void leave(struct incoming *in, const struct sock *s, bool all, const void *data)
{
	list_for_each_safe (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		list_for_each_safe (u, &sub->users) {
			struct user *user = list_entry(u, struct user, link);

			if (user->sock != s || !(all || user->data == data))
				continue;
			list_del(&user->link);
			free(user);
		}
		unsubscribe_unused(in, sub);
	}
}

void incoming_leave(struct incoming *in, struct sock *s, const void *data)
{
	leave(in, s, false, data);
}

void incoming_unlisten(struct incoming *in, struct sock *s)
{
	s->remote = false;
	s->room = 0;
	refuse_waiting(s);
	leave(in, s, true, NULL);
}

bool incoming_is_asked(const struct incoming *in, const struct sock *s)
{
	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		list_for_each (u, &sub->users) {
			if (list_entry(u, struct user, link)->sock == s)
				return true;
		}
	}
	return false;
}

/* A listener that waits for this subscription and, after this answer, for no other. */
static struct user *next_to_tell(
	const struct incoming *in, const struct subscription *sub, int result)
{
	list_for_each (pos, &sub->users) {
		struct user *user = list_entry(pos, struct user, link);

		if (user->done && (result < 0 || !asked_of(in, user->sock, user->data)))
			return user;
	}
	return NULL;
}

/* What is told may end the listener, and with it the subscription: look again each time. */
static void tell_users(struct incoming *in, uint32_t id, int result)
{
	struct subscription *sub;
	struct user *user;

	while ((sub = find_id(in, id)) && (user = next_to_tell(in, sub, result))) {
		void (*done)(struct sock * s, int r, void *data) = user->done;
		struct sock *s = user->sock;
		void *data = user->data;

		forget(in, s, data);
		if (result < 0)
			incoming_leave(in, s, data);
		done(s, result, data);
	}
}

static void got_subscribed(struct incoming *in, const struct msg *m)
{
	struct subscription *sub = find_id(in, m->id);
	int error = m->subscribed.error > PROTO_ERRNO_MAX ? EPROTO : (int)m->subscribed.error;
	char text[512];

	if (!sub || sub->state != SUBSCRIPTION_ASKED)
		return;
	proto_print(m->subscribed.text, text, sizeof(text));
	if (error == EAFNOSUPPORT && sub->family == PROTO_IPV6)
		error = 0; /* a target without IPv6 has no such traffic */
	if (error) {
		log_err("the target's port %u (IPv%d) cannot be had: %s", sub->port, sub->family,
			text);
		sub->state = SUBSCRIPTION_REFUSED;
	} else {
		log_dbg("the target's port %u (IPv%d): subscribed, %s", sub->port, sub->family,
			text);
		sub->state = SUBSCRIPTION_ON;
	}
	tell_users(in, m->id, -error);
}

static struct subscription *first_asked(const struct incoming *in)
{
	list_for_each (pos, &in->subscriptions) {
		struct subscription *sub = list_entry(pos, struct subscription, link);

		if (sub->state == SUBSCRIPTION_ASKED)
			return sub;
	}
	return NULL;
}

void incoming_link_lost(struct incoming *in)
{
	struct subscription *sub;

	while ((sub = first_asked(in))) {
		sub->state = SUBSCRIPTION_ON;
		tell_users(in, sub->id, -ENETDOWN);
	}
}

void incoming_link_back(struct incoming *in)
{
	list_for_each (pos, &in->subscriptions)
		ask(in, list_entry(pos, struct subscription, link));
}

/* --- connections --- */

static uint64_t conn_key(const struct addr *near, const struct addr *far)
{
	return (uint64_t)addr_port(near) << 16 | addr_port(far);
}

static void conn_release(struct deferred *d)
{
	struct conn *c = container_of(d, struct conn, release);
	struct incoming *in = c->incoming;

	if (!c->is_known) {
		conn_free(in, c);
		return;
	}
	list_append(&in->over, &c->link);
	if (++in->nover <= INCOMING_REMEMBERED_MAX)
		return;
	in->nover--;
	conn_free(in, list_entry(in->over.next, struct conn, link));
}

static void say_lost(struct timer *t)
{
	struct incoming *in = container_of(t, struct incoming, say_lost);

	log_err("%lu of the target's connections could not be handed to the program: %s", in->lost,
		strerror(in->lost_error));
	in->lost = 0;
}

static void conn_lost(struct incoming *in, int error)
{
	in->lost++;
	in->lost_error = error;
	if (list_empty(&in->say_lost.link))
		loop_timer(&in->tracer->loop, &in->say_lost, INCOMING_LOST_MS);
}

static void conn_over(struct relay *r, int error)
{
	struct conn *c = container_of(r, struct conn, relay);
	struct tracer *tr = c->incoming->tracer;
	bool handed = c->state == CONN_HANDED;
	char peer[ADDR_STRLEN];

	log_dbg("connection from %s is over%s%s", addr_format(&c->peer, peer), error ? ": " : "",
		error ? strerror(error) : "");
	c->state = CONN_OVER;
	list_del(&c->link);
	if (handed && r->connecting && error == ECONNREFUSED)
		sock_refused(&tr->socks, &c->far);
	else if (handed && r->connecting && error == ETIMEDOUT)
		conn_lost(c->incoming, error);
	loop_defer(&tr->loop, &c->release);
}

bool incoming_is_sending(const struct incoming *in)
{
	htab_for_each (n, &in->conns) {
		const struct conn *c = container_of(n, struct conn, node);

		if (c->state == CONN_HANDED && !c->relay.read_over && !c->relay.connecting)
			return true;
	}
	return false;
}

bool incoming_has_port(const struct incoming *in, uint16_t port)
{
	htab_for_each (n, &in->conns) {
		const struct conn *c = container_of(n, struct conn, node);

		if (c->state == CONN_HANDED && addr_port(&c->far) == port)
			return true;
	}
	return false;
}

bool incoming_addresses(const struct incoming *in, int fd, struct addr *peer, struct addr *local)
{
	struct addr near, far;
	uint64_t guest;

	if (!in->conns.count || addr_of_peer(fd, &near) < 0 || addr_of_socket(fd, &far) < 0)
		return false;
	guest = sock_cookie(fd);
	for (struct hnode *n = htab_find(&in->conns, conn_key(&near, &far)); n; n = htab_next(n)) {
		struct conn *c = container_of(n, struct conn, node);

		/* A later connection may have got the same addresses. */
		if (!addr_equal(&c->near, &near) || !addr_equal(&c->far, &far) ||
			(c->guest && c->guest != guest))
			continue;
		c->guest = guest;
		if (peer)
			*peer = addr_map(&c->peer, near.sa.sa_family);
		if (local)
			*local = addr_map(&c->local, far.sa.sa_family);
		return true;
	}
	return false;
}

/* Among the listeners that share the subscription: the one bound to just the address that the
 * client used, else one for any address, else the first. */
static struct sock *choose(const struct subscription *sub, const struct addr *local)
{
	struct sock *any = NULL, *first = NULL;

	list_for_each (pos, &sub->users) {
		struct sock *s = list_entry(pos, struct user, link)->sock;

		if (s->state != SOCK_LISTENING)
			continue;
		if (addr_same_ip(&s->asked, local))
			return s;
		if (!first)
			first = s;
		if (!any && addr_is_wildcard(&s->asked))
			any = s;
	}
	return any ? any : first;
}

/* Start connecting to the listener; the socket, or -errno. */
static int connect_to(const struct addr *to)
{
	cleanup_fd int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	return take_fd(&fd);
}

static int conn_connect(struct incoming *in, struct conn *c)
{
	int fd = connect_to(&c->far), r;

	if (fd < 0)
		return fd;
	r = addr_of_socket(fd, &c->near);
	if (r == 0)
		r = htab_add(&in->conns, &c->node, conn_key(&c->near, &c->far));
	if (r < 0) {
		close(fd);
		return r;
	}
	c->is_known = true;
	c->state = CONN_HANDED;
	return relay_connect(&c->relay, fd);
}

/* How many connections to a listener are under way and perhaps not in its queue. */
static unsigned starting(struct sock *s)
{
	unsigned n = 0;

	list_for_each_safe (pos, &s->starting) {
		if (list_entry(pos, struct conn, link)->relay.connecting)
			n++;
		else
			list_del(pos);
	}
	return n;
}

/* One place in the accept queue. Where the kernel does not tell there is always one. */
static bool take_room(struct incoming *in, struct sock *s, const struct addr *at)
{
	int room;

	if (!s->room) {
		room = diag_queue_room(&in->tracer->socks.diag, at);
		s->room = room < 0 ? 1 : (unsigned)room - MIN((unsigned)room, starting(s));
	}
	if (!s->room)
		return false;
	s->room--;
	return true;
}

/* Hand over what waits for the listener, as far as its queue takes it. */
static void hand_over(struct incoming *in, struct sock *s)
{
	while (!list_empty(&s->waiting)) {
		struct conn *c = list_entry(s->waiting.next, struct conn, link);
		int r;

		if (!take_room(in, s, &c->far))
			return;
		list_del(&c->link);
		list_append(&s->starting, &c->link);
		r = conn_connect(in, c);
		if (r == -ECONNREFUSED)
			sock_check_soon(&in->tracer->socks);
		else if (r < 0)
			conn_lost(in, -r);
		if (r < 0)
			relay_abort(&c->relay, -r);
	}
}

static void retry(struct timer *t)
{
	struct incoming *in = container_of(t, struct incoming, retry);
	struct tracer *tr = in->tracer;

	list_for_each (pos, &tr->socks.listening) {
		struct sock *s = list_entry(pos, struct sock, link);

		hand_over(in, s);
		if (!list_empty(&s->waiting) && list_empty(&t->link))
			loop_timer(&tr->loop, t, INCOMING_RETRY_MS);
	}
}

static int conn_start(struct incoming *in, struct conn *c, struct sock *s, uint32_t channel)
{
	struct tracer *tr = in->tracer;
	bool is_first;
	int r;

	c->far = sock_reaches(s, c->peer.sa.sa_family);
	c->relay.drop_replies = tr->cfg->incoming == INCOMING_MIRROR;
	r = relay_start(&c->relay, &tr->loop, &tr->link.mux, channel, -1, true, conn_over);
	if (r < 0)
		return r;
	is_first = list_empty(&s->waiting);
	list_append(&s->waiting, &c->link);
	if (is_first)
		hand_over(in, s);
	if (!list_empty(&s->waiting) && list_empty(&in->retry.link))
		loop_timer(&tr->loop, &in->retry, INCOMING_RETRY_MS);
	return 0;
}

static void refuse(struct incoming *in, uint32_t channel, int error)
{
	struct msg m = { .type = MSG_reset, .id = channel, .reset.error = (uint32_t)error };

	mux_send(&in->tracer->link.mux, &m);
}

static void got_incoming(struct incoming *in, const struct msg *m)
{
	struct subscription *sub = find_id(in, m->incoming.subscription);
	struct sock *s = sub ? choose(sub, &m->incoming.local) : NULL;
	struct conn *c = s ? calloc(1, sizeof(*c)) : NULL;
	char peer[ADDR_STRLEN], local[ADDR_STRLEN];
	int r;

	if (!c) {
		if (s)
			conn_lost(in, ENOMEM);
		refuse(in, m->id, s ? ENOMEM : ECONNREFUSED);
		return;
	}
	c->incoming = in;
	c->peer = m->incoming.peer;
	c->local = m->incoming.local;
	list_init(&c->link);
	deferred_init(&c->release, conn_release);
	r = conn_start(in, c, s, m->id);
	log_dbg("connection from %s to %s%s%s", addr_format(&c->peer, peer),
		addr_format(&c->local, local), r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	if (r < 0) {
		free(c);
		conn_lost(in, -r);
		refuse(in, m->id, -r);
	}
}

static void got_gap(struct incoming *in, const struct msg *m)
{
	char lost[40] = "what followed";

	in->gaps++;
	if (m->gap.missing)
		snprintf(lost, sizeof(lost), "%llu bytes", (unsigned long long)m->gap.missing);
	log_err("a mirrored connection ends after %llu bytes: the copy could not keep up and lost "
		"%s "
		"(gap %lu of this run); the target's own connection is not affected",
		(unsigned long long)m->gap.after, lost, in->gaps);
}

void incoming_message(struct incoming *in, const struct msg *m)
{
	if (m->type == MSG_subscribed)
		got_subscribed(in, m);
	else if (m->type == MSG_incoming)
		got_incoming(in, m);
	else if (m->type == MSG_gap)
		got_gap(in, m);
}
