#include "route.h"

#include "tracer.h"
#include "trap.h"

/* Loopback is the target's loopback, unless the guest itself listens there. */
static bool is_own(const struct tracer *tr, int protocol, const struct addr *to)
{
	struct addr real;

	if (!addr_is_loopback(to) && !addr_is_wildcard(to) && !link_has_address(&tr->link, to))
		return false;
	return protocol == IPPROTO_TCP ? sock_listening(&tr->socks, to) != NULL
				       : datagram_is_own(&tr->datagrams, to, &real);
}

enum side route_to(struct tracer *tr, struct call *c, int protocol, const struct addr *to)
{
	const char *names[NAMES_OF_MAX], *why = "";
	unsigned n;
	enum side side;

	if (!tr->cfg->outgoing)
		return SIDE_LOCAL;
	if (is_own(tr, protocol, to)) {
		side = SIDE_LOCAL;
		why = "the program itself listens there";
	} else if (tr->cfg->dns && names_is_server(tr->names, to)) {
		side = SIDE_REMOTE;
		why = "the target's name server";
	} else {
		n = names_of(tr->names, to, names);
		side = policy_address(tr->policy, protocol, to, names, n, &why);
	}
	if (c)
		call_note(c, "%s: %s", side == SIDE_LOCAL ? "local" : "remote", why);
	return side;
}
