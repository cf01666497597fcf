/* Threads and processes of the guest: found by tid, made at first sight, freed at the turn's end.
 */
#ifndef TRACER_TASK_H
#define TRACER_TASK_H

#include "hold.h"
#include "htab.h"
#include "loop.h"
#include "trap.h"

/* -v -v is not an option: set to 1 to follow the states of calls when working on the engine. */
#define TRACE_STATES 0

/* Scratch memory: pages mapped into the guest for rewritten arguments, a slot for each call. Those
 * that are not used are not there. */
#define SCRATCH_SLOTS     64
#define SCRATCH_SLOT_SIZE 8192 /* what a path and the arguments of a script take */

/* An address space: of one process, or of several, as between vfork(2) and execve(2). */
struct space {
	unsigned procs;
	uint64_t scratch; /* address, or 0 */
	bool no_scratch;  /* there was no memory for it */
	uint64_t slots;   /* which are in use */
};

struct proc {
	struct hnode node; /* by tgid */
	pid_t tgid;
	unsigned threads;
	int pidfd;           /* -1: not opened yet */
	struct space *space; /* NULL until someone asks; another one after exec */
	bool unreachable;    /* its descriptors are; that was said */
};

struct task {
	struct hnode node; /* by tid */
	struct tracer *tracer;
	pid_t tid;
	struct proc *proc; /* NULL until someone asks */
	struct call call;  /* one at a time */
	bool stopped;      /* in a stop of job control */
	struct hold hold;  /* signals that wait for the call's answer */
	struct deferred release;
};

/* task_get() - the thread, made if it is new; NULL: no memory. task_find() - or NULL. */
struct task *task_get(struct tracer *tr, pid_t tid);
struct task *task_find(struct tracer *tr, pid_t tid);

/* task_gone() - the thread is dead: its call is dropped; freed at the turn's end. */
void task_gone(struct task *t);

/* task_exec() - the process of thread t executes another program: its other threads are gone, and
 * what was known of its memory too. former: the tid that called execve(2). */
void task_exec(struct task *t, pid_t former);

/* task_proc() - the thread's process; NULL: it is dead already, or no memory. */
struct proc *task_proc(struct tracer *tr, struct task *t);

/* task_space() - its address space; NULL as task_proc(). */
struct space *task_space(struct tracer *tr, struct task *t);

/* task_pidfd() - a pidfd of its process, the task's own; or -errno. */
int task_pidfd(struct tracer *tr, struct task *t);

/* task_table_done() - free all. */
void task_table_done(struct tracer *tr);

#endif
