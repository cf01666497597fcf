/* bind(2). The socket gets the asked port here if it is free, and another otherwise; and where the
 * target's datagrams are wanted, the agent gets the target's port first, whose error is the call's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "dgram.h"
#include "log.h"
#include "route.h"
#include "sock.h"
#include "util.h"

/* A bind(2) that waits for the agent. */
struct binding {
	struct binding *next; /* for the same port: who shares it, by the kernel's rules, shares the
				 uplink */
	struct call *call;
	struct uplink *uplink;
	int fd;
	struct addr asked;
};

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
		dgram_check(t);
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

/* Bind at the asked port, or where the socket of the guest's is that has it (own, or NULL), or
 * elsewhere when somebody else has it. */
static int bind_here(
	struct datagram_table *t, int fd, const struct addr *asked, const struct dgram *own)
{
	struct sock_table *socks = &t->tracer->socks;
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
	       addr_port(asked) && route_is_target(tr, asked);
}

/* The socket is bound: join it to an uplink, its own or that of a socket which it shares with. */
static void join(struct datagram_table *t, int fd, struct uplink *up)
{
	struct dgram *d = datagram_find(t, fd);

	if (!d || !up)
		return;
	uplink_guest_is_at(up, &d->real, sock_only_v6(fd));
	dgram_use_uplink(d, up);
}

static void binding_free(struct binding *b)
{
	close_fd(&b->fd);
	free(b);
}

static void bind_cancel(struct call *c)
{
	struct binding *b = c->data;
	struct uplink *up = b->uplink;
	struct binding **at = (struct binding **)&up->opening;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	if (!up->opening)
		uplink_free(up);
	binding_free(b);
}

void dgram_say_not_had(const struct uplink *up, struct span text)
{
	char why[512];

	log_err("the target's UDP port %u cannot be had: %s", addr_port(&up->bind),
		proto_print(text, why, sizeof(why)));
}

static void bind_end(struct binding *b, int error)
{
	struct call *c = b->call;
	struct datagram_table *t = dgram_table(c);
	int r = -error;

	/* This agent, or its kernel, cannot: that was said, and is no failure that bind(2) knows.
	 */
	if (r == 0 || r == -EOPNOTSUPP)
		r = bind_here(t, b->fd, &b->asked, holder(t, &b->asked));
	if (r == 0 && !error) {
		join(t, b->fd, b->uplink);
		call_note(c, "%s the target's port %u",
			t->tracer->cfg->incoming == INCOMING_STEAL ? "steals" : "mirrors",
			addr_port(&b->asked));
	}
	binding_free(b);
	call_return(c, r);
}

void dgram_bind_answered(struct uplink *up, int error, const struct span *text)
{
	struct binding *b = up->opening;

	up->opening = NULL;
	if (error && text)
		dgram_say_not_had(up, *text);
	up->users++; /* it stays until all have it */
	for (struct binding *next; b; b = next) {
		next = b->next;
		bind_end(b, error);
	}
	dgram_uplink_unref(up);
}

/* The uplink that another bind(2) waits for at that address, or NULL. */
static struct uplink *find_opening(const struct datagram_table *t, const struct addr *there)
{
	list_for_each (pos, &t->uplinks.uplinks) {
		struct uplink *up = list_entry(pos, struct uplink, link);

		if (up->ops == &dgram_uplink_ops && up->opening && addr_equal(&up->bind, there) &&
			up->bind.sa.sa_family == there->sa.sa_family)
			return up;
	}
	return NULL;
}

static int binding_new(struct binding **out, struct call *c, int fd, const struct addr *asked)
{
	struct datagram_table *t = dgram_table(c);
	struct addr there = dgram_bind_there(c->tracer, asked, addr_port(asked));
	struct uplink *up = find_opening(t, &there);
	struct binding *b = calloc(1, sizeof(*b));
	int r = b ? 0 : -ENOMEM;

	if (r == 0 && !up)
		r = uplink_new(&up, &t->uplinks, &dgram_uplink_ops, c->tracer->cfg->incoming,
			sock_family(fd), &there);
	if (r < 0) {
		free(b);
		return r;
	}
	*b = (struct binding){ .next = up->opening, .call = c, .uplink = up, .asked = *asked };
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	up->opening = b;
	*out = b;
	return 0;
}

static void bind_remote(struct call *c, int fd, const struct addr *asked)
{
	struct binding *b;
	int r = binding_new(&b, c, fd, asked);

	if (r < 0)
		call_return(c, r);
	else
		call_park(c, false, bind_cancel, b);
}

/* The uplink of a socket that has the port, kept while another is joined to it; or NULL. */
static struct uplink *shared_with(const struct dgram *own)
{
	struct uplink *up = own ? own->uplink : NULL;

	if (!up || up->mode == INCOMING_OFF)
		return NULL;
	up->users++;
	return up;
}

void datagram_bind(struct call *c, int fd, const struct addr *asked)
{
	struct datagram_table *t = dgram_table(c);
	struct dgram *own = addr_port(asked) ? holder(t, asked) : NULL;
	struct uplink *shared;
	struct addr at;
	int r;

	if (!dgram_fits(fd, asked) || asked->sa.sa_family != sock_family(fd) ||
		addr_of_socket(fd, &at) < 0 || addr_port(&at)) {
		call_continue(c);
		return;
	}
	if (!own && wants_remote(c->tracer, asked)) {
		bind_remote(c, fd, asked);
		return;
	}
	shared = shared_with(own);
	r = bind_here(t, fd, asked, own);
	if (r == 0)
		join(t, fd, shared);
	dgram_uplink_unref(shared);
	call_return(c, r);
}
