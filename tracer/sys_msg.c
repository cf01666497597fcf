/* Calls that send with an address. For a datagram socket the address decides where it goes; any
 * other socket's call is the kernel's, as it is. */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "datagram.h"
#include "guestmsg.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* The kernel's own (UIO_MAXIOV): sendmmsg(2) takes no more messages at once. */
#define SENDMMSG_MAX 1024u

/* What the kernel is to do: no datagram socket, or nothing of it concerns the target. */
#define LEAVE_IT INT64_MIN
/* The call is parked. */
#define LATER (INT64_MIN + 1)

static uint8_t payload[UINT16_MAX + 1];

/* The size of each datagram, when the message is to be cut into several (UDP_SEGMENT, udp(7)). */
static size_t segment_size(int fd, const struct guestmsg *g)
{
	uint8_t control[GUESTMSG_CONTROL_MAX] __attribute__((aligned(8)));
	ssize_t n = guestmsg_control(g, control, sizeof(control));
	struct msghdr m = { .msg_control = control, .msg_controllen = n > 0 ? (size_t)n : 0 };
	int size = 0;
	socklen_t len = sizeof(size);

	getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &len);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		uint16_t gso;

		if (h->cmsg_level != IPPROTO_UDP || h->cmsg_type != UDP_SEGMENT ||
			h->cmsg_len != CMSG_LEN(sizeof(gso)))
			continue;
		memcpy(&gso, CMSG_DATA(h), sizeof(gso));
		size = gso;
	}
	return size > 0 ? (size_t)size : SIZE_MAX;
}

/* to may be new to the socket: then the call is parked, if it may be. */
static int64_t send_remote(struct call *c, int fd, const struct guestmsg *g, const struct addr *to,
	int flags, bool may_park)
{
	size_t segment = segment_size(fd, g);

	if (may_park && !(flags & MSG_DONTWAIT) &&
		datagram_probe(c, fd, to, payload, g->len, segment))
		return LATER;
	return datagram_send(&c->tracer->datagrams, fd, to, payload, g->len, segment);
}

/* The guest's message to an address of this machine that it knows by another. */
static int64_t send_local(int fd, const struct guestmsg *g, const struct addr *to, int flags)
{
	uint8_t control[GUESTMSG_CONTROL_MAX] __attribute__((aligned(8)));
	ssize_t n = guestmsg_control(g, control, sizeof(control));
	struct iovec iov = { payload, g->len };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = n > 0 ? (size_t)n : 0 };
	struct addr name = *to;

	if (n < 0)
		return n;
	if (to->sa.sa_family != AF_UNSPEC) {
		m.msg_name = &name;
		m.msg_namelen = addr_len(to);
	}
	n = sendmsg(fd, &m, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* Whether the kernel, which knows them better, says what is wrong with it. */
static bool is_odd(int fd, const struct addr *to, int flags)
{
	return !addr_port(to) || flags & MSG_OOB || datagram_may_not_broadcast(fd, to);
}

/* One message with an address. LEAVE_IT: the kernel is to send it. */
static int64_t send_message(struct call *c, int fd, const struct guestmsg *g, const struct addr *to,
	int flags, bool may_park)
{
	struct addr real;
	enum side side;
	int r;

	if (is_odd(fd, to, flags))
		return LEAVE_IT;
	side = datagram_route(c, fd, to, &real);
	if (side == SIDE_LOCAL && addr_equal(to, &real))
		return LEAVE_IT;
	if (g->len > sizeof(payload))
		return -EMSGSIZE;
	r = mem_gather(g->tid, g->iov, g->niov, payload, g->len);
	if (r < 0)
		return r;
	return side == SIDE_LOCAL ? send_local(fd, g, &real, flags)
				  : send_remote(c, fd, g, to, flags, may_park);
}

/* A duplicate of the socket if it is one whose datagrams may concern us, or -1. */
static int dup_datagram(const struct call *c)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);

	return fd >= 0 && sock_protocol(fd) == IPPROTO_UDP ? take_fd(&fd) : -1;
}

static void answer(struct call *c, int64_t result)
{
	if (result == LEAVE_IT)
		call_continue(c);
	else if (result != LATER)
		call_return(c, result);
}

void sys_sendto(struct call *c)
{
	static struct guestmsg g;
	cleanup_fd int fd = -1;
	struct addr to;

	if (mem_read_sockaddr(c->task->tid, c->arg[4], c->arg[5], &to) == 0) {
		if (sys_connect_by_send(c, &to, (int)c->arg[3]))
			return;
		fd = dup_datagram(c);
	}
	guestmsg_one(&g, c->task->tid, c->arg[1], c->arg[2]);
	answer(c, fd < 0 ? LEAVE_IT : send_message(c, fd, &g, &to, (int)c->arg[3], true));
}

void sys_sendmsg(struct call *c)
{
	static struct guestmsg g;
	cleanup_fd int fd = -1;
	struct addr to;

	/* Most have no name: TCP, unix, netlink, and what is connected. */
	if (guestmsg_any_named(c->task->tid, c->arg[1], 1) &&
		guestmsg_read(&g, c->task->tid, c->arg[1]) == 0 && guestmsg_name(&g, &to) == 0) {
		if (sys_connect_by_send(c, &to, (int)c->arg[2]))
			return;
		fd = dup_datagram(c);
	}
	answer(c, fd < 0 ? LEAVE_IT : send_message(c, fd, &g, &to, (int)c->arg[2], true));
}

/* --- sendmmsg --- */

static uint64_t nth(const struct call *c, unsigned i)
{
	return c->arg[1] + i * sizeof(struct mmsghdr);
}

/* One of several is ours: so the others must be sent by us as well. */
static int64_t send_nth(struct call *c, int fd, unsigned i)
{
	static struct guestmsg g;
	struct addr to = { .sa.sa_family = AF_UNSPEC };
	int flags = (int)c->arg[3];
	int64_t n = guestmsg_read(&g, c->task->tid, nth(c, i));
	uint32_t sent;

	if (n == 0 && guestmsg_is_named(&g))
		n = guestmsg_name(&g, &to);
	if (n < 0)
		return n;
	n = guestmsg_is_named(&g) ? send_message(c, fd, &g, &to, flags, false) : LEAVE_IT;
	if (n == LEAVE_IT) {
		n = g.len > sizeof(payload) ? -EMSGSIZE
					    : mem_gather(g.tid, g.iov, g.niov, payload, g.len);
		if (n == 0)
			n = send_local(fd, &g, &to, flags);
	}
	if (n < 0)
		return n;
	sent = (uint32_t)n;
	return mem_write(
		c->task->tid, nth(c, i) + offsetof(struct mmsghdr, msg_len), &sent, sizeof(sent));
}

/* Whether any of the messages has a name that leads elsewhere than the kernel would. */
static bool any_is_ours(struct call *c, int fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct addr to, real;
		struct msghdr h;

		if (mem_read(c->task->tid, nth(c, i), &h, sizeof(h)) < 0)
			return false;
		if (!h.msg_name || mem_read_sockaddr(c->task->tid, (uintptr_t)h.msg_name,
					   h.msg_namelen, &to) < 0)
			continue;
		if (!is_odd(fd, &to, (int)c->arg[3]) &&
			(datagram_route(c, fd, &to, &real) == SIDE_REMOTE ||
				!addr_equal(&to, &real)))
			return true;
	}
	return false;
}

void sys_sendmmsg(struct call *c)
{
	unsigned n = MIN((unsigned)c->arg[2], SENDMMSG_MAX), done = 0;
	cleanup_fd int fd = guestmsg_any_named(c->task->tid, c->arg[1], n) ? dup_datagram(c) : -1;
	int64_t r = 0;

	if (fd < 0 || !any_is_ours(c, fd, n)) {
		call_continue(c);
		return;
	}
	while (done < n && r == 0) {
		r = send_nth(c, fd, done);
		done += r == 0;
	}
	call_return(c, done ? (int64_t)done : r);
}

int64_t sys_send_exit(struct call *c, int64_t result)
{
	return outgoing_exit(c, result);
}
