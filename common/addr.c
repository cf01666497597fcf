#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

struct addr addr_v4(uint32_t host_order, uint16_t port)
{
	struct addr a = { .in = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(host_order) } };

	return a;
}

struct addr addr_v6(const struct in6_addr *ip, uint16_t port)
{
	struct addr a = {
		.in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *ip }
	};

	return a;
}

struct addr addr_any(sa_family_t family, uint16_t port)
{
	return family == AF_INET ? addr_v4(INADDR_ANY, port) : addr_v6(&in6addr_any, port);
}

struct addr addr_loopback(sa_family_t family, uint16_t port)
{
	return family == AF_INET ? addr_v4(INADDR_LOOPBACK, port)
				 : addr_v6(&in6addr_loopback, port);
}

int addr_from_sockaddr(struct addr *a, const void *sa, size_t len)
{
	sa_family_t family;
	struct addr out = { 0 };

	if (len < sizeof(family))
		return -EINVAL;
	memcpy(&family, sa, sizeof(family));
	if (family == AF_INET) {
		if (len < sizeof(out.in))
			return -EINVAL;
		memcpy(&out.in, sa, sizeof(out.in));
		memset(out.in.sin_zero, 0, sizeof(out.in.sin_zero));
	} else if (family == AF_INET6) {
		if (len < offsetof(struct sockaddr_in6, sin6_scope_id)) /* SIN6_LEN_RFC2133 */
			return -EINVAL;
		memcpy(&out.in6, sa, MIN(len, sizeof(out.in6)));
	} else {
		return -EAFNOSUPPORT;
	}
	*a = out;
	return 0;
}

socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

uint16_t addr_port(const struct addr *a)
{
	/* The port has the same place in both families. */
	return ntohs(a->in.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
	a->in.sin_port = htons(port);
}

bool addr_is_v4mapped(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

struct addr addr_unmap(const struct addr *a)
{
	uint32_t v4;

	if (!addr_is_v4mapped(a))
		return *a;
	memcpy(&v4, &a->in6.sin6_addr.s6_addr[12], sizeof(v4));
	return addr_v4(ntohl(v4), addr_port(a));
}

struct addr addr_map(const struct addr *a, sa_family_t family)
{
	struct in6_addr ip = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (family != AF_INET6 || a->sa.sa_family != AF_INET)
		return *a;
	memcpy(&ip.s6_addr[12], &a->in.sin_addr, sizeof(a->in.sin_addr));
	return addr_v6(&ip, addr_port(a));
}

struct addr addr_meant(const struct addr *to)
{
	struct addr a = addr_unmap(to);

	return addr_is_wildcard(&a) ? addr_loopback(a.sa.sa_family, addr_port(&a)) : a;
}

bool addr_is_wildcard(const struct addr *a)
{
	struct addr u = addr_unmap(a);

	if (u.sa.sa_family == AF_INET)
		return u.in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&u.in6.sin6_addr);
}

bool addr_is_loopback(const struct addr *a)
{
	struct addr u = addr_unmap(a);

	if (u.sa.sa_family == AF_INET)
		return ntohl(u.in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&u.in6.sin6_addr);
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	struct addr x = addr_unmap(a), y = addr_unmap(b);

	if (x.sa.sa_family != y.sa.sa_family)
		return false;
	if (x.sa.sa_family == AF_INET)
		return x.in.sin_addr.s_addr == y.in.sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&x.in6.sin6_addr, &y.in6.sin6_addr) &&
	       x.in6.sin6_scope_id == y.in6.sin6_scope_id;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_port(a) == addr_port(b) && addr_same_ip(a, b);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0xff51afd7ed558ccdu;
	return h ^ h >> 32;
}

uint64_t addr_hash(const struct addr *a, uint64_t seed)
{
	uint64_t ip[2] = { 0 };

	if (a->sa.sa_family == AF_INET6)
		memcpy(ip, &a->in6.sin6_addr, sizeof(ip));
	else
		ip[0] = a->in.sin_addr.s_addr;
	return mix(mix(mix(seed, ip[0]), ip[1]), addr_port(a));
}

const char *addr_format(const struct addr *a, char s[static ADDR_STRLEN])
{
	char ip[INET6_ADDRSTRLEN], scope[16] = "";

	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof(ip));
		snprintf(s, ADDR_STRLEN, "%s:%u", ip, addr_port(a));
	} else {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof(ip));
		if (a->in6.sin6_scope_id)
			snprintf(scope, sizeof(scope), "%%%u", a->in6.sin6_scope_id);
		snprintf(s, ADDR_STRLEN, "[%s%s]:%u", ip, scope, addr_port(a));
	}
	return s;
}

int addr_parse(struct addr *a, const char *s)
{
	const char *colon = strrchr(s, ':');
	char ip[INET6_ADDRSTRLEN], *end;
	unsigned long port;
	struct in6_addr v6;
	struct in_addr v4;
	size_t n;

	if (!colon || colon == s || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > UINT16_MAX)
		return -EINVAL;
	n = (size_t)(colon - s);
	if (*s == '[' && colon[-1] == ']') {
		s++;
		n -= 2;
	}
	if (n >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, s, n);
	ip[n] = '\0';
	if (inet_pton(AF_INET, ip, &v4) == 1)
		*a = addr_v4(ntohl(v4.s_addr), (uint16_t)port);
	else if (inet_pton(AF_INET6, ip, &v6) == 1)
		*a = addr_v6(&v6, (uint16_t)port);
	else
		return -EINVAL;
	return 0;
}

int addr_of_socket(int fd, struct addr *a)
{
	struct addr out = { 0 };
	socklen_t len = sizeof(out);

	if (getsockname(fd, &out.sa, &len) < 0)
		return -errno;
	return addr_from_sockaddr(a, &out, MIN(len, sizeof(out)));
}

int addr_of_peer(int fd, struct addr *a)
{
	struct addr out = { 0 };
	socklen_t len = sizeof(out);

	if (getpeername(fd, &out.sa, &len) < 0)
		return -errno;
	return addr_from_sockaddr(a, &out, MIN(len, sizeof(out)));
}
