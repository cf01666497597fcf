#include "sysdef.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "addr.h"
#include "mem.h"
#include "task.h"
#include "util.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define ROW(call, ...)                                                                             \
	{                                                                                          \
		.name = #call, .nr = SYS_##call, __VA_ARGS__                                       \
	}
#define ONLY_IF_SET(n) .compare = SCMP_CMP_NE, .compare_arg = (n), .compare_with = 0
/* An int: the upper half of its register is anything. */
#define ONLY_IF(n, is) .compare = SCMP_CMP_MASKED_EQ, .compare_arg = (n), .compare_with = (is)
#define INCOMING       .when = WHEN_INCOMING

const struct sysdef sysdefs[] = {
	/* Programs fall back to plain system calls, and to TCP: both measured with node and Go. */
	ROW(io_uring_setup, .fixed_errno = ENOSYS),
	ROW(io_uring_enter, .fixed_errno = ENOSYS),
	ROW(io_uring_register, .fixed_errno = ENOSYS),
	ROW(socket, ONLY_IF(2, IPPROTO_MPTCP), .fixed_errno = EPROTONOSUPPORT),

	ROW(bind, INCOMING, .args = "dad", .enter = sys_bind),
	ROW(listen, INCOMING, .args = "dd", .enter = sys_listen),
	/* Who asks for no address needs no help: the connection is the kernel's own. */
	ROW(accept, INCOMING, ONLY_IF_SET(1), .args = "dpp", .blocks = true, .enter = sys_accept,
		.exit = sys_accept_exit),
	ROW(accept4, INCOMING, ONLY_IF_SET(1), .args = "dppd", .blocks = true, .enter = sys_accept4,
		.exit = sys_accept_exit),
	ROW(getsockname, INCOMING, .args = "dpp", .enter = sys_getsockname),
	ROW(getpeername, INCOMING, .args = "dpp", .enter = sys_getpeername),
	ROW(connect, INCOMING, .args = "dad", .blocks = true, .enter = sys_connect),
};

const size_t sysdefs_len = ARRAY_SIZE(sysdefs);

bool sysdef_is_on(const struct sysdef *d, const struct config *cfg)
{
	switch (d->when) {
	case WHEN_ALWAYS:
		return true;
	case WHEN_INCOMING:
		return cfg->incoming != INCOMING_OFF;
	}
	return false;
}

static bool is_about(const struct sysdef *d, const uint64_t *arg)
{
	switch (d->compare) {
	case SCMP_CMP_MASKED_EQ:
		return (uint32_t)arg[d->compare_arg] == d->compare_with;
	case SCMP_CMP_NE:
		return arg[d->compare_arg] != d->compare_with;
	default:
		return true;
	}
}

const struct sysdef *sysdef_find(int64_t nr, const uint64_t arg[static CALL_ARGS])
{
	for (size_t i = 0; i < ARRAY_SIZE(sysdefs); i++) {
		const struct sysdef *d = &sysdefs[i];

		if (d->nr == nr && d->enter && is_about(d, arg))
			return d;
	}
	return NULL;
}

static void print_sockaddr(const struct call *c, unsigned n, char *s, size_t size)
{
	char text[ADDR_STRLEN];
	struct addr a;

	if (mem_read_sockaddr(c->task->tid, c->arg[n], c->arg[n + 1], &a) == 0)
		snprintf(s, size, "%s", addr_format(&a, text));
	else
		snprintf(s, size, "%#llx", (unsigned long long)c->arg[n]);
}

const char *sysdef_print(const struct call *c, char *s, size_t size)
{
	const char *kinds = c->def->args ? c->def->args : "";
	char one[ADDR_STRLEN];
	size_t at = 0;

	s[0] = '\0';
	for (unsigned i = 0; kinds[i] && at < size; i++) {
		if (kinds[i] == 'a')
			print_sockaddr(c, i, one, sizeof(one));
		else if (kinds[i] == 'd')
			snprintf(one, sizeof(one), "%d", (int)c->arg[i]);
		else
			snprintf(one, sizeof(one), "%#llx", (unsigned long long)c->arg[i]);
		at += (size_t)snprintf(s + at, size - at, "%s%s", i ? ", " : "", one);
	}
	return s;
}
