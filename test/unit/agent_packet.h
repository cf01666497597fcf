/* TCP and UDP packets as the wire has them, for the tests of what reads them. */
#ifndef TEST_UNIT_AGENT_PACKET_H
#define TEST_UNIT_AGENT_PACKET_H

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "addr.h"
#include "unit.h"

struct made_packet {
	uint8_t data[2048];
	size_t len;
};

struct packet_spec {
	const char *src, *dst; /* both of one family */
	uint32_t seq;
	uint8_t flags;
	const char *text;
	size_t ip_options, tcp_options; /* bytes, a multiple of 4 */
	uint16_t fragment; /* flags and offset as of IPv4; of IPv6 any makes a header */
	uint8_t protocol;  /* 0: TCP; UDP has no flags and options */
	bool no_length;    /* 0 in the IP header */
};

static inline uint16_t made_sum(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline size_t made_header(const struct packet_spec *s)
{
	return s->protocol == IPPROTO_UDP ? sizeof(struct udphdr)
					  : sizeof(struct tcphdr) + s->tcp_options;
}

/* The transport header and the text; sum: of the pseudo-header. */
static inline void make_segment(
	uint8_t *p, const struct packet_spec *s, size_t segment, uint32_t sum)
{
	struct tcphdr *tcp = (struct tcphdr *)p;
	struct udphdr *udp = (struct udphdr *)p;
	struct addr src, dst;

	assert_int_equal(addr_parse(&src, s->src), 0);
	assert_int_equal(addr_parse(&dst, s->dst), 0);
	tcp->th_sport = htons(addr_port(&src)); /* UDP has the ports at the same place */
	tcp->th_dport = htons(addr_port(&dst));
	if (s->text)
		memcpy(p + made_header(s), s->text, strlen(s->text));
	if (s->protocol == IPPROTO_UDP) {
		udp->uh_ulen = htons((uint16_t)segment);
		udp->uh_sum = htons((uint16_t)~made_sum(sum, p, segment));
		return;
	}
	tcp->th_seq = htonl(s->seq);
	tcp->th_off = (unsigned)(made_header(s) / 4) & 15;
	tcp->th_flags = s->flags;
	tcp->th_sum = htons((uint16_t)~made_sum(sum, p, segment));
}

/* IPv6's fragment header, of what IPv4 has in its own. */
static inline struct ip6_frag made_part(uint8_t next, uint16_t fragment, uint32_t id)
{
	return (struct ip6_frag){
		.ip6f_nxt = next,
		.ip6f_offlg = htons((uint16_t)((fragment & IP_OFFMASK) << 3)) |
			      (fragment & IP_MF ? IP6F_MORE_FRAG : 0),
		.ip6f_ident = htonl(id),
	};
}

static inline struct made_packet make_packet(const struct packet_spec *s)
{
	size_t text = s->text ? strlen(s->text) : 0, segment = made_header(s) + text;
	struct made_packet m = { .len = 0 };
	struct addr src, dst;
	uint32_t sum;

	assert_int_equal(addr_parse(&src, s->src), 0);
	assert_int_equal(addr_parse(&dst, s->dst), 0);
	if (src.sa.sa_family == AF_INET) {
		struct ip *ip = (struct ip *)m.data;

		m.len = sizeof(*ip) + s->ip_options;
		ip->ip_v = 4;
		ip->ip_hl = (unsigned)m.len / 4 & 15;
		ip->ip_len = s->no_length ? 0 : htons((uint16_t)(m.len + segment));
		ip->ip_off = htons(s->fragment);
		ip->ip_p = s->protocol ? s->protocol : IPPROTO_TCP;
		ip->ip_src = src.in.sin_addr;
		ip->ip_dst = dst.in.sin_addr;
		sum = made_sum(0, (const uint8_t *)&ip->ip_src, 8);
	} else {
		struct ip6_hdr *ip = (struct ip6_hdr *)m.data;

		size_t part = s->fragment ? sizeof(struct ip6_frag) : 0;

		m.len = sizeof(*ip) + part;
		ip->ip6_vfc = 6 << 4;
		ip->ip6_plen = s->no_length ? 0 : htons((uint16_t)(part + segment));
		ip->ip6_nxt = s->protocol ? s->protocol : IPPROTO_TCP;
		if (part) {
			*(struct ip6_frag *)(ip + 1) = made_part(ip->ip6_nxt, s->fragment, 1);
			ip->ip6_nxt = IPPROTO_FRAGMENT;
		}
		ip->ip6_src = src.in6.sin6_addr;
		ip->ip6_dst = dst.in6.sin6_addr;
		sum = made_sum(0, (const uint8_t *)&ip->ip6_src, 32);
	}
	sum += (s->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP) + (uint32_t)segment;
	make_segment(m.data + m.len, s, segment, sum);
	m.len += segment;
	return m;
}

/* A packet's payload from `offset` on, n bytes or what there is, as a fragment of its own. The
 * packet has no IP options, and no fragment header. */
static inline struct made_packet cut_packet(
	const struct made_packet *whole, uint32_t id, size_t offset, size_t n)
{
	size_t header = whole->data[0] >> 4 == 4 ? sizeof(struct ip) : sizeof(struct ip6_hdr);
	size_t all = whole->len - header;
	uint16_t fragment = (uint16_t)(offset / 8);
	struct made_packet m = { .len = header };

	n = MIN(n, all - offset);
	fragment |= offset + n < all ? IP_MF : 0;
	memcpy(m.data, whole->data, header);
	if (header == sizeof(struct ip)) {
		struct ip *ip = (struct ip *)m.data;

		ip->ip_id = htons((uint16_t)id);
		ip->ip_off = htons(fragment);
		ip->ip_len = htons((uint16_t)(header + n));
	} else {
		struct ip6_hdr *ip = (struct ip6_hdr *)m.data;
		struct ip6_frag part = made_part(ip->ip6_nxt, fragment, id);

		ip->ip6_nxt = IPPROTO_FRAGMENT;
		ip->ip6_plen = htons((uint16_t)(sizeof(part) + n));
		memcpy(m.data + header, &part, sizeof(part));
		m.len += sizeof(part);
	}
	memcpy(m.data + m.len, whole->data + header + offset, n);
	m.len += n;
	return m;
}

#endif
