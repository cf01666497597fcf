/* Theory of operation. A changed argument that is a pointer points at a slot of a page that we map
 * into the guest, as its own stack is no place to write to: what lies below the stack pointer of a
 * goroutine belongs to others.
 *
 * With notification: the waiting thread is interrupted (CALL_STOPPING); in the stop its registers
 * are pointed at the call again with the changed arguments (CALL_ENTERING); the call is notified
 * anew and continued (CALL_RUNNING); at its exit the arguments get their old values. A signal that
 * arrives before the call has begun puts them back too, and the call starts from the beginning
 * after the handler; one that interrupts the call inside the kernel shows at its exit, like any
 * result.
 *
 * With stops: the thread already stands at the call's entry, so the arguments are changed
 * there.
 *
 * If the page is still missing, the thread is first led through an mmap (CALL_MAPPING): out of the
 * interrupted call with all signals blocked, or in place of the call at whose entry it stands,
 * which is then made again, with its signals blocked until it stops there once more. */
#include "rewrite.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
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

/* No handler comes between; false: the thread is gone. */
static bool block_signals(struct call *c)
{
	uint64_t all = ~(uint64_t)0;
	pid_t tid = c->task->tid;

	return ptrace(PTRACE_GETSIGMASK, tid, sizeof(c->sigmask), &c->sigmask) == 0 &&
	       ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) == 0;
}

/* A thread that was interrupted out of its call. */
static bool map_at_stop(struct call *c)
{
	struct user_regs_struct r = c->regs;

	if (!block_signals(c))
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

/* page 0: there is no memory for it. Two threads may have made one at once: the first is used. */
static void got_scratch(struct space *s, uint64_t page)
{
	if (!s->scratch)
		s->scratch = page;
	s->no_scratch = !s->scratch;
}

static void relocate(const struct call_change *change, uint64_t base)
{
	uint8_t *at = (uint8_t *)change->bytes + change->words_at;

	for (unsigned i = 0; i < change->nwords; i++, at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		word += base;
		memcpy(at, &word, sizeof(word));
	}
}

/* The address of a free slot with the change's bytes in it, or 0. */
static uint64_t fill_slot(struct call *c, struct space *s)
{
	for (unsigned i = 0; s->scratch && i < SCRATCH_SLOTS; i++) {
		uint64_t at = s->scratch + (uint64_t)i * SCRATCH_SLOT_SIZE;

		if (s->slots & UINT64_C(1) << i)
			continue;
		relocate(&c->change, at);
		if (mem_write(c->task->tid, at, c->change.bytes, c->change.n) < 0)
			return 0;
		s->slots |= UINT64_C(1) << i;
		return at;
	}
	return 0;
}

void rewrite_release(struct call *c)
{
	struct space *s = c->task->proc ? c->task->proc->space : NULL;

	if (s && c->scratch)
		s->slots &= ~(UINT64_C(1) << (c->scratch - s->scratch) / SCRATCH_SLOT_SIZE);
	c->scratch = 0;
}

/* The bytes are where the guest sees them. False: there is no room. */
static bool place_bytes(struct call *c, struct space *s)
{
	c->scratch = c->change.n ? fill_slot(c, s) : 0;
	return c->scratch || !c->change.n;
}

static void change_args(const struct call *c, struct user_regs_struct *r)
{
	for (unsigned i = 0; i < CALL_ARGS; i++) {
		unsigned bit = 1U << i;

		if (c->change.args & bit)
			arch.set_arg(r, i,
				c->change.arg[i] + (c->change.pointers & bit ? c->scratch : 0));
	}
}

static void restore_args(const struct call *c, struct user_regs_struct *r)
{
	for (unsigned i = 0; i < CALL_ARGS; i++) {
		if (c->change.args & 1U << i)
			arch.set_arg(r, i, c->arg[i]);
	}
}

/* From the interrupted call into the rewritten one. Without a slot the call fails: as the guest
 * made it, it would do another thing. */
static bool enter(struct call *c, struct space *s)
{
	struct user_regs_struct r = c->regs;

	if (!place_bytes(c, s)) {
		arch.fail(&r, ENOMEM);
		call_drop(c);
		return arch.set(c->task->tid, &r) == 0 &&
		       ptrace(PTRACE_CONT, c->task->tid, 0, 0) == 0;
	}
	arch.again(&r, c->def->nr, true);
	change_args(c, &r);
	if (arch.set(c->task->tid, &r) < 0)
		return false;
	call_set_state(c, CALL_ENTERING);
	return ptrace(PTRACE_SYSCALL, c->task->tid, 0, 0) == 0;
}

static bool needs_page(const struct call *c, const struct space *s)
{
	return c->change.n && !s->scratch && !s->no_scratch;
}

bool rewrite_at_stop(struct call *c)
{
	struct space *s = task_space(c->tracer, c->task);
	int64_t nr;

	if (!s || arch.get(c->task->tid, &c->regs) < 0 ||
		!arch.is_interrupted(c->task->tid, &c->regs, &nr) || nr != c->def->nr)
		return false;
	return needs_page(c, s) ? map_at_stop(c) : enter(c, s);
}

/* In the stop at the call's entry: it is skipped. */
static void fail_at_entry(struct call *c, int error)
{
	struct user_regs_struct r = c->regs;
	pid_t tid = c->task->tid;

	call_drop(c);
	if (arch.set_nr(tid, &r, -1) < 0)
		return;
	arch.set_result(&r, -error);
	if (arch.set(tid, &r) == 0)
		ptrace(PTRACE_CONT, tid, 0, 0);
}

void rewrite_at_entry(struct call *c)
{
	struct space *s = task_space(c->tracer, c->task);
	pid_t tid = c->task->tid;
	struct user_regs_struct r;

	if (!s || arch.get(tid, &c->regs) < 0)
		return;
	c->at_entry = true;
	if (needs_page(c, s)) {
		map_at_entry(c);
		return;
	}
	if (!place_bytes(c, s)) {
		fail_at_entry(c, ENOMEM);
		return;
	}
	r = c->regs;
	change_args(c, &r);
	arch.set(tid, &r);
	call_set_state(c, CALL_RUNNING);
	ptrace(PTRACE_SYSCALL, tid, 0, 0);
}

void rewrite_mapped(struct call *c)
{
	pid_t tid = c->task->tid;
	struct space *s = c->task->proc->space;
	struct user_regs_struct r;

	if (arch.get(tid, &r) < 0)
		return;
	got_scratch(s, arch.result(&r) > 0 ? (uint64_t)arch.result(&r) : 0);
	if (!c->at_entry) {
		ptrace(PTRACE_SETSIGMASK, tid, sizeof(c->sigmask), &c->sigmask);
		enter(c, s);
		return;
	}
	r = c->regs;
	if (!place_bytes(c, s)) {
		arch.fail(&r, ENOMEM);
		call_drop(c);
		if (arch.set(tid, &r) == 0)
			ptrace(PTRACE_CONT, tid, 0, 0);
		return;
	}
	arch.again(&r, c->def->nr, false);
	change_args(c, &r);
	if (!block_signals(c) || arch.set(tid, &r) < 0)
		return;
	call_set_state(c, CALL_ENTERING);
	ptrace(PTRACE_CONT, tid, 0, 0);
}

void rewrite_entered(struct call *c)
{
	ptrace(PTRACE_SETSIGMASK, c->task->tid, sizeof(c->sigmask), &c->sigmask);
	call_set_state(c, CALL_RUNNING);
	ptrace(PTRACE_SYSCALL, c->task->tid, 0, 0);
}

void rewrite_over(struct call *c)
{
	struct user_regs_struct r;

	if (!c->change.args)
		return;
	if (arch.get(c->task->tid, &r) == 0) {
		int64_t result = arch.result(&r);

		/* Where the first argument shares its register with the result, the result stays.
		 */
		restore_args(c, &r);
		if (c->state == CALL_RUNNING)
			arch.set_result(&r, result);
		arch.set(c->task->tid, &r);
	}
}
