/* Socket calls. The work is done here, on a duplicate of the guest's descriptor, and only the
 * answer is given to the guest; what does not concern the target is left to the kernel, with its
 * own errors. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "log.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

static struct sock_table *table(const struct call *c)
{
	return &c->tracer->socks;
}

/* --- bind --- */

/* A port that the kernel chooses, at an address that every machine has, is this machine's affair.
 */
static bool is_local_bind(const struct addr *asked)
{
	return !addr_port(asked) && (addr_is_wildcard(asked) || addr_is_loopback(asked));
}

void sys_bind(struct call *c)
{
	struct addr asked;
	cleanup_fd int fd = -1;
	int protocol;

	if (mem_read_sockaddr(c->task->tid, c->arg[1], c->arg[2], &asked) == 0)
		fd = call_dup(c, c->arg[0]);
	protocol = fd < 0 ? 0 : sock_protocol(fd);
	if (protocol == IPPROTO_UDP)
		datagram_bind(c, fd, &asked);
	else if (protocol != IPPROTO_TCP || is_local_bind(&asked))
		call_continue(c);
	else
		call_return(c, sock_bind(table(c), fd, &asked));
}

/* --- listen --- */

/* A listen that waits for the agent. */
struct listening {
	struct call *call;
	struct sock *sock;
	int fd;
	int backlog;
};

static void listening_free(struct listening *l)
{
	close_fd(&l->fd);
	free(l);
}

/* That listen is over without success; the socket stays as it is for others that wait with it. */
static void listen_over(struct sock_table *t, struct listening *l)
{
	struct incoming *in = &t->tracer->incoming;

	incoming_leave(in, l->sock, l);
	if (l->sock->state == SOCK_SUBSCRIBING && !incoming_is_asked(in, l->sock))
		sock_set_state(t, l->sock, SOCK_BOUND);
}

static void listen_cancel(struct call *c)
{
	listen_over(table(c), c->data);
	listening_free(c->data);
}

static void listen_answered(struct sock *s, int result, void *data)
{
	struct listening *l = data;
	struct call *c = l->call;
	int r = result;

	if (r == 0 && listen(l->fd, l->backlog) < 0)
		r = -errno;
	if (r == 0) {
		s->remote = true;
		sock_listens(table(c), s, l->fd);
		call_note(c, "%s the target's port %u",
			c->tracer->cfg->incoming == INCOMING_STEAL ? "steals" : "mirrors",
			addr_port(&s->asked));
	} else {
		listen_over(table(c), l);
	}
	listening_free(l);
	call_return(c, r);
}

/* The target's traffic is wanted for that socket: not for a port that the kernel chose here, nor
 * where the target's port is our own, because then the traffic comes by itself. */
static bool wants_remote(const struct call *c, const struct sock *s)
{
	return c->tracer->cfg->incoming != INCOMING_OFF && !s->any_port &&
	       !(c->tracer->link.here && addr_port(&s->asked) == addr_port(&s->real));
}

static void listen_local(struct call *c, struct sock *s, int fd)
{
	int r = listen(fd, (int)c->arg[1]) < 0 ? -errno : 0;

	call_note(c, "local");
	if (r == 0 && s->state != SOCK_SUBSCRIBING)
		sock_listens(table(c), s, fd);
	call_return(c, r);
}

/* It was not bound, or to a port that the kernel chose. That the guest listens there is worth
 * knowing all the same: what it connects to on loopback may be itself. */
static void listen_unknown(struct call *c, int fd)
{
	if (fd < 0 || sock_protocol(fd) != IPPROTO_TCP || listen(fd, (int)c->arg[1]) < 0) {
		call_continue(c);
		return;
	}
	sock_adopt(table(c), fd);
	call_return(c, 0);
}

static void listen_remote(struct call *c, struct sock *s, int *fd)
{
	struct listening *l = calloc(1, sizeof(*l));

	if (!l) {
		call_return(c, -ENOMEM);
		return;
	}
	s->only_v6 = sock_only_v6(*fd);
	*l = (struct listening){
		.call = c, .sock = s, .fd = take_fd(fd), .backlog = (int)c->arg[1]
	};
	sock_set_state(table(c), s, SOCK_SUBSCRIBING);
	call_park(c, false, listen_cancel, l);
	incoming_listen(&c->tracer->incoming, s, listen_answered, l);
}

void sys_listen(struct call *c)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	struct sock *s = fd < 0 ? NULL : sock_find(table(c), fd);

	if (!s)
		listen_unknown(c, fd);
	else if (s->state == SOCK_LISTENING || !wants_remote(c, s))
		listen_local(c, s, fd);
	else
		listen_remote(c, s, &fd);
}

/* --- accept --- */

/* An accept that waits for a connection. */
struct accepting {
	struct watch watch;
	struct timer timeout; /* SO_RCVTIMEO */
	struct deferred release;
	struct call *call;
	int fd; /* the listener's duplicate */
};

/* accept4(2) on a duplicate that shares its flags with the guest. poll(2) says there is a
 * connection, but another thread of the guest may take it before us, and then a listener without
 * O_NONBLOCK would block the supervisor: so it has O_NONBLOCK for this one call.
 *
 * Another thread of the guest that begins an accept(fd, NULL, NULL), which is not trapped, in that
 * very moment and finds the queue empty gets EAGAIN where it should have waited. This was preferred
 * to a supervisor that may block, which would hold up all of the guest, and to a trap for each
 * accept: it takes two threads that accept in two ways on one blocking listener, at one time. */
static int accept_now(int fd, struct addr *peer, bool nonblock)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	socklen_t len = sizeof(*peer);
	int flags = fcntl(fd, F_GETFL), conn, error;

	if (poll(&p, 1, 0) <= 0)
		return -EAGAIN;
	if (!(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	conn = accept4(fd, &peer->sa, &len, SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0));
	error = errno;
	if (!(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags);
	return conn < 0 ? -error : conn;
}

/* The next connection for the guest, from the stash or the queue; our own pokes are dropped. */
static int next_connection(
	struct sock_table *table, struct sock *s, int fd, struct addr *peer, bool nonblock)
{
	int conn = sock_unstash(table, s);

	if (conn >= 0) {
		int flags = fcntl(conn, F_GETFL);

		fcntl(conn, F_SETFL, nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
		return addr_of_peer(conn, peer) < 0 ? (close(conn), -ECONNABORTED) : conn;
	}
	for (;;) {
		conn = accept_now(fd, peer, nonblock);
		if (conn < 0 || !sock_is_poke(table, s, peer))
			return conn;
		close(conn);
	}
}

/* Give the guest a connection. False: there is none yet. */
static bool accept_try(struct call *c, struct sock *s, int fd, int flags)
{
	struct addr peer = { 0 };
	int conn = next_connection(table(c), s, fd, &peer, flags & SOCK_NONBLOCK);
	int r;

	if (conn == -EAGAIN)
		return false;
	if (conn < 0) {
		call_return(c, conn);
		return true;
	}
	incoming_addresses(&c->tracer->incoming, conn, &peer, NULL);
	r = mem_write_sockaddr(c->task->tid, c->arg[1], c->arg[2], &peer);
	if (r < 0) {
		close(conn);
		call_return(c, r);
		return true;
	}
	r = call_install(c, conn, flags & SOCK_CLOEXEC);
	if (r == 0)
		close(conn);
	else
		sock_stash(s, conn);
	if (r == -ENOENT)
		call_drop(c);
	else if (r < 0)
		call_return(c, r);
	return true;
}

static void accepting_free(struct deferred *d)
{
	free(container_of(d, struct accepting, release));
}

static void accept_cancel(struct call *c)
{
	struct accepting *a = c->data;

	loop_del(&c->tracer->loop, &a->watch);
	timer_cancel(&a->timeout);
	close_fd(&a->fd);
	loop_defer(&c->tracer->loop, &a->release);
}

static int accept_flags(const struct call *c)
{
	return c->def->nr == SCMP_SYS(accept4) ? (int)c->arg[3] : 0;
}

static void accept_ready(struct watch *w, uint32_t events)
{
	struct accepting *a = container_of(w, struct accepting, watch);
	struct call *c = a->call;
	struct sock *s = sock_find(table(c), a->fd);
	cleanup_fd int fd = -1;

	(void)events;
	if (!call_waits(c)) {
		call_drop(c);
		return;
	}
	fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
	if (!s || fd < 0) {
		accept_cancel(c);
		call_continue(c);
	} else if (accept_try(c, s, fd, accept_flags(c))) {
		accept_cancel(c);
	}
}

static void accept_timeout(struct timer *t)
{
	struct accepting *a = container_of(t, struct accepting, timeout);

	accept_cancel(a->call);
	call_return(a->call, -EAGAIN);
}

static void accept_wait(struct call *c, int *fd)
{
	struct accepting *a = calloc(1, sizeof(*a));
	unsigned ms;

	if (!a) {
		call_return(c, -ENOMEM);
		return;
	}
	a->call = c;
	a->fd = take_fd(fd);
	timer_init(&a->timeout, accept_timeout);
	deferred_init(&a->release, accepting_free);
	if (loop_add(&c->tracer->loop, &a->watch, a->fd, EPOLLIN, accept_ready) < 0) {
		close(a->fd);
		free(a);
		call_return(c, -ENOMEM);
		return;
	}
	ms = sock_timeout_ms(a->fd, SO_RCVTIMEO);
	c->has_timeout = ms;
	if (ms)
		loop_timer(&c->tracer->loop, &a->timeout, ms);
	call_park(c, true, accept_cancel, a);
}

/* With stops the kernel accepts, and only the address is put right (sys_accept_exit). */
static void accept_by_kernel(struct call *c)
{
	int room;

	if (mem_read(c->task->tid, c->arg[2], &room, sizeof(room)) < 0) {
		call_continue(c);
		return;
	}
	c->data = (void *)(intptr_t)room; /* the kernel overwrites it */
	call_result(c);
}

static void accept_any(struct call *c, int flags)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	struct sock *s = fd < 0 ? NULL : sock_find(table(c), fd);

	if (!s || !s->remote || flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		call_continue(c);
	else if (!call_can(c, CAN_INSTALL))
		accept_by_kernel(c);
	else if (accept_try(c, s, fd, flags))
		return;
	else if (fcntl(fd, F_GETFL) & O_NONBLOCK)
		call_return(c, -EAGAIN);
	else
		accept_wait(c, &fd);
}

void sys_accept(struct call *c)
{
	accept_any(c, 0);
}

void sys_accept4(struct call *c)
{
	accept_any(c, (int)c->arg[3]);
}

int64_t sys_accept_exit(struct call *c, int64_t result)
{
	int room = (int)(intptr_t)c->data, whole;
	cleanup_fd int fd = -1;
	struct addr peer;

	if (result < 0 || room < 0)
		return result;
	fd = call_dup(c, (uint64_t)result);
	if (fd < 0 || !incoming_addresses(&c->tracer->incoming, fd, &peer, NULL))
		return result;
	whole = (int)addr_len(&peer);
	mem_write(c->task->tid, c->arg[1], &peer, (size_t)MIN(room, whole));
	return result;
}

/* --- getsockname, getpeername --- */

static void return_address(struct call *c, const struct addr *a)
{
	char text[ADDR_STRLEN];

	call_note(c, "%s", addr_format(a, text));
	call_return(c, mem_write_sockaddr(c->task->tid, c->arg[1], c->arg[2], a));
}

/* What the guest believes its socket's address to be, if that is not the kernel's own idea. */
static bool believed_name(const struct call *c, int fd, struct addr *name)
{
	struct sock *s = sock_find(table(c), fd);

	if (s && !addr_equal(&s->asked, &s->real)) {
		*name = s->asked;
		return true;
	}
	if (s)
		return false;
	if (incoming_addresses(&c->tracer->incoming, fd, NULL, name) ||
		datagram_addresses(&c->tracer->datagrams, fd, name, NULL))
		return true;
	/* A client on this machine came to the port that stands in for the asked one. */
	if (addr_of_socket(fd, name) < 0)
		return false;
	s = sock_of_real_port(table(c), addr_port(name));
	if (!s || addr_port(&s->asked) == addr_port(&s->real))
		return false;
	addr_set_port(name, addr_port(&s->asked));
	return true;
}

void sys_getsockname(struct call *c)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	struct addr name;

	if (fd >= 0 && outgoing_name(c, &fd))
		return;
	if (fd >= 0 && believed_name(c, fd, &name))
		return_address(c, &name);
	else
		call_continue(c);
}

void sys_getpeername(struct call *c)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	struct sockaddr_storage name;
	struct addr peer;
	socklen_t len;

	if (fd >= 0 && (incoming_addresses(&c->tracer->incoming, fd, &peer, NULL) ||
			       datagram_addresses(&c->tracer->datagrams, fd, NULL, &peer)))
		return_address(c, &peer);
	else if (fd >= 0 && outgoing_peer(&c->tracer->outgoing, fd, &name, &len))
		call_return(c, mem_write_name(c->task->tid, c->arg[1], c->arg[2], &name, len));
	else
		call_continue(c);
}
