/* Theory of operation. The guest is in our process group: what the terminal sends (Ctrl-C, Ctrl-Z,
 * a hang-up) reaches it without us, and we only must not die of it. What somebody sends to us
 * alone, as timeout(1) or a service manager does, is passed on. kill(2) of a whole group looks the
 * same to us as kill(2) of us alone; but then the guest has the signal from the same sender
 * already, pending or just delivered, and it is not sent a second time.
 *
 * When the terminal stops the group, the shell waits for us, its child, to stop as well: we do once
 * the guest has, with the same signal, and go on with the group's SIGCONT. */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "procfs.h"
#include "task.h"
#include "tracer.h"
#include "trap_ptrace.h"

/* A signal of a group reaches all its members in one go: later than this it is another signal. */
#define SAME_SIGNAL_MS 1000

#define WAKER_MS 20 /* often enough for a person */

/* Not passed on: what cannot be, what is ours, and what only a program's own doing causes. */
static const int kept[] = { SIGKILL, SIGSTOP, SIGCHLD, SIGPIPE, SIGXFSZ, SIGSEGV, SIGBUS, SIGFPE,
	SIGILL, SIGTRAP, SIGSYS };

/* What a terminal sends to the whole group. */
static const int of_terminal[] = { SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
	SIGCONT };

/* The last signal of each kind that the guest was given by a process, and when. */
static struct {
	pid_t sender;
	uint64_t at_ns;
} given[NSIG];

void job_guest_signal(struct tracer *tr, pid_t tid, int sig)
{
	siginfo_t si;

	if (tid != tr->guest || sig >= NSIG || ptrace(PTRACE_GETSIGINFO, tid, 0, &si) < 0)
		return;
	given[sig].sender = si.si_code <= SI_USER ? si.si_pid : 0; /* not the kernel */
	given[sig].at_ns = now_ns();
}

/* SigPnd or ShdPnd of proc(5) has the signal. */
static bool is_pending(pid_t pid, int sig)
{
	unsigned long long thread, shared;

	return procfs_status(pid, "SigPnd", 16, &thread) &&
	       procfs_status(pid, "ShdPnd", 16, &shared) && (thread | shared) >> (sig - 1) & 1;
}

static bool has_it_already(const struct tracer *tr, int sig, pid_t sender)
{
	if (given[sig].sender == sender && is_within(given[sig].at_ns, SAME_SIGNAL_MS)) {
		given[sig].sender = 0;
		return true;
	}
	return is_pending(tr->guest, sig);
}

void job_kill(struct tracer *tr, int sig)
{
	if (tr->status == GUEST_RUNS) {
		kill(tr->guest, sig);
		return;
	}
	htab_for_each (n, &tr->tasks) {
		struct proc *p = task_proc(tr, container_of(n, struct task, node));

		if (p)
			kill(p->tgid, sig);
	}
}

static bool is_in(const int *set, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++) {
		if (set[i] == sig)
			return true;
	}
	return false;
}

static void pass_on(struct tracer *tr, const struct signalfd_siginfo *si)
{
	int sig = (int)si->ssi_signo;

	if (si->ssi_code == SI_KERNEL && is_in(of_terminal, ARRAY_SIZE(of_terminal), sig))
		return; /* the guest has its own */
	if (tr->status != GUEST_RUNS || !has_it_already(tr, sig, (pid_t)si->ssi_pid))
		job_kill(tr, sig);
}

/* A process that continues us once something has happened to the guest: a SIGCHLD waits for us, or
 * one of its calls does. */
static pid_t start_waker(const struct tracer *tr)
{
	struct pollfd p = { .fd = tr->listener.fd, .events = POLLIN };
	pid_t us = getpid(), pid = fork();

	if (pid)
		return pid;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == us && poll(&p, 1, WAKER_MS) == 0 && !is_pending(us, SIGCHLD))
		;
	kill(us, SIGCONT);
	_exit(0);
}

static void stop_like(int sig)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	raise(sig); /* pending while it is blocked, and nobody handles it: unblocking stops us */
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
}

static void stop_if_wanted(struct tracer *tr)
{
	struct task *t = task_find(tr, tr->guest);
	int sig = tr->stop_signal;

	if (!sig || !t || !t->stopped)
		return;
	tr->stop_signal = 0;
	stop_like(sig);
}

void job_guest_stopped(struct tracer *tr, pid_t tid, int sig)
{
	pid_t waker;

	if (tid != tr->guest)
		return;
	if (tr->stop_signal || given[sig].sender != tr->guest) {
		stop_if_wanted(tr);
		return;
	}
	given[sig].sender = 0;
	waker = start_waker(tr);
	stop_like(sig);
	if (waker > 0)
		kill(waker, SIGKILL);
}

static void reap(struct tracer *tr)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (!ptrace_event(tr, pid, status))
			link_child_ended(&tr->link, pid, status);
	}
	if (tr->status != GUEST_RUNS && pid < 0 && errno == ECHILD)
		tr->loop.stop = true;
	if (tr->status != GUEST_RUNS && !tr->tasks.count)
		tr->loop.stop = true;
}

static void signals_event(struct watch *w, uint32_t events)
{
	struct tracer *tr = container_of(w, struct tracer, signals);
	struct signalfd_siginfo si[16];
	ssize_t n = read(w->fd, si, sizeof(si));

	(void)events;
	reap(tr);
	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(si[0]); i++) {
		int sig = (int)si[i].ssi_signo;

		if (sig == SIGCHLD)
			continue;
		if (sig == SIGCONT)
			tr->stop_signal = 0;
		else if (sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			tr->stop_signal = sig;
		pass_on(tr, &si[i]);
	}
	stop_if_wanted(tr);
}

int job_start(struct tracer *tr, struct job_signals *inherited)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t set;
	int fd, r;

	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		sigdelset(&set, kept[i]);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* A peer that closes its end, and a file that is too large, are errors of write(2), no
	 * more. */
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &set, &inherited->mask);
	sigaction(SIGCHLD, &by_default, &inherited->child);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	r = loop_add(&tr->loop, &tr->signals, fd, EPOLLIN, signals_event);
	if (r < 0)
		close(fd);
	return r;
}

void job_restore(const struct job_signals *inherited)
{
	sigaction(SIGCHLD, &inherited->child, NULL);
	sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
}

noreturn void job_end(int status)
{
	struct rlimit none = { 0, 0 };
	sigset_t one;
	int sig;

	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	sig = WTERMSIG(status);
	/* The guest's core is the one that is wanted; a piped core_pattern(5) does not ask the
	 * limit. */
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	signal(sig, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	exit(128 + sig); /* a signal that we survive, such as one ignored for an orphaned group */
}
