/* Theory of operation. A ring of packets (ring.h) receives what clients send to the mirrored ports,
 * and the resets that the pod sends from them; a filter in the kernel drops all else. Each packet
 * belongs to a flow, which is found by both addresses:
 *
 *   HALF_OPEN  a client's SYN was seen. Ends unheard after a while, by a reset, or by a newer SYN.
 *   OPEN       the client has acknowledged: the handshake is complete, and the flow has one copy
 *              (copy.h) for each subscription to the port. Its bytes are put in order by a stream
 *              (stream.h) and go to the copies. It ends with its last copy, a reset, or a gap.
 *
 * A flow begins with its SYN, so connections older than the subscription are never seen, and
 * nothing is delivered from the middle of a stream. A SYN that carries data (TCP Fast Open, RFC
 * 7413) begins no flow: whether the server has taken the data cannot be told from the client's
 * packets.
 *
 * Packets are lost when the ring is full, and never sent again if the pod has received them. So a
 * hole that stays for a while, or behind which too much piles up, is a gap: the copies are told how
 * much is missing and end. Bytes behind a gap are never delivered.
 *
 * Datagrams are handed to whoever wants those of their port, and nothing is kept of them. Those
 * that come in fragments are put together first (fragments.h), whatever their port is.
 *
 * A port stays in the filter while it has subscriptions or flows. Everything that a remote peer can
 * make grow (flows, what is kept beyond holes or of fragments, what waits for credit) has a bound.
 */
#include "mirror.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>

#include "copy.h"
#include "packet.h"

#define MIRROR_FLOWS_MAX   16384
#define MIRROR_KEPT_MAX    (64u << 20) /* beyond holes, in all flows */
#define MIRROR_WAITING_MAX (64u << 20) /* for credit, in all copies */
#define MIRROR_TICK_MS     500

#define HALF_OPEN_NS 30000000000u
#define HOLE_NS      2000000000u

/* The handshake's last packet may be overtaken by the data behind it: so far ahead it may be. */
#define FIRST_WINDOW 65536

enum flow_state {
	HALF_OPEN,
	OPEN,
};

/* A port with subscriptions, or with flows that have outlived them. */
struct mirrored {
	struct hnode node;
	enum proto_family family;
	uint16_t port;
	struct list subscribers;
	size_t nflows;
};

struct flow {
	struct hnode node;
	struct mirror *mirror;
	struct mirrored *port;
	struct addr peer, local;
	enum flow_state state;
	struct list age;  /* in half_open or open */
	struct list hole; /* in holed, or alone */
	uint32_t isn;     /* of the SYN */
	uint64_t since;   /* of the SYN */
	uint64_t hole_since;
	uint32_t hole_at; /* the stream's next byte when the hole was seen first */
	struct stream stream;
	struct copies copies;
};

/* --- ports --- */

static struct mirrored *port_find(const struct mirror *m, uint64_t key)
{
	struct hnode *n = htab_find(&m->ports, key);

	return n ? container_of(n, struct mirrored, node) : NULL;
}

static size_t make_filter(const struct mirror *m, struct sock_filter *f)
{
	static struct packet_ports ports;

	ports.nv4 = ports.nv6 = ports.nudp4 = ports.nudp6 = 0;
	htab_for_each (n, &m->ports) {
		const struct mirrored *port = container_of(n, struct mirrored, node);

		if (port->family == PROTO_IPV6)
			ports.v6[ports.nv6++] = port->port;
		else
			ports.v4[ports.nv4++] = port->port;
	}
	htab_for_each (n, &m->udp) {
		const struct mirror_udp *port = container_of(n, struct mirror_udp, node);

		if (port->family == PROTO_IPV6)
			ports.udp6[ports.nudp6++] = port->port;
		else
			ports.udp4[ports.nudp4++] = port->port;
	}
	return packet_filter(f, &ports);
}

/* A port without subscriptions and flows is dropped. The ring may be in use just now. */
static void port_put(struct mirror *m, struct mirrored *port)
{
	if (!list_empty(&port->subscribers) || port->nflows)
		return;
	htab_del(&m->ports, &port->node);
	free(port);
	loop_defer(m->loop, &m->refresh);
}

static struct mirrored *port_new(struct mirror *m, enum proto_family family, uint16_t number)
{
	struct mirrored *port = calloc(1, sizeof(*port));

	if (!port)
		return NULL;
	port->family = family;
	port->port = number;
	list_init(&port->subscribers);
	if (htab_add(&m->ports, &port->node, port_key(family, number)) < 0) {
		free(port);
		return NULL;
	}
	return port;
}

/* --- flows --- */

static uint64_t flow_key(const struct mirror *m, const struct addr *peer, const struct addr *local)
{
	return addr_hash(local, addr_hash(peer, m->seed));
}

static struct flow *flow_find(
	const struct mirror *m, const struct addr *peer, const struct addr *local)
{
	struct hnode *n = htab_find(&m->flows, flow_key(m, peer, local));

	for (; n; n = htab_next(n)) {
		struct flow *f = container_of(n, struct flow, node);

		if (addr_equal(&f->peer, peer) && addr_equal(&f->local, local))
			return f;
	}
	return NULL;
}

/* The flow's end; what its copies still have to say was said. */
static void flow_free(struct flow *f)
{
	struct mirror *m = f->mirror;

	assert(list_empty(&f->copies.list));
	htab_del(&m->flows, &f->node);
	list_del(&f->age);
	list_del(&f->hole);
	stream_done(&f->stream);
	f->port->nflows--;
	port_put(m, f->port);
	free(f);
}

static void flow_reset(struct flow *f, int error)
{
	copies_reset(&f->copies, error);
	flow_free(f);
}

static void flow_gap(struct flow *f, uint64_t missing)
{
	log_dbg("a gap of %llu bytes", (unsigned long long)missing);
	copies_gap(&f->copies, missing);
	flow_free(f);
}

static void flow_unwanted(struct copies *set)
{
	flow_free(container_of(set, struct flow, copies));
}

static void flow_deliver(struct stream *s, const uint8_t *p, size_t n)
{
	copies_data(&container_of(s, struct flow, stream)->copies, p, n);
}

/* Make room for one more flow: the oldest handshake goes, else the connection silent longest. */
static void evict(struct mirror *m)
{
	struct list *oldest = list_empty(&m->half_open) ? m->open.next : m->half_open.next;

	flow_reset(list_entry(oldest, struct flow, age), ETIMEDOUT);
}

/* A client's SYN. */
static void flow_begin(struct mirror *m, struct mirrored *port, const struct packet *k)
{
	struct flow *f;

	if (m->flows.count >= MIRROR_FLOWS_MAX)
		evict(m);
	f = calloc(1, sizeof(*f));
	if (!f || htab_add(&m->flows, &f->node, flow_key(m, &k->src, &k->dst)) < 0) {
		free(f);
		return;
	}
	f->mirror = m;
	f->port = port;
	f->peer = k->src;
	f->local = k->dst;
	f->isn = k->seq;
	f->since = now_ns();
	list_init(&f->hole);
	list_append(&m->half_open, &f->age);
	stream_init(&f->stream, k->seq + 1, &m->kept, flow_deliver);
	f->copies = (struct copies){
		.waiting = &m->waiting,
		.waiting_max = MIRROR_WAITING_MAX,
		.empty = flow_unwanted,
	};
	list_init(&f->copies.list);
	port->nflows++;
}

/* The handshake is complete. */
static void flow_open(struct flow *f)
{
	struct mirror *m = f->mirror;

	f->state = OPEN;
	list_for_each (pos, &f->port->subscribers) {
		const struct mirror_port *p = list_entry(pos, struct mirror_port, link);
		int r = copy_new(&f->copies, m->loop, &p->to, &f->peer, &f->local);

		if (r < 0)
			log_dbg("subscription %u: connection not copied: %s", p->to.id,
				strerror(-r));
	}
}

/* Keep the list of holes: each has its own time. */
static void watch_hole(struct flow *f)
{
	if (!stream_hole(&f->stream)) {
		list_del(&f->hole);
	} else if (list_empty(&f->hole) || f->hole_at != f->stream.next) {
		list_del(&f->hole);
		list_append(&f->mirror->holed, &f->hole);
		f->hole_at = f->stream.next;
		f->hole_since = now_ns();
	}
}

/* --- packets --- */

static void got_syn(struct mirror *m, struct flow *f, const struct packet *k)
{
	struct mirrored *port = port_find(m, addr_key(&k->dst));

	if (f && k->seq == f->isn)
		return; /* sent again */
	if (!port || list_empty(&port->subscribers) || k->len)
		return;
	/* The end of an older connection between these addresses was not seen. Its port is still in
	 * use while the new flow takes over. */
	port->nflows++;
	if (f)
		flow_reset(f, ECONNRESET);
	flow_begin(m, port, k);
	port->nflows--;
}

/* A segment of a flow that is open. */
static void got_segment(struct flow *f, const struct packet *k)
{
	bool had_ended = stream_ended(&f->stream);

	list_del(&f->age);
	list_append(&f->mirror->open, &f->age);
	if (stream_add(&f->stream, k->seq, k->data, k->len) < 0) {
		flow_gap(f, stream_hole(&f->stream));
		return;
	}
	if (k->flags & TH_FIN)
		stream_fin(&f->stream, k->seq + (uint32_t)k->len);
	if (!had_ended && stream_ended(&f->stream))
		copies_eof(&f->copies);
	watch_hole(f);
	if (list_empty(&f->copies.list))
		flow_free(f);
}

/* A packet that a client has sent. */
static void from_client(struct mirror *m, const struct packet *k)
{
	struct flow *f = flow_find(m, &k->src, &k->dst);
	uint32_t ahead;

	if ((k->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN) {
		got_syn(m, f, k);
		return;
	}
	if (!f || k->flags & TH_SYN)
		return;
	ahead = k->seq - f->stream.next;
	if (k->flags & TH_RST) {
		/* One that is not in the window is forged, or old (RFC 5961). */
		if (ahead <= STREAM_AHEAD_MAX)
			flow_reset(f, ECONNRESET);
		return;
	}
	if (f->state == HALF_OPEN) {
		if (!(k->flags & TH_ACK) || ahead > FIRST_WINDOW)
			return;
		flow_open(f);
	}
	got_segment(f, k);
}

/* A reset that the pod has sent. */
static void from_server(struct mirror *m, const struct packet *k)
{
	struct flow *f = flow_find(m, &k->dst, &k->src);

	if (f && k->flags & TH_RST)
		flow_reset(f, ECONNRESET);
}

static void got_datagram(struct mirror *m, const struct packet *k)
{
	struct hnode *n = htab_find(&m->udp, addr_key(&k->dst));

	for (; n; n = htab_next(n)) {
		const struct mirror_udp *p = container_of(n, struct mirror_udp, node);

		p->datagram(p->owner, &k->src, &k->dst, k->data, k->len);
	}
}

/* Its checksum is that of all parts, which nobody has looked at yet. */
static void got_fragment(struct mirror *m, const struct fragment *f)
{
	struct fragment whole;
	struct packet k;

	if (!fragments_add(&m->fragments, f, now_ns(), &whole))
		return;
	if (packet_whole(&k, &whole) == 0 && packet_sum_ok(&k))
		got_datagram(m, &k);
}

static void got_packet(void *arg, const struct ring_packet *raw)
{
	struct mirror *m = arg;
	struct fragment f;
	struct packet k;

	if (packet_parse(&k, raw->data, raw->captured, raw->wire) < 0) {
		if (!raw->outgoing && packet_fragment(&f, raw->data, raw->captured) == 0)
			got_fragment(m, &f);
	} else if (raw->outgoing) {
		from_server(m, &k);
	} else if (raw->summed || packet_sum_ok(&k)) {
		(k.protocol == IPPROTO_UDP ? got_datagram : from_client)(m, &k);
	}
}

/* --- the ring --- */

/* One block a turn: what is copied to the links leaves between two. */
static void mirror_event(struct watch *w, __attribute__((unused)) uint32_t events)
{
	struct mirror *m = container_of(w, struct mirror, watch);

	ring_read(&m->ring, got_packet, m);
}

static void expire_half_open(struct mirror *m, uint64_t now)
{
	while (!list_empty(&m->half_open)) {
		struct flow *f = list_entry(m->half_open.next, struct flow, age);

		if (now - f->since < HALF_OPEN_NS)
			return;
		flow_free(f);
	}
}

static void expire_holes(struct mirror *m, uint64_t now)
{
	while (!list_empty(&m->holed)) {
		struct flow *f = list_entry(m->holed.next, struct flow, hole);

		if (now - f->hole_since < HOLE_NS)
			return;
		flow_gap(f, stream_hole(&f->stream));
	}
}

static void mirror_tick(struct timer *t)
{
	struct mirror *m = container_of(t, struct mirror, tick);
	uint64_t now = now_ns();
	unsigned drops = ring_drops(&m->ring);

	if (drops)
		log_dbg("the packet ring was full: %u packets lost", drops);
	expire_half_open(m, now);
	expire_holes(m, now);
	fragments_expire(&m->fragments, now);
	loop_timer(m->loop, &m->tick, MIRROR_TICK_MS);
}

static void stop(struct mirror *m)
{
	timer_cancel(&m->tick);
	loop_del(m->loop, &m->watch);
	ring_close(&m->ring);
	fragments_clear(&m->fragments);
}

static int start(struct mirror *m, const struct sock_filter *f, size_t n, struct err *e)
{
	int r = ring_open(&m->ring, f, n, e);

	if (r < 0)
		return r;
	r = loop_add(m->loop, &m->watch, m->ring.fd, EPOLLIN, mirror_event);
	if (r < 0) {
		ring_close(&m->ring);
		return err_set(e, r, "cannot watch the packet ring: %s", strerror(-r));
	}
	loop_timer(m->loop, &m->tick, MIRROR_TICK_MS);
	return 0;
}

/* Capture for the ports that there are now. */
static int capture(struct mirror *m, struct err *e)
{
	static struct sock_filter f[BPF_MAXINSNS];
	size_t n = make_filter(m, f);
	int r;

	if (m->ring.fd < 0)
		return start(m, f, n, e);
	r = ring_filter(&m->ring, f, n);
	return r < 0 ? err_set(e, r, "cannot change the packet filter: %s", strerror(-r)) : 0;
}

static void mirror_refresh(struct deferred *d)
{
	struct mirror *m = container_of(d, struct mirror, refresh);

	if (m->ports.count || m->udp.count)
		capture(m, NULL); /* if it fails, too much is captured, and ignored */
	else
		stop(m);
}

void mirror_init(struct mirror *m, struct loop *loop)
{
	*m = (struct mirror){
		.loop = loop,
		.ring.fd = -1,
		.watch.fd = -1,
		.kept.max = MIRROR_KEPT_MAX,
	};
	timer_init(&m->tick, mirror_tick);
	deferred_init(&m->refresh, mirror_refresh);
	list_init(&m->half_open);
	list_init(&m->open);
	list_init(&m->holed);
	fragments_init(&m->fragments);
	if (getrandom(&m->seed, sizeof(m->seed), GRND_NONBLOCK) < 0)
		m->seed = now_ns();
}

void mirror_done(struct mirror *m)
{
	stop(m);
	htab_done(&m->flows);
	htab_done(&m->ports);
	htab_done(&m->udp);
}

int mirror_add(struct mirror *m, struct mirror_port *p, const struct subscriber *to,
	enum proto_family family, uint16_t port, struct err *e)
{
	struct mirrored *on = port_find(m, port_key(family, port));
	int r;

	if (!on && m->ports.count >= PACKET_PORTS_MAX)
		return err_set(e, -ENOSPC, "%d ports are mirrored already", PACKET_PORTS_MAX);
	if (!on)
		on = port_new(m, family, port);
	if (!on)
		return err_set(e, -ENOMEM, "the agent has no memory");
	r = capture(m, e);
	if (r < 0) {
		port_put(m, on);
		return r;
	}
	*p = (struct mirror_port){ .port = on, .to = *to };
	list_append(&on->subscribers, &p->link);
	return 0;
}

/* Handshakes that nobody waits for any more. */
static void drop_half_open(struct mirror *m, const struct mirrored *port)
{
	list_for_each_safe (pos, &m->half_open) {
		struct flow *f = list_entry(pos, struct flow, age);

		if (f->port == port)
			flow_free(f);
	}
}

void mirror_del(struct mirror *m, struct mirror_port *p)
{
	struct mirrored *port = p->port;

	port->nflows++; /* held */
	list_del(&p->link);
	if (list_empty(&port->subscribers))
		drop_half_open(m, port);
	port->nflows--;
	port_put(m, port);
}

/* --- datagrams --- */

int mirror_udp_add(struct mirror *m, struct mirror_udp *p, struct err *e)
{
	int r;

	if (m->udp.count >= PACKET_UDP_PORTS_MAX)
		return err_set(
			e, -ENOSPC, "%d UDP ports are mirrored already", PACKET_UDP_PORTS_MAX);
	if (htab_add(&m->udp, &p->node, port_key(p->family, p->port)) < 0)
		return err_set(e, -ENOMEM, "the agent has no memory");
	r = capture(m, e);
	if (r < 0)
		mirror_udp_del(m, p);
	return r;
}

void mirror_udp_del(struct mirror *m, struct mirror_udp *p)
{
	htab_del(&m->udp, &p->node);
	loop_defer(m->loop, &m->refresh);
}
