/* What name servers answer and programs ask, and the target's files of name resolution. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util.h" /* before a MIN of the system's */

#include "tracer/dns.c"
#include "tracer/names.c"
#include "tracer/pattern.c"
#include "tracer/policy.c"
#include "tracer/resolvconf.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is learned must be told again, and the stream must take it in any pieces. */
static void message(struct names *n, const uint8_t *p, size_t len)
{
	struct names_stream s = { 0 };
	const char *out[NAMES_OF_MAX];
	struct dns_answer a;
	struct addr server;

	names_query(n, p, len, &server);
	if (dns_answer(p, len, &a) != names_answer(n, p, len))
		abort();
	if (a.naddresses && !names_of(n, &a.addresses[a.naddresses - 1], out))
		abort();
	for (size_t at = 0, piece; at < len; at += piece) {
		piece = MIN(len - at, (size_t)p[at] + 1);
		names_stream_bytes(n, &s, p + at, piece);
	}
	names_stream_done(&s);
}

static void text(struct names *n, const uint8_t *p, size_t len)
{
	size_t made_len = len;
	char *made = nsswitch_make((const char *)p, &made_len);

	names_resolv_conf(n, (const char *)p, len);
	names_hosts(n, (const char *)p, len);
	free(made);
}

/* The first byte says how much of the rest is a text; then comes a message. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config cfg = { .dns_local = "*.example.com,db" };
	struct tracer tracer = { .cfg = &cfg };
	struct names *n = names_new(&tracer);
	size_t part = size ? MIN((size_t)data[0] * 2, size - 1) : 0;

	if (!n || policy_compile(&tracer.policy, &cfg, NULL) < 0)
		abort();
	if (size) {
		text(n, data + 1, part);
		message(n, data + 1 + part, size - 1 - part);
	}
	names_free(n);
	policy_free(tracer.policy);
	return 0;
}
