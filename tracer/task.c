#include "task.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procfs.h"
#include "tracer.h"
#include "util.h"

static void task_free(struct deferred *d)
{
	free(container_of(d, struct task, release));
}

struct task *task_find(struct tracer *tr, pid_t tid)
{
	struct hnode *n = htab_find(&tr->tasks, (uint64_t)tid);

	return n ? container_of(n, struct task, node) : NULL;
}

struct task *task_get(struct tracer *tr, pid_t tid)
{
	struct task *t = task_find(tr, tid);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->tracer = tr;
	t->tid = tid;
	t->call.tracer = tr;
	t->call.task = t;
	t->call.lent = t->call.opened = -1;
	deferred_init(&t->release, task_free);
	if (htab_add(&tr->tasks, &t->node, (uint64_t)tid) < 0) {
		free(t);
		return NULL;
	}
	return t;
}

static void leave_space(struct proc *p)
{
	if (p->space && !--p->space->procs)
		free(p->space);
	p->space = NULL;
}

static void proc_unref(struct tracer *tr, struct proc *p)
{
	if (!p || --p->threads)
		return;
	fs_process_ends(&tr->fs);
	htab_del(&tr->procs, &p->node);
	close_fd(&p->pidfd);
	leave_space(p);
	free(p);
}

void task_gone(struct task *t)
{
	struct tracer *tr = t->tracer;

	call_drop(&t->call);
	htab_del(&tr->tasks, &t->node);
	proc_unref(tr, t->proc);
	t->proc = NULL;
	loop_defer(&tr->loop, &t->release);
}

static struct task *other_thread(struct tracer *tr, const struct proc *p, const struct task *t)
{
	htab_for_each (n, &tr->tasks) {
		struct task *other = container_of(n, struct task, node);

		if (other != t && other->proc == p)
			return other;
	}
	return NULL;
}

void task_exec(struct task *t, pid_t former)
{
	struct tracer *tr = t->tracer;
	struct task *other = former == t->tid ? NULL : task_find(tr, former);
	struct proc *p = t->proc;

	call_drop(&t->call);
	if (other)
		task_gone(other);
	if (!p)
		return;
	fs_process_ends(&tr->fs);
	while ((other = other_thread(tr, p, t)))
		task_gone(other);
	leave_space(p);
}

/* "Tgid" or "PPid" of a thread's status, proc(5). 0: it is gone. */
static pid_t read_pid(pid_t tid, const char *field)
{
	unsigned long long pid;

	return procfs_status(tid, field, 10, &pid) ? (pid_t)pid : 0;
}

static struct proc *proc_get(struct tracer *tr, pid_t tgid)
{
	struct hnode *n = htab_find(&tr->procs, (uint64_t)tgid);
	struct proc *p;

	if (n)
		return container_of(n, struct proc, node);
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->tgid = tgid;
	p->pidfd = -1;
	if (htab_add(&tr->procs, &p->node, (uint64_t)tgid) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

struct proc *task_proc(struct tracer *tr, struct task *t)
{
	pid_t tgid;

	if (t->proc)
		return t->proc;
	tgid = read_pid(t->tid, "Tgid");
	if (!tgid)
		return NULL;
	t->proc = proc_get(tr, tgid);
	if (t->proc)
		t->proc->threads++;
	return t->proc;
}

/* The parent that a process was made by with CLONE_VM, and that lives in the same memory still; or
 * NULL. Where kcmp(2) may not be used that is not known, and its scratch memory stays its own. */
static struct task *memory_sharer(struct tracer *tr, const struct proc *p)
{
	pid_t parent = read_pid(p->tgid, "PPid");
	struct task *t = parent ? task_find(tr, parent) : NULL;

	return t && syscall(SYS_kcmp, parent, p->tgid, KCMP_VM, 0, 0) == 0 ? t : NULL;
}

struct space *task_space(struct tracer *tr, struct task *t)
{
	struct proc *p = task_proc(tr, t);
	struct task *sharer;

	if (!p || p->space)
		return p ? p->space : NULL;
	sharer = memory_sharer(tr, p);
	p->space = sharer ? task_space(tr, sharer) : calloc(1, sizeof(*p->space));
	if (p->space)
		p->space->procs++;
	return p->space;
}

int task_pidfd(struct tracer *tr, struct task *t)
{
	struct proc *p = task_proc(tr, t);

	if (!p)
		return -ESRCH;
	if (p->pidfd < 0) {
		p->pidfd = (int)syscall(SYS_pidfd_open, p->tgid, 0);
		if (p->pidfd < 0)
			return -errno;
	}
	return p->pidfd;
}

void task_table_done(struct tracer *tr)
{
	struct hnode *n;

	while ((n = htab_any(&tr->tasks)))
		task_gone(container_of(n, struct task, node));
	htab_done(&tr->tasks);
	htab_done(&tr->procs);
}
