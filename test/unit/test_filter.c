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
#define HANDLER(name)                                                                              \
	void name(struct call *c)                                                                  \
	{                                                                                          \
		(void)c;                                                                           \
	}
#define EXIT(name)                                                                                 \
	int64_t name(struct call *c, int64_t result)                                               \
	{                                                                                          \
		(void)c;                                                                           \
		return result;                                                                     \
	}
#include "handlers.def"

bool open_may_wait(const struct call *c)
{
	(void)c;
	return false;
}

bool fs_policy_may_be_remote(const struct config *cfg)
{
	return cfg->fs_mode != FS_MODE_LOCAL;
}

bool fs_policy_may_write(const struct config *cfg)
{
	return cfg->fs_mode == FS_MODE_WRITE;
}

/* What of the configuration is on: a bit of the number of a try. */
enum tries {
	WITH_INCOMING = 1 << 0,
	WITH_OUTGOING = 1 << 1,
	WITH_NAMES = 1 << 2,
	WITH_HOSTNAME = 1 << 3,
	WITH_FILES = 1 << 4,
	WITH_WRITES = 1 << 5, /* to files */
	TRIES = 1 << 6,
};

struct outcome {
	const char *what;
	long nr;
	uint64_t arg[5];
	int off;     /* errno when the row is off; 0: success */
	unsigned on; /* the row is on, and traps, with any of these */
};

#define NEVER        0
#define WITH_SOCKETS (WITH_INCOMING | WITH_OUTGOING)
#define ANY          (WITH_INCOMING | WITH_OUTGOING | WITH_NAMES)
#define ANY_FILES    (WITH_FILES | WITH_WRITES)
#define TRAPPED      ENOSYS
#define NO_FD        ((uint64_t)-1)

static const struct outcome outcomes[] = {
	{ "a call in no row", SYS_getppid, { 0 }, 0, NEVER },
	{ "io_uring does not exist", SYS_io_uring_setup, { 8 }, ENOSYS, NEVER },
	{ "MPTCP does not exist", SYS_socket, { AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
		EPROTONOSUPPORT, NEVER },
	{ "another protocol does", SYS_socket, { 99, SOCK_STREAM, 0 }, EAFNOSUPPORT, NEVER },
	{ "bind", SYS_bind, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "listen", SYS_listen, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "accept that asks for the address", SYS_accept, { NO_FD, 64, 64 }, EBADF, WITH_INCOMING },
	{ "accept that does not", SYS_accept, { NO_FD }, EBADF, NEVER },
	{ "accept4 that asks for the address", SYS_accept4, { NO_FD, 64, 64 }, EBADF,
		WITH_INCOMING },
	{ "an address beyond 4 GiB", SYS_accept4, { NO_FD, UINT64_C(1) << 32, 64 }, EBADF,
		WITH_INCOMING },
	{ "accept4 that does not", SYS_accept4, { NO_FD }, EBADF, NEVER },
	{ "getsockname", SYS_getsockname, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "getpeername", SYS_getpeername, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "connect", SYS_connect, { NO_FD }, EBADF, ANY },
	{ "getsockopt of SO_ERROR", SYS_getsockopt, { NO_FD, SOL_SOCKET, SO_ERROR }, EBADF,
		WITH_OUTGOING },
	{ "getsockopt of another option", SYS_getsockopt, { NO_FD, SOL_SOCKET, SO_TYPE }, EBADF,
		NEVER },
	{ "getsockopt of another level", SYS_getsockopt, { NO_FD, IPPROTO_TCP, SO_ERROR }, EBADF,
		NEVER },
	{ "sendto with an address", SYS_sendto, { NO_FD, 0, 0, 0, 64 }, EBADF, WITH_SOCKETS },
	{ "sendto without", SYS_sendto, { NO_FD }, EBADF, NEVER },
	{ "sendmsg", SYS_sendmsg, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "sendmmsg", SYS_sendmmsg, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "recvfrom that asks for the address", SYS_recvfrom, { NO_FD, 0, 0, 0, 64 }, EBADF,
		WITH_SOCKETS },
	{ "recvfrom that does not", SYS_recvfrom, { NO_FD }, EBADF, NEVER },
	{ "recvmsg", SYS_recvmsg, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "recvmmsg", SYS_recvmmsg, { NO_FD }, EBADF, WITH_SOCKETS },
	{ "uname", SYS_uname, { 0 }, EFAULT, WITH_HOSTNAME },
	{ "sethostname", SYS_sethostname, { 0, -1u }, EINVAL, WITH_HOSTNAME },
	{ "setdomainname", SYS_setdomainname, { 0, -1u }, EINVAL, WITH_HOSTNAME },
#ifdef __x86_64__
	{ "x32 does not exist", 0x40000000 + SYS_bind, { 0 }, ENOSYS, NEVER },
#endif
};

/* Calls about files are too many for the list above: each is tried with arguments that are no good,
 * which is an error of the kernel's when the row is off. */
static bool is_about_files(const struct sysdef *d)
{
	return d->when & (WHEN_FILES | WHEN_WRITES);
}

static unsigned switched_on_by(const struct sysdef *d)
{
	return (d->when & WHEN_NAMES ? WITH_NAMES : 0) | (d->when & WHEN_FILES ? ANY_FILES : 0) |
	       (d->when & WHEN_WRITES ? WITH_WRITES : 0);
}

static int try_badly(const struct sysdef *d)
{
	const uint64_t bad = NO_FD;

	return syscall(d->nr, bad, bad, bad, bad, bad) < 0 ? errno : 0;
}

/* The name of the first that is wrong, or NULL. native: without the filter. */
static const char *try_files(unsigned with, const int *native)
{
	for (size_t i = 0; i < sysdefs_len; i++) {
		const struct sysdef *d = &sysdefs[i];
		bool on = with & switched_on_by(d);

		if (!is_about_files(d) || (d->nr == SYS_sync && !on))
			continue; /* to try sync(2) is to do it */
		if (try_badly(d) != (on ? TRAPPED : native[i]))
			return d->name;
	}
	return NULL;
}

static void learn_native(int *native)
{
	for (size_t i = 0; i < sysdefs_len; i++) {
		if (is_about_files(&sysdefs[i]) && sysdefs[i].nr != SYS_sync)
			native[i] = try_badly(&sysdefs[i]);
	}
}

/* In a child: install the filter and try all; the number of the first that is wrong, from 1. */
static int try_all(unsigned with)
{
	struct config cfg = {
		.incoming = with & WITH_INCOMING ? INCOMING_STEAL : INCOMING_OFF,
		.outgoing = with & WITH_OUTGOING,
		.dns = with & WITH_NAMES,
		.hostname = with & WITH_HOSTNAME,
		.fs_mode = with & WITH_WRITES  ? FS_MODE_WRITE
			   : with & WITH_FILES ? FS_MODE_READ
					       : FS_MODE_LOCAL,
	};
	struct sock_fprog program;
	int native[ARRAY_SIZE(sysdefs)];
	const char *wrong;

	learn_native(native);
	if (filter_build(&cfg, false, &program) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return 255;
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		const struct outcome *o = &outcomes[i];
		long r = syscall(o->nr, o->arg[0], o->arg[1], o->arg[2], o->arg[3], o->arg[4]);
		int error = r < 0 ? errno : 0;

		if (error != (o->on & with ? TRAPPED : o->off))
			return (int)i + 1;
	}
	wrong = try_files(with, native);
	if (wrong)
		fprintf(stderr, "wrong: %s\n", wrong);
	return wrong ? 254 : 0;
}

static void check_in_child(unsigned with)
{
	int status, n;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_all(with));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	n = WEXITSTATUS(status);
	if (n)
		fail_msg("%s (try %u)",
			n == 255   ? "the filter"
			: n == 254 ? "a call about files"
				   : outcomes[n - 1].what,
			with);
}

static void calls_as_the_table_says(void **state)
{
	(void)state;
	for (unsigned with = 0; with < TRIES; with++)
		check_in_child(with);
}

/* A row without a test above would be an accident. */
static void every_row_is_tried(void **state)
{
	(void)state;
	for (size_t i = 0; i < sysdefs_len; i++) {
		bool tried = sysdefs[i].nr == SYS_io_uring_enter ||
			     sysdefs[i].nr == SYS_io_uring_register || is_about_files(&sysdefs[i]);

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
