/* Theory of operation. The changed argument points at a slot of a page that we map into the guest,
 * as its own stack is no place to write to: what lies below the stack pointer of a goroutine
 * belongs to others. The page is made by a call of mmap that the stopped thread is led through.
 *
 * With notification: the waiting thread is interrupted (CALL_STOPPING); in the stop its registers
 * are pointed at the call again with the changed argument (CALL_ENTERING); the call is notified
 * anew and continued (CALL_RUNNING); at its exit the argument gets its old value. A signal that
 * arrives before the call has begun puts it back too, and the call starts from the beginning after
 * the handler.
 *
 * With stops: the thread already stands at the call's entry, so the argument is changed there. If
 * the page is still missing, the call itself is turned into the mmap, and then starts again. */
#include "rewrite.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "arch.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "util.h"

#define SCRATCH_SIZE (SCRATCH_SLOTS * SCRATCH_SLOT_SIZE)

/* Resume a thread up to its next system call stop. 0; -ESRCH: it died. Signals are blocked
 * meanwhile, but for SIGSTOP, which is sent again afterwards. */
static int step(pid_t tid)
{
	int status, r = 0;
	bool stopped = false;

	do {
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0)
			return -errno;
		if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) {
			r = -ESRCH;
			break;
		}
		stopped |= WSTOPSIG(status) == SIGSTOP;
	} while (WSTOPSIG(status) != (SIGTRAP | 0x80));
	if (stopped)
		kill(tid, SIGSTOP);
	return r;
}

static void mmap_args(struct user_regs_struct *r)
{
	const uint64_t args[CALL_ARGS] = { 0, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 };

	for (unsigned i = 0; i < CALL_ARGS; i++)
		arch.set_arg(r, i, args[i]);
}

/* What the thread, standing at the exit of the mmap, was given. 0: nothing. */
static uint64_t mmap_result(pid_t tid)
{
	struct user_regs_struct r;

	if (arch.get(tid, &r) < 0 || arch.result(&r) <= 0)
		return 0;
	return (uint64_t)arch.result(&r);
}

/* Lead a thread, interrupted out of a call with registers r, through an mmap. */
static uint64_t map_scratch(pid_t tid, struct user_regs_struct r)
{
	uint64_t all = ~(uint64_t)0, mask, page = 0;

	if (ptrace(PTRACE_GETSIGMASK, tid, sizeof(mask), &mask) < 0 ||
		ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) < 0)
		return 0;
	mmap_args(&r);
	arch.again(&r, arch.nr_mmap, true);
	if (arch.set(tid, &r) == 0 && step(tid) == 0 && step(tid) == 0)
		page = mmap_result(tid);
	ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask);
	return page;
}

static void got_scratch(struct proc *p, uint64_t page)
{
	p->scratch = page;
	p->no_scratch = !page;
}

/* The address of a free slot with the call's bytes in it, or 0. */
static uint64_t fill_slot(struct call *c, struct proc *p)
{
	for (unsigned i = 0; p->scratch && i < SCRATCH_SLOTS; i++) {
		uint64_t at = p->scratch + (uint64_t)i * SCRATCH_SLOT_SIZE;

		if (p->slots & UINT64_C(1) << i)
			continue;
		if (mem_write(c->task->tid, at, c->bytes, c->nbytes) < 0)
			return 0;
		p->slots |= UINT64_C(1) << i;
		return at;
	}
	return 0;
}

static void free_slot(struct call *c)
{
	struct proc *p = c->task->proc;

	if (p && c->scratch)
		p->slots &= ~(UINT64_C(1) << (c->scratch - p->scratch) / SCRATCH_SLOT_SIZE);
	c->scratch = 0;
}

bool rewrite_at_stop(struct call *c)
{
	pid_t tid = c->task->tid;
	struct proc *p = task_proc(c->tracer, c->task);
	struct user_regs_struct r;
	int64_t nr;

	if (!p || arch.get(tid, &r) < 0 || !arch.is_interrupted(tid, &r, &nr) || nr != c->def->nr)
		return false;
	if (!p->scratch && !p->no_scratch)
		got_scratch(p, map_scratch(tid, r));
	c->scratch = fill_slot(c, p);
	/* Without a slot the call starts again as it was, and finds no way: it must not be lost. */
	arch.again(&r, c->def->nr, true);
	if (c->scratch)
		arch.set_arg(&r, (unsigned)c->changed_arg, c->scratch);
	if (arch.set(tid, &r) < 0)
		return false;
	call_set_state(c, CALL_ENTERING);
	return ptrace(PTRACE_SYSCALL, tid, 0, 0) == 0;
}

/* At the entry of the call: do an mmap in its place, and let it start again. */
static void map_scratch_at_entry(struct call *c, struct user_regs_struct *r)
{
	pid_t tid = c->task->tid;
	struct user_regs_struct own = *r;

	mmap_args(r);
	if (arch.set_nr(tid, r, arch.nr_mmap) == 0 && arch.set(tid, r) == 0 && step(tid) == 0) {
		got_scratch(c->task->proc, mmap_result(tid));
		arch.again(&own, c->def->nr, false);
		arch.set(tid, &own);
	}
	call_drop(c);
	ptrace(PTRACE_CONT, tid, 0, 0);
}

void rewrite_at_entry(struct call *c)
{
	pid_t tid = c->task->tid;
	struct proc *p = task_proc(c->tracer, c->task);
	struct user_regs_struct r;

	if (!p || arch.get(tid, &r) < 0)
		return;
	if (!p->scratch && !p->no_scratch) {
		map_scratch_at_entry(c, &r);
		return;
	}
	c->scratch = fill_slot(c, p);
	if (c->scratch) {
		arch.set_arg(&r, (unsigned)c->changed_arg, c->scratch);
		arch.set(tid, &r);
	}
	call_set_state(c, CALL_RUNNING);
	ptrace(PTRACE_SYSCALL, tid, 0, 0);
}

void rewrite_over(struct call *c)
{
	struct user_regs_struct r;

	if (!c->scratch)
		return;
	if (arch.get(c->task->tid, &r) == 0) {
		int64_t result = arch.result(&r);

		/* Where the first argument shares its register with the result, the result stays.
		 */
		arch.set_arg(&r, (unsigned)c->changed_arg, c->arg[c->changed_arg]);
		if (c->state == CALL_RUNNING)
			arch.set_result(&r, result);
		arch.set(c->task->tid, &r);
	}
	free_slot(c);
}
