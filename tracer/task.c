#include "task.h"

#include <errno.h>
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

static void proc_unref(struct tracer *tr, struct proc *p)
{
	if (!p || --p->threads)
		return;
	fs_process_ends(&tr->fs);
	htab_del(&tr->procs, &p->node);
	close_fd(&p->pidfd);
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
	p->scratch = 0;
	p->no_scratch = false;
	p->slots = 0;
}

/* The thread group of a thread: "Tgid:" of its status, proc(5). 0: it is gone. */
static pid_t read_tgid(pid_t tid)
{
	unsigned long long tgid;

	return procfs_status(tid, "Tgid", 10, &tgid) ? (pid_t)tgid : 0;
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
	tgid = read_tgid(t->tid);
	if (!tgid)
		return NULL;
	t->proc = proc_get(tr, tgid);
	if (t->proc)
		t->proc->threads++;
	return t->proc;
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
