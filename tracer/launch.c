/* The child: waits until it is traced, installs the filter, shows the listener's number and waits
 * until we have a duplicate of it, executes the program. It ends by itself when we do before it is
 * traced, as its pipe closes. */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter.h"
#include "job.h"
#include "probe.h"
#include "task.h"
#include "tracer.h"
#include "trap_notify.h"
#include "trap_ptrace.h"
#include "util.h"

/* What the child reports, once for each step. */
struct report {
	int listener; /* of the filter, a number in the child; or -errno */
	int exec_errno;
};

static int is_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return access(path, X_OK) < 0 ? -errno : 0;
}

int launch_search(const char *program, char path[static PATH_MAX])
{
	const char *dir = getenv("PATH");
	int found = -ENOENT;

	if (!dir)
		dir = "/bin:/usr/bin";
	for (;;) {
		size_t n = strcspn(dir, ":");
		int r;

		snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, dir, n ? "/" : "./", program);
		r = is_executable(path);
		if (r == 0)
			return 0;
		if (r == -EACCES)
			found = r;
		if (!dir[n])
			return found;
		dir += n + 1;
	}
}

int launch_find(const char *program, struct err *e)
{
	char path[PATH_MAX];
	int r = !*program              ? -ENOENT
		: strchr(program, '/') ? is_executable(program)
				       : launch_search(program, path);

	if (r == 0)
		return 0;
	err_set(e, r, "'%s' cannot be executed: %s", program, strerror(-r));
	return r == -ENOENT ? 127 : 126;
}

/* --- the child --- */

static void child_wait(int sock)
{
	char go;

	if (read(sock, &go, 1) != 1)
		_exit(EXIT_OURS);
}

static void child_report(int sock, struct report r)
{
	if (write(sock, &r, sizeof(r)) != sizeof(r))
		_exit(EXIT_OURS);
}

static int child_filter(const struct sock_fprog *program, bool notify)
{
	unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW |
			 (notify ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
	long r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
	return r < 0 ? -errno : (int)r;
}

static void child(const struct tracer *tr, int sock, const struct sock_fprog *program, bool notify,
	const struct job_signals *inherited, const struct rlimit *files)
{
	struct report r = { .listener = -1 };

	child_wait(sock);
	setrlimit(RLIMIT_NOFILE, files);
	r.listener = child_filter(program, notify);
	child_report(sock, r);
	child_wait(sock);
	if (notify)
		close(r.listener);
	/* Not before: the stop of a signal is served only now. */
	job_restore(inherited);
	execvpe(tr->cfg->argv[0], tr->cfg->argv, tr->env);
	r.exec_errno = errno;
	child_report(sock, r);
	_exit(127);
}

/* --- the parent --- */

static void report_event(struct watch *w, uint32_t events)
{
	struct tracer *tr = container_of(w, struct tracer, report);
	int fd = w->fd;
	struct report r;

	(void)events;
	if (read(fd, &r, sizeof(r)) == sizeof(r))
		tr->exec_errno = r.exec_errno;
	loop_del(&tr->loop, w);
	close_fd(&fd);
}

static int take_listener(struct tracer *tr, int number)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, tr->guest, 0);
	cleanup_fd int listener = -1;
	int r;

	if (pidfd < 0)
		return -errno;
	listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (listener < 0)
		return -errno;
	if (!probe_addfd_send(listener))
		return -EOPNOTSUPP;
	r = notify_start(tr, listener);
	if (r == 0)
		listener = -1;
	return r;
}

/* Lead the child through its steps. 0 or -errno. */
static int lead(struct tracer *tr, int sock, bool notify, struct err *e)
{
	struct report report;
	int r = ptrace_attach(tr->guest);

	if (r < 0)
		return err_set(e, r,
			"the program cannot be traced: %s; see kernel.yama.ptrace_scope, and in a "
			"container the capability SYS_PTRACE",
			strerror(-r));
	if (write(sock, "", 1) != 1 || read(sock, &report, sizeof(report)) != sizeof(report))
		return err_set(e, -EPIPE, "the program's process ended before it began");
	if (report.listener < 0)
		return err_set(e, report.listener, "the seccomp filter was refused: %s",
			strerror(-report.listener));
	r = notify ? take_listener(tr, report.listener) : 0;
	if (r < 0)
		return err_set(e, r, "user notification does not work here: %s", strerror(-r));
	if (!task_get(tr, tr->guest))
		return err_set(e, -ENOMEM, "no memory");
	r = loop_add(&tr->loop, &tr->report, sock, EPOLLIN, report_event);
	if (r < 0 || write(sock, "", 1) != 1)
		return err_set(e, -EPIPE, "the program's process ended before it began");
	return 0;
}

static void kill_child(struct tracer *tr)
{
	int fd = tr->listener.fd, status;

	struct task *t = task_find(tr, tr->guest);

	kill(tr->guest, SIGKILL);
	while (waitpid(tr->guest, &status, __WALL) == tr->guest && WIFSTOPPED(status))
		;
	if (t)
		task_gone(t);
	loop_del(&tr->loop, &tr->report);
	loop_del(&tr->loop, &tr->listener);
	close_fd(&fd);
}

/* The guest has the limit on files that we were given; ours is what it can be. */
static void raise_file_limit(struct rlimit *old)
{
	struct rlimit most;

	getrlimit(RLIMIT_NOFILE, old);
	most = *old;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
}

/* What we were started with is the guest's: it must be the guest who keeps it open. Ours are
 * CLOEXEC. */
static void let_go_of_guests_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			close(fd);
	}
	if (dir)
		closedir(dir);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
}

static int launch_with(
	struct tracer *tr, bool notify, const struct job_signals *inherited, struct err *e)
{
	struct sock_fprog program = { 0 };
	struct rlimit files;
	int pair[2], r;

	r = filter_build(tr->cfg, notify, &program);
	if (r < 0)
		return err_set(e, r, "libseccomp cannot make the filter: %s", strerror(-r));
	tr->trap = notify ? &trap_notify : &trap_ptrace;
	raise_file_limit(&files);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		tr->guest = -1;
	else
		tr->guest = fork();
	if (tr->guest == 0) {
		close(pair[0]);
		child(tr, pair[1], &program, notify, inherited, &files);
	}
	r = tr->guest < 0 ? err_set(e, -errno, "no process for the program: %s", strerror(errno))
			  : 0;
	free(program.filter);
	if (r < 0)
		return r;
	close(pair[1]);
	r = lead(tr, pair[0], notify, e);
	if (r < 0) {
		kill_child(tr);
		close(pair[0]);
		return r;
	}
	let_go_of_guests_files();
	return 0;
}

int launch(struct tracer *tr, struct err *e)
{
	struct job_signals inherited;
	int r;

	r = job_start(tr, &inherited);
	if (r < 0)
		return err_set(e, r, "signals cannot be read: %s", strerror(-r));
	if (tr->cfg->engine == ENGINE_AUTO && probe_user_notif()) {
		r = launch_with(tr, true, &inherited, e);
		/* EBUSY: whoever confines us holds the one listener a filter chain may have. */
		if (r != -EBUSY && r != -EOPNOTSUPP && r != -EINVAL)
			return r;
		log_dbg("%s: falling back to stops alone", e->text);
	}
	return launch_with(tr, false, &inherited, e);
}
