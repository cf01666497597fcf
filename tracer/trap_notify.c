/* The guest's thread waits inside the call, interruptibly, until the listener's reader answers it;
 * a signal takes it out of there, and then the answer finds nobody (ENOENT). That thread may
 * already be waiting again with the same call under a new id: trap.c joins the two.
 *
 * No SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: it would hold back the guest's signal handlers, and
 * its debuggers, for as long as a parked call waits. */
#include "trap_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "arch.h"
#include "probe.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "trap_ptrace.h"

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP /* Linux 6.6 */
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#endif

/* 0, or -ENOENT when the thread has gone away. */
static int answer(int listener, uint64_t id, int64_t value, uint32_t flags)
{
	struct seccomp_notif_resp resp = { .id = id, .flags = flags };

	/* The kernel wants errors apart: a failure in error, anything else in val. */
	if (value < 0 && value >= -4095)
		resp.error = (int)value;
	else
		resp.val = value;
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0 ? -errno : 0;
}

static void release_signals(struct call *c)
{
	struct proc *p = c->task->hold.n ? task_proc(c->tracer, c->task) : NULL;

	if (p)
		hold_release(&c->task->hold, p->tgid, c->task->tid);
}

static void notify_finish(struct call *c)
{
	int r = answer(c->tracer->listener.fd, c->id, c->result, 0);

	call_set_state(c, r < 0 ? CALL_REJOIN : CALL_ANSWERED);
	if (r == 0)
		release_signals(c);
}

static void notify_proceed(struct call *c)
{
	int r = answer(c->tracer->listener.fd, c->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);

	call_set_state(c, r < 0 ? CALL_NONE : CALL_ANSWERED);
	if (r == 0)
		release_signals(c);
}

static int notify_install(struct call *c, int fd, bool cloexec)
{
	struct seccomp_notif_addfd a = {
		.id = c->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};
	int r = ioctl(c->tracer->listener.fd, SECCOMP_IOCTL_NOTIF_ADDFD, &a);

	if (r >= 0) {
		release_signals(c);
		return r;
	}
	/* ESRCH, EINPROGRESS: the thread was interrupted while it was about to take the descriptor.
	 */
	return errno == ESRCH || errno == EINPROGRESS || errno == EINTR ? -ENOENT : -errno;
}

static bool notify_waits(const struct call *c)
{
	uint64_t id = c->id;

	return ioctl(c->tracer->listener.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* The thread waits for an answer that it does not get: it is interrupted instead, and rewritten in
 * the stop (rewrite.c). */
static void notify_rewrite(struct call *c)
{
	if (ptrace(PTRACE_INTERRUPT, c->task->tid, 0, 0) < 0)
		notify_proceed(c);
	else
		call_set_state(c, CALL_STOPPING);
}

const struct trap_ops trap_notify = {
	.name = "notify",
	.can = CAN_INSTALL | CAN_REWRITE,
	.finish = notify_finish,
	.proceed = notify_proceed,
	.rewrite = notify_rewrite,
	.install = notify_install,
	.waits = notify_waits,
};

/* A thread that was cloned untraced (CLONE_UNTRACED) is under the filter, but its end would never
 * be reported: it runs as without us. */
static struct task *notifier(struct tracer *tr, pid_t tid)
{
	struct task *t = task_find(tr, tid);

	return t || !ptrace_is_ours(tid) ? t : task_get(tr, tid);
}

static void note_id(struct tracer *tr, uint64_t id)
{
	if (id != tr->last_id + 1)
		tr->missed_id = id - 1;
	tr->last_id = id;
}

static void received(struct tracer *tr, const struct seccomp_notif *n)
{
	struct task *t = notifier(tr, (pid_t)n->pid);
	const struct sysdef *def;
	uint64_t arg[CALL_ARGS];

	note_id(tr, n->id);
	memcpy(arg, n->data.args, sizeof(arg));
	def = sysdef_find(n->data.nr, arg);
	if (t && t->call.state == CALL_ENTERING) {
		/* The restart of a rewritten call. */
		answer(tr->listener.fd, n->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
		call_set_state(&t->call, CALL_RUNNING);
		return;
	}
	if (!t || !def) {
		answer(tr->listener.fd, n->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
		return;
	}
	call_begin(t, def, arg, n->id);
}

static void listener_event(struct watch *w, uint32_t events)
{
	struct tracer *tr = container_of(w, struct tracer, listener);
	union {
		struct seccomp_notif n;
		uint8_t room[512]; /* a newer kernel's struct may be longer
				      (SECCOMP_GET_NOTIF_SIZES) */
	} u;

	if (!(events & EPOLLIN)) {
		/* Nobody is left that could call. Linux 6.1 would block for ever in RECV. */
		loop_set(&tr->loop, w, 0);
		if (events & EPOLLHUP) {
			int fd = w->fd;

			loop_del(&tr->loop, w);
			close_fd(&fd);
		}
		return;
	}
	memset(&u, 0, sizeof(u)); /* the kernel insists */
	if (ioctl(w->fd, SECCOMP_IOCTL_NOTIF_RECV, &u.n) == 0)
		received(tr, &u.n);
}

int notify_start(struct tracer *tr, int listener)
{
	/* Wakes the supervisor on the guest's processor: measured ten times faster than across two
	 * in a virtual machine. Older kernels do without. */
	if (!probe_disabled(FEATURE_SYNC_WAKE_UP))
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	return loop_add(&tr->loop, &tr->listener, listener, EPOLLIN, listener_event);
}
