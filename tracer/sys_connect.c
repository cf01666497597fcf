/* connect(2), and what tells of its outcome. */
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"

/* A guest that connects to its own listener finds it where it really is. */
void sys_connect(struct call *c)
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

int64_t sys_connect_exit(struct call *c, int64_t result)
{
	(void)c;
	return result;
}

void sys_getsockopt_error(struct call *c)
{
	call_continue(c);
}
