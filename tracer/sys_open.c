/* Opens. One question to the agent opens the file in the target and brings what has changed of it;
 * then the copy is opened with the guest's flags, and the descriptor is the guest's: all that
 * follows is between it and the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fetch.h"
#include "fs.h"
#include "mem.h"
#include "path.h"
#include "proc_path.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* O_TMPFILE has O_DIRECTORY in it. */
#define TMPFILE_ALONE (O_TMPFILE & ~O_DIRECTORY)

/* What an open asks for, in the form of openat2(2). */
struct request {
	uint64_t dirfd;
	unsigned path; /* which argument that is */
	struct open_how how;
	size_t base; /* with RESOLVE_BENEATH or _IN_ROOT: length of the directory, in the name */
};

struct opening {
	struct fetch_call wait;
	struct request request;
	struct name_copy *name; /* it reads a file of name resolution; or NULL */
};

/* --- the end of it --- */

static bool is_tmpfile(uint64_t flags)
{
	return (flags & O_TMPFILE) == O_TMPFILE;
}

static int open_copy(const struct opening *o)
{
	const struct open_how *how = &o->request.how;
	const struct fetch *f = &o->wait.fetch;
	const int done = O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW;
	int flags = (int)how->flags, fd;

	if (flags & O_PATH)
		fd = fcntl(f->copy, F_DUPFD_CLOEXEC, 0);
	else if (is_tmpfile(how->flags))
		fd = openat(f->copy, ".", flags | O_CLOEXEC,
			(mode_t)how->mode & ~fs_guest_umask(o->wait.call));
	else
		return tree_open_copy(&f->fs->tree, f->copy, (flags & ~done) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The target's process may write to it and not read it: its blocks around what the guest writes are
 * not known. */
static bool is_blind(const struct fetch *f, const struct tree_node *node)
{
	return f->want & FILE_WRITE && f->want & FILE_CONTENT && S_ISREG(f->attr.mode) &&
	       !node->has_content;
}

/* What a descriptor for writing, or one that stays, brings with it. 0 or -errno. */
static int attend_copy(struct fetch *f)
{
	struct tree_node *node = tree_node(&f->fs->tree, f->copy);

	if (is_blind(f, node)) {
		fetch_close_handle(f);
		return -EACCES;
	}
	if (f->want & FILE_WRITE)
		return writeback_opened(
			&f->fs->writeback, node, f->copy, f->path, f->query.id, f->want);
	if (f->want & FILE_READ && S_ISREG(f->attr.mode))
		fs_watch(&f->fs->watches, f->copy, f->path, false);
	return 0;
}

static void give(struct opening *o, int fd)
{
	uint64_t flags = o->request.how.flags;
	const struct fetch *f = &o->wait.fetch;
	char path[PATH_MAX];
	bool named = !is_tmpfile(flags) &&
		     tree_kernel_path(&f->fs->tree, f->path, path) <= sizeof(path);

	call_open(fetch_call_end(&o->wait), fd, named ? path : NULL, flags);
}

/* Without a link what was fetched before is as good. */
static int end_name(struct opening *o, int error)
{
	name_copy_fetched(o->name, &o->wait.fetch, error);
	return error == EIO && name_copy_take(o->name, &o->wait.fetch) ? 0 : error;
}

static void finish(struct opening *o, int error)
{
	int fd = error ? -error : attend_copy(&o->wait.fetch);

	if (fd == 0)
		fd = open_copy(o);
	if (fd < 0)
		call_return(fetch_call_end(&o->wait), fd);
	else
		give(o, fd);
}

static void opened(struct fetch_call *w, int error)
{
	struct opening *o = container_of(w, struct opening, wait);

	finish(o, o->name ? end_name(o, error) : error);
}

/* --- asking --- */

static const struct {
	int flag;
	uint32_t want;
} wants[] = {
	{ O_APPEND, FILE_APPEND },
	{ O_CREAT, FILE_CREATE },
	{ O_EXCL, FILE_EXCL },
	{ O_TRUNC, FILE_TRUNC },
	{ O_DIRECTORY, FILE_DIRECTORY },
	{ O_NOFOLLOW, FILE_NOFOLLOW },
};

static const struct {
	uint64_t resolve;
	uint32_t want;
} ways[] = {
	{ RESOLVE_BENEATH, FILE_BENEATH },
	{ RESOLVE_IN_ROOT, FILE_IN_ROOT },
	{ RESOLVE_NO_SYMLINKS, FILE_NO_SYMLINKS },
	{ RESOLVE_NO_XDEV, FILE_NO_XDEV },
};

/* An unnamed file is made beside the copies of its directory, when there is a way to it. */
static uint32_t want_of(const struct open_how *how)
{
	uint64_t flags = how->flags;
	const uint32_t access[] = { FILE_READ, FILE_WRITE, FILE_READ | FILE_WRITE, FILE_PATH };
	uint32_t want = 0, way = 0;

	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		want |= flags & (uint64_t)wants[i].flag ? wants[i].want : 0;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		way |= how->resolve & ways[i].resolve ? ways[i].want : 0;
	if (is_tmpfile(flags))
		return FILE_PATH | FILE_DIRECTORY | FILE_EXEC | FILE_MODIFY | way;
	if (flags & O_PATH)
		return FILE_PATH | (want & (FILE_DIRECTORY | FILE_NOFOLLOW)) | way;
	want |= way;
	want |= access[flags & O_ACCMODE];
	/* Who only adds to a file need not have what is in it. */
	if (!(want & FILE_TRUNC) && ((want & FILE_READ) || !(want & FILE_APPEND)))
		want |= FILE_CONTENT;
	return want & FILE_WRITE ? want : want | FILE_LIST;
}

static enum fs_access access_of(uint64_t flags)
{
	bool writes = !(flags & O_PATH) &&
		      (flags & (O_ACCMODE | O_CREAT | O_TRUNC) || is_tmpfile(flags));

	return writes ? FS_WRITES : FS_READS;
}

/* No number is left for a descriptor. /proc/PID/fd has the count of those that are open as its
 * size, since Linux 6.2; before that it is 0. */
static bool has_full_table(const struct call *c)
{
	pid_t tid = c->task->tid;
	struct rlimit limit;
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd", tid);
	return stat(path, &st) == 0 && prlimit(tid, RLIMIT_NOFILE, NULL, &limit) == 0 &&
	       (rlim_t)st.st_size >= limit.rlim_cur;
}

/* Opened to be read, whatever it is: this and nothing else is asked about. */
#define WANT_READ (FILE_READ | FILE_CONTENT | FILE_LIST)

static void ask_agent(struct call *c, const struct request *request, const struct fs_name *n)
{
	const struct open_how *how = &request->how;
	struct fs *fs = &c->tracer->fs;
	uint32_t want = want_of(how), mode = 0;
	struct opening *o;

	if (want & (FILE_CREATE | FILE_TRUNC) && has_full_table(c)) {
		call_return(c, -EMFILE); /* and nothing is made or cut */
		return;
	}
	o = fetch_call_new(c, sizeof(*o), opened, NULL);
	if (!o)
		return;
	o->request = *request;
	o->wait.fetch.base = (uint16_t)request->base;
	if (want == WANT_READ && strcmp(n->full, n->path) == 0)
		o->name = name_copies_find(&fs->names, n->path);
	if (how->flags & O_CREAT)
		mode = (uint32_t)how->mode & ~fs_guest_umask(c) & 07777;
	if (o->name && name_copy_take(o->name, &o->wait.fetch))
		finish(o, 0);
	else
		fetch_call_start(&o->wait, want, mode, 0, n->full);
}

/* A copy that was made here, and that is only read. */
static void open_made(struct call *c, const struct request *request, const struct fs_name *n)
{
	char path[PATH_MAX];
	int fd;

	tree_kernel_path(&c->tracer->fs.tree, n->path, path);
	fd = open(path, (int)request->how.flags | O_CLOEXEC);
	if (fd < 0)
		call_return(c, -errno);
	else
		call_open(c, fd, path, request->how.flags);
}

/* The directory decides: what is beneath the target's is the target's. An absolute path begins
 * there, too, or is refused. */
static void open_beneath(struct call *c, const struct request *request)
{
	struct request there = *request;
	char given[PATH_MAX];
	struct fs_name n;
	int len;

	if (!fs_name_of_fd(c, request->dirfd, &n)) {
		call_continue(c);
		return;
	}
	there.base = strlen(n.full);
	len = mem_read_string(c->task->tid, c->arg[request->path], given, sizeof(given));
	if (len > 0 && *given == '/' && request->how.resolve & RESOLVE_BENEATH)
		len = -EXDEV;
	if (len > 0 && there.base + (size_t)len + 2 > sizeof(n.full))
		len = -ENAMETOOLONG;
	if (len <= 0) {
		call_return(c, len < 0 ? len : -ENOENT);
		return;
	}
	snprintf(n.full + there.base, sizeof(n.full) - there.base, "/%s", given);
	there.base++;
	snprintf(n.path, sizeof(n.path), "%s", n.full);
	path_normalize(n.path);
	ask_agent(c, &there, &n);
}

static void open_any(struct call *c, const struct request *request)
{
	uint64_t flags = request->how.flags;
	struct fs_name n;
	int r;

	if (request->how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
		open_beneath(c, request);
		return;
	}
	r = fs_name_get(
		c, request->dirfd, request->path, access_of(flags), !(flags & O_NOFOLLOW), &n);
	if (r < 0)
		call_return(c, r);
	else if (n.made)
		open_made(c, request, &n);
	else if (fs_is_remote(c, &n))
		ask_agent(c, request, &n);
}

/* --- the calls --- */

/* An unnamed file that could not be written to: the kernel says so before it looks at the path. */
static bool is_refused(uint64_t flags)
{
	return flags & TMPFILE_ALONE && (!is_tmpfile(flags) || !(flags & (O_WRONLY | O_RDWR)));
}

static void open_at(struct call *c, uint64_t dirfd, unsigned path, uint64_t flags, uint64_t mode)
{
	struct request request = {
		.dirfd = dirfd,
		.path = path,
		.how = { .flags = (uint32_t)flags },
	};

	if (is_refused(flags)) {
		call_continue(c);
		return;
	}
	/* openat(2) ignores a mode that it does not need, openat2(2) refuses it. */
	if (flags & (O_CREAT | TMPFILE_ALONE))
		request.how.mode = mode & 07777;
	open_any(c, &request);
}

#ifdef SYS_open
void sys_open(struct call *c)
{
	open_at(c, (uint64_t)AT_FDCWD, 0, c->arg[1], c->arg[2]);
}

void sys_creat(struct call *c)
{
	open_at(c, (uint64_t)AT_FDCWD, 0, O_CREAT | O_WRONLY | O_TRUNC, c->arg[1]);
}
#endif

void sys_openat(struct call *c)
{
	open_at(c, c->arg[0], 1, c->arg[2], c->arg[3]);
}

/* The kernel looks at the struct before the path. */
static bool is_sane(const struct open_how *how)
{
	return syscall(SYS_openat2, AT_FDCWD, "", how, sizeof(*how)) < 0 && errno != EINVAL;
}

/* A larger struct is a newer kernel's: the kernel decides, on a local file. */
void sys_openat2(struct call *c)
{
	struct request request = { .dirfd = c->arg[0], .path = 1 };

	if (c->arg[3] != sizeof(request.how) ||
		mem_read(c->task->tid, c->arg[2], &request.how, sizeof(request.how)) < 0 ||
		!is_sane(&request.how))
		call_continue(c);
	else
		open_any(c, &request);
}

/* --- local files that are waited for --- */

static uint64_t flags_of(const struct call *c)
{
	struct open_how how = { 0 };

	switch (c->def->nr) {
	case SYS_openat:
		return c->arg[2];
	case SYS_openat2:
		mem_read(c->task->tid, c->arg[2], &how, sizeof(how));
		return how.flags;
#ifdef SYS_open
	case SYS_open:
		return c->arg[1];
#endif
	default:
		return 0;
	}
}

/* fifo(7): until somebody opens the other end; and some devices. */
bool open_may_wait(const struct call *c)
{
	bool at = c->def->nr == SYS_openat || c->def->nr == SYS_openat2;
	char given[PATH_MAX], base[PROC_PATH_LINK] = "", path[PATH_MAX + PROC_PATH_LINK];
	pid_t tid = c->task->tid;
	struct stat st;

	if (flags_of(c) & (O_NONBLOCK | O_PATH) ||
		mem_read_string(tid, c->arg[at], given, sizeof(given)) <= 0)
		return false;
	if (*given != '/')
		proc_path_base(tid, at ? (int)c->arg[0] : AT_FDCWD, base);
	snprintf(path, sizeof(path), "%s%s%s", base, *base ? "/" : "", given);
	return stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}
