#include "route.h"

#include "tracer.h"
#include "trap.h"

bool route_is_target(const struct tracer *tr, const struct addr *to)
{
	return addr_is_loopback(to) || addr_is_wildcard(to) || link_has_address(&tr->link, to);
}

/* What is stolen of the target comes back to the guest by the target's own way. */
static bool comes_back(const struct tracer *tr, const struct sock *s, const struct addr *to)
{
	return s->remote && tr->cfg->incoming == INCOMING_STEAL && !addr_is_loopback(to) &&
	       !addr_is_wildcard(to);
}

struct sock *route_own_listener(struct tracer *tr, const struct addr *to)
{
	struct addr real = addr_meant(to);
	struct sock *s = route_is_target(tr, to) ? sock_listening(&tr->socks, &real) : NULL;

	return s && !comes_back(tr, s, to) ? s : NULL;
}

static bool is_own(struct tracer *tr, int protocol, const struct addr *to)
{
	struct addr real;

	if (protocol == IPPROTO_TCP)
		return route_own_listener(tr, to);
	return route_is_target(tr, to) && datagram_is_own(&tr->datagrams, to, &real);
}

enum side route_to(struct tracer *tr, struct call *c, int protocol, const struct addr *to)
{
	const char *names[NAMES_OF_MAX], *why = "";
	unsigned n;
	enum side side;

	if (!tr->cfg->outgoing || tr->link.here)
		return SIDE_LOCAL;
	if (is_own(tr, protocol, to)) {
		side = SIDE_LOCAL;
		why = "the program itself listens there";
	} else if (names_server(tr->names, to, &side)) {
		why = side == SIDE_LOCAL ? "this machine's name server"
					 : "the target's name server";
	} else {
		n = names_of(tr->names, to, names);
		side = policy_address(tr->policy, protocol, to, names, n, &why);
	}
	if (c)
		call_note(c, "%s: %s", side == SIDE_LOCAL ? "local" : "remote", why);
	return side;
}
