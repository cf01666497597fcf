#include "arch.h"

#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static int get(pid_t tid, struct user_regs_struct *r)
{
	struct iovec io = { r, sizeof(*r) };

	return ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

static int set(pid_t tid, const struct user_regs_struct *r)
{
	struct iovec io = { (void *)r, sizeof(*r) };

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

/* x8 holds the number only until the call; the kernel's own copy is a register set by itself. */
static int64_t nr(pid_t tid, const struct user_regs_struct *r)
{
	int value = -1;
	struct iovec io = { &value, sizeof(value) };

	(void)r;
	return ptrace(PTRACE_GETREGSET, tid, NT_ARM_SYSTEM_CALL, &io) < 0 ? -1 : value;
}

static int set_nr(pid_t tid, struct user_regs_struct *r, int64_t value)
{
	int number = (int)value;
	struct iovec io = { &number, sizeof(number) };

	(void)r;
	return ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, &io) < 0 ? -errno : 0;
}

static int64_t result(const struct user_regs_struct *r)
{
	return (int64_t)r->regs[0];
}

static void set_result(struct user_regs_struct *r, int64_t value)
{
	r->regs[0] = (uint64_t)value;
}

static uint64_t arg(const struct user_regs_struct *r, unsigned n)
{
	return r->regs[n];
}

static void set_arg(struct user_regs_struct *r, unsigned n, uint64_t value)
{
	r->regs[n] = value;
}

static void again(struct user_regs_struct *r, int64_t value, bool interrupted)
{
	/* In a signal's stop the kernel has moved pc back already. */
	if (!interrupted)
		r->pc -= 4;
	r->regs[8] = (uint64_t)value;
}

/* The kernel has looked at the result before the stop and put pc back at the svc. If pc still is
 * what it chose, and the handler has no SA_RESTART, it makes the result EINTR after the stop
 * (arch/arm64/kernel/signal.c, do_signal()). The instruction before the svc is known to be harmless
 * to repeat only by its own trampoline, so that is what the caller would need here. */
static int restart(struct user_regs_struct *r)
{
	(void)r;
	return -EOPNOTSUPP;
}

const struct arch arch = {
	.audit = AUDIT_ARCH_AARCH64,
	.scmp = SCMP_ARCH_AARCH64,
	.scmp32 = SCMP_ARCH_ARM,
	.insn_len = 4,
	.nr_mmap = SYS_mmap,
	.get = get,
	.set = set,
	.nr = nr,
	.set_nr = set_nr,
	.result = result,
	.set_result = set_result,
	.arg = arg,
	.set_arg = set_arg,
	.again = again,
	.restart = restart,
};
