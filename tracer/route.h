/* Where something that the guest sends to an address goes: the one place that decides it, from the
 * policy, the names that are known, and what the guest itself listens to. */
#ifndef TRACER_ROUTE_H
#define TRACER_ROUTE_H

#include "policy.h"

struct call;
struct sock;
struct tracer;

/* route_to() - protocol: IPPROTO_TCP or IPPROTO_UDP. to: an internet address. The reason is noted
 * with the call for -v; c may be NULL. */
enum side route_to(struct tracer *tr, struct call *c, int protocol, const struct addr *to);

/* route_is_target() - an address where the target's own programs reach each other: one of the
 * target's, loopback, or the unspecified one. */
bool route_is_target(const struct tracer *tr, const struct addr *to);

/* route_own_listener() - the guest's own TCP listener that a connection to that address reaches, or
 * NULL. */
struct sock *route_own_listener(struct tracer *tr, const struct addr *to);

#endif
