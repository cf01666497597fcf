/* TCP segments, UDP datagrams and fragments of these in captured packets: what the kernel is asked
 * to capture, and what is in it. Both see a packet from its network header on. Pure. */
#ifndef AGENT_PACKET_H
#define AGENT_PACKET_H

#include <linux/filter.h>

#include "addr.h"

struct packet {
	struct addr src, dst;
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	uint32_t seq;     /* of TCP, as the flags */
	uint8_t flags;    /* TH_SYN, … of <netinet/tcp.h> */
	size_t header;    /* bytes of TCP or UDP header right before data */
	const uint8_t *data;
	size_t len;
};

/* The payload of an IP packet, or a part of it. */
struct fragment {
	struct addr src, dst; /* without ports */
	uint8_t protocol;     /* IPPROTO_TCP, IPPROTO_UDP */
	uint32_t id;          /* of the packet it is a part of; 0 where there is none */
	size_t offset;        /* in the whole payload */
	bool more;            /* it is not the last */
	const uint8_t *data;
	size_t len;
};

/* packet_parse() - the TCP segment or UDP datagram in an IPv4 or IPv6 packet of which `captured`
 * bytes are at p and which had `wire` bytes in all. 0, or -EINVAL when it is not one, or not all of
 * it is there, as in a fragment. */
int packet_parse(struct packet *k, const uint8_t *p, size_t captured, size_t wire);

/* packet_fragment() - the fragment of a UDP datagram in such a packet. 0, or -EINVAL when it is not
 * one, is not all there, or would make the packet longer than packets are. */
int packet_fragment(struct fragment *f, const uint8_t *p, size_t captured);

/* packet_whole() - the TCP segment or UDP datagram that a payload is, which has all its parts: *k
 * points into it. 0 or -EINVAL. */
int packet_whole(struct packet *k, const struct fragment *payload);

/* packet_sum() - the sum that the checksum of TCP and UDP is the complement of, in network order
 * (RFC 1071): of n bytes from the transport header on, and the pseudo-header. */
uint16_t packet_sum(const struct addr *src, const struct addr *dst, uint8_t protocol,
	const uint8_t *segment, size_t n);

/* packet_sum_ok() - the checksum is right, or there is none (UDP over IPv4). For a packet that
 * packet_parse() took. */
bool packet_sum_ok(const struct packet *k);

/* The server's ports that are captured, of each family. */
#define PACKET_PORTS_MAX     1024
#define PACKET_UDP_PORTS_MAX 512

struct packet_ports {
	uint16_t v4[PACKET_PORTS_MAX], v6[PACKET_PORTS_MAX];
	size_t nv4, nv6;
	uint16_t udp4[PACKET_UDP_PORTS_MAX], udp6[PACKET_UDP_PORTS_MAX];
	size_t nudp4, nudp6;
};

/* packet_filter() - the program that passes, whole, what clients send to the ports, and what resets
 * the server sends from those of TCP. Where a UDP port is captured all fragments of UDP pass, since
 * only the first one of a datagram has the port. Fills f, which has room for BPF_MAXINSNS; how many
 * there are.
 */
size_t packet_filter(struct sock_filter *f, const struct packet_ports *ports);

#endif
