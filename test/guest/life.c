/* life: threads, processes, programs and signals, one case by name; prints what a program can see.
 *
 * It must print and return the same natively and under the supervisor. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static volatile int *volatile nowhere = (int *)8;

static void print_status(const char *what, int status)
{
	if (WIFEXITED(status))
		printf("%s: exited %d\n", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		printf("%s: killed by %d\n", what, WTERMSIG(status));
	else if (WIFSTOPPED(status))
		printf("%s: stopped by %d\n", what, WSTOPSIG(status));
	else if (WIFCONTINUED(status))
		printf("%s: continued\n", what);
}

static void wait_for(const char *what, pid_t pid, int flags)
{
	int status = 0;

	if (waitpid(pid, &status, flags) != pid)
		printf("%s: no such child, errno %d\n", what, errno);
	else
		print_status(what, status);
}

/* A call that is in the table of every configuration: a child that makes it is really covered. */
static bool touch(void)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool fine = fd >= 0 && getsockname(fd, (void *)&ss, &len) == 0 && ss.ss_family == AF_INET;

	close(fd);
	return fine;
}

static void *touch_thread(void *arg)
{
	for (int i = 0; i < 50; i++)
		if (!touch())
			*(int *)arg += 1;
	return NULL;
}

static void do_threads(void)
{
	pthread_t threads[16];
	int bad[16] = { 0 }, sum = 0;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 16; i++)
			pthread_create(&threads[i], NULL, touch_thread, &bad[i]);
		for (int i = 0; i < 16; i++)
			pthread_join(threads[i], NULL);
	}
	for (int i = 0; i < 16; i++)
		sum += bad[i];
	printf("threads: %d bad calls\n", sum);
}

static void do_forks(void)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	} args = { .exit_signal = SIGCHLD };
	pid_t pid = fork();

	if (pid == 0) {
		pid = fork(); /* a grandchild too */
		if (pid == 0)
			_exit(touch() ? 11 : 1);
		wait_for("grandchild", pid, 0);
		fflush(stdout);
		_exit(touch() ? 12 : 1);
	}
	wait_for("fork", pid, 0);
	pid = vfork();
	if (pid == 0)
		_exit(touch() ? 13 : 1);
	wait_for("vfork", pid, 0);
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		_exit(touch() ? 14 : 1);
	wait_for("clone3", pid, 0);
	for (int i = 0; i < 200; i++) {
		pid = fork();
		if (pid == 0)
			_exit(touch() ? 0 : 1);
		int status = -1;
		if (waitpid(pid, &status, 0) != pid || status != 0)
			printf("fork %d: status %x\n", i, (unsigned)status);
	}
}

static void *exec_thread(void *arg)
{
	execl("/proc/self/exe", "life", "after-exec", (char *)NULL);
	return arg;
}

static void *sleep_thread(void *arg)
{
	while (!arg)
		pause();
	return NULL;
}

/* exec from a thread that is not the leader, with others asleep: one process is left, same pid. */
static void do_exec_from_thread(void)
{
	pthread_t thread;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LIFE_PID", pid, 1);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, sleep_thread, NULL);
	pthread_create(&thread, NULL, exec_thread, NULL);
	sleep_thread(NULL);
}

static void do_after_exec(void)
{
	const char *pid = getenv("LIFE_PID");

	printf("after exec: %s pid, %s\n", pid && atoi(pid) == getpid() ? "same" : "another",
		touch() ? "covered" : "not covered");
}

/* The leader ends first; the process lives until its last thread does. */
static void *last_thread(void *arg)
{
	(void)arg;
	usleep(20000);
	printf("the last thread: %d\n", touch());
	fflush(stdout);
	_exit(21);
}

static void do_leader_exits(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, last_thread, NULL);
	pthread_exit(NULL);
}

static void do_children_status(void)
{
	static const int statuses[] = { 0, 3, 255 };
	static const int signals[] = { SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGINT };
	struct rlimit none = { 0 };
	pid_t pid;

	setrlimit(RLIMIT_CORE, &none);
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		pid = fork();
		if (pid == 0)
			_exit(statuses[i]);
		wait_for("child", pid, 0);
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		pid = fork();
		if (pid == 0) {
			kill(getpid(), signals[i]);
			_exit(1);
		}
		wait_for("child", pid, 0);
	}
	pid = fork();
	if (pid == 0)
		*nowhere = 1;
	wait_for("child", pid, 0);
}

/* Job control as a shell sees it: a child, and a grandchild of which the child tells. */
static void do_jobs(void)
{
	pid_t pid = fork(), inner;
	int status;

	if (pid == 0) {
		inner = fork();
		if (inner == 0) {
			raise(SIGTSTP);
			raise(SIGSTOP);
			_exit(touch() ? 5 : 1);
		}
		wait_for("grandchild", inner, WUNTRACED);
		kill(inner, SIGCONT);
		while (waitpid(inner, &status, WUNTRACED | WCONTINUED) == inner &&
			!WIFEXITED(status)) {
			/* SIGCONT discards a stop that is not there yet: only stops count. */
			if (WIFSTOPPED(status)) {
				print_status("grandchild", status);
				kill(inner, SIGCONT);
			}
		}
		print_status("grandchild", status);
		fflush(stdout);
		raise(SIGSTOP);
		sleep_thread(NULL);
	}
	wait_for("child", pid, WUNTRACED);
	kill(pid, SIGCONT);
	wait_for("child", pid, WCONTINUED);
	kill(pid, SIGTERM);
	wait_for("child", pid, 0);
	pid = fork();
	if (pid == 0)
		sleep_thread(NULL);
	kill(pid, SIGSTOP);
	wait_for("sleeper", pid, WUNTRACED);
	kill(pid, SIGCONT);
	wait_for("sleeper", pid, WCONTINUED);
	kill(pid, SIGSTOP);
	wait_for("sleeper", pid, WUNTRACED);
	kill(pid, SIGKILL);
	wait_for("sleeper", pid, 0);
}

static void do_stop(void)
{
	raise(SIGSTOP);
	printf("goes on\n");
	raise(SIGTSTP);
	printf("goes on again\n");
	fflush(stdout);
	raise(SIGTERM);
}

/* watch PROGRAM...: what a shell would see of it. */
static void watch(char **argv)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0); /* a job of its own, not an orphaned group: SIGTSTP stops it */
		execv(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, WUNTRACED) == pid) {
		print_status("job", status);
		fflush(stdout);
		if (!WIFSTOPPED(status))
			return;
		kill(-pid, SIGCONT);
	}
}

/* What a program gets from whom started it. */
static void do_inherit(void)
{
	struct sigaction sa;
	struct rlimit rl;
	sigset_t mask;
	struct stat st;
	char name[64];

	for (int fd = 0; fd < 256; fd++)
		if (fstat(fd, &st) == 0)
			printf("fd %d type %o\n", fd, st.st_mode & S_IFMT);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int sig = 1; sig < 32; sig++) {
		sigaction(sig, NULL, &sa);
		if (sa.sa_handler != SIG_DFL || sigismember(&mask, sig))
			printf("signal %d %s%s\n", sig, sa.sa_handler == SIG_IGN ? "ignored " : "",
				sigismember(&mask, sig) ? "blocked" : "");
	}
	getrlimit(RLIMIT_NOFILE, &rl);
	printf("files %llu %llu\n", (unsigned long long)rl.rlim_cur,
		(unsigned long long)rl.rlim_max);
	getrlimit(RLIMIT_CORE, &rl);
	printf("core %llu\n", (unsigned long long)rl.rlim_cur);
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "_=", 2) != 0) /* a shell's: what it started */
			printf("env %s\n", *e);
	printf("cwd %s umask %o nice %d\n", getcwd(name, sizeof(name)), umask(0),
		getpriority(PRIO_PROCESS, 0));
	printf("group %d session %d\n", getpgrp(), getsid(0));
}

/* Fixed answers; under the supervisor only. */
static void do_fixed(void)
{
	char params[256] = { 0 };

	printf("io_uring_setup: %s\n",
		syscall(SYS_io_uring_setup, 8, params) < 0 && errno == ENOSYS ? "ENOSYS" : "?");
	printf("mptcp: %s\n",
		socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) < 0 && errno == EPROTONOSUPPORT
			? "EPROTONOSUPPORT"
			: "?");
}

/* A 32-bit call out of a 64-bit program. */
static void do_foreign(void)
{
#ifdef __x86_64__
	long result = 20; /* getpid of i386 */

	__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
	printf("getpid by int 0x80: %s\n", result == getpid() ? "right" : "wrong");
#endif
	printf("64 bits after it: %s\n", touch() ? "right" : "wrong");
}

static void do_term(void)
{
	raise(SIGTERM);
}

static void do_kill(void)
{
	raise(SIGKILL);
}

static void do_segv(void)
{
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	*nowhere = 1;
}

static void do_abort(void)
{
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	abort();
}

/* An orphan goes on after the program that was started has ended; a pipe says when. */
static void do_orphan(void)
{
	printf("the parent ends\n");
	fflush(stdout);
	if (fork() == 0) {
		usleep(100000);
		printf("the orphan: %d\n", touch());
		exit(9);
	}
	exit(4);
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
	{ "threads", do_threads },
	{ "forks", do_forks },
	{ "exec-from-thread", do_exec_from_thread },
	{ "after-exec", do_after_exec },
	{ "leader-exits", do_leader_exits },
	{ "children-status", do_children_status },
	{ "jobs", do_jobs },
	{ "stop", do_stop },
	{ "inherit", do_inherit },
	{ "fixed", do_fixed },
	{ "foreign", do_foreign },
	{ "term", do_term },
	{ "kill", do_kill },
	{ "segv", do_segv },
	{ "abort", do_abort },
	{ "orphan", do_orphan },
};

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "watch") == 0) {
		watch(argv + 2);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].fn();
			return argc > 2 ? atoi(argv[2]) : 0;
		}
	fprintf(stderr, "life: which case?\n");
	return 2;
}
