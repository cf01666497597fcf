/* Calls that ask about a file without opening it. The agent says what is there, the copy in the
 * tree is made to look like it, and the kernel is asked about the copy: so that what stat(2) tells
 * of a path and fstat(2) of a descriptor is the same.
 *
 * They differ in what a copy cannot be made to look like. stat(2) says how many names the file has
 * in the target, the blocks it takes there, and a directory's size. And stat(2) says at once what
 * size and times a file has that was changed in the target, fstat(2) those of the content that the
 * copy has, which is the former until the new one has come. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "fs.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"
#include "xattr_lacks.h"

/* What a call asks, in the form of its newest variant. */
struct question {
	enum file_op op;
	uint64_t dirfd;
	unsigned path;     /* which argument that is */
	int flags;         /* AT_* */
	unsigned mask;     /* of statx, or access's mode */
	uint64_t to, size; /* where the answer goes */
	bool is_statx, is_link;
};

/* When an attribute is asked for. */
struct known {
	char name[FS_XATTR_NAME]; /* of it */
	struct file_attr attr;    /* the file's; zeros: nothing is known that is fresh */
};

struct asking {
	struct fs_wait wait;
	struct question q;
	struct known known;
	struct name_copy *name; /* it is about a file of name resolution; or NULL */
};

/* --- answers --- */

static int64_t give(const struct call *c, uint64_t to, const void *p, size_t n)
{
	return mem_write(c->task->tid, to, p, n);
}

/* The kernel's own structs, which may differ from the C library's. */
union status {
	struct statx x;
	struct stat s;
	char room[512];
};

static int get_status(
	const struct question *q, int dirfd, const char *path, int flags, union status *st)
{
	long r;

	memset(st, 0, sizeof(*st));
	if (q->is_statx)
		r = syscall(SYS_statx, dirfd, path, flags, q->mask, st);
	else
		r = syscall(SYS_newfstatat, dirfd, path, st, flags);
	return r < 0 ? -errno : 0;
}

static int64_t give_status(const struct call *c, const struct question *q, const union status *st)
{
	return give(c, q->to, st, q->is_statx ? sizeof(st->x) : sizeof(st->s));
}

static struct statx_timestamp timestamp(int64_t ns)
{
	struct timespec t = timespec_of_ns(ns);

	return (struct statx_timestamp){ .tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec };
}

/* What a copy does not show. One that the guest writes to is newer than what was said. */
static void amend(union status *st, bool is_statx, const struct tree_node *node)
{
	const struct file_attr *a = &node->attr;

	if (is_statx)
		st->x.stx_nlink = a->nlink;
	else
		st->s.st_nlink = a->nlink;
	if (node->writeback)
		return;
	if (is_statx) {
		st->x.stx_size = a->size;
		st->x.stx_blocks = a->blocks;
		st->x.stx_atime = timestamp(a->atime);
		st->x.stx_mtime = timestamp(a->mtime);
	} else {
		st->s.st_size = (off_t)a->size;
		st->s.st_blocks = (blkcnt_t)a->blocks;
		st->s.st_atim = timespec_of_ns(a->atime);
		st->s.st_mtim = timespec_of_ns(a->mtime);
	}
}

static int64_t give_link(const struct call *c, const struct question *q, const char *text, size_t n)
{
	size_t len = MIN(n, (size_t)q->size);
	int64_t r = (int)q->size <= 0 ? -EINVAL : give(c, q->to, text, len);

	return r < 0 ? r : (int64_t)len;
}

static int64_t answer_link(const struct call *c, const struct question *q, int fd)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));

	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno; /* it is another file */
	return give_link(c, q, text, (size_t)n);
}

static int64_t answer_from_copy(const struct call *c, const struct question *q, int fd)
{
	const struct tree_node *node;
	union status st;
	int r;

	if (q->is_link)
		return answer_link(c, q, fd);
	r = get_status(q, fd, "", (q->flags & ~AT_SYMLINK_NOFOLLOW) | AT_EMPTY_PATH, &st);
	if (r < 0)
		return r;
	node = tree_node(&c->tracer->fs.tree, fd);
	if (node)
		amend(&st, q->is_statx, node);
	return give_status(c, q, &st);
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

/* How a question is answered: with what the agent found, or, where that is enough, with what is
 * known; the latter may be NULL. */
struct kind {
	enum file_op op;
	int64_t (*answer)(
		const struct call *c, const struct question *q, const struct remote_found *found);
	bool (*fresh)(const struct call *c, const struct question *q, const struct fs_name *n,
		const struct known *known, int64_t *result);
};

static bool is_followed(const struct question *q)
{
	return !(q->flags & AT_SYMLINK_NOFOLLOW);
}

static bool stat_fresh(const struct call *c, const struct question *q, const struct fs_name *n,
	const struct known *known, int64_t *result)
{
	cleanup_fd int fd = fs_fresh(&c->tracer->fs, n, is_followed(q));

	(void)known;
	if (fd >= 0)
		*result = answer_from_copy(c, q, fd);
	return fd >= 0;
}

/* Rights are the agent's to judge. */
static bool access_fresh(const struct call *c, const struct question *q, const struct fs_name *n,
	const struct known *known, int64_t *result)
{
	cleanup_fd int fd = q->mask == F_OK ? fs_fresh(&c->tracer->fs, n, is_followed(q)) : -1;

	(void)known;
	*result = 0;
	return fd >= 0;
}

static bool getxattr_fresh(const struct call *c, const struct question *q, const struct fs_name *n,
	const struct known *known, int64_t *result)
{
	(void)q;
	(void)n;
	*result = -xattr_lacks_find(&c->tracer->fs.lacks, &known->attr, known->name);
	return *result;
}

static bool listxattr_fresh(const struct call *c, const struct question *q, const struct fs_name *n,
	const struct known *known, int64_t *result)
{
	(void)c;
	(void)q;
	(void)n;
	*result = 0;
	return known->attr.flags & FILE_NO_XATTRS;
}

static const struct kind kinds[] = {
	{ FILE_OP_STAT, answer_stat, stat_fresh },
	{ FILE_OP_ACCESS, answer_access, access_fresh },
	{ FILE_OP_STATFS, answer_statfs, NULL },
	{ FILE_OP_GETXATTR, answer_xattr, getxattr_fresh },
	{ FILE_OP_LISTXATTR, answer_xattr, listxattr_fresh },
};

static const struct kind *kind_of(enum file_op op)
{
	const struct kind *k = kinds;

	while (k->op != op)
		k++;
	return k;
}

static bool answer_from(struct call *c, const struct question *q, int copy)
{
	cleanup_fd int fd = copy;

	if (fd < 0)
		return false;
	call_return(c, answer_from_copy(c, q, fd));
	return true;
}

/* For an attribute: its name, and what is known of the file. 0 or -errno. */
static int know(
	const struct call *c, const struct question *q, const struct fs_name *n, struct known *k)
{
	struct fs *fs = &c->tracer->fs;
	const struct file_attr *attr;
	int r = q->op == FILE_OP_GETXATTR ? fs_xattr_name(c, k->name) : 0;

	if (q->op != FILE_OP_GETXATTR && q->op != FILE_OP_LISTXATTR)
		return 0;
	attr = r < 0 ? NULL : fs_fresh_attr(fs, n, is_followed(q));
	if (attr)
		k->attr = *attr;
	return MIN(r, 0);
}

static void answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	const struct asking *a = container_of(w, struct asking, wait);
	const struct question *q = &a->q;

	/* Without a link what was told before is as good. */
	if (error == EIO && a->name && answer_from(w->call, q, name_copy_at(a->name, false)))
		return;
	if (!error && a->name)
		name_copy_told(a->name, found->path);
	if (error && q->op == FILE_OP_GETXATTR)
		xattr_lacks_learn(&w->fs->lacks, &a->known.attr, a->known.name, error);
	call_return(w->call, error ? -error : kind_of(q->op)->answer(w->call, q, found));
}

static struct name_copy *name_copy_of(
	struct fs *fs, const struct question *q, const struct fs_name *n)
{
	bool named = q->op == FILE_OP_STAT && is_followed(q) && strcmp(n->full, n->path) == 0;

	return named ? name_copies_find(&fs->names, n->path) : NULL;
}

static void ask_agent(struct call *c, const struct question *q, const struct fs_name *n)
{
	const struct kind *kind = kind_of(q->op);
	struct known known = { 0 };
	int64_t result = know(c, q, n, &known);
	struct asking *a;

	if (result < 0 || (kind->fresh && kind->fresh(c, q, n, &known, &result))) {
		call_return(c, result);
		return;
	}
	a = fs_wait_new(c, sizeof(*a), answered);
	if (!a)
		return;
	a->q = *q;
	a->known = known;
	a->name = name_copy_of(&c->tracer->fs, q, n);
	fs_ask(&a->wait, q->op, is_followed(q) ? 0 : FILE_NOFOLLOW,
		q->op == FILE_OP_ACCESS ? q->mask : 0, 0, n->full, known.name, strlen(known.name));
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

static bool answer_made(struct call *c, const struct question *q, const struct fs_name *n)
{
	return n->made && answer_from(c, q, tree_at(&c->tracer->fs.tree, n->path));
}

/* access(2) for writing asks whose the file is when it is written. */
static enum fs_access access_of(const struct question *q)
{
	return q->op == FILE_OP_ACCESS && q->mask & W_OK ? FS_WRITES : FS_READS;
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
	int r;

	if (!is_sane(q)) {
		call_continue(c);
		return;
	}
	r = fs_name_get(c, q->dirfd, q->path, access_of(q), is_followed(q), &n);
	if (r < 0)
		call_return(c, r);
	else if ((q->is_link && answer_proc_link(c, q, &n)) ||
		 (q->op == FILE_OP_ACCESS && ask_access_of_fd(c, q, &n)) ||
		 (q->op == FILE_OP_STAT && answer_made(c, q, &n)))
		return;
	else if (fs_is_remote(c, &n))
		ask_agent(c, q, &n);
}

/* --- the calls --- */

/* A buffer and its size follow the path. */
static void ask_readlink(struct call *c, uint64_t dirfd, unsigned path)
{
	ask(c, &(struct question){ FILE_OP_STAT, dirfd, path, .flags = AT_SYMLINK_NOFOLLOW,
		       .to = c->arg[path + 1], .size = c->arg[path + 2], .is_link = true });
}

#ifdef SYS_stat
void sys_stat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, (uint64_t)AT_FDCWD, 0, .to = c->arg[1] });
}

void sys_lstat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, (uint64_t)AT_FDCWD, 0,
		       .flags = AT_SYMLINK_NOFOLLOW, .to = c->arg[1] });
}

void sys_access(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_ACCESS, AT_FDCWD, 0, .mask = (unsigned)c->arg[1] });
}

void sys_readlink(struct call *c)
{
	ask_readlink(c, (uint64_t)AT_FDCWD, 0);
}
#endif

void sys_readlinkat(struct call *c)
{
	ask_readlink(c, c->arg[0], 1);
}

void sys_newfstatat(struct call *c)
{
	ask(c, &(struct question){
		       FILE_OP_STAT, c->arg[0], 1, .flags = (int)c->arg[3], .to = c->arg[2] });
}

void sys_statx(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STAT, c->arg[0], 1, .flags = (int)c->arg[2],
		       .mask = (unsigned)c->arg[3], .to = c->arg[4], .is_statx = true });
}

void sys_faccessat(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_ACCESS, c->arg[0], 1, .mask = (unsigned)c->arg[2] });
}

void sys_faccessat2(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_ACCESS, c->arg[0], 1, .mask = (unsigned)c->arg[2],
		       .flags = (int)c->arg[3] });
}

void sys_statfs(struct call *c)
{
	ask(c, &(struct question){ FILE_OP_STATFS, AT_FDCWD, 0, .to = c->arg[1] });
}

static void ask_getxattr(struct call *c, int flags)
{
	ask(c, &(struct question){ FILE_OP_GETXATTR, AT_FDCWD, 0, .flags = flags, .to = c->arg[2],
		       .size = c->arg[3] });
}

static void ask_listxattr(struct call *c, int flags)
{
	ask(c, &(struct question){ FILE_OP_LISTXATTR, AT_FDCWD, 0, .flags = flags, .to = c->arg[1],
		       .size = c->arg[2] });
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
	ask_of_fd(c,
		&(struct question){ .op = FILE_OP_GETXATTR, .to = c->arg[2], .size = c->arg[3] });
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
