/* Theory of operation. The guest's socket is put into limbo (limbo.h), which is connect(2) under
 * way, and the agent is asked to connect in its place, with a channel for the bytes. When it has, a
 * relay completes the guest's connection; when it could not, the guest's connection is refused, and
 * where the reason was another than ECONNREFUSED it is kept for the one who asks: SO_ERROR, or the
 * next connect(2).
 *
 * So a non-blocking connect(2) is answered at once, and the rest is the kernel's. A blocking one
 * waits: under notification it is parked, until its answer is clear or the kernel can give it by
 * itself; with stops the kernel waits, since nothing else would let a signal through, and the
 * result is put right when it returns.
 *
 * A stream is known by the cookie of the guest's socket. No duplicate of that socket is kept while
 * no call of the guest waits, or a close(2) would not close it. */
#include "outgoing.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "arch.h"
#include "dns.h"
#include "log.h"
#include "mem.h"
#include "relay.h"
#include "route.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

enum stream_state {
	STREAM_CONNECTING, /* asked, and not answered */
	STREAM_CONNECTED,  /* it has its relay */
	STREAM_FAILED,     /* the guest has not asked why, perhaps */
	STREAM_OVER,
	STREAM_STATE_MAX,
};

struct stream {
	struct relay relay;
	struct hnode node; /* by cookie */
	struct list link;  /* by state: connecting, connected, or past */
	struct outgoing *out;
	uint64_t cookie; /* of the guest's socket */
	enum stream_state state;
	enum connect_kind kind;
	bool has_channel;
	struct addr peer;        /* what the guest asked for */
	struct sockaddr_un path; /* the same, of a unix socket */
	socklen_t path_len;
	bool any_port;     /* the kernel chose the port of bound */
	struct addr bound; /* what it had bound before, or nothing */
	struct addr local; /* its address in the target; port 0: not known yet */
	struct limbo_place place;
	struct hnode placed; /* by the place's ports, while it connects */
	int error;           /* that the kernel does not know */
	struct list waiters;
	struct names_stream answers; /* of a name server */
	struct deferred release;
};

/* A call of the guest that waits for a stream. */
struct waiter {
	struct list link;
	struct stream *stream;
	struct call *call;
	void (*answer)(struct waiter *w);
	int fd;
	sa_family_t family;   /* of an address that is asked for */
	bool first;           /* the call that began to connect */
	struct timer timeout; /* SO_SNDTIMEO */
	struct deferred release;
};

static const char *const state_names[] = {
	[STREAM_CONNECTING] = "connecting",
	[STREAM_CONNECTED] = "connected",
	[STREAM_FAILED] = "failed",
	[STREAM_OVER] = "over",
};

static_assert(ARRAY_SIZE(state_names) == STREAM_STATE_MAX, "a name for each state");

static void check_timer(struct timer *t);
static void give_up(struct stream *s);

void outgoing_init(struct outgoing *out, struct tracer *tr)
{
	*out = (struct outgoing){ .tracer = tr };
	limbo_init(&out->limbo);
	list_init(&out->connecting);
	list_init(&out->connected);
	list_init(&out->past);
	timer_init(&out->check, check_timer);
}

static void stream_free(struct stream *s)
{
	htab_del(&s->out->by_cookie, &s->node);
	htab_del(&s->out->by_place, &s->placed);
	list_del(&s->link);
	list_del(&s->release.link);
	names_stream_done(&s->answers);
	free(s);
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

static struct stream *stream_find(const struct outgoing *out, int fd)
{
	uint64_t cookie = out->by_cookie.count ? sock_cookie(fd) : 0;
	struct hnode *n = cookie ? htab_find(&out->by_cookie, cookie) : NULL;

	return n ? container_of(n, struct stream, node) : NULL;
}

static const char *stream_name(const struct stream *s, char name[static ADDR_STRLEN])
{
	if (s->kind == CONNECT_TCP)
		return addr_format(&s->peer, name);
	snprintf(name, ADDR_STRLEN, "%s%s", s->path.sun_path[0] ? "" : "@",
		s->path.sun_path + !s->path.sun_path[0]);
	return name;
}

static void to_past(struct stream *s)
{
	struct outgoing *out = s->out;

	list_append(&out->past, &s->link);
	if (++out->npast <= OUTGOING_PAST_MAX)
		return;
	out->npast--;
	stream_free(list_entry(out->past.next, struct stream, link));
}

static void stream_release(struct deferred *d)
{
	to_past(container_of(d, struct stream, release));
}

static void stream_set_state(struct stream *s, enum stream_state state)
{
	char name[ADDR_STRLEN];

	log_dbg("stream to %s: %s → %s%s%s", stream_name(s, name), state_names[s->state],
		state_names[state], s->error ? ", " : "", s->error ? strerror(s->error) : "");
	/* A unix socket that has not been connected is as new. */
	if (s->kind != CONNECT_TCP && s->state == STREAM_CONNECTING && state != STREAM_CONNECTED)
		htab_del(&s->out->by_cookie, &s->node);
	s->state = state;
	list_del(&s->link);
	htab_del(&s->out->by_place, &s->placed);
	if (state == STREAM_CONNECTED)
		list_append(&s->out->connected, &s->link);
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
		give_up(s);
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

static void answer_names(struct stream *s)
{
	list_for_each_safe (pos, &s->waiters) {
		struct waiter *w = list_entry(pos, struct waiter, link);

		if (w->answer == answer_name)
			answer_name(w);
	}
}

/* Tell all that wait for the stream. An answer may begin another call, but none that waits for
 * this stream, which has its outcome. */
static void answer_waiters(struct stream *s)
{
	struct list *first;

	while ((first = list_shift(&s->waiters))) {
		struct waiter *w = list_entry(first, struct waiter, link);

		w->answer(w);
	}
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

static unsigned send_timeout_ms(int fd)
{
	struct timeval tv = { 0 };
	socklen_t len = sizeof(tv);

	if (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, &len) < 0)
		return 0;
	return (unsigned)(MIN(tv.tv_sec, 1000000) * 1000 + (tv.tv_usec + 999) / 1000);
}

static void wait_for_connection(struct call *c, struct stream *s, int *fd, bool first)
{
	struct waiter *w;
	unsigned ms;

	if (call_can(c, CAN_RESULT) && s->kind == CONNECT_TCP) {
		c->data = (void *)(intptr_t)first;
		call_result(c);
		return;
	}
	w = waiter_new(c, s, fd, answer_connect);
	if (!w) {
		if (s->kind != CONNECT_TCP)
			give_up(s);
		return;
	}
	w->first = first;
	ms = send_timeout_ms(w->fd);
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
	if (s->state == STREAM_FAILED && error && result < 0) {
		/* The kernel has taken its own error by that result, or was interrupted before. */
		if (result != -ECONNRESET && result != -ECONNREFUSED)
			sock_end_connect(fd);
		s->error = 0;
		return -error;
	}
	return result == -EALREADY && first ? -EINPROGRESS : result;
}

/* --- the outcome --- */

static void stream_failed(struct stream *s, int error)
{
	s->error = error;
	stream_set_state(s, STREAM_FAILED);
	if (s->kind == CONNECT_TCP)
		limbo_refuse(&s->place);
	answer_waiters(s);
}

static void stream_over(struct relay *r, int error)
{
	struct stream *s = container_of(r, struct stream, relay);
	const struct tracer *tr = s->out->tracer;

	s->has_channel = false;
	if (s->state == STREAM_CONNECTING && error == ENOTCONN && link_may_return(&tr->link)) {
		addr_set_port(&s->local, 0); /* it is asked for again */
		return;
	}
	if (s->state == STREAM_CONNECTING)
		stream_failed(s, error == ENOTCONN || !error ? ENETUNREACH : error);
	else
		stream_set_state(s, STREAM_OVER);
	loop_defer(r->loop, &s->release);
}

/* Leave the channel, which the agent has left already. */
static void end_channel(struct stream *s, int error)
{
	channel_close(&s->relay.ch);
	relay_abort(&s->relay, error);
}

/* Nobody waits for the outcome any more. */
static void give_up(struct stream *s)
{
	stream_set_state(s, STREAM_OVER);
	if (s->has_channel)
		relay_abort(&s->relay, ECONNABORTED);
	else
		to_past(s);
}

/* The guest's connection is made, of which fd is our end. */
static void stream_connected(struct stream *s, int fd)
{
	stream_set_state(s, STREAM_CONNECTED);
	if (relay_connect(&s->relay, fd) < 0)
		relay_abort(&s->relay, ENOMEM);
	answer_waiters(s);
}

/* Connect the guest's unix socket with one of ours; ours, or -errno. Whoever else may connect to
 * the name is told by the credentials: those of who called connect(2), which is us. */
static int unix_pair(int guest, enum connect_kind kind)
{
	int type = kind == CONNECT_UNIX_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	cleanup_fd int listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(name);

	if (listener < 0 || bind(listener, (void *)&name, sizeof(sa_family_t)) < 0 ||
		listen(listener, SOMAXCONN) < 0 || getsockname(listener, (void *)&name, &len) < 0 ||
		connect(guest, (void *)&name, len) < 0)
		return -errno;
	for (;;) {
		cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct ucred who = { 0 };
		socklen_t size = sizeof(who);

		if (fd < 0)
			return -errno;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
			who.pid == getpid())
			return take_fd(&fd);
	}
}

/* A unix socket is connected as a whole, by the call that waits. */
static void unix_connected(struct stream *s)
{
	struct waiter *w = list_entry(s->waiters.next, struct waiter, link);
	int fd;

	if (!call_waits(w->call)) {
		call_drop(w->call);
		return;
	}
	fd = unix_pair(w->fd, s->kind);
	if (fd < 0)
		relay_abort(&s->relay, -fd);
	else
		stream_connected(s, fd);
}

static void got_connected(struct stream *s, const struct msg_connected *m)
{
	int fd;

	if (m->error) {
		end_channel(s, m->error > PROTO_ERRNO_MAX ? EPROTO : (int)m->error);
		return;
	}
	s->local = m->local;
	if (s->kind != CONNECT_TCP) {
		unix_connected(s);
		return;
	}
	fd = limbo_complete(&s->place);
	if (fd < 0)
		relay_abort(&s->relay, -fd);
	else
		stream_connected(s, fd);
}

static void let_signals_end(struct stream *s)
{
	list_for_each (pos, &s->waiters)
		list_entry(pos, struct waiter, link)->call->interruptible = true;
}

static void stream_message(struct relay *r, const struct msg *m)
{
	struct stream *s = container_of(r, struct stream, relay);

	if (s->state != STREAM_CONNECTING)
		return;
	if (m->type == MSG_connecting && s->kind != CONNECT_TCP) {
		let_signals_end(s);
	} else if (m->type == MSG_connecting) {
		s->local = m->connecting.local;
		answer_names(s);
	} else if (m->type == MSG_connected) {
		got_connected(s, &m->connected);
	}
}

static void stream_tap(struct relay *r, const uint8_t *p, size_t n)
{
	struct stream *s = container_of(r, struct stream, relay);

	names_stream_bytes(s->out->tracer->names, &s->answers, p, n);
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
		give_up(s);
		answer_waiters(s);
	}
	seen_done(&seen);
}

/* --- asking --- */

static int ask(struct stream *s)
{
	struct tracer *tr = s->out->tracer;
	const char *path = s->path.sun_path;
	size_t path_len = s->path_len > offsetof(struct sockaddr_un, sun_path)
				  ? s->path_len - offsetof(struct sockaddr_un, sun_path)
				  : 0;
	struct msg m = {
		.type = MSG_connect,
		.connect = {
			.kind = (uint8_t)s->kind,
			.any_port = s->any_port,
			.peer = s->peer,
			.bind = s->bound,
			.path = { path, (uint32_t)(*path ? strnlen(path, path_len) : path_len) },
		},
	};
	int r;

	if (tr->link.mux.lost)
		return link_may_return(&tr->link) ? 0 : -ENETUNREACH;
	m.id = outgoing_channel(s->out);
	s->relay.message = stream_message;
	s->relay.tap = addr_port(&s->peer) == DNS_PORT ? stream_tap : NULL;
	s->relay.seqpacket = s->kind == CONNECT_UNIX_SEQPACKET;
	r = relay_start(&s->relay, &tr->loop, &tr->link.mux, m.id, -1, true, stream_over);
	if (r < 0)
		return -EADDRNOTAVAIL; /* what connect(2) says when there are no ports left */
	s->has_channel = true;
	mux_send(&tr->link.mux, &m);
	return 0;
}

/* The address is one that the target has too. */
static bool means_target(const struct tracer *tr, const struct addr *a)
{
	return addr_is_wildcard(a) || addr_is_loopback(a) || link_has_address(&tr->link, a);
}

/* What the guest bound its socket to, as far as that is the target's affair. A port that the
 * kernel chose here will be the same there, if it is free. */
static void set_bound(struct stream *s, int fd)
{
	const struct tracer *tr = s->out->tracer;
	const struct sock *known = sock_find(&tr->socks, fd);
	struct addr own;

	s->bound = s->peer.sa.sa_family == AF_INET ? addr_v4(INADDR_ANY, 0)
						   : addr_v6(&in6addr_any, 0);
	if (known)
		own = known->asked;
	else if (addr_of_socket(fd, &own) < 0)
		return;
	own = addr_unmap(&own);
	s->any_port = !known || known->any_port;
	if (own.sa.sa_family == s->bound.sa.sa_family && means_target(tr, &own))
		s->bound = own;
	else
		addr_set_port(&s->bound, addr_port(&own));
}

static struct stream *stream_new(struct call *c, int fd, enum connect_kind kind)
{
	struct outgoing *out = &c->tracer->outgoing;
	struct stream *s = calloc(1, sizeof(*s));
	uint64_t cookie = sock_cookie(fd);

	if (!s || htab_add(&out->by_cookie, &s->node, cookie) < 0) {
		free(s);
		return NULL;
	}
	s->out = out;
	s->cookie = cookie;
	s->kind = kind;
	s->peer = s->bound = s->local = addr_v4(INADDR_ANY, 0);
	list_init(&s->waiters);
	deferred_init(&s->release, stream_release);
	list_init(&s->link);
	list_append(&out->connecting, &s->link);
	return s;
}

/* The kernel lets no two sockets be in one place: so the one that was there before is no more, and
 * what is still being connected for it is not to be joined with this one. */
static void displace(struct stream *s)
{
	struct htab *places = &s->out->by_place;
	uint64_t key = (uint64_t)addr_port(&s->place.hold) << 16 | addr_port(&s->place.guest);
	struct hnode *next;

	for (struct hnode *n = htab_find(places, key); n; n = next) {
		struct stream *old = container_of(n, struct stream, placed);

		next = htab_next(n);
		if (addr_equal(&old->place.hold, &s->place.hold) &&
			addr_equal(&old->place.guest, &s->place.guest)) {
			give_up(old);
			answer_waiters(old);
		}
	}
	htab_add(places, &s->placed, key);
}

/* Begin, or -errno of connect(2) and nothing has happened. */
static int tcp_start(struct stream *s, int fd, const struct addr *to)
{
	struct outgoing *out = s->out;
	int r;

	s->peer = route_meant(to);
	set_bound(s, fd);
	if (out->tracer->link.mux.lost && !link_may_return(&out->tracer->link))
		return -ENETUNREACH;
	r = limbo_enter(&out->limbo, fd, to, &s->place);
	if (r < 0)
		return r;
	r = ask(s);
	if (r < 0) {
		sock_end_connect(fd);
		return r;
	}
	displace(s);
	return 0;
}

void outgoing_connect(struct call *c, int *fd, const struct addr *to, bool nonblock)
{
	struct stream *s = stream_new(c, *fd, CONNECT_TCP);
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
	int error, r;

	if (!s)
		return false;
	if (s->state == STREAM_CONNECTING && sock_is_fresh(*fd)) {
		/* Its own time is over, or shutdown(2) has ended it: the kernel knows. */
		outgoing_disconnect(&c->tracer->outgoing, *fd);
		return false;
	}
	if (s->state == STREAM_CONNECTING && !nonblock && !sock_is_nonblocking(*fd)) {
		wait_for_connection(c, s, fd, false);
		return true;
	}
	if (s->state == STREAM_CONNECTING || s->state == STREAM_CONNECTED || !sock_is_fresh(*fd)) {
		call_continue(c);
		return true;
	}
	/* The kernel has its own error, unless that was asked for: then it says what it says. */
	error = s->error;
	htab_del(&s->out->by_cookie, &s->node);
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
	htab_del(&out->by_cookie, &s->node);
	if (s->state == STREAM_CONNECTING) {
		give_up(s);
		answer_waiters(s);
	}
}

void outgoing_note_own(struct outgoing *out, int fd, const struct addr *to)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s || htab_add(&out->by_cookie, &s->node, sock_cookie(fd)) < 0) {
		free(s);
		return;
	}
	s->out = out;
	s->kind = CONNECT_TCP;
	s->state = STREAM_OVER;
	s->peer = route_meant(to);
	s->local = addr_v4(INADDR_ANY, 0);
	list_init(&s->link);
	list_init(&s->waiters);
	deferred_init(&s->release, stream_release);
	to_past(s);
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
	struct stream *s = stream_new(c, *fd, kind);
	int r = -ENOMEM;

	if (s) {
		s->path = *to;
		s->path_len = name_len(to, len);
		r = ask(s);
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

		if (s->has_channel)
			continue;
		stream_failed(s, ENETUNREACH);
		to_past(s);
	}
}

void outgoing_link_back(struct outgoing *out)
{
	list_for_each_safe (pos, &out->connecting) {
		struct stream *s = list_entry(pos, struct stream, link);

		if (!s->has_channel && ask(s) < 0) {
			stream_failed(s, ENETUNREACH);
			to_past(s);
		}
	}
}
