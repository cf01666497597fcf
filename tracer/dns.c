#include "dns.h"

#include <arpa/nameser.h>
#include <ctype.h>
#include <string.h>

bool dns_name(char to[static DNS_NAME_SIZE], const char *from)
{
	size_t n = strlen(from);

	if (n && from[n - 1] == '.')
		n--;
	if (n == 0 || n >= DNS_NAME_SIZE)
		return false;
	for (size_t i = 0; i < n; i++)
		to[i] = (char)tolower((unsigned char)from[i]);
	to[n] = '\0';
	return true;
}

/* Begin with a message of that kind; the name of its question. */
static bool parse_question(
	ns_msg *m, const uint8_t *p, size_t len, bool response, char name[static DNS_NAME_SIZE])
{
	ns_rr rr;

	if (len > NS_MAXMSG || ns_initparse(p, (int)len, m) < 0)
		return false;
	if (ns_msg_getflag(*m, ns_f_qr) != response ||
		ns_msg_getflag(*m, ns_f_opcode) != ns_o_query || ns_msg_count(*m, ns_s_qd) < 1)
		return false;
	return ns_parserr(m, ns_s_qd, 0, &rr) == 0 && dns_name(name, ns_rr_name(rr));
}

bool dns_question(const uint8_t *p, size_t len, char name[static DNS_NAME_SIZE])
{
	char asked[DNS_NAME_SIZE];
	ns_msg m;

	if (!parse_question(&m, p, len, false, asked))
		return false;
	strcpy(name, asked);
	return true;
}

static bool is_known(const struct dns_answer *a, const char *name)
{
	for (unsigned i = 0; i < a->nnames; i++) {
		if (strcmp(a->names[i], name) == 0)
			return true;
	}
	return false;
}

static void add_alias(struct dns_answer *a, const ns_msg *m, const ns_rr *rr)
{
	char text[NS_MAXDNAME], name[DNS_NAME_SIZE];

	if (a->nnames == DNS_NAMES_MAX || ns_name_uncompress(ns_msg_base(*m), ns_msg_end(*m),
						  ns_rr_rdata(*rr), text, sizeof(text)) < 0)
		return;
	if (dns_name(name, text) && !is_known(a, name))
		strcpy(a->names[a->nnames++], name);
}

static void add_address(struct dns_answer *a, const ns_rr *rr)
{
	const uint8_t *p = ns_rr_rdata(*rr);
	struct in6_addr ip6;

	if (a->naddresses == DNS_ADDRESSES_MAX)
		return;
	if (ns_rr_type(*rr) == ns_t_a && ns_rr_rdlen(*rr) == NS_INADDRSZ)
		a->addresses[a->naddresses++] = addr_v4(ns_get32(p), 0);
	if (ns_rr_type(*rr) != ns_t_aaaa || ns_rr_rdlen(*rr) != NS_IN6ADDRSZ)
		return;
	memcpy(&ip6, p, sizeof(ip6));
	a->addresses[a->naddresses++] = addr_v6(&ip6, 0);
}

/* A pass over the records: what they say of the names that are known by then. An alias stands
 * before what it is an alias of, as a rule; for others there is the next pass. */
static void read_records(struct dns_answer *a, ns_msg *m, bool aliases)
{
	for (int i = 0; i < ns_msg_count(*m, ns_s_an); i++) {
		char owner[DNS_NAME_SIZE];
		ns_rr rr;

		if (ns_parserr(m, ns_s_an, i, &rr) < 0)
			return;
		if (ns_rr_class(rr) != ns_c_in || !dns_name(owner, ns_rr_name(rr)) ||
			!is_known(a, owner))
			continue;
		if (!aliases)
			add_address(a, &rr);
		else if (ns_rr_type(rr) == ns_t_cname)
			add_alias(a, m, &rr);
	}
}

bool dns_answer(const uint8_t *p, size_t len, struct dns_answer *a)
{
	unsigned known;
	ns_msg m;

	a->nnames = a->naddresses = 0;
	if (!parse_question(&m, p, len, true, a->names[0]))
		return false;
	if (ns_msg_getflag(m, ns_f_rcode) != ns_r_noerror)
		return true;
	a->nnames = 1;
	do {
		known = a->nnames;
		read_records(a, &m, true);
	} while (a->nnames > known);
	read_records(a, &m, false);
	return true;
}
