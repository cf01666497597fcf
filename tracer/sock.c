/* Theory of operation. A port that the guest asked for and could not get is replaced by one that
 * the kernel chooses, and from then on that pair (asked, real) holds for every socket of the guest
 * that asks for the same port at an address that overlaps: binding it again goes to the real port
 * too, where the kernel gives the honest answer about SO_REUSEADDR, SO_REUSEPORT and EADDRINUSE. */
#include "sock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>

#include "log.h"
#include "tracer.h"
#include "util.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

static const char *const state_names[] = {
	[SOCK_BOUND] = "bound",
	[SOCK_SUBSCRIBING] = "subscribing",
	[SOCK_LISTENING] = "listening",
};

static_assert(ARRAY_SIZE(state_names) == SOCK_STATE_MAX, "a name for each state");

static void check_timer(struct timer *timer);
static void check_deferred(struct deferred *d);

void sock_table_init(struct sock_table *t, struct tracer *tr)
{
	*t = (struct sock_table){ .tracer = tr };
	diag_init(&t->diag);
	list_init(&t->bound);
	list_init(&t->listening);
	timer_init(&t->check, check_timer);
	deferred_init(&t->check_now, check_deferred);
}

static int unstash(struct sock *s)
{
	int fd;

	if (!s->stashed)
		return -1;
	fd = s->stash[0];
	memmove(s->stash, s->stash + 1, --s->stashed * sizeof(s->stash[0]));
	return fd;
}

static void drop_stash(struct sock *s)
{
	int fd;

	while ((fd = unstash(s)) >= 0)
		close(fd);
}

static void sock_free(struct sock_table *t, struct sock *s)
{
	drop_stash(s);
	if (s->state == SOCK_BOUND)
		t->nbound--;
	htab_del(&t->by_cookie, &s->node);
	list_del(&s->link);
	list_del(&s->waiting);
	list_del(&s->starting);
	free(s);
}

void sock_table_done(struct sock_table *t)
{
	struct hnode *n;

	while ((n = htab_any(&t->by_cookie)))
		sock_free(t, container_of(n, struct sock, node));
	htab_done(&t->by_cookie);
	timer_cancel(&t->check);
	list_del(&t->check_now.link);
	diag_done(&t->diag);
}

static int get_option(int fd, int level, int option, int otherwise)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, option, &value, &len) < 0 ? otherwise : value;
}

static uint64_t get_cookie(int fd, int option)
{
	uint64_t value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? 0 : value;
}

uint64_t sock_cookie(int fd)
{
	return get_cookie(fd, SO_COOKIE);
}

/* The guest may have moved to a network namespace of its own (unshare -n): that is its affair. */
static bool is_our_netns(int fd)
{
	static uint64_t ours;

	if (!ours) {
		cleanup_fd int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ours = get_cookie(own, SO_NETNS_COOKIE);
	}
	return get_cookie(fd, SO_NETNS_COOKIE) == ours;
}

sa_family_t sock_family(int fd)
{
	return (sa_family_t)get_option(fd, SOL_SOCKET, SO_DOMAIN, AF_UNSPEC);
}

bool sock_only_v6(int fd)
{
	return get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

unsigned sock_timeout_ms(int fd, int option)
{
	struct timeval tv = { 0 };
	socklen_t len = sizeof(tv);

	if (getsockopt(fd, SOL_SOCKET, option, &tv, &len) < 0)
		return 0;
	return (unsigned)(MIN(tv.tv_sec, 1000000) * 1000 + (tv.tv_usec + 999) / 1000);
}

int sock_unix_type(int fd)
{
	return sock_family(fd) == AF_UNIX ? get_option(fd, SOL_SOCKET, SO_TYPE, 0) : 0;
}

bool sock_is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

bool sock_has_device(int fd)
{
	return get_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0) != 0;
}

int sock_protocol(int fd)
{
	sa_family_t domain = sock_family(fd);

	if ((domain != AF_INET && domain != AF_INET6) || !is_our_netns(fd))
		return 0;
	return get_option(fd, SOL_SOCKET, SO_PROTOCOL, 0);
}

int sock_take_error(int fd)
{
	return get_option(fd, SOL_SOCKET, SO_ERROR, 0);
}

bool sock_is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

int sock_connect_now(int fd, const struct addr *to)
{
	int flags = fcntl(fd, F_GETFL), r;

	if (!(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	r = connect(fd, &to->sa, addr_len(to)) < 0 ? -errno : 0;
	if (!(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags);
	return r;
}

int sock_end_connect(int fd)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	int error = sock_take_error(fd), late;

	(void)connect(fd, &nowhere, sizeof(nowhere));
	late = sock_take_error(fd); /* ECONNRESET, if it still was connecting */
	return error ? error : late;
}

bool sock_is_fresh(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_ca_state);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}

struct sock *sock_find(const struct sock_table *t, int fd)
{
	uint64_t cookie = sock_cookie(fd);
	struct hnode *n = cookie ? htab_find(&t->by_cookie, cookie) : NULL;

	return n ? container_of(n, struct sock, node) : NULL;
}

void sock_set_state(struct sock_table *t, struct sock *s, enum sock_state state)
{
	char asked[ADDR_STRLEN];

	if (s->state == state)
		return;
	log_dbg("socket %s: %s → %s", addr_format(&s->asked, asked), state_names[s->state],
		state_names[state]);
	if (s->state == SOCK_BOUND)
		t->nbound--;
	if (state == SOCK_BOUND)
		t->nbound++;
	s->state = state;
	list_del(&s->link);
	list_append(state == SOCK_LISTENING ? &t->listening : &t->bound, &s->link);
	if (state == SOCK_LISTENING && list_empty(&t->check.link))
		loop_timer(&t->tracer->loop, &t->check, SOCK_CHECK_MS);
}

/* --- what exists --- */

static void gone(struct sock_table *t, struct sock *s)
{
	drop_stash(s);
	incoming_unlisten(&t->tracer->incoming, s);
	sock_set_state(t, s, SOCK_BOUND);
}

static void forget_unseen_listening(struct sock_table *t, const struct seen *seen)
{
	list_for_each_safe (pos, &t->listening) {
		struct sock *s = list_entry(pos, struct sock, link);

		if (!seen_has(seen, s->cookie, DIAG_LISTENING))
			gone(t, s);
	}
}

static void forget_unseen_bound(struct sock_table *t, const struct seen *seen)
{
	list_for_each_safe (pos, &t->bound) {
		struct sock *s = list_entry(pos, struct sock, link);

		if (s->state == SOCK_BOUND && !seen_has(seen, s->cookie, DIAG_BOUND))
			sock_free(t, s);
	}
}

/* Of those that are only bound the kernel tells slowly: they are asked for when it matters. */
static void check_sockets(struct sock_table *t, bool bound)
{
	struct seen seen;

	if (diag_see(&t->diag, DIAG_LISTENING | (bound ? DIAG_BOUND : 0), &seen) < 0)
		return;
	forget_unseen_listening(t, &seen);
	if (bound)
		forget_unseen_bound(t, &seen);
	seen_done(&seen);
}

static void check_timer(struct timer *timer)
{
	struct sock_table *t = container_of(timer, struct sock_table, check);

	check_sockets(t, false);
	if (!list_empty(&t->listening))
		loop_timer(&t->tracer->loop, &t->check, SOCK_CHECK_MS);
}

static void check_deferred(struct deferred *d)
{
	check_sockets(container_of(d, struct sock_table, check_now), false);
}

void sock_check_soon(struct sock_table *t)
{
	if (!list_empty(&t->listening))
		loop_defer(&t->tracer->loop, &t->check_now);
}

void sock_refused(struct sock_table *t, const struct addr *at)
{
	list_for_each_safe (pos, &t->listening) {
		struct sock *s = list_entry(pos, struct sock, link);
		struct addr there = sock_reaches(s, at->sa.sa_family);

		if (addr_equal(&there, at))
			gone(t, s);
	}
}

/* --- binding --- */

static int bind_at(int fd, const struct addr *a)
{
	return bind(fd, &a->sa, addr_len(a)) < 0 ? -errno : 0;
}

static struct sock *sock_new(struct sock_table *t, uint64_t cookie)
{
	struct sock *s = calloc(1, sizeof(*s));

	if (!s || htab_add(&t->by_cookie, &s->node, cookie) < 0) {
		free(s);
		return NULL;
	}
	s->cookie = cookie;
	list_init(&s->waiting);
	list_init(&s->starting);
	list_append(&t->bound, &s->link);
	t->nbound++;
	return s;
}

static void forget_oldest(struct sock_table *t)
{
	list_for_each_safe (pos, &t->bound) {
		struct sock *s = list_entry(pos, struct sock, link);

		if (t->nbound <= SOCK_BOUND_MAX)
			return;
		if (s->state == SOCK_BOUND)
			sock_free(t, s);
	}
}

/* Keep what a socket asked for when it was bound. */
static struct sock *remember(struct sock_table *t, int fd, const struct addr *asked)
{
	struct sock *s;

	forget_oldest(t);
	s = sock_find(t, fd);
	if (!s)
		s = sock_new(t, sock_cookie(fd));
	if (!s)
		return NULL;
	s->asked = *asked;
	addr_of_socket(fd, &s->real);
	s->any_port = addr_port(asked) == 0;
	if (s->any_port)
		addr_set_port(&s->asked, addr_port(&s->real));
	return s;
}

int sock_bind_near(const struct sock_table *t, int fd, const struct addr *a, uint16_t port)
{
	struct addr at = *a, near;
	int r;

	addr_set_port(&at, port);
	r = bind_at(fd, &at);
	if (r != -EADDRNOTAVAIL || !link_has_address(&t->tracer->link, a))
		return r;
	near = addr_loopback(addr_unmap(&at).sa.sa_family, port);
	near = addr_map(&near, at.sa.sa_family);
	return bind_at(fd, &near);
}

bool sock_overlap(const struct addr *a, const struct addr *b)
{
	return addr_is_wildcard(a) || addr_is_wildcard(b) || addr_same_ip(a, b);
}

/* A socket of the guest that has the asked port, or was given another in its place, by what we
 * know: at an address that overlaps with the asked one, or at another. */
static struct sock *asker(const struct sock_table *t, const struct addr *asked, bool overlapping)
{
	htab_for_each (n, &t->by_cookie) {
		struct sock *s = container_of(n, struct sock, node);

		if (!s->any_port && addr_port(&s->asked) == addr_port(asked) &&
			sock_overlap(&s->asked, asked) == overlapping)
			return s;
	}
	return NULL;
}

/* Forget which sockets with the asked port exist no more. */
static void check_askers(struct sock_table *t, const struct addr *asked)
{
	if (!asker(t, asked, true) && !asker(t, asked, false))
		return;
	if (!t->asked_kernel) {
		t->asked_kernel = true;
		t->tells_of_bound = diag_tells_of_bound(&t->diag);
	}
	check_sockets(t, t->tells_of_bound);
}

/* Such a socket that exists: where the kernel does not tell, one that is only bound is taken for
 * gone. */
static struct sock *holder(const struct sock_table *t, const struct addr *asked, bool overlapping)
{
	struct sock *s = asker(t, asked, overlapping);

	return s && (s->state != SOCK_BOUND || t->tells_of_bound) ? s : NULL;
}

void sock_say_moved(const struct addr *asked, const struct addr *real, int why, const char *list)
{
	bool root = why == -EACCES;
	char a[ADDR_STRLEN], r[ADDR_STRLEN];

	log_err("port %u of this machine is %s: the program's %s is %s here, and still the "
		"target's "
		"port %u%s%s%s",
		addr_port(asked), root ? "for root only" : "in use by another program",
		addr_format(asked, a), addr_format(real, r), addr_port(asked), root ? "" : " (ss ",
		root ? "" : list, root ? "" : " shows who has it)");
}

/* The target's addresses are one here, so two sockets of the guest may want one port of ours. */
static bool is_own_neighbour(const struct sock_table *t, const struct addr *asked)
{
	const struct sock *s = holder(t, asked, false);

	return s && addr_port(&s->real) == addr_port(asked);
}

int sock_bind(struct sock_table *t, int fd, const struct addr *asked)
{
	struct sock *own = NULL, *s;
	int first, r;

	if (addr_port(asked)) {
		check_askers(t, asked);
		own = holder(t, asked, true);
	}
	if (own && addr_port(&own->real) != addr_port(asked)) {
		r = sock_bind_near(t, fd, asked, addr_port(&own->real));
		return r < 0 || remember(t, fd, asked) ? r : -ENOMEM;
	}
	first = r = sock_bind_near(t, fd, asked, addr_port(asked));
	if ((r == -EADDRINUSE && !own &&
		    !incoming_has_port(&t->tracer->incoming, addr_port(asked))) ||
		r == -EACCES)
		r = sock_bind_near(t, fd, asked, 0);
	if (r < 0)
		return first;
	s = remember(t, fd, asked);
	if (!s)
		return -ENOMEM;
	if (first == -EACCES || (first < 0 && !is_own_neighbour(t, asked)))
		sock_say_moved(asked, &s->real, first, "-ltnp");
	return 0;
}

void sock_adopt(struct sock_table *t, int fd)
{
	struct addr own;
	struct sock *s;

	if (addr_of_socket(fd, &own) < 0)
		return;
	addr_set_port(&own, 0);
	s = remember(t, fd, &own);
	if (s)
		sock_listens(t, s, fd);
}

void sock_listens(struct sock_table *t, struct sock *s, int fd)
{
	s->only_v6 = sock_only_v6(fd);
	s->room = 0; /* of the old backlog */
	sock_set_state(t, s, SOCK_LISTENING);
}

static bool takes(const struct sock *s, const struct addr *to)
{
	if (addr_port(&s->asked) != addr_port(to))
		return false;
	if (!addr_is_wildcard(&s->asked))
		return addr_same_ip(&s->asked, to);
	return addr_unmap(to).sa.sa_family == AF_INET
		       ? !s->only_v6
		       : addr_unmap(&s->asked).sa.sa_family == AF_INET6;
}

static struct sock *taker(const struct sock_table *t, const struct addr *to)
{
	list_for_each (pos, &t->listening) {
		struct sock *s = list_entry(pos, struct sock, link);

		if (takes(s, to))
			return s;
	}
	return NULL;
}

/* It may have been closed just now. */
struct sock *sock_listening(struct sock_table *t, const struct addr *to)
{
	struct sock *s = taker(t, to);
	struct addr at;

	if (!s)
		return NULL;
	at = sock_reaches(s, to->sa.sa_family);
	if (diag_is_listening(&t->diag, &at, s->cookie))
		return s;
	check_sockets(t, false);
	return taker(t, to);
}

struct sock *sock_of_real_port(const struct sock_table *t, uint16_t port)
{
	list_for_each (pos, &t->listening) {
		struct sock *s = list_entry(pos, struct sock, link);

		if (addr_port(&s->real) == port)
			return s;
	}
	return NULL;
}

struct addr sock_reaches(const struct sock *s, sa_family_t client)
{
	struct addr v4 = addr_v4(INADDR_LOOPBACK, addr_port(&s->real));
	struct addr v6 = addr_v6(&in6addr_loopback, addr_port(&s->real));
	struct addr real = addr_unmap(&s->real);

	if (!addr_is_wildcard(&s->real))
		return real;
	if (s->real.sa.sa_family == AF_INET)
		return v4;
	return s->only_v6 || (client == AF_INET6 && !addr_is_v4mapped(&s->real)) ? v6 : v4;
}

/* --- the stash --- */

/* A connection that was taken off the queue no longer makes the listener readable. So that a guest
 * that polls looks again, we connect once ourselves; that connection is dropped when it is
 * accepted. */
static void poke(struct sock *s)
{
	struct addr to = sock_reaches(s, s->real.sa.sa_family);
	cleanup_fd int fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (addr_port(&s->poke) || fd < 0)
		return;
	if (connect(fd, &to.sa, addr_len(&to)) == 0 || errno == EINPROGRESS)
		addr_of_socket(fd, &s->poke);
}

void sock_stash(struct sock *s, int fd)
{
	if (s->stashed == SOCK_STASH_MAX) {
		close(fd);
		return;
	}
	s->stash[s->stashed++] = fd;
	poke(s);
}

/* The kernel deals connections to the listeners of a port (SO_REUSEPORT), also a poke: so they
 * share what is stashed. */
int sock_unstash(struct sock_table *t, struct sock *s)
{
	int fd = unstash(s);

	list_for_each (pos, &t->listening) {
		struct sock *other = list_entry(pos, struct sock, link);

		if (fd < 0 && addr_equal(&other->real, &s->real))
			fd = unstash(other);
	}
	return fd;
}

bool sock_is_poke(struct sock_table *t, const struct sock *s, const struct addr *peer)
{
	list_for_each (pos, &t->listening) {
		struct sock *other = list_entry(pos, struct sock, link);

		if (!addr_port(&other->poke) || !addr_equal(&other->poke, peer) ||
			!addr_equal(&other->real, &s->real))
			continue;
		addr_set_port(&other->poke, 0);
		return true;
	}
	return false;
}
