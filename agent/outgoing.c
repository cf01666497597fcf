/* Theory of operation. A connection is a relay from the start, so that the client's `reset` finds
 * it while it is still being made. The kernel says at once that it cannot be, or later, and both
 * ways end in relay_refuse(): the channel is over on both sides, and the errno is the kernel's own.
 *
 * A unix socket connects at once, or its listener's queue is full; the room in that queue cannot be
 * waited for by anything but a blocking connect(2), so it is tried again by a timer.
 *
 * A TCP connection has its local address before it is established; the client is told it at once,
 * because getsockname(2) of the guest's socket wants it then (`connecting`). Of a unix socket the
 * same message says that connect(2) waits for room at the listener. */
#include "outgoing.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "log.h"
#include "relay.h"
#include "resolve.h"

/* How often a unix socket is tried while its listener's queue is full, and for how long. */
#define UNIX_RETRY_MS 20
#define UNIX_RETRIES  250

struct outbound {
	struct relay relay;
	struct drain *drain;
	const struct target *target;
	struct deferred release;

	/* Of a unix socket. */
	struct timer retry;
	unsigned retries;
	char path[PROTO_PATH_MAX + 1];
	size_t path_len;
};

static struct outbound *outbound_of(struct relay *r)
{
	return container_of(r, struct outbound, relay);
}

static void outbound_release(struct deferred *d)
{
	struct outbound *o = container_of(d, struct outbound, release);

	drain_exit(o->drain);
	free(o);
}

static void outbound_over(struct relay *r, int error)
{
	struct outbound *o = outbound_of(r);

	log_dbg("channel %u: over%s%s", r->ch.id, error ? ", " : "", error ? strerror(error) : "");
	timer_cancel(&o->retry);
	loop_defer(r->loop, &o->release);
}

/* A descriptor of ours that is missing is not what the guest has run out of. */
static int guest_error(int error)
{
	return error == EMFILE || error == ENFILE ? ENOBUFS : error;
}

/* --- what the client is told --- */

/* A socket without an internet address (a unix socket) has 0.0.0.0:0. */
static struct addr local_of(int fd)
{
	struct addr a;

	return fd < 0 || addr_of_socket(fd, &a) < 0 ? addr_v4(INADDR_ANY, 0) : a;
}

static void tell_connecting(struct relay *r)
{
	struct msg m = {
		.type = MSG_connecting,
		.id = r->ch.id,
		.connecting.local = local_of(r->watch.fd),
	};

	mux_send(r->ch.mux, &m);
}

static void tell_connected(struct mux *mux, uint32_t id, int error, int fd)
{
	struct msg m = {
		.type = MSG_connected,
		.id = id,
		.connected = { .error = (uint32_t)error, .local = local_of(fd) },
	};

	log_dbg("channel %u: %s", id, error ? strerror(error) : "connected");
	mux_send(mux, &m);
}

static void outbound_connected(struct relay *r, int error)
{
	tell_connected(r->ch.mux, r->ch.id, error, r->watch.fd);
}

/* --- TCP --- */

/* The address to bind to for a peer of that family: a wildcard has none of its own. */
static int bind_for(struct addr *bind, const struct addr *peer)
{
	uint16_t port = addr_port(bind);

	if (bind->sa.sa_family == peer->sa.sa_family)
		return 0;
	if (!addr_is_wildcard(bind))
		return -ENETUNREACH;
	*bind = addr_any(peer->sa.sa_family, port);
	return 0;
}

static int bind_tcp(int fd, const struct msg_connect *c)
{
	struct addr local = c->bind;
	int on = 1, r = bind_for(&local, &c->peer);

	if (addr_is_wildcard(&local) && !addr_port(&local))
		return 0;
	if (r < 0)
		return r;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* The port is chosen by connect, when the peer is known (Linux 4.2). */
	if (!addr_port(&local))
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, &local.sa, addr_len(&local)) == 0)
		return 0;
	if (errno != EADDRINUSE || !c->any_port)
		return -errno;
	addr_set_port(&local, 0);
	return bind(fd, &local.sa, addr_len(&local)) < 0 ? -errno : 0;
}

/* A TCP socket that is connecting, or connected; the fd or -errno. */
static int connect_tcp(const struct msg_connect *c)
{
	cleanup_fd int fd = socket(
		c->peer.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int on = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	r = bind_tcp(fd, c);
	if (r < 0)
		return r;
	if (connect(fd, &c->peer.sa, addr_len(&c->peer)) < 0 && errno != EINPROGRESS)
		return -errno;
	return take_fd(&fd);
}

static void start_tcp(struct outbound *o, const struct msg_connect *c)
{
	int fd = connect_tcp(c), r = fd;
	char to[ADDR_STRLEN];

	log_dbg("channel %u: to %s", o->relay.ch.id, addr_format(&c->peer, to));
	if (fd >= 0)
		r = relay_connect(&o->relay, fd);
	if (r < 0)
		relay_refuse(&o->relay, guest_error(-r));
	else
		tell_connecting(&o->relay);
}

/* --- unix sockets --- */

/* A path of the target is reached by a descriptor of what is there; /proc/self/fd is ours. */
static int connect_file(int fd, const struct outbound *o)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	cleanup_fd int file = resolve_open(o->target, o->path, O_PATH, 0);

	if (file < 0)
		return file;
	creds_act_on(&o->target->creds, file);
	resolve_fd_path(file, to.sun_path);
	return connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

/* An abstract name belongs to the network namespace, which is the target's (unix(7)). */
static int connect_name(int fd, const struct outbound *o)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = offsetof(struct sockaddr_un, sun_path) + o->path_len;

	memcpy(to.sun_path, o->path, o->path_len);
	return connect(fd, (const struct sockaddr *)&to, (socklen_t)len) < 0 ? -errno : 0;
}

/* To connect is to write to the file, with the right to (unix(7)); and the server is told who it
 * was that connected. */
static int connect_as_target(int fd, const struct outbound *o)
{
	int r = creds_enter(&o->target->creds);

	if (r < 0)
		return r;
	r = o->path[0] ? connect_file(fd, o) : connect_name(fd, o);
	creds_leave(&o->target->creds);
	return r;
}

/* A unix socket that is connected; the fd or -errno. */
static int connect_unix(const struct outbound *o)
{
	int type = o->relay.seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
	cleanup_fd int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : connect_as_target(fd, o);

	return r < 0 ? r : take_fd(&fd);
}

static void try_unix(struct timer *t)
{
	struct outbound *o = container_of(t, struct outbound, retry);
	int fd = connect_unix(o), r = fd;

	if (fd == -EAGAIN && !o->retries)
		tell_connecting(&o->relay);
	if (fd == -EAGAIN && o->retries++ < UNIX_RETRIES) {
		loop_timer(o->relay.loop, &o->retry, UNIX_RETRY_MS);
		return;
	}
	if (fd >= 0)
		r = relay_connect(&o->relay, fd);
	if (r < 0)
		relay_refuse(&o->relay, r == -EAGAIN ? ECONNREFUSED : guest_error(-r));
}

static void start_unix(struct outbound *o, const struct msg_connect *c)
{
	o->path_len = c->path.len;
	memcpy(o->path, c->path.data, c->path.len);
	try_unix(&o->retry);
}

/* --- connections of all kinds --- */

static void (*const starts[CONNECT_KIND_MAX])(struct outbound *o, const struct msg_connect *c) = {
	[CONNECT_TCP] = start_tcp,
	[CONNECT_UNIX_STREAM] = start_unix,
	[CONNECT_UNIX_SEQPACKET] = start_unix,
};

static bool is_sane(const struct msg *m)
{
	const struct msg_connect *c = &m->connect;
	const char *path = c->path.data;

	if (!(m->id & PROTO_CLIENT_CHANNEL) || c->kind >= CONNECT_KIND_MAX || !starts[c->kind])
		return false;
	return c->kind == CONNECT_TCP || (c->path.len && (*path == '/' || *path == '\0'));
}

/* A relay without a socket yet. */
static int outbound_new(
	struct outbound **out, struct drain *drain, struct mux *mux, const struct msg *m)
{
	struct outbound *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (o) {
		o->relay.connected = outbound_connected;
		o->relay.seqpacket = m->connect.kind == CONNECT_UNIX_SEQPACKET;
		r = relay_start(&o->relay, drain->loop, mux, m->id, -1, true, outbound_over);
	}
	if (r < 0) {
		free(o);
		return r;
	}
	deferred_init(&o->release, outbound_release);
	timer_init(&o->retry, try_unix);
	o->drain = drain;
	drain_enter(drain);
	*out = o;
	return 0;
}

int outgoing_connect(
	struct drain *drain, struct mux *mux, const struct target *target, const struct msg *m)
{
	struct outbound *o;
	int r;

	if (!is_sane(m))
		return -EPROTO;
	r = outbound_new(&o, drain, mux, m);
	if (r == -EEXIST)
		return -EPROTO;
	if (r < 0) {
		tell_connected(mux, m->id, guest_error(-r), -1);
		return 0;
	}
	o->target = target;
	starts[m->connect.kind](o, &m->connect);
	return 0;
}
