#include "policy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "util.h"

#define NAME_MAX_LEN  253 /* RFC 1035, without the final dot */
#define LABEL_MAX_LEN 63

enum selects {
	SELECTS_ANY,    /* only protocol and port are asked */
	SELECTS_NAME,   /* this one */
	SELECTS_BELOW,  /* every name that ends so */
	SELECTS_SUBNET, /* also of one address */
};

struct selector {
	enum selects selects;
	int protocol;  /* 0: both */
	uint16_t port; /* 0: all */
	char name[NAME_MAX_LEN + 1];
	struct addr net;
	unsigned bits;
	char why[NAME_MAX_LEN + 64]; /* option and selector */
};

/* One option's selectors. */
struct list_of {
	const char *option; /* NULL: no such list */
	enum side side;     /* of what matches */
	size_t n;
	struct selector *v;
	char otherwise[64]; /* why something is not of that side */
};

struct policy {
	bool ignore_localhost;
	struct list_of outgoing, dns;
	bool splits_names;
	struct pattern unix_remote; /* text NULL: none */
};

/* --- a selector's text --- */

/* What is wrong with a selector; NULL: nothing. */
typedef const char *complaint;

static complaint parse_port(struct selector *s, const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || port < 1 || port > UINT16_MAX)
		return "a port is a number from 1 to 65535, as in db:5432";
	s->port = (uint16_t)port;
	return NULL;
}

static bool is_label(const char *p, size_t n)
{
	if (n == 0 || n > LABEL_MAX_LEN)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)p[i]) && p[i] != '-' && p[i] != '_')
			return false;
	}
	return true;
}

/* The last label of a name is never a number (RFC 3696, 2): that is a mistyped address. */
static bool is_number(const char *label)
{
	return label[strspn(label, "0123456789")] == '\0';
}

static complaint parse_name(struct selector *s, char *text)
{
	size_t n = strlen(text);
	const char *label;

	s->selects = SELECTS_NAME;
	if (strncmp(text, "*.", 2) == 0) {
		s->selects = SELECTS_BELOW;
		text += 2;
		n -= 2;
	}
	if (n && text[n - 1] == '.')
		text[--n] = '\0';
	if (n > NAME_MAX_LEN)
		return "a name has at most 253 characters";
	label = text;
	for (const char *dot; (dot = strchr(label, '.')); label = dot + 1) {
		if (!is_label(label, (size_t)(dot - label)))
			break;
	}
	if (strchr(text, '*'))
		return "a * stands for whole labels at the beginning, as in *.example.com";
	if (!is_label(label, strlen(label)))
		return "it is neither a name nor an address, as db.example.com and 10.1.2.3 are";
	if (is_number(label))
		return "it is no address: IPv4 has four numbers up to 255, as in 10.1.2.3";
	for (size_t i = 0; i <= n; i++)
		s->name[i] = (char)tolower((unsigned char)text[i]);
	return NULL;
}

static bool parse_ip(struct addr *a, const char *text)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		*a = addr_v4(ntohl(v4.s_addr), 0);
	else if (inet_pton(AF_INET6, text, &v6) == 1)
		*a = addr_v6(&v6, 0);
	else
		return false;
	return true;
}

/* bits: the text behind the slash, or NULL: one address. */
static complaint parse_bits(struct selector *s, const char *bits)
{
	unsigned max = s->net.sa.sa_family == AF_INET ? 32 : 128;
	unsigned long n = max;
	char *end;

	if (bits) {
		n = strtoul(bits, &end, 10);
		if (!isdigit((unsigned char)*bits) || *end || n > max)
			return "a subnet has 0 to 32 bits, or 0 to 128 with IPv6: 10.0.0.0/8, "
			       "[fd00::]/8";
	}
	s->bits = (unsigned)n;
	if (addr_is_v4mapped(&s->net) && n >= 96) {
		s->net = addr_unmap(&s->net);
		s->bits -= 96;
	}
	return NULL;
}

/* WHAT without brackets; bits as in parse_bits(). */
static complaint parse_what(struct selector *s, char *text, const char *bits)
{
	if (parse_ip(&s->net, text)) {
		s->selects = SELECTS_SUBNET;
		return parse_bits(s, bits);
	}
	if (bits)
		return "a subnet is ADDRESS/BITS, as in 10.0.0.0/8";
	if (strchr(text, ':'))
		return "it is no IPv6 address; with a port it stands in brackets: [fd00::1]:5432";
	return parse_name(s, text);
}

/* Cut the text in two at the first of that character: the second half, or NULL. */
static char *cut(char *text, int at)
{
	char *p = strchr(text, at);

	if (p)
		*p++ = '\0';
	return p;
}

/* [ADDRESS][/BITS][:PORT], text being behind the first bracket. */
static complaint parse_bracketed(struct selector *s, char *text)
{
	char *rest = cut(text, ']'), *port = rest ? cut(rest, ':') : NULL;
	struct addr a;

	if (!rest || (*rest && *rest != '/') || !parse_ip(&a, text) || a.sa.sa_family != AF_INET6)
		return "in brackets stands an IPv6 address, as in [fd00::1]:5432 and [fd00::]/8";
	if (port && parse_port(s, port))
		return parse_port(s, port);
	return parse_what(s, text, *rest ? rest + 1 : NULL);
}

static bool take_prefix(char **text, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncasecmp(*text, prefix, n) != 0)
		return false;
	*text += n;
	return true;
}

static complaint parse_selector(struct selector *s, char *text)
{
	complaint wrong;
	char *port;

	if (take_prefix(&text, "tcp://"))
		s->protocol = IPPROTO_TCP;
	else if (take_prefix(&text, "udp://"))
		s->protocol = IPPROTO_UDP;
	else if (strstr(text, "://"))
		return "the protocol is tcp or udp, as in tcp://db:5432";
	else if (!*text)
		return "between two commas must be something: db,10.0.0.0/8";
	if (*text == '[')
		return parse_bracketed(s, text + 1);
	/* More than one colon is an IPv6 address without a port. */
	port = strchr(text, ':');
	port = port && port == strrchr(text, ':') ? cut(text, ':') : NULL;
	wrong = port ? parse_port(s, port) : NULL;
	if (wrong || !*text)
		return wrong;
	return parse_what(s, text, cut(text, '/'));
}

/* --- a list of them --- */

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n && strchr(" \t", text[n - 1]))
		text[--n] = '\0';
	return text;
}

static int add_selector(struct list_of *l, char *text, struct err *e)
{
	struct selector *s = &l->v[l->n];
	complaint wrong;

	text = trim(text);
	snprintf(s->why, sizeof(s->why), "--%s %s", l->option, text);
	wrong = parse_selector(s, text);
	if (wrong)
		return err_set(e, -EINVAL, "'%s': %s", s->why, wrong);
	l->n++;
	return 0;
}

static int compile_list(
	struct list_of *l, const char *option, enum side side, const char *text, struct err *e)
{
	cleanup_free char *copy = strdup(text);
	size_t n = 1;
	int r = 0;

	for (const char *p = text; (p = strchr(p, ',')); p++)
		n++;
	l->v = calloc(n, sizeof(*l->v));
	if (!copy || !l->v)
		return err_set(e, -ENOMEM, "no memory for --%s", option);
	l->option = option;
	l->side = side;
	snprintf(l->otherwise, sizeof(l->otherwise), "not in --%s", option);
	for (char *next, *one = copy; one && r == 0; one = next) {
		next = cut(one, ',');
		r = add_selector(l, one, e);
	}
	return r;
}

/* At most one of the two is there (config.c). */
static int compile_lists(struct list_of *l, const char *remote_option, const char *remote,
	const char *local_option, const char *local, struct err *e)
{
	if (remote)
		return compile_list(l, remote_option, SIDE_REMOTE, remote, e);
	return local ? compile_list(l, local_option, SIDE_LOCAL, local, e) : 0;
}

static bool has_name(const struct selector *s)
{
	return s->selects == SELECTS_NAME || s->selects == SELECTS_BELOW;
}

static int check_only_names(const struct list_of *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		if (!has_name(&l->v[i]) || l->v[i].protocol || l->v[i].port)
			return err_set(e, -EINVAL,
				"'%s': who looks up a name says neither address nor port: give "
				"names only, as in db,*.example.com",
				l->v[i].why);
	}
	return 0;
}

static bool splits_names(const struct policy *p)
{
	if (p->dns.option)
		return true;
	for (size_t i = 0; i < p->outgoing.n; i++) {
		if (p->outgoing.side == SIDE_LOCAL && has_name(&p->outgoing.v[i]))
			return true;
	}
	return false;
}

static int compile(struct policy *p, const struct config *cfg, struct err *e)
{
	int r = compile_lists(&p->outgoing, "outgoing-remote", cfg->outgoing_remote,
		"outgoing-local", cfg->outgoing_local, e);

	if (r == 0)
		r = compile_lists(
			&p->dns, "dns-remote", cfg->dns_remote, "dns-local", cfg->dns_local, e);
	if (r == 0)
		r = check_only_names(&p->dns, e);
	p->ignore_localhost = cfg->ignore_localhost;
	p->splits_names = splits_names(p);
	if (r == 0 && cfg->unix_remote)
		r = pattern_compile(&p->unix_remote, "unix-remote", cfg->unix_remote,
			strlen(cfg->unix_remote), 0, e);
	return r;
}

int policy_compile(struct policy **p, const struct config *cfg, struct err *e)
{
	struct policy *made = calloc(1, sizeof(*made));
	int r = made ? compile(made, cfg, e) : err_set(e, -ENOMEM, "no memory");

	if (r < 0)
		policy_free(made);
	else
		*p = made;
	return r;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	free(p->outgoing.v);
	free(p->dns.v);
	pattern_done(&p->unix_remote);
	free(p);
}

/* --- questions --- */

static bool same_bits(const void *a, const void *b, unsigned bits)
{
	const uint8_t *x = a, *y = b;
	unsigned whole = bits / 8, rest = bits % 8;

	return memcmp(x, y, whole) == 0 && (!rest || (x[whole] ^ y[whole]) >> (8 - rest) == 0);
}

/* a: not v4-mapped. */
static bool is_in(const struct selector *s, const struct addr *a)
{
	if (s->net.sa.sa_family != a->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return same_bits(&s->net.in.sin_addr, &a->in.sin_addr, s->bits);
	return same_bits(&s->net.in6.sin6_addr, &a->in6.sin6_addr, s->bits);
}

/* The first n characters of name are the selector's name, or lie below it. */
static bool is_named_n(const struct selector *s, const char *name, size_t n)
{
	size_t len = strlen(s->name);

	if (s->selects == SELECTS_NAME)
		return n == len && strncasecmp(name, s->name, n) == 0;
	return s->selects == SELECTS_BELOW && n > len + 1 && name[n - len - 1] == '.' &&
	       strncasecmp(name + n - len, s->name, len) == 0;
}

static bool is_named(const struct selector *s, const char *name)
{
	return is_named_n(s, name, strlen(name));
}

static bool is_any_named(const struct selector *s, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (is_named(s, names[i]))
			return true;
	}
	return false;
}

static bool selects(const struct selector *s, int protocol, const struct addr *to,
	const char *const *names, unsigned nnames)
{
	if (s->protocol && s->protocol != protocol)
		return false;
	if (s->port && s->port != addr_port(to))
		return false;
	switch (s->selects) {
	case SELECTS_ANY:
		return true;
	case SELECTS_SUBNET:
		return is_in(s, to);
	default:
		return is_any_named(s, names, nnames);
	}
}

static enum side other(enum side side)
{
	return side == SIDE_LOCAL ? SIDE_REMOTE : SIDE_LOCAL;
}

enum side policy_address(const struct policy *p, int protocol, const struct addr *to,
	const char *const *names, unsigned nnames, const char **why)
{
	const struct list_of *l = &p->outgoing;
	struct addr a = addr_meant(to);

	if (p->ignore_localhost && addr_is_loopback(&a)) {
		*why = "--ignore-localhost";
		return SIDE_LOCAL;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (selects(&l->v[i], protocol, &a, names, nnames)) {
			*why = l->v[i].why;
			return l->side;
		}
	}
	*why = l->option ? l->otherwise : "the default";
	return l->option ? other(l->side) : SIDE_REMOTE;
}

/* How long the name is without that domain behind it; 0: the domain is not there. */
static size_t without_domain(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	if (d == 0 || n <= d + 1 || name[n - d - 1] != '.' || strcasecmp(name + n - d, domain) != 0)
		return 0;
	return n - d - 1;
}

static bool names_it(
	const struct selector *s, const char *name, const char *const *search, unsigned nsearch)
{
	if (is_named(s, name))
		return true;
	for (unsigned i = 0; i < nsearch; i++) {
		if (is_named_n(s, name, without_domain(name, search[i])))
			return true;
	}
	return false;
}

static bool list_names_it(
	const struct list_of *l, const char *name, const char *const *search, unsigned nsearch)
{
	for (size_t i = 0; i < l->n; i++) {
		if (names_it(&l->v[i], name, search, nsearch))
			return true;
	}
	return false;
}

enum side policy_name(
	const struct policy *p, const char *name, const char *const *search, unsigned nsearch)
{
	if (list_names_it(&p->dns, name, search, nsearch))
		return p->dns.side;
	if (list_names_it(&p->outgoing, name, search, nsearch))
		return p->outgoing.side;
	return p->dns.option ? other(p->dns.side) : SIDE_REMOTE;
}

bool policy_splits_names(const struct policy *p)
{
	return p->splits_names;
}

bool policy_unix(const struct policy *p, const char *path)
{
	return p->unix_remote.text && pattern_matches(&p->unix_remote, path, strlen(path));
}
