/* Calls that receive and ask who sent it. A relayed socket's datagrams come from stand-ins: the
 * guest is told the peer. Any other socket's call is the kernel's, as it is.
 *
 * Under notification the datagram is received here, on a duplicate, and copied to where the guest
 * wants it. The thread may be interrupted before it has its answer, when the datagram is out of the
 * queue and can be had from nowhere else. From then on the call is one that no signal ends: it
 * starts again, is recognised, and has the answer that it missed; what was copied is still there
 * (trap.c). So no datagram is lost.
 *
 * Under stops the kernel receives, and the address is put right at the call's exit. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "datagram.h"
#include "guestmsg.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* The kernel's own (UIO_MAXIOV). */
#define RECVMMSG_MAX 1024u

/* Longer than anybody waits. */
#define TIMEOUT_MAX_S 1000000000

static struct datagram_table *table(const struct call *c)
{
	return &c->tracer->datagrams;
}

/* --- one datagram --- */

static void name_source(struct call *c, int fd, struct addr *from)
{
	struct dgram *d = datagram_find(table(c), fd);

	if (d)
		datagram_source(table(c), d, (sa_family_t)sock_family(fd), from);
}

/* What recvmsg(2) gives back beside the payload: into the guest's struct msghdr. */
static int write_header(const struct guestmsg *g, const struct msghdr *m)
{
	struct msghdr out = g->h;
	const struct addr *from = m->msg_name;
	size_t whole = m->msg_namelen;
	int r = 0;

	if (out.msg_name) {
		r = mem_write(
			g->tid, (uintptr_t)out.msg_name, from, MIN((size_t)out.msg_namelen, whole));
		out.msg_namelen = (socklen_t)whole;
	}
	if (r == 0 && m->msg_controllen)
		r = mem_write(
			g->tid, (uintptr_t)out.msg_control, m->msg_control, m->msg_controllen);
	out.msg_controllen = m->msg_controllen;
	out.msg_flags = m->msg_flags;
	return r < 0 ? r : mem_write(g->tid, g->at, &out, sizeof(out));
}

/* The next datagram into the guest's memory: its length, or -errno (-EAGAIN: there is none). */
static int64_t receive(
	struct call *c, int fd, const struct guestmsg *g, int flags, struct addr *from)
{
	static uint8_t payload[UINT16_MAX + 1];
	uint8_t control[GUESTMSG_CONTROL_MAX] __attribute__((aligned(8)));
	struct iovec iov = { .iov_base = payload };
	struct msghdr m = { .msg_name = from,
		.msg_namelen = sizeof(*from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control };
	ssize_t n;
	int r;

	iov.iov_len = MIN(g->len, sizeof(payload));
	if (g->h.msg_control)
		m.msg_controllen = MIN(g->h.msg_controllen, sizeof(control));
	n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	r = mem_scatter(g->tid, g->iov, g->niov, payload, MIN((size_t)n, iov.iov_len));
	if (m.msg_namelen) {
		name_source(c, fd, from);
		m.msg_namelen = addr_len(from);
	}
	if (r == 0 && g->at)
		r = write_header(g, &m);
	return r < 0 ? r : n;
}

static int64_t receive_from(struct call *c, int fd)
{
	static struct guestmsg g;
	struct addr from = { .sa.sa_family = AF_UNSPEC };
	int64_t n;
	int r;

	guestmsg_one(&g, c->task->tid, c->arg[1], c->arg[2]);
	n = receive(c, fd, &g, (int)c->arg[3], &from);
	if (n < 0)
		return n;
	r = mem_write_sockaddr(c->task->tid, c->arg[4], c->arg[5], &from);
	return r < 0 ? r : n;
}

static int64_t receive_msg(struct call *c, int fd, uint64_t at, int flags)
{
	static struct guestmsg g;
	struct addr from = { .sa.sa_family = AF_UNSPEC };
	int r = guestmsg_read(&g, c->task->tid, at);

	return r < 0 ? r : receive(c, fd, &g, flags, &from);
}

/* --- a call that may wait --- */

struct receiving {
	struct watch watch;
	struct timer timeout; /* SO_RCVTIMEO */
	struct deferred release;
	struct call *call;
	int fd;            /* the socket's duplicate */
	unsigned got;      /* of recvmmsg: how many */
	uint64_t until_ns; /* of recvmmsg: its timeout; 0: none */
};

static uint64_t nth(const struct call *c, unsigned i)
{
	return c->arg[1] + i * sizeof(struct mmsghdr);
}

static int flags_of(const struct call *c)
{
	return (int)c->arg[c->def->nr == SCMP_SYS(recvmsg) ? 2 : 3];
}

static bool waits(const struct call *c, int fd)
{
	return !(flags_of(c) & MSG_DONTWAIT) && !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* The kernel looks at the timeout after each datagram and not while it waits (recvmmsg(2), BUGS).
 */
static int64_t receive_many(struct receiving *r)
{
	struct call *c = r->call;
	unsigned want = MIN((unsigned)c->arg[2], RECVMMSG_MAX);
	int flags = flags_of(c);
	int64_t n = 0;

	while (r->got < want) {
		uint64_t at = nth(c, r->got);
		uint32_t len;

		n = receive_msg(c, r->fd, at, flags & ~MSG_WAITFORONE);
		if (n < 0)
			break;
		len = (uint32_t)n;
		mem_write(c->task->tid, at + offsetof(struct mmsghdr, msg_len), &len, sizeof(len));
		r->got++;
		if (r->until_ns && now_ns() >= r->until_ns)
			return r->got;
	}
	if (n == -EAGAIN && !(r->got && flags & MSG_WAITFORONE) && waits(c, r->fd))
		return n;
	return r->got ? (int64_t)r->got : n;
}

static int64_t receive_now(struct receiving *r)
{
	struct call *c = r->call;

	switch (c->def->nr) {
	case SCMP_SYS(recvfrom):
		return receive_from(c, r->fd);
	case SCMP_SYS(recvmsg):
		return receive_msg(c, r->fd, c->arg[1], flags_of(c));
	default:
		return receive_many(r);
	}
}

/* The guest is told what is left of recvmmsg's timeout. */
static void write_timeout(const struct call *c, uint64_t until_ns)
{
	uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
	struct timespec ts = timespec_of_ns((int64_t)left);

	if (until_ns)
		mem_write(c->task->tid, c->arg[4], &ts, sizeof(ts));
}

/* The datagram is out of the queue: see above. */
static void received(struct receiving *r, int64_t result)
{
	struct call *c = r->call;

	if (result > 0)
		write_timeout(c, r->until_ns);
	c->interruptible = false;
	c->has_timeout = false;
	call_return(c, result);
}

static void receiving_free(struct deferred *d)
{
	struct receiving *r = container_of(d, struct receiving, release);

	free(r);
}

static void receive_cancel(struct call *c)
{
	struct receiving *r = c->data;

	loop_del(&c->tracer->loop, &r->watch);
	timer_cancel(&r->timeout);
	close_fd(&r->fd);
	loop_defer(&c->tracer->loop, &r->release);
}

/* What there is so far is the call's, also when a signal ends it now: so has it recvmmsg(2). */
static void note_partial(struct receiving *r)
{
	r->call->interruptible = !r->got;
	r->call->partial = r->got;
}

static void receive_ready(struct watch *w, uint32_t events)
{
	struct receiving *r = container_of(w, struct receiving, watch);
	struct call *c = r->call;
	bool shut = events & (EPOLLRDHUP | EPOLLHUP);
	int64_t n;

	if (!call_waits(c)) {
		call_interrupted(c);
		return;
	}
	n = receive_now(r);
	note_partial(r);
	if (n == -EAGAIN && !shut)
		return;
	receive_cancel(c);
	/* Shut down for reading: the kernel has nothing to say, and says it at once. */
	if (n == -EAGAIN && !r->got)
		call_continue(c);
	else
		received(r, n == -EAGAIN ? r->got : n);
}

static void receive_timeout(struct timer *t)
{
	struct receiving *r = container_of(t, struct receiving, timeout);

	receive_cancel(r->call);
	received(r, r->got ? (int64_t)r->got : -EAGAIN);
}

/* The timeout of recvmmsg(2), which counts from now. */
static int read_timeout(const struct call *c, uint64_t *until_ns)
{
	struct timespec ts;

	if (c->def->nr != SCMP_SYS(recvmmsg) || !c->arg[4])
		return 0;
	if (mem_read(c->task->tid, c->arg[4], &ts, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NS_PER_S)
		return -EINVAL;
	ts.tv_sec = MIN(ts.tv_sec, (time_t)TIMEOUT_MAX_S);
	*until_ns = now_ns() + (uint64_t)timespec_to_ns(ts);
	return 0;
}

static int receiving_new(struct receiving **out, struct call *c, int *fd)
{
	struct receiving *r = calloc(1, sizeof(*r));
	int error = r ? read_timeout(c, &r->until_ns) : -ENOMEM;

	if (error < 0) {
		free(r);
		return error;
	}
	r->call = c;
	r->fd = take_fd(fd);
	timer_init(&r->timeout, receive_timeout);
	deferred_init(&r->release, receiving_free);
	r->watch.fd = -1;
	*out = r;
	return 0;
}

static void receive_wait(struct receiving *r)
{
	struct call *c = r->call;
	unsigned ms;

	call_park(c, true, receive_cancel, r);
	note_partial(r);
	if (loop_add(&c->tracer->loop, &r->watch, r->fd, EPOLLIN | EPOLLRDHUP, receive_ready) < 0) {
		r->watch.fd = -1;
		receive_cancel(c);
		call_return(c, -ENOMEM);
		return;
	}
	ms = sock_timeout_ms(r->fd, SO_RCVTIMEO);
	c->has_timeout = ms && !r->got;
	if (ms)
		loop_timer(&c->tracer->loop, &r->timeout, ms);
}

static void receive_here(struct call *c, int *fd)
{
	struct receiving *r;
	int64_t n = receiving_new(&r, c, fd);

	if (n < 0) {
		call_return(c, n);
		return;
	}
	n = receive_now(r);
	if (n == -EAGAIN && waits(c, r->fd)) {
		receive_wait(r);
		return;
	}
	received(r, n);
	close_fd(&r->fd);
	free(r);
}

/* --- by the kernel --- */

/* How much room the guest has for each name; the kernel overwrites it. */
struct rooms {
	unsigned n;
	int room[];
};

static void rooms_cancel(struct call *c)
{
	free(c->data);
}

static unsigned how_many(const struct call *c)
{
	return c->def->nr == SCMP_SYS(recvmmsg) ? MIN((unsigned)c->arg[2], RECVMMSG_MAX) : 1;
}

static uint64_t namelen_at(const struct call *c, unsigned i)
{
	return c->def->nr == SCMP_SYS(recvfrom) ? c->arg[5]
						: nth(c, i) + offsetof(struct msghdr, msg_namelen);
}

static uint64_t name_at(const struct call *c, unsigned i)
{
	struct msghdr h;

	if (c->def->nr == SCMP_SYS(recvfrom))
		return c->arg[4];
	return mem_read(c->task->tid, nth(c, i), &h, sizeof(h)) < 0 ? 0 : (uintptr_t)h.msg_name;
}

static void receive_by_kernel(struct call *c)
{
	unsigned n = how_many(c);
	struct rooms *rooms = calloc(1, sizeof(*rooms) + n * sizeof(rooms->room[0]));

	if (!rooms) {
		call_continue(c);
		return;
	}
	rooms->n = n;
	for (unsigned i = 0; i < n; i++) {
		if (mem_read(c->task->tid, namelen_at(c, i), &rooms->room[i], sizeof(int)) < 0)
			rooms->room[i] = 0;
	}
	call_park(c, false, rooms_cancel, rooms);
	call_result(c);
}

/* The n bytes that the kernel has written of a name. A cut one shows the port at least, and then it
 * may be that of a stand-in. */
static bool read_name(const struct call *c, uint64_t at, size_t n, struct addr *from)
{
	const struct datagram_table *t = table(c);
	struct addr cut = { 0 };

	if (n < offsetof(struct sockaddr_in, sin_addr) ||
		mem_read(c->task->tid, at, &cut, MIN(n, sizeof(cut))) < 0)
		return false;
	if (addr_from_sockaddr(from, &cut, n) == 0)
		return true;
	*from = addr_loopback(cut.sa.sa_family, addr_port(&cut));
	return uplink_find(&t->uplinks, from);
}

static void mend_name(struct call *c, int fd, unsigned i, int room)
{
	pid_t tid = c->task->tid;
	uint64_t at = name_at(c, i);
	struct addr from;
	int whole;

	if (!at || room <= 0 || mem_read(tid, namelen_at(c, i), &whole, sizeof(whole)) < 0 ||
		whole <= 0 || !read_name(c, at, (size_t)MIN(whole, room), &from))
		return;
	name_source(c, fd, &from);
	room = MIN(room, whole);
	mem_write(tid, at, &from, (size_t)MIN(room, (int)addr_len(&from)));
}

static int64_t mend_names(struct call *c, int64_t result, unsigned n)
{
	cleanup_free struct rooms *rooms = c->data;
	cleanup_fd int fd = result < 0 ? -1 : call_dup(c, c->arg[0]);

	c->cancel = NULL;
	for (unsigned i = 0; fd >= 0 && i < MIN(n, rooms->n); i++)
		mend_name(c, fd, i, rooms->room[i]);
	return result;
}

int64_t sys_recvfrom_exit(struct call *c, int64_t result)
{
	return mend_names(c, result, 1);
}

int64_t sys_recvmsg_exit(struct call *c, int64_t result)
{
	return mend_names(c, result, 1);
}

int64_t sys_recvmmsg_exit(struct call *c, int64_t result)
{
	return mend_names(c, result, result > 0 ? (unsigned)result : 0);
}

/* --- the calls --- */

/* Whoever does not ask who has sent it needs no help: TCP and unix sockets, and most that are
 * connected. This is cheap to know, and so is (before) that no socket of the guest is of interest.
 */
static bool wants_source(const struct call *c)
{
	return c->def->nr == SCMP_SYS(recvfrom) ||
	       guestmsg_any_named(c->task->tid, c->arg[1], how_many(c));
}

static void receive_any(struct call *c)
{
	cleanup_fd int fd = -1;

	if (table(c)->by_cookie.count && !(flags_of(c) & (MSG_ERRQUEUE | MSG_OOB)) &&
		wants_source(c))
		fd = call_dup(c, c->arg[0]);
	if (fd < 0 || !datagram_find(table(c), fd))
		call_continue(c);
	else if (call_can(c, CAN_INSTALL))
		receive_here(c, &fd);
	else
		receive_by_kernel(c);
}

void sys_recvfrom(struct call *c)
{
	receive_any(c);
}

void sys_recvmsg(struct call *c)
{
	receive_any(c);
}

void sys_recvmmsg(struct call *c)
{
	receive_any(c);
}
