#include "diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "probe.h"
#include "util.h"

#define TCP_BOUND_INACTIVE 13 /* Linux 6.8; older kernels know nothing of such sockets */

void diag_init(struct diag *d)
{
	d->fd = -1;
}

void diag_done(struct diag *d)
{
	close_fd(&d->fd);
}

struct diag_request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 req;
};

static int diag_send(struct diag *d, struct diag_request *ask, uint16_t flags)
{
	ask->h = (struct nlmsghdr){ .nlmsg_len = sizeof(*ask),
		.nlmsg_type = SOCK_DIAG_BY_FAMILY,
		.nlmsg_flags = NLM_F_REQUEST | flags };
	if (d->fd < 0)
		d->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (d->fd < 0 || probe_disabled(FEATURE_SOCK_DIAG))
		return -EOPNOTSUPP;
	return send(d->fd, ask, sizeof(*ask), 0) < 0 ? -errno : 0;
}

/* All internet sockets of a family and a protocol in one of the states; fn is called with each. */
static int diag_dump(struct diag *d, sa_family_t family, int protocol, unsigned states,
	void (*fn)(const struct inet_diag_msg *m, void *data), void *data)
{
	struct diag_request ask = { .req = {
					    .sdiag_family = (uint8_t)family,
					    .sdiag_protocol = (uint8_t)protocol,
					    .idiag_states = states,
				    } };
	uint8_t reply[16384] __attribute__((aligned(8)));
	int r = diag_send(d, &ask, NLM_F_DUMP);

	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = recv(d->fd, reply, sizeof(reply), 0);
		struct nlmsghdr *h = (void *)reply;

		if (n < 0)
			return -errno;
		for (; NLMSG_OK(h, (unsigned)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return -EOPNOTSUPP;
			fn(NLMSG_DATA(h), data);
		}
	}
}

static uint64_t diag_cookie(const struct inet_diag_msg *m)
{
	return m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32;
}

/* The listener at that address. 0 and what the kernel says of it, or -errno. */
static int ask_listener(struct diag *d, const struct addr *at, struct inet_diag_msg *m)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_msg m;
		uint8_t more[4096];
	} reply;
	struct diag_request ask = { .req = {
					    .sdiag_family = (uint8_t)at->sa.sa_family,
					    .sdiag_protocol = IPPROTO_TCP,
					    .idiag_states = 1u << TCP_LISTEN,
					    .id.idiag_sport = htons(addr_port(at)),
					    .id.idiag_cookie = { INET_DIAG_NOCOOKIE,
						    INET_DIAG_NOCOOKIE },
				    } };
	int r;

	if (at->sa.sa_family == AF_INET)
		ask.req.id.idiag_src[0] = at->in.sin_addr.s_addr;
	else
		memcpy(ask.req.id.idiag_src, &at->in6.sin6_addr, sizeof(at->in6.sin6_addr));
	r = diag_send(d, &ask, 0);
	if (r < 0)
		return r;
	if (recv(d->fd, &reply, sizeof(reply), 0) < (ssize_t)offsetof(typeof(reply), more) ||
		reply.h.nlmsg_type != SOCK_DIAG_BY_FAMILY || reply.m.idiag_state != TCP_LISTEN)
		return -EOPNOTSUPP;
	*m = reply.m;
	return 0;
}

int diag_queue_room(struct diag *d, const struct addr *at)
{
	struct inet_diag_msg m;
	int r = ask_listener(d, at, &m);

	if (r < 0)
		return r;
	/* The kernel takes one more than the backlog says. */
	return m.idiag_rqueue > m.idiag_wqueue ? 0 : (int)(m.idiag_wqueue - m.idiag_rqueue + 1);
}

bool diag_is_listening(struct diag *d, const struct addr *at, uint64_t cookie)
{
	struct inet_diag_msg m;

	return ask_listener(d, at, &m) == 0 && diag_cookie(&m) == cookie;
}

static enum diag_which kind_of(const struct inet_diag_msg *m)
{
	switch (m->idiag_state) {
	case TCP_LISTEN:
		return DIAG_LISTENING;
	case TCP_SYN_SENT:
		return DIAG_CONNECTING;
	default:
		return DIAG_BOUND;
	}
}

static void note_socket(const struct inet_diag_msg *m, void *data)
{
	struct seen *seen = data;
	size_t cap = seen->cap ? seen->cap * 2 : 64;
	struct seen_socket *more;

	if (seen->n == seen->cap) {
		more = realloc(seen->sockets, cap * sizeof(*more));
		if (!more) {
			seen->full = true;
			return;
		}
		seen->sockets = more;
		seen->cap = cap;
	}
	seen->sockets[seen->n++] = (struct seen_socket){
		.cookie = diag_cookie(m),
		.which = kind_of(m),
	};
}

static int compare(const void *a, const void *b)
{
	const struct seen_socket *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return (int)x->which - (int)y->which;
}

bool seen_has(const struct seen *seen, uint64_t cookie, enum diag_which which)
{
	const struct seen_socket wanted = { .cookie = cookie, .which = which };

	return seen->n && bsearch(&wanted, seen->sockets, seen->n, sizeof(*seen->sockets), compare);
}

void seen_done(struct seen *seen)
{
	free(seen->sockets);
	*seen = (struct seen){ 0 };
}

int diag_see(struct diag *d, unsigned which, struct seen *seen)
{
	unsigned states = (which & DIAG_LISTENING ? 1u << TCP_LISTEN : 0) |
			  (which & DIAG_BOUND ? 1u << TCP_BOUND_INACTIVE : 0) |
			  (which & DIAG_CONNECTING ? 1u << TCP_SYN_SENT : 0) |
			  (which & DIAG_UDP ? ~0u : 0);
	int protocol = which & DIAG_UDP ? IPPROTO_UDP : IPPROTO_TCP, r;

	*seen = (struct seen){ 0 };
	r = diag_dump(d, AF_INET, protocol, states, note_socket, seen);
	if (r == 0)
		r = diag_dump(d, AF_INET6, protocol, states, note_socket, seen);
	if (r == 0 && seen->full)
		r = -ENOMEM;
	if (r < 0)
		seen_done(seen);
	else if (seen->n)
		qsort(seen->sockets, seen->n, sizeof(*seen->sockets), compare);
	return r;
}

/* Ask the kernel about a socket of our own. */
bool diag_tells_of_bound(struct diag *d)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addr any = addr_v4(INADDR_LOOPBACK, 0);
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;
	struct seen seen;
	bool told;

	if (fd < 0 || bind(fd, &any.sa, addr_len(&any)) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ||
		diag_see(d, DIAG_BOUND, &seen) < 0)
		return false;
	told = seen_has(&seen, cookie, DIAG_BOUND);
	seen_done(&seen);
	return told;
}
