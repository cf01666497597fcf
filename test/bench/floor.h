/* What the two floors share: the command line, the filter, and how a guest starts and ends.
 *
 *     floor_X [-r] CALL,CALL,... PROGRAM [ARGUMENT...]
 *
 * traps the named system calls and lets each go on unchanged; -r reads 16 bytes of memory at the
 * call's second argument first, as whoever looks at an address or a path has to. */
#ifndef TEST_FLOOR_H
#define TEST_FLOOR_H

#include <err.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLOOR_CALLS_MAX 64

struct floor {
	bool read;
	int calls[FLOOR_CALLS_MAX];
	unsigned ncalls;
	char **argv;
};

static inline void floor_parse(struct floor *f, int argc, char **argv)
{
	int opt;

	*f = (struct floor){ 0 };
	while ((opt = getopt(argc, argv, "+r")) == 'r')
		f->read = true;
	if (opt != -1 || argc - optind < 2)
		errx(125, "usage: %s [-r] CALL,CALL,... PROGRAM [ARGUMENT...]", argv[0]);
	for (char *name = strtok(argv[optind], ","); name; name = strtok(NULL, ",")) {
		int nr = seccomp_syscall_resolve_name(name);

		if (nr < 0 || f->ncalls == FLOOR_CALLS_MAX)
			errx(125, "no such system call, or too many: %s", name);
		f->calls[f->ncalls++] = nr;
	}
	f->argv = argv + optind + 1;
}

/* Install the filter: the action for the calls of the list; seccomp(2)'s result. */
static inline int floor_filter(const struct floor *f, unsigned action, unsigned flags)
{
	struct sock_filter code[2 * FLOOR_CALLS_MAX + 2];
	struct sock_fprog prog = { .filter = code };
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < f->ncalls; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)f->calls[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* Read what a handler would look at; whether there is anything does not matter. */
static inline void floor_read(pid_t tid, unsigned long long address)
{
	char bytes[16];
	struct iovec here = { bytes, sizeof(bytes) };
	struct iovec there = { (void *)(uintptr_t)address, sizeof(bytes) };

	if (process_vm_readv(tid, &here, 1, &there, 1, 0) < 0)
		return;
}

static inline int floor_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
