/* Ways to make the kernel hand new connections to a port to a listener of ours. Whatever a way puts
 * into the kernel must vanish with the process, however it dies. */
#ifndef AGENT_REDIRECT_H
#define AGENT_REDIRECT_H

#include "addr.h"
#include "log.h"
#include "proto.h"

/* The most (family, port) pairs that may be redirected at once. */
#define REDIRECT_PORTS_MAX 4096

struct redirect;

struct redirect_ops {
	const char *name; /* as -v and MIRRORD_TRACE_DISABLE say it */

	/* Make ready in the current network namespace: the listening socket, and what will lead to
	 * it. 0 and both outputs, or -errno with a sentence in e. */
	int (*open)(struct redirect **r, int *listener, struct err *e);
	void (*close)(struct redirect *r);

	/* From here on, until it is taken back, new connections to the port are ours. */
	int (*add)(struct redirect *r, enum proto_family family, uint16_t port, struct err *e);
	void (*del)(struct redirect *r, enum proto_family family, uint16_t port);

	/* The same for new datagrams to the port, which are for the UDP socket fd, of either
	 * family, bound to any port. NULL: this way cannot. */
	int (*add_udp)(
		struct redirect *r, enum proto_family family, uint16_t port, int fd, struct err *e);
	void (*del_udp)(struct redirect *r, enum proto_family family, uint16_t port);

	/* Where an accepted connection's client connected to. -errno: it was not redirected. */
	int (*destination)(int fd, struct addr *local);
};

extern const struct redirect_ops redirect_sklookup, redirect_nft;

/* redirect_open() - open the first way that works here and is not among the words of
 * MIRRORD_TRACE_DISABLE. 0 and all outputs, or -errno and why each way failed. */
int redirect_open(
	const struct redirect_ops **ops, struct redirect **r, int *listener, struct err *e);

/* redirect_listen() - a non-blocking socket that listens at ip, on a port that the kernel chooses,
 * for both families if ip is an AF_INET6 address. The fd or -errno. */
int redirect_listen(const struct addr *ip);

#endif
