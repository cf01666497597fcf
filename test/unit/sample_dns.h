/* DNS messages for tests: written as people would, put on the wire here. */
#ifndef TEST_SAMPLE_DNS_H
#define TEST_SAMPLE_DNS_H

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdint.h>
#include <string.h>

struct sample_record {
	const char *owner; /* NULL: no more */
	unsigned type;     /* ns_t_a, ns_t_aaaa, ns_t_cname */
	const char *is;
};

#define SAMPLE_RECORDS_MAX 4

struct sample_dns {
	const char *what;
	const char *question;
	bool query;
	unsigned rcode;
	struct sample_record records[SAMPLE_RECORDS_MAX];
};

static const struct sample_dns samples_dns[] = {
	{ .what = "query", .question = "db.example.com", .query = true },
	{ .what = "a",
		.question = "DB.Example.com",
		.records = { { "db.example.com", ns_t_a, "10.1.2.3" },
			{ "db.example.com", ns_t_a, "10.1.2.4" } } },
	{ .what = "aaaa",
		.question = "db.example.com",
		.records = { { "db.example.com", ns_t_aaaa, "fd00::1" } } },
	{ .what = "aliases",
		.question = "www.example.com",
		.records = { { "www.example.com", ns_t_cname, "cdn.example.net" },
			{ "cdn.example.net", ns_t_cname, "edge.example.org" },
			{ "edge.example.org", ns_t_a, "10.1.2.5" } } },
	{ .what = "aliases the wrong way round",
		.question = "www.example.com",
		.records = { { "edge.example.org", ns_t_a, "10.1.2.6" },
			{ "cdn.example.net", ns_t_cname, "edge.example.org" },
			{ "www.example.com", ns_t_cname, "cdn.example.net" } } },
	{ .what = "a ring of aliases",
		.question = "a",
		.records = { { "a", ns_t_cname, "b" }, { "b", ns_t_cname, "a" },
			{ "b", ns_t_a, "10.1.2.7" } } },
	{ .what = "somebody else's address",
		.question = "db.example.com",
		.records = { { "other.example.com", ns_t_a, "10.1.2.8" } } },
	{ .what = "nxdomain",
		.question = "db.example.com",
		.rcode = ns_r_nxdomain,
		.records = { { "db.example.com", ns_t_a, "10.1.2.9" } } },
	{ .what = "below a search domain",
		.question = "db.shop.svc.cluster.local",
		.records = { { "db.shop.svc.cluster.local", ns_t_a, "10.96.0.1" } } },
};

static inline uint8_t *sample_name(uint8_t *p, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		*p++ = (uint8_t)n;
		memcpy(p, name, n);
		p += n;
		name += n + (name[n] == '.');
	}
	*p++ = 0;
	return p;
}

static inline uint8_t *sample_u16(uint8_t *p, unsigned v)
{
	*p++ = (uint8_t)(v >> 8);
	*p++ = (uint8_t)v;
	return p;
}

static inline uint8_t *sample_record(uint8_t *p, const struct sample_record *r)
{
	uint8_t *len;

	p = sample_name(p, r->owner);
	p = sample_u16(p, r->type);
	p = sample_u16(p, ns_c_in);
	p = sample_u16(sample_u16(p, 0), 60);
	len = p;
	p += 2;
	if (r->type == ns_t_cname)
		p = sample_name(p, r->is);
	else if (inet_pton(r->type == ns_t_a ? AF_INET : AF_INET6, r->is, p) == 1)
		p += r->type == ns_t_a ? NS_INADDRSZ : NS_IN6ADDRSZ;
	sample_u16(len, (unsigned)(p - len - 2));
	return p;
}

/* sample_dns() - the message's length; p has room for all that fits into samples_dns[]. */
static inline size_t sample_dns(const struct sample_dns *s, uint8_t p[static 1024])
{
	uint8_t *at = p + NS_HFIXEDSZ;
	unsigned n = 0;

	at = sample_name(at, s->question);
	at = sample_u16(sample_u16(at, ns_t_a), ns_c_in);
	for (; n < SAMPLE_RECORDS_MAX && s->records[n].owner; n++)
		at = sample_record(at, &s->records[n]);
	memset(p, 0, NS_HFIXEDSZ);
	p[2] = s->query ? 0x01 : 0x81;
	p[3] = (uint8_t)s->rcode;
	p[5] = 1;
	p[7] = (uint8_t)n;
	return (size_t)(at - p);
}

#endif
