/* What the configuration says of addresses, names and paths: pure, compiled before the launch.
 *
 * A selector is [tcp://|udp://]WHAT[:PORT]; WHAT is a name, *.DOMAIN for every name below it, an
 * address, or a subnet (10.0.0.0/8, [fd00::]/8), and may be left out: ":5432", "udp://". An IPv6
 * address stands in brackets when a port follows. Selectors are separated by commas.
 *
 * A list of what is remote leaves the rest local, a list of what is local the rest remote; with no
 * list all is remote, multicast and broadcast too. A v4-mapped address is the IPv4 address inside
 * it, and the unspecified address is loopback, as connect(2) takes it. */
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

/* policy_compile() - 0, or -EINVAL and e, which names the option, the selector and what is wrong;
 * -ENOMEM. */
int policy_compile(struct policy **p, const struct config *cfg, struct err *e);
void policy_free(struct policy *p); /* NULL is fine */

/* policy_address() - where a connection (IPPROTO_TCP) or a datagram (IPPROTO_UDP) to that address
 * goes. names: those that the address is known by, perhaps none. *why: a few words for -v, valid as
 * long as the policy. */
enum side policy_address(const struct policy *p, int protocol, const struct addr *to,
	const char *const *names, unsigned nnames, const char **why);

/* policy_name() - who resolves a name: as the dns lists say; a name of the outgoing lists, which
 * the dns lists do not have, where its connections are made. search: the target's search domains,
 * which a resolver may have appended to the name that was meant. */
enum side policy_name(
	const struct policy *p, const char *name, const char *const *search, unsigned nsearch);

/* policy_splits_names() - some name may be local; otherwise nobody need look at names. */
bool policy_splits_names(const struct policy *p);

/* policy_unix() - a unix socket at that path is the target's. An abstract name begins with '@'. */
bool policy_unix(const struct policy *p, const char *path);

#endif
