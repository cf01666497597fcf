/* Calls that change files, as the guest makes them: each becomes a change (change.h). Where `path`
 * is a parameter it is the number of an argument, and the rest of what the call takes follows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#include "change.h"
#include "fs.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

#define AT_CWD ((uint64_t)AT_FDCWD)

/* The file is the first argument, as a path or as a descriptor. */
static struct change of_path(uint64_t flags)
{
	return (struct change){ .dirfd = AT_CWD, .path = 0, .flags = flags };
}

static struct change of_fd(const struct call *c)
{
	return (struct change){ .dirfd = c->arg[0], .is_fd = true };
}

/* --- names come and go --- */

static uint64_t without_umask(const struct call *c, uint64_t mode)
{
	return mode & ~(uint64_t)fs_guest_umask(c);
}

static void make_directory(struct call *c, uint64_t dirfd, unsigned path)
{
	change_do(c, &(struct change){
			     FILE_OP_MKDIR, dirfd, path, .a = without_umask(c, c->arg[path + 1]) });
}

void sys_mkdirat(struct call *c)
{
	make_directory(c, c->arg[0], 1);
}

/* Without a type it is a regular file. */
static void make_node(struct call *c, uint64_t dirfd, unsigned path)
{
	uint32_t mode = (uint32_t)c->arg[path + 1];

	change_do(c, &(struct change){ FILE_OP_MKNOD, dirfd, path,
			     .a = without_umask(c, mode & S_IFMT ? mode : mode | S_IFREG),
			     .b = c->arg[path + 2] });
}

void sys_mknodat(struct call *c)
{
	make_node(c, c->arg[0], 1);
}

void sys_unlinkat(struct call *c)
{
	bool is_dir = c->arg[2] & AT_REMOVEDIR;

	change_do(c, &(struct change){ is_dir ? FILE_OP_RMDIR : FILE_OP_UNLINK, c->arg[0], 1,
			     .flags = (uint32_t)c->arg[2] & ~(uint64_t)AT_REMOVEDIR });
}

static void rename_at(struct call *c, uint64_t flags)
{
	change_do(c, &(struct change){ FILE_OP_RENAME, c->arg[0], 1, .to_dirfd = c->arg[2],
			     .to_path = 3, .a = (uint32_t)flags });
}

void sys_renameat(struct call *c)
{
	rename_at(c, 0);
}

void sys_renameat2(struct call *c)
{
	rename_at(c, c->arg[4]);
}

/* linkat(2) is the one call that follows a link when it is asked to, not unless. */
void sys_linkat(struct call *c)
{
	uint64_t flags = (uint32_t)c->arg[4] ^ AT_SYMLINK_FOLLOW;

	if (flags & AT_SYMLINK_FOLLOW)
		flags ^= AT_SYMLINK_FOLLOW | AT_SYMLINK_NOFOLLOW;
	change_do(c, &(struct change){ FILE_OP_LINK, c->arg[0], 1, .to_dirfd = c->arg[2],
			     .to_path = 3, .flags = flags });
}

/* The text is the first argument. */
static void make_symlink(struct call *c, uint64_t dirfd, unsigned path)
{
	char text[PATH_MAX];
	int n = mem_read_string(c->task->tid, c->arg[0], text, sizeof(text));

	if (n <= 0)
		call_return(c, n == 0 ? -ENOENT : n == -ESRCH ? -EFAULT : n);
	else
		change_do(c, &(struct change){ FILE_OP_SYMLINK, dirfd, path, .text = text,
				     .text_len = (size_t)n });
}

void sys_symlinkat(struct call *c)
{
	make_symlink(c, c->arg[1], 2);
}

/* --- mode, owner, size --- */

static void set_mode(struct call *c, uint64_t dirfd, unsigned path, uint64_t flags)
{
	change_do(c, &(struct change){ FILE_OP_CHMOD, dirfd, path, .a = (uint16_t)c->arg[path + 1],
			     .flags = (uint32_t)flags });
}

void sys_fchmodat(struct call *c)
{
	set_mode(c, c->arg[0], 1, 0);
}

void sys_fchmodat2(struct call *c)
{
	set_mode(c, c->arg[0], 1, c->arg[3]);
}

void sys_fchmod(struct call *c)
{
	change_do(c, &(struct change){
			     FILE_OP_CHMOD, c->arg[0], .is_fd = true, .a = (uint16_t)c->arg[1] });
}

static void set_owner(struct call *c, uint64_t dirfd, unsigned path, uint64_t flags)
{
	change_do(c, &(struct change){ FILE_OP_CHOWN, dirfd, path, .a = (uint32_t)c->arg[path + 1],
			     .b = (uint32_t)c->arg[path + 2], .flags = (uint32_t)flags });
}

void sys_fchownat(struct call *c)
{
	set_owner(c, c->arg[0], 1, c->arg[4]);
}

void sys_fchown(struct call *c)
{
	change_do(c, &(struct change){ FILE_OP_CHOWN, c->arg[0], .is_fd = true,
			     .a = (uint32_t)c->arg[1], .b = (uint32_t)c->arg[2] });
}

void sys_truncate(struct call *c)
{
	if ((int64_t)c->arg[1] < 0)
		call_return(c, -EINVAL);
	else
		change_do(c, &(struct change){ FILE_OP_TRUNCATE, AT_CWD, 0, .a = c->arg[1] });
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

static bool is_time(const struct timespec *t)
{
	return is_special(t) || (t->tv_nsec >= 0 && t->tv_nsec < NS_PER_S);
}

/* A time that 64 bits of ns do not hold becomes the nearest that they do. */
static uint64_t time_on_wire(const struct timespec *t)
{
	int64_t ns = timespec_to_ns(*t);

	if (is_special(t))
		return t->tv_nsec == UTIME_NOW ? FILE_TIME_NOW : FILE_TIME_OMIT;
	return (uint64_t)MAX(ns, (int64_t)FILE_TIME_OMIT + 1);
}

static void set_times(struct call *c, struct change ch, const struct timespec times[2])
{
	if (!is_time(&times[0]) || !is_time(&times[1])) {
		call_return(c, -EINVAL);
		return;
	}
	ch.op = FILE_OP_UTIMENS;
	ch.a = time_on_wire(&times[0]);
	ch.b = time_on_wire(&times[1]);
	change_do(c, &ch);
}

/* Without times, now. */
static const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };

/* Without a path, the descriptor itself. */
static struct change of_path_or_fd(const struct call *c, uint64_t flags)
{
	return (struct change){ .dirfd = c->arg[0],
		.path = 1,
		.is_fd = !c->arg[1] && (int)c->arg[0] != AT_FDCWD,
		.flags = (uint32_t)flags };
}

void sys_utimensat(struct call *c)
{
	struct timespec times[2];

	if (c->arg[2] && mem_read(c->task->tid, c->arg[2], times, sizeof(times)) < 0)
		call_return(c, -EFAULT);
	else
		set_times(c, of_path_or_fd(c, c->arg[3]), c->arg[2] ? times : now);
}

#ifdef SYS_utimes
/* What is no time remains none. */
static struct timespec of_timeval(const struct timeval *tv)
{
	bool is_valid = tv->tv_usec >= 0 && tv->tv_usec < 1000000;

	return (struct timespec){ tv->tv_sec, is_valid ? tv->tv_usec * 1000 : -1 };
}

static void set_timevals(struct call *c, struct change ch, uint64_t at)
{
	struct timespec times[2] = { now[0], now[1] };
	struct timeval tv[2];

	if (at && mem_read(c->task->tid, at, tv, sizeof(tv)) < 0) {
		call_return(c, -EFAULT);
		return;
	}
	for (int i = 0; at && i < 2; i++)
		times[i] = of_timeval(&tv[i]);
	set_times(c, ch, times);
}

void sys_utimes(struct call *c)
{
	set_timevals(c, of_path(0), c->arg[1]);
}

void sys_futimesat(struct call *c)
{
	set_timevals(c, of_path_or_fd(c, 0), c->arg[2]);
}

void sys_utime(struct call *c)
{
	struct timespec times[2] = { now[0], now[1] };
	struct utimbuf buf;

	if (c->arg[1] && mem_read(c->task->tid, c->arg[1], &buf, sizeof(buf)) < 0) {
		call_return(c, -EFAULT);
		return;
	}
	if (c->arg[1]) {
		times[0] = (struct timespec){ .tv_sec = buf.actime };
		times[1] = (struct timespec){ .tv_sec = buf.modtime };
	}
	set_times(c, of_path(0), times);
}
#endif

/* --- extended attributes --- */

static void set_xattr(struct call *c, struct change ch)
{
	char text[FS_XATTR_NAME + XATTR_SIZE_MAX];
	uint64_t size = c->arg[3];
	int n = size > XATTR_SIZE_MAX ? -E2BIG : fs_xattr_name(c, text);

	if (n >= 0 && size && mem_read(c->task->tid, c->arg[2], text + n + 1, (size_t)size) < 0)
		n = -EFAULT;
	if (n < 0) {
		call_return(c, n);
		return;
	}
	ch.op = FILE_OP_SETXATTR;
	ch.a = (uint32_t)c->arg[4];
	ch.text = text;
	ch.text_len = (size_t)n + 1 + (size_t)size;
	change_do(c, &ch);
}

void sys_setxattr(struct call *c)
{
	set_xattr(c, of_path(0));
}

void sys_lsetxattr(struct call *c)
{
	set_xattr(c, of_path(AT_SYMLINK_NOFOLLOW));
}

void sys_fsetxattr(struct call *c)
{
	set_xattr(c, of_fd(c));
}

static void remove_xattr(struct call *c, struct change ch)
{
	char name[FS_XATTR_NAME];
	int n = fs_xattr_name(c, name);

	if (n < 0) {
		call_return(c, n);
		return;
	}
	ch.op = FILE_OP_REMOVEXATTR;
	ch.text = name;
	ch.text_len = (size_t)n;
	change_do(c, &ch);
}

void sys_removexattr(struct call *c)
{
	remove_xattr(c, of_path(0));
}

void sys_lremovexattr(struct call *c)
{
	remove_xattr(c, of_path(AT_SYMLINK_NOFOLLOW));
}

void sys_fremovexattr(struct call *c)
{
	remove_xattr(c, of_fd(c));
}

/* --- calls from before the *at ones --- */

#ifdef SYS_open
void sys_mkdir(struct call *c)
{
	make_directory(c, AT_CWD, 0);
}

void sys_mknod(struct call *c)
{
	make_node(c, AT_CWD, 0);
}

void sys_unlink(struct call *c)
{
	change_do(c, &(struct change){ .op = FILE_OP_UNLINK, .dirfd = AT_CWD, .path = 0 });
}

void sys_rmdir(struct call *c)
{
	change_do(c, &(struct change){ .op = FILE_OP_RMDIR, .dirfd = AT_CWD, .path = 0 });
}

void sys_rename(struct call *c)
{
	change_do(
		c, &(struct change){ FILE_OP_RENAME, AT_CWD, 0, .to_dirfd = AT_CWD, .to_path = 1 });
}

void sys_link(struct call *c)
{
	change_do(c, &(struct change){ FILE_OP_LINK, AT_CWD, 0, .to_dirfd = AT_CWD, .to_path = 1,
			     .flags = AT_SYMLINK_NOFOLLOW });
}

void sys_symlink(struct call *c)
{
	make_symlink(c, AT_CWD, 1);
}

void sys_chmod(struct call *c)
{
	set_mode(c, AT_CWD, 0, 0);
}

void sys_chown(struct call *c)
{
	set_owner(c, AT_CWD, 0, 0);
}

void sys_lchown(struct call *c)
{
	set_owner(c, AT_CWD, 0, AT_SYMLINK_NOFOLLOW);
}
#endif
