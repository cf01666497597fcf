/* Theory of operation. A stream is known by the cookie of the guest's socket, so as long as no call
 * waits for it nothing keeps that socket: a close(2) closes it. While it connects it is also known
 * by its place in limbo, which tells that a socket has taken another's place.
 *
 * Its states follow the agent's answer, or the loss of the link. What is over is remembered for a
 * while, since the guest may still ask for addresses, or for the error, of such a socket. */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dns.h"
#include "log.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

static const char *const state_names[] = {
	[STREAM_CONNECTING] = "connecting",
	[STREAM_CONNECTED] = "connected",
	[STREAM_FAILED] = "failed",
	[STREAM_OVER] = "over",
};

static_assert(ARRAY_SIZE(state_names) == STREAM_STATE_MAX, "a name for each state");

static void stream_release(struct deferred *d);

/* --- the table --- */

void stream_free(struct stream *s)
{
	htab_del(&s->out->by_cookie, &s->node);
	htab_del(&s->out->by_place, &s->placed);
	list_del(&s->link);
	list_del(&s->release.link);
	names_stream_done(&s->answers);
	free(s);
}

struct stream *stream_find(const struct outgoing *out, int fd)
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

void stream_to_past(struct stream *s)
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
	stream_to_past(container_of(d, struct stream, release));
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

static void answer_names(struct stream *s)
{
	list_for_each_safe (pos, &s->waiters) {
		struct waiter *w = list_entry(pos, struct waiter, link);

		if (w->wants_local)
			w->answer(w);
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

static void let_signals_end(struct stream *s)
{
	list_for_each (pos, &s->waiters)
		list_entry(pos, struct waiter, link)->call->interruptible = true;
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

void stream_fail(struct stream *s, int error)
{
	stream_failed(s, error);
	stream_to_past(s);
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

void stream_give_up(struct stream *s)
{
	stream_set_state(s, STREAM_OVER);
	if (s->has_channel)
		relay_abort(&s->relay, ECONNABORTED);
	else
		stream_to_past(s);
	answer_waiters(s);
}

void stream_forget(struct stream *s)
{
	htab_del(&s->out->by_cookie, &s->node);
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

/* --- asking --- */

int stream_ask(struct stream *s)
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

struct stream *stream_new(struct outgoing *out, int fd, enum connect_kind kind)
{
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
void stream_placed(struct stream *s)
{
	struct htab *places = &s->out->by_place;
	uint64_t key = (uint64_t)addr_port(&s->place.hold) << 16 | addr_port(&s->place.guest);
	struct hnode *next;

	for (struct hnode *n = htab_find(places, key); n; n = next) {
		struct stream *old = container_of(n, struct stream, placed);

		next = htab_next(n);
		if (addr_equal(&old->place.hold, &s->place.hold) &&
			addr_equal(&old->place.guest, &s->place.guest))
			stream_give_up(old);
	}
	htab_add(places, &s->placed, key);
}
