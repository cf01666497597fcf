#include "names.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dns.h"
#include "resolvconf.h"
#include "tracer.h"
#include "util.h"

/* An address has this name. */
struct known {
	struct hnode node; /* by address */
	struct list link;  /* learned: by age, the oldest first; or of the hosts file */
	bool learned;
	struct addr ip;
	char name[];
};

struct names {
	struct tracer *tracer;
	struct resolv_conf resolv; /* the target's */
	struct htab by_ip;
	struct list learned, hosts;
	unsigned nlearned;
	uint64_t seed; /* of the hash: a name server cannot choose addresses that collide */
};

/* --- what is known --- */

/* The address as the table has it: IPv4 as such, without port and scope. */
static struct addr bare(const struct addr *a)
{
	struct addr ip = addr_unmap(a);

	addr_set_port(&ip, 0);
	if (ip.sa.sa_family == AF_INET6)
		ip.in6.sin6_scope_id = 0;
	return ip;
}

/* The newest name of the address, and the next older one. */
static struct known *of_same_ip(struct hnode *node, const struct addr *ip)
{
	for (; node; node = htab_next(node)) {
		struct known *k = container_of(node, struct known, node);

		if (addr_same_ip(&k->ip, ip))
			return k;
	}
	return NULL;
}

static struct known *newest(const struct names *n, const struct addr *ip)
{
	return of_same_ip(htab_find(&n->by_ip, addr_hash(ip, n->seed)), ip);
}

static struct known *older(const struct known *k)
{
	return of_same_ip(htab_next(&k->node), &k->ip);
}

static void forget(struct names *n, struct known *k)
{
	htab_del(&n->by_ip, &k->node);
	list_del(&k->link);
	free(k);
}

static struct known *know(
	struct names *n, struct list *where, const struct addr *ip, const char *name, size_t len)
{
	struct known *k = malloc(sizeof(*k) + len + 1);

	if (!k)
		return NULL;
	k->learned = where == &n->learned;
	k->ip = *ip;
	memcpy(k->name, name, len);
	k->name[len] = '\0';
	if (htab_add(&n->by_ip, &k->node, addr_hash(ip, n->seed)) < 0) {
		free(k);
		return NULL;
	}
	list_init(&k->link);
	list_append(where, &k->link);
	return k;
}

static void forget_learned(struct names *n, struct known *k)
{
	forget(n, k);
	n->nlearned--;
}

/* Learned already, it becomes the newest; the address's oldest goes when there are too many. */
static void make_room(struct names *n, const struct addr *ip, const char *name, size_t len)
{
	unsigned learned = 0;

	for (struct known *k = newest(n, ip); k; k = older(k)) {
		if (!k->learned)
			continue;
		learned++;
		if (learned < NAMES_OF_MAX && (strncmp(k->name, name, len) != 0 || k->name[len]))
			continue;
		forget_learned(n, k);
		return;
	}
}

static void learn(struct names *n, const struct addr *ip, const char *name, size_t len)
{
	make_room(n, ip, name, len);
	if (n->nlearned == NAMES_LEARNED_MAX)
		forget_learned(n, list_entry(n->learned.next, struct known, link));
	if (know(n, &n->learned, ip, name, len))
		n->nlearned++;
}

/* The user may have meant the name without the domain that the resolver appended. */
static void learn_short_forms(struct names *n, const struct addr *ip, const char *name)
{
	size_t len = strlen(name);

	for (unsigned i = n->resolv.nsearch; i-- > 0;) {
		size_t d = strlen(n->resolv.search[i]);

		if (len > d + 1 && name[len - d - 1] == '.' &&
			strcmp(name + len - d, n->resolv.search[i]) == 0)
			learn(n, ip, name, len - d - 1);
	}
}

bool names_answer(struct names *n, const uint8_t *p, size_t len)
{
	struct dns_answer a;

	if (!dns_answer(p, len, &a))
		return false;
	for (unsigned i = 0; i < a.naddresses; i++) {
		struct addr ip = bare(&a.addresses[i]);

		/* The question's name is learned last: it shall be the newest. */
		for (unsigned j = a.nnames; j-- > 0;) {
			learn_short_forms(n, &ip, a.names[j]);
			learn(n, &ip, a.names[j], strlen(a.names[j]));
		}
	}
	return true;
}

unsigned names_of(const struct names *n, const struct addr *a, const char *out[NAMES_OF_MAX])
{
	struct addr ip = bare(a);
	unsigned count = 0;

	for (const struct known *k = newest(n, &ip); k && count < NAMES_OF_MAX; k = older(k))
		out[count++] = k->name;
	return count;
}

/* --- who answers --- */

/* This machine's, read anew each time: a laptop wanders. */
static struct resolv_conf read_own(void)
{
	cleanup_fd int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
	struct resolv_conf own;
	char text[8192];
	ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text));

	resolv_conf_parse(&own, text, len < 0 ? 0 : (size_t)len);
	return own;
}

enum side names_query(struct names *n, const uint8_t *p, size_t len, struct addr *server)
{
	const char *search[RESOLV_SEARCH_MAX];
	char name[DNS_NAME_SIZE];

	if (!n->tracer->cfg->dns || !policy_splits_names(n->tracer->policy) ||
		!dns_question(p, len, name))
		return SIDE_REMOTE;
	for (unsigned i = 0; i < n->resolv.nsearch; i++)
		search[i] = n->resolv.search[i];
	if (policy_name(n->tracer->policy, name, search, n->resolv.nsearch) == SIDE_REMOTE)
		return SIDE_REMOTE;
	*server = read_own().servers[0];
	return SIDE_LOCAL;
}

static bool has_server(const struct resolv_conf *r, const struct addr *to)
{
	for (unsigned i = 0; i < r->nservers; i++) {
		if (addr_equal(&r->servers[i], to))
			return true;
	}
	return false;
}

bool names_server(const struct names *n, const struct addr *to, enum side *whose)
{
	struct resolv_conf own;

	if (addr_port(to) != DNS_PORT)
		return false;
	*whose = n->tracer->cfg->dns ? SIDE_REMOTE : SIDE_LOCAL;
	if (*whose == SIDE_REMOTE)
		return has_server(&n->resolv, to);
	own = read_own();
	return has_server(&own, to);
}

bool names_refuses(const char *path)
{
	/* /var/run is a link to /run. */
	static const char *const sockets[] = {
		"/run/nscd/socket",
		"/run/systemd/resolve/io.systemd.Resolve",
		"/run/systemd/resolve/io.systemd.Resolve.Monitor",
		"/run/avahi-daemon/socket",
	};

	if (strncmp(path, "/var/run/", 9) == 0)
		path += 4;
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		if (strcmp(path, sockets[i]) == 0)
			return true;
	}
	return false;
}

/* --- a stream of answers --- */

static size_t message_len(const struct names_stream *s)
{
	return (size_t)s->length[0] << 8 | s->length[1];
}

static void give_up(struct names_stream *s)
{
	names_stream_done(s);
	s->over = true;
}

/* The message is there. */
static void whole_message(struct names *n, struct names_stream *s)
{
	if (names_answer(n, s->message, message_len(s)))
		names_stream_done(s);
	else
		give_up(s);
}

/* Take bytes of the length or of the message, whichever is missing; how many. */
static size_t take_bytes(struct names_stream *s, const uint8_t *p, size_t len)
{
	size_t at, taken;

	if (s->have < sizeof(s->length)) {
		s->length[s->have++] = *p;
		return 1;
	}
	if (!s->message)
		s->message = malloc(message_len(s) + 1);
	if (!s->message) {
		give_up(s);
		return len;
	}
	at = s->have - sizeof(s->length);
	taken = MIN(len, message_len(s) - at);
	memcpy(s->message + at, p, taken);
	s->have += taken;
	return taken;
}

void names_stream_bytes(struct names *n, struct names_stream *s, const uint8_t *p, size_t len)
{
	while (len && !s->over) {
		size_t taken = take_bytes(s, p, len);

		p += taken;
		len -= taken;
		if (s->have >= sizeof(s->length) && s->have == sizeof(s->length) + message_len(s))
			whole_message(n, s);
	}
}

void names_stream_done(struct names_stream *s)
{
	free(s->message);
	*s = (struct names_stream){ 0 };
}

/* --- the files --- */

/* Of more names for one address the first count. */
static void add_host(const struct addr *a, const char *name, void *data)
{
	struct names *n = data;
	struct addr ip = bare(a);
	unsigned hosts = 0;

	for (const struct known *k = newest(n, &ip); k; k = older(k))
		hosts += !k->learned;
	if (hosts < NAMES_OF_MAX)
		know(n, &n->hosts, &ip, name, strlen(name));
}

static void forget_hosts(struct names *n)
{
	while (!list_empty(&n->hosts))
		forget(n, list_entry(n->hosts.next, struct known, link));
}

void names_resolv_conf(struct names *n, const char *text, size_t len)
{
	resolv_conf_parse(&n->resolv, text, len);
}

void names_hosts(struct names *n, const char *text, size_t len)
{
	forget_hosts(n);
	hosts_parse(text, len, add_host, n);
}

/* --- a run --- */

struct names *names_new(struct tracer *tr)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->tracer = tr;
	if (getrandom(&n->seed, sizeof(n->seed), GRND_NONBLOCK) < 0)
		n->seed = now_ns();
	list_init(&n->learned);
	list_init(&n->hosts);
	resolv_conf_parse(&n->resolv, "", 0);
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	forget_hosts(n);
	while (n->nlearned)
		forget_learned(n, list_entry(n->learned.next, struct known, link));
	htab_done(&n->by_ip);
	free(n);
}
