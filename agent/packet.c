#include "packet.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "util.h"

/* --- parsing --- */

static bool is_transport(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* An IPv6 packet may be in one "fragment", which is whole (RFC 6946). */
static bool is_part(const struct fragment *f)
{
	return f->offset || f->more;
}

/* The IP header, and what is behind it. False when that is not TCP or UDP, or not all there.
 *
 * A GSO packet beyond 64 KiB has tot_len 0 (Linux 6.3, "BIG TCP"): its length is the frame's. */
static bool parse_v4(struct fragment *f, const uint8_t *p, size_t captured, size_t wire)
{
	size_t header, total;
	struct ip ip;

	if (captured < sizeof(ip))
		return false;
	memcpy(&ip, p, sizeof(ip));
	header = ip.ip_hl * 4u;
	total = ip.ip_len ? ntohs(ip.ip_len) : wire;
	if (header < sizeof(ip) || total < header || total > captured || !is_transport(ip.ip_p))
		return false;
	*f = (struct fragment){
		.src = addr_v4(ntohl(ip.ip_src.s_addr), 0),
		.dst = addr_v4(ntohl(ip.ip_dst.s_addr), 0),
		.protocol = ip.ip_p,
		.id = ntohs(ip.ip_id),
		.offset = (ntohs(ip.ip_off) & IP_OFFMASK) * 8u,
		.more = ntohs(ip.ip_off) & IP_MF,
		.data = p + header,
		.len = total - header,
	};
	return !is_part(f) || f->offset + total <= IP_MAXPACKET;
}

/* Skip the fragment header, which is the only extension header that is known here. */
static bool parse_v6_part(struct fragment *f)
{
	struct ip6_frag part;

	if (f->len < sizeof(part))
		return false;
	memcpy(&part, f->data, sizeof(part));
	f->protocol = part.ip6f_nxt;
	f->id = ntohl(part.ip6f_ident);
	f->offset = ntohs(part.ip6f_offlg & IP6F_OFF_MASK);
	f->more = part.ip6f_offlg & IP6F_MORE_FRAG;
	f->data += sizeof(part);
	f->len -= sizeof(part);
	return f->offset + f->len <= IP_MAXPACKET;
}

static bool parse_v6(struct fragment *f, const uint8_t *p, size_t captured, size_t wire)
{
	struct ip6_hdr ip;
	size_t total;

	if (captured < sizeof(ip))
		return false;
	memcpy(&ip, p, sizeof(ip));
	total = ip.ip6_plen ? sizeof(ip) + ntohs(ip.ip6_plen) : wire;
	if (total < sizeof(ip) || total > captured)
		return false;
	*f = (struct fragment){
		.src = addr_v6(&ip.ip6_src, 0),
		.dst = addr_v6(&ip.ip6_dst, 0),
		.protocol = ip.ip6_nxt,
		.data = p + sizeof(ip),
		.len = total - sizeof(ip),
	};
	if (f->protocol == IPPROTO_FRAGMENT && !parse_v6_part(f))
		return false;
	return is_transport(f->protocol);
}

static bool parse_ip(struct fragment *f, const uint8_t *p, size_t captured, size_t wire)
{
	if (captured && p[0] >> 4 == 4)
		return parse_v4(f, p, captured, wire);
	if (captured && p[0] >> 4 == 6)
		return parse_v6(f, p, captured, wire);
	return false;
}

static bool parse_tcp(struct packet *k, const uint8_t *segment, size_t len)
{
	struct tcphdr tcp;
	size_t header;

	if (len < sizeof(tcp))
		return false;
	memcpy(&tcp, segment, sizeof(tcp));
	header = tcp.th_off * 4u;
	if (header < sizeof(tcp) || header > len)
		return false;
	addr_set_port(&k->src, ntohs(tcp.th_sport));
	addr_set_port(&k->dst, ntohs(tcp.th_dport));
	k->seq = ntohl(tcp.th_seq);
	k->flags = tcp.th_flags;
	k->header = header;
	k->data = segment + header;
	k->len = len - header;
	return true;
}

static bool parse_udp(struct packet *k, const uint8_t *segment, size_t len)
{
	struct udphdr udp;
	size_t total;

	if (len < sizeof(udp))
		return false;
	memcpy(&udp, segment, sizeof(udp));
	total = ntohs(udp.uh_ulen);
	if (total < sizeof(udp) || total > len)
		return false;
	addr_set_port(&k->src, ntohs(udp.uh_sport));
	addr_set_port(&k->dst, ntohs(udp.uh_dport));
	k->header = sizeof(udp);
	k->data = segment + sizeof(udp);
	k->len = total - sizeof(udp);
	return true;
}

int packet_whole(struct packet *k, const struct fragment *payload)
{
	struct packet out = {
		.src = payload->src,
		.dst = payload->dst,
		.protocol = payload->protocol,
	};
	bool udp = payload->protocol == IPPROTO_UDP;

	if (!(udp ? parse_udp : parse_tcp)(&out, payload->data, payload->len))
		return -EINVAL;
	*k = out;
	return 0;
}

int packet_parse(struct packet *k, const uint8_t *p, size_t captured, size_t wire)
{
	struct fragment f;

	if (!parse_ip(&f, p, captured, wire) || is_part(&f))
		return -EINVAL;
	return packet_whole(k, &f);
}

int packet_fragment(struct fragment *f, const uint8_t *p, size_t captured)
{
	struct fragment out;

	if (!parse_ip(&out, p, captured, captured) || !is_part(&out))
		return -EINVAL;
	if (out.protocol != IPPROTO_UDP)
		return -EINVAL;
	*f = out;
	return 0;
}

/* --- checksum (RFC 1071) --- */

static uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t n)
{
	uint32_t word;

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	if (n) {
		word = 0;
		memcpy(&word, p, n);
		sum += word;
	}
	return sum;
}

static uint64_t sum_ip(uint64_t sum, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return sum_bytes(sum, a->in6.sin6_addr.s6_addr, sizeof(a->in6.sin6_addr));
	return sum_bytes(sum, (const uint8_t *)&a->in.sin_addr, sizeof(a->in.sin_addr));
}

uint16_t packet_sum(const struct addr *src, const struct addr *dst, uint8_t protocol,
	const uint8_t *segment, size_t n)
{
	uint64_t sum = sum_ip(sum_ip(0, src), dst);

	sum += htonl((uint32_t)n) + (uint64_t)htonl(protocol);
	sum = sum_bytes(sum, segment, n);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Zero means that there is none (RFC 768); over IPv6 there must be one (RFC 8200). */
static bool has_no_sum(const struct packet *k)
{
	struct udphdr udp;

	if (k->protocol != IPPROTO_UDP || k->src.sa.sa_family != AF_INET)
		return false;
	memcpy(&udp, k->data - k->header, sizeof(udp));
	return !udp.uh_sum;
}

bool packet_sum_ok(const struct packet *k)
{
	const uint8_t *segment = k->data - k->header;
	size_t n = k->header + k->len;

	return has_no_sum(k) || packet_sum(&k->src, &k->dst, k->protocol, segment, n) == 0xffff;
}

/* --- filter --- */

/* In a program under construction: where the next instruction goes. */
struct program {
	struct sock_filter *f;
	size_t n;
};

static void emit(struct program *g, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	g->f[g->n++] = (struct sock_filter){ code, jt, jf, k };
}

static void load_ancillary(struct program *g, uint32_t what)
{
	emit(g, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)SKF_AD_OFF + what);
}

/* Drop unless the accumulator is equal to k. */
static void require(struct program *g, uint32_t k)
{
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, k);
	emit(g, BPF_RET | BPF_K, 0, 0, 0);
}

/* Pass if the accumulator is one of the ports. */
static void pass_ports(struct program *g, const uint16_t *ports, size_t nports)
{
	for (size_t i = 0; i < nports; i++) {
		emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, ports[i]);
		emit(g, BPF_RET | BPF_K, 0, 0, UINT32_MAX);
	}
	emit(g, BPF_RET | BPF_K, 0, 0, 0);
}

/* A jump to where end_far() is called: conditional ones reach only 255 on. */
static size_t begin_far(struct program *g)
{
	emit(g, BPF_JMP | BPF_JA, 0, 0, 0);
	return g->n - 1;
}

static void end_far(struct program *g, size_t at)
{
	g->f[at].k = (uint32_t)(g->n - at - 1);
}

/* X holds where the TCP header is. The server's port is the destination of what arrives, and the
 * source of the resets that leave. On lo each packet is seen leaving and arriving, so nothing but a
 * reset may be taken on its way out; frames for other hosts (promiscuous mode) never arrive. */
static void emit_tcp(struct program *g, const uint16_t *ports, size_t nports)
{
	load_ancillary(g, SKF_AD_PKTTYPE);
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, PACKET_OUTGOING); /* else: arrives? */
	emit(g, BPF_LD | BPF_B | BPF_IND, 0, 0, offsetof(struct tcphdr, th_flags));
	emit(g, BPF_JMP | BPF_JSET | BPF_K, 0, 5, TH_RST); /* else: drop */
	emit(g, BPF_LD | BPF_H | BPF_IND, 0, 0, offsetof(struct tcphdr, th_sport));
	emit(g, BPF_JMP | BPF_JA, 0, 0, 4);                    /* to the ports */
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, PACKET_HOST); /* arrives? else: drop */
	emit(g, BPF_LD | BPF_H | BPF_IND, 0, 0, offsetof(struct tcphdr, th_dport));
	emit(g, BPF_JMP | BPF_JA, 0, 0, 1);
	emit(g, BPF_RET | BPF_K, 0, 0, 0); /* drop */
	pass_ports(g, ports, nports);
}

/* Of UDP, what arrives for this host, by whatever kind of address: the kinds of packets up to
 * PACKET_MULTICAST. */
static void require_arriving(struct program *g)
{
	load_ancillary(g, SKF_AD_PKTTYPE);
	emit(g, BPF_JMP | BPF_JGT | BPF_K, 0, 1, PACKET_MULTICAST);
	emit(g, BPF_RET | BPF_K, 0, 0, 0);
}

static void emit_udp(struct program *g, const uint16_t *ports, size_t nports)
{
	emit(g, BPF_LD | BPF_H | BPF_IND, 0, 0, offsetof(struct udphdr, uh_dport));
	pass_ports(g, ports, nports);
}

static void pass_fragments_v4(struct program *g)
{
	emit(g, BPF_LD | BPF_H | BPF_ABS, 0, 0, offsetof(struct ip, ip_off));
	emit(g, BPF_JMP | BPF_JSET | BPF_K, 0, 1, IP_MF | IP_OFFMASK);
	emit(g, BPF_RET | BPF_K, 0, 0, UINT32_MAX);
}

/* The accumulator holds the next header, and still does afterwards. */
static void pass_fragments_v6(struct program *g)
{
	size_t skip = g->n;

	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, IPPROTO_FRAGMENT);
	require_arriving(g);
	emit(g, BPF_LD | BPF_B | BPF_IND, 0, 0, offsetof(struct ip6_frag, ip6f_nxt));
	require(g, IPPROTO_UDP);
	emit(g, BPF_RET | BPF_K, 0, 0, UINT32_MAX);
	g->f[skip].jf = (uint8_t)(g->n - skip - 1);
}

static void emit_v4(struct program *g, const struct packet_ports *ports)
{
	size_t tcp;

	emit(g, BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0);
	emit(g, BPF_LD | BPF_B | BPF_ABS, 0, 0, offsetof(struct ip, ip_p));
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, IPPROTO_UDP);
	tcp = begin_far(g);
	require_arriving(g);
	if (ports->nudp4)
		pass_fragments_v4(g);
	emit_udp(g, ports->udp4, ports->nudp4);
	end_far(g, tcp);
	require(g, IPPROTO_TCP);
	emit(g, BPF_LD | BPF_H | BPF_ABS, 0, 0, offsetof(struct ip, ip_off));
	emit(g, BPF_JMP | BPF_JSET | BPF_K, 0, 1, IP_OFFMASK);
	emit(g, BPF_RET | BPF_K, 0, 0, 0);
	emit_tcp(g, ports->v4, ports->nv4);
}

static void emit_v6(struct program *g, const struct packet_ports *ports)
{
	size_t tcp;

	emit(g, BPF_LDX | BPF_W | BPF_IMM, 0, 0, sizeof(struct ip6_hdr));
	emit(g, BPF_LD | BPF_B | BPF_ABS, 0, 0, offsetof(struct ip6_hdr, ip6_nxt));
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, IPPROTO_UDP);
	tcp = begin_far(g);
	require_arriving(g);
	emit_udp(g, ports->udp6, ports->nudp6);
	end_far(g, tcp);
	if (ports->nudp6)
		pass_fragments_v6(g);
	require(g, IPPROTO_TCP);
	emit_tcp(g, ports->v6, ports->nv6);
}

size_t packet_filter(struct sock_filter *f, const struct packet_ports *ports)
{
	struct program g = { .f = f };
	size_t v6;

	load_ancillary(&g, SKF_AD_PROTOCOL);
	emit(&g, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ETH_P_IP);
	v6 = begin_far(&g);
	emit_v4(&g, ports);
	end_far(&g, v6);
	require(&g, ETH_P_IPV6);
	emit_v6(&g, ports);
	return g.n;
}
