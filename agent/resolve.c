/* Theory of operation. The kernel resolves (openat2(2), RESOLVE_IN_ROOT, Linux 5.6), so that every
 * rule and errno of path_resolution(7) is its own; /proc says afterwards where that has led.
 *
 * What /proc/self/fd says of a file in another mount namespace begins at that namespace's root. A
 * target that was chroot(2)ed has a root further down, whose own name is cut off in front.
 *
 * The capabilities of a target in a user namespace of its own hold in some directories and not in
 * others (creds.h), ours in all or in none. So a path is tried without them. One that is not to be
 * had so is opened with them, and the target may have it if it may search each directory that the
 * path names and each that the result lies in; that of a link in a link is not looked at.
 *
 * A network namespace has no files, and those of this machine are used. One that has a name may
 * have files of its own in /etc/netns/NAME: `ip netns exec` mounts each entry there over the one of
 * that name in /etc (ip-netns(8)), and so they are found there. */
#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util.h"

/* How often a path with ".." is tried while the target is renaming directories (openat2(2)). */
#define RACE_TRIES 64

#define DELETED " (deleted)"

#define ETC "/etc"

bool resolve_take(struct span text, char path[PATH_MAX])
{
	if (text.len > PROTO_FILE_PATH_MAX)
		return false;
	if (text.len) {
		if (*(const char *)text.data != '/' || memchr(text.data, '\0', text.len))
			return false;
		memcpy(path, text.data, text.len);
	}
	path[text.len] = '\0';
	return true;
}

static int open_at(int dir, const char *path, const struct open_how *how)
{
	long fd = -1;

	for (int i = 0; i < RACE_TRIES; i++) {
		fd = syscall(SYS_openat2, dir, path, how, sizeof(*how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

/* What follows /etc in a path of a file that the namespace has for itself; NULL: it is another. */
static const char *in_own_etc(const struct target *t, const char *path)
{
	const char *rest = path + sizeof(ETC);
	char entry[NAME_MAX + 1];
	size_t n;

	if (t->etc < 0 || strncmp(path, ETC "/", sizeof(ETC)) != 0)
		return NULL;
	rest += strspn(rest, "/");
	n = strcspn(rest, "/");
	if (!n || n > NAME_MAX)
		return NULL;
	memcpy(entry, rest, n);
	entry[n] = '\0';
	if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0)
		return NULL;
	return faccessat(t->etc, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? rest : NULL;
}

static int open_from_root(
	const struct target *t, const char *path, uint64_t resolve, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS | (t->root < 0 ? 0 : RESOLVE_IN_ROOT),
	};

	const char *own = in_own_etc(t, path);

	if (own)
		return open_at(t->etc, own, &how);
	return open_at(t->root < 0 ? AT_FDCWD : t->root, path, &how);
}

/* Of what follows the first `base` bytes, if there are any. */
static int open_from(const struct target *t, const char *path, size_t base, uint64_t resolve,
	int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	char dir[PATH_MAX];
	cleanup_fd int fd = -1;

	if (!base)
		return open_from_root(t, path, resolve, flags, mode);
	memcpy(dir, path, base);
	dir[base] = '\0';
	fd = open_from_root(t, dir, 0, O_PATH | O_DIRECTORY, 0);
	return fd < 0 ? fd : open_at(fd, path + base, &how);
}

/* --- a user namespace --- */

/* Whether the target may search the directory that the first n bytes of the path name. If it is
 * none, that is told by who opens the path. */
static bool may_search(const struct target *t, const char *path, size_t n)
{
	cleanup_fd int fd = -1;
	char dir[PATH_MAX];

	memcpy(dir, path, n);
	dir[n] = '\0';
	creds_act_anywhere(&t->creds);
	fd = open_from_root(t, dir, 0, O_PATH | O_DIRECTORY, 0);
	creds_act_on(&t->creds, fd);
	return fd < 0 || faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0;
}

/* The same for all directories in front of the path's last name. */
static bool may_pass(const struct target *t, const char *path)
{
	size_t n = strspn(path, "/");

	while (path[n]) {
		if (!may_search(t, path, n))
			return false;
		n += strcspn(path + n, "/");
		n += strspn(path + n, "/");
	}
	return true;
}

static int look_with_caps(
	const struct target *t, const char *path, size_t base, uint64_t resolve, int flags)
{
	cleanup_fd int fd = -1;
	char name[PATH_MAX];
	ssize_t n;

	if (!base && !may_pass(t, path))
		return -EACCES;
	creds_act_anywhere(&t->creds);
	fd = open_from(t, path, base, resolve, flags, 0);
	n = fd < 0 ? fd : resolve_name(t, fd, name);
	if (n < 0)
		return (int)n;
	return may_pass(t, name) ? take_fd(&fd) : -EACCES;
}

int resolve_open(const struct target *t, const char *path, int flags, mode_t mode)
{
	return resolve_open_from(t, path, 0, 0, flags, mode);
}

int resolve_open_from(const struct target *t, const char *path, size_t base, uint64_t resolve,
	int flags, mode_t mode)
{
	int fd = open_from(t, path, base, resolve, flags, mode);

	if (fd != -EACCES || !(flags & O_PATH) || !t->creds.mapped)
		return fd;
	fd = look_with_caps(t, path, base, resolve, flags);
	creds_act_nowhere(&t->creds);
	return fd;
}

const char *resolve_fd_path(int fd, char path[RESOLVE_FD_PATH])
{
	snprintf(path, RESOLVE_FD_PATH, "/proc/self/fd/%d", fd);
	return path;
}

int resolve_again(int fd, int flags)
{
	char path[RESOLVE_FD_PATH];
	int again = open(resolve_fd_path(fd, path), flags | O_CLOEXEC);

	return again < 0 ? -errno : again;
}

/* --- names --- */

static ssize_t fd_name(int fd, char name[PATH_MAX])
{
	char path[RESOLVE_FD_PATH];
	ssize_t n = readlink(resolve_fd_path(fd, path), name, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	name[n] = '\0';
	return n;
}

/* Whether the name is what the file is called, rather than what the kernel says of a removed one.
 */
static bool is_there(const struct target *t, int fd, const char *path)
{
	cleanup_fd int there = open_from_root(t, path, 0, O_PATH | O_NOFOLLOW, 0);
	struct stat a, b;

	return there >= 0 && fstat(there, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* The part of a name that is beneath the root; NULL: none is, as the root was renamed just then. */
static const char *beneath(const char *name, const char *root, size_t root_len)
{
	if (root_len == 1) /* "/" */
		return name;
	if (strncmp(name, root, root_len) != 0)
		return NULL;
	if (name[root_len] == '\0')
		return "/";
	return name[root_len] == '/' ? name + root_len : NULL;
}

/* What follows /etc in the name of one of the namespace's own files; NULL: it is none. */
static const char *beneath_own_etc(const struct target *t, const char *name)
{
	char etc[PATH_MAX];
	ssize_t n = t->etc < 0 ? -1 : fd_name(t->etc, etc);
	const char *rest = n < 0 ? NULL : beneath(name, etc, (size_t)n);

	return rest && rest[1] ? rest : NULL;
}

ssize_t resolve_name(const struct target *t, int fd, char path[PATH_MAX])
{
	static const size_t deleted = sizeof(DELETED) - 1;
	char name[PATH_MAX], root[PATH_MAX] = "/";
	ssize_t n = fd_name(fd, name), root_len = t->root < 0 ? 1 : fd_name(t->root, root);
	const char *rest, *own;
	size_t len;

	if (n < 0)
		return n;
	if (root_len < 0)
		return root_len;
	rest = beneath(name, root, (size_t)root_len);
	if (!rest)
		return -ENOENT;
	len = strlen(rest);
	if (len > deleted && strcmp(rest + len - deleted, DELETED) == 0 && !is_there(t, fd, rest))
		return -ENOENT;
	own = beneath_own_etc(t, rest);
	return snprintf(path, PATH_MAX, "%s%s", own ? ETC : "", own ? own : rest);
}

/* --- ourselves --- */

/* The numbers of inodes that procfs gives away for good: of its root, and from here on of what is
 * no process's. */
#define PROC_ROOT_INO    1
#define PROC_DYNAMIC_INO 0xf0000000u

static bool is_of_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Cut off what of a file's path is beneath the root of its mount: that root, or -1. */
static int cut_to_mount(const struct target *t, char *path)
{
	for (;;) {
		cleanup_fd int fd = open_from_root(
			t, *path ? path : "/", 0, O_PATH | O_NOFOLLOW, 0);
		struct statx st;

		if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, 0, &st) < 0)
			return -1;
		if (st.stx_attributes & STATX_ATTR_MOUNT_ROOT)
			return take_fd(&fd);
		if (!*path)
			return -1; /* a root by chroot(2), in the midst of a mount */
		*strrchr(path, '/') = '\0';
	}
}

/* Whether `rest`, a path beneath the root of a procfs, leads to the process that it shows as us.
 * The network is the target's all the same. */
static bool leads_to_us(int proc, const char *rest)
{
	char us[32];
	ssize_t n = readlinkat(proc, "self", us, sizeof(us) - 1);
	size_t len = n > 0 ? (size_t)n : 0;

	rest += strspn(rest, "/");
	if (!len || strncmp(rest, us, len) != 0 || (rest[len] && rest[len] != '/'))
		return false;
	return strncmp(rest + len, "/net/", 5) != 0;
}

bool resolve_is_ours(const struct target *t, int fd)
{
	char path[PATH_MAX], mount[PATH_MAX];
	cleanup_fd int root = -1;
	struct stat st;

	if (!is_of_procfs(fd))
		return false;
	if (resolve_name(t, fd, path) < 0)
		return true;
	strcpy(mount, path);
	root = cut_to_mount(t, mount);
	if (root < 0 || fstat(root, &st) < 0)
		return true;
	if (st.st_ino == PROC_ROOT_INO)
		return leads_to_us(root, path + strlen(mount));
	return st.st_ino < PROC_DYNAMIC_INO;
}

/* --- places --- */

/* The name in a path that the calls act upon. */
static const char *last_of(const char *path)
{
	const char *p = path + strlen(path);

	while (p > path && p[-1] == '/')
		p--;
	while (p > path && p[-1] != '/')
		p--;
	return p;
}

/* dir's canonical path becomes that of the name in it. */
static int append_last(struct place *p, size_t len)
{
	size_t n = strcspn(p->last, "/");

	if (len == 1)
		len = 0; /* "/" */
	if (len + 1 + n >= PATH_MAX)
		return -ENAMETOOLONG;
	p->path[len] = '/';
	memcpy(p->path + len + 1, p->last, n);
	p->path[len + 1 + n] = '\0';
	return 0;
}

int resolve_place(const struct target *t, const char *path, struct place *p)
{
	const char *last = last_of(path);
	char parent[PATH_MAX];
	cleanup_fd int dir = -1;
	ssize_t n;
	int r;

	if (!*path)
		return -ENOENT;
	snprintf(parent, sizeof(parent), "%.*s", (int)(last - path), path);
	/* Nothing but slashes: the calls themselves say what is wrong with a root. */
	p->last = *last && *last != '/' ? last : "/";
	dir = resolve_open(t, *parent ? parent : "/", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return dir;
	n = resolve_name(t, dir, p->path);
	r = n < 0 ? (int)n : append_last(p, (size_t)n);
	if (r < 0)
		return r;
	p->dir = take_fd(&dir);
	return 0;
}
