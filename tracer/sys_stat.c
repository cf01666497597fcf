/* Calls that ask about a file without opening it. The agent says what is there, the copy in the
 * tree is made to look like it, and the kernel is asked about the copy: so that what stat(2) tells
 * of a path and fstat(2) of a descriptor is the same. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "fs.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* The longest name of an attribute, and its zero byte. */
#define XATTR_SIZE (XATTR_NAME_MAX + 1)

/* What a call asks, in the form of its newest variant. */
struct question {
	enum file_op op;
	uint64_t dirfd, path; /* the arguments */
	int flags;            /* AT_* */
	unsigned mask;        /* of statx, or access's mode */
	uint64_t name;        /* of an attribute */
	uint64_t to, size;    /* where the answer goes */
	bool is_statx, is_link;
};

struct asking {
	struct fs_wait wait;
	struct question q;
};

/* --- answers --- */

static int64_t give(const struct call *c, uint64_t to, const void *p, size_t n)
{
	return mem_write(c->task->tid, to, p, n);
}

/* The kernel's own structs, which may differ from the C library's. */
static int64_t stat_at(
	const struct call *c, const struct question *q, int dirfd, const char *path, int flags)
{
	union {
		struct statx x;
		struct stat s;
		char room[512];
	} buf;
	size_t n = q->is_statx ? sizeof(buf.x) : sizeof(buf.s);
	long r;

	memset(&buf, 0, sizeof(buf));
	if (q->is_statx)
		r = syscall(SYS_statx, dirfd, path, flags, q->mask, &buf);
	else
		r = syscall(SYS_newfstatat, dirfd, path, &buf, flags);
	return r < 0 ? -errno : give(c, q->to, &buf, n);
}

static int64_t give_link(const struct call *c, const struct question *q, const char *text, size_t n)
{
	size_t len = MIN(n, (size_t)q->size);
	int64_t r = (int)q->size <= 0 ? -EINVAL : give(c, q->to, text, len);

	return r < 0 ? r : (int64_t)len;
}

static int64_t answer_from_copy(const struct call *c, const struct question *q, int fd)
{
	char text[PATH_MAX];
	ssize_t n;

	if (!q->is_link)
		return stat_at(c, q, fd, "", (q->flags & ~AT_SYMLINK_NOFOLLOW) | AT_EMPTY_PATH);
	n = readlinkat(fd, "", text, sizeof(text));
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno; /* it is another file */
	return give_link(c, q, text, (size_t)n);
}

static int64_t answer_stat(
	const struct call *c, const struct question *q, const struct remote_found *found)
{
	cleanup_fd int fd = fs_put(&c->tracer->fs, found, NULL);

	return fd < 0 ? fd : answer_from_copy(c, q, fd);
}

static int64_t answer_access(
	const struct call *c, const struct question *q, const struct remote_found *found)
{
	(void)c;
	(void)q;
	(void)found;
	return 0;
}

static int64_t answer_statfs(
	const struct call *c, const struct question *q, const struct remote_found *found)
{
	const uint8_t *p = (const uint8_t *)found->more;
	struct reader r = { p, p + found->more_len, false };
	struct statfs s = { 0 };
	uint64_t id;

	s.f_type = (typeof(s.f_type))read_uint(&r, 8);
	s.f_bsize = (typeof(s.f_bsize))read_uint(&r, 8);
	s.f_blocks = read_uint(&r, 8);
	s.f_bfree = read_uint(&r, 8);
	s.f_bavail = read_uint(&r, 8);
	s.f_files = read_uint(&r, 8);
	s.f_ffree = read_uint(&r, 8);
	id = read_uint(&r, 8);
	memcpy(&s.f_fsid, &id, sizeof(s.f_fsid));
	s.f_namelen = (typeof(s.f_namelen))read_uint(&r, 8);
	s.f_frsize = (typeof(s.f_frsize))read_uint(&r, 8);
	s.f_flags = (typeof(s.f_flags))read_uint(&r, 8);
	return r.bad ? -EPROTO : give(c, q->to, &s, sizeof(s));
}

/* getxattr(2), listxattr(2): size 0 asks how much there is. */
static int64_t answer_xattr(
	const struct call *c, const struct question *q, const struct remote_found *found)
{
	int64_t r;

	if (q->size == 0)
		return (int64_t)found->more_len;
	if (found->more_len > q->size)
		return -ERANGE;
	r = give(c, q->to, found->more, found->more_len);
	return r < 0 ? r : (int64_t)found->more_len;
}

/* --- the way there --- */

/* How a question is answered: with what the agent found, or for a local path. */
struct kind {
	enum file_op op;
	int64_t (*answer)(
		const struct call *c, const struct question *q, const struct remote_found *found);
	int64_t (*here)(const struct call *c, const struct question *q, const char *path);
};

static int64_t stat_here(const struct call *c, const struct question *q, const char *path)
{
	char text[PATH_MAX];
	ssize_t n;

	if (!q->is_link)
		return stat_at(c, q, AT_FDCWD, path, q->flags);
	n = readlink(path, text, sizeof(text));
	return n < 0 ? -errno : give_link(c, q, text, (size_t)n);
}

static int64_t access_here(const struct call *c, const struct question *q, const char *path)
{
	(void)c;
	return faccessat(AT_FDCWD, path, (int)q->mask, q->flags) < 0 ? -errno : 0;
}

static int64_t statfs_here(const struct call *c, const struct question *q, const char *path)
{
	struct statfs s;

	return statfs(path, &s) < 0 ? -errno : give(c, q->to, &s, sizeof(s));
}

/* The name of an attribute: its length, or -errno of getxattr(2). */
static int read_name(const struct call *c, const struct question *q, char name[static XATTR_SIZE])
{
	int n = mem_read_string(c->task->tid, q->name, name, XATTR_SIZE);

	return n == 0 || n == -ENAMETOOLONG ? -ERANGE : n;
}

static int64_t getxattr_here(const struct call *c, const struct question *q, const char *path)
{
	char name[XATTR_SIZE], value[XATTR_SIZE_MAX];
	struct remote_found found = { .more = value };
	int r = read_name(c, q, name);
	ssize_t n;

	if (r < 0)
		return r;
	n = q->flags & AT_SYMLINK_NOFOLLOW ? lgetxattr(path, name, value, sizeof(value))
					   : getxattr(path, name, value, sizeof(value));
	found.more_len = n < 0 ? 0 : (size_t)n;
	return n < 0 ? -errno : answer_xattr(c, q, &found);
}

static int64_t listxattr_here(const struct call *c, const struct question *q, const char *path)
{
	char list[XATTR_LIST_MAX];
	struct remote_found found = { .more = list };
	ssize_t n = q->flags & AT_SYMLINK_NOFOLLOW ? llistxattr(path, list, sizeof(list))
						   : listxattr(path, list, sizeof(list));

	found.more_len = n < 0 ? 0 : (size_t)n;
	return n < 0 ? -errno : answer_xattr(c, q, &found);
}

static const struct kind kinds[] = {
	{ FILE_OP_STAT, answer_stat, stat_here },
	{ FILE_OP_ACCESS, answer_access, access_here },
	{ FILE_OP_STATFS, answer_statfs, statfs_here },
	{ FILE_OP_GETXATTR, answer_xattr, getxattr_here },
	{ FILE_OP_LISTXATTR, answer_xattr, listxattr_here },
};

static const struct kind *kind_of(enum file_op op)
{
	const struct kind *k = kinds;

	while (k->op != op)
		k++;
	return k;
}

static void answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	const struct asking *a = container_of(w, struct asking, wait);
	const struct question *q = &a->q;

	call_return(w->call, error ? -error : kind_of(q->op)->answer(w->call, q, found));
}

static bool answer_fresh(struct call *c, const struct question *q, const struct fs_name *n)
{
	cleanup_fd int fd = q->op != FILE_OP_STAT ? -1
						  : fs_fresh(&c->tracer->fs, n,
							    !(q->flags & AT_SYMLINK_NOFOLLOW));

	if (fd < 0)
		return false;
	call_return(c, answer_from_copy(c, q, fd));
	return true;
}

static void ask_agent(struct call *c, const struct question *q, const struct fs_name *n)
{
	char name[XATTR_SIZE];
	int len = q->op == FILE_OP_GETXATTR ? read_name(c, q, name) : 0;
	struct asking *a;

	if (len < 0) {
		call_return(c, len);
		return;
	}
	if (answer_fresh(c, q, n))
		return;
	a = fs_wait_new(c, sizeof(*a), answered);
	if (!a)
		return;
	a->q = *q;
	fs_ask(&a->wait, q->op, q->flags & AT_SYMLINK_NOFOLLOW ? FILE_NOFOLLOW : 0,
		q->op == FILE_OP_ACCESS ? q->mask : 0, 0, n->full, name, (size_t)len);
}

/* What /proc says of a copy is the tree's path; to the guest it has the target's. */
static bool answer_proc_link(struct call *c, const struct question *q, const struct fs_name *n)
{
	char target[PATH_MAX];
	const char *virtual = NULL;

	if (!n->is_empty && n->where == FS_LOCAL && fs_proc_link(c, n->path, target))
		virtual = tree_virtual(&c->tracer->fs.tree, target);
	if (virtual)
		call_return(c, give_link(c, q, virtual, strlen(virtual)));
	return virtual;
}

/* access(2) for writing asks whose the file is when it is written. */
static enum fs_access access_of(const struct question *q)
{
	return q->op == FILE_OP_ACCESS && q->mask & W_OK ? FS_WRITES : FS_READS;
}

static int get_name(struct call *c, const struct question *q, struct fs_name *n)
{
	if (q->flags & AT_SYMLINK_NOFOLLOW)
		return fs_link_name_get(c, q->dirfd, q->path, access_of(q), n);
	return fs_name_get(c, q->dirfd, q->path, access_of(q), n);
}

/* The kernel looks at these before the path, and refuses the rest. */
static bool is_sane(const struct question *q)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

	if (q->op == FILE_OP_ACCESS)
		return !(q->flags & ~(flags | AT_EACCESS)) && !(q->mask & ~(unsigned)07);
	return !(q->flags & ~(flags | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE)) &&
	       !(q->mask & STATX__RESERVED);
}

/* What the copy allows is no answer to what the target does. */
static bool ask_access_of_fd(struct call *c, const struct question *q, const struct fs_name *given)
{
	const struct fs_policy *policy = c->tracer->fs.policy;
	struct fs_name n;

	if (!given->is_empty || !(q->flags & AT_EMPTY_PATH) || !fs_name_of_fd(c, q->dirfd, &n))
		return false;
	if (q->mask & W_OK && fs_policy_decide(policy, n.path, FS_WRITES, NULL) != FS_REMOTE)
		call_return(c, -EROFS);
	else
		ask_agent(c, q, &n);
	return true;
}

static void ask(struct call *c, const struct question *q)
{
	struct fs_name n;
	bool here;
	int r;

	if (!is_sane(q)) {
		call_continue(c);
		return;
	}
	r = get_name(c, q, &n);
	if (r < 0)
		call_return(c, r);
	else if ((q->is_link && answer_proc_link(c, q, &n)) ||
		 (q->op == FILE_OP_ACCESS && ask_access_of_fd(c, q, &n)))
		return;
	else if (fs_is_remote(c, &n, &here))
		ask_agent(c, q, &n);
	else if (here)
		call_return(c, kind_of(q->op)->here(c, q, n.path));
}

/* --- the calls --- */

/* arg: path, buffer, size. */
static void ask_readlink(struct call *c, uint64_t dirfd, const uint64_t *arg)
{
	ask(c, &(struct question){ FILE_OP_STAT, dirfd, arg[0], .flags = AT_SYMLINK_NOFOLLOW,
		       .to = arg[1], .size = arg[2], .is_link = true });
}

#ifdef SYS_stat
void sys_stat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, (uint64_t)AT_FDCWD, c->arg[0], .to = c->arg[1] });
}

void sys_lstat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, (uint64_t)AT_FDCWD, c->arg[0],
		       .flags = AT_SYMLINK_NOFOLLOW, .to = c->arg[1] });
}

void sys_access(struct call *c)
{
	ask(c, &(struct question){
		       FILE_OP_ACCESS, AT_FDCWD, c->arg[0], .mask = (unsigned)c->arg[1] });
}

void sys_readlink(struct call *c)
{
	ask_readlink(c, (uint64_t)AT_FDCWD, c->arg);
}
#endif

void sys_readlinkat(struct call *c)
{
	ask_readlink(c, c->arg[0], c->arg + 1);
}

void sys_newfstatat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, c->arg[0], c->arg[1], .flags = (int)c->arg[3],
		       .to = c->arg[2] });
}

void sys_statx(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, c->arg[0], c->arg[1], .flags = (int)c->arg[2],
		       .mask = (unsigned)c->arg[3], .to = c->arg[4], .is_statx = true });
}

void sys_faccessat(struct call *c)
{
	ask(c, &(struct question){
		       FILE_OP_ACCESS, c->arg[0], c->arg[1], .mask = (unsigned)c->arg[2] });
}

void sys_faccessat2(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_ACCESS, c->arg[0], c->arg[1],
		       .mask = (unsigned)c->arg[2], .flags = (int)c->arg[3] });
}

void sys_statfs(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STATFS, AT_FDCWD, c->arg[0], .to = c->arg[1] });
}

static void ask_getxattr(struct call *c, int flags)
{
	ask(c, &(struct question){ FILE_OP_GETXATTR, AT_FDCWD, c->arg[0], .flags = flags,
		       .name = c->arg[1], .to = c->arg[2], .size = c->arg[3] });
}

static void ask_listxattr(struct call *c, int flags)
{
	ask(c, &(struct question){ FILE_OP_LISTXATTR, AT_FDCWD, c->arg[0], .flags = flags,
		       .to = c->arg[1], .size = c->arg[2] });
}

void sys_getxattr(struct call *c)
{
	ask_getxattr(c, 0);
}

void sys_lgetxattr(struct call *c)
{
	ask_getxattr(c, AT_SYMLINK_NOFOLLOW);
}

/* What the file system of the copies does not keep. */
static void ask_of_fd(struct call *c, const struct question *q)
{
	cleanup_fd int fd = call_dup(c, c->arg[0]);
	bool refused = fd < 0 || fcntl(fd, F_GETFL) & O_PATH;
	struct fs_name n;

	if (!refused && fs_name_of_fd(c, c->arg[0], &n))
		ask_agent(c, q, &n);
	else
		call_continue(c);
}

void sys_fgetxattr(struct call *c)
{
	ask_of_fd(c, &(struct question){ .op = FILE_OP_GETXATTR,
			     .name = c->arg[1],
			     .to = c->arg[2],
			     .size = c->arg[3] });
}

void sys_flistxattr(struct call *c)
{
	ask_of_fd(c,
		&(struct question){ .op = FILE_OP_LISTXATTR, .to = c->arg[1], .size = c->arg[2] });
}

void sys_listxattr(struct call *c)
{
	ask_listxattr(c, 0);
}

void sys_llistxattr(struct call *c)
{
	ask_listxattr(c, AT_SYMLINK_NOFOLLOW);
}
