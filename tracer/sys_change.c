/* Calls that change the tree of files, or what is known of a file beside its content. The agent
 * does it to the target's file first; what it did is then done to the copies. What was written to a
 * file before is on the link before, so the times that utimensat(2) sets are not those of a later
 * write.
 *
 * Barriers, like fsync(2), are here as well. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "fs.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "unnamed.h"
#include "util.h"

/* What a call changes, in the form of its newest variant. */
struct change {
	enum file_op op;
	uint64_t dirfd, path;       /* the arguments; */
	bool is_fd;                 /* or dirfd is the file itself */
	uint64_t to_dirfd, to_path; /* of rename and link */
	uint64_t flags;             /* AT_* */
	uint64_t a, b;              /* of file_op */
	struct timespec times[2];
	const char *text; /* of a symbolic link; an attribute's name, zero, value */
	size_t text_len;
};

/* A change that waits for the agent. */
struct changing {
	struct fs_wait wait;
	struct change change;
	char text[];
};

/* --- what was done in the target is done to the copies --- */

static void copy_attr(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	struct file_attr attr = *found->attr;
	struct tree_node *node;
	cleanup_fd int fd = fs_put(fs, found, &node);
	struct stat st;

	(void)ch;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (node->writeback)
		attr.size = (uint64_t)st.st_size; /* the copy's is newer */
	tree_set_attr(&fs->tree, fd, &attr);
}

/* Who has it open sees it cut, as in the target. */
static void copy_size(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	cleanup_fd int copy = tree_at(&fs->tree, found->path);
	struct tree_node *node = copy < 0 ? NULL : tree_node(&fs->tree, copy);
	cleanup_fd int fd = node ? tree_open_copy(&fs->tree, copy, O_WRONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	node->version = 0;
	if (ftruncate(fd, (off_t)ch->a) == 0)
		copy_attr(fs, ch, found);
}

static void copy_new(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	tree_put(&fs->tree, found->path, found->attr, ch->text, ch->text_len, NULL);
}

static void copy_removed(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)ch;
	tree_remove(&fs->tree, found->path);
}

static void copy_renamed(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	tree_rename(&fs->tree, found->path, found->more, ch->a & RENAME_EXCHANGE);
}

/* A second name of a symbolic link is asked for when it is wanted. */
static void copy_linked(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)ch;
	if (!S_ISLNK(found->attr->mode))
		tree_put(&fs->tree, found->more, found->attr, NULL, 0, NULL);
}

static void copy_nothing(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)fs;
	(void)ch;
	(void)found;
}

/* --- the same for a local path --- */

static int at_flags(const struct change *ch)
{
	return (int)ch->flags & AT_SYMLINK_NOFOLLOW;
}

static int chmod_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return fchmodat(AT_FDCWD, path, (mode_t)ch->a, at_flags(ch));
}

static int chown_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return fchownat(AT_FDCWD, path, (uid_t)ch->a, (gid_t)ch->b, at_flags(ch));
}

static int utimens_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return utimensat(AT_FDCWD, path, ch->times, at_flags(ch));
}

static int truncate_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return truncate(path, (off_t)ch->a);
}

static int setxattr_here(const struct change *ch, const char *path, const char *to)
{
	const char *value = ch->text + strlen(ch->text) + 1;
	size_t n = (size_t)(ch->text + ch->text_len - value);

	(void)to;
	return at_flags(ch) ? lsetxattr(path, ch->text, value, n, (int)ch->a)
			    : setxattr(path, ch->text, value, n, (int)ch->a);
}

static int removexattr_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return at_flags(ch) ? lremovexattr(path, ch->text) : removexattr(path, ch->text);
}

static int mkdir_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return mkdir(path, (mode_t)ch->a);
}

static int mknod_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return mknod(path, (mode_t)ch->a, (dev_t)ch->b);
}

static int unlink_here(const struct change *ch, const char *path, const char *to)
{
	(void)ch;
	(void)to;
	return unlink(path);
}

static int rmdir_here(const struct change *ch, const char *path, const char *to)
{
	(void)ch;
	(void)to;
	return rmdir(path);
}

static int symlink_here(const struct change *ch, const char *path, const char *to)
{
	(void)to;
	return symlink(ch->text, path);
}

static int rename_here(const struct change *ch, const char *path, const char *to)
{
	return renameat2(AT_FDCWD, path, AT_FDCWD, to, (unsigned)ch->a);
}

static int link_here(const struct change *ch, const char *path, const char *to)
{
	return linkat(AT_FDCWD, path, AT_FDCWD, to, at_flags(ch) ? 0 : AT_SYMLINK_FOLLOW);
}

/* --- the kinds --- */

static const struct kind {
	enum file_op op;
	bool is_place;  /* it is about the name: a link there is not followed */
	bool has_two;   /* paths */
	uint64_t flags; /* AT_*, those that the kernel knows */
	int (*here)(const struct change *ch, const char *path, const char *to);
	void (*copy)(struct fs *fs, const struct change *ch, const struct remote_found *found);
} kinds[] = {
	{ FILE_OP_CHMOD, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .here = chmod_here,
		.copy = copy_attr },
	{ FILE_OP_CHOWN, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .here = chown_here,
		.copy = copy_attr },
	{ FILE_OP_UTIMENS, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .here = utimens_here,
		.copy = copy_attr },
	{ FILE_OP_TRUNCATE, .here = truncate_here, .copy = copy_size },
	{ FILE_OP_SETXATTR, .flags = AT_SYMLINK_NOFOLLOW, .here = setxattr_here,
		.copy = copy_nothing },
	{ FILE_OP_REMOVEXATTR, .flags = AT_SYMLINK_NOFOLLOW, .here = removexattr_here,
		.copy = copy_nothing },
	{ FILE_OP_MKDIR, .is_place = true, .here = mkdir_here, .copy = copy_new },
	{ FILE_OP_MKNOD, .is_place = true, .here = mknod_here, .copy = copy_new },
	{ FILE_OP_SYMLINK, .is_place = true, .here = symlink_here, .copy = copy_new },
	{ FILE_OP_UNLINK, .is_place = true, .here = unlink_here, .copy = copy_removed },
	{ FILE_OP_RMDIR, .is_place = true, .here = rmdir_here, .copy = copy_removed },
	{ FILE_OP_RENAME, .is_place = true, .has_two = true, .here = rename_here,
		.copy = copy_renamed },
	{ FILE_OP_LINK, .has_two = true, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
		.here = link_here, .copy = copy_linked },
};

static const struct kind *kind_of(enum file_op op)
{
	const struct kind *k = kinds;

	while (k->op != op)
		k++;
	return k;
}

/* --- asking --- */

static void answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	struct changing *p = container_of(w, struct changing, wait);

	if (!error) {
		w->fs->tree.epoch++;
		kind_of(p->change.op)->copy(w->fs, &p->change, found);
	}
	call_return(w->call, -error);
}

static void ask_agent(struct call *c, const struct change *ch, const char *path, const char *to)
{
	struct changing *p = fs_wait_new(c, sizeof(*p) + ch->text_len + 1, answered);

	if (!p)
		return;
	p->change = *ch;
	if (ch->text_len)
		memcpy(p->text, ch->text, ch->text_len);
	p->change.text = p->text;
	fs_ask(&p->wait, ch->op, ch->flags & AT_SYMLINK_NOFOLLOW ? FILE_NOFOLLOW : 0, ch->a, ch->b,
		path, to ? to : ch->text, to ? strlen(to) : ch->text_len);
}

/* A file of the target that may not be written to. */
static bool may_write(const struct call *c, const struct fs_name *n)
{
	return fs_policy_decide(c->tracer->fs.policy, n->path, FS_WRITES, NULL) == FS_REMOTE;
}

/* The file has a name in the tree; one that has none any more is between the guest and its copy.
 * With O_PATH it is only good for calls that take a path. */
static bool is_of_target(const struct call *c, const struct change *ch)
{
	cleanup_fd int fd = -1;

	if ((int)ch->dirfd == AT_FDCWD)
		return true;
	fd = call_dup(c, ch->dirfd);
	if (fd < 0 || (ch->is_fd && fcntl(fd, F_GETFL) & O_PATH))
		return false;
	return tree_node(&c->tracer->fs.tree, fd);
}

static void change_fd(struct call *c, const struct change *ch)
{
	struct fs_name n;

	if (!fs_name_of_fd(c, ch->dirfd, &n) || !is_of_target(c, ch))
		call_continue(c);
	else if (!may_write(c, &n))
		call_return(c, -EROFS);
	else
		ask_agent(c, ch, n.full, NULL);
}

/* --- one path --- */

static int get_name(struct call *c, const struct change *ch, struct fs_name *n)
{
	if (kind_of(ch->op)->is_place || ch->flags & AT_SYMLINK_NOFOLLOW)
		return fs_link_name_get(c, ch->dirfd, ch->path, FS_WRITES, n);
	return fs_name_get(c, ch->dirfd, ch->path, FS_WRITES, n);
}

static void change_here(struct call *c, const struct change *ch, const char *path, const char *to)
{
	call_return(c, kind_of(ch->op)->here(ch, path, to) < 0 ? -errno : 0);
}

static void change_one(struct call *c, const struct change *ch)
{
	struct fs_name n;
	bool here;
	int r = get_name(c, ch, &n);

	if (r < 0)
		call_return(c, r);
	else if (n.is_empty && ch->flags & AT_EMPTY_PATH)
		change_fd(c, ch);
	else if (fs_is_remote(c, &n, &here))
		ask_agent(c, ch, n.full, NULL);
	else if (here)
		change_here(c, ch, n.path, NULL);
}

/* --- two paths --- */

/* The first may be a descriptor, of a file that has a name. */
static int get_first(struct call *c, const struct change *ch, struct fs_name *n)
{
	int r = get_name(c, ch, n);

	if (r == 0 && n->is_empty && ch->flags & AT_EMPTY_PATH)
		fs_name_of_fd(c, ch->dirfd, n);
	return r;
}

static void across_answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	(void)found;
	call_return(w->call, error ? -error : -EXDEV);
}

/* From here to the target, or back: what is not there is no matter of file systems. */
static void refuse_across(struct call *c, const struct change *ch, const struct fs_name *n)
{
	bool itself = kind_of(ch->op)->is_place || ch->flags & AT_SYMLINK_NOFOLLOW;
	struct fs_wait *w;
	struct stat st;

	if (n->where == FS_LOCAL) {
		call_return(c, lstat(n->path, &st) < 0 ? -errno : -EXDEV);
		return;
	}
	w = fs_wait_new(c, sizeof(*w), across_answered);
	if (w)
		fs_ask(w, FILE_OP_STAT, itself ? FILE_NOFOLLOW : 0, 0, 0, n->full, NULL, 0);
}

static void change_two_names(
	struct call *c, const struct change *ch, const struct fs_name *n, const struct fs_name *to)
{
	bool nameless = n->is_empty && !(ch->flags & AT_EMPTY_PATH);

	if (nameless || to->is_empty || n->where == FS_NOT_FOUND || to->where == FS_NOT_FOUND)
		call_return(c, -ENOENT);
	else if (n->where != to->where && *n->path)
		refuse_across(c, ch, n);
	else if (n->where == FS_REMOTE)
		ask_agent(c, ch, n->full, to->full);
	else if ((n->displaced || to->displaced) && *n->path && *to->path)
		change_here(c, ch, n->path, to->path);
	else
		call_continue(c);
}

/* What is open without a name that is known, or -1. */
static int open_nameless(struct call *c, const struct change *ch, const struct fs_name *n)
{
	if (n->where != FS_LOCAL || ch->op != FILE_OP_LINK)
		return -1;
	if (n->is_empty)
		return ch->flags & AT_EMPTY_PATH ? call_dup(c, ch->dirfd) : -1;
	return ch->flags & AT_SYMLINK_NOFOLLOW ? -1 : fs_proc_open(c, n->path);
}

/* linkat(2) of what O_TMPFILE has made; false: it is something else. */
static bool link_unnamed(
	struct call *c, const struct change *ch, const struct fs_name *n, const struct fs_name *to)
{
	cleanup_fd int fd = to->where == FS_REMOTE ? open_nameless(c, ch, n) : -1;

	if (fd < 0)
		return false;
	if (unnamed_is(&c->tracer->fs.tree, fd))
		unnamed_link(c, take_fd(&fd), to->full);
	else
		call_return(c, -EXDEV);
	return true;
}

static void change_two(struct call *c, const struct change *ch)
{
	struct fs_name n = { .path = "" }, to = { .path = "" };
	int r = get_first(c, ch, &n);

	if (r == 0)
		r = fs_link_name_get(c, ch->to_dirfd, ch->to_path, FS_WRITES, &to);
	if (r < 0)
		call_return(c, r);
	else if (!link_unnamed(c, ch, &n, &to))
		change_two_names(c, ch, &n, &to);
}

static void change(struct call *c, const struct change *ch)
{
	const struct kind *k = kind_of(ch->op);

	if (ch->flags & ~k->flags)
		call_continue(c); /* the kernel refuses it before it looks at a path */
	else if (ch->is_fd)
		change_fd(c, ch);
	else if (k->has_two)
		change_two(c, ch);
	else
		change_one(c, ch);
}

/* --- names come and go --- */

static void make(struct call *c, enum file_op op, uint64_t dirfd, const uint64_t *arg)
{
	change(c, &(struct change){ op, dirfd, arg[0], .a = arg[1] & ~(uint64_t)fs_guest_umask(c),
			  .b = arg[2] });
}

void sys_mkdirat(struct call *c)
{
	make(c, FILE_OP_MKDIR, c->arg[0], c->arg + 1);
}

/* Without a type it is a regular file. */
static void make_node(struct call *c, uint64_t dirfd, const uint64_t *arg)
{
	uint64_t type = arg[1] & S_IFMT ? 0 : S_IFREG;
	const uint64_t typed[] = { arg[0], (uint32_t)(arg[1] | type), arg[2] };

	make(c, FILE_OP_MKNOD, dirfd, typed);
}

void sys_mknodat(struct call *c)
{
	make_node(c, c->arg[0], c->arg + 1);
}

void sys_unlinkat(struct call *c)
{
	bool is_dir = c->arg[2] & AT_REMOVEDIR;

	change(c, &(struct change){ is_dir ? FILE_OP_RMDIR : FILE_OP_UNLINK, c->arg[0], c->arg[1],
			  .flags = (uint32_t)c->arg[2] & ~(uint64_t)AT_REMOVEDIR });
}

static void rename_any(struct call *c, uint64_t flags)
{
	change(c, &(struct change){ FILE_OP_RENAME, c->arg[0], c->arg[1], .to_dirfd = c->arg[2],
			  .to_path = c->arg[3], .a = (uint32_t)flags });
}

void sys_renameat(struct call *c)
{
	rename_any(c, 0);
}

void sys_renameat2(struct call *c)
{
	rename_any(c, c->arg[4]);
}

/* linkat(2) is the one call that follows a link when it is asked to, not unless. */
void sys_linkat(struct call *c)
{
	uint64_t flags = (uint32_t)c->arg[4] ^ AT_SYMLINK_FOLLOW;

	if (flags & AT_SYMLINK_FOLLOW)
		flags ^= AT_SYMLINK_FOLLOW | AT_SYMLINK_NOFOLLOW;
	change(c, &(struct change){ FILE_OP_LINK, c->arg[0], c->arg[1], .to_dirfd = c->arg[2],
			  .to_path = c->arg[3], .flags = flags });
}

static void make_symlink(struct call *c, uint64_t text_at, uint64_t dirfd, uint64_t path)
{
	char text[PATH_MAX];
	int n = mem_read_string(c->task->tid, text_at, text, sizeof(text));

	if (n <= 0)
		call_return(c, n == 0 ? -ENOENT : n == -ESRCH ? -EFAULT : n);
	else
		change(c, &(struct change){ FILE_OP_SYMLINK, dirfd, path, .text = text,
				  .text_len = (size_t)n });
}

void sys_symlinkat(struct call *c)
{
	make_symlink(c, c->arg[0], c->arg[1], c->arg[2]);
}

/* --- attributes --- */

static void set_mode(struct call *c, uint64_t dirfd, const uint64_t *arg, uint64_t flags)
{
	change(c, &(struct change){ FILE_OP_CHMOD, dirfd, arg[0], .a = (uint16_t)arg[1],
			  .flags = (uint32_t)flags });
}

void sys_fchmodat(struct call *c)
{
	set_mode(c, c->arg[0], c->arg + 1, 0);
}

void sys_fchmodat2(struct call *c)
{
	set_mode(c, c->arg[0], c->arg + 1, c->arg[3]);
}

void sys_fchmod(struct call *c)
{
	change(c, &(struct change){
			  FILE_OP_CHMOD, c->arg[0], .is_fd = true, .a = (uint16_t)c->arg[1] });
}

static void set_owner(struct call *c, uint64_t dirfd, const uint64_t *arg, uint64_t flags)
{
	change(c, &(struct change){ FILE_OP_CHOWN, dirfd, arg[0], .a = (uint32_t)arg[1],
			  .b = (uint32_t)arg[2], .flags = (uint32_t)flags });
}

void sys_fchownat(struct call *c)
{
	set_owner(c, c->arg[0], c->arg + 1, c->arg[4]);
}

void sys_fchown(struct call *c)
{
	change(c, &(struct change){ FILE_OP_CHOWN, c->arg[0], .is_fd = true,
			  .a = (uint32_t)c->arg[1], .b = (uint32_t)c->arg[2] });
}

void sys_truncate(struct call *c)
{
	if ((int64_t)c->arg[1] < 0)
		call_return(c, -EINVAL);
	else
		change(c, &(struct change){ FILE_OP_TRUNCATE, (uint64_t)AT_FDCWD, c->arg[0],
				  .a = c->arg[1] });
}

/* What is only added to is cut in the target, too, before more is added. */
void sys_ftruncate(struct call *c)
{
	struct writeback *w = &c->tracer->fs.writeback;
	cleanup_fd int fd = writeback_is_idle(w) ? -1 : call_dup(c, c->arg[0]);
	int result;

	if (fd < 0 || !writeback_truncate(w, fd, c->arg[1], &result))
		call_continue(c);
	else
		call_return(c, result);
}

/* --- times --- */

static bool is_special(const struct timespec *t)
{
	return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT;
}

/* A time that 64 bits of ns do not hold becomes the nearest that they do. */
static uint64_t time_on_wire(const struct timespec *t)
{
	int64_t ns = timespec_to_ns(*t);

	if (is_special(t))
		return t->tv_nsec == UTIME_NOW ? FILE_TIME_NOW : FILE_TIME_OMIT;
	return (uint64_t)MAX(ns, (int64_t)FILE_TIME_OMIT + 1);
}

static bool is_time(const struct timespec *t)
{
	return is_special(t) || (t->tv_nsec >= 0 && t->tv_nsec < NS_PER_S);
}

static void set_times(struct call *c, const struct change *where, const struct timespec times[2])
{
	struct change ch = *where;

	ch.op = FILE_OP_UTIMENS;
	for (int i = 0; i < 2; i++)
		ch.times[i] = times ? times[i] : (struct timespec){ .tv_nsec = UTIME_NOW };
	ch.a = time_on_wire(&ch.times[0]);
	ch.b = time_on_wire(&ch.times[1]);
	if (is_time(&ch.times[0]) && is_time(&ch.times[1]))
		change(c, &ch);
	else
		call_return(c, -EINVAL);
}

void sys_utimensat(struct call *c)
{
	struct change where = { .dirfd = c->arg[0],
		.path = c->arg[1],
		.is_fd = !c->arg[1],
		.flags = (uint32_t)c->arg[3] };
	struct timespec times[2];

	if (c->arg[2] && mem_read(c->task->tid, c->arg[2], times, sizeof(times)) < 0)
		call_return(c, -EFAULT);
	else
		set_times(c, &where, c->arg[2] ? times : NULL);
}

#ifdef SYS_utimes
static void set_timevals(struct call *c, const struct change *where, uint64_t at)
{
	struct timespec times[2];
	struct timeval tv[2];

	if (at && mem_read(c->task->tid, at, tv, sizeof(tv)) < 0) {
		call_return(c, -EFAULT);
		return;
	}
	for (int i = 0; at && i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000) {
			call_return(c, -EINVAL);
			return;
		}
		times[i] = (struct timespec){ tv[i].tv_sec, tv[i].tv_usec * 1000 };
	}
	set_times(c, where, at ? times : NULL);
}

void sys_utimes(struct call *c)
{
	struct change where = { .dirfd = (uint64_t)AT_FDCWD, .path = c->arg[0] };

	set_timevals(c, &where, c->arg[1]);
}

void sys_futimesat(struct call *c)
{
	struct change where = { .dirfd = c->arg[0], .path = c->arg[1], .is_fd = !c->arg[1] };

	set_timevals(c, &where, c->arg[2]);
}

void sys_utime(struct call *c)
{
	struct change where = { .dirfd = (uint64_t)AT_FDCWD, .path = c->arg[0] };
	struct timespec times[2];
	struct utimbuf buf;

	if (c->arg[1] && mem_read(c->task->tid, c->arg[1], &buf, sizeof(buf)) < 0) {
		call_return(c, -EFAULT);
		return;
	}
	times[0] = (struct timespec){ .tv_sec = c->arg[1] ? buf.actime : 0 };
	times[1] = (struct timespec){ .tv_sec = c->arg[1] ? buf.modtime : 0 };
	set_times(c, &where, c->arg[1] ? times : NULL);
}
#endif

/* --- extended attributes --- */

/* An attribute's name: its length, or -errno of setxattr(2). */
static int read_name(const struct call *c, char name[static XATTR_NAME_MAX + 1])
{
	int n = mem_read_string(c->task->tid, c->arg[1], name, XATTR_NAME_MAX + 1);

	if (n == 0 || n == -ENAMETOOLONG)
		return -ERANGE;
	return n == -ESRCH ? -EFAULT : n;
}

/* The file is the call's first argument. */
static void set_xattr(struct call *c, const struct change *how)
{
	char text[XATTR_NAME_MAX + 1 + XATTR_SIZE_MAX];
	struct change ch = *how;
	uint64_t size = c->arg[3];
	int n = size > XATTR_SIZE_MAX ? -E2BIG : read_name(c, text);

	if (n >= 0 && size && mem_read(c->task->tid, c->arg[2], text + n + 1, (size_t)size) < 0)
		n = -EFAULT;
	if (n < 0) {
		call_return(c, n);
		return;
	}
	ch.a = (uint32_t)c->arg[4];
	ch.text = text;
	ch.text_len = (size_t)n + 1 + (size_t)size;
	change(c, &ch);
}

static void remove_xattr(struct call *c, const struct change *how)
{
	char name[XATTR_NAME_MAX + 1];
	struct change ch = *how;
	int n = read_name(c, name);

	if (n < 0) {
		call_return(c, n);
		return;
	}
	ch.text = name;
	ch.text_len = (size_t)n;
	change(c, &ch);
}

static struct change xattr_of_path(const struct call *c, enum file_op op, uint64_t flags)
{
	return (struct change){ op, (uint64_t)AT_FDCWD, c->arg[0], .flags = flags };
}

static struct change xattr_of_fd(const struct call *c, enum file_op op)
{
	return (struct change){ op, c->arg[0], .is_fd = true };
}

void sys_setxattr(struct call *c)
{
	struct change how = xattr_of_path(c, FILE_OP_SETXATTR, 0);

	set_xattr(c, &how);
}

void sys_lsetxattr(struct call *c)
{
	struct change how = xattr_of_path(c, FILE_OP_SETXATTR, AT_SYMLINK_NOFOLLOW);

	set_xattr(c, &how);
}

void sys_fsetxattr(struct call *c)
{
	struct change how = xattr_of_fd(c, FILE_OP_SETXATTR);

	set_xattr(c, &how);
}

void sys_removexattr(struct call *c)
{
	struct change how = xattr_of_path(c, FILE_OP_REMOVEXATTR, 0);

	remove_xattr(c, &how);
}

void sys_lremovexattr(struct call *c)
{
	struct change how = xattr_of_path(c, FILE_OP_REMOVEXATTR, AT_SYMLINK_NOFOLLOW);

	remove_xattr(c, &how);
}

void sys_fremovexattr(struct call *c)
{
	struct change how = xattr_of_fd(c, FILE_OP_REMOVEXATTR);

	remove_xattr(c, &how);
}

/* --- barriers --- */

void sys_fsync(struct call *c)
{
	struct writeback *w = &c->tracer->fs.writeback;
	cleanup_fd int fd = writeback_is_idle(w) ? -1 : call_dup(c, c->arg[0]);

	if (fd < 0 || !writeback_sync(w, c, fd))
		call_continue(c);
}

/* Which files are mapped there, or are on that file system, is not asked. */
void sys_sync(struct call *c)
{
	if (!writeback_sync(&c->tracer->fs.writeback, c, -1))
		call_continue(c);
}

void sys_msync(struct call *c)
{
	if (c->arg[2] & MS_SYNC)
		sys_sync(c);
	else
		call_continue(c);
}

/* --- calls from before the *at ones --- */

#ifdef SYS_open
void sys_mkdir(struct call *c)
{
	make(c, FILE_OP_MKDIR, (uint64_t)AT_FDCWD, c->arg);
}

void sys_mknod(struct call *c)
{
	make_node(c, (uint64_t)AT_FDCWD, c->arg);
}

void sys_unlink(struct call *c)
{
	change(c, &(struct change){
			  .op = FILE_OP_UNLINK, .dirfd = (uint64_t)AT_FDCWD, .path = c->arg[0] });
}

void sys_rmdir(struct call *c)
{
	change(c, &(struct change){
			  .op = FILE_OP_RMDIR, .dirfd = (uint64_t)AT_FDCWD, .path = c->arg[0] });
}

void sys_rename(struct call *c)
{
	change(c, &(struct change){ FILE_OP_RENAME, (uint64_t)AT_FDCWD, c->arg[0],
			  .to_dirfd = (uint64_t)AT_FDCWD, .to_path = c->arg[1] });
}

void sys_link(struct call *c)
{
	change(c, &(struct change){ FILE_OP_LINK, (uint64_t)AT_FDCWD, c->arg[0],
			  .to_dirfd = (uint64_t)AT_FDCWD, .to_path = c->arg[1],
			  .flags = AT_SYMLINK_NOFOLLOW });
}

void sys_symlink(struct call *c)
{
	make_symlink(c, c->arg[0], (uint64_t)AT_FDCWD, c->arg[1]);
}

void sys_chmod(struct call *c)
{
	set_mode(c, (uint64_t)AT_FDCWD, c->arg, 0);
}

void sys_chown(struct call *c)
{
	set_owner(c, (uint64_t)AT_FDCWD, c->arg, 0);
}

void sys_lchown(struct call *c)
{
	set_owner(c, (uint64_t)AT_FDCWD, c->arg, AT_SYMLINK_NOFOLLOW);
}
#endif
