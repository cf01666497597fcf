#include "udp_peers.h"

#include <stdlib.h>
#include <sys/random.h>

struct udp_peer {
	struct hnode node;
	struct list age;
	struct addr peer, local;
};

void udp_peers_init(struct udp_peers *p)
{
	*p = (struct udp_peers){ 0 };
	list_init(&p->age);
	if (getrandom(&p->seed, sizeof(p->seed), GRND_NONBLOCK) < 0)
		p->seed = now_ns();
}

static void forget(struct udp_peers *p, struct udp_peer *e)
{
	htab_del(&p->by_addr, &e->node);
	list_del(&e->age);
	free(e);
}

void udp_peers_done(struct udp_peers *p)
{
	list_for_each_safe (pos, &p->age)
		forget(p, list_entry(pos, struct udp_peer, age));
	htab_done(&p->by_addr);
}

static struct udp_peer *find(const struct udp_peers *p, const struct addr *peer)
{
	struct hnode *n = htab_find(&p->by_addr, addr_hash(peer, p->seed));

	for (; n; n = htab_next(n)) {
		struct udp_peer *e = container_of(n, struct udp_peer, node);

		if (addr_equal(&e->peer, peer))
			return e;
	}
	return NULL;
}

const struct addr *udp_peers_find(const struct udp_peers *p, const struct addr *peer)
{
	const struct udp_peer *e = find(p, peer);

	return e ? &e->local : NULL;
}

static struct udp_peer *add(struct udp_peers *p, const struct addr *peer)
{
	struct udp_peer *e;

	if (p->by_addr.count >= UDP_PEERS_MAX)
		forget(p, list_entry(p->age.next, struct udp_peer, age));
	e = calloc(1, sizeof(*e));
	if (!e || htab_add(&p->by_addr, &e->node, addr_hash(peer, p->seed)) < 0) {
		free(e);
		return NULL;
	}
	e->peer = *peer;
	list_init(&e->age);
	return e;
}

void udp_peers_note(struct udp_peers *p, const struct addr *peer, const struct addr *local)
{
	struct udp_peer *e = find(p, peer);

	if (!e)
		e = add(p, peer);
	if (!e)
		return;
	e->local = *local;
	list_del(&e->age);
	list_append(&p->age, &e->age);
}
