#include "udp_mirror.h"

static void copy(void *owner, const struct addr *peer, const struct addr *local,
	const uint8_t *bytes, size_t n)
{
	struct udp_mirror *u = owner;

	udp_peers_note(&u->peers, peer, local);
	u->datagram(u, peer, bytes, n);
}

static int add_port(struct udp_mirror *u, enum proto_family family, uint16_t port, struct err *e)
{
	struct mirror_udp *p = &u->ports[u->nports];
	int r;

	*p = (struct mirror_udp){
		.family = family,
		.port = port,
		.owner = u,
		.datagram = copy,
	};
	r = mirror_udp_add(u->mirror, p, e);
	if (r == 0)
		u->nports++;
	return r;
}

int udp_mirror_open(struct udp_mirror *u, struct mirror *m, sa_family_t family,
	const struct addr *bind, struct err *e)
{
	struct addr at = addr_unmap(bind);
	bool any = addr_is_wildcard(&at);
	int r = 0;

	u->mirror = m;
	udp_peers_init(&u->peers);
	if (any || at.sa.sa_family == AF_INET)
		r = add_port(u, PROTO_IPV4, addr_port(&at), e);
	if (r == 0 && family == AF_INET6 && (any || at.sa.sa_family == AF_INET6))
		r = add_port(u, PROTO_IPV6, addr_port(&at), e);
	if (r < 0)
		udp_mirror_close(u);
	return r;
}

void udp_mirror_close(struct udp_mirror *u)
{
	if (!u->mirror)
		return;
	while (u->nports)
		mirror_udp_del(u->mirror, &u->ports[--u->nports]);
	udp_peers_done(&u->peers);
	u->mirror = NULL;
}

bool udp_mirror_has(const struct udp_mirror *u, const struct addr *peer)
{
	return u->mirror && udp_peers_find(&u->peers, peer);
}
