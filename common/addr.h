/* An IPv4 or IPv6 address with a port, in one shape for the wire, for the kernel and for people. */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Big enough for any address that addr_format() prints, with brackets, scope and port. */
#define ADDR_STRLEN 80

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

struct addr addr_v4(uint32_t host_order, uint16_t port);
struct addr addr_v6(const struct in6_addr *ip, uint16_t port);

/* addr_any(), addr_loopback() - the unspecified and the loopback address of AF_INET or AF_INET6. */
struct addr addr_any(sa_family_t family, uint16_t port);
struct addr addr_loopback(sa_family_t family, uint16_t port);

/* addr_from_sockaddr() - 0, or -EAFNOSUPPORT / -EINVAL (too short for its family, bind(2)). */
int addr_from_sockaddr(struct addr *a, const void *sa, size_t len);

/* addr_len() - the length that the kernel wants for the address's family. */
socklen_t addr_len(const struct addr *a);

uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);

bool addr_is_wildcard(const struct addr *a);
bool addr_is_loopback(const struct addr *a); /* v4-mapped too */
bool addr_is_v4mapped(const struct addr *a);

/* addr_same_ip() - equal addresses, a v4-mapped one being equal to its IPv4 form. */
bool addr_same_ip(const struct addr *a, const struct addr *b);
bool addr_equal(const struct addr *a, const struct addr *b); /* the same, and the same port */

/* addr_hash() - of address and port; nobody who does not know the seed can choose addresses that
 * collide. A hash can be the seed of the next. */
uint64_t addr_hash(const struct addr *a, uint64_t seed);

/* addr_unmap() - ::ffff:a.b.c.d becomes a.b.c.d; anything else is unchanged. */
struct addr addr_unmap(const struct addr *a);

/* addr_map() - the address as a socket of that family shows it: IPv4 on AF_INET6 is v4-mapped. */
struct addr addr_map(const struct addr *a, sa_family_t family);

/* addr_meant() - where something that is sent to the address goes: never v4-mapped, and loopback
 * for the unspecified one (ip(7)). */
struct addr addr_meant(const struct addr *to);

/* addr_format() - "10.1.2.3:80", "[fd00::1]:80"; returns s. */
const char *addr_format(const struct addr *a, char s[static ADDR_STRLEN]);

/* addr_parse() - the reverse, "HOST:PORT" with a numeric host; 0 or -EINVAL. */
int addr_parse(struct addr *a, const char *s);

/* addr_of_socket(), addr_of_peer() - getsockname(2), getpeername(2); 0 or -errno. */
int addr_of_socket(int fd, struct addr *a);
int addr_of_peer(int fd, struct addr *a);

#endif
