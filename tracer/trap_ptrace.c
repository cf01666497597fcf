/* A wait status is first classified, then acted on, and each action ends with exactly one way to
 * resume the thread. A thread that vanishes meanwhile (ESRCH) was killed: its end will be reported.
 *
 * Threads are resumed with PTRACE_CONT, so that a call which the filter does not trap never stops;
 * PTRACE_SYSCALL is for the one call whose exit must be seen. */
#include "trap_ptrace.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.h"
#include "job.h"
#include "log.h"
#include "probe.h"
#include "rewrite.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"

enum stop {
	STOP_DEATH,   /* not a stop: the thread is gone; do not resume */
	STOP_SECCOMP, /* a call that the filter traps */
	STOP_SYSCALL, /* entry or exit of a call that was resumed by PTRACE_SYSCALL */
	STOP_EXEC,    /* another program */
	STOP_CHILD,   /* it made a child or a thread, which is attached and reports by itself */
	STOP_GROUP,   /* job control stops it: PTRACE_LISTEN keeps it stopped and hears SIGCONT */
	STOP_TRAP,    /* a new child's first stop, PTRACE_INTERRUPT, or the end of a group stop */
	STOP_SIGNAL,  /* before a signal is delivered: resume with it */
};

static bool is_job_control(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

static enum stop classify(int status)
{
	int event = status >> 16;

	if (!WIFSTOPPED(status))
		return STOP_DEATH;
	switch (event) {
	case 0:
		return WSTOPSIG(status) == (SIGTRAP | 0x80) ? STOP_SYSCALL : STOP_SIGNAL;
	case PTRACE_EVENT_SECCOMP:
		return STOP_SECCOMP;
	case PTRACE_EVENT_EXEC:
		return STOP_EXEC;
	case PTRACE_EVENT_STOP:
		return is_job_control(WSTOPSIG(status)) ? STOP_GROUP : STOP_TRAP;
	default:
		return STOP_CHILD;
	}
}

int ptrace_attach(pid_t tid)
{
	long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK |
		       PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD |
		       PTRACE_O_EXITKILL;

	return ptrace(PTRACE_SEIZE, tid, 0, options) < 0 ? -errno : 0;
}

/* A stop of another kind may come while a call's exit is awaited; that is not to be forgotten. */
static void resume(const struct task *t, int sig)
{
	enum call_state state = t->call.state;
	bool awaited = state == CALL_MAPPING || state == CALL_ENTERING || state == CALL_RUNNING;

	ptrace(awaited ? PTRACE_SYSCALL : PTRACE_CONT, t->tid, 0, (long)sig);
}

/* --- the verbs, in the stop at the call's entry --- */

/* Skip the call: its number becomes -1, and its result what we say. */
static void stop_finish(struct call *c)
{
	struct user_regs_struct r;

	call_set_state(c, CALL_NONE);
	if (arch.get(c->task->tid, &r) < 0)
		return;
	if (arch.set_nr(c->task->tid, &r, -1) < 0)
		return;
	arch.set_result(&r, c->result);
	if (arch.set(c->task->tid, &r) == 0)
		resume(c->task, 0);
}

static void stop_proceed(struct call *c)
{
	call_set_state(c, CALL_NONE);
	resume(c->task, 0);
}

static void stop_result(struct call *c)
{
	call_set_state(c, CALL_RUNNING);
	ptrace(PTRACE_SYSCALL, c->task->tid, 0, 0);
}

static bool stop_waits(const struct call *c)
{
	(void)c; /* nothing but death takes a thread out of this stop */
	return true;
}

const struct trap_ops trap_ptrace = {
	.name = "ptrace",
	.can = CAN_RESULT | CAN_REWRITE,
	.finish = stop_finish,
	.proceed = stop_proceed,
	.result = stop_result,
	.rewrite = rewrite_at_entry,
	.waits = stop_waits,
};

/* --- the stops --- */

static int syscall_info(pid_t tid, struct __ptrace_syscall_info *info)
{
	memset(info, 0, sizeof(*info));
	return ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(*info), info) < 0 ? -errno : 0;
}

static void on_seccomp(struct task *t)
{
	struct __ptrace_syscall_info info;
	const struct sysdef *def;
	uint64_t arg[CALL_ARGS];

	follow_stop(&t->tracer->follow, t->tid);
	if (t->call.state == CALL_ENTERING) {
		rewrite_entered(&t->call);
		return;
	}
	if (syscall_info(t->tid, &info) < 0)
		return;
	memcpy(arg, info.seccomp.args, sizeof(arg));
	def = sysdef_find((int64_t)info.seccomp.nr, arg);
	if (def)
		call_begin(t, def, arg, 0);
	else
		resume(t, 0);
}

/* The handler may have another result in mind than the kernel. */
static void give_result(struct call *c, int64_t result)
{
	int64_t wanted = c->def->exit(c, result);
	struct user_regs_struct r;

	if (wanted == result || arch.get(c->task->tid, &r) < 0)
		return;
	arch.set_result(&r, wanted);
	arch.set(c->task->tid, &r);
}

static void on_syscall(struct task *t)
{
	struct call *c = &t->call;
	struct __ptrace_syscall_info info;

	if (syscall_info(t->tid, &info) < 0)
		return;
	if (info.op != PTRACE_SYSCALL_INFO_EXIT || c->state < CALL_MAPPING) {
		resume(t, 0);
		return;
	}
	if (c->state == CALL_MAPPING) {
		rewrite_mapped(c);
		return;
	}
	rewrite_over(c);
	if ((!c->change.args || c->change.result) && c->def->exit)
		give_result(c, info.exit.rval);
	call_over(c);
	resume(t, 0);
}

/* A 32-bit program makes calls that the filter lets through: it runs as without us, and that is
 * said. */
static void warn_if_32bit(pid_t tid)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	cleanup_fd int fd = -1;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/exe", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, ident, sizeof(ident)) == sizeof(ident) &&
		ident[EI_CLASS] == ELFCLASS32)
		log_err("process %d is a 32-bit program: its calls are not intercepted, it runs as "
			"without mirrord-trace",
			tid);
}

static void on_exec(struct task *t)
{
	unsigned long former = (unsigned long)t->tid;

	ptrace(PTRACE_GETEVENTMSG, t->tid, 0, &former);
	task_exec(t, (pid_t)former);
	warn_if_32bit(t->tid);
	resume(t, 0);
}

bool ptrace_is_ours(pid_t tid)
{
	siginfo_t si;

	return waitid(P_PID, (id_t)tid, &si, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* The child is attached already and reports by itself; it counts from now on, in case its parent
 * ends before it is first heard of. It may also have come and gone before this is heard. */
static void on_child(struct task *t)
{
	unsigned long child = 0;

	if (ptrace(PTRACE_GETEVENTMSG, t->tid, 0, &child) == 0 && ptrace_is_ours((pid_t)child))
		task_get(t->tracer, (pid_t)child);
	resume(t, 0);
}

static void on_trap(struct task *t)
{
	if (t->call.state == CALL_STOPPING && rewrite_at_stop(&t->call))
		return;
	resume(t, 0);
}

/* The row of the call that a thread was taken out of by a signal, or NULL. */
static const struct sysdef *interrupted_row(const struct task *t, const struct user_regs_struct *r)
{
	const struct sysdef *def;
	uint64_t arg[CALL_ARGS];
	int64_t nr;

	if (!arch.is_interrupted(t->tid, r, &nr))
		return NULL;
	for (unsigned i = 0; i < CALL_ARGS; i++)
		arg[i] = arch.arg(r, i);
	def = sysdef_find(nr, arg);
	return def && sysdef_is_on(def, t->tracer->cfg) ? def : NULL;
}

/* Make the call start again; false: the signal was held back instead, and is not to be delivered
 * now. */
static bool start_again(struct task *t, struct user_regs_struct *r, int sig)
{
	if (!probe_disabled(FEATURE_ERESTARTNOINTR) && arch.restart(r) == 0) {
		arch.set(t->tid, r);
		return true;
	}
	return !hold_signal(&t->hold, t->tid, sig);
}

/* The signal may have taken the thread out of a call that we answer, and that the kernel itself
 * never interrupts: it must start again, whatever the handler's flags say, or the guest sees an
 * EINTR that does not exist. False: the signal is not to be delivered now. */
static bool mend_interrupted(struct task *t, int sig)
{
	struct call *c = &t->call;
	const struct sysdef *def;
	struct user_regs_struct r;

	if (c->state == CALL_ENTERING) {
		rewrite_over(c);
		call_over(c);
		return true;
	}
	if (arch.get(t->tid, &r) < 0)
		return true;
	def = interrupted_row(t, &r);
	if (!def)
		return true;
	if (c->def == def && c->state == CALL_HANDLED && c->has_timeout) {
		/* The kernel never restarts a call that has a timeout (signal(7)). */
		call_drop(c);
		arch.fail(&r, EINTR);
		arch.set(t->tid, &r);
		return true;
	}
	return (c->def == def && !call_interrupted(c)) || start_again(t, &r, sig);
}

static void on_signal(struct task *t, int sig)
{
	hold_delivery(&t->hold, t->tid, sig);
	if (t->tracer->trap != &trap_ptrace && !mend_interrupted(t, sig)) {
		resume(t, 0);
		return;
	}
	job_guest_signal(t->tracer, t->tid, sig);
	resume(t, sig);
}

static void on_death(struct tracer *tr, struct task *t, int status)
{
	if (t->tid == tr->guest && tr->status == GUEST_RUNS)
		tr->status = status;
	task_gone(t);
	sock_check_soon(&tr->socks);
	datagram_check_soon(&tr->datagrams);
}

static void on_group(struct task *t, int sig)
{
	ptrace(PTRACE_LISTEN, t->tid, 0, 0);
	t->stopped = true;
	job_guest_stopped(t->tracer, t->tid, sig);
}

bool ptrace_event(struct tracer *tr, pid_t tid, int status)
{
	enum stop stop = classify(status);
	struct task *t = stop == STOP_DEATH ? task_find(tr, tid) : task_get(tr, tid);

	if (!t)
		return false;
	if (stop != STOP_GROUP)
		t->stopped = false;
	switch (stop) {
	case STOP_DEATH:
		on_death(tr, t, status);
		break;
	case STOP_SECCOMP:
		on_seccomp(t);
		break;
	case STOP_SYSCALL:
		on_syscall(t);
		break;
	case STOP_EXEC:
		on_exec(t);
		break;
	case STOP_GROUP:
		on_group(t, WSTOPSIG(status));
		break;
	case STOP_TRAP:
		on_trap(t);
		break;
	case STOP_SIGNAL:
		on_signal(t, WSTOPSIG(status));
		break;
	case STOP_CHILD:
		on_child(t);
		break;
	}
	return true;
}
