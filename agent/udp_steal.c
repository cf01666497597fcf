/* Theory of operation. The redirection (redirect.h) hands new datagrams to the port to a socket of
 * ours, which has another port; where a datagram was sent to comes with it (IP_RECVORIGDSTADDR).
 * The pod's own socket keeps the port, so no other UDP socket can send from it: answers leave by a
 * raw socket, with a UDP header made here. Such a socket would receive a copy of every UDP packet;
 * a filter drops them all.
 *
 * The kernel fills in the checksum of IPv6 (IPV6_CHECKSUM, RFC 3542), that of IPv4 is made here. */
#include "udp_steal.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <string.h>

#include "packet.h"

struct udp_steal {
	struct steal *steal;
	struct steal_udp ports[2]; /* of each family */
	size_t nports;
	uint16_t port;
	struct addr bind;
	int raw4, raw6; /* -1: there is none */
	struct udp_peers peers;
};

/* --- receiving --- */

/* Bound to the loopback address in v4-mapped form it takes both families, and is not to be reached
 * from outside without being redirected. */
static int make_receiver(struct err *e)
{
	struct addr v4 = addr_v4(INADDR_LOOPBACK, 0), at = addr_map(&v4, AF_INET6);
	cleanup_fd int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0;

	if (fd < 0 && errno == EAFNOSUPPORT) {
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		at = v4;
	}
	if (fd < 0)
		return err_set(e, -errno, "cannot make a UDP socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof(on));
	if (setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &on, sizeof(on)) < 0 ||
		bind(fd, &at.sa, addr_len(&at)) < 0)
		return err_set(e, -errno, "cannot receive datagrams: %s", strerror(errno));
	return take_fd(&fd);
}

/* Where the datagram was sent to. False: it is not said. */
static bool destination(struct msghdr *h, struct addr *to)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR;
		bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR;

		if (v4 || v6)
			return addr_from_sockaddr(to, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0)) == 0;
	}
	return false;
}

ssize_t udp_steal_receive(struct udp_steal *u, int fd, void *bytes, size_t n, struct addr *peer)
{
	union {
		struct cmsghdr align;
		uint8_t space[2 * CMSG_SPACE(sizeof(struct sockaddr_in6))];
	} control;
	struct iovec iov = { bytes, n };
	struct msghdr h = {
		.msg_name = peer,
		.msg_namelen = sizeof(*peer),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got = recvmsg(fd, &h, 0);
	struct addr local;

	if (got < 0)
		return -errno;
	/* What was sent to our own port was not redirected. */
	if (!destination(&h, &local) || addr_port(&local) != u->port)
		return -ENOMSG;
	*peer = addr_unmap(peer);
	local = addr_unmap(&local);
	udp_peers_note(&u->peers, peer, &local);
	return got;
}

/* --- sending --- */

static int make_raw(sa_family_t family, struct err *e)
{
	static struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	const struct sock_fprog drop = { .len = 1, .filter = nothing };
	cleanup_fd int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
	int on = 1, at = offsetof(struct udphdr, uh_sum);

	if (fd < 0 && errno == EPERM)
		return err_set(
			e, -EPERM, "may not answer from a stolen UDP port; CAP_NET_RAW is needed");
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)) < 0 ||
		(family == AF_INET6 &&
			setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &at, sizeof(at)) < 0))
		return err_set(
			e, -errno, "cannot answer from a stolen UDP port: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	return take_fd(&fd);
}

/* The address that the kernel would choose for that peer. */
static int routed_source(const struct addr *to, struct addr *from)
{
	cleanup_fd int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &to->sa, addr_len(to)) < 0)
		return -errno;
	return addr_of_socket(fd, from);
}

int udp_steal_source(const struct udp_steal *u, const struct addr *to, struct addr *from)
{
	const struct addr *known = udp_peers_find(&u->peers, to);
	bool bound = !addr_is_wildcard(&u->bind) && u->bind.sa.sa_family == to->sa.sa_family;
	int r = 0;

	if (known)
		*from = *known;
	else if (bound)
		*from = u->bind;
	else
		r = routed_source(to, from);
	if (r == 0)
		addr_set_port(from, u->port);
	return r;
}

static struct udphdr make_header(
	const struct addr *from, const struct addr *to, const void *p, size_t n)
{
	static uint8_t segment[sizeof(struct udphdr) + PROTO_DATAGRAM_MAX];
	struct udphdr h = {
		.uh_sport = htons(addr_port(from)),
		.uh_dport = htons(addr_port(to)),
		.uh_ulen = htons((uint16_t)(sizeof(h) + n)),
	};

	if (to->sa.sa_family == AF_INET6)
		return h;
	memcpy(segment, &h, sizeof(h));
	if (n)
		memcpy(segment + sizeof(h), p, n);
	h.uh_sum = (uint16_t)~packet_sum(from, to, IPPROTO_UDP, segment, sizeof(h) + n);
	if (!h.uh_sum)
		h.uh_sum = 0xffff; /* 0 would mean: none (RFC 768) */
	return h;
}

/* The control message that says which address to send from. */
static void put_source(struct msghdr *h, const struct addr *from)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	struct in_pktinfo v4 = { .ipi_spec_dst = from->in.sin_addr };
	struct in6_pktinfo v6 = { .ipi6_addr = from->in6.sin6_addr };
	bool six = from->sa.sa_family == AF_INET6;
	size_t n = six ? sizeof(v6) : sizeof(v4);

	c->cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
	c->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(c), six ? (void *)&v6 : (void *)&v4, n);
	h->msg_controllen = CMSG_SPACE(n);
}

/* More than IP carries is what a UDP socket calls EMSGSIZE. */
static bool too_long(const struct addr *to, size_t n)
{
	return n > (to->sa.sa_family == AF_INET6 ? PROTO_DATAGRAM_MAX : PROTO_DATAGRAM_MAX - 20);
}

int udp_steal_send(const struct udp_steal *u, const struct addr *to, struct span s)
{
	bool six = to->sa.sa_family == AF_INET6;
	struct addr from = { 0 }, name = *to;
	struct udphdr header;
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control = { 0 };
	struct iovec iov[] = { { &header, sizeof(header) }, { (void *)s.data, s.len } };
	struct msghdr h = {
		.msg_name = &name,
		.msg_namelen = addr_len(to),
		.msg_iov = iov,
		.msg_iovlen = ARRAY_SIZE(iov),
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int r;

	if ((six ? u->raw6 : u->raw4) < 0)
		return -EAFNOSUPPORT;
	if (!addr_port(to))
		return -EINVAL;
	if (too_long(to, s.len))
		return -EMSGSIZE;
	r = udp_steal_source(u, to, &from);
	if (r < 0)
		return r;
	header = make_header(&from, to, s.data, s.len);
	addr_set_port(&name, 0); /* of a raw IPv6 socket it would be the protocol */
	put_source(&h, &from);
	return sendmsg(six ? u->raw6 : u->raw4, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* --- the port --- */

void udp_steal_close(struct udp_steal *u)
{
	if (!u)
		return;
	while (u->nports)
		steal_udp_del(u->steal, &u->ports[--u->nports]);
	close_fd(&u->raw4);
	close_fd(&u->raw6);
	udp_peers_done(&u->peers);
	free(u);
}

static int take_port(struct udp_steal *u, enum proto_family family, int fd, struct err *e)
{
	int r = steal_udp_add(u->steal, &u->ports[u->nports], family, u->port, fd, e);

	if (r == 0)
		u->nports++;
	return r;
}

/* Take the port for one family or both, and make what answers need. */
static int take_over(struct udp_steal *u, sa_family_t family, int fd, struct err *e)
{
	bool any = addr_is_wildcard(&u->bind);
	bool v4 = any || u->bind.sa.sa_family == AF_INET;
	bool v6 = family == AF_INET6 && (any || u->bind.sa.sa_family == AF_INET6);
	int r = 0;

	if (v4)
		r = u->raw4 = make_raw(AF_INET, e);
	if (r >= 0 && v6)
		r = u->raw6 = make_raw(AF_INET6, e);
	if (r >= 0 && v4)
		r = take_port(u, PROTO_IPV4, fd, e);
	if (r >= 0 && v6)
		r = take_port(u, PROTO_IPV6, fd, e);
	return r < 0 ? r : 0;
}

int udp_steal_open(struct udp_steal **out, struct steal *s, sa_family_t family,
	const struct addr *bind, int *fd, struct err *e)
{
	cleanup_fd int receiver = make_receiver(e);
	struct udp_steal *u;
	int r;

	if (receiver < 0)
		return receiver;
	u = calloc(1, sizeof(*u));
	if (!u)
		return err_set(e, -ENOMEM, "the agent has no memory");
	*u = (struct udp_steal){
		.steal = s,
		.port = addr_port(bind),
		.bind = addr_unmap(bind),
		.raw4 = -1,
		.raw6 = -1,
	};
	udp_peers_init(&u->peers);
	r = take_over(u, family, receiver, e);
	if (r < 0) {
		udp_steal_close(u);
		return r;
	}
	*fd = take_fd(&receiver);
	*out = u;
	return 0;
}
