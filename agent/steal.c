/* Theory of operation. All stolen ports of both families lead to one listener, by one of two ways
 * (redirect.h) that is chosen when the first port is stolen and kept until the agent ends: under
 * nft the translation of established connections hangs on it. An accepted connection says itself
 * which port it was for, and so who owns it; it becomes a relay on a new channel of the owner's
 * link, and needs the port no more.
 *
 * A port has one owner. Within the agent the table says so. Between agents of one network namespace
 * an abstract unix socket does, whose name is the port's: such names belong to the network
 * namespace and are free again when their holder dies (unix(7)). */
#include "steal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "relay.h"

/* One stolen connection, from accept to the end of its relay. */
struct stolen {
	struct relay relay;
	struct drain *drain;
	struct deferred release;
};

void steal_init(struct steal *s, struct drain *drain)
{
	*s = (struct steal){ .loop = drain->loop, .drain = drain, .listener = -1 };
}

void steal_done(struct steal *s)
{
	acceptor_stop(&s->acceptor);
	if (s->ops)
		s->ops->close(s->redirect);
	close_fd(&s->listener);
	htab_done(&s->ports);
}

const char *steal_method(const struct steal *s)
{
	return s->ops ? s->ops->name : "none";
}

/* --- connections --- */

static void reset_and_close(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void stolen_release(struct deferred *d)
{
	struct stolen *c = container_of(d, struct stolen, release);

	drain_exit(c->drain);
	free(c);
}

static void stolen_over(struct relay *r, int error)
{
	struct stolen *c = container_of(r, struct stolen, relay);

	log_dbg("channel %u: over%s%s", r->ch.id, error ? ", " : "", error ? strerror(error) : "");
	loop_defer(r->loop, &c->release);
}

static struct steal_port *owner_of(const struct steal *s, const struct addr *local)
{
	struct hnode *n = htab_find(&s->ports, addr_key(local));

	return n ? container_of(n, struct steal_port, node) : NULL;
}

/* Join the connection with a channel of its owner; it owns fd, also when it fails. */
static int serve(struct steal *s, const struct steal_port *p, int fd, const struct addr *peer,
	const struct addr *local)
{
	struct stolen *c = calloc(1, sizeof(*c));
	uint32_t channel = incoming_channel();
	int on = 1, r;

	if (!c) {
		reset_and_close(fd);
		return -ENOMEM;
	}
	deferred_init(&c->release, stolen_release);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	r = relay_start(&c->relay, s->loop, p->owner.mux, channel, fd, false, stolen_over);
	if (r < 0) {
		free(c);
		return r;
	}
	c->drain = s->drain;
	drain_enter(c->drain);
	/* The relay sends nothing before the loop's next turn: the client hears of the connection
	 * before it sees its bytes. */
	incoming_announce(&p->owner, channel, peer, local);
	return 0;
}

static void steal_accepted(struct acceptor *a, int fd)
{
	struct steal *s = container_of(a, struct steal, acceptor);
	struct addr local, peer;
	struct steal_port *p;
	int r;

	r = s->ops->destination(fd, &local);
	if (r == 0)
		r = addr_of_peer(fd, &peer);
	if (r < 0) {
		close(fd);
		return;
	}
	local = addr_unmap(&local);
	peer = addr_unmap(&peer);
	p = owner_of(s, &local);
	/* No owner: the port was given back while the connection waited in the backlog. */
	if (!p || p->owner.mux->channels.count >= MUX_CHANNELS_MAX) {
		log_dbg("connection to port %u reset: %s", addr_port(&local),
			p ? "its owner has no channel left" : "it has no owner");
		reset_and_close(fd);
		return;
	}
	r = serve(s, p, fd, &peer, &local);
	if (r < 0)
		log_dbg("connection to port %u dropped: %s", addr_port(&local), strerror(-r));
}

/* --- ports --- */

/* Choose a way of redirection, if that was not done yet. */
static int ensure_open(struct steal *s, struct err *e)
{
	int r;

	if (s->ops)
		return 0;
	r = redirect_open(&s->ops, &s->redirect, &s->listener, e);
	if (r < 0)
		return r;
	r = acceptor_start(&s->acceptor, s->loop, s->listener, steal_accepted);
	if (r < 0) {
		s->ops->close(s->redirect);
		s->ops = NULL;
		close_fd(&s->listener);
		return err_set(e, r, "cannot watch the listener: %s", strerror(-r));
	}
	log_dbg("stealing by %s", s->ops->name);
	return 0;
}

/* The lock of a port of the namespace; an fd or -errno. */
static int take_lock(const char *protocol, enum proto_family family, uint16_t port, struct err *e)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = (size_t)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1,
		"mirrord-trace/steal/%s/%d/%u", protocol, family, port);

	if (fd < 0)
		return err_set(e, -errno, "cannot make a socket: %s", strerror(errno));
	len += offsetof(struct sockaddr_un, sun_path) + 1;
	if (bind(fd, (struct sockaddr *)&name, (socklen_t)len) == 0)
		return take_fd(&fd);
	if (errno == EADDRINUSE)
		return err_set(e, -EADDRINUSE,
			"%s port %u (IPv%d) of the target is stolen already; end that session, or "
			"mirror",
			protocol, port, family);
	return err_set(e, -errno, "cannot lock %s port %u: %s", protocol, port, strerror(errno));
}

int steal_add(struct steal *s, struct steal_port *p, const struct subscriber *owner,
	enum proto_family family, uint16_t port, struct err *e)
{
	int r = ensure_open(s, e);

	if (r < 0)
		return r;
	*p = (struct steal_port){ .owner = *owner, .family = family, .port = port, .lock = -1 };
	if (htab_find(&s->ports, port_key(family, port)))
		return err_set(e, -EADDRINUSE,
			"port %u (IPv%d) of the target is stolen already, by a client of this "
			"agent; end "
			"its session, or mirror",
			port, family);
	if (s->ports.count >= REDIRECT_PORTS_MAX)
		return err_set(e, -ENOSPC, "%d ports are stolen already", REDIRECT_PORTS_MAX);
	r = take_lock("tcp", family, port, e);
	if (r < 0)
		return r;
	p->lock = r;
	r = htab_add(&s->ports, &p->node, port_key(family, port));
	if (r < 0) {
		close_fd(&p->lock);
		return err_set(e, r, "no memory");
	}
	r = s->ops->add(s->redirect, family, port, e);
	if (r < 0) {
		htab_del(&s->ports, &p->node);
		close_fd(&p->lock);
	}
	return r;
}

void steal_del(struct steal *s, struct steal_port *p)
{
	s->ops->del(s->redirect, p->family, p->port);
	htab_del(&s->ports, &p->node);
	close_fd(&p->lock);
}

/* --- datagrams --- */

int steal_udp_add(struct steal *s, struct steal_udp *p, enum proto_family family, uint16_t port,
	int fd, struct err *e)
{
	int r = ensure_open(s, e), lock;

	if (r < 0)
		return r;
	if (!s->ops->add_udp)
		return err_set(e, -EOPNOTSUPP,
			"%s cannot steal UDP ports; mirror, or use Linux 5.9", s->ops->name);
	lock = take_lock("udp", family, port, e);
	if (lock < 0)
		return lock;
	r = s->ops->add_udp(s->redirect, family, port, fd, e);
	if (r < 0)
		close(lock);
	else
		*p = (struct steal_udp){ .family = family, .port = port, .lock = lock };
	return r;
}

void steal_udp_del(struct steal *s, struct steal_udp *p)
{
	s->ops->del_udp(s->redirect, p->family, p->port);
	close_fd(&p->lock);
}
