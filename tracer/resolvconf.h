/* What the texts of name resolution say: resolv.conf(5), hosts(5), nsswitch.conf(5). They are
 * somebody else's and may hold anything. */
#ifndef TRACER_RESOLVCONF_H
#define TRACER_RESOLVCONF_H

#include <stddef.h>

#include "addr.h"
#include "dns.h"

#define RESOLV_SERVERS_MAX 3 /* MAXNS: resolvers ask no more */
#define RESOLV_SEARCH_MAX  16

struct resolv_conf {
	struct addr servers[RESOLV_SERVERS_MAX]; /* with their port */
	unsigned nservers;                       /* never 0: then it is loopback */
	char search[RESOLV_SEARCH_MAX][DNS_NAME_SIZE];
	unsigned nsearch;
};

/* resolv_conf_parse() - n = 0: what holds without the file. */
void resolv_conf_parse(struct resolv_conf *r, const char *text, size_t n);

/* hosts_parse() - fn for each name of each address, in lower case, in the order of the text. */
void hosts_parse(const char *text, size_t n,
	void (*fn)(const struct addr *a, const char *name, void *data), void *data);

/* nsswitch_make() - the text with "hosts: files dns" in the place of what it says about hosts: the
 * caller's to free, *n its length; NULL: no memory. */
char *nsswitch_make(const char *text, size_t *n);

#endif
