/* Names as the target knows them: its resolv.conf, hosts and host.conf, and what its name server's
 * answers tell of addresses. */
#ifndef TRACER_NAMES_H
#define TRACER_NAMES_H

#include "addr.h"
#include "policy.h"
#include "proto.h"

/* How many names of one address are told. */
#define NAMES_OF_MAX 8

struct call;
struct names;
struct tracer;

/* names_new() - NULL: no memory. */
struct names *names_new(struct tracer *tr);
void names_free(struct names *n); /* NULL is fine */

/* names_start() - ask the agent for the files; the link is open. */
void names_start(struct names *n);

/* names_message() - file_content of the agent. */
void names_message(struct names *n, const struct msg *m);

/* names_link_lost() - whoever waits for the agent is told. */
void names_link_lost(struct names *n);

/* names_open() - an open of that path for reading, as the guest wrote it: true when it is one of
 * the files of name resolution, and then the call is answered or parked. path_arg: which argument
 * of the call the path is. */
bool names_open(struct names *n, struct call *c, const char *path, unsigned path_arg, int flags);

/* names_query() - a DNS query on its way to the target's name server: who is to answer it. With
 * SIDE_LOCAL *server is this machine's own name server. */
enum side names_query(struct names *n, const uint8_t *p, size_t len, struct addr *server);

/* names_answer() - a DNS answer on its way to the guest, without the length that TCP has: its
 * addresses are known by its names from now on. */
void names_answer(struct names *n, const uint8_t *p, size_t len);

/* names_of() - the names that the address is known by, without a final dot: how many. They are
 * valid until the next turn of the loop. */
unsigned names_of(const struct names *n, const struct addr *a, const char *out[NAMES_OF_MAX]);

/* names_refuses() - a unix socket of this machine that would answer for names: nscd,
 * systemd-resolved, mDNS. */
bool names_refuses(const char *path);

#endif
