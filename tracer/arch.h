/* What differs between processor architectures: numbers, registers, the system call instruction.
 * arch_x86_64.c and arch_aarch64.c are the only files that know one; the Makefile links one. */
#ifndef TRACER_ARCH_H
#define TRACER_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* The kernel's own "restart this call" results, seen by a tracer only (linux/errno.h). */
#define KERNEL_ERESTARTSYS    512
#define KERNEL_ERESTARTNOINTR 513

struct arch {
	uint32_t scmp;   /* libseccomp's word for the architecture */
	uint32_t scmp32; /* the 32-bit architecture whose calls run as they are */
	long nr_mmap;

	/* Registers of a stopped thread: 0 or -errno (-ESRCH: it has been killed). */
	int (*get)(pid_t tid, struct user_regs_struct *r);
	int (*set)(pid_t tid, const struct user_regs_struct *r);

	/* Of a thread in a stop before a call: another number; -1 skips the call. */
	int (*set_nr)(pid_t tid, struct user_regs_struct *r, int64_t nr);

	int64_t (*result)(const struct user_regs_struct *r);
	void (*set_result)(struct user_regs_struct *r, int64_t value);
	uint64_t (*arg)(const struct user_regs_struct *r, unsigned n);
	void (*set_arg)(struct user_regs_struct *r, unsigned n, uint64_t value);

	/* Point the registers at the call instruction that the thread is in or was interrupted in,
	 * with that number and no memory of an interrupted call: what runs next is that call.
	 * interrupted: the stop came while the kernel handles a signal, not at the call's entry or
	 * exit. */
	void (*again)(struct user_regs_struct *r, int64_t nr, bool interrupted);

	/* In the stop before a signal is delivered, or of PTRACE_INTERRUPT: the thread was taken
	 * out of a call that the kernel will start again (ERESTARTSYS), and that call's number. */
	bool (*is_interrupted)(pid_t tid, const struct user_regs_struct *r, int64_t *nr);

	/* There: the call is to start again whatever the signal's handler's flags say. 0;
	 * -EOPNOTSUPP: the kernel has decided already, and only the signal can be held back. */
	int (*restart)(struct user_regs_struct *r);

	/* There: the call is over instead, with that errno. */
	void (*fail)(struct user_regs_struct *r, int error);
};

extern const struct arch arch;

#endif
