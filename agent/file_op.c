/* Theory of operation. An operation works on what is at a path, open by O_PATH, or on a place: a
 * directory and a name in it. Calls that take no such descriptor get the name that /proc has for
 * it; so none of them resolves a path of the target's by itself, and a symbolic link that was asked
 * for is not followed.
 *
 * The answer's text is the canonical path of what was touched, and behind it what else there is to
 * say. */
#include "file_op.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "file.h"
#include "log.h"
#include "resolve.h"

struct op {
	const struct target *target;
	const struct msg_file_op *m;
	char path[PATH_MAX];
	char second[PATH_MAX]; /* where that is a string */
	struct span rest;      /* where it is not */

	/* The answer. */
	struct file_attr attr;
	uint64_t version;
	char *text; /* PROTO_DATA_MAX bytes */
	size_t path_len, len;
};

/* --- what operations have in common --- */

static int put(struct op *o, const void *p, size_t n)
{
	if (n > PROTO_DATA_MAX - o->len)
		return -ENAMETOOLONG;
	memcpy(o->text + o->len, p, n);
	o->len += n;
	return 0;
}

static int put_path(struct op *o, const char *path)
{
	int r = put(o, path, strlen(path));

	o->path_len = o->len;
	return r;
}

static void put_attr(struct op *o, int fd, const struct stat *st)
{
	o->attr = file_attr_of(&o->target->creds, st);
	o->version = file_version(fd, st);
}

/* What is at the path; the fd or -errno. Its path is said. */
static int at_path(struct op *o)
{
	int nofollow = o->m->flags & FILE_NOFOLLOW ? O_NOFOLLOW : 0;
	cleanup_fd int fd = resolve_open(o->target, o->path, O_PATH | nofollow, 0);
	char name[PATH_MAX];
	ssize_t n = fd < 0 ? fd : resolve_name(o->target, fd, name);

	if (n < 0)
		return (int)n;
	put_path(o, name);
	creds_act_on(&o->target->creds, fd);
	return take_fd(&fd);
}

/* The result of a call on what is at the path, with its attributes afterwards. */
static int done_with(struct op *o, int fd, int result)
{
	struct stat st;

	if (result < 0)
		return -errno;
	if (fstat(fd, &st) == 0) {
		put_attr(o, fd, &st);
		o->attr.flags = file_flags(fd);
	}
	return 0;
}

/* The same for something that was made at a place; it is named without the slashes behind it, since
 * one that is a link by now would be followed. */
static int made_at(struct op *o, const struct place *p, int result)
{
	struct stat st;

	if (result < 0)
		return -errno;
	if (fstatat(p->dir, strrchr(p->path, '/') + 1, &st, AT_SYMLINK_NOFOLLOW) == 0)
		put_attr(o, p->dir, &st);
	return 0;
}

static int at_place(struct op *o, const char *path, struct place *p)
{
	int r = resolve_place(o->target, path, p);

	if (r == 0)
		creds_act_on(&o->target->creds, p->dir);
	return r;
}

/* --- what is asked of a path --- */

static int op_stat(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	ssize_t n = 0;
	int r = fd < 0 ? fd : done_with(o, fd, 0);

	if (r == 0 && S_ISLNK(o->attr.mode))
		n = readlinkat(fd, "", o->text + o->len, PROTO_DATA_MAX - o->len);
	if (n < 0)
		return -errno;
	o->len += (size_t)n;
	return r;
}

static int op_access(struct op *o)
{
	cleanup_fd int fd = at_path(o);

	if (fd < 0)
		return fd;
	if (o->m->a & ~(uint64_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	return done_with(o, fd, faccessat(fd, "", (int)o->m->a, AT_EMPTY_PATH | AT_EACCESS));
}

static int op_statfs(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	struct statfs fs;
	uint8_t fields[11 * 8], *p = fields;

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
#define FIELD(value) (put_uint(p, 8, (uint64_t)(value)), p += 8)
	FIELD(fs.f_type), FIELD(fs.f_bsize), FIELD(fs.f_blocks), FIELD(fs.f_bfree);
	FIELD(fs.f_bavail), FIELD(fs.f_files), FIELD(fs.f_ffree);
	FIELD((uint64_t)(uint32_t)fs.f_fsid.__val[1] << 32 | (uint32_t)fs.f_fsid.__val[0]);
	FIELD(fs.f_namelen), FIELD(fs.f_frsize), FIELD(fs.f_flags);
#undef FIELD
	done_with(o, fd, 0);
	return put(o, fields, sizeof(fields));
}

/* What getxattr(2) or listxattr(2) said, which is behind the path already. */
static int put_xattr(struct op *o, ssize_t n)
{
	if (n < 0)
		return -errno;
	o->len += (size_t)n;
	return 0;
}

/* A value of the longest kind leaves no room for the path beside it: that is no ERANGE, which the
 * kernel says of a bad name, too. */
static int op_getxattr(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];
	int r;

	if (fd < 0)
		return fd;
	done_with(o, fd, 0);
	resolve_fd_path(fd, path);
	r = put_xattr(o, getxattr(path, o->second, o->text + o->len, PROTO_DATA_MAX - o->len));
	return r == -ERANGE && getxattr(path, o->second, NULL, 0) >= 0 ? -E2BIG : r;
}

static int op_listxattr(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];
	int r;

	if (fd < 0)
		return fd;
	done_with(o, fd, 0);
	r = put_xattr(
		o, listxattr(resolve_fd_path(fd, path), o->text + o->len, PROTO_DATA_MAX - o->len));
	return r == -ERANGE ? -E2BIG : r;
}

/* --- what changes a file --- */

static int op_chmod(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];
	struct stat st;

	if (fd < 0)
		return fd;
	/* A few file systems would set it before Linux 6.6. */
	if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	return done_with(o, fd, chmod(resolve_fd_path(fd, path), o->m->a & 07777));
}

static int op_chown(struct op *o)
{
	const struct creds *c = &o->target->creds;
	cleanup_fd int fd = at_path(o);
	uid_t uid;
	gid_t gid;

	if (fd < 0)
		return fd;
	if (!creds_uid_outside(c, o->m->a, &uid) || !creds_gid_outside(c, o->m->b, &gid))
		return -EINVAL;
	return done_with(o, fd, fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

/* ns since 1970, or FILE_TIME_*. */
static struct timespec time_of(uint64_t v)
{
	if (v == FILE_TIME_NOW)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (v == FILE_TIME_OMIT)
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	return timespec_of_ns((int64_t)v);
}

static int op_utimens(struct op *o)
{
	const struct timespec times[2] = { time_of(o->m->a), time_of(o->m->b) };
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];

	if (fd < 0)
		return fd;
	return done_with(o, fd, utimensat(AT_FDCWD, resolve_fd_path(fd, path), times, 0));
}

static int op_truncate(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];

	if (fd < 0)
		return fd;
	return done_with(o, fd, truncate(resolve_fd_path(fd, path), (off_t)o->m->a));
}

static int op_setxattr(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];

	if (fd < 0)
		return fd;
	return done_with(o, fd,
		setxattr(resolve_fd_path(fd, path), o->second, o->rest.data, o->rest.len,
			(int)o->m->a));
}

static int op_removexattr(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	char path[RESOLVE_FD_PATH];

	if (fd < 0)
		return fd;
	return done_with(o, fd, removexattr(resolve_fd_path(fd, path), o->second));
}

/* --- what changes a directory --- */

typedef int place_fn(const struct op *o, const struct place *p);

/* Do it at the path's place, whose canonical path is said, and attributes if something was made. */
static int change(struct op *o, place_fn *fn, bool makes)
{
	struct place p = { .dir = -1 };
	int r = at_place(o, o->path, &p);

	if (r < 0)
		return r;
	r = fn(o, &p);
	r = makes ? made_at(o, &p, r) : r < 0 ? -errno : 0;
	if (r == 0)
		r = put_path(o, p.path);
	close_fd(&p.dir);
	return r;
}

static int make_dir(const struct op *o, const struct place *p)
{
	return mkdirat(p->dir, p->last, o->m->a & 07777);
}

static int op_mkdir(struct op *o)
{
	return change(o, make_dir, true);
}

static int remove_dir(__attribute__((unused)) const struct op *o, const struct place *p)
{
	return unlinkat(p->dir, p->last, AT_REMOVEDIR);
}

static int op_rmdir(struct op *o)
{
	return change(o, remove_dir, false);
}

static int remove_name(__attribute__((unused)) const struct op *o, const struct place *p)
{
	return unlinkat(p->dir, p->last, 0);
}

static int op_unlink(struct op *o)
{
	return change(o, remove_name, false);
}

static int make_symlink(const struct op *o, const struct place *p)
{
	return symlinkat(o->second, p->dir, p->last);
}

static int op_symlink(struct op *o)
{
	return change(o, make_symlink, true);
}

static int make_node(const struct op *o, const struct place *p)
{
	return mknodat(p->dir, p->last, (mode_t)o->m->a, 0);
}

/* A device would be one of this machine's. */
static int op_mknod(struct op *o)
{
	mode_t type = (mode_t)o->m->a & S_IFMT;

	if (type == S_IFCHR || type == S_IFBLK)
		return -EPERM;
	return change(o, make_node, true);
}

/* --- two paths --- */

/* The second path's place: an operation from the first's to there. */
static int rename_to(struct op *o, const struct place *from, const struct place *to)
{
	int r = made_at(
		o, to, renameat2(from->dir, from->last, to->dir, to->last, (unsigned)o->m->a));

	if (r < 0)
		return r;
	put_path(o, from->path);
	return put(o, to->path, strlen(to->path));
}

static int op_rename(struct op *o)
{
	struct place from = { .dir = -1 }, to = { .dir = -1 };
	int r = o->m->a & ~(uint64_t)(RENAME_NOREPLACE | RENAME_EXCHANGE)
			? -EINVAL
			: at_place(o, o->path, &from);

	if (r == 0)
		r = at_place(o, o->second, &to);
	if (r == 0)
		r = rename_to(o, &from, &to);
	close_fd(&from.dir);
	close_fd(&to.dir);
	return r;
}

static int op_link(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	struct place to = { .dir = -1 };
	char path[RESOLVE_FD_PATH];
	int r = fd < 0 ? fd : at_place(o, o->second, &to);

	if (r < 0)
		return r;
	r = made_at(o, &to,
		linkat(AT_FDCWD, resolve_fd_path(fd, path), to.dir, to.last, AT_SYMLINK_FOLLOW));
	if (r == 0)
		r = put(o, to.path, strlen(to.path));
	close_fd(&to.dir);
	return r;
}

/* --- the table --- */

/* What follows the path in a message. */
enum second {
	SECOND_NONE,
	SECOND_PATH,
	SECOND_TEXT,  /* to its end, without a zero byte */
	SECOND_VALUE, /* a text, a zero byte, and anything */
};

static const struct op_row {
	const char *name;
	int (*run)(struct op *o);
	enum second second;
} op_rows[FILE_OP_MAX] = {
	[FILE_OP_STAT] = { "stat", op_stat, SECOND_NONE },
	[FILE_OP_ACCESS] = { "access", op_access, SECOND_NONE },
	[FILE_OP_STATFS] = { "statfs", op_statfs, SECOND_NONE },
	[FILE_OP_GETXATTR] = { "getxattr", op_getxattr, SECOND_TEXT },
	[FILE_OP_LISTXATTR] = { "listxattr", op_listxattr, SECOND_NONE },
	[FILE_OP_MKDIR] = { "mkdir", op_mkdir, SECOND_NONE },
	[FILE_OP_RMDIR] = { "rmdir", op_rmdir, SECOND_NONE },
	[FILE_OP_UNLINK] = { "unlink", op_unlink, SECOND_NONE },
	[FILE_OP_RENAME] = { "rename", op_rename, SECOND_PATH },
	[FILE_OP_LINK] = { "link", op_link, SECOND_PATH },
	[FILE_OP_SYMLINK] = { "symlink", op_symlink, SECOND_TEXT },
	[FILE_OP_CHMOD] = { "chmod", op_chmod, SECOND_NONE },
	[FILE_OP_CHOWN] = { "chown", op_chown, SECOND_NONE },
	[FILE_OP_UTIMENS] = { "utimens", op_utimens, SECOND_NONE },
	[FILE_OP_TRUNCATE] = { "truncate", op_truncate, SECOND_NONE },
	[FILE_OP_MKNOD] = { "mknod", op_mknod, SECOND_NONE },
	[FILE_OP_SETXATTR] = { "setxattr", op_setxattr, SECOND_VALUE },
	[FILE_OP_REMOVEXATTR] = { "removexattr", op_removexattr, SECOND_TEXT },
};

/* Take a text of ours from the front of s; false: it is longer than any of them, or has no end. */
static bool take_text(struct span s, size_t n, char text[PATH_MAX])
{
	if (n >= PATH_MAX || memchr(s.data, '\0', n))
		return false;
	memcpy(text, s.data, n);
	text[n] = '\0';
	return true;
}

static bool take_value(struct op *o, struct span s)
{
	const char *end = memchr(s.data, '\0', s.len);
	size_t n = end ? (size_t)(end - (const char *)s.data) : 0;

	if (!end || !take_text(s, n, o->second))
		return false;
	o->rest = (struct span){ end + 1, s.len - (uint32_t)n - 1 };
	return true;
}

/* The message's strings become ours; false: no honest client sends it. */
static bool take_message(struct op *o, enum second kind)
{
	struct span path = o->m->path, second;

	if (o->m->path_len > path.len || o->m->flags & ~(uint32_t)FILE_NOFOLLOW)
		return false;
	second = (struct span){ (const char *)path.data + o->m->path_len,
		path.len - o->m->path_len };
	path.len = o->m->path_len;
	if (!resolve_take(path, o->path))
		return false;
	switch (kind) {
	case SECOND_PATH:
		return resolve_take(second, o->second);
	case SECOND_TEXT:
		return take_text(second, second.len, o->second);
	case SECOND_VALUE:
		return take_value(o, second);
	case SECOND_NONE:
		break;
	}
	return second.len == 0;
}

static int run_as_target(struct op *o, const struct op_row *row)
{
	int r = creds_enter(&o->target->creds);

	if (r < 0)
		return r;
	r = row->run(o);
	creds_leave(&o->target->creds);
	return r;
}

int file_op(struct mux *mux, const struct target *t, const struct msg *m)
{
	static char text[PROTO_DATA_MAX];
	struct op o = { .target = t, .m = &m->file_op, .text = text };
	struct msg answer = { .type = MSG_file_done, .id = m->id };
	const struct op_row *row = &op_rows[MIN((unsigned)m->file_op.op, FILE_OP_MAX - 1u)];
	char path[PATH_MAX];
	int r;

	if (m->file_op.op >= FILE_OP_MAX || !row->run || !take_message(&o, row->second))
		return -EPROTO;
	r = run_as_target(&o, row);
	if (r < 0) {
		answer.file_done.error = (uint32_t)file_error(r);
	} else {
		answer.file_done.attr = o.attr;
		answer.file_done.version = o.version;
		answer.file_done.path_len = (uint16_t)o.path_len;
		answer.file_done.path = (struct span){ text, (uint32_t)o.len };
	}
	log_dbg("request %u: %s %s: %s", m->id, row->name,
		proto_print(span_of(o.path), path, sizeof(path)), r < 0 ? strerror(-r) : "done");
	mux_send(mux, &answer);
	return 0;
}
