/* Names as the target knows them: what its resolv.conf and hosts say (name_copies.h), and what its
 * name server's answers tell of addresses. */
#ifndef TRACER_NAMES_H
#define TRACER_NAMES_H

#include "addr.h"
#include "policy.h"
#include "proto.h"

/* How many names of one address are learned, taken from the hosts file, and told. */
#define NAMES_OF_MAX 32

/* How many names learned from answers are kept, each with its address, the newest. They are kept
 * longer than their TTL, because resolvers in programs are known to do the same. */
#define NAMES_LEARNED_MAX 8192

struct names;
struct tracer;

/* names_new() - NULL: no memory. */
struct names *names_new(struct tracer *tr);
void names_free(struct names *n); /* NULL is fine */

/* names_resolv_conf(), names_hosts() - what the target's files say; len 0: they are not there. */
void names_resolv_conf(struct names *n, const char *text, size_t len);
void names_hosts(struct names *n, const char *text, size_t len);

/* names_server() - queries to that address, port and all, are for a name server: the target's, or
 * with --no-dns this machine's. They go there whatever the lists say of its address; names_query()
 * decides about each that is for the target's. */
bool names_server(const struct names *n, const struct addr *to, enum side *whose);

/* names_query() - a DNS query on its way to the target's name server, without the length that TCP
 * has: who is to answer it. With SIDE_LOCAL *server is this machine's own name server. What is not
 * understood is remote. */
enum side names_query(struct names *n, const uint8_t *p, size_t len, struct addr *server);

/* names_answer() - a DNS answer on its way to the guest, without the length that TCP has: its
 * addresses are known by its names from now on. False: it is no answer, and nothing is learned. */
bool names_answer(struct names *n, const uint8_t *p, size_t len);

/* names_of() - the names that the address is known by, the newest first, in lower case without a
 * final dot: how many. A name below one of the target's search domains is also told without it.
 * They are valid until the next turn of the loop. */
unsigned names_of(const struct names *n, const struct addr *a, const char *out[NAMES_OF_MAX]);

/* names_refuses() - a unix socket of this machine that would answer for names: nscd,
 * systemd-resolved, mDNS. */
bool names_refuses(const char *path);

/* What a name server sends over one TCP connection, in pieces as they come: each message goes to
 * names_answer(). All zero to begin with. */
struct names_stream {
	uint8_t length[2]; /* of the message, in network order */
	uint8_t *message;  /* room for all of it, once the length is known */
	size_t have;       /* bytes of both */
	bool over;         /* it is not DNS, nothing more is read */
};

void names_stream_bytes(struct names *n, struct names_stream *s, const uint8_t *p, size_t len);
void names_stream_done(struct names_stream *s);

#endif
