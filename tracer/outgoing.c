/* Theory of operation. The guest's socket is put into limbo (limbo.h), which is connect(2) under
 * way, and the agent is asked to connect in its place (stream.h), with a channel for the bytes.
 * When it has, a relay completes the guest's connection; when it could not, the guest's connection
 * is refused, and the reason is kept for the one who asks: SO_ERROR, or the next connect(2).
 *
 * So a non-blocking connect(2) is answered at once, and the rest is the kernel's. A blocking one
 * waits: under notification it is parked, until its answer is clear or the kernel can give it by
 * itself; with stops the kernel waits, since nothing else would let a signal through, and the
 * result is put right when it returns. */
#include "outgoing.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch.h"
#include "log.h"
#include "mem.h"
#include "route.h"
#include "stream.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

static void check_timer(struct timer *t);

void outgoing_init(struct outgoing *out, struct tracer *tr)
{
	*out = (struct outgoing){ .tracer = tr };
	limbo_init(&out->limbo);
	list_init(&out->connecting);
	list_init(&out->connected);
	list_init(&out->past);
	timer_init(&out->check, check_timer);
}

static void free_all(struct list *streams)
{
	list_for_each_safe (pos, streams)
		stream_free(list_entry(pos, struct stream, link));
}

void outgoing_done(struct outgoing *out)
{
	timer_cancel(&out->check);
	free_all(&out->connecting);
	free_all(&out->connected);
	free_all(&out->past);
	htab_done(&out->by_cookie);
	htab_done(&out->by_place);
	limbo_done(&out->limbo);
}

uint32_t outgoing_channel(struct outgoing *out)
{
	return PROTO_CLIENT_CHANNEL | out->next_channel++;
}

/* --- calls that wait --- */

static void waiter_free(struct deferred *d)
{
	free(container_of(d, struct waiter, release));
}

static void waiter_end(struct waiter *w)
{
	list_del(&w->link);
	timer_cancel(&w->timeout);
	close_fd(&w->fd);
	loop_defer(&w->call->tracer->loop, &w->release);
}

/* It waits no longer. A unix socket connects inside its call or not at all. */
static void waiter_leave(struct waiter *w)
{
	struct stream *s = w->stream;

	waiter_end(w);
	if (s->kind != CONNECT_TCP && s->state == STREAM_CONNECTING)
		stream_give_up(s);
}

static void waiter_cancel(struct call *c)
{
	waiter_leave(c->data);
}

static void waiter_timeout(struct timer *t)
{
	struct waiter *w = container_of(t, struct waiter, timeout);
	struct call *c = w->call;
	int r = w->first ? -EINPROGRESS : -EALREADY;

	if (w->stream->kind != CONNECT_TCP)
		r = -EAGAIN;
	waiter_leave(w);
	call_return(c, r);
}

/* The kernel answers, or the stream knows by now. */
static void answer_name(struct waiter *w)
{
	struct call *c = w->call;
	struct addr local = w->stream->local;
	sa_family_t family = w->family;

	waiter_end(w);
	if (!addr_port(&local)) {
		call_continue(c);
		return;
	}
	local = addr_map(&local, family);
	call_return(c, mem_write_sockaddr(c->task->tid, c->arg[1], c->arg[2], &local));
}

static struct waiter *waiter_new(
	struct call *c, struct stream *s, int *fd, void (*answer)(struct waiter *w))
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		call_return(c, -ENOMEM);
		return NULL;
	}
	w->stream = s;
	w->call = c;
	w->answer = answer;
	w->fd = take_fd(fd);
	timer_init(&w->timeout, waiter_timeout);
	deferred_init(&w->release, waiter_free);
	list_append(&s->waiters, &w->link);
	return w;
}

/* The result of connect(2), or 1: the kernel has it, in its socket. A stream that failed or was
 * given up may have left a socket with which connect(2) would begin anew, with the target's address
 * and on this machine: that is not asked for. */
static int connect_result(const struct waiter *w)
{
	struct stream *s = w->stream;
	int error = s->error, kernel;

	if (s->state == STREAM_CONNECTED)
		return s->kind == CONNECT_TCP;
	s->error = 0;
	kernel = s->kind == CONNECT_TCP ? sock_end_connect(w->fd) : 0;
	if (!error)
		error = kernel;
	return error ? -error : -ECONNABORTED;
}

static void answer_connect(struct waiter *w)
{
	struct call *c = w->call;
	int r;

	if (c->interruptible && !call_waits(c)) {
		call_drop(c); /* interrupted: the outcome is left for the next who asks */
		return;
	}
	r = connect_result(w);
	waiter_end(w);
	if (r > 0)
		call_continue(c);
	else
		call_return(c, r);
}

/* The kernel looks at no more than the address's family while the socket is connecting, and then
 * waits. If it is not any more, shut down by another thread, such a short address is refused: the
 * guest's own would be connected to, on this machine. */
static void wait_in_kernel(struct call *c, bool first)
{
	const struct call_change change = {
		.args = 1 << 2,
		.arg = { [2] = sizeof(sa_family_t) },
		.result = true,
	};

	c->data = (void *)(intptr_t)first;
	if (c->def->nr == SYS_connect)
		call_rewrite(c, &change);
	else
		call_result(c);
}

static void wait_for_connection(struct call *c, struct stream *s, int *fd, bool first)
{
	struct waiter *w;
	unsigned ms;

	if (call_can(c, CAN_RESULT) && s->kind == CONNECT_TCP) {
		wait_in_kernel(c, first);
		return;
	}
	w = waiter_new(c, s, fd, answer_connect);
	if (!w) {
		if (s->kind != CONNECT_TCP)
			stream_give_up(s);
		return;
	}
	w->first = first;
	ms = sock_timeout_ms(w->fd, SO_SNDTIMEO);
	c->has_timeout = ms;
	if (ms)
		loop_timer(&c->tracer->loop, &w->timeout, ms);
	/* The kernel waits for a unix socket, and lets a signal end that, only while its listener
	 * has no room: the agent will say so. */
	call_park(c, s->kind == CONNECT_TCP, waiter_cancel, w);
}

int64_t outgoing_exit(struct call *c, int64_t result)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	struct stream *s = fd < 0 ? NULL : stream_find(&c->tracer->outgoing, fd);
	bool first = c->data;
	int error;

	if (!s || result <= -KERNEL_ERESTARTSYS)
		return result; /* a signal came first: the call starts again, or ends with EINTR */
	error = s->error;
	if (result == -EINVAL) {
		s->error = 0;
		if (!error)
			error = sock_end_connect(fd);
		return error ? -error : -ECONNABORTED;
	}
	if (s->state == STREAM_FAILED && error && result < 0) {
		/* The kernel has taken its own error by that result, or was interrupted before. */
		if (result != -ECONNRESET && result != -ECONNREFUSED)
			sock_end_connect(fd);
		s->error = 0;
		return -error;
	}
	return result == -EALREADY && first ? -EINPROGRESS : result;
}

/* --- sockets that are no more --- */

static void check_timer(struct timer *t)
{
	struct outgoing *out = container_of(t, struct outgoing, check);
	struct tracer *tr = out->tracer;
	struct seen seen;

	if (!list_empty(&out->connecting))
		loop_timer(&tr->loop, t, OUTGOING_CHECK_MS);
	if (list_empty(&out->connecting) || diag_see(&tr->socks.diag, DIAG_CONNECTING, &seen) < 0)
		return;
	list_for_each_safe (pos, &out->connecting) {
		struct stream *s = list_entry(pos, struct stream, link);

		if (s->kind != CONNECT_TCP || seen_has(&seen, s->cookie, DIAG_CONNECTING))
			continue;
		/* Closed, or its own time is over: the kernel knows. */
		stream_give_up(s);
	}
	seen_done(&seen);
}

/* --- connecting --- */

/* What the guest bound its socket to, as far as that is the target's affair. A port that the
 * kernel chose here will be the same there, if it is free. */
static void set_bound(struct stream *s, int fd)
{
	const struct tracer *tr = s->out->tracer;
	const struct sock *known = sock_find(&tr->socks, fd);
	struct addr own;

	s->bound = addr_any(s->peer.sa.sa_family, 0);
	if (known)
		own = known->asked;
	else if (addr_of_socket(fd, &own) < 0)
		return;
	own = addr_unmap(&own);
	s->any_port = !known || known->any_port;
	if (own.sa.sa_family == s->bound.sa.sa_family && route_is_target(tr, &own))
		s->bound = own;
	else
		addr_set_port(&s->bound, addr_port(&own));
}

/* Begin, or -errno of connect(2) and nothing has happened. */
static int tcp_start(struct stream *s, int fd, const struct addr *to)
{
	struct outgoing *out = s->out;
	int r;

	s->peer = addr_meant(to);
	set_bound(s, fd);
	if (out->tracer->link.mux.lost && !link_may_return(&out->tracer->link))
		return -ENETUNREACH;
	r = limbo_enter(&out->limbo, fd, to, &s->place);
	if (r < 0)
		return r;
	r = stream_ask(s);
	if (r < 0) {
		sock_end_connect(fd);
		return r;
	}
	stream_placed(s);
	return 0;
}

void outgoing_connect(struct call *c, int *fd, const struct addr *to, bool nonblock)
{
	struct stream *s = stream_new(&c->tracer->outgoing, *fd, CONNECT_TCP);
	struct timer *check = &c->tracer->outgoing.check;
	int r = s ? tcp_start(s, *fd, to) : -ENOMEM;

	if (r < 0) {
		if (s)
			stream_free(s);
		call_return(c, r);
		return;
	}
	if (list_empty(&check->link))
		loop_timer(&c->tracer->loop, check, OUTGOING_CHECK_MS);
	if (nonblock || sock_is_nonblocking(*fd))
		call_return(c, -EINPROGRESS);
	else
		wait_for_connection(c, s, fd, true);
}

bool outgoing_again(struct call *c, int *fd, bool nonblock)
{
	struct stream *s = stream_find(&c->tracer->outgoing, *fd);
	bool fresh;
	int error, r;

	if (!s)
		return false;
	fresh = sock_is_fresh(*fd);
	if (s->state == STREAM_CONNECTING && fresh) {
		/* Its own time is over, or shutdown(2) has ended it: the kernel knows. */
		outgoing_disconnect(&c->tracer->outgoing, *fd);
		return false;
	}
	if (s->state == STREAM_CONNECTING && !nonblock && !sock_is_nonblocking(*fd)) {
		wait_for_connection(c, s, fd, false);
		return true;
	}
	if (s->state == STREAM_CONNECTING || s->state == STREAM_CONNECTED || !fresh) {
		call_continue(c);
		return true;
	}
	/* The kernel has its own error, unless that was asked for: then it says what it says. */
	error = s->error;
	stream_forget(s);
	if (!error)
		return false;
	r = sock_connect_now(*fd, &s->place.hold);
	call_return(c, r == -ECONNRESET ? -error : r);
	return true;
}

void outgoing_disconnect(struct outgoing *out, int fd)
{
	struct stream *s = stream_find(out, fd);

	if (!s)
		return;
	stream_forget(s);
	if (s->state == STREAM_CONNECTING)
		stream_give_up(s);
}

void outgoing_note_own(struct outgoing *out, int fd, const struct addr *to)
{
	struct stream *s = stream_new(out, fd, CONNECT_TCP);

	if (!s)
		return;
	s->peer = addr_meant(to);
	stream_give_up(s);
}

/* A path ends with its zero byte, as the kernel shows it; an abstract name with its last one. */
static socklen_t name_len(const struct sockaddr_un *un, socklen_t len)
{
	size_t path = offsetof(struct sockaddr_un, sun_path);

	return *un->sun_path ? (socklen_t)(path + strnlen(un->sun_path, len - path) + 1) : len;
}

void outgoing_connect_unix(
	struct call *c, int *fd, const struct sockaddr_un *to, socklen_t len, int type)
{
	enum connect_kind kind = type == SOCK_STREAM ? CONNECT_UNIX_STREAM : CONNECT_UNIX_SEQPACKET;
	struct stream *s = stream_new(&c->tracer->outgoing, *fd, kind);
	int r = -ENOMEM;

	if (s) {
		s->path = *to;
		s->path_len = name_len(to, len);
		r = stream_ask(s);
	}
	if (r < 0) {
		if (s)
			stream_free(s);
		call_return(c, r);
		return;
	}
	wait_for_connection(c, s, fd, true);
}

/* --- what the guest asks --- */

bool outgoing_name(struct call *c, int *fd)
{
	struct stream *s = stream_find(&c->tracer->outgoing, *fd);
	struct waiter *w;
	struct addr own;

	/* A socket without an address of its own has been disconnected by now. */
	if (!s || s->kind != CONNECT_TCP || addr_of_socket(*fd, &own) < 0 || addr_is_wildcard(&own))
		return false;
	if (!addr_port(&s->local) && s->state != STREAM_CONNECTING)
		return false;
	w = waiter_new(c, s, fd, answer_name);
	if (!w)
		return true;
	w->wants_local = true;
	w->family = own.sa.sa_family;
	if (addr_port(&s->local))
		answer_name(w);
	else
		call_park(c, false, waiter_cancel, w);
	return true;
}

bool outgoing_peer(
	const struct outgoing *out, int fd, struct sockaddr_storage *peer, socklen_t *len)
{
	struct stream *s = stream_find(out, fd);
	socklen_t size = sizeof(*peer);
	struct addr a;

	if (!s || getpeername(fd, (struct sockaddr *)peer, &size) < 0)
		return false;
	if (s->kind == CONNECT_TCP) {
		a = addr_map(&s->peer, peer->ss_family);
		*len = addr_len(&a);
		memcpy(peer, &a, *len);
	} else {
		*len = s->path_len;
		memcpy(peer, &s->path, sizeof(s->path));
	}
	return true;
}

int outgoing_error(struct outgoing *out, int fd)
{
	struct stream *s = stream_find(out, fd);
	int error = s && s->state == STREAM_FAILED ? s->error : 0;

	/* The kernel's own is gone already when the guest has read it. */
	if (!error || !sock_take_error(fd))
		return 0;
	s->error = 0;
	return error;
}

bool outgoing_is_sending(const struct outgoing *out)
{
	list_for_each (pos, &out->connected) {
		const struct stream *s = list_entry(pos, struct stream, link);

		if (!s->relay.read_over)
			return true;
	}
	return false;
}

/* --- the link --- */

/* Those whose channel went with the link. */
void outgoing_link_lost(struct outgoing *out)
{
	list_for_each_safe (pos, &out->connecting) {
		struct stream *s = list_entry(pos, struct stream, link);

		if (!s->has_channel)
			stream_fail(s, ENETUNREACH);
	}
}

void outgoing_link_back(struct outgoing *out)
{
	list_for_each_safe (pos, &out->connecting) {
		struct stream *s = list_entry(pos, struct stream, link);

		if (!s->has_channel && stream_ask(s) < 0)
			stream_fail(s, ENETUNREACH);
	}
}
