/* The filter made from the table, in the kernel: which calls it answers, traps and lets through. A
 * child installs it with stops and no tracer, so that a trapped call is one that fails with ENOSYS
 * (seccomp(2)).
 */
#include "unit.h"

#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../tracer/arch_x86_64.c"
#include "../../tracer/filter.c"
#include "../../tracer/mem.c"
#include "../../tracer/sysdef.c"

/* The handlers are not called here. */
void sys_bind(struct call *c)
{
	(void)c;
}
void sys_listen(struct call *c)
{
	(void)c;
}
void sys_accept(struct call *c)
{
	(void)c;
}
void sys_accept4(struct call *c)
{
	(void)c;
}
void sys_accept_exit(struct call *c, int64_t result)
{
	(void)c;
	(void)result;
}
void sys_getsockname(struct call *c)
{
	(void)c;
}
void sys_getpeername(struct call *c)
{
	(void)c;
}
void sys_connect(struct call *c)
{
	(void)c;
}

struct outcome {
	const char *what;
	long nr;
	uint64_t arg[3];
	int off, on; /* errno with incoming traffic off, and on; 0: success */
};

#define TRAPPED ENOSYS

static const struct outcome outcomes[] = {
	{ "a call in no row", SYS_getppid, { 0 }, 0, 0 },
	{ "io_uring does not exist", SYS_io_uring_setup, { 8, 0, 0 }, ENOSYS, ENOSYS },
	{ "MPTCP does not exist", SYS_socket, { AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
		EPROTONOSUPPORT, EPROTONOSUPPORT },
	{ "another protocol does", SYS_socket, { 99, SOCK_STREAM, 0 }, EAFNOSUPPORT, EAFNOSUPPORT },
	{ "bind", SYS_bind, { (uint64_t)-1, 0, 0 }, EBADF, TRAPPED },
	{ "listen", SYS_listen, { (uint64_t)-1, 0, 0 }, EBADF, TRAPPED },
	{ "accept that asks for the address", SYS_accept, { (uint64_t)-1, 64, 64 }, EBADF,
		TRAPPED },
	{ "accept that does not", SYS_accept, { (uint64_t)-1, 0, 0 }, EBADF, EBADF },
	{ "accept4 that asks for the address", SYS_accept4, { (uint64_t)-1, 64, 64 }, EBADF,
		TRAPPED },
	{ "an address beyond 4 GiB", SYS_accept4, { (uint64_t)-1, UINT64_C(1) << 32, 64 }, EBADF,
		TRAPPED },
	{ "accept4 that does not", SYS_accept4, { (uint64_t)-1, 0, 0 }, EBADF, EBADF },
	{ "getsockname", SYS_getsockname, { (uint64_t)-1, 0, 0 }, EBADF, TRAPPED },
	{ "getpeername", SYS_getpeername, { (uint64_t)-1, 0, 0 }, EBADF, TRAPPED },
	{ "connect", SYS_connect, { (uint64_t)-1, 0, 0 }, EBADF, TRAPPED },
#ifdef __x86_64__
	{ "x32 does not exist", 0x40000000 + SYS_bind, { 0 }, ENOSYS, ENOSYS },
#endif
};

/* In a child: install the filter and try all; the number of the first that is wrong, from 1. */
static int try_all(bool incoming)
{
	struct config cfg = { .incoming = incoming ? INCOMING_STEAL : INCOMING_OFF };
	struct sock_fprog program;

	if (filter_build(&cfg, false, &program) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return 255;
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		const struct outcome *o = &outcomes[i];
		long r = syscall(o->nr, o->arg[0], o->arg[1], o->arg[2]);
		int error = r < 0 ? errno : 0;

		if (error != (incoming ? o->on : o->off))
			return (int)i + 1;
	}
	return 0;
}

static void check_in_child(bool incoming)
{
	int status, n;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_all(incoming));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	n = WEXITSTATUS(status);
	if (n)
		fail_msg("%s (incoming %s)", n == 255 ? "the filter" : outcomes[n - 1].what,
			incoming ? "on" : "off");
}

static void calls_as_the_table_says(void **state)
{
	(void)state;
	check_in_child(false);
	check_in_child(true);
}

/* A row without a test above would be an accident. */
static void every_row_is_tried(void **state)
{
	(void)state;
	for (size_t i = 0; i < sysdefs_len; i++) {
		bool tried = sysdefs[i].nr == SYS_io_uring_enter ||
			     sysdefs[i].nr == SYS_io_uring_register;

		for (size_t j = 0; j < ARRAY_SIZE(outcomes); j++)
			tried |= outcomes[j].nr == sysdefs[i].nr;
		if (!tried)
			fail_msg("%s has no test", sysdefs[i].name);
	}
}

static void a_row_is_found_by_its_argument(void **state)
{
	const uint64_t none[CALL_ARGS] = { 3, 0, 0 }, some[CALL_ARGS] = { 3, 64, 64 };

	(void)state;
	assert_null(sysdef_find(SYS_accept4, none));
	assert_string_equal(sysdef_find(SYS_accept4, some)->name, "accept4");
	assert_null(sysdef_find(SYS_getppid, none));
	assert_null(sysdef_find(SYS_io_uring_setup, none)); /* never trapped */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_as_the_table_says),
		cmocka_unit_test(every_row_is_tried),
		cmocka_unit_test(a_row_is_found_by_its_argument),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
