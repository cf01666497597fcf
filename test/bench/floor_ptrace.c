/* The cheapest supervisor by ptrace stops: every trapped call is told to go on. */
#include "floor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>

#define OPTIONS                                                                                    \
	(PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |  \
		PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)

static void run_guest(const struct floor *f)
{
	raise(SIGSTOP);
	if (floor_filter(f, SECCOMP_RET_TRACE, 0) < 0)
		err(125, "seccomp");
	execvp(f->argv[0], f->argv);
	err(127, "%s", f->argv[0]);
}

static void look(pid_t tid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0)
		floor_read(tid, info.seccomp.args[1]);
}

static bool is_group_stop(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

static void resume(const struct floor *f, pid_t tid, int status)
{
	int sig = WSTOPSIG(status);

	switch (status >> 16) {
	case PTRACE_EVENT_SECCOMP:
		if (f->read)
			look(tid);
		ptrace(PTRACE_CONT, tid, 0, 0);
		break;
	case PTRACE_EVENT_STOP:
		ptrace(is_group_stop(sig) ? PTRACE_LISTEN : PTRACE_CONT, tid, 0, 0);
		break;
	case 0:
		ptrace(PTRACE_CONT, tid, 0, (unsigned long)sig);
		break;
	default:
		ptrace(PTRACE_CONT, tid, 0, 0);
	}
}

/* Until no tracee is left; the status of the first. */
static int serve(const struct floor *f, pid_t guest)
{
	int status, end = 0;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (tid < 0)
			continue;
		if (WIFSTOPPED(status))
			resume(f, tid, status);
		else if (tid == guest)
			end = status;
	}
	return end;
}

int main(int argc, char **argv)
{
	struct floor f;
	pid_t guest;
	int status;

	floor_parse(&f, argc, argv);
	guest = fork();
	if (guest < 0)
		err(125, "fork");
	if (guest == 0)
		run_guest(&f);
	if (waitpid(guest, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		errx(125, "the guest did not start");
	if (ptrace(PTRACE_SEIZE, guest, 0, OPTIONS) < 0)
		err(125, "ptrace");
	kill(guest, SIGCONT);
	return floor_status(serve(&f, guest));
}
