/* connect(2), and what tells of its outcome. */
#include <errno.h>

#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* A guest that connects to its own listener finds it where it really is. */
static void connect_stream(struct call *c)
{
	struct addr to, real;
	struct sock *s = NULL;

	if (mem_read_sockaddr(c->task->tid, c->arg[1], c->arg[2], &to) == 0 &&
		(addr_is_loopback(&to) || addr_is_wildcard(&to)))
		s = sock_listening(&c->tracer->socks, &to);
	if (!s || addr_port(&s->asked) == addr_port(&s->real)) {
		call_continue(c);
		return;
	}
	real = to;
	addr_set_port(&real, addr_port(&s->real));
	call_note(c, "its own listener, here at port %u", addr_port(&real));
	call_rewrite(c, 1, &real, addr_len(&real));
}

/* connect(2) with AF_UNSPEC ends a datagram socket's connection. */
static int read_address(const struct call *c, struct addr *to)
{
	sa_family_t family;
	int r = mem_read_sockaddr(c->task->tid, c->arg[1], c->arg[2], to);

	if (r != -EAFNOSUPPORT || c->arg[2] < sizeof(family))
		return r;
	r = mem_read(c->task->tid, c->arg[1], &family, sizeof(family));
	*to = (struct addr){ .sa.sa_family = family };
	return r == 0 && family != AF_UNSPEC ? -EAFNOSUPPORT : r;
}

void sys_connect(struct call *c)
{
	struct addr to;
	cleanup_fd int fd = read_address(c, &to) < 0 ? -1 : call_dup(c, c->arg[0]);

	if (fd >= 0 && sock_is_udp(fd))
		datagram_connect(c, fd, &to);
	else
		connect_stream(c);
}

int64_t sys_connect_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}

void sys_getsockopt_error(struct call *c)
{
	call_continue(c);
}
