/* Opens. One question to the agent opens the file in the target and brings what has changed of it;
 * then the copy is opened with the guest's flags, and the descriptor is the guest's: all that
 * follows is between it and the kernel.
 *
 * The files of name resolution go their own way (names.c). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fs.h"
#include "mem.h"
#include "names.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* What an open asks for, in the form of openat2(2). */
struct request {
	uint64_t dirfd, path; /* the arguments */
	struct open_how how;
};

struct opening {
	struct fs_wait wait;
	struct request request;
	uint32_t want;
	char *base;    /* with RESOLVE_BENEATH: what the file must be beneath, in the target */
	char *lexical; /* with RESOLVE_NO_SYMLINKS: where it must be */
	int copy;      /* O_PATH */
	char *path;    /* of the copy, canonical */
	struct file_attr attr;
	struct tree_node *node;
	struct tree_content content;
	struct tree_listing listing;
	int failed; /* errno of ours while it came */
};

/* --- the end of it --- */

static bool is_tmpfile(uint64_t flags)
{
	return (flags & O_TMPFILE) == O_TMPFILE;
}

static void opening_done(struct opening *o)
{
	close_fd(&o->copy);
	free(o->path);
	free(o->base);
	free(o->lexical);
	fs_wait_over(&o->wait);
}

/* The agent has opened the file for writing, and nobody will have it. */
static void close_handle(struct opening *o)
{
	struct msg m = { .type = MSG_file_close, .id = o->wait.query.id };

	if (o->want & FILE_WRITE)
		mux_send(&o->wait.fs->tracer->link.mux, &m);
}

static void fail(struct opening *o, int error)
{
	o->wait.call->cancel = NULL;
	call_return(o->wait.call, -error);
	opening_done(o);
}

static int open_for_writing(struct opening *o)
{
	if (!(o->want & FILE_WRITE))
		return 0;
	return writeback_opened(&o->wait.fs->writeback, o->node, o->copy, o->path, o->wait.query.id,
		o->want & FILE_APPEND);
}

static int open_copy(const struct opening *o)
{
	const struct open_how *how = &o->request.how;
	const int done = O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW;
	int flags = (int)how->flags, fd;

	if (flags & O_PATH)
		fd = fcntl(o->copy, F_DUPFD_CLOEXEC, 0);
	else if (is_tmpfile(how->flags))
		fd = openat(o->copy, ".", flags | O_CLOEXEC,
			(mode_t)how->mode & ~fs_guest_umask(o->wait.call));
	else
		return tree_open_copy(&o->wait.fs->tree, o->copy, (flags & ~done) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The copy is as it shall be. */
static void finish(struct opening *o)
{
	int fd, r = o->failed ? -o->failed : open_for_writing(o);

	if (r < 0) {
		if (o->failed)
			close_handle(o);
		fail(o, -r);
		return;
	}
	fd = open_copy(o);
	if (fd < 0) {
		fail(o, -fd);
		return;
	}
	o->wait.call->cancel = NULL;
	call_open(o->wait.call, fd, (int)o->request.how.flags);
	opening_done(o);
}

static void opening_dropped(struct fs_wait *w)
{
	struct opening *o = container_of(w, struct opening, wait);

	if (o->content.tree)
		tree_content_abort(&o->content);
	if (o->listing.tree)
		tree_list_abort(&o->listing);
	close_handle(o);
	close_fd(&o->copy);
	free(o->path);
	free(o->base);
	free(o->lexical);
}

/* --- what the agent found --- */

static bool is_beneath(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 1)
		return true;
	return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

/* The restrictions of openat2(2), seen from where the file turned out to be. */
static int check_way(const struct opening *o, const char *path)
{
	if (o->base && !is_beneath(path, o->base))
		return EXDEV;
	if (o->lexical && strcmp(path, o->lexical) != 0)
		return ELOOP;
	return 0;
}

/* The file was cut in the target, or made: its copy is empty. */
static int make_empty(struct opening *o, uint64_t version)
{
	struct tree_content *content = &o->content;
	int r = tree_content_begin(content, &o->wait.fs->tree, o->path, 0);

	if (r == 0)
		r = tree_content_end(content, &o->attr, 0, version);
	content->tree = NULL;
	return r;
}

static bool is_emptied(const struct opening *o)
{
	return S_ISREG(o->attr.mode) && o->attr.size == 0 && o->want & FILE_WRITE;
}

static int begin(struct opening *o, const struct remote_found *found)
{
	struct tree *tree = &o->wait.fs->tree;
	int r = check_way(o, found->path);

	if (r)
		return -r;
	o->attr = *found->attr;
	o->path = strdup(found->path);
	if (!o->path)
		return -ENOMEM;
	o->copy = fs_put(o->wait.fs, found, &o->node);
	if (o->copy < 0)
		return o->copy;
	if (found->content == FILE_BYTES)
		return tree_content_begin(&o->content, tree, o->path, 0);
	if (found->content == FILE_ENTRIES)
		return tree_list_begin(&o->listing, tree, o->path);
	return is_emptied(o) ? make_empty(o, found->version) : 0;
}

static void on_found(struct remote_query *q, int error, const struct remote_found *found)
{
	struct opening *o = container_of(q, struct opening, wait.query);
	int r;

	if (error) {
		fail(o, error);
		return;
	}
	r = begin(o, found);
	o->failed = -r;
	if (found->content != FILE_BYTES && found->content != FILE_ENTRIES)
		finish(o);
}

static void on_data(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n)
{
	struct opening *o = container_of(q, struct opening, wait.query);
	int r = o->failed ? 0 : tree_content_data(&o->content, offset, p, n);

	if (r < 0)
		o->failed = -r;
}

static void on_entry(struct remote_query *q, const struct file_attr *attr, const char *name,
	size_t name_len, const char *link, size_t link_len)
{
	struct opening *o = container_of(q, struct opening, wait.query);
	int r = o->failed ? 0 : tree_list_entry(&o->listing, attr, name, name_len, link, link_len);

	if (r < 0)
		o->failed = -r;
}

static void end_content(struct opening *o, uint64_t size, uint64_t version)
{
	o->attr.size = size;
	if (o->failed)
		tree_content_abort(&o->content);
	else
		o->failed = -tree_content_end(&o->content, &o->attr, size, version);
	o->content.tree = NULL;
}

static void end_listing(struct opening *o)
{
	if (o->failed)
		tree_list_abort(&o->listing);
	else
		o->failed = -tree_list_end(&o->listing);
	o->listing.tree = NULL;
}

static void on_end(struct remote_query *q, int error, uint64_t size, uint64_t version)
{
	struct opening *o = container_of(q, struct opening, wait.query);

	if (!o->failed)
		o->failed = error;
	if (o->content.tree)
		end_content(o, size, version);
	if (o->listing.tree)
		end_listing(o);
	finish(o);
}

static const struct remote_ops opening_ops = {
	.found = on_found,
	.data = on_data,
	.entry = on_entry,
	.end = on_end,
};

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

/* An unnamed file is made beside the copies of its directory, when there is a way to it. */
static uint32_t want_of(uint64_t flags)
{
	const uint32_t access[] = { FILE_READ, FILE_WRITE, FILE_READ | FILE_WRITE, FILE_PATH };
	uint32_t want = 0;

	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		want |= flags & (uint64_t)wants[i].flag ? wants[i].want : 0;
	if (is_tmpfile(flags))
		return FILE_PATH | FILE_DIRECTORY | FILE_EXEC;
	if (flags & O_PATH)
		return FILE_PATH | (want & (FILE_DIRECTORY | FILE_NOFOLLOW));
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

/* What the copy has already. A copy that the guest writes to is not to be overwritten by what the
 * target had before. */
static uint64_t known_version(const struct fs *fs, const struct fs_name *n, uint32_t *want)
{
	cleanup_fd int fd = tree_at(&fs->tree, n->path);
	const struct tree_node *node = fd < 0 ? NULL : tree_node(&fs->tree, fd);

	if (node && node->writeback)
		*want &= ~(uint32_t)FILE_CONTENT;
	return node && node->has_content ? node->version : 0;
}

/* A directory that a path must not leave; false: no memory. */
static bool note_restrictions(struct opening *o, const struct fs_name *n)
{
	uint64_t resolve = o->request.how.resolve;
	struct fs_name base;

	if (resolve & RESOLVE_NO_SYMLINKS) {
		o->lexical = strdup(n->path);
		if (!o->lexical)
			return false;
	}
	if (!(resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)))
		return true;
	o->base = strdup(fs_name_of_fd(o->wait.call, o->request.dirfd, &base) ? base.path : "/");
	return o->base;
}

static void ask_agent(struct call *c, const struct request *request, const struct fs_name *n)
{
	struct opening *o = fs_wait_new(c, sizeof(*o), NULL);
	uint64_t flags = request->how.flags, known;
	uint32_t mode;

	if (!o)
		return;
	o->wait.query.ops = &opening_ops;
	o->wait.dropped = opening_dropped;
	o->request = *request;
	o->copy = -1;
	o->want = want_of(flags);
	known = known_version(o->wait.fs, n, &o->want);
	mode = flags & O_CREAT ? (uint32_t)request->how.mode & ~fs_guest_umask(c) & 07777 : 0;
	if (!note_restrictions(o, n))
		fs_park(&o->wait, -ENOMEM);
	else
		fs_park(&o->wait, remote_open(&o->wait.fs->remote, &o->wait.query, o->want, mode,
					  known, 0, n->full));
}

static void open_here(struct call *c, const struct request *request, const char *path)
{
	struct open_how how = request->how;
	int fd;

	if (how.flags & (O_CREAT | __O_TMPFILE))
		how.mode &= ~(uint64_t)fs_guest_umask(c);
	how.flags |= O_CLOEXEC | O_NOCTTY;
	how.resolve = 0;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (fd < 0)
		call_return(c, -errno);
	else
		call_open(c, fd, (int)request->how.flags);
}

/* The names of the files of name resolution are compared as they are written, absolute. */
static bool is_of_names(struct call *c, const struct request *request)
{
	char path[32];

	return !request->how.resolve &&
	       mem_read_string(c->task->tid, request->path, path, sizeof(path)) >= 0 &&
	       names_open(c->tracer->names, c, path, (int)request->how.flags);
}

static void open_any(struct call *c, const struct request *request)
{
	uint64_t flags = request->how.flags;
	struct fs_name n;
	bool here;
	int r;

	if (is_of_names(c, request))
		return;
	if (!c->tracer->fs.on) {
		call_continue(c);
		return;
	}
	r = flags & O_NOFOLLOW
		    ? fs_link_name_get(c, request->dirfd, request->path, access_of(flags), &n)
		    : fs_name_get(c, request->dirfd, request->path, access_of(flags), &n);
	if (r < 0)
		call_return(c, r);
	else if (fs_is_remote(c, &n, &here))
		ask_agent(c, request, &n);
	else if (here)
		open_here(c, request, n.path);
}

/* --- the calls --- */

static void open_at(struct call *c, uint64_t dirfd, uint64_t path, uint64_t flags, uint64_t mode)
{
	struct request request = {
		.dirfd = dirfd,
		.path = path,
		.how = { .flags = (uint32_t)flags },
	};

	/* openat(2) ignores a mode that it does not need, openat2(2) refuses it. */
	if (flags & (O_CREAT | __O_TMPFILE))
		request.how.mode = mode & 07777;
	open_any(c, &request);
}

#ifdef SYS_open
void sys_open(struct call *c)
{
	open_at(c, (uint64_t)AT_FDCWD, c->arg[0], c->arg[1], c->arg[2]);
}

void sys_creat(struct call *c)
{
	open_at(c, (uint64_t)AT_FDCWD, c->arg[0], O_CREAT | O_WRONLY | O_TRUNC, c->arg[1]);
}
#endif

void sys_openat(struct call *c)
{
	open_at(c, c->arg[0], c->arg[1], c->arg[2], c->arg[3]);
}

/* A larger struct is a newer kernel's: the kernel decides, on a local file. */
void sys_openat2(struct call *c)
{
	struct request request = { .dirfd = c->arg[0], .path = c->arg[1] };

	if (c->arg[3] != sizeof(request.how) ||
		mem_read(c->task->tid, c->arg[2], &request.how, sizeof(request.how)) < 0 ||
		request.how.flags > INT_MAX)
		call_continue(c);
	else
		open_any(c, &request);
}
