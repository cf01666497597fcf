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
	uint16_t fragment;              /* IPv4's flags and offset */
	uint8_t protocol;               /* 0: TCP; UDP has no flags and options */
	bool no_length;                 /* 0 in the IP header */
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

		m.len = sizeof(*ip);
		ip->ip6_vfc = 6 << 4;
		ip->ip6_plen = s->no_length ? 0 : htons((uint16_t)segment);
		ip->ip6_nxt = s->protocol ? s->protocol : IPPROTO_TCP;
		ip->ip6_src = src.in6.sin6_addr;
		ip->ip6_dst = dst.in6.sin6_addr;
		sum = made_sum(0, (const uint8_t *)&ip->ip6_src, 32);
	}
	sum += (s->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP) + (uint32_t)segment;
	make_segment(m.data + m.len, s, segment, sum);
	m.len += segment;
	return m;
}

#endif
