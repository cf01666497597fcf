/* What the configuration says of addresses, names and paths: pure, compiled before the launch.
 *
 * A selector is [tcp://|udp://]WHAT[:PORT]; WHAT is a name, an address, or a subnet (10.0.0.0/8,
 * [fd00::]/8), and may be left out: ":5432", "udp://". Selectors are separated by commas. */
#ifndef TRACER_POLICY_H
#define TRACER_POLICY_H

#include <stdbool.h>

#include "addr.h"
#include "config.h"
#include "log.h"

enum side {
	SIDE_LOCAL,  /* this machine */
	SIDE_REMOTE, /* the target */
};

struct policy;

/* policy_compile() - 0, or -EINVAL and e, which names the option, the selector and what is wrong.
 */
int policy_compile(struct policy **p, const struct config *cfg, struct err *e);
void policy_free(struct policy *p); /* NULL is fine */

/* policy_address() - where a connection (IPPROTO_TCP) or a datagram (IPPROTO_UDP) to that address
 * goes. names: those that the address is known by, perhaps none. *why: a few words for -v. */
enum side policy_address(const struct policy *p, int protocol, const struct addr *to,
	const char *const *names, unsigned nnames, const char **why);

/* policy_name() - who resolves a name: dns.filter, and the names in outgoing.filter. search: the
 * target's search domains, which a resolver may have appended to the name that was meant. */
enum side policy_name(
	const struct policy *p, const char *name, const char *const *search, unsigned nsearch);

/* policy_unix() - a unix socket at that path is the target's. An abstract name begins with '@'. */
bool policy_unix(const struct policy *p, const char *path);

#endif
