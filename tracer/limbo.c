/* Theory of operation. A listener whose accept queue is full drops each SYN that comes (tcp(7),
 * tcp_abort_on_overflow), so whoever connects to it stays in SYN_SENT. A hold is such a listener,
 * with a backlog of 0 and one connection of our own in its queue. Neither needs a privilege.
 *
 * When the connection elsewhere is made, we connect a socket from the hold's address to the one
 * that waits: two SYNs cross, and both ends are connected.
 *
 * When it is refused, we begin the same, but deaf to the answer: the one that waits is in SYN_RECV
 * then, which no poll shows. A second SYN of another sequence makes it ask whether that is meant
 * (RFC 5961, 4.2), and its question, which belongs to no connection of ours any more, is answered
 * with a reset by our kernel. So the guest sees a single change, from connecting to failed; at no
 * time does its socket look connected.
 *
 * Two sockets of the guest that are bound to one port would be one connection to the kernel, if
 * they waited at one hold: the second gets another hold (connect(2): EADDRNOTAVAIL). */
#include "limbo.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sock.h"
#include "util.h"

struct limbo_hold {
	struct list link;
	int listener;
	int filler;
	struct addr at;
};

void limbo_init(struct limbo *l)
{
	for (unsigned f = 0; f < LIMBO_FAMILY_MAX; f++) {
		list_init(&l->holds[f]);
		l->nholds[f] = 0;
	}
}

static void hold_free(struct limbo_hold *h)
{
	list_del(&h->link);
	close_fd(&h->listener);
	close_fd(&h->filler);
	free(h);
}

void limbo_done(struct limbo *l)
{
	for (unsigned f = 0; f < LIMBO_FAMILY_MAX; f++) {
		list_for_each_safe (pos, &l->holds[f])
			hold_free(list_entry(pos, struct limbo_hold, link));
	}
}

/* A socket bound to that address, whose port others of ours may share; or -errno. */
static int bound_socket(const struct addr *at)
{
	cleanup_fd int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, &at->sa, addr_len(at)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* 0, or -errno. */
static int fill(struct limbo_hold *h)
{
	if (listen(h->listener, 0) < 0 || addr_of_socket(h->listener, &h->at) < 0)
		return -errno;
	h->filler = socket(h->at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (h->filler < 0)
		return -errno;
	if (connect(h->filler, &h->at.sa, addr_len(&h->at)) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int hold_new(struct limbo *l, enum limbo_family f)
{
	const struct addr any = addr_loopback(f == LIMBO_IPV4 ? AF_INET : AF_INET6, 0);
	struct limbo_hold *h;
	int r;

	if (l->nholds[f] == LIMBO_HOLDS_MAX)
		return -EADDRNOTAVAIL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->filler = -1;
	list_init(&h->link);
	h->listener = bound_socket(&any);
	r = h->listener < 0 ? h->listener : fill(h);
	if (r < 0) {
		hold_free(h);
		return r;
	}
	list_append(&l->holds[f], &h->link);
	l->nholds[f]++;
	return 0;
}

static int enter_at(int fd, const struct limbo_hold *h, bool mapped, struct limbo_place *p)
{
	struct addr to = mapped ? addr_map(&h->at, AF_INET6) : h->at;
	int r = sock_connect_now(fd, &to);

	if (r < 0 && r != -EINPROGRESS)
		return r;
	p->hold = h->at;
	r = addr_of_socket(fd, &p->guest);
	p->guest = addr_unmap(&p->guest);
	return r;
}

static int enter_any(
	struct limbo *l, enum limbo_family f, int fd, bool mapped, struct limbo_place *p)
{
	struct list *tried = &l->holds[f];

	for (;;) {
		int r = tried->next == &l->holds[f] ? hold_new(l, f) : 0;

		if (r < 0)
			return r;
		tried = tried->next;
		r = enter_at(fd, list_entry(tried, struct limbo_hold, link), mapped, p);
		if (r != -EADDRNOTAVAIL && r != -EADDRINUSE)
			return r;
	}
}

int limbo_enter(struct limbo *l, int fd, const struct addr *to, struct limbo_place *p)
{
	bool mapped = addr_is_v4mapped(to);
	enum limbo_family f = mapped || to->sa.sa_family == AF_INET ? LIMBO_IPV4 : LIMBO_IPV6;
	int zero = 0, r;

	/* Our addresses take no data with a SYN; with the option connect(2) might send none at all.
	 */
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &zero, sizeof(zero));
	r = enter_any(l, f, fd, mapped, p);
	/* A machine without IPv6, where the target has it: an IPv6 socket takes IPv4, too. */
	if (r < 0 && f == LIMBO_IPV6 && !l->nholds[f])
		r = enter_any(l, LIMBO_IPV4, fd, true, p);
	return r;
}

int limbo_complete(const struct limbo_place *p)
{
	cleanup_fd int fd = bound_socket(&p->hold);

	if (fd < 0)
		return fd;
	if (connect(fd, &p->guest.sa, addr_len(&p->guest)) < 0 && errno != EINPROGRESS)
		return -errno;
	return take_fd(&fd);
}

/* Receives nothing. */
static void deafen(int fd)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = 1, .filter = &drop };

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static void send_syn(const struct limbo_place *p, bool deaf)
{
	cleanup_fd int fd = bound_socket(&p->hold);

	if (fd >= 0 && deaf)
		deafen(fd);
	if (fd >= 0)
		(void)connect(fd, &p->guest.sa, addr_len(&p->guest));
}

void limbo_refuse(const struct limbo_place *p)
{
	send_syn(p, true);
	send_syn(p, false);
}
