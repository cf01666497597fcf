#include "arch.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

static int get(pid_t tid, struct user_regs_struct *r)
{
	return ptrace(PTRACE_GETREGS, tid, 0, r) < 0 ? -errno : 0;
}

static int set(pid_t tid, const struct user_regs_struct *r)
{
	return ptrace(PTRACE_SETREGS, tid, 0, r) < 0 ? -errno : 0;
}

static int set_nr(pid_t tid, struct user_regs_struct *r, int64_t value)
{
	(void)tid;
	r->orig_rax = (uint64_t)value;
	return 0;
}

static int64_t result(const struct user_regs_struct *r)
{
	return (int64_t)r->rax;
}

static void set_result(struct user_regs_struct *r, int64_t value)
{
	r->rax = (uint64_t)value;
}

static unsigned long long *arg_register(struct user_regs_struct *r, unsigned n)
{
	unsigned long long *const args[] = { &r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8, &r->r9 };

	return args[n];
}

static uint64_t arg(const struct user_regs_struct *r, unsigned n)
{
	return *arg_register((struct user_regs_struct *)r, n);
}

static void set_arg(struct user_regs_struct *r, unsigned n, uint64_t value)
{
	*arg_register(r, n) = value;
}

static void again(struct user_regs_struct *r, int64_t value, bool interrupted)
{
	(void)interrupted;
	r->rip -= 2;
	r->rax = (uint64_t)value;
	r->orig_rax = (uint64_t)-1;
}

static bool is_interrupted(pid_t tid, const struct user_regs_struct *r, int64_t *nr)
{
	(void)tid;
	*nr = (int64_t)r->orig_rax;
	return (int64_t)r->orig_rax >= 0 && (int64_t)r->rax == -KERNEL_ERESTARTSYS;
}

/* The kernel looks at rax after the stop (arch/x86/kernel/signal.c, handle_signal()). */
static int restart(struct user_regs_struct *r)
{
	r->rax = (uint64_t)-KERNEL_ERESTARTNOINTR;
	return 0;
}

static void fail_call(struct user_regs_struct *r, int error)
{
	r->rax = (uint64_t)-error;
}

const struct arch arch = {
	.scmp = SCMP_ARCH_X86_64,
	.scmp32 = SCMP_ARCH_X86,
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
