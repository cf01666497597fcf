/* connect(2), and SO_ERROR, which tells of its outcome. What is local is the kernel's, with its own
 * errors; so is what cannot work: an address of another family, a socket that listens. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "log.h"
#include "mem.h"
#include "route.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* --- internet sockets --- */

/* A guest that connects to its own listener finds it where it really is. */
static void connect_own(
	struct call *c, int fd, const struct addr *to, const struct sock *s, bool nonblock)
{
	struct addr real = sock_reaches(s, to->sa.sa_family);
	int r;

	real = addr_map(&real, to->sa.sa_family);
	if (addr_equal(&real, to)) {
		call_continue(c);
		return;
	}
	call_note(c, "its own listener, here at port %u", addr_port(&real));
	r = sock_connect_now(fd, &real);
	if (r == 0 || r == -EINPROGRESS)
		outgoing_note_own(&c->tracer->outgoing, fd, to);
	if (r == -EINPROGRESS && !nonblock && !sock_is_nonblocking(fd))
		call_continue(c); /* the kernel waits for what has begun */
	else
		call_return(c, r);
}

/* What the kernel refuses by itself, or what is this machine's: a socket that is connected or
 * listens, an address of another family, a device of ours. */
static bool is_kernels(int fd, const struct addr *to)
{
	return !sock_is_fresh(fd) || sock_family(fd) != to->sa.sa_family || sock_has_device(fd);
}

static void connect_tcp(struct call *c, int *fd, const struct addr *to, bool nonblock)
{
	struct tracer *tr = c->tracer;
	struct sock *own;

	if (outgoing_again(c, fd, nonblock))
		return;
	if (is_kernels(*fd, to)) {
		call_continue(c);
		return;
	}
	own = route_own_listener(tr, to);
	if (own)
		connect_own(c, *fd, to, own, nonblock);
	else if (route_to(tr, c, IPPROTO_TCP, to) == SIDE_REMOTE)
		outgoing_connect(c, fd, to, nonblock);
	else
		call_continue(c);
}

/* No address of ours takes data with its SYN: so it is connect(2), and then the kernel sends. */
bool sys_connect_by_send(struct call *c, const struct addr *to, int flags)
{
	cleanup_fd int fd = flags & MSG_FASTOPEN ? call_dup(c, c->arg[0]) : -1;

	if (fd < 0 || sock_protocol(fd) != IPPROTO_TCP)
		return false;
	connect_tcp(c, &fd, to, flags & MSG_DONTWAIT);
	return true;
}

static void connect_inet(struct call *c, const struct addr *to)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	int protocol = fd < 0 ? 0 : sock_protocol(fd);

	if (protocol == IPPROTO_UDP)
		datagram_connect(c, fd, to);
	else if (protocol == IPPROTO_TCP && to->sa.sa_family == AF_UNSPEC)
		outgoing_disconnect(&c->tracer->outgoing, fd), call_continue(c);
	else if (protocol == IPPROTO_TCP)
		connect_tcp(c, &fd, to, false);
	else
		call_continue(c);
}

/* --- unix sockets --- */

/* The path, or '@' and the abstract name; cut to fit, with '@' for a zero byte inside. */
static void unix_name(const struct sockaddr_un *un, size_t len, char *name, size_t size)
{
	size_t n = MIN(len - offsetof(struct sockaddr_un, sun_path), size - 1);

	memcpy(name, un->sun_path, n);
	name[n] = '\0';
	if (!*name) {
		for (size_t i = 0; i < n; i++)
			name[i] = name[i] ? name[i] : '@';
	}
}

static void connect_unix(struct call *c, const struct sockaddr_un *to, socklen_t len)
{
	char name[sizeof(to->sun_path) + 1];
	cleanup_fd int fd = -1;
	int type;

	unix_name(to, len, name, sizeof(name));
	if (c->tracer->cfg->dns && names_refuses(name)) {
		call_note(c, "names are the target's");
		call_return(c, -ENOENT);
		return;
	}
	if (c->tracer->cfg->outgoing && policy_unix(c->tracer->policy, name))
		fd = call_dup(c, c->arg[0]);
	type = fd < 0 ? 0 : sock_unix_type(fd);
	if (type != SOCK_STREAM && type != SOCK_SEQPACKET) {
		call_continue(c);
		return;
	}
	call_note(c, "remote: a unix socket of the target");
	if (sock_is_connected(fd))
		call_return(c, -EISCONN);
	else
		outgoing_connect_unix(c, &fd, to, len, type);
}

static bool is_unix_name(const struct sockaddr_un *un, int len)
{
	return un->sun_family == AF_UNIX && len > (int)offsetof(struct sockaddr_un, sun_path) &&
	       len <= (int)sizeof(*un);
}

/* --- the calls --- */

void sys_connect(struct call *c)
{
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_storage any;
	} u;
	struct addr to;
	int len = (int)c->arg[2];

	if (len < (int)sizeof(sa_family_t) || len > (int)sizeof(u) ||
		mem_read(c->task->tid, c->arg[1], &u, (size_t)len) < 0)
		u.sa.sa_family = AF_MAX; /* what is wrong the kernel says */
	if (u.sa.sa_family == AF_UNSPEC) {
		to = (struct addr){ .sa.sa_family = AF_UNSPEC };
		connect_inet(c, &to);
	} else if (is_unix_name(&u.un, len)) {
		connect_unix(c, &u.un, (socklen_t)len);
	} else if (addr_from_sockaddr(&to, &u, (size_t)len) == 0) {
		connect_inet(c, &to);
	} else {
		call_continue(c);
	}
}

int64_t sys_connect_exit(struct call *c, int64_t result)
{
	return outgoing_exit(c, result);
}

void sys_getsockopt_error(struct call *c)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	int error = fd < 0 ? 0 : outgoing_error(&c->tracer->outgoing, fd);

	if (error)
		call_return(c, mem_write_value(c->task->tid, c->arg[3], c->arg[4], error));
	else
		call_continue(c);
}
