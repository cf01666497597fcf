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

/* The bytes behind what is in the answer. */
static char *end_of(const struct op *o)
{
	return o->text + o->len;
}

static size_t room_in(const struct op *o)
{
	return PROTO_DATA_MAX - o->len;
}

static int put(struct op *o, const void *p, size_t n)
{
	if (n > room_in(o))
		return -ENAMETOOLONG;
	memcpy(end_of(o), p, n);
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

/* What is said of a file that is open. */
static void put_file(struct op *o, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0) {
		put_attr(o, fd, &st);
		o->attr.flags = file_flags(fd);
	}
}

/* What is said of a thing that was made at a place; it is named without the slashes behind it,
 * since one that is a link by now would be followed. */
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

/* Looking at a link is no use of it: its times are told as they were before. */
static int op_stat(struct op *o)
{
	cleanup_fd int fd = at_path(o);
	ssize_t n = 0;

	if (fd < 0)
		return fd;
	put_file(o, fd);
	if (S_ISLNK(o->attr.mode))
		n = readlinkat(fd, "", end_of(o), room_in(o));
	if (n < 0)
		return -errno;
	o->len += (size_t)n;
	return 0;
}

/* Those below do one call on what is open at fd, whose name in /proc is `name`. They return as it
 * does: -1 and errno, or how many bytes there are now at the answer's end. */

static int fail(int error)
{
	errno = error;
	return -1;
}

static ssize_t do_access(struct op *o, int fd, __attribute__((unused)) const char *name)
{
	if (o->m->a & ~(uint64_t)(R_OK | W_OK | X_OK))
		return fail(EINVAL);
	return faccessat(fd, "", (int)o->m->a, AT_EMPTY_PATH | AT_EACCESS);
}

static ssize_t do_statfs(struct op *o, int fd, __attribute__((unused)) const char *name)
{
	uint8_t *begin = (uint8_t *)end_of(o), *p = begin;
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -1;
#define FIELD(value) (put_uint(p, 8, (uint64_t)(value)), p += 8)
	FIELD(fs.f_type), FIELD(fs.f_bsize), FIELD(fs.f_blocks), FIELD(fs.f_bfree);
	FIELD(fs.f_bavail), FIELD(fs.f_files), FIELD(fs.f_ffree);
	FIELD((uint64_t)(uint32_t)fs.f_fsid.__val[1] << 32 | (uint32_t)fs.f_fsid.__val[0]);
	FIELD(fs.f_namelen), FIELD(fs.f_frsize), FIELD(fs.f_flags);
#undef FIELD
	return p - begin;
}

/* A value of the longest kind leaves no room for the path beside it: that is no ERANGE, which the
 * kernel says of a bad name, too. */
static ssize_t do_getxattr(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	ssize_t n = getxattr(name, o->second, end_of(o), room_in(o));

	if (n < 0 && errno == ERANGE)
		return getxattr(name, o->second, NULL, 0) >= 0 ? fail(E2BIG) : fail(ERANGE);
	return n;
}

static ssize_t do_listxattr(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	ssize_t n = listxattr(name, end_of(o), room_in(o));

	return n < 0 && errno == ERANGE ? fail(E2BIG) : n;
}

/* --- what changes a file --- */

static ssize_t do_chmod(struct op *o, int fd, const char *name)
{
	struct stat st;

	/* A few file systems would set it before Linux 6.6. */
	if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return fail(EOPNOTSUPP);
	return chmod(name, o->m->a & 07777);
}

static ssize_t do_chown(struct op *o, int fd, __attribute__((unused)) const char *name)
{
	const struct creds *c = &o->target->creds;
	uid_t uid;
	gid_t gid;

	if (!creds_uid_outside(c, o->m->a, &uid) || !creds_gid_outside(c, o->m->b, &gid))
		return fail(EINVAL);
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
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

static ssize_t do_utimens(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	const struct timespec times[2] = { time_of(o->m->a), time_of(o->m->b) };

	return utimensat(AT_FDCWD, name, times, 0);
}

static ssize_t do_truncate(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	return truncate(name, (off_t)o->m->a);
}

static ssize_t do_setxattr(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	return setxattr(name, o->second, o->rest.data, o->rest.len, (int)o->m->a);
}

static ssize_t do_removexattr(struct op *o, __attribute__((unused)) int fd, const char *name)
{
	return removexattr(name, o->second);
}

/* --- what changes a directory --- */

static int do_mkdir(const struct op *o, const struct place *p)
{
	return mkdirat(p->dir, p->last, o->m->a & 07777);
}

static int do_rmdir(__attribute__((unused)) const struct op *o, const struct place *p)
{
	return unlinkat(p->dir, p->last, AT_REMOVEDIR);
}

static int do_unlink(__attribute__((unused)) const struct op *o, const struct place *p)
{
	return unlinkat(p->dir, p->last, 0);
}

static int do_symlink(const struct op *o, const struct place *p)
{
	return symlinkat(o->second, p->dir, p->last);
}

/* A device would be one of this machine's. */
static int do_mknod(const struct op *o, const struct place *p)
{
	mode_t type = (mode_t)o->m->a & S_IFMT;

	if (type == S_IFCHR || type == S_IFBLK)
		return fail(EPERM);
	return mknodat(p->dir, p->last, (mode_t)o->m->a, 0);
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
	enum second second;
	/* One of these: what is done to a file, at a place, or in a way of its own. */
	ssize_t (*on_file)(struct op *o, int fd, const char *name);
	int (*at_place)(const struct op *o, const struct place *p);
	int (*run)(struct op *o);
	bool makes; /* a thing at the place, of which the answer tells */
} op_rows[FILE_OP_MAX] = {
	[FILE_OP_STAT] = { "stat", .run = op_stat },
	[FILE_OP_ACCESS] = { "access", .on_file = do_access },
	[FILE_OP_STATFS] = { "statfs", .on_file = do_statfs },
	[FILE_OP_GETXATTR] = { "getxattr", SECOND_TEXT, .on_file = do_getxattr },
	[FILE_OP_LISTXATTR] = { "listxattr", .on_file = do_listxattr },
	[FILE_OP_MKDIR] = { "mkdir", .at_place = do_mkdir, .makes = true },
	[FILE_OP_RMDIR] = { "rmdir", .at_place = do_rmdir },
	[FILE_OP_UNLINK] = { "unlink", .at_place = do_unlink },
	[FILE_OP_RENAME] = { "rename", SECOND_PATH, .run = op_rename },
	[FILE_OP_LINK] = { "link", SECOND_PATH, .run = op_link },
	[FILE_OP_SYMLINK] = { "symlink", SECOND_TEXT, .at_place = do_symlink, .makes = true },
	[FILE_OP_CHMOD] = { "chmod", .on_file = do_chmod },
	[FILE_OP_CHOWN] = { "chown", .on_file = do_chown },
	[FILE_OP_UTIMENS] = { "utimens", .on_file = do_utimens },
	[FILE_OP_TRUNCATE] = { "truncate", .on_file = do_truncate },
	[FILE_OP_MKNOD] = { "mknod", .at_place = do_mknod, .makes = true },
	[FILE_OP_SETXATTR] = { "setxattr", SECOND_VALUE, .on_file = do_setxattr },
	[FILE_OP_REMOVEXATTR] = { "removexattr", SECOND_TEXT, .on_file = do_removexattr },
};

/* The file's attributes are those afterwards. */
static int run_on_file(struct op *o, const struct op_row *row)
{
	cleanup_fd int fd = at_path(o);
	char name[RESOLVE_FD_PATH];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = row->on_file(o, fd, resolve_fd_path(fd, name));
	if (n < 0)
		return -errno;
	o->len += (size_t)n;
	put_file(o, fd);
	return 0;
}

/* The place's canonical path is said. */
static int run_at_place(struct op *o, const struct op_row *row)
{
	struct place p = { .dir = -1 };
	int r = at_place(o, o->path, &p);

	if (r < 0)
		return r;
	r = row->at_place(o, &p);
	r = row->makes ? made_at(o, &p, r) : r < 0 ? -errno : 0;
	if (r == 0)
		r = put_path(o, p.path);
	close_fd(&p.dir);
	return r;
}

static int run(struct op *o, const struct op_row *row)
{
	if (row->on_file)
		return run_on_file(o, row);
	return row->at_place ? run_at_place(o, row) : row->run(o);
}

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
	r = run(o, row);
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

	if (m->file_op.op >= FILE_OP_MAX || !row->name || !take_message(&o, row->second))
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
