#include "arch.h"

#include <elf.h>
#include <errno.h>
#include <seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "mem.h"

#define INSN_SVC_0 0xd4000001u

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

/* The kernel's own copy of the number is a register set by itself; x8 is only where it came from.
 */
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

/* Before such a stop the kernel has put everything back as it was at the call's svc, and shows no
 * trace of it (arch/arm64/kernel/signal.c, do_signal()): so a thread that is at an svc. One that
 * has not been inside yet looks the same, and is about to be. */
static bool is_interrupted(pid_t tid, const struct user_regs_struct *r, int64_t *nr)
{
	uint32_t insn;

	*nr = (int64_t)r->regs[8];
	return mem_read(tid, r->pc, &insn, sizeof(insn)) == 0 && insn == INSN_SVC_0;
}

/* The result becomes EINTR after the stop, unless pc is changed: but no other place would do. */
static int restart(struct user_regs_struct *r)
{
	(void)r;
	return -EOPNOTSUPP;
}

static void fail_call(struct user_regs_struct *r, int error)
{
	r->regs[0] = (uint64_t)-error;
	r->pc += 4;
}

const struct arch arch = {
	.scmp = SCMP_ARCH_AARCH64,
	.scmp32 = SCMP_ARCH_ARM,
	.nr_mmap = SYS_mmap,
	.get = get,
	.set = set,
	.set_nr = set_nr,
	.result = result,
	.set_result = set_result,
	.arg = arg,
	.set_arg = set_arg,
	.again = again,
	.is_interrupted = is_interrupted,
	.restart = restart,
	.fail = fail_call,
};
