/* A target's root for fuzzing: in a file system that is mounted nowhere, with links of all kinds
 * and, beside it, a file that none of them may lead to. Nothing else of this machine can be written
 * to meanwhile, but for what the fuzzer itself writes. */
#ifndef FUZZ_ROOT_H
#define FUZZ_ROOT_H

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "util.h"

/* Where runs and their corpus are kept; the rest of the machine is read-only. */
#define FUZZ_DIR "build/fuzz"

/* Each byte of an input is one of these, or itself. */
static const char *const tokens[] = { "/", "/", "/", "//", "/.", "/..", "/../", "/d", "/d/e", "/f",
	"/abs", "/rel", "/up", "/out", "/loop", "/long", "/dangling", "/x (deleted)", "/fifo",
	"/closed/", "/ab/", "/self", "/no", "f", "e", "." };

static void check(bool ok, const char *what)
{
	if (!ok)
		err(1, "%s", what);
}

__attribute__((noinline)) static void require(bool ok)
{
	if (!ok)
		abort();
}

static void put_line(const char *path, const char *line)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	check(fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line), path);
}

/* With the right to mount; who is not root is the same in a user namespace of his own. */
static void leave_namespaces(void)
{
	uid_t uid = geteuid();
	char users[32], groups[32];

	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", getegid(), getegid());
	check(unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) == 0, "unshare");
	if (!uid)
		return;
	put_line("/proc/self/uid_map", users);
	put_line("/proc/self/setgroups", "deny");
	put_line("/proc/self/gid_map", groups);
}

/* Once, before anything is open for writing. */
static void protect_machine(void)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE };
	cleanup_fd int own = -1;

	leave_namespaces();
	own = open_tree(AT_FDCWD, FUZZ_DIR, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	check(mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &readonly, sizeof(readonly)) == 0,
		"mount_setattr");
	check(own < 0 || move_mount(own, "", AT_FDCWD, FUZZ_DIR, MOVE_MOUNT_F_EMPTY_PATH) == 0,
		"move_mount");
}

/* A new file system of a bounded size; it goes with its last descriptor, which is the caller's. */
static int make_fs(void)
{
	cleanup_fd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int mnt;

	check(fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "size", "1m", 0) == 0 &&
			fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "512", 0) == 0 &&
			fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0,
		"tmpfs");
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
	check(mnt >= 0, "fsmount");
	return mnt;
}

static void make_links(int root)
{
	static const char *const links[][2] = { { "abs", "/d/e" }, { "rel", "d/../d" },
		{ "up", "../../../../d/f" }, { "out", "../outside" }, { "d/out", "/../outside" },
		{ "d/e/out", "../../../outside" }, { "loop", "loop2" }, { "loop2", "loop/" },
		{ "long", "d/e/../../abs/../../abs/../../long2" }, { "long2", "rel/rel2/f" },
		{ "d/rel2", "e/.." }, { "dangling", "/nowhere" }, { "self", "." },
		{ "d/abs", "/abs/" }, { "ab", "/../../self/self/d/e/../" } };

	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		check(symlinkat(links[i][1], root, links[i][0]) == 0, links[i][0]);
}

/* "root" and "outside" in it; the root's descriptor, which is the caller's. */
static int make_root(int fs)
{
	int root;

	check(mkdirat(fs, "root", 0755) == 0 && mknodat(fs, "outside", S_IFREG | 0600, 0) == 0,
		"outside");
	root = openat(fs, "root", O_PATH | O_CLOEXEC);
	check(root >= 0 && mkdirat(root, "d", 0755) == 0 && mkdirat(root, "d/e", 0755) == 0 &&
			mkdirat(root, "closed", 0) == 0 &&
			mknodat(root, "f", S_IFREG | 0600, 0) == 0 &&
			mknodat(root, "d/f", S_IFREG | 0600, 0) == 0 &&
			mknodat(root, "d/e/x (deleted)", S_IFREG | 0600, 0) == 0 &&
			mknodat(root, "fifo", S_IFIFO | 0600, 0) == 0,
		"files");
	make_links(root);
	return root;
}

static bool is_canonical(const char *path)
{
	size_t n = strlen(path);

	return path[0] == '/' && !strstr(path, "//") && !strstr(path, "/./") &&
	       !strstr(path, "/../") && (n == 1 || path[n - 1] != '/') &&
	       (n < 2 || strcmp(path + n - 2, "/.") != 0) &&
	       (n < 3 || strcmp(path + n - 3, "/..") != 0);
}

#endif
