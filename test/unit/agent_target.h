/* A target made for a test: a process that waits, as whoever it is to be; and a directory for it.
 */
#ifndef TEST_AGENT_TARGET_H
#define TEST_AGENT_TARGET_H

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "unit.h"

/* What the process is, besides what we are. */
struct who {
	uid_t uid;
	gid_t gid;
	gid_t group;       /* supplementary; 0: none */
	bool without_caps; /* root as it is in many containers */
	bool user_namespace;
	const char *map;      /* of its ids; then it is its root */
	const char *root;     /* NULL: ours */
	const char *hostname; /* in a UTS namespace of its own; NULL: ours */
};

/* Root of a user namespace, as soon as `peer` has written its map. */
static bool become_root(const struct who *w, int peer)
{
	char c = 0;

	if (!w->map)
		return true;
	return unshare(CLONE_NEWUSER) == 0 && write(peer, &c, 1) == 1 && read(peer, &c, 1) == 1 &&
	       setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0;
}

static void write_map(pid_t pid, const char *name, const char *map)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, map, strlen(map)), strlen(map));
	close(fd);
}

static bool become(const struct who *w, int peer)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	return (!w->hostname || (unshare(CLONE_NEWUTS) == 0 &&
					sethostname(w->hostname, strlen(w->hostname)) == 0)) &&
	       (!w->root || (chroot(w->root) == 0 && chdir("/") == 0)) &&
	       setgroups(w->group != 0, &w->group) == 0 && setresgid(w->gid, w->gid, w->gid) == 0 &&
	       setresuid(w->uid, w->uid, w->uid) == 0 &&
	       (!w->user_namespace || unshare(CLONE_NEWUSER) == 0) && become_root(w, peer) &&
	       (!w->without_caps || syscall(SYS_capset, &header, none) == 0);
}

/* The process; it ends with us, or by target_end(). */
__attribute__((unused)) static pid_t target_begin(const struct who *w)
{
	int ready[2];
	char c = 0;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		c = become(w, ready[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(ready[1], &c, 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (w->map) {
		assert_int_equal(read(ready[0], &c, 1), 1);
		write_map(pid, "uid_map", w->map);
		write_map(pid, "gid_map", w->map);
		assert_int_equal(write(ready[0], &c, 1), 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_true(c);
	close(ready[0]);
	return pid;
}

__attribute__((unused)) static void target_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* target_use() - as the agent does; in a process of its own, since groups are taken for good. */
__attribute__((unused)) static void target_use(struct target *t, pid_t pid)
{
	char spec[32];
	struct err e;

	snprintf(spec, sizeof(spec), "pid:%d", pid);
	if (target_find(t, spec, &e) < 0)
		fail_msg("%s", e.text);
	close_fd(&t->netns);
	creds_adopt(&t->creds);
}

/* --- files --- */

static char dir_path[64]; /* absolute */
static int dir;

__attribute__((unused)) static int dir_begin(void **state)
{
	(void)state;
	strcpy(dir_path, "/tmp/mirrord-trace-agent-XXXXXX");
	umask(0);
	if (!mkdtemp(dir_path) || chmod(dir_path, 0755) < 0)
		return -1;
	dir = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

__attribute__((unused)) static int dir_end(void **state)
{
	char command[128];

	(void)state;
	close_fd(&dir);
	snprintf(command, sizeof(command), "rm -rf %s", dir_path);
	return system(command);
}

__attribute__((unused)) static void dir_file(
	const char *name, const char *content, uid_t uid, gid_t gid, mode_t mode)
{
	cleanup_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t n = strlen(content);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, n), n);
	assert_int_equal(fchown(fd, uid, gid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

#endif
