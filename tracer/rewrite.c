/* Theory of operation. The changed argument points at a slot of a page that we map into the guest,
 * as its own stack is no place to write to: what lies below the stack pointer of a goroutine
 * belongs to others.
 *
 * With notification: the waiting thread is interrupted (CALL_STOPPING); in the stop its registers
 * are pointed at the call again with the changed argument (CALL_ENTERING); the call is notified
 * anew and continued (CALL_RUNNING); at its exit the argument gets its old value. A signal that
 * arrives before the call has begun puts it back too, and the call starts from the beginning after
 * the handler; one that interrupts the call inside the kernel shows at its exit, like any result.
 *
 * With stops: the thread already stands at the call's entry, so the argument is changed there.
 *
 * If the page is still missing, the thread is first led through an mmap (CALL_MAPPING): out of the
 * interrupted call with all signals blocked, or in place of the call at whose entry it stands,
 * which then starts again. */
#include "rewrite.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "arch.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "util.h"

#define SCRATCH_SIZE (SCRATCH_SLOTS * SCRATCH_SLOT_SIZE)

static void mmap_args(struct user_regs_struct *r)
{
	const uint64_t args[CALL_ARGS] = { 0, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 };

	for (unsigned i = 0; i < CALL_ARGS; i++)
		arch.set_arg(r, i, args[i]);
}

/* Send a thread into the mmap: r, its registers, are ready for it. False: it is gone. */
static bool start_mapping(struct call *c, const struct user_regs_struct *r)
{
	if (arch.set(c->task->tid, r) < 0)
		return false;
	call_set_state(c, CALL_MAPPING);
	return ptrace(PTRACE_SYSCALL, c->task->tid, 0, 0) == 0;
}

/* A thread that was interrupted out of its call. */
static bool map_at_stop(struct call *c)
{
	uint64_t all = ~(uint64_t)0;
	struct user_regs_struct r = c->regs;
	pid_t tid = c->task->tid;

	if (ptrace(PTRACE_GETSIGMASK, tid, sizeof(c->sigmask), &c->sigmask) < 0 ||
		ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) < 0)
		return false;
	mmap_args(&r);
	arch.again(&r, arch.nr_mmap, true);
	return start_mapping(c, &r);
}

/* A thread at the entry of its call: the mmap takes its place. */
static void map_at_entry(struct call *c)
{
	struct user_regs_struct r = c->regs;

	mmap_args(&r);
	if (arch.set_nr(c->task->tid, &r, arch.nr_mmap) == 0)
		start_mapping(c, &r);
}

/* page 0: there is no memory for it. */
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

/* From the interrupted call into the rewritten one. Without a slot the call goes in as it was: it
 * finds no way, but is not lost. */
static bool enter(struct call *c, struct proc *p)
{
	struct user_regs_struct r = c->regs;

	c->scratch = fill_slot(c, p);
	arch.again(&r, c->def->nr, true);
	if (c->scratch)
		arch.set_arg(&r, (unsigned)c->changed_arg, c->scratch);
	if (arch.set(c->task->tid, &r) < 0)
		return false;
	call_set_state(c, CALL_ENTERING);
	return ptrace(PTRACE_SYSCALL, c->task->tid, 0, 0) == 0;
}

bool rewrite_at_stop(struct call *c)
{
	struct proc *p = task_proc(c->tracer, c->task);
	int64_t nr;

	if (!p || arch.get(c->task->tid, &c->regs) < 0 ||
		!arch.is_interrupted(c->task->tid, &c->regs, &nr) || nr != c->def->nr)
		return false;
	return p->scratch || p->no_scratch ? enter(c, p) : map_at_stop(c);
}

void rewrite_at_entry(struct call *c)
{
	struct proc *p = task_proc(c->tracer, c->task);
	pid_t tid = c->task->tid;

	if (!p || arch.get(tid, &c->regs) < 0)
		return;
	c->at_entry = true;
	if (!p->scratch && !p->no_scratch) {
		map_at_entry(c);
		return;
	}
	c->scratch = fill_slot(c, p);
	if (c->scratch) {
		struct user_regs_struct r = c->regs;

		arch.set_arg(&r, (unsigned)c->changed_arg, c->scratch);
		arch.set(tid, &r);
	}
	call_set_state(c, CALL_RUNNING);
	ptrace(PTRACE_SYSCALL, tid, 0, 0);
}

void rewrite_mapped(struct call *c)
{
	pid_t tid = c->task->tid;
	struct proc *p = c->task->proc;
	struct user_regs_struct r;

	if (arch.get(tid, &r) < 0)
		return;
	got_scratch(p, arch.result(&r) > 0 ? (uint64_t)arch.result(&r) : 0);
	if (!c->at_entry) {
		ptrace(PTRACE_SETSIGMASK, tid, sizeof(c->sigmask), &c->sigmask);
		enter(c, p);
		return;
	}
	r = c->regs;
	arch.again(&r, c->def->nr, false);
	arch.set(tid, &r);
	call_drop(c);
	ptrace(PTRACE_CONT, tid, 0, 0);
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
